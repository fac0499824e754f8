"""The webhooks by which Wazzup asks a CRM to create a contact or a deal.

Source: wazzup24.com/help/webhooks and, for what is to be answered, working-with-contacts and
working-with-a-list-of-deals there. They are answered while Wazzup waits (30 s), since the answer
has the id by which Wazzup calls the new entity. That a webhook is sent again is not documented, and
nothing in it tells one from the next, so each counts as an event of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import orjson
from flask import Blueprint, Response, current_app, request
from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load, validate

from imbox_plugin.events import Courier
from imbox_plugin.model import Event
from imbox_plugin.sinks import SinkError
from imbox_plugin.web.errors import Refusal, json_response
from imbox_plugin.web.webhook import Service

_log = logging.getLogger(__name__)

#: what events of webhooks have for the name of a link
LINK = "wazzup"
#: bytes
_MAX_BODY = 65_536


class _Text(fields.String):
    """A text; an id may come as a number, since many systems count."""

    def __init__(self, most: int | None = None, **options: Any) -> None:
        super().__init__(validate=validate.Length(min=1, max=most), **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return str(super()._deserialize(str(value) if is_number else value, attr, data, **kwargs))


class _Table(Schema):
    """A table that may say null for what it does not know."""

    @pre_load
    def _nulls_left_out(self, data: Any, **_: Any) -> Any:
        return _given(data) if isinstance(data, Mapping) else data


_NOT_EMPTY = validate.Length(min=1)
_Chat = _Table.from_dict(
    {
        "chatType": _Text(required=True),
        "chatId": _Text(required=True),
        "username": fields.String(),
        "phone": fields.String(),
    }
)
#: characters of a contact's name, at most
_LONGEST_NAME = 200
#: what an answer may leave out, since Wazzup's question has it, or should
_ASKED = ("responsibleUserId", "name", "contactData", "contacts")
#: what is answered: a contact as `POST /v3/contacts` takes it, a deal as `POST /v3/deals` does;
#: required is what only the receiver of events can know
_ANSWERS: Mapping[str, type[Schema]] = MappingProxyType(
    {
        "createContact": Schema.from_dict(
            {
                "id": _Text(100, required=True),
                "responsibleUserId": _Text(100),
                "name": _Text(_LONGEST_NAME),
                "contactData": fields.List(
                    fields.Nested(_Chat, unknown=EXCLUDE), validate=_NOT_EMPTY
                ),
                "uri": fields.String(validate=validate.Length(max=200)),
            }
        ),
        "createDeal": Schema.from_dict(
            {
                "id": _Text(required=True),
                "responsibleUserId": _Text(),
                "name": _Text(required=True),
                "uri": _Text(required=True),
                "contacts": fields.List(_Text(), validate=_NOT_EMPTY),
                "closed": fields.Boolean(load_default=False),
            }
        ),
    }
)


def blueprint() -> Blueprint:
    """`POST /hooks/wazzup/<panel>`."""
    routes = Blueprint("wazzup", __name__)
    routes.add_url_rule(
        "/hooks/wazzup/<panel>",
        view_func=_answer,
        methods=["POST"],
        provide_automatic_options=False,
        merge_slashes=False,
    )
    return routes


def _answer(panel: str) -> Response:
    service: Service = current_app.extensions["imbox_plugin"]
    gate, courier = service.wazzup.get(panel), service.courier
    if gate is None or courier is None:
        raise Refusal(HTTPStatus.NOT_FOUND, "No webhooks are taken here; correct the address.")
    if gate.key_id(request) is None:
        raise Refusal(HTTPStatus.UNAUTHORIZED, "No valid key came with the request.")
    body = _body()
    for type_, schema in _ANSWERS.items():
        if type_ in body:
            event = _event(panel, type_, body[type_])
            return json_response(_created(courier, event, schema()))
    # The test that Wazzup sends first, or what it should not be told to send: it wants a 200.
    return json_response({})


def _body() -> Mapping[str, Any]:
    body = request.stream.read(_MAX_BODY + 1)
    if len(body) > _MAX_BODY:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large for a webhook.")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, "The body is no JSON object.")
    return document


def _event(panel: str, type_: str, data: object) -> Event:
    if not isinstance(data, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, "The body is no webhook.", {type_: ["no object"]})
    return Event(panel=panel, link=LINK, type=type_, data=data, key=uuid4().hex)


def _created(courier: Courier, event: Event, schema: Schema) -> Mapping[str, Any]:
    """The new entity; empty where the sink gives no answers."""
    try:
        answer = courier.answer(event)
    except SinkError as error:
        _log.error("panel %s: the sink made nothing of a %s: %s", event.panel, event.type, error)
        detail = "The receiver of events did not take it; the log says why."
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, detail) from None
    if answer is None:
        return {}
    try:
        # What the answer leaves out is as Wazzup wanted it.
        whole = {**_asked(event.data, schema), **_given(answer)}
        entity: Mapping[str, Any] = schema.load(whole, unknown=EXCLUDE)
    except ValidationError as error:
        wrong = ", ".join(sorted(map(str, error.messages_dict)))
        _log.error("panel %s: a %s was answered with a wrong %s", event.panel, event.type, wrong)
        detail = "The receiver of events answered with no such entity; the log says what is wrong."
        raise Refusal(HTTPStatus.BAD_GATEWAY, detail) from None
    return entity


def _asked(data: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
    """What Wazzup's question says of the entity, as far as an answer can have it.

    The entity is made already, so nothing in the question may cost Wazzup its id.
    """
    told = {name: data[name] for name in _ASKED if name in data}
    chats = _chats(told.pop("contactData", None))
    name = told.pop("name", None)
    name = name.strip() if isinstance(name, str) else ""
    if chats:
        told["contactData"] = chats
        # Wazzup's documents want one, and the chat's own is what an agent knows the person by.
        name = name or str(chats[0].get("username") or chats[0]["chatId"])
    return _usable({**told, "name": name[:_LONGEST_NAME]}, schema)


def _chats(told: object) -> list[dict[str, Any]]:
    """Those of a question's chats that say where they are."""
    tables = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    chats = [_usable(one, _Chat()) for one in tables]
    return [one for one in chats if {"chatType", "chatId"} <= one.keys()]


def _usable(table: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The fields that are right, each by itself."""
    wrong = schema.validate(table, partial=True)
    return {name: value for name, value in _given(table).items() if name not in wrong}


def _given(table: Mapping[str, Any]) -> dict[str, Any]:
    """What has a value: many systems write null for what they do not know."""
    return {name: value for name, value in table.items() if value is not None}
