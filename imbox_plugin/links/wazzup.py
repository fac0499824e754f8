"""Wazzup's chat window, for one person or for all chats of a Wazzup user.

Source: Wazzup, Public API v3, "Chat window (iFrame)". There is no address without a token: each is
made for one opening by `POST /v3/iframe`, and how long it is good for is not documented.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

from marshmallow import ValidationError, validate, validates_schema

from imbox_plugin.links import (
    Contact,
    Destination,
    Frame,
    LinkBuilder,
    LinkContext,
    Lookup,
    Reason,
    Schema,
    fields,
)
from imbox_plugin.links.placeholders import Template, check_placeholders, known
from imbox_plugin.links.vendors import BaseUrl, Host, VendorApi, check_secret, leads_to

#: As the document has it. The permissions could be narrowed to the address that is framed, but
#: nobody has seen Wazzup work so; our page lets no other address into the frame.
_ALLOW = "microphone *; clipboard-write *"

_NUMBER = re.compile("[0-9]{5,15}")
_ACCOUNT = re.compile("[!-?A-~][!-~]{0,99}")
_OPAQUE = re.compile("[!-~]{1,100}")
#: what an id looks like in each of the messengers that the document lists
_CHAT_IDS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "whatsapp": _NUMBER,
        "viber": _NUMBER,
        "instagram": _ACCOUNT,
        "whatsgroup": _OPAQUE,
        "telegram": _OPAQUE,
    }
)
#: how to write it, for the settings
_SPELLING: Mapping[re.Pattern[str], str] = MappingProxyType(
    {
        _NUMBER: "digits with the country code, as {phone_digits}",
        _ACCOUNT: "an account without @, as {contact.instagram}",
        _OPAQUE: "what Wazzup's webhooks call chatId, as {contact.telegram_id}",
    }
)
_TYPES = ", ".join(_CHAT_IDS)
#: characters; enough to know a person by, and an order becomes part of an address
_LONGEST_NAME = 100


def _says(text: str) -> dict[str, str]:
    return {"help": text}


class _UserSchema(Schema):
    """Who opens the window, in the eyes of Wazzup."""

    id = fields.String(
        required=True,
        validate=validate.Length(min=1, max=200, error="must have 1 to 200 characters"),
        metadata=_says("of a user that Wazzup knows, with a role as narrow as will do"),
    )
    name = fields.String(
        validate=validate.Length(min=1, max=200, error="must have 1 to 200 characters"),
        metadata=_says("as Wazzup is to call the user"),
    )


class _ChatSchema(Schema):
    """Where a person may be written to."""

    chat_type = fields.String(
        required=True,
        validate=check_placeholders,
        metadata=_says(f"{_TYPES}, or the placeholder of a detail that holds it"),
    )
    chat_id = fields.String(
        load_default="{phone_digits}",
        validate=check_placeholders,
        metadata=_says("whom to write to there, with placeholders as in a url"),
    )
    channel_id = fields.String(
        validate=validate.Regexp(
            "[!-~]{1,100}\\Z", error="not a channel id; copy it from Wazzup, Channels"
        ),
        metadata=_says("the channel in which the chat is opened"),
    )

    @validates_schema
    def _fits(self, data: Mapping[str, Any], **_: Any) -> None:
        type_, id_ = data["chat_type"], data["chat_id"]
        if check_placeholders(type_):
            return
        if type_ not in _CHAT_IDS:
            raise ValidationError(f"must be one of: {_TYPES}", "chat_type")
        shape = _CHAT_IDS[type_]
        names = check_placeholders(id_)
        # Only these two are known to be digits, or not to be.
        is_number = shape is _NUMBER
        wrong = {"phone"} if is_number else {"phone", "phone_digits"}
        if not wrong.isdisjoint(names) or (not names and not shape.fullmatch(id_)):
            raise ValidationError(f"a chat of {type_} is named by {_SPELLING[shape]}", "chat_id")


class Wazzup(LinkBuilder):
    """The chats with a person, or all of them, in Wazzup's own window."""

    lasting = True
    events: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "WZ_CREATE_ENTITY": "deals_events",
            "WZ_OPEN_ENTITY": "deals_events",
            "WZ_OUTPUT_MESSAGE": "message_events",
        }
    )

    class Options(Schema):
        """Whose window it is, which chats it shows, and what it tells."""

        api_key = fields.String(
            required=True,
            validate=check_secret,
            metadata={"secret": True, "help": "from Wazzup, CRM integration, API"},
        )
        user = fields.Nested(
            _UserSchema, required=True, metadata=_says("as whom the agents open the window")
        )
        scope = fields.String(
            load_default="card",
            validate=validate.OneOf(("card", "global"), error="must be one of: {choices}"),
            metadata=_says("the person's chats, or all that the user may see"),
        )
        chats = fields.List(
            fields.Nested(_ChatSchema),
            load_default=lambda: [{"chat_type": "whatsapp", "chat_id": "{phone_digits}"}],
            validate=validate.Length(min=1, max=5, error="must be 1 to 5 chats"),
            metadata=_says("where a person may be written to, best first"),
        )
        active_chat = fields.Boolean(
            load_default=True, metadata=_says("open the first of the chats that is known")
        )
        deals_events = fields.Boolean(
            load_default=False, metadata=_says("be told of deals that the agent makes or opens")
        )
        message_events = fields.Boolean(
            load_default=False, metadata=_says("be told of every message that the agent sends")
        )
        base_url = BaseUrl(
            load_default="https://api.wazzup24.com", metadata=_says("of Wazzup's API")
        )
        host = Host(
            load_default="wazzup24.com",
            metadata=_says("the only one, with the names below it, that a window may be at"),
        )

    def __init__(self, options: Mapping[str, Any], context: LinkContext) -> None:
        super().__init__(options, context)
        self._api = VendorApi(
            "Wazzup",
            options["base_url"],
            "correct api_key, which is that of Wazzup's public API",
            {"Authorization": f"Bearer {options['api_key']}"},
        )
        self._chats = [_Chat(table) for table in options["chats"]]
        events = frozenset(type_ for type_, option in self.events.items() if options[option])
        self._frame = Frame(allow=_ALLOW, events=events)

    def url(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """None: Wazzup has no address without a token."""
        del lookup, contact
        return None

    def order(self, lookup: Lookup, contact: Contact | None) -> Mapping[str, Any] | None:
        """The chats of the person; without any, a window of all chats is there all the same."""
        value = partial(known, lookup, contact)
        chats = [chat for one in self._chats if (chat := one.of(value))]
        if not chats and self.options["scope"] == "card":
            return None
        name = (contact.name if contact else None) or ""
        return {"chats": chats, "name": name[:_LONGEST_NAME]}

    def mint(self, order: Mapping[str, Any]) -> Destination:
        """A window for one opening.

        Wazzup makes a contact of a person that it does not know yet when the window is opened.
        """
        deadline = time.monotonic() + self.context.time_limit
        answer = self._api.ask("POST", "/v3/iframe", json=self._body(order), deadline=deadline)
        url = answer.document.get("url")
        if not leads_to(url, self.options["host"], below=True):
            raise self._api.error(
                "it gave no address, or one that is not https at host; correct host if Wazzup "
                "has moved",
                Reason.NOT_AT_HOST,
            )
        return Destination(str(url), self._frame)

    def _body(self, order: Mapping[str, Any]) -> dict[str, Any]:
        options = self.options
        body: dict[str, Any] = {"user": options["user"], "scope": options["scope"]}
        chats = order["chats"]
        if options["scope"] == "card":
            name = {"name": order["name"]} if order["name"] else {}
            # The channel belongs to the active chat alone.
            body["filter"] = [
                {"chatType": chat["chatType"], "chatId": chat["chatId"], **name} for chat in chats
            ]
        if chats and options["active_chat"]:
            body["activeChat"] = chats[0]
        wanted = {
            "useDealsEvents": options["deals_events"],
            "useMessageEvents": options["message_events"],
        }
        if any(wanted.values()):
            body["options"] = wanted
        return body


class _Chat:
    """One entry of `chats`."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._type, self._id = Template(table["chat_type"]), Template(table["chat_id"])
        self._channel = {"channelId": table["channel_id"]} if "channel_id" in table else {}

    def of(self, value: Callable[[str], str | None]) -> dict[str, str] | None:
        """The chat in Wazzup's words; None: it is not known, or cannot be one."""
        type_, id_ = self._type.fill(value), self._id.fill(value)
        shape = _CHAT_IDS.get(type_ or "")
        if type_ is None or id_ is None or shape is None:
            return None
        if shape is _ACCOUNT:
            id_ = id_.removeprefix("@")
        if not shape.fullmatch(id_):
            return None
        return {**self._channel, "chatType": type_, "chatId": id_}
