"""What a sink is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import marshmallow

from imbox_plugin.model import Event


class SinkError(Exception):
    """An event was not taken; the message is for the operator.

    It names what is wrong and the cure, and holds no identity, no secret, no URL and nothing that
    is in the event.

    Args:
        message: one sentence.
        permanent: it will never be taken, so it becomes a dead letter at once.
        wait: seconds that the receiver asks to wait before the next attempt.
    """

    def __init__(self, message: str, *, permanent: bool = False, wait: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.wait = wait


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkContext:
    """What a sink is told beside its own options."""

    #: the folder of the settings file; relative paths in the options start here
    folder: Path = field(default_factory=Path)
    #: seconds that one delivery may take; after some more the event is given to another process
    time_limit: float = 25.0


class EventSink(ABC):
    """Where events go. Built once, used from many threads at the same time.

    An event comes at least once: again after a failure, and after a process died while it
    delivered. `event.id` is the same each time.
    """

    class Options(marshmallow.Schema):
        """Its table in the settings, without `type`.

        Mark a secret with `metadata={"secret": True}`, so that a literal in the settings file is
        warned about. What `metadata={"help": "..."}` says in a line is listed by `flask sources`.
        """

    def __init__(self, options: Mapping[str, Any], context: SinkContext) -> None:
        """Keep the loaded options; connect lazily, so that the server starts without the receiver.

        Raises:
            ValueError: the options cannot be right; that is a mistake in the settings.
        """
        self.options = options
        self.context = context

    @abstractmethod
    def deliver(self, event: Event) -> None:
        """Hand the event over; when this returns it is forgotten here.

        Raises:
            SinkError: it was not taken. It is tried again, unless the error is permanent.
        """

    def answer(self, event: Event) -> Mapping[str, Any] | None:
        """Take an event that its sender waits for, and give the entity that was made of it.

        None: this sink gives no answers; the event is kept, and delivered like any other.

        Raises:
            SinkError: it was not taken. The sender is told so, and the event is not kept.
        """
        del event
        return None

    def close(self) -> None:  # noqa: B027
        """Give back connections and files."""
