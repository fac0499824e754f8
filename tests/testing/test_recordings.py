from __future__ import annotations

import json
import tomllib

import pytest

from imbox_plugin import plugins
from imbox_plugin.app import create_app
from imbox_plugin.model import View
from imbox_plugin.testing.recordings import (
    Answered,
    RecordingError,
    difference,
    read_recording,
    replay,
    replay_at,
)
from tests.demo import ENVIRON, ROOT
from tests.loopback import answering, serving

FILES = sorted((ROOT / "tests" / "recordings" / "imbox").glob("*.json"))


@pytest.fixture(scope="module")
def apps(demo):
    """One application for each settings file, by its path."""
    made = {}

    def application(settings):
        path = settings.resolve()
        if path not in made:
            made[path] = create_app(path, ENVIRON)
        return made[path]

    return application


def elements_in(document):
    """Every element of a reply, also those inside accordions."""
    for block in (document or {}).get("blocks", ()):
        for element in block["data"]:
            yield element
            yield from element.get("data", ())


@pytest.fixture(scope="module")
def recordings():
    return [read_recording(file) for file in FILES]


@pytest.fixture(scope="module")
def settings(recordings):
    """The settings files of all recordings, parsed."""
    files = {recording.settings.resolve() for recording in recordings}
    return [tomllib.loads(file.read_text("utf-8")) for file in files]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_reply_is_the_recorded_one(file, apps):
    recording = read_recording(file)

    answered = replay(recording, apps(recording.settings), ENVIRON["IMBOX_DEMO_KEY"])

    assert difference(recording, answered) == ""


def test_every_view_is_in_a_file_name_and_a_recording(recordings):
    views = {file.stem.partition("__")[0] for file in FILES}

    assert views == set(View)
    assert {str(r.query.get("view")).strip().lower() for r in recordings} >= set(View)


def test_every_element_is_in_a_recording(recordings):
    types = {e["type"] for recording in recordings for e in elements_in(recording.document)}

    assert types == {"list", "table", "html", "accordion"}


def test_every_source_and_link_is_in_the_settings_of_a_recording(settings):
    sources = {table["type"] for file in settings for table in file["sources"]}
    links = {
        table["type"]
        for file in settings
        for panel in file["panels"].values()
        for table in panel.get("links", ())
    }

    assert sources == set(plugins.SOURCES)
    assert links == set(plugins.LINKS)


def test_every_refusal_is_in_a_recording(recordings):
    assert {recording.status for recording in recordings} == {200, 400, 401, 404, 405}


def test_no_recording_holds_the_key():
    secret = ENVIRON["IMBOX_DEMO_KEY"]

    assert not [file.name for file in FILES if secret in file.read_text("utf-8")]


def test_numbers_and_addresses_are_nobodys(recordings):
    """Numbers from the range reserved for fiction, addresses at example domains."""
    for recording in recordings:
        number = "".join(filter(str.isdigit, str(recording.query.get("phoneNumber", ""))))
        email = str(recording.query.get("email", "@example.com"))

        assert number == "" or "70174" in number
        assert "@example." in email.lower() or "@" not in email


def written(tmp_path, **changes):
    document = {
        "about": "A recording for a test.",
        "origin": "Written for this test.",
        "request": {"query": {"view": "chat"}},
        "reply": {"status": 200, "json": {}},
        **changes,
    }
    file = tmp_path / "chat__x.json"
    file.write_text(json.dumps(document), "utf-8")
    return file


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"origin": None}, "origin"),
        ({"request": {"headers": {"Authorization": "Basic x"}}}, "Authorization"),
        ({"request": {"path": "//evil.example/imbox"}}, "path"),
        ({"request": {"key": "the key itself"}}, "key"),
        ({"reply": {"status": "200", "json": {}}}, "status"),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_and_the_field_named(tmp_path, changes, named):
    file = written(tmp_path, **changes)

    with pytest.raises(RecordingError, match=named):
        read_recording(file)


def test_a_file_that_is_not_there_or_not_json_is_refused(tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text("{", "utf-8")

    with pytest.raises(RecordingError, match="not JSON"):
        read_recording(broken)
    with pytest.raises(RecordingError, match="No such file"):
        read_recording(tmp_path / "nothing.json")


def test_a_difference_shows_the_recorded_and_the_answered_line(tmp_path):
    recording = read_recording(written(tmp_path, reply={"status": 200, "json": {"a": "Åsa"}}))

    found = difference(recording, Answered(200, {"a": "Bo"}))

    assert '-  "a": "Åsa"' in found
    assert '+  "a": "Bo"' in found


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_the_answer_and_nobody_else_gets_the_key(tmp_path, status):
    recording = read_recording(written(tmp_path))
    with serving(answering()) as elsewhere:
        moved = answering(status=status, headers=[f"Location: {elsewhere.url}/imbox"], body=b"")
        with serving(moved) as server:
            answered = replay_at(recording, server.url, "a key of this panel")

    assert answered == Answered(int(status[:3]), None)
    assert elsewhere.wires == []


def test_every_parameter_has_texts(tmp_path):
    query = {"view": "chat", "email": ["", "anna@example.com"], "ticketId": 7}
    recording = read_recording(written(tmp_path, request={"query": query}))

    assert recording.parameters == {
        "view": ["chat"],
        "email": ["", "anna@example.com"],
        "ticketId": ["7"],
    }
