"""What stands between the directory and a source: its own threads, a time limit and a breaker.

A source that hangs keeps its own threads and nobody else's, one that is slow is not waited for
longer than the answer may take, and one that fails again and again is left alone for a while.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar, cast

from imbox_plugin.model import Failure, Finding, Outcome

T = TypeVar("T")

_LATE = "no answer by the deadline; see why it is slow, or raise deadline"


class NoAnswer(Exception):
    """A source was not asked, or not waited for any longer; the message is for the operator."""

    def __init__(self, message: str, failure: Failure) -> None:
        super().__init__(message)
        self.failure = failure


class Status(StrEnum):
    """Whether a source is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class BreakerState:
    """How it stands with a source."""

    status: Status
    #: seconds it has been so
    age: float
    #: what failed last, for the operator; empty: nothing has
    reason: str


class Breaker:
    """Keeps questions from a source that fails, until a single one has found it well again.

    It holds its lock for its own counting only, so questions do not wait for each other.

    Args:
        failures: in a row, after which the source is left alone.
        reset: seconds until it is tried again, by one question at a time.
        clock: seconds that never go back.
    """

    def __init__(
        self, failures: int = 5, reset: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._reset, self._clock = failures, reset, clock
        self._lock = Lock()
        self._status, self._since = Status.CLOSED, clock()
        self._failures, self._reason = 0, ""
        # What is told about a question counts only while its permit is the current one: an answer
        # from before the breaker opened says nothing about the source now.
        self._permit = 0

    @property
    def state(self) -> BreakerState:
        """What is known of the source."""
        with self._lock:
            return BreakerState(self._status, self._clock() - self._since, self._reason)

    def permit(self) -> int:
        """Leave to ask once; tell by this number how it went.

        Raises:
            NoAnswer: the source is left alone, or somebody is trying it just now.
        """
        with self._lock:
            if self._status is Status.OPEN and self._clock() - self._since >= self._reset:
                self._turn(Status.HALF_OPEN)
                self._permit += 1
            elif self._status is not Status.CLOSED:
                raise NoAnswer(
                    f"left alone after failures, the last: {self._reason}", Failure.ERROR
                )
            return self._permit

    def failed(self, permit: int, reason: str) -> None:
        """The source failed, or was given up."""
        with self._lock:
            if permit != self._permit:
                return
            self._failures += 1
            self._reason = reason
            if self._status is Status.HALF_OPEN:
                # The permit stays the current one: a probe that was given up may still succeed.
                self._turn(Status.OPEN)
            elif self._status is Status.CLOSED and self._failures >= self._most:
                self._turn(Status.OPEN)
                self._permit += 1

    def succeeded(self, permit: int, *, is_late: bool = False) -> None:
        """The source answered; late, when it had been given up and told as failed before."""
        with self._lock:
            if permit != self._permit:
                return
            if self._status is not Status.CLOSED:
                self._turn(Status.CLOSED)
            elif is_late:
                return
            self._failures = 0

    def withdrawn(self, permit: int) -> None:
        """The question was not put after all: the next one may be the probe."""
        with self._lock:
            if permit == self._permit and self._status is Status.HALF_OPEN:
                self._status, self._since = Status.OPEN, self._clock() - self._reset

    def _turn(self, status: Status) -> None:
        self._status, self._since = status, self._clock()


class Call(Generic[T]):
    """A question under way, for whoever asked it and whoever asks the same meanwhile."""

    def __init__(self, breaker: Breaker, permit: int, fair: float = 0.0) -> None:
        self._breaker, self._permit = breaker, permit
        self._fair = time.monotonic() + fair
        # What concurrent.futures.Future does takes ten times as long.
        self._answer: T | None = None
        self._stop: BaseException | None = None
        self._answered = Lock()
        self._answered.acquire()
        self._lock = Lock()
        self._askers = 1
        self._is_done = False
        # Given up by one of its askers at least, or left by all.
        self._is_late = False

    def join(self) -> bool:
        """Ask the same; False: it is given up already, so it must be asked anew."""
        with self._lock:
            self._askers += not self._is_late
            return not self._is_late

    def wait(self, until: float) -> bool:
        """Whether the answer is there, by then at the latest; it is not given up.

        Args:
            until: how long to wait, on the monotonic clock.
        """
        is_there = self._answered.acquire(timeout=max(0.0, until - time.monotonic()))
        if is_there:
            # for whoever else waits
            self._answered.release()
        return is_there

    def result(self, until: float) -> T:
        """The answer; whatever stopped the thread that asked is raised here.

        Args:
            until: how long to wait, on the monotonic clock.

        Raises:
            NoAnswer: not there in time.
        """
        if not self.wait(until):
            with self._lock:
                is_done, is_known = self._is_done, self._is_late
                self._is_late = is_known or not is_done
            if not is_done:
                if not is_known:
                    self._give_up()
                raise NoAnswer(_LATE, Failure.LATE)
            # It is there in a moment.
            with self._answered:
                pass
        if self._stop is not None:
            raise self._stop
        return cast("T", self._answer)

    def _give_up(self) -> None:
        """Tell the breaker; what had too little time has not failed."""
        if time.monotonic() < self._fair:
            self._breaker.withdrawn(self._permit)
        else:
            self._breaker.failed(self._permit, _LATE)

    def leave(self) -> None:
        """Stop to care, without a judgement on the source."""
        with self._lock:
            self._askers -= 1
            if self._askers or self._is_done or self._is_late:
                return
            self._is_late = True
        self._breaker.withdrawn(self._permit)

    def run(self, question: Callable[[], T], free: Callable[[], None]) -> None:
        """Put the question, in a thread of the source.

        Everything is counted before the asker can know, so that whoever asks next is judged by it.
        """
        try:
            self._answer = question()
        except BaseException as error:  # noqa: BLE001 - it is raised to whoever waits
            self._stop = error
        free()
        with self._lock:
            self._is_done, is_late = True, self._is_late
        answer, stop = self._answer, self._stop
        failed = isinstance(answer, Finding) and answer.outcome is Outcome.FAILED
        if stop is None and not failed:
            self._breaker.succeeded(self._permit, is_late=is_late)
        elif not is_late:
            reason = answer.reason if isinstance(answer, Finding) else type(stop).__name__
            self._breaker.failed(self._permit, reason)
        self._answered.release()


class Guard:
    """Stands before one source, for all panels that ask it; threads start when they are needed.

    Args:
        threads: questions to the source at the same time; there is no queue.
        breaker: keeps questions from a source that fails.
        fair: seconds; a question that is given up before has not failed, as it had too little time.
    """

    def __init__(
        self, threads: int = 16, breaker: Breaker | None = None, fair: float = 0.0
    ) -> None:
        self.breaker = breaker or Breaker()
        self._fair = fair
        self._pool = Pool(threads)

    def ask(self, question: Callable[[], T]) -> Call[T]:
        """Put a question to the source, in one of its threads.

        Raises:
            NoAnswer: the source is too busy, or left alone.
        """
        permit = self.breaker.permit()
        call = Call[T](self.breaker, permit, self._fair)
        try:
            self._pool.run(lambda: call.run(question, self._pool.free))
        except Exception:
            self.breaker.withdrawn(permit)
            raise
        return call


class Pool:
    """A few threads that wait for work, and refuse what none of them is free for.

    They are daemons, other than those of concurrent.futures, whose exit hook waits for all of them:
    a source that hangs must not keep the process from stopping. They know only the queue, and end
    when nobody has the pool any more.
    """

    def __init__(self, threads: int) -> None:
        self._most = threads
        self._lock = Lock()
        self._started = self._busy = 0
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def run(self, job: Callable[[], None]) -> None:
        """Have it done at once; the job says itself, by `free`, when its thread can be counted on.

        Raises:
            NoAnswer: all threads are busy.
        """
        with self._lock:
            if self._busy == self._most:
                raise NoAnswer(
                    f"busy with {self._most} earlier questions; see why it is slow, or raise "
                    "threads",
                    Failure.BUSY,
                )
            if self._busy == self._started:
                if not self._started:
                    weakref.finalize(self, self._jobs.put, None)
                Thread(target=_work, args=(self._jobs,), daemon=True).start()
                self._started += 1
            self._busy += 1
        self._jobs.put(job)

    def free(self) -> None:
        """One thread is about to be done."""
        with self._lock:
            self._busy -= 1


def _work(jobs: SimpleQueue[Callable[[], None] | None]) -> None:
    while job := jobs.get():
        job()
        del job  # or the pool would live as long as the thread that waits for its end
    jobs.put(None)
