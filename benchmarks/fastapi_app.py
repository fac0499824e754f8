"""The same card by FastAPI, pydantic and nh3, as a team would write it for one shop.

The run compares its reply with ours. It has no deadline, no breaker, no second look at what the
database found, no limits, and its layout is code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import sqlite3
import threading
from datetime import date
from typing import Annotated, Any, Literal

import nh3
import phonenumbers
from babel.dates import format_date
from babel.numbers import format_currency
from fastapi import FastAPI, Header, HTTPException, Query
from pydantic import BaseModel, EmailStr, Field

_DIGEST = hashlib.sha256(os.environ["IMBOX_BENCH_KEY"].encode()).digest()
_SHOP = threading.local()
_CLEANER = nh3.Cleaner(
    tags={"p", "b", "i", "a", "ul", "li"}, attributes={"a": {"href"}}, url_schemes={"https"}
)


class Question(BaseModel):
    """The parameters of ImBox."""

    view: Literal["chat", "ticket", "call", "contact"]
    email: EmailStr | None = None
    phone: str | None = Field(None, alias="phoneNumber", max_length=512)
    external_id: str | None = Field(None, alias="externalId", max_length=512)
    ticket_id: str | None = Field(None, alias="ticketId", max_length=512)
    channel_id: str | None = Field(None, alias="channelId", max_length=512)
    call_id: str | None = Field(None, alias="callId", max_length=512)


class Row(BaseModel):
    """A line of a list."""

    label: str
    text: str


class Cell(BaseModel):
    """A cell of a table."""

    text: str


class Rows(BaseModel):
    """A list."""

    type: Literal["list"] = "list"
    rows: list[Row]


class Table(BaseModel):
    """A table."""

    type: Literal["table"] = "table"
    headers: list[Cell]
    rows: list[list[Cell]]


class Html(BaseModel):
    """Markup."""

    type: Literal["html"] = "html"
    html: str


class Accordion(BaseModel):
    """A section."""

    type: Literal["accordion"] = "accordion"
    name: str
    data: list[Rows | Table | Html]


class Block(BaseModel):
    """A block."""

    name: str
    icon: str
    data: list[Rows | Table | Html | Accordion]


class Link(BaseModel):
    """The contact's link."""

    text: str
    url: str


class Card(BaseModel):
    """The reply."""

    contactName: str | None = None  # noqa: N815 - as ImBox has it
    contactLink: Link | None = None  # noqa: N815
    blocks: list[Block]


app = FastAPI(openapi_url=None)


@app.get("/imbox")
def answer(
    question: Annotated[Question, Query()], authorization: Annotated[str, Header()] = ""
) -> Card:
    """Look a person up, by the strongest identity that was sent."""
    _, _, credentials = authorization.partition(" ")
    password = base64.b64decode(credentials).partition(b":")[2]
    if not hmac.compare_digest(hashlib.sha256(password).digest(), _DIGEST):
        raise HTTPException(401)
    shop = _shop()
    for column, value in (
        ("external_id", question.external_id),
        ("email", question.email and question.email.lower()),
        ("phone", question.phone and _e164(question.phone)),
    ):
        sql = f"SELECT * FROM people WHERE {column} = ?"  # noqa: S608 - a name from above
        if value and (person := shop.execute(sql, (value,)).fetchone()):
            return _card(person, _orders(shop, person["external_id"]))
    return Card(blocks=[])


def _shop() -> sqlite3.Connection:
    if not hasattr(_SHOP, "connection"):
        _SHOP.connection = sqlite3.connect(os.environ["IMBOX_BENCH_SHOP"])
        _SHOP.connection.row_factory = sqlite3.Row
    connection: sqlite3.Connection = _SHOP.connection
    return connection


def _orders(shop: sqlite3.Connection, external_id: str) -> list[Any]:
    return shop.execute(
        "SELECT number, placed_on, status, total FROM orders WHERE external_id = ?"
        " ORDER BY placed_on DESC, number LIMIT 10",
        (external_id,),
    ).fetchall()


def _e164(text: str) -> str | None:
    number = phonenumbers.parse(text, "SE")
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _card(person: Any, orders: list[Any]) -> Card:
    rows = {
        "Kundnummer": person["external_id"],
        "Namn": person["name"],
        "E-post": person["email"],
        "Telefon": phonenumbers.format_number(
            phonenumbers.parse(person["phone"]), phonenumbers.PhoneNumberFormat.INTERNATIONAL
        ),
        "Ort": person["city"],
        "Nivå": person["tier"],
        "Kund sedan": _day(person["since"]),
        "Saldo": _money(person["balance"]),
    }
    table = Table(
        headers=[Cell(text=text) for text in ("Order", "Datum", "Status", "Summa")],
        rows=[
            [
                Cell(text=order["number"]),
                Cell(text=_day(order["placed_on"])),
                Cell(text=order["status"]),
                Cell(text=_money(order["total"])),
            ]
            for order in orders
        ],
    )
    latest: list[Rows | Table | Html | Accordion] = [
        Accordion(name=f"Order {order['number']}", data=[_status(order)]) for order in orders[:2]
    ]
    note = Html(html=_CLEANER.clean(person["note"]))
    own = Rows(rows=[Row(label=label, text=text) for label, text in rows.items()])
    return Card(
        contactName=person["name"],
        contactLink=Link(
            text="Öppna i CRM",
            url=f"https://crm.example.com/customers/{person['external_id']}",
        ),
        blocks=[
            Block(name="Kund", icon="contact_page", data=[own]),
            Block(name="Ordrar", icon="shopping_cart", data=[table]),
            Block(name="Anteckning", icon="note", data=[note]),
            Block(name="Senaste", icon="history", data=latest),
        ],
    )


def _status(order: Any) -> Rows:
    return Rows(
        rows=[
            Row(label="Status", text=order["status"]),
            Row(label="Summa", text=_money(order["total"])),
        ]
    )


def _day(iso: str) -> str:
    return format_date(date.fromisoformat(iso), locale="sv")


def _money(amount: float) -> str:
    return format_currency(amount, "SEK", locale="sv")
