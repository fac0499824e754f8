"""What balancers and monitors are told."""

from __future__ import annotations

import pytest

from imbox_plugin.web import health
from tests.web.conftest import KEY, SETTINGS, basic

OTHER_KEY = "the-key-of-another-panel-0123456789"
TWO_PANELS = (
    SETTINGS.replace("[panels.default]", '[panels.default]\nsources = ["crm"]')
    + f"""
[[sources]]
name = "broken"
type = "tests.web.witness:Broken"
people = []
breaker = {{ failures = 1 }}

[panels.other]
keys = [{{ id = "other", secret = "{OTHER_KEY}" }}]
"""
)


def states(reply):
    return {source["name"]: source["status"] for source in reply.get_json().get("sources", ())}


@pytest.fixture
def client(serve):
    return serve(TWO_PANELS).test_client()


def authorized(key=KEY):
    return {"Authorization": basic(key)}


def test_a_process_that_answers_is_alive(client):
    reply = client.get("/livez")

    assert (reply.status_code, reply.get_json()) == (200, {"status": "alive"})


def test_without_a_key_readiness_is_all_that_is_told(client):
    replies = [client.get("/readyz", headers=headers) for headers in ({}, authorized("wrong"))]

    assert [reply.status_code for reply in replies] == [200, 200]
    assert [reply.get_json() for reply in replies] == [{"status": "ready"}] * 2


def test_a_key_opens_the_sources_of_its_panel(client):
    sources = client.get("/readyz", headers=authorized()).get_json()["sources"]
    both = client.get("/readyz", headers=authorized(OTHER_KEY))

    assert [source | {"age": 0} for source in sources] == [
        {"name": "crm", "status": "closed", "age": 0}
    ]
    assert all(isinstance(source["age"], int) and source["age"] >= 0 for source in sources)
    assert states(both) == {"crm": "closed", "broken": "closed"}


def test_a_source_that_is_down_leaves_the_server_ready_and_is_shown_without_its_reason(client):
    asked = client.get("/imbox/other?view=chat&externalId=C-1001", headers=authorized(OTHER_KEY))
    reply = client.get("/readyz", headers=authorized(OTHER_KEY))

    assert asked.status_code == 200
    assert (reply.status_code, reply.get_json()["status"]) == (200, "ready")
    assert states(reply) == {"crm": "closed", "broken": "open"}
    assert {frozenset(source) for source in reply.get_json()["sources"]} == {
        frozenset({"name", "status", "age"})
    }


def test_a_process_that_gets_no_more_requests_is_alive_and_not_ready(serve):
    app = serve()
    wanted = [True]
    health.ready_while(app, lambda: wanted[0])
    client = app.test_client()
    before = client.get("/readyz").status_code
    wanted[0] = False
    reply = client.get("/readyz")

    assert before == 200
    assert (reply.status_code, reply.get_json()) == (503, {"status": "stopping"})
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize("path", health.PATHS)
def test_probes_may_be_head_and_nothing_that_changes_anything(client, path):
    head = client.head(path)

    assert (head.status_code, head.data) == (200, b"")
    assert client.post(path).status_code == 405
    assert head.headers["Cache-Control"] == "no-store"
