"""Who may use the workbench, and what it answers; its page is in test_workbench_browser."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from http import HTTPStatus

import pytest
from click.testing import CliRunner

from imbox_plugin import cli
from imbox_plugin.app import create_app
from imbox_plugin.settings import SettingsError
from imbox_plugin.web import workbench
from imbox_plugin.web.workbench import is_demo
from tests.benches import BENCH_KEY, KEY, SECRET, TWINS, Bench, settings
from tests.browser import served
from tests.demo import ENVIRON, SETTINGS
from tests.toml_text import toml_text

ANNA = {"view": "ticket", "email": "anna@example.com"}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


# Who may use it


@pytest.mark.parametrize(
    "path", ["", "/frame", "/recordings", "/look", "/recordings/", "/static/workbench.css"]
)
def test_without_settings_for_it_there_is_none(tmp_path, path):
    bench = Bench(tmp_path, workbench={})

    assert bench.ask(path).status_code == 404
    assert bench.ask(path, {}).status_code == 404


def test_keys_alone_do_not_enable_it(tmp_path):
    bench = Bench(tmp_path, workbench={"keys": [{"id": "w", "secret": BENCH_KEY}]})

    assert bench.ask().status_code == 404


@pytest.mark.parametrize("key", [None, "", KEY, BENCH_KEY[:-1], "a-key-that-opens-nothing"])
@pytest.mark.parametrize(
    ("path", "method"),
    [("", "GET"), ("/frame", "GET"), ("/recordings", "GET"), ("/look", "POST")],
)
def test_without_its_key_it_shows_nothing_and_a_browser_asks_for_it(bench, key, path, method):
    refused = bench.ask(path, key=key, method=method)

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="imbox-plugin", charset="UTF-8"'
    assert refused.mimetype == "application/problem+json"


@pytest.mark.parametrize("path", ["", "/frame", "/recordings"])
def test_its_key_opens_it(bench, path):
    assert bench.ask(path).status_code == 200


def test_its_key_opens_no_panel(bench):
    refused = bench.client.get("/imbox/default", query_string=ANNA, auth=("", BENCH_KEY))

    assert refused.status_code == 401


def test_an_expired_key_opens_nothing(tmp_path):
    keys = [{"id": "w", "secret": BENCH_KEY, "expires": "2020-01-01T00:00:00Z"}]
    text = toml_text(settings(workbench={"enabled": True, "keys": keys}))
    file = tmp_path / "imbox.toml"
    file.write_text(text.replace('"2020-01-01T00:00:00Z"', "2020-01-01T00:00:00Z"), "utf-8")
    client = create_app(file, {}).test_client()

    assert client.get("/workbench", auth=("", BENCH_KEY)).status_code == 401


def test_enabled_without_keys_stops_the_start(tmp_path):
    with pytest.raises(SettingsError) as refused:
        Bench(tmp_path, workbench={"enabled": True})

    (problem,) = refused.value.problems
    assert problem.path == "workbench.keys"
    assert "add one with id and secret" in problem.message


def test_a_key_that_is_too_short_stops_the_start(tmp_path):
    with pytest.raises(SettingsError) as refused:
        Bench(tmp_path, workbench={"enabled": True, "keys": [{"id": "w", "secret": "short"}]})

    assert [problem.path for problem in refused.value.problems] == ["workbench.keys[0].secret"]


# The demo


@pytest.fixture(scope="module")
def demo_app(demo):
    return create_app(demo, ENVIRON)


@pytest.fixture
def visit(demo_app):
    """Ask the demo's workbench without a key, as a browser or a proxy would."""

    def visit(path="", host="127.0.0.1:8000", address="127.0.0.1", **options):
        headers = {"Host": host, **options.pop("headers", {})}
        return demo_app.test_client().open(
            f"/workbench{path}",
            headers=headers,
            environ_overrides={"REMOTE_ADDR": address},
            **options,
        )

    return visit


def test_the_demo_is_known_by_its_digest():
    digest = hashlib.sha256(SETTINGS.read_bytes()).hexdigest()

    assert digest == workbench.DEMO, (
        "examples/demo/imbox.toml has changed. If its people are still invented, "
        f'write DEMO = "{digest}" in imbox_plugin/web/workbench.py'
    )


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000"])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "::1"])
def test_the_demo_needs_no_key_on_its_own_machine(visit, host, address):
    assert visit(host=host, address=address).status_code == 200


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "2001:db8::1", "", "unix:"])
def test_the_demo_is_shown_to_no_other_machine(visit, address):
    assert visit(address=address).status_code == 401


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example.com",
        "attacker.example.com:8000",
        "127.0.0.1.example.com",
        "localhost.example.com",
        "localhost:8000.example.com",
        "192.0.2.1",
        "localhost:",
    ],
)
def test_a_name_that_was_made_to_lead_here_does_not_show_the_demo(visit, host):
    assert visit(host=host).status_code == 401


@pytest.mark.parametrize(
    "header", ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip"]
)
def test_the_demo_is_not_shown_through_a_proxy(visit, header):
    assert visit(headers={header: "127.0.0.1"}).status_code == 401


def test_changed_demo_settings_are_no_demo(tmp_path):
    changed = tmp_path / "imbox.toml"
    changed.write_bytes(SETTINGS.read_bytes() + b"\n")

    assert is_demo(SETTINGS, {})
    assert not is_demo(changed, {})


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.1", "plugin.example.com"])  # noqa: S104
def test_a_demo_that_listens_to_others_has_no_workbench(demo, host):
    client = create_app(demo, {**ENVIRON, "HOST": host}).test_client()

    assert client.get("/workbench", headers={"Host": "localhost"}).status_code == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]"])
def test_a_demo_that_listens_to_its_own_machine_has_one(demo, host):
    assert is_demo(demo, {"HOST": host})


def test_without_a_key_nothing_is_saved(visit, demo):
    before = sorted((SETTINGS.parents[2] / "tests" / "recordings" / "imbox").iterdir())
    refused = visit(
        "/recordings",
        method="POST",
        json={
            "name": "chat__new",
            "about": "A recording that nobody may make.",
            "panel": "default",
            "query": {"view": "chat"},
        },
    )

    assert refused.status_code == 403
    assert b'id="save"' not in visit().data
    assert sorted((SETTINGS.parents[2] / "tests" / "recordings" / "imbox").iterdir()) == before


def test_each_recording_of_the_demo_gets_its_reply(visit):
    listed = visit("/recordings").json["recordings"]
    told = {
        one["name"]: visit("/look", method="POST", json={**one, "recording": one["name"]}).json
        for one in listed
    }

    assert len(listed) > 15
    assert {name: answer["difference"] for name, answer in told.items()} == dict.fromkeys(told, "")


# Other sites


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    ("path", "method"),
    [("/frame", "GET"), ("/recordings", "GET"), ("/look", "POST"), ("/recordings", "POST")],
)
def test_another_site_cannot_ask_in_the_name_of_who_is_logged_in(bench, site, path, method):
    body = {"panel": "default", "query": ANNA} if method == "POST" else None
    refused = bench.ask(path, body, headers={"Sec-Fetch-Site": site})

    assert refused.status_code == 403


def test_another_site_may_link_to_the_page_which_shows_nobody(bench):
    assert bench.ask(headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize("mimetype", ["text/plain", "application/x-www-form-urlencoded", ""])
@pytest.mark.parametrize("path", ["/look", "/recordings"])
def test_what_a_form_of_another_site_could_send_is_not_read(bench, mimetype, path):
    body = json.dumps({"panel": "default", "query": ANNA})
    refused = bench.ask(path, method="POST", data=body, content_type=mimetype)

    assert refused.status_code == 415


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"7", b"\xff", b"[" * 60_000, b'{"a": "' + b"x" * 65_536 + b'"}'],
    ids=["empty", "broken", "list", "number", "not-utf-8", "deep", "long"],
)
def test_a_body_that_is_no_question_is_refused(bench, body):
    refused = bench.ask("/look", method="POST", data=body, content_type="application/json")

    assert refused.status_code == 400


# Rate limits


def test_who_tries_keys_is_soon_refused_and_a_right_one_does_not_show_then(bench):
    tries = [bench.ask(key=f"wrong-{at}-0123456789").status_code for at in range(40)]
    right = bench.ask()
    other = bench.ask(environ_overrides={"REMOTE_ADDR": "192.0.2.7"})

    assert set(tries) == {401, 429}
    assert tries == sorted(tries)
    assert right.status_code == 429
    assert other.status_code == 200


def test_who_asks_without_end_is_refused_and_the_page_stays(bench):
    looks = [bench.look(**ANNA).status_code for _ in range(150)]

    assert set(looks) == {200, 429}
    assert bench.ask().status_code == 200


# Headers


POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "frame-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
}
FRAME_POLICY = {
    "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox",
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src https: data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'self'",
}


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("", POLICY),
        ("/frame", FRAME_POLICY),
        ("/recordings", {"default-src 'none'", "frame-ancestors 'none'"}),
    ],
)
def test_what_a_browser_may_do_with_it_is_said_exactly(bench, path, policy):
    headers = bench.ask(path).headers

    assert set(headers["Content-Security-Policy"].split("; ")) == policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_its_files_need_no_key_and_tell_nothing(bench):
    for name in ("workbench.js", "workbench.css", "frame.js", "frame.css", "icon.svg"):
        given = bench.ask(f"/static/{name}", key=None)
        text = given.get_data(as_text=True)

        assert given.status_code == 200
        assert not any(secret in text for secret in (KEY, BENCH_KEY, "Anna"))


@pytest.mark.parametrize("path", ["/static/../workbench.py", "/static/%2e%2e/workbench.py"])
def test_nothing_but_its_files_is_given(bench, path):
    assert bench.ask(path).status_code == 404


# What it answers


@pytest.mark.parametrize(
    "query",
    [
        ANNA,
        {"view": "call", "phoneNumber": "070-174 06 06"},
        {"view": "chat", "externalId": "nobody"},
        {"view": "contact"},
        {"view": "chat", "phoneNumber": ["", " ", "070-174 06 05"]},
    ],
    ids=["found", "several", "nobody", "no-identity", "repeated"],
)
@pytest.mark.parametrize("panel", ["default", "trusted"])
def test_the_reply_is_the_one_that_imbox_gets(bench, panel, query):
    looked = bench.look(panel, **query)

    assert looked.status_code == 200
    assert looked.json["reply"] == bench.webhook(panel, **query).json
    assert looked.json["difference"] is None


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"view": "none"},
        {"view": "chat", "email": "a\x00b"},
        {"view": "chat", "email": "x" * 600},
    ],
)
def test_a_wrong_parameter_is_refused_as_imbox_would_be(bench, query):
    looked = bench.look(**query)

    assert looked.status_code == 400
    assert looked.json["errors"] == bench.webhook(**query).json["errors"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"panel": "default"}, "query"),
        ({"panel": "default", "query": []}, "query"),
        ({"panel": "default", "query": {"email": 7}}, "email"),
        ({"panel": "default", "query": {"email": ["a@example.com", None]}}, "email"),
        ({"panel": "none", "query": ANNA}, "panel"),
        ({"panel": ["default"], "query": ANNA}, "panel"),
        ({"panel": {}, "query": ANNA}, "panel"),
        ({"query": ANNA}, "panel"),
        ({"panel": "probing", "query": ANNA}, "panel"),
    ],
)
def test_a_wrong_question_is_told_its_field(bench, asked, field):
    refused = bench.ask("/look", asked)

    assert refused.status_code == 400
    assert [error["field"] for error in refused.json["errors"]] == [field]


def test_what_is_not_filled_in_is_not_asked(bench):
    looked = bench.look(view="ticket", email="anna@example.com", externalId="", callId="")

    assert looked.json["findings"][0]["asked"] == ["email"]
    assert "externalId" not in looked.json["curl"]


def test_how_a_source_answered_is_told_without_the_contact(bench):
    (finding,) = bench.look(**ANNA).json["findings"]

    assert finding.pop("seconds") > 0
    assert finding == {
        "source": "crm",
        "outcome": "found",
        "asked": ["email"],
        "count": 0,
        "dropped": 0,
        "reason": "",
        "via": None,
        "age": 0.0,
        "is_stale": False,
    }


def test_several_people_are_counted(bench):
    (finding,) = bench.look(view="call", phoneNumber="070-174 06 06").json["findings"]

    assert (finding["outcome"], finding["count"]) == ("ambiguous", 2)


def test_contacts_that_were_not_asked_for_are_counted(tmp_path):
    source = {"name": "crm", "type": "tests.web.witness:Coarse", "people": TWINS}
    bench = Bench(tmp_path, sources=[source])
    (finding,) = bench.look(**ANNA).json["findings"]

    assert finding["dropped"] == 2
    assert finding["outcome"] == "unknown"


def test_a_source_that_fails_says_why_and_how_it_stands(tmp_path):
    source = {"name": "crm", "type": "tests.web.witness:Broken", "people": []}
    bench = Bench(tmp_path, sources=[{**source, "breaker": {"failures": 1}}])
    first, second = (bench.look(**ANNA).json for _ in range(2))

    assert first["findings"][0]["outcome"] == "failed"
    assert first["findings"][0]["reason"]
    assert "anna@example.com" not in json.dumps(first["findings"])
    assert second["sources"]["crm"]["status"] == "open"


def test_what_became_of_each_identity_is_told(bench):
    query = {"externalId": "C-1001", "email": "Anna@Example.com", "phoneNumber": "12"}
    identities = bench.look("trusted", view="chat", **query).json["identities"]

    assert identities == [
        {"name": "externalId", "form": None, "why": "not trusted in the view chat"},
        {"name": "email", "form": "anna@example.com", "why": ""},
        {
            "name": "phoneNumber",
            "form": None,
            "why": "incomplete or not valid, so nobody is searched by it",
        },
    ]


def test_remarks_have_a_place_that_is_in_the_reply(bench):
    answer = bench.look(**ANNA).json
    remarks = {remark["rule"]: remark for remark in answer["remarks"]}

    assert {"unknown-icon", "undocumented-name"} <= remarks.keys()
    assert remarks["unknown-icon"]["pointer"] == "/blocks/1/icon"
    for remark in answer["remarks"]:
        place = answer["reply"]
        for part in remark["pointer"].split("/")[1:]:
            place = place[int(part) if isinstance(place, list) else part]


def test_symbols_that_there_are_come_with_their_drawing(bench):
    icons = bench.look(**ANNA).json["icons"]

    assert list(icons) == ["person"]
    assert icons["person"].startswith("M")


def test_no_key_no_secret_and_nothing_of_a_contact_but_its_card_is_in_any_answer(bench):
    bench.record("ticket__anna", {}, request={"query": ANNA})
    answers = [
        bench.ask(),
        bench.ask("/frame"),
        bench.ask("/recordings"),
        bench.look(**ANNA),
        bench.look(recording="ticket__anna", **ANNA),
        bench.look(view="none"),
        bench.ask(key=None),
    ]
    hidden = (KEY, BENCH_KEY, SECRET, "not-on-any-card", str(bench.folder))

    for answer in answers:
        text = answer.get_data(as_text=True)
        assert not [secret for secret in hidden if secret in text]


def test_the_curl_command_gets_the_same_reply(bench):
    if shutil.which("curl") is None:
        pytest.skip("curl is not here")
    query = {"view": "ticket", "phoneNumber": "+46 70-174 06 05", "note": "it's $HOME `id` & more"}
    with served(bench.app) as port:
        asked = {"panel": "default", "query": query}
        looked = bench.ask("/look", asked, headers={"Host": f"127.0.0.1:{port}"}).json
        done = subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", looked["curl"]],
            env={"IMBOX_API_KEY": KEY, "PATH": "/usr/local/bin:/usr/bin:/bin"},
            capture_output=True,
            timeout=30,
            check=True,
        )

    assert json.loads(done.stdout) == looked["reply"]
    assert looked["reply"]["contactName"] == "Anna Andersson"


def test_the_curl_command_has_the_public_address_where_there_is_one(tmp_path):
    bench = Bench(tmp_path, base_url="https://plugin.example.com")

    assert "'https://plugin.example.com/imbox/default?" in bench.look(**ANNA).json["curl"]


# Recordings


def test_recordings_are_listed_that_can_be_shown(bench):
    other = bench.folder / "other.toml"
    other.write_text("", "utf-8")
    bench.record("chat__own")
    bench.record("chat__named", settings="../imbox.toml")
    bench.record("chat__others", settings="../other.toml")
    bench.record("chat__refused", reply={"status": 400, "json": {}})
    bench.record("chat__no_panel", request={"path": "/imbox/none"})
    bench.record("chat__probing", request={"path": "/imbox/probing"})
    bench.record("chat__head", request={"method": "HEAD"})
    bench.record("chat__broken", about="short")
    listed = bench.ask("/recordings").json["recordings"]

    assert [one["name"] for one in listed] == ["chat__named", "chat__own"]


def test_a_recording_is_listed_with_its_question(bench):
    body = json.dumps({"store": "A", "email": "other@example.com"})
    request = {"method": "POST", "path": "/imbox", "query": ANNA, "body": body}
    bench.record("ticket__posted", request=request)
    (one,) = bench.ask("/recordings").json["recordings"]

    assert one == {
        "name": "ticket__posted",
        "about": "A recording of these tests.",
        "panel": "default",
        "query": {"view": ["ticket"], "email": ["anna@example.com"], "store": ["A"]},
    }


@pytest.mark.parametrize(
    ("request_", "panel"),
    [
        ({"path": "/imbox"}, "default"),
        ({"path": "/imbox/trusted"}, "trusted"),
        ({"path": "/imbox", "query": {"plugin": "trusted"}}, "trusted"),
        ({"path": "/imbox", "query": {"plugin": ["", " trusted "]}}, "trusted"),
    ],
)
def test_a_recording_is_listed_with_its_panel(bench, request_, panel):
    bench.record("chat__own", request=request_)
    (one,) = bench.ask("/recordings").json["recordings"]

    assert one["panel"] == panel


def test_requests_that_imbox_sent_are_listed_without_anybody_in_them(tmp_path):
    bench = Bench(tmp_path, record={"always": True})
    bench.webhook(**ANNA, channelId="V123")
    bench.webhook("trusted", view="none")
    bench.webhook("probing", view="chat")
    newer, older = bench.ask("/recordings").json["kept"]

    assert (newer["panel"], newer["about"][-12:]) == ("trusted", "answered 400")
    assert (older["panel"], older["query"]["view"]) == ("default", ["ticket"])
    assert "anna" not in json.dumps([newer, older])


def test_a_kept_request_that_is_damaged_is_not_listed(tmp_path):
    bench = Bench(tmp_path, record={"always": True})
    bench.webhook(**ANNA)
    (file,) = tmp_path.rglob("recorded/*.json")
    file.write_bytes(file.read_bytes()[:40])

    assert bench.ask("/recordings").json["kept"] == []


def test_a_reply_that_differs_from_the_recorded_one_is_told_line_by_line(bench):
    reply = bench.webhook(**ANNA).json
    bench.record("ticket__anna", reply, request={"query": ANNA})
    bench.record("ticket__old", {**reply, "contactName": "Anna Ek"}, request={"query": ANNA})
    same, differs, none = (
        bench.look(recording=name, **ANNA).json["difference"]
        for name in ("ticket__anna", "ticket__old", "../recordings/ticket__anna")
    )

    assert same == ""
    assert '-  "contactName": "Anna Ek",' in differs.splitlines()
    assert none is None


SAVED = {"about": "Anna's ticket, by her address.", "panel": "default", "query": ANNA}


def test_what_is_saved_replays(bench, monkeypatch):
    saved = bench.ask("/recordings", {"name": "ticket__anna", **SAVED})
    file = bench.folder / "recordings" / "ticket__anna.json"
    monkeypatch.setenv("IMBOX_SETTINGS", str(bench.file))
    replayed = CliRunner().invoke(cli.replay_command, [str(file)])
    looked = bench.look(recording="ticket__anna", **ANNA)

    assert saved.status_code == 200
    assert replayed.exit_code == 0, replayed.output
    assert "the same reply" in replayed.output
    assert looked.json["difference"] == ""
    assert BENCH_KEY not in file.read_text("utf-8")


def test_a_key_among_the_parameters_is_neither_shown_nor_saved(bench):
    query = {**ANNA, "key": KEY}
    looked = bench.look(**query)
    bench.ask("/recordings", {"name": "ticket__anna", **SAVED, "query": query})
    saved = json.loads((bench.folder / "recordings" / "ticket__anna.json").read_text("utf-8"))

    assert KEY not in looked.get_data(as_text=True)
    assert saved["request"]["query"] == ANNA


@pytest.mark.parametrize(
    "name",
    [
        "../imbox",
        "a/b",
        "a\\b",
        "..",
        ".hidden",
        "/etc/passwd",
        "a.json",
        "UPPER",
        "",
        "a" * 82,
        "a\n",
        "a\x00",
        None,
        7,
        ["a"],
    ],
)
def test_a_name_that_is_no_plain_name_is_refused(bench, name):
    refused = bench.ask("/recordings", {"name": name, **SAVED})

    assert refused.status_code == 400
    assert [error["field"] for error in refused.json["errors"]] == ["name"]
    assert [file.name for file in bench.folder.iterdir()] == ["imbox.toml"]


def test_a_recording_that_there_is_stays_as_it_is(bench):
    bench.record("ticket__anna")
    file = bench.folder / "recordings" / "ticket__anna.json"
    before = file.read_bytes()
    refused = bench.ask("/recordings", {"name": "ticket__anna", **SAVED})

    assert refused.json["errors"][0]["field"] == "name"
    assert file.read_bytes() == before


@pytest.mark.parametrize("about", ["short", " " * 20, None, 7])
def test_what_a_recording_shows_has_to_be_said(bench, about):
    refused = bench.ask("/recordings", {"name": "ticket__anna", **SAVED, "about": about})

    assert [error["field"] for error in refused.json["errors"]] == ["about"]


def test_a_wrong_question_is_not_saved(bench):
    refused = bench.ask("/recordings", {"name": "x", **SAVED, "query": {"view": "none"}})

    assert refused.status_code == 400
    assert not (bench.folder / "recordings").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("", "utf-8")
    bench = Bench(tmp_path, record={"folder": "file/recordings"})
    refused = bench.ask("/recordings", {"name": "ticket__anna", **SAVED})

    assert refused.status_code == HTTPStatus.CONFLICT
    assert refused.json["detail"].endswith("cannot be written: Not a directory")
