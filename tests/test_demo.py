"""The demo shop of examples/demo."""

import runpy
import sqlite3
from contextlib import closing
from datetime import date, datetime
from pathlib import Path

import phonenumbers
import pytest

DEMO = Path(__file__).parents[1] / "examples" / "demo"
FICTION = range(46701740605, 46701740700)
#: how a settings file searches for a phone number somebody typed
BY_TAIL = """
    SELECT mobile FROM customers
    WHERE replace(replace(mobile, ' ', ''), '-', '') LIKE '%' || ?
"""


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(DEMO / "build.py"))


@pytest.fixture(scope="module")
def shop(script, tmp_path_factory):
    target = tmp_path_factory.mktemp("demo") / "shop.db"
    script["build"](target)
    with closing(sqlite3.connect(target)) as db:
        db.row_factory = sqlite3.Row
        yield db


def column(db, statement, *values):
    return [row[0] for row in db.execute(statement, values)]


def customer(db, number):
    return db.execute("SELECT * FROM customers WHERE customer_number = ?", (number,)).fetchone()


def digits(mobile):
    number = phonenumbers.parse(mobile, "SE")
    return int(f"{number.country_code}{number.national_number}")


def plan(db, statement, *values):
    steps = db.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    return " ".join(step["detail"] for step in steps)


def test_every_build_gives_the_same_database(script, shop, tmp_path):
    script["build"](tmp_path / "again.db")

    with closing(sqlite3.connect(tmp_path / "again.db")) as again:
        assert list(again.iterdump()) == list(shop.iterdump())


def test_a_build_replaces_what_was_there_and_leaves_nothing_beside_it(script, tmp_path):
    target = tmp_path / "shop.db"
    target.write_bytes(b"not a database")
    script["build"](target)

    with closing(sqlite3.connect(target)) as db:
        assert column(db, "SELECT count(*) FROM customers") == [300]
    assert list(tmp_path.iterdir()) == [target]


def test_a_build_that_cannot_be_put_in_place_leaves_nothing_behind(script, tmp_path):
    target = tmp_path / "shop.db"
    target.mkdir()
    with pytest.raises(OSError, match=r"shop\.db"):
        script["build"](target)

    assert list(tmp_path.iterdir()) == [target]
    assert not any(target.iterdir())


def test_a_reader_keeps_the_old_database_while_a_new_one_is_put_in_place(script, tmp_path):
    target = tmp_path / "shop.db"
    with closing(sqlite3.connect(target)) as old:
        old.execute("CREATE TABLE customers AS SELECT 'old' AS customer_number")
        old.commit()
        script["build"](target)

        assert column(old, "SELECT customer_number FROM customers") == ["old"]


def test_the_database_is_sound(shop):
    assert column(shop, "PRAGMA integrity_check") == ["ok"]
    assert shop.execute("PRAGMA foreign_key_check").fetchall() == []


def test_the_first_customer_is_the_one_the_documentation_names(shop):
    first = customer(shop, "K1001")

    assert (first["id"], first["first_name"], first["last_name"]) == (1, "Åsa", "Lindqvist")
    assert first["email"] == "asa.lindqvist@example.com"
    assert first["mobile"] == "070-174 06 05"
    assert first["note"]
    assert column(
        shop,
        "SELECT order_number FROM orders WHERE customer_id = 1 ORDER BY placed_on DESC",
    ) == ["261029-1", "260814-1", "260422-1", "251128-1"]


def test_every_phone_number_is_one_reserved_for_fiction(shop):
    mobiles = column(shop, "SELECT mobile FROM customers WHERE mobile IS NOT NULL")

    assert {digits(mobile) for mobile in mobiles} <= set(FICTION)


def test_the_last_two_numbers_of_the_range_are_nobodys(shop):
    mobiles = column(shop, "SELECT mobile FROM customers WHERE mobile IS NOT NULL")

    assert set(FICTION) - {digits(mobile) for mobile in mobiles} == set(FICTION[-2:])


def test_phone_numbers_are_written_in_many_ways(shop):
    mobiles = column(shop, "SELECT mobile FROM customers WHERE mobile IS NOT NULL")
    shapes = {"".join("0" if char.isdigit() else char for char in mobile) for mobile in mobiles}

    assert len(shapes) >= 6
    for prefix in ("070-", "+46", "0046", "0701"):
        assert any(mobile.startswith(prefix) for mobile in mobiles)


def test_the_tail_of_a_number_finds_it_however_it_is_written(shop):
    mobiles = column(shop, "SELECT mobile FROM customers WHERE mobile IS NOT NULL")
    for number in FICTION:
        owners = sorted(mobile for mobile in mobiles if digits(mobile) == number)

        assert sorted(column(shop, BY_TAIL, str(number)[-7:])) == owners


def test_only_four_households_share_a_number(shop):
    sharers = {}
    for row in shop.execute("SELECT * FROM customers WHERE mobile IS NOT NULL"):
        home = (row["last_name"], row["street"], row["postcode"], row["city"])
        sharers.setdefault(digits(row["mobile"]), []).append(home)
    shared = [homes for homes in sharers.values() if len(homes) > 1]

    assert [len(homes) for homes in shared] == [2, 2, 2, 2]
    assert all(one == other for one, other in shared)


def test_the_household_in_the_settings_shares_a_number(shop):
    assert digits(customer(shop, "K1002")["mobile"]) == digits(customer(shop, "K1003")["mobile"])


def test_most_customers_have_no_phone_and_everybody_can_be_reached(shop):
    (count, phones, emails, both) = shop.execute(
        "SELECT count(*), count(mobile), count(email), count(coalesce(email, mobile))"
        " FROM customers"
    ).fetchone()

    assert phones < count / 2
    assert emails < count
    assert both == count


def test_every_address_is_at_a_domain_reserved_for_examples(shop):
    domains = column(
        shop, "SELECT DISTINCT lower(substr(email, instr(email, '@') + 1)) FROM customers"
    )

    assert set(domains) == {"example.com", "example.org", "example.net", None}


def test_some_addresses_are_written_in_capitals_and_none_is_used_twice(shop):
    emails = column(shop, "SELECT email FROM customers WHERE email IS NOT NULL")

    assert any(email != email.lower() for email in emails)
    assert len({email.lower() for email in emails}) == len(emails)


def test_names_have_the_letters_of_swedish(shop):
    names = "".join(column(shop, "SELECT first_name || last_name FROM customers"))

    assert set("åäöÅÖé") <= set(names)


def test_one_customer_has_more_orders_than_a_card_shows(shop):
    rows = shop.execute(
        "SELECT customer_number, count(orders.id) FROM customers"
        " LEFT JOIN orders ON orders.customer_id = customers.id GROUP BY customers.id"
    )
    counts = dict(map(tuple, rows))

    assert counts["K1007"] == max(counts.values()) == 46
    assert counts["K1008"] == 0
    assert 10 < sum(count == 0 for count in counts.values()) < 100


def test_plain_texts_hold_what_looks_like_markup(shop):
    company = customer(shop, "K1005")

    assert company["company"] == "Kaffe & <b>Vänner</b> AB"
    assert "<2>" in company["note"]


def test_one_note_is_markup_with_what_a_sanitizer_has_to_drop(shop):
    note = customer(shop, "K1006")["note_html"]

    assert "<strong>2019</strong>" in note
    for unwanted in ("<script>", "onclick=", "style="):
        assert unwanted in note


def test_the_total_of_an_order_is_the_sum_of_its_lines(shop):
    wrong = shop.execute(
        "SELECT orders.id FROM orders LEFT JOIN order_lines ON order_lines.order_id = orders.id"
        " GROUP BY orders.id HAVING total_ore <> total(quantity * price_ore)"
    ).fetchall()

    assert wrong == []


def test_nobody_ordered_before_the_account_or_after_the_shops_today(shop, script):
    rows = shop.execute(
        "SELECT placed_on, created_at FROM orders JOIN customers ON customers.id = customer_id"
    ).fetchall()

    assert all(
        datetime.fromisoformat(row["created_at"]).date()
        <= date.fromisoformat(row["placed_on"])
        <= script["TODAY"]
        for row in rows
    )


def test_orders_are_in_every_status(shop):
    statuses = column(shop, "SELECT DISTINCT status FROM orders ORDER BY status")

    assert statuses == ["Levererad", "Makulerad", "Mottagen", "Plockas", "Returnerad", "Skickad"]


def test_what_is_on_its_way_can_be_tracked_and_what_is_not_cannot(shop):
    urls = column(shop, "SELECT tracking_url FROM orders WHERE status = 'Skickad'")
    others = column(
        shop, "SELECT tracking_url FROM orders WHERE status IN ('Mottagen', 'Plockas', 'Makulerad')"
    )

    assert all(url.startswith("https://tracking.example.com/") for url in urls)
    assert set(others) == {None}


def test_a_search_by_email_in_normal_form_uses_the_index(shop):
    statement = "SELECT customer_number FROM customers WHERE lower(email) = ?"

    assert column(shop, statement, "gun-britt.hakansson@example.com") == ["K1007"]
    assert "customers_by_email" in plan(shop, statement, "x@example.com")


def test_the_orders_of_a_customer_are_found_by_an_index(shop):
    statement = "SELECT * FROM orders WHERE customer_id = ? ORDER BY placed_on DESC, id DESC"

    assert "orders_by_customer" in plan(shop, statement, 1)
    assert "TEMP B-TREE" not in plan(shop, statement, 1)
