"""Files that are searched: what a file holds, indexed, and indexed anew when the file changes.

The index is a SQLite file of our own among the temporary files. Whichever process comes first
makes it, and every process opens it read-only, so that a file of a million rows is read once, takes
no memory to speak of, and is there at once after a restart.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import sqlite3
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

#: what a row is found by, and the row itself; both as texts
Row: TypeAlias = tuple[Collection[str], str]

#: seconds between two looks at the file
_BETWEEN_LOOKS = 1.0
#: seconds a file must have been left alone: it may be half written
_SETTLED = 1.0
#: seconds until what may mend itself is tried again, a full disk for example
_AGAIN = 10.0
#: seconds after which an index that nobody has opened again is taken for forgotten; 30 days
_LONGEST_UNUSED = 30 * 86_400.0
#: seconds between two tries to be the one process that makes the index
_TURN = 0.2
#: seconds that `check` waits for the first reading; a million rows take about one minute
_LONGEST_READING = 180.0

#: seconds that `close` waits for a reading to end
_LONGEST_CLOSING = 5.0

#: rows written at once
_BATCH = 1000
#: pages kept in memory while the index is made, in KiB
_CACHE = 65_536
_PREPARE = (
    # Nobody reads the file before it is whole, and a broken one is made anew.
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    f"PRAGMA cache_size = -{_CACHE}",
    "CREATE TABLE rows (id INTEGER PRIMARY KEY, content TEXT NOT NULL)",
    "CREATE TABLE forms (form BLOB NOT NULL, row INTEGER NOT NULL)",
    "BEGIN",
)
_FINISH = (
    # Sorted once: as a key it would be sorted row by row, which takes three times as long.
    "CREATE INDEX forms_form ON forms (form, row)",
    # Written last: where it is, the file is whole.
    "CREATE TABLE whole (rows INTEGER)",
    "INSERT INTO whole SELECT count(*) FROM rows",
    "COMMIT",
)
#: to be filled in: which forms
FIND = (
    "SELECT content FROM rows WHERE id IN (SELECT row FROM forms WHERE form {}) ORDER BY id LIMIT ?"
)
#: forms of one question; SQLite takes some more
_MOST_FORMS = 1000

_log = logging.getLogger(__name__)


class FileError(Exception):
    """What a file holds cannot be told; the message is one sentence for the operator."""


class _Stopped(Exception):
    """The reading was given up because the file is closed."""


class Version(NamedTuple):
    """What tells one state of a file from another.

    The time of the last change of anything about it (`changed`) also tells a file whose own time
    was set back by whoever copied it.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int


#: what no file is
_UNREAD = Version(0, 0, 0, 0, 0)


class IndexedFile:
    """What a file holds, found by texts; read again when the file changes.

    All threads may ask. A question looks at the file at most once a second; a changed one is read
    by a thread of its own, and until that has come to its end, all answers are from what was read
    before. What cannot be read never replaces what could. Nothing is read before the first
    question, because a process that is going to fork must have no such thread.

    Args:
        path: the file.
        read: its rows; raises FileError, or OSError, when it is broken.
        recipe: a text that differs whenever `read` makes other rows of the same file.
        label: whose file it is, for the log; of each label one index is kept.
        patience: seconds that the first questions may wait for the first reading.
        folder: of the indexes; None: one of our own among the temporary files.
        clock: seconds that never go back, for the time between looks.
        pause: waits for some seconds; True: it was interrupted. None: until `close`.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], Iterable[Row]],
        recipe: str,
        *,
        label: str,
        patience: float = 1.0,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        self.path = path
        self._read = read
        self._recipe = recipe
        self._label = label
        self._patience = patience
        self._folder = folder
        self._clock = clock
        self._closed = threading.Event()
        self._pause = pause or self._closed.wait
        #: guards everything below, and is notified at the end of a reading
        self._state = threading.Condition()
        self._index: _Index | None = None
        self._fault = ""
        #: the version that was read last, with success or not; None: there was no file
        self._tried: Version | None = _UNREAD
        self._next_look = -float("inf")
        self._patient_until: float | None = None
        self._reader: threading.Thread | None = None

    def find(self, forms: Iterable[str], most: int) -> list[str]:
        """The first rows that have any of these forms, in the order of the file.

        Raises:
            FileError: nothing has been read yet.
        """
        wanted = [_bytes(form) for form in islice(forms, _MOST_FORMS)]
        places = ", ".join("?" * len(wanted))
        return self._ask(FIND.format(f"IN ({places})"), (*wanted, most))

    def find_prefix(self, prefix: str, most: int) -> list[str]:
        """The first rows with a form that begins like this, in the order of the file.

        Raises:
            FileError: nothing has been read yet.
        """
        begin = _bytes(prefix)
        return self._ask(FIND.format(">= ? AND form < ?"), (begin, begin + b"\xff", most))

    def _ask(self, statement: str, values: tuple[object, ...]) -> list[str]:
        self._look()
        with self._state:
            if self._index is None:
                self._wait_for_first()
            if self._index is None:
                raise FileError(self._why_not())
            try:
                return self._index.ask(statement, values)
            except sqlite3.Error as error:
                # A cleaner of temporary files, or the disk itself: it can be made anew.
                self._index.discard()
                self._index = None
                self._tried = _UNREAD
                raise FileError(
                    f"the index of {self.path.name} is damaged ({error}); it is made anew"
                ) from error

    def check(self) -> None:
        """Say what is wrong, also while what was read before still answers.

        Waits for the first reading to end, up to three minutes.

        Raises:
            FileError: nothing could be read, or nothing newer than what is being served.
        """
        self._look()
        with self._state:
            if self._index is None:
                self._state.wait_for(self._is_idle, _LONGEST_READING)
            if self._index is None:
                raise FileError(self._why_not())
            if self._fault:
                raise FileError(f"serving the data of {self._index.date}: {self._fault}")

    def wait(self) -> None:
        """Wait until no reading is under way."""
        with self._state:
            self._state.wait_for(self._is_idle)

    def close(self) -> None:
        """End a reading that is under way, and close the index; it stays for the next start."""
        self._closed.set()
        with self._state:
            self._state.wait_for(self._is_idle, _LONGEST_CLOSING)
            self._shut()

    def _shut(self) -> None:
        if self._index is not None:
            self._index.close()
            self._index = None
        self._fault = f"{self.path.name} is closed"

    def _is_idle(self) -> bool:
        return self._reader is None

    def _wait_for_first(self) -> None:
        """Wait a little, while the reading has only begun: a small file needs no more."""
        now = time.monotonic()
        if self._patient_until is None:
            self._patient_until = now + self._patience
        if now < self._patient_until:
            self._state.wait_for(self._is_idle, self._patient_until - now)

    def _why_not(self) -> str:
        return self._fault or f"{self.path.name} is still being read; ask again in a moment"

    def _look(self) -> None:
        """Begin to read the file if it is not the one that was read last."""
        with self._state:
            now = self._clock()
            if self._closed.is_set() or self._reader or now < self._next_look:
                return
            self._next_look = now + _BETWEEN_LOOKS
        # Not while others wait: a network drive may take its time.
        version = _version_or_none(self.path)
        with self._state:
            if self._closed.is_set() or self._reader or version == self._tried:
                return
            self._reader = threading.Thread(target=self._read_again, name=self._label, daemon=True)
            self._reader.start()

    def _read_again(self) -> None:
        """The reading thread: bring in the newest index, or a reason why there is none."""
        index: _Index | None = None
        tried: Version | None
        fault = ""
        try:
            index, tried = self._newest()
        except BaseException as error:  # noqa: BLE001 - a panic of a reader's is no Exception
            tried, fault = self._explained(error)
        with self._state:
            self._tried = tried
            if tried == _UNREAD:
                self._next_look = self._clock() + _AGAIN
            old = self._index
            if index is not None:
                self._index = index
                if old is not None:
                    old.close()
            if fault and fault != self._fault:
                kept = f"; serving the data of {old.date}" if old else ""
                _log.warning("%s: %s%s", self._label, fault, kept)
            self._fault = fault
            self._reader = None
            if self._closed.is_set():
                self._shut()
            self._state.notify_all()

    def _explained(self, error: BaseException) -> tuple[Version | None, str]:
        """The version that needs no second try, and what to tell the operator."""
        name = self.path.name
        match error:
            case _ if self._closed.is_set():
                return _UNREAD, ""
            case _BrokenFile():
                return error.version, str(error)
            case FileError():
                return _UNREAD, str(error)
            case FileNotFoundError() if not self.path.exists():
                return None, f"{name} is not there; put it there, or correct file"
            case OSError() | sqlite3.Error():
                why = getattr(error, "strerror", None) or error
                return _UNREAD, (
                    f"{name} or its index cannot be used ({why}); check that the file may be read,"
                    " and that there is room for temporary files"
                )
            case _:
                _log.error("%s: reading %s failed", self._label, name, exc_info=error)
                return _UNREAD, f"{name} cannot be read ({type(error).__name__}); see the log"

    def _newest(self) -> tuple[_Index, Version]:
        """The index of the file as it is now, made if no other process has made it."""
        folder = self._folder or _own_folder()
        slot = _digest(str(self.path.absolute()), self._label)
        delay = _SETTLED
        while True:
            version = self._settled()
            file = folder / f"{slot}-{_digest(self._recipe, *map(str, version))}.db"
            index = _opened(file, version)
            if index is None:
                with self._turn(folder / f"{slot}.lock"):
                    index = _opened(file, version) or self._made(file, version, folder, slot)
            if index is not None:
                return index, version
            # Somebody wrote while we read. A file that never rests is not read all the time.
            self._rest(delay)
            delay = min(2 * delay, 60.0)

    def _made(self, file: Path, version: Version, folder: Path, slot: str) -> _Index | None:
        """Make the index; None when the file changed meanwhile."""
        begun = time.monotonic()
        part = folder / f"{slot}.part"
        try:
            try:
                count = _write(part, self._read(self.path), self._closed.is_set)
            except FileError as error:
                if _version_or_none(self.path) != version:
                    return None
                raise _BrokenFile(str(error), version) from error
            if _version_or_none(self.path) != version:
                return None
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        _clean(folder, file, slot)
        took = time.monotonic() - begun
        _log.info("%s: %d rows of %s read in %.1f s", self._label, count, self.path.name, took)
        return _opened(file, version)

    def _settled(self) -> Version:
        """The version of the file, once nobody has written to it for a while."""
        version = _version(self.path)
        if time.time() - version.modified / 1e9 < _SETTLED:
            before = None
            while version != before:
                before = version
                self._rest(_SETTLED)
                version = _version(self.path)
        return version

    def _rest(self, seconds: float) -> None:
        if self._pause(seconds) or self._closed.is_set():
            raise _Stopped

    @contextmanager
    def _turn(self, file: Path) -> Iterator[None]:
        """Be the one process that makes this index."""
        while True:
            with os.fdopen(os.open(file, os.O_CREAT | os.O_RDWR, 0o600), "rb") as lock:
                if not _locked(lock, file):
                    if self._closed.wait(_TURN):
                        raise _Stopped
                    continue
                try:
                    yield
                finally:
                    file.unlink()
                    # Said, as a process forked meanwhile has the lock open as well.
                    fcntl.flock(lock, fcntl.LOCK_UN)
                return


class _BrokenFile(FileError):
    """The content of this version is of no use; it stays so until the file changes."""

    def __init__(self, message: str, version: Version) -> None:
        super().__init__(message)
        self.version = version


class _Index:
    """An index, open for reading."""

    def __init__(self, file: Path, version: Version) -> None:
        self._file = file
        moment = datetime.fromtimestamp(version.modified / 1e9, UTC)
        #: when the file it was made of was written
        self.date = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
        self._db = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )

    def ask(self, statement: str, values: tuple[object, ...]) -> list[str]:
        found = self._db.execute(statement, values)
        return [content for (content,) in found]

    def is_whole(self) -> bool:
        try:
            return bool(self._db.execute("SELECT 1 FROM whole").fetchone())
        except sqlite3.DatabaseError:
            return False

    def close(self) -> None:
        self._db.close()

    def discard(self) -> None:
        self._db.close()
        self._file.unlink(missing_ok=True)


def _opened(file: Path, version: Version) -> _Index | None:
    """The index in a file; None: there is none, or it is not whole."""
    if not file.exists():
        return None
    index = _Index(file, version)
    if index.is_whole():
        with suppress(OSError):
            os.utime(file)
        return index
    index.discard()
    return None


def _write(file: Path, rows: Iterable[Row], is_stopped: Callable[[], bool]) -> int:
    """Make an index of all rows; how many they are."""
    file.unlink(missing_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    count = 0
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.set_progress_handler(is_stopped, 100_000)
        for statement in _PREPARE:
            db.execute(statement)
        left = iter(rows)
        while batch := list(islice(left, _BATCH)):
            numbered = list(enumerate(batch, count))
            db.executemany(
                "INSERT INTO rows VALUES (?, ?)",
                ((number, content) for number, (_, content) in numbered),
            )
            db.executemany(
                "INSERT INTO forms VALUES (?, ?)",
                ((_bytes(form), number) for number, (forms, _) in numbered for form in forms),
            )
            count += len(batch)
        for statement in _FINISH:
            db.execute(statement)
    with file.open("rb") as written:
        # A file that is there after a power cut must be whole.
        os.fsync(written.fileno())
    return count


def _locked(lock: IO[bytes], file: Path) -> bool:
    """Whether we have the lock, and it is still the one in that place."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(lock.fileno()), file.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _clean(folder: Path, newest: Path, slot: str) -> None:
    """Remove what the newest index replaces, and what nobody has opened for long.

    Whoever still reads one of them keeps it until it is closed.
    """
    for file in folder.iterdir():
        is_older = file.name.startswith(f"{slot}-") and file != newest
        with suppress(FileNotFoundError):
            if is_older or time.time() - file.stat().st_mtime > _LONGEST_UNUSED:
                file.unlink()


def _bytes(form: str) -> bytes:
    """A text as SQLite compares it exactly, half a character included."""
    return form.encode("utf-8", "surrogatepass")


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _version(path: Path) -> Version:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise FileError(f"{path.name} is no regular file; correct file")
    return Version(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _version_or_none(path: Path) -> Version | None:
    try:
        return _version(path)
    except (OSError, FileError):
        return None


def _own_folder() -> Path:
    """A folder that nobody else may look into or has prepared: the indexes hold people's data."""
    folder = Path(tempfile.gettempdir()) / f"imbox-plugin-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not is_ours or stat.S_IMODE(found.st_mode) & 0o077:
        raise FileError(
            f"the folder {folder.name} for temporary files is open to others; remove it, or set"
            " TMPDIR to a folder of your own"
        )
    return folder
