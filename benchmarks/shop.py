"""The shop that is measured: its people, its orders, and the questions about them."""

from __future__ import annotations

import base64
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

#: opens the servers of a benchmark run, and nothing else
KEY = "bench-key-not-for-production"
AUTHORIZATION = "Basic " + base64.b64encode(f":{KEY}".encode()).decode()

_ORDERS = 10
_PARAGRAPH = (
    "<p>Ringde om <b>leveransen</b> av bänken, order <i>{number}</i>. Vill ha den före helgen, och "
    'helst på förmiddagen. Se <a href="https://wiki.example.com/{number}">rutinen</a>.</p>'
    "<ul><li>Portkod: fråga kunden</li><li>Lämnas vid grinden</li></ul>"
)
_TABLES = """
    CREATE TABLE people (
        external_id TEXT PRIMARY KEY, name TEXT, email TEXT, phone TEXT, city TEXT, tier TEXT,
        since TEXT, balance REAL, note TEXT
    ) WITHOUT ROWID;
    CREATE TABLE orders (
        external_id TEXT, number TEXT, placed_on TEXT, status TEXT, total REAL
    );
"""
_INDEXES = """
    CREATE UNIQUE INDEX people_email ON people (email);
    CREATE UNIQUE INDEX people_phone ON people (phone);
    CREATE INDEX orders_person ON orders (external_id);
"""


def build(file: Path, people: int, *, notes: bool = True) -> None:
    """Write the database: every person has ten orders, and 1.5 KB of HTML unless without notes."""
    with closing(sqlite3.connect(file)) as shop:
        shop.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)
        shop.executemany(
            "INSERT INTO people VALUES (?,?,?,?,?,?,?,?,?)", _people(people, notes=notes)
        )
        shop.executemany("INSERT INTO orders VALUES (?,?,?,?,?)", _orders(people))
        shop.executescript(_INDEXES)
        shop.commit()


def identities(number: int) -> dict[str, str]:
    """What ImBox knows of a person, by its own names."""
    return {
        "externalId": f"K{number}",
        "email": f"person.{number}@example.com",
        "phoneNumber": f"07{2 + number // 1_000_000 % 2}-{number % 1_000_000 + 1_000_000}",
    }


def questions(people: int, count: int) -> list[str]:
    """The targets of so many requests, each about another person and with eight parameters."""
    chance = random.Random(2)
    asked = {"view": "ticket", "ticketId": "81", "channelId": "7", "callId": "3", "team": "lund"}
    return [
        f"/imbox?{urlencode({**asked, **identities(number)})}"
        for number in chance.sample(range(people), count)
    ]


def _people(people: int, *, notes: bool) -> Iterator[tuple[object, ...]]:
    chance = random.Random(1)
    for number in range(people):
        known = identities(number)
        note = "".join(_PARAGRAPH.format(number=number * 7 + at) for at in range(6))
        yield (
            known["externalId"],
            f"Åsa Person {number}",
            known["email"],
            f"+46{known['phoneNumber'][1:].replace('-', '')}",
            chance.choice(["Lund", "Malmö", "Umeå"]),
            chance.choice(["guld", "silver"]),
            f"20{chance.randrange(10, 26)}-0{chance.randrange(1, 10)}-11",
            chance.randrange(10**7) / 100,
            note if notes else "",
        )


def _orders(people: int) -> Iterator[tuple[object, ...]]:
    chance = random.Random(3)
    for number in range(people):
        for at in range(_ORDERS):
            yield (
                f"K{number}",
                f"{number}-{at}",
                f"2026-0{chance.randrange(1, 10)}-{chance.randrange(10, 29)}",
                chance.choice(["Skickad", "Packas", "Makulerad"]),
                chance.randrange(10**6) / 100,
            )
