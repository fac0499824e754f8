"""The embedded contact store: what `flask import` fills and the SQL source reads by default.

One SQLite file with one table. A CSV file is read row by row into a temporary database beside it,
and only a file that was read to its end is merged, in one transaction: an import that fails, or is
interrupted, leaves the store as it was.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
import sqlite3
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader, TextIOWrapper
from itertools import chain, count, islice
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, cast

from imbox_plugin.identity import normal_email, normal_id, normal_phone

#: the statement for each key, as the SQL source's `find`; `details` is a JSON object of texts
FIND: Mapping[str, str] = MappingProxyType(
    {
        "external_id": (
            "SELECT external_id, name, email, phone, details FROM contacts"
            " WHERE external_id = :external_id"
        ),
        "email": (
            "SELECT external_id, name, email, phone, details FROM contacts WHERE email_key = :email"
        ),
        "phone": (
            "SELECT external_id, name, email, phone, details FROM contacts WHERE phone_key = :phone"
        ),
    }
)

#: the headers that mean each field, in English and Swedish, as `_folded` makes them
_ALIASES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "external_id": frozenset(
            {"id", "externalid", "externtid", "externid", "customerid", "customernumber"}
            | {"customerno", "customernr", "clientid", "clientnumber", "kundid", "kundnr"}
            | {"kundnummer"}
        ),
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
#: what a column of the file may be mapped to
FIELDS = tuple(_ALIASES)
_IDENTITIES = ("external_id", "email", "phone")
#: by the beginning of a row's key
_IDENTITY_OF: Mapping[str, str] = MappingProxyType(
    {"id": "external_id", "email": "email", "phone": "phone"}
)
#: what layouts read of a contact by these names is not a detail
_OWN_NAMES = frozenset(
    {"name", "external_id", "contact_id", "email", "emails", "phone", "phones", "details"}
)
_NO_COLUMNS: Mapping[str, str] = MappingProxyType({})

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

#: "IMBX": tells our file from any other SQLite database
_APPLICATION_ID = 0x494D4258
_VERSION = 1
_TABLE = (
    "row_key TEXT PRIMARY KEY, external_id TEXT, name TEXT, email TEXT, phone TEXT,"
    " email_key TEXT, phone_key TEXT, details TEXT"
)
_CREATE = (
    f"CREATE TABLE store.contacts ({_TABLE})",
    "CREATE INDEX store.contacts_external_id ON contacts (external_id)",
    "CREATE INDEX store.contacts_email_key ON contacts (email_key)",
    "CREATE INDEX store.contacts_phone_key ON contacts (phone_key)",
    f"PRAGMA store.application_id = {_APPLICATION_ID}",
    f"PRAGMA store.user_version = {_VERSION}",
)
_STAGE = f"CREATE TABLE staged ({_TABLE}, line INTEGER)"
_STAGE_ROW = (
    "INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (row_key) DO NOTHING"
)
_STAGED_ROW = (
    "SELECT line, row_key, external_id, name, email, phone, email_key, phone_key, details"
    " FROM staged WHERE row_key = ?"
)
_CHANGE = """
UPDATE store.contacts AS old
SET (external_id, name, email, phone, email_key, phone_key, details) = (new.external_id,
     new.name, new.email, new.phone, new.email_key, new.phone_key, new.details)
FROM main.staged AS new
WHERE old.row_key = new.row_key
  AND (old.external_id, old.name, old.email, old.phone, old.email_key, old.phone_key, old.details)
   IS NOT (new.external_id, new.name, new.email, new.phone, new.email_key, new.phone_key,
           new.details)
"""
_ADD = """
INSERT INTO store.contacts
SELECT row_key, external_id, name, email, phone, email_key, phone_key, details
FROM main.staged WHERE true
ON CONFLICT (row_key) DO NOTHING
"""
_REMOVE = "DELETE FROM store.contacts WHERE row_key NOT IN (SELECT row_key FROM main.staged)"
#: seconds to wait for a reader or another import
_PATIENCE = 30.0
#: pages kept in memory, in KiB; a merge that outgrows it keeps readers waiting until it ends
_CACHE = 65_536


class ImportRefused(Exception):
    """The file cannot be read, or the store not be written; nothing was imported.

    The message is one sentence for the operator: what was found, and the cure.
    """


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was left out."""

    #: where the row begins, counted as a text editor does
    line: int
    #: names the columns and the cure, never a value
    reason: str
    #: its cells as they are in the file
    row: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did, and how it understood the file.

    Every row that is not blank is counted once: added, changed, unchanged, repeated or refused.
    """

    added: int
    changed: int
    unchanged: int
    #: contacts taken out of the store because the file has them no longer
    removed: int
    #: rows that say again what an earlier row of the file says
    repeated: int
    refused: tuple[Refusal, ...]
    #: by header: cells that are no external id, e-mail or phone number; shown, but not searched by
    unusable: Mapping[str, int]
    #: by field: the headers it was read from, in the order in which they were tried
    columns: Mapping[str, tuple[str, ...]]
    #: by the name a layout uses (`contact.<name>`): the header of every other column
    details: Mapping[str, str]
    #: the given encoding, else `utf-8`, `utf-16`, or `cp1252` for a file that is neither
    encoding: str

    @property
    def accepted(self) -> int:
        """The contacts of the file; 0: the store was left as it was."""
        return self.added + self.changed + self.unchanged


class _Contact(NamedTuple):
    """A row of the table `contacts`."""

    row_key: str
    external_id: str | None
    name: str | None
    email: str | None
    phone: str | None
    email_key: str | None
    phone_key: str | None
    details: str


@dataclass(frozen=True, slots=True)
class _Header:
    """What the columns of the file are; a place is the index of a column."""

    texts: tuple[str, ...]
    #: the detail that each column is, or would be where it is not needed for its field
    names: tuple[str, ...]
    places: Mapping[str, tuple[int, ...]]

    def of(self, *fields: str) -> tuple[str, ...]:
        """The headers of these fields."""
        return tuple(self.texts[place] for field in fields for place in self.places[field])


@dataclass(slots=True)
class _Tally:
    """What has been read so far."""

    staged: int = 0
    repeated: int = 0
    refused: list[Refusal] = field(default_factory=list)
    unusable: Counter[str] = field(default_factory=Counter)


class _Pick(NamedTuple):
    """The cell that a row's identity is taken from."""

    #: None: all cells are blank
    place: int | None
    #: None: shown, but not searched by
    form: str | None
    #: the cells without a normal form that come before it, or are it
    unusable: tuple[int, ...]


def _silent(_done: int, _total: int) -> None:
    """Show no progress."""


def import_contacts(
    file: Path,
    store: Path,
    *,
    region: str | None,
    columns: Mapping[str, str] = _NO_COLUMNS,
    encoding: str | None = None,
    replace: bool = False,
    progress: Callable[[int, int], None] = _silent,
) -> ImportReport:
    """Bring the contacts of a CSV file into the store: every usable row, or nothing at all.

    A contact is recognised by its external id, else its e-mail, else its phone number. Importing
    the same file again changes nothing. When no row is usable the store is left as it was, also
    with `replace`, and none is created. Refused rows are kept in memory, accepted ones are not.

    Args:
        file: CSV with a header row; separated by comma, semicolon or tab.
        store: the SQLite file; created when missing.
        region: ISO country of phone numbers written nationally; the source that reads the store
            must be given the same one.
        columns: field (one of `FIELDS`) -> header, for headers that do not say it themselves.
        encoding: Python's name of it; None: found out.
        replace: also remove the contacts that the file does not have.
        progress: called now and then with the bytes read so far and the size of the file; what it
            raises ends the import.

    Raises:
        ImportRefused: nothing was imported, and why.
    """
    encoding = encoding or _encoding_of(file)
    with _plain_store_errors(store), _opened(file, encoding) as text, closing(_staging()) as db:
        existed = store.exists()
        if existed:
            # A wrong store is told before the long reading rather than after it.
            _attach(db, store)
        header, rows = _table(text, file.name, columns, progress)
        tally = _stage(db, rows, header, region)
        added = changed = removed = 0
        if tally.staged:
            added, changed, removed = _merge(db, store, existed=existed, replace=replace)
    return ImportReport(
        added=added,
        changed=changed,
        unchanged=tally.staged - added - changed,
        removed=removed,
        repeated=tally.repeated,
        refused=tuple(tally.refused),
        unusable=dict(tally.unusable),
        columns={name: header.of(name) for name in FIELDS if header.places[name]},
        details=_details(header),
        encoding=encoding,
    )


def _details(header: _Header) -> dict[str, str]:
    spent = {place for name in FIELDS if name != "company" for place in header.places[name]}
    return {
        name: header.texts[place] for place, name in enumerate(header.names) if place not in spent
    }


# --- the file -----------------------------------------------------------------------------------


def _encoding_of(file: Path) -> str:
    """UTF-16 or UTF-8 where the file is that, else Windows-1252, as Excel's plain "CSV" is."""
    if file.is_fifo():
        # It cannot be read a second time.
        raise ImportRefused(f"{file.name} is a pipe; save its rows to a file, or give its encoding")
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


def _opened(file: Path, encoding: str) -> TextIOWrapper:
    try:
        return file.open(encoding=encoding, newline="")
    except OSError as error:
        raise _unreadable(file.name, error) from error
    except LookupError:
        raise ImportRefused(
            f"there is no text encoding {encoding!r}; usual ones are utf-8, utf-16 and cp1252"
        ) from None


def _unreadable(name: str, error: OSError) -> ImportRefused:
    return ImportRefused(f"{name} cannot be read ({error.strerror}); check its path and its rights")


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
            raise ImportRefused(
                f"{name} is not text in {text.encoding} near line {number}; save it as CSV in"
                " UTF-8, or give its right encoding"
            ) from None
        if not line:
            break
        if "\0" in line:
            raise ImportRefused(
                f"{name} holds binary data in line {number}; save it as CSV text, or give its"
                " encoding if it is UTF-16"
            )
        if len(line) == _LONGEST_LINE:
            raise ImportRefused(
                f"line {number} of {name} is longer than {_LONGEST_LINE:,} characters; save the"
                " file with one contact on each line"
            )
        yield line.removeprefix("\ufeff") if number == 1 else line
        if raw.tell() != done:
            done = raw.tell()
            progress(done, total)


def _table(
    text: TextIOWrapper,
    name: str,
    columns: Mapping[str, str],
    progress: Callable[[int, int], None],
) -> tuple[_Header, Iterator[tuple[int, list[str]]]]:
    """The header, and the rows below it with the line each begins in."""
    lines = _lines(text, name, progress)
    head = list(islice(lines, _HEADER_LINES))
    known = {_folded(header) for header in columns.values()} | _FIELD_OF.keys()

    def fitness(delimiter: str) -> tuple[int, int]:
        headers = _first_row(head, delimiter)
        return sum(_folded(header) in known for header in headers), len(headers)

    delimiter = max(_DELIMITERS, key=fitness)
    rows = _rows(chain(head, lines), delimiter, name)
    _, headers = next(rows, (0, None))
    if headers is None:
        raise ImportRefused(f"{name} is empty; its first row must name the columns")
    return _header([header.strip() for header in headers], columns, name), rows


def _first_row(lines: Iterable[str], delimiter: str) -> list[str]:
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        return next((row for row in rows if _filled(row)), [])
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
            raise ImportRefused(
                f"{name} is not CSV from line {line} on ({error}); look there for a quotation mark"
                " that is not closed, or that is inside a cell and not doubled"
            ) from error
        if _filled(row):
            yield line, row


def _filled(row: Sequence[str]) -> bool:
    return any(cell.strip() for cell in row)


# --- the header ---------------------------------------------------------------------------------


def _folded(header: str) -> str:
    """The header without case, diacritics, spaces and punctuation: `E-post` is `epost`."""
    plain = unicodedata.normalize("NFKD", header).casefold()
    return "".join(char for char in plain if char.isalnum())


def _header(headers: Sequence[str], columns: Mapping[str, str], name: str) -> _Header:
    if strange := columns.keys() - set(FIELDS):
        raise ImportRefused(
            f"a column cannot become {min(strange)!r}; the fields are {', '.join(FIELDS)}"
        )
    given = {field_name: _place_of(header, headers, name) for field_name, header in columns.items()}
    free = [place for place in range(len(headers)) if place not in given.values()]
    places = {
        field_name: (given[field_name],)
        if field_name in given
        else tuple(place for place in free if _FIELD_OF.get(_folded(headers[place])) == field_name)
        for field_name in FIELDS
    }
    header = _Header(tuple(headers), _detail_names(headers, places), places)
    if not header.of(*_IDENTITIES):
        raise ImportRefused(
            f"{name} has no column for an external id, an e-mail or a phone number"
            f" ({_described(headers)}); say which column is one, as in email=HEADER"
        )
    if len(header.of("external_id")) > 1:
        # Taking whichever is filled would mix two kinds of ids, and so two people.
        raise ImportRefused(
            f"{name} has several columns that may be the external id"
            f" ({', '.join(header.of('external_id'))}); say which, as in external_id=HEADER"
        )
    return header


def _place_of(wanted: str, headers: Sequence[str], name: str) -> int:
    for same in (str.strip, _folded):
        for place, header in enumerate(headers):
            if same(header) == same(wanted) != "":
                return place
    raise ImportRefused(
        f"{name} has no column {wanted!r} ({_described(headers)}); correct the name of the column"
    )


def _described(headers: Sequence[str]) -> str:
    """What was found, unless it is a person: a file without a header row begins with one."""
    if any(_LIKE_A_CONTACT.search(header) for header in headers):
        return "its first row looks like a contact, so the header row may be missing"
    shown = [header[:_LONGEST_HEADER] for header in headers if header]
    more = ", ..." if len(shown) > _LISTED_HEADERS else ""
    return f"its columns are {', '.join(shown[:_LISTED_HEADERS])}{more}"


def _detail_names(headers: Sequence[str], places: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """A name for every column that a layout can write behind `contact.`, each one different."""
    fields = {place for field_places in places.values() for place in field_places}
    names = dict.fromkeys(range(len(headers)), "")
    # A field's column is rarely shown as a detail: it leaves the plain name to the others.
    for place in sorted(names, key=lambda place: (place in fields, place)):
        word = _identifier(headers[place])
        if not word.isidentifier():
            word = f"column_{word or place + 1}"
        taken = _OWN_NAMES.union(names.values())
        numbered = (f"{word}_{number}" for number in count(2))
        names[place] = next(name for name in chain([word], numbered) if name not in taken)
    return tuple(names.values())


def _identifier(header: str) -> str:
    text = unicodedata.normalize("NFC", header.lower())
    # Jinja does not know the combining marks of the newest scripts, so none is kept.
    word = "".join(char if char.isalnum() and f"x{char}".isidentifier() else "_" for char in text)
    # No underscore in front: the layouts' sandbox takes such a name for a private one.
    return re.sub("_+", "_", word).strip("_")


# --- a row --------------------------------------------------------------------------------------


def _stage(
    db: sqlite3.Connection,
    rows: Iterable[tuple[int, list[str]]],
    header: _Header,
    region: str | None,
) -> _Tally:
    """Write the usable rows to the table `staged`; of two with one identity the first."""
    tally = _Tally()
    width = len(header.texts)
    db.execute("BEGIN")
    for line, row in rows:
        contact, unusable = _contact(row, header, region)
        reason = None
        if _filled(row[width:]):
            reason = (
                f"{len(row)} cells under {width} headers; put quotation marks around a cell that"
                " holds the separator"
            )
        elif contact is None:
            reason = f"no usable {' or '.join(header.of(*_IDENTITIES))}; correct it or fill it in"
        elif db.execute(_STAGE_ROW, (*contact, line)).rowcount:
            tally.staged += 1
            tally.unusable.update(header.texts[place] for place in unusable)
        else:
            earlier, *same = db.execute(_STAGED_ROW, (contact.row_key,)).fetchone()
            if tuple(same) == contact:
                tally.repeated += 1
            else:
                shared = header.of(_IDENTITY_OF[contact.row_key.partition(":")[0]])
                reason = (
                    f"the same {' or '.join(shared)} as line {earlier} but other content; keep one"
                    " of the two rows"
                )
        if reason:
            tally.refused.append(Refusal(line, reason, tuple(row)))
    db.execute("COMMIT")
    return tally


def _contact(
    row: Sequence[str], header: _Header, region: str | None
) -> tuple[_Contact | None, tuple[int, ...]]:
    """The contact, None without a usable identity, and the places of the unusable cells.

    A cell that became a field is not a detail as well, but the company is both: a name for some
    contacts, and worth showing for all.
    """
    cells = [_cleaned(cell) for cell in row]
    cells += [""] * (len(header.texts) - len(cells))
    external_id = _pick(cells, header.places["external_id"], _normal_external_id)
    email = _pick(cells, header.places["email"], normal_email)
    phone = _pick(cells, header.places["phone"], partial(normal_phone, region=region))
    forms = (("id", external_id.form), ("email", email.form), ("phone", phone.form))
    row_key = next((f"{kind}:{form}" for kind, form in forms if form), None)
    unusable = external_id.unusable + email.unusable + phone.unusable
    if row_key is None:
        return None, unusable
    name = _name(cells, header)
    spent = {email.place, phone.place, *name}
    if external_id.form:
        spent.add(external_id.place)
    details = {
        detail: cells[place]
        for place, detail in enumerate(header.names)
        if cells[place] and place not in spent
    }
    names = name or _filled_places(cells, header.places["company"])[:1]
    return _Contact(
        row_key=row_key,
        external_id=external_id.form,
        name=" ".join(cells[place] for place in names) or None,
        email=None if email.place is None else cells[email.place],
        phone=None if phone.place is None else cells[phone.place],
        email_key=email.form,
        phone_key=phone.form,
        details=json.dumps(details, ensure_ascii=False),
    ), unusable


def _name(cells: Sequence[str], header: _Header) -> list[int]:
    """The places of the name, or of the first and the last name."""
    whole, first, last = (
        _filled_places(cells, header.places[field_name])[:1]
        for field_name in ("name", "first_name", "last_name")
    )
    return whole or first + last


def _pick(
    cells: Sequence[str], places: Sequence[int], normal: Callable[[str], str | None]
) -> _Pick:
    """Of several columns for one identity the first usable cell, else the first that is filled."""
    filled = _filled_places(cells, places)
    for tried, place in enumerate(filled):
        if form := normal(cells[place]):
            return _Pick(place, form, tuple(filled[:tried]))
    return _Pick(filled[0] if filled else None, None, tuple(filled))


def _filled_places(cells: Sequence[str], places: Sequence[int]) -> list[int]:
    return [place for place in places if cells[place]]


def _cleaned(cell: str) -> str:
    cell = cell.strip()
    if excel := _EXCEL_TEXT.fullmatch(cell):
        return (excel[1] or excel[2] or "").strip()
    return cell


def _normal_external_id(text: str) -> str | None:
    return None if _EXCEL_ROUNDED.fullmatch(text) else normal_id(text)


# --- the store ----------------------------------------------------------------------------------


def _staging() -> sqlite3.Connection:
    """A database of its own in a temporary file, gone with the connection."""
    db = sqlite3.connect("", timeout=_PATIENCE, isolation_level=None, uri=True)
    db.execute(f"PRAGMA cache_size = -{_CACHE}")
    db.execute(_STAGE)
    return db


def _attach(db: sqlite3.Connection, store: Path) -> None:
    """Open the file as `store`, creating it, and refuse one that is not a contact store."""
    db.execute("ATTACH ? AS store", (f"{store.absolute().as_uri()}?mode=rwc",))
    _is_new(db, store)
    db.execute(f"PRAGMA store.cache_size = -{_CACHE}")
    # Somebody removed from the store is to be gone from its free pages as well.
    db.execute("PRAGMA store.secure_delete = ON")


def _is_new(db: sqlite3.Connection, store: Path) -> bool:
    """Whether the database is still empty; anything but that and our own table is refused."""
    (application_id,) = db.execute("PRAGMA store.application_id").fetchone()
    (version,) = db.execute("PRAGMA store.user_version").fetchone()
    (objects,) = db.execute("SELECT count(*) FROM store.sqlite_master").fetchone()
    if (application_id, version, objects) == (0, 0, 0):
        return True
    if application_id != _APPLICATION_ID:
        raise ImportRefused(
            f"{store.name} is a database of something else, so nothing is written to it; give the"
            " store a path of its own"
        )
    names = db.execute("SELECT name FROM pragma_table_info('contacts', 'store')").fetchall()
    if version != _VERSION or tuple(name for (name,) in names) != _Contact._fields:
        raise ImportRefused(
            f"{store.name} is a store of another version (its layout is {version}, this version"
            f" writes {_VERSION}); move it away and import again"
        )
    return False


def _merge(
    db: sqlite3.Connection, store: Path, *, existed: bool, replace: bool
) -> tuple[int, int, int]:
    """Bring what is staged into the store in one transaction; how many added, changed, removed.

    The store keeps SQLite's rollback journal. With a write-ahead log readers would never wait, but
    a server that may only read the folder could not open the store at all: it has to create the
    log's index. So readers see the old contacts during the long part, which is reading the file,
    and wait for the merge only while its pages are written.
    """
    try:
        if not existed:
            _attach(db, store)
        db.execute("BEGIN IMMEDIATE")
        if _is_new(db, store):
            for statement in _CREATE:
                db.execute(statement)
        changed = db.execute(_CHANGE).rowcount
        added = db.execute(_ADD).rowcount
        removed = db.execute(_REMOVE).rowcount if replace else 0
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        if not existed:
            store.unlink(missing_ok=True)
        raise
    return added, changed, removed


@contextmanager
def _plain_store_errors(store: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            cure = "give the store a path of its own"
        elif not store.parent.is_dir():
            cure = "create its folder first"
        else:
            cure = "check that it may be written, has room, and that no other import is running"
        raise ImportRefused(f"{store.name} cannot be the store ({error}); {cure}") from error
