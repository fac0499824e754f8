from __future__ import annotations

import json
import shutil
import sqlite3
import threading

import pytest
from click.testing import CliRunner
from werkzeug.serving import make_server

from imbox_plugin import cli
from imbox_plugin.app import create_app
from schemas.probe import all_candidates
from tests.demo import ENVIRON, ROOT
from tests.toml_text import toml_text

RECORDINGS = ROOT / "tests" / "recordings" / "imbox"


@pytest.fixture
def run(demo):
    """Run a command with the demo's settings."""
    environ = {**ENVIRON, "IMBOX_SETTINGS": str(demo), "COLUMNS": "100"}

    def command(called, *arguments, **changed):
        arguments = [str(argument) for argument in arguments]
        return CliRunner().invoke(called, arguments, env={**environ, **changed})

    return command


@pytest.fixture
def server(demo):
    """The demo on a loopback port."""
    served = make_server("127.0.0.1", 0, create_app(demo, ENVIRON), threaded=True)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    thread.join()
    served.server_close()


def test_check_says_that_the_settings_are_in_order_and_the_sources_answer(run):
    result = run(cli.check)

    assert result.exit_code == 0
    assert "in order" in result.output
    assert "source shop: answers" in result.output


def test_check_says_of_the_demo_nothing_but_that_some_names_are_not_documented(run):
    remarks = [line for line in run(cli.check).output.splitlines() if line.endswith("]")]

    assert len(remarks) == 3
    assert all(line.endswith("[undocumented-name]") for line in remarks)


def test_check_fails_for_a_remark_only_when_it_is_strict(run, demo, tmp_path):
    quiet = shutil.copytree(demo.parent, tmp_path / "demo") / demo.name
    with quiet.open("a", encoding="utf-8") as file:
        file.write('[lint]\nignore = ["undocumented-name"]\n')

    assert run(cli.check).exit_code == 0
    assert run(cli.check, "--strict").exit_code == 1
    assert run(cli.check, "--strict", IMBOX_SETTINGS=str(quiet)).exit_code == 0


def test_lookup_says_what_sanitising_took_from_a_note_and_where(run):
    result = run(cli.lookup, "--external-id", "K1006", "--strict")

    assert result.exit_code == 1
    assert "/blocks/1/data/0/html: sanitising took something out" in result.output
    assert "-<p onclick='alert(1)' style='color:red'>" in result.output


@pytest.mark.parametrize("number", range(1001, 1009))
def test_every_table_of_the_demo_fits(run, number):
    result = run(cli.lookup, "--external-id", f"K{number}")

    assert "found, asked by external_id" in result.output
    assert "[wide-table]" not in result.output


def test_what_the_probe_has_to_paste_settles_every_undocumented_name(run, demo, tmp_path):
    settled = shutil.copytree(demo.parent, tmp_path / "demo") / demo.name
    right = ("html.html", "accordion.name.data", "link.text.url")
    pasted = [one.wire for one in all_candidates() if one.name in right]
    with settled.open("a", encoding="utf-8") as file:
        file.write("\n".join(["[wire]", *pasted]))

    assert run(cli.check, "--strict", IMBOX_SETTINGS=str(settled)).exit_code == 0


def test_check_tells_every_mistake_and_fails(run, tmp_path):
    file = tmp_path / "imbox.toml"
    file.write_text('locale = 3\nnonsense = 1\n[[sources]]\nname = "a"\ntype = "b"\n', "utf-8")

    result = run(cli.check, IMBOX_SETTINGS=str(file))

    assert result.exit_code == 1
    for place in ("locale:", "nonsense:", "sources[0].type:", "panels:"):
        assert place in result.output


def test_check_fails_when_a_source_does_not_answer(run):
    down = ROOT / "tests" / "recordings" / "settings" / "down.toml"

    result = run(cli.check, IMBOX_SETTINGS=str(down))

    assert result.exit_code == 1
    assert "source crm: answers" in result.output
    assert "source shop: the SQLite file" in result.output


def test_check_offline_asks_no_source(run):
    down = ROOT / "tests" / "recordings" / "settings" / "down.toml"

    result = run(cli.check, "--offline", IMBOX_SETTINGS=str(down))

    assert result.exit_code == 0
    assert "source" not in result.output


def test_check_without_settings_says_what_to_do(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = run(cli.check, IMBOX_SETTINGS="")

    assert result.exit_code == 1
    assert "IMBOX_SETTINGS" in result.output


def test_lookup_prints_the_card_and_how_it_came_to_be(run):
    result = run(cli.lookup, "--view", "ticket", "--email", "asa.lindqvist@example.com")

    assert result.exit_code == 0
    for text in ("Åsa Lindqvist", "Öppna i CRM: https://crm", "Kundnummer", "▾ 29 okt. 2026"):
        assert text in result.output
    assert "shop: found, asked by email" in result.output


def test_lookup_of_a_shared_phone_shows_nobody(run):
    result = run(cli.lookup, "--view", "call", "--phone", "070-174 06 06")

    assert "samma telefonnummer" in result.output
    assert "shop: ambiguous (2), asked by phone" in result.output


def test_lookup_does_not_take_brackets_in_a_text_for_markup(run):
    result = run(cli.lookup, "--view", "ticket", "--external-id", "K1005", "--panel", "default")

    assert "Kaffe & <b>Vänner</b> AB" in result.output


def test_lookup_in_a_panel_that_is_not_there_lists_those_that_are(run):
    result = run(cli.lookup, "--email", "a@example.com", "--panel", "nothing")

    assert result.exit_code == 1
    assert "default, compact" in result.output


def test_lookup_where_all_panels_probe_says_that_there_is_nobody_to_show(run, tmp_path):
    document = {
        "sources": [{"name": "crm", "type": "inline", "people": []}],
        "panels": {"probe": {"keys": [{"id": "p", "secret": "p" * 16}], "probe": True}},
    }
    file = tmp_path / "imbox.toml"
    file.write_text(toml_text(document), "utf-8")

    result = run(cli.lookup, "--email", "anna@example.com", IMBOX_SETTINGS=str(file))

    assert result.exit_code == 1
    assert "all panels probe, and a probe shows no customers; add a panel" in result.output


def test_lookup_refuses_what_the_webhook_refuses(run):
    result = run(cli.lookup, "--email", "a" * 600)

    assert result.exit_code == 1
    assert "email: longer than 512 characters" in result.output


def test_replay_against_the_app(run):
    result = run(cli.replay_command, RECORDINGS / "call__shared_phone.json")

    assert result.exit_code == 0
    assert "the same reply" in result.output


def test_replay_against_a_running_server(run, server):
    for name in ("call__shared_phone", "chat__no_key_refused", "chat__post_with_static_body"):
        result = run(cli.replay_command, RECORDINGS / f"{name}.json", "--against", server)

        assert result.exit_code == 0, result.output


def test_replay_shows_the_difference_and_fails(run, tmp_path):
    recording = json.loads((RECORDINGS / "chat__compact_panel.json").read_text("utf-8"))
    recording["reply"]["json"]["contactName"] = "Somebody Else"
    recording.pop("settings")
    file = tmp_path / "chat__changed.json"
    file.write_text(json.dumps(recording), "utf-8")

    result = run(cli.replay_command, file)

    assert result.exit_code == 1
    assert '-  "contactName": "Somebody Else"' in result.output
    assert '+  "contactName": "Åsa Lindqvist"' in result.output


@pytest.fixture
def own(tmp_path):
    """A folder with two recordings, one of which differs from what the demo answers."""
    for name in ("chat__compact_panel", "call__shared_phone"):
        recording = json.loads((RECORDINGS / f"{name}.json").read_text("utf-8"))
        recording.pop("settings")
        if name == "chat__compact_panel":
            recording["reply"]["json"]["contactName"] = "Somebody Else"
        tmp_path.joinpath(f"{name}.json").write_text(json.dumps(recording), "utf-8")
    return tmp_path


def test_replay_goes_through_a_folder_and_shows_what_differs(run, own):
    result = run(cli.replay_command, own)

    assert result.exit_code == 1
    assert "call__shared_phone.json: the same reply" in result.output
    assert "chat__compact_panel.json: differs" in result.output
    assert "2 recordings, 1 differ" in result.output


def test_replay_accepts_what_differs_once_it_is_told_to(run, own):
    before = json.loads(own.joinpath("chat__compact_panel.json").read_text("utf-8"))
    accepted = run(cli.replay_command, own, "--accept")
    after = json.loads(own.joinpath("chat__compact_panel.json").read_text("utf-8"))

    assert accepted.exit_code == 0
    assert "1 accepted" in accepted.output
    assert after["request"] == before["request"]
    assert after["reply"]["json"]["contactName"] == "Åsa Lindqvist"
    assert run(cli.replay_command, own).exit_code == 0


def test_replay_of_a_folder_without_recordings_says_so(run, tmp_path):
    result = run(cli.replay_command, tmp_path)

    assert result.exit_code == 1
    assert "holds no recording" in result.output


def test_replay_against_a_server_that_is_not_there_says_so(run):
    file = RECORDINGS / "chat__compact_panel.json"

    result = run(cli.replay_command, file, "--against", "http://127.0.0.1:9")

    assert result.exit_code == 1
    assert "no answer from the server" in result.output


@pytest.fixture
def contacts(tmp_path):
    file = tmp_path / "kunder.csv"
    file.write_text(
        "Kundnr;Namn;E-post;Mobil;Nivå\n"
        "1;Åsa Öberg;asa@example.com;070-174 06 05;Guld\n"
        ";Ingen Alls;;;\n"
        "2;Bo Ek;;+46701740606;\n",
        "utf-8",
    )
    return file


def test_import_fills_the_store_and_reports_refused_rows(run, contacts, tmp_path):
    store, refused = tmp_path / "contacts.db", tmp_path / "refused.csv"

    result = run(cli.import_, contacts, "--store", store, "--refused", refused)

    assert result.exit_code == 0, result.output
    assert "2 added" in result.output
    assert "1 refused" in result.output
    assert "line 3" in result.output
    assert "Ingen Alls" in refused.read_text("utf-8-sig")
    with sqlite3.connect(store) as database:
        keys = database.execute("SELECT phone_key FROM contacts ORDER BY row_key").fetchall()
    assert keys == [("+46701740605",), ("+46701740606",)]


def test_imported_contacts_are_found_by_the_default_source(run, contacts, tmp_path):
    settings = tmp_path / "imbox.toml"
    settings.write_text(
        'default_region = "SE"\n[[sources]]\nname = "contacts"\ntype = "sql"\n'
        '[panels.default]\nkeys = [{ id = "a", secret = { env = "IMBOX_DEMO_KEY" } }]\n',
        "utf-8",
    )
    run(cli.import_, contacts, IMBOX_SETTINGS=str(settings))

    result = run(cli.lookup, "--phone", "0701740605", IMBOX_SETTINGS=str(settings))

    assert "Åsa Öberg" in result.output
    assert "Guld" in result.output


def test_import_of_a_file_that_is_not_there_fails_readably(run, tmp_path):
    result = run(cli.import_, tmp_path / "nothing.csv", "--store", tmp_path / "contacts.db")

    assert result.exit_code == 1
    assert "nothing.csv" in result.output
    assert not (tmp_path / "contacts.db").exists()


def test_import_refuses_a_mapping_it_does_not_understand(run, contacts, tmp_path):
    result = run(cli.import_, contacts, "--store", tmp_path / "contacts.db", "--map", "mail=E-post")

    assert result.exit_code == 2
    assert "FIELD=HEADER" in result.output


def test_import_of_a_file_without_a_usable_row_fails_and_makes_no_store(run, tmp_path):
    file, store = tmp_path / "kunder.csv", tmp_path / "contacts.db"
    file.write_text("Namn;Mobil\nIngen Alls;okänt\n", "utf-8")

    result = run(cli.import_, file, "--store", store)

    assert result.exit_code == 1
    assert "1 refused" in result.output
    assert "no row is usable" in result.output
    assert not store.exists()
