"""People in files: found by every spelling of an identity, and joined with what is theirs."""

from __future__ import annotations

import json

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbox_plugin.identity import normal_email, normal_phone
from imbox_plugin.model import Key
from imbox_plugin.sources import SourceError
from imbox_plugin.sources.json_file import JsonSource
from imbox_plugin.sources.people import backwards, coarse_email, kept_digits
from tests.people_files import write
from tests.sources.files import find, only, source_of

__all__ = ["source_of"]

ANNA = {"external_id": "K1", "name": "Anna", "email": "Anna@Example.com", "phone": "070-174 06 05"}
BO = {"external_id": "K2", "name": "Bo", "phones": ["070-174 06 06", "+47 22 22 33 33"]}

regions = st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS))


@pytest.fixture
def people(tmp_path, source_of):
    """A source of these people, and of the files that belong to them."""

    def people(*records, related=None, region="SE", **files):
        write(tmp_path / "people.json", json.dumps(records))
        for name, rows in files.items():
            write(tmp_path / f"{name}.json", json.dumps(rows))
        return source_of(JsonSource, region, file="people.json", related=related or {})

    return people


# --- who is found -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        (Key.EXTERNAL_ID, "K1", "Anna"),
        (Key.EMAIL, "anna@example.com", "Anna"),
        (Key.PHONE, "+46701740605", "Anna"),
        (Key.PHONE, "+46701740606", "Bo"),
        (Key.PHONE, "+4722223333", "Bo"),
    ],
)
def test_a_person_is_found_by_each_identity(people, key, value, name):
    assert only(people(ANNA, BO), key, value).name == name


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (Key.EXTERNAL_ID, "k1"),
        (Key.EXTERNAL_ID, "K"),
        (Key.EMAIL, "nna@example.com"),
        (Key.PHONE, "+47701740605"),
        (Key.PHONE, "+461740605"),
        (Key.CONTACT_ID, "K1"),
    ],
)
def test_whoever_is_only_like_it_is_not_found(people, key, value):
    assert find(people(ANNA, BO), key, value) == []


def test_everyone_with_the_identity_is_found(people):
    namesake = {"external_id": "K9", "phone": "+46 70 174 06 05"}

    found = find(people(ANNA, BO, namesake), Key.PHONE, "+46701740605")

    assert [contact.external_id for contact in found] == ["K1", "K9"]


def test_what_can_be_dialled_is_shown_before_what_cannot(people):
    anna = {"id": "K1", "emails": ["-", "a@example.com"], "phones": ["ask Bo", "0701740605"]}

    contact = only(people(anna), Key.EMAIL, "a@example.com")

    assert contact.emails == ("a@example.com", "-")
    assert contact.phones == ("0701740605", "ask Bo")


def test_an_identity_that_a_thousand_have_is_nobodys(people):
    source = people(*({**ANNA, "external_id": str(number)} for number in range(1001)))

    with pytest.raises(SourceError, match=r"more than 1000 rows of people.json have the phone"):
        find(source, Key.PHONE, "+46701740605")
    assert only(source, Key.EXTERNAL_ID, "1000").name == "Anna"


def test_a_file_without_anybody_who_could_be_found_is_a_mistake(people):
    source = people({"name": "Anna"}, {"name": "Bo", "phone": "?"})

    with pytest.raises(SourceError, match=r"nobody in people.json has .*; correct records or path"):
        find(source, Key.EMAIL, "anna@example.com")


def test_an_empty_list_is_nobody(people):
    assert find(people(), Key.EMAIL, "anna@example.com") == []


# --- every spelling of a number is found --------------------------------------------------------


def is_found(text, number, region):
    return backwards(text).startswith(backwards(kept_digits(number, region)))


def test_numbers_of_all_countries_are_found_however_they_are_written(corpus):
    missed = []
    for case in corpus("phone_example_numbers_all_regions"):
        texts = {case[name] for name in ("payload", "international", "rfc3966") if case.get(name)}
        for text in texts:
            number = normal_phone(text, case["region"])
            if number and not is_found(text, number, case["region"]):
                missed.append((text, number))

    assert missed == []


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("02966 15 412345", "AR"),  # the 15 is dropped, and a 9 put in front
        ("11 15-3456-7890", "AR"),
        ("+54 9 2966 41-2345", "AR"),
        ("430 1234", "BB"),  # seven digits, before which the area code is left out
        ("0 15 11 98765-4321", "BR"),
        ("25 6789", "GG"),
        ("22609", "NF"),
        ("886377", "SM"),
        ("02 3661 8300", "IT"),
        ("+56 (0)2 2123 4567", "CL"),
        ("00 46 (0)70 174 06 05", "SE"),
        ("0701740605", "SE"),
        ("०७०-१७४ ०६ ०५", "SE"),
        ("22 22 33 33", "NO"),
    ],
)
def test_countries_that_rewrite_what_is_dialled(text, region):
    number = normal_phone(text, region)

    assert number
    assert is_found(text, number, region)


@settings(deadline=None, max_examples=300)
@given(
    regions, st.sampled_from(["", "0", "00", "+", "(0)", "8", "1"]), st.integers(0, 10**11), regions
)
def test_whatever_has_a_normal_form_is_found_by_it(region, other, before, digits):
    code = phonenumbers.country_code_for_region(other)
    for text in (f"{before}{digits}", f"+{code}{before}{digits}", f"00{code}{digits}"):
        number = normal_phone(text, region)

        assert number is None or is_found(text, number, region)


def test_a_number_is_found_without_reading_the_numbers_of_others():
    """Of a whole national number, nine digits and more, not only the last few are compared."""
    assert kept_digits("+46701740605", "SE") == "701740605"


@settings(deadline=None)
@given(st.emails() | st.from_regex(r"[ A-Za-z.+-]{1,9}@[ A-Za-z0-9.-]{1,12}", fullmatch=True))
def test_an_ascii_address_is_its_own_normal_form_but_for_capitals(text):
    normal = normal_email(text)

    assert normal is None or coarse_email(text) == normal


def test_addresses_of_the_test_suites_are_found(corpus):
    texts = [case["payload"] for case in corpus("email_email_validator_tests")]
    texts += [case["payload"] for case in corpus("email_isemail_tests")]

    assert not [text for text in texts if normal_email(text) not in (None, coarse_email(text))]


# --- what belongs to them -----------------------------------------------------------------------

ORDERS = [
    {"id": 1, "customer": "K1", "email": "ANNA@example.com", "phone": "+46701740605"},
    {"id": 2, "customer": "K2", "email": None},
    {"id": 3, "customer": " K1 ", "email": "anna@example.com", "phone": "070 174 06 05"},
    {"id": 4, "email": "?", "phone": "?"},
]


def orders(key, to="external_id"):
    return {"orders": {"file": "orders.json", "key": key, "to": to}}


@pytest.mark.parametrize(
    ("key", "to"), [("customer", "external_id"), ("email", "email"), ("phone", "phone")]
)
def test_related_records_are_a_detail_in_the_order_of_their_file(people, key, to):
    source = people(ANNA, BO, related=orders(key, to), orders=ORDERS)

    contact = only(source, Key.EXTERNAL_ID, "K1")

    assert [order["id"] for order in contact.details["orders"]] == [1, 3]
    assert key not in contact.details["orders"][0]


def test_related_records_may_refer_to_any_part_of_a_record(people):
    anna = {**ANNA, "account": {"numbers": [77, 78]}}
    source = people(
        anna,
        BO,
        related=orders("account", "account.numbers"),
        orders=[{"id": 1, "account": "77"}, {"id": 2, "account": 78}, {"id": 3, "account": "K1"}],
    )

    assert only(source, Key.EXTERNAL_ID, "K1").details["orders"] == [{"id": 1}, {"id": 2}]
    assert only(source, Key.EXTERNAL_ID, "K2").details["orders"] == []


def test_a_record_that_refers_twice_to_a_person_is_there_once_in_the_order_of_the_file(people):
    anna = {"external_id": "K1", "emails": ["a@example.com", "b@example.com"]}
    mails = [["b@example.com"], ["a@example.com", "B@example.com"], ["a@example.com"]]
    source = people(
        anna,
        related=orders("to", "email"),
        orders=[{"id": number, "to": addresses} for number, addresses in enumerate(mails)],
    )

    found = only(source, Key.EXTERNAL_ID, "K1").details["orders"]

    assert [order["id"] for order in found] == [0, 1, 2]


def test_a_record_may_belong_to_several_people(people):
    source = people(ANNA, BO, related=orders("who"), orders=[{"id": 1, "who": ["K1", "K2"]}])

    for name in ("K1", "K2"):
        assert only(source, Key.EXTERNAL_ID, name).details["orders"] == [{"id": 1}]


def test_nobodys_related_records_are_shown_when_several_people_are_found(people):
    namesake = {"external_id": "K9", "phone": "0701740605"}
    source = people(ANNA, namesake, related=orders("customer"), orders=ORDERS)

    found = find(source, Key.PHONE, "+46701740605")

    assert [contact.details for contact in found] == [{}, {}]


def test_one_person_on_several_rows_has_the_related_records(people):
    source = people(ANNA, {**ANNA, "name": "Anna E."}, related=orders("customer"), orders=ORDERS)

    first, second = find(source, Key.EXTERNAL_ID, "K1")

    assert [len(contact.details.get("orders", ())) for contact in (first, second)] == [2, 0]


def test_a_related_file_that_is_missing_is_no_empty_list(people, tmp_path):
    source = people(ANNA, related=orders("customer"), orders=ORDERS)
    (tmp_path / "orders.json").unlink()

    for ask in (lambda: find(source, Key.EXTERNAL_ID, "K1"), source.check):
        with pytest.raises(SourceError, match=r"orders.json is not there"):
            ask()


def test_a_related_file_does_not_hide_a_part_of_the_person(people):
    source = people({**ANNA, "orders": 3}, related=orders("customer"), orders=ORDERS)

    with pytest.raises(SourceError, match=r"related.orders hides what the file itself c"):
        find(source, Key.EXTERNAL_ID, "K1")


# --- health -------------------------------------------------------------------------------------


def test_a_healthy_source_passes_its_check_and_can_be_closed_twice(people):
    source = people(ANNA, related=orders("customer"), orders=ORDERS)

    source.check()
    source.close()
    source.close()

    with pytest.raises(SourceError, match=r"people.json is closed"):
        find(source, Key.EXTERNAL_ID, "K1")


def test_no_message_repeats_what_is_in_the_file(people, tmp_path, caplog):
    source = people(ANNA)
    write(tmp_path / "people.json", '[{"external_id": "canary4711", "email": "canary4711@x.se"}')

    with pytest.raises(SourceError) as told:
        source.check()

    assert "people.json is not JSON from line 1 on" in str(told.value)
    assert "canary" not in str(told.value) + caplog.text
