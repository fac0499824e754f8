"""Replies that are sent again as they are, while all that they were made of is fresh."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass
from secrets import token_hex

from imbox_plugin.cache import Kept, Memory, Purges
from imbox_plugin.seals import Seal

#: replies of one process, and bytes of one of them; together at most 16 MB
_ENTRIES = 1000
_BYTES = 16_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where the reply to a request is kept, or will be."""

    panel: str
    #: a keyed hash of the panel and the query
    name: str
    generation: Hashable | None
    #: when it was looked for, on the monotonic clock
    looked: float
    #: the reply as JSON, ready to be sent; None: it has to be made
    body: bytes | None


class Replies:
    """The replies of this process. Whoever asks has proved already that they may.

    A panel's reply to a GET depends on nothing but the query, its settings, and what the sources
    say: while that is fresh, making it again would give the same bytes.

    Args:
        purges: after which it is empty.
    """

    def __init__(self, purges: Purges) -> None:
        self._memory = Memory(purges, _ENTRIES)
        self._seal = Seal([token_hex()], "replies")

    def find(self, panel: str, query: bytes) -> Place:
        """The reply to this query, if it is there."""
        # The name of a panel has no space, so what lies before the first one is the panel.
        name = self._seal.name(f"{panel} {query.decode('latin-1')}")
        page = self._memory.read(name)()
        body = page.kept.content if page.kept else None
        return Place(panel, name, page.generation, time.monotonic(), body)

    def keep(self, place: Place, body: bytes, fresh: float) -> None:
        """Keep a reply, unless there was a purge since it was looked for.

        Args:
            place: where.
            body: the reply.
            fresh: seconds, from when it was looked for, that it may be sent again.
        """
        seconds = fresh - (time.monotonic() - place.looked)
        if seconds > 0 and place.generation is not None and len(body) <= _BYTES:
            self._memory.keep(place.name, Kept(body, place.looked), seconds, place.generation)
