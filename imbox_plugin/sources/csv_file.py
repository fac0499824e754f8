"""People in a CSV file, as spreadsheets and other systems export it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from marshmallow import ValidationError, validates

from imbox_plugin import tabular
from imbox_plugin.sources import Contact, DataSource, Lookup, Schema, SourceContext, fields
from imbox_plugin.sources.people import check_path, check_related
from imbox_plugin.sources.tables import (
    COLUMNS_HELP,
    KEY_HELP,
    RELATED_HELP,
    TO_HELP,
    ColumnsSchema,
    TableRow,
    as_file_errors,
    people_in,
    searchable,
)


def _check_delimiter(delimiter: str) -> None:
    if len(delimiter) != 1 or delimiter in '"\r\n ':
        raise ValidationError(r'not a separator; write one character, such as ";" or "\t"')


def _check_encoding(encoding: str) -> None:
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        raise ValidationError(
            "no such text encoding; usual ones are utf-8, utf-16 and cp1252"
        ) from None


class _FileSchema(Schema):
    """A CSV file, and what cannot be found out about it."""

    file = fields.String(
        required=True,
        validate=check_path,
        metadata={"help": "its path, from the folder of the settings on"},
    )
    delimiter = fields.String(
        load_default=None,
        validate=_check_delimiter,
        metadata={"help": "what separates the cells; comma, semicolon and tab are found out"},
    )
    encoding = fields.String(
        load_default=None,
        validate=_check_encoding,
        metadata={"help": "such as cp1252; that, UTF-8 and UTF-16 are found out"},
    )


class _RelatedSchema(_FileSchema):
    """A further file: each row of it belongs to a person."""

    key = fields.String(required=True, metadata={"help": KEY_HELP})
    to = fields.String(load_default="external_id", metadata={"help": TO_HELP})


class CsvSource(DataSource):
    """Knows the people of a CSV file, and reads it again when it changes.

    The first row names the columns. What is no identity and no name is a detail, by its header in
    lower case with underscores: `Senaste köp` is `contact.senaste_köp`.
    """

    # A file is read again as soon as it changes, and its index is as quick as a cache.
    cached = False
    by_identity_alone = True

    class Options(_FileSchema):
        """Which file, which of its columns are what, and what further files belong to it."""

        columns = fields.Nested(ColumnsSchema, load_default=dict, metadata={"help": COLUMNS_HELP})
        related = fields.Dict(
            fields.String(),
            fields.Nested(_RelatedSchema),
            load_default=dict,
            metadata={"help": RELATED_HELP},
        )

        @validates("related")
        def _related_fit(self, related: Mapping[str, Any], **_: Any) -> None:
            check_related(related)

    def __init__(self, options: Mapping[str, Any], context: SourceContext) -> None:
        super().__init__(options, context)
        self.keys = searchable(options["columns"])
        self._people = people_in(context, options, _rows)

    def find(self, lookup: Lookup) -> Sequence[Contact]:
        """Everyone of the file with that identity."""
        return self._people.find(lookup)

    def check(self) -> None:
        """Raise SourceError when a file cannot be read, also while its older data is served."""
        self._people.check()

    def close(self) -> None:
        """Close the files."""
        self._people.close()


def _rows(options: Mapping[str, Any], file: Path, wanted: Sequence[str]) -> Iterator[TableRow]:
    """The headers of a CSV file, then the rows below them."""
    with as_file_errors():
        encoding = options["encoding"] or tabular.encoding_of(file)
        with tabular.opened(file, encoding) as text:
            headers, rows = tabular.table(text, file.name, wanted, delimiter=options["delimiter"])
            yield TableRow(1, headers)
            for line, cells in rows:
                yield TableRow(line, cells)
