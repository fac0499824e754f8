"""The members of our loyalty club, from the list that the till writes every night."""

import hmac
from collections.abc import Sequence

from imbox_plugin.sources import (
    Contact,
    DataSource,
    Key,
    Lookup,
    Schema,
    SourceError,
    carries,
    fields,
)

#: number, name, e-mail, phone, points
COLUMNS = (slice(0, 7), slice(7, 22), slice(22, 42), slice(42, 60), slice(60, None))


class LoyaltySource(DataSource):
    """The members of the loyalty club."""

    keys = frozenset({Key.EXTERNAL_ID, Key.EMAIL, Key.PHONE})

    class Options(Schema):
        """Where the list is, and how the till makes vouchers."""

        file = fields.String(required=True, metadata={"help": "the list that the till writes"})
        voucher_secret = fields.String(
            required=True,
            metadata={"secret": True, "help": "with which the till checks a voucher"},
        )

    def find(self, lookup: Lookup) -> Sequence[Contact]:
        """Every member with the identity asked for."""
        region = self.context.default_region
        return [member for member in self._members() if carries(member, lookup, region)]

    def check(self) -> None:
        """The list can be read."""
        self._members()

    def _members(self) -> list[Contact]:
        try:
            text = (self.context.folder / self.options["file"]).read_text("utf-8")
            return [self._member(line) for line in text.splitlines()]
        except (OSError, ValueError):
            raise SourceError("the members' list cannot be read; run the till's export") from None

    def _member(self, line: str) -> Contact:
        number, name, email, phone, points = (line[column].strip() for column in COLUMNS)
        secret = self.options["voucher_secret"].encode()
        return Contact(
            name=name,
            external_id=number,
            emails=(email,),
            phones=(phone,),
            details={
                "points": int(points),
                "voucher": hmac.new(secret, number.encode(), "sha256").hexdigest()[:8],
            },
        )
