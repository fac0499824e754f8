"""Events on their way: accepted into the outbox, and from there delivered to the sink.

An event is on disk before anybody is told that it was taken, and stays there until the sink has
it; so it is delivered at least once. Each process has a courier; one event is with one courier at a
time, for as long as a lease, so that it goes on when a process dies.
"""

from __future__ import annotations

import atexit
import logging
import random
import time
from collections.abc import Callable, Mapping
from threading import Event as Flag
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from imbox_plugin.model import Event
from imbox_plugin.sinks import EventSink, SinkError

if TYPE_CHECKING:
    # SQLAlchemy takes 13 MB of every process, and most servers keep no events.
    from imbox_plugin.outbox import Letter, Outbox

_log = logging.getLogger(__name__)

#: seconds that a courier has for one event, before it is given to another
LEASE = 120.0
#: seconds until the second attempt; each later one waits three times as long, up to the longest
_FIRST_WAIT = 5.0
_FACTOR = 3
_LONGEST_WAIT = 6 * 3600.0
#: seconds between two looks for events that are due, or that another process left behind
_IDLE = 5.0
#: seconds between two looks for what need not be kept any longer
_SWEEP = 3600.0
#: seconds that the process waits at its end for the delivery under way
_FAREWELL = 12.0


class Courier:
    """Takes events, and brings them to the sink in a thread of its own.

    Built once, used from many threads. The thread starts in the process that first accepts an
    event or calls `start`: a server may fork after it has built this, but not after that.

    Args:
        outbox: where they are kept.
        sink: where they go.
        attempts: after which an event is a dead letter.
        idle: seconds between two looks for what is due.
        dice: a number from 0 to 1, so that several events do not come back at the same moment.
    """

    def __init__(
        self,
        outbox: Outbox,
        sink: EventSink,
        attempts: int = 16,
        *,
        idle: float = _IDLE,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.outbox = outbox
        self.sink = sink
        self._attempts = attempts
        self._idle = idle
        self._dice = dice
        self._lock = Lock()
        self._thread: Thread | None = None
        self._wake = Flag()
        self._stopping = Flag()
        self._swept = float("-inf")

    def accept(self, event: Event) -> bool:
        """Keep an event until it is delivered. Whether it is new; it is on disk when this returns.

        Raises:
            OutboxError: it is not kept, so tell nobody that it is.
        """
        is_new = self.outbox.accept(event)
        self.start()
        self._wake.set()
        return is_new

    def answer(self, event: Event) -> Mapping[str, Any] | None:
        """What the sink makes of an event at once; None: no answer, but it is accepted.

        Raises:
            SinkError: the sink did not take it, and it is not kept.
            OutboxError: it is not kept.
        """
        answer = self.sink.answer(event)
        if answer is None:
            self.accept(event)
        return answer

    def start(self) -> None:
        """Deliver what is there; nothing happens when this process does so already."""
        with self._lock:
            if self._stopping.is_set() or self._thread:
                return
            self._thread = Thread(target=self._run, name="events", daemon=True)
            self._thread.start()
            atexit.register(self.stop)

    def stop(self) -> None:
        """Let the delivery under way come to its end, for a while, and begin no other."""
        self._stopping.set()
        self._wake.set()
        with self._lock:
            thread = self._thread
        if thread and thread.is_alive():
            thread.join(_FAREWELL)
        atexit.unregister(self.stop)
        self.sink.close()
        self.outbox.close()

    def deliver_next(self) -> bool:
        """Try the next event that is due; False: there is none.

        Raises:
            OutboxError: the database does not answer.
        """
        letter = self.outbox.claim(LEASE)
        if letter is None or letter.event is None:
            return False
        if letter.attempts > self._attempts:
            # Or it would end each process that it is given to, for ever.
            self._failed(letter, "the last attempt ended with its process; see the sink's code")
            return True
        try:
            self.sink.deliver(letter.event)
        except SinkError as error:
            self._failed(letter, str(error), permanent=error.permanent, wait=error.wait)
        except Exception as error:  # noqa: BLE001
            # A sink may be a plugin, and what it says may be what is in the event.
            self._failed(letter, f"{type(error).__name__} in the sink; see its code")
        else:
            self.outbox.settle(letter)
        return True

    def _failed(
        self, letter: Letter, failure: str, *, permanent: bool = False, wait: float | None = None
    ) -> None:
        if permanent or letter.attempts >= self._attempts:
            self.outbox.fail(letter, failure, None)
            _log.error("an event is a dead letter after %d attempts: %s", letter.attempts, failure)
            return
        self.outbox.fail(
            letter, failure, max(self._wait(letter.attempts), min(wait or 0, _LONGEST_WAIT))
        )
        _log.warning("an event was not delivered at attempt %d: %s", letter.attempts, failure)

    def _wait(self, attempts: int) -> float:
        """Seconds until the next attempt: half of it for certain, the other half by dice."""
        longest = _FIRST_WAIT
        for _ in range(attempts - 1):
            longest = min(_LONGEST_WAIT, _FACTOR * longest)
        return longest * (1 + self._dice()) / 2

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._sweep()
                while not self._stopping.is_set() and self.deliver_next():
                    pass
            except Exception as error:  # noqa: BLE001
                # The thread must not end: nothing would be delivered any more.
                kind = type(error).__name__
                _log.error("events are not delivered now (%s); see what flask events says", kind)
            self._wake.wait(self._idle * (1 + self._dice()) / 2)

    def _sweep(self) -> None:
        if time.monotonic() - self._swept < _SWEEP:
            return
        if forgotten := self.outbox.sweep():
            _log.warning("%d dead letters were kept for long enough, and are forgotten", forgotten)
        self._swept = time.monotonic()
