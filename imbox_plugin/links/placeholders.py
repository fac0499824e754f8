"""Texts of the settings in which `{email}` and the like stand for what is known of a person."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from types import MappingProxyType
from uuid import UUID

from marshmallow import ValidationError

from imbox_plugin.model import Contact, Lookup
from imbox_plugin.settings import unknown

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
#: before the name of a detail of the contact, as in the texts of a layout
_DETAIL = "contact."
#: the parts of a contact that are no details
_NO_DETAILS = frozenset({"external_id", "contact_id", "email", "phone", "name"})
#: a Decimal of a few bytes may stand for a million digits
_MOST_DIGITS = 400


def phones(lookup: Lookup, contact: Contact | None) -> tuple[str, ...]:
    """All numbers of the person as E.164, each once, that of this very call or chat first."""
    asked = (lookup.phone,) if lookup.phone else ()
    return tuple(dict.fromkeys((*asked, *(contact.phones if contact else ()))))


def phone(lookup: Lookup, contact: Contact | None) -> str | None:
    """The first of the numbers; None: there is none."""
    return next(iter(phones(lookup, contact)), None)


#: the identities that a text may name, each with where it comes from
PLACEHOLDERS: Mapping[str, Callable[[Lookup, Contact | None], str | None]] = MappingProxyType(
    {
        # Of the contact only: anybody can claim an id in a chat.
        "external_id": lambda _, contact: contact.external_id if contact else None,
        "contact_id": lambda lookup, _: lookup.contact_id,
        "email": lambda lookup, contact: (
            lookup.email or next(iter(contact.emails if contact else ()), None)
        ),
        "phone": phone,
        "phone_digits": lambda lookup, contact: (phone(lookup, contact) or "").lstrip("+"),
        "name": lambda _, contact: contact.name if contact else None,
        "ticket_id": lambda lookup, _: lookup.ticket_id,
    }
)


def names_in(text: str, like: str) -> list[str]:
    """The names of the placeholders of a text, each as often as it stands there.

    Args:
        text: of the settings.
        like: the name of one, as an example.

    Raises:
        ValidationError: a brace has no partner.
    """
    if not {"{", "}"}.isdisjoint(_PLACEHOLDER.sub("", text)):
        raise ValidationError(f"a brace without its partner; placeholders are like {{{like}}}")
    names: list[str] = _PLACEHOLDER.findall(text)
    return names


def check_name(name: str, identities: Collection[str] = PLACEHOLDERS) -> None:
    """See that a placeholder is one of the identities, or a detail.

    Raises:
        ValidationError: it is neither.
    """
    detail = name.removeprefix(_DETAIL)
    if detail != name and detail in _NO_DETAILS:
        raise ValidationError(f"{{{name}}} is no detail; write {{{detail}}}")
    if name not in identities and (detail == name or not detail.isidentifier()):
        raise ValidationError(unknown("placeholder", name, [*identities, f"{_DETAIL}<detail>"]))


def check_placeholders(text: str, identities: Collection[str] = PLACEHOLDERS) -> list[str]:
    """The names of the placeholders of a text, all of which can be filled.

    Raises:
        ValidationError: one of them names nothing, or a brace has no partner.
    """
    names = names_in(text, next(iter(identities)))
    for name in names:
        check_name(name, identities)
    return names


def known(lookup: Lookup, contact: Contact | None, name: str) -> str | None:
    """What a placeholder stands for; None or blank: it is not known.

    A detail is of the contact found only, which somebody in your company has written.
    """
    identity = PLACEHOLDERS.get(name)
    if identity:
        return identity(lookup, contact)
    return _written(contact.details.get(name.removeprefix(_DETAIL))) if contact else None


class Template:
    """A checked text, taken apart once and filled for each person."""

    def __init__(self, text: str) -> None:
        self._first, *parts = _PLACEHOLDER.split(text)
        #: each placeholder, with the text up to the next one
        self._parts = tuple(zip(parts[::2], parts[1::2], strict=True))

    def fill(
        self, value: Callable[[str], str | None], put: Callable[[str], str] = str
    ) -> str | None:
        """The text with every placeholder filled; None: one is not known.

        Args:
            value: of a placeholder, by its name.
            put: makes a value fit for its place.
        """
        filled = self._first
        for name, after in self._parts:
            text = value(name)
            if not text:
                return None
            filled += put(text) + after
        return filled


def _written(value: object) -> str | None:
    """A detail that is a text or a whole number, whichever kind its source has."""
    match value:
        case str():
            return value.strip()
        case bool():
            return None
        case int() | UUID():
            return str(value)
        case float() if value.is_integer():  # every number of a spreadsheet is one
            return str(int(value))
        case Decimal() if _is_whole(value):
            return str(int(value))
        case _:
            return None


def _is_whole(value: Decimal) -> bool:
    is_short = value.is_finite() and value.adjusted() < _MOST_DIGITS
    return is_short and value == value.to_integral_value()
