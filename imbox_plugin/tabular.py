"""Tables as people's systems write them: encodings, separators, and what the columns mean.

`flask import` and the sources of tables read files by this one module, so that they understand a
file alike.
"""

from __future__ import annotations

import codecs
import csv
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, TextIOWrapper
from itertools import chain, count, islice
from pathlib import Path
from types import MappingProxyType
from typing import cast

from imbox_plugin.identity import normal_id

#: the headers that mean each field, in English and Swedish, as `folded` makes them
_ALIASES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "external_id": frozenset(
            {"id", "externalid", "externtid", "externid", "customerid", "customernumber"}
            | {"customerno", "customernr", "clientid", "clientnumber", "kundid", "kundnr"}
            | {"kundnummer"}
        ),
        # ImBox's own id is in few files, and nobody agrees on a header for it.
        "contact_id": frozenset(),
        "name": frozenset(
            {"name", "fullname", "displayname", "customername", "contactname", "contactperson"}
            | {"namn", "fullstandigtnamn", "kundnamn", "kontaktperson"}
        ),
        "first_name": frozenset({"firstname", "givenname", "forename", "fornamn"}),
        "last_name": frozenset({"lastname", "surname", "familyname", "efternamn"}),
        "company": frozenset(
            {"company", "companyname", "organisation", "organization"}
            | {"foretag", "foretagsnamn", "bolag", "firma"}
        ),
        "email": frozenset(
            {"email", "emailaddress", "mail", "mailaddress", "email1", "email2"}
            | {"epost", "epostadress", "mejl", "mejladress", "mailadress", "epost1", "epost2"}
        ),
        "phone": frozenset(
            {"phone", "phonenumber", "phoneno", "telephone", "telephonenumber", "cell"}
            | {"cellphone", "mobile", "mobilephone", "mobilenumber", "phone1", "phone2"}
            | {"telefon", "telefonnummer", "telefonnr", "tel", "telnr", "tfn", "mobil"}
            | {"mobilnummer", "mobilnr", "mobiltelefon", "telefon1", "telefon2"}
        ),
    }
)
_FIELD_OF: Mapping[str, str] = MappingProxyType(
    {alias: field for field, aliases in _ALIASES.items() for alias in aliases}
)
#: what a column may be
FIELDS = tuple(_ALIASES)
_IDENTITIES = ("external_id", "contact_id", "email", "phone")
#: what layouts read of a contact by these names is not a detail
OWN_NAMES = frozenset(
    {"name", "external_id", "contact_id", "email", "emails", "phone", "phones", "details"}
)

_DELIMITERS = (",", ";", "\t")
#: how far to look for the end of the header row
_HEADER_LINES = 20
#: bytes
_CHUNK = 2**20
_LONGEST_LINE = 2**20
_LISTED_HEADERS = 30
_LONGEST_HEADER = 40
#: what people type, or exporters write, so that Excel keeps the leading zero of a number
_EXCEL_TEXT = re.compile(r"""="([^"]*)"|'([+\d][\d ()./-]*)""")
#: what Excel makes of a long number; its last digits are lost
_EXCEL_ROUNDED = re.compile(r"\d([.,]\d+)?E\+\d\d", re.IGNORECASE)
_LIKE_A_CONTACT = re.compile(r"@|\d{5}")


class TableError(Exception):
    """The file is no table that can be used; the message is one sentence for the operator.

    It says what was found and the cure, and repeats no cell below the header.
    """


@dataclass(frozen=True, slots=True)
class Header:
    """What the columns of a table are; a place is the index of a column."""

    texts: tuple[str, ...]
    #: the detail that each column is, or would be where it is not needed for its field
    names: tuple[str, ...]
    #: by field
    places: Mapping[str, tuple[int, ...]]

    def of(self, *fields: str) -> tuple[str, ...]:
        """The headers of these fields."""
        return tuple(self.texts[place] for field in fields for place in self.places[field])

    def cells(self, row: Sequence[str]) -> list[str]:
        """The cells of a row as they are meant, one for each header."""
        cells = [cleaned(cell) for cell in row]
        return cells + [""] * (len(self.texts) - len(cells))

    def filled(self, cells: Sequence[str], *fields: str) -> list[int]:
        """The places of the cells of these fields that are not blank."""
        return [place for field in fields for place in self.places[field] if cells[place]]

    def name(self, cells: Sequence[str]) -> list[int]:
        """The places of the person's name, or of the first and the last name."""
        whole, first, last = (
            self.filled(cells, field)[:1] for field in ("name", "first_name", "last_name")
        )
        return whole or first + last


def _silent(_done: int, _total: int) -> None:
    """Show no progress."""


# --- the file -----------------------------------------------------------------------------------


def encoding_of(file: Path) -> str:
    """UTF-16 or UTF-8 where the file is that, else Windows-1252, as Excel's plain "CSV" is.

    Raises:
        TableError: the file cannot be read, or not a second time.
    """
    if file.is_fifo():
        raise TableError(f"{file.name} is a pipe; save its rows to a file, or give its encoding")
    try:
        with file.open("rb") as raw:
            head = raw.read(4)
            if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16"
            decoder = codecs.getincrementaldecoder("utf-8")()
            try:
                for chunk in chain([head], iter(partial(raw.read, _CHUNK), b"")):
                    decoder.decode(chunk)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                return "utf-8" if head.startswith(codecs.BOM_UTF8) else "cp1252"
            return "utf-8"
    except OSError as error:
        raise _unreadable(file.name, error) from error


def opened(file: Path, encoding: str) -> TextIOWrapper:
    """The file as text, its line ends untouched, for `table`.

    Raises:
        TableError: the file cannot be read, or there is no such encoding.
    """
    try:
        return file.open(encoding=encoding, newline="")
    except OSError as error:
        raise _unreadable(file.name, error) from error
    except LookupError:
        raise TableError(
            f"there is no text encoding {encoding!r}; usual ones are utf-8, utf-16 and cp1252"
        ) from None


def _unreadable(name: str, error: OSError) -> TableError:
    return TableError(f"{name} cannot be read ({error.strerror}); check its path and its rights")


def _lines(text: TextIOWrapper, name: str, progress: Callable[[int, int], None]) -> Iterator[str]:
    """The lines of the file, with their ends."""
    raw = cast("BufferedReader", text.buffer)
    total = os.fstat(raw.fileno()).st_size
    done = 0
    for number in count(1):
        try:
            line = text.readline(_LONGEST_LINE)
            # A few codecs let half a character through; SQLite does not take it.
            line.encode()
        except OSError as error:
            raise _unreadable(name, error) from error
        except UnicodeError:
            raise TableError(
                f"{name} is not text in {text.encoding} near line {number}; save it as CSV in"
                " UTF-8, or give its right encoding"
            ) from None
        if not line:
            break
        if "\0" in line:
            raise TableError(
                f"{name} holds binary data in line {number}; save it as CSV text, or give its"
                " encoding if it is UTF-16"
            )
        if len(line) == _LONGEST_LINE:
            raise TableError(
                f"line {number} of {name} is longer than {_LONGEST_LINE:,} characters; save the"
                " file with one contact on each line"
            )
        yield line.removeprefix("\ufeff") if number == 1 else line
        if raw.tell() != done:
            done = raw.tell()
            progress(done, total)
    progress(total, total)


def table(
    text: TextIOWrapper,
    name: str,
    wanted: Iterable[str] = (),
    *,
    delimiter: str | None = None,
    progress: Callable[[int, int], None] = _silent,
) -> tuple[tuple[str, ...], Iterator[tuple[int, list[str]]]]:
    """The headers, and the rows below them that are not blank, with the line each begins in.

    Args:
        text: as `opened` gives it.
        name: of the file, for messages.
        wanted: headers the file is expected to have; they tell its delimiter.
        delimiter: what separates the cells; None: found out.
        progress: called now and then with the bytes read so far and the size of the file.

    Raises:
        TableError: the file is no such table; also while the rows are read.
    """
    lines = _lines(text, name, progress)
    head = list(islice(lines, _HEADER_LINES))
    known = {folded(header) for header in wanted} | _FIELD_OF.keys()

    def fitness(delimiter: str) -> tuple[int, int]:
        headers = _first_row(head, delimiter)
        return sum(folded(header) in known for header in headers), len(headers)

    rows = _rows(chain(head, lines), delimiter or max(_DELIMITERS, key=fitness), name)
    _, headers = next(rows, (0, None))
    if headers is None:
        raise TableError(f"{name} is empty; its first row must name the columns")
    return tuple(header.strip() for header in headers), rows


def _first_row(lines: Iterable[str], delimiter: str) -> list[str]:
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        return next((row for row in rows if filled(row)), [])
    except csv.Error:
        return []


def _rows(lines: Iterable[str], delimiter: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line it begins in."""
    # Strict: a stray quotation mark would otherwise swallow the rows up to the next one.
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise TableError(
                f"{name} is not CSV from line {line} on ({error}); look there for a quotation mark"
                " that is not closed, or that is inside a cell and not doubled"
            ) from error
        if filled(row):
            yield line, row


def filled(row: Sequence[str]) -> bool:
    """Whether any cell is not blank."""
    return any(cell.strip() for cell in row)


# --- the header ---------------------------------------------------------------------------------


def header(headers: Sequence[str], columns: Mapping[str, Sequence[str]], name: str) -> Header:
    """What each column is: what `columns` says, else what its header says.

    Args:
        headers: the first row.
        columns: field -> the headers of its columns, in the order they are tried; none: no column
            is that field.
        name: of the file, for messages.

    Raises:
        TableError: a column is missing, or there is none that a person could be found by.
    """
    given = {
        field: tuple(place_of(wanted, headers, name) for wanted in columns[field])
        for field in FIELDS
        if field in columns
    }
    taken = {place for places in given.values() for place in places}
    free = [place for place in range(len(headers)) if place not in taken]
    places = {
        field: given[field]
        if field in given
        else tuple(place for place in free if _FIELD_OF.get(folded(headers[place])) == field)
        for field in FIELDS
    }
    spent = frozenset(place for of_field in places.values() for place in of_field)
    found = Header(tuple(headers), column_names(headers, last=spent, taken=OWN_NAMES), places)
    if not found.of(*_IDENTITIES):
        raise TableError(
            f"{name} has no column for an external id, an e-mail or a phone number"
            f" ({_described(headers)}); say which column is one, as in email=HEADER"
        )
    if len(found.of("external_id")) > 1:
        # Taking whichever is filled would mix two kinds of ids, and so two people.
        raise TableError(
            f"{name} has several columns that may be the external id"
            f" ({', '.join(found.of('external_id'))}); say which, as in external_id=HEADER"
        )
    return found


def place_of(wanted: str, headers: Sequence[str], name: str) -> int:
    """The place of a column; its header need not be written exactly.

    Raises:
        TableError: there is no such column in the file of that name.
    """
    for same in (str.strip, folded):
        for place, text in enumerate(headers):
            if same(text) == same(wanted) != "":
                return place
    raise TableError(
        f"{name} has no column {wanted!r} ({_described(headers)}); correct the name of the column"
    )


def folded(text: str) -> str:
    """A header without case, diacritics, spaces and punctuation: `E-post` is `epost`."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(char for char in plain if char.isalnum())


def _described(headers: Sequence[str]) -> str:
    """What was found, unless it is a person: a file without a header row begins with one."""
    if any(_LIKE_A_CONTACT.search(text) for text in headers):
        return "its first row looks like a contact, so the header row may be missing"
    shown = [text[:_LONGEST_HEADER] for text in headers if text]
    more = ", ..." if len(shown) > _LISTED_HEADERS else ""
    return f"its columns are {', '.join(shown[:_LISTED_HEADERS])}{more}"


def column_names(
    headers: Sequence[str], *, last: Collection[int] = (), taken: Collection[str] = ()
) -> tuple[str, ...]:
    """A name for every column that a layout can write behind a dot, each one different.

    Args:
        headers: the first row.
        last: places of columns that leave the plain name to the others.
        taken: names that no column may have.
    """
    names = dict.fromkeys(range(len(headers)), "")
    for place in sorted(names, key=lambda place: (place in last, place)):
        word = _identifier(headers[place])
        if not word.isidentifier():
            word = f"column_{word or place + 1}"
        used = {*taken, *names.values()}
        numbered = (f"{word}_{number}" for number in count(2))
        names[place] = next(name for name in chain([word], numbered) if name not in used)
    return tuple(names.values())


def _identifier(text: str) -> str:
    text = unicodedata.normalize("NFC", text.lower())
    # Jinja does not know the combining marks of the newest scripts, so none is kept.
    word = "".join(char if char.isalnum() and f"x{char}".isidentifier() else "_" for char in text)
    # No underscore in front: the layouts' sandbox takes such a name for a private one.
    return re.sub("_+", "_", word).strip("_")


# --- a row --------------------------------------------------------------------------------------


def overlong(row: Sequence[str], headers: Sequence[str]) -> str:
    """Why a row cannot be read because its cells have run past the headers; empty: it can."""
    if not filled(row[len(headers) :]):
        return ""
    return (
        f"{len(row)} cells under {len(headers)} headers; put quotation marks around a cell that"
        " holds the separator"
    )


def external_id(cell: str) -> str | None:
    """The external id in a cell, or None: what Excel has rounded is the id of several."""
    return None if _EXCEL_ROUNDED.fullmatch(cell) else normal_id(cell)


def cleaned(cell: str) -> str:
    """A cell as it is meant: without surrounding white space, and what keeps Excel from it."""
    cell = cell.strip()
    # Most cells begin with neither, and there may be ten million of them.
    if cell.startswith(("=", "'")) and (excel := _EXCEL_TEXT.fullmatch(cell)):
        return (excel[1] or excel[2] or "").strip()
    return cell
