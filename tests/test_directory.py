"""The directory: who is found, who is not shown, and what a failing source does to the others."""

import gc
import logging
from dataclasses import replace
from threading import Barrier, Event, current_thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbox_plugin.directory import Directory
from imbox_plugin.identity import normal_email, normal_form, normal_phone
from imbox_plugin.model import Contact, Failure, Key, Lookup, Outcome, View, best_match
from imbox_plugin.resilience import Breaker, Guard
from imbox_plugin.sources import DataSource, SourceContext, SourceError
from imbox_plugin.sources.inline import InlineSource

ANNA = {
    "name": "Anna",
    "external_id": "K1",
    "contact_id": "77",
    "email": "anna@example.com",
    "phone": "070-174 06 05",
}
PHONE = "+46701740605"
BY_KEY = {
    Key.EXTERNAL_ID: "K1",
    Key.CONTACT_ID: "77",
    Key.EMAIL: "anna@example.com",
    Key.PHONE: PHONE,
}


class Told(DataSource):
    """Answers every question with what it was told, as a careless plugin might."""

    keys = frozenset(Key)

    def __init__(self, answer, name="told"):
        super().__init__({}, SourceContext(name=name, default_region="SE"))
        self.answer = answer
        self.lookups = []

    def find(self, lookup):
        self.lookups.append(lookup)
        return self.answer


class Raising(DataSource):
    """Fails at every question, and at the end."""

    keys = frozenset(Key)

    def __init__(self, error, name="raising"):
        super().__init__({}, SourceContext(name=name))
        self.error = error

    def find(self, _lookup):
        raise self.error

    def close(self):
        raise self.error


def inline(*people, name="crm", keys=Key):
    options = InlineSource.Options().load({"people": list(people)})
    source = InlineSource(options, SourceContext(name=name, default_region="SE"))
    source.keys = frozenset(keys)
    return source


def phone_book(name, *people):
    """A source that can be searched by phone only; everybody in it has the same one."""
    return inline(*({"phone": PHONE, **person} for person in people), name=name, keys={Key.PHONE})


def asked(**identities):
    return Lookup(View.TICKET, {Key(name): value for name, value in identities.items()})


def find(lookup, *sources):
    return Directory(sources).find(lookup)


def outcomes(findings):
    return {finding.source: finding.outcome for finding in findings}


def shown(findings):
    return {finding.source for finding in findings if finding.match}


# Asking


@pytest.mark.parametrize("key", Key)
def test_a_person_is_found_by_each_identity(key):
    (finding,) = find(Lookup(View.CALL, {key: BY_KEY[key]}), inline(ANNA))

    assert finding.outcome is Outcome.FOUND
    assert finding.match.contact.name == "Anna"
    assert (finding.match.source, finding.match.key) == ("crm", key)


def test_there_is_one_finding_for_each_source_in_their_order():
    sources = [inline(name="b"), inline(ANNA, name="a"), Raising(OSError(), name="c")]
    findings = find(asked(email="anna@example.com"), *sources)

    assert list(outcomes(findings).items()) == [
        ("b", Outcome.UNKNOWN),
        ("a", Outcome.FOUND),
        ("c", Outcome.FAILED),
    ]


def test_a_source_is_asked_by_the_strongest_identity_and_no_further_when_somebody_is_found():
    anna = Contact(external_id="K1", emails=("anna@example.com",))
    source = Told([anna])
    (finding,) = find(asked(phone=PHONE, email="anna@example.com", external_id="K1"), source)

    assert finding.asked == (Key.EXTERNAL_ID,)
    assert [lookup.identities for lookup in source.lookups] == [{Key.EXTERNAL_ID: "K1"}]


def test_weaker_identities_are_tried_one_by_one_until_somebody_is_found():
    source = inline(ANNA)
    (finding,) = find(asked(external_id="other", email="other@example.com", phone=PHONE), source)

    assert finding.match.key is Key.PHONE
    assert finding.asked == (Key.EXTERNAL_ID, Key.EMAIL, Key.PHONE)


@pytest.mark.parametrize("lookup", [asked(), asked(email="anna@example.com")])
def test_a_source_without_a_key_of_the_lookup_is_not_asked(lookup):
    source = Raising(AssertionError("asked"))
    source.keys = frozenset({Key.PHONE})
    (finding,) = find(lookup, source)

    assert finding.outcome is Outcome.NOT_ASKED
    assert finding.key is None


# Verifying


@pytest.mark.parametrize(
    ("key", "has", "value"),
    [
        (Key.EXTERNAL_ID, "rene", "rené"),
        (Key.EXTERNAL_ID, "k1", "K1"),
        (Key.EXTERNAL_ID, "0", "anna"),
        (Key.CONTACT_ID, "\N{KELVIN SIGN}1", "K1"),
        (Key.EMAIL, "asa@example.com", "åsa@example.com"),
        (Key.EMAIL, "anna@example.com", "anna@xn--exmple-cua.com"),
        (Key.PHONE, "08-174 06 05", PHONE),
    ],
)
def test_what_only_a_database_calls_equal_is_dropped_and_counted(key, has, value):
    identities = {Key.EMAIL: "emails", Key.PHONE: "phones"}
    row = Contact(**{identities[key]: (has,)} if key in identities else {key.value: has})
    (finding,) = find(Lookup(View.TICKET, {key: value}), Told([row]))

    assert finding.outcome is Outcome.UNKNOWN
    assert finding.match is None
    assert finding.dropped == 1


def test_what_was_dropped_is_counted_over_all_identities():
    source = Told([Contact(emails=("a@example.com",)), Contact(emails=("b@example.com",))])
    (finding,) = find(asked(external_id="K1", email="a@example.com"), source)

    assert finding.outcome is Outcome.FOUND
    assert finding.dropped == 3


def test_several_people_with_one_identity_show_nobody_and_are_counted():
    people = [{**ANNA, "external_id": f"K{number}"} for number in range(3)]
    (finding,) = find(asked(email="anna@example.com", phone=PHONE), inline(*people))

    assert finding.outcome is Outcome.AMBIGUOUS
    assert finding.match is None
    assert finding.count == 3
    assert finding.asked == (Key.EMAIL,)


def test_people_without_an_id_are_different_when_anything_is():
    (finding,) = find(asked(phone=PHONE), phone_book("crm", {"name": "Anna"}, {"name": "Bo"}))

    assert finding.outcome is Outcome.AMBIGUOUS


@pytest.mark.parametrize("again", [ANNA, {**ANNA, "details": {"order": "7"}}])
def test_rows_of_one_person_are_one_person(again):
    (finding,) = find(asked(phone=PHONE), inline(ANNA, again))

    assert finding.outcome is Outcome.FOUND


# Failing


def test_a_source_that_cannot_say_is_a_finding_and_the_others_still_answer(caplog):
    failing = Raising(SourceError("the database refuses the password; correct it"), name="shop")
    crm, shop = find(asked(email="anna@example.com", phone=PHONE), inline(ANNA), failing)

    assert crm.outcome is Outcome.FOUND
    assert shop.outcome is Outcome.FAILED
    assert shop.reason == "the database refuses the password; correct it"
    assert shop.asked == (Key.EMAIL,)
    assert "source shop cannot say: the database refuses the password" in caplog.text


def test_an_unexpected_exception_is_told_by_its_kind_and_place_alone(caplog):
    caplog.set_level(logging.DEBUG)
    error = ValueError("no customer anna@example.com, K1, secret")
    error.__cause__ = LookupError("nor +46701740605")
    (finding,) = find(asked(external_id="K1", email="anna@example.com"), Raising(error))

    assert finding.outcome is Outcome.FAILED
    assert "ValueError" in finding.reason
    assert "ValueError at" in caplog.text
    assert "test_directory.py" in caplog.text
    for canary in ("anna", "K1", "secret", PHONE):
        assert canary not in caplog.text + repr(finding)


def test_a_failure_that_comes_while_rows_are_read_is_no_error_either():
    def rows():
        yield Contact(external_id="K1")
        raise OSError("connection lost")

    (finding,) = find(asked(external_id="K1"), Told(rows()))

    assert finding.outcome is Outcome.FAILED
    assert finding.match is None


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_stops_the_server_is_not_swallowed(stop):
    with pytest.raises(stop):
        find(asked(external_id="K1"), Raising(stop()))


def of_anna(**wrong):
    return [Contact(**{"external_id": "K1", "name": "Anna", **wrong})]


@pytest.mark.parametrize(
    ("answer", "culprit"),
    [
        (None, "None instead of a list"),
        (Contact(external_id="K1"), "Contact instead of a list"),
        ("K1", "str instead of a list"),
        ({"external_id": "K1"}, "dict instead of a list"),
        ([{"external_id": "K1"}], "dict instead of a Contact"),
        (of_anna(emails="anna@example.com"), "str as the emails"),
        (of_anna(emails=None), "None as the emails"),
        (of_anna(emails=(None,)), "the emails of a contact, instead of a tuple of str"),
        (of_anna(phones="0701740605"), "str as the phones"),
        (of_anna(phones=701740605), "int as the phones"),
        (of_anna(external_id=1), "int as the external_id"),
        (of_anna(contact_id=1), "int as the contact_id"),
        (of_anna(name=b"Anna"), "bytes as the name"),
        (of_anna(details=None), "None as the details"),
        (of_anna(details={1: "x"}), "dict as the details of a contact, instead of a dict by str"),
    ],
)
def test_an_answer_of_the_wrong_type_is_a_failure_that_names_the_culprit(answer, culprit, caplog):
    (finding,) = find(asked(external_id="K1"), Told(answer))

    assert finding.outcome is Outcome.FAILED
    assert culprit in finding.reason
    assert "K1" not in caplog.text
    assert "nna" not in caplog.text


def test_one_contact_of_the_wrong_type_fails_a_source_even_beside_the_right_person():
    contacts = [Contact(external_id="K1"), Contact(external_id="K2", emails=None)]
    (finding,) = find(asked(external_id="K1"), Told(contacts))

    assert finding.outcome is Outcome.FAILED


def test_lists_do_for_tuples():
    (finding,) = find(asked(phone=PHONE), Told([Contact(emails=["a@b.se"], phones=[PHONE])]))

    assert finding.outcome is Outcome.FOUND


def test_details_that_cannot_be_compared_fail_their_source_alone():
    class Array:
        def __eq__(self, other):
            raise ValueError("the truth value of an array is ambiguous")

        __hash__ = None

    contacts = [Contact(phones=(PHONE,), details={"x": Array()}) for _ in range(2)]
    findings = find(asked(phone=PHONE), Told(contacts), inline(ANNA))

    assert outcomes(findings) == {"told": Outcome.FAILED, "crm": Outcome.FOUND}


def test_a_source_without_keys_fails_alone():
    class Keyless(DataSource):
        def find(self, _lookup):
            return []

    findings = find(asked(phone=PHONE), Keyless({}, SourceContext(name="keyless")), inline(ANNA))

    assert outcomes(findings) == {"keyless": Outcome.FAILED, "crm": Outcome.FOUND}


def test_all_sources_are_closed_even_when_some_fail_at_it():
    class Open(Told):
        closed = False

        def close(self):
            self.closed = True

    first, last = Open([]), Open([])
    with pytest.raises(SourceError, match="busy"):
        Directory([first, Raising(SourceError("busy")), last]).close()

    assert first.closed
    assert last.closed


# In time

#: seconds in which anything that is not stuck is done
AMPLE = 30


class Hanging(Told):
    """Answers its first question when it is released, the others at once."""

    def __init__(self, answer=(), name="hanging"):
        super().__init__(answer, name)
        self.release = Event()
        self.threads = []

    def find(self, lookup):
        self.lookups.append(lookup)
        self.threads.append(current_thread())
        if len(self.lookups) == 1:
            self.release.wait()
        return self.answer


@pytest.fixture
def hanging():
    source = Hanging([Contact(external_id="K1"), Contact(external_id="K2")])
    yield source
    source.release.set()


def test_a_source_that_hangs_is_left_out_at_the_deadline_and_the_others_are_shown(hanging, caplog):
    shop = inline(ANNA, name="shop")
    findings = Directory([inline(ANNA), hanging, shop], {}, 0.3).find(asked(external_id="K1"))

    assert list(outcomes(findings).items()) == [
        ("crm", Outcome.FOUND),
        ("hanging", Outcome.FAILED),
        ("shop", Outcome.FOUND),
    ]
    assert findings[1].failure is Failure.LATE
    assert findings[1].asked == (Key.EXTERNAL_ID,)
    assert "source hanging gave no answer: no answer by the deadline" in caplog.text
    assert "K1" not in caplog.text


def test_all_sources_are_asked_at_the_same_time():
    together = Barrier(3)

    class Meeting(Told):
        def find(self, lookup):
            together.wait(AMPLE)
            return super().find(lookup)

    sources = [Meeting([], name) for name in "abc"]
    findings = Directory(sources, {}, AMPLE).find(asked(external_id="K1"))

    assert set(outcomes(findings).values()) == {Outcome.UNKNOWN}


def test_what_a_source_says_too_late_is_not_said_of_the_next_person(hanging):
    directory = Directory([hanging], {"hanging": Guard(2)}, 0.1)
    directory.find(asked(external_id="K1"))
    hanging.release.set()
    (finding,) = Directory([hanging], {"hanging": directory.guards[0]}, AMPLE).find(
        asked(external_id="K2")
    )

    assert finding.match.contact.external_id == "K2"


def test_a_source_whose_threads_are_all_busy_is_refused_and_the_others_are_shown(hanging):
    guards = {"hanging": Guard(1)}
    lookup = asked(external_id="K1")
    Directory([hanging], guards, 0.1).find(lookup)
    findings = Directory([inline(ANNA), hanging], guards, AMPLE).find(lookup)

    assert outcomes(findings) == {"crm": Outcome.FOUND, "hanging": Outcome.FAILED}
    assert findings[1].failure is Failure.BUSY
    assert findings[1].asked == ()
    assert len(hanging.lookups) == 1


def by_email(name="shop", *people):
    return inline(*people or [{"email": "anna@example.com"}], name=name, keys={Key.EMAIL})


def test_a_slow_source_keeps_no_other_from_being_asked_by_what_was_found(hanging):
    sources = [hanging, inline(ANNA), by_email()]
    findings = Directory(sources, {}, 0.4).find(asked(external_id="K1"))

    assert shown(findings) == {"crm", "shop"}
    assert findings[2].match.via == "crm"
    assert findings[0].failure is Failure.LATE


class Releasing(Told):
    """Lets another source go on when it is asked."""

    keys = frozenset({Key.EMAIL})

    def __init__(self, answer, hanging):
        super().__init__(answer, "shop")
        self.hanging = hanging

    def find(self, lookup):
        self.hanging.release.set()
        return super().find(lookup)


def test_a_source_that_is_slow_but_in_time_is_shown_as_well(hanging):
    hanging.answer = [Contact(external_id="K1")]
    shop = Releasing([Contact(emails=("anna@example.com",))], hanging)
    findings = Directory([hanging, inline(ANNA), shop], {}, 3).find(asked(external_id="K1"))

    assert shown(findings) == {"hanging", "crm", "shop"}
    assert findings[0].match.via is None


def test_a_slow_source_that_knows_nobody_is_asked_by_what_was_found(hanging):
    hanging.answer = []
    sources = [hanging, inline(ANNA), Releasing([], hanging)]
    findings = Directory(sources, {}, 3).find(asked(external_id="K1"))

    assert findings[0].asked == (Key.EXTERNAL_ID, Key.CONTACT_ID, Key.EMAIL, Key.PHONE)
    assert findings[2].asked == (Key.EMAIL,)


@pytest.mark.parametrize(
    "identities",
    [{"phone": PHONE}, {"external_id": "of nobody", "email": "anna@example.com"}],
)
def test_whoever_is_not_known_for_sure_leads_to_nobody_while_a_source_is_slow(hanging, identities):
    shop = Told([], name="shop")
    shop.keys = frozenset({Key.CONTACT_ID})
    guards = {"shop": Guard(1, Breaker(failures=1))}
    sources = [hanging, inline(ANNA), shop]
    findings = Directory(sources, guards, 0.3).find(asked(**identities))

    assert shown(findings) == {"crm"}
    assert shop.lookups == []
    assert findings[2].failure is Failure.UNASKED
    assert guards["shop"].breaker.state.reason == ""


def test_the_time_that_is_spent_already_is_not_to_be_had_again(hanging):
    findings = Directory([hanging, inline(ANNA)], {}, AMPLE).find(asked(external_id="K1"), AMPLE)

    assert {finding.failure for finding in findings} == {Failure.UNASKED}


def test_a_source_that_hangs_when_it_is_asked_again_is_left_out(hanging):
    hanging.keys = frozenset({Key.EMAIL})
    findings = Directory([inline(ANNA), hanging], {}, 0.3).find(asked(external_id="K1"))

    assert shown(findings) == {"crm"}
    assert findings[1].failure is Failure.LATE


def test_a_source_is_not_asked_by_weaker_identities_when_nobody_waits_any_more(hanging):
    hanging.answer = []
    Directory([hanging], {}, 0.1).find(asked(external_id="K1", email="anna@example.com"))
    hanging.release.set()
    gc.collect()
    hanging.threads[0].join(AMPLE)

    assert [lookup.key for lookup in hanging.lookups] == [Key.EXTERNAL_ID]


@pytest.mark.parametrize("permanent", [False, True])
def test_a_source_that_fails_again_and_again_is_asked_no_more(permanent):
    source = Told(None)
    error = SourceError("the database refuses the password", permanent=permanent)
    source.find = Raising(error).find
    directory = Directory([source], {"told": Guard(1, Breaker(failures=2))}, AMPLE)
    for _ in range(2):
        directory.find(asked(external_id="K1"))
    source.find = Told([Contact(external_id="K1")]).find
    (finding,) = directory.find(asked(external_id="K1"))

    assert finding.outcome is Outcome.FAILED
    assert finding.failure is Failure.ERROR
    assert "the database refuses the password" in finding.reason
    assert finding.asked == ()


def test_what_stops_the_server_leaves_no_trial_of_another_source_behind(hanging):
    now = [0.0]
    breaker = Breaker(failures=1, reset=1, clock=lambda: now[0])
    breaker.failed(breaker.permit(), "down")
    now[0] = 1.0
    directory = Directory([Raising(SystemExit()), hanging], {"hanging": Guard(1, breaker)}, AMPLE)
    with pytest.raises(SystemExit):
        directory.find(asked(external_id="K1"))

    assert breaker.permit()


# Agreeing: a phone is shared by households and inherited by strangers


def test_whoever_has_the_phone_but_other_addresses_than_the_person_found_is_left_out():
    findings = find(
        asked(email="anna@example.com", phone=PHONE),
        inline(ANNA),
        phone_book("shop", {"name": "Bo", "email": "bo@example.com"}),
    )

    assert outcomes(findings) == {"crm": Outcome.FOUND, "shop": Outcome.CONTRADICTED}
    assert shown(findings) == {"crm"}


@pytest.mark.parametrize("emails", [["bo@example.com", " ANNA@EXAMPLE.COM "], [], ["not given"]])
def test_whoever_has_the_phone_and_no_other_addresses_belongs_to_the_person_found(emails):
    findings = find(
        asked(external_id="K1", phone=PHONE), phone_book("shop", {"emails": emails}), inline(ANNA)
    )

    assert shown(findings) == {"shop", "crm"}


def test_somebody_with_another_address_alone_is_shown_for_the_card_to_warn():
    book = phone_book("shop", {"email": "bo@example.com"})
    findings = find(asked(email="anna@example.com", phone=PHONE), inline(name="crm"), book)

    assert shown(findings) == {"shop"}


def test_sources_that_know_different_people_with_the_phone_show_nobody():
    findings = find(
        asked(phone=PHONE),
        inline(ANNA),
        phone_book("shop", {"email": "bo@example.com"}),
        phone_book("web", {"email": "Anna@example.com"}),
        phone_book("list", {"name": "?"}),
    )

    assert set(outcomes(findings).values()) == {Outcome.AMBIGUOUS}
    assert shown(findings) == set()
    assert {finding.count for finding in findings} == {2}


def test_addresses_that_one_source_knows_together_are_one_persons():
    findings = find(
        asked(phone=PHONE),
        phone_book("work", {"email": "anna@work.example.com"}),
        phone_book("home", {"email": "anna@home.example.com"}),
        phone_book("both", {"emails": ["anna@home.example.com", "anna@work.example.com"]}),
    )

    assert shown(findings) == {"work", "home", "both"}


def test_a_phone_that_one_source_knows_to_be_shared_shows_nobody_of_another():
    findings = find(
        asked(phone=PHONE), inline(ANNA), phone_book("shop", {"name": "Bo"}, {"name": "Cia"})
    )

    assert outcomes(findings) == {"crm": Outcome.AMBIGUOUS, "shop": Outcome.AMBIGUOUS}
    assert {finding.count for finding in findings} == {2}


def test_a_shared_phone_hides_nobody_who_was_found_by_anything_else():
    findings = find(
        asked(email="anna@example.com", phone=PHONE),
        inline(ANNA),
        phone_book("shop", {"name": "Bo"}, {"name": "Cia"}),
        phone_book("web", {"email": "anna@example.com"}),
        phone_book("list", {"name": "?"}),
    )

    assert shown(findings) == {"crm", "web"}
    assert findings[3].outcome is Outcome.AMBIGUOUS


def test_an_address_that_several_people_share_says_nothing_about_their_phones():
    sharers = [{"external_id": id_, "email": "info@example.com"} for id_ in ("K1", "K2")]
    findings = find(
        asked(email="info@example.com", phone=PHONE),
        inline(*sharers),
        phone_book("shop", {"name": "Bo"}),
    )

    assert outcomes(findings) == {"crm": Outcome.AMBIGUOUS, "shop": Outcome.FOUND}


def test_a_phone_match_with_the_address_that_was_asked_for_is_the_person():
    findings = find(
        asked(email="anna@example.com", phone=PHONE),
        phone_book("shop", {"email": "bo@example.com"}),
        phone_book("web", {"email": "anna@example.com"}),
    )

    assert outcomes(findings) == {"shop": Outcome.CONTRADICTED, "web": Outcome.FOUND}


def test_people_with_the_phone_contradict_each_other_beside_somebody_without_an_address():
    findings = find(
        asked(external_id="K1", phone=PHONE),
        inline({"external_id": "K1"}),
        phone_book("shop", {"email": "bo@example.com"}),
        phone_book("web", {"email": "cia@example.com"}),
    )

    assert shown(findings) == {"crm"}


def test_once_somebody_else_has_the_phone_it_says_nothing_more_about_anybody():
    findings = find(
        asked(email="anna@example.com", phone=PHONE),
        inline(ANNA),
        phone_book("shop", {"email": "bo@example.com"}),
        phone_book("list", {"name": "?"}),
    )

    assert shown(findings) == {"crm"}
    assert findings[2].outcome is Outcome.AMBIGUOUS


def test_people_with_one_email_are_not_told_apart_by_their_other_addresses():
    findings = find(
        asked(email="anna@example.com"),
        inline({"emails": ["anna@example.com", "a@example.com"]}, name="a"),
        inline({"emails": ["anna@example.com", "b@example.com"]}, name="b"),
    )

    assert shown(findings) == {"a", "b"}


# The second wave: by the identities of whom the first one found


def knows(name, *people, keys=frozenset(Key), **context):
    """A source of people that can be searched by some identities only."""
    source = inline(*people, name=name, keys=keys)
    source.context = replace(source.context, **context)
    return source


BUYER = {"external_id": "900", "emails": ["anna@example.com"]}


def test_a_source_without_the_key_is_asked_by_the_contact_that_another_found():
    shop = knows("shop", BUYER, keys={Key.EMAIL})

    crm_found, shop_found = find(asked(external_id="K1"), knows("crm", ANNA), shop)

    assert crm_found.match.via is None
    assert (shop_found.match.key, shop_found.match.via) == (Key.EMAIL, "crm")


def test_a_source_that_knows_its_own_ids_is_asked_by_email_as_well():
    findings = find(asked(external_id="K1"), knows("crm", ANNA), knows("shop", BUYER))

    assert shown(findings) == {"crm", "shop"}
    assert findings[1].asked[0] is Key.EXTERNAL_ID


def test_a_source_is_not_asked_by_an_external_id_of_another_system():
    shop = knows("shop", {"external_id": "K1"}, keys={Key.EXTERNAL_ID})

    findings = find(asked(email="anna@example.com"), knows("crm", ANNA), shop)

    assert shown(findings) == {"crm"}
    assert findings[1].outcome is Outcome.NOT_ASKED


def test_a_source_is_asked_by_an_external_id_when_the_settings_say_that_they_share_them():
    shop = knows(
        "shop", {"external_id": "K1"}, keys={Key.EXTERNAL_ID}, enrich=frozenset({Key.EXTERNAL_ID})
    )

    findings = find(asked(email="anna@example.com"), knows("crm", ANNA), shop)

    assert shown(findings) == {"crm", "shop"}


def test_a_source_that_does_not_enrich_is_asked_by_what_imbox_sent_only():
    shop = knows("shop", BUYER, keys={Key.EMAIL}, enrich=frozenset())

    findings = find(asked(external_id="K1"), knows("crm", ANNA), shop)

    assert shown(findings) == {"crm"}


def test_whoever_shares_only_the_phone_of_the_contact_is_left_out_for_another_email():
    husband = {"emails": ["bo@example.com"], "phones": ["+46701740605"]}
    shop = knows("shop", husband, keys={Key.PHONE})

    findings = find(asked(external_id="K1"), knows("crm", ANNA), shop)

    assert shown(findings) == {"crm"}
    assert findings[1].outcome is Outcome.CONTRADICTED


def test_nobody_is_asked_again_when_several_people_were_found():
    crm = knows("crm", ANNA, {**ANNA, "external_id": "K2"}, keys={Key.PHONE})
    shop = knows("shop", BUYER, keys={Key.EMAIL})

    findings = find(asked(phone="+46701740605"), crm, shop)

    assert shown(findings) == set()
    assert findings[1].outcome is Outcome.NOT_ASKED


def test_a_source_that_fails_when_it_is_asked_again_is_a_failed_source():
    shop = Raising(SourceError("gone"))
    shop.keys = frozenset({Key.EMAIL})

    findings = find(asked(external_id="K1"), knows("crm", ANNA), shop)

    assert shown(findings) == {"crm"}
    assert findings[1].outcome is Outcome.FAILED


def test_the_best_match_is_the_one_that_imbox_asked_for():
    crm = knows("crm", ANNA, keys={Key.PHONE})
    shop = knows("shop", BUYER, keys={Key.EMAIL})

    best = best_match(find(asked(phone="+46701740605"), shop, crm))

    assert best.source == "crm"


# Whatever comes: no match without the identity that was asked for

IDS = ["K1", "k1", "K1 ", "\N{KELVIN SIGN}1", "rené", "rene", "rene\u0301", "..", "' OR 1=1--", "0"]
EMAILS = [
    *("anna@example.com", "ANNA@example.com", "ånna@example.com", "anna@exämple.com"),
    *("anna@example.com ", "\N{KELVIN SIGN}anna@example.com", "kanna@example.com", "", "%", "a@%"),
]
PHONES = [
    *("070-174 06 05", "+46701740605", "0046701740605", "070-174 06 06", "+46 8 123 456 XX"),
    *("+468123456", "08123456", "+46708123456", "", "*"),
]
ids = st.none() | st.sampled_from(IDS) | st.text(max_size=5)
texts = {
    "emails": st.sampled_from(EMAILS) | st.text(max_size=5),
    "phones": st.sampled_from(PHONES) | st.text("0123456789+- ", max_size=12),
}
contacts = st.builds(
    Contact,
    external_id=ids,
    contact_id=ids,
    **{name: st.lists(text, max_size=2).map(tuple) for name, text in texts.items()},
)
careless = st.builds(Told, st.lists(contacts, max_size=3))


@st.composite
def lookups(draw):
    given_ = {
        Key.EXTERNAL_ID: draw(ids),
        Key.CONTACT_ID: draw(ids),
        Key.EMAIL: draw(st.none() | texts["emails"]),
        Key.PHONE: draw(st.none() | texts["phones"]),
    }
    forms = {key: normal_form(key, text or "", "SE") for key, text in given_.items()}
    return Lookup(View.CHAT, {key: form for key, form in forms.items() if form})


def forms_of(contact, key):
    if key is Key.EMAIL:
        return set(map(normal_email, contact.emails))
    if key is Key.PHONE:
        return {normal_phone(text, "SE") for text in contact.phones}
    id_ = contact.external_id if key is Key.EXTERNAL_ID else contact.contact_id
    return {(id_ or "").strip()}


def asked_for(lookup, findings, match):
    """The forms that a match may have been found by: ImBox's, or those of whom ImBox's found."""
    if match.via is None:
        return {lookup.identities[match.key]}
    first = [finding.match for finding in findings if finding.match and not finding.match.via]
    return set().union(*(forms_of(found.contact, match.key) for found in first))


@settings(max_examples=150, deadline=None)
@given(lookups(), st.lists(careless, max_size=3))
def test_nobody_is_ever_shown_without_the_identity_asked_for(lookup, sources):
    findings = find(lookup, *sources)

    for finding in findings:
        assert (finding.match is not None) == (finding.outcome is Outcome.FOUND)
        if finding.match:
            assert finding.match.key is finding.key
            forms = forms_of(finding.match.contact, finding.key)
            assert asked_for(lookup, findings, finding.match) & forms


def test_each_hostile_identity_finds_its_owner_or_nobody(corpus):
    def identities(text):
        return {**dict.fromkeys(Key, text), Key.EMAIL: f"{text}@example.com"}

    def of(text):
        own = identities(text)
        emails, phones = (own[Key.EMAIL],), (own[Key.PHONE],)
        return Contact(name=text, external_id=text, contact_id=text, emails=emails, phones=phones)

    payloads = [line["payload"] for line in corpus("identity_hostile_values")]
    everybody = [of(text) for text in payloads]
    sources = [Told(everybody), *(Told([person]) for person in everybody[::4])]
    owners = set()
    for key in Key:
        for text in payloads:
            form = normal_form(key, identities(text)[key], "SE")
            lookup = Lookup(View.CHAT, {key: form} if form else {})
            for match in filter(None, (finding.match for finding in find(lookup, *sources))):
                if match.via is None:
                    owners.add(match.contact.name)
                    assert normal_form(key, identities(match.contact.name)[key], "SE") == form

    assert len(owners) > len(payloads) / 2


@settings(deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcd"), max_size=2), min_size=1, max_size=4))
def test_people_are_shown_by_a_phone_when_their_addresses_make_them_one(known):
    persons = [names for names in known if names]
    for _ in known:
        persons = [set().union(*(other for other in persons if other & one)) for one in persons]
    people = [
        Contact(phones=(PHONE,), emails=tuple(f"{name}@example.com" for name in names))
        for names in known
    ]
    findings = find(asked(phone=PHONE), *(Told([person]) for person in people))

    is_one = all(person == persons[0] for person in persons)
    assert [finding.match is not None for finding in findings] == [is_one] * len(known)
