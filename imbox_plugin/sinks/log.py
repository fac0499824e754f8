"""Events in the log: that they came, and nothing of what is in them."""

from __future__ import annotations

import logging

from imbox_plugin.sinks import Event, EventSink

_log = logging.getLogger(__name__)


class LogSink(EventSink):
    """A line in the log for each event, with its type, link, panel and key."""

    def deliver(self, event: Event) -> None:
        """Write the line."""
        # As a warning: a server whose logging nobody has set up shows nothing less. What came from
        # a browser is written in ASCII, so that it cannot end the line.
        _log.warning("event %a of link %a in panel %a, %a", *_names(event))


def _names(event: Event) -> tuple[str, ...]:
    return event.type, event.link, event.panel, event.key
