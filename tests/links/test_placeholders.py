"""Details of a contact as placeholders; the identities are in the tests of `url`."""

from decimal import Decimal
from functools import partial
from uuid import UUID

import pytest
from marshmallow import ValidationError

from imbox_plugin.links.placeholders import PLACEHOLDERS, Template, check_placeholders, known
from imbox_plugin.model import Contact, Lookup, View

ASKED = Lookup(View.CHAT)


def filled(value):
    contact = Contact(details={"telegram_id": value})
    return Template("{contact.telegram_id}").fill(partial(known, ASKED, contact))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("340999213", "340999213"),
        ("  340999213 ", "340999213"),
        (340999213, "340999213"),
        (340999213.0, "340999213"),
        (0, "0"),
        (Decimal(340999213), "340999213"),
        (Decimal("340999213.00"), "340999213"),
        (Decimal("3.4E+3"), "3400"),
        (Decimal("-0.0"), "0"),
        (-0.0, "0"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ],
)
def test_a_text_or_a_whole_number_is_a_value(value, text):
    assert filled(value) == text


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", " ", True, 1.5, float("inf"), float("nan"), [], ["1"], {"a": 1}, b"1"),
        *map(Decimal, ("1.5", "Infinity", "NaN", "sNaN", "1E+999999")),
    ],
)
def test_anything_else_is_none(value):
    assert filled(value) is None


def test_without_a_contact_there_are_no_details():
    assert known(ASKED, None, "contact.telegram_id") is None


def test_a_detail_is_no_identity():
    contact = Contact(details={"phone": "1", "email": "2", "external_id": "3", "name": "4"})

    assert not any(known(ASKED, contact, name) for name in PLACEHOLDERS)


@pytest.mark.parametrize("name", ["ticket_id", "phone_digits", "ålder"])
def test_any_other_name_may_be_that_of_a_detail(name):
    contact = Contact(details={name: "7"})

    assert check_placeholders(f"{{contact.{name}}}") == [f"contact.{name}"]
    assert known(ASKED, contact, f"contact.{name}") == "7"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{contact.email}", "{contact.email} is no detail; write {email}"),
        ("{contact.}", "no placeholder is called 'contact.'"),
        ("{contact.a.b}", "no placeholder is called 'contact.a.b'"),
        ("{contact.a-b}", "no placeholder is called 'contact.a-b'"),
        ("{contact}", "no placeholder is called 'contact'"),
        ("{telegram_id}", "there are: contact.<detail>, contact_id, email"),
        ("{contact.a", "a brace without its partner"),
    ],
)
def test_what_names_no_detail_is_refused_with_its_cure(text, says):
    with pytest.raises(ValidationError) as refused:
        check_placeholders(text)

    assert says in refused.value.messages[0]
