"""A sink that keeps what it gets, and does what a test tells it."""

from __future__ import annotations

from threading import Condition

from imbox_plugin.sinks import EventSink, SinkContext

#: seconds that nothing in a test takes
HANGS = 20.0


class Mailbox(EventSink):
    """Keeps the events. `failures` are raised first, one for each; while `is_shut`, it waits."""

    def __init__(self, *failures):
        super().__init__({}, SinkContext())
        self.events = []
        self.failures = list(failures)
        self.tried = 0
        self.is_shut = False
        self._changed = Condition()

    def deliver(self, event):
        with self._changed:
            self.tried += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: not self.is_shut, HANGS)
            if self.failures:
                raise self.failures.pop(0)
            self.events.append(event)
            self._changed.notify_all()

    def open(self):
        """Let go who waits."""
        with self._changed:
            self.is_shut = False
            self._changed.notify_all()

    def wait(self, condition):
        """Wait until something holds for this mailbox."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), HANGS), "it did not come"

    @property
    def keys(self):
        return [event.key for event in self.events]
