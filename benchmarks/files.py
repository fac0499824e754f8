"""How long a file of people takes to read and to search, at 10,000 and at 1,000,000 rows.

    .venv/bin/python benchmarks/files.py [--rows 10000 1000000]

Each file is read in a process of its own, which tells its peak memory. The look-ups then alternate
between the files within one process, so that whatever else the machine does slows both.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from imbox_plugin.model import Key, Lookup, View
from imbox_plugin.sources import DataSource, SourceContext
from imbox_plugin.sources.csv_file import CsvSource
from imbox_plugin.sources.json_file import JsonSource

#: look-ups between two changes of the file
_ROUND = 200
_ROUNDS = 25
_KINDS: dict[str, type[DataSource]] = {"csv": CsvSource, "json": JsonSource}
_OPTIONS: dict[str, dict[str, Any]] = {"csv": {}, "json": {"paths": {"email": "contact.email"}}}


def people(rows: int) -> Iterator[dict[str, str]]:
    """As many people, the same ones each time."""
    chance = random.Random(1)
    for number in range(rows):
        yield {
            "external_id": f"K{number}",
            "name": f"Person {number}",
            "email": f"Person.{number}@Example{number % 50}.com",
            "phone": phone(number),
            "city": chance.choice(["Lund", "Malmö", "Umeå"]),
            "tier": chance.choice(["gold", "silver"]),
            "since": f"20{chance.randrange(10, 26)}-0{chance.randrange(1, 10)}-11",
            "balance": f"{chance.randrange(10**7) / 100:.2f}",
        }


def phone(number: int) -> str:
    """A number as it is typed; below ten million each one is different."""
    digits = f"{number:07}"
    return f"07{'0236'[number % 4]}-{digits[:3]} {digits[3:5]} {digits[5:]}"


def write(kind: str, rows: int, file: Path) -> None:
    """Write the people into a file."""
    with file.open("w", encoding="utf-8", newline="") as opened:
        if kind == "csv":
            writer = csv.writer(opened, delimiter=";")
            for number, person in enumerate(people(rows)):
                if not number:
                    writer.writerow(person)
                writer.writerow(person.values())
        else:
            for person in people(rows):
                record = {**person, "contact": {"email": person.pop("email")}}
                opened.write(f"{json.dumps(record, ensure_ascii=False)}\n")
    # Else it might still be being written, and is left alone for a second.
    os.utime(file, (0, 0))


def source(kind: str, folder: Path, rows: int) -> DataSource:
    """The source of a file, its index among the temporary files of the folder."""
    tempfile.tempdir = str(folder)
    made = _KINDS[kind]
    options = made.Options().load({"file": f"{rows}.{kind}", **_OPTIONS[kind]})
    return made(options, SourceContext(name="people", folder=folder, default_region="SE"))


def read(kind: str, folder: Path, rows: int) -> tuple[float, float]:
    """Read a file for the first time: the seconds, and the peak memory that it added in MB."""
    with closing(source(kind, folder, rows)) as made:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.perf_counter()
        made.check()
        took = time.perf_counter() - begun
    return took, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def lookups(key: Key, rows: int) -> Sequence[Lookup]:
    """Questions about people from all over the file."""
    chance = random.Random(2)
    values: dict[Key, Callable[[int], str]] = {
        Key.EXTERNAL_ID: lambda number: f"K{number}",
        Key.EMAIL: lambda number: f"person.{number}@example{number % 50}.com",
        Key.PHONE: lambda number: f"+46{phone(number)[1:].replace('-', '').replace(' ', '')}",
    }
    numbers = chance.sample(range(rows), _ROUND)
    return [Lookup(View.CONTACT, {key: values[key](number)}) for number in numbers]


def search(sources: Sequence[DataSource], questions: Sequence[Sequence[Lookup]]) -> list[float]:
    """The median microseconds of one look-up in each of the sources, asked in turns."""
    times: list[list[float]] = [[] for _ in sources]
    for _ in range(_ROUNDS):
        for one, asked, spent in zip(sources, questions, times, strict=True):
            begun = time.perf_counter()
            found = sum(len(one.find(lookup)) for lookup in asked)
            spent.append((time.perf_counter() - begun) / len(asked) * 1e6)
            if found < len(asked):
                raise SystemExit(f"{len(asked) - found} people were not found")
    return [statistics.median(spent) for spent in times]


def measure(kind: str, sizes: Sequence[int], folder: Path) -> None:
    """Print what the files of one kind take."""
    print(f"\n{kind:12}" + "".join(f"{rows:>14,} rows" for rows in sizes) + "   ratio")
    for rows in sizes:
        write(kind, rows, folder / f"{rows}.{kind}")
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        readings = [processes.submit(read, kind, folder, rows).result() for rows in sizes]
    line("read, s", [seconds for seconds, _ in readings], ".1f")
    line("peak, MB", [megabytes for _, megabytes in readings], ".0f")
    with ExitStack() as stack:
        sources = [stack.enter_context(closing(source(kind, folder, rows))) for rows in sizes]
        for made in sources:
            made.check()
        for key in (Key.EXTERNAL_ID, Key.EMAIL, Key.PHONE):
            questions = [lookups(key, rows) for rows in sizes]
            line(f"{key}, us", search(sources, questions), ".0f")


def line(name: str, values: Sequence[float], form: str) -> None:
    """Print a row of the table, with the ratio of the last size to the first."""
    print(f"{name:16}" + "".join(f"{value:15{form}}    " for value in values), end="")
    print(f"{values[-1] / values[0]:8.2f}")


def main() -> None:
    """Measure all kinds in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    sizes = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        for kind in _KINDS:
            measure(kind, sizes, Path(folder))


if __name__ == "__main__":
    main()
