"""The webhook: what ImBox calls when an agent opens a chat, ticket, call or contact."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

from flask import Blueprint, Response, current_app, request
from marshmallow import Schema, ValidationError

from imbox_plugin.identity import normal_form
from imbox_plugin.model import Key, Lookup, View
from imbox_plugin.panel import Panel
from imbox_plugin.web.auth import Gate
from imbox_plugin.web.errors import Refusal, json_response
from schemas.request import MAX_BODY, LookupSchema, body_parameters

_log = logging.getLogger(__name__)

#: the panel of `/imbox` without more words
DEFAULT_PANEL = "default"


@dataclass(frozen=True, slots=True)
class Service:
    """Everything a request needs. Built once, kept in `app.extensions["imbox_plugin"]`."""

    panels: Mapping[str, Panel]
    gates: Mapping[str, Gate]
    lookup_schema: LookupSchema
    reply_schema: Schema
    #: of phone numbers that ImBox sends written nationally
    default_region: str | None
    #: refuse an identity without a normal form, instead of going on without it
    strict: bool

    def read(self, parameters: Mapping[str, Sequence[str]]) -> Lookup:
        """The lookup that the parameters of a request ask for.

        Raises:
            ValidationError: by parameter, what is wrong.
        """
        loaded = self.lookup_schema.load(parameters)
        forms = {
            key: normal_form(key, loaded[key.value], self.default_region)
            for key in Key
            if key.value in loaded
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
        return self.lookup_schema.fields[key.value].data_key or key.value


def blueprint() -> Blueprint:
    """`GET|POST /imbox` and `/imbox/<panel>`."""
    routes = Blueprint("webhook", __name__)
    for rule in ("/imbox", "/imbox/<panel>"):
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


def _answer(panel: str | None = None) -> Response:
    service: Service = current_app.extensions["imbox_plugin"]
    name = _panel_name(service, panel)
    key_id = service.gates[name].key_id(request)
    if key_id is None:
        raise Refusal(HTTPStatus.UNAUTHORIZED, "No valid key came with the request.")
    _log.debug("panel %s opened by key %s", name, key_id)
    try:
        lookup = service.read(_parameters(service.lookup_schema))
    except ValidationError as error:
        detail = "A parameter is missing or wrong."
        raise Refusal(HTTPStatus.BAD_REQUEST, detail, error.messages_dict) from None
    if request.method == "HEAD":
        # Nobody is looked up for an answer that is not sent, so its length is not known.
        response = Response(mimetype="application/json")
        response.automatically_set_content_length = False
        return response
    reply = service.panels[name].answer(lookup).reply
    return json_response(service.reply_schema.dump(reply))


def _panel_name(service: Service, path: str | None) -> str:
    """The panel by path, else by the `plugin` parameter, else the default or the only one."""
    try:
        named = request.args.getlist("plugin")
    except UnicodeDecodeError:
        # Werkzeug leaves an encoded byte that is no UTF-8 as it is, but fails on a raw one.
        detail = "The query is not UTF-8 text; percent-encode it."
        raise Refusal(HTTPStatus.BAD_REQUEST, detail) from None
    chosen = path or next(filter(str.strip, named), "")
    if chosen.strip() in service.panels:
        return chosen.strip()
    if not chosen:
        if DEFAULT_PANEL in service.panels:
            return DEFAULT_PANEL
        if len(service.panels) == 1:
            return next(iter(service.panels))
    reason = "names no panel" if chosen else "missing; several panels share this server"
    raise Refusal(
        HTTPStatus.NOT_FOUND,
        "There is no such panel; correct the address, /imbox/<panel>, or `plugin`.",
        {} if path else {"plugin": [reason]},
    )


def _parameters(schema: LookupSchema) -> dict[str, list[str]]:
    """The query's parameters, and after them, so that they count for less, a POST body's."""
    query = dict(request.args.lists())
    if request.method != "POST":
        return query
    try:
        body = request.stream.read(MAX_BODY + 1)
    except Exception:  # noqa: BLE001
        # A body that breaks off is no reason to fail: it is static, and all it has is extras.
        body = b""
    for name, values in body_parameters(body, schema.parameters).items():
        query.setdefault(name, []).extend(values)
    return query
