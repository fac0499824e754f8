"""The same few customers in every place that a built-in source reads."""

from __future__ import annotations

import csv
import json
import threading
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from imbox_plugin.app import create_app
from tests.conftest import absent
from tests.sources.test_sql import server_url
from tests.toml_text import toml_text

KEY = "a-key-for-this-test-only"
ENVIRON = {"IMBOX_API_KEY": KEY}

CUSTOMERS = [
    {"id": "K1", "name": "Åsa Öberg", "email": "Asa@example.com", "phone": "070-174 06 05"},
    {"id": "K2", "name": "Bo Ek", "email": "", "phone": "+46 70 174 06 06"},
    {"id": "K3", "name": "Bo Ek junior", "email": "bo@example.com", "phone": "0701740606"},
    {"id": "K4", "name": "<b>Kaffe & Co</b>", "email": "kaffe@example.com", "phone": ""},
]
ORDERS = [
    {"customer": "K1", "number": "1001", "placed": "2026-11-01", "total": "99.50"},
    {"customer": "K1", "number": "1002", "placed": "2026-11-02", "total": "1250"},
    {"customer": "K4", "number": "1003", "placed": "2026-11-03", "total": "0.05"},
]

COMMON = """
locale = "sv"
default_region = "SE"

{source}

[panels.default]
keys = [{{ id = "test", secret = {{ env = "IMBOX_API_KEY" }} }}]
[[panels.default.blocks]]
name = "Kund"
icon = "contact_page"
source = "shop"
[[panels.default.blocks.data]]
type = "list"
rows = [
    {{ label = "Kundnummer", text = "{{{{ contact.external_id }}}}" }},
    {{ label = "E-post", text = "{{{{ contact.email }}}}", when = "contact.email" }},
    {{ label = "Telefon", text = "{{{{ contact.phone | phone }}}}", when = "contact.phone" }},
    {{ label = "Hittad via", text = "{{{{ match.key }}}} i {{{{ match.source }}}}" }},
]
[[panels.default.blocks.data]]
type = "table"
each = "contact.orders"
columns = [
    {{ header = "Order", text = "{{{{ item.number }}}}" }},
    {{ header = "Datum", text = "{{{{ item.placed | date }}}}" }},
    {{ header = "Summa", text = "{{{{ item.total | currency('SEK') }}}}" }},
]
[[panels.default.blocks.data]]
type = "accordion"
each = "contact.orders"
title = "Order {{{{ item.number }}}}"
data = [{{ type = "html", html = "<p>{{{{ contact.name }}}}</p>" }}]
[[panels.default.links]]
type = "whatsapp"
text = "WhatsApp"
"""

SQL = """
[[sources]]
name = "shop"
type = "sql"
url = "{url}"
[sources.find]
external_id = \"\"\"
    SELECT id AS external_id, name, email, phone FROM {customers} WHERE id = :external_id
\"\"\"
email = "SELECT id AS external_id, name, email, phone FROM {customers} WHERE lower(email) = :email"
phone = \"\"\"
    SELECT id AS external_id, name, email, phone FROM {customers}
    WHERE replace(replace(phone, ' ', ''), '-', '') LIKE {like_tail}
\"\"\"
[sources.related]
orders = \"\"\"
    SELECT number, placed, total FROM {orders} WHERE customer = :external_id ORDER BY number
\"\"\"
"""

CSV = """
[[sources]]
name = "shop"
type = "csv"
file = "customers.csv"
[sources.columns]
external_id = "id"
[sources.related.orders]
file = "orders.csv"
key = "customer"
"""

JSON = """
[[sources]]
name = "shop"
type = "json"
file = "customers.json"
[sources.paths]
external_id = "id"
[sources.related.orders]
file = "orders.json"
key = "customer"
"""

REST = """
[[sources]]
name = "shop"
type = "rest"
[sources.client]
base_url = "{url}"
auth = {{ type = "bearer", token = {{ env = "IMBOX_API_KEY" }} }}
[sources.endpoints.external_id]
path = "/customers/{{external_id}}"
[sources.endpoints.email]
path = "/customers"
params = {{ email = "{{email}}" }}
data_selector = "found"
[sources.endpoints.phone]
path = "/customers"
params = {{ phone_ends = "{{phone_tail}}" }}
data_selector = "found"
[sources.contact]
external_id = "id"
name = "name"
emails = "email"
phones = "phone"
[sources.related.orders]
path = "/customers/{{external_id}}/orders"
data_selector = "orders"
"""


class Api(BaseHTTPRequestHandler):
    """The customers as a REST API has them: null for what is not known."""

    def do_GET(self):
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = [unquote(segment) for segment in parts.path.split("/")[2:]]
        self.answer(self.found(path, query))

    def found(self, path, query):
        people = [{name: value or None for name, value in one.items()} for one in CUSTOMERS]
        if not path:
            email, tail = query.get("email"), query.get("phone_ends")
            return {
                "found": [
                    one
                    for one in people
                    if (email and (one["email"] or "").lower() == email)
                    or (tail and digits(one["phone"]).endswith(tail))
                ]
            }
        one = next((one for one in people if one["id"] == path[0]), None)
        if one and path[1:] == ["orders"]:
            return {"orders": [order for order in ORDERS if order["customer"] == one["id"]]}
        return one

    def answer(self, document):
        let_in = self.headers["Authorization"] == f"Bearer {KEY}"
        body = json.dumps(document if let_in else {}).encode()
        self.send_response(401 if not let_in else 404 if document is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


def digits(phone):
    return "".join(filter(str.isdigit, phone or ""))


def in_database(name, folder):
    """Settings of a database that has the customers, and what to do when it is no longer needed."""
    url = f"sqlite:///{folder / 'shop.db'}" if name == "sqlite" else server_url(name)
    prefix = f"same_{uuid.uuid4().hex[:8]}"
    tables = {"customers": f"{prefix}_customers", "orders": f"{prefix}_orders"}
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        connection = engine.connect()
    except SQLAlchemyError as error:
        absent(name, error)
    with connection:
        connection.execute(
            text(
                f"CREATE TABLE {tables['customers']} "
                "(id VARCHAR(9), name VARCHAR(40), email VARCHAR(40), phone VARCHAR(40))"
            )
        )
        connection.execute(
            text(
                f"CREATE TABLE {tables['orders']} (customer VARCHAR(9), number INTEGER, "
                f"placed {'VARCHAR(10)' if name == 'sqlite' else 'DATE'}, total NUMERIC(10, 2))"
            )
        )
        blank_is_null = [{k: v or None for k, v in customer.items()} for customer in CUSTOMERS]
        connection.execute(
            text(f"INSERT INTO {tables['customers']} VALUES (:id, :name, :email, :phone)"),
            blank_is_null,
        )
        connection.execute(
            text(f"INSERT INTO {tables['orders']} VALUES (:customer, :number, :placed, :total)"),
            ORDERS,
        )

    def drop():
        with engine.connect() as connection:
            for table in tables.values():
                connection.execute(text(f"DROP TABLE {table}"))

    tail = "concat('%', :phone_tail)" if name == "mariadb" else "'%' || :phone_tail"
    return SQL.format(url=url, like_tail=tail, **tables), drop


def in_csv(folder):
    for name, rows in (("customers", CUSTOMERS), ("orders", ORDERS)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter=";")
            writer.writeheader()
            writer.writerows(rows)
    return CSV, lambda: None


def in_json(folder):
    for name, rows in (("customers", CUSTOMERS), ("orders", ORDERS)):
        (folder / f"{name}.json").write_text(json.dumps(rows), "utf-8")
    return JSON, lambda: None


def in_rest():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop():
        server.shutdown()
        server.server_close()

    return REST.format(url=f"http://127.0.0.1:{server.server_port}"), stop


def in_settings():
    """The customers written into the settings, their orders with them."""
    people = [
        {
            "external_id": one["id"],
            "name": one["name"],
            **{name: one[name] for name in ("email", "phone") if one[name]},
            "details": {"orders": [order for order in ORDERS if order["customer"] == one["id"]]},
        }
        for one in CUSTOMERS
    ]
    source = {"name": "shop", "type": "inline", "people": people}
    return toml_text({"sources": [source]}), lambda: None


#: every built-in source, the SQL source on every database
PLACES = ["sqlite", "postgresql", "mariadb", "csv", "json", "rest", "inline"]


@contextmanager
def serving(place, folder):
    """A client of an application whose customers are in one place."""
    if place == "csv":
        source, done = in_csv(folder)
    elif place == "json":
        source, done = in_json(folder)
    elif place == "rest":
        source, done = in_rest()
    elif place == "inline":
        source, done = in_settings()
    else:
        source, done = in_database(place, folder)
    settings = folder / "imbox.toml"
    settings.write_text(COMMON.format(source=source), "utf-8")
    app = create_app(settings, ENVIRON)
    try:
        yield app.test_client()
    finally:
        for panel in app.extensions["imbox_plugin"].panels.values():
            panel.directory.close()
        done()
