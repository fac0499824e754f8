"""Wazzup's chat window, by the recordings of what its document says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from imbox_plugin.links import Destination, Frame, LinkContext, LinkError, Reason
from imbox_plugin.links.wazzup import Wazzup
from imbox_plugin.model import Contact, Key, Lookup, View
from tests.links.minting import CONFUSING, everything_told, once, situations
from tests.loopback import serving
from tests.vendor import playing

KEY = "example-wazzup-key"
ANNA = Contact(name="Anna Öst", phones=("+46701740605",), details={"telegram_id": 340999213})
WINDOW = (
    "https://12345678.wazzup24.com/chat/0e812899-e25b-4a18-a3e4-d1f5890f9de7?token=example-token-"
)
ALLOW = "microphone *; clipboard-write *"


def link(time_limit=5.0, **options):
    given = {"api_key": KEY, "user": {"id": "222555", "name": "User Name"}, **options}
    return Wazzup(Wazzup.Options().load(given), LinkContext(time_limit=time_limit))


def call(phone):
    return Lookup(View.CALL, {Key.PHONE: phone})


def asked(phone=None, contact=None, **options):
    lookup = call(phone) if phone else Lookup(View.CONTACT)
    return link(**options).order(lookup, contact)


@pytest.fixture(scope="module")
def by_messenger():
    """A link for each messenger, whose chat id is the detail `id`."""
    types = ["whatsapp", "instagram", "telegram"]
    return {type_: link(**chat(type_, "{contact.id}")) for type_ in types}


@pytest.fixture
def wazzup():
    with playing("wazzup") as server:
        yield server


def refusal(server, **options):
    wazzup = link(base_url=server.url, **options)
    with pytest.raises(LinkError) as refused:
        wazzup.mint(wazzup.order(call("+79998887766"), None))
    return refused.value


def refused_options(**options):
    with pytest.raises(ValidationError) as refused:
        link(**options)
    return refused.value.messages


def chat(type_, id_, **more):
    return {"chats": [{"chat_type": type_, "chat_id": id_, **more}]}


# What is asked, and where it leads


def test_the_window_of_a_caller_is_asked_for_as_documented(wazzup):
    window = link(base_url=wazzup.url)

    destination = window.mint(window.order(call("+79998887766"), None))

    assert destination == Destination(f"{WINDOW}1", Frame(allow=ALLOW))
    (asked,) = wazzup.asked
    assert asked.headers["Content-Type"] == "application/json"
    assert wazzup.played == {"window_of_a_person"}


def test_the_request_has_the_documented_fields_in_their_order_and_no_other(wazzup):
    documented = wazzup.recordings["window_of_a_person"]["request"]["json"]
    window = link(base_url=wazzup.url)

    window.mint(window.order(call("+79998887766"), None))

    assert json.dumps(wazzup.asked[0].json) == json.dumps(documented)


def test_a_person_may_have_several_chats_with_the_first_one_open(wazzup):
    channel = "c16fc1c2-9f20-4fda-846d-692ff4c6ec68"
    telegram = {"chat_type": "telegram", "chat_id": "{contact.telegram_id}", "channel_id": channel}
    window = link(
        base_url=wazzup.url,
        chats=[telegram, {"chat_type": "whatsapp"}],
        deals_events=True,
        message_events=True,
    )

    destination = window.mint(window.order(Lookup(View.CONTACT), ANNA))

    events = frozenset({"WZ_CREATE_ENTITY", "WZ_OPEN_ENTITY", "WZ_OUTPUT_MESSAGE"})
    assert destination == Destination(f"{WINDOW}2", Frame(allow=ALLOW, events=events))
    assert wazzup.played == {"window_of_several_chats"}


def test_a_window_of_all_chats_is_there_for_somebody_without_any(wazzup):
    window = link(base_url=wazzup.url, scope="global")

    assert window.mint(window.order(Lookup(View.CHAT), None)).url == f"{WINDOW}3"


def test_a_window_of_all_chats_opens_that_of_the_person_and_filters_none(wazzup):
    wazzup.always = "window_of_all_chats"
    window = link(base_url=wazzup.url, scope="global")

    window.mint(window.order(call("+79998887766"), ANNA))

    assert wazzup.asked[0].json == {
        "user": {"id": "222555", "name": "User Name"},
        "scope": "global",
        "activeChat": {"chatType": "whatsapp", "chatId": "79998887766"},
    }


def test_no_chat_is_open_when_none_is_to_be(wazzup):
    wazzup.always = "window_of_a_person"
    window = link(base_url=wazzup.url, active_chat=False, user={"id": "7"})

    window.mint(window.order(call("+79998887766"), None))

    assert wazzup.asked[0].json == {
        "user": {"id": "7"},
        "scope": "card",
        "filter": [{"chatType": "whatsapp", "chatId": "79998887766"}],
    }


@pytest.mark.parametrize(
    ("options", "wanted", "events"),
    [
        (
            {"deals_events": True},
            {"useDealsEvents": True, "useMessageEvents": False},
            {"WZ_CREATE_ENTITY", "WZ_OPEN_ENTITY"},
        ),
        (
            {"message_events": True},
            {"useDealsEvents": False, "useMessageEvents": True},
            {"WZ_OUTPUT_MESSAGE"},
        ),
    ],
)
def test_events_are_listened_to_when_they_are_asked_for(wazzup, options, wanted, events):
    wazzup.always = "window_of_a_person"
    window = link(base_url=wazzup.url, **options)

    destination = window.mint(window.order(call("+79998887766"), None))

    assert wazzup.asked[0].json["options"] == wanted
    assert destination.frame.events == events


def test_every_click_has_a_window_of_its_own(wazzup):
    window = link(base_url=wazzup.url)
    order = window.order(call("+79998887766"), None)

    window.mint(order)
    window.mint(order)

    assert len(wazzup.asked) == 2


# Who has a window


def test_there_is_no_address_without_a_token():
    assert link().url(call("+79998887766"), ANNA) is None


def test_the_card_is_made_without_asking_the_vendor(wazzup):
    link(base_url=wazzup.url).order(call("+79998887766"), ANNA)

    assert wazzup.asked == []


def test_the_number_of_this_call_comes_before_that_of_the_contact():
    assert asked("+46701740699", ANNA) == {
        "chats": [{"chatType": "whatsapp", "chatId": "46701740699"}],
        "name": "Anna Öst",
    }


@pytest.mark.parametrize("contact", [None, Contact(name="Anna")])
def test_without_a_chat_that_is_known_there_is_no_window(contact):
    assert asked(None, contact) is None


def test_a_chat_that_is_not_known_leaves_the_others():
    chats = [{"chat_type": "telegram", "chat_id": "{contact.telegram_id}"}, {"chat_type": "viber"}]

    assert asked("+46701740605", None, chats=chats)["chats"] == [
        {"chatType": "viber", "chatId": "46701740605"}
    ]


@pytest.mark.parametrize(
    ("type_", "value", "id_"),
    [
        ("whatsapp", "46701740605", "46701740605"),
        ("whatsapp", "+46701740605", None),
        ("whatsapp", "46 70 174 06 05", None),
        ("whatsapp", "\u0664\u0666\u0667\u0660\u0661\u0667\u0664\u0660", None),
        ("whatsapp", "4670174060546701740605", None),
        ("viber", "070-1740605", None),
        ("instagram", "anna.ost", "anna.ost"),
        ("instagram", "@anna.ost", "anna.ost"),
        ("instagram", "@@anna.ost", None),
        ("instagram", "anna ost", None),
        ("instagram", "@", None),
        ("telegram", 340999213, "340999213"),
        ("telegram", "34\n09", None),
        ("whatsgroup", "46701740605-1600000000@g.us", "46701740605-1600000000@g.us"),
        ("whatsgroup", "x" * 101, None),
        ("max", "1234567", None),
    ],
)
def test_an_id_out_of_the_data_has_the_form_that_its_messenger_has_or_is_none(type_, value, id_):
    contact = Contact(details={"messenger": type_, "id": value})
    order = asked(None, contact, **chat("{contact.messenger}", "{contact.id}"))

    assert (order and order["chats"]) == (id_ and [{"chatType": type_, "chatId": id_}])


@given(st.text(max_size=20), st.sampled_from(["whatsapp", "instagram", "telegram"]))
def test_no_value_makes_another_request_than_its_own(by_messenger, value, type_):
    contact = Contact(details={"id": value})
    order = by_messenger[type_].order(Lookup(View.CONTACT), contact)

    if order:
        (id_,) = [one["chatId"] for one in order["chats"]]
        assert id_ == value.strip().removeprefix("@" if type_ == "instagram" else "")
        assert id_.isascii()
        assert id_.isprintable()


def test_an_order_is_json_of_a_size_for_an_address():
    chats = [{"chat_type": "telegram", "chat_id": "{contact.id}"}] * 5
    contact = Contact(name="\U0001f600" * 500, details={"id": "x" * 100})

    assert len(json.dumps(asked(None, contact, chats=chats))) < 2200


# What goes wrong


@pytest.mark.parametrize(
    ("situation", "code", "says"),
    [
        ("no_such_account", "NO_SUCH_ACCOUNT", "reports an error in an answer of success"),
        ("no_such_account_cut_short", Reason.UNUSABLE, "the answer is not JSON"),
        ("not_let_in", "401", "does not let us in (401); correct api_key"),
        ("key_not_meant_for_this", "FORBIDDEN", "does not let us in (403); correct api_key"),
        ("too_often", "TOO_MANY_REQUESTS", "asked too often (429)"),
        ("request_not_valid", "VALIDATION_ERROR", "refuses the question (400)"),
        ("out_of_order", "500", "in trouble (500)"),
    ],
)
def test_an_error_says_what_to_do_and_has_the_code_of_the_vendor(wazzup, situation, code, says):
    wazzup.always = situation

    error = refusal(wazzup)

    assert str(error).startswith("Wazzup: ")
    assert says in str(error)
    assert error.code == code


def test_a_wrong_key_is_noticed(wazzup):
    error = refusal(wazzup, api_key="another-key")

    assert error.code == "401"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": None},
        {"url": ["https://1.wazzup24.com/"]},
        {"url": "https://1.wazzup24.com/", "error": {"code": "NO_SUCH_ACCOUNT"}},
        *({"url": url.replace("{}", "wazzup24.com")} for url in CONFUSING),
    ],
)
def test_an_address_elsewhere_is_not_followed_and_not_repeated(body):
    with serving(once(body=json.dumps(body).encode())) as server:
        error = refusal(server)

    assert "wazzup24" not in everything_told(error)
    assert "evil" not in everything_told(error)


@pytest.mark.parametrize("body", [b"{}", b'{"url": "https://wazzup24.example/chat"}'])
def test_without_an_address_at_the_host_the_log_says_so(body):
    with serving(once(body=body)) as server:
        assert refusal(server).code is Reason.NOT_AT_HOST


def test_the_settings_say_which_host_a_window_may_be_at():
    body = b'{"url": "https://1.wazzup.example/chat"}'
    with serving(once(body=body)) as server:
        window = link(base_url=server.url, host="wazzup.example")
        destination = window.mint(window.order(call("+79998887766"), None))

    assert destination.url == "https://1.wazzup.example/chat"


def test_an_answer_that_does_not_come_ends_with_the_time_limit():
    with serving(lambda wire: (wire.request(), wire.sock.recv(1))) as server:
        error = refusal(server, time_limit=0.2)

    assert "did not answer in time" in str(error)


def test_an_answer_that_comes_byte_by_byte_ends_with_the_time_limit():
    def play(wire):
        wire.request()
        wire.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b" " * 5000)

    with serving(play) as server:
        error = refusal(server, time_limit=0.2)
        server.done()

    assert "did not answer in time" in str(error)
    assert server.wires[0].cut_off


def test_a_vendor_that_is_not_there_is_an_error():
    with serving(lambda _: None) as server:
        pass

    assert "cannot connect" in str(refusal(server))


def test_neither_log_nor_error_tells_key_number_or_address(wazzup, caplog):
    caplog.set_level("DEBUG")
    window = link(base_url=wazzup.url)
    told = []

    for situation in wazzup.recordings:
        wazzup.always = situation
        try:
            told.append(repr(window.mint(window.order(call("+79998887766"), ANNA))))
        except LinkError as error:
            told.append(everything_told(error))
    told = "\n".join([*told, caplog.text, repr(window), repr(window.context)])

    for secret in (KEY, "79998887766", "Anna", "example-token", "12345678", "127.0.0.1", "222555"):
        assert secret not in told


# Settings


@pytest.mark.parametrize(
    ("type_", "id_", "place", "says"),
    [
        ("max", "1", "chat_type", "must be one of: whatsapp, viber, instagram, whatsgroup"),
        ("whatsapp", "+46701740605", "chat_id", "digits with the country code"),
        ("whatsapp", "{phone}", "chat_id", "as {phone_digits}"),
        ("viber", "46 70", "chat_id", "digits with the country code"),
        ("instagram", "@anna", "chat_id", "an account without @"),
        ("instagram", "{phone_digits}", "chat_id", "as {contact.instagram}"),
        ("telegram", "{phone_digits}", "chat_id", "as {contact.telegram_id}"),
        ("telegram", "{phone}", "chat_id", "what Wazzup's webhooks call chatId"),
        ("whatsgroup", "a b", "chat_id", "what Wazzup's webhooks call chatId"),
        ("telegram", "{telegram_id}", "chat_id", "no placeholder is called 'telegram_id'"),
        ("{messenger}", "1", "chat_type", "no placeholder is called 'messenger'"),
    ],
)
def test_a_chat_that_cannot_be_one_is_refused_with_its_cure(type_, id_, place, says):
    assert says in refused_options(**chat(type_, id_))["chats"][0][place][0]


def test_a_messenger_with_ids_of_its_own_does_not_take_the_number_by_default():
    assert "chat_id" in refused_options(chats=[{"chat_type": "telegram"}])["chats"][0]


@pytest.mark.parametrize(
    ("type_", "id_"),
    [
        ("whatsapp", "46701740605"),
        ("instagram", "anna.ost"),
        ("telegram", "340999213"),
        ("whatsgroup", "46701740605-1600000000@g.us"),
        ("{contact.messenger}", "{phone}"),
    ],
)
def test_a_chat_that_may_be_one_is_accepted(type_, id_):
    assert link(**chat(type_, id_))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"chats": []}, "1 to 5 chats"),
        ({"chats": [{"chat_type": "whatsapp"}] * 6}, "1 to 5 chats"),
        ({"scope": "all"}, "must be one of: card, global"),
        ({"api_key": "a b"}, "plain ASCII without spaces"),
        ({"api_key": "a\nb"}, "plain ASCII without spaces"),
        ({"user": {}}, "Missing data"),
        ({"user": {"id": ""}}, "1 to 200 characters"),
        ({"base_url": "http://api.example.com"}, "write it as https://api.wazzup24.com"),
        ({"host": "*.wazzup24.com"}, "write it as wazzup24.com"),
        (chat("whatsapp", "{phone_digits}", channel_id="a b"), "not a channel id"),
    ],
)
def test_a_mistake_in_the_settings_is_refused_with_its_cure(options, says):
    assert says in str(refused_options(**options))


def test_a_link_needs_a_key_and_a_user():
    assert Wazzup.Options().validate({}).keys() == {"api_key", "user"}


# Recordings


def test_every_recording_says_where_it_is_from_and_is_played():
    by_name = {"no_such_account", "no_such_account_cut_short", "not_let_in", "too_often"}
    by_name |= {"key_not_meant_for_this", "request_not_valid", "out_of_order"}
    for situation, recording in situations("wazzup").items():
        assert recording.keys() == {"about", "origin", "request", "reply"}
        assert recording["about"].endswith(".")
        assert "documentation" in recording["origin"]
        assert (situation in by_name) == (not recording["request"])
