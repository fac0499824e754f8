import runpy
from pathlib import Path

import pytest

from imbox_plugin.app import create_app
from imbox_plugin.links import LinkBuilder
from imbox_plugin.settings import SettingsError
from imbox_plugin.sources import Contact, DataSource, Key, Schema, fields

KEY = "the-key-of-these-tests-0123456789"
ENVIRON = {"KEY": KEY}

SOURCE = """
[[sources]]
name = "crm"
type = "tests.test_app:Witness"
"""
PANEL = """
[panels.default]
keys = [{ id = "a", secret = { env = "KEY" } }]
"""
BLOCK = """
[[panels.default.blocks]]
name = "B"
[[panels.default.blocks.data]]
"""


class Witness(DataSource):
    """Knows everybody, and shows what it was told when it was built."""

    keys = frozenset({Key.EMAIL})

    class Options(Schema):
        token = fields.String(load_default="", metadata={"secret": True})

    def find(self, lookup):
        context = self.context
        return [
            Contact(
                name=context.name,
                emails=(lookup.email,),
                details={
                    "built": id(self),
                    "folder": context.folder.name,
                    "region": context.default_region,
                    "limit": context.time_limit,
                    "amount": 1234.5,
                    "moment": "2026-07-01T12:00:00Z",
                },
            )
        ]


class PhoneWitness(Witness):
    keys = frozenset({Key.PHONE})


class Trusting(Witness):
    """Takes its options for right."""

    def __init__(self, options, context):
        super().__init__(options, context)
        raise AssertionError


class Page(LinkBuilder):
    """A page by the e-mail address."""

    class Options(Schema):
        host = fields.String(required=True)

    def url(self, lookup, contact):  # noqa: ARG002
        return f"https://{self.options['host']}/{lookup.email}"


@pytest.fixture
def write(tmp_path):
    def write(*parts):
        file = tmp_path / "imbox.toml"
        file.write_text("".join(parts), "utf-8")
        return file

    return write


@pytest.fixture
def card(write):
    """The card that a server with such settings gives."""

    def card(*parts, query="view=chat&email=ada@example.com", path="/imbox"):
        client = create_app(write(*parts), ENVIRON).test_client()
        return client.get(f"{path}?{query}", auth=("", KEY)).json

    return card


def listed(**rows):
    """A list element with these rows."""
    pairs = (f'{{ label = "{label}", text = "{text}" }}' for label, text in rows.items())
    return f'type = "list"\nrows = [{", ".join(pairs)}]\n'


def rows(card):
    """The rows of the first list on a card."""
    return {row["label"]: row["text"] for row in card["blocks"][0]["data"][0]["rows"]}


def test_the_environment_names_the_settings(write):
    environ = {**ENVIRON, "IMBOX_SETTINGS": str(write(SOURCE, PANEL))}

    assert create_app(environ=environ).extensions["imbox_plugin"].panels.keys() == {"default"}


def test_gunicorns_app_is_made_of_the_settings_in_the_working_directory(write, monkeypatch):
    monkeypatch.chdir(write(SOURCE, PANEL).parent)
    monkeypatch.delenv("IMBOX_SETTINGS", raising=False)
    monkeypatch.setenv("KEY", KEY)
    app = runpy.run_path(str(Path(__file__).parents[1] / "wsgi.py"))["app"]

    assert app.test_client().get("/imbox?view=chat", auth=("", KEY)).status_code == 200


def test_without_settings_there_is_no_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SettingsError, match="there are no settings"):
        create_app(environ={})


def test_what_deserves_a_look_is_logged_without_a_secret(write, caplog):
    create_app(write(SOURCE, 'token = "a-token-in-the-file"', PANEL), ENVIRON)

    assert [record.getMessage() for record in caplog.records] == [
        'settings: sources[0].token: a secret in the file; write { env = "NAME" } in its place'
    ]


def test_settings_without_a_flaw_log_nothing(write, caplog):
    create_app(write(SOURCE, PANEL), ENVIRON)

    assert caplog.records == []


@pytest.mark.parametrize(("region", "warned"), [("", True), ('default_region = "SE"\n', False)])
def test_a_source_by_phone_without_a_region_is_warned_about(write, caplog, region, warned):
    create_app(write(region, SOURCE.replace("Witness", "PhoneWitness"), PANEL), ENVIRON)

    assert any("sources[0].default_region" in record.getMessage() for record in caplog.records) is (
        warned
    )


@pytest.mark.parametrize(
    ("threads", "environ", "warned"),
    [
        ("", {}, False),
        ("threads = 23\n", {}, False),
        ("threads = 24\n", {}, True),
        ("", {"WEB_THREADS": "16"}, True),
        ("threads = 7\n", {"WEB_THREADS": "8"}, False),
    ],
)
def test_a_source_that_could_hold_every_place_is_warned_about(
    write, caplog, threads, environ, warned
):
    create_app(write(SOURCE, threads, PANEL), {**ENVIRON, **environ})

    assert any("sources[0].threads" in record.getMessage() for record in caplog.records) is warned


def test_a_source_is_told_its_name_its_folder_its_region_and_its_time(card, tmp_path):
    settings = 'deadline = 1.5\ndefault_region = "NO"\n'
    texts = {name: f"{{{{ contact.{name} }}}}" for name in ("name", "folder", "region", "limit")}
    shown = card(settings, SOURCE, PANEL, BLOCK, listed(**texts))

    assert rows(shown) == {"name": "crm", "folder": tmp_path.name, "region": "NO", "limit": "1.2"}


def test_a_panel_asks_its_own_sources(card):
    shop = SOURCE.replace("crm", "shop")
    shown = card(SOURCE, shop, PANEL, 'sources = ["shop"]\n')

    assert [block["name"] for block in shown["blocks"]] == ["shop"]
    assert shown["contactName"] == "shop"


def test_panels_share_the_sources(write):
    app = create_app(write(SOURCE, PANEL, PANEL.replace("default", "other")), ENVIRON)
    panels = app.extensions["imbox_plugin"].panels

    assert panels["default"].directory.sources == panels["other"].directory.sources
    assert panels["default"].directory.guards == panels["other"].directory.guards


def test_each_source_is_left_alone_when_its_own_settings_say(write):
    source = SOURCE + "breaker = { failures = 2, reset = 60 }\n"
    app = create_app(write(source, SOURCE.replace("crm", "shop"), PANEL), ENVIRON)
    crm, shop = app.extensions["imbox_plugin"].panels["default"].directory.guards
    for guard in (crm, shop):
        for _ in range(2):
            guard.breaker.failed(guard.breaker.permit(), "down")

    assert [guard.breaker.state.status for guard in (crm, shop)] == ["open", "closed"]


def test_each_panel_has_its_own_keys_and_layout(card):
    other = PANEL.replace("default", "other") + BLOCK.replace("default", "other")
    settings = (SOURCE, PANEL, BLOCK, listed(a="1"), other, listed(b="2"))

    assert rows(card(*settings)) == {"a": "1"}
    assert rows(card(*settings, path="/imbox/other")) == {"b": "2"}


def test_a_class_beside_the_settings_is_a_source(write, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    (tmp_path / "club_of_test_app.py").write_text(
        "from tests.test_app import Witness\nclass Club(Witness): pass\n"
    )
    source = SOURCE.replace("tests.test_app:Witness", "club_of_test_app:Club")
    (built,) = (
        create_app(write(source, PANEL), ENVIRON)
        .extensions["imbox_plugin"]
        .panels["default"]
        .directory.sources
    )

    assert type(built).__name__ == "Club"


def test_a_link_may_be_a_class_too(card):
    link = '[[panels.default.links]]\ntype = "tests.test_app:Page"\ntext = "Page"\n'
    shown = card(SOURCE, PANEL, link, 'host = "crm.example.com"\n')

    assert shown["contactLink"] == {
        "text": "Page",
        "url": "https://crm.example.com/ada@example.com",
    }


def test_the_first_link_of_the_view_is_taken(card):
    link = '[[panels.default.links]]\ntype = "url"\ntext = "{}"\nurl = "https://{}/{{email}}"\n'
    links = link.format("T", "t.example.com") + 'views = ["ticket"]\n'
    links += link.format("A", "a.example.com") + 'name = "a"\n'
    links += link.format("B", "b.example.com") + 'name = "b"\n'

    assert card(SOURCE, PANEL, links)["contactLink"]["text"] == "A"
    assert (
        card(SOURCE, PANEL, links, query="view=ticket&email=a@b.se")["contactLink"]["text"] == "T"
    )


def test_the_names_of_the_wire_reach_the_question_and_the_answer(card):
    wire = '[wire]\nemail = "mail"\nhtml_content = "content"\n'
    html = 'type = "html"\nhtml = "<b>x</b>"\n'
    shown = card(wire, SOURCE, PANEL, BLOCK, html, query="view=chat&mail=ada@example.com")

    assert shown["blocks"][0]["data"] == [{"type": "html", "content": "<b>x</b>"}]


def test_a_card_can_be_restricted_to_documented_shapes(card):
    wire = '[wire]\nelements = "documented"\n'
    html = 'type = "html"\nhtml = "<b>x</b>"\n'

    assert rows(card(wire, SOURCE, PANEL, BLOCK, html)) == {"": "x"}


def test_the_locale_and_the_time_zone_reach_the_card(card):
    settings = 'locale = "sv"\ntimezone = "Europe/Stockholm"\n'
    texts = listed(a="{{ contact.amount | number }}", b="{{ contact.moment | datetime }}")

    assert rows(card(settings, SOURCE, PANEL, BLOCK, texts)) == {
        "a": "1\N{NO-BREAK SPACE}234,5",
        "b": "1 juli 2026 14:00",
    }


def test_the_limits_reach_the_card(card):
    shown = card("[limits]\ncharacters = 5\n", SOURCE, PANEL, BLOCK, listed(a="abcdefgh"))

    assert rows(shown) == {"a": "abcd…"}


@pytest.mark.parametrize(
    # bleach cannot tell what is inside a picture, and leaves its text
    ("sanitizer", "clean"),
    [("nh3", "<b>x</b>"), ("bleach", "<b>x</b>t")],
)
def test_markup_is_cleaned_by_the_sanitizer_of_the_settings(card, sanitizer, clean):
    html = """type = "html"\nhtml = "<b onclick='y'>x</b><script>z</script><svg>t</svg>"\n"""
    shown = card(f'sanitizer = "{sanitizer}"\n', SOURCE, PANEL, BLOCK, html)

    assert shown["blocks"][0]["data"][0]["html"] == clean


def test_a_template_lies_beside_the_settings(card, tmp_path):
    (tmp_path / "note.html").write_text("<p>{{ contact.name }}</p>")
    shown = card(SOURCE, PANEL, BLOCK, 'type = "html"\ntemplate = "note.html"\n')

    assert shown["blocks"][0]["data"][0]["html"] == "<p>crm</p>"


def test_a_wrong_locale_and_a_wrong_time_zone_are_told_at_once(write):
    with pytest.raises(SettingsError) as refused:
        create_app(write('locale = "xx"\ntimezone = "Mars"\n', SOURCE, PANEL), ENVIRON)

    assert [problem.path for problem in refused.value.problems] == ["locale", "timezone"]


@pytest.mark.parametrize("option", ['token = { env = "GONE" }', "token = 3", "tokn = 3"])
def test_nothing_is_built_of_options_that_are_wrong(write, option):
    source = SOURCE.replace("Witness", "Trusting")
    with pytest.raises(SettingsError) as refused:
        create_app(write(source, option, PANEL), ENVIRON)

    assert len(refused.value.problems) == 1
