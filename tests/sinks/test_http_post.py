from __future__ import annotations

import base64
import hmac
import json
import time
from hashlib import sha256

import pytest
from marshmallow import ValidationError

from imbox_plugin.sinks import Event, SinkContext, SinkError
from imbox_plugin.sinks.http_post import HttpSink, signature
from tests.loopback import answering, serving

#: the example of the Standard Webhooks libraries
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = Event("default", "Chat", "WZ_OUTPUT_MESSAGE", {"name": "Åsa", "n": [1, None]}, "m-1")


def sink(url, **options):
    return HttpSink(HttpSink.Options().load({"url": url, "secret": SECRET, **options}), CONTEXT)


CONTEXT = SinkContext()


def deliver(play, path="", **options):
    """Deliver one event to an endpoint that plays so."""
    with serving(play) as server:
        one = sink(server.url + path, **options)
        try:
            return one.deliver(EVENT)
        finally:
            one.close()


def answer(play):
    with serving(play) as server:
        one = sink(server.url)
        try:
            return one.answer(EVENT)
        finally:
            one.close()


@pytest.fixture
def heard():
    """The requests of a play that takes everything, and the play."""
    requests = []

    def play(wire):
        while (request := wire.request()) is not None:
            requests.append(request)
            wire.send(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    return requests, play


def parts(request):
    head, _, body = request.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return line, {name.lower(): value for name, value in headers.items()}, body


def test_a_signature_is_that_of_the_standards_libraries(corpus):
    schemes = {case["scheme"]: case for case in corpus("webhook_signature_vectors")}
    case = schemes["standard-webhooks-v1"]
    key = HttpSink.Options().load({"url": "https://example.com", "secret": case["secret"]})
    signed = signature(
        key["secret"], case["msg_id"], int(case["timestamp"]), case["payload"].encode()
    )

    assert signed == case["expected"]


def test_a_signature_is_of_id_time_and_bytes():
    signed = signature(b"k" * 24, "msg_1", 1614265330, b'{"test": 2432232314}')
    expected = hmac.new(b"k" * 24, b'msg_1.1614265330.{"test": 2432232314}', sha256).digest()

    assert signed == f"v1,{base64.b64encode(expected).decode()}"


def test_an_event_is_posted_whole_with_a_signature_of_what_was_sent(heard):
    requests, play = heard
    before = int(time.time())
    deliver(play, "/hooks/imbox?key=a%20b")
    line, headers, body = parts(*requests)
    moment = int(headers["webhook-timestamp"])
    key = base64.b64decode(SECRET.removeprefix("whsec_"))

    assert line == "POST /hooks/imbox?key=a%20b HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "type": "WZ_OUTPUT_MESSAGE",
        "panel": "default",
        "link": "Chat",
        "key": "m-1",
        "data": {"name": "Åsa", "n": [1, None]},
    }
    assert before <= moment <= time.time()
    assert headers["webhook-signature"] == signature(key, EVENT.id, moment, body)


def test_the_id_is_the_same_at_each_attempt_and_another_for_each_event(heard):
    requests, play = heard
    with serving(play) as server:
        one = sink(server.url)
        for event in (EVENT, EVENT, Event("default", "Chat", EVENT.type, {}, "m-2")):
            one.deliver(event)
        one.close()
    first, again, other = (parts(request)[1]["webhook-id"] for request in requests)

    assert first == again != other
    assert "." not in first + other


@pytest.mark.parametrize(
    "play",
    [
        answering(body=b"ok"),
        answering(status="204 No Content"),
        answering(status="201 Created", body=b"<p>thanks</p>", headers=["Content-Type: text/html"]),
        answering(body=b"x" * 150_000),
        answering(body=b"no gzip", headers=["Content-Encoding: gzip"]),
        answering(body=b"?", headers=["Content-Encoding: br"]),
    ],
)
def test_every_success_means_taken_whatever_the_body_says(play):
    deliver(play)


@pytest.mark.parametrize(
    ("status", "permanent", "wait"),
    [
        ("410 Gone", True, None),
        ("404 Not Found", False, None),
        ("400 Bad Request", False, None),
        ("500 Internal Server Error", False, None),
        ("503 Service Unavailable\r\nRetry-After: 120", False, 120.0),
        ("302 Found\r\nLocation: https://elsewhere.example", False, None),
    ],
)
def test_what_is_no_success_is_tried_again_but_for_what_is_gone(status, permanent, wait):
    with pytest.raises(SinkError) as failed:
        deliver(answering(status=status))

    assert (failed.value.permanent, failed.value.wait) == (permanent, wait)


def test_a_refusal_whose_body_cannot_be_read_is_a_refusal():
    with pytest.raises(SinkError):
        deliver(answering(status="500 No", body=b"no gzip", headers=["Content-Encoding: gzip"]))


def test_an_endpoint_that_drips_is_left_at_the_time_limit():
    with pytest.raises(SinkError, match="did not answer in time"):
        deliver(lambda wire: wire.request() and wire.drip(b"H" * 2000), time_limit=0.2)


def test_what_goes_wrong_is_told_without_address_secret_and_event():
    with serving(answering()) as server:
        port = server.port
    with pytest.raises(SinkError) as failed:
        sink(f"http://127.0.0.1:{port}/canary?key=canary").deliver(EVENT)

    assert failed.value.__cause__ is None
    assert not any(text in str(failed.value) for text in ("canary", "127.0.0.1", "m-1", "Åsa"))


def test_an_answer_is_the_object_that_the_endpoint_made():
    assert answer(answering(body=b'{"id": "K1001"}')) == {"id": "K1001"}


@pytest.mark.parametrize(
    ("play", "says"),
    [
        (answering(body=b"[]"), "answered with no JSON object"),
        (answering(status="204 No Content"), "answered with no JSON object"),
        (answering(body=b"ok"), "not JSON"),
        (answering(status="500 No"), r"did not take it \(500\)"),
    ],
)
def test_what_is_no_entity_is_no_answer(play, says):
    with pytest.raises(SinkError, match=says):
        answer(play)


@pytest.mark.parametrize(
    ("options", "path", "says"),
    [
        ({"url": "http://crm.example.com/hook"}, "url", "http sends secrets for everybody"),
        ({"url": "https://user:canary@crm.example.com/"}, "url", "holds a user or a fragment"),
        ({"url": "https://crm.example.com/#canary"}, "url", "holds a user or a fragment"),
        ({"url": "canary"}, "url", "not an address"),
        ({"url": "https://crm.example.com/../canary"}, "url", "means another path"),
        ({"secret": "whsec_Y2FuYXJ5"}, "secret", "24 to 64 random bytes"),
        ({"secret": "whsec_åäö"}, "secret", "24 to 64 random bytes"),
        ({"secret": f"whsec_{base64.b64encode(b'x' * 65).decode()}"}, "secret", "24 to 64"),
        ({"time_limit": 26}, "time_limit", "from 0.1 to 25 seconds"),
    ],
)
def test_a_mistake_in_the_options_is_told_and_not_repeated(options, path, says):
    usual = {"url": "https://crm.example.com/hook", "secret": SECRET}
    with pytest.raises(ValidationError) as refused:
        HttpSink.Options().load({**usual, **options})
    (message,) = refused.value.messages[path]

    assert says in message
    assert "canary" not in message


def test_http_within_a_network_may_be_allowed():
    loaded = HttpSink.Options().load(
        {"url": "http://crm.internal/hook", "secret": SECRET, "insecure": True}
    )
    HttpSink(loaded, CONTEXT).close()
