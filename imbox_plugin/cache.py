"""What sources answered lately: asked once for all who ask the same, and shown again for a while.

Whatever is kept here is gone after a purge, and nothing that was asked before a purge is kept
after it.
"""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from imbox_plugin.identity import carries
from imbox_plugin.model import Contact, Finding, Key, Lookup, Match, Outcome
from imbox_plugin.resilience import Call, Guard
from imbox_plugin.seals import Seal
from imbox_plugin.settings import CacheTable
from imbox_plugin.typed_json import dumps, loads

_log = logging.getLogger(__name__)

#: what may be kept, and of it what may stand in for a source that fails: that nobody was known
#: some minutes ago says nothing about now, but that several were keeps all of them from being shown
_KEPT = frozenset({Outcome.FOUND, Outcome.AMBIGUOUS, Outcome.UNKNOWN})
_STAND_IN = frozenset({Outcome.FOUND, Outcome.AMBIGUOUS})

#: seconds that an answer which shows nobody, or cannot be kept, keeps out what was asked before it
#: and is answered after it: no setting gives a source longer for a question
_OUTLASTS = 60.0

#: bytes of one answer at most, and of all that a process keeps of one source; beside its content
#: an entry takes some bytes for its name and its place
_ANSWER = 256_000
_ALL = 32_000_000
_ENTRY = 400

#: kept in the place of an answer that is not
_NOTHING = b""

#: seconds from one clearing of what is too old to be shown to the next
_SWEEP = 60.0


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer in a store."""

    #: empty: only that there is none to show any more
    content: bytes
    #: when the source was asked, on the clock of the store
    since: float


@dataclass(frozen=True, slots=True)
class Page:
    """What a store says of a name at one moment."""

    #: another one after every purge; None: the store cannot say, so nothing is kept
    generation: Hashable | None
    kept: Kept | None = None


class Store(Protocol):
    """Where answers are kept, by names that are keyed hashes."""

    def now(self) -> float:
        """The seconds of its clock."""

    def read(self, name: str) -> Callable[[], Page]:
        """Begin to look; what is returned waits for the page, and never raises."""

    def keep(self, name: str, kept: Kept, seconds: float, generation: Hashable) -> None:
        """Keep an answer in the place of what is there; never raises.

        Not if there was a purge since that generation, or what is there was asked for later.
        """


class Purges:
    """The purges on this machine: a file that each of them makes longer.

    All processes look at it before they show what they have kept, which costs them one `stat`.

    Args:
        state: the folder of the settings.
    """

    def __init__(self, state: Path) -> None:
        self._file = state / "purges.log"
        self._path = str(self._file)
        self._is_told = False

    def generation(self) -> Hashable | None:
        """Another value after every purge; None: nobody can say."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - Path.stat takes twice as long
        except FileNotFoundError:
            return "none yet"
        except OSError as error:
            if not self._is_told:
                self._is_told = True
                _log.error(
                    "nothing is cached: the folder `state` cannot be read (%s)", error.strerror
                )
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def purge(self, about: str) -> None:
        """Make all processes forget what they have kept.

        Args:
            about: what is noted of it beside the moment; no identity.

        Raises:
            OSError: the file cannot be written.
        """
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {about}\n")


class Memory:
    """Keeps the answers of one source in this process, those that were shown last.

    It holds 32 MB at most, whatever their number.

    Args:
        purges: after which it is empty.
        entries: answers at most.
        now: seconds that never go back.
    """

    def __init__(
        self, purges: Purges, entries: int = 1000, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.now = now
        self._purges, self._most = purges, entries
        self._lock = Lock()
        self._generation: Hashable | None = None
        self._kept: OrderedDict[str, tuple[Kept, float]] = OrderedDict()
        self._bytes = 0
        self._swept = now()

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, name: str) -> Callable[[], Page]:
        """The page, at once."""
        generation = self._purges.generation()
        with self._lock:
            self._turn(generation)
            kept, until = self._kept.get(name, (None, 0.0))
            if kept and until <= self.now():
                self._drop(name)
                kept = None
            elif kept:
                self._kept.move_to_end(name)
        page = Page(generation, kept)
        return lambda: page

    def keep(self, name: str, kept: Kept, seconds: float, generation: Hashable) -> None:
        """Keep an answer for so long, unless there was a purge, or what is there is newer.

        A purge that comes in the midst of this finds the answer under the generation before it.
        """
        if generation != self._purges.generation():
            return
        now = self.now()
        with self._lock:
            if generation != self._generation:
                return
            if name in self._kept:
                if self._kept[name][0].since > kept.since:
                    return
                self._drop(name)
            self._kept[name] = (kept, now + seconds)
            self._bytes += _ENTRY + len(kept.content)
            while len(self._kept) > self._most or self._bytes > _ALL:
                self._drop(next(iter(self._kept)))
            if now - self._swept >= _SWEEP:
                self._swept = now
                for old in [one for one, (_, until) in self._kept.items() if until <= now]:
                    self._drop(old)

    def _drop(self, name: str) -> None:
        kept, _ = self._kept.pop(name)
        self._bytes -= _ENTRY + len(kept.content)

    def _turn(self, generation: Hashable | None) -> None:
        """Forget everything when there was a purge since the last look."""
        if generation != self._generation or generation is None:
            self._kept.clear()
            self._bytes = 0
            self._generation = generation


@dataclass(frozen=True, slots=True)
class Recollection:
    """What is known of a question before its source is asked."""

    name: str
    generation: Hashable | None
    #: what the source said, with its age; the source need not be asked while it is `fresh`
    finding: Finding | None


class Cache:
    """The answers of one source, for all panels that ask it. Used from many threads.

    Args:
        store: where they are kept.
        life: for how long; its `ttl` is more than 0.
        seal: makes the names.
        source: everything that its answers depend on beside the question: its name, its settings.
        alone: whether they depend on the identities asked by and on nothing else of a lookup.
    """

    def __init__(
        self, store: Store, life: CacheTable, seal: Seal, source: str, *, alone: bool
    ) -> None:
        self._store, self._life, self._seal = store, life, seal
        self._source, self._alone = source, alone
        self._lock = Lock()
        self._under_way: dict[tuple[str, Hashable], Call[Finding]] = {}
        self._is_told = False

    def recall(
        self, lookup: Lookup, keys: Sequence[Key], empty: Finding, region: str | None
    ) -> Callable[[], Recollection]:
        """Begin to look for the answer to a question; what is returned waits for it.

        Args:
            lookup: the question.
            keys: the identities to ask by, in their order.
            empty: the finding to be filled.
            region: of the phone numbers of the source.
        """
        name = self._name(lookup, keys)
        read = self._store.read(name)

        def recollection() -> Recollection:
            page = read()
            finding = self._finding(page.kept, lookup, empty, region) if page.kept else None
            return Recollection(name, page.generation, finding)

        return recollection

    def ask(
        self, recalled: Recollection, guard: Guard, question: Callable[[], Finding]
    ) -> Call[Finding]:
        """Put a question to the source, or join whoever is putting the same one just now.

        Raises:
            NoAnswer: the source is too busy, or left alone.
        """
        # After a purge a question is asked anew: the answer under way may be from before it.
        place = recalled.name, recalled.generation

        def ask() -> Finding:
            since = self._store.now()
            try:
                finding = question()
                self._keep(recalled, finding, since)
                fresh = self._ttl(finding.outcome) - (self._store.now() - since)
                return replace(finding, fresh=max(0.0, fresh))
            finally:
                with self._lock:
                    if self._under_way[place] is call:
                        del self._under_way[place]

        with self._lock:
            call = self._under_way.get(place)
            if call is None or not call.join():
                call = self._under_way[place] = guard.ask(ask)
            return call

    def _name(self, lookup: Lookup, keys: Sequence[Key]) -> str:
        """The keyed hash of all that the answer may depend on."""
        asked = [(key.value, lookup.identities[key]) for key in keys]
        rest = () if self._alone else _rest(lookup)
        return self._seal.name(repr((self._source, asked, rest)))

    def _ttl(self, outcome: Outcome) -> float:
        """Seconds that an answer is shown without asking again."""
        if outcome not in _KEPT:
            return 0.0
        return self._life.ttl if outcome is Outcome.FOUND else self._life.negative_ttl

    def _keep(self, recalled: Recollection, finding: Finding, since: float) -> None:
        """Keep an answer, or nothing in its place: what the source said before is over anyway."""
        if recalled.generation is None or finding.outcome not in _KEPT:
            return
        seconds = self._ttl(finding.outcome)
        if finding.outcome in _STAND_IN:
            seconds = max(seconds, self._life.stale_if_error)
        content = self._packed(finding) if seconds > 0 else _NOTHING
        if finding.outcome is not Outcome.FOUND or content == _NOTHING:
            seconds = max(seconds, self._store.now() - since + _OUTLASTS)
        self._store.keep(recalled.name, Kept(content, since), seconds, recalled.generation)

    def _packed(self, finding: Finding) -> bytes:
        """An answer as it is kept; nothing, if it cannot be."""
        try:
            content = dumps(_content(finding))
        except TypeError as error:
            fault = f"answers are not cached: {error}"
        else:
            if len(content) <= _ANSWER:
                return content
            most = _ANSWER // 1000
            fault = f"answers of more than {most} KB are not cached; let it give less of a person"
        if not self._is_told:
            self._is_told = True
            _log.warning("source %s: %s", finding.source, fault)
        return _NOTHING

    def _finding(
        self, kept: Kept, lookup: Lookup, empty: Finding, region: str | None
    ) -> Finding | None:
        """An answer that was kept, verified as if the source had given it now."""
        if kept.content == _NOTHING:
            return None
        age = max(0.0, self._store.now() - kept.since)
        try:
            finding = _read(kept.content, empty)
        except ValueError:
            return None
        fresh = self._ttl(finding.outcome) - age
        if fresh <= 0 and (finding.outcome not in _STAND_IN or age > self._life.stale_if_error):
            return None
        match = finding.match
        if match:
            if not carries(match.contact, lookup.by(match.key), region):
                return None
            match = replace(match, age=float(round(age)), region=region)
        return replace(finding, match=match, age=age, fresh=max(0.0, fresh))


def _rest(lookup: Lookup) -> tuple[object, ...]:
    """Everything in a lookup but its identity."""
    return (
        lookup.view.value,
        sorted(lookup.unusable),
        sorted(lookup.distrusted),
        lookup.ticket_id,
        lookup.channel_id,
        lookup.call_id,
        sorted(lookup.extras.items()),
    )


def _content(finding: Finding) -> list[Any]:
    contact = finding.match.contact if finding.match else None
    return [
        finding.outcome.value,
        [key.value for key in finding.asked],
        finding.count,
        finding.dropped,
        contact
        and [
            contact.name,
            contact.external_id,
            contact.contact_id,
            list(contact.emails),
            list(contact.phones),
            contact.details,
        ],
    ]


def _read(content: bytes, empty: Finding) -> Finding:
    """What `_content` was given.

    Raises:
        ValueError: it is something else.
    """
    outcome, asked, count, dropped, known = loads(content)
    keys = tuple(map(Key, asked))
    match = None
    if known:
        name, external_id, contact_id, emails, phones, details = known
        contact = Contact(
            name=name,
            external_id=external_id,
            contact_id=contact_id,
            emails=tuple(emails),
            phones=tuple(phones),
            details=details,
        )
        match = Match(contact, empty.source, keys[-1])
    return replace(
        empty, outcome=Outcome(outcome), match=match, asked=keys, count=count, dropped=dropped
    )
