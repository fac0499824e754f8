"""People in a JSON file: a list, an object that holds one, or one object after the other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jmespath.parser import ParsedResult
from marshmallow import ValidationError, validates

from imbox_plugin.files import FileError
from imbox_plugin.sources import (
    Contact,
    DataSource,
    Key,
    Lookup,
    Schema,
    SourceContext,
    SourceError,
    fields,
)
from imbox_plugin.sources.expressions import compiled, select
from imbox_plugin.sources.people import (
    People,
    Person,
    Related,
    Texts,
    check_path,
    check_related,
    identities,
    integer,
    link_key,
    nothing,
)
from imbox_plugin.sources.records import text, texts

#: where the parts of a contact are when the settings do not say
_DEFAULT_PATHS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "external_id": ("external_id",),
        "contact_id": ("contact_id",),
        "name": ("name",),
        "first_name": (),
        "last_name": (),
        "email": ("email", "emails"),
        "phone": ("phone", "phones"),
    }
)

#: characters read at once
_CHUNK = 2**18
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class _Path:
    """Where something is in a record."""

    expression: ParsedResult
    #: the members it goes through, when it does nothing else; that is much quicker
    names: tuple[str, ...]
    #: where it is written in the settings
    place: str

    def of(self, record: Any) -> Any:
        """What is there in a record; None: nothing."""
        if not self.names:
            try:
                return select(self.expression, record, self.place)
            except SourceError:
                raise FileError(
                    f"{self.place} does not fit every record; allow for what may be missing, as in"
                    " [a, b][?@]"
                ) from None
        for name in self.names:
            record = record.get(name) if isinstance(record, dict) else None
        return record


def _path(expression: str, place: str) -> _Path:
    parsed = compiled(expression)
    return _Path(parsed, _names(parsed.parsed), place)


def _names(node: Mapping[str, Any]) -> tuple[str, ...]:
    """The members that an expression goes through; none: it does something else as well."""
    if node["type"] == "field":
        return (str(node["value"]),)
    if node["type"] != "subexpression":
        return ()
    parts = [_names(child) for child in node["children"]]
    return tuple(name for part in parts for name in part) if all(parts) else ()


def _check_paths(paths: Sequence[str]) -> None:
    for path in paths:
        compiled(path)


def _check_one_path(paths: Sequence[str]) -> None:
    if len(paths) > 1:
        raise ValidationError("several places, whose ids would be mixed; name one")
    _check_paths(paths)


def _check_names(path: str) -> None:
    if not _names(compiled(path).parsed):
        raise ValidationError("more than names with dots between; write it as in data.customers")


class _PathsSchema(Schema):
    """Where the parts of a contact are in a record: JMESPath.

    Several places are several e-mails or phone numbers; of a name the first that is filled counts.
    """

    external_id = Texts(validate=_check_one_path)
    contact_id = Texts(validate=_check_one_path)
    name = Texts(validate=_check_paths)
    first_name = Texts(validate=_check_paths)
    last_name = Texts(validate=_check_paths)
    email = Texts(validate=_check_paths)
    phone = Texts(validate=_check_paths)


class _FileSchema(Schema):
    """A JSON file, and where its records are."""

    file = fields.String(
        required=True,
        validate=check_path,
        metadata={"help": "its path, from the folder of the settings on"},
    )
    records = fields.String(
        load_default=None,
        validate=_check_names,
        metadata={
            "help": "the names that lead to the list of records, as data.customers; when left out, "
            "the file is the list, or has one object after the other"
        },
    )


class _RelatedSchema(_FileSchema):
    """A further file: each record of it belongs to a person."""

    key = fields.String(
        required=True,
        validate=compiled,
        metadata={"help": "the part of a record that refers to a person: JMESPath"},
    )
    to = fields.String(
        load_default="external_id",
        validate=compiled,
        metadata={"help": "what it refers to: an identity, or a part of the person: JMESPath"},
    )


class JsonSource(DataSource):
    """Knows the people of a JSON file, and reads it again when it changes.

    What is no identity and no name is a detail, kept as it is.
    """

    # A file is read again as soon as it changes, and its index is as quick as a cache.
    cached = False
    by_identity_alone = True

    class Options(_FileSchema):
        """Which file, where its records and their parts are, and what further files there are."""

        paths = fields.Nested(
            _PathsSchema,
            load_default=dict,
            metadata={
                "help": "where the parts of a contact are in a record: JMESPath; external_id, "
                "contact_id, name, email, emails, phone and phones when left out"
            },
        )
        related = fields.Dict(
            fields.String(),
            fields.Nested(_RelatedSchema),
            load_default=dict,
            metadata={
                "help": "further records of the person found, by the name of the detail that they "
                "become"
            },
        )

        @validates("related")
        def _related_fit(self, related: Mapping[str, Any], **_: Any) -> None:
            check_related(related)

    def __init__(self, options: Mapping[str, Any], context: SourceContext) -> None:
        super().__init__(options, context)
        given = {**_DEFAULT_PATHS, **options["paths"]}
        paths = {
            part: [_path(expression, f"paths.{part}") for expression in given[part]]
            for part in given
        }
        self.keys = frozenset(key for key in Key if paths[key])
        links = {
            name: link_key(one["to"]) or _path(one["to"], f"related.{name}.to")
            for name, one in options["related"].items()
        }
        self._people = People(
            context,
            context.folder / options["file"],
            partial(_people, options["records"], paths, links),
            options=options,
            related={
                name: _related(name, one, context.folder)
                for name, one in options["related"].items()
            },
            cure="correct records or paths",
            hidden=_hidden(path for of_part in paths.values() for path in of_part),
        )

    def find(self, lookup: Lookup) -> Sequence[Contact]:
        """Everyone of the file with that identity."""
        return self._people.find(lookup)

    def check(self) -> None:
        """Raise SourceError when a file cannot be read, also while its older data is served."""
        self._people.check()

    def close(self) -> None:
        """Close the files."""
        self._people.close()


def _hidden(paths: Iterable[_Path]) -> frozenset[str]:
    """The members of a record that are wholly taken."""
    return frozenset(path.names[0] for path in paths if len(path.names) == 1)


def _related(name: str, options: Mapping[str, Any], folder: Path) -> Related:
    key = _path(options["key"], f"related.{name}.key")

    def rows(file: Path) -> Iterator[tuple[Sequence[str], str]]:
        for record, written in _records(file, options["records"]):
            yield _links(key.of(record)), written

    return Related(folder / options["file"], rows, link_key(options["to"]), _hidden([key]))


def _people(
    records: str | None,
    paths: Mapping[str, Sequence[_Path]],
    links: Mapping[str, Key | _Path],
    file: Path,
) -> Iterator[Person]:
    for record, written in _records(file, records):
        contact = _contact(record, paths)
        yield Person(
            contact,
            written,
            {
                name: _links(to.of(record)) if isinstance(to, _Path) else identities(contact, to)
                for name, to in links.items()
            },
        )


def _contact(record: Any, paths: Mapping[str, Sequence[_Path]]) -> Contact:
    def first(part: str) -> str | None:
        return next(filter(None, (text(path.of(record)) for path in paths[part])), None)

    def every(part: str) -> tuple[str, ...]:
        return texts([path.of(record) for path in paths[part]])

    parts = filter(None, (first("first_name"), first("last_name")))
    return Contact(
        name=first("name") or " ".join(parts) or None,
        external_id=first("external_id"),
        contact_id=first("contact_id"),
        emails=every("email"),
        phones=every("phone"),
    )


def _links(value: Any) -> list[str]:
    """The texts by which something refers to people."""
    values = value if isinstance(value, list) else [value]
    return [found for one in values if (found := text(one))]


# --- the file -------------------------------------------------------------------------------------


def _records(file: Path, path: str | None) -> Iterator[tuple[dict[str, Any], str]]:
    """The records of a file, each with the text it is written in.

    Raises:
        FileError: the file is not JSON, or its records are not there.
    """
    names = _names(compiled(path).parsed) if path else ()
    with file.open("rb") as raw:
        encoding = json.detect_encoding(raw.read(4))
    with file.open(encoding=encoding) as opened:
        text = _JsonText(opened, file.name)
        for number, (record, written) in enumerate(_listed(text, names), 1):
            if not isinstance(record, dict):
                raise FileError(f"record {number} of {file.name} is no object; correct the file")
            yield record, written
        text.expect("")


def _listed(text: _JsonText, names: Sequence[str]) -> Iterator[tuple[Any, str]]:
    """The items of the list that the names lead to, each with the text it is written in."""
    if names:
        found = False
        for member in text.members():
            if member == names[0]:
                found = True
                yield from _listed(text, names[1:])
            else:
                text.value()
        if not found:
            raise FileError(f"{text.name} has no {names[0]!r} where records says; correct records")
    elif text.next() == "{":
        while text.next():
            yield text.value()
    else:
        yield from text.items()


class _JsonText:
    """A JSON text read piece by piece, so that a large file needs no memory to speak of."""

    def __init__(self, opened: TextIOWrapper, name: str) -> None:
        self.name = name
        self._opened = opened
        self._decoder = json.JSONDecoder(
            parse_float=Decimal, parse_int=integer, parse_constant=nothing
        )
        self._text = ""
        self._at = 0
        #: the lines before `_text`
        self._lines = 0

    def next(self) -> str:
        """The next character that is not white space; at the end of the text: empty."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text) or not self._read_on():
                return self._text[self._at : self._at + 1]

    def expect(self, character: str) -> None:
        """Go past this character, which must be the next; empty: the end of the text."""
        if self.next() != character:
            raise self._broken(self._at)
        self._at += len(character)

    def items(self) -> Iterator[tuple[Any, str]]:
        """The items of the list that comes next, each with the text it is written in."""
        for _ in self._between("[", "]"):
            yield self.value()

    def members(self) -> Iterator[str]:
        """The names of the object that comes next; the caller goes past the value of each."""
        for _ in self._between("{", "}"):
            if self.next() != '"':
                raise self._broken(self._at)
            name, _ = self.value()
            self.expect(":")
            yield name

    def _between(self, begin: str, end: str) -> Iterator[None]:
        """Go from comma to comma; the caller goes past what is between."""
        self.expect(begin)
        if self.next() != end:
            yield
            while self.next() != end:
                self.expect(",")
                yield
        self.expect(end)

    def value(self) -> tuple[Any, str]:
        """The value that comes next, and the text it is written in."""
        self.next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise FileError(
                    f"{self.name} is nested too deep after line {self._line(self._at)}; make it"
                    " flatter"
                ) from None
            except json.JSONDecodeError as error:
                if not self._read_on():
                    raise self._broken(error.pos) from None
            else:
                # A number may go on in the next piece.
                if end < len(self._text) or not self._read_on():
                    begin, self._at = self._at, end
                    return value, self._text[begin:end]

    def _read_on(self) -> bool:
        """Read the next piece, and forget what lies behind; False: that was the end."""
        left = self._text[self._at :]
        try:
            # Twice as much each time, or a long value would be tried again and again.
            piece = self._opened.read(max(_CHUNK, len(left)))
        except UnicodeError:
            raise FileError(
                f"{self.name} is not {self._opened.encoding} text; save it as JSON in UTF-8"
            ) from None
        if not piece:
            return False
        self._lines += self._text.count("\n", 0, self._at)
        self._text, self._at = left + piece, 0
        return True

    def _line(self, at: int) -> int:
        return self._lines + self._text.count("\n", 0, at) + 1

    def _broken(self, at: int) -> FileError:
        return FileError(f"{self.name} is not JSON from line {self._line(at)} on; correct it there")
