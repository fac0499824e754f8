"""Events in gunicorn's processes: what happens when these are killed or told to stop."""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest

from tests.servers import HANGS, KEY, serving, until

#: writes down what it gets, and by which process; waits for the file `open` before that
SINK = """
import os, time
from imbox_plugin import events
from imbox_plugin.sinks import EventSink

events.LEASE = 2.0

class Gated(EventSink):
    def deliver(self, event):
        (self.context.folder / f"has-{os.getpid()}").touch()
        while not (self.context.folder / "open").exists():
            time.sleep(0.01)
        with (self.context.folder / "delivered").open("a") as file:
            file.write(f"{os.getpid()} {event.data['number']}\\n")
"""
SETTINGS = """
secret_keys = ["a-secret-key-of-this-test-only"]
[events]
sink = { type = "sink_of_test_events_processes:Gated" }
[[sources]]
name = "shop"
type = "inline"
people = []
[panels.default]
keys = [{ id = "test", secret = { env = "IMBOX_API_KEY" } }]
hooks = { wazzup = { keys = [{ id = "test", secret = { env = "IMBOX_API_KEY" } }] } }
"""


@contextmanager
def server(folder, workers, options=""):
    """A server whose sink takes nothing until the gate is open, as it is in the end."""
    (folder / "sink_of_test_events_processes.py").write_text(SINK)
    environ = {"WEB_CONCURRENCY": str(workers), "GUNICORN_CMD_ARGS": options}
    with serving(folder, SETTINGS, **environ) as server:
        try:
            yield server
        finally:
            server.open()


def tell(server, number):
    """Send a webhook that is kept, and give the status; it comes once the event is on disk."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=HANGS)
    body = json.dumps({"createDeal": {"number": number}})
    connection.request("POST", "/hooks/wazzup/default", body, {"Authorization": f"Bearer {KEY}"})
    status = connection.getresponse().status
    connection.close()
    return status


def holders(folder):
    """The processes that are delivering, or have."""
    return {int(file.name.removeprefix("has-")) for file in folder.glob("has-*")}


def delivered(folder):
    file = folder / "delivered"
    lines = file.read_text().splitlines() if file.exists() else []
    return [tuple(map(int, line.split())) for line in lines]


@pytest.mark.parametrize("options", ["", "--preload"])
def test_a_worker_that_is_killed_after_it_accepted_costs_no_event(tmp_path, options):
    with server(tmp_path, 2, options) as one:
        statuses = [tell(one, number) for number in range(8)]
        until(lambda: holders(tmp_path))
        killed = holders(tmp_path)
        for process in killed:
            os.kill(process, signal.SIGKILL)
        one.open()
        until(lambda: len(delivered(tmp_path)) == 8)

    assert statuses == [200] * 8
    assert sorted(number for _, number in delivered(tmp_path)) == [*range(8)]
    assert killed.isdisjoint(process for process, _ in delivered(tmp_path))


def test_what_a_killed_server_left_is_delivered_by_the_next_without_a_request(tmp_path):
    with server(tmp_path, 1) as one:
        tell(one, 1)
        until(lambda: holders(tmp_path))
        one.kill()
    before = delivered(tmp_path)
    with server(tmp_path, 2):
        until(lambda: delivered(tmp_path))

    assert before == []
    assert [number for _, number in delivered(tmp_path)] == [1]


def test_a_server_that_is_told_to_stop_ends_the_delivery_it_has_begun(tmp_path):
    with server(tmp_path, 1) as one:
        tell(one, 1)
        until(lambda: holders(tmp_path))
        one.process.send_signal(signal.SIGTERM)
        until(lambda: "Worker exiting" in one.log())
        one.open()
        code = one.process.wait(HANGS)
    first = delivered(tmp_path)
    with server(tmp_path, 1) as again:
        tell(again, 2)
        until(lambda: len(delivered(tmp_path)) == 2)

    assert code == 0
    assert [number for _, number in first] == [1]
    assert [number for _, number in delivered(tmp_path)] == [1, 2]
