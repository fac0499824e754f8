"""The application factory: the one place where the parts meet."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from flask import Flask
from marshmallow import Schema, fields

from imbox_plugin import plugins
from imbox_plugin.compose import Composer
from imbox_plugin.directory import Directory
from imbox_plugin.fit import Fit
from imbox_plugin.formats import Formats
from imbox_plugin.html import Sanitizer
from imbox_plugin.layout import LayoutReader, Templates, views_field
from imbox_plugin.links import LinkBuilder
from imbox_plugin.model import Key, View
from imbox_plugin.panel import Panel, PanelLink
from imbox_plugin.plugins import PluginError, Registry
from imbox_plugin.resilience import Breaker, Guard
from imbox_plugin.settings import (
    PanelTable,
    Settings,
    SettingsFile,
    SourceSchema,
    find_settings,
    read_settings,
)
from imbox_plugin.sources import DataSource, SourceContext, SourceError
from imbox_plugin.web import errors, webhook
from imbox_plugin.web.auth import Gate
from imbox_plugin.web.webhook import Service
from schemas.reply import reply_schema
from schemas.request import LookupSchema
from schemas.wire import WireNames, WireSchema

_Plugin = TypeVar("_Plugin")

_log = logging.getLogger(__name__)

# Of the deadline: what all sources together have, so that the card is made in time; and what a
# source is told, since one that gives up by itself can say why.
_DIRECTORY_SHARE = 0.95
_SOURCE_SHARE = 0.8


class _LinkSchema(Schema):
    """What every link's table has beside the options of its type."""

    type = fields.String(required=True)
    text = fields.String(required=True)
    views = views_field()


def create_app(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Flask:
    """The server, as the settings file describes it.

    Args:
        path: the settings file; None: what IMBOX_SETTINGS names, else `imbox.toml` here.
        environ: the environment variables.

    Raises:
        SettingsError: with every mistake in the settings.
    """
    file = SettingsFile(path or find_settings(environ, Path.cwd()), environ)
    app = Flask("imbox_plugin", static_folder=None)
    app.extensions["imbox_plugin"] = build(file)
    for warning in file.warnings:
        _log.warning("settings: %s", warning)
    app.register_blueprint(webhook.blueprint())
    errors.install(app)
    return app


def build(file: SettingsFile) -> Service:
    """Everything a request needs; every part notes its mistakes, so that one start shows them all.

    Raises:
        SettingsError: with every mistake in the settings. Warnings stay in the file.
    """
    settings = read_settings(file)
    wire = WireNames(**file.load(WireSchema(), settings.wire, "wire"))
    formats = _formats(file, settings)
    sanitizer = _sanitizer(file, settings)
    layouts = LayoutReader(file, Templates(formats, sanitizer, file.folder))
    sources = _sources(file, settings)
    guards = {
        table.name: Guard(table.threads, Breaker(table.breaker.failures, table.breaker.reset))
        for table in settings.sources
    }
    links = Registry(LinkBuilder, plugins.LINKS, plugins.LINK_GROUP, file.folder)
    panels = {}
    for table in settings.panels:
        directory = Directory(
            [sources[name] for name in table.sources if name in sources],
            guards,
            _DIRECTORY_SHARE * settings.deadline,
        )
        composer = Composer(
            layouts.blocks(table.blocks, f"{table.path}.blocks", table.sources),
            formats,
            sanitizer,
            Fit(settings.limits, formats),
            documented=wire.elements == "documented",
        )
        own_links = list(_links(file, table, links))
        panels[table.name] = Panel(table.name, directory, own_links, composer, table.trust)
    file.finish()
    return Service(
        panels=panels,
        gates={
            table.name: Gate(table.keys, table.key_header, query=table.key_in_query)
            for table in settings.panels
        },
        lookup_schema=LookupSchema(wire),
        reply_schema=reply_schema(wire),
        default_region=settings.default_region,
        strict=settings.strict,
    )


def _formats(file: SettingsFile, settings: Settings) -> Formats:
    """The formats of the locale; the locale and the time zone are tried one by one."""
    locale, timezone = settings.locale, settings.timezone
    try:
        Formats(locale)
    except ValueError as error:
        file.problem("locale", str(error))
        locale = "en"
    try:
        return Formats(locale, timezone)
    except ValueError as error:
        file.problem("timezone", str(error))
        return Formats(locale)


def _sanitizer(file: SettingsFile, settings: Settings) -> Sanitizer:
    try:
        return Sanitizer(settings.sanitizer)
    except ValueError as error:
        file.problem("sanitizer", str(error))
        return Sanitizer()


def _sources(file: SettingsFile, settings: Settings) -> dict[str, DataSource]:
    registry = Registry(DataSource, plugins.SOURCES, plugins.SOURCE_GROUP, file.folder)
    common = SourceSchema().fields
    sources = {}
    for table in settings.sources:
        kind = _kind(file, registry, table.type, table.path)
        if kind is None:
            continue
        options = file.load_whole(kind.Options(), table.options, table.path, common)
        if options is None:
            continue
        context = SourceContext(
            name=table.name,
            folder=file.folder,
            default_region=table.default_region,
            enrich=table.enrich,
            time_limit=_SOURCE_SHARE * settings.deadline,
        )
        source = _built(file, table.path, partial(kind, options, context))
        if source is None:
            continue
        if fault := _fault(source):
            file.problem(f"{table.path}.type", fault)
            continue
        sources[table.name] = source
        if table.default_region is None and Key.PHONE in source.keys:
            file.warn(
                f"{table.path}.default_region",
                "not set, so phone numbers written nationally find nobody; set it, e.g. to SE",
            )
    return sources


def _links(
    file: SettingsFile, panel: PanelTable, registry: Registry[LinkBuilder]
) -> Iterator[PanelLink]:
    common = _LinkSchema()
    for at, table in enumerate(panel.links):
        path = f"{panel.path}.links[{at}]"
        mine = {key: value for key, value in table.items() if key in common.fields}
        own = file.load_whole(common, mine, path)
        kind = _kind(file, registry, table.get("type"), path)
        if kind is None:
            continue
        rest = {key: value for key, value in table.items() if key not in common.fields}
        options = file.load_whole(kind.Options(), rest, path, common.fields)
        if own is None or options is None:
            continue
        builder = _built(file, path, partial(kind, options))
        if builder is not None:
            yield PanelLink(path, own["text"], frozenset(map(View, own["views"])), builder)


def _kind(
    file: SettingsFile, registry: Registry[_Plugin], type_: object, path: str
) -> type[_Plugin] | None:
    """The class of a `type`, or None with a problem noted."""
    if not isinstance(type_, str):
        return None
    try:
        return registry.load(type_)
    except PluginError as error:
        file.problem(f"{path}.type", str(error))
        return None
    except Exception as error:
        error.add_note(f"while loading {type_!r}, which is {path}.type in the settings")
        raise


def _built(file: SettingsFile, path: str, build: Callable[[], _Plugin]) -> _Plugin | None:
    """A plugin built of its options, or None with a problem noted where it refuses them."""
    try:
        return build()
    except (SourceError, ValueError) as error:
        file.problem(path, str(error) or f"refused with {type(error).__name__}; correct it")
        return None
    except Exception as error:
        error.add_note(f"while building what {path} in the settings describes")
        raise


def _fault(source: DataSource) -> str:
    """What the author of a source forgot that would only show at the first question."""
    if not isinstance(getattr(source, "context", None), SourceContext):
        return "its __init__ does not call super().__init__(options, context); add that"
    keys = getattr(source, "keys", None)
    if not keys or not frozenset(Key).issuperset(keys):
        return "its keys are none to search by; set them, as in keys = frozenset({Key.EMAIL})"
    return ""
