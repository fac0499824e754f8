"""From a record, as a database, a file or an API has it, to a contact: what sources share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from imbox_plugin.identity import SEARCH_FORMS, carries, normal_form, search_forms
from imbox_plugin.model import Contact, Key, Lookup, View

#: the parts of a contact that are no details, so that no detail may have their names
CONTACT_NAMES = frozenset(
    {"name", "external_id", "contact_id", "email", "emails", "phone", "phones"}
)
#: the names of `forms_of`
FORM_NAMES = frozenset(name for names in SEARCH_FORMS.values() for name in names)

#: what shows that a record belongs to the identity asked for
SHOWN_BY: Mapping[Key, str] = MappingProxyType(
    {
        Key.EXTERNAL_ID: "external_id",
        Key.CONTACT_ID: "contact_id",
        Key.EMAIL: "emails",
        Key.PHONE: "phones",
    }
)

#: the search forms of a key that are not the identity itself
_FURTHER_FORMS: Mapping[Key, frozenset[str]] = MappingProxyType(
    {key: frozenset(names) - {key.value} for key, names in SEARCH_FORMS.items()}
)
#: what most values of a record are, and stay
LEAVES: frozenset[type] = frozenset({type(None), str, int, float, bool, Decimal, date, datetime})

_BREAKS = dict.fromkeys(map(ord, "\t\r\n"))
_BETWEEN = re.compile(r"[,;\r\n]")
#: a Decimal of a few bytes may stand for a million of them
_MOST_ZEROS = 400
#: nobody reads what lies deeper, and a hostile answer may be all depth
_LEVELS = 32


def text(value: Any) -> str | None:
    """An id or a name exactly as it would be written down; None: blank, or no single value."""
    match value:
        case str():
            written = value
        case bool():
            written = str(value).lower()
        case Decimal() if value.is_finite() and abs(value.adjusted()) <= _MOST_ZEROS:
            digits = f"{value:f}"
            written = digits.rstrip("0").rstrip(".") if "." in digits else digits
        case float() if value.is_integer():
            written = f"{value:.0f}"
        case bytes() | bytearray() | memoryview():
            written = _decoded(value) or ""
        case None | Mapping() | list() | tuple() | set() | frozenset():
            written = ""
        case _:
            written = str(value)
    return written if written.strip() else None


def _decoded(value: bytes | bytearray | memoryview) -> str | None:
    """The text that bytes are, or None: a picture or a hash tells an agent nothing."""
    try:
        written = bytes(value).decode()
    except UnicodeDecodeError:
        return None
    return written if written.isprintable() or written.translate(_BREAKS).isprintable() else None


def texts(value: Any) -> tuple[str, ...]:
    """The identities that a value holds, each once.

    A list in a list is one with it, and a text may hold several, with commas, semicolons or line
    breaks between.
    """
    found: dict[str, None] = {}
    waiting = [value]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, list | tuple | set | frozenset):
            waiting[:0] = one
        elif isinstance(one, str):
            for part in _BETWEEN.split(one):
                found[part.strip()] = None
        elif one is not None:
            found[text(one) or ""] = None
    return tuple(filter(None, found))


def plain(value: Any, levels: int = _LEVELS) -> Any:
    """A JSON-like tree of the value; dates and decimals stay what they are."""
    if type(value) in LEAVES:
        return value
    match value:
        case str() | int() | float() | Decimal() | date():
            return value
        case dict() | Mapping():
            return (
                {
                    str(key): inner if type(inner) in LEAVES else plain(inner, levels - 1)
                    for key, inner in value.items()
                }
                if levels
                else None
            )
        case bytes() | bytearray() | memoryview():
            return _decoded(value)
        case list() | tuple() | set() | frozenset():
            return [plain(inner, levels - 1) for inner in value] if levels else None
        case _:
            return str(value)


def same_person(one: Contact, other: Contact) -> bool:
    """Whether two records are one person's: the same external id, or all equal."""
    if one.external_id and other.external_id:
        return one.external_id == other.external_id
    return one == other


def of_one(people: Sequence[Contact], lookup: Lookup, region: str | None) -> Sequence[int]:
    """Which of the people have the identity asked for, if they are all one person; else none."""
    found = [at for at, person in enumerate(people) if carries(person, lookup, region)]
    return found if all(same_person(people[found[0]], people[at]) for at in found) else ()


def forms_of(
    person: Contact, region: str | None, wanted: frozenset[str] = FORM_NAMES
) -> dict[str, str]:
    """The texts by which more can be asked about a person, by name.

    Each identity as the record has it, of several the first, and those of its search forms that are
    wanted: they are made of the normal form, which takes time.
    """
    own = {
        Key.EXTERNAL_ID: person.external_id,
        Key.CONTACT_ID: person.contact_id,
        Key.EMAIL: next(iter(person.emails), None),
        Key.PHONE: next(iter(person.phones), None),
    }
    given = {key.value: value for key, value in own.items() if value}
    normal = {
        key: form
        for key, value in own.items()
        if value
        and not wanted.isdisjoint(_FURTHER_FORMS[key])
        and (form := normal_form(key, value, region))
    }
    return {**search_forms(Lookup(View.CONTACT, normal)), **given} if normal else given
