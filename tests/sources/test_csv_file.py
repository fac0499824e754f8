"""People in CSV files, as spreadsheets and other systems write them."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbox_plugin.app import create_app
from imbox_plugin.model import Contact, Key
from imbox_plugin.settings import SettingsError
from imbox_plugin.sources import SourceContext, SourceError
from imbox_plugin.sources.csv_file import CsvSource
from tests.people_files import write
from tests.sources.files import ENVIRON, find, only, settings_with, source_of

__all__ = ["source_of"]

MEMBERS = """\
Kundnr;Namn;E-post;E-post 2;Mobil;Telefon;Senaste köp (kr);Nivå
K1;Anna Ek;Anna@Example.com;anna@work.example.com;070-174 06 05;;12,50;guld
K2;Bo Ö;bo@example.com;;;070-1740606;;
"""
ORDERS = "Order;Kundnr;Summa\n1;K1;10\n2;K2;20\n3;K1;30\n"


@pytest.fixture
def members(tmp_path, source_of):
    """A source of this text, or of these bytes."""

    def members(content=MEMBERS, region="SE", **table):
        write(tmp_path / "members.csv", content)
        return source_of(CsvSource, region, file="members.csv", **table)

    return members


# --- what the columns are -----------------------------------------------------------------------


def test_a_row_is_a_contact(members):
    assert only(members(), Key.EXTERNAL_ID, "K1") == Contact(
        name="Anna Ek",
        external_id="K1",
        emails=("Anna@Example.com", "anna@work.example.com"),
        phones=("070-174 06 05",),
        details={"senaste_köp_kr": "12,50", "nivå": "guld"},
    )


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        (Key.EXTERNAL_ID, "K2", "Bo Ö"),
        (Key.EMAIL, "anna@example.com", "Anna Ek"),
        (Key.EMAIL, "anna@work.example.com", "Anna Ek"),
        (Key.PHONE, "+46701740605", "Anna Ek"),
        (Key.PHONE, "+46701740606", "Bo Ö"),
    ],
)
def test_a_person_is_found_by_each_identity(members, key, value, name):
    assert only(members(), key, value).name == name


def test_a_column_may_be_named_where_its_header_does_not_say_it(members):
    source = members(
        "Nr;Vem;Ref\n7;Anna;imbox-1\n",
        columns={"external_id": "Nr", "name": "Vem", "contact_id": "ref"},
    )

    assert only(source, Key.CONTACT_ID, "imbox-1") == Contact(
        name="Anna", external_id="7", contact_id="imbox-1"
    )


def test_several_columns_are_several_identities_in_the_order_named(members):
    source = members(columns={"email": ["E-post 2", "E-post"], "phone": ["Telefon", "Mobil"]})

    assert only(source, Key.EXTERNAL_ID, "K1").emails == (
        "anna@work.example.com",
        "Anna@Example.com",
    )


def test_a_column_that_is_named_loses_its_usual_meaning_and_an_empty_list_has_none(members):
    source = members(columns={"email": "E-post 2", "phone": []})

    contact = only(source, Key.EXTERNAL_ID, "K1")

    assert source.keys == {Key.EXTERNAL_ID, Key.EMAIL}
    assert (contact.emails, contact.phones) == (("anna@work.example.com",), ())
    assert contact.details["mobil"] == "070-174 06 05"
    assert contact.details["e_post"] == "Anna@Example.com"


def test_a_cell_may_hold_several_addresses(members):
    source = members("id,email\n7,a@example.com; b@example.com\n")

    assert only(source, Key.EMAIL, "b@example.com").emails == ("a@example.com", "b@example.com")


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("7,Ada Ek,Ada,Ek,Ek AB", "Ada Ek"),
        ("7,,Ada,Ek,Ek AB", "Ada Ek"),
        ("7,,,Ek,", "Ek"),
        ("7,,,,Ek AB", "Ek AB"),
        ("7,,,,", None),
    ],
)
def test_a_name_is_the_whole_one_or_its_parts_or_the_company(members, row, name):
    source = members(f"id,name,first name,last name,company\n{row}\n")

    assert only(source, Key.EXTERNAL_ID, "7").name == name


@pytest.mark.parametrize(
    ("cell", "phone"), [('"=""0701740605"""', "0701740605"), ("'070-1740605", "070-1740605")]
)
def test_what_keeps_excel_from_a_number_is_no_part_of_it(members, cell, phone):
    assert only(members(f"Mobil\n{cell}\n"), Key.PHONE, "+46701740605").phones == (phone,)


def test_a_number_that_excel_rounded_is_nobodys_id_and_is_shown(members):
    source = members("Kundnr;Mobil\n7,0174E+08;0701740605\n")

    contact = only(source, Key.PHONE, "+46701740605")

    assert find(source, Key.EXTERNAL_ID, "7,0174E+08") == []
    assert (contact.external_id, contact.details) == (None, {"kundnr": "7,0174E+08"})


def test_a_national_number_is_no_identity_without_a_region(members):
    assert find(members(region=None), Key.PHONE, "+46701740605") == []


# --- files as they come -------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_delimiter_and_encoding_are_found_out(members, delimiter, encoding):
    content = MEMBERS.replace(",", ".").replace(";", delimiter).encode(encoding)
    given = {"delimiter": "|"} if delimiter == "|" else {}

    assert only(members(content, **given), Key.EXTERNAL_ID, "K2").name == "Bo Ö"


def test_delimiter_and_encoding_may_be_given(members):
    content = "id,x;name\n7,x;Łucja\n".encode("cp1250")

    source = members(content, delimiter=";", encoding="cp1250", columns={"external_id": "id,x"})

    assert only(source, Key.EXTERNAL_ID, "7,x").name == "Łucja"


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
            min_size=3,
            max_size=3,
        ),
        max_size=6,
    ),
    st.sampled_from(",;\t"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_program_writes_is_what_is_read(rows, delimiter, encoding):
    """Of any table, but for the white space around a cell."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([["Kundnr", "A", "B", "C"], *([f"K{n}", *row] for n, row in enumerate(rows))])
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", folder)
        file = write(Path(folder, "any.csv"), text.getvalue().encode(encoding))
        options = CsvSource.Options().load({"file": file.name})
        with closing(
            CsvSource(options, SourceContext(folder=file.parent, time_limit=60))
        ) as source:
            read = [only(source, Key.EXTERNAL_ID, f"K{n}").details for n in range(len(rows))]

    assert read == [cells_of(row) for row in rows]


def cells_of(row):
    cells = ((name, cell.strip()) for name, cell in zip("abc", row, strict=True))
    return {name: unquoted(cell) for name, cell in cells if unquoted(cell)}


def unquoted(cell):
    """What keeps Excel from changing a cell is no part of it."""
    if cell.startswith('="') and cell.endswith('"') and '"' not in cell[2:-1]:
        return cell[2:-1].strip()
    if cell[:1] == "'" and cell[1:2] in "+0123456789" and set(cell[2:]) <= set("0123456789 ()./-"):
        return cell[1:].strip() if cell[1:2] else cell
    return cell


def test_a_row_whose_cells_have_moved_is_left_out_and_told(members, caplog):
    source = members("id;name;email\n7;Ek; Anna;a@example.com\n8;Bo;b@example.com\n")

    assert find(source, Key.EXTERNAL_ID, "7") == []
    assert only(source, Key.EXTERNAL_ID, "8").name == "Bo"
    (warning,) = caplog.messages
    assert warning == (
        "members.csv: 1 rows left out, the first is 2: 4 cells under 3 headers; "
        "put quotation marks around a cell that holds the separator"
    )


@pytest.mark.parametrize(
    ("content", "table", "says"),
    [
        (b"", {}, "members.csv is empty; its first row must name the columns"),
        ("Stad;Nivå\nLund;guld\n", {}, "has no column for an external id, an e-mail or a phone"),
        ("Id;Kundnr\n1;2\n", {}, r"several columns that may be the external id \(Id, Kundnr\)"),
        (MEMBERS, {"columns": {"name": "Vem"}}, r"no column 'Vem' \(its columns are Kundnr, Namn,"),
        ('id\n"7', {}, "members.csv is not CSV from line 2 on"),
        (b"id\n\0\n", {}, "members.csv holds binary data in line 2"),
        ("id\nÅ".encode("cp1252"), {"encoding": "utf-8"}, "is not text in utf-8 near line"),
        ("Anna;0701740605\n", {}, "its first row looks like a contact, so the header row may be"),
        ("id;name\n;Anna\n", {}, "nobody in members.csv has an external id, e-mail or .*; correct"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_what_was_found(members, content, table, says):
    with pytest.raises(SourceError, match=says):
        members(content, **table).check()


def test_an_empty_table_is_nobody(members):
    assert find(members("id;name\n"), Key.EXTERNAL_ID, "7") == []


# --- related ------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["external_id", "Kundnr", "kund-nr"])
def test_rows_of_a_further_file_are_a_detail(members, tmp_path, to):
    write(tmp_path / "orders.csv", ORDERS)
    source = members(related={"orders": {"file": "orders.csv", "key": "kundnr", "to": to}})

    assert only(source, Key.EMAIL, "anna@example.com").details["orders"] == [
        {"order": "1", "summa": "10"},
        {"order": "3", "summa": "30"},
    ]


def test_rows_of_a_further_file_may_have_the_names_of_a_contact(members, tmp_path):
    write(tmp_path / "pets.csv", "name,owner,email,name\nRex,K1,,Rexy\n,K1\nStray\nStray,\n")
    source = members(related={"pets": {"file": "pets.csv", "key": "owner"}})

    assert only(source, Key.EXTERNAL_ID, "K1").details["pets"] == [
        {"name": "Rex", "name_2": "Rexy"},
        {},
    ]


@pytest.mark.parametrize(
    ("related", "says"),
    [
        ({"key": "Kund"}, r"orders.csv has no column 'Kund' \(its columns are Order, Kundnr, Sum"),
        ({"key": "Kundnr", "to": "Konto"}, "members.csv has no column 'Konto'"),
    ],
)
def test_a_further_file_that_does_not_fit_is_told(members, tmp_path, related, says):
    write(tmp_path / "orders.csv", ORDERS)

    with pytest.raises(SourceError, match=says):
        members(related={"orders": {"file": "orders.csv", **related}}).check()


# --- the settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "sources[0].file: missing; add it"),
        ('file = ""', "sources[0].file: names no file; write its path, from the folder of the"),
        ('file = "m.csv"\ndelimiter = ";;"', "delimiter: not a separator; write one character, s"),
        ('file = "m.csv"\nencoding = "utf-9"', "encoding: no such text encoding; usual ones are"),
        ('file = "m.csv"\nencoding = "hex"', "encoding: no such text encoding; usual ones are"),
        ('file = "m.csv"\ncolumns = { mail = "x" }', "columns.mail: no setting is called 'mail'"),
        ('file = "m.csv"\ncolumns = { email = 1 }', "sources[0].columns.email: must be a list"),
        ('file = "m.csv"\ncolumns = { email = [1] }', "columns.email[0]: must be a text"),
        (
            'file = "m.csv"\ncolumns = { external_id = ["a", "b"] }',
            "columns.external_id: several columns, whose ids would be mixed; name one",
        ),
        (
            'file = "m.csv"\n[sources.related.email]\nfile = "o.csv"\nkey = "k"',
            "sources[0].related.email: not a name for a detail; use letters",
        ),
        (
            'file = "m.csv"\n[sources.related.orders]\nfile = "o.csv"\nto = "email"',
            "sources[0].related.orders.key: missing; add it",
        ),
    ],
)
def test_a_mistake_in_the_settings_is_found_at_start_with_its_place(tmp_path, table, says):
    file = settings_with(tmp_path, f'type = "csv"\n{table}')

    with pytest.raises(SettingsError) as stopped:
        create_app(file, ENVIRON)

    assert says in str(stopped.value)
    assert len(stopped.value.problems) == 1


def test_a_server_starts_without_the_file(tmp_path):
    file = settings_with(tmp_path, 'type = "csv"\nfile = "nowhere.csv"')

    create_app(file, ENVIRON)


def test_a_file_may_lie_elsewhere(tmp_path, source_of):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write(elsewhere / "members.csv", MEMBERS)

    source = source_of(CsvSource, file=os.fspath(elsewhere / "members.csv"))

    assert only(source, Key.EXTERNAL_ID, "K2").name == "Bo Ö"
