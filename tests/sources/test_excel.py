"""People in Excel workbooks."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from imbox_plugin.app import create_app
from imbox_plugin.model import Contact, Key
from imbox_plugin.settings import SettingsError
from imbox_plugin.sources import SourceError
from imbox_plugin.sources.excel import ExcelSource
from tests.people_files import write
from tests.sources.files import ENVIRON, find, only, settings_with, source_of, wait
from tests.xlsx import write_xlsx

__all__ = ["source_of"]

pytest.importorskip("python_calamine", reason="the extra `excel` is not installed")

MEMBERS = [
    ["Kundnr", "Namn", "E-post", "Mobil", "Sedan", "Saldo", "Antal", "VIP", "Ring"],
    [
        "K1",
        "Anna Ek ",
        "Anna@Example.com",
        "070-174 06 05",
        date(2024, 3, 1),
        12.5,
        3,
        True,
        datetime(2024, 3, 1, 12, 30),  # noqa: DTZ001 - as in a cell
    ],
    [],
    [8, "Bo Ö", None, 701740606, None, None, None, False, " '070-1740607 "],
]
ORDERS = [["Order", "Kundnr", "Summa"], [1, "K1", 10.5], [2, 8, 20], [3, "K1", None]]


@pytest.fixture
def members(tmp_path, source_of):
    """A source of these sheets."""

    def members(sheets=None, **table):
        write_xlsx(tmp_path / "new.xlsx", sheets or {"Kunder": MEMBERS, "Order": ORDERS})
        write(tmp_path / "members.xlsx", (tmp_path / "new.xlsx").read_bytes())
        return source_of(ExcelSource, file="members.xlsx", **table)

    return members


def test_a_row_is_a_contact_whose_details_keep_their_types(members):
    assert only(members(), Key.EMAIL, "anna@example.com") == Contact(
        name="Anna Ek",
        external_id="K1",
        emails=("Anna@Example.com",),
        phones=("070-174 06 05",),
        details={
            "sedan": "2024-03-01",
            "saldo": 12.5,
            "antal": 3,
            "vip": True,
            "ring": "2024-03-01 12:30:00",
        },
    )


def test_a_number_is_an_identity_as_it_is_written(members):
    """Excel has taken the zero of the phone number away."""
    contact = only(members(), Key.PHONE, "+46701740606")

    assert contact == only(members(), Key.EXTERNAL_ID, "8")
    assert (contact.external_id, contact.phones) == ("8", ("701740606",))
    assert contact.details == {"vip": False, "ring": "070-1740607"}


def test_the_first_sheet_is_read_unless_another_is_named(members):
    sheets = {"Om": [["Kundnr", "Namn"], ["K1", "Om"]], "Kunder": MEMBERS}

    assert only(members(sheets), Key.EXTERNAL_ID, "K1").name == "Om"
    assert only(members(sheets, sheet="Kunder"), Key.EXTERNAL_ID, "K1").name == "Anna Ek"


def test_rows_above_the_headers_may_be_blank_and_columns_be_named(members):
    sheets = {"A": [[], [None, "  "], ["Nr", "Vem"], [7, "Anna"]]}
    source = members(sheets, columns={"external_id": "Nr", "name": "Vem"})

    assert only(source, Key.EXTERNAL_ID, "7") == Contact(name="Anna", external_id="7")


def test_rows_of_a_further_sheet_are_a_detail(members):
    source = members(related={"orders": {"sheet": "Order", "key": "Kundnr"}})

    assert only(source, Key.EXTERNAL_ID, "K1").details["orders"] == [
        {"order": 1, "summa": 10.5},
        {"order": 3},
    ]
    assert only(source, Key.EXTERNAL_ID, "8").details["orders"] == [{"order": 2, "summa": 20}]


def test_rows_of_a_further_workbook_are_a_detail(members, tmp_path):
    write_xlsx(tmp_path / "new.xlsx", {"Order": ORDERS})
    write(tmp_path / "orders.xlsx", (tmp_path / "new.xlsx").read_bytes())
    source = members(related={"orders": {"file": "orders.xlsx", "key": "Kundnr"}})

    assert len(only(source, Key.EXTERNAL_ID, "K1").details["orders"]) == 2


@pytest.mark.parametrize(
    ("sheets", "table", "says"),
    [
        (
            {"A": MEMBERS},
            {"sheet": "B"},
            r"has no sheet 'B' \(its sheets are A\); correct sheet",
        ),
        ({"A": []}, {}, "members.xlsx is empty; its first row must name the columns"),
        ({"A": [["Stad"], ["Lund"]]}, {}, "has no column for an external id, an e-mail or a phone"),
        ({"A": [["id"], [None], [""]]}, {}, None),
    ],
)
def test_a_sheet_that_cannot_be_used_is_told_with_what_was_found(members, sheets, table, says):
    source = members(sheets, **table)

    if says is None:
        assert find(source, Key.EXTERNAL_ID, "7") == []
    else:
        with pytest.raises(SourceError, match=says):
            source.check()


@pytest.mark.parametrize("content", [b"", b"id;name\n7;Anna\n", b"PK\3\4 and no more"])
def test_what_is_no_workbook_is_told(tmp_path, source_of, content):
    write(tmp_path / "members.xlsx", content)

    with pytest.raises(SourceError, match=r"members.xlsx is no Excel workbook .*save it as .xlsx"):
        source_of(ExcelSource, file="members.xlsx").check()


def test_half_of_a_workbook_is_never_served(members, tmp_path, monkeypatch):
    monkeypatch.setattr("imbox_plugin.files._BETWEEN_LOOKS", 0.0)
    source = members()
    source.check()
    whole = (tmp_path / "members.xlsx").read_bytes()

    write(tmp_path / "members.xlsx", whole[: len(whole) // 2])
    find(source, Key.EXTERNAL_ID, "K1")
    wait()

    assert only(source, Key.EXTERNAL_ID, "K1").name == "Anna Ek"
    with pytest.raises(SourceError, match=r"serving the data of .* is no Excel workbook"):
        source.check()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "sources[0].file: missing; add it"),
        (
            'file = "m.xlsx"\n[sources.related.orders]\nkey = "k"',
            "sources[0].related.orders: neither file nor sheet; say which sheet, or which file",
        ),
    ],
)
def test_a_mistake_in_the_settings_is_found_at_start_with_its_place(tmp_path, table, says):
    file = settings_with(tmp_path, f'type = "excel"\n{table}')

    with pytest.raises(SettingsError) as stopped:
        create_app(file, ENVIRON)

    assert says in str(stopped.value)
    assert len(stopped.value.problems) == 1


def test_a_missing_reader_is_told_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr("imbox_plugin.sources.excel.find_spec", lambda _name: None)
    file = settings_with(tmp_path, 'type = "excel"\nfile = "m.xlsx"')

    with pytest.raises(SettingsError, match=r"pip install 'imbox-plugin\[excel\]'"):
        create_app(file, ENVIRON)
