"""What a contact link is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import marshmallow

from imbox_plugin.links.placeholders import phone
from imbox_plugin.model import Contact, Lookup
from imbox_plugin.seals import Seal


class Reason(StrEnum):
    """Why there is no address, where no code of the vendor's says it; the log tells it as it is.

    Each has a space in it, which a vendor's code cannot have.
    """

    #: the vendor has nobody by what was asked; the agent is told to write to the person there first
    NO_CONTACT = "no contact"
    #: it may be one of several; the agent is told
    SEVERAL_CONTACTS = "several contacts"
    #: the contact is there, and no chat with them
    NO_CHAT = "no chat"
    #: there is none where the settings or the vendor's document say
    NO_CREDENTIAL = "no token"
    NOT_HTTPS = "not an https address"
    #: an address, if it is one, that is not at the host of the settings
    NOT_AT_HOST = "not at host"
    #: not asked, so soon after it let nobody in
    PAUSED = "left alone after a refusal"
    BUSY = "busy with earlier clicks"
    LATE = "no answer in time"
    NO_CONNECTION = "no connection"
    #: no certificate of the server that was meant
    NOT_TRUSTED = "not trusted"
    #: an answer of another form than the document's
    UNUSABLE = "no usable answer"
    #: the ticket is older than the settings, which have taken the login out
    NO_LOGIN = "no login"
    #: the folder `state`
    NO_STATE = "state not written"


class LinkError(Exception):
    """The vendor gives no address now.

    Args:
        message: what is wrong and the cure; no identity, no secret, no URL. Nobody is shown it.
        code: what the log tells: the vendor's own code, the status of its answer, or a reason.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Frame:
    """How a vendor's page is embedded, as its document says."""

    #: the attribute of the iframe
    allow: str = ""
    #: the attribute of the iframe; None: it has none
    sandbox: str | None = None
    #: the `type` of the messages its page sends to ours, of those that we listen to
    events: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one click leads: made for it alone, and never kept."""

    #: https, at the vendor's
    url: str = field(repr=False)
    #: None: it is opened, not embedded
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkContext:
    """What a link builder is told beside its own options."""

    #: the folder of the settings file; relative paths in the options start here
    folder: Path = field(default_factory=Path)
    #: where it may keep what must outlive a restart, for all processes of this machine
    state: Path = field(default_factory=Path)
    #: seals what it keeps there; None: the settings have no secret keys, so it keeps nothing
    seal: Seal | None = None
    #: seconds that `mint` may take
    time_limit: float = 8.0


class LinkBuilder(ABC):
    """Makes the URL of one kind of contact link. Built once, used from many threads.

    Most links are an address that can stand in the card: `url` makes it. Where the vendor wants a
    credential of ours for each address, the card leads to this server instead, with an `order`
    sealed in a ticket, and `mint` makes the address when the agent clicks.

    The host is fixed by the builder or by its options; what comes from a lookup or a contact is
    only ever put in as an encoded value.
    """

    #: whether `url` gives the same address, and `order` the same order, for the same person every
    #: time, with nothing in it that expires, so that a card with the link may be sent again
    lasting: ClassVar[bool] = False
    #: by the `type` of an event that its page may tell of, the option that is to be true for that,
    #: or "" where none is, so that a mistake in `events` stops the start; None: it does not say
    events: ClassVar[Mapping[str, str] | None] = None

    class Options(marshmallow.Schema):
        """Its table in the settings, without what every link has, such as `type` and `text`.

        What `metadata={"help": "..."}` says in a line is listed by `flask sources`.
        """

    def __init__(self, options: Mapping[str, Any], context: LinkContext) -> None:
        """Keep the loaded options; the author's own comes with `super().__init__`."""
        self.options = options
        self.context = context

    @abstractmethod
    def url(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """The https address for this person, or None when an identity it needs is missing.

        Args:
            lookup: what ImBox asked. In a chat a visitor can claim any external id.
            contact: the person found, with all identities in normal form; None: nobody was.
        """

    @property
    def mints(self) -> bool:
        """Whether it ever gives an `order`, so that `base_url` and `secret_keys` are needed.

        A builder that does so by some options only says which.
        """
        return type(self).order is not LinkBuilder.order

    def order(self, lookup: Lookup, contact: Contact | None) -> Mapping[str, Any] | None:
        """All that `mint` will need, as JSON; None: this link needs no minting, `url` is it.

        It is asked while the agent waits for the card, so it asks nobody. A few hundred bytes:
        the sealed ticket is part of an address.
        """
        del lookup, contact
        return None

    def mint(self, order: Mapping[str, Any]) -> Destination:
        """The address for one click, by the vendor's API.

        Raises:
            LinkError: there is none now. The agent is offered `url`, or the next link.
        """
        raise NotImplementedError

    def phone(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """The phone number to reach the person at, as E.164.

        The number of this very call or chat comes first, then the first of the contact.
        """
        return phone(lookup, contact)


def encoded(text: str) -> str:
    """A value as one part of a URL: everything but letters, digits and `_.-~` in percent form."""
    return quote(text, safe="", errors="replace")
