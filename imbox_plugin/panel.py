"""One plugin as set up in ImBox Admin: it asks, links and composes."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from imbox_plugin.compose import Composer
from imbox_plugin.directory import Directory
from imbox_plugin.identity import normal_email, normal_id, normal_phone
from imbox_plugin.links import Contact, LinkBuilder
from imbox_plugin.model import Finding, Key, Link, Lookup, Match, Reply, View, best_match

_log = logging.getLogger(__name__)

#: what may leave as a link, whoever built it; longer ones are cut or refused on the way
_ADDRESS = re.compile(r"https://[!-~]{1,4000}", re.IGNORECASE)

_TRUST_ALL: Mapping[View, frozenset[Key]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PanelLink:
    """One of a panel's links: its builder, and when it applies."""

    path: str
    text: str
    views: frozenset[View]
    builder: LinkBuilder


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and how the sources came to it."""

    reply: Reply
    findings: tuple[Finding, ...] = ()


class Panel:
    """Answers the lookups of one panel. Built once at start, used from many threads.

    Args:
        name: as in the address.
        directory: its sources.
        links: in the order of the settings; the first that applies is taken.
        composer: its layout.
        trust: by view, the identities that are searched by; a view left out trusts them all.
    """

    def __init__(
        self,
        name: str,
        directory: Directory,
        links: Iterable[PanelLink],
        composer: Composer,
        trust: Mapping[View, frozenset[Key]] = _TRUST_ALL,
    ) -> None:
        self.name = name
        self.directory = directory
        self._links = tuple(links)
        self._composer = composer
        self._trust = trust

    def answer(self, lookup: Lookup) -> Answer:
        """The card for one lookup; never raises, since what ImBox shows then is unknown."""
        findings: tuple[Finding, ...] = ()
        lookup = lookup.trusting(self._trust.get(lookup.view, frozenset(Key)))
        try:
            findings = self.directory.find(lookup)
            best = best_match(findings)
            link = self._link(lookup, _in_normal_form(best) if best else None)
            return Answer(self._composer.compose(lookup, findings, link), findings)
        except Exception as error:  # noqa: BLE001
            _log.error("panel %s made no card: %s", self.name, type(error).__name__)
            return Answer(self._composer.failure(), findings)

    def _link(self, lookup: Lookup, contact: Contact | None) -> Link | None:
        """The first link that applies to the view and has the identities it needs."""
        for link in self._links:
            if lookup.view not in link.views:
                continue
            try:
                url = link.builder.url(lookup, contact)
                is_sound = not url or _ADDRESS.fullmatch(url)
            except Exception as error:  # noqa: BLE001
                # A builder may be a plugin: the card goes out without its link.
                _log.error("%s made no link: %s", link.path, type(error).__name__)
                continue
            if url and is_sound:
                return Link(link.text, url)
            if not is_sound:
                _log.error("%s made no https address in plain ASCII of decent length", link.path)
        return None


def _in_normal_form(match: Match) -> Contact:
    """The contact with its identities as they are compared; those without a normal form left out.

    A phone number written nationally is somebody else's in any region but its source's.
    """
    contact, region = match.contact, match.region
    return replace(
        contact,
        external_id=normal_id(contact.external_id or ""),
        contact_id=normal_id(contact.contact_id or ""),
        emails=tuple(filter(None, map(normal_email, contact.emails))),
        phones=tuple(filter(None, (normal_phone(text, region) for text in contact.phones))),
    )
