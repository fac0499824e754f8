"""What every source has to do, asked of every built-in one.

A new source adds its class here: a `source` that knows the people below, and a `broken` one that
cannot answer. The REST source has its own in `test_rest.py`, beside the vendor's server.
"""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from imbox_plugin.model import Key
from imbox_plugin.sources import SourceContext
from imbox_plugin.sources.csv_file import CsvSource
from imbox_plugin.sources.excel import ExcelSource
from imbox_plugin.sources.inline import InlineSource
from imbox_plugin.sources.json_file import JsonSource
from imbox_plugin.sources.sql import SqlSource
from imbox_plugin.testing import SourceContract
from tests.sources.test_sql import FIND, database
from tests.xlsx import write_xlsx

__all__ = ["database"]  # the customers of the SQL tests on three databases

SWEDEN = SourceContext(default_region="SE")
ANNA = {
    Key.EXTERNAL_ID: "1",
    Key.CONTACT_ID: "c-1",
    Key.EMAIL: "anna@example.se",
    Key.PHONE: "070-174 06 05",
}
PEOPLE = [
    {
        "name": "Anna",
        "external_id": "1",
        "contact_id": "c-1",
        "email": "Anna@example.se",
        "phone": "+46 70 174 06 05",
    },
    {"name": "Bo", "external_id": "2", "email": "bo@example.se", "phone": "070-174 06 06"},
]
CSV = """\
contact_id;external_id;name;email;phone;city
c-1;1;Anna;Anna@example.se;070-174 06 05;Lund
;2;Bo;bo@example.se;070-174 06 06;Umeå
"""


def built(kind, table, folder=Path()):
    """A source by its table in the settings, closed afterwards."""
    return closing(kind(kind.Options().load(table), replace(SWEDEN, folder=folder)))


class TestInlineSource(SourceContract):
    known = ANNA
    name = "Anna"

    @pytest.fixture
    def source(self):
        with built(InlineSource, {"people": PEOPLE}) as source:
            yield source

    @pytest.fixture
    def broken(self):
        pytest.skip("what is written in the settings is always there")


class TestCsvSource(SourceContract):
    known = ANNA
    name = "Anna"
    options = {"file": "people.csv", "columns": {"contact_id": "contact_id"}}

    @pytest.fixture(scope="class")  # a file that has just been written is not trusted yet
    @classmethod
    def source(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("csv")
        folder.joinpath("people.csv").write_text(CSV, "utf-8")
        with built(CsvSource, cls.options, folder) as source:
            yield source

    @pytest.fixture
    def broken(self, tmp_path):
        with built(CsvSource, self.options, tmp_path) as source:
            yield source


class TestExcelSource(SourceContract):
    known = ANNA
    name = "Anna"
    options = {"file": "people.xlsx", "columns": {"contact_id": "contact_id"}}

    @pytest.fixture(scope="class")  # a file that has just been written is not trusted yet
    @classmethod
    def source(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("excel")
        rows = [[cell or None for cell in line.split(";")] for line in CSV.splitlines()]
        write_xlsx(folder / "people.xlsx", {"People": rows})
        with built(ExcelSource, cls.options, folder) as source:
            yield source

    @pytest.fixture
    def broken(self, tmp_path):
        with built(ExcelSource, self.options, tmp_path) as source:
            yield source


class TestJsonSource(SourceContract):
    known = ANNA
    name = "Anna"

    @pytest.fixture(scope="class")  # a file that has just been written is not trusted yet
    @classmethod
    def source(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("json")
        folder.joinpath("people.json").write_text(json.dumps(PEOPLE), "utf-8")
        with built(JsonSource, {"file": "people.json"}, folder) as source:
            yield source

    @pytest.fixture
    def broken(self, tmp_path):
        with built(JsonSource, {"file": "people.json"}, tmp_path) as source:
            yield source


class TestSqlSource(SourceContract):
    known = ANNA
    name = "Anna"

    @pytest.fixture(scope="class")  # a server takes its time to let us in
    @classmethod
    def source(cls, database):
        with closing(SqlSource(database.options(FIND), SWEDEN)) as source:
            yield source

    @pytest.fixture
    def broken(self, database):
        gone = {key: sql.replace("{customers}", "gone") for key, sql in FIND.items()}
        with closing(SqlSource(database.options(gone), SWEDEN)) as source:
            yield source
