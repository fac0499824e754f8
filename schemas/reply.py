"""What ImBox gets: `reply_schema`.

`contactName`, `contactLink`, `blocks` and a block's `name`, `icon` and `data` are documented
(docs.imbox.io, plugins/client-integration/example-responses); the names inside `contactLink` come
from `wire.py`.
"""

from __future__ import annotations

from marshmallow import Schema, fields

from schemas.dumping import DumpSchema
from schemas.elements import Text, element_field
from schemas.wire import WireNames


def reply_schema(wire: WireNames) -> Schema:
    """The schema every reply leaves through; built once, it dumps from many threads.

    Dumps any object with the attributes of a reply: `contact_name`, `contact_link` (`text`, `url`)
    and `blocks` (`name`, `icon`, `data` of elements with a `kind`).
    """
    link = Schema.from_dict(
        {"text": Text(data_key=wire.link_text), "url": Text(data_key=wire.link_url)},
        name="LinkSchema",
    )
    block = Schema.from_dict(
        {"name": Text(), "icon": Text(), "data": fields.List(element_field(wire))},
        name="BlockSchema",
    )
    reply = DumpSchema.from_dict(
        {
            "contact_name": fields.String(data_key="contactName"),
            "contact_link": fields.Nested(link, data_key="contactLink"),
            "blocks": fields.List(fields.Nested(block)),
        },
        name="ReplySchema",
    )
    return reply()
