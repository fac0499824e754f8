"""Any web page whose address holds an identity: the record in the CRM, for one."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

from marshmallow import ValidationError

from imbox_plugin.links import Contact, LinkBuilder, Lookup, Schema, encoded, fields
from imbox_plugin.settings import unknown

#: what a template may name
PLACEHOLDERS = ("external_id", "contact_id", "email", "phone", "phone_digits", "name", "ticket_id")

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLAIN = re.compile(r"[!-~]+")
# An app that keeps its routes in the fragment or the query walks them as a server walks a path.
_SEGMENT = re.compile("[/?#]")


class _TemplateField(fields.String):
    """An https address with placeholders after the host."""

    def _deserialize(self, value: object, attr: object, data: object, **kwargs: object) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        parts = _split(text)
        names = _PLACEHOLDER.findall(text)
        for name in names:
            if name not in PLACEHOLDERS:
                raise ValidationError(unknown("placeholder", name, PLACEHOLDERS))
        if parts is None or parts.scheme != "https" or not parts.hostname:
            raise ValidationError("not an https address; write it as https://host/path")
        if not {"{", "@"}.isdisjoint(parts.netloc) or "\\" in text or not _PLAIN.fullmatch(text):
            raise ValidationError(
                "the host must be fixed, without a user, and the address plain ASCII without "
                "backslashes; placeholders go into the path, the query or the fragment"
            )
        if "{" in _PLACEHOLDER.sub("", text) or "}" in _PLACEHOLDER.sub("", text):
            raise ValidationError("a brace without its partner; placeholders are like {email}")
        if not names:
            raise ValidationError(f"no placeholder; use one of {', '.join(PLACEHOLDERS)}")
        return text


class UrlTemplate(LinkBuilder):
    """An address with `{external_id}` and the like."""

    class Options(Schema):
        """`url`: https, a fixed host, placeholders after it."""

        url = _TemplateField(
            required=True,
            metadata={"help": "https, with placeholders such as {external_id} after the host"},
        )

    def url(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """The address with every placeholder filled; None when one of them is not known."""
        values = self._values(lookup, contact)
        template = str(self.options["url"])
        if not all(values.get(name) for name in _PLACEHOLDER.findall(template)):
            return None
        filled = _PLACEHOLDER.sub(lambda found: encoded(values[found[1]] or ""), template)
        # A server takes `..` for the folder above even where it came in as a value.
        segments = zip(_SEGMENT.split(template), _SEGMENT.split(filled), strict=True)
        touched = [unquote(segment) for own, segment in segments if "{" in own]
        return None if any(segment in {".", ".."} for segment in touched) else filled

    def _values(self, lookup: Lookup, contact: Contact | None) -> dict[str, str | None]:
        phone = self.phone(lookup, contact)
        emails = contact.emails if contact else ()
        return {
            # Of the contact only: anybody can claim an id in a chat.
            "external_id": contact.external_id if contact else None,
            "contact_id": lookup.contact_id,
            "email": lookup.email or next(iter(emails), None),
            "phone": phone,
            "phone_digits": phone.lstrip("+") if phone else None,
            "name": contact.name if contact else None,
            "ticket_id": lookup.ticket_id,
        }


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    return parts
