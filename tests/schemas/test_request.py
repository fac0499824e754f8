import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from schemas.request import MAX_BODY, MAX_LENGTH, VIEWS, LookupSchema, body_parameters
from schemas.wire import WireNames

SCHEMA = LookupSchema(WireNames())
PARAMETERS = {
    "email": "email",
    "phone": "phoneNumber",
    "external_id": "externalId",
    "ticket_id": "ticketId",
    "contact_id": "contactId",
    "channel_id": "channelId",
    "call_id": "callId",
}


def load(schema=SCHEMA, **parameters):
    """What a question about a ticket loads to."""
    return schema.load({"view": ["ticket"], **parameters})


def reasons(**parameters):
    """Why the parameters are refused, by name."""
    with pytest.raises(ValidationError) as refused:
        SCHEMA.load(parameters)
    return refused.value.messages_dict


@pytest.mark.parametrize("view", VIEWS)
def test_every_documented_view_is_taken(view):
    assert SCHEMA.load({"view": [view]}) == {"view": view, "extras": {}}


def test_a_view_may_have_capitals_and_white_space():
    assert SCHEMA.load({"view": [" Chat "]})["view"] == "chat"


@pytest.mark.parametrize("values", [[], [""], ["  "]])
def test_a_missing_or_blank_view_is_refused_with_the_views_there_are(values):
    assert reasons(view=values) == {
        "view": ["missing; must be one of: chat, ticket, call, contact"]
    }


def test_no_parameters_at_all_are_refused_for_the_view():
    assert reasons().keys() == {"view"}


def test_another_view_is_refused_without_being_repeated():
    assert reasons(view=["<script>"]) == {"view": ["must be one of: chat, ticket, call, contact"]}


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS.items())
def test_every_parameter_is_loaded_under_our_name(name, parameter):
    assert load(**{parameter: ["12"]})[name] == "12"


@pytest.mark.parametrize(
    "text", ["007", "18751500044654323221", "V18751500044654323221", "1e3", "true", "null", "é/..?"]
)
@pytest.mark.parametrize(
    "name", ["external_id", "ticket_id", "contact_id", "channel_id", "call_id"]
)
def test_ids_stay_the_texts_they_are(name, text):
    assert load(**{PARAMETERS[name]: [text]})[name] == text


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS.items())
@pytest.mark.parametrize("values", [[], [""], ["   "], ["", " ", "\N{NO-BREAK SPACE}"]])
def test_what_is_blank_is_absent(name, parameter, values):
    assert name not in load(**{parameter: values})


@pytest.mark.parametrize("parameter", PARAMETERS.values())
def test_the_first_repetition_that_is_not_blank_counts(parameter):
    loaded = load(**{parameter: ["", "  ", "first", "second"]})

    assert "first" in loaded.values()
    assert "second" not in loaded.values()


def test_white_space_around_a_value_is_dropped():
    assert load(email=["  ada@example.com "])["email"] == "ada@example.com"


def test_phone_is_another_name_of_the_phone_number():
    assert load(phone=["070-174 06 05"])["phone"] == "070-174 06 05"


def test_the_documented_name_of_the_phone_number_goes_before_the_other():
    assert load(phone=["1"], phoneNumber=["2"])["phone"] == "2"
    assert load(phone=["1"], phoneNumber=[" "])["phone"] == "1"


@pytest.mark.parametrize("parameter", ["phoneNumber", "phone"])
@pytest.mark.parametrize(
    ("arrived", "meant"),
    [
        (" 46701740605", "+46701740605"),
        ("  46 70 174 06 05 ", "+46 70 174 06 05"),
        ("+46701740605", "+46701740605"),
        (" +46701740605", "+46701740605"),
        ("46701740605 ", "46701740605"),
        (" 070-174 06 05", "070-174 06 05"),
        (" 0046701740605", "0046701740605"),
        (" (0)70", "(0)70"),
        (" anonymous", "anonymous"),
    ],
)
def test_a_plus_that_arrived_as_a_space_is_a_plus_again(parameter, arrived, meant):
    assert load(**{parameter: [arrived]})["phone"] == meant


def test_only_a_phone_number_gets_a_plus():
    assert load(externalId=[" 46701740605"])["external_id"] == "46701740605"


def test_a_value_of_the_greatest_length_is_taken_and_a_longer_one_refused():
    assert load(externalId=["x" * MAX_LENGTH])["external_id"] == "x" * MAX_LENGTH
    assert reasons(view=["chat"], externalId=["x" * (MAX_LENGTH + 1)]) == {
        "externalId": ["longer than 512 characters"]
    }


@pytest.mark.parametrize("character", ["\0", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\ud800"])
@pytest.mark.parametrize("parameter", ["view", "email", "phoneNumber", "channelId", "own"])
def test_control_characters_are_refused_wherever_they_are(parameter, character):
    found = reasons(**{"view": ["chat"], parameter: ["a", f"1{character}"]})

    assert found == {parameter: ["contains control characters"]}


def test_every_refused_parameter_is_named_at_once():
    assert reasons(view=["chat"], email=["\0"], own=["x" * 513]).keys() == {"email", "own"}


def test_formatting_characters_of_right_to_left_text_are_no_control_characters():
    number = "\u2066+46701740605\u2069"

    assert load(phoneNumber=[number])["phone"] == number


def test_other_parameters_are_extras_in_our_custom():
    loaded = load(campaign=["", " spring ", "autumn"], blank=[" "], ticket_id=["7"])

    assert loaded == {"view": "ticket", "extras": {"campaign": "spring", "ticket_id": "7"}}


@pytest.mark.parametrize("parameter", ["plugin", "key", "phone", *PARAMETERS.values()])
def test_what_means_something_is_never_an_extra(parameter):
    assert load(**{parameter: ["x"]})["extras"] == {}


def test_an_extra_called_extras_is_one_of_them():
    assert load(extras=["x"])["extras"] == {"extras": "x"}


def test_the_email_parameter_can_have_another_name():
    loaded = load(LookupSchema(WireNames(email="mail")), mail=["a@b.se"], email=["c@d.se"])

    assert loaded == {"view": "ticket", "email": "a@b.se", "extras": {"email": "c@d.se"}}


def test_the_names_of_the_parameters_are_those_of_the_wire():
    renamed = LookupSchema(WireNames(email="mail")).parameters

    assert renamed == {"view", "mail", "phone", "plugin", "key", *PARAMETERS.values()} - {"email"}


@given(
    st.dictionaries(
        st.sampled_from([*PARAMETERS.values(), "phone", "plugin", "own"]),
        st.lists(st.sampled_from(["", " 46", "x" * 513]) | st.text(max_size=5), max_size=3),
    )
)
def test_whatever_comes_with_a_view_is_loaded_as_texts_or_refused_by_name(parameters):
    try:
        loaded = load(**parameters)
    except ValidationError as refused:
        assert refused.messages_dict.keys() <= parameters.keys()  # noqa: PT017
        return

    extras = loaded.pop("extras")
    assert extras.keys() <= {"own"}
    assert loaded.keys() <= {"view", *PARAMETERS}
    assert all(text and text == text.strip() for text in [*loaded.values(), *extras.values()])


def test_a_static_body_gives_extras():
    body = {"team": "north", "level": 3, "share": 0.5, "beta": True}

    assert body_parameters(json.dumps(body).encode(), ()) == {
        "team": ["north"],
        "level": ["3"],
        "share": ["0.5"],
        "beta": ["true"],
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"email=ada@example.com",
        b'{"team": ',
        b"[]",
        b'["team"]',
        b'"team"',
        b"null",
        b"7",
        b"\xff\xfe",
        b"\xf0\x28\x8c\x28",
        b"[" * (MAX_BODY - 1),
        b'{"a":' * 10_000,
        b"9" * 5000,
        b'{"a": 1}' + b" " * MAX_BODY,
    ],
)
def test_any_other_body_gives_none_and_is_no_mistake(body):
    assert body_parameters(body, ()) == {}


def test_values_that_are_no_text_of_a_parameter_are_left_out():
    body = {
        "list": ["x"],
        "table": {"x": "y"},
        "nothing": None,
        "control": "a\0b",
        "half": "\ud800",
        "long": "x" * (MAX_LENGTH + 1),
        "team": "north",
    }

    assert body_parameters(json.dumps(body).encode(), ()) == {"team": ["north"]}


def test_a_body_cannot_ask_about_anybody():
    body = json.dumps(dict.fromkeys([*SCHEMA.parameters, "team"], "x")).encode()

    assert body_parameters(body, SCHEMA.parameters) == {"team": ["x"]}


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_body_is_a_reason_to_fail(body):
    parameters = body_parameters(body, SCHEMA.parameters)

    assert load(**parameters)["view"] == "ticket"
