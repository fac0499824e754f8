"""Indexed files: found by index, never half read, and what was good is kept."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from threading import Event

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imbox_plugin.files import FIND, FileError, IndexedFile
from tests.people_files import write

#: for what must not take for ever when it fails
PATIENCE = 30


def lines(path):
    """Each line is a row, found by its words; a line `broken` is none."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line == "broken":
            raise FileError(f"{path.name}: line {number} is broken")
        yield line.split(), line


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def pass_by(self, seconds):
        self.now += seconds


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "people.txt", "anna gold\nbo tin\ncilla gold\n")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "indexes"
    made.mkdir()
    return made


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def indexed(path, folder, clock):
    """Make an indexed file, closed at the end of the test."""
    with ExitStack() as stack:

        def make(read=lines, recipe="1", **options):
            given = {"label": "people", "folder": folder, "clock": clock, "patience": PATIENCE}
            return stack.enter_context(
                closing(IndexedFile(options.pop("path", path), read, recipe, **given | options))
            )

        yield make


def found(file, form="gold"):
    return file.find([form], 10)


def find_after_change(file, clock, form="gold"):
    """Look again, and wait for what that brings."""
    clock.pass_by(1)
    found(file, form)
    file.wait()
    return found(file, form)


# --- finding ------------------------------------------------------------------------------------


def test_rows_are_found_by_a_form_in_the_order_of_the_file(indexed):
    assert found(indexed()) == ["anna gold", "cilla gold"]


def test_as_many_rows_are_found_as_are_asked_for(indexed):
    assert indexed().find(["gold"], 1) == ["anna gold"]


def test_rows_are_found_once_by_any_of_several_forms_in_the_order_of_the_file(indexed):
    file = indexed()

    assert file.find(["cilla", "gold", "bo", "dora"], 10) == ["anna gold", "bo tin", "cilla gold"]
    assert file.find([], 10) == []
    assert file.find((str(number) for number in range(300_000)), 10) == []


def test_rows_are_found_once_by_the_beginning_of_a_form(path, indexed):
    write(path, "golf gold\nsilver\ngolem\n")

    assert indexed().find_prefix("gol", 10) == ["golf gold", "golem"]
    assert indexed().find_prefix("gol", 1) == ["golf gold"]
    assert indexed().find_prefix("olf", 10) == []


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(st.characters()), unique=True, min_size=1, max_size=8))
@example(["", "\0", "a\0", "A", "a", "a ", "\ud800", "\udfff", "å", "a\N{COMBINING RING ABOVE}"])
def test_a_form_is_found_exactly_as_it_is(forms):
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "any"), "")
        file = IndexedFile(
            path,
            lambda _: [([form], str(number)) for number, form in enumerate(forms)],
            "1",
            label="any",
            folder=path.parent,
            patience=PATIENCE,
        )
        with closing(file):
            answers = [file.find([form], 10) for form in forms]

    assert answers == [[str(number)] for number in range(len(forms))]


@pytest.mark.parametrize("which", ["IN (?, ?)", ">= ? AND form < ?"])
def test_no_statement_reads_rows_that_it_does_not_find(indexed, folder, which):
    found(indexed())

    (index,) = folder.glob("*.db")
    with closing(sqlite3.connect(index)) as db:
        explain = f"EXPLAIN QUERY PLAN {FIND.format(which)}"
        plan = [step for *_, step in db.execute(explain, (b"x", b"y", 1))]

    assert not [step for step in plan if step.startswith("SCAN")]
    assert any("USING COVERING INDEX forms_form (form" in step for step in plan)
    assert any(step.startswith("SEARCH rows USING INTEGER PRIMARY KEY") for step in plan)


# --- the first reading --------------------------------------------------------------------------


def test_nothing_is_read_before_the_first_question(indexed):
    """A server that is going to fork must have no thread at work."""
    before = threading.active_count()

    indexed()

    assert threading.active_count() == before


def test_a_first_reading_that_takes_long_is_not_waited_for(indexed):
    may_go_on = Event()

    def slowly(path):
        may_go_on.wait(PATIENCE)
        yield from lines(path)

    file = indexed(slowly, patience=0)
    with pytest.raises(FileError, match=r"people.txt is still being read; ask again"):
        found(file)
    may_go_on.set()
    file.check()

    assert found(file) == ["anna gold", "cilla gold"]


def test_the_check_waits_for_the_first_reading(indexed):
    file = indexed(patience=0)

    file.check()

    assert found(file) == ["anna gold", "cilla gold"]


def test_a_file_that_is_missing_at_first_is_found_when_it_is_there(path, indexed, clock):
    path.unlink()
    file = indexed()
    for ask in (lambda: found(file), file.check):
        with pytest.raises(FileError, match=r"people.txt is not there; put it there"):
            ask()
    write(path, "anna gold\n")
    clock.pass_by(1)

    file.check()

    assert found(file) == ["anna gold"]


def test_a_file_that_is_broken_at_first_is_found_when_it_is_mended(path, indexed, clock):
    write(path, "broken\n")
    file = indexed()
    for ask in (lambda: found(file), file.check):
        with pytest.raises(FileError, match=r"^people.txt: line 1 is broken$"):
            ask()
    write(path, "anna gold\n")
    clock.pass_by(1)

    file.check()

    assert found(file) == ["anna gold"]


def test_what_is_no_file_is_refused(tmp_path, indexed):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(FileError, match="pipe is no regular file"):
        found(indexed(path=tmp_path / "pipe"))


# --- the next ones ------------------------------------------------------------------------------


@pytest.mark.parametrize("by_rename", [True, False])
def test_a_file_that_changed_is_read_again(path, indexed, clock, by_rename):
    file = indexed()
    found(file)

    write(path, "dora gold\n", by_rename=by_rename)

    assert find_after_change(file, clock) == ["dora gold"]


def test_a_file_put_back_with_its_old_time_and_size_is_read_again(path, indexed, clock):
    file = indexed()
    found(file)
    before = path.stat()

    path.write_text(path.read_text("utf-8").replace("anna", "dora"), "utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert find_after_change(file, clock) == ["dora gold", "cilla gold"]


def test_the_file_is_looked_at_once_a_second(path, indexed, clock):
    file = indexed()
    found(file)

    write(path, "dora gold\n")
    clock.pass_by(0.9)
    found(file)
    file.wait()

    assert found(file) == ["anna gold", "cilla gold"]


def test_questions_are_answered_from_the_old_file_while_the_new_one_is_read(path, indexed, clock):
    begun, may_go_on = Event(), Event()

    def slowly(path):
        rows = list(lines(path))
        if rows[0][1].startswith("dora"):
            begun.set()
            may_go_on.wait(PATIENCE)
        return rows

    file = indexed(slowly)
    found(file)
    write(path, "dora gold\n")
    clock.pass_by(1)
    found(file)
    begun.wait(PATIENCE)
    meanwhile = found(file)
    file.check()
    may_go_on.set()
    file.wait()

    assert meanwhile == ["anna gold", "cilla gold"]
    assert found(file) == ["dora gold"]


def test_a_broken_new_file_keeps_the_old_data_and_says_so(path, indexed, clock, caplog):
    file = indexed()
    found(file)
    date = r"2001-09-\d\d \d\d:\d\d:\d\d UTC"

    write(path, "dora gold\nbroken\n")

    assert find_after_change(file, clock) == ["anna gold", "cilla gold"]
    with pytest.raises(FileError, match=f"^serving the data of {date}: people.txt: line 2 is brok"):
        file.check()
    (warning,) = caplog.messages
    assert warning.startswith("people: people.txt: line 2 is broken; serving the data of 2001-09")


def test_what_was_read_of_a_broken_file_is_not_left_behind(path, folder, indexed):
    write(path, "anna gold\nbroken\n")
    file = indexed()
    with pytest.raises(FileError, match="broken"):
        found(file)

    assert list(folder.iterdir()) == []


def test_a_broken_file_that_is_mended_is_well(path, indexed, clock):
    file = indexed()
    found(file)
    write(path, "broken\n")
    find_after_change(file, clock)

    write(path, "dora gold\n")

    assert find_after_change(file, clock) == ["dora gold"]
    file.check()


def test_a_broken_file_is_not_read_again_until_it_changes(path, indexed, clock):
    readings = []

    def counted(path):
        readings.append(path)
        return lines(path)

    file = indexed(counted)
    found(file)
    write(path, "broken\n")
    for _ in range(3):
        find_after_change(file, clock)

    assert len(readings) == 2


def test_a_file_that_vanished_keeps_its_data_and_is_missed(path, indexed, clock):
    file = indexed()
    found(file)

    path.unlink()

    assert find_after_change(file, clock) == ["anna gold", "cilla gold"]
    with pytest.raises(FileError, match=r"serving the data of .*: people.txt is not there"):
        file.check()


def test_what_may_mend_itself_is_tried_again(path, indexed, clock):
    failures = [PermissionError(13, "Permission denied"), None]

    def denied(path):
        if failure := failures.pop(0):
            raise failure
        return lines(path)

    file = indexed(denied)
    with pytest.raises(FileError, match=r"cannot be used \(Permission denied\); check that"):
        found(file)
    clock.pass_by(9)
    with pytest.raises(FileError, match="Permission denied"):
        found(file)
    clock.pass_by(1)
    file.check()

    assert found(file) == ["anna gold", "cilla gold"]


class Panic(BaseException):
    """As a reader written in another language may raise it."""


@pytest.mark.parametrize("error", [ValueError, RecursionError, MemoryError, Panic])
def test_a_reader_that_fails_is_told_without_its_words(indexed, error):
    def failing(_path):
        raise error("anna@example.com")

    file = indexed(failing)

    with pytest.raises(FileError) as told:
        found(file)
    assert str(told.value) == f"people.txt cannot be read ({error.__name__}); see the log"


# --- never half read ----------------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_read_is_read_anew(path, indexed):
    readings = []

    def interrupted(path):
        readings.append(path)
        for number, row in enumerate(lines(path)):
            yield row
            if len(readings) == 1 and number == 0:
                write(path, "dora gold\n")

    file = indexed(interrupted, pause=lambda _: False)

    assert found(file) == ["dora gold"]
    assert len(readings) == 2


def test_a_file_that_is_broken_because_it_is_half_written_is_read_anew(path, indexed, caplog):
    def interrupted(path):
        content = path.read_text("utf-8")
        if content == "broken\n":
            write(path, "dora gold\n")
            raise FileError("half of it is missing")
        return lines(path)

    write(path, "broken\n")
    file = indexed(interrupted, pause=lambda _: False)

    assert found(file) == ["dora gold"]
    assert caplog.messages == []


def test_a_file_that_was_just_written_to_is_left_alone_until_it_rests(path, indexed):
    """A writer that pauses for a moment leaves a file that looks whole."""
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 1:
            with path.open("a") as half_written:
                half_written.write("dora gold\n")
        return False

    path.write_text("anna gold\n")
    file = indexed(pause=pause)

    assert found(file) == ["anna gold", "dora gold"]
    assert pauses == [1, 1]


@pytest.mark.parametrize("by_rename", [True, False])
def test_no_thread_ever_sees_half_of_a_file(path, indexed, by_rename):
    written = Event()
    rows = 300

    def generation(number):
        # Each of another size: two of one size, written in one tick of the file system's clock,
        # look like the same file to everybody.
        return "".join(f"all {number} {row}{' ' * number}\n" for row in range(rows))

    write(path, generation(0))
    # A file is looked at by every question, and never waited for but while it is written.
    file = indexed(clock=count(step=2).__next__, pause=lambda _: not written.wait(PATIENCE))
    file.check()

    def ask(_):
        seen = []
        while "9" not in seen:
            answer = [row.split()[1:] for row in file.find(["all"], 2 * rows)]
            assert [row for _, row in answer] == [str(row) for row in range(rows)]
            (number,) = {number for number, _ in answer}
            seen.append(number)
        return seen

    with ThreadPoolExecutor(17) as threads:
        asking = [threads.submit(ask, thread) for thread in range(16)]
        for number in range(1, 10):
            written.clear()
            write(path, generation(number), by_rename=by_rename)
            written.set()
            file.wait()
        seen = [one.result(PATIENCE) for one in asking]

    assert all(numbers == sorted(numbers) for numbers in seen)


# --- the index ----------------------------------------------------------------------------------


def unread(_path):
    raise AssertionError("read again")


def test_an_index_that_is_there_is_opened_instead_of_reading_the_file(indexed):
    found(indexed())

    assert found(indexed(unread)) == ["anna gold", "cilla gold"]


def test_another_recipe_is_another_index(indexed):
    found(indexed())

    other = indexed(lambda _: [(["gold"], "another")], recipe="2")

    assert found(other) == ["another"]


def test_an_older_index_is_removed_and_those_of_others_are_not(path, folder, indexed, clock):
    file = indexed()
    found(file)
    found(indexed(label="others"))
    before = set(folder.iterdir())

    write(path, "dora gold\n")
    find_after_change(file, clock)
    after = set(folder.iterdir())

    assert len(before) == len(after) == 2
    assert len(before & after) == 1


def test_an_index_that_nobody_opened_for_long_is_removed(folder, indexed):
    forgotten = folder / "0123-4567.db"
    write(forgotten, "")

    found(indexed())

    assert not forgotten.exists()


def test_only_one_makes_the_index_and_the_others_open_it(folder, indexed):
    begun, may_go_on = Event(), Event()

    def slowly(path):
        begun.set()
        may_go_on.wait(PATIENCE)
        return lines(path)

    first, second = indexed(slowly, patience=0), indexed(unread, patience=0)
    for file in (first, second):
        with pytest.raises(FileError, match="still being read"):
            found(file)
        begun.wait(PATIENCE)
    may_go_on.set()
    first.check()
    second.check()

    assert found(first) == found(second) == ["anna gold", "cilla gold"]
    assert [file.suffix for file in folder.iterdir()] == [".db"]


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"\0" * 8192])
def test_an_index_that_is_not_whole_is_made_anew(folder, indexed, content):
    found(indexed())
    (index,) = folder.iterdir()
    index.write_bytes(content)

    assert found(indexed()) == ["anna gold", "cilla gold"]


def test_an_index_that_is_damaged_while_it_is_open_is_made_anew(folder, indexed, clock):
    file = indexed()
    file.check()
    (index,) = folder.iterdir()
    whole = index.read_bytes()
    index.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))

    with pytest.raises(FileError, match=r"the index of people.txt is damaged"):
        found(file)
    clock.pass_by(1)
    file.check()

    assert found(file) == ["anna gold", "cilla gold"]


def test_a_folder_that_cannot_be_written_to_is_told_with_its_cure(indexed, folder):
    folder.rmdir()

    with pytest.raises(FileError, match=r"\(No such file.*and that there is room for temporary"):
        found(indexed())


def test_nobody_else_may_read_the_index(tmp_path, path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with closing(IndexedFile(path, lines, "1", label="people", patience=PATIENCE)) as file:
        found(file)
    (folder,) = tmp_path.glob("imbox-plugin-*")

    (index,) = folder.iterdir()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(index.stat().st_mode) == 0o600


@pytest.mark.parametrize("prepare", ["open", "link"])
def test_a_folder_that_somebody_else_prepared_is_not_used(tmp_path, path, monkeypatch, prepare):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"imbox-plugin-{os.geteuid()}"
    if prepare == "open":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    file = IndexedFile(path, lines, "1", label="people", patience=PATIENCE)

    with closing(file), pytest.raises(FileError, match="open to others; remove it, or set TMPDIR"):
        found(file)


# --- closing ------------------------------------------------------------------------------------


def test_a_closed_file_says_so_and_can_be_closed_twice(indexed):
    file = indexed()
    found(file)

    file.close()
    file.close()

    with pytest.raises(FileError, match=r"people.txt is closed"):
        found(file)


def test_closing_ends_a_reading(indexed, caplog):
    begun = Event()

    def endless(_path):
        for number in count():
            yield [str(number)], "row"
            begun.set()

    # Those of earlier tests may end whenever their garbage is collected.
    others = set(threading.enumerate())
    file = indexed(endless, patience=0)
    with pytest.raises(FileError):
        found(file)
    begun.wait(PATIENCE)
    reading = set(threading.enumerate()) - others

    file.close()

    assert len(reading) == 1
    assert not reading & set(threading.enumerate())
    assert caplog.messages == []


def test_closing_ends_the_wait_for_a_file_that_never_rests(path, indexed):
    begun = Event()

    def restless(seconds):
        begun.set()
        with path.open("a") as still_written:
            still_written.write("more\n")
        return False

    path.write_text("anna gold\n")
    file = indexed(pause=restless, patience=0)
    with pytest.raises(FileError, match="still being read"):
        found(file)
    begun.wait(PATIENCE)

    file.close()

    with pytest.raises(FileError, match="closed"):
        found(file)
