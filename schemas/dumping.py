"""A schema's dump without marshmallow's own work for every value.

A card has a hundred texts in two dozen objects, and for each of them marshmallow finds out anew how
it is got, whether it is there, what is called before and after. Here that is settled once, by the
fields of the schema, which stay the only description of what leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, TypeAlias

from marshmallow import Schema, fields

_Dump: TypeAlias = Callable[[Any], Any]


class DumpSchema(Schema):
    """A schema that only dumps. It has no hooks, and what it dumps has all its attributes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._dump_one = _of_schema(self)

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """What marshmallow's own `dump` gives."""
        return super().dump(obj, many=many) if many else self._dump_one(obj)


class ByKind(fields.Field[Any]):
    """Any of several objects, told apart by their `kind`."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        super().__init__()
        self.schemas = schemas

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        del attr, obj, kwargs
        return self.schemas[value.kind].dump(value)


def _of_schema(schema: Schema) -> _Dump:
    parts = [
        (name if field.data_key is None else field.data_key, attrgetter(name), _of_field(field))
        if not isinstance(field, fields.Constant)
        else (field.data_key or name, _nothing, _always(field.constant))
        for name, field in schema.dump_fields.items()
    ]
    return lambda obj: {key: dump(get(obj)) for key, get, dump in parts}


def _of_field(field: fields.Field[Any]) -> _Dump:
    """What dumps a value of the field; a field that is not known here is asked itself."""
    match field:
        case ByKind(schemas=schemas):
            return _one_of({kind: _of_schema(schema) for kind, schema in schemas.items()})
        case fields.List(inner=inner):
            return _each(_of_field(inner))
        case fields.Nested(schema=schema) if not (field.many or schema.many):
            return _unless_none(_of_schema(schema))
        case fields.String():
            return _text(field)
    return _asked(field)


def _one_of(dumps: Mapping[str, _Dump]) -> _Dump:
    return lambda value: dumps[value.kind](value)


def _each(dump: _Dump) -> _Dump:
    return _unless_none(lambda values: [dump(value) for value in values])


def _unless_none(dump: _Dump) -> _Dump:
    return lambda value: None if value is None else dump(value)


def _text(field: fields.String) -> _Dump:
    asked = _asked(field)
    return lambda value: value if type(value) is str else asked(value)


def _asked(field: fields.Field[Any]) -> _Dump:
    return lambda value: field._serialize(value, None, None)  # noqa: SLF001


def _always(constant: Any) -> _Dump:
    return lambda _: constant


def _nothing(_: Any) -> None:
    return None
