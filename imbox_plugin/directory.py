"""The sources of one panel, asked as one: verified, and with failures kept apart."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

from imbox_plugin.cache import Cache, Recollection
from imbox_plugin.identity import carries, normal_email, normal_form
from imbox_plugin.model import (
    STRENGTH,
    Contact,
    Failure,
    Finding,
    Key,
    Lookup,
    Match,
    Outcome,
    best_match,
)
from imbox_plugin.resilience import Call, Guard, NoAnswer
from imbox_plugin.sources import DataSource, SourceError
from imbox_plugin.sources.records import same_person

_log = logging.getLogger(__name__)

_NO_TIME = "no time was left to ask it; see which other source is slow, or raise deadline"
_NO_GUARDS: Mapping[str, Guard] = MappingProxyType({})
_NO_CACHES: Mapping[str, Cache] = MappingProxyType({})


class Directory:
    """Asks the sources of one panel about one person.

    Args:
        sources: in the order of the settings, which is the order of the card.
        guards: by the name of the source, for those that are asked by other panels as well.
        time_limit: seconds for all of it.
        caches: by the name of the source, for those whose answers are kept.
    """

    def __init__(
        self,
        sources: Iterable[DataSource],
        guards: Mapping[str, Guard] = _NO_GUARDS,
        time_limit: float = 2.4,
        caches: Mapping[str, Cache] = _NO_CACHES,
    ) -> None:
        self.sources = tuple(sources)
        self.guards = tuple(guards.get(own.context.name) or Guard() for own in self.sources)
        self._caches = tuple(caches.get(own.context.name) for own in self.sources)
        self._time_limit = time_limit

    def find(self, lookup: Lookup, spent: float = 0.0) -> tuple[Finding, ...]:
        """One finding per source, in their order and in time; whatever a source does.

        Every match shown carries the identity that was asked for, and nobody is shown by a phone
        number that turns out to be somebody else's or shared. When somebody is found, the sources
        that could not know the person by what ImBox sent are asked once more, by the identities of
        the contact found: a chat brings only an external id, and a shop may know only e-mails.
        They have the time that is left, and half of it where one of the others is slow.

        Args:
            lookup: the question.
            spent: seconds of the time for all that are gone already.
        """
        questions: list[_Question] = []
        try:
            return self._find(lookup, time.monotonic() + self._time_limit - spent, questions)
        except BaseException:
            for question in questions:
                if question.call:
                    question.call.leave()
            raise

    def close(self) -> None:
        """Give back what the sources hold, also when one of them fails at it."""
        with ExitStack() as stack:
            for source in self.sources:
                stack.callback(source.close)

    def _find(
        self, lookup: Lookup, until: float, questions: list[_Question]
    ) -> tuple[Finding, ...]:
        first = self._ask(dict.fromkeys(range(len(self.sources)), lookup), until, questions)
        again: dict[int, _Question] = {}
        leader = _leader(lookup, first.values(), until)
        if leader:
            heard = {at: _finish(one, until) for at, one in first.items() if one.is_answered(0)}
            again = self._ask_again(lookup, leader, heard, until, questions)
        findings = _agree(lookup, tuple(_finish(one, until) for one in first.values()))
        best = best_match(findings)
        if best is None or len(findings) == 1:
            # Nobody is known, or no other source is left to be asked about the person.
            return findings
        left = {at: finding for at, finding in enumerate(findings) if at not in again}
        again |= self._ask_again(lookup, best, left, until, questions)
        enriched = (
            _enriched(finding, again[at], until) if at in again else finding
            for at, finding in enumerate(findings)
        )
        return _agree(_knowing(lookup, best), tuple(enriched))

    def _ask(
        self, lookups: Mapping[int, Lookup], until: float, questions: list[_Question]
    ) -> dict[int, _Question]:
        """Ask sources at once, each its own question, by their place."""
        # All look into their caches before the first of them waits for one.
        asked = {
            at: _read(self.sources[at], self._caches[at], lookup) for at, lookup in lookups.items()
        }
        questions.extend(asked.values())
        for at, question in asked.items():
            _start(question, self.guards[at], until)
        return asked

    def _ask_again(
        self,
        lookup: Lookup,
        best: Match,
        findings: Mapping[int, Finding],
        until: float,
        questions: list[_Question],
    ) -> dict[int, _Question]:
        """Ask those that know nobody yet, by the identities of the best match."""
        known = _knowing(lookup, best)
        remaining = {
            at: _remaining(known, self.sources[at], finding) for at, finding in findings.items()
        }
        asked = self._ask(remaining, until, questions)
        for question in asked.values():
            question.via = best.source
        return {at: question for at, question in asked.items() if question.keys}


@dataclass(slots=True)
class _Question:
    """What one source is asked, and how far it has come."""

    source: DataSource
    cache: Cache | None
    lookup: Lookup
    #: what is to be said of it as it stands
    finding: Finding
    begun: float
    #: to ask by, one after the other; none: the source has no key for this
    keys: Sequence[Key] = ()
    recall: Callable[[], Recollection] | None = None
    #: what it said before, to be shown if it fails
    before: Finding | None = None
    call: Call[Finding] | None = None
    #: the source that brought the identities asked by; None: ImBox sent them
    via: str | None = None

    def is_answered(self, until: float) -> bool:
        """Whether there is nothing to wait for, by then at the latest."""
        return self.call is None or self.call.wait(until)


def _leader(lookup: Lookup, questions: Collection[_Question], until: float) -> Match | None:
    """Who is known for sure at half time, when some sources have not answered by then.

    That is somebody found by the strongest identity that ImBox sent: no later answer changes it. A
    phone number is never sure.
    """
    now = time.monotonic()
    half = now + (until - now) / 2
    if all(question.is_answered(half) for question in questions):
        return None
    best = best_match(_finish(one, until) for one in questions if one.is_answered(0))
    sure = best and best.key is lookup.key and best.key is not Key.PHONE
    return best if sure else None


def _read(source: DataSource, cache: Cache | None, lookup: Lookup) -> _Question:
    """Begin to look for an answer in the cache."""
    finding = Finding(source.context.name, Outcome.NOT_ASKED)
    question = _Question(source, cache, lookup, finding, time.monotonic())
    try:
        own = source.keys
        question.keys = [key for key in STRENGTH if key in own and key in lookup.identities]
    except Exception as error:  # noqa: BLE001 - the same as in _answer
        question.finding = _failed(finding, error)
    if cache and question.keys:
        region = source.context.default_region
        question.recall = cache.recall(lookup, question.keys, finding, region)
    return question


def _start(question: _Question, guard: Guard, until: float) -> None:
    """Put a question to its source, unless the answer is known."""
    if not question.keys:
        return
    recalled = question.recall() if question.recall else None
    if recalled and recalled.finding:
        if recalled.finding.fresh:
            question.finding = recalled.finding
            return
        question.before = recalled.finding
    ask = partial(_answer, question.source, question.lookup, question.keys, until)
    try:
        if time.monotonic() >= until:
            raise NoAnswer(_NO_TIME, Failure.UNASKED)  # noqa: TRY301
        if question.cache and recalled:
            question.call = question.cache.ask(recalled, guard, ask)
        else:
            question.call = guard.ask(ask)
    except Exception as error:  # noqa: BLE001 - the same as in _answer
        question.finding = _failed(question.finding, error)


def _finish(question: _Question, until: float) -> Finding:
    """What a source has answered by the deadline; else what it said before."""
    finding = question.finding
    if question.call:
        try:
            finding = question.call.result(until)
        except NoAnswer as error:
            spent = time.monotonic() - question.begun
            finding = replace(_failed(finding, error), asked=(question.keys[0],), seconds=spent)
    if finding.outcome is Outcome.FAILED and question.before:
        failed = finding
        finding = replace(
            question.before, is_stale=True, reason=failed.reason, seconds=failed.seconds
        )
    return finding


def _answer(source: DataSource, lookup: Lookup, keys: Iterable[Key], until: float) -> Finding:
    """Ask one source, by its strongest key first; by a weaker one only when nobody is found."""
    begun = time.monotonic()
    name = source.context.name
    people: list[Contact] = []
    asked: tuple[Key, ...] = ()
    dropped = 0
    try:
        for key in keys:
            if asked and time.monotonic() >= until:
                raise NoAnswer("no time was left for its other keys", Failure.LATE)  # noqa: TRY301
            asked = (*asked, key)
            people, strangers = _people_by(source, lookup.by(key))
            dropped += strangers
            if people:
                break
    except Exception as error:  # noqa: BLE001
        # The one place that catches everything: a broken plugin must not take the card down.
        spent = time.monotonic() - begun
        failed = Finding(name, Outcome.FAILED, asked=asked, dropped=dropped, seconds=spent)
        return _failed(failed, error)
    outcome, match, count = Outcome.UNKNOWN, None, 0
    if len(people) > 1:
        outcome, count = Outcome.AMBIGUOUS, len(people)
    elif people:
        match = Match(people[0], name, asked[-1], region=source.context.default_region)
        outcome = Outcome.FOUND
    spent = time.monotonic() - begun
    return Finding(name, outcome, match, asked, count, dropped, seconds=spent)


def _failed(finding: Finding, error: Exception) -> Finding:
    """The finding of a source that cannot say, or broke, or was not waited for."""
    failed = replace(finding, outcome=Outcome.FAILED, reason=str(error))
    if isinstance(error, NoAnswer):
        _log.warning("source %s gave no answer: %s", finding.source, failed.reason)
        return replace(failed, failure=error.failure)
    if isinstance(error, SourceError):
        _log.warning("source %s cannot say: %s", finding.source, failed.reason)
        return failed
    # Its message may hold an identity, so only its kind and place are told.
    kind = type(error).__name__
    _log.error("source %s failed: %s at %s", finding.source, kind, _where(error))
    return replace(failed, reason=f"{kind} in the source, see the log")


def _knowing(lookup: Lookup, best: Match) -> Lookup:
    """The question with the identities of the best match beside those that ImBox sent."""
    return replace(lookup, identities={**_identities(best), **lookup.identities})


def _remaining(known: Lookup, source: DataSource, finding: Finding) -> Lookup:
    """The identities that a source which knows nobody yet has not been asked by."""
    is_open = finding.outcome in {Outcome.NOT_ASKED, Outcome.UNKNOWN}
    own = source.context.enrich - frozenset(finding.asked) if is_open else frozenset()
    return known.trusting(own)


def _enriched(finding: Finding, again: _Question, until: float) -> Finding:
    """Both answers of a source as one."""
    second = _finish(again, until)
    return replace(
        second,
        match=replace(second.match, via=again.via) if second.match else None,
        asked=(*finding.asked, *second.asked),
        dropped=finding.dropped + second.dropped,
        seconds=finding.seconds + second.seconds,
        age=max(finding.age, second.age),
        fresh=min(finding.fresh, second.fresh) if finding.asked else second.fresh,
    )


def _identities(match: Match) -> dict[Key, str]:
    """The normal form of the first usable identity of each kind that a contact has."""
    contact = match.contact
    texts: dict[Key, Iterable[str | None]] = {
        Key.EXTERNAL_ID: (contact.external_id,),
        Key.CONTACT_ID: (contact.contact_id,),
        Key.EMAIL: contact.emails,
        Key.PHONE: contact.phones,
    }
    forms = {
        key: next(filter(None, (normal_form(key, text or "", match.region) for text in own)), None)
        for key, own in texts.items()
    }
    return {key: form for key, form in forms.items() if form}


def _people_by(source: DataSource, lookup: Lookup) -> tuple[list[Contact], int]:
    """The different people whom a source knows by one key, and how many strangers it found."""
    region = source.context.default_region
    candidates = _contacts(source.find(lookup))
    contacts = [contact for contact in candidates if carries(contact, lookup, region)]
    return _distinct(contacts), len(candidates) - len(contacts)


def _contacts(answer: object) -> tuple[Contact, ...]:
    """What a source returned, once it is sure to be contacts: one wrong type can fail the card.

    Raises:
        SourceError: it is something else.
    """
    if not isinstance(answer, Iterable) or isinstance(answer, str | Mapping):
        fault = f"{_type(answer)} instead of a list of Contact (an empty one: not known here)"
        raise SourceError(f"find() returned {fault}; correct the source", permanent=True)
    contacts = tuple(answer)
    for contact in contacts:
        if fault := _fault(contact):
            raise SourceError(f"find() returned {fault}; correct the source", permanent=True)
    return contacts


def _fault(contact: object) -> str:
    """What is wrong with the types of a contact; empty: nothing."""
    if not isinstance(contact, Contact):
        return f"{_type(contact)} instead of a Contact"
    for name in ("name", "external_id", "contact_id"):
        if not isinstance(getattr(contact, name), str | None):
            return f"{_type(getattr(contact, name))} as the {name} of a contact, instead of a str"
    for name in ("emails", "phones"):
        texts = getattr(contact, name)
        if not isinstance(texts, tuple | list) or not all(isinstance(text, str) for text in texts):
            return f"{_type(texts)} as the {name} of a contact, instead of a tuple of str"
    details = contact.details
    if not isinstance(details, Mapping) or not all(isinstance(name, str) for name in details):
        return f"{_type(details)} as the details of a contact, instead of a dict by str"
    return ""


def _type(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _agree(lookup: Lookup, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Leave out who is visibly not the person asked for, or as likely somebody else.

    A phone is shared by households and inherited by strangers, so a match by nothing but a phone
    counts only as long as no e-mail address speaks against it and no source knows several people
    with it. Ids and e-mail addresses name one person.
    """
    matches = [finding.match for finding in findings if finding.match]
    by_phone = {id(match) for match in matches if _by_phone_alone(match, lookup)}
    if not by_phone:
        return findings
    sure = [_emails(match.contact) for match in matches if id(match) not in by_phone]
    weak = [_emails(match.contact) for match in matches if id(match) in by_phone]
    known = frozenset[str]().union(*sure)
    people = _people([known, *weak])
    person = next((addresses for addresses in people if addresses & known), frozenset())
    ambiguous = [finding for finding in findings if finding.outcome is Outcome.AMBIGUOUS]
    counts = [finding.count for finding in ambiguous if finding.key is Key.PHONE]
    sharers = max([len(people), *counts])

    def judged(finding: Finding) -> Finding:
        match = finding.match
        if not match or id(match) not in by_phone:
            return finding
        emails = _emails(match.contact)
        if emails & person:
            return finding
        if emails and person:
            return replace(finding, match=None, outcome=Outcome.CONTRADICTED)
        if sharers > 1:
            return replace(finding, match=None, outcome=Outcome.AMBIGUOUS, count=sharers)
        return finding

    return tuple(map(judged, findings))


def _by_phone_alone(match: Match, lookup: Lookup) -> bool:
    """Whether the phone is all that the contact shares with what ImBox sent."""
    # Who was found by another key carries that one, or would not be a match.
    return match.key is Key.PHONE and not any(
        carries(match.contact, lookup.by(key), match.region)
        for key in lookup.identities
        if key is not Key.PHONE
    )


def _people(contacts: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """The addresses of each person, when contacts with an address in common are the same one."""
    people: list[frozenset[str]] = []
    for addresses in contacts:
        same = [person for person in people if person & addresses]
        others = [person for person in people if not person & addresses]
        people = [*others, addresses.union(*same)] if addresses else people
    return people


def _emails(contact: Contact) -> frozenset[str]:
    return frozenset(filter(None, map(normal_email, contact.emails)))


def _distinct(contacts: Iterable[Contact]) -> list[Contact]:
    """The different people among rows: the same external id, or all equal, is one person."""
    people: list[Contact] = []
    for contact in contacts:
        if not any(same_person(contact, person) for person in people):
            people.append(contact)
    return people


def _where(error: BaseException) -> str:
    """File and line where an exception was raised, for the log."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown place"
