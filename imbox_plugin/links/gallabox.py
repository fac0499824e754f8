"""The Gallabox conversation widget, with the agent's own login or as one member of the account.

Source: Gallabox, "Conversation Widget", docs.gallabox.com/developer-resources/conversation-widget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError, UnknownFunctionError
from marshmallow import ValidationError, validate

from imbox_plugin.links import (
    Contact,
    Destination,
    Frame,
    LinkBuilder,
    LinkContext,
    LinkError,
    Lookup,
    Reason,
    Schema,
    encoded,
    fields,
)
from imbox_plugin.links.vendors import BaseUrl, Logins, VendorApi, is_token

_WIDGET = "https://conversation-widget.gallabox.com"
#: characters of a name in an order, which becomes part of an address
_LONGEST_NAME = 80
_CURE = "correct email and password, and see that the member can log in"


class _Path(fields.String):
    """A JMESPath expression."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        try:
            path = jmespath.compile(str(super()._deserialize(value, attr, data, **kwargs)))
        except JMESPathError:
            raise ValidationError(
                "not a JMESPath expression; correct it, as in data.token"
            ) from None
        try:
            path.search({})
        except UnknownFunctionError:
            raise ValidationError("calls a function that JMESPath does not have") from None
        except JMESPathError:
            pass  # what does not suit an empty answer may suit a real one
        return path


class _LoginSchema(Schema):
    email = fields.String(
        required=True,
        metadata={"secret": True, "help": "of the member whose name all agents will act in"},
    )
    password = fields.String(required=True, metadata={"secret": True, "help": "of that member"})
    token_path = _Path(
        required=True,
        metadata={"help": "JMESPath to the token in the answer to the login"},
    )


class Gallabox(LinkBuilder):
    """The WhatsApp conversation with a phone number."""

    lasting = True
    events = MappingProxyType({})

    class Options(Schema):
        """`channel_id`, and `login` to spare the agents their own."""

        channel_id = fields.String(
            load_default=None,
            metadata={"help": "needed by an account with several WhatsApp channels"},
            validate=validate.Regexp(
                r"[A-Za-z0-9]{1,64}\Z",
                error="not a channel id; copy it from Gallabox, Settings, WhatsApp Channel",
            ),
        )
        login = fields.Nested(
            _LoginSchema,
            load_default=None,
            metadata={"help": "the member that agents are logged in as; left out: their own login"},
        )
        base_url = BaseUrl(
            load_default="https://server.gallabox.com",
            metadata={"help": "the address of Gallabox' API"},
        )

    def __init__(
        self,
        options: Mapping[str, Any],
        context: LinkContext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(options, context)
        login = options["login"]
        self._member = _Member(login, options["base_url"], clock) if login else None

    def url(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """Country code and number without the plus; the name, when it is known; the channel."""
        phone = self.phone(lookup, contact)
        return self._conversation(phone, contact.name if contact else None) if phone else None

    @property
    def mints(self) -> bool:
        """Whether it has a login to."""
        return self._member is not None

    def order(self, lookup: Lookup, contact: Contact | None) -> Mapping[str, Any] | None:
        """With a login: the number and the name."""
        phone = self.phone(lookup, contact)
        if not phone or self._member is None:
            return None
        return {"phone": phone, "name": ((contact and contact.name) or "")[:_LONGEST_NAME]}

    def mint(self, order: Mapping[str, Any]) -> Destination:
        """Logged in anew for each click: how long a token lives is not documented.

        When the member has two-factor authentication, or the agent's network is new to Gallabox,
        the widget asks for a one-time password first.
        """
        if self._member is None:
            raise LinkError(
                "the settings have no login any more; open the contact anew in ImBox",
                Reason.NO_LOGIN,
            )
        token = self._member.token(self.context.time_limit)
        inside = self._conversation(order["phone"], order["name"])
        # The widget's address is one value in ours: encoded once more, as a whole.
        url = f"{_WIDGET}/auth?token={encoded(token)}&redirectUrl={encoded(inside)}"
        return Destination(url, Frame())

    def _conversation(self, phone: str, name: str | None) -> str:
        values = {"name": name or "", "channelId": self.options["channel_id"] or ""}
        query = "&".join(f"{key}={encoded(text)}" for key, text in values.items() if text)
        return f"{_WIDGET}/conversations/phone/{phone.lstrip('+')}{'?' if query else ''}{query}"


class _Member:
    """The member of the account that everybody is logged in as."""

    def __init__(self, login: Mapping[str, Any], api: str, clock: Callable[[], float]) -> None:
        self._credentials = {"email": login["email"], "password": login["password"]}
        self._token_path = login["token_path"]
        self._api = VendorApi("Gallabox", api, _CURE)
        self._logins = Logins("Gallabox", clock)

    def token(self, time_limit: float) -> str:
        """A new one.

        Raises:
            LinkError: there is none within `time_limit` seconds.
        """
        deadline = time.monotonic() + time_limit
        return self._logins.run(lambda: self._log_in(deadline), deadline)

    def _log_in(self, deadline: float) -> str:
        answer = self._api.ask(
            "POST",
            "/auth/v2/login",
            json=self._credentials,
            deadline=deadline,
            cure=_CURE,
            shape=object,
        )
        try:
            token = self._token_path.search(answer.document)
        except (JMESPathError, ArithmeticError, RecursionError, TypeError):
            token = None
        if not is_token(token):
            raise self._api.refusal(
                "the answer to the login has no token at token_path; correct it, and see whether"
                " two-factor authentication keeps this member from logging in by API",
                answer,
                Reason.NO_CREDENTIAL,
            )
        return str(token)
