"""People in tables: what the sources of CSV and of Excel have in common."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from marshmallow import Schema, ValidationError, validates

from imbox_plugin import tabular
from imbox_plugin.files import FileError
from imbox_plugin.model import Contact, Key
from imbox_plugin.sources.base import SourceContext
from imbox_plugin.sources.people import People, Person, Related, Texts, identities, link_key
from imbox_plugin.sources.records import texts
from imbox_plugin.tabular import Header, TableError

#: for `flask sources`, of options that every table has
COLUMNS_HELP = "which columns are what, by their headers; what says it itself is found out"
RELATED_HELP = "further rows of the person found, by the name of the detail that they become"
KEY_HELP = "the column that refers to a person"
TO_HELP = "what it refers to: an identity, or a column of the people"

_log = logging.getLogger(__name__)


class TableRow(NamedTuple):
    """A row of a table."""

    #: where it is, as an editor counts
    line: int
    cells: Sequence[str]
    #: the same as more than texts; empty: they are texts
    values: Sequence[Any] = ()


#: the rows of a file by the options that tell how to read it, the headers first; the last argument
#: has the headers that must be among them
ReadRows: TypeAlias = Callable[[Mapping[str, Any], Path, Sequence[str]], Iterator[TableRow]]


class ColumnsSchema(Schema):
    """Which columns are what; a header that says it itself need not be named.

    Several columns are several e-mails or phone numbers; of a name the first that is filled counts.
    An empty list: no column is that.
    """

    external_id = Texts()
    contact_id = Texts()
    name = Texts()
    first_name = Texts()
    last_name = Texts()
    company = Texts()
    email = Texts()
    phone = Texts()

    @validates("external_id", "contact_id")
    def _one_kind_of_id(self, headers: tuple[str, ...], **_: Any) -> None:
        if len(headers) > 1:
            raise ValidationError("several columns, whose ids would be mixed; name one")


def searchable(columns: Mapping[str, tuple[str, ...]]) -> frozenset[Key]:
    """What people in a table can be searched by, as far as the settings tell."""
    named = {key for key in Key if columns.get(key)}
    by_header = {key for key in Key if key not in columns} - {Key.CONTACT_ID}
    return frozenset(named | by_header)


def read_people(
    name: str,
    rows: Iterator[TableRow],
    columns: Mapping[str, tuple[str, ...]],
    links: Mapping[str, str],
) -> Iterator[Person]:
    """The people of a table.

    Args:
        name: of the file, for messages.
        rows: the headers, then the rows below them.
        columns: field -> headers.
        links: name of a related file -> the identity or column that its rows refer to.

    Raises:
        FileError: a column is missing, or is not clear.
    """
    headers = next(rows).cells
    with as_file_errors():
        header = tabular.header(headers, columns, name)
        places = {
            related: tabular.place_of(to, headers, name)
            for related, to in links.items()
            if link_key(to) is None
        }
    for row in _fitting(name, headers, rows):
        yield _person(header, row, links, places)


def read_related(
    name: str, rows: Iterator[TableRow], key: str
) -> Iterator[tuple[Sequence[str], str]]:
    """The rows of a related table: what each refers to a person by, and its other columns.

    Raises:
        FileError: there is no such column.
    """
    headers = next(rows).cells
    with as_file_errors():
        place = tabular.place_of(key, headers, name)
    names = tabular.column_names(headers, last={place})
    for row in _fitting(name, headers, rows):
        cells = [tabular.cleaned(cell) for cell in row.cells]
        values = row.values or cells
        others = {
            detail: value
            for at, (detail, cell, value) in enumerate(zip(names, cells, values, strict=False))
            if cell and at != place
        }
        if len(cells) > place:
            yield [cells[place]], json.dumps(others, ensure_ascii=False)


@contextmanager
def as_file_errors() -> Iterator[None]:
    """Say what is wrong with a table as something that is wrong with the file."""
    try:
        yield
    except TableError as error:
        raise FileError(str(error)) from error


def _fitting(name: str, headers: Sequence[str], rows: Iterable[TableRow]) -> Iterator[TableRow]:
    """The rows without those whose cells are under wrong headers; these are told in the log."""
    left_out = first = 0
    why = ""
    for row in rows:
        if overlong := tabular.overlong(row.cells, headers):
            left_out += 1
            first = first or row.line
            why = why or overlong
        else:
            yield row
    if left_out:
        _log.warning("%s: %d rows left out, the first is %d: %s", name, left_out, first, why)


def _person(
    header: Header, row: TableRow, links: Mapping[str, str], places: Mapping[str, int]
) -> Person:
    cells = header.cells(row.cells)
    values = row.values or cells
    ids = header.filled(cells, "external_id")[:1]
    external_id = tabular.external_id(cells[ids[0]]) if ids else None
    contact_ids = header.filled(cells, "contact_id")[:1]
    emails = header.filled(cells, "email")
    phones = header.filled(cells, "phone")
    names = header.name(cells)
    spent = {*contact_ids, *emails, *phones, *names, *(ids if external_id else ())}
    details = {
        detail: values[place]
        for place, detail in enumerate(header.names)
        if cells[place] and place not in spent
    }
    # The company is both: a name for some contacts, and worth showing for all.
    names = names or header.filled(cells, "company")[:1]
    contact = Contact(
        name=" ".join(cells[place] for place in names) or None,
        external_id=external_id,
        contact_id=cells[contact_ids[0]] if contact_ids else None,
        emails=texts([cells[place] for place in emails]),
        phones=texts([cells[place] for place in phones]),
    )
    return Person(
        contact,
        json.dumps(details, ensure_ascii=False),
        {
            name: (cells[places[name]],) if name in places else identities(contact, Key(to))
            for name, to in links.items()
        },
    )


def people_in(context: SourceContext, options: Mapping[str, Any], rows: ReadRows) -> People:
    """The people of a table and what belongs to them, in the same file where no other is named."""
    return People(
        context,
        context.folder / options["file"],
        partial(_people, rows, options),
        options=options,
        related={
            name: Related(
                context.folder / (one["file"] or options["file"]),
                partial(_related, rows, one),
                link_key(one["to"]),
            )
            for name, one in options["related"].items()
        },
        cure="correct columns",
    )


def _people(rows: ReadRows, options: Mapping[str, Any], file: Path) -> Iterator[Person]:
    columns = options["columns"]
    links = {name: one["to"] for name, one in options["related"].items()}
    wanted = [header for headers in columns.values() for header in headers]
    return read_people(file.name, rows(options, file, wanted), columns, links)


def _related(
    rows: ReadRows, options: Mapping[str, Any], file: Path
) -> Iterator[tuple[Sequence[str], str]]:
    key = options["key"]
    return read_related(file.name, rows(options, file, [key]), key)
