"""The workbench: what an agent would see, beside how it came about, before ImBox ever calls."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, render_template, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from marshmallow import ValidationError

from imbox_plugin.html import witnessed
from imbox_plugin.model import Finding, Key, Lookup, Reply, View
from imbox_plugin.testing.recordings import (
    Answered,
    Recording,
    RecordingError,
    difference,
    read_recording,
    write,
)
from imbox_plugin.web.auth import Gate
from imbox_plugin.web.errors import Refusal, json_response
from imbox_plugin.web.webhook import Service, addressed
from schemas.request import body_parameters, parameter_kinds

PATH = "/workbench"
#: bytes of a question
_MOST = 65_536
_LOOKS = RateLimitItemPerMinute(120, namespace="looks")
_KNOCKS = RateLimitItemPerMinute(30, namespace="knocks")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,80}")
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: what a proxy adds; a request with one of these comes from elsewhere
_FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The card's html has a document of its own: without an origin, and with styles, as the settings may
# trust an element to have them. No script that comes with it runs, and it leads nowhere by itself.
_FRAME_POLICY = (
    "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    "script-src 'self'; style-src 'self' 'unsafe-inline'; img-src https: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
#: SHA-256 of the demo's settings, whose people are invented; a change of them changes it, too
DEMO = "fc171378d0fdbd46c31ae5f56fc2d74c6eb2075164ee3534c52f89c2e194eb8d"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the workbench.

    It shows customers, so it needs a key. The demo shows people who do not exist; with the demo's
    settings, untouched, on a server that listens to its own machine only, it needs none.
    """

    #: checks the keys; None: there are none
    gate: Gate | None
    #: whether requests from this machine itself need no key
    demo: bool

    def lets_in(self) -> bool:
        """Whether the request at hand may look."""
        return self.has_key() or (self.demo and _is_local())

    def has_key(self) -> bool:
        """Whether the request at hand brings a key; without one nothing is written."""
        return self.gate is not None and self.gate.key_id(request) is not None


def is_demo(settings: Path, environ: Mapping[str, str]) -> bool:
    """Whether a server with these settings shows invented people to its own machine only."""
    digest = hashlib.sha256(settings.read_bytes()).hexdigest()
    return digest == DEMO and _is_loopback(environ.get("HOST", "127.0.0.1"))


class Workbench:
    """Shows cards and how they came about. Built once at start, used from many threads.

    Args:
        service: what answers ImBox.
        access: who may use it.
        folder: of the integrator's recordings.
        settings: the settings file; recordings that were made with others are left out.
    """

    def __init__(self, service: Service, access: Access, folder: Path, settings: Path) -> None:
        self._service, self._access = service, access
        self._folder, self._settings = folder, settings.resolve()
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def blueprint(self) -> Blueprint:
        """`/workbench` with its files."""
        routes = Blueprint(
            "workbench",
            __name__,
            template_folder="templates",
            static_folder="static",
            static_url_path=f"{PATH}/static",
        )
        for rule, view, method in (
            (PATH, self.page, "GET"),
            (f"{PATH}/frame", self.frame, "GET"),
            (f"{PATH}/look", self.look, "POST"),
            (f"{PATH}/recordings", self.recordings, "GET"),
            (f"{PATH}/recordings", self.save, "POST"),
        ):
            routes.add_url_rule(
                rule, view.__name__, view, methods=[method], provide_automatic_options=False
            )
        routes.before_request(self._guard)
        return routes

    def page(self) -> Response:
        """The page itself; all that it shows is asked for by its script."""
        parameters = self._service.lookup_schema.fields
        names = {name: field.data_key or name for name, field in parameters.items()}
        markup = render_template(
            "workbench.html",
            panels=list(self._service.panels),
            views=[view.value for view in View],
            names=names,
            demo=self._access.demo,
            saves=self._access.has_key(),
        )
        return Response(markup, headers={"Content-Security-Policy": _POLICY}, mimetype="text/html")

    def frame(self) -> Response:
        """The document that html elements are shown in, still empty."""
        markup = render_template("frame.html")
        headers = {"Content-Security-Policy": _FRAME_POLICY}
        return Response(markup, headers=headers, mimetype="text/html")

    def look(self) -> Response:
        """A card, and how it came about.

        The body is `{"panel", "query": {parameter: text or texts}, "recording"?}`.
        """
        asked = _body()
        panel, query = self._panel(asked), self._query(asked)
        began = time.perf_counter()
        try:
            lookup = self._service.read(query)
        except ValidationError as error:
            detail = "A parameter is missing or wrong; ImBox would get this answer, too."
            raise Refusal(HTTPStatus.BAD_REQUEST, detail, error.messages_dict) from None
        with witnessed() as witness:
            answer = self._service.panels[panel].answer(lookup)
        spent = time.perf_counter() - began
        document = self._service.reply_schema.dump(answer.reply)
        remarks = self._service.linter.card(answer.reply, witness.made)
        recording = asked.get("recording")
        differs = self._difference(recording, document) if isinstance(recording, str) else None
        return json_response(
            {
                "reply": document,
                "names": self._service.linter.names,
                "identities": list(self._identities(panel, lookup)),
                "icons": dict(self._icons(answer.reply)),
                "findings": [_told(finding) for finding in answer.findings],
                "sources": self._states(panel),
                "remarks": [asdict(remark) for remark in remarks],
                "seconds": spent,
                "curl": self._curl(panel, query),
                "difference": differs,
            }
        )

    def recordings(self) -> Response:
        """What can be chosen from: recordings that belong to these settings, and kept requests."""
        kept = [
            {
                "name": one.name,
                "about": f"{one.at[:16].replace('T', ' ')} UTC, answered {one.status}",
                "panel": panel,
                "query": one.query,
            }
            for one in self._service.recorder.kept()
            if (panel := self._addressed(one.path, one.query))
        ]
        own = [
            {
                "name": name,
                "about": recording.about,
                "panel": self._addressed(recording.path, query),
                "query": query,
            }
            for name, (recording, query) in self._own().items()
        ]
        return json_response({"recordings": own, "kept": kept})

    def save(self) -> Response:
        """Save what is on the page as a recording: `{"name", "about", "panel", "query"}`."""
        asked = _body()
        name, about = asked.get("name"), asked.get("about")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _wrong("name", "use lower-case letters, digits, _ and -, such as chat__known")
        if not isinstance(about, str) or len(about.strip()) < 10:  # noqa: PLR2004
            raise _wrong("about", "say in a sentence what it shows")
        panel, query = self._panel(asked), self._query(asked)
        if not self._access.has_key():
            raise Refusal(HTTPStatus.FORBIDDEN, "Without a key under [workbench] nothing is saved.")
        file = self._folder / f"{name}.json"
        if file.exists():
            raise _wrong("name", "there is a recording of this name; take another")
        try:
            lookup = self._service.read(query)
        except ValidationError as error:
            detail = "A parameter is missing or wrong."
            raise Refusal(HTTPStatus.BAD_REQUEST, detail, error.messages_dict) from None
        document = self._service.reply_schema.dump(self._service.panels[panel].answer(lookup).reply)
        plain = {name: values[0] if len(values) == 1 else values for name, values in query.items()}
        recording = {
            "about": about.strip(),
            "origin": "Made in the workbench.",
            "request": {"path": f"/imbox/{panel}", "query": plain},
            "reply": {"status": HTTPStatus.OK.value, "json": document},
        }
        try:
            write(file, recording)
        except RecordingError as error:
            raise Refusal(HTTPStatus.CONFLICT, str(error)) from None
        return json_response({"name": name})

    def _guard(self) -> None:
        """Let nobody in but who may; see that nobody tries keys or asks without end."""
        whose = request.remote_addr or ""
        if request.endpoint == "workbench.static":
            return
        # Before the key is looked at, so that a right one shows no more than a wrong one.
        if not self._limiter.test(_KNOCKS, whose):
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "Too many tries; wait a minute.")
        if not self._access.lets_in():
            self._limiter.hit(_KNOCKS, whose)
            detail = "The workbench needs one of the keys under [workbench], as the password."
            raise Refusal(HTTPStatus.UNAUTHORIZED, detail)
        # A browser sends a stored key along with whatever another site makes it ask. The page may
        # be linked to: it shows nobody.
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in {"same-origin", "none"} and request.endpoint != "workbench.page":
            raise Refusal(HTTPStatus.FORBIDDEN, "Another site sent this.")
        if request.method == "POST" and not self._limiter.hit(_LOOKS, whose):
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "Too many questions; wait a minute.")

    def _panel(self, asked: Mapping[str, Any]) -> str:
        panel = asked.get("panel")
        if not isinstance(panel, str) or panel not in self._service.panels:
            raise _wrong("panel", "names no panel")
        return panel

    def _query(self, asked: Mapping[str, Any]) -> dict[str, list[str]]:
        """The parameters of the question, without a key: it is neither shown nor saved."""
        kinds = parameter_kinds(self._service.lookup_schema)
        return {name: values for name, values in _query(asked).items() if kinds.get(name) != "key"}

    def _own(self) -> dict[str, tuple[Recording, dict[str, list[str]]]]:
        """The recordings in the folder that belong to these settings, by name; and their query."""
        found = {}
        for file in sorted(self._folder.glob("*.json")):
            try:
                recording = read_recording(file)
            except RecordingError:
                # `flask replay` says what is wrong with it.
                continue
            own = recording.settings is None or recording.settings.resolve() == self._settings
            shown = recording.status == HTTPStatus.OK and recording.method in {"GET", "POST"}
            query = self._query_of(recording)
            if own and shown and self._addressed(recording.path, query):
                found[file.stem] = recording, query
        return found

    def _query_of(self, recording: Recording) -> dict[str, list[str]]:
        """Its parameters, those of a body after those of the query."""
        query = recording.parameters
        if recording.body and recording.method == "POST":
            names = self._service.lookup_schema.parameters
            for name, values in body_parameters(recording.body.encode(), names).items():
                query.setdefault(name, []).extend(values)
        return query

    def _addressed(self, path: str, query: Mapping[str, Sequence[str]]) -> str | None:
        """The panel that a request goes to; None: there is none, or one that only probes."""
        panels = self._service.panels
        rest = path.removeprefix("/imbox").strip("/")
        return addressed(rest, query.get("plugin", ()), panels, panels)

    def _difference(self, name: str, document: Any) -> str | None:
        """What differs from a recording's reply, line by line; None: there is no such recording."""
        own = self._own()
        if name not in own:
            return None
        recording, _ = own[name]
        return difference(recording, Answered(HTTPStatus.OK.value, document))

    def _identities(self, panel: str, lookup: Lookup) -> Iterator[dict[str, Any]]:
        """What became of each identity that was sent: its normal form, or why it is no key."""
        searched = self._service.panels[panel].searched(lookup)
        for key in Key:
            if key in searched.identities:
                form, why = searched.identities[key], ""
            elif key in lookup.unusable:
                form, why = None, "incomplete or not valid, so nobody is searched by it"
            elif key in searched.distrusted:
                form, why = None, f"not trusted in the view {lookup.view}"
            else:
                continue
            yield {"name": self._service.parameter(key), "form": form, "why": why}

    def _icons(self, reply: Reply) -> Iterator[tuple[str, str]]:
        for name in {block.icon for block in reply.blocks}:
            path = self._service.linter.icons.path(name)
            if path is not None:
                yield name, path

    def _states(self, panel: str) -> dict[str, dict[str, Any]]:
        """How it stands with each source of the panel."""
        directory = self._service.panels[panel].directory
        return {
            source.context.name: {"status": state.status, "age": state.age}
            for source, guard in zip(directory.sources, directory.guards, strict=True)
            for state in [guard.breaker.state]
        }

    def _curl(self, panel: str, query: Mapping[str, Sequence[str]]) -> str:
        """The same question as ImBox would put it, for a terminal; the key is a variable there."""
        base = (self._service.base_url or request.host_url).rstrip("/")
        address = f"{base}/imbox/{panel}?{urlencode(query, doseq=True, quote_via=quote)}"
        header = '"Authorization: Basic $(printf %s "$IMBOX_API_KEY" | base64 | tr -d \'\\n\')"'
        return f"curl -H {header} \\\n  {shlex.quote(address)}"


def _body() -> Mapping[str, Any]:
    """The JSON object that was sent. A form of another site cannot send JSON unasked."""
    if request.mimetype != "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A question is JSON.")
    body = request.stream.read(_MOST + 1)
    try:
        document = json.loads(body) if len(body) <= _MOST else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, "A question is an object of at most 64 KB.")
    return document


def _query(asked: Mapping[str, Any]) -> dict[str, list[str]]:
    """The parameters of the question; what is empty was not filled in."""
    given = asked.get("query")
    if not isinstance(given, dict):
        raise _wrong("query", "must be an object")
    query = {}
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in values):
            raise _wrong(name, "must be a text or a list of texts")
        if any(values):
            query[name] = values
    return query


def _told(finding: Finding) -> dict[str, Any]:
    """A finding as the page shows it; without the contact, which is on the card."""
    match = finding.match
    return {
        "source": finding.source,
        "outcome": finding.outcome,
        "asked": finding.asked,
        "count": finding.count,
        "dropped": finding.dropped,
        "reason": finding.reason,
        "via": match.via if match else None,
        "seconds": finding.seconds,
        "age": finding.age,
        "is_stale": finding.is_stale,
    }


def _wrong(field: str, reason: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "The question is wrong.", {field: [reason]})


def _is_local() -> bool:
    """Whether a browser or a command of this machine itself asks, by one of its own names.

    The name keeps away a page elsewhere whose own name leads here (DNS rebinding).
    """
    name = re.sub(r":\d+\Z", "", request.headers.get("Host", "")).lower()
    if any(header in request.headers for header in _FORWARDED):
        return False
    return name in _LOCAL_NAMES and _is_loopback(request.remote_addr or "")


def _is_loopback(address: str) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False
