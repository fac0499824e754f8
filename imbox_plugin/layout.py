"""The layout in the settings becomes templates, compiled once at start."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from jinja2 import ChainableUndefined, FileSystemLoader, TemplateError, Undefined
from jinja2.exceptions import TemplateNotFound, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from imbox_plugin.formats import Formats
from imbox_plugin.html import Sanitizer
from imbox_plugin.model import View
from imbox_plugin.settings import SettingsFile, unknown

#: what a template reads: contact, contacts, lookup, match, item, index
Values: TypeAlias = Mapping[str, Any]
Text: TypeAlias = Callable[[Values], str]
Expression: TypeAlias = Callable[[Values], Any]

_ICON = validate.Regexp(
    r"[a-z0-9_]{1,64}\Z", error="not a Material Symbols name; they are like contact_page"
)
_ONE_EXPRESSION = re.compile(r"\s*\{\{(?P<inner>(?:(?!\{\{).)*)\}\}\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RowLayout:
    """One line of a list."""

    label: Text
    text: Text
    when: Expression | None


@dataclass(frozen=True, slots=True)
class ListLayout:
    """Lines; with `each`, all of them again for every item."""

    path: str
    rows: tuple[RowLayout, ...]
    each: Expression | None
    when: Expression | None


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """One column of a table."""

    header: Text
    text: Text
    when: Expression | None


@dataclass(frozen=True, slots=True)
class TableLayout:
    """One row per item of `each`; without `each`, a single row."""

    path: str
    columns: tuple[ColumnLayout, ...]
    each: Expression | None
    when: Expression | None


@dataclass(frozen=True, slots=True)
class HtmlLayout:
    """Markup; `trusted` lets the template's own pass unsanitised."""

    path: str
    markup: Text
    trusted: bool
    each: Expression | None
    when: Expression | None


@dataclass(frozen=True, slots=True)
class AccordionLayout:
    """One section per item of `each`; without `each`, a single one."""

    path: str
    title: Text
    data: tuple[ListLayout | TableLayout | HtmlLayout, ...]
    each: Expression | None
    when: Expression | None


ElementLayout: TypeAlias = ListLayout | TableLayout | HtmlLayout | AccordionLayout


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """One block; `source` None: of the best match, whichever source it is from."""

    path: str
    name: Text
    icon: str
    source: str | None
    views: frozenset[View]
    when: Expression | None
    data: tuple[ElementLayout, ...]


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja in a sandbox, where a detail named `items` or `keys` is that detail."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


class Templates:
    """Compiles the texts, markup and expressions of layouts. Built once.

    Args:
        formats: gives the filters, and the text of every plain value.
        sanitizer: for the filter `sanitize`.
        folder: where `template = "..."` files lie.
    """

    def __init__(self, formats: Formats, sanitizer: Sanitizer, folder: Path) -> None:
        def plain(value: Any) -> Any:
            return "" if isinstance(value, Undefined) or callable(value) else formats.text(value)

        def sanitize(value: Any) -> Markup:
            return Markup(sanitizer.clean(str(plain(value))))  # noqa: S704

        filters = {
            "date": formats.date,
            "datetime": formats.datetime,
            "number": formats.number,
            "currency": formats.currency,
            "phone": formats.phone,
        }
        self._text = _Environment(undefined=ChainableUndefined, finalize=plain)
        self._text.filters.update(filters)
        self._html = _Environment(
            undefined=ChainableUndefined,
            finalize=plain,
            autoescape=True,
            loader=FileSystemLoader(folder),
        )
        self._html.filters.update(filters)
        self._html.filters["sanitize"] = sanitize

    def text(self, source: str) -> Text:
        """A text with `{{ }}` in it."""
        return self._text.from_string(source).render

    def markup(self, source: str) -> Text:
        """Markup whose values are escaped."""
        return self._html.from_string(source).render

    def file(self, name: str) -> Text:
        """Markup in a file of its own."""
        return self._html.get_template(name).render

    def expression(self, source: str) -> Expression:
        """A value: `contact.orders`, `{{ contact.orders }}`, or a text with several `{{ }}`."""
        whole = _ONE_EXPRESSION.fullmatch(source)
        if whole or "{" not in source:
            return self._text.compile_expression(whole["inner"] if whole else source)
        return self.text(source)


def blank(value: object) -> bool:
    """Whether a `when` says no: nothing, white space, false, an empty collection. Zero says yes."""
    if isinstance(value, str):
        return not value.strip()
    if value is None or value is False or isinstance(value, Undefined):
        return True
    return isinstance(value, Sequence | Mapping | set | frozenset) and not value


class _Compiled(fields.Field[Callable[[Values], Any]]):
    """A template, compiled while the settings are loaded.

    It is tried without values, since Jinja and the filters report some mistakes only in use.
    """

    def __init__(self, compiler: Callable[[str], Callable[[Values], Any]], **options: Any) -> None:
        super().__init__(**options)
        self._compile = compiler

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        del attr, data, kwargs
        if not isinstance(value, str):
            raise ValidationError("Not a valid string.")
        try:
            compiled = self._compile(value)
        except TemplateNotFound as error:
            raise ValidationError(
                f"there is no template {error.name} beside the settings; write it"
            ) from None
        except TemplateSyntaxError as error:
            raise ValidationError(f"not a template: {error.message}") from None
        try:
            compiled({})
        except ValueError as error:
            raise ValidationError(str(error)) from None
        except (ArithmeticError, LookupError, TemplateError, TypeError):
            pass  # what lacks its values may fail; what is wrong in itself said so above
        return compiled


class _HtmlSchema(Schema):
    @validates_schema
    def _one_of_two(self, data: Mapping[str, Any], **_: Any) -> None:
        if ("html" in data) is ("template" in data):
            raise ValidationError("give either html or template")


def _schema(**own: fields.Field[Any]) -> Schema:
    return Schema.from_dict(dict(own))()


def _some(inner: fields.Field[Any], what: str) -> fields.Field[Any]:
    one_or_more = validate.Length(min=1, error=f"no {what}; give one at least")
    return fields.List(inner, required=True, validate=one_or_more)


def views_field() -> fields.Field[Any]:
    """The setting `views`: all of them when left out."""
    one = fields.String(validate=validate.OneOf(list(View), error="must be one of: {choices}"))
    return fields.List(
        one,
        load_default=lambda: list(View),
        validate=validate.Length(min=1, error="no views; leave it out to mean all"),
    )


class LayoutReader:
    """Reads the blocks of panels; mistakes are noted in the settings file. Built once, at start."""

    def __init__(self, file: SettingsFile, templates: Templates) -> None:
        def text() -> _Compiled:
            return _Compiled(templates.text, required=True)

        def expression() -> _Compiled:
            return _Compiled(templates.expression, load_default=None)

        def element(kind: type[Schema] = Schema, **own: fields.Field[Any]) -> Schema:
            every: dict[str, fields.Field[Any]] = {
                "type": fields.String(),
                "each": expression(),
                "when": expression(),
            }
            return kind.from_dict({**own, **every})()

        row = _schema(label=text(), text=text(), when=expression())
        column = _schema(header=text(), text=text(), when=expression())
        self._file = file
        self._block = _schema(
            name=text(),
            icon=fields.String(load_default="info", validate=_ICON),
            source=fields.String(load_default=None),
            views=views_field(),
            when=expression(),
            data=_some(fields.Dict(), "elements"),
        )
        self._elements = {
            "list": element(rows=_some(fields.Nested(row), "rows")),
            "table": element(columns=_some(fields.Nested(column), "columns")),
            "html": element(
                _HtmlSchema,
                html=_Compiled(templates.markup),
                template=_Compiled(templates.file),
                trusted=fields.Boolean(load_default=False),
            ),
            "accordion": element(title=text(), data=_some(fields.Dict(), "elements")),
        }

    def blocks(
        self, tables: Iterable[Mapping[str, Any]], path: str, sources: Iterable[str]
    ) -> tuple[BlockLayout, ...]:
        """The blocks at `path`, of a panel that asks `sources`."""
        read = (
            self._read_block(table, f"{path}[{at}]", tuple(sources))
            for at, table in enumerate(tables)
        )
        return tuple(block for block in read if block)

    def _read_block(
        self, table: Mapping[str, Any], path: str, sources: tuple[str, ...]
    ) -> BlockLayout | None:
        loaded = self._file.load_whole(self._block, table, path)
        data = self._read_elements(table.get("data"), f"{path}.data", list(self._elements))
        if not loaded:
            return None
        if loaded["source"] is not None and loaded["source"] not in sources:
            self._file.problem(f"{path}.source", unknown("source", loaded["source"], sources))
        return BlockLayout(
            path=path,
            name=loaded["name"],
            icon=loaded["icon"],
            source=loaded["source"],
            views=frozenset(map(View, loaded["views"])),
            when=loaded["when"],
            data=data,
        )

    def _read_elements(
        self, tables: object, path: str, types: Sequence[str]
    ) -> tuple[ElementLayout, ...]:
        read = (
            self._read_element(table, f"{path}[{at}]", types)
            for at, table in enumerate(tables if isinstance(tables, list) else ())
            if isinstance(table, dict)
        )
        return tuple(element for element in read if element)

    def _read_element(
        self, table: Mapping[str, Any], path: str, types: Sequence[str]
    ) -> ElementLayout | None:
        type_ = table.get("type", "")
        if type_ not in types:
            message = unknown("element", str(type_), types) if type_ else "missing; add it"
            self._file.problem(f"{path}.type", message)
            return None
        loaded = self._file.load_whole(self._elements[type_], table, path)
        inside = [name for name in types if name != "accordion"]
        data = (
            self._read_elements(table.get("data"), f"{path}.data", inside)
            if type_ == "accordion"
            else ()
        )
        return _element(type_, path, loaded, data) if loaded else None


def _element(
    type_: str, path: str, loaded: Mapping[str, Any], data: tuple[Any, ...]
) -> ElementLayout:
    each, when = loaded["each"], loaded["when"]
    if type_ == "list":
        rows = tuple(RowLayout(**row) for row in loaded["rows"])
        return ListLayout(path, rows, each, when)
    if type_ == "table":
        columns = tuple(ColumnLayout(**column) for column in loaded["columns"])
        return TableLayout(path, columns, each, when)
    if type_ == "html":
        markup = loaded.get("html") or loaded["template"]
        return HtmlLayout(path, markup, loaded["trusted"], each, when)
    return AccordionLayout(path, loaded["title"], data, each, when)
