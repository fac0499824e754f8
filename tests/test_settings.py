import copy
import re
from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from marshmallow import Schema, fields, validate

from imbox_plugin.app import create_app
from imbox_plugin.settings import (
    AccessKey,
    Limits,
    SettingsError,
    SettingsFile,
    find_settings,
    read_settings,
)
from tests.toml_text import toml_text

SECRET = "a-secret-of-32-characters-for-us"
ENVIRON = {"SECRET": SECRET, "BLANK": " ", "SHORT": "123456789012345"}

SOURCES = """
[[sources]]
name = "crm"
type = "inline"
default_region = "SE"
people = []
"""
PANELS = """
[panels.default]
keys = [{ id = "a", secret = { env = "SECRET" } }]
"""

#: every kind of table and setting there is, all as they should be
COMPLETE = {
    "base_url": "https://plugin.example.com",
    "locale": "sv",
    "timezone": "Europe/Stockholm",
    "default_region": "SE",
    "deadline": 2.5,
    "secret_keys": [{"env": "SECRET"}],
    "cache": {"url": "redis://127.0.0.1:6379/0", "prefix": "shop"},
    "validation": "strict",
    "sanitizer": "nh3",
    "limits": {"rows": 3, "bytes": 5000},
    "wire": {"html_content": "content", "elements": "all"},
    "sources": [
        {
            "name": "crm",
            "type": "inline",
            "default_region": "NO",
            "threads": 4,
            "breaker": {"failures": 3, "reset": 10},
            "cache": {"ttl": 60, "negative_ttl": 5, "stale_if_error": 3600, "entries": 10},
            "people": [{"name": "Ada", "email": "ada@example.com", "details": {"orders": [1]}}],
        },
        {
            "name": "shop",
            "type": "sql",
            "url": "sqlite:///shop.db",
            "find": {"email": "SELECT email FROM people WHERE email = :email"},
            "related": {"orders": "SELECT total FROM orders WHERE email = :email"},
            "time_limit": 1.5,
            "pool_size": 2,
            "max_rows": 9,
        },
    ],
    "panels": {
        "default": {
            "keys": [{"id": "a", "secret": {"env": "SECRET"}, "expires": date(2099, 1, 31)}],
            "key_header": "X-Key",
            "key_in_query": True,
            "sources": ["crm", "shop"],
            "blocks": [
                {
                    "name": "Customer",
                    "icon": "info",
                    "source": "crm",
                    "views": ["chat"],
                    "when": "contact.name",
                    "data": [
                        {
                            "type": "list",
                            "each": "contact.orders",
                            "rows": [{"label": "Name", "text": "{{ contact.name }}", "when": "1"}],
                        },
                        {"type": "table", "columns": [{"header": "Order", "text": "{{ item }}"}]},
                        {"type": "html", "html": "<b>{{ contact.name }}</b>", "trusted": False},
                        {
                            "type": "accordion",
                            "title": "Order",
                            "data": [{"type": "list", "rows": [{"label": "x", "text": "y"}]}],
                        },
                    ],
                }
            ],
            "links": [
                {"type": "url", "text": "CRM", "url": "https://crm.example.com/{email}"},
                {"type": "gallabox", "text": "Chat", "channel_id": "abc", "views": ["chat"]},
                {"type": "whatsapp", "text": "Chat", "message": "Hi"},
            ],
        }
    },
}

#: marshmallow's own sentences, which name no cure
RAW = {
    sentence
    for kind in vars(fields).values()
    if isinstance(kind, type) and issubclass(kind, fields.Field)
    for sentence in kind.default_error_messages.values()
} | {"Unknown field.", "Invalid input type."}


@pytest.fixture
def write(tmp_path):
    """Write a settings file."""

    def write(text):
        file = tmp_path / "imbox.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


@pytest.fixture
def read(write):
    """The settings that a text means, and the file they were read from."""

    def read(text):
        file = SettingsFile(write(text), ENVIRON)
        read = read_settings(file)
        file.finish()
        return read, file

    return read


@pytest.fixture
def mistakes(write):
    """Everything that stops the start with a text, by path."""

    def mistakes(text):
        with pytest.raises(SettingsError) as refused:
            create_app(write(text), ENVIRON)
        problems = refused.value.problems
        assert len({problem.path for problem in problems}) == len(problems)
        return {problem.path: problem.message for problem in problems}

    return mistakes


# --- the file -------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_classes(read):
    settings, file = read(SOURCES + PANELS)
    (panel,) = settings.panels

    assert settings.limits == Limits()
    assert (settings.locale, settings.sanitizer, settings.strict) == ("en", "nh3", False)
    assert panel.keys == (AccessKey("a", SECRET),)
    assert file.warnings == []


def test_a_file_of_a_windows_editor_is_read(read):
    settings, _ = read("\ufeff" + (SOURCES + PANELS).replace("\n", "\r\n"))

    assert settings.sources[0].name == "crm"


@pytest.mark.parametrize("text", ["", "\ufeff", "# nothing yet\n"])
def test_an_empty_file_is_told_what_it_needs(mistakes, text):
    assert mistakes(text) == {
        "sources": "no sources; add [[sources]] with name and type",
        "panels": "no panels; add [panels.default] with its keys",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("locale = sv", r"not TOML: .*line 1, column 10.*; correct it there"),
        ("a = 1\na = 2", "not TOML: Cannot overwrite a value .*; correct it there"),
        ("{}", "not TOML: .*; correct it there"),
        ("deadline = 9" + "9" * 5000, "not TOML: .*; correct it there"),
        ("a = " + "[" * 5000, "too deep in each other; make it flatter"),
        (".".join("a" * 5000) + " = 1", "too deep in each other; make it flatter"),
        (b'name = "\xe5"', "not UTF-8 text; save it as UTF-8"),
        ('locale = "sv"'.encode("utf-16"), "not UTF-8 text; save it as UTF-8"),
        (b"\x00", "not TOML: .*; correct it there"),
    ],
)
def test_what_is_not_a_toml_file_is_refused_with_the_reason(mistakes, text, says):
    (message,) = mistakes(text).values()

    assert re.search(says, message)


def test_a_file_of_one_line_is_not_taken_for_a_secret(mistakes):
    assert mistakes('env = "GONE"').keys() == {"env", "sources", "panels"}


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(SettingsError, match=r"cannot be read .*; check its name"):
            SettingsFile(path, {})


def test_the_message_has_the_file_and_the_count_and_every_mistake(write):
    file = write("locale = 3\n" + SOURCES)
    with pytest.raises(SettingsError) as refused:
        create_app(file, {})

    first, *lines = str(refused.value).splitlines()
    assert first == f"{file}: 2 mistakes in the settings"
    assert lines == [f"  {problem}" for problem in refused.value.problems]
    assert lines[0] == '  locale: must be a text; write it in quotes, "..."'


def test_the_environment_names_the_settings(tmp_path, write, monkeypatch):
    file = write("")
    monkeypatch.chdir(tmp_path)

    for name in (f" {file} ", "imbox.toml"):
        found = find_settings({"IMBOX_SETTINGS": name}, tmp_path / "elsewhere")

        assert found.samefile(file)


@pytest.mark.parametrize("environ", [{}, {"IMBOX_SETTINGS": " "}])
def test_without_a_name_the_settings_are_in_the_working_directory(tmp_path, write, environ):
    file = write("")

    assert find_settings(environ, tmp_path) == file


def test_a_name_of_no_file_is_refused_even_where_there_are_settings(tmp_path, write):
    write("")

    with pytest.raises(SettingsError, match=r"names gone\.toml.*; correct the name"):
        find_settings({"IMBOX_SETTINGS": "gone.toml"}, tmp_path)


def test_without_settings_the_server_says_how_to_begin(tmp_path):
    with pytest.raises(SettingsError, match=r"name a file in IMBOX_SETTINGS, or write imbox\.toml"):
        find_settings({}, tmp_path)


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [SECRET, f" {SECRET}\r\n", f"\ufeff{SECRET}\n"])
def test_a_secret_may_be_a_file_beside_the_settings(tmp_path, read, content):
    (tmp_path / "key.txt").write_text(content, "utf-8")
    settings, file = read('secret_keys = [{ file = "key.txt" }]' + SOURCES + PANELS)

    assert settings.secret_keys == (SECRET,)
    assert file.warnings == []


def test_a_secret_may_be_a_file_anywhere(tmp_path_factory, read):
    secret = tmp_path_factory.mktemp("run") / "key"
    secret.write_text(SECRET)
    settings, _ = read(f'secret_keys = [{{ file = "{secret}" }}]' + SOURCES + PANELS)

    assert settings.secret_keys == (SECRET,)


def test_white_space_around_an_environment_variable_is_no_part_of_a_secret(write):
    file = SettingsFile(write('secret = { env = "KEY" }'), {"KEY": f" {SECRET}\n"})

    assert file.tables == {"secret": SECRET}


def test_any_setting_may_come_from_the_environment(read):
    people = SOURCES.replace("[]", '[{ name = { env = "SECRET" }, details = { env = 3 } }]')
    settings, _ = read(people + PANELS)

    assert settings.sources[0].options["people"][0] == {"name": SECRET, "details": {"env": 3}}


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ('{ env = "GONE" }', "the environment variable GONE is not set or empty; set it"),
        ('{ env = "BLANK" }', "the environment variable BLANK is not set or empty; set it"),
        ('{ env = "" }', "the environment variable  is not set or empty; set it"),
        *(
            (f'{{ file = "{name}" }}', "cannot be read or is empty; write the secret into it")
            for name in ("gone", "empty", "folder", "binary", r"a\u0000b")
        ),
    ],
)
def test_a_missing_secret_is_one_mistake(tmp_path, mistakes, reference, says):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfa" * 9)
    found = mistakes(SOURCES + PANELS.replace('{ env = "SECRET" }', reference))

    assert found.keys() == {"panels.default.keys[0].secret"}
    assert says in found["panels.default.keys[0].secret"]


@pytest.mark.parametrize("place", ["people", "type", "name", "default_region"])
def test_a_missing_variable_hides_no_other_mistake(mistakes, place):
    table = {"name": "crm", "type": "inline", "people": [], place: {"env": "GONE"}}
    found = mistakes(toml_text({"sources": [{**table, f"{place}_": 1}]}) + PANELS)

    assert f"sources[0].{place}" in found
    assert place == "type" or f"sources[0].{place}_" in found


@pytest.mark.parametrize("reference", ["{ env = 3 }", '{ env = "SECRET", file = "x" }', "{}"])
def test_what_only_looks_like_a_reference_is_told_to_be_a_text(mistakes, reference):
    found = mistakes(SOURCES + PANELS.replace('{ env = "SECRET" }', reference))

    assert found["panels.default.keys[0].secret"].startswith("must be a text")


def test_a_literal_secret_is_warned_about_and_not_repeated(read):
    text = (
        f'secret_keys = ["{SECRET}"]'
        + SOURCES
        + PANELS.replace('{ env = "SECRET" }', f'"{SECRET}"')
    )
    settings, file = read(text)

    assert [warning.path for warning in file.warnings] == [
        "secret_keys[0]",
        "panels.default.keys[0].secret",
    ]
    assert {warning.message for warning in file.warnings} == {
        'a secret in the file; write { env = "NAME" } in its place'
    }
    assert settings.secret_keys == (SECRET,)


@pytest.mark.parametrize("secret", ['{ env = "SHORT" }', '"123456789012345"', '""'])
def test_a_short_secret_is_refused_and_not_repeated(mistakes, secret):
    found = mistakes(SOURCES + PANELS.replace('{ env = "SECRET" }', secret))

    assert found == {
        "panels.default.keys[0].secret": "shorter than 16 characters; make a longer one at random"
    }


def test_no_secret_is_in_what_python_shows_of_the_settings(read):
    document = copy.deepcopy(COMPLETE)
    document["sources"][1]["url"] = f"postgresql://user:{SECRET}@db.example.com/shop"
    document["panels"]["default"]["links"] = [{"type": "whatsapp", "token": SECRET}]
    settings, _ = read(toml_text(document))

    assert SECRET in (settings.sources[1].options["url"], settings.secret_keys[0])
    assert SECRET not in repr(settings)


# --- panels and their keys ------------------------------------------------------------------------


@pytest.mark.parametrize("keys", ["", "keys = []"])
def test_without_keys_the_server_does_not_start(mistakes, keys):
    found = mistakes(SOURCES + f"[panels.default]\n{keys}")

    assert found == {
        "panels.default.keys": "no keys, so nobody could be let in; add one with id and secret"
    }


def test_a_second_panel_needs_keys_of_its_own(mistakes):
    assert mistakes(SOURCES + PANELS + "[panels.other]").keys() == {"panels.other.keys"}


@pytest.mark.parametrize(
    ("key", "culprit"),
    [
        ('{ secret = { env = "SECRET" } }', "[0].id"),
        ('{ id = "a" }', "[0].secret"),
        ('{ id = "a b", secret = { env = "SECRET" } }', "[0].id"),
        ('{ id = 2026, secret = { env = "SECRET" } }', "[0].id"),
        ('{ id = "a", secret = { env = "SECRET" }, expire = 2027-01-31 }', "[0].expire"),
        ('{ id = "a", secret = { env = "SECRET" }, expires = "soon" }', "[0].expires"),
        ('{ id = "a", secret = { env = "SECRET" }, expires = 12:00:00 }', "[0].expires"),
        ('{ id = "a", secret = { env = "SECRET" }, expires = 2027 }', "[0].expires"),
        (f'"{SECRET}"', "[0]"),
    ],
)
def test_a_wrong_key_is_named_by_its_place(mistakes, key, culprit):
    found = mistakes(SOURCES + f"[panels.default]\nkeys = [{key}]")

    assert found.keys() == {f"panels.default.keys{culprit}"}
    assert SECRET not in str(found)


def test_keys_of_a_panel_have_different_ids(mistakes):
    one = '{ id = "a", secret = { env = "SECRET" } }'
    found = mistakes(SOURCES + f"[panels.default]\nkeys = [{one}, {one}]")

    assert found == {"panels.default.keys": "two keys have the same id; give each its own"}


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ('"2027-01-31"', datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T12:00:00", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ('"2027-01-31T12:00:00Z"', datetime(2027, 1, 31, 12, tzinfo=UTC)),
        (
            "2027-01-31 12:00:00+01:00",
            datetime(2027, 1, 31, 12, tzinfo=timezone(timedelta(hours=1))),
        ),
    ],
)
def test_a_key_expires_at_a_moment_which_is_utc_unless_it_says_otherwise(read, written, moment):
    panels = PANELS.replace("} }]", f"}}, expires = {written} }}]")
    settings, _ = read(SOURCES + panels)
    (key,) = settings.panels[0].keys

    assert key.expires == moment
    assert key.expires.utcoffset() == moment.utcoffset()


@pytest.mark.parametrize("header", ["Authorization", "AUTHORIZATION", "", "X Key", "X_Key", "Å"])
def test_a_header_that_cannot_hold_the_key_is_refused(mistakes, header):
    found = mistakes(SOURCES + PANELS + f'key_header = "{header}"')

    assert found.keys() == {"panels.default.key_header"}


@pytest.mark.parametrize(
    ("name", "path"), [("my panel", '"my panel"'), ("a/b", '"a/b"'), ("", '""'), ("å.b", '"å.b"')]
)
def test_a_panel_is_named_as_its_address_and_its_path_is_written_as_in_toml(mistakes, name, path):
    found = mistakes(SOURCES + PANELS.replace("default", f'"{name}"'))

    assert found == {f"panels.{path}": "not a name for an address; use letters, digits, - and _"}


def test_a_panel_asks_every_source_in_the_order_of_the_settings(read):
    other = SOURCES.replace("crm", "shop")
    for chosen in ("", 'sources = ["shop", "crm"]'):
        settings, _ = read(SOURCES + other + PANELS + chosen)

        assert settings.panels[0].sources == ("crm", "shop")


def test_a_panel_may_ask_some_sources_only(read):
    settings, _ = read(SOURCES + SOURCES.replace("crm", "shop") + PANELS + 'sources = ["shop"]')

    assert settings.panels[0].sources == ("shop",)


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ("[]", {"": "no sources; leave it out to ask all of them"}),
        ('["crn"]', {"[0]": "no source is called 'crn'; did you mean crm? there are: crm"}),
        ('["crm", "x"]', {"[1]": "no source is called 'x'; there are: crm"}),
        (
            '[3, "x"]',
            {
                "[0]": 'must be a text; write it in quotes, "..."',
                "[1]": "no source is called 'x'; there are: crm",
            },
        ),
    ],
)
def test_the_sources_of_a_panel_are_sources(mistakes, chosen, found):
    expected = {f"panels.default.sources{place}": says for place, says in found.items()}

    assert mistakes(SOURCES + PANELS + f"sources = {chosen}") == expected


# --- sources --------------------------------------------------------------------------------------


def test_a_source_has_the_region_of_the_settings_unless_it_has_its_own(read):
    own = SOURCES + SOURCES.replace("crm", "shop").replace('default_region = "SE"\n', "")
    settings, _ = read('default_region = "no"' + own + PANELS)

    assert [source.default_region for source in settings.sources] == ["SE", "NO"]


@pytest.mark.parametrize("name", ["my-crm", "1st", "", "a b", "å", "x" * 65])
def test_a_source_has_a_name_that_layouts_can_use_and_nothing_else_is_said(mistakes, name):
    block = f'[[panels.default.blocks]]\nname = "B"\nsource = "{name}"\n'
    found = mistakes(
        SOURCES.replace("crm", name) + PANELS + block + 'data = [{ type = "html", html = "x" }]'
        if name
        else SOURCES.replace("crm", name) + PANELS
    )

    assert found == {"sources[0].name": "use letters, digits and _, beginning with a letter"}


def test_two_sources_have_two_names(mistakes):
    assert mistakes(SOURCES + SOURCES + PANELS) == {
        "sources[1].name": "another source is named crm; rename one"
    }


def test_sources_without_a_name_are_told_so_one_by_one(mistakes):
    nameless = SOURCES.replace('name = "crm"\n', "")

    assert mistakes(nameless + nameless + PANELS + 'sources = ["crm"]') == {
        "sources[0].name": "missing; add it",
        "sources[1].name": "missing; add it",
        "panels.default.sources[0]": "no source is called 'crm'; there are: none",
    }


def test_a_misspelt_option_is_compared_with_the_common_settings_too(mistakes):
    found = mistakes(SOURCES + "default_regoin = 'SE'" + PANELS)

    assert found["sources[0].default_regoin"] == (
        "no setting is called 'default_regoin'; did you mean default_region? "
        "there are: breaker, cache, default_region, enrich, name, people, threads, type"
    )


# --- wrong types and wrong names ------------------------------------------------------------------

TEXT = 'must be a text; write it in quotes, "..."'
TABLE = "must be a table; write it as { ... } or under a [heading]"
LIST = "must be a list; write it as [...] or under [[two brackets]]"
WHOLE = "must be a whole number, without quotes"
NUMBER = "must be a number, without quotes"


def changed(path, value):
    """The complete document with another value at a path such as `panels.default.keys[0]`."""
    document = copy.deepcopy(COMPLETE)
    *steps, last = re.findall(r"[^.\[\]]+", path)
    table = document
    for step in steps:
        table = table[int(step) if isinstance(table, list) else step]
    table[int(last) if isinstance(table, list) else last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("locale", date(2027, 1, 31), TEXT),
        ("locale", "xx", 'The locale "xx" is not known'),
        ("timezone", 1, TEXT),
        ("timezone", "Stockholm", 'The time zone "Stockholm" is not known'),
        ("default_region", "Sweden", "not a country with phone numbers; write its ISO code"),
        ("default_region", 46, TEXT),
        ("deadline", "soon", NUMBER),
        ("deadline", True, NUMBER),
        ("deadline", time(0, 0, 2), NUMBER),
        ("deadline", float("nan"), "must be a finite number"),
        ("deadline", 10**400, "too large; make it smaller"),
        ("deadline", 0, "must be from 0.1 to 60 seconds"),
        ("base_url", "plugin.example.com", "not an address; write it as https://host.example"),
        ("base_url", "https://[plugin", "not an address; write it as https://host.example"),
        ("base_url", "http://plugin.example.com", "not https, so that link tickets could be read"),
        ("base_url", "https://plugin.example.com/?a=b", "more than a host and a path"),
        ("base_url", "https://u:p@plugin.example.com/", "more than a host and a path"),
        ("proxies", -1, "must be from 0 to 9"),
        ("secret_keys", SECRET, LIST),
        ("secret_keys[0]", 3, TEXT),
        ("validation", "loose", "must be one of: lenient, strict"),
        ("sanitizer", "none", "must be one of: nh3, bleach"),
        ("limits", 3, TABLE),
        ("limits.rows", "3", WHOLE),
        ("limits.rows", 2.5, WHOLE),
        ("limits.rows", 0, "must be 1 or more"),
        ("limits.bytes", 4095, "must be 4096 or more, to hold a notice at least"),
        ("wire", "documented", TABLE),
        ("wire.html_content", 3, TEXT),
        ("wire.html_content", "a b", "not a name; use letters, digits, - and _"),
        ("wire.elements", "some", "must be one of: all, documented"),
        ("sources", {"crm": {}}, LIST),
        ("sources", [], "no sources; add [[sources]] with name and type"),
        ("sources[0].name", 7, TEXT),
        ("sources[0].type", ["inline"], TEXT),
        ("sources[0].type", "", "no type is called ''; there are: csv, "),
        ("sources[0].default_region", "XX", "not a country with phone numbers"),
        ("sources[0].people", {"name": "Ada"}, LIST),
        ("sources[0].people[0]", "Ada", TABLE),
        ("sources[0].people[0].name", 3, TEXT),
        ("sources[0].people[0].emails", "ada@example.com", LIST),
        ("sources[0].people[0].details", [], TABLE),
        ("sources[1].find", "SELECT 1", TABLE),
        ("sources[1].find.email", 3, TEXT),
        ("sources[1].related", [], TABLE),
        ("sources[1].related.orders", 3, TEXT),
        ("sources[1].pool_size", "5", WHOLE),
        ("cache", True, TABLE),
        ("cache.url", "localhost:6379", "not the address of a Redis; write it as redis://"),
        ("cache.url", "redis://127.0.0.1:port/0", "not the address of a Redis; write it as"),
        ("cache.prefix", "imbox*", "use letters, digits and _ . : -"),
        ("sources[0].cache", "no", TABLE),
        ("sources[0].cache.ttl", -1, "must be from 0 to 3600 seconds"),
        ("sources[0].cache.negative_ttl", 3601, "must be from 0 to 3600 seconds"),
        ("sources[0].cache.stale_if_error", 86401, "must be from 0 to 86400 seconds"),
        ("sources[0].cache.entries", 0, "must be from 1 to 100000"),
        ("panels", [{}], TABLE),
        ("panels", {}, "no panels; add [panels.default] with its keys"),
        ("panels.default", 3, TABLE),
        ("panels.default.keys", SECRET, LIST),
        ("panels.default.keys", {"id": "a"}, LIST),
        ("panels.default.key_header", True, TEXT),
        ("panels.default.key_in_query", "maybe", "must be true or false, without quotes"),
        ("panels.default.sources", "crm", LIST),
        ("panels.default.blocks", 3, LIST),
        ("panels.default.blocks", {"name": "B"}, LIST),
        ("panels.default.blocks[0]", "B", TABLE),
        ("panels.default.blocks[0].name", 3, TEXT),
        ("panels.default.blocks[0].icon", "Person!", "not a Material Symbols name"),
        ("panels.default.blocks[0].source", "crn", "did you mean crm?"),
        ("panels.default.blocks[0].views", "chat", LIST),
        ("panels.default.blocks[0].views[0]", "email", "must be one of: chat, ticket"),
        ("panels.default.blocks[0].data", "x", LIST),
        ("panels.default.blocks[0].data", [], "no elements; give one at least"),
        ("panels.default.blocks[0].data[1]", "x", TABLE),
        ("panels.default.blocks[0].data[0].type", "lists", "did you mean list?"),
        ("panels.default.blocks[0].data[0].each", ["x"], TEXT),
        ("panels.default.blocks[0].data[0].rows", {"label": "x"}, LIST),
        ("panels.default.blocks[0].data[0].rows[0]", "x", TABLE),
        ("panels.default.blocks[0].data[0].rows[0].text", 3, TEXT),
        ("panels.default.blocks[0].data[0].rows[0].text", "{{ x", "not a template"),
        ("panels.default.blocks[0].data[2].trusted", "perhaps", "must be true or false"),
        ("panels.default.blocks[0].data[3].data[0].rows", 3, LIST),
        ("panels.default.links", {"type": "url"}, LIST),
        ("panels.default.links[0]", "https://crm.example.com", TABLE),
        ("panels.default.links[0].text", 3, TEXT),
        ("panels.default.links[0].type", "ulr", "did you mean url?"),
        ("panels.default.links[0].url", "https://x.example.com/{mail}", "did you mean email?"),
        ("panels.default.links[1].channel_id", 647062, TEXT),
        ("panels.default.links[1].name", "a b", "use letters, digits and _"),
        ("panels.default.links[1].name", "url", "another link of this panel is named url"),
        ("panels.default.links[1].when", "{{ contact.tier", "not a template"),
        ("panels.default.links[1].when", "customer.tier", "no value is called 'customer'"),
        ("panels.default.links[1].when", "links.url.url", "a condition cannot ask for links"),
        ("panels.default.links[1].expires", 59, "must be from 60 to 604800 seconds"),
        ("panels.default.links[1].expires", 600, "only for a link that leads through this server"),
        ("panels.default.links[1].open", "tab", "must be one of: embed, redirect"),
        ("panels.default.links[1].events", [], TABLE),
    ],
)
def test_a_wrong_value_is_one_mistake_at_its_path(mistakes, path, value, says):
    document = changed(path, value)
    # What goes with a source is not to be missed.
    if path in {"sources", "sources[0].name"}:
        del document["panels"]["default"]["sources"]
        del document["panels"]["default"]["blocks"]
    found = mistakes(toml_text(document))

    assert found.keys() == {path}
    assert says in found[path]


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("local", "locale"),
        ("source", "sources"),
        ("limits.row", "rows"),
        ("wire.html_contents", "html_content"),
        ("sources[0].peoples", "people"),
        ("sources[0].people[0].e_mail", "email"),
        ("sources[1].finds", "find"),
        ("sources[1].find.e_mail", "email"),
        ("panels.default.block", "blocks"),
        ("panels.default.keys[0].secrets", "secret"),
        ("panels.default.blocks[0].view", "views"),
        ("panels.default.blocks[0].data[0].row", "rows"),
        ("panels.default.blocks[0].data[0].rows[0].texts", "text"),
        ("panels.default.blocks[0].data[1].colums", "columns"),
        ("panels.default.blocks[0].data[3].titel", "title"),
        ("panels.default.blocks[0].data[3].data[0].rows[0].lable", "label"),
        ("panels.default.links[0].txt", "text"),
        ("panels.default.links[1].chanel_id", "channel_id"),
    ],
)
def test_a_misspelt_setting_is_told_the_right_one(mistakes, path, near):
    found = mistakes(toml_text(changed(path, "x")))
    name = path.rpartition(".")[2]

    assert found.keys() == {path}
    assert found[path].startswith(f"no setting is called {name!r}; did you mean {near}? there are:")


@pytest.mark.parametrize("name", ["blocks", "links"])
def test_no_mistake_is_told_of_another_place_for_an_entry_that_is_no_table(mistakes, name):
    document = copy.deepcopy(COMPLETE)
    panel = document["panels"]["default"]
    panel[name] = [3, {**panel[name][0], "more": 1}]

    assert mistakes(toml_text(document)).keys() == {f"panels.default.{name}[0]"}


def test_a_source_behind_an_entry_that_is_no_table_is_still_read(mistakes):
    document = {"sources": ["crm", {"name": "crm", "type": "inline", "peopel": []}]}
    chosen = PANELS + 'sources = ["crm"]'

    assert mistakes(toml_text(document) + chosen).keys() == {
        "sources[0]",
        "sources[1].people",
        "sources[1].peopel",
    }


def test_all_mistakes_of_all_parts_are_told_at_once(mistakes):
    found = mistakes(
        """
        lokale = "sv"
        timezone = "Mars"
        secret_keys = ["short"]

        [wire]
        link_url = "text"

        [[sources]]
        name = "crm"
        type = "inlin"

        [[sources]]
        name = "shop"
        type = "sql"
        url = "oracle"
        default_region = "Sverige"

        [panels.default]
        keys = [{ id = "a", secret = { env = "GONE" } }]
        [[panels.default.blocks]]
        source = "chop"
        data = [{ type = "list", rows = [{ label = "{{", text = "{{ x | curency }}" }] },
                { type = "accordion", title = "x", data = [{ type = "accordion" }] },
                { type = "html" }]
        [[panels.default.links]]
        type = "url"
        url = "http://crm.example.com"
        views = ["mail"]

        [panels.other]
        keys = []
        sources = ["crm", "stock"]
        """
    )

    assert set(found) == {
        "lokale",
        "timezone",
        "secret_keys[0]",
        "wire.link_url",
        "sources[0].type",
        "sources[1].url",
        "sources[1].default_region",
        "panels.default.keys[0].secret",
        "panels.default.blocks[0].name",
        "panels.default.blocks[0].source",
        "panels.default.blocks[0].data[0].rows[0].label",
        "panels.default.blocks[0].data[0].rows[0].text",
        "panels.default.blocks[0].data[1].data[0].type",
        "panels.default.blocks[0].data[2]",
        "panels.default.links[0].text",
        "panels.default.links[0].url",
        "panels.default.links[0].views[0]",
        "panels.other.keys",
        "panels.other.sources[1]",
    }


# --- the schemas of plugins -----------------------------------------------------------------------


class Step(Schema):
    word = fields.String(required=True)


class PluginOptions(Schema):
    base_url = fields.Url(data_key="baseUrl", metadata={"secret": True})
    dsn = fields.String(metadata={"secret": lambda text: "@" in text})
    steps = fields.Nested(Step(many=True))
    by_name = fields.Dict(fields.String(validate=validate.Length(max=3)), fields.Nested(Step))
    pair = fields.Tuple((fields.Integer(), fields.String()))
    value = fields.Dict(fields.String(), fields.Integer())


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"baseUrl": "x"}, "baseUrl"),
        ({"base_url": "x"}, "base_url"),
        ({"steps": [{"word": "x"}, {"word": 3}]}, "steps[1].word"),
        ({"steps": [{"word": "x"}, 3]}, "steps[1]"),
        ({"by_name": {"a b": {"word": 3}}}, 'by_name."a b".word'),
        ({"by_name": {"a": {"word": "x", "work": 3}}}, "by_name.a.work"),
        ({"by_name": {"long": {"word": "x"}}}, "by_name.long"),
        ({"pair": ["x", "y"]}, "pair[0]"),
        ({"value": {"value": "x"}}, "value.value"),
        ({"value": {"key": "x"}}, "value.key"),
    ],
)
def test_a_plugins_options_have_their_paths_too(write, options, path):
    file = SettingsFile(write(""), {})
    loaded = file.load_whole(PluginOptions(), options, "sources[0]")

    assert loaded is None
    assert [problem.path for problem in file.problems] == [f"sources[0].{path}"]


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({"baseUrl": "https://x.example.com"}, ["sources[0].baseUrl"]),
        ({"dsn": "user:password@host"}, ["sources[0].dsn"]),
        ({"dsn": "host"}, []),
    ],
)
def test_a_plugin_says_what_is_a_secret_always_or_by_the_value(write, options, warned):
    file = SettingsFile(write(""), {})
    file.load(PluginOptions(), options, "sources[0]")

    assert [warning.path for warning in file.warnings] == warned


# --- hostile settings -----------------------------------------------------------------------------

JUNK = st.sampled_from(
    [
        *(3, -1, 0, 10**30, 1.5, float("inf"), float("nan"), True, False, "", "x", "é\n", "\x7f"),
        *("{{ x", "{{ x | nope }}", "{% for", "::", ":", "a:", ":b", "a:b", "a..b:C", "os:path"),
        *("json:JSONDecoder.nope", "https://", "{external_id}", "sv", "list", "phoneNumber"),
        *([], [3], ["x"], [[]], {}, {"a": 1}, {"type": 3}, [{"type": "list"}], "a" * 2000),
        *({"env": "GONE"}, {"env": "SECRET"}, {"env": 3}, {"file": "gone"}, {"file": ""}),
        *(date(2020, 1, 1), time(1, 2), datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)),  # noqa: DTZ001
    ]
).map(copy.deepcopy)
NEW_NAMES = st.sampled_from(["x", "", "a.b", "é\n", "type", "value", "key", "_schema", "env"])


def places(value):
    """Every table or list in a document that has something in it."""
    if isinstance(value, dict | list) and value:
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from places(inner)


@st.composite
def mutated(draw):
    """The complete document, with up to three things taken out, replaced, renamed or added."""
    document = copy.deepcopy(COMPLETE)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from([*places(document)] or [document]))
        keys = [*place] if isinstance(place, dict) else [*range(len(place))]
        key = draw(st.sampled_from(keys or ["x"]))
        match draw(st.sampled_from(["take out", "replace", "rename", "add"])):
            case "take out" if keys:
                del place[key]
            case "rename" if keys and isinstance(place, dict):
                place[f"{key}s"] = place.pop(key)
            case "add" if isinstance(place, dict):
                place[draw(NEW_NAMES)] = draw(JUNK)
            case "add":
                place.insert(key, draw(JUNK))
            case _:
                place[key] = draw(JUNK)
    return document


QUICK = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_the_complete_document_starts(write):
    assert create_app(write(toml_text(COMPLETE)), ENVIRON)


@QUICK
@given(mutated())
@example({**COMPLETE, "_schema": 1})
def test_whatever_is_wrong_is_told_with_path_and_cure_and_never_a_traceback(write, document):
    try:
        create_app(write(toml_text(document)), ENVIRON)
    except SettingsError as refused:
        problems = refused.problems
    else:
        return

    assert problems
    for problem in problems:
        assert problem.path
        assert problem.path.isprintable()
        assert problem.message not in RAW
        assert SECRET not in problem.message


@QUICK
@given(st.binary(max_size=60) | st.text("[]{}=\"'.#\n\\ au1-:T", max_size=40))
def test_no_file_gives_a_traceback(write, content):
    with pytest.raises(SettingsError):
        create_app(write(content), ENVIRON)


def test_what_enriches_and_what_is_trusted_is_checked_by_name(mistakes):
    found = mistakes(
        SOURCES + 'enrich = ["emial"]' + PANELS + 'trust = { chat = ["x"], tikcet = [] }'
    )

    keys = "external_id, contact_id, email, phone"
    assert found == {
        "sources[0].enrich": f"must be true, false, or a list of: {keys}",
        "panels.default.trust.chat[0]": f"must be one of: {keys}",
        "panels.default.trust.tikcet": "must be one of: chat, ticket, call, contact",
    }
