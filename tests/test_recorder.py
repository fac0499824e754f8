"""What the recorder keeps of a request, and that nobody's identity and no secret is in it."""

import json
import os
import re
import time

import phonenumbers
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from imbox_plugin import cli
from imbox_plugin.app import create_app
from imbox_plugin.identity import normal_email, normal_phone
from imbox_plugin.recorder import Recorder, nobodys_number
from imbox_plugin.seals import Seal
from imbox_plugin.settings import SettingsError
from tests.browser import served

SEAL = Seal(["a secret key of thirty-two letters"], "recordings")
KINDS = {
    "view": "view",
    "email": "email",
    "phoneNumber": "phone",
    "externalId": "id",
    "channelId": "id",
    "plugin": "panel",
    "key": "key",
}
PLAIN = {"method": "GET", "path": "/imbox", "headers": {}, "body": b"", "status": 200}
UNTOUCHED = {"view", "plugin"}


@pytest.fixture
def recorder(tmp_path):
    return Recorder(tmp_path / "state", SEAL, KINDS, region="SE", always=True)


def keep(recorder, body=b"", headers=None, method="GET", **query):
    """Keep a request, and give what was kept of it."""
    values = {name: value if isinstance(value, list) else [value] for name, value in query.items()}
    kept = {"method": method, "path": "/imbox", "headers": headers or {}, "body": body}
    recorder.keep(query=values, status=200, **kept)
    return recorder.kept()[0]


def test_the_view_and_the_names_stay_and_the_person_does_not(recorder):
    kept = keep(recorder, view="ticket", email="anna.ost@corp.example", externalId="K1001")
    files = "".join(file.read_text("utf-8") for file in recorder._files())  # noqa: SLF001

    assert kept.query["view"] == ["ticket"]
    assert set(kept.query) == {"view", "email", "externalId"}
    assert "anna" not in files
    assert "corp.example" not in files
    assert "K1001" not in files


def test_the_same_person_has_the_same_example_and_another_person_another(recorder):
    first = keep(recorder, email="Anna@Corp.example")
    same = keep(recorder, email="anna@corp.example")
    other = keep(recorder, email="bo@corp.example")

    assert first.query == same.query
    assert first.query != other.query


def test_two_spellings_of_a_number_are_the_same_person_and_keep_their_form(recorder):
    spellings = ["+46 70 123 45 67", " 46701234567", "070-123 45 67", "0046701234567"]
    examples = [keep(recorder, phoneNumber=text).query["phoneNumber"][0] for text in spellings]
    plus, lost, national, dialled = examples

    assert plus.startswith("+4670174")
    assert lost == f" {plus[1:]}"
    assert national == f"0{plus[3:]}"
    assert dialled == f"00{plus[1:]}"


@pytest.mark.parametrize(
    "number", ["+46701234567", "+447911123456", "+12025550000", "+4915112345678"]
)
@given(pick=st.integers(0, 2**256))
def test_the_example_of_a_number_is_a_number_of_its_country_and_has_a_normal_form(number, pick):
    example = nobodys_number(number, pick)

    assert normal_phone(example) == example
    assert example != number
    assert phonenumbers.parse(example).country_code == phonenumbers.parse(number).country_code


def test_an_id_becomes_one_of_the_same_form(recorder):
    kept = keep(recorder, externalId="AB-1001", channelId="V12345678901234567890")

    assert re.fullmatch(r"[A-Z]{2}-\d{4}", kept.query["externalId"][0])
    assert re.fullmatch(r"[A-Z]\d{20}", kept.query["channelId"][0])


def test_what_is_no_address_or_number_keeps_its_form_only(recorder):
    kept = keep(recorder, email="not an address", phoneNumber="anonymous")

    assert re.fullmatch(r"[a-j]{3} [a-j]{2} [a-j]{7}", kept.query["email"][0])
    assert re.fullmatch(r"[a-j]{9}", kept.query["phoneNumber"][0])


def test_blanks_and_repeats_are_what_matters_about_them(recorder):
    kept = keep(recorder, email=["", " ", "anna@corp.example"])

    assert kept.query["email"][:2] == ["", " "]
    assert len(kept.query["email"]) == 3


def test_a_fixed_parameter_of_the_set_up_keeps_its_name_only(recorder):
    kept = keep(recorder, token="hunter2hunter2", plugin="support")

    assert kept.query == {"token": ["example"], "plugin": ["support"]}


def test_of_the_key_only_the_way_it_came_is_kept(recorder):
    secret = "0123456789abcdef"
    headers = {"Authorization": f"Basic {secret}", "Cookie": secret, "X-Api-Key": secret}
    by_header = keep(recorder, headers={**headers, "User-Agent": "ImBox/1"}, view="chat")
    by_query = keep(recorder, key=secret, view="chat")

    assert (by_header.key, by_header.headers) == ("basic", {"User-Agent": "ImBox/1"})
    assert (by_query.key, set(by_query.query)) == ("query", {"view"})
    assert keep(recorder, headers={"X-Api-Key": secret}).key == "header"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("ImBox anna@corp.example", "ImBox example"),
        ("ImBox/2 (mailto:anna%40corp.example)", "ImBox/2 (mailto:example)"),
        ("ImBox +46 70-123 45 67", "ImBox example"),
        ("ImBox/1 070.123.45.67", "ImBox/1 example"),
        ("ImBox (0701234567)", "ImBox (example)"),
    ],
)
def test_an_address_or_a_number_in_a_header_is_not_kept(recorder, sent, kept):
    assert keep(recorder, headers={"User-Agent": sent}).headers == {"User-Agent": kept}


@pytest.mark.parametrize(
    "sent",
    [
        "GuzzleHttp/7.8.1 curl/8.4.0 PHP/8.2.12",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/0.0.6167.85",
    ],
)
def test_the_releases_in_a_header_stay(recorder, sent):
    assert keep(recorder, headers={"User-Agent": sent}).headers == {"User-Agent": sent}


def test_of_a_body_only_its_names_and_its_length_are_kept(recorder):
    kept = keep(recorder, body=b'{"team": "support", "token": "hunter2"}', method="POST")

    assert kept.body == ("team", "token")
    assert kept.body_bytes == 39


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff", b"[" * 5000, b"{"])
def test_a_body_that_is_no_object_has_no_names(recorder, body):
    assert keep(recorder, body=body).body == ()


@given(
    st.dictionaries(
        st.sampled_from([*(KINDS.keys() - UNTOUCHED), "team"]),
        st.lists(st.text(min_size=6, max_size=40), max_size=2),
    )
)
def test_no_value_survives_whatever_it_is(tmp_path_factory, query):
    recorder = Recorder(tmp_path_factory.mktemp("state"), SEAL, KINDS, always=True)
    recorder.keep(query=query, **PLAIN)
    kept = json.dumps([dict(one.query) for one in recorder.kept()], ensure_ascii=False)
    values = [
        value
        for name, own in query.items()
        if name not in UNTOUCHED
        for value in own
        if any(character.isalnum() for character in value)
    ]

    assert not any(json.dumps(value, ensure_ascii=False)[1:-1] in kept for value in values)


def test_a_value_that_is_no_view_is_not_kept_as_one(recorder):
    assert keep(recorder, view="anna@corp.example").query["view"] == ["example"]
    assert keep(recorder, view="deal").query["view"] == ["deal"]


def test_a_name_that_may_be_a_value_is_not_kept(recorder):
    assert set(keep(recorder, **{"anna@corp.example": "1"}).query) == {"example0"}


def test_a_request_that_is_too_long_is_not_kept(recorder, caplog):
    recorder.keep(query={f"p{at}": ["x"] * 50 for at in range(100)}, **PLAIN)

    assert recorder.kept() == ()
    assert "too long" in caplog.text


@pytest.mark.parametrize("held", [b"", b'{"method": "GE', b"[]", b"{}", b'{"body": 1}', b"\xff"])
def test_a_damaged_file_is_left_out_and_named(recorder, tmp_path, caplog, held):
    name = keep(recorder, view="chat").name
    damaged = tmp_path / "state" / "recorded" / "20261121T101500123456-1.json"
    damaged.write_bytes(held)

    assert [one.name for one in recorder.kept()] == [name]
    assert f"{damaged.name} is left out: it is damaged" in caplog.text


def refuse(recorder, headers=None, status=401, **query):
    """Refuse a request, and give what is kept of it."""
    recorder.refuse(query=query, headers=headers or {}, status=status)
    return recorder.refused()


@pytest.mark.parametrize(
    ("sent", "key", "reason"),
    [
        ({"headers": {"Authorization": "Basic anna"}}, "basic", "by basic, is none of the panel's"),
        ({"key": "anna"}, "query", "by query, is none of the panel's"),
        ({"email": "anna@corp.example"}, "header", "no key by Authorization or in the query"),
        ({"plugin": "anna", "status": 404}, "header", "it names no panel"),
    ],
)
def test_of_a_refused_request_only_the_way_of_its_key_is_kept(
    recorder, tmp_path, sent, key, reason
):
    refused = refuse(recorder, **sent)
    files = "".join(file.read_text("utf-8") for file in tmp_path.rglob("*.json"))

    assert (refused.status, refused.key) == (sent.get("status", 401), key)
    assert reason in refused.reason
    assert "anna" not in files


def test_strangers_can_fill_nothing_and_crowd_nobody_out(tmp_path):
    recorder = Recorder(tmp_path, SEAL, KINDS, always=True, most=3)
    kept = keep(recorder, view="chat")
    for _ in range(10):
        refuse(recorder)

    assert recorder.kept() == (kept,)
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) == 2


def test_what_this_server_asks_itself_is_not_kept(recorder):
    keep(recorder, view="chat")
    keep(recorder, view="call", headers=recorder.own)
    refuse(recorder, headers=recorder.own)

    assert [one.query["view"] for one in recorder.kept()] == [["chat"]]
    assert recorder.refused() is None


def test_nobody_else_can_say_that_a_request_is_this_server_s_own(tmp_path, recorder):
    other = Recorder(tmp_path, Seal(["another secret key of thirty-two"], "recordings"), KINDS)
    for value in (*other.own.values(), "", "\xff"):
        keep(recorder, headers=dict.fromkeys(recorder.own, value), view="chat")

    assert len(recorder.kept()) == 3


def test_the_oldest_go_when_there_are_too_many(tmp_path):
    recorder = Recorder(tmp_path, SEAL, KINDS, always=True, most=3)
    for view in ("chat", "ticket", "call", "contact", "deal"):
        keep(recorder, view=view)

    assert [one.query["view"] for one in recorder.kept()] == [["deal"], ["contact"], ["call"]]


def test_it_is_off_until_it_is_started_and_stops_by_itself(tmp_path):
    recorder = Recorder(tmp_path, SEAL, KINDS)
    off = recorder.is_on
    recorder.start(3600)
    on = recorder.is_on
    os.utime(tmp_path / "record-until", (0, time.time() - 1))

    assert (off, on, recorder.is_on) == (False, True, False)


def test_another_process_sees_that_it_was_started_and_stopped(tmp_path):
    ours, theirs = (Recorder(tmp_path, SEAL, KINDS) for _ in range(2))
    ours.start(3600)
    started = theirs.is_on
    ours.stop()

    assert (started, theirs.is_on) == (True, False)


def test_without_a_secret_key_nothing_is_kept(tmp_path):
    recorder = Recorder(tmp_path, None, KINDS, always=True)
    recorder.keep(query={"email": ["anna@corp.example"]}, **PLAIN)

    assert not recorder.is_on
    assert recorder.kept() == ()
    with pytest.raises(ValueError, match="secret_keys is empty"):
        recorder.start(60)


def test_clearing_removes_all(recorder):
    keep(recorder, view="chat")
    keep(recorder, view="call")
    refuse(recorder)

    assert recorder.clear() == 2
    assert recorder.kept() == ()
    assert recorder.refused() is None


def test_a_folder_that_cannot_be_written_is_logged_and_nobody_s_problem(tmp_path, caplog):
    tmp_path.joinpath("state").write_text("in the way", "utf-8")
    recorder = Recorder(tmp_path / "state", SEAL, KINDS, always=True)
    recorder.keep(query={"view": ["chat"]}, **PLAIN)

    assert "could not be kept" in caplog.text


def test_the_examples_of_addresses_are_addresses(recorder):
    [example] = keep(recorder, email="anna@corp.example").query["email"]

    assert normal_email(example) == example
    assert example.endswith("@example.com")


# On the way of a request, and by the commands


SETTINGS = """
secret_keys = [{ env = "SECRET" }]
default_region = "SE"
[[sources]]
name = "crm"
type = "inline"
people = [{ name = "Anna Example", external_id = "K1", email = "anna@example.com" }]
[panels.default]
keys = [{ id = "a", secret = { env = "KEY" } }]
[panels.probe]
keys = [{ id = "b", secret = { env = "KEY" } }]
probe = true
"""
KEY = "0123456789abcdef0123456789abcdef"
ENVIRON = {"SECRET": "a secret key of thirty-two letters", "KEY": KEY}
HEADERS = {"Authorization": f"Bearer {KEY}", "User-Agent": "ImBox/1"}


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "imbox.toml"
    file.write_text(SETTINGS, "utf-8")
    return file


@pytest.fixture
def client(settings):
    app = create_app(settings, ENVIRON)
    app.extensions["imbox_plugin"].recorder.start(3600)
    return app.test_client()


@pytest.fixture
def kept(client):
    return client.application.extensions["imbox_plugin"].recorder.kept


@pytest.fixture
def run(settings):
    def command(*arguments, called=cli.record):
        environ = {**ENVIRON, "IMBOX_SETTINGS": str(settings)}
        return CliRunner().invoke(called, [str(one) for one in arguments], env=environ)

    return command


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/imbox?view=contact&email=bo%40corp.example", 200),
        ("/imbox?view=nonsense&email=bo%40corp.example", 400),
        ("/imbox/probe?candidate=html.all", 200),
    ],
)
def test_what_imbox_sends_is_kept_with_what_it_was_answered(client, kept, target, status):
    client.get(target, headers=HEADERS)
    [one] = kept()

    assert (one.status, one.key) == (status, "bearer")
    assert one.path == target.partition("?")[0]


def test_who_brings_no_key_is_not_kept(client, kept):
    client.get("/imbox?view=contact")

    assert kept() == ()


@pytest.mark.parametrize(
    ("target", "headers", "listed"),
    [
        ("/imbox?view=chat", {}, "with 401: no key by Authorization or in the query"),
        ("/imbox?key=x", {}, "with 401: its key, by query, is none of the panel's"),
        ("/imbox", {"Authorization": "Basic eA=="}, "with 401: its key, by basic, is none of"),
        ("/imbox/other", HEADERS, "with 404: it names no panel"),
    ],
)
def test_the_last_that_was_not_let_in_is_listed_with_its_reason(
    client, run, target, headers, listed
):
    client.get(target, headers=headers)

    assert listed in run("list").output


def test_a_query_that_is_no_text_is_refused_as_before(client, run):
    answer = client.get("/imbox", environ_overrides={"QUERY_STRING": "plugin=\xff"})

    assert answer.status_code == 400
    assert "last refused" not in run("list").output


def test_who_is_not_let_in_is_not_noted_until_somebody_says_so(settings, tmp_path):
    create_app(settings, ENVIRON).test_client().get("/imbox?view=contact")

    assert not tmp_path.joinpath("imbox-state").exists()


def test_a_post_is_answered_and_kept_with_the_names_in_its_body(client, kept):
    answer = client.post("/imbox?view=contact", json={"team": "support"}, headers=HEADERS)
    [one] = kept()

    assert answer.status_code == 200
    assert (one.method, one.body) == ("POST", ("team",))


def test_nothing_is_kept_until_somebody_says_so(settings, tmp_path):
    create_app(settings, ENVIRON).test_client().get("/imbox?view=contact", headers=HEADERS)

    assert not tmp_path.joinpath("imbox-state").exists()


def test_keeping_always_needs_a_secret_key(settings):
    text = SETTINGS.replace('secret_keys = [{ env = "SECRET" }]', "record = { always = true }")
    settings.write_text(text, "utf-8")
    with pytest.raises(SettingsError, match=r"record\.always: needs secret_keys"):
        create_app(settings, ENVIRON)


@pytest.mark.parametrize(
    ("table", "place"),
    [("{ most = 0 }", "record.most"), ('{ always = "x" }', "record.always"), ("3", "record")],
)
def test_a_mistake_about_the_recorder_is_named_beside_all_others(settings, table, place):
    settings.write_text(f"record = {table}\nlocale = 3\n{SETTINGS}", "utf-8")
    with pytest.raises(SettingsError) as refused:
        create_app(settings, ENVIRON)

    assert {problem.path for problem in refused.value.problems} == {place, "locale"}


def test_a_kept_request_becomes_a_recording_that_replays(client, run, tmp_path):
    client.get("/imbox?view=ticket&email=bo%40corp.example", headers=HEADERS)
    name = run("list").output.split()[0]
    file = tmp_path / "recordings" / "ticket__known.json"
    saved = run("save", name, file, "--about", "A known one.", "--set", "email=anna@example.com")
    recording = json.loads(file.read_text("utf-8"))

    assert saved.exit_code == 0, saved.output
    assert recording["reply"]["json"]["contactName"] == "Anna Example"
    assert recording["request"]["key"] == "bearer"
    assert "Captured from ImBox on" in recording["origin"]
    assert run(file.parent, called=cli.replay_command).exit_code == 0


EXPIRED = '{ id = "z", secret = "an expired key of this panel", expires = 2020-01-01 }'
FIRST_EXPIRED = SETTINGS.replace('keys = [{ id = "a"', f'keys = [{EXPIRED}, {{ id = "a"')
SECOND_PANEL = """
[panels.second]
keys = [{ id = "c", secret = "the key of the second panel" }]
blocks = [{ name = "Second", icon = "person", data = [
    { type = "list", rows = [{ label = "Id", text = "{{ contact.external_id }}" }] },
] }]
"""


@pytest.mark.parametrize(
    ("text", "changes", "shown"),
    [
        (FIRST_EXPIRED, (), "Anna Example"),
        (SETTINGS + SECOND_PANEL, ("--set", "plugin=second"), "Second"),
    ],
    ids=["first-expired", "another-panel"],
)
def test_it_is_saved_and_replayed_with_a_key_in_force_of_its_panel(
    settings, run, text, changes, shown
):
    settings.write_text(text, "utf-8")
    run("start")
    client = create_app(settings, ENVIRON).test_client()
    client.get("/imbox?view=ticket&email=bo%40corp.example", headers=HEADERS)
    file = settings.with_name("ticket__known.json")
    arguments = [file, "--about", "A known one.", "--set", "email=anna@example.com", *changes]
    saved = run("save", run("list").output.split()[0], *arguments)
    recording = json.loads(file.read_text("utf-8"))

    assert saved.exit_code == 0, saved.output
    assert recording["reply"]["status"] == 200
    assert shown in json.dumps(recording["reply"]["json"])
    assert "the same reply" in run(file, called=cli.replay_command).output


def test_what_is_saved_and_replayed_is_not_kept_as_imbox_s(client, kept, run, tmp_path):
    client.get("/imbox?view=ticket", headers=HEADERS)
    file = tmp_path / "ticket__known.json"
    run("save", kept()[0].name, file, "--about", "A known one.")
    here = run(file, called=cli.replay_command)
    with served(client.application) as port:
        there = run(file, "--against", f"http://127.0.0.1:{port}", called=cli.replay_command)

    assert all("the same reply" in replayed.output for replayed in (here, there))
    assert len(kept()) == 1


def test_a_panel_whose_keys_have_all_expired_is_named(client, settings, run, tmp_path):
    client.get("/imbox?view=ticket", headers=HEADERS)
    name = run("list").output.split()[0]
    settings.write_text(
        SETTINGS.replace('{ id = "a", secret = { env = "KEY" } }', EXPIRED), "utf-8"
    )
    refused = run("save", name, tmp_path / "known.json", "--about", "A known one.")

    assert refused.exit_code == 1
    assert "panel default has no key that is not expired; add one" in refused.output
    assert not tmp_path.joinpath("known.json").exists()


def test_a_recording_of_no_panel_needs_no_key(client, settings, run, tmp_path):
    recording = {
        "about": "A panel that there is not.",
        "origin": "Written for this test.",
        "request": {"path": "/imbox/other"},
        "reply": {"status": 404, "json": client.get("/imbox/other").json},
    }
    file = tmp_path / "chat__other.json"
    file.write_text(json.dumps(recording), "utf-8")

    assert "the same reply" in run(file, called=cli.replay_command).output


def test_a_key_that_is_refused_now_is_told_and_not_saved(settings, run, tmp_path):
    settings.write_text(SETTINGS.replace("[panels.probe]", "key_in_query = true\n[panels.probe]"))
    run("start")
    create_app(settings, ENVIRON).test_client().get(f"/imbox?view=ticket&key={KEY}")
    settings.write_text(SETTINGS, "utf-8")
    name = run("list").output.split()[0]
    refused = run("save", name, tmp_path / "known.json", "--about", "A known one.")

    assert refused.exit_code == 1
    assert "sent by query, is refused; see the panel's keys and key_in_query" in refused.output
    assert not tmp_path.joinpath("known.json").exists()


def test_a_key_is_not_set_in_a_recording(client, run, tmp_path):
    client.get("/imbox?view=ticket", headers=HEADERS)
    name = run("list").output.split()[0]
    file = tmp_path / "known.json"
    refused = run("save", name, file, "--about", "A known one.", "--set", f"key={KEY}")

    assert refused.exit_code == 2
    assert "a key is never in a recording" in refused.output
    assert KEY not in refused.output
    assert not file.exists()


def test_a_recording_is_not_written_over_another(client, run, tmp_path):
    client.get("/imbox?view=ticket", headers=HEADERS)
    name = run("list").output.split()[0]
    file = tmp_path / "there.json"
    file.write_text("precious", "utf-8")

    assert "there already" in run("save", name, file, "--about", "A known one.").output
    assert file.read_text("utf-8") == "precious"


def test_a_recording_that_would_be_none_is_not_left_behind(client, run, tmp_path):
    client.get("/imbox?view=ticket", headers=HEADERS)
    name = run("list").output.split()[0]
    refused = run("save", name, tmp_path / "short.json", "--about", "short")

    assert refused.exit_code == 1
    assert not tmp_path.joinpath("short.json").exists()


def test_the_commands_start_show_stop_and_clear(settings, run):
    started = run("start", "--minutes", 5)
    client = create_app(settings, ENVIRON).test_client()
    client.get("/imbox?view=call&phoneNumber=070-1234567", headers=HEADERS)
    shown = run("show", run("list").output.split()[0])
    stopped = run("stop")
    client.get("/imbox?view=call", headers=HEADERS)

    assert "requests are kept until" in started.output
    assert json.loads(shown.output)["query"]["view"] == ["call"]
    assert "1234567" not in shown.output
    assert "no more are kept" in stopped.output
    assert "1 removed" in run("clear").output


def test_a_name_that_is_not_kept_is_refused(run):
    assert "no request is kept as nonsense" in run("show", "nonsense").output


def test_starting_without_a_secret_key_says_what_is_missing(settings, run):
    settings.write_text(SETTINGS.replace('secret_keys = [{ env = "SECRET" }]', ""), "utf-8")

    assert "secret_keys is empty" in run("start").output
