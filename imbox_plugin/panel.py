"""One plugin as set up in ImBox Admin: it asks, links and composes."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from imbox_plugin.compose import Composer, common_values, values_about
from imbox_plugin.directory import Directory
from imbox_plugin.identity import normal_email, normal_id, normal_phone
from imbox_plugin.layout import Expression, Values, blank
from imbox_plugin.links import LinkBuilder
from imbox_plugin.model import (
    Contact,
    Finding,
    Key,
    Link,
    Lookup,
    Match,
    Outcome,
    Reply,
    View,
    best_match,
)
from imbox_plugin.tickets import Tickets

_log = logging.getLogger(__name__)

#: characters of an address; what ImBox bears is not known
_LONGEST = 4_000
#: what may leave as a link, whoever built it; longer ones are cut or refused on the way
_ADDRESS = re.compile(rf"https://[!-~]{{1,{_LONGEST}}}", re.IGNORECASE)
#: seconds, a working day: a card stays open as long as somebody works with it
EXPIRES = 8 * 3600
#: the part of a ticket's life in which the card with it may be sent again
_LENT = 1 / 10

_TRUST_ALL: Mapping[View, frozenset[Key]] = MappingProxyType({})


#: what can be done about an event
Action: TypeAlias = Literal["open", "badge", "deliver"]


@dataclass(frozen=True, slots=True)
class EventAction:
    """What is done when the window of a vendor tells something."""

    action: Action
    #: what is opened, with placeholders for the event's data
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PanelLink:
    """One of a panel's links: its builder, when it applies, and how it is opened."""

    path: str
    #: what layouts and tickets call it; another for each link of a panel
    name: str
    text: str
    views: frozenset[View]
    builder: LinkBuilder
    when: Expression | None = None
    #: seconds that its tickets are good for
    expires: int = EXPIRES
    #: whether the vendor's page is embedded, where the vendor says how
    embed: bool = True
    #: by the type of an event, what is done
    events: Mapping[str, EventAction] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and how the sources came to it."""

    reply: Reply
    findings: tuple[Finding, ...] = ()
    #: seconds from the question on that it may be given again as it is
    fresh: float = 0.0


class Panel:
    """Answers the lookups of one panel. Built once at start, used from many threads.

    Args:
        name: as in the address.
        directory: its sources.
        links: in the order of the settings; the first that applies is taken.
        composer: its layout.
        tickets: seals what the links that are minted at a click will need; None: there are none.
        brand: what the pages behind its links are headed by.
        trust: by view, the identities that are searched by; a view left out trusts them all.
    """

    def __init__(
        self,
        name: str,
        directory: Directory,
        links: Iterable[PanelLink],
        composer: Composer,
        trust: Mapping[View, frozenset[Key]] = _TRUST_ALL,
        *,
        tickets: Tickets | None = None,
        brand: str = "",
    ) -> None:
        self.name = name
        self.directory = directory
        self.links = {link.name: link for link in links}
        self.brand = brand
        self._tickets = tickets
        self._composer = composer
        self._trust = trust
        # seconds that a card may be sent again, as far as its links go
        self._lasting = min(map(_lasting, self.links.values()), default=math.inf)

    def answer(self, lookup: Lookup, spent: float = 0.0) -> Answer:
        """The card for one lookup; never raises, since what ImBox shows then is unknown.

        Args:
            lookup: what ImBox asked.
            spent: seconds since then.
        """
        findings: tuple[Finding, ...] = ()
        lookup = self.searched(lookup)
        try:
            findings = self.directory.find(lookup, spent)
            links = CardLinks(self, self._tickets, lookup, findings)
            reply = self._composer.compose(lookup, findings, links.first(), links)
            return Answer(reply, findings, self._fresh(findings))
        except Exception as error:  # noqa: BLE001
            _log.error("panel %s made no card: %s", self.name, type(error).__name__)
            return Answer(self._composer.failure(), findings)

    def _fresh(self, findings: Iterable[Finding]) -> float:
        """Seconds that nothing on the card changes by time alone."""
        told = [one.fresh for one in findings if one.outcome is not Outcome.NOT_ASKED]
        return min(*told, self._lasting) if told else 0.0

    def searched(self, lookup: Lookup) -> Lookup:
        """The same question, with the identities alone that the panel trusts in this view."""
        trusted = self._trust.get(lookup.view)
        return lookup if trusted is None else lookup.trusting(trusted)


class CardLinks(Mapping[str, Link]):
    """The links of one card by name, those that apply; each is made when it is first asked for.

    Args:
        panel: whose card it is.
        tickets: seals the orders of links that are minted at a click.
        lookup: what ImBox asked.
        findings: what the sources answered.
    """

    def __init__(
        self, panel: Panel, tickets: Tickets | None, lookup: Lookup, findings: Sequence[Finding]
    ) -> None:
        self._panel, self._tickets = panel, tickets
        self._lookup, self._findings = lookup, findings
        self._best = best_match(findings)
        self._contact = _in_normal_form(self._best) if self._best else None
        self._made: dict[str, Link | None] = {}
        self._plain: dict[str, Link | None] = {}
        self._values: Values | None = None

    def __getitem__(self, name: str) -> Link:
        if name not in self._made:
            self._made[name] = self._link(self._panel.links[name])
        link = self._made[name]
        if link is None:
            raise KeyError(name)
        return link

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._panel.links if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def first(self) -> Link | None:
        """The first that applies."""
        return next(iter(self.values()), None)

    def _link(self, link: PanelLink) -> Link | None:
        """One link, if it applies to the view and the person and has the identities it needs."""
        if not self._applies(link):
            return None
        try:
            order = link.builder.order(self._lookup, self._contact)
        except Exception as error:  # noqa: BLE001
            # A builder may be a plugin: the card goes out without its link.
            _log.error("%s made no link: %s", link.path, type(error).__name__)
            return None
        if order is None:
            return self._without_ticket(link)
        return self._with_ticket(link, order)

    def _with_ticket(self, link: PanelLink, order: Mapping[str, Any]) -> Link | None:
        """The address of this server that has the order in it."""
        if self._tickets is None:
            _log.error("%s gives orders, which its `mints` does not say; correct it", link.path)
            return self._without_ticket(link)
        try:
            # What is too long with the other way in it may still be short enough without.
            for fallback in dict.fromkeys((self._fallback(link), None)):
                url = self._tickets.address(self._panel.name, link.name, order, fallback)
                if len(url) <= _LONGEST:
                    return Link(link.text, url)
        except (TypeError, ValueError, RecursionError) as error:
            _log.error("%s gave an order that is no JSON: %s", link.path, type(error).__name__)
            return None
        _log.error("%s gave an order too long for an address; make it shorter", link.path)
        return None

    def _applies(self, link: PanelLink) -> bool:
        if self._lookup.view not in link.views:
            return False
        if link.when is None:
            return True
        if self._values is None:
            matches = [finding.match for finding in self._findings if finding.match]
            common = common_values(self._lookup, matches)
            self._values = values_about(self._best, common) if self._best else common
        try:
            return not blank(link.when(self._values))
        except Exception as error:  # noqa: BLE001
            # A condition is the integrator's program over data nobody has seen before.
            _log.error("%s.when cannot be told: %s", link.path, type(error).__name__)
            return False

    def _fallback(self, link: PanelLink) -> Link | None:
        """Where the agent may go instead: the link's own address, or that of a later link.

        Its own has no text: the page that offers it says how it differs from what failed.
        """
        own = self._without_ticket(link)
        if own:
            return Link("", own.url)
        names = list(self._panel.links)
        later = (self._panel.links[name] for name in names[names.index(link.name) + 1 :])
        links = filter(self._applies, later)
        return next(filter(None, map(self._without_ticket, links)), None)

    def _without_ticket(self, link: PanelLink) -> Link | None:
        """The address that the builder itself gives."""
        if link.name not in self._plain:
            self._plain[link.name] = self._own_address(link)
        return self._plain[link.name]

    def _own_address(self, link: PanelLink) -> Link | None:
        try:
            url = link.builder.url(self._lookup, self._contact)
            is_sound = not url or _ADDRESS.fullmatch(url)
        except Exception as error:  # noqa: BLE001
            _log.error("%s made no link: %s", link.path, type(error).__name__)
            return None
        if not is_sound:
            _log.error("%s made no https address in plain ASCII of decent length", link.path)
        return Link(link.text, url) if url and is_sound else None


def _lasting(link: PanelLink) -> float:
    """Seconds that what a link gives now may be given again."""
    if not link.builder.lasting:
        return 0.0
    return link.expires * _LENT if link.builder.mints else math.inf


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
