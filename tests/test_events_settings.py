"""What the settings and the commands say of events."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from imbox_plugin import cli
from imbox_plugin.app import create_app
from imbox_plugin.events import LEASE
from imbox_plugin.plugins import SINK_GROUP, SINKS, Registry
from imbox_plugin.settings import SettingsError
from imbox_plugin.sinks import EventSink
from tests.packages import install
from tests.test_outbox import event
from tests.toml_text import toml_text

URL = "https://crm.example.com/hook"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
USUAL = {
    "secret_keys": ["a-secret-key-of-this-test-only"],
    "sources": [{"name": "crm", "type": "inline", "default_region": "SE", "people": []}],
    "panels": {"default": {"keys": [{"id": "a", "secret": "a-key-that-imbox-sends"}]}},
}


@pytest.fixture
def serve(tmp_path):
    apps = []

    def serve(**changed):
        file = tmp_path / "imbox.toml"
        file.write_text(toml_text({**USUAL, **changed}), "utf-8")
        apps.append(create_app(file, {}))
        return apps[-1].extensions["imbox_plugin"].courier

    yield serve
    for courier in (app.extensions["imbox_plugin"].courier for app in apps):
        if courier:
            courier.stop()


def problems(serve, **changed):
    with pytest.raises(SettingsError) as refused:
        serve(**changed)
    return {problem.path: problem.message for problem in refused.value.problems}


def test_a_server_without_events_takes_none_and_does_not_know_the_database(serve, monkeypatch):
    monkeypatch.delitem(sys.modules, "imbox_plugin.outbox")

    assert serve() is None
    assert "imbox_plugin.outbox" not in sys.modules


def test_events_wait_in_a_file_in_the_state_folder(serve, tmp_path):
    serve(events={"sink": {"type": "log"}}, state="kept").outbox.accept(event())

    assert (tmp_path / "kept" / "events.db").exists()


def test_building_a_server_touches_no_database_and_starts_no_thread(serve, tmp_path):
    courier = serve(events={"sink": {"type": "log"}})

    assert courier._thread is None  # noqa: SLF001
    assert not (tmp_path / "imbox-state").exists()


def test_another_database_may_be_named_beside_the_settings(serve, tmp_path):
    serve(events={"sink": {"type": "log"}, "url": "sqlite:///other.db"}).outbox.accept(event())

    assert (tmp_path / "other.db").exists()


def test_the_settings_of_events_are_obeyed(serve):
    courier = serve(events={"sink": {"type": "log"}, "attempts": 3, "keep_days": 5})

    assert (courier._attempts, courier.outbox._kept) == (3, 5 * 86_400)  # noqa: SLF001


@pytest.mark.parametrize(
    ("events", "path", "says"),
    [
        ({}, "events.sink", "missing; add it"),
        ({"sink": "log"}, "events.sink", "must be a table"),
        ({"sink": {}}, "events.sink.type", "missing; add it"),
        ({"sink": {"type": "lgo"}}, "events.sink.type", "did you mean log?"),
        ({"sink": {"type": "http", "url": URL}}, "events.sink.secret", "missing; add it"),
        ({"sink": {"type": "log", "url": URL}}, "events.sink.url", "no setting is called 'url'"),
        (
            {"sink": {"type": "http", "url": "http://crm.example.com/", "secret": SECRET}},
            "events.sink.url",
            "http sends secrets",
        ),
        ({"sink": {"type": "log"}, "url": "canary"}, "events.url", "not the address of a database"),
        ({"sink": {"type": "log"}, "url": "sqlite://"}, "events.url", "names no file"),
        ({"sink": {"type": "log"}, "keep_days": 0}, "events.keep_days", "from 1 to 3650"),
        ({"sink": {"type": "log"}, "attempts": 101}, "events.attempts", "from 1 to 100"),
        ({"sink": {"type": "log"}, "bogus": 1}, "events.bogus", "no setting is called 'bogus'"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_cure(serve, events, path, says):
    found = problems(serve, events=events)

    assert says in found[path]
    assert "canary" not in str(found)


def test_events_are_not_kept_without_a_key_to_seal_them(serve):
    found = problems(serve, events={"sink": {"type": "log"}}, secret_keys=[])

    assert found == {"secret_keys": "missing, and events are sealed with them; add one"}


@pytest.mark.parametrize("hook", [{}, {"keys": []}])
def test_a_hook_without_keys_is_a_mistake(serve, hook):
    panel = {**USUAL["panels"]["default"], "hooks": {"wazzup": hook}}
    found = problems(serve, events={"sink": {"type": "log"}}, panels={"default": panel})

    assert "add one with id and secret" in found["panels.default.hooks.wazzup.keys"]


def test_two_keys_of_a_hook_have_different_ids(serve):
    hook = {"keys": [{"id": "a", "secret": f"a-key-of-this-test-{n}"} for n in "12"]}
    panel = {**USUAL["panels"]["default"], "hooks": {"wazzup": hook}}
    found = problems(serve, events={"sink": {"type": "log"}}, panels={"default": panel})

    assert "same id" in found["panels.default.hooks.wazzup.keys"]


@pytest.mark.parametrize("type_", SINKS)
def test_every_built_in_sink_is_one(tmp_path, type_):
    registry = Registry(EventSink, SINKS, "none", tmp_path)

    assert issubclass(registry.load(type_), EventSink)


OWN = """
from imbox_plugin.sinks import EventSink, Schema, SinkError, fields

class Crm(EventSink):
    class Options(Schema):
        team = fields.String(required=True)

    def deliver(self, event):
        raise SinkError(f"{self.options['team']} takes nothing", permanent=True)
"""


@pytest.fixture
def _own(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield
    sys.modules.pop("sink_of_test_events", None)


@pytest.mark.usefixtures("_own")
def test_a_sink_of_ones_own_lies_beside_the_settings(serve, tmp_path):
    (tmp_path / "sink_of_test_events.py").write_text(OWN)
    courier = serve(events={"sink": {"type": "sink_of_test_events:Crm", "team": "Sales"}})
    courier.outbox.accept(event())
    courier.deliver_next()

    assert [letter.failure for letter in courier.outbox.dead()] == ["Sales takes nothing"]


@pytest.mark.usefixtures("_own")
def test_an_installed_package_offers_a_sink(serve, tmp_path):
    install(tmp_path, "sink_of_test_events", OWN, SINK_GROUP, crm="sink_of_test_events:Crm")

    assert serve(events={"sink": {"type": "crm", "team": "Sales"}})


# --- flask events ---------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    def run(command, *arguments):
        environ = {"IMBOX_SETTINGS": str(tmp_path / "imbox.toml"), "COLUMNS": "100"}
        return CliRunner().invoke(command, arguments, env=environ)

    return run


@pytest.fixture
def outbox(serve):
    """The outbox of the settings that the commands read, with two dead letters and one waiting."""
    outbox = serve(events={"sink": {"type": "log"}}).outbox
    for key in ("m-1", "m-2"):
        outbox.accept(event(key))
        outbox.fail(outbox.claim(LEASE), "the endpoint did not take it (500)", None)
    outbox.accept(event("m-3"))
    return outbox


def test_the_dead_letters_are_listed_without_what_is_in_them(run, outbox):
    result = run(cli.events)

    assert result.exit_code == 0
    assert result.output.startswith("1 waiting, the oldest for 0 s\n0 delivered or dropped")
    assert "WZ_OUTPUT_MESSAGE of link Chat in panel default, key m-1, accepted 20" in result.output
    assert "1 attempts: the endpoint did not take it (500)" in result.output
    assert "46701740605" not in result.output
    assert outbox.counts().dead == 2


@pytest.mark.parametrize(
    ("arguments", "then"),
    [
        (["--retry", "m-1"], (2, 1, 0)),
        (["--retry", "all"], (3, 0, 0)),
        (["--drop", "m-2"], (1, 1, 1)),
        (["--drop", "all"], (1, 0, 2)),
    ],
)
def test_dead_letters_are_retried_or_dropped_by_key(run, outbox, arguments, then):
    result = run(cli.events, *arguments)
    counts = outbox.counts()

    assert result.exit_code == 0
    assert (counts.waiting, counts.dead, counts.settled) == then


@pytest.mark.usefixtures("outbox")
def test_a_key_of_no_dead_letter_is_told(run):
    result = run(cli.events, "--drop", "m-3")

    assert result.exit_code == 1
    assert "no dead letter has this key" in result.output


def test_a_key_from_a_browser_does_not_steer_the_terminal(run, outbox):
    outbox.accept(event("m\x1b[2J"))
    for letter in iter(lambda: outbox.claim(LEASE), None):
        outbox.fail(letter, "no", None)
    result = run(cli.events)

    assert "\x1b" not in result.output
    assert "m\\x1b[2J" in result.output


def test_a_server_without_events_says_so(run, serve):
    serve()

    assert "have no [events]" in run(cli.events).output


def test_an_outbox_that_cannot_be_used_is_told(run, serve, tmp_path):
    serve(events={"sink": {"type": "log"}})
    (tmp_path / "imbox-state").write_text("in the way")
    result = run(cli.events)

    assert result.exit_code == 1
    assert "the database of the events does not do its work" in result.output


@pytest.mark.usefixtures("_own")
def test_the_types_of_sinks_are_listed_with_their_options(run, serve, tmp_path):
    (tmp_path / "sink_of_test_events.py").write_text(OWN)
    serve(events={"sink": {"type": "sink_of_test_events:Crm", "team": "Sales"}})
    output = run(cli.sources).output

    assert "log, built in. A line in the log for each event" in output
    assert "secret: whsec_" in output
    assert "sink_of_test_events:Crm" in output
