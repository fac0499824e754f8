"""The words of the domain as values: what is asked, who is known, and what is answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

_NOTHING: Mapping[Any, Any] = MappingProxyType({})


class View(StrEnum):
    """Where in ImBox the agent is."""

    __hash__ = str.__hash__

    CHAT = "chat"
    TICKET = "ticket"
    CALL = "call"
    CONTACT = "contact"


class Key(StrEnum):
    """An identity a source can search by, strongest first."""

    #: that of the text it equals; an enumeration's own is one more call for every dict of keys
    __hash__ = str.__hash__

    EXTERNAL_ID = "external_id"
    CONTACT_ID = "contact_id"
    EMAIL = "email"
    PHONE = "phone"


#: the keys; an enumeration makes a generator each time it is asked for its own
STRENGTH = tuple(Key)

#: identities that mean the same person in every system; ids of two systems are alike by accident
SHARED_KEYS = frozenset({Key.CONTACT_ID, Key.EMAIL, Key.PHONE})


@dataclass(frozen=True, slots=True)
class Lookup:
    """One validated question from ImBox.

    A source is always asked by exactly one identity: `key` says which, `value` holds it in normal
    form (an e-mail in lower case with an ASCII domain, a phone number as E.164, ids as text).
    """

    view: View
    #: normal forms by key; never blank
    identities: Mapping[Key, str] = field(default_factory=lambda: _NOTHING)
    #: identities ImBox sent that have no normal form, so that nobody is searched by them
    unusable: frozenset[Key] = frozenset()
    #: identities ImBox sent that the panel does not trust in this view
    distrusted: frozenset[Key] = frozenset()
    ticket_id: str | None = None
    channel_id: str | None = None
    call_id: str | None = None
    #: static parameters of the plugin's set-up in ImBox; never an identity, never a secret
    extras: Mapping[str, str] = field(default_factory=lambda: _NOTHING)

    @property
    def key(self) -> Key:
        """The strongest identity at hand; raises LookupError when there is none."""
        for key in STRENGTH:
            if key in self.identities:
                return key
        raise LookupError("this lookup has no identity")

    @property
    def value(self) -> str:
        """The normal form of `key`."""
        return self.identities[self.key]

    @property
    def external_id(self) -> str | None:
        """The id the contact has in the company's own systems."""
        return self.identities.get(Key.EXTERNAL_ID)

    @property
    def contact_id(self) -> str | None:
        """ImBox's own id of the contact."""
        return self.identities.get(Key.CONTACT_ID)

    @property
    def email(self) -> str | None:
        """The e-mail address in normal form."""
        return self.identities.get(Key.EMAIL)

    @property
    def phone(self) -> str | None:
        """The phone number as E.164."""
        return self.identities.get(Key.PHONE)

    def trusting(self, keys: frozenset[Key]) -> Lookup:
        """The same question without the identities that are not trusted."""
        return replace(
            self,
            identities=MappingProxyType(
                {key: form for key, form in self.identities.items() if key in keys}
            ),
            distrusted=frozenset(self.identities) - keys,
        )

    def by(self, key: Key) -> Lookup:
        """The same question, asked by this identity alone."""
        if self.identities.keys() == {key}:
            return self
        return replace(self, identities=MappingProxyType({key: self.identities[key]}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """What one source knows about one person.

    Identities are given as the source has them; the directory makes the normal forms.
    """

    name: str | None = None
    external_id: str | None = None
    #: ImBox's own id of the contact, for a source that stores it
    contact_id: str | None = None
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    #: any JSON-like tree; dates and decimals are welcome
    details: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class Match:
    """A contact that was asked for, and how it was found."""

    contact: Contact
    source: str
    key: Key
    #: seconds since the source said so; 0: just now
    age: float = 0.0
    #: ISO country of the contact's phone numbers written nationally; None: they are unusable
    region: str | None = None
    #: the source whose contact brought the key, when it was not ImBox that sent it
    via: str | None = None


class Outcome(StrEnum):
    """How one source answered."""

    FOUND = "found"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    CONTRADICTED = "contradicted"
    FAILED = "failed"
    NOT_ASKED = "not asked"


class Failure(StrEnum):
    """Why a source failed, as far as an agent is told."""

    ERROR = "failed"
    LATE = "late"
    #: others took the time in which it would have been asked
    UNASKED = "unasked"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Finding:
    """One source's answer to one lookup, whatever it was."""

    source: str
    outcome: Outcome
    match: Match | None = None
    #: the identities it was asked by, one after the other
    asked: tuple[Key, ...] = ()
    #: different contacts that share the last identity asked by
    count: int = 0
    #: contacts the source returned although their identity was not the one asked for
    dropped: int = 0
    #: what is wrong, for the operator; holds no identity and no secret
    reason: str = ""
    #: what that means for the agent, when the outcome is FAILED
    failure: Failure = Failure.ERROR
    #: that the source took; 0: it was not asked, because the answer was known
    seconds: float = 0.0
    #: seconds since the source said so; 0: just now
    age: float = 0.0
    #: seconds that it may still be shown without asking again
    fresh: float = 0.0
    #: whether the source failed just now, for `reason`, and this is what it said before
    is_stale: bool = False

    @property
    def key(self) -> Key | None:
        """The identity its answer is about: the last one it was asked by."""
        return self.asked[-1] if self.asked else None


def best_match(findings: Iterable[Finding]) -> Match | None:
    """The match by the strongest key that ImBox sent; of equals, the first."""
    matches = [finding.match for finding in findings if finding.match]
    return min(
        matches,
        key=lambda match: (match.via is not None, STRENGTH.index(match.key)),
        default=None,
    )


@dataclass(frozen=True, slots=True)
class Link:
    """Where the agent is taken from the card."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Event:
    """What a vendor's chat window or webhook told, on its way to a sink."""

    panel: str
    #: the `name` of the link whose window told it, or the vendor whose webhook did
    link: str
    #: as the vendor calls it, such as `WZ_CREATE_ENTITY`
    type: str
    #: what the vendor sent with it; may hold identities, so no log shows it
    data: Mapping[str, Any] = field(repr=False)
    #: equal for what is sent twice, not for what happens twice; holds no identity
    key: str

    @property
    def id(self) -> str:
        """64 hexadecimal digits, the same for what is sent twice to one link."""
        name = f"{self.panel}\n{self.link}\n{self.type}\n{self.key}"
        return sha256(name.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class ListElement:
    """Labelled texts, one under the other."""

    kind: ClassVar[str] = "list"
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class TableElement:
    """Columns with a header each; every row has as many cells as there are headers."""

    kind: ClassVar[str] = "table"
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class HtmlElement:
    """Markup that has passed `html.py`."""

    kind: ClassVar[str] = "html"
    html: str


@dataclass(frozen=True, slots=True)
class AccordionElement:
    """A section that opens, holding other elements but no accordion."""

    kind: ClassVar[str] = "accordion"
    title: str
    data: tuple[ListElement | TableElement | HtmlElement, ...]


Element: TypeAlias = ListElement | TableElement | HtmlElement | AccordionElement


@dataclass(frozen=True, slots=True)
class Block:
    """ImBox's unit in the panel."""

    name: str
    #: a Material Symbols name
    icon: str
    data: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """Everything answered to one lookup."""

    contact_name: str | None = None
    contact_link: Link | None = None
    blocks: tuple[Block, ...] = ()
