"""Every wire name that no document of ImBox spells out, with its evidence, in one place.

The documents are docs.imbox.io/plugins/client-integration/technical-description and
.../example-responses. What they do spell out is written where it is used, in `request.py`,
`reply.py` and `elements.py`, and cannot be changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

#: how elements leave: as configured, or restricted to the shapes ImBox documents
ELEMENTS = ("all", "documented")

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def _uncertain(name: str, evidence: str, *others: str) -> Any:
    return field(default=name, metadata={"evidence": evidence, "candidates": (name, *others)})


@dataclass(frozen=True, slots=True)
class WireNames:
    """The names that had to be chosen.

    In the metadata of each field are its evidence and the candidates, likeliest first.
    """

    email: str = _uncertain(
        "email",
        "inferred: the parameter is documented (\"Contact's or ticket requester's email\"), its "
        "heading is lost; the ticket plugin and the contacts API of ImBox call theirs `email`",
    )
    html_type: str = _uncertain(
        "html",
        "inferred: the element is documented as raw HTML, and the other types are lower case",
    )
    html_content: str = _uncertain(
        "html", "unknown: no document at hand names it", "content", "body", "text", "data"
    )
    accordion_type: str = _uncertain(
        "accordion", "inferred: the element is documented, and the other types are lower case"
    )
    accordion_title: str = _uncertain(
        "name",
        "unknown: no document at hand names it; a block calls its title `name`",
        *("title", "label", "header", "text"),
    )
    accordion_data: str = _uncertain(
        "data",
        "unknown: no document at hand names it; a block calls its elements `data`",
        *("items", "content", "blocks", "rows"),
    )
    link_text: str = _uncertain(
        "text",
        "unknown: contactLink is documented as an object, its properties are not",
        *("label", "name", "title"),
    )
    link_url: str = _uncertain(
        "url",
        "unknown: contactLink is documented as an object, its properties are not",
        *("href", "link"),
    )
    #: one of ELEMENTS
    elements: str = "all"


#: names that stand beside each other, and the documented ones that stand there, too
_TOGETHER = (
    (
        ("email",),
        (
            *("view", "phoneNumber", "externalId", "ticketId", "contactId", "channelId", "callId"),
            *("phone", "plugin", "key"),
        ),
    ),
    (("html_type", "accordion_type"), ("list", "table")),
    (("html_content",), ("type",)),
    (("accordion_title", "accordion_data"), ("type",)),
    (("link_text", "link_url"), ()),
)


class WireSchema(Schema):
    """The table `[wire]` of the settings; loads WireNames."""

    email = fields.String()
    html_type = fields.String()
    html_content = fields.String()
    accordion_type = fields.String()
    accordion_title = fields.String()
    accordion_data = fields.String()
    link_text = fields.String()
    link_url = fields.String()
    elements = fields.String(validate=validate.OneOf(ELEMENTS, error="must be one of: {choices}"))

    @validates_schema
    def _names_fit(self, data: dict[str, str], **_: Any) -> None:
        problems = {
            name: ["not a name; use letters, digits, - and _"]
            for name, value in data.items()
            if not _KEY.fullmatch(value)
        }
        names = WireNames(**data)
        for group, documented in _TOGETHER:
            taken = set(documented)
            # What was given is to blame, not what was left as it is.
            for name in sorted(group, key=data.__contains__):
                value = getattr(names, name)
                if value in taken:
                    problems[name] = [f"another name beside it is {value!r}; they must differ"]
                taken.add(value)
        if problems:
            raise ValidationError(problems)


def candidates(name: str) -> tuple[str, ...]:
    """What an uncertain name may really be, likeliest first."""
    field_ = next(item for item in dataclass_fields(WireNames) if item.name == name)
    return tuple(field_.metadata["candidates"])


def uncertain_names() -> dict[str, str]:
    """Each name that had to be chosen, with its evidence."""
    return {
        item.name: item.metadata["evidence"]
        for item in dataclass_fields(WireNames)
        if "evidence" in item.metadata
    }
