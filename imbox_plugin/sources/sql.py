"""People in a database: one SQL statement per key, and further statements for what belongs to them.

Whatever the statements are, the database is asked to read only and to give up in time: SQLite by an
open-mode and a progress handler, PostgreSQL and MariaDB or MySQL by their own settings. Of any
other database nothing is asked, so give it a user who may only read, and a time limit of its own.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from marshmallow import ValidationError, post_load, validate, validates
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from imbox_plugin.databases import has_password, read_url
from imbox_plugin.identity import SEARCH_FORMS, search_forms
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
from imbox_plugin.sources.records import (
    CONTACT_NAMES,
    FORM_NAMES,
    LEAVES,
    forms_of,
    of_one,
    plain,
    texts,
)
from imbox_plugin.sources.records import text as written
from imbox_plugin.store import FIND

_Row: TypeAlias = Mapping[str, Any]

_DEFAULT_URL = URL.create("sqlite", database="contacts.db")
_READS = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:SELECT|WITH)\b", re.IGNORECASE | re.DOTALL)

#: the columns that can show that a row belongs to the identity asked for
_COLUMNS: Mapping[Key, frozenset[str]] = MappingProxyType(
    {
        Key.EXTERNAL_ID: frozenset({"external_id"}),
        Key.CONTACT_ID: frozenset({"contact_id"}),
        Key.EMAIL: frozenset({"email", "emails"}),
        Key.PHONE: frozenset({"phone", "phones"}),
    }
)


#: seconds a connection is kept
_RECYCLE = 1800
#: what a server may take beyond the limit to end a statement itself, before we hang up
_GRACE = 0.5

# What a driver says may hold a customer's identity; its code does not.
_TOO_SLOW = frozenset({"57014", "1969", "3024", "SQLITE_INTERRUPT"})
_NOT_LET_IN = frozenset({"28P01", "28000", "3D000", "1044", "1045", "1049", "1698"})
_NOT_LET_IN_SAYS = re.compile(r"authentication failed|pg_hba\.conf|(?:role|database) .* not exist")
_UNFIT_VALUE = frozenset({"22P02", "22003", "22007", "22008", "22021", "22P05"})
_OTHER_CHARACTER_SET = frozenset({"1267", "1270", "1271", "3988"})
_PASSING = frozenset({"SQLITE_BUSY"})
_CLIENT_CODES = range(2000, 3000)
_NO_COLUMN = "there is no such column"
_NO_TABLE = "there is no such table"
_NO_RIGHT = "the user may not read this"
_SYNTAX = "its syntax is wrong"
_WRITES = "it writes, and a source only reads"
_WHY = MappingProxyType(
    {
        "42703": _NO_COLUMN,
        "1054": _NO_COLUMN,
        "42P01": _NO_TABLE,
        "1146": _NO_TABLE,
        "42501": _NO_RIGHT,
        "1142": _NO_RIGHT,
        "1143": _NO_RIGHT,
        "42601": _SYNTAX,
        "1064": _SYNTAX,
        "25006": _WRITES,
        "1792": _WRITES,
        "SQLITE_READONLY": _WRITES,
        "SQLITE_READONLY_ROLLBACK": "an import into the file broke off; run it again",
        "SQLITE_BUSY": "something else is writing to the file",
        "SQLITE_NOTADB": "the file is no SQLite database",
        "42883": "there is no such function, or no comparison of these types; cast one side",
    }
)
_SQLITE_SAYS = re.compile(r'no such (?:table|column|function): [\w.]+|near "[^"]*": syntax error')


def _names(sql: str) -> frozenset[str]:
    r"""The placeholders of a statement, as SQLAlchemy sees them: `::` and `\:` are none."""
    return frozenset(text(sql).compile().params)


def _listed(names: Iterable[str], last: str = "or") -> str:
    *first, final = (f":{name}" for name in names)
    return f"{', '.join(first)} {last} {final}" if first else final


def _check_reads(sql: str) -> None:
    if not _READS.match(sql):
        raise ValidationError("not a SELECT or WITH statement; a source only reads, so write one")


def _check_find(key: Key, sql: str) -> None:
    _check_reads(sql)
    names = _names(sql)
    known = SEARCH_FORMS[key]
    strange = names.difference(known)
    if strange:
        raise ValidationError(
            f"{_listed(sorted(strange), 'and')}: no such value when {key} is asked for; "
            f"use {_listed(known)} (and write \\: for a colon that is only a colon)"
        )
    if not names:
        raise ValidationError(f"would find everybody; compare a column with {_listed(known)}")


def _check_related(name: str, sql: str) -> None:
    _check_reads(sql)
    if not name.isidentifier() or name in CONTACT_NAMES | {"details"}:
        raise ValidationError(
            "not a name for a detail; use letters, digits and _, and none of the contact's own "
            "names, such as email"
        )


class _UrlField(fields.Field[URL]):
    """A SQLAlchemy URL whose driver is installed. No message repeats any of it."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> URL:
        del attr, data, kwargs
        if not isinstance(value, str):
            raise ValidationError("Not a valid string.")
        try:
            return read_url(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class _FindSchema(Schema):
    """One statement per key."""

    external_id = fields.String(validate=partial(_check_find, Key.EXTERNAL_ID))
    contact_id = fields.String(validate=partial(_check_find, Key.CONTACT_ID))
    email = fields.String(validate=partial(_check_find, Key.EMAIL))
    phone = fields.String(validate=partial(_check_find, Key.PHONE))


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement of the settings in the words of the driver, ready to run."""

    #: its path in the settings, for messages
    place: str
    sql: str
    #: our names of what it binds, by those of the driver
    names: Mapping[str, str]
    #: the names in the order of their places; None: the driver takes them by name
    order: tuple[str, ...] | None

    def bound(self, values: Mapping[str, str | None]) -> Sequence[str | None] | dict[str, Any]:
        """What the driver binds of these values."""
        if self.order is None:
            return {given: values[name] for given, name in self.names.items()}
        return tuple([values[name] for name in self.order])


@dataclass(frozen=True, slots=True)
class _Result:
    """What a statement gave."""

    columns: tuple[str, ...]
    rows: tuple[_Row, ...]


class _UnfitValueError(SourceError):
    """The database could not even compare the value: no row can have it."""


class SqlSource(DataSource):
    """Knows the people that a database knows.

    A row of a `find` statement is a person: `external_id`, `contact_id`, `name`, `email` and
    `phone` are texts, `emails` and `phones` lists (an array, a JSON array, or a text with commas,
    semicolons or line breaks between). A JSON object in the column `details` is spread, and every
    other column is a detail by its label.

    All values are bound as text. PostgreSQL reads such a text as the type of the column it is
    compared with, and where the column cannot have that value, the person is not known here. SQLite
    compares text with numbers only in a column declared as one of them: `CAST` an expression.
    """

    by_identity_alone = True

    class Options(Schema):
        """Where the database is, and what to ask it."""

        url = _UrlField(
            load_default=_DEFAULT_URL,
            metadata={
                "secret": has_password,
                "help": "of the database, as SQLAlchemy writes it; contacts.db beside the settings "
                "when left out",
            },
        )
        find = fields.Nested(
            _FindSchema,
            load_default=None,
            metadata={
                "help": "a SELECT by key, whose columns become the contact; what flask import has "
                "filled is asked when left out"
            },
            validate=validate.Length(min=1, error="no statement; write one for a key, e.g. email"),
        )
        #: by name: further rows of the person found, as a detail of that name. A statement may bind
        #: any column of the person's row, `external_id`, `contact_id`, `email` and `phone` (the
        #: first of several) as the database has them, and what a `find` statement may bind of those
        related = fields.Dict(
            fields.String(),
            fields.String(),
            load_default=dict,
            metadata={"help": "a SELECT by the name of the detail that its rows become"},
        )
        time_limit = fields.Float(
            load_default=None,
            allow_none=True,
            metadata={
                "help": "seconds for one question; four fifths of the deadline when left out"
            },
            validate=validate.Range(min=0.05, max=60, error="must be from 0.05 to 60 seconds"),
        )
        pool_size = fields.Integer(
            strict=True,
            load_default=16,
            metadata={"help": "connections at most, for each process of the server"},
            validate=validate.Range(min=1, max=100, error="must be from 1 to 100"),
        )
        max_rows = fields.Integer(
            strict=True,
            load_default=1000,
            metadata={
                "help": "rows of one statement; a find statement with more is an error, a related "
                "one is cut"
            },
            validate=validate.Range(min=1, max=100_000, error="must be from 1 to 100000"),
        )

        @validates("related")
        def _related_fit(self, related: Mapping[str, str], **_: Any) -> None:
            problems = {}
            for name, sql in related.items():
                try:
                    _check_related(name, sql)
                except ValidationError as error:
                    problems[name] = error.messages
            if problems:
                raise ValidationError(problems)

        @post_load
        def _default_find(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
            if data["find"] is None:
                if data["url"].get_backend_name() != "sqlite":
                    raise ValidationError(
                        "missing; write a statement for a key, e.g. email", "find"
                    )
                data["find"] = dict(FIND)
            return data

    def __init__(self, options: Mapping[str, Any], context: SourceContext) -> None:
        super().__init__(options, context)
        self._time_limit: float = options["time_limit"] or context.time_limit
        self._max_rows: int = options["max_rows"]
        self._pool_size: int = options["pool_size"]
        self._engine = _engine(
            options["url"], context.folder, self._time_limit, self._pool_size, self._max_rows
        )
        self._find = {
            Key(name): self._statement(f"find.{name}", sql) for name, sql in options["find"].items()
        }
        self._related = {
            name: self._statement(f"related.{name}", sql)
            for name, sql in options["related"].items()
        }
        self._related_names = frozenset[str]().union(
            *(statement.names.values() for statement in self._related.values())
        )
        self.keys = frozenset(self._find)

    def find(self, lookup: Lookup) -> Sequence[Contact]:
        """Everyone the key's statement gives; one person alone also has the related rows."""
        key, value = lookup.key, lookup.value
        if key not in self._find or not _sendable(value):
            return ()
        statement = self._find[key]
        forms = search_forms(lookup.by(key))
        deadline = time.monotonic() + self._time_limit
        with self._connection() as connection:
            try:
                found = self._run(connection, statement, forms)
            except _UnfitValueError:
                return ()
            if len(found.rows) > self._max_rows:
                raise SourceError(
                    f"{statement.place} gave more than {self._max_rows} rows for one identity; "
                    "make it narrower or raise max_rows",
                    permanent=True,
                )
            people = [_contact(row) for row in found.rows]
            theirs = of_one(people, lookup, self.context.default_region)
            if not theirs or not self._related:
                return people
            person = people[theirs[0]]
            related = self._related_rows(connection, found, theirs[0], person, deadline)
        person = replace(person, details={**person.details, **related})
        return [person, *(one for at, one in enumerate(people) if at not in theirs)]

    def check(self) -> None:
        """Run every statement with NULL for every value: it finds nobody, and tells what is broken.

        Raises:
            SourceError: the database cannot be reached, a statement is refused, or it lacks the
                column by which what it finds could be verified.
        """
        columns: set[str] = set()
        for key, statement in self._find.items():
            given = self._probe(statement)
            if _COLUMNS[key].isdisjoint(given):
                wanted = " or ".join(sorted(_COLUMNS[key]))
                raise SourceError(
                    f"{statement.place} gives no column {wanted}, so nobody it finds can be "
                    "verified; select it",
                    permanent=True,
                )
            columns.update(given)
        self._check_names(columns)
        for statement in self._related.values():
            self._probe(statement)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _statement(self, place: str, sql: str) -> _Statement:
        sql = sql.strip().removesuffix(";")
        if self._engine.dialect.name == "postgresql":
            # The driver would take all rows into memory before we see the first.
            most = self._max_rows + 1
            sql = f"SELECT * FROM (\n{sql}\n) AS found LIMIT {most}"  # noqa: S608 - the settings' own
        # Once, here: SQLAlchemy's way of executing costs more than what a statement by index does.
        compiled = text(sql).compile(dialect=self._engine.dialect)
        own_names = compiled.escaped_bind_names
        return _Statement(
            place,
            compiled.string,
            {own_names.get(name, name): name for name in compiled.params},
            tuple(compiled.positiontup or ()) if compiled.positional else None,
        )

    @contextmanager
    def _connection(self) -> Iterator[PoolProxiedConnection]:
        connection = self._connect()
        try:
            yield connection
        finally:
            # It hangs up when it cannot end the transaction, and what was read stays read.
            with suppress(Exception):  # drivers raise more than their own errors
                connection.close()

    def _connect(self) -> PoolProxiedConnection:
        try:
            return self._engine.raw_connection()
        except Exception as error:  # noqa: BLE001 - drivers raise more than their own errors
            raise self._not_connected(error) from None

    def _run(
        self,
        connection: PoolProxiedConnection,
        statement: _Statement,
        values: Mapping[str, str | None],
    ) -> _Result:
        dialect = self._engine.dialect
        try:
            with closing(connection.cursor()) as cursor:
                dialect.do_execute(cursor, statement.sql, statement.bound(values))
                columns = tuple([column[0] for column in cursor.description])
                rows = cursor.fetchmany(self._max_rows + 1)
        except Exception as error:  # noqa: BLE001 - drivers raise more than their own errors
            if _is_unfit(error, map(values.get, statement.names.values())):
                raise _UnfitValueError(
                    f"{statement.place} compares values with a column of another type; "
                    "cast the column to text",
                    permanent=True,
                ) from None
            if _code(error) is None:
                # No answer from the database: a late one must not meet the next question.
                connection.invalidate()
            raise self._refused(error, statement) from None
        if len(set(columns)) < len(columns):
            raise SourceError(
                f"{statement.place} gives two columns of one name; give them different ones",
                permanent=True,
            )
        return _Result(columns, tuple([dict(zip(columns, row, strict=True)) for row in rows]))

    def _probe(self, statement: _Statement) -> tuple[str, ...]:
        with self._connection() as connection:
            return self._run(connection, statement, dict.fromkeys(statement.names.values())).columns

    def _related_rows(
        self,
        connection: PoolProxiedConnection,
        found: _Result,
        at: int,
        person: Contact,
        deadline: float,
    ) -> dict[str, Any]:
        self._check_names(found.columns)
        values = self._values(person, found.rows[at])
        related = {}
        for name, statement in self._related.items():
            if time.monotonic() > deadline:
                raise self._too_slow()
            rows: tuple[_Row, ...] = ()
            if all(values[needed] is not None for needed in statement.names.values()):
                rows = self._run(connection, statement, values).rows[: self._max_rows]
            # The rows are ours, so one that has nothing to convert need not be copied.
            related[name] = [
                row if LEAVES.issuperset(map(type, row.values())) else plain(row) for row in rows
            ]
        return related

    def _check_names(self, columns: Iterable[str]) -> None:
        """Raise SourceError where the related statements do not fit the columns of a person."""
        columns = frozenset(columns)
        for name, statement in self._related.items():
            if name in columns:
                raise SourceError(
                    f"{statement.place} hides the column {name}; rename one of the two",
                    permanent=True,
                )
            strange = set(statement.names.values()) - columns - FORM_NAMES
            if strange:
                raise SourceError(
                    f"{statement.place} binds {_listed(sorted(strange), 'and')}, which is no "
                    "column of the person found; select it in the find statements",
                    permanent=True,
                )

    def _values(self, person: Contact, row: _Row) -> dict[str, str | None]:
        """What the related statements of a person bind; None: the person has no such thing."""
        own = forms_of(person, self.context.default_region, self._related_names)
        return {
            name: own[name] if name in own else written(row.get(name))
            for name in self._related_names
        }

    def _too_slow(self) -> SourceError:
        return SourceError(
            f"the database did not answer within {self._time_limit:g} s; "
            "add an index or raise time_limit"
        )

    def _not_connected(self, error: Exception) -> SourceError:
        """The sentence for a connection that could not be had, in no word of the driver's own."""
        if isinstance(error, PoolTimeoutError):
            size = self._pool_size
            return SourceError(f"all {size} connections to the database are busy; raise pool_size")
        code = _code(error) or ""
        if code.startswith("SQLITE_CANTOPEN"):
            return SourceError(
                "the SQLite file that url names cannot be opened; run flask import, or correct url",
                permanent=True,
            )
        if code in _NOT_LET_IN or _NOT_LET_IN_SAYS.search(str(error)):
            return SourceError(
                "the database does not let us in; correct the user, the password and the name of "
                f"the database in url ({_kind(error)})",
                permanent=True,
            )
        return SourceError(
            f"cannot reach the database ({_kind(error)}); see that it runs and url is right"
        )

    def _refused(self, error: Exception, statement: _Statement) -> SourceError:
        """The sentence for a statement that failed, in no word of the driver's own."""
        code = _code(error) or ""
        if code in _TOO_SLOW:
            return self._too_slow()
        driver = self._engine.dialect.loaded_dbapi
        if not code and isinstance(error, (driver.OperationalError, driver.InterfaceError)):
            return SourceError(
                "the connection to the database was lost, or nothing came within "
                f"{self._time_limit:g} s ({_kind(error)}); see that it runs"
            )
        why = _WHY.get(code) or _sqlite_says(error)
        return SourceError(
            f"the database refused {statement.place}{': ' if why else ''}{why} ({_kind(error)})",
            permanent=code not in _PASSING and (bool(why) or code.startswith("42")),
        )


# --- the database ---------------------------------------------------------------------------------


def _engine(url: URL, folder: Path, limit: float, pool_size: int, max_rows: int) -> Engine:
    """The connections, opened when they are needed, that may only read and not for too long."""
    backend = url.get_backend_name()
    given = _driver_options(url.get_driver_name(), limit)
    engine = create_engine(
        # The file is opened by `_watch_sqlite`.
        "sqlite://" if backend == "sqlite" else url,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=limit,
        pool_recycle=_RECYCLE,
        # The last one used again has the pages of the indexes at hand.
        pool_use_lifo=True,
        pool_pre_ping=backend != "sqlite",
        hide_parameters=True,
        connect_args={name: value for name, value in given.items() if name not in url.query},
    )
    if backend == "sqlite":
        _watch_sqlite(engine, folder / str(url.database), limit)
    elif backend == "postgresql":
        _watch_postgresql(engine, limit)
    elif backend in {"mysql", "mariadb"}:
        _watch_mariadb(engine, limit, max_rows)
    return engine


def _driver_options(driver: str, limit: float) -> dict[str, Any]:
    if driver == "psycopg":
        # It would forget what it has prepared at each rollback, and a pooler never had it.
        return {"connect_timeout": max(1, round(limit)), "prepare_threshold": None}
    if driver == "pymysql":
        patience = limit + _GRACE
        return {"connect_timeout": limit, "read_timeout": patience, "write_timeout": patience}
    return {}


def _watch_sqlite(engine: Engine, file: Path, limit: float) -> None:
    path = str(file)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, record: Any, _args: Any, _options: Any) -> sqlite3.Connection:
        record.info["file"] = _file_id(path)
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=limit,
            check_same_thread=False,
        )
        # One broken text must not hide all the others.
        connection.text_factory = _readable
        return connection

    @event.listens_for(engine, "checkout")
    def begin(connection: Any, record: Any, _proxy: Any) -> None:
        # A file that another was moved over is read on as it was, for as long as it is open.
        if record.info["file"] != _file_id(path):
            raise DisconnectionError
        deadline = time.monotonic() + limit
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        connection.execute("BEGIN")


def _readable(text: bytes) -> str:
    return str(text, "utf-8", "replace")


def _file_id(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - at each question, where pathlib costs as much again
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _watch_postgresql(engine: Engine, limit: float) -> None:
    dialect: Any = engine.dialect

    @event.listens_for(engine, "connect")
    def read_only(connection: Any, _record: Any) -> None:
        dialect.set_readonly(connection, value=True)

    @event.listens_for(engine, "checkout")
    def begin(connection: Any, _record: Any, _proxy: Any) -> None:
        # For this transaction alone: behind a pooler, the session is not ours.
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {round(limit * 1000)}")

    if engine.dialect.driver == "psycopg":

        @event.listens_for(engine, "connect")
        def connected(connection: Any, _record: Any) -> None:
            # The server keeps the limit only as long as it lives; psycopg would wait on for ever.
            connection.wait = partial(connection.wait, timeout=limit + _GRACE)


def _watch_mariadb(engine: Engine, limit: float, max_rows: int) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        if getattr(engine.dialect, "is_mariadb", False):
            patience = f"max_statement_time = {limit}"
        else:
            patience = f"max_execution_time = {round(limit * 1000)}"
        with closing(connection.cursor()) as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            # The driver would take all rows into memory before we see the first.
            cursor.execute(f"SET SESSION sql_select_limit = {max_rows + 1}, {patience}")


def _code(error: Exception) -> str | None:
    """The database's own code of what it refused; None: the error is not the database's answer."""
    cause = _cause(error)
    number = cause.args[0] if cause.args else None
    # PEP 249 calls every driver's own base so; the number of an OSError is the system's.
    if isinstance(number, int) and "Error" in {kind.__name__ for kind in type(cause).__mro__}:
        return None if number in _CLIENT_CODES or not number else str(number)
    return getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)


def _cause(error: Exception) -> BaseException:
    """The driver's own error; SQLAlchemy wraps one only when a database is met first."""
    return getattr(error, "orig", None) or error


def _kind(error: Exception) -> str:
    return " ".join(filter(None, (type(_cause(error)).__name__, _code(error))))


def _is_unfit(error: Exception, values: Iterable[str | None]) -> bool:
    """Whether a statement failed because a value cannot be one of the column's values."""
    code = _code(error)
    if code in _OTHER_CHARACTER_SET:
        return any(value is not None and not value.isascii() for value in values)
    return code in _UNFIT_VALUE


def _sqlite_says(error: Exception) -> str:
    """SQLite's own words where they repeat the statement alone, whose values are bound."""
    cause = _cause(error)
    said = _SQLITE_SAYS.match(str(cause)) if isinstance(cause, sqlite3.Error) else None
    return said[0] if said else ""


def _sendable(value: str) -> bool:
    """Whether every database takes the text; what no database can hold is not known there."""
    if "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- a row ----------------------------------------------------------------------------------------


def _contact(row: _Row) -> Contact:
    spread = _object(row.get("details"))
    own = CONTACT_NAMES if spread is None else CONTACT_NAMES | {"details"}
    details = {
        **(spread or {}),
        **{column: value for column, value in row.items() if column not in own},
    }
    return Contact(
        name=written(row.get("name")),
        external_id=written(row.get("external_id")),
        contact_id=written(row.get("contact_id")),
        emails=texts((row.get("email"), _listed_in(row.get("emails")))),
        phones=texts((row.get("phone"), _listed_in(row.get("phones")))),
        details={
            name: shown for name, value in details.items() if (shown := plain(value)) is not None
        },
    )


def _object(value: Any) -> Mapping[str, Any] | None:
    """A JSON object that is to be spread, or None: a column may be called `details` by chance."""
    parsed = _json(value) if isinstance(value, str) else value
    return parsed if isinstance(parsed, Mapping) else None


def _listed_in(value: Any) -> Any:
    """The list that a column holds as a JSON array; any other value is what it is."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    parsed = _json(value)
    return parsed if isinstance(parsed, list) else value


def _json(value: str) -> Any:
    try:
        return json.loads(value, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
