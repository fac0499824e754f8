"""`flask init`: what it writes is in order as it is, or says what is missing."""

import re
from datetime import date

import pytest
from click.testing import CliRunner
from werkzeug.test import Client

from imbox_plugin import cli, starter
from imbox_plugin.app import create_app
from imbox_plugin.settings import SettingsFile
from imbox_plugin.starter import Answers

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


def test_init_says_which_option_is_missing_where_nobody_can_be_asked(tmp_path):
    result = CliRunner().invoke(cli.init, [str(tmp_path / "imbox.toml"), "--source", "csv"])

    assert result.exit_code == 2
    assert "The CSV file of the customers" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    tmp_path.joinpath("file").write_text("", "utf-8")
    result = CliRunner().invoke(cli.init, [str(tmp_path / "file" / "imbox.toml")])

    assert result.exit_code == 1
    assert "cannot be written" in result.output
