"""What an agent reads where a card shows less than it could."""

from dataclasses import replace

import pytest

from imbox_plugin.formats import LOCALES, Formats
from imbox_plugin.model import Contact, Failure, Finding, Key, Lookup, Match, Outcome, View
from imbox_plugin.notices import Notices

ANNA = "anna@example.com"
PHONE = "+46701740605"
EVERYTHING = dict.fromkeys(Key, "K1") | {Key.EMAIL: ANNA, Key.PHONE: PHONE}


def rows(findings, identities, locale="en", view=View.CALL, unusable=()):
    lookup = Lookup(view, identities, frozenset(unusable))
    return list(Notices(Formats(locale)).about(lookup, findings))


def texts(*arguments, **options):
    return [row.text for row in rows(*arguments, **options)]


def finding(outcome, *asked, source="crm", **more):
    return Finding(source, outcome, asked=asked, **more)


def found(key, *emails, source="crm"):
    match = Match(Contact(emails=emails, phones=(PHONE,)), source, key)
    return Finding(source, Outcome.FOUND, match, asked=(key,))


# What the notices are for, in both languages


@pytest.mark.parametrize(
    ("locale", "label", "keys"),
    [
        ("en", "No match", "e-mail address or phone number"),
        ("sv", "Ingen träff", "e-postadress eller telefonnummer"),
    ],
)
def test_nobody_found_names_what_was_searched_by(locale, label, keys):
    findings = [finding(Outcome.UNKNOWN, Key.EMAIL, Key.PHONE)]
    (row,) = rows(findings, {Key.EMAIL: ANNA, Key.PHONE: PHONE}, locale)

    assert row.label == label
    assert keys in row.text


@pytest.mark.parametrize(
    ("locale", "label", "key"),
    [("en", "Several matches", "phone number"), ("sv", "Flera träffar", "telefonnummer")],
)
def test_several_matches_are_told_with_their_number_and_the_key(locale, label, key):
    findings = [finding(Outcome.AMBIGUOUS, Key.EMAIL, Key.PHONE, count=3)]
    (row,) = rows(findings, {Key.EMAIL: ANNA, Key.PHONE: PHONE}, locale)

    assert row.label == label
    assert "3" in row.text
    assert key in row.text


@pytest.mark.parametrize(("locale", "label"), [("en", "No answer"), ("sv", "Inget svar")])
def test_a_failed_source_is_named_without_its_reason(locale, label):
    findings = [finding(Outcome.FAILED, Key.EMAIL, source="shop", reason="password rejected")]
    (row,) = rows(findings, {Key.EMAIL: ANNA}, locale)

    assert row.label == label
    assert "shop" in row.text
    assert "password" not in row.text


@pytest.mark.parametrize(
    ("locale", "failure", "says"),
    [
        ("en", Failure.LATE, "in time"),
        ("sv", Failure.LATE, "i tid"),
        ("en", Failure.UNASKED, "could not be asked"),
        ("sv", Failure.UNASKED, "hann inte tillfrågas"),
        ("en", Failure.BUSY, "too busy"),
        ("sv", Failure.BUSY, "överbelastad"),
    ],
)
def test_a_source_that_was_late_busy_or_not_asked_is_said_to_be_so(locale, failure, says):
    (row,) = rows(
        [finding(Outcome.FAILED, source="shop", failure=failure)], {Key.EMAIL: ANNA}, locale
    )

    assert row.label == Formats(locale).sentence("label_failed")
    assert row.text.startswith("shop ")
    assert says in row.text


@pytest.mark.parametrize(("locale", "label"), [("en", "Not up to date"), ("sv", "Inte aktuellt")])
def test_what_stands_in_for_a_source_that_fails_is_shown_with_its_age(locale, label):
    stale = replace(found(Key.EMAIL, ANNA), is_stale=True, age=61.0, reason="password rejected")
    (row,) = rows([stale], {Key.EMAIL: ANNA}, locale)

    assert row.label == label
    assert "crm" in row.text
    assert "2 min" in row.text
    assert "password" not in row.text


# Which are said


def test_nothing_is_said_when_everybody_was_found():
    findings = [found(Key.EMAIL, ANNA), found(Key.PHONE, source="shop")]

    assert rows(findings, {Key.EMAIL: ANNA, Key.PHONE: PHONE}) == []


def test_a_source_that_knows_nobody_is_not_mentioned_when_another_does():
    findings = [found(Key.EMAIL, ANNA), finding(Outcome.UNKNOWN, Key.EMAIL, source="shop")]

    assert rows(findings, {Key.EMAIL: ANNA}) == []


def test_nobody_is_called_unknown_while_a_source_cannot_say():
    findings = [
        finding(Outcome.UNKNOWN, Key.EMAIL),
        finding(Outcome.FAILED, Key.EMAIL, source="shop"),
    ]
    (row,) = rows(findings, {Key.EMAIL: ANNA})

    assert row.label == "No answer"


def test_every_failed_source_has_its_row():
    findings = [finding(Outcome.FAILED, source=name) for name in ("crm", "shop")]

    assert len(rows(findings, {Key.EMAIL: ANNA})) == 2


def test_only_what_was_searched_by_is_named_each_once_and_strongest_first():
    findings = [
        finding(Outcome.UNKNOWN, Key.PHONE, source="shop"),
        finding(Outcome.UNKNOWN, Key.EXTERNAL_ID, Key.PHONE),
        finding(Outcome.NOT_ASKED, source="web"),
    ]
    (text,) = texts(findings, EVERYTHING)

    assert text == "No customer found by customer id or phone number."


def test_three_keys_are_listed_with_commas():
    (text,) = texts([finding(Outcome.UNKNOWN, Key.EXTERNAL_ID, Key.EMAIL, Key.PHONE)], EVERYTHING)

    assert "customer id, e-mail address or phone number" in text


@pytest.mark.parametrize("findings", [[], [finding(Outcome.NOT_ASKED)]])
def test_a_key_that_no_source_has_is_not_called_an_unknown_customer(findings):
    (text,) = texts(findings, {Key.CONTACT_ID: "77"})

    assert text == "No source can be searched by ImBox contact id."


@pytest.mark.parametrize("locale", LOCALES)
def test_a_lookup_without_any_identity_is_told_with_its_view(locale):
    formats = Formats(locale)
    for view in View:
        (row,) = rows([finding(Outcome.NOT_ASKED)], {}, locale, view)

        assert row.label == formats.sentence("label_no_identity")
        assert formats.sentence(f"view_{view}") in row.text


def test_an_identity_that_cannot_be_used_is_the_reason_not_its_absence():
    (row,) = rows([finding(Outcome.NOT_ASKED)], {}, unusable={Key.PHONE})

    assert row.label == "Not usable"
    assert "phone number" in row.text


def test_an_identity_that_cannot_be_used_is_told_beside_what_the_others_found():
    labels = [row.label for row in rows([found(Key.EMAIL, ANNA)], {Key.EMAIL: ANNA}, unusable=Key)]

    assert labels == ["Not usable"] * len(Key)


def test_the_same_ambiguity_of_several_sources_is_one_row():
    findings = [
        finding(Outcome.AMBIGUOUS, Key.PHONE, count=2, source=name) for name in ("crm", "shop")
    ]
    findings.append(finding(Outcome.AMBIGUOUS, Key.EMAIL, count=2, source="web"))

    assert len(rows(findings, EVERYTHING)) == 2


def test_somebody_else_with_the_phone_is_told_by_source_and_key_alone():
    findings = [found(Key.EMAIL, ANNA), finding(Outcome.CONTRADICTED, Key.PHONE, source="shop")]
    (row,) = rows(findings, {Key.EMAIL: ANNA, Key.PHONE: PHONE})

    assert row.label == "Somebody else"
    assert "shop" in row.text
    assert "phone number" in row.text


# Found by a phone, which people share


def test_another_address_than_the_one_asked_for_is_to_be_checked():
    (row,) = rows([found(Key.PHONE, "bo@example.com")], {Key.EMAIL: ANNA, Key.PHONE: PHONE})

    assert row.label == "Check who it is"
    assert "crm" in row.text


@pytest.mark.parametrize(
    ("match", "identities"),
    [
        (found(Key.PHONE, "bo@example.com", " ANNA@example.com"), {Key.EMAIL: ANNA}),
        (found(Key.PHONE), {Key.EMAIL: ANNA}),
        (found(Key.PHONE, "not given"), {Key.EMAIL: ANNA}),
        (found(Key.PHONE, "bo@example.com"), {}),
        (found(Key.EXTERNAL_ID, "bo@example.com"), {Key.EMAIL: ANNA}),
    ],
)
def test_there_is_nothing_to_check_without_an_address_that_differs(match, identities):
    assert rows([match], {Key.PHONE: PHONE, **identities}) == []


# Whatever is said


@pytest.mark.parametrize("locale", LOCALES)
def test_no_notice_holds_an_identity_a_reason_or_an_open_placeholder(locale):
    findings = [
        found(Key.PHONE, "bo@example.com"),
        *(
            finding(outcome, *Key, source=f"s{at}", reason="canary", count=7)
            for at, outcome in enumerate(Outcome)
            if outcome is not Outcome.FOUND
        ),
    ]
    said = rows(findings, EVERYTHING, locale, unusable={Key.EMAIL})
    said += rows(findings[1:2], EVERYTHING, locale) + rows([], EVERYTHING, locale)
    said += rows([], {}, locale)

    assert len(said) == 8
    for row in said:
        assert row.label
        assert not any(
            text in row.label + row.text
            for text in ("example.com", "46701740605", "K1", "canary", "{", "}")
        )


def test_the_name_of_a_source_is_no_placeholder():
    (text,) = texts([finding(Outcome.FAILED, source="{key}")], {Key.EMAIL: ANNA})

    assert text.startswith("{key} ")
