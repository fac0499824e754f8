"""What happens to requests when gunicorn's processes are stopped, started anew or killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from itertools import chain, count, takewhile
from pathlib import Path
from threading import Event

import pytest

ROOT = Path(__file__).parents[1]
KEY = "a-key-for-this-test-only"
HANGS = 20.0

#: knows everybody, once the file `open` is there, and notes who is asked for by which process
GATED = """
import os, time
from imbox_plugin.sources import Contact, DataSource, Key

class Gated(DataSource):
    keys = frozenset({Key.EXTERNAL_ID})

    def find(self, lookup):
        with (self.context.folder / "asked").open("a") as file:
            file.write(f"{os.getpid()} {lookup.external_id}\\n")
        while not (self.context.folder / "open").exists():
            time.sleep(0.01)
        return [Contact(name=f"Customer {lookup.external_id}", external_id=lookup.external_id)]
"""
SETTINGS = f"""
deadline = 30
[[sources]]
name = "shop"
type = "gated_of_test_processes:Gated"
threads = 100
[panels.default]
keys = [{{ id = "test", secret = "{KEY}" }}]
"""


def until(condition):
    """Wait for something that comes sooner or later."""
    end = time.monotonic() + HANGS
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


class Server:
    """Gunicorn as it is deployed, with two workers; customers are known once `open` is called."""

    def __init__(self, process, port, folder, clients):
        self.process, self._port, self._folder = process, port, folder
        self._clients = clients

    def open(self):
        (self._folder / "open").touch()

    def ask(self, number):
        """Who is shown for an external id; None: the connection was lost."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=HANGS)
        headers = {"Authorization": f"Bearer {KEY}"}
        try:
            connection.request("GET", f"/imbox?view=chat&externalId={number}", headers=headers)
            reply = connection.getresponse()
            return json.loads(reply.read())["contactName"] if reply.status == 200 else reply.status
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def start(self, *numbers):
        """Ask for these, and go on once a worker has put the question of each to the source."""
        replies = {number: self._clients.submit(self.ask, number) for number in numbers}
        until(lambda: set(numbers) <= {number for _, number in self.asked()})
        return replies

    def asked(self):
        """Who was asked for, and the process that had the request."""
        lines = (self._folder / "asked").read_text().splitlines()
        return [tuple(map(int, line.split())) for line in lines]

    def log(self):
        return (self._folder / "log").read_text()


@pytest.fixture
def server(tmp_path):
    (tmp_path / "gated_of_test_processes.py").write_text(GATED)
    (tmp_path / "imbox.toml").write_text(SETTINGS)
    (tmp_path / "asked").touch()
    environ = {
        **os.environ,
        "IMBOX_SETTINGS": str(tmp_path / "imbox.toml"),
        "WEB_CONCURRENCY": "2",
        # A worker may take all requests of a test: what has no thread would wait for one.
        "WEB_THREADS": "16",
    }
    with socket.create_server(("127.0.0.1", 0)) as listener, (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-m", "gunicorn", "wsgi:app"]
        with subprocess.Popen(  # noqa: S603 - our own
            [*command, "--bind", f"fd://{listener.fileno()}"],
            cwd=ROOT,
            env=environ,
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process:
            port = listener.getsockname()[1]
            listener.close()
            with ThreadPoolExecutor(16) as clients:
                server = Server(process, port, tmp_path, clients)
                try:
                    yield server
                finally:
                    server.open()
                    process.terminate()


def right(numbers):
    """The answers that these must get."""
    return {number: f"Customer {number}" for number in numbers}


def results(replies):
    return {number: reply.result() for number, reply in replies.items()}


def test_a_server_that_is_told_to_stop_answers_what_it_has_begun(server):
    replies = server.start(*range(12))
    server.process.send_signal(signal.SIGTERM)
    until(lambda: "Handling signal: term" in server.log())
    server.open()

    assert results(replies) == right(range(12))
    assert server.process.wait(HANGS) == 0


def test_a_server_that_starts_its_workers_anew_answers_old_and_new_requests(server):
    replies = server.start(*range(12))
    old = {process for process, _ in server.asked()}
    server.process.send_signal(signal.SIGHUP)
    until(lambda: server.log().count("Booting worker") == 4)
    later = server.start(*range(12, 16))
    server.open()

    assert results({**replies, **later}) == right(range(16))
    assert old.isdisjoint(process for process, number in server.asked() if number >= 12)


def test_new_workers_under_load_cost_no_request(server):
    server.open()
    stop = Event()

    def load(client):
        numbers = takewhile(lambda _: not stop.is_set(), count(client * 1_000_000))
        replies = ((number, server.ask(number)) for number in numbers)
        return [reply for number, reply in replies if reply != f"Customer {number}"]

    with ThreadPoolExecutor(8) as clients:
        loads = clients.map(load, range(8))
        try:
            for times in (1, 2, 3):
                seen = len(server.asked())
                until(lambda seen=seen: len(server.asked()) > seen + 50)
                server.process.send_signal(signal.SIGHUP)
                until(lambda times=times: server.log().count("Booting worker") == 2 + 2 * times)
                until(lambda times=times: server.log().count("Worker exiting") == 2 * times)
        finally:
            stop.set()

    assert [*chain(*loads)] == []


def test_a_worker_that_is_killed_costs_its_own_requests_alone_and_is_replaced(server):
    replies = server.start(*range(12))
    killed = server.asked()[0][0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: server.log().count("Booting worker") == 3)
    server.open()

    in_its_hands = {number for process, number in server.asked() if process == killed}
    others = right(set(range(12)) - in_its_hands)
    assert results(replies) == {**dict.fromkeys(in_its_hands), **others}
    assert results(server.start(*range(12, 16))) == right(range(12, 16))
