"""`flask doctor`: what it says of a set-up that is well, and of each thing that can be ill."""

import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from werkzeug.serving import make_server

from imbox_plugin import cli
from imbox_plugin.app import create_app
from imbox_plugin.doctor import Health, examine
from imbox_plugin.http import Untrusted, certificate_end
from imbox_plugin.recorder import Recorder
from imbox_plugin.settings import SettingsFile, read_settings
from tests.loopback import authority, serving

KEY = "0123456789abcdef0123456789abcdef"
ENVIRON = {"KEY": KEY, "SECRET": "a secret key of thirty-two letters"}
SETTINGS = """
secret_keys = [{ env = "SECRET" }]
default_region = "SE"
[[sources]]
name = "crm"
type = "inline"
people = []
[panels.default]
keys = [{ id = "2026-11", secret = { env = "KEY" } }]
"""
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def signs(tmp_path):
    """What is seen of these settings, by the part looked at."""

    def signs(text=SETTINGS, now=None, sources=(), **changes):
        file = tmp_path / "imbox.toml"
        file.write_text(text, "utf-8")
        settings = replace(read_settings(SettingsFile(file, ENVIRON)), **changes)
        recorder = Recorder(tmp_path, None, {})
        seen = examine(settings, sources, recorder, now or datetime.now(UTC))
        return {sign.part: sign for sign in seen}

    return signs


@contextmanager
def running(app):
    """The app on a loopback port."""
    served = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{served.server_port}"
    finally:
        served.shutdown()
        thread.join()
        served.server_close()


@pytest.fixture
def server(tmp_path):
    file = tmp_path / "imbox.toml"
    file.write_text(SETTINGS, "utf-8")
    with running(create_app(file, ENVIRON)) as url:
        yield url


def key(panel="default", name="2026-11"):
    return f"panel {panel}, key {name}"


def test_a_server_that_is_reached_gives_a_card_with_the_key_and_none_without(signs, server):
    seen = signs(base_url=server)

    assert seen["base_url"].health is Health.WELL
    assert seen["clock"].health is Health.WELL


def test_plain_http_deserves_a_look(signs, server):
    assert signs(base_url=server)["TLS"].health is Health.LOOK


def test_a_server_with_another_key_is_told_by_its_status(signs, server):
    seen = signs(
        SETTINGS.replace('{ env = "KEY" }', '"another key of this panel"'), base_url=server
    )

    assert seen["base_url"].health is Health.ILL
    assert "answers 401 with the key 2026-11" in seen["base_url"].message


def test_something_else_that_stands_there_is_told(signs):
    def anything(_environ, start):
        start("200 OK", [("Content-Type", "text/html")])
        return [b"welcome"]

    with running(anything) as url:
        seen = signs(base_url=url)

    assert seen["base_url"].health is Health.ILL


def test_nobody_at_the_address_is_told(signs):
    assert "not reached" in signs(base_url="http://127.0.0.1:9")["base_url"].message


def test_an_address_that_is_not_set_is_not_known(signs):
    assert signs()["base_url"].health is Health.UNKNOWN


def test_a_clock_that_is_wrong_is_told_by_how_much(signs, server):
    seen = signs(base_url=server, now=datetime.now(UTC) + timedelta(hours=1))

    assert seen["clock"].health is Health.ILL
    assert "NTP" in seen["clock"].message


@pytest.mark.parametrize(
    ("written", "health", "says"),
    [
        ('id = "2026-11"', Health.WELL, "20 days old"),
        ('id = "2026-11-20"', Health.WELL, "1 days old"),
        ('id = "2024-01"', Health.LOOK, "1055 days old; add another"),
        ('id = "2024-13"', Health.UNKNOWN, "of unknown age"),
        ('id = "main"', Health.UNKNOWN, "of unknown age"),
        ('id = "main", created = 2026-11-19', Health.WELL, "2 days old"),
        ('id = "main", expires = 2026-12-01', Health.LOOK, "expires in 9 days"),
        ('id = "main", expires = 2026-11-21', Health.ILL, "expired on 2026-11-21"),
    ],
)
def test_a_key_has_an_age_and_an_end(signs, written, health, says):
    text = SETTINGS.replace('id = "2026-11"', written)
    name = written.split('"')[1]
    sign = signs(text, now=NOW)[key(name=name)]

    assert sign.health is health
    assert says in sign.message


def test_missing_secret_keys_deserve_a_look(signs):
    text = SETTINGS.replace('secret_keys = [{ env = "SECRET" }]', "")

    assert signs(text)["secret_keys"].health is Health.LOOK
    assert signs()["secret_keys"].health is Health.WELL


def test_the_releases_in_use_are_told(signs):
    assert "Python 3" in signs()["versions"].message
    assert "marshmallow 4" in signs()["versions"].message


def test_no_message_holds_the_key(signs, server):
    seen = signs(base_url=server)

    assert not any(KEY in sign.message for sign in seen.values())


def test_the_last_request_is_told_by_the_names_in_it(tmp_path, server):
    environ = {**ENVIRON, "IMBOX_SETTINGS": str(tmp_path / "imbox.toml")}
    before = CliRunner().invoke(cli.doctor, env=environ)
    CliRunner().invoke(cli.record, ["start"], env=environ)
    app = create_app(tmp_path / "imbox.toml", ENVIRON)
    app.test_client().get(
        "/imbox?view=chat&email=a%40b.example&key=x", headers={"Authorization": f"Bearer {KEY}"}
    )
    after = CliRunner().invoke(cli.doctor, env=environ)

    assert "unknown last ImBox request: none is kept" in before.output
    assert "GET /imbox with view, email, the key by bearer, answered 200" in after.output
    assert "a@b" not in after.output
    assert (before.exit_code, after.exit_code) == (0, 0)


@pytest.fixture
def recorded(tmp_path, server):
    """A server that is recorded; asks it, and then what doctor says of it."""
    text = f'base_url = "{server}"\n{SETTINGS}'
    tmp_path.joinpath("imbox.toml").write_text(text, "utf-8")
    environ = {**ENVIRON, "IMBOX_SETTINGS": str(tmp_path / "imbox.toml")}
    CliRunner().invoke(cli.record, ["start"], env=environ)
    client = create_app(tmp_path / "imbox.toml", ENVIRON).test_client()

    def recorded(*requests):
        for target, key in requests:
            client.get(target, headers={"Authorization": f"Bearer {key}"})
        return CliRunner().invoke(cli.doctor, env=environ)

    return recorded


def test_what_doctor_asks_itself_is_not_the_last_request(recorded):
    first, second = recorded(("/imbox?view=bogus", KEY)), recorded()

    assert "ill     last ImBox request" in first.output
    assert "GET /imbox with view, the key by bearer, answered 400" in second.output
    assert "last refused request" not in second.output
    assert "a card comes from there with the key, and none without" in second.output


def test_nothing_is_kept_of_what_doctor_asks(recorded):
    recorded()
    again = recorded()

    assert "unknown last ImBox request: none is kept" in again.output
    assert "last refused request" not in again.output


def test_a_request_with_a_wrong_key_is_told_and_is_nothing_ill(recorded):
    told = recorded(("/imbox?view=chat", "a key of another panel"))

    assert "look    last refused request" in told.output
    assert "answered 401; if that was ImBox, its key, by bearer, is none" in told.output
    assert "a key of another panel" not in told.output
    assert told.exit_code == 0


def test_a_stranger_does_not_hide_what_imbox_was_answered(recorded):
    told = recorded(("/imbox?view=bogus", KEY), ("/imbox", "x"))

    assert "ill     last ImBox request" in told.output
    assert "look    last refused request" in told.output


def test_a_damaged_file_of_the_recorder_is_nobody_s_problem(recorded, tmp_path):
    recorded(("/imbox?view=chat", KEY))
    (file,) = tmp_path.rglob("recorded/*.json")
    file.write_text("", "utf-8")
    told = recorded()

    assert told.exit_code == 0
    assert "none is kept" in told.output


def test_doctor_fails_when_something_is_ill(tmp_path):
    file = tmp_path / "imbox.toml"
    file.write_text(SETTINGS.replace('id = "2026-11"', 'id = "a", expires = 2020-01-01'), "utf-8")
    result = CliRunner().invoke(cli.doctor, env={**ENVIRON, "IMBOX_SETTINGS": str(file)})

    assert result.exit_code == 1
    assert "ill     panel default, key a: expired on 2020-01-01; take it out" in result.output


def test_a_certificate_that_is_trusted_has_an_end(monkeypatch, tmp_path):
    authority().cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with serving(lambda _wire: None, tls=True) as server:
        end = certificate_end(server.url, 5.0)

    assert end > datetime.now(UTC)


def test_a_certificate_that_nobody_signed_is_ill(signs):
    with serving(lambda _wire: None, tls=True) as server, pytest.raises(Untrusted):
        certificate_end(server.url, 5.0)
