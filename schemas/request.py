"""What ImBox asks: `LookupSchema`.

Source: docs.imbox.io, plugins/client-integration/technical-description, "Query Parameters".
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, pre_load, validate

from schemas.wire import WireNames

#: the values `view` may have
VIEWS = ("chat", "ticket", "call", "contact")

#: characters of one parameter
MAX_LENGTH = 512

#: bytes of a body that is looked into
MAX_BODY = 64 * 1024

#: an older spelling of `phoneNumber`
_PHONE_ALIAS = "phone"

#: Unicode's categories of control characters, and of surrogates, which no text may hold
_CONTROLS = frozenset({"Cc", "Cs"})

#: parameters that are neither an identity nor an extra: they choose the panel and open it
_RESERVED = frozenset({"plugin", "key"})


class LookupSchema(Schema):
    """One question, from parameters that may repeat: `{"view": ["ticket"], "email": ["", "a@b"]}`.

    Loads to a dict of texts by the names below; what is blank is absent. `extras` holds the other
    parameters, which are static parts of the plugin's set-up. Ids stay texts: the digits of a
    channel's exceed 64 bits.

    Args:
        wire: has the name of the e-mail parameter, which is inferred.
    """

    class Meta:
        """Parameters of nobody's are extras, which `_extras` adds."""

        unknown = EXCLUDE

    view = fields.String(
        required=True,
        validate=validate.OneOf(VIEWS, error="must be one of: {choices}"),
        error_messages={"required": f"missing; must be one of: {', '.join(VIEWS)}"},
    )
    email = fields.String()
    phone = fields.String(data_key="phoneNumber")
    external_id = fields.String(data_key="externalId")
    ticket_id = fields.String(data_key="ticketId")
    contact_id = fields.String(data_key="contactId")
    channel_id = fields.String(data_key="channelId")
    call_id = fields.String(data_key="callId")

    def __init__(self, wire: WireNames) -> None:
        self._wire = wire
        super().__init__()
        names = {field.data_key or name for name, field in self.fields.items()}
        #: the names that mean something; every other one is an extra
        self.parameters = frozenset(names) | {_PHONE_ALIAS} | _RESERVED

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Give the e-mail parameter its configured name."""
        if field_name == "email":
            field_obj.data_key = self._wire.email

    @pre_load
    def _first_texts(self, data: Mapping[str, Sequence[str]], **_: Any) -> dict[str, str]:
        problems = {}
        for name, values in data.items():
            if fault := next(filter(None, map(_fault, values)), None):
                problems[name] = [fault]
        if problems:
            raise ValidationError(problems)
        texts = {name: text for name, values in data.items() if (text := _first(values))}
        stripped = {name: text.strip() for name, text in texts.items()}
        if number := texts.get("phoneNumber") or texts.get(_PHONE_ALIAS):
            stripped["phoneNumber"] = _plus(number)
        if "view" in stripped:
            stripped["view"] = stripped["view"].lower()
        return stripped

    @post_load(pass_original=True)
    def _extras(
        self, loaded: dict[str, Any], original: Mapping[str, Sequence[str]], **_: Any
    ) -> dict[str, Any]:
        extras = {
            name: text.strip()
            for name, values in original.items()
            if name not in self.parameters and (text := _first(values))
        }
        return {**loaded, "extras": extras}


def parameter_kinds(schema: LookupSchema) -> dict[str, str]:
    """What each parameter holds: `view`, `email`, `phone`, `id`, `panel` or `key`."""
    kinds = {
        field.data_key or name: name if name in {"view", "email", "phone"} else "id"
        for name, field in schema.fields.items()
    }
    return {**kinds, _PHONE_ALIAS: "phone", "plugin": "panel", "key": "key"}


def body_parameters(body: bytes, ignored: Iterable[str]) -> dict[str, list[str]]:
    """The static extras in a POST's JSON body; whatever is wrong with it, there are just none.

    The parameters proper are read from the query only, on POST too (inferred from the section
    "Query Parameters"), so those in `ignored` are left out.
    """
    if len(body) > MAX_BODY:
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    ignored = frozenset(ignored)
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in document.items()
        if isinstance(value, str | int | float) and name not in ignored
    }
    return {name: [text] for name, text in texts.items() if not _fault(text)}


def _first(values: Iterable[str]) -> str:
    for value in values:
        if value.strip():
            return value
    return ""


def _fault(text: str) -> str | None:
    if len(text) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    # No control character is printable, and of most texts that is all there is to know.
    if not text.isprintable() and not _CONTROLS.isdisjoint(map(unicodedata.category, text)):
        return "contains control characters"
    return None


def _plus(text: str) -> str:
    """The number with the `+` that arrives as a space when the sender did not encode it.

    No international number goes on with a zero, so a national one with a stray space stays one.
    """
    number = text.strip()
    lost = text[0] == " " and number[0] in "123456789"
    return f"+{number}" if lost else number
