"""Build the database of the demo: Rödhakens Trädgårdsbod, a garden shop that does not exist.

    python examples/demo/build.py [TARGET]

The result is the same on every day and machine. Nobody in it is real: e-mail addresses use the
domains reserved for examples, and phone numbers only 070-1740605 to 070-1740699, which the
Swedish regulator PTS reserves for fiction. With 95 numbers for 300 customers most have none. Four
numbers are shared on purpose, by two persons of one household each; the last two numbers of the
range are nobody's.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

SEED = 1740605
#: the shop's "today"; a real clock would make another database every day
TODAY = date(2026, 11, 2)
OPENED = date(2018, 4, 1)
CUSTOMERS = 300
COUPLES = 3  # beside the one among the well-known customers
FREIGHT_FREE_ORE = 60_000
TRACKED_DAYS = 90

SCHEMA = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    customer_number TEXT NOT NULL UNIQUE,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    company TEXT,
    email TEXT,
    mobile TEXT,                -- as it was typed
    street TEXT NOT NULL,
    postcode TEXT NOT NULL,
    city TEXT NOT NULL,
    tier TEXT NOT NULL CHECK (tier IN ('Brons', 'Silver', 'Guld')),
    created_at TEXT NOT NULL,   -- ISO 8601, UTC
    note TEXT,                  -- plain text
    note_html TEXT              -- from the editor of the shop's former system
);
CREATE UNIQUE INDEX customers_by_email ON customers (lower(email));

CREATE TABLE products (
    id INTEGER PRIMARY KEY,
    sku TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    price_ore INTEGER NOT NULL CHECK (price_ore > 0)
);

CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    order_number TEXT NOT NULL UNIQUE,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    placed_on TEXT NOT NULL,    -- ISO 8601
    status TEXT NOT NULL CHECK (
        status IN ('Mottagen', 'Plockas', 'Skickad', 'Levererad', 'Returnerad', 'Makulerad')
    ),
    total_ore INTEGER NOT NULL,
    tracking_url TEXT
);
CREATE INDEX orders_by_customer ON orders (customer_id, placed_on);

CREATE TABLE order_lines (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    line INTEGER NOT NULL,
    product_id INTEGER NOT NULL REFERENCES products (id),
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    price_ore INTEGER NOT NULL, -- of one, as it was sold
    PRIMARY KEY (order_id, line)
) WITHOUT ROWID;
"""

INSERT_CUSTOMER = """
INSERT INTO customers (
    customer_number, first_name, last_name, company, email, mobile, street, postcode, city,
    tier, created_at, note, note_html
) VALUES (
    :customer_number, :first_name, :last_name, :company, :email, :mobile, :street, :postcode, :city,
    :tier, :created_at, :note, :note_html
)
"""
INSERT_PRODUCT = "INSERT INTO products (sku, name, price_ore) VALUES (?, ?, ?)"
INSERT_ORDER = """
INSERT INTO orders (order_number, customer_id, placed_on, status, total_ore, tracking_url)
SELECT ?, id, ?, ?, ?, ? FROM customers WHERE customer_number = ?
"""
INSERT_LINE = """
INSERT INTO order_lines (order_id, line, product_id, quantity, price_ore)
SELECT ?, ?, id, ?, ? FROM products WHERE sku = ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A row of `customers`."""

    customer_number: str
    first_name: str
    last_name: str
    street: str
    postcode: str
    city: str
    tier: str
    created_at: str
    company: str | None = None
    email: str | None = None
    mobile: str | None = None
    note: str | None = None
    note_html: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One product in an order; the price is that of one, in öre."""

    sku: str
    quantity: int
    price_ore: int


@dataclass(frozen=True, slots=True)
class Order:
    """A row of `orders` before it has a number."""

    customer_number: str
    placed_on: date
    status: str
    lines: tuple[Line, ...]

    @property
    def total_ore(self) -> int:
        """What the customer paid."""
        return sum(line.quantity * line.price_ore for line in self.lines)


#: sku -> name and price in öre
PRODUCTS = {
    "FRAKT": ("Frakt till ombud", 5_900),
    "1001": ("Sekatör, smidd", 44_900),
    "1002": ("Grävgrep med askskaft", 59_900),
    "1003": ("Planteringsspade, rostfri", 18_900),
    "1004": ("Rensjärn", 16_900),
    "1005": ("Handskar av getskinn", 24_900),
    "1006": ("Knäskydd", 19_900),
    "1007": ("Vattenkanna 10 l, zink", 39_900),
    "1008": ("Trädgårdsslang 20 m", 54_900),
    "1009": ("Regntunna 200 l", 129_500),
    "1010": ("Kompost av lärk", 149_000),
    "1011": ("Pallkrage", 22_900),
    "1012": ("Odlingslåda 80x120 cm", 64_900),
    "1013": ("Miniväxthus", 89_900),
    "1014": ("Fiberduk 2x10 m", 12_900),
    "1015": ("Jutesnöre 100 m", 6_900),
    "1016": ("Växtskyltar, 20 st", 4_900),
    "2001": ("Såjord 15 l", 7_900),
    "2002": ("Planteringsjord 40 l", 9_900),
    "2003": ("Rosjord 40 l", 11_900),
    "2004": ("Hönsgödsel 12 kg", 13_900),
    "2005": ("Flytande näring 1 l", 8_900),
    "3001": ("Tulpanlök, blandade, 50 st", 24_900),
    "3002": ("Narcisslök, 25 st", 14_900),
    "3003": ("Krokuslök, 100 st", 17_900),
    "3004": ("Sättvitlök, 6 huvuden", 12_900),
    "3005": ("Sättpotatis 2 kg", 11_900),
    "3006": ("Dahliaknöl, mörkröd", 6_900),
    "3007": ("Frö: sockerärt", 3_900),
    "3008": ("Frö: morot", 3_500),
    "3009": ("Frö: ringblomma", 3_200),
    "3010": ("Frö: luktärt", 3_900),
    "3011": ("Lavendel, 3 plantor", 14_900),
    "3012": ("Rabarberplanta", 9_900),
    "3013": ("Svart vinbär, buske", 17_900),
    "3014": ("Äppelträd, vinteräpple", 59_900),
    "3015": ("Klätterros, gammaldags", 27_900),
    "4001": ("Lerkruka 25 cm", 12_900),
    "4002": ("Zinkbalja 40 l", 34_900),
    "4003": ("Fågelholk av furu", 19_900),
    "4004": ("Fågelmatare", 22_900),
    "4005": ("Solrosfrö 5 kg", 16_900),
    "4006": ("Insektshotell", 29_900),
    "4007": ("Lykta till gravljus", 14_900),
}

#: written by hand, so that the settings, the documentation and the tests can name them
WELL_KNOWN = (
    Customer(
        customer_number="K1001",
        first_name="Åsa",
        last_name="Lindqvist",
        email="asa.lindqvist@example.com",
        mobile="070-174 06 05",
        street="Äppelgränd 7",
        postcode="753 21",
        city="Uppsala",
        tier="Guld",
        created_at="2018-03-05T08:12:40+00:00",
        note="Vill ha paketen till grinden, inte till ombud. Ring först: hunden är ofta lös.",
    ),
    Customer(
        customer_number="K1002",
        first_name="Björn",
        last_name="Öhman",
        email="bjorn.ohman@example.org",
        mobile="+46701740606",
        street="Östra Ågatan 31",
        postcode="831 42",
        city="Östersund",
        tier="Silver",
        created_at="2018-03-07T17:45:02+00:00",
    ),
    Customer(
        customer_number="K1003",
        first_name="Märta",
        last_name="Öhman",
        email="marta.ohman@example.org",
        mobile="070-174 06 06",  # the same as K1002
        street="Östra Ågatan 31",
        postcode="831 42",
        city="Östersund",
        tier="Brons",
        created_at="2018-03-07T18:03:19+00:00",
    ),
    Customer(
        customer_number="K1004",
        first_name="Karl-Erik",
        last_name="Ågren",
        mobile="0701740607",  # and no e-mail
        street="Smedjebacken 2",
        postcode="871 33",
        city="Härnösand",
        tier="Silver",
        created_at="2018-03-12T06:30:55+00:00",
        note="Beställer per telefon. Vill ha fakturan i brevlådan.",
    ),
    Customer(
        customer_number="K1005",
        first_name="René",
        last_name="Söderström",
        company="Kaffe & <b>Vänner</b> AB",
        email="rene@example.net",
        mobile="0046 70 174 06 08",
        street="Hamngatan 12 B",
        postcode="392 33",
        city="Kalmar",
        tier="Guld",
        created_at="2018-03-15T13:20:11+00:00",
        note='Märk fakturan "Café <2>" & skicka den till ekonomi@example.net.',
    ),
    Customer(
        customer_number="K1006",
        first_name="Göran",
        last_name="Ekström",
        company="Ekströms Blomsterhandel",
        email="goran.ekstrom@example.com",
        mobile="+46 (0)70-174 06 09",
        street="Kyrkogatan 4",
        postcode="271 45",
        city="Ystad",
        tier="Guld",
        created_at="2018-03-20T09:58:37+00:00",
        note_html=(
            "<p>Återförsäljare sedan <strong>2019</strong>.</p>"
            "<ul><li>10 % rabatt på <em>lökar</em></li><li>Faktura, 30 dagar</li></ul>"
            '<p style="color:red" onclick="alert(1)">Se '
            '<a href="https://crm.example.com/agreements/1006">avtalet</a>.</p>'
            "<script>alert('importerad')</script>"
        ),
    ),
    Customer(
        customer_number="K1007",
        first_name="Gun-Britt",
        last_name="Håkansson",
        company="Pensionat Syrénen",
        email="Gun-Britt.Hakansson@Example.COM",
        mobile="+46 70 174 06 10",
        street="Strandvägen 88",
        postcode="621 57",
        city="Visby",
        tier="Guld",
        created_at="2018-03-26T11:07:28+00:00",
        note="Köper till pensionatet varje månad.",
    ),
    Customer(
        customer_number="K1008",
        first_name="Linnéa",
        last_name="André",
        email="linnea.andre@example.com",
        street="Ljungstigen 15",
        postcode="903 38",
        city="Umeå",
        tier="Brons",
        created_at="2018-03-29T20:41:06+00:00",
    ),
)


def _sold(*goods: tuple[str, int]) -> tuple[Line, ...]:
    """Lines at today's prices, with freight where the goods alone do not make it free."""
    lines = tuple(Line(sku, quantity, PRODUCTS[sku][1]) for sku, quantity in goods)
    if sum(line.quantity * line.price_ore for line in lines) < FREIGHT_FREE_ORE:
        return (*lines, Line("FRAKT", 1, PRODUCTS["FRAKT"][1]))
    return lines


WELL_KNOWN_ORDERS = (
    Order("K1001", date(2026, 10, 29), "Skickad", _sold(("3001", 2), ("3004", 1), ("1005", 1))),
    Order("K1001", date(2026, 8, 14), "Levererad", _sold(("3015", 1), ("2003", 2))),
    Order("K1001", date(2026, 4, 22), "Levererad", _sold(("1012", 2), ("2002", 6), ("3007", 3))),
    Order("K1001", date(2025, 11, 28), "Returnerad", _sold(("4003", 1), ("4005", 1))),
)
#: how many orders are made up for the others; K1008 has an account and never bought
ORDER_COUNTS = {"K1001": 0, "K1002": 5, "K1003": 2, "K1004": 6, "K1005": 9, "K1006": 12}
ORDER_COUNTS |= {"K1007": 46, "K1008": 0}

FIRST_NAMES = (
    *("Anna", "Eva", "Maria", "Karin", "Kristina", "Lena", "Sara", "Emma", "Malin", "Åsa"),
    *("Märta", "Linnéa", "Desirée", "Renée", "Elin", "Ebba", "Saga", "Göta", "Siv", "Ulla"),
    *("Amina", "Nadia", "Zeynep", "Farida", "Katarzyna", "Ingegärd", "Ann-Sofie", "Tuva", "Ylva"),
    *("Lars", "Anders", "Johan", "Per", "Nils", "Karl", "Björn", "Göran", "Håkan", "Jörgen"),
    *("Åke", "Östen", "Pär", "Örjan", "André", "René", "Mårten", "Gösta", "Emil", "Hugo"),
    *("Ali", "Amir", "Mehmet", "Tomasz", "Jonas", "Mikael", "Sven-Erik", "Viktor", "Oskar"),
)
LAST_NAMES = (
    *("Andersson", "Johansson", "Karlsson", "Nilsson", "Eriksson", "Larsson", "Olsson", "Persson"),
    *("Svensson", "Gustafsson", "Lindström", "Lindgren", "Sjöberg", "Sjögren", "Söderberg"),
    *("Bergström", "Nyström", "Öberg", "Öström", "Åberg", "Åkesson", "Ångström", "Wåhlin"),
    *("Hägglund", "Häggström", "Björk", "Björklund", "Blomqvist", "Ek", "Ekdahl", "Grönlund"),
    *("Hellström", "Holm", "Lundqvist", "Löfgren", "Mårtensson", "Norén", "Rosén", "Sandén"),
    *("Sköld", "Wallén", "Wikström", "Haddad", "Hosseini", "Kaya", "Kowalski", "Mäkinen"),
)
STREETS = (
    *("Storgatan", "Kyrkogatan", "Skolgatan", "Björkvägen", "Lövstigen", "Ängsvägen", "Åsgatan"),
    *("Östra Långgatan", "Västra Ågatan", "Rönnvägen", "Hästskovägen", "Smultronstigen"),
    *("Trädgårdsgatan", "Järnvägsgatan", "Älggränd", "Fågelvägen", "Kvarnbacken", "Sjövägen"),
)
#: the first three digits of a postcode, and its town
TOWNS = (
    *(("113", "Stockholm"), ("118", "Stockholm"), ("169", "Solna"), ("152", "Södertälje")),
    *(("413", "Göteborg"), ("416", "Göteborg"), ("431", "Mölndal"), ("214", "Malmö")),
    *(("222", "Lund"), ("262", "Ängelholm"), ("352", "Växjö"), ("553", "Jönköping")),
    *(("582", "Linköping"), ("602", "Norrköping"), ("702", "Örebro"), ("722", "Västerås")),
    *(("761", "Norrtälje"), ("791", "Falun"), ("802", "Gävle"), ("831", "Östersund")),
    *(("891", "Örnsköldsvik"), ("931", "Skellefteå"), ("972", "Luleå"), ("662", "Åmål")),
)
COMPANIES = (
    *("Bostadsrättsföreningen Göken", "Förskolan Blåklockan", "Café Rönnbär", "Hästgården"),
    *("Koloniföreningen Sol & Regn", "Anläggning Öst AB", "Åkerbo Häckar", "Kyrkogårdslaget"),
    *("Blomsterverkstan", "Vandrarhemmet Måsen", "Prästgårdens Café", "Lindénska stiftelsen"),
    *("Samfälligheten Älgstigen", "Odlarlaget Frö & Jord", "Krukmakeriet Ler & Sånt"),
)
NOTES = (
    "Allergisk mot nötter; inga smakprov i paketet.",
    "Är medlem i koloniföreningen: 5 % på jord.",
    "Fick 100 kr i ersättning för trasig lerkruka.",
    "Vill inte ha katalogen.",
    "Portkod finns i ordern.",
    "Hämtar alltid själv i butiken på lördagar.",
    "Pratar helst engelska.",
    "Väntar på äppelträd, ring när de kommer.",
)
NOTES_HTML = (
    "<p>Kund i <em>gamla butiken</em>.</p>",
    "<p>Kontakt i första hand per <strong>e-post</strong>.</p>",
    "<ul><li>Levereras före kl. 10</li><li>Ställs på lastkajen</li></ul>",
)
DOMAINS = ("example.com", "example.org", "example.net")
#: the ways people type a number; {} takes its last two digits
SPELLINGS = (
    "070-174 06 {}",
    "+467017406{}",
    "07017406{}",
    "0046 70 174 06 {}",
    "070-17406{}",
    "070 - 174 06 {}",
    "+46 70 174 06 {}",
    "+46 (0)70-174 06 {}",
)
#: last digits for the customers made up here; 05 to 10 are given above, 98 and 99 are nobody's
TAILS = range(11, 98)

#: how likely a garden shop is to sell in January, February, ...
SEASON = (0.15, 0.3, 0.7, 1.0, 1.0, 0.7, 0.4, 0.5, 0.8, 0.7, 0.35, 0.4)
#: the status of an order younger than so many days
PROGRESS = ((2, "Mottagen"), (4, "Plockas"), (9, "Skickad"))
TIERS, TIER_WEIGHTS = ("Brons", "Silver", "Guld"), (65, 25, 10)
#: how many customers in a hundred ordered 0, 1, 2, ... times
ORDERS_WEIGHTS = (10, 26, 20, 14, 10, 7, 5, 3, 2, 2, 1)

_ASCII = str.maketrans("åäöé", "aaoe")


def _perhaps(dice: Random, percent: int) -> bool:
    return dice.randrange(100) < percent


def _email(dice: Random, first_name: str, last_name: str, taken: set[str]) -> str:
    """An address nobody else has, now and then in capitals, as people type them."""
    local = f"{first_name}.{last_name}".lower().translate(_ASCII)
    names = (local, *(f"{local}{number}" for number in range(2, CUSTOMERS)))
    domain = dice.choice(DOMAINS)
    email = next(f"{name}@{domain}" for name in names if f"{name}@{domain}" not in taken)
    taken.add(email)
    return email.title() if _perhaps(dice, 6) else email


def customers(dice: Random) -> Iterator[Customer]:
    """The well-known ones, then made-up ones in the order in which they opened their accounts."""
    yield from WELL_KNOWN
    taken = {customer.email.lower() for customer in WELL_KNOWN if customer.email}
    households = CUSTOMERS - len(WELL_KNOWN) - COUPLES
    with_phone = dice.sample(range(households), len(TAILS))
    tail_of = dict(zip(with_phone, TAILS, strict=True))
    couples = set(with_phone[:COUPLES])
    companies = iter(dice.sample(COMPANIES, len(COMPANIES)))
    start = datetime(OPENED.year, OPENED.month, OPENED.day, 5, tzinfo=UTC)
    moments = sorted(
        start
        + timedelta(days=dice.randrange((TODAY - OPENED).days), seconds=dice.randrange(60_000))
        for _ in range(households)
    )

    number = 1000 + len(WELL_KNOWN)
    for household, opened in enumerate(moments):
        last_name = dice.choice(LAST_NAMES)
        street = f"{dice.choice(STREETS)} {dice.randrange(1, 90)}"
        zone, city = dice.choice(TOWNS)
        postcode = f"{zone} {dice.randrange(20, 60)}"
        tail = tail_of.get(household)
        couple = household in couples
        for first_name in dice.sample(FIRST_NAMES, 2 if couple else 1):
            number += 1
            phone_only = tail and not couple and _perhaps(dice, 15)
            yield Customer(
                customer_number=f"K{number}",
                first_name=first_name,
                last_name=last_name,
                company=next(companies, None) if _perhaps(dice, 5) else None,
                email=None if phone_only else _email(dice, first_name, last_name, taken),
                mobile=dice.choice(SPELLINGS).format(tail) if tail else None,
                street=street,
                postcode=postcode,
                city=city,
                tier=dice.choices(TIERS, TIER_WEIGHTS)[0],
                created_at=opened.isoformat(),
                note=dice.choice(NOTES) if _perhaps(dice, 12) else None,
                note_html=dice.choice(NOTES_HTML) if _perhaps(dice, 3) else None,
            )


def _order_day(dice: Random, since: date) -> date:
    """A day from `since` to today, more likely in season."""
    # a shop always has something to pack, so that a few orders are new
    first = max(since, TODAY - timedelta(days=9)) if _perhaps(dice, 3) else since
    while True:
        day = first + timedelta(days=dice.randrange((TODAY - first).days + 1))
        if dice.random() < SEASON[day.month - 1]:
            return day


def _status(dice: Random, placed_on: date) -> str:
    age = (TODAY - placed_on).days
    for days, status in PROGRESS:
        if age < days:
            return status
    return dice.choices(("Levererad", "Returnerad", "Makulerad"), (93, 4, 3))[0]


def orders(dice: Random, people: list[Customer]) -> Iterator[Order]:
    """Everything that was ever ordered, the well-known orders first."""
    yield from WELL_KNOWN_ORDERS
    goods = [sku for sku in PRODUCTS if sku != "FRAKT"]
    counts = range(len(ORDERS_WEIGHTS))
    for customer in people:
        count = ORDER_COUNTS.get(customer.customer_number)
        if count is None:
            count = dice.choices(counts, ORDERS_WEIGHTS)[0]
        since = datetime.fromisoformat(customer.created_at).date()
        for _ in range(count):
            placed_on = _order_day(dice, since)
            picked = dice.sample(goods, dice.choices((1, 2, 3, 4, 5), (30, 30, 20, 12, 8))[0])
            lines = _sold(
                *((sku, dice.choices((1, 2, 3, 6), (60, 25, 10, 5))[0]) for sku in picked)
            )
            yield Order(customer.customer_number, placed_on, _status(dice, placed_on), lines)


def _tracking_url(order: Order, order_number: str) -> str | None:
    """Where the parcel is; the carrier forgets old parcels."""
    shipped = order.status in {"Skickad", "Levererad", "Returnerad"}
    if shipped and (TODAY - order.placed_on).days <= TRACKED_DAYS:
        return f"https://tracking.example.com/parcels/{order_number}"
    return None


def _fill(db: sqlite3.Connection) -> None:
    dice = Random(SEED)
    people = list(customers(dice))
    db.executemany(INSERT_CUSTOMER, [asdict(customer) for customer in people])
    db.executemany(INSERT_PRODUCT, [(sku, *product) for sku, product in PRODUCTS.items()])

    of_the_day: Counter[date] = Counter()
    for order in orders(dice, people):
        of_the_day[order.placed_on] += 1
        order_number = f"{order.placed_on:%y%m%d}-{of_the_day[order.placed_on]}"
        row = db.execute(
            INSERT_ORDER,
            (
                order_number,
                order.placed_on.isoformat(),
                order.status,
                order.total_ore,
                _tracking_url(order, order_number),
                order.customer_number,
            ),
        )
        db.executemany(
            INSERT_LINE,
            [
                (row.lastrowid, number, line.quantity, line.price_ore, line.sku)
                for number, line in enumerate(order.lines, start=1)
            ],
        )


def build(target: Path) -> None:
    """Write the shop's database to `target`.

    Whoever reads it meanwhile sees all of the old one or all of the new one.

    Raises:
        OSError: the folder of `target` does not exist or may not be written to.
    """
    # beside the target: a file can be moved into place in one step only within a file system
    with TemporaryDirectory(prefix=".shop-", dir=target.parent) as folder:
        draft = Path(folder) / "draft.db"
        with closing(sqlite3.connect(draft)) as db, db:
            db.execute("PRAGMA foreign_keys = ON")
            db.executescript(SCHEMA)
            _fill(db)
        draft.replace(target)


def main() -> None:
    """Build where the command line says, else beside this file."""
    parser = argparse.ArgumentParser(description="Build the demo shop's database.")
    default = Path(__file__).with_name("shop.db")
    parser.add_argument("target", nargs="?", type=Path, default=default, metavar="TARGET")
    target: Path = parser.parse_args().target
    build(target)
    sys.stdout.write(f"Built {target}\n")


if __name__ == "__main__":
    main()
