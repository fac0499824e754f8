"""People in files: what the sources have in common that keep an index of a file.

A source of files says how its file is read; here is how its people are indexed, found, and joined
with the rows of further files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unicodedata import decimal

import phonenumbers
from marshmallow import ValidationError, fields
from phonenumbers import PhoneMetadata

from imbox_plugin.files import FileError, IndexedFile, Row
from imbox_plugin.identity import carries, normal_email, normal_form, normal_id
from imbox_plugin.model import Contact, Key, Lookup
from imbox_plugin.sources.base import SourceContext, SourceError
from imbox_plugin.sources.records import CONTACT_NAMES, SHOWN_BY, same_person

#: raise it when the same file is to be indexed in another way
_RECIPE = 1
#: of the time for one question, the part that the first ones wait for the first reading
_PATIENCE = 0.8
#: rows for one identity, or for one person
_MOST = 1000
#: digits at the end of a number that no country rewrites
_NEVER_REWRITTEN = 5
#: digits; Python reads whole numbers of up to 4300
_LONGEST_INT = 4000

_KEYS = tuple(Key)
_NO_LINKS: Mapping[str, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Person:
    """One record of a file: what is known about one person."""

    #: without details
    contact: Contact
    #: a JSON object
    details: str
    #: name of a related file -> the texts by which its rows refer to this person
    links: Mapping[str, Sequence[str]] = field(default_factory=lambda: _NO_LINKS)


@dataclass(frozen=True, slots=True)
class Related:
    """A further file, whose rows belong to the people of the first."""

    file: Path
    #: each row as what it refers to a person by, and a JSON object
    rows: Callable[[Path], Iterable[tuple[Sequence[str], str]]]
    #: the identity that these texts are; None: compared as they are
    key: Key | None
    #: members of a row that are not shown
    hidden: Collection[str] = ()


class Texts(fields.List[str]):
    """A text, or a list of texts."""

    def __init__(self, **options: Any) -> None:
        super().__init__(fields.String(), **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        one_or_more = [value] if isinstance(value, str) else value
        return tuple(super()._deserialize(one_or_more, attr, data, **kwargs))


def check_path(path: str) -> None:
    """Refuse what cannot be the path of a file.

    Raises:
        ValidationError: it cannot.
    """
    if not path.strip() or "\0" in path:
        raise ValidationError("names no file; write its path, from the folder of the settings on")


def check_related(related: Mapping[str, Any]) -> None:
    """Refuse names of related files that are no names for a detail.

    Raises:
        ValidationError: by name.
    """
    message = (
        "not a name for a detail; use letters, digits and _, and none of the contact's own names, "
        "such as email"
    )
    wrong = [
        name for name in related if not name.isidentifier() or name in CONTACT_NAMES | {"details"}
    ]
    if wrong:
        raise ValidationError({name: [message] for name in wrong})


def identities(contact: Contact, key: Key) -> tuple[str, ...]:
    """The texts of one kind of identity that a contact has."""
    found = getattr(contact, SHOWN_BY[key])
    return found if isinstance(found, tuple) else (found,) if found else ()


def link_key(to: str) -> Key | None:
    """The identity that `to` names; None: it names a column or a path."""
    return Key(to) if to in set(Key) else None


class People:
    """The people of a file, and what further files have about them.

    Args:
        context: of the source.
        file: with the people.
        people: reads them; raises FileError where the file is broken.
        options: the source's own; other options are another index.
        related: by the name of the detail that their rows become.
        cure: what to do when no record has an identity.
        hidden: members of the details that are not shown.
    """

    def __init__(
        self,
        context: SourceContext,
        file: Path,
        people: Callable[[Path], Iterable[Person]],
        *,
        options: Mapping[str, Any],
        related: Mapping[str, Related],
        cure: str,
        hidden: Collection[str] = (),
    ) -> None:
        self._region = context.default_region
        self._hidden = frozenset(hidden) | CONTACT_NAMES
        self._cure = cure
        self._links = dict(related)
        made_of = [_RECIPE, phonenumbers.__version__, self._region, options]
        recipe = json.dumps(made_of, sort_keys=True)
        label, patience = f"source {context.name}", context.time_limit * _PATIENCE

        def people_rows(path: Path) -> Iterator[Row]:
            return self._people_rows(path, people(path))

        self._people = IndexedFile(file, people_rows, recipe, label=label, patience=patience)
        self._related = {
            name: IndexedFile(
                one.file,
                partial(self._related_rows, one),
                recipe,
                label=f"{label}, related.{name}",
                patience=patience,
            )
            for name, one in related.items()
        }

    def find(self, lookup: Lookup) -> Sequence[Contact]:
        """Everyone with that identity; one person alone also has the related rows.

        Raises:
            SourceError: no file has been read yet, or too many rows have the identity.
        """
        with _as_source_errors():
            found = [self._read(content) for content in self._contents(lookup)]
            found = [one for one in found if carries(one[0], lookup, self._region)]
            people = [person for person, _ in found]
            if not self._related or not all(same_person(people[0], one) for one in people):
                return people
            return [self._with_related(person, links) for person, links in found[:1]] + people[1:]

    def check(self) -> None:
        """Wait for the first reading, and say what is wrong with the files.

        Raises:
            SourceError: a file has not been read, or not its newest version.
        """
        with _as_source_errors():
            for file in self._files():
                file.check()

    def close(self) -> None:
        """Close the files."""
        for file in self._files():
            file.close()

    def _files(self) -> list[IndexedFile]:
        return [self._people, *self._related.values()]

    def _contents(self, lookup: Lookup) -> Sequence[str]:
        """The rows that may have the identity asked for."""
        if lookup.key is Key.PHONE:
            found = self._people.find_prefix(
                _form(Key.PHONE, backwards(kept_digits(lookup.value, self._region))), _MOST + 1
            )
        else:
            found = self._people.find([_form(lookup.key, lookup.value)], _MOST + 1)
        if len(found) > _MOST:
            raise SourceError(
                f"more than {_MOST} rows of {self._people.path.name} have the {lookup.key} asked"
                " for, so it is nobody's own; empty it there",
                permanent=True,
            )
        return found

    def _people_rows(self, path: Path, people: Iterable[Person]) -> Iterator[Row]:
        """The rows of the index; a person without any identity cannot be found and is left out."""
        read = kept = 0
        for person in people:
            read += 1
            forms = {
                _form(key, form): None
                for key in _KEYS
                for text in identities(person.contact, key)
                if (form := _coarse(key, text))
            }
            if forms:
                kept += 1
                yield forms, _written(person)
        if read and not kept:
            raise FileError(
                f"nobody in {path.name} has an external id, e-mail or phone number; {self._cure}"
            )

    def _related_rows(self, related: Related, path: Path) -> Iterator[Row]:
        for texts, content in related.rows(path):
            if forms := self._link_forms(related, texts):
                yield forms, content

    def _link_forms(self, related: Related, texts: Iterable[str]) -> Collection[str]:
        """What is compared of the texts by which a row and a person refer to each other."""
        key = related.key
        forms = (normal_form(key, text, self._region) if key else normal_id(text) for text in texts)
        return dict.fromkeys(filter(None, forms))

    def _read(self, content: str) -> tuple[Contact, Mapping[str, Sequence[str]]]:
        name, external_id, contact_id, emails, phones, links, details = parsed(content)
        for taken in links.keys() & details.keys():
            raise SourceError(
                f"related.{taken} hides what the file itself calls {taken}; rename one of the two",
                permanent=True,
            )
        return Contact(
            name=name,
            external_id=external_id,
            contact_id=contact_id,
            emails=self._usable_first(Key.EMAIL, emails),
            phones=self._usable_first(Key.PHONE, phones),
            details=_without(details, self._hidden),
        ), links

    def _usable_first(self, key: Key, texts: Sequence[str]) -> tuple[str, ...]:
        """The first is what a layout shows: better a number than `ask Bo`."""
        if len(texts) > 1:
            texts = sorted(texts, key=lambda text: normal_form(key, text, self._region) is None)
        return tuple(texts)

    def _with_related(self, person: Contact, links: Mapping[str, Sequence[str]]) -> Contact:
        details = dict(person.details)
        for name, file in self._related.items():
            related = self._links[name]
            rows = file.find(self._link_forms(related, links[name]), _MOST)
            details[name] = [_without(parsed(row), related.hidden) for row in rows]
        return replace(person, details=details)


def parsed(content: str) -> Any:
    """The value of a JSON text, its numbers exact."""
    return json.loads(content, parse_float=Decimal, parse_int=integer, parse_constant=nothing)


def integer(digits: str) -> int | Decimal:
    """A whole number of any length."""
    return int(digits) if len(digits) < _LONGEST_INT else Decimal(digits)


def nothing(_constant: str) -> None:
    """NaN and Infinity, which are no JSON, but which Python writes."""


def _without(details: Mapping[str, Any], hidden: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name not in hidden}


def _written(person: Person) -> str:
    """The person as a JSON text; the details stay letter for letter, so that no number changes."""
    one = person.contact
    ids = [one.name, one.external_id, one.contact_id]
    parts = json.dumps([*ids, one.emails, one.phones, dict(person.links)])
    return f"{parts[:-1]}, {person.details}]"


# --- what is searched by --------------------------------------------------------------------------
# Normal forms would cost a million rows a minute more. These forms cost little, and find everybody
# who has the normal form; whom they find too much is dropped by `carries`.


def _form(key: Key, form: str) -> str:
    return f"{key.value}:{form}"


def _coarse(key: Key, text: str) -> str | None:
    match key:
        case Key.EMAIL:
            return coarse_email(text)
        case Key.PHONE:
            return backwards(text)
        case Key.EXTERNAL_ID | Key.CONTACT_ID:
            return normal_id(text)


def coarse_email(text: str) -> str | None:
    """The normal form of an address, or a text that is nobody's.

    An ASCII address is its own normal form but for capitals, if it has one.
    """
    return text.strip().lower() if text.isascii() else normal_email(text)


def backwards(text: str) -> str:
    """The digits of a phone number from the last to the first.

    However it is written, it ends in the same digits: `0`, `00` and `+46` stand before.
    """
    digits = filter(str.isdecimal, reversed(text))
    return "".join(digits if text.isascii() else (str(decimal(digit)) for digit in digits))


def kept_digits(number: str, region: str | None) -> str:
    """The last digits of an E.164 number, as many as every spelling of it has.

    These are the national number, but for countries that rewrite what is dialled: Argentina drops
    a 15 in the middle, and on Guernsey six digits stand for ten.

    Args:
        number: in normal form.
        region: ISO country of the numbers written nationally.
    """
    parsed = phonenumbers.parse(number)
    national = phonenumbers.national_significant_number(parsed)
    regions = {region, phonenumbers.region_code_for_country_code(parsed.country_code or 0)}
    plans = [PhoneMetadata.metadata_for_region(one) for one in regions if one]
    if any(plan and plan.national_prefix_transform_rule for plan in plans):
        return national[-_NEVER_REWRITTEN:]
    return national


@contextmanager
def _as_source_errors() -> Iterator[None]:
    try:
        yield
    except FileError as error:
        raise SourceError(str(error)) from error
