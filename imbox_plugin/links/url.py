"""Any web page whose address holds an identity: the record in the CRM, for one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

from marshmallow import ValidationError, validate, validates_schema

from imbox_plugin.links import Contact, LinkBuilder, LinkContext, Lookup, Schema, encoded, fields
from imbox_plugin.links.address import check_address
from imbox_plugin.links.crm import PRESETS
from imbox_plugin.links.placeholders import (
    PLACEHOLDERS,
    Template,
    check_name,
    check_placeholders,
    known,
)

# An app that keeps its routes in the fragment or the query walks them as a server walks a path.
_SEGMENT = re.compile("[/?#]")


def _check_url(text: str) -> None:
    names = check_placeholders(text)
    check_address(text)
    if not names:
        raise ValidationError(f"no placeholder; use one of {', '.join(PLACEHOLDERS)}")


class UrlTemplate(LinkBuilder):
    """An address with `{external_id}` and the like, or that of a contact in a well-known CRM."""

    lasting = True

    class Options(Schema):
        """`url`, or `preset` with its `account`."""

        url = fields.String(
            load_default=None,
            validate=_check_url,
            metadata={"help": "https, with placeholders such as {external_id} after the host"},
        )
        preset = fields.String(
            load_default=None,
            metadata={"help": "a well-known CRM, in the place of url"},
            validate=validate.OneOf(list(PRESETS), error="must be one of: {choices}"),
        )
        account = fields.Dict(
            fields.String(),
            fields.String(),
            load_default=dict,
            metadata={"help": "the parts of the address that are your own in this CRM"},
        )
        record = fields.String(
            load_default="external_id",
            metadata={"help": "the placeholder with the id of the contact in this CRM"},
            validate=check_name,
        )

        @validates_schema
        def _one_address(self, data: Mapping[str, Any], **_: Any) -> None:
            if data["preset"] and data["url"]:
                raise ValidationError("url and preset both say where it leads; keep one", "preset")
            if data["account"] and not data["preset"]:
                raise ValidationError("of no use without preset; add it", "account")
            if data["preset"]:
                try:
                    _template(data)
                except ValidationError as error:
                    raise ValidationError(error.messages, "account") from None
            elif not data["url"]:
                raise ValidationError("missing; add it, or preset with its account", "url")

    def __init__(self, options: Mapping[str, Any], context: LinkContext) -> None:
        super().__init__(options, context)
        text = _template(options)
        self._template = Template(text)
        #: where in the address there are segments with placeholders
        self._open = [at for at, own in enumerate(_SEGMENT.split(text)) if "{" in own]

    def url(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """The address with every placeholder filled; None when one of them is not known."""
        filled = self._template.fill(partial(known, lookup, contact), encoded)
        if filled is None:
            return None
        # A server takes `..` for the folder above even where it came in as a value.
        segments = _SEGMENT.split(filled)
        is_sound = {".", ".."}.isdisjoint(unquote(segments[at]) for at in self._open)
        return filled if is_sound else None


def _template(options: Mapping[str, Any]) -> str:
    preset = options["preset"]
    if preset:
        return PRESETS[preset].template(options["account"], options["record"])
    return str(options["url"])
