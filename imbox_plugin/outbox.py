"""The outbox: events on disk, from before anybody is told so until they are delivered.

One table in any database that SQLAlchemy reaches; several processes and machines may share it.
Every step is one statement, committed by itself. What is in an event is sealed, all of it: the
database sees an id, a state and times.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from imbox_plugin.databases import read_url
from imbox_plugin.model import Event
from imbox_plugin.seals import Seal, Unsealable

_log = logging.getLogger(__name__)


class _State(StrEnum):
    WAITING = "waiting"
    DEAD = "dead"
    #: delivered or dropped: only the id is kept
    SETTLED = "settled"


_EVENTS = Table(
    "imbox_events",
    MetaData(),
    Column("id", String(64), primary_key=True),
    Column("state", String(9), nullable=False),
    # Of one that waits, when it may be tried; of any other, since when it is what it is.
    Column("due", Double, nullable=False),
    Column("accepted", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("content", Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")),
    Column("failure", Text),
    Index("imbox_events_due", "state", "due"),
    # Others of their engines lose what was committed when the machine does.
    mysql_engine="InnoDB",
    mariadb_engine="InnoDB",
)

_RETIRED = "sealed by a retired key; put it back into secret_keys, then retry"
#: events looked at in one search for one that nobody else takes
_CANDIDATES = 10
_DAY = 86_400
#: seconds that a database may take to let us in, or another process to be done with the file
_PATIENCE = 5
#: seconds between two tries to turn to a write-ahead log
_TURN = 0.02
_RECYCLE = 1800
_DRIVER_OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "psycopg": {"connect_timeout": _PATIENCE, "tcp_user_timeout": 2000 * _PATIENCE},
        "pymysql": {
            "connect_timeout": _PATIENCE,
            "read_timeout": 2 * _PATIENCE,
            "write_timeout": 2 * _PATIENCE,
        },
    }
)


class OutboxError(Exception):
    """The outbox cannot be used now, so no event was accepted; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Letter:
    """An event in the outbox."""

    id: str
    #: None: sealed by a key that is not among the secret keys any more
    event: Event | None
    #: moment, in seconds since 1970
    accepted: float
    #: how often it was tried, the attempt under way included
    attempts: int
    #: why the last attempt failed; empty: none has
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many events are in the outbox."""

    waiting: int = 0
    dead: int = 0
    #: delivered or dropped, and remembered so that they are not taken twice
    settled: int = 0
    #: seconds that the oldest of those waiting has been waiting
    oldest: float = 0.0


class Outbox:
    """The events of one server. Built once, used from many threads; connects when first used.

    Args:
        url: the database, or the path of a SQLite file.
        folder: where a relative path to a SQLite file starts.
        seal: seals what is in the events.
        keep_days: how long the ids of delivered events, and dead letters, are kept.
        clock: seconds since 1970; those of several machines may differ by less than the lease of
            a claim.

    Raises:
        ValueError: the URL is none; the message is for the settings.
    """

    def __init__(
        self,
        url: str | Path,
        folder: Path,
        seal: Seal,
        keep_days: int = 30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        is_path = isinstance(url, Path)
        database = URL.create("sqlite", database=str(url)) if is_path else read_url(str(url))
        self._engine = _engine(database, folder)
        self._seal = seal
        self._kept = keep_days * _DAY
        self._clock = clock
        self._is_there = False

    def accept(self, event: Event) -> bool:
        """Keep an event: when this returns it is on disk. Whether it is new.

        Raises:
            OutboxError: it is not kept.
        """
        now = self._clock()
        row = {
            "id": event.id,
            "state": _State.WAITING,
            "due": now,
            "accepted": now,
            "attempts": 0,
            "content": self._sealed(event),
        }
        with self._connection() as db:
            try:
                db.execute(insert(_EVENTS).values(row))
            except IntegrityError:
                return False
        return True

    def claim(self, lease: float) -> Letter | None:
        """An event that nobody else will be given for so many seconds; None: none is due.

        One whose process dies is due again after that, so it may be delivered twice.

        Raises:
            OutboxError: the database does not answer.
        """
        with self._connection() as db:
            while rows := self._due(db):
                for row in rows:
                    if not self._is_taken(db, row, lease):
                        continue
                    letter = replace(self._letter(row), attempts=row.attempts + 1)
                    if letter.event:
                        return letter
                    self.fail(letter, _RETIRED, None)
                    _log.error("an event is a dead letter: %s", _RETIRED)
        return None

    def settle(self, letter: Letter) -> None:
        """It is delivered: forget what is in it, and keep its id."""
        self._change(
            _EVENTS.c.id == letter.id,
            state=_State.SETTLED,
            due=self._clock(),
            content=None,
            failure=None,
        )

    def fail(self, letter: Letter, failure: str, wait: float | None) -> None:
        """It could not be delivered; try again after so many seconds, or never (None).

        Nothing happens if it took so long that another process has the event by now.
        """
        self._change(
            _EVENTS.c.id == letter.id,
            _EVENTS.c.state == _State.WAITING,
            _EVENTS.c.attempts == letter.attempts,
            state=_State.DEAD if wait is None else _State.WAITING,
            due=self._clock() + (wait or 0),
            failure=self._seal.seal(failure.encode(errors="replace")),
        )

    def counts(self) -> Counts:
        """How many there are of each kind."""
        found = select(_EVENTS.c.state, func.count(), func.min(_EVENTS.c.accepted))
        with self._connection() as db:
            rows = {row[0]: row[1:] for row in db.execute(found.group_by(_EVENTS.c.state))}
        now = self._clock()
        waiting, since = rows.get(_State.WAITING, (0, now))
        return Counts(
            waiting=waiting,
            dead=rows.get(_State.DEAD, (0,))[0],
            settled=rows.get(_State.SETTLED, (0,))[0],
            oldest=max(0.0, now - since),
        )

    def dead(self) -> list[Letter]:
        """The dead letters, those that died last first."""
        found = select(_EVENTS).where(_EVENTS.c.state == _State.DEAD)
        with self._connection() as db:
            rows = db.execute(found.order_by(_EVENTS.c.due.desc())).all()
        return [self._letter(row) for row in rows]

    def retry(self, letter: Letter) -> None:
        """Have a dead letter delivered after all, with all its attempts before it."""
        self._change(
            _EVENTS.c.id == letter.id,
            _EVENTS.c.state == _State.DEAD,
            state=_State.WAITING,
            due=self._clock(),
            attempts=0,
        )

    def sweep(self) -> int:
        """Forget what is older than it is to be kept; how many dead letters that were."""
        old = _EVENTS.c.due < self._clock() - self._kept
        with self._connection() as db:
            db.execute(delete(_EVENTS).where(_EVENTS.c.state == _State.SETTLED, old))
            return db.execute(delete(_EVENTS).where(_EVENTS.c.state == _State.DEAD, old)).rowcount

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()

    def _due(self, db: Connection) -> Sequence[Row[Any]]:
        found = select(_EVENTS).where(
            _EVENTS.c.state == _State.WAITING, _EVENTS.c.due <= self._clock()
        )
        return db.execute(found.order_by(_EVENTS.c.due).limit(_CANDIDATES)).all()

    def _is_taken(self, db: Connection, row: Row[Any], lease: float) -> bool:
        """Whether the event is ours now: the attempts tell whether anybody came before us."""
        mine = update(_EVENTS).where(
            _EVENTS.c.id == row.id,
            _EVENTS.c.state == _State.WAITING,
            _EVENTS.c.attempts == row.attempts,
        )
        due = self._clock() + lease
        return bool(db.execute(mine.values(attempts=row.attempts + 1, due=due)).rowcount)

    def _change(self, *where: Any, **values: Any) -> None:
        with self._connection() as db:
            db.execute(update(_EVENTS).where(*where).values(**values))

    def _sealed(self, event: Event) -> str:
        content = {
            "panel": event.panel,
            "link": event.link,
            "type": event.type,
            "data": dict(event.data),
            "key": event.key,
        }
        return self._seal.seal(json.dumps(content).encode())

    def _letter(self, row: Row[Any]) -> Letter:
        event, failure = None, _RETIRED
        with suppress(Unsealable):
            event = Event(**json.loads(self._seal.unseal(row.content)))
            failure = self._seal.unseal(row.failure).decode() if row.failure else ""
        return Letter(row.id, event, row.accepted, row.attempts, failure)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as db:
                if not self._is_there:
                    self._create(db)
                yield db
        except (SQLAlchemyError, OSError) as error:
            # What a driver says may hold the values.
            raise OutboxError(
                f"the database of the events does not do its work ({type(error).__name__}); see "
                "that it runs, that events.url is right, and that its user may write and create"
            ) from None

    def _create(self, db: Connection) -> None:
        # Another process may be doing the same; if it is something else, the next statement says.
        with suppress(SQLAlchemyError):
            _EVENTS.create(db, checkfirst=True)
            self._is_there = True


def _engine(url: URL, folder: Path) -> Engine:
    is_sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = dict(_DRIVER_OPTIONS.get(url.get_driver_name(), {}))
    if is_sqlite:
        path = folder / str(url.database)
        url = url.set(database=str(path))
        options["timeout"] = _PATIENCE
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_timeout=_PATIENCE,
        pool_recycle=_RECYCLE,
        pool_pre_ping=not is_sqlite,
        hide_parameters=True,
        connect_args={name: value for name, value in options.items() if name not in url.query},
    )
    if is_sqlite:
        _watch_sqlite(engine, path)
    return engine


def _watch_sqlite(engine: Engine, path: Path) -> None:
    @event.listens_for(engine, "do_connect")
    def _own_file(*_: Any) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: Any) -> None:
        # With a write-ahead log, readers and the writer do not wait for each other; FULL has each
        # commit on disk, which NORMAL would leave to the next checkpoint.
        _begin_log(connection)
        for pragma in ("synchronous = FULL", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")


def _begin_log(connection: sqlite3.Connection) -> None:
    """Turn to a write-ahead log; SQLite does not wait while another process does the same."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() >= until:
                raise
            time.sleep(_TURN)
        else:
            return
