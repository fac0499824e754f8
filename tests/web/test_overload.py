"""The door before the app: how many are let in at a time, and what the others are told."""

from __future__ import annotations

import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest
from flask import Flask
from werkzeug.test import Client, EnvironBuilder, run_wsgi_app

from imbox_plugin.settings import SettingsError
from imbox_plugin.web.overload import Door, places, waited
from tests.web.conftest import KEY, basic

HANGS = 20.0


class Work:
    """A WSGI app whose answers wait until they are let go; counts those that it has begun."""

    def __init__(self):
        self.begun = 0
        self.go = Event()

    def __call__(self, environ, start_response):
        self.begun += 1
        assert self.go.wait(HANGS)
        if environ["PATH_INFO"] == "/broken":
            raise ZeroDivisionError
        start_response("200 OK", [("Content-Length", "0")])
        return []


def until(condition):
    end = time.monotonic() + HANGS
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


@pytest.fixture
def work():
    work = Work()
    yield work
    work.go.set()


@contextmanager
def busy(door, work, count=1):
    """A door that lets no more in, and the answers that those inside will have."""
    with ThreadPoolExecutor(count) as clients:
        inside = [clients.submit(Client(door).get, "/imbox") for _ in range(count)]
        try:
            until(lambda: work.begun == count)
            yield inside
        finally:
            work.go.set()


def test_what_is_too_much_is_refused_while_the_others_are_worked_on(work):
    door = Door(work, 2, patience=0.01)

    with busy(door, work, 2) as inside:
        refused = [Client(door).get("/imbox").status_code for _ in range(4)]
        work.go.set()

        assert refused == [503] * 4
        assert [answer.result().status_code for answer in inside] == [200, 200]
        assert work.begun == 2


def test_a_refusal_says_when_to_come_again_and_nothing_else(work):
    door = Door(work, 1, patience=0.01)
    with busy(door, work):
        refused = Client(door).get("/imbox?view=chat&email=anna%40example.com")

    assert refused.headers["Retry-After"] == "1"
    assert refused.mimetype == "application/problem+json"
    assert refused.headers["Cache-Control"] == "no-store"
    assert refused.get_json() == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "More requests came than this server can answer; try again in a moment.",
    }


def test_a_refusal_of_head_has_no_body(work):
    door = Door(work, 1, patience=0.01)
    with busy(door, work):
        refused = Client(door).head("/imbox")

    assert (refused.status_code, refused.data) == (503, b"")


def test_a_request_that_comes_a_little_early_waits_for_a_place(work):
    door = Door(work, 1, patience=HANGS)
    with busy(door, work) as [inside], ThreadPoolExecutor(1) as clients:
        early = clients.submit(Client(door).get, "/imbox")
        work.go.set()

        assert inside.result().status_code == 200
        assert early.result().status_code == 200


def test_a_place_is_given_back_by_what_fails(work):
    door = Door(work, 1, patience=0.01)
    work.go.set()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            Client(door).get("/broken")

    assert Client(door).get("/imbox").status_code == 200


def test_some_paths_are_let_in_whatever_else_there_is_to_do(work):
    door = Door(work, 1, ["/livez"], patience=0.01)
    with busy(door, work), ThreadPoolExecutor(1) as clients:
        probe = clients.submit(Client(door).get, "/livez")
        until(lambda: work.begun == 2)
        work.go.set()

        assert probe.result().status_code == 200


class Lain:
    """A connection of which the system says that its request has lain there for so long."""

    def __init__(self, seconds):
        self._milliseconds = round(seconds * 1000)

    def getsockopt(self, _level, _option, size):
        return bytes(size - 4) + struct.pack("=I", self._milliseconds)


def come(door, late):
    """The status of a request that has lain in a queue for so many seconds."""
    environ = EnvironBuilder("/imbox").get_environ() | {"gunicorn.socket": Lain(late)}
    _, status, _ = run_wsgi_app(door, environ)
    return int(status.split()[0])


def test_what_comes_late_after_a_pause_is_answered_while_there_is_a_place(work):
    door = Door(work, 1, patience=HANGS)
    work.go.set()

    assert [come(door, late=2 * HANGS) for _ in range(20)] == [200] * 20


def test_what_comes_late_does_not_wait_for_a_place(work):
    door = Door(work, 1, patience=HANGS)
    with busy(door, work):
        assert come(door, late=2 * HANGS) == 503


def test_when_requests_have_come_late_for_some_time_they_are_refused_though_there_is_a_place(work):
    door = Door(work, 1, patience=0.5)
    work.go.set()
    until(lambda: come(door, late=1) == 503)

    assert [come(door, late) for late in (1, 0, 1)] == [503, 200, 200]


def test_what_came_late_before_a_pause_says_nothing_after_it(work):
    door = Door(work, 1, patience=0.05)
    work.go.set()
    until(lambda: come(door, late=1) == 503)
    pause = time.monotonic() + 0.1
    until(lambda: time.monotonic() > pause)

    assert come(door, late=1) == 200


def test_the_deadline_counts_from_the_arrival_of_a_request(ask):
    late = ask("view=ticket&externalId=late", environ_overrides={"gunicorn.socket": Lain(60)})

    assert "could not be asked in time" in late.text
    assert "could not be asked in time" not in ask("view=ticket&externalId=in-time").text


def test_linux_tells_how_long_a_request_has_lain_in_its_queues():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        client.sendall(b"GET /imbox HTTP/1.1\r\n\r\n")
        connection, _ = listener.accept()
        with connection:
            environ = {"gunicorn.socket": connection}
            until(lambda: 0.05 < waited(environ) < HANGS)
            client.sendall(b"GET /imbox HTTP/1.1\r\n\r\n")
            until(lambda: waited(environ) < 0.05)


@pytest.mark.parametrize("family", ["AF_UNIX", None])
def test_what_nobody_can_say_is_no_waiting(family):
    environ = {}
    ours, theirs = socket.socketpair() if family else (None, None)
    try:
        if ours:
            environ["gunicorn.socket"] = ours

        assert waited(environ) == 0
    finally:
        for end in filter(None, (ours, theirs)):
            end.close()


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "many", "²"])
def test_a_number_of_threads_that_is_none_stops_the_start(serve, text):
    with pytest.raises(SettingsError, match="WEB_THREADS is not a number of 1 or more"):
        serve(WEB_THREADS=text)


def test_places_are_24_unless_the_environment_says_otherwise():
    assert (places({}), places({"WEB_THREADS": "3"})) == (24, 3)


def test_the_server_has_its_door_before_the_key_is_looked_at(serve):
    app = serve(WEB_THREADS="1")
    inside, go = Event(), Event()

    def held():
        inside.set()
        assert go.wait(HANGS)
        return "held"

    assert isinstance(app, Flask)
    app.add_url_rule("/held", view_func=held)
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(app.test_client().get, "/held")
        try:
            assert inside.wait(HANGS)
            client = app.test_client()
            statuses = {path: client.get(path).status_code for path in ("/imbox", "/livez")}
            with_key = client.get("/imbox?view=chat", headers={"Authorization": basic(KEY)})
        finally:
            go.set()

        assert statuses == {"/imbox": 503, "/livez": 200}
        assert with_key.status_code == 503
        assert first.result().status_code == 200
