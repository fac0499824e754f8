"""The SQL source on real databases: SQLite always, PostgreSQL and MariaDB where they run."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import sys
import threading
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import pymysql
import pytest
from marshmallow import ValidationError
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from imbox_plugin.identity import carries
from imbox_plugin.model import Key, Lookup, View
from imbox_plugin.sources import SourceContext, SourceError
from imbox_plugin.sources.sql import SqlSource, _code
from imbox_plugin.store import import_contacts
from tests.conftest import absent

#: stands for whatever must not be repeated; the code of a test shows in a traceback
CANARY = "canary4711"
SERVERS = {
    "postgresql": ("IMBOX_TEST_POSTGRESQL", "postgresql+psycopg://root@127.0.0.1:5432/test"),
    "mariadb": ("IMBOX_TEST_MARIADB", "mariadb+pymysql://root@127.0.0.1:3306/test"),
}
ON_SERVERS = pytest.mark.parametrize("database", SERVERS, indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
ON_MARIADB = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
CUSTOMERS = [
    # id, imbox, name, email, phone, tier, signed_on, balance, details
    (1, "c-1", "Anna", "Anna@example.se", "070-174 06 05", "gold", "2026-01-02", "12.50", None),
    (2, None, "Björn", "bjorn@example.se", "+46 70 174 06 06", "tin", None, None, None),
    (3, None, "Cilla", "cilla@example.se", "0701740606", "tin", None, None, "plain text"),
    (4, None, "David", None, None, None, None, None, '{"plan": "pro", "seats": [1, 0.1]}'),
]
FIND = {
    "external_id": "SELECT id AS external_id, name FROM {customers} WHERE id = :external_id",
    "contact_id": (
        "SELECT id AS external_id, imbox AS contact_id, name FROM {customers}"
        " WHERE imbox = :contact_id"
    ),
    "email": (
        "SELECT id AS external_id, name, email, phone, tier, signed_on, balance FROM {customers}"
        " WHERE lower(email) = :email"
    ),
    "phone": (
        "SELECT id AS external_id, name, email, phone FROM {customers}"
        " WHERE replace(replace(phone, ' ', ''), '-', '') LIKE {like_tail}"
    ),
}
ORDERS = "SELECT id, total FROM {orders} WHERE customer_id = :external_id ORDER BY id DESC LIMIT 3"


@dataclass(frozen=True)
class Database:
    name: str
    url: str
    admin: Engine
    words: dict

    def sql(self, statement):
        for name, word in self.words.items():
            statement = statement.replace(f"{{{name}}}", word)
        return statement

    def run(self, statement, rows=None):
        with self.admin.connect() as connection:
            result = connection.execute(text(self.sql(statement)), rows)
            return result.fetchall() if result.returns_rows else []

    def options(self, find, related=None, **options):
        return SqlSource.Options().load(
            {
                "url": self.url,
                "find": {key: self.sql(sql) for key, sql in find.items()},
                "related": {name: self.sql(sql) for name, sql in (related or {}).items()},
                **options,
            }
        )


def server_url(name):
    variable, default = SERVERS[name]
    return os.environ.get(variable, default)


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def database(request, tmp_path_factory):
    name = request.param
    if name == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'people.db'}"
    else:
        url = server_url(name)
    admin = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    mark = f"imbox_{uuid.uuid4().hex[:10]}"
    words = {
        "customers": f"{mark}_customers",
        "orders": f"{mark}_orders",
        "burn": f"{mark}_burn",
        "like_tail": ("CONCAT('%', :phone_tail)" if name == "mariadb" else "'%' || :phone_tail"),
    }
    here = Database(name, url, admin, words)
    try:
        admin.connect().close()
    except SQLAlchemyError as error:
        absent(name, error)
    try:
        fill(here)
        yield here
    finally:
        if name == "postgresql":
            here.run("DROP FUNCTION IF EXISTS {burn}(text)")
        here.run("DROP TABLE IF EXISTS {customers}")
        here.run("DROP TABLE IF EXISTS {orders}")


def fill(here):
    here.run(
        "CREATE TABLE {customers} (id INTEGER PRIMARY KEY, imbox VARCHAR(80), name VARCHAR(80),"
        " email VARCHAR(80), phone VARCHAR(80), tier VARCHAR(80), signed_on DATE,"
        " balance DECIMAL(10, 2), details TEXT)"
    )
    here.run(
        "CREATE TABLE {orders} (id INTEGER PRIMARY KEY, customer_id INTEGER, total DECIMAL(10, 2))"
    )
    columns = ("id", "imbox", "name", "email", "phone", "tier", "signed_on", "balance", "details")
    values = ", ".join(f":{column}" for column in columns)
    here.run(
        f"INSERT INTO {{customers}} VALUES ({values})",
        [dict(zip(columns, customer, strict=True)) for customer in CUSTOMERS],
    )
    here.run(
        "INSERT INTO {orders} VALUES (:id, :customer_id, 99.90)",
        [{"id": number, "customer_id": 1 + number % 2} for number in range(100)],
    )


@pytest.fixture
def build():
    """Make a source out of loaded options, and close it after the test."""
    sources = []

    def build(options, **context):
        context = SourceContext(**{"default_region": "SE", "time_limit": 5.0, **context})
        sources.append(SqlSource(options, context))
        return sources[-1]

    yield build
    for source in sources:
        source.close()


def asked(key, value):
    return Lookup(View.CHAT, {key: value})


def by_email(value="anna@example.se"):
    return asked(Key.EMAIL, value)


def carried(source, lookup):
    return [one for one in source.find(lookup) if carries(one, lookup, "SE")]


def everything_said(error):
    return f"{error} {error!r} {''.join(traceback.format_exception(error))}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (Key.EXTERNAL_ID, "1"),
        (Key.CONTACT_ID, "c-1"),
        (Key.EMAIL, "anna@example.se"),
        (Key.PHONE, "+46701740605"),
    ],
)
def test_a_person_is_found_by_every_key(database, build, key, value):
    source = build(database.options(FIND))

    assert source.keys == frozenset(Key)
    assert [person.name for person in carried(source, asked(key, value))] == ["Anna"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (Key.EXTERNAL_ID, "77"),
        (Key.EXTERNAL_ID, "not a number"),
        (Key.EXTERNAL_ID, "9" * 40),
        (Key.CONTACT_ID, "nobody"),
        (Key.EMAIL, "nobody@example.se"),
        (Key.PHONE, "+46701740699"),
    ],
)
def test_nobody_is_found_by_an_unknown_identity(database, build, key, value):
    source = build(database.options(FIND))

    assert list(source.find(asked(key, value))) == []


def test_a_key_without_a_statement_finds_nobody(database, build):
    source = build(database.options({"email": FIND["email"]}))

    assert source.keys == {Key.EMAIL}
    assert list(source.find(asked(Key.PHONE, "+46701740605"))) == []


def test_columns_become_the_contact(database, build):
    (anna,) = build(database.options(FIND)).find(by_email())

    assert (anna.external_id, anna.emails, anna.phones) == (
        "1",
        ("Anna@example.se",),
        ("070-174 06 05",),
    )
    assert anna.details["tier"] == "gold"
    assert str(anna.details["signed_on"]) == "2026-01-02"
    assert Decimal(str(anna.details["balance"])) == Decimal("12.50")


@ON_SERVERS
def test_dates_and_decimals_stay_what_they_are(database, build):
    (anna,) = build(database.options(FIND)).find(by_email())

    assert anna.details["signed_on"] == date(2026, 1, 2)
    assert type(anna.details["balance"]) is Decimal


def test_a_null_is_absent(database, build):
    find = {"external_id": "SELECT id AS external_id, c.* FROM {customers} c WHERE id = 2"}
    options = {**database.options(FIND), "find": {k: database.sql(v) for k, v in find.items()}}
    (bjorn,) = build(options).find(asked(Key.EXTERNAL_ID, "2"))

    assert bjorn.contact_id is None
    assert "balance" not in bjorn.details


def test_people_who_share_a_phone_are_all_returned_without_related_rows(database, build):
    source = build(database.options(FIND, {"orders": ORDERS}))
    people = source.find(asked(Key.PHONE, "+46701740606"))

    assert sorted(person.name for person in people) == ["Björn", "Cilla"]
    assert all("orders" not in person.details for person in people)


def test_related_rows_come_with_the_one_person_found(database, build):
    source = build(database.options(FIND, {"orders": ORDERS}))
    (anna,) = source.find(by_email())

    assert [order["id"] for order in anna.details["orders"]] == [98, 96, 94]
    assert {str(order["total"]) for order in anna.details["orders"]} <= {"99.9", "99.90"}


def test_the_rows_of_one_person_become_one(database, build):
    twice = "SELECT {customers}.id AS external_id, email, {orders}.id AS number FROM {customers}"
    twice += " JOIN {orders} ON customer_id = {customers}.id WHERE lower(email) = :email"
    source = build(database.options({"email": twice}, {"orders": ORDERS}))
    people = source.find(by_email())

    assert [len(person.details["orders"]) for person in people] == [3]


def test_equal_rows_without_an_id_are_one_person(database, build):
    twice = "SELECT :email AS email, 'Anna' AS name FROM {orders} WHERE customer_id = 1"
    source = build(database.options({"email": twice}, {"orders": "SELECT id FROM {orders}"}))
    people = source.find(by_email())

    assert [len(person.details["orders"]) for person in people] == [100]


def test_a_coarse_statement_returns_strangers_behind_the_person_verified(database, build):
    coarse = "SELECT id AS external_id, name, email FROM {customers} WHERE email LIKE {like}"
    like = "CONCAT('%', :email_domain)" if database.name == "mariadb" else "'%' || :email_domain"
    source = build(database.options({"email": coarse.replace("{like}", like)}, {"orders": ORDERS}))
    people = source.find(by_email("cilla@example.se"))

    assert sorted(person.name for person in people) == ["Anna", "Björn", "Cilla"]
    assert [person.name for person in people if "orders" in person.details] == ["Cilla"]
    assert people[0].name == "Cilla"


def test_a_related_statement_may_bind_columns_and_identities_of_the_person(database, build):
    related = {
        "by_column": "SELECT name FROM {customers} WHERE tier = :tier",
        "by_own_email": "SELECT name FROM {customers} WHERE email = :email",
        "by_tail": "SELECT name FROM {customers} WHERE :phone_tail = '1740605' AND id = 1",
        "by_local": "SELECT name FROM {customers} WHERE :email_local = 'anna' AND id = 1",
        "for_all": "SELECT name FROM {customers} WHERE id = 2",
    }
    (anna,) = build(database.options(FIND, related)).find(by_email())

    assert {name: anna.details[name] for name in related} == {
        "by_column": [{"name": "Anna"}],
        "by_own_email": [{"name": "Anna"}],
        "by_tail": [{"name": "Anna"}],
        "by_local": [{"name": "Anna"}],
        "for_all": [{"name": "Björn"}],
    }


def test_a_related_statement_that_binds_a_null_gives_an_empty_list(database, build):
    related = {
        "same_tier": "SELECT name FROM {customers} WHERE coalesce(:tier, 'tin') = tier",
        "same_mail": "SELECT name FROM {customers} WHERE coalesce(:email, '') = ''",
    }
    find = {
        "external_id": "SELECT id AS external_id, tier FROM {customers} WHERE id = :external_id"
    }
    (david,) = build(database.options(find, related)).find(asked(Key.EXTERNAL_ID, "4"))

    assert david.details == {"same_tier": [], "same_mail": []}


def test_related_rows_keep_a_null_so_that_all_have_the_same_columns(database, build):
    related = {"all": "SELECT id, balance FROM {customers} WHERE id = 2"}
    (anna,) = build(database.options(FIND, related)).find(by_email())

    assert anna.details["all"] == [{"id": 2, "balance": None}]


def test_a_related_value_that_nobody_brings_is_told(database, build):
    source = build(database.options(FIND, {"orders": ORDERS.replace(":external_id", ":custmer")}))
    with pytest.raises(SourceError, match=r"related\.orders binds :custmer, .*select it") as told:
        source.find(by_email())

    assert told.value.permanent


def test_a_related_name_that_hides_a_column_is_told(database, build):
    source = build(database.options(FIND, {"tier": ORDERS}))

    with pytest.raises(SourceError, match=r"related\.tier hides the column tier"):
        source.find(by_email())


def test_ids_are_written_without_decimals(database, build):
    find = {"email": "SELECT {number} AS external_id, :email AS email"}
    number = {"sqlite": "12.0", "postgresql": "12.00::numeric", "mariadb": "12.00"}[database.name]
    find["email"] = find["email"].replace("{number}", number)
    (person,) = build(database.options(find)).find(by_email())

    assert person.external_id == "12"


def test_a_json_object_in_details_is_spread(database, build):
    find = {"external_id": "SELECT id AS external_id, tier, details FROM {customers} WHERE id ="}
    find["external_id"] += " :external_id"
    (david,) = build(database.options(find)).find(asked(Key.EXTERNAL_ID, "4"))

    assert david.details == {"plan": "pro", "seats": [1, Decimal("0.1")]}


def test_other_text_in_details_is_a_detail(database, build):
    find = {"external_id": "SELECT id AS external_id, details FROM {customers} WHERE id ="}
    find["external_id"] += " :external_id"
    (cilla,) = build(database.options(find)).find(asked(Key.EXTERNAL_ID, "3"))

    assert cilla.details == {"details": "plain text"}


@pytest.mark.parametrize(
    "emails", ['["a@example.se", null, "b@example.se"]', "a@example.se; b@example.se,\n"]
)
def test_several_addresses_come_from_one_column(database, build, emails):
    find = {"email": f"SELECT :email AS email, '{emails}' AS emails, '' AS phones"}
    (person,) = build(database.options(find)).find(by_email())

    assert person.emails == ("anna@example.se", "a@example.se", "b@example.se")
    assert person.phones == ()


def test_bytes_that_are_no_text_are_left_out(database, build):
    picture, words = {
        "sqlite": ("x'89504eff'", "x'68656a'"),
        "postgresql": ("decode('89504eff', 'hex')", "decode('68656a', 'hex')"),
        "mariadb": ("CAST(x'89504eff' AS BINARY)", "CAST(x'68656a' AS BINARY)"),
    }[database.name]
    find = {"email": f"SELECT :email AS email, {picture} AS picture, {words} AS words"}
    (person,) = build(database.options(find)).find(by_email())

    assert person.details == {"words": "hej"}


def test_an_absurd_number_is_not_written_out(build, tmp_path):
    file = people_file(tmp_path / "people.db", name="[1e4000000]")
    find = {"email": "SELECT email, name AS emails FROM people WHERE email = :email"}
    options = SqlSource.Options().load({"url": f"sqlite:///{file}", "find": find})
    (person,) = build(options).find(by_email())

    assert person.emails == ("anna@example.se", "1E+4000000")


def test_a_semicolon_may_end_a_statement(database, build):
    find = {"email": f"{FIND['email']} ;\n"}
    (anna,) = build(database.options(find, {"orders": f"{ORDERS};"})).find(by_email())

    assert len(anna.details["orders"]) == 3


def test_a_colon_that_is_no_placeholder_and_a_percent_sign_stay(database, build):
    find = {"email": r"SELECT :email AS email, '\:x 12:30 100%' AS note WHERE 'ab' LIKE 'a%'"}
    (person,) = build(database.options(find)).find(by_email())

    assert person.details == {"note": ":x 12:30 100%"}


def test_a_value_may_be_bound_twice_and_in_any_order(database, build):
    find = {
        "email": "SELECT :email_domain AS domain, :email AS email, :email_local AS local_part,"
        " '50%' AS share FROM {customers} WHERE lower(email) = :email AND :email <> ''"
    }
    (anna,) = build(database.options(find)).find(by_email())

    assert anna.emails == ("anna@example.se",)
    assert anna.details == {"domain": "example.se", "local_part": "anna", "share": "50%"}


def test_a_label_stays_as_the_statement_writes_it(database, build):
    quote = "`" if database.name == "mariadb" else '"'
    find = {"email": f"SELECT :email AS email, 'gold' AS {quote}Club.tier{quote}"}
    (person,) = build(database.options(find)).find(by_email())

    assert person.details == {"Club.tier": "gold"}


@pytest.mark.parametrize("key", list(Key))
@pytest.mark.parametrize(
    "value", ["' OR 1=1 --", "1 OR 1=1", '" OR ""="', "\\' OR 1=1 -- ", "%", "1; DROP TABLE x", "0"]
)
def test_sql_in_an_identity_finds_nobody(database, build, key, value):
    source = build(database.options(FIND))
    lookup = asked(key, {Key.PHONE: "+4600", Key.EMAIL: f"{value}@x.se"}.get(key, value))

    assert carried(source, lookup) == []
    assert len(database.run("SELECT id FROM {customers}")) == len(CUSTOMERS)


def test_no_hostile_identity_finds_anybody(database, build, corpus):
    source = build(database.options(FIND))
    hostile = [line["payload"] for line in corpus("identity_hostile_values")]
    keys = (Key.EXTERNAL_ID, Key.CONTACT_ID, Key.EMAIL)

    assert {
        (key, value): carried(source, asked(key, value))
        for value in hostile
        for key in keys
        if carried(source, asked(key, value))
    } == {}


@pytest.mark.parametrize("value", ["1\0", "\ud800", "anna\udcff"])
def test_what_no_database_can_hold_is_not_known(database, build, value):
    source = build(database.options(FIND))

    assert list(source.find(asked(Key.CONTACT_ID, value))) == []


def test_a_writing_statement_is_refused_by_the_database(database, build):
    options = database.options(FIND)
    writing = "DELETE FROM {customers} WHERE email = :email RETURNING name, email"
    if database.name == "postgresql":
        database.run(
            "CREATE FUNCTION {burn}(text) RETURNS text LANGUAGE sql"
            " AS 'DELETE FROM {customers} WHERE email = $1 RETURNING email'"
        )
        writing = "SELECT {burn}(:email) AS email"
    # What looks like reading may write: the check of the settings is not the wall.
    options["find"] = {"email": database.sql(writing)}
    source = build(options)
    with pytest.raises(SourceError, match=r"refused find\.email: it writes") as told:
        source.find(by_email("bjorn@example.se"))

    assert told.value.permanent
    assert len(database.run("SELECT id FROM {customers}")) == len(CUSTOMERS)


def test_a_slow_statement_is_ended_and_the_source_goes_on(database, build):
    slow = {
        "sqlite": (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
            " SELECT :email AS email, max(i) AS nap FROM n"
        ),
        "postgresql": "SELECT :email AS email, pg_sleep(600) AS nap",
        "mariadb": "SELECT :email AS email, SLEEP(600) AS nap",
    }
    find = {**FIND, "email": slow[database.name]}
    source = build(database.options(find, time_limit=0.2, pool_size=1))
    with pytest.raises(SourceError, match=r"did not answer within 0\.2 s") as told:
        source.find(by_email())

    assert not told.value.permanent
    assert [person.name for person in source.find(asked(Key.EXTERNAL_ID, "1"))] == ["Anna"]


def test_many_threads_ask_at_once(database, build):
    source = build(database.options(FIND, {"orders": ORDERS}))
    lookups = [by_email(f"{name}@example.se") for name in ("anna", "bjorn", "cilla")] * 32
    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(source.find, lookups))

    assert [[person.name for person in people] for people in answers] == [
        ["Anna"],
        ["Björn"],
        ["Cilla"],
    ] * 32


@ON_SERVERS
def test_a_lost_connection_is_replaced(database, build):
    me, kill = {
        "postgresql": ("pg_backend_pid()", "SELECT pg_terminate_backend({id})"),
        "mariadb": ("CONNECTION_ID()", "KILL {id}"),
    }[database.name]
    find = {"email": f"SELECT :email AS email, {me} AS backend"}
    source = build(database.options(find, pool_size=1))
    (before,) = source.find(by_email())
    database.run(kill.replace("{id}", str(before.details["backend"])))
    (after,) = source.find(by_email())

    assert after.details["backend"] != before.details["backend"]


def test_a_connection_that_is_not_free_in_time_is_told(database, build):
    source = build(database.options(FIND, time_limit=0.1, pool_size=1))

    with (
        source._engine.connect(),  # noqa: SLF001 - a slow statement would free it just in time
        pytest.raises(SourceError, match=r"all 1 connections .* are busy; raise pool_size"),
    ):
        source.find(by_email())


def test_a_statement_that_finds_thousands_is_too_coarse(database, build):
    find = {"email": "SELECT a.id AS external_id, :email AS email FROM {orders} a, {orders} b"}
    source = build(database.options(find))

    with pytest.raises(SourceError, match=r"find\.email gave more than 1000 rows"):
        source.find(by_email())


@ON_SERVERS
def test_no_more_rows_than_needed_leave_the_server(database, build):
    endless = {
        "postgresql": "SELECT generate_series(1, 2000000000) AS external_id, :email AS email",
        "mariadb": "SELECT seq AS external_id, :email AS email FROM seq_1_to_2000000000",
    }
    source = build(database.options({"email": endless[database.name]}))

    with pytest.raises(SourceError, match=r"find\.email gave more than 1000 rows"):
        source.find(by_email())


@ON_SERVERS
def test_statements_that_are_slow_together_are_ended(database, build):
    sleep = {"postgresql": "pg_sleep(0.15)", "mariadb": "SLEEP(0.15)"}[database.name]
    find = {"email": f"SELECT :email AS email, {sleep} AS nap"}
    related = {"one": f"SELECT {sleep}", "two": f"SELECT {sleep}", "three": f"SELECT {sleep}"}
    source = build(database.options(find, related, time_limit=0.25))

    with pytest.raises(SourceError, match=r"did not answer within 0\.25 s"):
        source.find(by_email())


def test_the_rows_allowed_are_not_too_many(database, build):
    find = {"email": "SELECT id AS external_id, :email AS email FROM {orders}"}

    assert len(build(database.options(find, max_rows=100)).find(by_email())) == 100
    with pytest.raises(SourceError, match="more than 99 rows"):
        build(database.options(find, max_rows=99)).find(by_email())


def test_related_rows_are_cut(database, build):
    related = {"all": "SELECT a.id FROM {orders} a, {orders} b"}
    (anna,) = build(database.options(FIND, related, max_rows=7)).find(by_email())

    assert len(anna.details["all"]) == 7


def test_two_columns_of_one_name_are_told(database, build):
    find = {"email": "SELECT a.id, b.id, :email AS email FROM {orders} a, {orders} b"}
    source = build(database.options(find))

    with pytest.raises(SourceError, match=r"find\.email gives two columns of one name"):
        source.find(by_email())


def test_what_the_driver_says_is_not_repeated(database, build):
    repeating = {
        "sqlite": "json_extract('{}', :external_id)",
        "postgresql": "CAST(CAST(:external_id AS text) AS regclass)",
        "mariadb": "extractvalue('<a/>', concat('%', :external_id))",
    }[database.name]
    source = build(database.options({"external_id": f"SELECT {repeating} AS external_id"}))
    with pytest.raises(SourceError, match=r"refused find\.external_id") as told:
        source.find(asked(Key.EXTERNAL_ID, CANARY))

    assert CANARY not in everything_said(told.value)


def test_a_number_of_the_operating_system_is_no_code_of_the_database():
    assert _code(OSError(1146, "the number of a missing table in MariaDB")) is None
    assert _code(pymysql.ProgrammingError(1146, "no such table")) == "1146"


def test_a_sound_source_passes_its_check(database, build):
    source = build(database.options(FIND, {"orders": ORDERS}))

    assert source.check() is None


@pytest.mark.parametrize(
    ("find", "related", "says"),
    [
        (
            "SELECT emial FROM {customers} WHERE email = :email",
            None,
            "find.email: .*no such column",
        ),
        ("SELECT * FROM nowhere_7 WHERE email = :email", None, "find.email: .*no such table"),
        ("SELECT email FORM {customers} WHERE email = :email", None, "find.email: .*syntax"),
        ("SELECT name FROM {customers} WHERE email = :email", None, "no column email or emails"),
        (None, "SELECT emial FROM {orders}", "related.more: .*no such column"),
        (None, "SELECT id FROM {orders} WHERE id = :no_such", "related.more binds :no_such"),
    ],
)
def test_the_check_tells_what_is_broken(database, build, find, related, says):
    options = database.options(
        {**FIND, "email": find or FIND["email"]}, {"more": related} if related else {}
    )
    with pytest.raises(SourceError, match=says) as told:
        build(options).check()

    assert told.value.permanent


# --- one database alone ---------------------------------------------------------------------------


@ON_MARIADB
@pytest.mark.parametrize(
    ("stored", "other"),
    [
        ("anna@exämple.se", "anna@example.se"),
        ("rené@example.com", "rene@example.com"),
        ("müller@example.com", "muller@example.com"),
        ("\u212aate@example.com", "kate@example.com"),
    ],
)
def test_an_address_that_a_collation_calls_equal_is_not_carried(database, build, stored, other):
    table = f"{database.words['customers']}_mail"
    try:
        database.run(
            f"CREATE TABLE {table} (email VARCHAR(80)) CHARACTER SET utf8mb4"
            " COLLATE utf8mb4_unicode_ci"
        )
        database.run(f"INSERT INTO {table} VALUES (:email)", {"email": stored})
        source = build(
            database.options({"email": f"SELECT email FROM {table} WHERE email = :email"})
        )
        lookup = by_email(other)
        found = source.find(lookup)
    finally:
        database.run(f"DROP TABLE IF EXISTS {table}")

    assert [person.emails for person in found] == [(stored,)]
    assert not any(carries(person, lookup, "SE") for person in found)


@ON_MARIADB
def test_a_number_column_does_not_carry_a_text_that_begins_with_the_number(database, build):
    source = build(database.options(FIND))
    lookup = asked(Key.EXTERNAL_ID, "1abc")

    assert [person.external_id for person in source.find(lookup)] == ["1"]
    assert carried(source, lookup) == []


@ON_MARIADB
@pytest.mark.parametrize("charset", ["latin1", "utf8mb3"])
def test_a_text_outside_the_columns_character_set_is_not_known(database, build, charset):
    table = f"{database.words['customers']}_{charset}"
    try:
        database.run(f"CREATE TABLE {table} (id VARCHAR(80)) CHARACTER SET {charset}")
        find = {"external_id": f"SELECT id AS external_id FROM {table} WHERE id = :external_id"}
        found = build(database.options(find)).find(asked(Key.EXTERNAL_ID, "\N{GRINNING FACE}"))
    finally:
        database.run(f"DROP TABLE IF EXISTS {table}")

    assert list(found) == []


@ON_POSTGRESQL
def test_arrays_and_json_of_postgresql_are_lists_and_tables(database, build):
    find = {
        "email": (
            "SELECT ARRAY[:email, 'b@example.se'] AS emails, ARRAY['070-174 06 05'] AS phones,"
            """ '{"plan" : {"seats" : 2}}'::jsonb AS details, ARRAY[1, 2] AS seats,"""
            " 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS external_id"
        )
    }
    (person,) = build(database.options(find)).find(by_email())

    assert person.emails == ("anna@example.se", "b@example.se")
    assert person.phones == ("070-174 06 05",)
    assert person.external_id == "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    assert person.details == {"plan": {"seats": 2}, "seats": [1, 2]}


@ON_POSTGRESQL
@pytest.mark.parametrize("column", ["DATE", "UUID", "NUMERIC", "SMALLINT"])
def test_a_value_that_the_column_cannot_have_is_not_known(database, build, column):
    find = {
        "external_id": (
            f"SELECT 1 AS external_id FROM {{orders}} WHERE CAST(NULL AS {column}) = :external_id"
        )
    }
    source = build(database.options(find))

    assert list(source.find(asked(Key.EXTERNAL_ID, "no such value"))) == []


@ON_POSTGRESQL
def test_a_related_statement_with_an_unfit_value_is_told(database, build):
    related = {"orders": "SELECT id FROM {orders} WHERE customer_id = :tier"}
    source = build(database.options(FIND, related))

    with pytest.raises(SourceError, match=r"related\.orders compares values .*cast the column"):
        source.find(by_email())


# --- servers that are not there, or not well ------------------------------------------------------


@pytest.mark.parametrize("name", SERVERS)
def test_a_refused_connection_is_told_without_the_url(build, name):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    url = f"{name}://{CANARY}:{CANARY}@127.0.0.1:{port}/{CANARY}"
    options = SqlSource.Options().load({"url": url, "find": {"email": "SELECT :email AS email"}})
    with pytest.raises(SourceError, match="cannot reach the database") as told:
        build(options).find(by_email(f"{CANARY}@example.se"))

    assert not told.value.permanent
    assert CANARY not in everything_said(told.value)
    assert str(port) not in everything_said(told.value)


@ON_SERVERS
def test_a_database_that_does_not_let_us_in_is_told_as_permanent(database, build):
    url = make_url(database.url).set(database=CANARY, password=CANARY)
    options = {**database.options(FIND), "url": url}
    with pytest.raises(SourceError, match=r"does not let us in; correct the user") as told:
        build(options).check()

    assert told.value.permanent
    assert CANARY not in everything_said(told.value)


class Relay:
    """Passes bytes on to a server; from some bytes on it swallows everything."""

    def __init__(self, host, port):
        self.silent = False
        self.silencing = b"\xff never \xff"
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._sockets += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source, target):
        try:
            while data := source.recv(65536):
                self.silent = self.silent or self.silencing in data
                if not self.silent:
                    target.sendall(data)
        except OSError:
            pass

    def close(self):
        for each in self._sockets:
            each.close()


@ON_SERVERS
@pytest.mark.parametrize("during", ["the wait", "the statement"])
def test_a_server_that_falls_silent_holds_nobody(database, build, during):
    url = make_url(database.url)
    with closing(Relay(url.host, url.port)) as relay:
        options = database.options(FIND, time_limit=0.2, pool_size=1)
        source = build({**options, "url": options["url"].set(host="127.0.0.1", port=relay.port)})
        before = source.find(by_email())
        if during == "the wait":
            relay.silent = True
        else:
            relay.silencing = b"lower(email)"
        with pytest.raises(SourceError, match=r"cannot reach|was lost, or nothing came within"):
            source.find(by_email())
        relay.silent, relay.silencing = False, b"\xff never \xff"
        after = source.find(by_email())

    assert [person.name for person in (*before, *after)] == ["Anna", "Anna"]


# --- SQLite files ---------------------------------------------------------------------------------


def people_file(path, name="Anna"):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE people (name TEXT, email TEXT)")
        db.execute("INSERT INTO people VALUES (?, 'anna@example.se')", (name,))
    return path


def people_options(url):
    find = {"email": "SELECT name, email FROM people WHERE email = :email"}
    return SqlSource.Options().load({"url": url, "find": find})


def test_a_missing_file_is_told_with_its_cure(build, tmp_path):
    source = build(people_options("sqlite:///missing.db"), folder=tmp_path)
    with pytest.raises(SourceError, match="run flask import") as told:
        source.find(by_email())

    assert told.value.permanent
    assert not (tmp_path / "missing.db").exists()


def test_a_file_made_after_the_start_is_found(build, tmp_path):
    source = build(people_options("sqlite:///late.db"), folder=tmp_path)
    with pytest.raises(SourceError):
        source.check()
    people_file(tmp_path / "late.db")

    assert [person.name for person in source.find(by_email())] == ["Anna"]


def test_a_file_that_is_no_database_is_told(build, tmp_path):
    (tmp_path / "people.db").write_text("name;email\n" * 1000)

    with pytest.raises(SourceError, match="no SQLite database"):
        build(people_options("sqlite:///people.db"), folder=tmp_path).check()


def test_any_character_may_be_in_the_path(build, tmp_path):
    folder = tmp_path / "a b?c#d%41é"
    folder.mkdir()
    people_file(folder / "e?f g.db")
    source = build(people_options("sqlite:///e%3Ff g.db"), folder=folder)

    assert [person.name for person in source.find(by_email())] == ["Anna"]


def test_a_relative_folder_is_that_of_the_process(build, tmp_path, monkeypatch):
    people_file(tmp_path / "people.db")
    monkeypatch.chdir(tmp_path)
    source = build(people_options("sqlite:///people.db"), folder=Path())

    assert [person.name for person in source.find(by_email())] == ["Anna"]


def test_a_file_that_was_moved_over_the_old_one_is_read(build, tmp_path):
    people_file(tmp_path / "people.db")
    source = build(people_options("sqlite:///people.db"), folder=tmp_path)
    before = source.find(by_email())
    people_file(tmp_path / "new.db", name="Anna the second")
    shutil.move(tmp_path / "new.db", tmp_path / "people.db")
    after = source.find(by_email())

    assert [person.name for person in (*before, *after)] == ["Anna", "Anna the second"]


def test_a_file_with_a_write_ahead_log_is_read_while_it_is_written(build, tmp_path):
    file = people_file(tmp_path / "people.db")
    source = build(people_options("sqlite:///people.db"), folder=tmp_path)
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE people SET name = 'Half written'")
        during = source.find(by_email())
        writer.execute("COMMIT")
        after = source.find(by_email())

    assert [person.name for person in (*during, *after)] == ["Anna", "Half written"]


def test_a_file_locked_by_a_writer_is_told_as_passing(build, tmp_path):
    file = people_file(tmp_path / "people.db")
    source = build(people_options("sqlite:///people.db"), folder=tmp_path, time_limit=0.1)
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceError, match="something else is writing") as told:
            source.find(by_email())

    assert not told.value.permanent


def test_an_import_that_broke_off_is_told(build, tmp_path):
    file = people_file(tmp_path / "people.db")
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN")
        writer.execute("UPDATE people SET name = zeroblob(100000)")
        for name in ("people.db", "people.db-journal"):
            shutil.copy(tmp_path / name, tmp_path / f"broken_{name}")
    source = build(people_options("sqlite:///broken_people.db"), folder=tmp_path)

    with pytest.raises(SourceError, match="an import into the file broke off; run it again"):
        source.find(by_email())


def test_broken_utf8_does_not_hide_the_person(build, tmp_path):
    file = people_file(tmp_path / "people.db")
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE people SET name = CAST(x'416eff6e61' AS TEXT)")
    source = build(people_options("sqlite:///people.db"), folder=tmp_path)

    assert [person.name for person in source.find(by_email())] == ["An\ufffdna"]


def test_without_options_the_imported_contacts_are_asked(build, tmp_path):
    (tmp_path / "people.csv").write_text(
        "id;name;email;phone;tier\n7;Anna;Anna@Example.se;070-1740605;gold\n", "utf-8"
    )
    import_contacts(tmp_path / "people.csv", tmp_path / "contacts.db", region="SE")
    source = build(SqlSource.Options().load({}), folder=tmp_path)
    source.check()
    lookups = [
        by_email(),
        asked(Key.PHONE, "+46701740605"),
        asked(Key.EXTERNAL_ID, "7"),
    ]

    assert [[person.details for person in carried(source, lookup)] for lookup in lookups] == [
        [{"tier": "gold"}]
    ] * 3


# --- the options ----------------------------------------------------------------------------------

EMAIL = {"email": "SELECT :email AS email"}


@pytest.mark.parametrize(
    ("options", "path", "says"),
    [
        ({"url": "canary"}, "url", "not the address of a database"),
        ({"url": "canary://a:canary@b/c"}, "url", "not the address of a database"),
        ({"url": "postgresql://a:canary@b:canary/c"}, "url", "not the address of a database"),
        ({"url": "mysql://a:canary@b/c?read_timeout=canary"}, "url", "not the address"),
        ({"url": "mariadb://canary/db?plugin=canary"}, "url", "not the address of a database"),
        ({"url": "postgresql+psycopg_async://canary/db"}, "url", "asyncio driver"),
        ({"url": 7}, "url", "Not a valid string"),
        ({"url": "sqlite://"}, "url", "names no file"),
        ({"url": "sqlite:///:memory:"}, "url", "names no file"),
        ({"url": "sqlite:///canary.db?mode=rw"}, "url", "takes no host and no options"),
        ({"url": "sqlite://canary.db"}, "url", "names no file"),
        ({"url": "postgresql://canary/db"}, "find", "missing; write a statement"),
        ({"find": {}}, "find", "no statement"),
        ({"find": {"emial": "SELECT 1"}}, "find.emial", "Unknown field"),
        ({"find": {"email": 7}}, "find.email", "Not a valid string"),
        ({"find": {"email": ""}}, "find.email", "not a SELECT or WITH"),
        ({"find": {"email": "DELETE FROM x WHERE e = :email"}}, "find.email", "not a SELECT"),
        ({"find": {"email": "SELECT 1"}}, "find.email", "would find everybody"),
        (
            {"find": {"email": "SELECT * FROM x WHERE e = :emial"}},
            "find.email",
            ":emial: .* use :email, :email_local or :email_domain",
        ),
        (
            {"find": {"email": "SELECT * FROM x WHERE e = :email AND p = :phone"}},
            "find.email",
            ":phone: no such value when email is asked for",
        ),
        ({"related": {"orders": "UPDATE x SET y = 1"}}, "related.orders", "not a SELECT"),
        ({"related": {"email": "SELECT 1"}}, "related.email", "not a name for a detail"),
        ({"related": {"two words": "SELECT 1"}}, "related.two words", "not a name for a detail"),
        ({"time_limit": 0}, "time_limit", "from 0.05 to 60"),
        ({"pool_size": 0}, "pool_size", "from 1 to 100"),
        ({"max_rows": 0}, "max_rows", "from 1 to 100000"),
        ({"ulr": "sqlite:///x.db"}, "ulr", "Unknown field"),
    ],
)
def test_a_mistake_in_the_options_is_told_without_the_url(options, path, says):
    with pytest.raises(ValidationError) as told:
        SqlSource.Options().load(options)
    problem = told.value.messages
    for part in path.split("."):
        problem = problem[part]

    assert [said for said in problem if re.search(says, said)]
    assert "canary" not in json.dumps(told.value.messages)


@pytest.mark.parametrize(
    ("url", "driver", "says"),
    [
        ("postgres://a:canary@b/c", "psycopg", r"pip install 'imbox-plugin\[postgresql\]'"),
        ("mysql://a:canary@b/c", "pymysql", r"pip install 'imbox-plugin\[mariadb\]'"),
        ("mssql+pyodbc://a:canary@b/c", "pyodbc", "pip install 'pyodbc'"),
    ],
)
def test_a_missing_driver_is_told_with_its_install_command(monkeypatch, url, driver, says):
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(ValidationError, match=says) as told:
        SqlSource.Options().load({"url": url, "find": EMAIL})

    assert "canary" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://host/db", "postgresql+psycopg"),
        ("postgresql://host/db", "postgresql+psycopg"),
        ("mysql://host/db", "mysql+pymysql"),
        ("mariadb://host/db", "mariadb+pymysql"),
        ("sqlite:///people.db", "sqlite"),
    ],
)
def test_the_usual_urls_get_the_drivers_we_ship(given, used):
    options = SqlSource.Options().load({"url": given, "find": EMAIL})

    assert options["url"].drivername == used


@pytest.mark.parametrize(
    "statement",
    [
        "select :email as email;",
        "\n-- a comment\n/* and\nanother */ ( WITH x AS (SELECT :email_local) SELECT * FROM x)",
        r"SELECT * FROM x WHERE a::text = :email AND t = '12:30' AND u LIKE '\:emial'",
    ],
)
def test_a_reading_statement_is_accepted(statement):
    options = SqlSource.Options().load({"find": {"email": statement}})

    assert options["find"] == {"email": statement}


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("postgresql://a:canary@b/c", True),
        ("mariadb://b/c?passwd=canary", True),
        ("sqlite:///people.db", False),
    ],
)
def test_a_url_with_a_password_is_a_secret(url, secret):
    assert SqlSource.Options().fields["url"].metadata["secret"](url) is secret


def test_loaded_options_hide_the_password():
    options = SqlSource.Options().load({"url": "postgresql://a:canary@b/c", "find": EMAIL})

    assert "canary" not in f"{options}"
