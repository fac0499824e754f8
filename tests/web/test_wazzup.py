"""Wazzup's webhooks; the recordings say what it sends and what it must get."""

from __future__ import annotations

import json
import logging

import pytest

from imbox_plugin.app import create_app
from imbox_plugin.settings import SettingsError
from tests.demo import ROOT
from tests.loopback import answering, serving
from tests.toml_text import toml_text

RECORDINGS = sorted((ROOT / "tests" / "recordings" / "hooks").glob("wazzup__*.json"))
KEY = "a-crm-key-of-this-test-only"
PATH = "/hooks/wazzup/default"
BEARER = {"Authorization": f"Bearer {KEY}"}
SINK = {"type": "http", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
CONTACT = {"createContact": {"responsibleUserId": "1", "name": "Åsa Lindqvist"}}
USUAL = {
    "secret_keys": ["a-secret-key-of-this-test-only"],
    "sources": [{"name": "crm", "type": "inline", "default_region": "SE", "people": []}],
    "events": {"sink": {"type": "log"}},
    "panels": {
        "default": {
            "keys": [{"id": "a", "secret": "a-key-that-imbox-sends"}],
            "hooks": {"wazzup": {"keys": [{"id": "a", "secret": KEY}]}},
        },
        "closed": {"keys": [{"id": "a", "secret": "a-key-that-imbox-sends"}]},
    },
}


@pytest.fixture
def serve(tmp_path):
    """A server of these settings, stopped at the end."""
    apps = []

    def serve(**changed):
        file = tmp_path / "imbox.toml"
        file.write_text(toml_text({**USUAL, **changed}), "utf-8")
        apps.append(create_app(file, {}))
        return apps[-1]

    yield serve
    for app in apps:
        app.extensions["imbox_plugin"].courier.stop()


@pytest.fixture
def ask(serve):
    """Ask a server whose sink is an endpoint that plays so."""

    def ask(play, body, **options):
        with serving(play) as server:
            app = serve(events={"sink": {**SINK, "url": server.url}})
            client = app.test_client()
            answer = client.post(PATH, json=body, headers=BEARER, **options)
            app.extensions["imbox_plugin"].courier.sink.close()
        return answer

    return ask


def waiting(app):
    return app.extensions["imbox_plugin"].courier.outbox.counts()


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: file.stem)
def test_a_recorded_webhook_gets_its_answer(ask, file):
    recording = json.loads(file.read_text("utf-8"))
    play = answering(body=json.dumps(recording.get("endpoint")).encode())
    reply = ask(play, recording["request"])

    assert reply.status_code == recording["reply"]["status"]
    assert "json" not in recording["reply"] or reply.json == recording["reply"]["json"]


def test_the_recordings_say_where_they_come_from():
    for file in RECORDINGS:
        recording = json.loads(file.read_text("utf-8"))

        assert "wazzup24.com/help/webhooks" in recording["origin"], file


def test_an_endpoint_that_does_not_take_it_is_no_success_for_wazzup(ask, caplog):
    reply = ask(answering(status="500 No"), CONTACT)

    assert reply.status_code == 503
    assert reply.content_type == "application/problem+json"
    assert "the endpoint did not take it (500)" in caplog.text


def test_an_entity_of_the_wrong_shape_is_told_by_field_and_not_by_value(ask, caplog):
    body = b'{"id": "K1", "contactData": [{"chatType": "canary"}], "name": ["canary"]}'
    reply = ask(answering(body=body), CONTACT)

    assert reply.status_code == 502
    assert "a createContact was answered with a wrong contactData, name" in caplog.text
    assert "canary" not in caplog.text + reply.text


CHAT = {"chatType": "whatsapp", "chatId": "46701740605"}
ANNA = {"responsibleUserId": "1", "name": "Anna", "contactData": [CHAT]}


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ({"contactData": [{**CHAT, "username": None}]}, {}),
        ({"contactData": [{**CHAT, "username": ["x"], "phone": 7, "new": {}}]}, {}),
        ({"contactData": [{**CHAT, "chatId": 46701740605}]}, {"contactData": [CHAT]}),
        ({"contactData": [CHAT, {"chatType": "telegram"}, None, "x"]}, {}),
        ({"name": "x" * 201}, {"name": "x" * 200}),
        ({"name": f" {'x' * 200} "}, {"name": "x" * 200}),
        ({"name": ""}, {"name": "46701740605"}),
        ({"name": " "}, {"name": "46701740605"}),
        ({"name": None}, {"name": "46701740605"}),
        ({"name": ["x"]}, {"name": "46701740605"}),
        (
            {"name": "", "contactData": [{**CHAT, "username": "anna"}]},
            {"name": "anna", "contactData": [{**CHAT, "username": "anna"}]},
        ),
        ({"responsibleUserId": None}, {"responsibleUserId": None}),
        ({"responsibleUserId": "x" * 101}, {"responsibleUserId": None}),
        ({"contactData": None}, {"contactData": None}),
        ({"contactData": []}, {"contactData": None}),
        ({"contactData": {}, "name": ""}, {"contactData": None, "name": None}),
        ({"uri": 7, "id": "theirs"}, {}),
    ],
)
def test_nothing_that_wazzup_asks_costs_it_the_contact_that_was_made(ask, asked, answered, caplog):
    reply = ask(answering(body=b'{"id": "C1"}'), {"createContact": {**ANNA, **asked}})
    wanted = {"id": "C1", **ANNA, **answered}

    assert reply.status_code == 200
    assert reply.json == {name: value for name, value in wanted.items() if value is not None}
    assert "wrong" not in caplog.text


@pytest.mark.parametrize("contacts", [None, [], "K1", [{}]])
def test_nothing_that_wazzup_asks_costs_it_the_deal_that_was_made(ask, contacts):
    body = b'{"id": "D1", "name": "Pergola", "uri": "https://crm.example.com/D1"}'
    reply = ask(answering(body=body), {"createDeal": {"contacts": contacts}})

    assert reply.status_code == 200
    assert reply.json == {**json.loads(body), "closed": False}


def test_what_the_endpoint_says_is_null_it_leaves_out(ask):
    chat = {"chatType": "telegram", "chatId": "7", "username": None}
    body = {"id": "C1", "name": None, "uri": None, "contactData": [chat]}
    reply = ask(answering(body=json.dumps(body).encode()), {"createContact": ANNA})

    assert reply.json == {
        "id": "C1",
        "responsibleUserId": "1",
        "name": "Anna",
        "contactData": [{"chatType": "telegram", "chatId": "7"}],
    }


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"id": None}, "id"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"responsibleUserId": ["x"]}, "responsibleUserId"),
        ({"contactData": []}, "contactData"),
    ],
)
def test_only_what_the_endpoint_says_itself_is_blamed_on_it(ask, wrong, named, caplog):
    asked = {"createContact": {"name": 7, "contactData": 7, "responsibleUserId": []}}
    reply = ask(answering(body=json.dumps({"id": "C1", **wrong}).encode()), asked)

    assert reply.status_code == 502
    assert f"a createContact was answered with a wrong {named}\n" in caplog.text


def test_the_id_is_the_endpoints_own(ask):
    reply = ask(answering(body=b"{}"), {"createContact": {**ANNA, "id": "theirs"}})

    assert reply.status_code == 502


@pytest.mark.parametrize("name", ["createContact", "createDeal"])
def test_a_sink_without_answers_is_given_the_event_later(serve, caplog, name):
    app = serve()
    courier = app.extensions["imbox_plugin"].courier
    courier.start = lambda: None
    with caplog.at_level(logging.WARNING):
        reply = app.test_client().post(PATH, json={name: {"name": "canary"}}, headers=BEARER)
        kept = courier.outbox.counts().waiting
        courier.deliver_next()

    assert (reply.status_code, reply.json, kept) == (200, {}, 1)
    assert f"event '{name}' of link 'wazzup' in panel 'default'" in caplog.text
    assert "canary" not in caplog.text


def test_two_equal_webhooks_are_two_events(serve):
    app = serve()
    courier = app.extensions["imbox_plugin"].courier
    courier.start = lambda: None
    for _ in "ab":
        app.test_client().post(PATH, json=CONTACT, headers=BEARER)

    assert waiting(app).waiting == 2


def test_a_server_that_cannot_keep_the_event_does_not_say_that_it_has(serve, tmp_path):
    app = serve()
    (tmp_path / "imbox-state").write_text("in the way")

    assert app.test_client().post(PATH, json=CONTACT, headers=BEARER).status_code == 500


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (PATH, {}),
        (PATH, {"Authorization": "Bearer another-key-0123456789"}),
        (PATH, {"Authorization": "Bearer "}),
        (PATH, {"Authorization": "Bearer a-key-that-imbox-sends"}),
        (f"{PATH}?key={KEY}", {}),
    ],
)
@pytest.mark.parametrize("body", [{"test": True}, CONTACT])
def test_nobody_is_let_in_without_the_key(serve, path, headers, body):
    app = serve()
    reply = app.test_client().post(path, json=body, headers=headers)

    assert reply.status_code == 401
    assert waiting(app).waiting == 0


def test_the_key_of_wazzup_opens_no_card(serve):
    reply = serve().test_client().get("/imbox?view=chat&externalId=1", headers=BEARER)

    assert reply.status_code == 401


def test_the_key_may_be_in_the_address_where_the_settings_say_so(serve):
    hook = {**USUAL["panels"]["default"]["hooks"]["wazzup"], "key_in_query": True}
    panel = {**USUAL["panels"]["default"], "hooks": {"wazzup": hook}}
    client = serve(panels={"default": panel}).test_client()

    assert client.post(f"{PATH}?key={KEY}", json={"test": True}).status_code == 200
    assert client.post(f"{PATH}?key=another", json={"test": True}).status_code == 401


@pytest.mark.parametrize("path", ["/hooks/wazzup/closed", "/hooks/wazzup/none", "/hooks/wazzup"])
def test_a_panel_without_the_hook_takes_nothing(serve, path):
    assert serve().test_client().post(path, json=CONTACT, headers=BEARER).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"x"', 400),
        (b"\xff", 400),
        (b"[" * 5000, 400),
        (b'{"createContact": []}', 400),
        (b'{"createDeal": null}', 400),
        (b'{"createDeal": {"x": "%s"}}' % (b"x" * 65_536), 413),
    ],
)
def test_what_is_no_webhook_is_refused(serve, body, status):
    app = serve()

    assert app.test_client().post(PATH, data=body, headers=BEARER).status_code == status
    assert waiting(app).waiting == 0


def test_only_post_is_taken(serve):
    reply = serve().test_client().get(PATH, headers=BEARER)

    assert (reply.status_code, reply.headers["Allow"]) == (405, "POST")


def test_a_hook_without_events_is_a_mistake(tmp_path):
    file = tmp_path / "imbox.toml"
    document = {name: table for name, table in USUAL.items() if name != "events"}
    file.write_text(toml_text(document), "utf-8")
    with pytest.raises(SettingsError, match=r"hooks\.wazzup: leads nowhere; add \[events\]"):
        create_app(file, {})


def test_a_sink_without_answers_is_warned_about(serve, caplog):
    serve()

    assert "panels.default.hooks.wazzup: the sink gives no answers" in caplog.text


def test_a_sink_with_answers_is_not_warned_about(serve, caplog):
    serve(events={"sink": {**SINK, "url": "https://crm.example.com/hook"}})

    assert "gives no answers" not in caplog.text
