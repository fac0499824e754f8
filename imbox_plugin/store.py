"""The embedded contact store: what `flask import` fills and the SQL source reads by default.

One SQLite file with one table. A CSV file is read row by row into a temporary database beside it,
and only a file that was read to its end is merged, in one transaction: an import that fails, or is
interrupted, leaves the store as it was.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from imbox_plugin import tabular
from imbox_plugin.identity import normal_email, normal_phone
from imbox_plugin.tabular import Header, TableError

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

#: what a column of the file may be mapped to
FIELDS = tuple(field for field in tabular.FIELDS if field != "contact_id")
_IDENTITIES = ("external_id", "email", "phone")
#: by the beginning of a row's key
_IDENTITY_OF: Mapping[str, str] = MappingProxyType(
    {"id": "external_id", "email": "email", "phone": "phone"}
)
_NO_COLUMNS: Mapping[str, str] = MappingProxyType({})

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
    if strange := columns.keys() - set(FIELDS):
        raise ImportRefused(
            f"a column cannot become {min(strange)!r}; the fields are {', '.join(FIELDS)}"
        )
    given = {name: (text,) for name, text in columns.items()}
    with _plain_errors(store), closing(_staging()) as db:
        encoding = encoding or tabular.encoding_of(file)
        with tabular.opened(file, encoding) as text:
            existed = store.exists()
            if existed:
                # A wrong store is told before the long reading rather than after it.
                _attach(db, store)
            headers, rows = tabular.table(text, file.name, columns.values(), progress=progress)
            header = tabular.header(headers, given, file.name)
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


def _details(header: Header) -> dict[str, str]:
    spent = {place for name in FIELDS if name != "company" for place in header.places[name]}
    return {
        name: header.texts[place] for place, name in enumerate(header.names) if place not in spent
    }


# --- a row --------------------------------------------------------------------------------------


def _stage(
    db: sqlite3.Connection,
    rows: Iterable[tuple[int, list[str]]],
    header: Header,
    region: str | None,
) -> _Tally:
    """Write the usable rows to the table `staged`; of two with one identity the first."""
    tally = _Tally()
    db.execute("BEGIN")
    for line, row in rows:
        contact, unusable = _contact(row, header, region)
        reason = None
        if overlong := tabular.overlong(row, header.texts):
            reason = overlong
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
    row: Sequence[str], header: Header, region: str | None
) -> tuple[_Contact | None, tuple[int, ...]]:
    """The contact, None without a usable identity, and the places of the unusable cells.

    A cell that became a field is not a detail as well, but the company is both: a name for some
    contacts, and worth showing for all.
    """
    cells = header.cells(row)
    external_id = _pick(cells, header.filled(cells, "external_id"), tabular.external_id)
    email = _pick(cells, header.filled(cells, "email"), normal_email)
    phone = _pick(cells, header.filled(cells, "phone"), partial(normal_phone, region=region))
    forms = (("id", external_id.form), ("email", email.form), ("phone", phone.form))
    row_key = next((f"{kind}:{form}" for kind, form in forms if form), None)
    unusable = external_id.unusable + email.unusable + phone.unusable
    if row_key is None:
        return None, unusable
    name = header.name(cells)
    spent = {email.place, phone.place, *name}
    if external_id.form:
        spent.add(external_id.place)
    details = {
        detail: cells[place]
        for place, detail in enumerate(header.names)
        if cells[place] and place not in spent
    }
    names = name or header.filled(cells, "company")[:1]
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


def _pick(
    cells: Sequence[str], filled: Sequence[int], normal: Callable[[str], str | None]
) -> _Pick:
    """Of several filled cells for one identity the first that is usable, else the first."""
    for tried, place in enumerate(filled):
        if form := normal(cells[place]):
            return _Pick(place, form, tuple(filled[:tried]))
    return _Pick(filled[0] if filled else None, None, tuple(filled))


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
def _plain_errors(store: Path) -> Iterator[None]:
    try:
        yield
    except TableError as error:
        raise ImportRefused(str(error)) from error
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            cure = "give the store a path of its own"
        elif not store.parent.is_dir():
            cure = "create its folder first"
        else:
            cure = "check that it may be written, has room, and that no other import is running"
        raise ImportRefused(f"{store.name} cannot be the store ({error}); {cure}") from error
