"""The registry: the `type` in the settings becomes a class, imported when it is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from marshmallow import Schema, fields, validate

from imbox_plugin.settings import unknown

T = TypeVar("T")

SOURCES = MappingProxyType(
    {
        "csv": "imbox_plugin.sources.csv_file:CsvSource",
        "excel": "imbox_plugin.sources.excel:ExcelSource",
        "inline": "imbox_plugin.sources.inline:InlineSource",
        "json": "imbox_plugin.sources.json_file:JsonSource",
        "rest": "imbox_plugin.sources.rest:RestSource",
        "sql": "imbox_plugin.sources.sql:SqlSource",
    }
)

LINKS = MappingProxyType(
    {
        "chatapp": "imbox_plugin.links.chatapp:ChatApp",
        "gallabox": "imbox_plugin.links.gallabox:Gallabox",
        "spoki": "imbox_plugin.links.spoki:Spoki",
        "url": "imbox_plugin.links.url:UrlTemplate",
        "wazzup": "imbox_plugin.links.wazzup:Wazzup",
        "whatsapp": "imbox_plugin.links.whatsapp:WhatsApp",
    }
)

SINKS = MappingProxyType(
    {
        "http": "imbox_plugin.sinks.http_post:HttpSink",
        "log": "imbox_plugin.sinks.log:LogSink",
    }
)

#: the entry-point groups of installed packages
SOURCE_GROUP = "imbox_plugin.sources"
LINK_GROUP = "imbox_plugin.links"
SINK_GROUP = "imbox_plugin.sinks"

_BUILT_IN = "built in"
_PLURAL = frozenset({"number", "table", "text", "value", "whole number"})


class PluginError(Exception):
    """A `type` that names no plugin; the message is for the settings."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A type that there is."""

    type: str
    #: `module:Class`
    target: str
    #: who offers it, for people to read
    origin: str


@dataclass(frozen=True, slots=True)
class Option:
    """One setting of a plugin's own, as its schema declares it."""

    #: with the tables that it lies in, such as `find.email` or `people[].email`
    name: str
    #: what is written in the settings, such as `text` or `list of tables`
    kind: str
    required: bool
    #: as it is written in the settings; None: nothing, or nothing that is written
    default: str | int | float | None
    secret: bool
    #: what it means, in a line; from `metadata={"help": ...}`
    help: str


class Registry(Generic[T]):
    """The types of one kind of plugin: built-in, installed, or `module:Class`.

    Args:
        kind: the class every plugin of this kind extends.
        builtin: type -> `module:Class`; an installed package never replaces one of these.
        group: the entry-point group of installed packages.
        folder: where modules of the integrator's own lie, beside the settings file.
    """

    def __init__(self, kind: type[T], builtin: Mapping[str, str], group: str, folder: Path) -> None:
        self._kind = kind
        self._folder = folder
        self.offers = (
            *(Offer(type_, target, _BUILT_IN) for type_, target in builtin.items()),
            *(
                Offer(entry.name, entry.value, _package(entry))
                for entry in entry_points(group=group)
            ),
        )
        self.types: Mapping[str, str] = MappingProxyType(
            {offer.type: offer.target for offer in reversed(self.offers)}
        )

    def offer(self, type_: str) -> Offer:
        """Who offers a type, also one that is written as `module:Class`.

        Raises:
            PluginError: nobody does, or several packages do.
        """
        offers = [offer for offer in self.offers if offer.type == type_]
        if not offers and ":" in type_:
            where = "beside" if self._beside(type_.partition(":")[0]) else "named in"
            return Offer(type_, type_, f"{where} the settings")
        if not offers:
            raise PluginError(unknown("type", type_, self.types))
        if len(offers) > 1 and offers[0].origin is not _BUILT_IN:
            # Whichever we took, it might not be the one that is meant to read all lookups.
            rivals = " and ".join(sorted(offer.origin for offer in offers))
            raise PluginError(f"{rivals} both offer it; uninstall one, or write {offers[0].target}")
        return offers[0]

    def load(self, type_: str) -> type[T]:
        """The class of a type.

        Raises:
            PluginError: there is no such type, module or class, or it is not of this kind.
            Exception: whatever a broken module raises while it is imported.
        """
        target = self.offer(type_).target
        found = self._resolve(target)
        if not (isinstance(found, type) and issubclass(found, self._kind)):
            raise PluginError(f"{target} is not a {self._kind.__name__}; name a class that is")
        if lacks := " and ".join(sorted(getattr(found, "__abstractmethods__", ()))):
            raise PluginError(f"{target} does not define {lacks}; add it to the class")
        options = getattr(found, "Options", None)
        if not (isinstance(options, type) and issubclass(options, Schema)):
            raise PluginError(f"{target}.Options is not a Schema; write class Options(Schema)")
        return found

    def _resolve(self, target: str) -> object:
        module, _, name = target.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
            raise PluginError("not the name of a class; write it as module:Class")
        # At the end of the path: a file beside the settings must not hide a module of Python's.
        if str(self._folder) not in sys.path:
            sys.path.append(str(self._folder))
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module and not module.startswith(f"{error.name}."):
                raise
            file = f"{module.replace('.', '/')}.py"
            raise PluginError(
                f"there is no module {module}; install it, or put {file} beside the settings"
            ) from None
        try:
            return attrgetter(name)(found)
        except AttributeError:
            own = self._beside(module)
            taken = Path(getattr(found, "__file__", None) or "")
            cure = "correct the name"
            if own and own.resolve() != taken.resolve():
                cure += f", or rename {own.name}: another {module} comes before it"
            raise PluginError(f"the module {module} has no {name}; {cure}") from None

    def _beside(self, module: str) -> Path | None:
        """The file of a module beside the settings, if there is one."""
        path = self._folder.joinpath(*module.split("."))
        files = (path.with_name(f"{path.name}.py"), path / "__init__.py")
        return next((file for file in files if file.is_file()), None)


def options_of(schema: Schema) -> list[Option]:
    """Every option of a schema and of the tables inside it; like tables are described once."""
    return list(_options(schema, "", {}))


def _options(schema: Schema, path: str, seen: dict[type[Schema], str]) -> Iterator[Option]:
    for attribute, field in schema.fields.items():
        name = path + (field.data_key or attribute)
        table, place = _table_in(field, name)
        alike = seen.setdefault(type(table), place) if table else place
        default = field.load_default
        yield Option(
            name=name,
            kind=_kind(field) if alike == place else f"{_kind(field)} like {alike}",
            required=field.required,
            default=default if isinstance(default, str | int | float) else None,
            secret=bool(field.metadata.get("secret")),
            help=str(field.metadata.get("help", "")),
        )
        if table and alike == place:
            yield from _options(table, f"{place}.", seen)


def _table_in(field: fields.Field[Any], name: str) -> tuple[Schema | None, str]:
    """The schema of the tables that a field holds, and how such a table is called."""
    if isinstance(field, fields.List):
        return _table_in(field.inner, f"{name}[]")
    if isinstance(field, fields.Dict) and field.value_field:
        return _table_in(field.value_field, f"{name}.<name>")
    return (field.schema if isinstance(field, fields.Nested) else None), name


def _kind(field: fields.Field[Any]) -> str:
    """What is written in the settings for a field."""
    choices = [one for one in field.validators if isinstance(one, validate.OneOf)]
    if choices:
        return " or ".join(f'"{choice}"' for choice in choices[0].choices)
    match field:
        case fields.List():
            kind = f"list of {_kinds(field.inner)}"
        case fields.Dict() if field.value_field:
            kind = f"table of {_kinds(field.value_field)}"
        case fields.Nested() | fields.Dict():
            kind = "table"
        case fields.Boolean():
            kind = "true or false"
        case fields.Integer():
            kind = "whole number"
        case fields.Number():
            kind = "number"
        case fields.String():
            kind = "text"
        case _:
            kind = "value"
    return kind


def _kinds(field: fields.Field[Any]) -> str:
    kind = _kind(field)
    return f"{kind}s" if kind in _PLURAL else kind


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "installed"
