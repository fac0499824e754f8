"""Why a card does not show everything: the sentences an agent reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from imbox_plugin.formats import Formats
from imbox_plugin.identity import normal_email
from imbox_plugin.model import STRENGTH, Finding, Key, Lookup, Outcome, Row

_NOBODY = frozenset({Outcome.UNKNOWN, Outcome.NOT_ASKED})


class Notices:
    """Says why a card shows less than it could, one row a reason. Built once, at start."""

    def __init__(self, formats: Formats) -> None:
        self._formats = formats

    def row(self, sentence: str, label: str = "", **values: str | int) -> Row:
        """The row of one sentence of the catalogue, labelled by its own label or another's."""
        title = self._formats.sentence(f"label_{label or sentence}")
        return Row(title, self._formats.sentence(sentence, **values))

    def about(self, lookup: Lookup, findings: Sequence[Finding]) -> Iterator[Row]:
        """The reasons that lie in what was asked and in how the sources answered."""
        for key in STRENGTH:
            if key in lookup.unusable:
                yield self.row("unusable", key=self._name(key))
        if not any(finding.match for finding in findings):
            for key in STRENGTH:
                if key in lookup.distrusted:
                    yield self.row("distrusted", key=self._name(key), view=self._view(lookup))
        if not lookup.identities and not lookup.unusable and not lookup.distrusted:
            yield self.row("no_identity", view=self._view(lookup))
        if lookup.identities and all(finding.outcome in _NOBODY for finding in findings):
            yield self._nobody(lookup, findings)
        ambiguous = [finding for finding in findings if finding.outcome is Outcome.AMBIGUOUS]
        for key, count in dict.fromkeys(
            (finding.asked[-1], finding.count) for finding in ambiguous
        ):
            yield self.row("ambiguous", key=self._name(key), count=count)
        for finding in findings:
            yield from self._of_source(lookup, finding)

    def _nobody(self, lookup: Lookup, findings: Sequence[Finding]) -> Row:
        asked = {key for finding in findings for key in finding.asked}
        keys = [self._name(key) for key in STRENGTH if key in (asked or lookup.identities)]
        sentence = "no_match" if asked else "not_searchable"
        return self.row(sentence, label="no_match", keys=self._any_of(keys))

    def _of_source(self, lookup: Lookup, finding: Finding) -> Iterator[Row]:
        if finding.outcome is Outcome.CONTRADICTED:
            key = self._name(finding.asked[-1])
            yield self.row("contradicts", source=finding.source, key=key)
        elif finding.outcome is Outcome.FAILED:
            yield self.row(f"source_{finding.failure}", label="failed", source=finding.source)
        else:
            if _has_other_email(finding, lookup):
                yield self.row("other_email", source=finding.source)
            if finding.is_stale:
                minutes = math.ceil(finding.age / 60)
                yield self.row("stale", source=finding.source, minutes=minutes)

    def _view(self, lookup: Lookup) -> str:
        return self._formats.sentence(f"view_{lookup.view.value}")

    def _name(self, key: Key) -> str:
        return self._formats.sentence(f"key_{key.value}")

    def _any_of(self, names: Sequence[str]) -> str:
        """`customer id, e-mail address or phone number`."""
        *first, last = names
        return f"{', '.join(first)} {self._formats.sentence('or')} {last}" if first else last


def _has_other_email(finding: Finding, lookup: Lookup) -> bool:
    """Whether somebody was found by a phone, which people share, and has another address."""
    if not finding.match or finding.match.key is not Key.PHONE or not lookup.email:
        return False
    emails = set(filter(None, map(normal_email, finding.match.contact.emails)))
    return bool(emails) and lookup.email not in emails
