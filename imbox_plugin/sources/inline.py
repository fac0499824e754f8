"""People written in the settings file itself: for a first try, and for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imbox_plugin.identity import carries
from imbox_plugin.sources import Contact, DataSource, Key, Lookup, Schema, SourceContext, fields


class _PersonSchema(Schema):
    name = fields.String(load_default=None)
    external_id = fields.String(load_default=None)
    contact_id = fields.String(load_default=None)
    email = fields.String(load_default=None)
    phone = fields.String(load_default=None)
    emails = fields.List(fields.String(), load_default=list)
    phones = fields.List(fields.String(), load_default=list)
    details = fields.Dict(fields.String(), load_default=dict)


class InlineSource(DataSource):
    """Knows the people of its own table."""

    keys = frozenset(Key)
    cached = False
    by_identity_alone = True

    class Options(Schema):
        """`people`: a list of tables; what is not an identity goes under `details`."""

        people = fields.List(
            fields.Nested(_PersonSchema),
            required=True,
            metadata={"help": "who is known, with any of these identities"},
        )

    def __init__(self, options: Mapping[str, Any], context: SourceContext) -> None:
        super().__init__(options, context)
        self._people = tuple(_contact(person) for person in options["people"])

    def find(self, lookup: Lookup) -> Sequence[Contact]:
        """Everyone of the table with that identity."""
        region = self.context.default_region
        return [person for person in self._people if carries(person, lookup, region)]


def _contact(person: Mapping[str, Any]) -> Contact:
    def together(one: str, many: str) -> tuple[str, ...]:
        return tuple(text for text in (person[one], *person[many]) if text)

    return Contact(
        name=person["name"],
        external_id=person["external_id"],
        contact_id=person["contact_id"],
        emails=together("email", "emails"),
        phones=together("phone", "phones"),
        details=person["details"],
    )
