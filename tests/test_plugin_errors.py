"""What an integrator sees of a plugin that is not there, not whole, or refuses its options."""

from __future__ import annotations

import sys
import traceback

import pytest

from imbox_plugin.app import create_app
from imbox_plugin.plugins import LINK_GROUP, LINKS, SOURCE_GROUP, SOURCES
from imbox_plugin.settings import SettingsError
from tests.packages import install

KEY = "0123456789abcdef0123456789abcdef"
INLINE = '[[sources]]\nname = "crm"\ntype = "inline"\npeople = []\n'
PANEL = '[panels.default]\nkeys = [{ id = "t", secret = { env = "KEY" } }]\n'
PLACE = "panels.default.links[0].type"
LINK = '[[panels.default.links]]\ntext = "CRM"\n'

SOURCE = """
from imbox_plugin.sources import DataSource, Key, Schema, SourceError, fields

class Club(DataSource):
    keys = frozenset({Key.EMAIL})
    class Options(Schema):
        file = fields.String(load_default="")
    def find(self, lookup):
        return []
"""
BUILDER = """
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
    for name in [name for name in sys.modules if name.startswith("errs_")]:
        del sys.modules[name]


@pytest.fixture
def start(tmp_path):
    """Start a server with these settings, beside which these modules lie."""

    def start(settings, **modules):
        for name, text in modules.items():
            tmp_path.joinpath(f"{name}.py").write_text(text, "utf-8")
        file = tmp_path / "imbox.toml"
        file.write_text(settings, "utf-8")
        return create_app(file, {"KEY": KEY})

    return start


@pytest.fixture
def site(tmp_path_factory, monkeypatch):
    """A folder for installed packages."""
    site = tmp_path_factory.mktemp("site")
    monkeypatch.syspath_prepend(site)
    return site


def source(type_, *options):
    return "\n".join(['[[sources]]\nname = "club"', f'type = "{type_}"', *options, ""])


def link(type_, *options):
    return "\n".join([LINK, f'type = "{type_}"', *options, ""])


def problems(start, settings, **modules):
    with pytest.raises(SettingsError) as stopped:
        start(settings, **modules)
    return [str(problem) for problem in stopped.value.problems]


def test_unknown_types_are_told_at_once_with_their_places_and_what_there_is(start):
    found = problems(start, source("clubb") + PANEL + link("galabox"))

    assert found == [
        f"sources[0].type: no type is called 'clubb'; there are: {', '.join(sorted(SOURCES))}",
        f"{PLACE}: no type is called 'galabox'; did you mean gallabox? there are: "
        + ", ".join(sorted(LINKS)),
    ]


def test_an_installed_type_is_among_those_there_are(start, site):
    install(site, "errs_club", SOURCE, SOURCE_GROUP, club="errs_club:Club")
    (found,) = problems(start, source("clubb") + PANEL)

    assert "did you mean club?" in found


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        (source("errs_broken:Club") + PANEL, "sources[0].type"),
        (INLINE + PANEL + link("errs_broken:Page"), PLACE),
    ],
)
def test_a_broken_configured_plugin_stops_the_start_with_its_traceback(start, settings, place):
    with pytest.raises(ModuleNotFoundError) as stopped:
        start(settings, errs_broken="import no_such_driver")
    shown = "".join(traceback.format_exception(stopped.value))

    assert 'errs_broken.py", line 1' in shown
    assert "No module named 'no_such_driver'" in shown
    assert f"which is {place} in the settings" in shown


@pytest.mark.parametrize("group", [SOURCE_GROUP, LINK_GROUP])
def test_a_broken_plugin_that_is_not_configured_harms_nobody(start, site, group):
    install(site, "errs_broken", "raise SystemExit", group, broken="errs_broken:Club")

    assert start(INLINE + PANEL)
    assert "errs_broken" not in sys.modules


def test_built_in_types_cannot_be_replaced(start, site):
    install(site, "errs_source", SOURCE, SOURCE_GROUP, inline="errs_source:Club")
    install(site, "errs_link", BUILDER, LINK_GROUP, url="errs_link:Page")
    start(INLINE + PANEL + link("url", 'url = "https://crm.example.com/{email}"'))

    assert not {"errs_source", "errs_link"} & sys.modules.keys()


def test_two_packages_that_offer_the_same_type_are_told_apart_by_whoever_installed_them(
    start, site
):
    for module in ("errs_one", "errs_two"):
        install(site, module, SOURCE, SOURCE_GROUP, club=f"{module}:Club")

    (found,) = problems(start, source("club") + PANEL)

    assert "errs_one 1.0 and errs_two 1.0 both offer it; uninstall one, or write errs_" in found
    assert start(source("errs_two:Club") + PANEL)


@pytest.mark.parametrize("error", ["SourceError", "ValueError"])
def test_options_that_a_source_refuses_are_one_mistake_among_the_others(start, error):
    refusing = SOURCE + (
        "    def __init__(self, options, context):\n"
        "        super().__init__(options, context)\n"
        f"        raise {error}('the file is for the wrong year; export it anew')\n"
    )
    found = problems(start, "locale = 3\n" + source("errs_no:Club") + PANEL, errs_no=refusing)

    assert found == [
        'locale: must be a text; write it in quotes, "..."',
        "sources[0]: the file is for the wrong year; export it anew",
    ]


def test_options_that_a_link_refuses_are_a_mistake_too(start):
    refusing = BUILDER + (
        "    def __init__(self, options, context):\n"
        "        super().__init__(options, context)\n"
        "        raise ValueError\n"
    )
    found = problems(start, INLINE + PANEL + link("errs_no:Page"), errs_no=refusing)

    assert found == ["panels.default.links[0]: refused with ValueError; correct it"]


def test_any_other_error_of_a_constructor_is_shown_whole_and_says_where_it_was_built(start):
    broken = SOURCE + "    def __init__(self, options, context):\n        1 / 0\n"
    with pytest.raises(ZeroDivisionError) as stopped:
        start(source("errs_bug:Club") + PANEL, errs_bug=broken)
    shown = "".join(traceback.format_exception(stopped.value))

    assert 'errs_bug.py", line' in shown
    assert "while building what sources[0] in the settings describes" in shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            SOURCE + "    def __init__(self, options, context):\n        self.file = options\n",
            "sources[0].type: its __init__ does not call super().__init__(options, context)",
        ),
        (
            SOURCE.replace("    keys = frozenset({Key.EMAIL})\n", ""),
            "sources[0].type: its keys are none to search by; set them, as in keys = frozenset({",
        ),
        (SOURCE.replace("{Key.EMAIL}", "{'mail'}"), "its keys are none to search by"),
        (SOURCE.replace("frozenset({Key.EMAIL})", "Key.EMAIL"), "its keys are none to search by"),
        (
            SOURCE.replace("Options(Schema)", "Options"),
            "sources[0].type: errs_part:Club.Options is not a Schema; write class Options(Schema)",
        ),
        (SOURCE.replace("find", "found"), "errs_part:Club does not define find; add it"),
        (SOURCE.replace("Club", "Klub"), "the module errs_part has no Club; correct the name$"),
    ],
)
def test_what_the_author_of_a_source_forgot_is_said_at_the_start(start, text, says):
    (found,) = problems(start, source("errs_part:Club") + PANEL, errs_part=text)

    assert says in f"{found}$"


def test_a_module_beside_the_settings_that_another_one_hides_is_to_be_renamed(start):
    (found,) = problems(start, source("colorsys:Club") + PANEL, colorsys=SOURCE)

    assert found == (
        "sources[0].type: the module colorsys has no Club; correct the name, or rename "
        "colorsys.py: another colorsys comes before it"
    )


def test_a_driver_that_is_not_installed_is_told_with_its_command(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymysql", None)
    found = problems(start, source("sql", 'url = "mariadb://u:secret@host/x"') + PANEL)

    assert found[0] == (
        "sources[0].url: the database driver pymysql is not installed; "
        "run: pip install 'imbox-plugin[mariadb]'"
    )
