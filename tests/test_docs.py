"""What docs/settings.md says of the settings is what the code knows of them."""

import dataclasses
import re
import tomllib
from importlib.metadata import EntryPoint

import click
import pytest
from jinja2.defaults import DEFAULT_FILTERS
from marshmallow import missing

from imbox_plugin.app import create_app
from imbox_plugin.formats import Formats
from imbox_plugin.html import Sanitizer
from imbox_plugin.identity import SEARCH_FORMS
from imbox_plugin.layout import Templates
from imbox_plugin.links import LinkBuilder, fields
from imbox_plugin.links.placeholders import PLACEHOLDERS
from imbox_plugin.plugins import LINKS, SINKS, SOURCES, Registry
from imbox_plugin.settings import SettingsError, SettingsFile, read_settings
from imbox_plugin.sinks import EventSink
from imbox_plugin.sources import DataSource
from schemas.wire import WireNames
from tests.demo import ROOT
from tests.toml_text import toml_text

PAGE = (ROOT / "docs" / "settings.md").read_text("utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
KEY = "a-key-of-the-documentation-page"

#: what stands for a reference, by the end of its name; for any other, the key
WRITTEN = {"URL": "sqlite:///x.db", "SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}

SOURCE = {"name": "crm", "type": "inline", "default_region": "SE", "people": []}
PANEL = {"keys": [{"id": "a", "secret": KEY}]}
#: what links need that lead through the server
SEALING = {"base_url": "https://plugin.example.com", "secret_keys": [KEY]}
MINIMAL = {"sources": [SOURCE], "panels": {"default": PANEL}}

#: a setting that there is nowhere
NONE = {"bogus": 1}
ELEMENTS = {
    "list": {"rows": [NONE]},
    "table": {"columns": [NONE]},
    "html": {},
    "accordion": {"data": [NONE]},
}


def tables():
    """The rows of the tables on the page: by heading, then by the first word of the table."""
    found = {}
    heading = kind = None
    for line in PAGE.splitlines():
        if line.startswith("#"):
            heading = line.strip("# ")
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            kind = None
        elif kind is None:
            kind = cells[0]
        elif not set(cells[0]) <= {"-"}:
            name, *rest = cells
            assert re.fullmatch("`[^`]+`", name), line
            found.setdefault((heading, kind), {})[name.strip("`")] = rest
    return found


def first_cells(section):
    """What the first cells of a section's table name."""
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall("`([^`]+)`", cell)]


def written_options(command):
    """The options and arguments of a command as the page writes them."""
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            own = [
                one.human_readable_name for one in inner.params if isinstance(one, click.Argument)
            ]
            yield " ".join([name, *own])
            yield from (f"{name} {text}" for text in written_options(inner) if text[0] == "-")
    for parameter in command.params:
        is_argument = parameter in arguments
        yield from [parameter.human_readable_name] if is_argument else parameter.opts


DOCUMENTED = tables()


def documented(heading, kind="setting"):
    """The rows of a table by their first cell, which has the name."""
    assert (heading, kind) in DOCUMENTED, f"docs/settings.md has no {kind} under {heading}"
    return DOCUMENTED[heading, kind]


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Write a settings file from a text or a document."""

    def write(settings):
        file = tmp_path_factory.mktemp("settings") / "imbox.toml"
        file.write_text(settings if isinstance(settings, str) else toml_text(settings), "utf-8")
        return file

    return write


@pytest.fixture(scope="module")
def mistakes(write):
    """What stops the start with a document, by path."""

    def mistakes(document):
        with pytest.raises(SettingsError) as refused:
            create_app(write(document), {})
        return {problem.path: problem.message for problem in refused.value.problems}

    return mistakes


@pytest.fixture(scope="module")
def told(mistakes):
    """What the server says about settings that are wrong at every place."""
    data = [{"type": kind, **NONE} for kind in ELEMENTS]
    filled = [{"type": kind, **inside} for kind, inside in ELEMENTS.items()]
    filled += [{"type": "none"}, {"type": "html", "html": "{{ bogus }}"}]
    blocks = [NONE, {"name": "x", "data": data}, {"name": "x", "data": filled}]
    links = [{"type": kind, **NONE} for kind in [*LINKS, "none"]] + [NONE]
    links += [{"type": "gallabox", "name": "x", "events": {"X": NONE}}]
    hooks = {**NONE, "wazzup": NONE}
    panel = {**NONE, "keys": [NONE], "blocks": blocks, "links": links, "hooks": hooks}
    sources = [{"type": kind, **NONE} for kind in [*SOURCES, "none"]] + [NONE]
    panels = {"default": panel, "other": NONE}
    sources += [{"breaker": NONE}, {"cache": NONE}]
    wrong = {
        **NONE,
        "limits": NONE,
        "wire": NONE,
        "cache": NONE,
        "workbench": NONE,
        "sources": sources,
        "panels": panels,
    }
    # There is one sink in a file, so the mistakes of each type go by its name.
    sinks = {
        f"{kind}:{path}": message
        for kind in [*SINKS, "none"]
        for path, message in mistakes({"events": {"sink": {"type": kind, **NONE}}}).items()
    }
    sinks |= mistakes({"events": {"sink": {}}})
    return {**sinks, **mistakes(NONE), **mistakes({**wrong, "events": NONE})}


def known(told, path):
    """The names there are, as the message about a wrong one at the path lists them."""
    _, _, names = told[path].partition("there are: ")
    return set(names.partition(";")[0].split(", "))


#: where the settings of a table are documented
HEADINGS = {
    "": ["Top level"],
    "limits.": ["`[limits]`"],
    "wire.": ["`[wire]`"],
    "cache.": ["`[cache]`"],
    "workbench.": ["`[workbench]`"],
    "panels.default.": ["`[panels.<name>]`"],
    "panels.default.keys[0].": ["Keys"],
    "panels.default.blocks[0].": ["Blocks"],
    "panels.default.blocks[2].data[0].rows[0].": ["Element `list`: `rows`"],
    "panels.default.blocks[2].data[1].columns[0].": ["Element `table`: `columns`"],
    **{
        f"panels.default.blocks[1].data[{at}].": ["Elements", f"Element `{kind}`"]
        for at, kind in enumerate(ELEMENTS)
    },
    **{f"sources[{at}].": ["`[[sources]]`", f"Source `{kind}`"] for at, kind in enumerate(SOURCES)},
    f"sources[{len(SOURCES) + 2}].breaker.": ["Source: `breaker`"],
    f"panels.default.links[{len(LINKS) + 2}].events.X.": ["Link: `events`"],
    f"sources[{len(SOURCES) + 3}].cache.": ["Source: `cache`"],
    **{
        f"panels.default.links[{at}].": ["Links", f"Link `{kind}`"] for at, kind in enumerate(LINKS)
    },
    "panels.default.hooks.": ["Hooks"],
    "panels.default.hooks.wazzup.": ["Hook `wazzup`"],
    "events.": ["`[events]`"],
    "log:events.sink.": ["Sinks"],
    "http:events.sink.": ["Sinks", "Sink `http`"],
}


@pytest.mark.parametrize("path", HEADINGS)
def test_every_setting_is_documented_and_no_other(told, path):
    names = {name for heading in HEADINGS[path] for name in documented(heading)}

    assert names == known(told, f"{path}bogus")


def nested(schema, path=""):
    """Every schema inside a schema, and where it is."""
    for name, field in schema.fields.items():
        inner = field.inner if isinstance(field, fields.List) else field
        inner = field.value_field if isinstance(field, fields.Dict) else inner
        if isinstance(inner, fields.Nested):
            yield f"{path}{name}", inner.schema
            yield from nested(inner.schema, f"{path}{name}.")


def options(kind, types, group):
    """The headings that each table of the options of a plugin may be under, and its fields."""
    registry = Registry(kind, types, "none", ROOT)
    for type_ in types:
        schema = registry.load(type_).Options()
        if schema.fields:
            yield (f"{group} `{type_}`",), schema.fields
        alike = {}
        for path, inner in nested(schema):
            headings, _ = alike.setdefault(type(inner), ([], inner.fields))
            headings.append(f"{group} `{type_}`: `{path}`")
        yield from ((tuple(headings), own) for headings, own in alike.values())


def default(field):
    """What the page has to say of a field's default."""
    value = field.load_default
    if field.required or value is None or value is missing:
        return "required" if field.required else ""
    value = value() if callable(value) else value
    return (
        value
        if isinstance(value, int | float | list | dict)
        else getattr(value, "expression", str(value))
    )


OPTIONS = dict(
    [
        *options(DataSource, SOURCES, "Source"),
        *options(LinkBuilder, LINKS, "Link"),
        *options(EventSink, SINKS, "Sink"),
    ]
)


@pytest.mark.parametrize("headings", OPTIONS, ids=lambda headings: headings[0])
def test_every_option_of_a_plugin_is_documented_with_its_default(headings):
    defaults = {}
    heading = next((heading for heading in headings if (heading, "setting") in DOCUMENTED), None)
    assert heading, f"docs/settings.md has no table under any of {headings}"
    for name, (_, written, *_) in documented(heading).items():
        code = re.fullmatch("`(.*)`", written)
        defaults[name] = tomllib.loads(f"x = {code[1]}")["x"] if code else written

    assert defaults == {name: default(field) for name, field in OPTIONS[headings].items()}


def test_the_documented_types_and_views_are_those_there_are(told):
    assert set(ELEMENTS) == known(told, "panels.default.blocks[2].data[4].type")
    assert set(SOURCES) == known(told, f"sources[{len(SOURCES)}].type")
    assert set(LINKS) == known(told, f"panels.default.links[{len(LINKS)}].type")
    assert set(SINKS) == known(told, "none:events.sink.type")
    for heading, types in (
        ("Elements", ELEMENTS),
        ("`[[sources]]`", SOURCES),
        ("Links", LINKS),
        ("Sinks", SINKS),
    ):
        meaning = documented(heading)["type"][-1]

        assert set(re.findall(r'`"(\w+)"`', meaning)) == set(types)


#: tables in which nothing is given, and where their settings are documented
EMPTY = {
    "panels.other.": "`[panels.<name>]`",
    "panels.default.keys[0].": "Keys",
    "panels.default.blocks[0].": "Blocks",
    f"sources[{len(SOURCES) + 1}].": "`[[sources]]`",
    f"panels.default.links[{len(LINKS) + 1}].": "Links",
    f"panels.default.links[{len(LINKS) + 2}].events.X.": "Link: `events`",
    **{
        f"panels.default.blocks[1].data[{at}].": f"Element `{kind}`"
        for at, kind in enumerate(ELEMENTS)
    },
    "panels.default.blocks[2].data[0].rows[0].": "Element `list`: `rows`",
    "panels.default.blocks[2].data[1].columns[0].": "Element `table`: `columns`",
    "panels.default.hooks.wazzup.": "Hook `wazzup`",
    "events.": "`[events]`",
    "events.sink.": "Sinks",
    "http:events.sink.": "Sink `http`",
}


@pytest.mark.parametrize("path", EMPTY)
def test_what_has_to_be_given_is_documented_as_required(told, path):
    missing = {at.removeprefix(path) for at in told if re.fullmatch(re.escape(path) + r"\w+", at)}
    required = {name for name, cells in documented(EMPTY[path]).items() if cells[1] == "required"}

    assert missing - {*NONE} == required


def test_the_documented_defaults_are_the_defaults(write):
    def read(document):
        file = SettingsFile(write(document), {})
        settings = read_settings(file)
        return settings, WireNames(**settings.wire)

    def defaults(heading):
        written = {name: cells[1].strip("`") for name, cells in documented(heading).items()}
        text = "\n".join(
            f"{name} = {value}" for name, value in written.items() if value not in ("", "required")
        )
        return tomllib.loads(text)

    log = {"sink": {"type": "log"}}
    usual, wire = read({**MINIMAL, "events": log})
    given, given_wire = read(
        {
            **defaults("Top level"),
            "limits": defaults("`[limits]`"),
            "lint": defaults("`[lint]`"),
            "record": defaults("`[record]`"),
            "workbench": defaults("`[workbench]`"),
            "wire": defaults("`[wire]`"),
            "events": {**defaults("`[events]`"), **log},
            **MINIMAL,
        }
    )

    assert defaults("`[limits]`").keys() == documented("`[limits]`").keys()
    assert defaults("`[lint]`").keys() == documented("`[lint]`").keys()
    assert defaults("`[record]`").keys() == documented("`[record]`").keys()
    assert defaults("`[workbench]`").keys() == documented("`[workbench]`").keys()
    assert defaults("`[wire]`").keys() == documented("`[wire]`").keys()
    assert dataclasses.replace(given, wire={}, state=usual.state, record=usual.record) == usual
    assert given_wire == wire


def test_every_placeholder_of_a_statement_is_documented_with_its_key():
    placeholders = documented("Source `sql`: `find`", "placeholder")
    keys = {name: cells[0].strip("`") for name, cells in placeholders.items()}

    assert keys == {f":{name}": key.value for key, names in SEARCH_FORMS.items() for name in names}


def test_every_placeholder_of_a_link_is_documented():
    placeholders = documented("Link `url`", "placeholder")

    assert set(placeholders) == {f"{{{name}}}" for name in PLACEHOLDERS}


def test_every_filter_is_documented(tmp_path):
    templates = Templates(Formats("en"), Sanitizer(), tmp_path)
    filters = set(templates._html.filters) | set(templates._text.filters)  # noqa: SLF001

    assert set(documented("Filters", "filter")) == filters - set(DEFAULT_FILTERS)


def test_every_value_is_documented(told):
    values = known(told, "panels.default.blocks[2].data[5].html")

    assert set(documented("Values", "value")) == values


@pytest.mark.parametrize("value", ["contact", "lookup", "match"])
def test_everything_in_a_value_is_documented(write, value):
    listed = f"{{% for name in {value} %}}{{{{ name }}}} {{% endfor %}}"
    row = {"label": "x", "text": listed}
    block = {"name": "x", "data": [{"type": "list", "rows": [row]}]}
    source = {**SOURCE, "people": [{"external_id": "1"}]}
    panel = {**PANEL, "blocks": [block]}
    app = create_app(write({"sources": [source], "panels": {"default": panel}}), {})
    card = app.test_client().get("/imbox?view=ticket&externalId=1", auth=("", KEY)).json
    (element,) = card["blocks"][0]["data"]

    assert set(element["rows"][0]["text"].split()) == set(documented(f"Value `{value}`", "value"))


def test_there_are_examples_of_everything():
    text = "".join(BLOCKS)

    for types in (SOURCES, ELEMENTS, LINKS, SINKS):
        for type_ in types:
            assert f'type = "{type_}"' in text


@pytest.mark.parametrize("text", BLOCKS, ids=range(len(BLOCKS)))
def test_every_example_is_in_order(write, text):
    """What is no whole file is tried together with what it lacks."""
    document = tomllib.loads(text)
    for name, panel in document.get("panels", {}).items():
        document["panels"][name] = {**PANEL, **panel}
    names = re.findall(r'\{ env = "(\w+)" \}', text)
    environ = {name: WRITTEN.get(name.rpartition("_")[2], KEY) for name in names}
    environ["REDIS_URL"] = "redis://127.0.0.1:6379/0"
    app = create_app(write({**SEALING, **MINIMAL, **document}), environ)

    assert app.extensions["imbox_plugin"].panels.keys() == (
        document.get("panels", MINIMAL["panels"]).keys()
    )


def test_the_first_example_is_a_whole_file(write):
    environ = {"CRM_URL": "sqlite:///crm.db", "IMBOX_API_KEY": KEY}

    assert create_app(write(BLOCKS[0]), environ)


def test_every_place_that_the_page_links_to_is_there():
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        if target.startswith("https://"):
            continue
        file, _, place = target.partition("#")
        text = (ROOT / "docs" / file).read_text("utf-8") if file else PAGE
        anchors = {
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }

        assert not place or place in anchors, target


def test_every_command_is_documented_with_its_options():
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    sections = dict(
        re.findall(r"^## `flask (\w+)`\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    commands = {
        name: EntryPoint(name, target, "flask.commands").load()
        for name, target in project["entry-points"]["flask.commands"].items()
    }
    options = {name: set(written_options(command)) for name, command in commands.items()}

    assert {name: set(first_cells(section)) for name, section in sections.items()} == options
