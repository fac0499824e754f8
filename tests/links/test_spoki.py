"""Spoki's chats, by the recordings of what its documents say."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from imbox_plugin.links import Destination, Frame, LinkContext, LinkError, Reason
from imbox_plugin.links.spoki import Spoki
from imbox_plugin.model import Contact, Key, Lookup, View
from tests.links.minting import CONFUSING, everything_told, once, situations
from tests.loopback import serving
from tests.vendor import playing

KEY, EMAIL, PRIVATE = "example-spoki-key", "support@example.com", "example-private-key"
UUID = "1f0c1d7e-0000-4000-8000-000000000001"
CHAT = f"https://spoki.app/chats/{UUID}"
KNOWN = Contact(name="Anna Öst", phones=("+46701740605",), details={"chat_link": CHAT})
EVENTS = frozenset({"hasUnreadChatsChanged", "chatsChanged", "chatMessagesChanged"})
FRAME = Frame(events=EVENTS)
SWITCHED_OFF = {
    "can_view_chat_list": False,
    "can_reply_in_chat": False,
    "can_send_paypal_in_chat": False,
}
#: nobody's chat is found by itself: an answer that is made here
FOUND = b'{"next": null, "results": [{"phone": "46701740605", "chat_link": "%b"}]}'


def link(time_limit=5.0, **options):
    given = {"api_key": KEY, "email": EMAIL, "private_key": PRIVATE, **options}
    return Spoki(Spoki.Options().load(given), LinkContext(time_limit=time_limit))


def token_less(**options):
    return Spoki(Spoki.Options().load(options), LinkContext())


def call(phone):
    return Lookup(View.CALL, {Key.PHONE: phone})


@pytest.fixture
def spoki():
    with playing("spoki") as server:
        yield server


def minted(server, phone="+46701740605", contact=None, **options):
    chat = link(base_url=server.url, **options)
    return chat.mint(chat.order(call(phone), contact))


def refusal(server, phone="+46701740605", **options):
    with pytest.raises(LinkError) as refused:
        minted(server, phone, **options)
    return refused.value


def refused_options(**options):
    with pytest.raises(ValidationError) as refused:
        link(**options)
    return refused.value.messages


# Where it leads


def test_the_chat_of_a_caller_is_found_by_the_number_and_opened_with_a_token(spoki):
    assert minted(spoki) == Destination(
        f"{CHAT}?auth_token=TOK%2F%2B%3D&auth_uid=UID&language=en", FRAME
    )
    found, token = spoki.asked
    assert found.target == "/api/1/contacts/?phone=%2B46701740605"
    assert token.headers["Content-Type"] == "application/json"
    assert spoki.played == {"contact", "token"}


def test_what_is_switched_off_is_in_the_address_byte_for_byte(spoki):
    assert minted(spoki, **SWITCHED_OFF).url == (
        "https://spoki.app/chats/1f0c1d7e-0000-4000-8000-000000000001"
        "?auth_token=TOK%2F%2B%3D&auth_uid=UID&language=en"
        "&can_view_chat_list=false&can_reply_in_chat=false&can_send_paypal_in_chat=false"
    )


@pytest.mark.parametrize("switch", SWITCHED_OFF)
def test_each_switch_is_its_own(spoki, switch):
    query = urlsplit(minted(spoki, **{switch: False}).url).query

    assert query == f"auth_token=TOK%2F%2B%3D&auth_uid=UID&language=en&{switch}=false"


@pytest.mark.parametrize("language", ["it", "en", "es"])
def test_the_page_is_in_one_of_its_languages(spoki, language):
    assert minted(spoki, language=language).url.endswith(f"&language={language}")


@pytest.mark.parametrize("page", ["chats", "templates", "automations", "lists/all"])
def test_a_page_for_all_needs_no_person(spoki, page):
    pages = link(base_url=spoki.url, page=page)

    destination = pages.mint(pages.order(Lookup(View.CHAT), None))

    assert destination.url == (
        f"https://spoki.app/{page}?auth_token=TOK%2F%2B%3D&auth_uid=UID&language=en"
    )
    assert spoki.played == {"token"}
    assert pages.url(call("+46701740605"), KNOWN) is None


@settings(deadline=None)
@given(
    st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"]), min_size=1, max_size=20)
)
def test_a_token_is_one_encoded_value(token):
    body = json.dumps({"token": token, "uid": token}).encode()
    with serving(once(body=body)) as server:
        parts = urlsplit(link(base_url=server.url).mint({"page": "chats"}).url)

    assert (parts.netloc, parts.path, parts.fragment) == ("spoki.app", "/chats", "")
    assert parse_qs(parts.query, strict_parsing=True) == {
        "auth_token": [token],
        "auth_uid": [token],
        "language": ["en"],
    }


def test_what_the_page_may_use_is_for_the_operator_to_say(spoki):
    frame = minted(spoki, allow=["microphone", "clipboard-write"]).frame

    assert frame.allow == "microphone https://spoki.app; clipboard-write https://spoki.app"


def test_every_click_has_a_token_of_its_own(spoki):
    minted(spoki)
    minted(spoki)

    assert len([asked for asked in spoki.asked if asked.method == "POST"]) == 2


# The chat that is known


def test_a_chat_that_is_known_needs_no_token(spoki):
    chat = link(base_url=spoki.url)

    assert chat.url(call("+46701740605"), KNOWN) == CHAT
    assert chat.order(call("+46701740605"), KNOWN) is None


def test_the_service_user_may_be_logged_in_all_the_same(spoki):
    chat = link(base_url=spoki.url, always_log_in=True)

    assert chat.mint(chat.order(call("+46701740605"), KNOWN)).url.startswith(f"{CHAT}?auth_token=")
    assert chat.url(call("+46701740605"), KNOWN) == CHAT
    assert spoki.played == {"token"}


def test_the_address_may_be_made_of_another_detail():
    contact = Contact(details={"spoki": UUID.upper()})
    chat = token_less(chat_link="https://spoki.app/chats/{contact.spoki}")

    assert chat.url(Lookup(View.CONTACT), contact) == CHAT


def test_without_credentials_there_is_only_the_chat_that_is_known():
    chat = token_less()

    assert chat.url(Lookup(View.CONTACT), KNOWN) == CHAT
    assert chat.order(call("+46701740605"), None) is None
    assert chat.url(call("+46701740605"), None) is None
    assert not chat.mints
    assert link().mints


@pytest.mark.parametrize(
    "address",
    [
        # White space around a detail means nothing, and is not kept.
        *(
            url.replace("{}", "spoki.app").replace("/chat", f"/chats/{UUID}")
            for url in CONFUSING
            if url == url.strip()
        ),
        "https://spoki.app/chats/",
        f"https://spoki.app/templates/{UUID}",
        f"https://spoki.app/{UUID}",
        f"https://www.spoki.app/chats/{UUID}",
        f"{CHAT}?auth_token=x",
        f"{CHAT}#x",
        f"{CHAT}/..",
        f"{CHAT}/../templates",
        f"https://spoki.app/chats/../{UUID}",
        "https://spoki.app/chats/1f0c1d7e-0000-4000-8000-00000000000",
        "https://spoki.app/chats/------------------------------------",
        f"https://\u017fpo\u212ai.app/chats/{UUID}",
    ],
)
def test_an_address_elsewhere_is_no_chat(address):
    assert token_less().url(Lookup(View.CONTACT), Contact(details={"chat_link": address})) is None


def test_no_hostile_address_is_a_chat(corpus):
    for line in corpus("url_redirect_ssrf"):
        contact = Contact(details={"chat_link": line["payload"]})

        assert token_less().url(Lookup(View.CONTACT), contact) is None


@given(st.text(max_size=60))
def test_whatever_a_detail_holds_the_link_is_a_chat_or_none(text):
    chat = token_less(chat_link="https://spoki.app/chats/{contact.spoki}")

    assert chat.url(Lookup(View.CONTACT), Contact(details={"spoki": text})) is None


# Who has a chat


def test_the_card_is_made_without_asking_the_vendor(spoki):
    link(base_url=spoki.url).order(call("+46701740605"), KNOWN)

    assert spoki.asked == []


def test_the_number_of_this_call_comes_before_that_of_the_contact():
    order = link().order(call("+46701740699"), Contact(phones=("+46701740605",)))

    assert order == {"phone": "+46701740699"}


@pytest.mark.parametrize("contact", [None, Contact(name="Anna")])
def test_there_is_no_chat_without_a_number(contact):
    assert link().order(Lookup(View.CONTACT), contact) is None


@pytest.mark.parametrize("phone", ["+46701740606", "+46701740609"])
def test_the_contact_with_the_number_is_taken_however_it_is_written(spoki, phone):
    assert minted(spoki, phone).url.startswith(f"{CHAT[:-1]}2?")


@pytest.mark.parametrize(
    ("phone", "reason", "says"),
    [
        ("+46701740607", Reason.NO_CONTACT, "it has no contact with the number; write to them"),
        ("+46701740608", Reason.SEVERAL_CONTACTS, "several contacts may have the number"),
        ("+46701740610", Reason.SEVERAL_CONTACTS, "several contacts may have the number"),
        ("+46701740611", Reason.NO_CHAT, "the contact has no chat_link at spoki.app"),
    ],
)
def test_a_chat_that_is_not_certain_is_not_opened_and_no_token_is_made(spoki, phone, reason, says):
    error = refusal(spoki, phone)

    assert says in str(error)
    assert error.code is reason
    assert [asked.method for asked in spoki.asked] == ["GET"]


@pytest.mark.parametrize("address", CONFUSING)
def test_a_chat_of_an_answer_that_is_elsewhere_is_not_opened(address):
    address = address.replace("{}", "spoki.app").replace("/chat", f"/chats/{UUID}")
    body = FOUND.replace(b'"%b"', json.dumps(address).encode())
    with serving(once(body=body)) as server:
        error = refusal(server)

    assert "no chat_link at spoki.app" in str(error)
    assert UUID not in everything_told(error)


@pytest.mark.parametrize(
    "results", [None, {}, "x", [None], [[]], [{}], [{"phone": 46701740605}], [{"phone": None}]]
)
def test_an_answer_of_another_shape_is_no_chat(results):
    body = json.dumps({"next": None, "results": results}).encode()
    with serving(once(body=body)) as server:
        assert "Spoki: it " in str(refusal(server))


def test_a_number_that_may_be_on_a_later_page_is_not_said_to_be_nobodys():
    with serving(once(body=b'{"next": "https://a.example/?page=2", "results": []}')) as server:
        assert "several contacts may have the number" in str(refusal(server))


# What goes wrong


@pytest.mark.parametrize(
    ("situation", "code", "says"),
    [
        ("fields_refused", "400", "refuses the question (400); correct email and private_key"),
        ("code_of_its_own", "spoki::3014", "(400); correct email and private_key"),
        ("not_let_in", "401", "does not let us in (401); see that Spoki has approved api_key"),
        ("no_such_call", "404", "knows no such call (404); see that base_url"),
        ("too_often", "429", "asked too often (429)"),
        ("out_of_order", "502", "in trouble (502)"),
    ],
)
def test_an_error_says_what_to_do_and_has_the_code_of_the_vendor(spoki, situation, code, says):
    spoki.next.extend(["contact", situation])

    error = refusal(spoki)

    assert str(error).startswith("Spoki: ")
    assert says in str(error)
    assert error.code == code


@pytest.mark.parametrize("situation", ["not_let_in", "too_often", "out_of_order"])
def test_an_error_while_the_chat_is_looked_for_is_one(spoki, situation):
    spoki.next.append(situation)

    refusal(spoki)

    assert len(spoki.asked) == 1


def test_a_wrong_key_is_noticed(spoki):
    assert refusal(spoki, api_key="another-key").code == "401"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"token": "x"},
        {"uid": "x"},
        {"token": "", "uid": "x"},
        {"token": None, "uid": "x"},
        {"token": ["x"], "uid": "x"},
        {"token": "x", "uid": 1},
        {"token": "a b", "uid": "x"},
        {"token": "å", "uid": "x"},
        {"token": "a\n", "uid": "x"},
        {"token": "x" * 2001, "uid": "x"},
    ],
)
def test_a_token_that_is_none_opens_nothing(answer):
    with serving(once(body=json.dumps(answer).encode())) as server:
        error = refusal(server, page="chats")

    assert "gave no token and uid" in str(error)
    assert error.code is Reason.NO_CREDENTIAL


def test_both_calls_share_one_time_limit():
    """Each of them alone is within it."""
    contact = FOUND.replace(b"%b", CHAT.encode())

    def play(wire):
        body = contact if b"GET" in wire.request() else b'{"token": "a", "uid": "b"}'
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
        wire.drip(head[:35])
        wire.send(head[35:] + b"%d\r\n\r\n" % len(body) + body)

    with serving(play) as server:
        error = refusal(server, time_limit=1.0)

    assert "did not answer in time" in str(error)


def test_no_token_is_asked_for_when_the_time_is_up():
    with serving(lambda wire: (wire.request(), wire.sock.recv(1))) as server:
        error = refusal(server, time_limit=0.2)
        server.done()

    assert "did not answer in time" in str(error)
    assert len(server.wires) == 1


def test_neither_log_nor_error_tells_key_number_token_or_address(spoki, caplog):
    caplog.set_level("DEBUG")
    chat = link(base_url=spoki.url)
    told = []

    for situation in spoki.recordings:
        for before in ([], ["contact"]):
            spoki.next.extend([*before, situation, "token"])
            try:
                told.append(repr(chat.mint(chat.order(call("+46701740605"), None))))
            except LinkError as error:
                told.append(everything_told(error))
            spoki.next.clear()
    told = "\n".join([*told, caplog.text, repr(chat), repr(chat.context)])

    for secret in (KEY, EMAIL, PRIVATE, "701740605", "TOK", "UID", UUID, "127.0.0.1", "Anna"):
        assert secret not in told


# Settings


@pytest.mark.parametrize("given", [{"api_key": KEY}, {"email": EMAIL}, {"private_key": PRIVATE}])
def test_credentials_are_given_together(given):
    lacking = {"api_key", "email", "private_key"} - given.keys()

    assert Spoki.Options().validate(given).keys() == lacking


@pytest.mark.parametrize("given", [{"always_log_in": True}, {"page": "templates"}])
def test_what_needs_credentials_asks_for_them(given):
    assert Spoki.Options().validate(given).keys() == {"api_key", "email", "private_key"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"page": "chats/{uuid}"}, "not a page of Spoki"),
        ({"page": "/chats"}, "not a page of Spoki"),
        ({"page": "../chats"}, "not a page of Spoki"),
        ({"page": "chats?x=1"}, "not a page of Spoki"),
        ({"page": "https://evil.example"}, "not a page of Spoki"),
        ({"page": "templates/:uuid"}, "not a page of Spoki"),
        ({"page": "chats\n"}, "not a page of Spoki"),
        ({"page": ""}, "not a page of Spoki"),
        ({"chat_link": CHAT}, "the same for everybody"),
        ({"chat_link": "{chat_link}"}, "no placeholder is called 'chat_link'"),
        ({"language": "sv"}, "must be one of: it, en, es"),
        ({"email": "support"}, "not an e-mail address"),
        ({"private_key": "a b"}, "plain ASCII without spaces"),
        ({"allow": ["geolocation"]}, "must be one of: camera"),
        ({"base_url": "http://api.spoki.example"}, "write it as https://api.spoki.com"),
    ],
)
def test_a_mistake_in_the_settings_is_refused_with_its_cure(options, says):
    assert says in str(refused_options(**options))


# Recordings


def test_every_recording_says_where_it_is_from_and_is_played():
    by_name = {"fields_refused", "code_of_its_own", "not_let_in", "no_such_call", "too_often"}
    by_name |= {"out_of_order"}
    for situation, recording in situations("spoki").items():
        assert recording.keys() == {"about", "origin", "request", "reply"}
        assert recording["about"].endswith(".")
        assert "documentation" in recording["origin"]
        assert (situation in by_name) == (not recording["request"])
