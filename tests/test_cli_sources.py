"""`flask sources`: the types there are, where they come from, and their options."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner
from marshmallow import Schema, fields, validate

from imbox_plugin import cli
from imbox_plugin.links import LinkBuilder
from imbox_plugin.plugins import (
    LINK_GROUP,
    LINKS,
    SINKS,
    SOURCE_GROUP,
    SOURCES,
    Option,
    Registry,
    options_of,
)
from imbox_plugin.sources import DataSource
from tests.packages import install

SOURCE = '''
from imbox_plugin.sources import DataSource, Key, Schema, fields

class Club(DataSource):
    """The members of a club.

    And more about them.
    """

    keys = frozenset({Key.EMAIL})

    class Options(Schema):
        file = fields.String(required=True, metadata={"help": "[b]where[/b] they are"})
        token = fields.String(metadata={"secret": True})

    def find(self, lookup):
        return []
'''
LINK = """
from imbox_plugin.links import LinkBuilder

class Page(LinkBuilder):
    def url(self, lookup, contact):
        return None
"""


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    """Forget what a test has put on Python's path, and has imported from there."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in [name for name in sys.modules if name.startswith("listed_")]:
        del sys.modules[name]


@pytest.fixture
def site(tmp_path_factory, monkeypatch):
    """A folder for installed packages."""
    site = tmp_path_factory.mktemp("site")
    monkeypatch.syspath_prepend(site)
    return site


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """What `flask sources` says, with these settings, or in a folder without any."""
    monkeypatch.chdir(tmp_path)

    def listed(settings=None):
        if settings is not None:
            tmp_path.joinpath("imbox.toml").write_text(settings, "utf-8")
        result = CliRunner().invoke(cli.sources, env={"IMBOX_SETTINGS": "", "COLUMNS": "100"})
        assert result.exit_code == 0, result.output
        return [line.rstrip() for line in result.output.splitlines()]

    return listed


def line_of(lines, start):
    (found,) = [line.strip() for line in lines if line.strip().startswith(start)]
    return found


def test_every_built_in_type_is_listed_below_its_kind_without_any_settings(listed):
    lines = listed()
    links, sinks = lines.index("links"), lines.index("sinks")
    kinds = (lines[:links], SOURCES), (lines[links:sinks], LINKS), (lines[sinks:], SINKS)

    assert lines[0] == "sources"
    for lines_of_kind, types in kinds:
        listed_types = [
            line.split(",")[0].strip() for line in lines_of_kind if ", built in" in line
        ]
        assert listed_types == list(types)


def test_an_option_is_listed_with_its_form_its_default_and_its_meaning(listed):
    lines = listed()

    assert line_of(lines, "pool_size").startswith("pool_size      whole number, default 16: connec")
    assert "value, secret: of the database" in " ".join(lines)
    assert '    message  text, default "": what is written for the agent to send' in lines
    assert "      external_id  text" in lines


def test_an_installed_type_is_listed_with_its_package(listed, site):
    install(site, "listed_club", SOURCE, SOURCE_GROUP, club="listed_club:Club")
    install(site, "listed_page", LINK, LINK_GROUP, page="listed_page:Page")
    lines = listed()

    assert "  club, listed_club 1.0. The members of a club." in lines
    assert "    file   text, required: [b]where[/b] they are" in lines
    assert "    token  text, secret" in lines
    assert "  page, listed_page 1.0" in lines


def test_what_is_beside_the_settings_is_listed_where_the_settings_name_it(listed, tmp_path):
    tmp_path.joinpath("listed_own.py").write_text(SOURCE + LINK, "utf-8")
    lines = listed(
        """
        sources = [{ type = "listed_own:Club" }, { type = "listed_own:Club" }, { type = "sql" }]
        [panels.default]
        links = [{ type = "listed_own:Page" }, { type = "nonsense" }, 7]
        [panels.other]
        links = "none"
        """
    )

    assert lines.count("  listed_own:Club, beside the settings. The members of a club.") == 1
    assert "  listed_own:Page, beside the settings" in lines


@pytest.mark.parametrize("settings", ["sources = 3\npanels = 4", "not TOML", "[sources]\na = 1"])
def test_settings_that_are_wrong_do_not_keep_the_types_back(listed, settings):
    assert "  whatsapp, built in. A chat in whatever WhatsApp the agent has." in listed(settings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_driver", "ModuleNotFoundError: No module named 'no_such_driver'"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
        (SOURCE.replace("find", "found"), "listed_bad:Club does not define find; add it to the"),
        (SOURCE.replace("Club", "Klub"), "the module listed_bad has no Club; correct the name"),
        (SOURCE.replace("file =", "file = 1 /"), "TypeError: unsupported operand"),
    ],
)
def test_a_broken_plugin_is_listed_as_broken_and_the_others_as_ever(listed, site, text, says):
    install(site, "listed_bad", text, SOURCE_GROUP, bad="listed_bad:Club")
    lines = listed()

    assert f"bad, listed_bad 1.0: broken, {says}" in line_of(lines, "bad,")
    assert any(line.startswith("  whatsapp, built in") for line in lines)


def test_a_type_that_cannot_be_used_for_its_name_says_why(listed, site):
    install(site, "listed_inline", SOURCE, SOURCE_GROUP, inline="listed_inline:Club")
    install(site, "listed_one", SOURCE, SOURCE_GROUP, club="listed_one:Club")
    install(site, "listed_two", SOURCE, SOURCE_GROUP, club="listed_two:Club")
    lines = listed()

    assert "  inline, listed_inline 1.0: never used, because a built-in type has this name" in lines
    assert sum("1.0: broken, listed_one 1.0 and listed_two 1.0 both offer it" in at for at in lines)
    assert "listed_inline" not in sys.modules


def test_every_option_is_described_with_the_tables_inside():
    class Table(Schema):
        size = fields.Integer(data_key="page-size", load_default=10)

    class Tree(Schema):
        inner = fields.Nested("Tree")

    class Options(Schema):
        first = fields.Nested(Table, required=True)
        again = fields.List(fields.Nested(Table))
        named = fields.Dict(fields.String(), fields.Nested(Tree))
        names = fields.Dict(fields.String(), fields.String(), load_default=dict)
        lists = fields.List(fields.List(fields.Float()))
        insecure = fields.Boolean(load_default=False)
        method = fields.String(validate=[validate.Length(1), validate.OneOf(["GET", "POST"])])
        any = fields.Raw(metadata={"help": "anything", "secret": len})

    def option(name, kind, default=None, help="", *, required=False, secret=False):  # noqa: A002
        return Option(name, kind, required, default, secret, help)

    assert options_of(Options()) == [
        option("first", "table", required=True),
        option("first.page-size", "whole number", 10),
        option("again", "list of tables like first"),
        option("named", "table of tables"),
        option("named.<name>.inner", "table like named.<name>"),
        option("names", "table of texts"),
        option("lists", "list of list of numbers"),
        option("insecure", "true or false", default=False),
        option("method", '"GET" or "POST"'),
        option("any", "value", help="anything", secret=True),
    ]


@pytest.mark.parametrize(
    ("kind", "types"), [(DataSource, SOURCES), (LinkBuilder, LINKS)], ids=["sources", "links"]
)
def test_every_option_of_a_built_in_type_says_what_it_is_for(tmp_path, kind, types):
    registry = Registry(kind, types, "none", tmp_path)
    silent = [
        f"{type_}: {option.name}"
        for type_ in types
        for option in options_of(registry.load(type_).Options())
        if not option.help and "." not in option.name
    ]

    assert silent == []
