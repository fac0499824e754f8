"""Gallabox with a login: the address is made at the click, and leaves no trace."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from marshmallow import ValidationError

from imbox_plugin.links import LinkContext, LinkError, Reason
from imbox_plugin.links.gallabox import Gallabox
from imbox_plugin.model import Contact, Key, Lookup, View
from tests.links.minting import Hours, everything_told, once
from tests.loopback import serving
from tests.vendor import playing

CHANNEL = "647062b51e3c77d2741188cb"
LOGIN = {"email": "agent@example.com", "password": "canary-password", "token_path": "data.token"}
CALL = Lookup(View.CALL, {Key.PHONE: "+46701740605"})
BO = Contact(name="Åsa & Bo Öberg")
MINTED = (
    "https://conversation-widget.gallabox.com/auth?token=canary%2Ftoken%2B%3D"
    "&redirectUrl=https%3A%2F%2Fconversation-widget.gallabox.com%2Fconversations%2Fphone"
    "%2F46701740605%3Fname%3D%25C3%2585sa%2520%2526%2520Bo%2520%25C3%2596berg"
    "%26channelId%3D647062b51e3c77d2741188cb"
)
#: what no log and no error may tell
CANARIES = ("canary", "agent@example.com", "46701740605", "Bo", "redirectUrl")


def link(url, clock=None, *, time_limit=5, **login):
    table = {"channel_id": CHANNEL, "login": {**LOGIN, **login}, "base_url": url}
    context = LinkContext(time_limit=time_limit)
    return Gallabox(Gallabox.Options().load(table), context, clock or Hours())


@pytest.fixture
def gallabox():
    with playing("gallabox") as server:
        yield server


def order(builder):
    return builder.order(CALL, BO)


def refusal(builder):
    with pytest.raises(LinkError) as refused:
        builder.mint(order(builder))
    return refused.value


def test_the_minted_address_holds_the_whole_conversation_as_one_value(gallabox):
    builder = link(gallabox.url)
    destination = builder.mint(order(builder))

    assert destination.url == MINTED
    assert gallabox.played == {"login"}


def test_the_documented_example_comes_out_byte_for_byte():
    body = b'{"data": {"token": "your_token"}}'
    with serving(once(body=body)) as server:
        builder = link(server.url)
        lakshmanan = Lookup(View.CALL, {Key.PHONE: "+919900000001"})
        url = builder.mint(builder.order(lakshmanan, Contact(name="Lakshmanan"))).url

    assert url == (
        "https://conversation-widget.gallabox.com/auth?token=your_token&redirectUrl="
        "https%3A%2F%2Fconversation-widget.gallabox.com%2Fconversations%2Fphone%2F919900000001"
        "%3Fname%3DLakshmanan%26channelId%3D647062b51e3c77d2741188cb"
    )


def test_the_widget_is_embedded_without_attributes_since_none_are_documented(gallabox):
    builder = link(gallabox.url)
    frame = builder.mint(order(builder)).frame

    assert (frame.allow, frame.sandbox, frame.events) == ("", None, frozenset())


def test_nobody_is_asked_until_the_click(gallabox):
    builder = link(gallabox.url)

    assert order(builder) == {"phone": "+46701740605", "name": "Åsa & Bo Öberg"}
    assert "/conversations/phone/46701740605?" in builder.url(CALL, BO)
    assert gallabox.asked == []


def test_every_click_logs_in_anew(gallabox):
    builder = link(gallabox.url)
    builder.mint(order(builder))
    builder.mint(order(builder))

    assert len(gallabox.asked) == 2


def test_without_a_login_or_a_number_there_is_nothing_to_order(gallabox):
    without = Gallabox(Gallabox.Options().load({}), LinkContext())

    assert without.order(CALL, BO) is None
    assert link(gallabox.url).order(Lookup(View.CHAT), BO) is None


def test_an_order_from_before_the_login_was_taken_out_is_refused_with_the_cure():
    without = Gallabox(Gallabox.Options().load({}), LinkContext())

    with pytest.raises(LinkError, match="open the contact anew") as refused:
        without.mint({"phone": "+46701740605", "name": ""})
    assert refused.value.code is Reason.NO_LOGIN


def test_a_long_name_makes_no_long_order(gallabox):
    long = link(gallabox.url).order(CALL, Contact(name="x" * 500))

    assert len(long["name"]) == 80


# --- when there is no token -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "code", "says"),
    [
        ("not_let_in", "401", "does not let us in (401); correct email and password"),
        ("forbidden", "403", "does not let us in (403); correct email and password"),
        (
            "too_often",
            "429",
            "too often (429); see what else asks it for this account, or ask it for a higher limit",
        ),
        ("no_token", Reason.NO_CREDENTIAL, "no token at token_path; correct it"),
        ("out_of_order", "503", "in trouble (503); see its status page"),
    ],
)
def test_a_login_that_fails_says_why_and_nothing_else(gallabox, caplog, situation, code, says):
    caplog.set_level(logging.DEBUG)
    gallabox.always = situation
    error = refusal(link(gallabox.url))

    assert says in str(error)
    assert error.code == code
    assert not [canary for canary in CANARIES if canary in everything_told(error, caplog)]


@pytest.mark.parametrize("situation", ["not_let_in", "forbidden", "too_often", "no_token"])
def test_whoever_was_not_let_in_does_not_knock_again_for_a_while(gallabox, situation):
    hours = Hours()
    builder = link(gallabox.url, hours)
    gallabox.always = situation
    refusal(builder)
    hours.now = 299
    error = refusal(builder)

    assert "Gallabox is left alone after failures, the last: Gallabox" in str(error)
    assert error.code is Reason.PAUSED
    assert len(gallabox.asked) == 1


def test_after_a_while_one_click_tries_again_and_the_next_ones_follow(gallabox):
    hours = Hours()
    builder = link(gallabox.url, hours)
    gallabox.next.append("not_let_in")
    refusal(builder)
    hours.now = 301

    assert builder.mint(order(builder)).url == MINTED
    assert builder.mint(order(builder)).url == MINTED


def test_many_clicks_at_once_with_a_wrong_password_knock_once(gallabox):
    gallabox.always = "not_let_in"
    builder = link(gallabox.url)
    start = threading.Barrier(20)

    def click():
        start.wait()
        return refusal(builder)

    with ThreadPoolExecutor(20) as threads:
        errors = [thread.result() for thread in [threads.submit(click) for _ in range(20)]]

    assert len(errors) == 20
    assert len(gallabox.asked) == 1


def test_trouble_at_the_vendor_is_no_refusal_and_the_next_click_tries_again(gallabox):
    builder = link(gallabox.url)
    gallabox.next.append("out_of_order")
    refusal(builder)

    assert builder.mint(order(builder)).url == MINTED


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("data.token", b"[]"),
        ("data.token", b'{"data": {"token": 7}}'),
        ("data.token", b'{"data": {"token": ""}}'),
        ("data.token", b'{"data": {"token": "a\\r\\nb"}}'),
        ("data.token", b'{"data": {"token": "\\u00e5"}}'),
        ("data.token", b'{"data": {"token": "%s"}}' % (b"x" * 2001)),
        ("join('', data.parts)", b'{"data": {}}'),
        ("data.token", b""),
    ],
)
def test_what_is_no_token_at_the_path_is_not_used(path, body):
    with serving(once(body=body)) as server:
        error = refusal(link(server.url, token_path=path))

    assert "no token at token_path" in str(error)


@pytest.mark.parametrize("body", [b"not json", b"{", b"\xff"])
def test_an_answer_that_is_no_json_is_no_usable_answer(body):
    with serving(once(body=body)) as server:
        error = refusal(link(server.url))

    assert "the answer is not JSON" in str(error)


def test_a_vendor_that_hangs_costs_the_click_its_time_and_no_more(caplog):
    caplog.set_level(logging.DEBUG)
    over = threading.Event()

    def hang(wire):
        wire.request()
        over.wait(30)

    with serving(hang) as server:
        error = refusal(link(server.url, time_limit=0.3))
        over.set()

    assert "did not answer in time" in str(error)
    assert not [canary for canary in CANARIES if canary in everything_told(error, caplog)]


def test_a_vendor_that_drips_costs_no_more_either():
    def drip(wire):
        wire.request()
        wire.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b" " * 2000)

    with serving(drip) as server:
        error = refusal(link(server.url, time_limit=0.3))

    assert "did not answer in time" in str(error)


def test_a_click_behind_one_that_hangs_does_not_wait_longer_than_it_may():
    asked, over = threading.Event(), threading.Event()

    def hang(wire):
        wire.request()
        asked.set()
        over.wait(30)

    with serving(hang) as server, ThreadPoolExecutor(1) as threads:
        builder = link(server.url, time_limit=0.5)
        first = threads.submit(refusal, builder)
        assert asked.wait(5)
        errors = [refusal(builder), first.result()]
        over.set()

    assert all("click again" in str(error) for error in errors)
    assert {error.code for error in errors} <= {Reason.BUSY, Reason.LATE}


def test_nothing_of_a_click_is_logged_or_shown(gallabox, caplog):
    caplog.set_level(logging.DEBUG)
    builder = link(gallabox.url)
    destination = builder.mint(order(builder))

    assert not [canary for canary in CANARIES if canary in caplog.text + repr(destination)]


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", LOGIN)
def test_a_login_needs_its_address_its_password_and_where_the_token_is(setting):
    login = {name: text for name, text in LOGIN.items() if name != setting}
    with pytest.raises(ValidationError) as refused:
        Gallabox.Options().load({"login": login})

    assert refused.value.messages_dict["login"].keys() == {setting}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("data.", "not a JMESPath expression"),
        ("", "not a JMESPath expression"),
        ("bogus(@)", "calls a function that JMESPath does not have"),
    ],
)
def test_a_path_to_the_token_that_is_none_stops_the_start(path, says):
    with pytest.raises(ValidationError) as refused:
        Gallabox.Options().load({"login": {**LOGIN, "token_path": path}})

    assert says in refused.value.messages_dict["login"]["token_path"][0]


@pytest.mark.parametrize("url", ["http://server.example.com", "ftp://x", "https://a@b.example", ""])
def test_a_password_goes_out_over_https_or_not_at_all(url):
    with pytest.raises(ValidationError) as refused:
        Gallabox.Options().load({"login": LOGIN, "base_url": url})

    assert refused.value.messages_dict.keys() == {"base_url"}


def test_email_and_password_are_secrets_of_the_settings():
    fields = Gallabox.Options().fields["login"].schema.fields

    assert {name for name, field in fields.items() if field.metadata.get("secret")} == {
        "email",
        "password",
    }
