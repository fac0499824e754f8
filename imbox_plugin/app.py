"""The application factory: the one place where the parts meet."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from flask import Flask
from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from werkzeug.middleware.proxy_fix import ProxyFix

from imbox_plugin import plugins
from imbox_plugin.cache import Cache, Memory, Purges, Store
from imbox_plugin.compose import Composer
from imbox_plugin.directory import Directory
from imbox_plugin.events import Courier
from imbox_plugin.fit import Fit
from imbox_plugin.formats import Formats
from imbox_plugin.html import Sanitizer
from imbox_plugin.layout import LayoutReader, Templates, views_field, when_field
from imbox_plugin.links import LinkBuilder, LinkContext
from imbox_plugin.links.address import check_event_address
from imbox_plugin.lint import Linter, declared_hosts
from imbox_plugin.model import Key, View
from imbox_plugin.panel import EXPIRES, Action, EventAction, Panel, PanelLink
from imbox_plugin.plugins import PluginError, Registry
from imbox_plugin.recorder import Recorder, recorder_seal
from imbox_plugin.resilience import Breaker, Guard
from imbox_plugin.seals import Seal
from imbox_plugin.settings import (
    CacheTable,
    PanelTable,
    Settings,
    SettingsFile,
    SourceSchema,
    find_settings,
    join,
    read_settings,
    unknown,
)
from imbox_plugin.sinks import EventSink, SinkContext
from imbox_plugin.sources import DataSource, SourceContext, SourceError
from imbox_plugin.tickets import Tickets
from imbox_plugin.web import errors, health, overload, wazzup, webhook
from imbox_plugin.web.auth import Gate
from imbox_plugin.web.open import Inbox, Opener
from imbox_plugin.web.overload import Door
from imbox_plugin.web.replies import Replies
from imbox_plugin.web.webhook import Service, Shortcut
from imbox_plugin.web.workbench import Access, Workbench, is_demo
from schemas.reply import reply_schema
from schemas.request import LookupSchema, parameter_kinds
from schemas.wire import WireNames, WireSchema

if TYPE_CHECKING:
    from imbox_plugin.redis_cache import RedisCache

_Plugin = TypeVar("_Plugin")

_log = logging.getLogger(__name__)

# Of the deadline: what all sources together have, so that the card is made in time; what a source
# is told, since one that gives up by itself can say why; and what it must have had to be to blame.
_DIRECTORY_SHARE = 0.95
_SOURCE_SHARE = 0.8
_FAIR_SHARE = 0.5


#: how a layout asks for a link
_LINK_IN_LAYOUT = re.compile(r"\blinks\.(\w+)")


class _EventSchema(Schema):
    """What is done about one type of event of a vendor's window."""

    action = fields.String(
        required=True,
        validate=validate.OneOf(get_args(Action), error="must be one of: {choices}"),
    )
    url = fields.String(load_default=None, validate=check_event_address)

    @validates_schema
    def _address_to_open(self, data: Mapping[str, Any], **_: Any) -> None:
        if data["action"] == "open" and not data["url"]:
            raise ValidationError("missing; add the address to open", "url")
        if data["action"] != "open" and data["url"]:
            raise ValidationError("only for the action open; take it out", "url")


def _link_schema(templates: Templates) -> Schema:
    """What every link's table has beside the options of its type."""
    name = validate.Regexp(
        r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z", error="use letters, digits and _, beginning with a letter"
    )
    expires = validate.Range(min=60, max=604_800, error="must be from 60 to 604800 seconds")
    one_of = validate.OneOf(["embed", "redirect"], error="must be one of: {choices}")
    own: dict[str, fields.Field[Any]] = {
        "type": fields.String(required=True),
        "text": fields.String(required=True),
        "name": fields.String(validate=name),
        "views": views_field(),
        "when": when_field(templates),
        "expires": fields.Integer(strict=True, load_default=EXPIRES, validate=expires),
        "open": fields.String(load_default="embed", validate=one_of),
        "events": fields.Dict(fields.String(), fields.Nested(_EventSchema), load_default=dict),
    }
    return Schema.from_dict(own)()


class _SinkSchema(Schema):
    """What every sink's table has beside the options of its type."""

    type = fields.String(required=True)


def create_app(
    path: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    inbox: Inbox | None = None,
) -> Flask:
    """The server, as the settings file describes it.

    Args:
        path: the settings file; None: what IMBOX_SETTINGS names, else `imbox.toml` here.
        environ: the environment variables.
        inbox: takes what vendors' windows tell, in the place of what `[events]` says.

    Raises:
        SettingsError: with every mistake in the settings.
    """
    file = SettingsFile(path or find_settings(environ, Path.cwd()), environ)
    app = Flask("imbox_plugin", static_folder=None)
    most = _places(file, environ)
    service = app.extensions["imbox_plugin"] = build(file, inbox)
    _check_threads(file, service.settings, most)
    for warning in file.warnings:
        _log.warning("settings: %s", warning)
    app.register_blueprint(webhook.blueprint())
    app.register_blueprint(health.blueprint())
    app.register_blueprint(
        Opener(
            service.panels, service.tickets, service.base_url, service.formats, service.inbox
        ).blueprint()
    )
    settings = service.settings
    demo = is_demo(file.path, environ)
    if demo or settings.workbench.enabled:
        gate = Gate(settings.workbench.keys) if settings.workbench.keys else None
        bench = Workbench(service, Access(gate, demo), settings.record.folder, file.path)
        app.register_blueprint(bench.blueprint())
    if service.replies:
        app.wsgi_app = Shortcut(  # type: ignore[method-assign]
            app.wsgi_app, service, service.replies
        )
    app.wsgi_app = Door(app.wsgi_app, most, health.PATHS)  # type: ignore[method-assign]
    if service.proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=service.proxies, x_proto=0, x_host=0
        )
    app.register_blueprint(wazzup.blueprint())
    errors.install(app)
    return app


def _places(file: SettingsFile, environ: Mapping[str, str]) -> int:
    """How many requests a process works on at a time; a mistake is noted."""
    try:
        return overload.places(environ)
    except ValueError as error:
        file.problem("", str(error))
        return 0


def _check_threads(file: SettingsFile, settings: Settings, most: int) -> None:
    """Warn of sources that could hold every place of a process, so that nobody else had one."""
    for table in settings.sources:
        if table.threads >= most:
            file.warn(
                f"{table.path}.threads",
                f"{table.threads}, and a process has {most} places, so this source alone can hold "
                "them all while it is slow; set it lower, or WEB_THREADS higher",
            )


def build(file: SettingsFile, inbox: Inbox | None = None) -> Service:
    """Everything a request needs; every part notes its mistakes, so that one start shows them all.

    Args:
        file: the settings.
        inbox: takes what vendors' windows tell, in the place of what `[events]` says.

    Raises:
        SettingsError: with every mistake in the settings. Warnings stay in the file.
    """
    settings = read_settings(file)
    wire = WireNames(**file.load(WireSchema(), settings.wire, "wire"))
    formats = _formats(file, settings)
    sanitizer = _sanitizer(file, settings)
    templates = Templates(formats, sanitizer, file.folder)
    layouts = LayoutReader(file, templates)
    sources = _sources(file, settings)
    guards = {
        table.name: Guard(
            table.threads,
            Breaker(table.breaker.failures, table.breaker.reset),
            _FAIR_SHARE * settings.deadline,
        )
        for table in settings.sources
    }
    shared, purges = shared_cache(file, settings), Purges(settings.state)
    caches = _caches(settings, sources, shared, purges)
    link_schema = _link_schema(templates)
    registry = Registry(LinkBuilder, plugins.LINKS, plugins.LINK_GROUP, file.folder)
    link_context = LinkContext(
        folder=file.folder,
        state=settings.state,
        seal=Seal(settings.secret_keys, "links") if settings.secret_keys else None,
    )
    if settings.record.always and not settings.secret_keys:
        file.problem(
            "record.always", "needs secret_keys, to replace identities with; add secret_keys"
        )
    tickets = _tickets(settings)
    panels = {}
    courier = _courier(file, settings)
    inbox = inbox or courier
    for table in settings.panels:
        if table.probe:
            continue
        directory = Directory(
            [sources[name] for name in table.sources if name in sources],
            guards,
            _DIRECTORY_SHARE * settings.deadline,
            caches,
        )
        composer = Composer(
            layouts.blocks(table.blocks, f"{table.path}.blocks", table.sources),
            formats,
            sanitizer,
            Fit(settings.limits, formats),
            documented=wire.elements == "documented",
        )
        own_links = list(_links(file, table, registry, link_context, link_schema, inbox=inbox))
        _check_layout(file, table, own_links)
        panels[table.name] = Panel(
            table.name,
            directory,
            own_links,
            composer,
            table.trust,
            tickets=tickets,
            brand=table.brand,
        )
    _check_tickets(file, panels.values())
    hooks = dict(_hooks(file, settings, courier))
    file.finish()
    schema = LookupSchema(wire)
    return Service(
        panels=panels,
        gates={
            table.name: Gate(table.keys, table.key_header, query=table.key_in_query)
            for table in settings.panels
        },
        lookup_schema=schema,
        reply_schema=reply_schema(wire),
        default_region=settings.default_region,
        strict=settings.strict,
        replies=Replies(purges) if caches and not shared and not templates.reads_age else None,
        linter=Linter(
            asdict(wire),
            declared_hosts(file.tables, file.folder) | settings.lint.hosts,
            frozenset(settings.wire),
            settings.lint.ignore,
        ),
        recorder=Recorder(
            settings.state,
            recorder_seal(settings.secret_keys),
            parameter_kinds(schema),
            region=settings.default_region,
            always=settings.record.always,
            most=settings.record.most,
        ),
        settings=settings,
        formats=formats,
        base_url=settings.base_url,
        proxies=settings.proxies,
        tickets=tickets,
        inbox=inbox,
        courier=courier,
        wazzup=hooks,
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


def shared_cache(file: SettingsFile, settings: Settings) -> RedisCache | None:
    """The cache in Redis, if the settings name one; a mistake is noted."""
    if not settings.cache or not settings.secret_keys:
        return None
    try:
        # Only who has a Redis needs its package.
        from imbox_plugin.redis_cache import RedisCache  # noqa: PLC0415
    except ModuleNotFoundError:
        file.problem("cache.url", "needs an extra; pip install 'imbox-plugin[redis]'")
        return None
    table = settings.cache
    try:
        return RedisCache(table.url, table.prefix, Seal(settings.secret_keys, "cache entries"))
    except ValueError:
        # Its message may have the address.
        file.problem("cache.url", "not the address of a Redis; write it as redis://host:6379/0")
        return None


def _caches(
    settings: Settings,
    sources: Mapping[str, DataSource],
    shared: RedisCache | None,
    purges: Purges,
) -> dict[str, Cache]:
    """The caches of the sources that have one: in Redis, else in the memory of this process."""
    # In memory, the names need to mean something to this process alone.
    seal = Seal(settings.secret_keys if shared else [secrets.token_hex(32)], "cache")
    caches = {}
    for table in settings.sources:
        source = sources.get(table.name)
        life = table.cache or CacheTable()
        if source is None or life.ttl == 0 or not (table.cache or source.cached):
            continue
        store: Store = shared or Memory(purges, life.entries)
        options = json.dumps(table.options, sort_keys=True, default=str)
        # With other settings a source gives other answers.
        whole = repr((table.name, table.type, table.default_region, options))
        caches[table.name] = Cache(store, life, seal, whole, alone=source.by_identity_alone)
    return caches


def _links(
    file: SettingsFile,
    panel: PanelTable,
    registry: Registry[LinkBuilder],
    context: LinkContext,
    common: Schema,
    *,
    inbox: Inbox | None,
) -> Iterator[PanelLink]:
    names: set[str] = set()
    for at, table in enumerate(panel.links):
        path = f"{panel.path}.links[{at}]"
        mine = {key: value for key, value in table.items() if key in common.fields}
        own = file.load_whole(common, mine, path)
        name = str(mine.get("name", mine.get("type", "")))
        if name in names:
            file.problem(
                f"{path}.name",
                f"another link of this panel is named {name}; give it one of its own",
            )
        names.update({name} if name else ())
        kind = _kind(file, registry, table.get("type"), path)
        if kind is None:
            continue
        rest = {key: value for key, value in table.items() if key not in common.fields}
        options = file.load_whole(kind.Options(), rest, path, common.fields)
        if own is None or options is None:
            continue
        builder = _built(file, path, partial(kind, options, context))
        if builder is not None:
            link = PanelLink(
                path,
                name,
                own["text"],
                frozenset(map(View, own["views"])),
                builder,
                own["when"],
                own["expires"],
                embed=own["open"] == "embed",
                events={type_: EventAction(**event) for type_, event in own["events"].items()},
            )
            _check_link(file, link, table, inbox)
            yield link


def _check_link(
    file: SettingsFile, link: PanelLink, table: Mapping[str, Any], inbox: Inbox | None
) -> None:
    """What would have no effect, though each setting is right by itself."""
    if re.search(r"\blinks\b", str(table.get("when", ""))):
        file.problem(f"{link.path}.when", "a condition cannot ask for links; take that out")
    for name in ("expires", "open", "events"):
        if name in table and not link.builder.mints:
            message = "only for a link that leads through this server; take it out"
            file.problem(f"{link.path}.{name}", message)
    if link.events and not link.embed:
        message = 'only a page that is embedded tells of events; take them out, or open = "embed"'
        file.problem(f"{link.path}.events", message)
    for type_, event in link.events.items():
        if event.action == "deliver" and inbox is None:
            place = join(join(f"{link.path}.events", type_), "action")
            file.problem(place, "there is nobody to deliver to; use open or badge")
    if link.events and link.embed and link.builder.mints:
        _check_events(file, link)


def _check_events(file: SettingsFile, link: PanelLink) -> None:
    """Events that the embedded page never tells of."""
    path, told = f"{link.path}.events", link.builder.events
    if told is None:
        return
    if not told:
        file.problem(path, "the page of this type of link tells of no events; take them out")
        return
    for type_ in link.events:
        option = told.get(type_)
        if option is None:
            file.problem(join(path, type_), unknown("event of this type of link", type_, told))
        elif option and not link.builder.options.get(option):
            message = f"the page tells of it only with {option} = true; add that, or take this out"
            file.problem(join(path, type_), message)


def _check_layout(file: SettingsFile, panel: PanelTable, links: Iterable[PanelLink]) -> None:
    """Links that layouts ask for and that there are not."""
    known = {link.name for link in links}
    for at, block in enumerate(panel.blocks):
        for name in sorted({*_LINK_IN_LAYOUT.findall(str(block))} - known):
            # Perhaps it is only a word in a text, so it does not stop the start.
            file.warn(f"{panel.path}.blocks[{at}]", f"links.{name}: {unknown('link', name, known)}")


def _check_tickets(file: SettingsFile, panels: Iterable[Panel]) -> None:
    """What links that are minted at a click cannot do without."""
    path = next(
        (link.path for panel in panels for link in panel.links.values() if link.builder.mints), None
    )
    if path and not file.tables.get("base_url"):
        file.problem(
            "base_url",
            f"missing, and {path} leads through this server; add its public address, such as "
            '"https://plugin.example.com"',
        )
    if path and not file.tables.get("secret_keys"):
        file.problem(
            "secret_keys",
            f"none, and {path} leads through this server, which seals its addresses; add "
            '[{ env = "IMBOX_SECRET_KEY" }]',
        )


def _tickets(settings: Settings) -> Tickets | None:
    if not settings.base_url or not settings.secret_keys:
        return None
    return Tickets(settings.secret_keys, settings.base_url)


def _courier(file: SettingsFile, settings: Settings) -> Courier | None:
    table = settings.events
    if table is None:
        return None
    # SQLAlchemy takes 13 MB of every process, and most servers keep no events.
    from imbox_plugin.outbox import Outbox  # noqa: PLC0415

    sink = _sink(file, table.sink) if table.sink is not None else None
    if not settings.secret_keys:
        file.problem("secret_keys", "missing, and events are sealed with them; add one")
        return None
    seal = Seal(settings.secret_keys, "events")
    try:
        database = table.url or settings.state / "events.db"
        outbox = Outbox(database, file.folder, seal, table.keep_days)
    except ValueError as error:
        file.problem("events.url", str(error))
        return None
    return Courier(outbox, sink, table.attempts) if sink else None


def _sink(file: SettingsFile, table: Mapping[str, Any]) -> EventSink | None:
    registry = Registry(EventSink, plugins.SINKS, plugins.SINK_GROUP, file.folder)
    path, common = "events.sink", _SinkSchema()
    file.load(common, {key: value for key, value in table.items() if key in common.fields}, path)
    kind = _kind(file, registry, table.get("type"), path)
    if kind is None:
        return None
    rest = {key: value for key, value in table.items() if key not in common.fields}
    options = file.load_whole(kind.Options(), rest, path, common.fields)
    if options is None:
        return None
    return _built(file, path, partial(kind, options, SinkContext(folder=file.folder)))


def _hooks(
    file: SettingsFile, settings: Settings, courier: Courier | None
) -> Iterator[tuple[str, Gate]]:
    """By panel, who may tell what Wazzup wants to be created."""
    for panel in settings.panels:
        if panel.wazzup is None:
            continue
        if settings.events is None:
            file.problem(panel.wazzup.path, "leads nowhere; add [events] with a sink")
        elif courier and type(courier.sink).answer is EventSink.answer:
            file.warn(
                panel.wazzup.path,
                "the sink gives no answers, so Wazzup learns no id of what is created; use http, "
                "or a sink of your own with an answer",
            )
        yield panel.name, Gate(panel.wazzup.keys, query=panel.wazzup.key_in_query)


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
