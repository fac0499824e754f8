"""What stands behind a link that leads through this server, request by request."""

from __future__ import annotations

import logging
import re
import threading
import time

import pytest

from imbox_plugin.links import Destination, LinkError, Reason
from imbox_plugin.model import Key, Lookup, View
from imbox_plugin.tickets import Tickets
from imbox_plugin.web.open import MAX_EVENT, MAX_EVENT_ID
from tests.opened import BASE, CHAT, ORDER, PHONE, SECRET, Opened

FRAMED = {**CHAT, "name": "framed", "frame": True, "tells": ["SENT", "MORE", "SEEN"]}
TELLING = {
    **FRAMED,
    "events": {
        "SENT": {"action": "deliver"},
        "MORE": {"action": "badge"},
        "SEEN": {"action": "open", "url": "https://crm.example.com/?q={chatId}"},
        "NEVER": {"action": "badge"},
    },
}

NAN = b'{"type":"SENT","data":{"a":NaN}}'

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'self' https:; frame-ancestors 'none'"
)


@pytest.fixture
def serve(tmp_path):
    return lambda *links, **top: Opened(tmp_path, *links, **top)


@pytest.fixture
def opened(serve):
    return serve(CHAT, TELLING)


def text(response):
    """What the page says, without its markup."""
    markup = re.sub(r"<(script|style)\b.*?</\1>", " ", response.text, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", markup).split())


# The page


def test_the_page_says_what_it_opens_and_for_whom_and_has_one_button(opened):
    page = opened.client.get(opened.path())

    assert page.status_code == 200
    assert page.mimetype == "text/html"
    assert "Trädgårdsboden AB Chat Press the button" in text(page)
    assert page.text.count("<button") == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_looking_at_the_page_mints_nothing_however_often(opened, method):
    path = opened.path()
    statuses = {opened.client.open(path, method=method).status_code for _ in range(30)}

    assert statuses == {200}
    assert opened.builder().minted == []


def test_the_page_holds_nothing_that_the_ticket_holds(opened):
    page = opened.client.get(opened.path()).text

    for secret in (PHONE, PHONE[1:], "wa.me", "gAAAA"):
        assert secret not in page


def test_every_page_has_strict_headers(opened):
    answers = [opened.client.get(opened.path()), opened.client.get("/open/x"), opened.post()]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    for answer in answers[:2]:
        assert answer.headers["Content-Security-Policy"] == PAGE_POLICY


def test_the_files_of_the_pages_are_served(opened):
    page = opened.client.get(opened.path()).text
    names = re.findall(r'(?:href|src)="(static/[^"]+)"', page)

    assert len(names) == 3
    for name in names:
        with opened.client.get(f"/open/{name}") as answer:
            assert answer.status_code == 200
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_pages_are_in_the_language_of_the_settings(serve):
    opened = serve(locale="sv")

    assert '<html lang="sv">' in opened.client.get(opened.path()).text
    assert "Tryck på knappen" in text(opened.client.get(opened.path()))
    assert "Öppna kontakten igen i ImBox" in text(opened.client.get("/open/x"))


def test_what_the_settings_name_is_only_text_on_the_page(serve):
    opened = serve({**CHAT, "text": "<img src=x onerror=alert(1)>\"'"})
    page = opened.client.get(opened.path())

    assert "<img" not in page.text
    assert "&lt;img src=x" in page.text


# The click


def test_a_click_leads_to_an_address_that_was_minted_for_it(opened):
    answer = opened.post()

    assert answer.status_code == 303
    assert answer.headers["Location"] == "https://chat.example.com/window?token=minted-token-1"
    assert answer.data == b""
    assert opened.builder().minted == [ORDER]


def test_every_click_gets_an_address_of_its_own_until_the_ticket_expires(opened):
    path = opened.path()
    places = [opened.post(path).headers["Location"][-1] for _ in range(3)]

    assert places == ["1", "2", "3"]


@pytest.mark.parametrize(
    "url",
    [
        "https://chat.example.com/a%2Fb;p=1?x=%25C3+&y=$!*'(),:@/?~#/e?%5B",
        # As Wazzup's document has it.
        "https://12345678.wazzup24.com/chat/0e812899-e25b-4a18-a3e4-d1f5890f9de7?token=${token}",
        'https://chat.example.com/?f[0]=a|b&g={x}^`<>"\\#[]',
        "https://chat.example.com:443/",
        "https://chat.example.com",
    ],
)
def test_the_address_leaves_as_the_vendor_gave_it(opened, url):
    opened.builder().instead = lambda: Destination(url)

    assert opened.post().headers["Location"] == url


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": BASE}, 403),
        ({"Sec-Fetch-Site": ""}, 403),
        ({"Origin": BASE}, 303),
        ({"Origin": BASE.upper()}, 303),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://plugin.example.com.evil.example"}, 403),
        ({}, 403),
    ],
)
def test_only_a_click_on_our_own_page_mints(opened, headers, status):
    answer = opened.post(site=None, headers=headers)

    assert answer.status_code == status
    assert len(opened.builder().minted) == (status == 303)


def test_who_comes_from_elsewhere_is_shown_the_button_and_no_script_presses_it(opened):
    answer = opened.post(site="cross-site")

    assert "Press the button to go on." in text(answer)
    assert "<script" not in answer.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(opened, method):
    assert opened.client.open(opened.path(), method=method).status_code == 405


# Tickets that open nothing


def at(moment):
    return lambda: moment


def bad_tickets(opened):
    good = opened.path()
    return {
        "forged": "/open/gAAAAABnothing",
        "changed": good[:-5] + ("A" if good[-5] != "A" else "B") + good[-4:],
        "cut": good[:-8],
        "spelled otherwise": good[:40] + "!" + good[40:],
        "of another server": opened.path(secrets=["another-secret-key-0123456789"]),
        "of another panel": opened.path(panel="sales"),
        "of a link that is gone": opened.path(link="wazzup"),
        "of a link that mints no more": opened.path(link="plain"),
    }


@pytest.mark.parametrize(
    "kind", [*bad_tickets(type("", (), {"path": lambda *_, **__: "x" * 99})())]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_ticket_that_opens_nothing_says_what_to_do(serve, kind, method):
    opened = serve(CHAT, {"name": "plain", "type": "whatsapp", "text": "W"})
    path = bad_tickets(opened)[kind]
    headers = {"Sec-Fetch-Site": "same-origin"}
    answer = opened.client.open(path, method=method, headers=headers)

    assert answer.status_code == 404
    assert "This link does not work Open the contact again in ImBox" in text(answer)
    assert opened.builder().minted == []


def test_a_ticket_of_an_older_key_opens_and_one_of_a_retired_key_does_not(serve):
    rotated = serve(secret_keys=["a-newer-secret-key-of-these-tests-01", SECRET])
    old = rotated.path(secrets=[SECRET])
    retired = rotated.path(secrets=["a-retired-secret-key-of-these-tests"])

    assert rotated.post(old).status_code == 303
    assert rotated.post(retired).status_code == 404


@pytest.mark.parametrize(
    ("link", "age", "status"),
    [
        (CHAT, 8 * 3600 - 60, 303),
        (CHAT, 8 * 3600 + 60, 410),
        ({**CHAT, "expires": 60}, 1, 303),
        ({**CHAT, "expires": 60}, 120, 410),
    ],
)
def test_a_ticket_is_good_for_as_long_as_its_link_says(serve, link, age, status):
    opened = serve(link)
    path = opened.path(clock=at(time.time() - age))
    answer = opened.post(path)

    assert answer.status_code == status
    assert opened.client.get(path).status_code == (200 if status == 303 else 410)
    if status == 410:
        assert "This link has expired Open the contact again" in text(answer)


def test_a_server_without_such_links_says_the_same(tmp_path):
    opened = Opened(tmp_path, {"type": "whatsapp", "text": "W"}, secret_keys=[])
    path = "/open/" + Tickets([SECRET], BASE).address("support", "chat", ORDER, None)[-99:]

    assert opened.client.get(path).status_code == 404
    assert "Open the contact again in ImBox" in text(opened.client.get(path))


# A vendor that gives no address


@pytest.mark.parametrize(
    "instead",
    [
        LinkError("no account", "NO_SUCH_ACCOUNT"),
        RuntimeError(f"no chat with {PHONE}"),
        lambda: Destination("http://chat.example.com/?token=canary"),
    ],
)
def test_a_failure_of_the_vendors_offers_the_other_way_and_another_try(opened, instead):
    opened.builder().instead = instead
    answer = opened.post()

    assert answer.status_code == 502
    assert "“Chat” cannot be opened right now The service gave nothing to open." in text(answer)
    assert '<a class="button" href="https://wa.me/46701740605" rel="noreferrer">WhatsApp</a>' in (
        answer.text
    )
    assert "Try again" in answer.text
    assert answer.headers["Content-Security-Policy"] == PAGE_POLICY


@pytest.mark.parametrize(
    ("locale", "reason", "says"),
    [
        (
            "en",
            Reason.NO_CONTACT,
            "The service has no contact for this person. Write to the person",
        ),
        ("sv", Reason.NO_CONTACT, "Tjänsten har ingen kontakt för personen. Skriv till personen"),
        (
            "en",
            Reason.SEVERAL_CONTACTS,
            "The service has several contacts that may be this person.",
        ),
        ("sv", Reason.SEVERAL_CONTACTS, "Tjänsten har flera kontakter som kan vara personen."),
    ],
)
def test_an_agent_who_can_mend_it_is_told_how(serve, locale, reason, says):
    opened = serve(CHAT, locale=locale)
    opened.builder().instead = LinkError("for the operator", reason)

    assert says in text(opened.post())


@pytest.mark.parametrize(
    ("locale", "says"),
    [("en", "Open without automatic login"), ("sv", "Öppna utan automatisk inloggning")],
)
def test_the_links_own_address_is_not_called_as_what_failed(serve, locale, says):
    opened = serve({**CHAT, "own": "https://o.example.com/"}, locale=locale)
    reply = opened.service.panels["support"].answer(Lookup(View.CALL, {Key.PHONE: PHONE})).reply
    opened.builder().instead = LinkError("no account")
    answer = opened.post(reply.contact_link.url.removeprefix(BASE))

    assert f'href="https://o.example.com/46701740605" rel="noreferrer">{says}</a>' in answer.text


def test_a_failure_without_another_way_offers_another_try_only(opened):
    opened.builder().instead = LinkError("no account")
    answer = opened.post(opened.path(fallback=None))

    assert answer.status_code == 502
    assert "<a " not in answer.text


def test_a_vendor_with_a_code_like_a_reason_does_not_choose_the_advice(opened):
    opened.builder().instead = LinkError("", "no contact")

    assert "Write to the person" not in text(opened.post())


def test_the_log_has_a_reason_where_the_vendor_gave_no_code(opened, caplog):
    opened.builder().instead = LinkError(f"no chat with {PHONE}", Reason.NO_CONTACT)
    opened.post()

    assert caplog.messages[-1] == "panels.support.links[0] gave no address: no contact"


def test_the_log_has_the_links_place_and_the_vendors_code_and_nothing_else(opened, caplog):
    caplog.set_level(logging.DEBUG)
    opened.builder().instead = LinkError(f"no chat with {PHONE}", "NO_SUCH_ACCOUNT")
    opened.post()
    (record,) = [one for one in caplog.records if one.name.startswith("imbox_plugin")]

    assert record.getMessage() == "panels.support.links[0] gave no address: NO_SUCH_ACCOUNT"


# Limits


def test_a_server_that_is_going_to_fork_has_no_thread_at_work(serve):
    before = set(threading.enumerate())
    serve()

    assert set(threading.enumerate()) <= before


def test_a_ticket_is_clicked_ten_times_a_minute_at_most(opened):
    path = opened.path()
    statuses = [opened.post(path).status_code for _ in range(12)]
    refused = opened.post(path)

    assert statuses == [303] * 10 + [429] * 2
    assert refused.headers["Retry-After"] == "60"
    assert "Wait a minute" in text(refused)
    assert opened.post(opened.path()).status_code == 303


def test_a_client_that_tries_tickets_is_stopped(opened):
    statuses = [opened.client.get(f"/open/{number}").status_code for number in range(610)]

    assert statuses == [404] * 600 + [429] * 10
    other = opened.client.get(opened.path(), environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    assert other.status_code == 200


@pytest.mark.parametrize(("proxies", "statuses"), [(0, {429}), (1, {200})])
def test_who_a_proxy_speaks_for_is_believed_as_far_as_the_settings_say(serve, proxies, statuses):
    opened = serve(proxies=proxies)
    path = opened.path()
    for _ in range(600):
        opened.client.get("/open/x", headers={"X-Forwarded-For": "192.0.2.7"})
    answer = opened.client.get(path, headers={"X-Forwarded-For": "192.0.2.7, 192.0.2.8"})

    assert {answer.status_code} == statuses


# The embedded page


def test_a_page_is_embedded_as_the_vendor_documents_it(opened):
    answer = opened.post(opened.path(link="framed"))

    assert answer.status_code == 200
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "base-uri 'none'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; "
        "frame-src https://chat.example.com"
    )
    assert 'src="https://chat.example.com/window?token=minted-token-1"' in answer.text
    assert 'allow="microphone *; clipboard-write *"' in answer.text
    assert "sandbox" not in answer.text
    assert 'referrerpolicy="no-referrer"' in answer.text


@pytest.mark.parametrize("sandbox", ["", "allow-scripts allow-forms"])
def test_a_sandbox_is_the_vendors_own(serve, sandbox):
    opened = serve({**FRAMED, "sandbox": sandbox, "allow": ""})
    answer = opened.post(opened.path(link="framed"))

    assert f'sandbox="{sandbox}"' in answer.text
    assert "allow=" not in answer.text


def test_a_link_that_is_set_to_redirect_is_never_embedded(serve):
    opened = serve({**FRAMED, "open": "redirect"})

    assert opened.post(opened.path(link="framed")).status_code == 303


def test_the_page_knows_the_actions_of_the_events_that_the_vendor_sends(opened):
    page = opened.post(opened.path(link="framed")).text

    for told in ("SENT", "MORE", "SEEN", "https://crm.example.com/?q={chatId}"):
        assert told in page
    assert "NEVER" not in page


# Events


def tell(opened, path=None, **options):
    told = {"type": "SENT", "data": {"chatId": PHONE, "messageId": "m1"}}
    path = path or opened.path(link="framed")
    options.setdefault("json", told)
    return opened.post(f"{path}/events", **options)


def test_an_event_is_kept_before_it_is_answered(opened):
    answer = tell(opened)
    (event,) = opened.inbox.events

    assert answer.status_code == 202
    assert (event.panel, event.link, event.type) == ("support", "framed", "SENT")
    assert event.data == {"chatId": PHONE, "messageId": "m1"}


def test_an_event_that_is_not_kept_is_to_be_sent_again(opened, caplog):
    caplog.set_level(logging.DEBUG)
    opened.inbox.failure = RuntimeError(f"no room for {PHONE}")
    answer = tell(opened)

    assert answer.status_code == 503
    assert answer.mimetype == "application/problem+json"
    assert "links[1] told of an event that was not kept: RuntimeError" in caplog.text
    assert PHONE not in caplog.text


def key(opened, data, path=None):
    """The key by which an event is known again."""
    assert tell(opened, path, json={"type": "SENT", "data": data}).status_code == 202
    return opened.inbox.events[-1].key


def test_a_message_is_known_again_by_its_id_on_whichever_card(opened):
    one = key(opened, {"messageId": "m1", "chatId": PHONE})

    assert key(opened, {"messageId": "m1", "chatId": "other"}) == one
    assert key(opened, {"messageId": "m2", "chatId": PHONE}) != one


def test_what_has_no_id_at_all_is_known_again_on_the_same_card(opened):
    path = opened.path(link="framed")
    one = key(opened, {"chatId": PHONE, "x": 1}, path)

    assert key(opened, {"x": 1, "chatId": PHONE}, path) == one
    assert key(opened, {"chatId": PHONE, "x": 2}, path) != one
    assert key(opened, {"chatId": PHONE, "x": 1}) != one


def told_as(opened, id_, data, path):
    """The key of an event that the page gave an id."""
    told = {"type": "SENT", "data": data, "id": id_}
    assert tell(opened, path, json=told).status_code == 202
    return opened.inbox.events[-1].key


def test_what_happens_twice_on_a_card_is_two_events(opened):
    path = opened.path(link="framed")
    told = [("a", True), ("b", False), ("c", True)]
    keys = {told_as(opened, id_, {"hasUnreadChats": state}, path) for id_, state in told}

    assert len(keys) == 3


def test_what_the_page_sends_again_is_one_event(opened):
    path = opened.path(link="framed")
    one = told_as(opened, "a", {"chatId": PHONE}, path)

    assert told_as(opened, "a", {"chatId": PHONE}, path) == one
    assert told_as(opened, "a", {"chatId": PHONE}, opened.path(link="framed")) != one
    assert told_as(opened, "a", {"chatId": "other"}, path) != one


def test_a_message_that_several_windows_tell_of_is_one_event(opened):
    one = told_as(opened, "a", {"messageId": "m1"}, opened.path(link="framed"))

    assert told_as(opened, "b", {"messageId": "m1"}, opened.path(link="framed")) == one


def test_an_id_of_the_largest_size_is_taken(opened):
    assert told_as(opened, "i" * MAX_EVENT_ID, {}, opened.path(link="framed"))


def test_a_key_holds_no_identity(opened):
    assert re.fullmatch("[0-9a-f]{64}", key(opened, {"messageId": PHONE}))


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"site": "cross-site"}, 403),
        ({"site": None}, 403),
        ({"json": {"type": "MORE", "data": {}}}, 400),
        ({"json": {"type": "NONE", "data": {}}}, 400),
        ({"json": {"type": "SENT"}}, 400),
        ({"json": {"type": "SENT", "data": []}}, 400),
        ({"json": {"type": ["SENT"], "data": {}}}, 400),
        ({"json": ["SENT", {}]}, 400),
        ({"json": {"type": "SENT", "data": {}, "id": 7}}, 400),
        ({"json": {"type": "SENT", "data": {}, "id": ""}}, 400),
        ({"json": {"type": "SENT", "data": {}, "id": "i" * (MAX_EVENT_ID + 1)}}, 400),
        ({"json": None, "data": b"{", "content_type": "application/json"}, 400),
        ({"json": None, "data": b"\xff", "content_type": "application/json"}, 400),
        ({"json": None, "data": b"[" * 60000, "content_type": "application/json"}, 400),
        ({"json": None, "data": NAN, "content_type": "application/json"}, 400),
        ({"json": None, "data": {"type": "SENT"}}, 415),
        ({"json": {"type": "SENT", "data": {"x": "y" * MAX_EVENT}}}, 413),
    ],
)  # fmt: skip
def test_what_is_no_event_of_ours_is_refused(opened, options, status):
    answer = tell(opened, **options)

    assert answer.status_code == status
    assert opened.inbox.events == []


def test_an_event_of_the_largest_size_is_taken(opened):
    told = '{"type":"SENT","data":{"x":"%s"}}'
    body = told % ("y" * (MAX_EVENT - len(told) + 2))

    assert len(body) == MAX_EVENT
    assert tell(opened, json=None, data=body, content_type="application/json").status_code == 202


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda _: "/open/gAAAAABnothing", 404),
        (lambda opened: opened.path(link="framed", clock=at(0)), 410),
        (lambda opened: opened.path(link="chat"), 400),
    ],
    ids=["forged", "expired", "of another link"],
)
def test_a_ticket_that_opens_nothing_tells_nothing_either(opened, make, status):
    answer = tell(opened, make(opened))

    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"


def test_a_card_tells_of_so_many_events_a_minute_at_most(opened):
    path = opened.path(link="framed")
    statuses = [tell(opened, path).status_code for _ in range(122)]

    assert statuses == [202] * 120 + [429] * 2
