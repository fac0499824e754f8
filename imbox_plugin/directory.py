"""The sources of one panel, asked as one: verified, and with failures kept apart."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from imbox_plugin.identity import carries, normal_email
from imbox_plugin.model import Contact, Finding, Key, Lookup, Match, Outcome
from imbox_plugin.sources import DataSource, SourceError

_log = logging.getLogger(__name__)


class Directory:
    """Asks the sources of one panel about one person.

    Args:
        sources: in the order of the settings, which is the order of the card.
    """

    def __init__(self, sources: Iterable[DataSource]) -> None:
        self.sources = tuple(sources)

    def find(self, lookup: Lookup) -> tuple[Finding, ...]:
        """One finding per source, in their order; never raises.

        Every match shown carries the identity that was asked for, and all matches are of one
        person as far as their identities tell.
        """
        return _agree(tuple(_ask(source, lookup) for source in self.sources))

    def close(self) -> None:
        """Give back what the sources hold."""
        for source in self.sources:
            source.close()


def _ask(source: DataSource, lookup: Lookup) -> Finding:
    """Ask one source, by its strongest key first; by a weaker one only when nobody is found."""
    total = Finding(source.context.name, Outcome.NOT_ASKED)
    for key in Key:
        if key not in source.keys or key not in lookup.identities:
            continue
        finding = _ask_by(source, lookup.by(key))
        total = replace(finding, asked=(*total.asked, key), dropped=total.dropped + finding.dropped)
        if finding.outcome is not Outcome.UNKNOWN:
            break
    return total


def _ask_by(source: DataSource, lookup: Lookup) -> Finding:
    name, key = source.context.name, lookup.key
    region = source.context.default_region
    try:
        candidates = tuple(source.find(lookup))
        contacts = [contact for contact in candidates if carries(contact, lookup, region)]
    except SourceError as error:
        _log.warning("source %s cannot say: %s", name, error)
        return Finding(name, Outcome.FAILED, reason=str(error))
    except Exception as error:  # noqa: BLE001
        # The one place that catches everything: a broken plugin must not take the card down.
        # Its message may hold an identity, so only its kind and place are told.
        kind = type(error).__name__
        _log.error("source %s failed: %s at %s", name, kind, _where(error))
        return Finding(name, Outcome.FAILED, reason=f"{kind} in the source, see the log")
    dropped = len(candidates) - len(contacts)
    people = _distinct(contacts)
    if not people:
        return Finding(name, Outcome.UNKNOWN, dropped=dropped)
    if len(people) > 1:
        return Finding(name, Outcome.AMBIGUOUS, count=len(people), dropped=dropped)
    return Finding(name, Outcome.FOUND, Match(people[0], name, key), dropped=dropped)


def _agree(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Leave out who is visibly not the person the others found.

    A phone is shared by households and inherited by strangers, so a match by phone counts only as
    long as no e-mail address speaks against it. Ids and e-mail addresses name one person.
    """
    matches = [finding.match for finding in findings if finding.match]
    weak = [match for match in matches if match.key is Key.PHONE]
    strong = [match for match in matches if match.key is not Key.PHONE]
    known = frozenset().union(*(_emails(match.contact) for match in strong))
    if strong:
        left_out = [match for match in weak if _contradict(known, _emails(match.contact))]
        return _without(findings, left_out, Outcome.CONTRADICTED, count=0)
    addresses = [_emails(match.contact) for match in weak]
    if any(_contradict(one, other) for one, other in itertools.combinations(addresses, 2)):
        return _without(findings, weak, Outcome.AMBIGUOUS, count=len(weak))
    return findings


def _without(
    findings: tuple[Finding, ...], left_out: Sequence[Match], outcome: Outcome, count: int
) -> tuple[Finding, ...]:
    return tuple(
        replace(finding, match=None, outcome=outcome, count=count)
        if any(finding.match is match for match in left_out)
        else finding
        for finding in findings
    )


def _contradict(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one and other) and one.isdisjoint(other)


def _emails(contact: Contact) -> frozenset[str]:
    return frozenset(filter(None, map(normal_email, contact.emails)))


def _distinct(contacts: Iterable[Contact]) -> list[Contact]:
    """The different people among rows: the same external id, or all equal, is one person."""
    people: list[Contact] = []
    for contact in contacts:
        if not any(_same(contact, person) for person in people):
            people.append(contact)
    return people


def _same(one: Contact, other: Contact) -> bool:
    if one.external_id and other.external_id:
        return one.external_id == other.external_id
    return one == other


def _where(error: BaseException) -> str:
    """File and line where an exception was raised, for the log."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown place"
