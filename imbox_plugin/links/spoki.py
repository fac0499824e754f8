"""The WhatsApp chat with a person in Spoki, with the agent's own login or as a service user.

Sources: Spoki, "How can I embed Spoki", for the token, the address and the events; Spoki's API
documentation, Contacts, for `chat_link`. How long a token is good for is not documented.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
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
    encoded,
    fields,
)
from imbox_plugin.links.placeholders import Template, check_placeholders, known
from imbox_plugin.links.vendors import BaseUrl, VendorApi, check_secret, is_token

_APP = "https://spoki.app/"
#: the page of one chat, as Spoki writes it
_CHAT = "chats/:uuid"
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_CHAT_LINK = re.compile(rf"https://spoki\.app/chats/({_UUID})/?", re.IGNORECASE | re.ASCII)
_PAGE = re.compile(r"[a-z0-9_-]+(?:/[a-z0-9_-]+)*")
_NO_DIGIT = re.compile("[^0-9]")
_SWITCHES = ("can_view_chat_list", "can_reply_in_chat", "can_send_paypal_in_chat")
_CREDENTIALS = ("api_key", "email", "private_key")
_FEATURES = ("camera", "clipboard-read", "clipboard-write", "microphone")


def _says(text: str) -> dict[str, str]:
    return {"help": text}


def _check_page(page: str) -> None:
    if page != _CHAT and not _PAGE.fullmatch(page):
        raise ValidationError(f"not a page of Spoki; write it as {_CHAT}, chats or templates")


def _check_chat_link(text: str) -> None:
    if not check_placeholders(text):
        raise ValidationError("the same for everybody; write it as {contact.chat_link}")


class Spoki(LinkBuilder):
    """A page of Spoki: mostly, the chat with a person."""

    lasting = True
    events: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"hasUnreadChatsChanged": "", "chatsChanged": "", "chatMessagesChanged": ""}
    )

    class Options(Schema):
        """Which page, as whom, and what can be done there."""

        api_key = fields.String(
            load_default=None,
            validate=check_secret,
            metadata={"secret": True, "help": "from Spoki, Integrations, API; Spoki approves it"},
        )
        email = fields.String(
            load_default=None,
            validate=validate.Email(error="not an e-mail address"),
            metadata=_says("of the service user, as Spoki shows it with the private key"),
        )
        private_key = fields.String(
            load_default=None,
            validate=check_secret,
            metadata={"secret": True, "help": "of the service user, from Spoki, Users & Roles"},
        )
        page = fields.String(
            load_default=_CHAT,
            validate=_check_page,
            metadata=_says("chats/:uuid is the person's chat; chats and templates are for all"),
        )
        chat_link = fields.String(
            load_default="{contact.chat_link}",
            validate=_check_chat_link,
            metadata=_says("the address of the person's chat in Spoki, where a source knows it"),
        )
        always_log_in = fields.Boolean(
            load_default=False,
            metadata=_says("as the service user also where the address of the chat is known"),
        )
        language = fields.String(
            load_default="en",
            validate=validate.OneOf(("it", "en", "es"), error="must be one of: {choices}"),
            metadata=_says("of the page"),
        )
        can_view_chat_list = fields.Boolean(
            load_default=True, metadata=_says("false hides the way back to all chats")
        )
        can_reply_in_chat = fields.Boolean(
            load_default=True, metadata=_says("false hides where an answer is written")
        )
        can_send_paypal_in_chat = fields.Boolean(
            load_default=True, metadata=_says("false hides PayPal")
        )
        allow = fields.List(
            fields.String(validate=validate.OneOf(_FEATURES, error="must be one of: {choices}")),
            load_default=list,
            metadata=_says("what the embedded page may use; Spoki documents nothing that it needs"),
        )
        base_url = BaseUrl(load_default="https://api.spoki.com", metadata=_says("of Spoki's API"))

        @validates_schema
        def _credentials_fit(self, data: Mapping[str, Any], **_: Any) -> None:
            missing = [name for name in _CREDENTIALS if not data[name]]
            needed = data["always_log_in"] or data["page"] != _CHAT
            if missing and (needed or len(missing) < len(_CREDENTIALS)):
                says = "missing; api_key, email and private_key are needed together"
                raise ValidationError({name: [says] for name in missing})

    def __init__(self, options: Mapping[str, Any], context: LinkContext) -> None:
        super().__init__(options, context)
        #: None: the agents log in to Spoki themselves
        self._api = options["api_key"] and VendorApi(
            "Spoki",
            options["base_url"],
            "see that Spoki has approved api_key, and correct email and private_key",
            {"X-Spoki-Api-Key": options["api_key"]},
        )
        self._chat_link = Template(options["chat_link"])
        origin = _APP.rstrip("/")
        self._frame = Frame(
            allow="; ".join(f"{feature} {origin}" for feature in options["allow"]),
            events=frozenset(self.events),
        )
        switched_off = {name: "false" for name in _SWITCHES if not options[name]}
        self._query = {"language": options["language"], **switched_off}

    @property
    def mints(self) -> bool:
        """Whether it has the credentials to."""
        return self._api is not None

    def url(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """The chat without a token, for an agent who is logged in to Spoki."""
        chat = self._chat(lookup, contact)
        return f"{_APP}chats/{chat}" if chat else None

    def order(self, lookup: Lookup, contact: Contact | None) -> Mapping[str, Any] | None:
        """The page that is meant, or by what its chat is found."""
        if self._api is None:
            return None
        if self.options["page"] != _CHAT:
            return {"page": self.options["page"]}
        chat = self._chat(lookup, contact)
        if chat:
            return {"page": f"chats/{chat}"} if self.options["always_log_in"] else None
        phone = self.phone(lookup, contact)
        return {"phone": phone} if phone else None

    def mint(self, order: Mapping[str, Any]) -> Destination:
        """The page with a token for one opening.

        The chat is looked for first: for nobody's chat there is no token.
        """
        deadline = time.monotonic() + self.context.time_limit
        page = order.get("page") or f"chats/{self._found(order['phone'], deadline)}"
        login = {"email": self.options["email"], "private_key": self.options["private_key"]}
        answer = self._api.ask(
            "POST",
            "/api/1/auth/get_authentication_token/",
            json=login,
            deadline=deadline,
            cure="correct email and private_key, which belong together",
        ).document
        token, uid = answer.get("token"), answer.get("uid")
        if not is_token(token) or not is_token(uid):
            raise self._api.error(
                "it gave no token and uid; see that base_url is that of its API",
                Reason.NO_CREDENTIAL,
            )
        query = {"auth_token": token, "auth_uid": uid, **self._query}
        address = "&".join(f"{name}={encoded(text)}" for name, text in query.items())
        return Destination(f"{_APP}{page}?{address}", self._frame)

    def _chat(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """The uuid of the person's chat, where it is known; None also of any other address."""
        if self.options["page"] != _CHAT:
            return None
        return _uuid(self._chat_link.fill(partial(known, lookup, contact)))

    def _found(self, phone: str, deadline: float) -> str:
        """The uuid of the chat with a number."""
        answer = self._api.ask(
            "GET", "/api/1/contacts/", params={"phone": phone}, deadline=deadline
        ).document
        results = answer.get("results")
        if not isinstance(results, list):
            raise self._api.error(
                "it gave no list of contacts; see that base_url is right", Reason.UNUSABLE
            )
        # It answers with the numbers as they were entered, and perhaps with more than were asked.
        wanted = _digits(phone)
        theirs = [
            one for one in results if isinstance(one, dict) and _digits(one.get("phone")) == wanted
        ]
        if not theirs and not answer.get("next"):
            raise self._api.error(
                "it has no contact with the number; write to them in Spoki first",
                Reason.NO_CONTACT,
            )
        if len(theirs) != 1 or answer.get("next"):
            raise self._api.error(
                "several contacts may have the number; leave one of them with it in Spoki",
                Reason.SEVERAL_CONTACTS,
            )
        chat = _uuid(theirs[0].get("chat_link"))
        if chat is None:
            raise self._api.error(
                "the contact has no chat_link at spoki.app; open it in Spoki", Reason.NO_CHAT
            )
        return chat


def _uuid(link: object) -> str | None:
    """Of the chat that an address leads to; None: it leads elsewhere."""
    found = _CHAT_LINK.fullmatch(link) if isinstance(link, str) else None
    return found[1].lower() if found else None


def _digits(phone: object) -> str:
    return _NO_DIGIT.sub("", phone) if isinstance(phone, str) else ""
