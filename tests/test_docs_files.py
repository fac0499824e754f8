"""What docs/files.md shows works."""

from __future__ import annotations

import re
import tempfile
import tomllib
from contextlib import ExitStack, closing

import pytest

from imbox_plugin.app import create_app
from imbox_plugin.model import Key
from imbox_plugin.plugins import SOURCES
from tests.demo import ROOT
from tests.people_files import write
from tests.sources.files import ENVIRON, only, settings_with

PAGE = (ROOT / "docs" / "files.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SOURCE_BLOCKS = {
    tomllib.loads(text)["sources"][0]["type"]: text
    for kind, text in BLOCKS
    if kind == "toml" and text.startswith("[[sources]]")
}


@pytest.fixture
def source_in(tmp_path, monkeypatch):
    """The source that settings with this text have, beside the files of the page."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = next(text for kind, text in BLOCKS if kind == "text")
    write(tmp_path / "members.csv", rows)
    write(tmp_path / "orders.csv", "Order;Kundnr;Summa\n1;K1001;10\n")
    write(tmp_path / "people.json", next(text for kind, text in BLOCKS if kind == "json"))

    with ExitStack() as stack:

        def source_in(text):
            app = create_app(settings_with(tmp_path, text.partition('"\n')[2]), ENVIRON)
            (source,) = app.extensions["imbox_plugin"].panels["default"].directory.sources
            return stack.enter_context(closing(source))

        yield source_in


def test_there_is_an_example_of_each_type():
    assert set(SOURCE_BLOCKS) == {"csv", "excel", "json"} <= set(SOURCES)


def test_the_csv_file_of_the_page_needs_no_more_than_the_page_says(source_in):
    contact = only(source_in(SOURCE_BLOCKS["csv"]), Key.PHONE, "+46701740605")

    assert (contact.name, contact.external_id) == ("Åsa Lindqvist", "K1001")
    for name in re.findall(r"`\{\{ contact\.(\w+) \}\}`", PAGE):
        assert contact.details[name]


def test_named_columns_are_columns_of_the_file(source_in):
    (columns,) = [text for kind, text in BLOCKS if kind == "toml" and text.startswith("columns")]
    source = source_in(SOURCE_BLOCKS["csv"] + columns.replace("Konto", "Kundnr"))

    assert only(source, Key.EXTERNAL_ID, "K1001").details["mobil"] == "070-174 06 05"


def test_the_related_file_of_the_page_becomes_a_detail(source_in):
    (related,) = [text for kind, text in BLOCKS if kind == "toml" and "related.orders" in text]
    contact = only(source_in(SOURCE_BLOCKS["csv"] + related), Key.EXTERNAL_ID, "K1001")

    assert contact.details["orders"] == [{"order": "1", "summa": "10"}]


def test_the_json_file_of_the_page_is_read_as_the_page_says(source_in):
    contact = only(source_in(SOURCE_BLOCKS["json"]), Key.EMAIL, "asa@example.com")

    assert (contact.name, contact.external_id) == ("Åsa Lindqvist", "1001")
    assert str(contact.details["balance"]) == "12.50"
    assert contact.details["contact"]["emails"] == ["asa@example.com"]


def test_the_excel_example_is_in_order(source_in):
    pytest.importorskip("python_calamine", reason="the extra `excel` is not installed")

    assert source_in(SOURCE_BLOCKS["excel"]).keys == {Key.EXTERNAL_ID, Key.EMAIL, Key.PHONE}
