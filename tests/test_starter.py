"""`flask init`: what it writes is in order as it is, or says what is missing."""

import os
import pty
import re
import subprocess
import sys
from datetime import date

import pytest
from click.testing import CliRunner
from werkzeug.test import Client

from imbox_plugin import cli, starter
from imbox_plugin.app import create_app
from imbox_plugin.settings import SettingsFile
from imbox_plugin.sources import excel
from imbox_plugin.starter import Answers
from tests.demo import ROOT

TODAY = date(2026, 11, 21)
SOURCES = {
    "csv": "customers.csv",
    "excel": "customers.xlsx",
    "json": "customers.json",
    "sql": "customers",
    "rest": "https://api.example.com/v1",
    "inline": "",
}
ENVIRON = {"CRM_URL": "sqlite:///crm.db", "CRM_TOKEN": "0123456789abcdef"}
#: what `flask` runs as this command
INIT = "from imbox_plugin.cli import init; init()"


@pytest.fixture
def started(tmp_path):
    """The first settings of these answers, written to a folder."""

    def started(**answers):
        start = starter.start(Answers(**answers), TODAY)
        starter.write(start, tmp_path / "imbox.toml")
        return start, tmp_path / "imbox.toml"

    return started


def options(given):
    return [text for name, value in given.items() for text in (f"--{name}", value)]


@pytest.mark.parametrize("source", starter.SOURCES)
@pytest.mark.parametrize("link", starter.LINKS)
def test_the_first_settings_start_the_server_without_a_warning_of_their_own(started, source, link):
    _, file = started(
        source=source,
        where=SOURCES[source],
        region="SE",
        base_url="https://plugin.example.com",
        link=link,
        link_url="https://crm.example.com/{external_id}",
    )
    settings = SettingsFile(file, ENVIRON)
    create_app(file, ENVIRON)

    assert settings.warnings == []


def test_the_invented_customer_is_found_with_the_header_that_is_to_be_pasted(started):
    start, file = started()
    header = dict(start.paste)["Header value"]
    answer = Client(create_app(file, {})).get(
        "/imbox?view=contact&email=anna%40example.com", headers={"Authorization": header}
    )

    assert answer.json["contactName"] == "Anna Example"


def test_every_start_has_keys_of_its_own_that_nobody_else_can_read(started):
    start, file = started()
    other = starter.start(Answers(), TODAY)
    written = [file.parent / name for name in start.secrets]

    assert not set(start.secrets.values()) & set(other.secrets.values())
    assert [path.stat().st_mode & 0o777 for path in written] == [0o600, 0o600]
    assert not any(secret in start.settings for secret in start.secrets.values())


def test_what_was_answered_is_quoted_whatever_it_is(started):
    odd = 'the "customers".csv'
    _, file = started(source="csv", where=odd, locale="sv")

    assert SettingsFile(file, {}).tables["sources"][0]["file"] == odd


@pytest.mark.parametrize("table", ["crm.customers", '"my customers"', "`kunder`", "[dbo].[kund å]"])
def test_a_table_stands_in_the_statements_as_it_was_said(started, table):
    _, file = started(source="sql", where=table)
    statements = SettingsFile(file, ENVIRON).tables["sources"][0]["find"]

    assert all(f" FROM {table}" in statement for statement in statements.values())


def test_what_is_left_to_do_depends_on_the_answers():
    nothing_known = starter.start(Answers(source="sql", where="customers"), TODAY).remaining
    all_known = Answers(region="SE", base_url="https://plugin.example.com")

    assert any("CRM_URL" in sentence for sentence in nothing_known)
    assert any("default_region" in sentence for sentence in nothing_known)
    assert starter.start(all_known, TODAY).remaining == (
        "keep the .key files out of version control",
    )


@pytest.mark.parametrize("there", ["imbox.toml", "imbox-api.key"])
def test_nothing_is_written_over_what_is_there(tmp_path, there):
    tmp_path.joinpath(there).write_text("precious", "utf-8")
    result = CliRunner().invoke(cli.init, [str(tmp_path / "imbox.toml")])

    assert result.exit_code == 1
    assert f"{there} is there already; move it away" in result.output
    assert [file.name for file in tmp_path.iterdir()] == [there]
    assert tmp_path.joinpath(there).read_text("utf-8") == "precious"


def test_init_asks_nobody_where_nobody_is_and_says_what_to_paste(tmp_path):
    given = {"source": "csv", "from": "kunder.csv", "base-url": "https://plugin.example.com"}
    result = CliRunner().invoke(cli.init, [str(tmp_path / "imbox.toml"), *options(given)])

    assert result.exit_code == 0
    assert re.search(r"Endpoint +https://plugin\.example\.com/imbox$", result.output, re.MULTILINE)
    assert re.search(r"Header value +Basic [A-Za-z0-9+/]+=*$", result.output, re.MULTILINE)
    assert "see that kunder.csv lies beside the settings" in result.output


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"source": "csv"}, "--from: missing; say it: the CSV file of the customers"),
        ({"link": "url"}, "--link-url: missing; say it: the address of a record"),
        ({"locale": "klingon"}, '--locale: The locale "klingon" is not known'),
        ({"region": "Sweden"}, "--region: not a country with phone numbers"),
        ({"base-url": "plugin.example.com"}, "--base-url: not an address"),
        ({"base-url": "http://plugin.example.com"}, "--base-url: not https"),
        ({"link": "url", "link-url": "javascript:alert(1)"}, "--link-url: not an https address"),
        ({"source": "rest", "from": "api.example.com"}, "--from: not an address"),
        ({"source": "sql", "from": 'my customers"""'}, "--from: not the name of a table"),
        ({"source": "sql", "from": '":customers"'}, "--from: :customers: no such value"),
        ({"source": "csv", "from": "customers\x1b[D.csv"}, "--from: has a character that no"),
        ({"source": "csv", "from": "k\udce5.csv"}, "--from: has a character that no"),
    ],
)
def test_what_the_server_would_refuse_is_not_written(tmp_path, given, says):
    result = CliRunner().invoke(cli.init, [str(tmp_path / "imbox.toml"), *options(given)])

    assert result.exit_code == 2
    assert f"  {says}" in result.output
    assert list(tmp_path.iterdir()) == []


def test_all_wrong_answers_are_told_at_once(tmp_path):
    given = {"source": "csv", "locale": "klingon", "region": "Sweden", "base-url": "x"}
    result = CliRunner().invoke(cli.init, [str(tmp_path / "imbox.toml"), *options(given)])

    assert re.findall(r"^  (--[\w-]+): ", result.output, re.MULTILINE) == [
        "--from",
        "--locale",
        "--region",
        "--base-url",
    ]


def test_an_answer_that_is_not_asked_for_is_not_looked_at(tmp_path):
    given = {"from": "x", "link-url": "javascript:alert(1)"}
    result = CliRunner().invoke(cli.init, [str(tmp_path / "imbox.toml"), *options(given)])

    assert result.exit_code == 0


def test_a_package_that_is_not_installed_is_no_answers_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(excel, "find_spec", lambda _: None)
    given = {"source": "excel", "from": "customers.xlsx"}
    result = CliRunner().invoke(cli.init, [str(tmp_path / "imbox.toml"), *options(given)])

    assert result.exit_code == 0
    assert tmp_path.joinpath("imbox.toml").exists()


def at_a_terminal(folder, lines, *arguments):
    """What `flask init` says to somebody who types these lines."""
    master, slave = pty.openpty()
    try:
        # Whoever types no more leaves.
        os.write(master, "".join(f"{line}\n" for line in lines).encode() + b"\x04")
        return subprocess.run(  # noqa: S603
            [sys.executable, "-c", INIT, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=slave,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(master)
        os.close(slave)


def test_a_wrong_answer_is_asked_again(tmp_path):
    lines = ["sql", "", 'my customers"""', "customers", "none", "klingon", "sv", "", "x", ""]
    done = at_a_terminal(tmp_path, lines)
    tables = SettingsFile(tmp_path / "imbox.toml", ENVIRON).tables

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The table of the customers:") == 3
    assert done.stdout.count("Error: not the name of a table") == 1
    assert (tables["locale"], tables.get("base_url")) == ("sv", None)
    assert " FROM customers " in tables["sources"][0]["find"]["email"]


def test_a_wrong_option_is_asked_for_where_somebody_is(tmp_path):
    done = at_a_terminal(tmp_path, ["", "", "", "SE", ""], "--region", "Sweden")

    assert "--region: not a country with phone numbers" in done.stdout
    assert SettingsFile(tmp_path / "imbox.toml", {}).tables["default_region"] == "SE"


def test_the_command_that_proves_the_settings_works_in_any_shell(tmp_path):
    path = tmp_path / "of a shop.toml"
    result = CliRunner().invoke(cli.init, [str(path)])
    *_, last = result.output.splitlines()
    done = subprocess.run(  # noqa: S603 - what it says itself
        ["/bin/sh", "-c", last.removeprefix("  - ")],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert f"{path}: the settings are in order" in done.stdout


@pytest.mark.parametrize(
    ("called", "path", "says"),
    [
        ("env/bin/flask", "/usr/bin", "env/bin/flask check"),
        ("{folder}/bin/flask", "{folder}/bin", "flask check"),
        ("{folder}/bin/flask", "/usr/bin", "{folder}/bin/flask check"),
    ],
)
def test_it_says_flask_as_it_was_called_itself(tmp_path, monkeypatch, called, path, says):
    own = tmp_path / "bin" / "flask"
    own.parent.mkdir()
    own.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [called.format(folder=tmp_path), "init"])
    monkeypatch.setenv("PATH", path.format(folder=tmp_path))
    result = CliRunner().invoke(cli.init, [str(tmp_path / "imbox.toml")])

    assert result.output.endswith(f"imbox.toml {says.format(folder=tmp_path)}\n")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    tmp_path.joinpath("file").write_text("", "utf-8")
    result = CliRunner().invoke(cli.init, [str(tmp_path / "file" / "imbox.toml")])

    assert result.exit_code == 1
    assert "cannot be written" in result.output
