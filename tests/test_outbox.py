"""The outbox on real databases: SQLite always, PostgreSQL and MariaDB where they run."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from imbox_plugin.model import Event
from imbox_plugin.outbox import Counts, Outbox, OutboxError
from imbox_plugin.seals import Seal
from tests.databases import DATABASES, own_database
from tests.demo import ROOT

SECRET = "a-secret-key-of-this-test-only"
DAY = 86_400
LEASE = 60


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=DATABASES)
def url(request, tmp_path):
    with own_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def make(tmp_path, clock):
    """Another process's outbox, as far as the database can tell."""
    made = []

    def make(url, secret=SECRET, **options):
        made.append(Outbox(url, tmp_path, Seal([secret], "events"), clock=clock, **options))
        return made[-1]

    yield make
    for outbox in made:
        outbox.close()


@pytest.fixture
def outbox(make, url):
    return make(url)


def event(key="m-1", **changed):
    usual = {"panel": "default", "link": "Chat", "type": "WZ_OUTPUT_MESSAGE"}
    return Event(**{**usual, "data": {"chatId": "46701740605"}, "key": key, **changed})


def test_an_event_comes_out_as_it_went_in(outbox):
    outbox.accept(event())
    letter = outbox.claim(LEASE)

    assert (letter.event, letter.attempts, letter.failure) == (event(), 1, "")


def test_the_same_event_is_taken_once(outbox):
    assert [outbox.accept(event()), outbox.accept(event())] == [True, False]
    assert outbox.counts().waiting == 1


@pytest.mark.parametrize(
    "other", [{"key": "M-1"}, {"key": "m-1 "}, {"panel": "other"}, {"link": "other"}]
)
def test_an_event_that_differs_in_its_names_is_another(outbox, other):
    outbox.accept(event())

    assert outbox.accept(event(**other))


def test_a_delivered_event_is_not_taken_again_until_its_time_is_over(make, url, clock):
    outbox = make(url, keep_days=2)
    outbox.accept(event())
    outbox.settle(outbox.claim(LEASE))
    clock.now += 2 * DAY - 1
    outbox.sweep()
    early = outbox.accept(event())
    clock.now += 2
    outbox.sweep()

    assert (early, outbox.accept(event())) == (False, True)


def test_nothing_but_the_id_of_a_delivered_event_is_kept(outbox, url):
    outbox.accept(event())
    letter = outbox.claim(LEASE)
    outbox.fail(letter, "the receiver is down", 0)
    outbox.settle(outbox.claim(LEASE))
    with create_engine(url, poolclass=NullPool).connect() as db:
        (row,) = db.execute(text("SELECT * FROM imbox_events")).mappings()

    assert (row["id"], row["state"]) == (letter.id, "settled")
    assert (row["content"], row["failure"]) == (None, None)


def test_a_claimed_event_is_given_to_nobody_else_while_the_lease_runs(make, url, outbox, clock):
    other = make(url)
    outbox.accept(event())
    outbox.claim(LEASE)
    clock.now += LEASE - 1
    early = other.claim(LEASE)
    clock.now += 2

    assert early is None
    assert other.claim(LEASE).attempts == 2


def test_a_failure_of_somebody_whose_lease_ran_out_changes_nothing(make, url, outbox, clock):
    other = make(url)
    outbox.accept(event())
    slow = outbox.claim(LEASE)
    clock.now += LEASE + 1
    other.claim(LEASE)
    outbox.fail(slow, "too late", None)

    assert outbox.counts().dead == 0
    assert outbox.claim(LEASE) is None


def test_a_late_success_ends_the_attempts_of_the_others(make, url, outbox, clock):
    other = make(url)
    outbox.accept(event())
    slow = outbox.claim(LEASE)
    clock.now += LEASE + 1
    failed = other.claim(LEASE)
    outbox.settle(slow)
    other.fail(failed, "no", 0)

    assert outbox.counts() == Counts(settled=1)


def test_an_event_that_failed_waits(outbox, clock):
    outbox.accept(event())
    outbox.fail(outbox.claim(LEASE), "no", 10)
    clock.now += 9
    early = outbox.claim(LEASE)
    clock.now += 1
    letter = outbox.claim(LEASE)

    assert early is None
    assert (letter.attempts, letter.failure) == (2, "no")


def test_events_come_by_the_moment_they_are_due(outbox, clock):
    for key in "abc":
        outbox.accept(event(key))
        clock.now += 1

    assert [outbox.claim(LEASE).event.key for _ in "abc"] == ["a", "b", "c"]


def test_a_dead_letter_is_listed_and_not_delivered(outbox, clock):
    outbox.accept(event())
    outbox.fail(outbox.claim(LEASE), "it is gone", None)
    clock.now += DAY
    (letter,) = outbox.dead()

    assert outbox.claim(LEASE) is None
    assert (letter.event, letter.attempts, letter.failure) == (event(), 1, "it is gone")


def test_a_dead_letter_that_is_retried_has_all_its_attempts_again(outbox):
    outbox.accept(event())
    outbox.fail(outbox.claim(LEASE), "no", None)
    outbox.retry(*outbox.dead())

    assert outbox.claim(LEASE).attempts == 1


def test_a_dropped_dead_letter_is_not_taken_again(outbox):
    outbox.accept(event())
    outbox.fail(outbox.claim(LEASE), "no", None)
    outbox.settle(*outbox.dead())

    assert outbox.dead() == []
    assert not outbox.accept(event())


def test_dead_letters_are_forgotten_after_their_days_and_counted(make, url, clock):
    outbox = make(url, keep_days=3)
    outbox.accept(event())
    outbox.fail(outbox.claim(LEASE), "no", None)
    outbox.accept(event("waiting"))
    clock.now += 3 * DAY + 1

    assert outbox.sweep() == 1
    assert outbox.counts() == Counts(waiting=1, oldest=3 * DAY + 1)


def test_an_event_whose_key_was_retired_is_a_dead_letter_that_comes_back_with_the_key(make, url):
    outbox, other = make(url), make(url, secret="another-secret-key-of-this-test")
    outbox.accept(event())
    claimed = other.claim(LEASE)
    (letter,) = other.dead()
    outbox.retry(letter)

    assert (claimed, letter.event) == (None, None)
    assert "put it back into secret_keys" in letter.failure
    assert outbox.claim(LEASE).event == event()


def test_one_that_cannot_be_read_does_not_hold_up_the_next(make, url, clock):
    make(url, secret="another-secret-key-of-this-test").accept(event("theirs"))
    clock.now += 1
    outbox = make(url)
    outbox.accept(event("ours"))

    assert outbox.claim(LEASE).event.key == "ours"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
HOSTILE = st.text(st.characters(codec=None), max_size=50)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.dictionaries(HOSTILE, ANY_JSON, max_size=4), key=HOSTILE, failure=HOSTILE)
def test_whatever_is_in_an_event_and_its_failure_comes_out_again(outbox, data, key, failure):
    sent = event(key, data=data)
    if not outbox.accept(sent):
        return
    letter = outbox.claim(LEASE)
    outbox.fail(letter, failure, None)
    found = next(dead for dead in outbox.dead() if dead.id == sent.id)

    assert letter.event == found.event == sent
    assert found.failure == failure.encode(errors="replace").decode()


def test_a_large_event_is_kept_whole(outbox):
    sent = event(data={"text": "å" * 500_000})
    outbox.accept(sent)

    assert outbox.claim(LEASE).event == sent


def test_many_threads_that_claim_at_once_get_each_event_once(make, url, outbox):
    keys = [f"m-{number}" for number in range(40)]
    for key in keys:
        outbox.accept(event(key))
    boxes = [make(url) for _ in range(4)]
    begin = Barrier(4)

    def drain(box):
        begin.wait()
        return [letter.event.key for letter in iter(lambda: box.claim(LEASE), None)]

    with ThreadPoolExecutor(4) as threads:
        drained = [key for got in threads.map(drain, boxes) for key in got]

    assert Counter(drained) == Counter(keys)


def test_threads_that_bring_the_same_event_at_once_are_told_once_that_it_is_new(make, url):
    boxes = [make(url) for _ in range(6)]
    begin = Barrier(6)

    def bring(box):
        begin.wait()
        return box.accept(event())

    with ThreadPoolExecutor(6) as threads:
        told = list(threads.map(bring, boxes))

    assert sorted(told) == [False] * 5 + [True]


#: opens the outbox as a worker does, and takes some events, among them one that all bring
WORKER = """
import sys
from pathlib import Path
from imbox_plugin.model import Event
from imbox_plugin.outbox import Outbox
from imbox_plugin.seals import Seal

number, url = sys.argv[1:]
outbox = Outbox(url, Path(), Seal([{secret!r}], "events"))
sys.stdin.readline()
for key in ["shared", *(f"{{number}}-{{at}}" for at in range(10))]:
    outbox.accept(Event("default", "Chat", "T", {{}}, key))
"""


def test_processes_that_begin_at_once_make_the_table_and_lose_nothing(url, outbox):
    script = WORKER.format(secret=SECRET)
    command = [sys.executable, "-c", script]
    processes = [
        subprocess.Popen(  # noqa: S603 - our own
            [*command, str(number), url], cwd=ROOT, stdin=subprocess.PIPE, text=True
        )
        for number in range(4)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)

    assert [process.returncode for process in processes] == [0] * 4
    assert outbox.counts().waiting == 41


def test_the_database_sees_nothing_of_what_is_in_an_event(tmp_path, make):
    path = tmp_path / "state" / "events.db"
    outbox = make(path)
    outbox.accept(event("canary-key", panel="canary-panel", data={"name": "Canary"}))
    outbox.fail(outbox.claim(LEASE), "canary-failure", None)
    outbox.close()
    stored = b"".join(file.read_bytes() for file in path.parent.iterdir())

    assert b"imbox_events" in stored
    assert b"canary" not in stored.lower()


def test_the_file_is_its_owners_alone_and_every_commit_is_on_disk(tmp_path, make):
    path = tmp_path / "state" / "events.db"
    outbox = make(path)
    outbox.accept(event())
    with outbox._engine.connect() as db:  # noqa: SLF001
        pragmas = [db.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS]

    assert pragmas == list(PRAGMAS.values())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://root:canary@127.0.0.1:9/test",
        "mariadb://root:canary@127.0.0.1:9/test",
        "sqlite:////proc/canary/events.db",
    ],
)
def test_a_database_that_is_not_there_is_said_without_its_address(make, url):
    with pytest.raises(OutboxError, match="see that it runs") as failed:
        make(url).accept(event())

    assert "canary" not in str(failed.value)
    assert failed.value.__cause__ is None


def test_a_file_that_somebody_else_writes_to_for_too_long_is_told(tmp_path, make, monkeypatch):
    monkeypatch.setattr("imbox_plugin.outbox._PATIENCE", 0.1)
    path = tmp_path / "events.db"
    outbox = make(path)
    outbox.accept(event())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(OutboxError):
            outbox.accept(event("m-2"))


def test_a_database_that_comes_back_is_used_again(tmp_path, make):
    folder = tmp_path / "state"
    folder.write_text("in the way")
    outbox = make(folder / "events.db")
    with pytest.raises(OutboxError):
        outbox.accept(event())
    folder.unlink()

    assert outbox.accept(event())
