"""Events to any HTTP endpoint, signed as Standard Webhooks says.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from marshmallow import ValidationError, validate, validates_schema

from imbox_plugin.http import Answer, Client, HttpError, check_base_url
from imbox_plugin.sinks import Event, EventSink, Schema, SinkContext, SinkError, fields

_PREFIX = "whsec_"
#: bytes
_SECRET_LENGTHS = range(24, 65)
_SUCCESSES = range(200, 300)
#: bytes of an answer
_MOST = 100_000


class _Secret(fields.Field[bytes]):
    """What Standard Webhooks calls a secret: `whsec_`, and the key in base64."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bytes:
        del attr, data, kwargs
        try:
            key = base64.b64decode(str(value).removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) not in _SECRET_LENGTHS:
            raise ValidationError(
                "not a secret of Standard Webhooks; write whsec_ and 24 to 64 random bytes in "
                "base64"
            )
        return key


class HttpSink(EventSink):
    """A POST for each event, with a signature that its receiver can verify."""

    class Options(Schema):
        """Where to, and what proves that it comes from here."""

        url = fields.String(
            required=True,
            metadata={
                "help": "the whole address; https, or http on this machine",
                "secret": lambda url: "?" in url,
            },
        )
        secret = _Secret(
            required=True,
            metadata={"help": "whsec_ and 24 to 64 random bytes in base64", "secret": True},
        )
        time_limit = fields.Float(
            load_default=10.0,
            metadata={"help": "seconds for one delivery, connecting included"},
            validate=validate.Range(min=0.1, max=25, error="must be from 0.1 to 25 seconds"),
        )
        insecure = fields.Boolean(
            load_default=False,
            metadata={"help": "whether plain http may be spoken with another machine"},
        )

        @validates_schema
        def _url_is_sound(self, data: Mapping[str, Any], **_: Any) -> None:
            address, _ = _parted(data["url"])
            if "@" in address or "#" in data["url"]:
                says = "holds a user or a fragment, which are not sent; take it out"
                raise ValidationError(says, "url")
            try:
                check_base_url(address, insecure=data["insecure"])
            except ValueError as error:
                raise ValidationError(str(error), "url") from None

    def __init__(self, options: Mapping[str, Any], context: SinkContext) -> None:
        super().__init__(options, context)
        address, params = _parted(options["url"])
        self._client = Client(
            address,
            params=params,
            size_limit=_MOST,
            insecure=options["insecure"],
        )
        self._secret: bytes = options["secret"]
        self._time_limit: float = options["time_limit"]

    def deliver(self, event: Event) -> None:
        """Post it; every 2xx means that it was taken, whatever the answer says."""
        try:
            answer = self._post(event)
        except HttpError as error:
            if error.status in _SUCCESSES:
                return
            raise SinkError(str(error)) from None
        if not answer.ok:
            raise _refused(answer)

    def answer(self, event: Event) -> Mapping[str, Any]:
        """Post it; the JSON object that is answered is the entity."""
        try:
            answer = self._post(event)
        except HttpError as error:
            raise SinkError(str(error)) from None
        if not answer.ok:
            raise _refused(answer)
        if not isinstance(answer.document, dict):
            raise SinkError(
                "the endpoint answered with no JSON object; answer with the entity it made"
            )
        return answer.document

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def _post(self, event: Event) -> Answer:
        content = json.dumps(
            {
                "type": event.type,
                "panel": event.panel,
                "link": event.link,
                "key": event.key,
                "data": dict(event.data),
            }
        ).encode()
        moment = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event.id,
            "webhook-timestamp": str(moment),
            "webhook-signature": signature(self._secret, event.id, moment, content),
        }
        return self._client.request(
            "POST", "", content=content, headers=headers, time_limit=self._time_limit
        )


def signature(secret: bytes, message: str, moment: int, content: bytes) -> str:
    """The signature of a message by its id, its time in seconds since 1970, and its bytes."""
    signed = b".".join((message.encode(), str(moment).encode(), content))
    return f"v1,{base64.b64encode(hmac.digest(secret, signed, sha256)).decode()}"


def _parted(url: str) -> tuple[str, dict[str, str]]:
    address, _, query = url.partition("?")
    return address, dict(parse_qsl(query, keep_blank_values=True))


def _refused(answer: Answer) -> SinkError:
    if answer.status == HTTPStatus.GONE:
        return SinkError("the endpoint is gone (410); correct events.sink.url", permanent=True)
    return SinkError(
        f"the endpoint did not take it ({answer.status}); see its log", wait=answer.retry_after
    )
