"""Answers are shown again for a while, equal questions asked once, and a purge forgets all."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal
from threading import Event

import pytest

from imbox_plugin.cache import Cache, Kept, Memory, Purges
from imbox_plugin.directory import Directory
from imbox_plugin.model import Contact, Failure, Key, Lookup, Outcome, View
from imbox_plugin.resilience import Breaker, Guard
from imbox_plugin.seals import Seal
from imbox_plugin.settings import CacheTable
from imbox_plugin.sources import DataSource, SourceContext, SourceError

HANGS = 10.0
ANNA = Contact(
    name="Anna",
    external_id="K1",
    emails=("anna@example.com",),
    phones=("070-174 06 05",),
    details={"since": date(2026, 11, 1), "balance": Decimal("0.10"), "tags": ("a", "b")},
)
BO = Contact(name="Bo", external_id="K2", emails=("bo@example.com",), phones=("070-174 06 05",))


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds

    def go_on(self, seconds):
        self.seconds += seconds


class Shop(DataSource):
    """Knows whom it is told to, counts how often it is asked, and fails or waits when told to."""

    keys = frozenset(Key)
    by_identity_alone = True

    def __init__(self, *people, name="shop"):
        super().__init__({}, SourceContext(name=name, default_region="SE"))
        self.people = people
        self.asked = []
        self.error = None
        self.gate = Event()
        self.gate.set()

    def find(self, lookup):
        people = self.people
        self.asked.append(lookup.value)
        assert self.gate.wait(HANGS)
        if self.error:
            raise self.error
        return [one for one in people if lookup.value in (one.external_id, *one.emails)] or (
            [one for one in people if one.phones] if lookup.key is Key.PHONE else []
        )


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def purges(tmp_path):
    return Purges(tmp_path / "state")


@pytest.fixture
def cached(clock, purges):
    """A directory of sources whose answers are kept."""

    def cached(*sources, life=None, time_limit=HANGS, **options):
        life = life or CacheTable()
        names = Seal(["a secret key for the tests only"], "cache")
        caches = {
            source.context.name: Cache(
                Memory(purges, life.entries, clock),
                life,
                names,
                source.context.name,
                alone=source.by_identity_alone,
            )
            for source in sources
        }
        return Directory(sources, time_limit=time_limit, caches=caches, **options)

    return cached


def by(**identities):
    return Lookup(View.TICKET, {Key(name): value for name, value in identities.items()})


def only(findings):
    (finding,) = findings
    return finding


# Fresh


def test_the_same_question_is_put_once_within_its_time(cached, clock):
    shop = Shop(ANNA)
    directory = cached(shop)
    live = only(directory.find(by(external_id="K1")))
    clock.go_on(29)
    kept = only(directory.find(by(external_id="K1")))

    assert shop.asked == ["K1"]
    assert kept.match.contact == live.match.contact == ANNA
    assert kept.asked == live.asked
    assert (live.age, kept.age, kept.match.age) == (0, 29, 29)
    assert (live.fresh, kept.fresh, kept.seconds) == (30, 1, 0)


def test_what_was_kept_has_the_types_that_the_source_gave(cached):
    directory = cached(Shop(ANNA))
    directory.find(by(external_id="K1"))
    details = only(directory.find(by(external_id="K1"))).match.contact.details

    assert details == ANNA.details
    assert [type(value) for value in details.values()] == [date, Decimal, tuple]


def test_the_source_is_asked_again_when_the_time_is_over(cached, clock):
    shop = Shop(ANNA)
    directory = cached(shop)
    directory.find(by(external_id="K1"))
    clock.go_on(30)
    shop.people = (Contact(name="Anna Ek", external_id="K1"),)

    assert only(directory.find(by(external_id="K1"))).match.contact.name == "Anna Ek"


@pytest.mark.parametrize("people", [(), (ANNA, BO)], ids=["unknown", "ambiguous"])
def test_that_nobody_is_shown_is_kept_for_a_shorter_time(cached, clock, people):
    shop = Shop(*people)
    directory = cached(shop)
    first = only(directory.find(by(phone="+46701740605")))
    clock.go_on(9)
    kept = only(directory.find(by(phone="+46701740605")))
    clock.go_on(1)
    directory.find(by(phone="+46701740605"))

    assert (kept.outcome, kept.count) == (first.outcome, first.count)
    assert len(shop.asked) == 2


def test_a_failure_is_not_kept(cached):
    shop = Shop(ANNA)
    directory = cached(shop)
    shop.error = SourceError("down")
    failed = only(directory.find(by(external_id="K1")))
    shop.error = None

    assert (failed.outcome, failed.fresh) == (Outcome.FAILED, 0)
    assert only(directory.find(by(external_id="K1"))).outcome is Outcome.FOUND


def test_another_question_has_another_answer(cached):
    shop = Shop(ANNA, BO)
    directory = cached(shop)

    for key, value, name in [
        ("external_id", "K1", "Anna"),
        ("external_id", "K2", "Bo"),
        ("email", "bo@example.com", "Bo"),
        ("external_id", "K1", "Anna"),
    ]:
        assert only(directory.find(by(**{key: value}))).match.contact.name == name
    assert len(shop.asked) == 3


def test_the_keys_that_found_nobody_are_part_of_the_question(cached):
    shop = Shop(ANNA)
    directory = cached(shop)
    for _ in range(2):
        finding = only(directory.find(by(external_id="other", email="anna@example.com")))

    assert finding.asked == (Key.EXTERNAL_ID, Key.EMAIL)
    assert finding.match.key is Key.EMAIL
    assert shop.asked == ["other", "anna@example.com"]


OTHERS = [
    Lookup(View.CHAT, {Key.EXTERNAL_ID: "K1"}),
    Lookup(View.TICKET, {Key.EXTERNAL_ID: "K1"}, ticket_id="7"),
    Lookup(View.TICKET, {Key.EXTERNAL_ID: "K1"}, channel_id="7"),
    Lookup(View.TICKET, {Key.EXTERNAL_ID: "K1"}, call_id="7"),
    Lookup(View.TICKET, {Key.EXTERNAL_ID: "K1"}, extras={"team": "a"}),
    Lookup(View.TICKET, {Key.EXTERNAL_ID: "K1"}, extras={"team": "b"}),
    Lookup(View.TICKET, {Key.EXTERNAL_ID: "K1"}, unusable=frozenset({Key.EMAIL})),
    Lookup(View.TICKET, {Key.EXTERNAL_ID: "K1"}, distrusted=frozenset({Key.EMAIL})),
]


@pytest.mark.parametrize("alone", [True, False])
def test_what_else_is_in_a_lookup_counts_unless_the_source_says_otherwise(cached, alone):
    shop = Shop(ANNA)
    shop.by_identity_alone = alone
    directory = cached(shop)
    for lookup in [by(external_id="K1"), *OTHERS]:
        assert only(directory.find(lookup)).match.contact == ANNA

    assert len(shop.asked) == (1 if alone else 1 + len(OTHERS))


def test_two_sources_do_not_share_their_answers(cached):
    findings = None
    directory = cached(Shop(ANNA, name="crm"), Shop(name="shop"))
    for _ in range(2):
        findings = directory.find(by(external_id="K1"))

    assert [finding.outcome for finding in findings] == [Outcome.FOUND, Outcome.UNKNOWN]


def test_a_source_that_is_asked_about_whom_another_found_is_asked_once(cached):
    crm, shop = Shop(ANNA, name="crm"), Shop(ANNA, name="shop")
    shop.keys = frozenset({Key.EMAIL})
    directory = cached(crm, shop)
    first = directory.find(by(external_id="K1"))
    second = directory.find(by(external_id="K1"))

    assert shop.asked == ["anna@example.com"]
    assert [finding.match.via for finding in second] == [None, "crm"]
    assert [finding.outcome for finding in second] == [finding.outcome for finding in first]


def test_what_two_questions_found_out_is_as_fresh_as_the_older_answer(cached):
    crm = Shop(ANNA, name="crm")
    shop = Shop(Contact(phones=ANNA.phones), name="shop")
    shop.keys = frozenset({Key.EMAIL, Key.PHONE})
    _, found = cached(crm, shop).find(by(email="anna@example.com"))

    assert found.asked == (Key.EMAIL, Key.PHONE)
    assert (found.outcome, found.fresh) == (Outcome.FOUND, 10)


def test_nothing_that_is_done_to_an_answer_changes_what_is_kept(cached):
    directory = cached(Shop(ANNA))
    for _ in range(2):
        found = only(directory.find(by(external_id="K1"))).match.contact
    found.details["balance"] = "stolen"

    assert only(directory.find(by(external_id="K1"))).match.contact.details == ANNA.details


def test_what_cannot_be_stored_is_shown_and_not_kept(cached, caplog):
    shop = Shop(Contact(external_id="K1", details={"photo": object()}))
    directory = cached(shop)
    for _ in range(2):
        assert only(directory.find(by(external_id="K1"))).outcome is Outcome.FOUND

    assert len(shop.asked) == 2
    assert caplog.text.count("source shop: answers are not cached: a object cannot be stored") == 1


def test_what_was_shown_last_is_kept_when_there_is_no_more_room(cached):
    people = [Contact(external_id=f"K{number}") for number in range(3)]
    shop = Shop(*people)
    directory = cached(shop, life=CacheTable(entries=2))
    for who in ("K0", "K1", "K0", "K2", "K0", "K1"):
        directory.find(by(external_id=who))

    assert shop.asked == ["K0", "K1", "K2", "K1"]


def test_an_answer_that_is_too_large_is_shown_and_not_kept(cached, caplog):
    shop = Shop(Contact(external_id="K1", details={"orders": "x" * 256_000}))
    directory = cached(shop)
    for _ in range(2):
        assert only(directory.find(by(external_id="K1"))).outcome is Outcome.FOUND

    assert len(shop.asked) == 2
    assert caplog.text.count("source shop: answers of more than 256 KB are not cached") == 1


def filled(store, clock, numbers, size=1_000_000):
    """The store with answers of this size, by the names of these numbers."""
    generation = store.read("")().generation
    for number in numbers:
        store.keep(str(number), Kept(b"x" * size, clock()), 60, generation)
    return store


def names(store, numbers):
    return [number for number in numbers if store.read(str(number))().kept]


def test_many_large_answers_are_not_kept_beyond_a_limit_of_bytes(purges, clock):
    store = filled(Memory(purges, 1000, clock), clock, range(31))
    store.read("0")
    filled(store, clock, range(31, 40))

    assert names(store, range(40)) == [0, *range(10, 40)]


def test_many_small_answers_count_with_what_they_take_beside_their_content(purges, clock):
    store = filled(Memory(purges, 100_000, clock), clock, range(100_000), 1)

    assert len(store) == 79_800


def test_what_is_not_there_any_more_takes_no_room(purges, clock):
    """Replaced, purged, or too old, found so by a look or by the next answer."""
    store = filled(Memory(purges, 1000, clock), clock, [0] * 100)
    purges.purge("all")
    filled(store, clock, range(20))
    clock.go_on(60)
    names(store, range(5))
    filled(store, clock, [20])
    filled(store, clock, range(21, 51))

    assert names(store, range(60)) == [*range(20, 51)]


def test_what_nobody_asks_for_any_more_is_not_kept_beyond_its_time(purges, clock):
    store = Memory(purges, 10, clock)
    shop = Shop(ANNA, BO)
    names = Seal(["a secret key for the tests only"], "cache")
    cache = Cache(store, CacheTable(), names, "shop", alone=True)
    directory = Directory([shop], caches={"shop": cache})
    directory.find(by(external_id="K1"))
    clock.go_on(301)
    directory.find(by(external_id="K2"))

    assert len(store) == 1


def test_what_is_kept_is_verified_like_what_a_source_says(cached, monkeypatch):
    shop = Shop(ANNA)
    directory = cached(shop)
    directory.find(by(external_id="K1"))
    # As if two questions had the same name.
    monkeypatch.setattr(Seal, "name", lambda *_: "the same")
    directory.find(by(external_id="K1"))
    other = only(directory.find(by(external_id="K9")))

    assert (other.outcome, other.match) == (Outcome.UNKNOWN, None)


# Failing


def failing(cached, clock, lookup, age, *people, **options):
    """What is said of a source that answered and fails when so many seconds have passed."""
    shop = Shop(*people)
    directory = cached(shop, **options)
    directory.find(lookup)
    clock.go_on(age)
    shop.error = SourceError("the shop is closed; open it")
    return only(directory.find(lookup))


def test_while_a_source_fails_what_it_said_before_is_shown_with_its_age(cached, clock):
    finding = failing(cached, clock, by(external_id="K1"), 299, ANNA)

    assert finding.outcome is Outcome.FOUND
    assert finding.match.contact == ANNA
    assert (finding.is_stale, finding.age, finding.match.age, finding.fresh) == (True, 299, 299, 0)
    assert finding.reason == "the shop is closed; open it"


def test_beyond_its_bound_nothing_stands_in_for_a_source(cached, clock):
    finding = failing(cached, clock, by(external_id="K1"), 300, ANNA)

    assert (finding.outcome, finding.match) == (Outcome.FAILED, None)


def test_nothing_stands_in_when_the_settings_say_so(cached, clock):
    life = CacheTable(stale_if_error=0)
    finding = failing(cached, clock, by(external_id="K1"), 31, ANNA, life=life)

    assert finding.outcome is Outcome.FAILED


def test_that_nobody_was_known_does_not_stand_in_for_a_source(cached, clock):
    finding = failing(cached, clock, by(external_id="K1"), 11)

    assert finding.outcome is Outcome.FAILED


def test_that_several_share_a_phone_keeps_them_unshown_while_the_source_fails(cached, clock):
    finding = failing(cached, clock, by(phone="+46701740605"), 60, ANNA, BO)

    assert (finding.outcome, finding.count, finding.is_stale) == (Outcome.AMBIGUOUS, 2, True)


GONE = {
    "denied": (),
    "no value to be stored": (replace(ANNA, details={"photo": object()}),),
    "too large": (replace(ANNA, details={"orders": "x" * 256_000}),),
}


@pytest.mark.parametrize("people", GONE.values(), ids=GONE)
def test_what_a_source_said_before_is_over_when_it_has_said_something_else(cached, clock, people):
    shop = Shop(ANNA)
    directory = cached(shop, life=CacheTable(ttl=1, negative_ttl=0, stale_if_error=60))
    directory.find(by(external_id="K1"))
    clock.go_on(2)
    shop.people = people
    directory.find(by(external_id="K1"))
    shop.error = SourceError("down")
    clock.go_on(2)

    assert only(directory.find(by(external_id="K1"))).outcome is Outcome.FAILED


@pytest.mark.parametrize("negative_ttl", [0, 10])
def test_an_answer_from_before_a_denial_does_not_undo_it(purges, clock, negative_ttl):
    """As of a question that was given up, so that another was put, and is answered first."""
    store = Memory(purges, 10, clock)
    life = CacheTable(negative_ttl=negative_ttl)
    names = Seal(["a secret key for the tests only"], "cache")
    shop = Shop(ANNA)
    early, later = (
        Directory(
            [shop],
            time_limit=HANGS,
            caches={"shop": Cache(store, life, names, "shop", alone=True)},
        )
        for _ in range(2)
    )
    hanging = shop.gate
    hanging.clear()
    with ThreadPoolExecutor(1) as asker:
        before = asker.submit(early.find, by(external_id="K1"))
        until_all_wait(early, 1)
        clock.go_on(1)
        shop.gate, shop.people = Event(), ()
        shop.gate.set()
        denied = only(later.find(by(external_id="K1")))
        clock.go_on(11)
        shop.error = SourceError("down")
        later.find(by(external_id="K1"))
        shop.error = None
        hanging.set()
        found = only(before.result())
    shop.error = SourceError("down")
    after = only(later.find(by(external_id="K1")))

    assert (found.outcome, denied.outcome) == (Outcome.FOUND, Outcome.UNKNOWN)
    assert after.outcome is Outcome.FAILED


def test_a_source_that_hangs_or_is_left_alone_shows_what_it_said_before(cached, clock):
    shop = Shop(ANNA)
    guards = {"shop": Guard(breaker=Breaker(failures=1))}
    directory = cached(shop, time_limit=0.2, guards=guards)
    directory.find(by(external_id="K1"))
    clock.go_on(31)
    shop.gate.clear()
    late = only(directory.find(by(external_id="K1")))
    alone = only(directory.find(by(external_id="K1")))
    shop.gate.set()

    assert late.is_stale
    assert "no answer by the deadline" in late.reason
    assert alone.is_stale
    assert "left alone" in alone.reason
    assert len(shop.asked) == 2


def test_a_fresh_answer_needs_neither_time_nor_a_thread(cached):
    shop = Shop(ANNA)
    guards = {"shop": Guard(threads=1)}
    directory = cached(shop, time_limit=0.2, guards=guards)
    directory.find(by(external_id="K1"))
    shop.gate.clear()
    busy = only(directory.find(by(external_id="K2")))
    fresh = only(directory.find(by(external_id="K1")))
    shop.gate.set()

    assert busy.failure is Failure.LATE
    assert fresh.outcome is Outcome.FOUND


def test_an_answer_that_came_too_late_is_there_for_the_next(cached):
    shop = Shop(ANNA)
    guards = {"shop": Guard(threads=1)}
    directory = cached(shop, time_limit=0.05, guards=guards)
    shop.gate.clear()
    late = only(directory.find(by(external_id="K1")))
    shop.gate.set()
    while only(directory.find(by(external_id="K1"))).outcome is Outcome.FAILED:
        pass

    assert late.outcome is Outcome.FAILED
    assert shop.asked == ["K1"]


# One call for equal questions


def waiting(shop, directory, lookups):
    """The findings of questions that are all under way before the shop answers the first."""
    shop.gate.clear()
    with ThreadPoolExecutor(len(lookups)) as askers:
        findings = [askers.submit(directory.find, lookup) for lookup in lookups]
        until_all_wait(directory, len(lookups))
        shop.gate.set()
        return [only(finding.result()) for finding in findings]


def until_all_wait(directory, askers):
    """Wait until so many wait for an answer."""
    cache, shop = directory._caches[0], directory.sources[0]  # noqa: SLF001
    end = Event()
    for _ in range(1000):
        calls = list(cache._under_way.values())  # noqa: SLF001
        if sum(call._askers for call in calls) == askers and len(shop.asked) == len(calls):  # noqa: SLF001
            return
        end.wait(0.01)
    raise AssertionError("they did not come")


def test_sixteen_equal_questions_are_one_call(cached):
    shop = Shop(ANNA)
    findings = waiting(shop, cached(shop), [by(external_id="K1")] * 16)

    assert shop.asked == ["K1"]
    assert [finding.match.contact for finding in findings] == [ANNA] * 16


def test_different_questions_do_not_wait_for_each_other(cached):
    people = [Contact(external_id=f"K{number}") for number in range(8)]
    shop = Shop(*people)
    findings = waiting(shop, cached(shop), [by(external_id=f"K{n}") for n in range(8)])

    assert sorted(shop.asked) == [one.external_id for one in people]
    assert [finding.match.contact for finding in findings] == people


def test_a_failure_is_that_of_all_who_asked(cached):
    shop = Shop(ANNA)
    shop.error = SourceError("down")
    findings = waiting(shop, cached(shop), [by(external_id="K1")] * 4)

    assert [finding.reason for finding in findings] == ["down"] * 4
    assert shop.asked == ["K1"]


def test_a_call_that_was_given_up_is_not_waited_for_by_the_next(cached):
    shop = Shop(ANNA)
    directory = cached(shop, time_limit=0.05)
    shop.gate.clear()
    for _ in range(2):
        assert only(directory.find(by(external_id="K1"))).failure is Failure.LATE
    shop.gate.set()

    assert shop.asked == ["K1", "K1"]


# Purging


def test_after_a_purge_every_source_is_asked_again(cached, purges):
    shop = Shop(ANNA)
    directory = cached(shop)
    for _ in range(3):
        directory.find(by(external_id="K1"))
        purges.purge("all")

    assert shop.asked == ["K1"] * 3


def test_after_a_purge_nothing_stands_in_for_a_source(cached, clock, purges):
    shop = Shop(ANNA)
    directory = cached(shop)
    directory.find(by(external_id="K1"))
    purges.purge("all")
    shop.error = SourceError("down")
    clock.go_on(31)

    assert only(directory.find(by(external_id="K1"))).outcome is Outcome.FAILED


def test_an_answer_that_was_under_way_during_a_purge_is_not_kept(cached, purges):
    shop = Shop(ANNA)
    directory = cached(shop)
    shop.gate.clear()
    with ThreadPoolExecutor(1) as asker:
        before = asker.submit(directory.find, by(external_id="K1"))
        until_all_wait(directory, 1)
        purges.purge("all")
        shop.people = ()
        shop.gate.set()
        before.result()
    after = only(directory.find(by(external_id="K1")))

    assert only(before.result()).outcome is Outcome.FOUND
    assert after.outcome is Outcome.UNKNOWN


def test_whoever_asks_after_a_purge_does_not_get_an_answer_from_before(cached, purges):
    shop = Shop(ANNA)
    directory = cached(shop)
    shop.gate.clear()
    with ThreadPoolExecutor(2) as askers:
        askers.submit(directory.find, by(external_id="K1"))
        until_all_wait(directory, 1)
        purges.purge("all")
        shop.people = ()
        after = askers.submit(directory.find, by(external_id="K1"))
        until_all_wait(directory, 2)
        shop.gate.set()

    assert only(after.result()).outcome is Outcome.UNKNOWN


def test_a_purge_that_comes_between_is_never_missed(purges, clock):
    """Whatever a thread saw before the purge, what it keeps then is not shown after it."""
    store = Memory(purges, 10, clock)
    before = store.read("name")()
    purges.purge("all")
    store.keep("name", Kept(b"{}", clock()), 60, before.generation)

    assert store.read("name")().kept is None


class Interrupted(Purges):
    """Something else comes just after somebody has looked."""

    meanwhile = None

    def generation(self):
        generation = super().generation()
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        return generation


def test_a_purge_that_another_thread_sees_first_is_not_missed(tmp_path, clock):
    purges = Interrupted(tmp_path)
    store = Memory(purges, 10, clock)
    before = store.read("name")()

    def purged_and_looked():
        purges.purge("all")
        store.read("other")

    purges.meanwhile = purged_and_looked
    store.keep("name", Kept(b"{}", clock()), 60, before.generation)

    assert store.read("name")().kept is None


def test_a_folder_that_cannot_be_read_keeps_nothing(cached, tmp_path, caplog):
    (tmp_path / "state").write_text("not a folder")
    shop = Shop(ANNA)
    directory = cached(shop)
    for _ in range(2):
        assert only(directory.find(by(external_id="K1"))).outcome is Outcome.FOUND

    assert len(shop.asked) == 2
    assert caplog.text.count("nothing is cached") == 1


def test_the_note_of_a_purge_is_for_its_owner_alone(purges, tmp_path):
    purges.purge("all")
    purges.purge("email")

    folder = tmp_path / "state"
    assert folder.stat().st_mode & 0o777 == 0o700
    lines = (folder / "purges.log").read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["all", "email"]
