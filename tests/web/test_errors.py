"""Refusals and failures: what they say, what they send and what they leave in the log."""

from __future__ import annotations

import logging
from dataclasses import replace
from http import HTTPStatus

import pytest
from flask import Flask, abort
from werkzeug.exceptions import ServiceUnavailable

from imbox_plugin.web import errors
from imbox_plugin.web.errors import Refusal, json_response
from tests.web.conftest import KEY, SETTINGS, basic

SECRET = "a-secret-that-nobody-may-read"

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

#: panels that break where plugins and layouts may, each beside the sound one
BROKEN = """
[[sources]]
name = "broken"
type = "tests.web.witness:Broken"
people = []

[panels.source]
keys = [{ id = "2026-11", secret = { env = "IMBOX_API_KEY" } }]
sources = ["broken"]

[panels.layout]
keys = [{ id = "2026-11", secret = { env = "IMBOX_API_KEY" } }]
key_in_query = true
sources = ["crm"]
[[panels.layout.blocks]]
name = "{{ contact.external_id // 2 }}"
data = [{ type = "list", rows = [{ label = "A", text = "{{ contact.email + 1 }}" }] }]
[[panels.layout.links]]
type = "url"
text = "CRM"
url = "https://crm.example.com/{external_id}"
"""


class NoCard:
    """A panel with a fault in the server itself, whose error quotes the question."""

    def answer(self, lookup):
        try:
            {}[lookup.value]
        except KeyError as error:
            message = f"no card for {lookup.value}"
            raise RuntimeError(message) from error


def refuse():
    raise Refusal(
        HTTPStatus.BAD_REQUEST, "Two are wrong.", {"a": ["too long", "not text"], "b": ["missing"]}
    )


def fail():
    raise ValueError(SECRET)


def busy():
    raise ServiceUnavailable(SECRET, retry_after=30)


@pytest.fixture
def client():
    """A small app that refuses and fails in every way."""
    app = Flask("small")
    errors.install(app)
    app.add_url_rule("/refuse", view_func=refuse)
    app.add_url_rule("/fail", view_func=fail)
    app.add_url_rule("/busy", view_func=busy)
    app.add_url_rule("/gone", "gone", lambda: abort(410, SECRET))
    app.add_url_rule("/well", "well", lambda: json_response({"b": "å", "a": None}))
    return app.test_client()


@pytest.fixture
def failing(serve):
    """The server with a fault of its own in the default panel."""
    app = serve()
    service = app.extensions["imbox_plugin"]
    app.extensions["imbox_plugin"] = replace(service, panels={"default": NoCard()})
    return app


def test_a_refusal_gives_every_field_and_reason(client):
    answer = client.get("/refuse")

    assert answer.status_code == 400
    assert answer.mimetype == "application/problem+json"
    assert answer.json == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "Two are wrong.",
        "errors": [
            {"field": "a", "reason": "too long"},
            {"field": "a", "reason": "not text"},
            {"field": "b", "reason": "missing"},
        ],
    }


@pytest.mark.parametrize(("path", "status"), [("/busy", 503), ("/gone", 410), ("/fail", 500)])
def test_other_errors_are_problems_too_and_keep_their_words_to_themselves(client, path, status):
    answer = client.get(path)

    assert answer.status_code == answer.json["status"] == status
    assert answer.mimetype == "application/problem+json"
    assert answer.json["detail"]
    assert SECRET not in answer.text


def test_an_errors_own_headers_are_kept(client):
    assert client.get("/busy").headers["Retry-After"] == "30"


def test_the_log_tells_where_a_failure_happened_and_not_what_it_said(client, caplog):
    client.get("/fail")
    (record,) = caplog.records

    assert record.levelno == logging.ERROR
    assert "ValueError" in record.getMessage()
    assert "test_errors.py:" in record.getMessage()
    assert SECRET not in caplog.text


def test_json_is_utf8_with_the_keys_in_their_order(client):
    assert client.get("/well").data == '{"b":"å","a":null}'.encode()


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", "/imbox?view=chat", KEY, 200),
        ("POST", "/imbox?view=chat", KEY, 200),
        ("HEAD", "/imbox?view=chat", KEY, 200),
        ("GET", "/imbox", KEY, 400),
        ("HEAD", "/imbox", KEY, 400),
        ("GET", "/imbox?view=chat", "wrong", 401),
        ("GET", "/imbox/nope", KEY, 404),
        ("GET", "/nothing", KEY, 404),
        ("OPTIONS", "/imbox", KEY, 405),
        ("DELETE", "/imbox", KEY, 405),
    ],
)
def test_every_answer_has_the_headers(app, method, path, key, status):
    answer = app.test_client().open(path, method=method, headers={"Authorization": basic(key)})

    assert answer.status_code == status
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_a_fault_of_the_server_is_a_problem_with_the_headers_and_without_a_trace(failing):
    answer = failing.test_client().get(
        "/imbox?view=chat&externalId=C-1001", headers={"Authorization": basic(KEY)}
    )

    assert answer.status_code == 500
    assert answer.mimetype == "application/problem+json"
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "C-1001" not in answer.text
    assert "Error" not in answer.json["detail"]


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "x" * 5000, "", "[[[", "é", "a b", "a:b"])
def test_no_host_header_breaks_anything(app, host):
    answer = app.test_client().get(
        "/imbox?view=chat", headers={"Authorization": basic(KEY), "Host": host}
    )

    assert answer.status_code in {200, 400}


#: what no log record may hold; each value is sent by `question`
CANARIES = (
    KEY,
    basic(KEY).split()[1],
    "wrong-key-canary",
    "anna@example.com",
    "canary@",
    "740605",
    "C-1001",
    "t-canary",
    "v-canary",
    "call-canary",
    "segment-canary",
    "view=",
)


def question(client, path="/imbox", method="GET", key=KEY, **parameters):
    """Ask with everything in it that must not be logged."""
    query = {
        "view": "chat",
        "email": "anna@example.com",
        "phoneNumber": "+46701740605",
        "externalId": "C-1001",
        "ticketId": "t-canary",
        "channelId": "v-canary",
        "callId": "call-canary",
        "segment": "segment-canary",
        **parameters,
    }
    headers = {"Authorization": basic(key)}
    body = '{"segment": "segment-canary"'
    return client.open(path, method=method, query_string=query, headers=headers, data=body)


def test_no_log_record_holds_a_key_an_identity_or_a_query(serve, failing, caplog):
    caplog.set_level(logging.DEBUG)
    client = serve(SETTINGS + BROKEN).test_client()
    answers = [
        question(client, "/imbox/default"),
        question(client, "/imbox/default", "POST"),
        question(client, "/imbox/default", email="canary@", phoneNumber="x740605"),
        question(client, "/imbox/default", key="wrong-key-canary"),
        question(client, "/imbox/default", view="segment-canary"),
        question(client, "/imbox/default", email="canary@" * 99),
        question(client, "/imbox/C-1001"),
        question(client, "/imbox", plugin="C-1001"),
        question(client, "/C-1001"),
        question(client, "/imbox/default", "DELETE"),
        question(client, "/imbox/source"),
        question(client, "/imbox/layout", key="wrong-key-canary"),
        client.get(
            "/imbox/layout", query_string={"view": "chat", "externalId": "C-1001", "key": KEY}
        ),
        question(failing.test_client()),
    ]
    formatter = logging.Formatter()
    lines = [f"{formatter.format(record)} {vars(record)}" for record in caplog.records]

    statuses = [answer.status_code for answer in answers]
    assert statuses == [200, 200, 200, 401, 400, 400, 404, 404, 404, 405, 200, 401, 200, 500]
    traces = ("opened by key 2026-11", "source broken failed", "cannot be shown", "RuntimeError")
    for told in traces:
        assert any(told in line for line in lines), told
    for canary in CANARIES:
        assert not [line for line in lines if canary in line], canary
