from __future__ import annotations

import json
import re
import shlex
import sqlite3

import pytest
from click.testing import CliRunner

from imbox_plugin import cli
from imbox_plugin.app import create_app
from imbox_plugin.testing.recordings import read_recording, replay
from tests.demo import ENVIRON, ROOT

README = (ROOT / "README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands():
    """Every command of every console block, its continued lines joined."""
    text = "\n".join(blocks("console")).replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


def test_the_reply_in_readme_is_that_of_a_recording():
    recording = read_recording(ROOT / "tests/recordings/imbox/chat__compact_panel.json")

    assert [json.loads(block) for block in blocks("json")] == [recording.document]


def test_the_curl_in_readme_is_the_request_of_that_recording(demo):
    recording = read_recording(ROOT / "tests/recordings/imbox/chat__compact_panel.json")
    command = next(command for command in commands() if command.startswith("curl"))
    _, _, _, user, url, *_ = shlex.split(command)
    path = url.removeprefix("http://127.0.0.1:8000")

    client = create_app(demo, ENVIRON).test_client()
    reply = client.get(path, auth=tuple(user.split(":")))

    assert user == f":{ENVIRON['IMBOX_DEMO_KEY']}"
    assert reply.json == recording.document
    assert replay(recording, client.application, user[1:]).document == reply.json


def test_the_commands_in_readme_are_commands(demo):
    called = [re.search(r"flask (\w+)", command) for command in commands()]
    names = {found[1] for found in called if found}

    assert names == {"check", "lookup"}
    assert {command for command in commands() if command.startswith("make")} == {
        "make run",
        "make test",
    }


def test_the_lookup_in_readme_shows_a_card(demo):
    command = next(command for command in commands() if "flask lookup --view ticket" in command)
    arguments = shlex.split(command)[2:]

    result = CliRunner().invoke(
        cli.lookup, arguments, env={**ENVIRON, "IMBOX_SETTINGS": str(demo), "COLUMNS": "100"}
    )

    assert "Åsa Lindqvist" in result.output


@pytest.fixture
def own_database(tmp_path):
    """The integrator's own database, as README supposes it."""
    with sqlite3.connect(tmp_path / "crm.db") as database:
        database.executescript(
            """
            CREATE TABLE customers (id INTEGER PRIMARY KEY, name, email, phone, city);
            CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, total, placed_on);
            INSERT INTO customers VALUES (7, 'Bo Ek', 'Bo@Example.com', '070-174 06 05', 'Umeå');
            INSERT INTO orders VALUES (1, 7, 99.5, '2026-11-01');
            """
        )
    return "sqlite:///crm.db"


@pytest.mark.parametrize(
    "asked", [("--email", "bo@example.com"), ("--phone", "+46701740605"), ("--external-id", "7")]
)
def test_the_settings_in_readme_work_for_a_database_of_ones_own(tmp_path, own_database, asked):
    (settings,) = blocks("toml")
    file = tmp_path / "imbox.toml"
    file.write_text(settings, "utf-8")
    environ = {
        "IMBOX_SETTINGS": str(file),
        "CRM_URL": own_database,
        "IMBOX_API_KEY": "a-key-for-this-test-only",
    }

    checked = CliRunner().invoke(cli.check, env=environ)
    result = CliRunner().invoke(cli.lookup, asked, env={**environ, "COLUMNS": "100"})

    assert checked.exit_code == 0, checked.output
    for text in ("Bo Ek", "Umeå", "Placed on", "2026-11-01"):
        assert text in result.output


def test_every_page_that_readme_names_is_there():
    pages = re.findall(r"\]\(([^)#:]+)\)", README)

    assert pages
    assert [page for page in pages if not (ROOT / page).exists()] == []
