"""People in an Excel workbook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from marshmallow import ValidationError, validates, validates_schema

from imbox_plugin.files import FileError
from imbox_plugin.sources import Contact, DataSource, Lookup, Schema, SourceContext, fields
from imbox_plugin.sources.people import check_path, check_related
from imbox_plugin.sources.records import text
from imbox_plugin.sources.tables import (
    COLUMNS_HELP,
    KEY_HELP,
    RELATED_HELP,
    TO_HELP,
    ColumnsSchema,
    TableRow,
    people_in,
    searchable,
)
from imbox_plugin.tabular import cleaned, filled

#: Excel itself keeps no more digits of a number
_MOST_DIGITS = 15

_SHEET_HELP = "the name of the sheet; the first one when left out"


def _check_file(path: str) -> None:
    check_path(path)
    if find_spec("python_calamine") is None:
        raise ValidationError(
            "the reader of Excel files is not installed; run: pip install 'imbox-plugin[excel]'"
        )


class _RelatedSchema(Schema):
    """A further sheet: each row of it belongs to a person."""

    file = fields.String(
        load_default=None,
        validate=_check_file,
        metadata={"help": "its workbook; that of the people when left out"},
    )
    sheet = fields.String(load_default=None, metadata={"help": _SHEET_HELP})
    key = fields.String(required=True, metadata={"help": KEY_HELP})
    to = fields.String(load_default="external_id", metadata={"help": TO_HELP})

    @validates_schema
    def _is_another_sheet(self, data: Mapping[str, Any], **_: Any) -> None:
        if not (data.get("file") or data.get("sheet")):
            raise ValidationError("neither file nor sheet; say which sheet, or which file")


class ExcelSource(DataSource):
    """Knows the people of a sheet of an Excel workbook, and reads it again when it changes.

    The first row that is not blank names the columns. What is no identity and no name is a detail,
    by its header in lower case with underscores: `Senaste köp` is `contact.senaste_köp`.
    """

    # A file is read again as soon as it changes, and its index is as quick as a cache.
    cached = False
    by_identity_alone = True

    class Options(Schema):
        """Which sheet, which of its columns are what, and what further sheets belong to it."""

        file = fields.String(
            required=True,
            validate=_check_file,
            metadata={"help": "the workbook, from the folder of the settings on"},
        )
        sheet = fields.String(load_default=None, metadata={"help": _SHEET_HELP})
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
        """Everyone of the sheet with that identity."""
        return self._people.find(lookup)

    def check(self) -> None:
        """Raise SourceError when a file cannot be read, also while its older data is served."""
        self._people.check()

    def close(self) -> None:
        """Close the files."""
        self._people.close()


def _rows(options: Mapping[str, Any], file: Path, _wanted: Sequence[str]) -> Iterator[TableRow]:
    """The rows of a sheet that are not blank, the headers first."""
    import python_calamine as calamine  # noqa: PLC0415 - an extra

    sheet = options["sheet"]
    try:
        with calamine.load_workbook(file) as workbook:
            names = workbook.sheet_names
            if sheet is not None and sheet not in names:
                raise FileError(
                    f"{file.name} has no sheet {sheet!r} (its sheets are {', '.join(names)});"
                    " correct sheet"
                )
            rows = workbook.get_sheet_by_name(sheet or names[0]).iter_rows()
    except calamine.PasswordError:
        raise FileError(f"{file.name} has a password; save it without one") from None
    except calamine.CalamineError as error:
        raise FileError(
            f"{file.name} is no Excel workbook ({type(error).__name__}); save it as .xlsx"
        ) from None
    empty = True
    for line, row in enumerate(rows, 1):
        values = [_value(cell) for cell in row]
        cells = [text(value) or "" for value in values]
        if filled(cells):
            empty = False
            yield TableRow(line, cells, values)
    if empty:
        raise FileError(f"{file.name} is empty; its first row must name the columns")


def _value(cell: object) -> Any:
    """A cell as JSON has it; Excel knows no whole numbers."""
    match cell:
        case str():
            return cleaned(cell)
        case float() if cell.is_integer() and abs(cell) < 10**_MOST_DIGITS:
            return int(cell)
        case date() | time() | timedelta():
            return str(cell)
        case _:
            return cell
