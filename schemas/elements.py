"""What a block holds: the four element types, as they leave.

`list` and `table` are documented word for word (docs.imbox.io,
plugins/client-integration/example-responses); the names inside `html` and `accordion` come from
`wire.py`.
"""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from schemas.dumping import ByKind
from schemas.wire import WireNames


class Text(fields.String):
    """A text that is never null."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str:
        return super()._serialize(value, attr, obj, **kwargs) or ""


# A card has dozens of rows and cells: a field or a schema for each of their texts took most of the
# time of a dump.


class Cells(fields.Field[Any]):
    """Texts, each in an object of its own, `{"text": ...}`, as table headers and cells are."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        del attr, obj, kwargs
        return [{"text": cell if type(cell) is str else _text(cell)} for cell in value]


class Rows(fields.Field[Any]):
    """The lines of a list: objects with a `label` and a `text`."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        del attr, obj, kwargs
        return [{"label": _text(row.label), "text": _text(row.text)} for row in value]


class ListSchema(Schema):
    """`{"type": "list", "rows": [{"label", "text"}]}`."""

    type = fields.Constant("list")
    rows = Rows()


class TableSchema(Schema):
    """`{"type": "table", "headers": [{"text"}], "rows": [[{"text"}]]}`."""

    type = fields.Constant("table")
    headers = Cells()
    rows = fields.List(Cells())


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def element_field(wire: WireNames) -> ByKind:
    """The field that dumps every element under the configured names."""
    html = Schema.from_dict(
        {"type": fields.Constant(wire.html_type), "html": Text(data_key=wire.html_content)},
        name="HtmlSchema",
    )
    leaves = {"list": ListSchema(), "table": TableSchema(), "html": html()}
    accordion = Schema.from_dict(
        {
            "type": fields.Constant(wire.accordion_type),
            "title": Text(data_key=wire.accordion_title),
            "data": fields.List(ByKind(leaves), data_key=wire.accordion_data),
        },
        name="AccordionSchema",
    )
    return ByKind({**leaves, "accordion": accordion()})
