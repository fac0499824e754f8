import sys

import pytest

from imbox_plugin.links import LinkBuilder
from imbox_plugin.plugins import LINKS, SOURCES, PluginError, Registry
from imbox_plugin.sources import DataSource

GROUP = "imbox_plugin.sources"
SOURCE = """
from imbox_plugin.sources import DataSource

class Club(DataSource):
    keys = frozenset()
    def find(self, lookup):
        return ()

class Unfinished(DataSource):
    keys = frozenset()

class Around:
    Inner = Club

def function():
    pass
"""


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    """Forget what a test has put on Python's path, and has imported from there."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in [name for name in sys.modules if name.startswith("club_")]:
        del sys.modules[name]


@pytest.fixture
def beside(tmp_path):
    """Put a module beside the settings."""

    def beside(name, text=SOURCE):
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return beside


@pytest.fixture
def install(tmp_path_factory):
    """Install a package with one module and these entry points."""

    def install(module, text=SOURCE, **types):
        site = tmp_path_factory.mktemp("site")
        (site / f"{module}.py").write_text(text)
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"{name} = {target}" for name, target in types.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
        sys.path.insert(0, str(site))

    return install


@pytest.fixture
def sources(tmp_path):
    return lambda: Registry(DataSource, SOURCES, GROUP, tmp_path)


@pytest.mark.parametrize(("kind", "builtin"), [(DataSource, SOURCES), (LinkBuilder, LINKS)])
def test_every_built_in_type_is_a_class_of_its_kind(tmp_path, kind, builtin):
    registry = Registry(kind, builtin, "none", tmp_path)

    for type_, target in builtin.items():
        assert registry.load(type_).__name__ == target.partition(":")[2]


def test_an_unknown_type_is_told_the_nearest_and_all_there_are(sources):
    with pytest.raises(PluginError) as refused:
        sources().load("inlin")

    assert str(refused.value) == (
        f"no type is called 'inlin'; did you mean inline? there are: {', '.join(sorted(SOURCES))}"
    )


def test_a_class_of_a_module_beside_the_settings_is_a_type(sources, beside):
    beside("club_beside")

    assert sources().load("club_beside:Club").__name__ == "Club"


def test_a_class_may_lie_in_a_package_or_in_a_class(sources, beside):
    beside("club_package/deep")

    assert sources().load("club_package.deep:Around.Inner").__name__ == "Club"


def test_a_module_beside_the_settings_does_not_hide_one_of_pythons(sources, beside):
    beside("colorsys")

    with pytest.raises(PluginError, match="the module colorsys has no Club; correct the name"):
        sources().load("colorsys:Club")


@pytest.mark.parametrize(
    ("type_", "says"),
    [
        ("club_wrong:Klub", "the module club_wrong has no Klub; correct the name"),
        ("club_wrong:Club.Inner", r"the module club_wrong has no Club\.Inner; correct the name"),
        ("club_wrong:function", "club_wrong:function is not a DataSource; name a class that is"),
        ("club_wrong:Around", "club_wrong:Around is not a DataSource; name a class that is"),
        ("imbox_plugin.links:LinkBuilder", "is not a DataSource; name a class that is"),
        ("club_wrong:Unfinished", "club_wrong:Unfinished does not define find; add it"),
        ("imbox_plugin.sources:DataSource", "does not define find; add it to the class"),
        ("no_such:Club", r"no module no_such; install it, or put no_such\.py beside the settings"),
        ("no_such.a:Club", r"no module no_such\.a; install it, or put no_such/a\.py beside"),
        ("club_wrong.a:Club", r"no module club_wrong\.a; install it, or put club_wrong/a\.py"),
    ],
)
def test_what_is_no_such_class_is_said_with_a_cure(sources, beside, type_, says):
    beside("club_wrong")

    with pytest.raises(PluginError, match=says):
        sources().load(type_)


@pytest.mark.parametrize(
    "type_", [":", "os:", ":Club", "a..b:C", ".a:C", "a:b:C", "a b:C", "1:C", "a:C()"]
)
def test_what_cannot_be_the_name_of_a_class_is_told_the_form(sources, type_):
    with pytest.raises(PluginError, match="not the name of a class; write it as module:Class"):
        sources().load(type_)


@pytest.mark.parametrize(
    ("text", "error"),
    [("import no_such_driver", ModuleNotFoundError), ("1 / 0", ZeroDivisionError)],
)
def test_a_broken_module_stops_the_start_with_its_own_error(sources, beside, text, error):
    beside(f"club_broken_{error.__name__}", text)

    with pytest.raises(error):
        sources().load(f"club_broken_{error.__name__}:Club")


def test_an_installed_package_adds_a_type(sources, install):
    install("club_installed", club="club_installed:Club")
    registry = sources()

    assert set(registry.types) == {*SOURCES, "club"}
    assert registry.load("club").__module__ == "club_installed"


def test_an_installed_package_never_replaces_a_built_in_type(sources, install):
    install("club_replacing", inline="club_replacing:Club")

    assert sources().load("inline").__module__ == "imbox_plugin.sources.inline"


def test_what_is_not_asked_for_is_not_imported(sources, install):
    install("club_broken", "raise SystemExit", club="club_broken:Club")
    sources().load("inline")

    assert "club_broken" not in sys.modules


def test_the_entry_points_of_another_group_are_no_types(tmp_path, install):
    install("club_other", club="club_other:Club")
    links = Registry(LinkBuilder, LINKS, "imbox_plugin.links", tmp_path)

    assert set(links.types) == set(LINKS)
