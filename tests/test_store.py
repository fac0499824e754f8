"""The contact store: files as people's systems write them, and nothing half done."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import tracemalloc
from contextlib import closing
from dataclasses import FrozenInstanceError
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from imbox_plugin.identity import normal_email, normal_phone
from imbox_plugin.store import FIELDS, FIND, ImportRefused, import_contacts

ADA = {
    "external_id": "7",
    "name": "Ada Ek",
    "email": "Ada@Example.com",
    "phone": "070-174 06 05",
    "details": {"tier": "gold"},
}
ADA_CSV = "id,name,email,phone,tier\n7,Ada Ek,Ada@Example.com,070-174 06 05,gold\n"


@pytest.fixture
def store(tmp_path):
    return tmp_path / "contacts.db"


@pytest.fixture
def load(tmp_path, store):
    """Import this text, or these bytes, as a file."""

    def load(content, region="SE", **options):
        file = tmp_path / "contacts.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_contacts(file, store, region=region, **options)

    return load


def connect(store):
    return closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True))


def table(store):
    """Every row of the store, in the order of their keys."""
    with connect(store) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("SELECT * FROM contacts ORDER BY row_key")]


def contacts(store):
    """What the SQL source gets of every row, details as a dictionary."""
    return [{name: row[name] for name in ADA} | details_of(row) for row in table(store)]


def details_of(row):
    return {"details": json.loads(row["details"])}


def only(store):
    (contact,) = contacts(store)
    return contact


def only_details(store):
    return [contact["details"] for contact in contacts(store)]


def find(store, key, value):
    with connect(store) as db:
        return db.execute(FIND[key], {key: value}).fetchall()


def csv_of(rows, delimiter=",", quoting=csv.QUOTE_MINIMAL):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows(rows)
    return text.getvalue()


def files_beside(store):
    return {file.name for file in store.parent.iterdir()}


def fill(store, count=3):
    """Import a few contacts in another way than by the file under test."""
    rows = "".join(f"{number},Kept {number}\n" for number in range(count))
    file = store.with_name("before.csv")
    file.write_text(f"id,name\n{rows}", "utf-8")
    import_contacts(file, store, region=None)
    file.unlink()


# --- finding what was imported ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [("external_id", "7"), ("email", "ada@example.com"), ("phone", "+46701740605")],
)
def test_a_contact_is_found_by_each_of_its_identities(load, store, key, value):
    load(ADA_CSV)

    assert find(store, key, value) == [
        ("7", "Ada Ek", "Ada@Example.com", "070-174 06 05", '{"tier": "gold"}')
    ]


@pytest.mark.parametrize("key", FIND)
def test_every_statement_searches_an_index(load, store, key):
    load(ADA_CSV)

    with connect(store) as db:
        plan = db.execute(f"EXPLAIN QUERY PLAN {FIND[key]}", {key: "x"}).fetchall()

    assert "USING INDEX" in plan[0][3]


def test_the_statements_cannot_be_changed():
    with pytest.raises(TypeError):
        FIND["email"] = "SELECT 1"


def test_the_keys_are_the_normal_forms_that_a_lookup_has(load, store):
    load(ADA_CSV)

    row = table(store)[0]

    assert row["email_key"] == normal_email("Ada@Example.com")
    assert row["phone_key"] == normal_phone("070-174 06 05", "SE")


def test_a_national_number_is_no_key_without_a_region(load, store):
    report = load(ADA_CSV, region=None)

    assert table(store)[0]["phone_key"] is None
    assert report.unusable == {"phone": 1}


# --- columns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("id", "external_id"),
        ("Customer ID", "external_id"),
        ("customerid", "external_id"),
        ("customer number", "external_id"),
        ("external_id", "external_id"),
        ("Kundnummer", "external_id"),
        ("Kundnr", "external_id"),
        ("KUND-ID", "external_id"),
        ("e-post", "email"),
        ("Epost", "email"),
        ("mail", "email"),
        ("E-mail", "email"),
        ("E-postadress", "email"),
        ("email_address", "email"),
        ("Telefon", "phone"),
        ("tel.", "phone"),
        ("Mobil", "phone"),
        ("mobile", "phone"),
        ("Telefonnummer", "phone"),
        ("Mobilnummer", "phone"),
        ("phone number", "phone"),
        ("Cell", "phone"),
        ("Namn", "name"),
        ("Full name", "name"),
        ("fo\N{COMBINING DIAERESIS}rnamn", "first_name"),
        ("Förnamn", "first_name"),
        ("Fornamn", "first_name"),
        ("Given Name", "first_name"),
        ("EFTERNAMN", "last_name"),
        ("surname", "last_name"),
        ("Företag", "company"),
        ("Organisation", "company"),
    ],
)
def test_a_header_is_understood_in_english_and_swedish(load, header, field):
    always = "Kundnr" if field == "email" else "E-post"

    report = load(f"{always};{header}\na@example.com;b@example.com\n")

    assert report.columns[field] == (header,)


def test_a_column_that_means_nothing_to_us_is_a_detail(load, store):
    report = load("Kundnr;Stad;Senaste köp (kr)\n7;Umeå;12,50\n")

    assert report.details == {"stad": "Stad", "senaste_köp_kr": "Senaste köp (kr)"}
    assert only(store)["details"] == {"stad": "Umeå", "senaste_köp_kr": "12,50"}


def test_a_blank_cell_is_no_detail(load, store):
    load("id,city,tier\n7, ,gold\n")

    assert only(store)["details"] == {"tier": "gold"}


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        (["Order-nr", "order nr", "ORDER_NR"], ["order_nr", "order_nr_2", "order_nr_3"]),
        (["contact id", "Details", "phones"], ["contact_id_2", "details_2", "phones_2"]),
        (["", "#", "2024", "_x_"], ["column_2", "column_3", "column_2024", "x"]),
        (["Ko\N{COMBINING DIAERESIS}p", "½", "kr²"], ["köp", "column_3", "kr"]),
    ],
)
def test_details_get_different_names_that_a_layout_can_write(load, store, headers, names):
    load(f"id;{';'.join(headers)}\n7;{';'.join('x' * len(headers))}\n")

    assert list(only(store)["details"]) == names


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
@example(["if", "not", "é", "1st", "__class__", "ﬁ", "\N{COMBINING ACUTE ACCENT}", "x\U000119d1"])
@settings(deadline=None)
def test_any_header_can_be_read_by_a_layout(headers):
    with TemporaryDirectory() as folder:
        file, store = Path(folder, "contacts.csv"), Path(folder, "contacts.db")
        file.write_bytes(csv_of([["Kundnr", *headers], ["7", *("x" for _ in headers)]]).encode())
        report = import_contacts(file, store, region=None, columns={"external_id": "Kundnr"})
        details = only(store)["details"]
    layouts = ImmutableSandboxedEnvironment()

    assert details.keys() >= report.details.keys()
    for name in details:
        assert layouts.from_string(f"{{{{ contact.{name} }}}}").render(contact=details) == "x"


def test_first_and_last_name_are_joined(load, store):
    load("id,Förnamn,Efternamn\n7,Ada,Ek\n8,,Ö\n")

    assert [contact["name"] for contact in contacts(store)] == ["Ada Ek", "Ö"]
    assert only_details(store) == [{}, {}]


def test_a_name_is_preferred_to_its_parts_which_are_then_details(load, store):
    load("id,first name,namn\n7,Ada,Ada Ek\n8,Bo,\n")

    assert [contact["name"] for contact in contacts(store)] == ["Ada Ek", "Bo"]
    assert only_details(store) == [{"first_name": "Ada"}, {}]


def test_a_company_is_the_name_of_somebody_without_one_and_always_a_detail(load, store):
    report = load("id,name,company\n7,Ada,Acme\n8,,Acme\n")

    assert [contact["name"] for contact in contacts(store)] == ["Ada", "Acme"]
    assert only_details(store) == [{"company": "Acme"}] * 2
    assert report.details == {"company": "company"}


def test_of_two_phone_columns_the_first_filled_one_is_the_phone(load, store):
    load("id,Telefon,Mobil\n7,08-12 34 56 78,0701740605\n8,,0701740606\n")

    ada, bo = contacts(store)

    assert (ada["phone"], ada["details"]) == ("08-12 34 56 78", {"mobil": "0701740605"})
    assert (bo["phone"], bo["details"]) == ("0701740606", {})


def test_an_unusable_phone_gives_way_to_a_usable_one_and_stays_a_detail(load, store):
    report = load("id,Telefon,Mobil\n7,ask Bo,0701740605\n")

    assert only(store)["phone"] == "0701740605"
    assert only(store)["details"] == {"telefon": "ask Bo"}
    assert report.unusable == {"Telefon": 1}


def test_two_columns_with_the_same_header_are_both_kept(load, store):
    load("id,phone,phone\n7,0701740605,0701740606\n")

    assert only(store)["phone"] == "0701740605"
    assert only(store)["details"] == {"phone_3": "0701740606"}


def test_two_kinds_of_external_ids_are_not_mixed(load, store):
    with pytest.raises(ImportRefused, match=r"external id \(Id, Kundnr\); say which"):
        load("Id,Kundnr\n1,7\n")

    assert not store.exists()


def test_an_explicit_column_decides_and_the_other_is_a_detail(load, store):
    load("Id,Kundnr\n1,7\n", columns={"external_id": "Kundnr"})

    assert only(store)["external_id"] == "7"
    assert only(store)["details"] == {"id": "1"}


def test_an_explicit_column_need_not_be_written_exactly(load, store):
    load("Member No.,x\n7,1\n", columns={"external_id": "member no"})

    assert only(store)["external_id"] == "7"


def test_an_explicit_column_that_is_written_exactly_comes_first(load, store):
    load("kund_ref,Kund-ref\n1,7\n", columns={"external_id": "Kund-ref"})

    assert only(store)["external_id"] == "7"


def test_an_explicit_column_loses_its_usual_meaning(load):
    report = load("telefon,mobil\n7,0701740605\n", columns={"external_id": "telefon"})

    assert report.columns == {"external_id": ("telefon",), "phone": ("mobil",)}


def test_a_detail_keeps_its_name_beside_the_column_of_a_field(load, store):
    load("Ref,ref.\n7,x\n", columns={"external_id": "Ref"})

    assert only(store)["details"] == {"ref": "x"}


def test_one_column_can_be_two_identities(load, store):
    load("mail\nada@example.com\n", columns={"external_id": "mail", "email": "mail"})

    assert find(store, "external_id", "ada@example.com") == find(store, "email", "ada@example.com")


def test_an_explicit_column_that_is_missing_is_refused_with_the_columns_there_are(load):
    with pytest.raises(ImportRefused, match=r"no column 'Kundnr' .*its columns are id, namn"):
        load("id,namn\n7,Ada\n", columns={"external_id": "Kundnr"})


def test_an_unknown_field_is_refused_with_the_fields_there_are(load):
    with pytest.raises(ImportRefused, match=f"'mail'; the fields are {', '.join(FIELDS)}"):
        load(ADA_CSV, columns={"mail": "email"})


# --- delimiters, encodings, quotation ------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_tells_the_delimiter(load, store, delimiter):
    load(ADA_CSV.replace(",", delimiter))

    assert only(store) == ADA


@pytest.mark.parametrize(
    "header",
    [
        '"Order, antal, summa, moms";Kundnr',
        "Ort, land, zon;Kundnr",
        '"Ort\n, zon, land";Kundnr',
        "\n \nOrt;Kundnr",
    ],
)
def test_a_delimiter_inside_a_header_does_not_count(load, store, header):
    load(f"{header}\n1,5;7\n")

    assert only(store)["external_id"] == "7"


def test_a_file_may_have_one_column(load, store):
    load("email\nada@example.com\n")

    assert only(store)["email"] == "ada@example.com"


@pytest.mark.parametrize(
    ("codec", "told"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("cp1252", "cp1252"),
    ],
)
def test_the_encoding_is_found_out_and_told(load, store, codec, told):
    report = load("Kundnr;Namn;Förort\n7;Åke Öberg;Älvsjö\n".encode(codec))

    assert report.encoding == told
    assert (only(store)["name"], only(store)["details"]) == ("Åke Öberg", {"förort": "Älvsjö"})


def test_utf_16_of_the_other_byte_order_is_read(load, store):
    load("\ufeffid,name\n7,Åsa\n".encode("utf-16-be"))

    assert only(store)["name"] == "Åsa"


def test_one_late_byte_decides_against_utf_8(load, store):
    rows = "".join(f"{number},{'x' * 60_000}\n" for number in range(40))

    report = load(f"id,note\n{rows}å,Åsa\n".encode("cp1252"))

    assert report.encoding == "cp1252"
    assert details_of(table(store)[-1]) == {"details": {"note": "Åsa"}}


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "mac-roman", "iso-8859-15"])
def test_a_given_encoding_is_used(load, store, codec):
    mark = "\ufeff" if codec.startswith("utf") else ""

    report = load(f"{mark}id,name\n7,Åsa\n".encode(codec), encoding=codec)

    assert report.encoding == codec
    assert only(store)["name"] == "Åsa"


def test_a_byte_order_mark_is_no_part_of_the_first_header(load):
    report = load('\ufeff"id","name"\n7,Åsa\n')

    assert report.columns == {"external_id": ("id",), "name": ("name",)}


def test_a_last_byte_that_begins_a_character_decides_against_utf_8(load, store):
    load("id,name\n7,Å".encode("cp1252"))

    assert only(store)["name"] == "Å"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_on_any_system(load, store, end):
    load(ADA_CSV.replace("\n", end))

    assert only(store) == ADA


def test_a_cell_may_hold_line_ends_separators_and_quotation_marks(load, store):
    load('id,note\n7,"a ""b"",\r\nc"\n8,"d"\n')

    assert only_details(store) == [{"note": 'a "b",\r\nc'}, {"note": "d"}]


def test_spaces_around_a_cell_are_no_part_of_it(load, store):
    load('id, name , "tier"\n 7 ,\N{NO-BREAK SPACE}Ada, "gold"\n')

    assert (only(store)["name"], only(store)["details"]) == ("Ada", {"tier": "gold"})


@pytest.mark.parametrize("phone", ['"=""0701740605"""', '="0701740605"', "'0701740605"])
def test_the_marks_that_keep_a_number_whole_in_excel_are_dropped(load, store, phone):
    load(f"phone,name\n{phone},'t Hooft\n")

    assert find(store, "phone", "+46701740605")[0][3] == "0701740605"
    assert only(store)["name"] == "'t Hooft"


def test_a_phone_that_excel_rounded_is_shown_and_not_searched_by(load, store):
    report = load("id;Telefon\n7;4,67018E+10\n")

    assert only(store)["phone"] == "4,67018E+10"
    assert table(store)[0]["phone_key"] is None
    assert report.unusable == {"Telefon": 1}


def test_an_external_id_that_excel_rounded_is_shown_and_not_searched_by(load, store):
    report = load("Kundnr;E-post\n4,67E+10;ada@example.com\n")

    assert only(store)["external_id"] is None
    assert only(store)["details"] == {"kundnr": "4,67E+10"}
    assert report.unusable == {"Kundnr": 1}


def test_an_email_that_is_none_is_shown_and_not_searched_by(load, store):
    report = load("id,email\n7,ada at example\n8,bo@example.com\n")

    assert contacts(store)[0]["email"] == "ada at example"
    assert table(store)[0]["email_key"] is None
    assert report.unusable == {"email": 1}


# --- rows that are left out ---------------------------------------------------------------------


def test_a_row_without_a_usable_identity_is_refused(load, store):
    report = load("Namn;E-post;Telefon\nBo;bo@;\nAda;ada@example.com;\n")

    assert [(refusal.line, refusal.row) for refusal in report.refused] == [(2, ("Bo", "bo@", ""))]
    assert report.refused[0].reason == "no usable E-post or Telefon; correct it or fill it in"
    assert only(store)["name"] == "Ada"


def test_a_row_with_too_many_cells_is_refused(load, store):
    report = load("id,name\n7,Ek, Ada\n8,Bo\n")

    assert [(refusal.line, refusal.row) for refusal in report.refused] == [(2, ("7", "Ek", "Ada"))]
    assert report.refused[0].reason.startswith("3 cells under 2 headers; put quotation marks")
    assert only(store)["external_id"] == "8"


def test_blank_cells_too_many_are_harmless(load):
    report = load("id,name\n7,Ada,, \n")

    assert report.added == 1
    assert report.refused == ()


def test_cells_too_few_are_blank(load, store):
    load("id,name,email,phone,tier\n7,Ada\n")

    assert only(store) == ADA | {"name": "Ada", "email": None, "phone": None, "details": {}}


def test_blank_lines_are_skipped(load):
    report = load("\n\nid;name\n\n;\n ; \n7;Ada\n\n")

    assert report.added == 1
    assert report.refused == ()


def test_a_refusal_names_the_line_in_which_its_row_begins(load):
    report = load('\n"id\n",note\n\n7,"a\nb"\n,"c\r\nd"\n8,e\n\n,f\n')

    assert [refusal.line for refusal in report.refused] == [7, 11]


def test_a_row_that_is_repeated_is_counted_and_no_more(load, store):
    report = load(ADA_CSV + ADA_CSV.partition("\n")[2])

    assert (report.added, report.repeated, report.refused) == (1, 1, ())
    assert only(store) == ADA


@pytest.mark.parametrize(
    ("header", "identity"),
    [("Kundnr", "7"), ("E-post", "ada@example.com"), ("Telefon", "0701740605")],
)
def test_of_two_different_rows_with_one_identity_the_first_counts(load, store, header, identity):
    report = load(f'{header},Namn\n"{identity}","A\nda"\n{identity},Bo\n')

    assert only(store)["name"] == "A\nda"
    assert [refusal.line for refusal in report.refused] == [4]
    assert report.refused[0].reason == (
        f"the same {header} as line 2 but other content; keep one of the two rows"
    )


def test_the_same_email_under_another_id_is_another_contact(load, store):
    report = load("id,email\n7,ada@example.com\n8,ADA@example.com\n")

    assert report.added == 2
    assert len(find(store, "email", "ada@example.com")) == 2


def test_an_id_and_an_email_that_look_alike_are_different_contacts(load):
    report = load("id,email\nada@example.com,\n,ada@example.com\n")

    assert report.added == 2


def test_a_reason_holds_nothing_of_the_row(load):
    report = load(
        "id,namn,email,telefon\n"
        ",Canary,canary@,07CANARY\n"
        "CANARY,Canary,,\n"
        "CANARY,Canary,canary@example.com,\n"
        "1,Canary,canary@example.com,0701740605,canary\n"
    )

    assert len(report.refused) == 3
    assert not any("canary" in refusal.reason.lower() for refusal in report.refused)


def test_a_report_cannot_be_changed(load):
    report = load(ADA_CSV)

    with pytest.raises(FrozenInstanceError):
        report.added = 0


# --- importing again ----------------------------------------------------------------------------


def test_importing_again_changes_nothing(load, store):
    load(ADA_CSV)
    before = store.read_bytes()

    report = load(ADA_CSV)

    assert (report.added, report.changed, report.unchanged, report.removed) == (0, 0, 1, 0)
    assert store.read_bytes() == before


def test_replacing_by_the_same_file_changes_nothing(load, store):
    load(ADA_CSV)
    before = store.read_bytes()

    load(ADA_CSV, replace=True)

    assert store.read_bytes() == before


def test_contacts_are_added_changed_and_left_alone(load, store):
    load("id,name,tier\n1,Ada,gold\n2,Bo,\n3,Cy,\n")

    report = load("id,name,tier\n2,Bo,\n1,Ada,silver\n4,Di,\n")

    assert (report.added, report.changed, report.unchanged, report.removed) == (1, 1, 1, 0)
    assert report.accepted == 3
    assert [contact["name"] for contact in contacts(store)] == ["Ada", "Bo", "Cy", "Di"]
    assert only_details(store)[0] == {"tier": "silver"}


@pytest.mark.parametrize("column", ["name", "email", "phone", "tier"])
@pytest.mark.parametrize("value", ["", "something else"])
def test_a_change_in_any_column_is_a_change(load, column, value):
    header, cells = (line.split(",") for line in ADA_CSV.splitlines())
    load(ADA_CSV)
    cells[header.index(column)] = value

    report = load(csv_of([header, cells]))

    assert (report.added, report.changed, report.unchanged) == (0, 1, 0)


def test_replacing_removes_who_is_not_in_the_file(load, store):
    fill(store, 5)

    report = load("id,name\n1,Kept 1\n9,New\n", replace=True)

    assert (report.added, report.unchanged, report.removed) == (1, 1, 4)
    assert [contact["external_id"] for contact in contacts(store)] == ["1", "9"]


def test_who_is_removed_is_gone_from_the_bytes_of_the_file(load, store):
    load("id,name\n1,Ada\n2,Canary\n")
    assert b"Canary" in store.read_bytes()

    load("id,name\n1,Ada\n", replace=True)

    assert b"Canary" not in store.read_bytes()


# --- all or nothing -----------------------------------------------------------------------------


class Stop(Exception):
    """What the callback raises."""


MANY = "id,name\n" + "".join(f"{number},Somebody {number}\n" for number in range(5_000))


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
@pytest.mark.parametrize("last", [False, True])
def test_an_import_that_is_stopped_leaves_the_store_as_it_was(load, store, error, last):
    fill(store)
    before = store.read_bytes()

    def stop(done, total):
        if done == total if last else done > total / 2:
            raise error

    with pytest.raises(error):
        load(MANY, replace=True, progress=stop)

    assert store.read_bytes() == before
    assert files_beside(store) == {"contacts.csv", "contacts.db"}


def test_a_merge_that_fails_leaves_no_new_store(load, store, monkeypatch):
    monkeypatch.setattr("imbox_plugin.store._ADD", "INSERT INTO store.contacts VALUES (1)")

    with pytest.raises(ImportRefused, match="cannot be the store"):
        load(ADA_CSV)

    assert files_beside(store) == {"contacts.csv"}


def test_an_import_that_is_stopped_leaves_no_new_store(load, store):
    def stop(*_):
        raise Stop

    with pytest.raises(Stop):
        load(MANY, progress=stop)

    assert files_beside(store) == {"contacts.csv"}


def test_a_file_that_breaks_at_its_end_leaves_the_store_as_it_was(load, store):
    fill(store)
    before = store.read_bytes()

    with pytest.raises(ImportRefused):
        load(MANY + '1,"open\n', replace=True)

    assert store.read_bytes() == before


@pytest.mark.parametrize("cache", [65_536, 16])
def test_a_merge_that_fails_leaves_the_store_as_it_was(load, store, monkeypatch, cache):
    monkeypatch.setattr("imbox_plugin.store._CACHE", cache)
    fill(store)
    with closing(sqlite3.connect(store)) as db:
        db.execute(
            "CREATE TRIGGER no BEFORE INSERT ON contacts WHEN new.row_key = 'id:4999'"
            " BEGIN SELECT raise(FAIL, 'no'); END"
        )
    before = store.read_bytes()

    with pytest.raises(ImportRefused, match="cannot be the store"):
        load(MANY, replace=True)

    assert store.read_bytes() == before
    assert files_beside(store) == {"contacts.csv", "contacts.db"}


@pytest.mark.parametrize("replace", [False, True])
def test_a_file_without_a_usable_row_leaves_the_store_as_it_was(load, store, replace):
    fill(store)
    before = store.read_bytes()

    report = load("email\nnobody\n", replace=replace)

    assert (report.accepted, report.removed, len(report.refused)) == (0, 0, 1)
    assert store.read_bytes() == before


def test_a_file_without_a_usable_row_makes_no_store(load, store):
    load("email\nnobody\n")

    assert not store.exists()


def test_readers_see_the_old_contacts_while_the_file_is_read(load, store):
    fill(store)
    seen = []

    load(MANY, replace=True, progress=lambda _done, _total: seen.append(len(table(store))))

    assert set(seen) == {3}
    assert len(table(store)) == 5_000


def test_a_reader_that_is_connected_sees_the_new_contacts_afterwards(load, store):
    fill(store)

    with connect(store) as db:
        before = db.execute("SELECT count(*) FROM contacts").fetchone()
        load(ADA_CSV)
        after = db.execute("SELECT count(*) FROM contacts").fetchone()

    assert (before, after) == ((3,), (4,))


def test_the_store_is_one_file_that_a_reader_without_rights_can_open(load, store):
    load(ADA_CSV)

    with connect(store) as db:
        (mode,) = db.execute("PRAGMA journal_mode").fetchone()

    assert mode == "delete"
    assert files_beside(store) == {"contacts.csv", "contacts.db"}


def test_a_store_that_is_being_written_is_refused(load, store, monkeypatch):
    monkeypatch.setattr("imbox_plugin.store._PATIENCE", 0.0)
    fill(store)

    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ImportRefused, match=r"locked.*no other import is running"):
            load(ADA_CSV)


# --- files that cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty; its first row must name the columns"),
        (b"\n \n", "empty; its first row must name the columns"),
        (b"name,city\nAda,Lund\n", r"no column for .*\(its columns are name, city\); say which"),
        (b"7,Ada Ek,ada@example.com\n", "looks like a contact, so the header row may be missing"),
        (b"Ada Ek;0701740605\n", "looks like a contact, so the header row may be missing"),
        (b"id,name\n7,A\0da\n", "binary data in line 2; save it as CSV"),
        ("id,name\n7,Ada\n".encode("utf-16-le"), "binary data in line 1; .* if it is UTF-16"),
        (b"PK\3\4\x14\0\x81\n", "not text in cp1252 near line 1; save it as CSV"),
        (b"\xef\xbb\xbfid,name\n7,\xc5sa\n", "not text in utf-8 near line"),
        (b"\xff\xfei\0d\0\n\0007", "not text in utf-16 near line"),
        (b'id,name\n7,"Ada\n8,Bo\n', r"not CSV from line 2 on \(unexpected end.*quotation mark"),
        (b'id,name\n7,"A"da\n', r"not CSV from line 2 on .*quotation mark"),
        (b'"id,name\n7,Ada\n', r"not CSV from line 1 on .*quotation mark"),
        (b"id,name\n8,\n7," + b"x" * 131_073, "not CSV from line 3 on .*larger than field limit"),
        (b'id,name\n7,"' + b"x\n" * 70_000, "not CSV from line 2 on .*larger than field limit"),
        (b"id\n" + b"1," * 600_000, "line 2 of contacts.csv is longer than 1,048,576 characters"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_what_was_found(load, store, content, message):
    with pytest.raises(ImportRefused, match=message):
        load(content)

    assert not store.exists()


@pytest.mark.parametrize("encoding", ["utf-9", "hex"])
def test_an_unknown_encoding_is_refused(load, encoding):
    with pytest.raises(ImportRefused, match=f"no text encoding '{encoding}'; usual ones are"):
        load(ADA_CSV, encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "idna"])
def test_a_wrong_encoding_is_refused(load, encoding):
    with pytest.raises(ImportRefused, match=f"not text in {encoding} near line"):
        load("id,name\n7,Åsa..\n".encode("cp1252"), encoding=encoding)


def test_half_a_character_is_refused(load):
    with pytest.raises(ImportRefused, match="near line 2"):
        load(b"id,name\n7,+2AA-\n", encoding="utf-7")


@pytest.mark.parametrize("encoding", [None, "utf-8"])
def test_a_missing_file_is_refused(tmp_path, store, encoding):
    with pytest.raises(ImportRefused, match=r"none.csv cannot be read \(No such file"):
        import_contacts(tmp_path / "none.csv", store, region=None, encoding=encoding)


def test_a_folder_is_refused(tmp_path, store):
    with pytest.raises(ImportRefused, match="Is a directory"):
        import_contacts(tmp_path, store, region=None)


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path, store):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ImportRefused, match="is a pipe; save its rows to a file"):
        import_contacts(tmp_path / "pipe", store, region=None)


# --- stores that are none -----------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"ab", b"some notes\n" * 1_000, ADA_CSV.encode()])
def test_a_file_that_is_no_database_is_not_written_to(load, store, content):
    store.write_bytes(content)

    with pytest.raises(ImportRefused, match=r"not a database.*path of its own"):
        load(ADA_CSV)

    assert store.read_bytes() == content


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE TABLE orders (id)", "database of something else"),
        ("CREATE TABLE contacts (row_key TEXT PRIMARY KEY)", "database of something else"),
        ("CREATE VIEW everything AS SELECT 1", "database of something else"),
        ("PRAGMA user_version = 5", "database of something else"),
        ("PRAGMA application_id = 5", "database of something else"),
    ],
)
def test_somebody_elses_database_is_not_written_to(load, store, statement, message):
    with closing(sqlite3.connect(store)) as db:
        db.execute(statement)
        db.commit()
    before = store.read_bytes()

    with pytest.raises(ImportRefused, match=message):
        load(ADA_CSV, replace=True)

    assert store.read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA user_version = 2",
        "ALTER TABLE contacts DROP COLUMN details",
        "ALTER TABLE contacts ADD COLUMN more",
        "DROP TABLE contacts",
    ],
)
def test_a_store_of_another_version_is_not_written_to(load, store, statement):
    fill(store)
    with closing(sqlite3.connect(store)) as db:
        db.execute(statement)
        db.commit()
    before = store.read_bytes()

    with pytest.raises(ImportRefused, match=r"another version.*move it away and import again"):
        load(ADA_CSV, replace=True)

    assert store.read_bytes() == before


def test_a_wrong_store_is_told_before_the_file_is_read(load, store):
    store.write_bytes(b"some notes")
    calls = []

    with pytest.raises(ImportRefused):
        load(ADA_CSV, progress=lambda *call: calls.append(call))

    assert calls == []


def test_an_empty_file_becomes_a_store(load, store):
    store.touch()

    load(ADA_CSV)

    assert only(store) == ADA


def test_an_empty_file_stays_empty_when_the_import_fails(load, store):
    store.touch()

    with pytest.raises(ImportRefused):
        load(ADA_CSV + '8,"')

    assert store.read_bytes() == b""


@pytest.mark.parametrize("name", ["a?mode=memory", "50%25 #1.db", "kontakter åäö.db"])
def test_a_store_may_have_any_name(tmp_path, load, name):
    load(ADA_CSV)
    store = tmp_path / name

    import_contacts(tmp_path / "contacts.csv", store, region="SE")

    assert only(store) == ADA


def test_a_missing_folder_is_refused(tmp_path, load):
    load(ADA_CSV)

    with pytest.raises(ImportRefused, match="create its folder first"):
        import_contacts(tmp_path / "contacts.csv", tmp_path / "none" / "x.db", region=None)


# --- much, and anything -------------------------------------------------------------------------


def test_progress_ends_with_the_size_of_the_file(load, tmp_path):
    calls = []

    load(MANY, progress=lambda *call: calls.append(call))

    size = (tmp_path / "contacts.csv").stat().st_size
    assert calls == sorted(calls)
    assert len(calls) > 5
    assert {total for _, total in calls} == {size}
    assert calls[-1] == (size, size)


def test_many_rows_do_not_need_to_fit_into_memory(tmp_path):
    with (tmp_path / "contacts.csv").open("w") as file:
        file.write("id,note\n")
        file.writelines(f"{number},{'x' * 10_000}\n" for number in range(3_000))
    tracemalloc.start()

    report = import_contacts(tmp_path / "contacts.csv", tmp_path / "x.db", region=None)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.added == 3_000
    assert peak < 5_000_000


def is_plain(text):
    """Whether the text has none of the marks that are dropped for Excel."""
    return not text.startswith(("=", "'"))


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map(str.strip)
cells = texts.filter(is_plain)
unrounded = cells.filter(lambda text: "E+" not in text.upper())
ids = st.one_of(st.integers(0, 10**20).map(str), unrounded)
emails = st.one_of(st.just(""), st.emails(), cells)
phones = st.one_of(st.just(""), st.from_regex(r"\+46701740[67]\d\d", fullmatch=True), cells)


@given(
    rows=st.lists(st.tuples(ids, cells, emails, phones, cells), max_size=8),
    delimiter=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@settings(deadline=None)
def test_every_accepted_row_comes_back_as_it_was(rows, delimiter, quoting, encoding):
    header = ("id", "name", "email", "phone", "note")
    with TemporaryDirectory() as folder:
        file, store = Path(folder, "contacts.csv"), Path(folder, "contacts.db")
        file.write_bytes(csv_of([header, *rows], delimiter, quoting).encode(encoding))
        report = import_contacts(file, store, region="SE")
        before = contacts(store) if report.accepted else []
        again = import_contacts(file, store, region="SE")
        after = contacts(store) if report.accepted else []

    refused = [refusal.row for refusal in report.refused]
    kept = {
        (
            contact["external_id"] or "",
            contact["name"] or "",
            contact["email"] or "",
            contact["phone"] or "",
            contact["details"].get("note", ""),
        )
        for contact in after
    }
    accepted = [row for row in rows if any(row) and tuple(row) not in refused]
    assert kept >= set(accepted)
    assert kept <= set(rows)
    assert report.added == len(kept)
    assert report.added + report.repeated + len(refused) == sum(map(any, rows))
    assert (again.added, again.changed, again.unchanged) == (0, 0, report.added)
    assert before == after


@given(st.binary(max_size=200), st.sampled_from([b"", b"id,email,phone\n", b"\xff\xfe"]))
@settings(deadline=None)
def test_any_file_is_imported_or_refused(content, start):
    with TemporaryDirectory() as folder:
        file, store = Path(folder, "contacts.csv"), Path(folder, "contacts.db")
        file.write_bytes(start + content)
        try:
            accepted = import_contacts(file, store, region="SE").accepted
        except ImportRefused:
            accepted = 0

        assert store.exists() == (accepted > 0)
        assert accepted == (len(contacts(store)) if accepted else 0)
