"""The layout in the settings becomes templates, compiled once at start."""

from __future__ import annotations

import re
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
    Sized,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from jinja2 import ChainableUndefined, FileSystemLoader, Undefined, meta, nodes
from jinja2.exceptions import FilterArgumentError, TemplateNotFound, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from imbox_plugin.formats import Formats
from imbox_plugin.html import Sanitizer
from imbox_plugin.model import View
from imbox_plugin.plain import PlainTemplates
from imbox_plugin.settings import SettingsFile, unknown

#: what a template reads, by the names in `_VALUES`
Values: TypeAlias = Mapping[str, Any]
Text: TypeAlias = Callable[[Values], str]
Expression: TypeAlias = Callable[[Values], Any]

_ICON = validate.Regexp(
    r"[a-z0-9_]{1,64}\Z", error="not a Material Symbols name; they are like contact_page"
)
_OTHER = re.compile(r"\bcontacts\.(\w+)")
_ONE_EXPRESSION = re.compile(r"\s*\{\{[-+]?(?P<inner>(?:(?!\{\{).)*?)[-+]?\}\}\s*", re.DOTALL)
_MARKS = re.compile(r"\{[{%#]")
#: what of a match is the same as long as the answer is
_LASTING = frozenset({"key", "source", "via"})
_VALUES = frozenset({"contact", "contacts", "index", "item", "links", "lookup", "match"})
# The exact type is compared first, and `Mapping` asks each class once more for every value.
_MAPPINGS = (dict, Mapping)


@dataclass(frozen=True, slots=True)
class MarkupTemplate:
    """Markup whose values are escaped."""

    render: Text
    #: it is one value through `| sanitize` and nothing beside it, so it is clean as it comes
    clean: bool

    def __call__(self, values: Values) -> str:
        """The markup with its values."""
        return self.render(values)


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
    markup: MarkupTemplate
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
    #: further sources whose contacts it shows, as `contacts.shop.orders`
    others: frozenset[str]
    views: frozenset[View]
    when: Expression | None
    data: tuple[ElementLayout, ...]


class _Method(ChainableUndefined):
    """What a mapping has beside its details, such as `items`: not there unless it is called."""

    __slots__ = ()

    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(self._undefined_obj, str(self._undefined_name))(*args, **options)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja in a sandbox, where `items` or `keys` of a mapping is the detail of that name."""

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        # A plain dict: each rendering copies it, and Jinja's own ChainMap is slow to copy.
        return {**self.globals, **(d or {})}

    def getattr(self, obj: Any, attribute: str) -> Any:
        if not isinstance(obj, _MAPPINGS):
            return super().getattr(obj, attribute)
        if attribute in obj:
            return obj[attribute]
        found = super().getattr(obj, attribute)
        return found if isinstance(found, Undefined) else _Method(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if not isinstance(obj, _MAPPINGS):
            return super().getitem(obj, argument)
        try:
            return obj[argument]
        except (TypeError, LookupError):
            return self.undefined(obj=obj, name=argument)


class Templates:
    """Compiles the texts, markup and expressions of layouts. Built once.

    All is compiled here, the files that templates include as well: what changes on disk later
    shows after the next start. The methods raise ValidationError, and Jinja's own errors, for what
    is wrong at any time.

    Args:
        formats: gives the filters, and the text of every plain value.
        sanitizer: for the filter `sanitize`.
        folder: where `template = "..."` files lie.
    """

    def __init__(self, formats: Formats, sanitizer: Sanitizer, folder: Path) -> None:
        #: whether anything compiled so far shows how old an answer is, which changes by itself
        self.reads_age = False

        def plain(value: Any) -> Any:
            if type(value) is str:
                return value
            return "" if isinstance(value, Undefined) or callable(value) else formats.text(value)

        def sanitize(value: Any) -> Markup:
            return Markup(sanitizer.clean(str(plain(value))))  # noqa: S704

        named = (formats.date, formats.datetime, formats.number, formats.currency, formats.phone)
        filters = {method.__name__: _filter(method) for method in named}
        self._text = _Environment(undefined=ChainableUndefined, finalize=plain)
        self._text.filters.update(filters)
        self._folder = FileSystemLoader(folder)
        self._html = _Environment(
            undefined=ChainableUndefined,
            finalize=plain,
            autoescape=True,
            loader=self._folder,
            auto_reload=False,
            cache_size=-1,
        )
        self._html.filters.update(filters)
        self._html.filters["sanitize"] = sanitize
        del self._html.filters["safe"]
        self._plain_text = PlainTemplates(self._text, _VALUES, filters)
        self._plain_html = PlainTemplates(self._html, _VALUES, {*filters, "sanitize"})

    def text(self, source: str) -> Text:
        """A text with `{{ }}` in it."""
        tree = self._text.parse(source)
        self.reads_age |= _reads_age(tree)
        if any(True for _ in meta.find_referenced_templates(tree)):
            raise ValidationError("a text includes no files; use an html element")
        compiled = self._text.from_string(source)
        _check_names(tree)
        if not _MARKS.search(source):
            # A label or a header, most likely: it is the same on every card.
            same = compiled.render()
            return lambda _: same
        return self._plain_text.text(tree) or compiled.render

    def markup(self, source: str) -> MarkupTemplate:
        """Markup whose values are escaped."""
        tree = self._html.parse(source)
        self._check_markup(tree)
        compiled = self._html.from_string(source)
        _check_names(tree)
        return MarkupTemplate(self._plain_html.text(tree) or compiled.render, _is_clean(tree))

    def file(self, name: str) -> MarkupTemplate:
        """Markup in a file of its own."""
        tree = self._read(name)
        compiled = self._html.get_template(name)
        _check_names(tree)
        return MarkupTemplate(compiled.render, _is_clean(tree))

    def condition(self, source: str) -> Expression:
        """A value: `contact.tier`, `{{ contact.tier }}`, or a text with several `{{ }}`."""
        return self.text(source) if _expression(source) is None else self.items(source)

    def items(self, source: str) -> Expression:
        """A value with items: `contact.orders` or `{{ contact.orders }}`."""
        expression = _expression(source)
        if expression is None:
            raise ValidationError("a text has no items; write one value, such as contact.orders")
        compiled = self._text.compile_expression(expression)
        tree = self._text.parse(f"{{{{ {expression} }}}}")
        self.reads_age |= _reads_age(tree)
        _check_names(tree)
        read = self._plain_text.value(tree) or compiled

        def value(values: Values) -> Any:
            found = read(values)
            # a filter such as selectattr gives an iterator, which is never blank and read once
            return tuple(found) if isinstance(found, Iterator) else found

        return value

    def _read(self, name: str, inside: frozenset[str] = frozenset()) -> nodes.Template:
        """The file of this name, parsed and checked."""
        source, path, _ = self._folder.get_source(self._html, name)
        tree = self._html.parse(source, name, path)
        if name not in inside:
            self._check_markup(tree, inside | {name})
        return tree

    def _check_markup(self, tree: nodes.Template, inside: frozenset[str] = frozenset()) -> None:
        """Refuse unescaped values, and compile the files that are included."""
        self.reads_age |= _reads_age(tree)
        unescaped = any(node.name == "safe" for node in tree.find_all(nodes.Filter))
        if unescaped or tree.find(nodes.EvalContextModifier):
            raise ValidationError("values stay escaped; one that is HTML passes through | sanitize")
        for name in meta.find_referenced_templates(tree):
            if name is None:
                raise ValidationError("a value names the file to include; write it in quotes")
            self._read(name, inside)
            self._html.get_template(name)


def _filter(method: Callable[..., str]) -> Callable[..., str]:
    """A filter that tells wrong arguments, which no value mends, from all else that may fail."""

    def apply(value: Any, *arguments: Any, **options: Any) -> str:
        try:
            return method(value, *arguments, **options)
        except (TypeError, ValueError) as error:
            raise FilterArgumentError(str(error).removeprefix("Formats.")) from None

    return apply


def _is_clean(tree: nodes.Template) -> bool:
    """Whether all that the template gives has just passed the sanitizer, which is its last filter.

    Two such values side by side are not taken for clean, as one might end inside the other.
    """
    match tree.body:
        case [nodes.Output(nodes=[nodes.Filter(name="sanitize")])]:
            return True
    return False


def _expression(source: str) -> str | None:
    """What stands in the only `{{ }}`, or the source itself; None: it is a text."""
    if whole := _ONE_EXPRESSION.fullmatch(source):
        return whole["inner"]
    return None if _MARKS.search(source) else source


def _reads_age(tree: nodes.Template) -> bool:
    """Whether `match.age` is read, or anything that might be."""
    others = {id(one.node) for one in tree.find_all(nodes.Getattr) if one.attr in _LASTING}
    return any(one.name == "match" and id(one) not in others for one in tree.find_all(nodes.Name))


def _check_names(tree: nodes.Template) -> None:
    """Refuse a name that stands for nothing: it would be blank on every card."""
    set_here = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    for name in sorted(meta.find_undeclared_variables(tree) - set_here - _VALUES):
        raise ValidationError(
            f"{unknown('value', name, _VALUES)}; a detail is written contact.{name}"
        )


def blank(value: object) -> bool:
    """Whether a `when` says no: nothing, white space, false, an empty collection. Zero says yes."""
    if isinstance(value, str):
        return not value.strip()
    if value is None or value is False:
        return True
    return isinstance(value, Sized) and len(value) == 0


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
                f"there is no template {error.name} in the folder of the settings; write it there"
            ) from None
        except TemplateSyntaxError as error:
            where = f"{error.name}, line {error.lineno}: " if error.name else ""
            raise ValidationError(f"not a template: {where}{error.message}") from None
        except OSError as error:
            raise ValidationError(
                f"the template cannot be read ({error.strerror}); check its rights"
            ) from None
        except UnicodeDecodeError:
            raise ValidationError("the template is not UTF-8 text; save it as UTF-8") from None
        try:
            compiled({})
        except FilterArgumentError as error:
            raise ValidationError(str(error)) from None
        except Exception:  # noqa: BLE001, S110
            pass  # what lacks its values may fail
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


def when_field(templates: Templates) -> fields.Field[Any]:
    """The setting `when`: always when left out."""
    return _Compiled(templates.condition, load_default=None)


class LayoutReader:
    """Reads the blocks of panels; mistakes are noted in the settings file. Built once, at start."""

    def __init__(self, file: SettingsFile, templates: Templates) -> None:
        def text() -> _Compiled:
            return _Compiled(templates.text, required=True)

        def when() -> fields.Field[Any]:
            return when_field(templates)

        def element(kind: type[Schema] = Schema, **own: fields.Field[Any]) -> Schema:
            every: dict[str, fields.Field[Any]] = {
                "type": fields.String(),
                "each": _Compiled(templates.items, load_default=None),
                "when": when(),
            }
            return kind.from_dict({**own, **every})()

        row = _schema(label=text(), text=text(), when=when())
        column = _schema(header=text(), text=text(), when=when())
        self._file = file
        self._block = _schema(
            name=text(),
            icon=fields.String(load_default="info", validate=_ICON),
            source=fields.String(load_default=None),
            views=views_field(),
            when=when(),
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
        source = table.get("source")
        if isinstance(source, str) and source not in sources:
            self._file.problem(f"{path}.source", unknown("source", source, sources))
        others = frozenset(_OTHER.findall(str(table)))
        for name in sorted(others.difference(sources)):
            # Perhaps it is only a word in a text, so it does not stop the start.
            self._file.warn(path, f"contacts.{name}: {unknown('source', name, sources)}")
        if not loaded:
            return None
        return BlockLayout(
            path=path,
            name=loaded["name"],
            icon=loaded["icon"],
            source=loaded["source"],
            others=others,
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
            if type_ == "accordion":
                message = f"an accordion holds no other; use one of: {', '.join(types)}"
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
