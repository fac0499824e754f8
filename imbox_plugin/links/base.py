"""What a contact link is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import marshmallow

from imbox_plugin.model import Contact, Lookup


class LinkBuilder(ABC):
    """Makes the URL of one kind of contact link. Built once, used from many threads.

    The host is fixed by the builder or by its options; what comes from a lookup or a contact is
    only ever put in as an encoded value.
    """

    class Options(marshmallow.Schema):
        """Its table in the settings, without `type`, `text` and `views`.

        What `metadata={"help": "..."}` says in a line is listed by `flask sources`.
        """

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Keep the loaded options."""
        self.options = options

    @abstractmethod
    def url(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """The https address for this person, or None when an identity it needs is missing.

        Args:
            lookup: what ImBox asked. In a chat a visitor can claim any external id.
            contact: the person found, with all identities in normal form; None: nobody was.
        """

    def phone(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """The phone number to reach the person at, as E.164.

        The number of this very call or chat comes first, then the first of the contact.
        """
        return lookup.phone or next(iter(contact.phones if contact else ()), None)


def encoded(text: str) -> str:
    """A value as one part of a URL: everything but letters, digits and `_.-~` in percent form."""
    return quote(text, safe="", errors="replace")
