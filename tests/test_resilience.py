"""What stands before a source: its breaker, its threads, and how long it is waited for."""

import gc
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Event, current_thread

import pytest

from imbox_plugin.model import Failure, Finding, Outcome
from imbox_plugin.resilience import Breaker, Guard, NoAnswer, Status
from tests.demo import ROOT

FOUND = Finding("crm", Outcome.FOUND)
FAILED = Finding("crm", Outcome.FAILED, reason="the password is wrong")
#: seconds in which anything that is not stuck is done
AMPLE = 30


class Clock:
    """Goes on when it is told to."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(failures=3, reset=30, clock=clock)


@pytest.fixture
def release():
    """What hangs goes on when this is set, at the end of the test at the latest."""
    event = Event()
    yield event
    event.set()


def fail(breaker, times=1):
    for _ in range(times):
        breaker.failed(breaker.permit(), "down")


def is_left_alone(breaker):
    try:
        breaker.permit()
    except NoAnswer:
        return True
    return False


def hang(release, finding=FOUND):
    release.wait()
    return finding


def answer(guard, question=lambda: FOUND):
    return guard.ask(question).result(time.monotonic() + AMPLE)


def give_up(call):
    with pytest.raises(NoAnswer) as refused:
        call.result(time.monotonic())
    return refused.value


# The breaker


def test_a_source_is_left_alone_after_so_many_failures_in_a_row(breaker, clock):
    fail(breaker, 2)
    breaker.succeeded(breaker.permit())
    fail(breaker, 2)

    assert breaker.state.status is Status.CLOSED

    fail(breaker)
    clock.now += 7

    with pytest.raises(NoAnswer, match="down") as refused:
        breaker.permit()
    assert refused.value.failure is Failure.ERROR
    state = breaker.state
    assert (state.status, state.age, state.reason) == (Status.OPEN, 7, "down")


def test_a_source_is_tried_again_after_its_time_and_not_before(breaker, clock):
    fail(breaker, 3)
    clock.now += 29.9

    assert is_left_alone(breaker)

    clock.now += 0.1
    breaker.permit()

    assert breaker.state.status is Status.HALF_OPEN


def test_one_of_sixteen_threads_tries_it(breaker, clock, release):
    fail(breaker, 3)
    clock.now += 30
    guard = Guard(16, breaker)
    together = Barrier(16)

    def ask(_):
        together.wait(AMPLE)
        try:
            return guard.ask(partial(hang, release))
        except NoAnswer:
            return None

    with ThreadPoolExecutor(16) as threads:
        calls = [call for call in threads.map(ask, range(16)) if call]

    assert len(calls) == 1
    release.set()
    assert calls[0].result(time.monotonic() + AMPLE) is FOUND
    assert breaker.state.status is Status.CLOSED


def test_a_source_that_has_been_found_well_has_all_its_failures_before_it(breaker, clock):
    fail(breaker, 3)
    clock.now += 30
    breaker.succeeded(breaker.permit())
    fail(breaker, 2)

    assert not is_left_alone(breaker)


def test_a_source_that_fails_when_it_is_tried_is_left_alone_as_long_again(breaker, clock):
    fail(breaker, 3)
    clock.now += 30
    fail(breaker)
    clock.now += 29.9

    assert is_left_alone(breaker)

    clock.now += 0.1

    assert not is_left_alone(breaker)


def test_an_answer_to_a_question_from_before_says_nothing_of_a_source_that_is_left_alone(breaker):
    slow = breaker.permit()
    fail(breaker, 3)
    breaker.succeeded(slow)

    assert is_left_alone(breaker)


def test_a_failure_from_before_says_nothing_of_a_source_that_was_found_well(breaker, clock):
    slow = [breaker.permit() for _ in range(3)]
    fail(breaker, 3)
    clock.now += 30
    breaker.succeeded(breaker.permit())
    for permit in slow:
        breaker.failed(permit, "down")

    assert not is_left_alone(breaker)


# Waiting


def test_a_source_that_always_answers_too_late_is_left_alone(breaker, release):
    guard = Guard(3, breaker)
    for _ in range(3):
        refused = give_up(guard.ask(partial(hang, release)))

    assert refused.failure is Failure.LATE
    assert "deadline" in str(refused)
    assert is_left_alone(breaker)


def test_what_had_too_little_time_is_not_to_blame(breaker, clock, release):
    guard = Guard(8, breaker, fair=AMPLE)
    for _ in range(4):
        refused = give_up(guard.ask(partial(hang, release)))
    fail(breaker, 3)
    clock.now += 30
    give_up(guard.ask(partial(hang, release)))

    assert refused.failure is Failure.LATE
    assert not is_left_alone(breaker)


def test_answers_that_come_too_late_do_not_make_up_for_it(breaker):
    guard = Guard(1, breaker)
    for _ in range(3):
        release = Event()
        give_up(guard.ask(partial(hang, release)))
        release.set()
        wait_until_free(guard)

    assert is_left_alone(breaker)


def test_a_question_that_fails_after_it_was_given_up_has_failed_once(breaker):
    guard = Guard(1, breaker)
    for _ in range(2):
        release = Event()
        give_up(guard.ask(partial(hang, release, FAILED)))
        release.set()
        wait_until_free(guard)

    assert not is_left_alone(breaker)


def wait_until_free(guard):
    """Until the only thread of a guard has told all that there is to tell of its question."""
    ended = Event()
    guard._pool._jobs.put(ended.set)  # noqa: SLF001 - behind the question, in the same thread

    assert ended.wait(AMPLE)


def test_a_late_answer_is_nobody_elses(breaker, release):
    guard = Guard(2, breaker)
    late = Finding("crm", Outcome.FOUND)
    give_up(guard.ask(partial(hang, release, late)))
    release.set()

    assert answer(guard) is FOUND


@pytest.mark.parametrize(
    ("finding", "status"), [(FOUND, Status.CLOSED), (FAILED, Status.OPEN)], ids=["well", "not"]
)
def test_a_trial_that_is_given_up_has_failed_until_its_own_answer_comes(
    breaker, clock, release, finding, status
):
    guard = Guard(1, breaker)
    fail(breaker, 3)
    clock.now += 30
    give_up(guard.ask(partial(hang, release, finding)))

    assert breaker.state.status is Status.OPEN

    release.set()
    wait_until_free(guard)

    assert breaker.state.status is status


def test_of_two_trials_the_later_one_decides(breaker, clock, release):
    guard = Guard(1, breaker)
    fail(breaker, 3)
    clock.now += 30
    give_up(guard.ask(partial(hang, release)))
    clock.now += 30
    fail(breaker)
    release.set()
    wait_until_free(guard)

    assert breaker.state.status is Status.OPEN


def test_a_trial_whose_asker_is_interrupted_leaves_room_for_the_next(breaker, clock, release):
    guard = Guard(1, breaker)
    fail(breaker, 3)
    clock.now += 30
    guard.ask(partial(hang, release)).leave()

    assert not is_left_alone(breaker)


def test_whoever_stops_to_care_about_an_answer_that_is_there_changes_nothing(breaker):
    guard = Guard(1, breaker)
    call = guard.ask(lambda: FOUND)
    call.result(time.monotonic() + AMPLE)
    call.leave()

    assert call.result(time.monotonic()) is FOUND


def test_a_call_that_several_give_up_has_failed_once(breaker, release):
    call = Guard(1, breaker).ask(partial(hang, release))
    for _ in range(3):
        assert call.join()
    for _ in range(4):
        give_up(call)

    assert not is_left_alone(breaker)
    assert not call.join()


def test_one_who_gives_up_leaves_the_answer_to_those_who_still_wait(breaker, release):
    call = Guard(1, breaker).ask(partial(hang, release))
    call.join()
    give_up(call)
    release.set()

    assert call.result(time.monotonic() + AMPLE) is FOUND


def test_a_trial_that_somebody_still_waits_for_is_nobody_elses(breaker, clock, release):
    guard = Guard(1, breaker)
    fail(breaker, 3)
    clock.now += 30
    call = guard.ask(partial(hang, release))
    call.join()
    call.leave()

    assert is_left_alone(breaker)
    call.leave()
    assert not is_left_alone(breaker)


# Threads


def test_questions_to_one_source_do_not_wait_for_each_other(breaker):
    guard = Guard(2, breaker)
    both = Barrier(2)

    def meet():
        both.wait(AMPLE)
        return FOUND

    calls = [guard.ask(meet), guard.ask(meet)]

    assert [call.result(time.monotonic() + AMPLE) for call in calls] == [FOUND, FOUND]


def test_what_no_thread_is_free_for_is_refused_at_once(breaker, release):
    guard = Guard(2, breaker)
    calls = [guard.ask(partial(hang, release)) for _ in range(2)]

    with pytest.raises(NoAnswer, match="raise threads") as refused:
        guard.ask(lambda: FOUND)

    assert refused.value.failure is Failure.BUSY
    release.set()
    for call in calls:
        assert call.result(time.monotonic() + AMPLE) is FOUND
    assert answer(guard) is FOUND


def test_a_source_that_is_busy_has_not_failed(breaker, release):
    guard = Guard(1, breaker)
    guard.ask(partial(hang, release))
    for _ in range(3):
        with pytest.raises(NoAnswer):
            guard.ask(lambda: FOUND)

    assert not is_left_alone(breaker)


def test_a_trial_that_finds_no_thread_is_the_next_ones(breaker, clock, release):
    guard = Guard(1, breaker)
    guard.ask(partial(hang, release))
    fail(breaker, 3)
    clock.now += 30
    with pytest.raises(NoAnswer, match="busy"):
        guard.ask(lambda: FOUND)

    assert not is_left_alone(breaker)


def test_a_thread_that_is_through_takes_the_next_question(breaker):
    guard = Guard(8, breaker)
    threads = set()

    def note():
        threads.add(current_thread())
        return FOUND

    for _ in range(20):
        answer(guard, note)

    assert len(threads) == 1


def test_threads_end_with_their_guard():
    guard = Guard(2)
    both = Barrier(2)
    threads = []

    def meet():
        threads.append(current_thread())
        both.wait(AMPLE)
        return FOUND

    for call in [guard.ask(meet), guard.ask(meet)]:
        call.result(time.monotonic() + AMPLE)
    del guard, call
    gc.collect()
    for thread in threads:
        thread.join(AMPLE)

    assert [thread.is_alive() for thread in threads] == [False, False]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RecursionError])
def test_what_stops_a_question_is_raised_where_it_is_waited_for(breaker, stop):
    guard = Guard(1, breaker)

    def stopped():
        raise stop

    for _ in range(3):
        with pytest.raises(stop):
            answer(guard, stopped)

    assert is_left_alone(breaker)
    assert breaker.state.reason == stop.__name__


@pytest.mark.parametrize("reason", ["the password is wrong", ""])
def test_a_finding_that_failed_is_a_failure_with_or_without_a_reason(breaker, reason):
    guard = Guard(1, breaker)
    for _ in range(3):
        answer(guard, lambda: Finding("crm", Outcome.FAILED, reason=reason))

    assert is_left_alone(breaker)
    assert breaker.state.reason == reason


@pytest.mark.parametrize("outcome", set(Outcome) - {Outcome.FAILED})
def test_any_other_finding_is_a_source_that_works(breaker, outcome):
    guard = Guard(1, breaker)
    for _ in range(3):
        answer(guard, lambda: Finding("crm", outcome))

    assert not is_left_alone(breaker)


# The process

HANGING = """
from threading import Event
from imbox_plugin.sources import DataSource, Key

class Hanging(DataSource):
    keys = frozenset(Key)

    def find(self, lookup):
        Event().wait()
"""
SETTINGS = """
deadline = 0.1
[[sources]]
name = "shop"
type = "hanging_of_test_resilience:Hanging"
default_region = "SE"
[panels.default]
keys = [{ id = "t", secret = "0123456789abcdef0123456789abcdef" }]
"""
PROGRAM = """
import sys
from pathlib import Path
from imbox_plugin.app import create_app

app = create_app(Path(sys.argv[1]), {})
key = ("", "0123456789abcdef0123456789abcdef")
print(app.test_client().get("/imbox?view=chat&externalId=1", auth=key).text)
"""


def test_a_process_can_stop_while_a_source_hangs(tmp_path):
    (tmp_path / "hanging_of_test_resilience.py").write_text(HANGING)
    (tmp_path / "imbox.toml").write_text(SETTINGS)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "imbox.toml")]
    ended = subprocess.run(  # noqa: S603 - our own program
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert "shop did not answer in time" in ended.stdout
