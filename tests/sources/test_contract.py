"""What every source has to do, asked of every built-in one.

A new source adds its class here: the people of its own tests, a `source` that knows them and a
`broken` one that cannot answer.
"""

from contextlib import closing

import pytest

from imbox_plugin.model import Key
from imbox_plugin.sources import SourceContext
from imbox_plugin.sources.inline import InlineSource
from imbox_plugin.sources.sql import SqlSource
from imbox_plugin.testing import SourceContract
from tests.sources.test_sql import FIND, database

__all__ = ["database"]  # the customers of the SQL tests on three databases

SWEDEN = SourceContext(default_region="SE")
PEOPLE = [
    {
        "name": "Anna",
        "external_id": "K1",
        "contact_id": "c-1",
        "email": "Anna@example.se",
        "phones": ["070-174 06 05"],
        "details": {"orders": [{"id": 1}]},
    },
    {"name": "Bo", "external_id": "K2", "email": "bo@example.se", "phone": "070-174 06 06"},
]


class TestInlineSource(SourceContract):
    known = {
        Key.EXTERNAL_ID: "K1",
        Key.CONTACT_ID: "c-1",
        Key.EMAIL: "anna@example.se",
        Key.PHONE: "070-174 06 05",
    }
    name = "Anna"
    external_id = "K1"

    @pytest.fixture
    def source(self):
        return InlineSource(InlineSource.Options().load({"people": PEOPLE}), SWEDEN)

    @pytest.fixture
    def broken(self):
        pytest.skip("what is written in the settings is always there")


class TestSqlSource(SourceContract):
    known = {
        Key.EXTERNAL_ID: "1",
        Key.CONTACT_ID: "c-1",
        Key.EMAIL: "anna@example.se",
        Key.PHONE: "070-174 06 05",
    }
    name = "Anna"
    external_id = "1"

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
