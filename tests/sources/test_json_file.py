"""People in JSON files, nested as they are."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imbox_plugin.app import create_app
from imbox_plugin.model import Contact, Key
from imbox_plugin.settings import SettingsError
from imbox_plugin.sources import SourceContext, SourceError, json_file
from imbox_plugin.sources.json_file import JsonSource
from tests.people_files import write
from tests.sources.files import ENVIRON, find, only, settings_with, source_of, wait

__all__ = ["source_of"]

ANNA = {
    "id": 7,
    "name": "Anna",
    "contact": {"emails": ["Anna@Example.com"], "phones": ["070-174 06 05"], "city": "Lund"},
    "orders": [{"id": 1, "lines": [{"sku": "a"}]}],
}
PATHS = {"external_id": "id", "email": "contact.emails", "phone": "contact.phones"}


@pytest.fixture
def people(tmp_path, source_of):
    """A source of this text, these bytes, or this value as JSON."""

    def people(content, **table):
        written = content if isinstance(content, bytes | str) else json.dumps(content)
        write(tmp_path / "people.json", written)
        return source_of(JsonSource, file="people.json", **table)

    return people


def details(source, value="7"):
    return only(source, Key.EXTERNAL_ID, value).details


# --- where the parts are ------------------------------------------------------------------------


def test_a_record_is_a_contact_and_its_nested_details_stay_as_they_are(people):
    assert only(people([ANNA], paths=PATHS), Key.EMAIL, "anna@example.com") == Contact(
        name="Anna",
        external_id="7",
        emails=("Anna@Example.com",),
        phones=("070-174 06 05",),
        details={"contact": ANNA["contact"], "orders": ANNA["orders"]},
    )


def test_without_paths_the_parts_are_where_other_sources_have_them(people):
    source = people(
        [
            {
                "external_id": "K1",
                "contact_id": "c1",
                "name": "Anna",
                "email": "a@example.com",
                "emails": ["b@example.com", "a@example.com"],
                "phone": "0701740605",
                "phones": ["0701740606"],
                "city": "Lund",
            }
        ]
    )

    assert only(source, Key.CONTACT_ID, "c1") == Contact(
        name="Anna",
        external_id="K1",
        contact_id="c1",
        emails=("a@example.com", "b@example.com"),
        phones=("0701740605", "0701740606"),
        details={"city": "Lund"},
    )


def test_a_path_may_be_any_jmespath(people):
    record = {"ids": [{"of": "shop", "id": 1}, {"of": "crm", "id": 7}], "who": ["Anna", "Ek"]}
    paths = {"external_id": "ids[?of=='crm'] | [0].id", "name": "join(' ', who)"}

    contact = only(people([record, {"ids": [], "who": []}], paths=paths), Key.EXTERNAL_ID, "7")

    assert (contact.name, contact.details) == ("Anna Ek", record)


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"id": 7, "nick": "Ann", "name": {"first": "Anna", "last": "Ek"}}, "Ann"),
        ({"id": 7, "nick": " ", "name": {"first": "Anna", "last": "Ek"}}, "Anna Ek"),
        ({"id": 7, "name": {"last": "Ek"}}, "Ek"),
        ({"id": 7, "name": None}, None),
    ],
)
def test_a_name_is_the_whole_one_or_its_parts(people, record, name):
    paths = {
        "external_id": "id",
        "name": ["nick"],
        "first_name": "name.first",
        "last_name": "name.last",
    }

    contact = only(people([record], paths=paths), Key.EXTERNAL_ID, "7")

    assert contact.name == name
    assert contact.details == {}


def test_a_part_that_is_searched_by_nowhere_is_no_key(people):
    source = people([ANNA], paths={**PATHS, "phone": [], "contact_id": []})

    assert source.keys == {Key.EXTERNAL_ID, Key.EMAIL}


@pytest.mark.parametrize(("value", "text"), [(7, "7"), (7.0, "7"), ("7", "7"), (2**70, str(2**70))])
def test_a_number_is_an_id_as_it_would_be_written(people, value, text):
    source = people([{"external_id": value, "x": 1}])

    assert details(source, text) == {"x": 1}


@pytest.mark.parametrize("value", [None, {}, {"id": 7}, [7], "", " "])
def test_what_is_no_single_value_is_no_id(people, value):
    source = people([{"external_id": value, "email": "a@example.com"}])

    assert only(source, Key.EMAIL, "a@example.com").external_id is None


# --- where the records are ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "table"),
    [
        ('[{"external_id": "7", "x": "Å😀"}]', {}),
        ('  [ {"external_id": "7", "x": "Å😀"} ] \n', {}),
        ('{"external_id": "7", "x": "Å😀"}\n{"external_id": "8"}\n', {}),
        ('{"external_id": "7", "x": "Å😀"}\r\n\r\n{"external_id": "8"}', {}),
        ('{"people": [{"external_id": "7", "x": "Å😀"}]}', {"records": "people"}),
        (
            '{"a": [1, {}], "data": {"n": null, "our-people": [{"external_id": "7", "x": "Å😀"}]}}',
            {"records": 'data."our-people"'},
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_records_are_a_list_or_lie_deeper_or_follow_each_other(people, content, table, encoding):
    assert details(people(content.encode(encoding), **table)) == {"x": "Å😀"}


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
def test_a_file_is_read_piece_by_piece(people, monkeypatch, chunk):
    monkeypatch.setattr(json_file, "_CHUNK", chunk)
    records = [{"external_id": str(number), "x": [number, 'å\n"]}']} for number in range(30)]

    source = people({"n": 12345, "data": {"people": records}}, records="data.people")

    assert [details(source, str(n))["x"][0] for n in range(30)] == list(range(30))


def test_the_line_of_a_mistake_is_counted_from_the_beginning(people, monkeypatch):
    monkeypatch.setattr(json_file, "_CHUNK", 8)

    with pytest.raises(SourceError, match="not JSON from line 4 on"):
        people('[{"external_id": 7},\n{"external_id": 8},\n\n{"external_id": 9,}]').check()


@pytest.mark.parametrize(
    ("content", "table", "says"),
    [
        ("", {}, "people.json is not JSON from line 1 on; correct it there"),
        ("[", {}, "not JSON from line 1 on"),
        ('[{"external_id": 7}', {}, "not JSON from line 1 on"),
        ('[{"external_id": 7},\n]', {}, "not JSON from line 2 on"),
        ('[{"external_id": 7}] x', {}, "not JSON from line 1 on"),
        ('[{"external_id": 7}\n{"external_id": 8}]', {}, "not JSON from line 2 on"),
        ('{"external_id": 7}\n{"external_id":\n', {}, "not JSON from line 3 on"),
        ('{"a": {"b": [{"external_id": 7}]}', {"records": "a.b"}, "not JSON from line 1 on"),
        ('{"a": [{"external_id": 7}]}', {"records": "b"}, "has no 'b' where records says; correct"),
        ('[{"external_id": 7}]', {"records": "b"}, "not JSON from line 1 on"),
        ('[{"external_id": 7}, 8]', {}, "record 2 of people.json is no object; correct the file"),
        ('{"people": [{"external_id": 7}]}', {}, "nobody in people.json has .*correct records or"),
        ('[{"x": "' + "\\" * 3, {}, "not JSON from line 1 on"),
        ('{"a": 1, }', {"records": "b"}, "not JSON from line 1 on"),
        ("{1: 2}", {"records": "b"}, "not JSON from line 1 on"),
        (b'[{"external_id": "\xe5"}]', {}, "people.json is not utf-8 text; save it as JSON in UTF"),
        ("[" * 100_000, {}, "people.json is nested too deep after line 1; make it flatter"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_what_was_found(people, content, table, says):
    with pytest.raises(SourceError, match=says):
        people(content, **table).check()


def test_a_path_that_does_not_fit_every_record_is_told(people):
    source = people([{"id": 7, "who": ["A"]}, {"id": 8}], paths={"name": "join(' ', who)"})

    with pytest.raises(SourceError, match=r"paths.name does not fit every record; allow for what"):
        source.check()


# --- values stay what they are ------------------------------------------------------------------


def test_numbers_are_exact(people):
    digits = "9" * 5000
    source = people(
        f'[{{"external_id": "7", "sum": 0.10, "tiny": 1e-9, "big": {2**70}, "huge": {digits}}}]'
    )

    assert details(source) == {
        "sum": Decimal("0.10"),
        "tiny": Decimal("1e-9"),
        "big": 2**70,
        "huge": Decimal(digits),
    }
    assert str(details(source)["sum"]) == "0.10"


def test_what_python_writes_for_no_number_is_nothing(people):
    source = people('[{"external_id": "7", "a": NaN, "b": -Infinity}, {"external_id": NaN}]')

    assert details(source) == {"a": None, "b": None}
    assert find(source, Key.EXTERNAL_ID, "nan") == []


texts = st.text(st.characters(), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=40)
@given(st.lists(values, max_size=4))
@example(["\0", "\ud800", {"\udfff": "\0"}, '"}],', "\\", "\u2028"])
def test_what_a_program_writes_is_what_is_read(written):
    """NUL and half characters included, which are escaped."""
    records = [{"external_id": f"K{n}", "x": value} for n, value in enumerate(written)]
    text = json.dumps(records)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", folder)
        file = write(Path(folder, "any.json"), text)
        options = JsonSource.Options().load({"file": file.name})
        context = SourceContext(folder=file.parent, time_limit=60)
        with closing(JsonSource(options, context)) as source:
            read = [details(source, f"K{n}")["x"] for n in range(len(written))]

    assert read == written


def test_an_id_of_half_a_character_is_found(people):
    assert details(people([{"external_id": "\ud800", "x": 1}]), "\ud800") == {"x": 1}


# --- related ------------------------------------------------------------------------------------


def test_records_of_a_further_file_are_a_detail_with_exact_numbers(people, tmp_path):
    orders = '{"orders": [{"of": {"id": 7}, "sum": 0.10}, {"of": {"id": 8}, "sum": 1}]}'
    write(tmp_path / "orders.json", orders)
    related = {"bought": {"file": "orders.json", "records": "orders", "key": "of.id"}}

    assert details(people([ANNA], paths=PATHS, related=related))["bought"] == [
        {"of": {"id": 7}, "sum": Decimal("0.10")}
    ]


# --- the settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "sources[0].file: missing; add it"),
        ('file = "p"\nrecords = "a["', "sources[0].records: not a JMESPath expression"),
        ('file = "p"\nrecords = "a[0]"', "sources[0].records: more than names with dots between;"),
        ('file = "p"\npaths = { email = "a[" }', "sources[0].paths.email: not a JMESPath express"),
        ('file = "p"\npaths = { email = ["a", "f(@)"] }', "paths.email: no function is called 'f"),
        ('file = "p"\npaths = { contact_id = ["a", "b"] }', "paths.contact_id: several places, w"),
        ('file = "p"\npaths = { mail = "a" }', "sources[0].paths.mail: no setting is called 'mail"),
        (
            'file = "p"\n[sources.related.orders]\nfile = "o"\nkey = "a["',
            "sources[0].related.orders.key: not a JMESPath expression",
        ),
        (
            'file = "p"\n[sources.related."a b"]\nfile = "o"\nkey = "a"',
            'sources[0].related."a b": not a name for a detail; use letters',
        ),
    ],
)
def test_a_mistake_in_the_settings_is_found_at_start_with_its_place(tmp_path, table, says):
    file = settings_with(tmp_path, f'type = "json"\n{table}')

    with pytest.raises(SettingsError) as stopped:
        create_app(file, ENVIRON)

    assert says in str(stopped.value)
    assert len(stopped.value.problems) == 1


def test_a_file_that_changed_is_served_and_a_broken_one_is_not(people, tmp_path, monkeypatch):
    monkeypatch.setattr("imbox_plugin.files._BETWEEN_LOOKS", 0.0)
    source = people([{"external_id": "7", "x": 1}])
    source.check()

    write(tmp_path / "people.json", '[{"external_id": "7", "x": 2}]', by_rename=True)
    find(source, Key.EXTERNAL_ID, "7")
    wait()
    write(tmp_path / "people.json", '[{"external_id": "7", "x": 3}')
    find(source, Key.EXTERNAL_ID, "7")
    wait()

    assert details(source) == {"x": 2}
    with pytest.raises(SourceError, match=r"^serving the data of 2001-.*people.json is not JSON"):
        source.check()
