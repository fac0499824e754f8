"""A server that plays the API of a vendor, by the recordings of its documented answers."""

from __future__ import annotations

import json
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qsl, unquote, urlsplit

FOLDER = Path(__file__).parent / "recordings" / "upstream"


class Asked:
    """One request, as it came in."""

    def __init__(self, method, target, headers, body):
        self.method = method
        self.target = target
        parts = urlsplit(target)
        self.path = parts.path
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.headers = headers
        is_json = headers.get("Content-Type", "").startswith("application/json")
        self.json = json.loads(body) if is_json else None
        self.form = dict(parse_qsl(body.decode())) if body and not is_json else {}

    def fits(self, recorded):
        """Whether it is the recorded request; `*` there stands for anything."""
        return recorded.get("path") is not None and all(
            (
                recorded["method"] == self.method,
                _fits(recorded["path"].split("/"), [*map(unquote, self.path.split("/"))]),
                _fits(recorded.get("query", {}), self.query),
                _fits(recorded.get("json"), self.json),
                _fits(recorded.get("form", {}), self.form),
            )
        )

    def is_let_in(self, recorded):
        given = recorded.get("headers", {})
        return all(self.headers.get(name) == value for name, value in given.items())


class Vendor:
    """The recordings of one vendor, and what it was asked."""

    def __init__(self, name):
        self.name = name
        self.recordings = {
            file.stem.partition("__")[2]: json.loads(file.read_text("utf-8"))
            for file in sorted(FOLDER.glob(f"{name}__*.json"))
        }
        self.asked = []
        self.played = set()
        self.url = ""
        #: situations to play before all else, one for each request
        self.next = deque()
        #: a situation to play to every request
        self.always = None

    def reply(self, asked):
        self.asked.append(asked)
        situation = self.next.popleft() if self.next else self.always or self._situation(asked)
        self.played.add(situation)
        return self.recordings[situation]["reply"]

    def _situation(self, asked):
        fitting = [name for name, one in self.recordings.items() if asked.fits(one["request"])]
        # The one with the fewest wildcards says most.
        fitting.sort(key=lambda name: json.dumps(self.recordings[name]["request"]).count("*"))
        if not fitting:
            return "not_recorded"
        is_let_in = asked.is_let_in(self.recordings[fitting[0]]["request"])
        return fitting[0] if is_let_in else "not_let_in"


@contextmanager
def playing(name):
    """The vendor's API on 127.0.0.1."""
    vendor = Vendor(name)
    vendor.recordings["not_recorded"] = {"request": {}, "reply": {"status": 501, "json": None}}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply = vendor.reply(Asked(self.command, self.path, self.headers, body))
            answer = reply["text"] if "text" in reply else json.dumps(reply["json"])
            self.send_response(reply["status"])
            for header, value in reply.get("headers", {}).items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(answer.encode())))
            self.end_headers()
            self.wfile.write(answer.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    vendor.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield vendor
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _fits(recorded, given):
    match recorded:
        case "*":
            return True
        case dict():
            same = isinstance(given, dict) and recorded.keys() == given.keys()
            return same and all(_fits(recorded[name], given[name]) for name in recorded)
        case list():
            same = isinstance(given, list) and len(recorded) == len(given)
            return same and all(map(_fits, recorded, given))
        case _:
            return recorded == given
