"""`flask purge`: what was kept of a person is shown by no process any more."""

import os
import re
import subprocess
import sys
from contextlib import ExitStack

import pytest
from click.testing import CliRunner

from imbox_plugin.cli import lookup, purge
from tests.places import KEY
from tests.redis_place import URL, own_part
from tests.servers import ROOT, serving, until

#: knows everybody, by the name that is in the file, and notes which process is asked
TOLD = """
import os
from imbox_plugin.sources import Contact, DataSource, Key

class Told(DataSource):
    keys = frozenset({Key.EXTERNAL_ID})
    by_identity_alone = True

    def find(self, lookup):
        with (self.context.folder / "asked").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        name = (self.context.folder / "name").read_text()
        return [Contact(name=name, external_id=lookup.external_id)]
"""
SETTINGS = """
[[sources]]
name = "shop"
type = "told_of_test_purge:Told"
cache = { ttl = 3600 }
[panels.default]
keys = [{ id = "test", secret = { env = "IMBOX_API_KEY" } }]
"""
SHARED = """
secret_keys = ["a secret key for the tests only"]
cache = {{ url = "{url}", prefix = "{prefix}" }}
"""


@pytest.fixture
def machine(tmp_path):
    """The folder of a server of its own."""

    def machine(name="machine", above=""):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "told_of_test_purge.py").write_text(TOLD)
        (folder / "imbox.toml").write_text(above + SETTINGS)
        (folder / "asked").touch()
        (folder / "name").write_text("Anna")
        return folder

    return machine


@pytest.fixture
def shared():
    """Settings of a Redis that several machines share, and its name there."""
    with own_part() as (prefix, client):
        yield SHARED.format(url=URL, prefix=prefix), prefix, client


def environ(folder):
    return {
        **os.environ,
        "IMBOX_SETTINGS": str(folder / "imbox.toml"),
        "IMBOX_API_KEY": KEY,
    }


def run(folder, *arguments):
    return CliRunner().invoke(purge, arguments, env=environ(folder))


def processes(folder):
    return set((folder / "asked").read_text().split())


def test_a_purge_in_another_process_empties_every_worker(machine):
    folder = machine()
    with serving(folder, SETTINGS) as server:

        def both_have_asked():
            assert server.ask(1) == "Anna"
            return len(processes(folder)) == 2

        until(both_have_asked)
        (folder / "name").write_text("Bo")
        before = {server.ask(1) for _ in range(20)}
        done = subprocess.run(
            [sys.executable, "-c", "from imbox_plugin.cli import purge; purge()", "--all"],
            cwd=ROOT,
            env=environ(folder),
            capture_output=True,
            text=True,
            check=False,
        )
        after = {server.ask(1) for _ in range(20)}

    assert before == {"Anna"}
    assert (done.returncode, done.stderr) == (0, "")
    assert after == {"Bo"}


def test_a_purge_on_one_machine_empties_all_that_share_a_redis(machine, shared):
    text, prefix, client = shared
    folders = [machine(name, text) for name in ("one", "two")]
    with ExitStack() as stack:
        one, two = [stack.enter_context(serving(folder, text + SETTINGS)) for folder in folders]
        assert one.ask(1) == "Anna"
        until(lambda: len(list(client.scan_iter(match=f"{prefix}:*"))) == 2)
        (folders[1] / "name").write_text("Bo")
        before = {two.ask(1) for _ in range(10)}
        done = run(folders[0], "--external-id", "1")
        (folders[0] / "name").write_text("Bo")
        after = {server.ask(1) for server in (one, two) for _ in range(10)}

    assert before == {"Anna"}
    assert done.exit_code == 0
    assert "Redis: 1 entries deleted" in done.output
    assert after == {"Bo"}


def test_a_look_up_says_for_how_long_its_answer_was_kept(machine, shared):
    text, prefix, client = shared
    folder = machine(above=text)

    def shown():
        return CliRunner().invoke(lookup, ["--external-id", "1"], env=environ(folder)).output

    assert "shop: found, asked by external_id\n" in shown()
    until(lambda: len(list(client.scan_iter(match=f"{prefix}:*"))) == 2)
    assert re.search(r"shop: found, asked by external_id, as it was \d+ s ago\n", shown())


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        (["--all"], "all"),
        (["--email", "anna@example.com"], "email"),
        (["--phone", "070-174 06 05", "--contact-id", "7"], "phone, contact_id"),
    ],
)
def test_a_purge_says_that_everybody_is_forgotten_and_notes_nobody(machine, arguments, note):
    folder = machine(above='default_region = "SE"\n')
    done = run(folder, *arguments)
    noted = (folder / "imbox-state" / "purges.log").read_text()

    assert done.exit_code == 0
    assert "everybody" in done.output
    assert noted.partition(" ")[2] == f"{note}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name the person, by --email say, or write --all"),
        (["--email", "anna"], "--email names nobody: incomplete or not valid"),
        (["--phone", "070-174"], "--phone names nobody"),
        (["--external-id", " "], "--external-id names nobody"),
    ],
)
def test_a_purge_of_nobody_is_refused_and_nothing_is_forgotten(machine, arguments, says):
    folder = machine()
    done = run(folder, *arguments)

    assert done.exit_code != 0
    assert says in done.output
    assert not (folder / "imbox-state").exists()


def test_a_purge_that_does_not_reach_redis_is_an_error_and_says_so(machine, tmp_path):
    gone = SHARED.format(url=f"unix://{tmp_path}/a-password-in-it.sock", prefix="x")
    done = run(machine(above=gone), "--all")

    assert done.exit_code == 1
    assert "Redis: NOT purged: it does not answer (ConnectionError); purge again" in done.output
    assert "forgotten" not in done.output
    assert "a-password-in-it" not in done.output


def test_a_purge_that_cannot_be_noted_is_an_error_and_says_so(machine):
    folder = machine(above='state = "name"\n')
    done = run(folder, "--all")

    assert done.exit_code == 1
    assert "memory: NOT purged" in done.output
    assert "forgotten" not in done.output


def test_a_purge_needs_settings_that_can_be_read(machine):
    folder = machine(above="cache = { url = 'redis://127.0.0.1:6379/0' }\n")
    done = run(folder, "--all")

    assert done.exit_code == 1
    assert "secret_keys: missing" in done.output
