"""Servers as they are deployed: gunicorn's processes, each server on a port of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.places import KEY

ROOT = Path(__file__).parents[1]
HANGS = 20.0

#: knows everybody, once the file `open` is there, and notes who is asked for by which process
_GATED = """
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
_GATED_SETTINGS = """
deadline = 30
[[sources]]
name = "shop"
type = "gated_source:Gated"
threads = 100
cache = false
[panels.default]
keys = [{ id = "test", secret = { env = "IMBOX_API_KEY" } }]
"""


def until(condition):
    """Wait for something that comes sooner or later."""
    end = time.monotonic() + HANGS
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


class Server:
    """One server, and the folder with its settings and its log."""

    def __init__(self, process, port, folder):
        self.process, self.port, self.folder = process, port, folder

    def fetch(self, target, connection=None):
        """What is answered, read to its end; raises where the connection is lost."""
        own = connection or HTTPConnection("127.0.0.1", self.port, timeout=HANGS)
        try:
            own.request("GET", target, headers={"Authorization": f"Bearer {KEY}"})
            reply = own.getresponse()
            reply.body = reply.read()
            return reply
        finally:
            if not connection:
                own.close()

    def ask(self, number, panel="default"):
        """Who is shown for an external id, or the status; None: the connection was lost."""
        try:
            reply = self.fetch(f"/imbox/{panel}?view=chat&externalId={number}")
        except (OSError, HTTPException):
            return None
        return json.loads(reply.body)["contactName"] if reply.status == 200 else reply.status

    def open(self):
        """Let a gated source answer."""
        (self.folder / "open").touch()

    def asked(self):
        """Who a gated source was asked for, and the process that had the request."""
        lines = (self.folder / "asked").read_text().splitlines()
        return [tuple(map(int, line.split())) for line in lines]

    def log(self):
        return (self.folder / "log").read_text()

    def workers(self):
        """The processes that answer, those included that have ended."""
        return [int(number) for number in re.findall(r"Booting worker with pid: (\d+)", self.log())]

    def kill(self):
        """End all its processes at once, as a machine that loses its power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def serving(folder, settings, **environ):
    """A server with two workers; its settings, log and plugins are in the folder."""
    (folder / "imbox.toml").write_text(settings, "utf-8")
    environ = {
        **os.environ,
        "IMBOX_SETTINGS": str(folder / "imbox.toml"),
        "IMBOX_API_KEY": KEY,
        "WEB_CONCURRENCY": "2",
        **environ,
    }
    with socket.create_server(("127.0.0.1", 0)) as listener, (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "gunicorn", "wsgi:app"]
        with subprocess.Popen(  # noqa: S603 - our own
            [*command, "--bind", f"fd://{listener.fileno()}"],
            cwd=ROOT,
            env=environ,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process:
            port = listener.getsockname()[1]
            listener.close()
            try:
                yield Server(process, port, folder)
            finally:
                with suppress(ProcessLookupError):
                    process.terminate()


@contextmanager
def gated(folder, settings=_GATED_SETTINGS, **environ):
    """A server whose source answers nobody until the gate is open, as it is in the end."""
    (folder / "gated_source.py").write_text(_GATED)
    (folder / "asked").touch()
    with serving(folder, settings, **environ) as server:
        try:
            yield server
        finally:
            server.open()
