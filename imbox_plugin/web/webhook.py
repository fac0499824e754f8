"""The webhook: what ImBox calls when an agent opens a chat, ticket, call or contact."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from socket import SHUT_RD, socket
from threading import Timer
from types import MappingProxyType
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Blueprint, Response, after_this_request, current_app, request
from marshmallow import Schema, ValidationError
from werkzeug.wrappers import Request

from imbox_plugin.events import Courier
from imbox_plugin.formats import Formats
from imbox_plugin.identity import normal_form
from imbox_plugin.lint import Linter
from imbox_plugin.model import STRENGTH, Key, Lookup, View
from imbox_plugin.panel import Panel
from imbox_plugin.recorder import Recorder
from imbox_plugin.settings import Settings
from imbox_plugin.tickets import Tickets
from imbox_plugin.web.auth import Gate
from imbox_plugin.web.errors import Refusal, json_headers, json_response
from imbox_plugin.web.open import Inbox
from imbox_plugin.web.overload import ARRIVED
from imbox_plugin.web.replies import Place, Replies
from schemas.probe import CANDIDATE, probe_reply
from schemas.request import MAX_BODY, LookupSchema, body_parameters

_log = logging.getLogger(__name__)

#: a query that says at a glance that it has no `plugin`: no name in it is encoded, all is ASCII
_PLAIN = re.compile(rb"(?!plugin)[A-Za-z]+=[!-%'-~]*(?:&(?!plugin)[A-Za-z]+=[!-%'-~]*)*")

#: the panel of `/imbox` without more words
DEFAULT_PANEL = "default"

_ROOT = "/imbox"
#: seconds for which a body is waited, and then for one more piece of it
_BODY_PATIENCE = 0.5
#: where the shortcut tells the app of the place for a reply
_PLACE = "imbox_plugin.place"


@dataclass(frozen=True, slots=True)
class Service:
    """Everything a request needs. Built once, kept in `app.extensions["imbox_plugin"]`."""

    panels: Mapping[str, Panel]
    #: of the panels, and of those that only probe
    gates: Mapping[str, Gate]
    lookup_schema: LookupSchema
    reply_schema: Schema
    #: of phone numbers that ImBox sends written nationally
    default_region: str | None
    #: refuse an identity without a normal form, instead of going on without it
    strict: bool
    #: made before, to be sent again; None: each is made anew
    replies: Replies | None
    linter: Linter
    recorder: Recorder
    settings: Settings = field(repr=False)
    #: the locale
    formats: Formats
    #: the server's own public address
    base_url: str | None = None
    #: that stand before the server and tell whom they speak for
    proxies: int = 0
    #: seals and reads the addresses behind `/open/`; None: there are none
    tickets: Tickets | None = None
    #: takes what vendors' windows tell; None: nobody does
    inbox: Inbox | None = None
    #: takes and answers events; None: the settings say nowhere to deliver them
    courier: Courier | None = None
    #: by panel, who may tell what Wazzup wants to be created
    wazzup: Mapping[str, Gate] = field(default_factory=dict)

    def read(self, parameters: Mapping[str, Sequence[str]]) -> Lookup:
        """The lookup that the parameters of a request ask for.

        Raises:
            ValidationError: by parameter, what is wrong.
        """
        loaded = self.lookup_schema.load(parameters)
        forms = {
            key: normal_form(key, loaded[key], self.default_region)
            for key in STRENGTH
            if key in loaded
        }
        unusable = [key for key, form in forms.items() if form is None]
        if unusable and self.strict:
            reason = "incomplete or not valid, so nobody can be found by it"
            raise ValidationError({self.parameter(key): [reason] for key in unusable})
        return Lookup(
            view=View(loaded["view"]),
            identities=MappingProxyType({key: form for key, form in forms.items() if form}),
            unusable=frozenset(unusable),
            ticket_id=loaded.get("ticket_id"),
            channel_id=loaded.get("channel_id"),
            call_id=loaded.get("call_id"),
            extras=MappingProxyType(loaded["extras"]),
        )

    def parameter(self, key: Key) -> str:
        """What ImBox calls a key."""
        return self.lookup_schema.fields[key].data_key or key.value


class Shortcut:
    """Sends a reply again before the app is asked: routes and contexts take longer than all else.

    Args:
        app: what is behind it.
        service: its panels, keys and replies.
        replies: made before.
    """

    def __init__(self, app: WSGIApplication, service: Service, replies: Replies) -> None:
        self._app, self._service, self._replies = app, service, replies
        self._headers = json_headers()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as WSGI has it (PEP 3333)."""
        place = environ[_PLACE] = self._place(environ)
        if place is None or place.body is None:
            return self._app(environ, start_response)
        length = ("Content-Length", str(len(place.body)))
        start_response("200 OK", [*self._headers, length])
        return [place.body]

    def _place(self, environ: WSGIEnvironment) -> Place | None:
        """Where the reply is, or will be; None: the app itself has to look at the request."""
        root, slash, path = environ["PATH_INFO"].removeprefix("/").partition("/")
        if environ["REQUEST_METHOD"] != "GET" or f"/{root}" != _ROOT or bool(slash) != bool(path):
            return None
        request = Request(environ)
        try:
            name = _admitted(self._service, request, path)
        except Refusal:
            return None
        # A probe has no reply to keep, and what is recorded is recorded by the app.
        if name not in self._service.panels or self._service.recorder.is_on:
            return None
        return self._replies.find(name, request.query_string)


def blueprint() -> Blueprint:
    """`GET|POST /imbox` and `/imbox/<panel>`."""
    routes = Blueprint("webhook", __name__)
    for rule in (_ROOT, f"{_ROOT}/<panel>"):
        # With `merge_slashes` /imbox//x would be sent on to /imbox/x, identity and all, and to
        # http where a proxy ends TLS.
        routes.add_url_rule(
            rule,
            view_func=_answer,
            methods=["GET", "POST"],
            provide_automatic_options=False,
            merge_slashes=False,
        )
    return routes


def addressed(
    path: str, named: Iterable[str], gates: Collection[str], panels: Collection[str]
) -> str | None:
    """The name of the panel that a request is for; None: there is no such panel.

    Args:
        path: what follows `/imbox/`; it goes before all else.
        named: the values of `plugin`, the first of which that is not blank goes before the rest.
        gates: the panels that can be named.
        panels: those that are asked when none is: the default one, or the only one.
    """
    chosen = path or next(filter(str.strip, named), "")
    if chosen:
        return chosen.strip() if chosen.strip() in gates else None
    if DEFAULT_PANEL in panels:
        return DEFAULT_PANEL
    return next(iter(panels)) if len(panels) == 1 else None


def _answer(panel: str = "") -> Response:
    service: Service = current_app.extensions["imbox_plugin"]
    # Where there is one, the shortcut has let the request in.
    place: Place | None = request.environ.get(_PLACE)
    try:
        name = place.panel if place else _admitted(service, request, panel)
    except Refusal as refusal:
        _note(service.recorder, refusal)
        raise
    body = _body()
    if service.recorder.is_on:
        after_this_request(partial(_kept, service.recorder, body))
    if name not in service.panels:
        return json_response(probe_reply(request.args.get(CANDIDATE, ""), request.args))
    try:
        lookup = service.read(_parameters(service.lookup_schema, body))
    except ValidationError as error:
        detail = "A parameter is missing or wrong."
        raise Refusal(HTTPStatus.BAD_REQUEST, detail, error.messages_dict) from None
    if request.method == "HEAD":
        # Nobody is looked up for an answer that is not sent, so its length is not known.
        response = Response(headers=json_headers())
        response.automatically_set_content_length = False
        return response
    # The deadline counts from the arrival, not from when there was a place for the request.
    now = time.monotonic()
    answer = service.panels[name].answer(lookup, now - request.environ.get(ARRIVED, now))
    response = json_response(service.reply_schema.dump(answer.reply))
    if service.replies and place and answer.fresh:
        service.replies.keep(place, response.get_data(), answer.fresh)
    return response


def _admitted(service: Service, request: Request, path: str) -> str:
    """The panel that a request is for and has a key of."""
    name = _panel_name(service, request, path)
    key_id = service.gates[name].key_id(request)
    if key_id is None:
        raise Refusal(HTTPStatus.UNAUTHORIZED, "No valid key came with the request.")
    _log.debug("panel %s opened by key %s", name, key_id)
    return name


def _panel_name(service: Service, request: Request, path: str) -> str:
    """The panel that a request is for."""
    try:
        named = [] if _PLAIN.fullmatch(request.query_string) else request.args.getlist("plugin")
    except UnicodeDecodeError:
        # Werkzeug leaves an encoded byte that is no UTF-8 as it is, but fails on a raw one.
        detail = "The query is not UTF-8 text; percent-encode it."
        raise Refusal(HTTPStatus.BAD_REQUEST, detail) from None
    name = addressed(path, named, service.gates, service.panels)
    if name is not None:
        return name
    blank = not any(map(str.strip, named))
    reason = "missing; several panels share this server" if blank else "names no panel"
    raise Refusal(
        HTTPStatus.NOT_FOUND,
        "There is no such panel; correct the address, /imbox/<panel>, or `plugin`.",
        {} if path else {"plugin": [reason]},
    )


def _note(recorder: Recorder, refusal: Refusal) -> None:
    """Tell the recorder of a request that was not let in: perhaps ImBox, with a wrong key."""
    # A query that is no text cannot be looked into.
    if refusal.status != HTTPStatus.BAD_REQUEST and recorder.is_on:
        recorder.refuse(
            query=request.args, headers=dict(request.headers), status=refusal.status.value
        )


def _kept(recorder: Recorder, body: bytes, response: Response) -> Response:
    recorder.keep(
        method=request.method,
        path=request.path,
        query=dict(request.args.lists()),
        headers=dict(request.headers),
        body=body,
        status=response.status_code,
    )
    return response


def _body() -> bytes:
    """The body of a POST, or as much of it as is looked into."""
    if request.method != "POST":
        return b""
    try:
        with _in_time(request.environ.get("gunicorn.socket")):
            return request.stream.read(MAX_BODY + 1)
    except Exception:  # noqa: BLE001
        # A body that breaks off is no reason to fail: it is static, and all it has is extras.
        # After an error gunicorn takes no other request from that connection.
        return b""


@contextmanager
def _in_time(connection: socket | None) -> Iterator[None]:
    """Let what waits for a connection fail soon; None: another server than gunicorn has its own."""
    if connection is None:
        yield
        return
    before = connection.gettimeout()
    # The limit of a connection begins anew with each piece, and a body may come as single bytes. So
    # in the end only what is there already is taken.
    end = Timer(_BODY_PATIENCE, connection.settimeout, [0.0])
    end.start()
    connection.settimeout(_BODY_PATIENCE)
    try:
        yield
    except (TimeoutError, BlockingIOError):
        # Before it closes the connection gunicorn would wait for the rest, for two seconds and in
        # the thread that takes all connections.
        connection.shutdown(SHUT_RD)
        raise
    finally:
        end.cancel()
        # It must not come between an answer and its sending.
        end.join()
        connection.settimeout(before)


def _parameters(schema: LookupSchema, body: bytes) -> dict[str, list[str]]:
    """The query's parameters, and after them, so that they count for less, a POST body's."""
    query = dict(request.args.lists())
    if body:
        for name, values in body_parameters(body, schema.parameters).items():
            query.setdefault(name, []).extend(values)
    return query
