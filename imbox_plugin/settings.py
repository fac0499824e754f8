"""The settings file becomes Settings; every mistake is found at start, with its path and a cure."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from ipaddress import ip_address
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import phonenumbers
from marshmallow import Schema, ValidationError, fields, missing, validate, validates_schema

from imbox_plugin.model import SHARED_KEYS, Key, View

_REFERENCES = frozenset({"env", "file"})
_MIN_SECRET = 16
#: characters; what is shorter is no secret, and would be found in the words of a message
_TELLTALE = 8
_NO_PANELS = "no panels; add [panels.default] with its keys"
#: what the linter looks for
LINT_RULES = (
    "empty-label",
    "long-text",
    "unknown-icon",
    "html-changed",
    "foreign-host",
    "wide-table",
    "undocumented-name",
    "settings",
)
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
#: without `_`, since gunicorn drops such headers
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
#: what marshmallow says of a setting that is none
_UNKNOWN = "Unknown field."
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the settings: where it is, and a sentence with what is wrong and the cure."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SettingsError(Exception):
    """The server cannot start with these settings; `problems` has every mistake found."""

    def __init__(self, file: Path | None, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        count = len(self.problems)
        where = f"{file}: " if file else ""
        lines = [f"{where}{count} mistake{'s' if count != 1 else ''} in the settings"]
        super().__init__("\n".join([*lines, *(f"  {problem}" for problem in self.problems)]))


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One active key of a panel: what ImBox sends to prove that it is ImBox."""

    id: str
    secret: str = field(repr=False)
    #: the moment it stops to be accepted; None: never
    expires: datetime | None = None
    #: when it was made, for those who look after keys
    created: datetime | None = None

    def is_active(self, now: datetime) -> bool:
        """Whether it is accepted at that moment."""
        return self.expires is None or now < self.expires


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one card may hold, since what ImBox bears is not documented."""

    blocks: int = 20
    #: rows of one list or table, sections of one accordion element
    rows: int = 50
    #: cells of one table
    cells: int = 400
    #: characters of one text
    characters: int = 1_000
    #: characters of one html element before it is sanitised
    html: int = 20_000
    #: bytes of the whole reply as UTF-8
    bytes: int = 200_000


@dataclass(frozen=True, slots=True)
class LintTable:
    """What the linter is told."""

    #: hosts that links may lead to, beside those that the settings name; `*.` stands for all below
    hosts: frozenset[str] = frozenset()
    #: rules that are not wanted
    ignore: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RecordTable:
    """Whether the requests of ImBox are kept."""

    always: bool
    #: requests
    most: int
    #: of the integrator's own recordings
    folder: Path


@dataclass(frozen=True, slots=True)
class WorkbenchTable:
    """Whether there is a workbench, and who may use it."""

    enabled: bool
    keys: tuple[AccessKey, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class BreakerTable:
    """When a source that fails is left alone, and for how long."""

    #: failures in a row
    failures: int = 5
    #: seconds
    reset: float = 30.0


@dataclass(frozen=True, slots=True)
class CacheTable:
    """For how long an answer of a source is shown again, in seconds."""

    #: without asking again; 0: every question is put to the source
    ttl: float = 30.0
    #: the same for an answer that shows nobody
    negative_ttl: float = 10.0
    #: how old an answer may be that stands in for a source that fails
    stale_if_error: float = 300.0
    #: answers that one process keeps
    entries: int = 1000


@dataclass(frozen=True, slots=True)
class SharedCacheTable:
    """Where answers are kept for all processes and machines together."""

    url: str = field(repr=False)
    #: begins the names of all that is kept there
    prefix: str


@dataclass(frozen=True, slots=True)
class SourceTable:
    """One of the `[[sources]]`, not yet built."""

    path: str
    name: str
    #: None: missing, which is a problem already
    type: str | None
    default_region: str | None
    #: the identities of a contact found by another source that this one is asked by as well
    enrich: frozenset[Key]
    #: questions to it at the same time, in one process
    threads: int
    breaker: BreakerTable
    #: None: as the type of the source has it
    cache: CacheTable | None
    options: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class EventsTable:
    """Where events go; the sink is not yet built."""

    #: None: missing or no table, which is a problem already
    sink: Mapping[str, Any] | None = field(repr=False)
    #: of the database they wait in; None: a file in the folder `state`
    url: str | None = field(repr=False)
    #: that ids of delivered events, and dead letters, are kept
    keep_days: int
    #: after which an event is a dead letter
    attempts: int


@dataclass(frozen=True, slots=True)
class HookTable:
    """Who may tell events of a vendor."""

    path: str
    keys: tuple[AccessKey, ...]
    #: whether the key may be the query parameter `key`
    key_in_query: bool


@dataclass(frozen=True, slots=True)
class PanelTable:
    """One of the `[panels]`; its blocks and links are not yet built."""

    path: str
    name: str
    keys: tuple[AccessKey, ...]
    #: a header that holds the bare key, beside `Authorization`
    key_header: str | None
    #: whether the older `key=` query parameter is accepted
    key_in_query: bool
    #: names of the sources it asks, in the order of the settings
    sources: tuple[str, ...]
    #: by view, the identities that are searched by; a view left out trusts them all
    trust: Mapping[View, frozenset[Key]]
    #: whether it finds out names of ImBox's instead of showing customers
    probe: bool
    #: what the pages behind its links are headed by
    brand: str
    blocks: tuple[Mapping[str, Any], ...] = field(repr=False)
    links: tuple[Mapping[str, Any], ...] = field(repr=False)
    #: of Wazzup; None: its webhooks are not taken
    wazzup: HookTable | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings file, read. Times in seconds."""

    locale: str
    timezone: str | None
    default_region: str | None
    #: for the whole answer
    deadline: float
    base_url: str | None
    #: that stand before the server and tell whom they speak for
    proxies: int
    secret_keys: tuple[str, ...] = field(repr=False)
    #: the folder of what must outlive a restart
    state: Path
    #: None: each process keeps answers in its memory
    cache: SharedCacheTable | None
    strict: bool
    sanitizer: str
    limits: Limits
    lint: LintTable
    record: RecordTable
    workbench: WorkbenchTable
    wire: Mapping[str, Any]
    sources: tuple[SourceTable, ...]
    panels: tuple[PanelTable, ...]
    #: None: no events are taken
    events: EventsTable | None = None


class Region(fields.String):
    """An ISO country that has phone numbers, such as `SE`."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        region = str(super()._deserialize(value, attr, data, **kwargs)).upper()
        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise ValidationError("not a country with phone numbers; write its ISO code, e.g. SE")
        return region


class _Moment(fields.Field[datetime]):
    """A TOML date or date-time, or its ISO text; without an offset it is UTC."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> datetime:
        del attr, data, kwargs
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            moment = None
        if isinstance(moment, date) and not isinstance(moment, datetime):
            moment = datetime.combine(moment, time())
        if not isinstance(moment, datetime):
            raise ValidationError("not a date; write it as 2027-01-31 or 2027-01-31T12:00:00Z")
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class _Enrich(fields.Field[frozenset[Key]]):
    """Whether, or by which identities, a source is asked about whom another one found."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> frozenset[Key]:
        del attr, data, kwargs
        if isinstance(value, bool):
            return SHARED_KEYS if value else frozenset()
        if isinstance(value, list) and all(item in list(Key) for item in value):
            return frozenset(map(Key, value))
        raise ValidationError(f"must be true, false, or a list of: {', '.join(Key)}")


def _secret(**options: Any) -> fields.String:
    """A text of enough length to be a secret, kept out of every message."""
    return fields.String(
        metadata={"secret": True},
        validate=validate.Length(
            min=_MIN_SECRET, error="shorter than {min} characters; make a longer one at random"
        ),
        **options,
    )


def _name(pattern: re.Pattern[str], says: str, **options: Any) -> fields.String:
    return fields.String(
        required=True, validate=lambda text: _require(pattern.fullmatch(text), says), **options
    )


def _require(holds: object, says: str) -> None:
    if not holds:
        raise ValidationError(says)


def _choice(*names: str) -> fields.String:
    """One of a few names, the first by default."""
    one_of = validate.OneOf(names, error="must be one of: {choices}")
    return fields.String(load_default=names[0], validate=one_of)


def _one_of(names: Iterable[str]) -> fields.String:
    return fields.String(validate=validate.OneOf(list(names), error="must be one of: {choices}"))


def _positive(**options: Any) -> fields.Integer:
    return fields.Integer(
        strict=True, validate=validate.Range(min=1, error="must be 1 or more"), **options
    )


class _LimitsSchema(Schema):
    blocks = _positive()
    rows = _positive()
    cells = _positive()
    characters = _positive()
    html = _positive()
    bytes = fields.Integer(
        strict=True,
        validate=validate.Range(min=4096, error="must be 4096 or more, to hold a notice at least"),
    )


def _one_or_more(
    inner: fields.Field[Any], says: str, *further: Callable[[Any], None]
) -> fields.List[Any]:
    return fields.List(
        inner,
        required=True,
        error_messages={"required": says},
        validate=[validate.Length(min=1, error=says), *further],
    )


class _KeySchema(Schema):
    id = _name(_NAME, "use letters, digits, - and _")
    secret = _secret(required=True)
    expires = _Moment()
    created = _Moment()


def _ids_differ(keys: list[Mapping[str, Any]]) -> None:
    if len({key["id"] for key in keys}) < len(keys):
        raise ValidationError("two keys have the same id; give each its own")


def _keys() -> fields.List[Any]:
    says = "no keys, so nobody could be let in; add one with id and secret"
    return _one_or_more(fields.Nested(_KeySchema), says, _ids_differ)


class _HookSchema(Schema):
    keys = _keys()
    key_in_query = fields.Boolean(load_default=False)


class _HooksSchema(Schema):
    wazzup = fields.Nested(_HookSchema)


class _PanelSchema(Schema):
    keys = _keys()
    key_header = fields.String(
        load_default=None,
        validate=lambda text: _require(
            _HEADER.fullmatch(text) and text.lower() != "authorization",
            "not a header of its own; use letters, digits and - (Authorization is read anyway)",
        ),
    )
    key_in_query = fields.Boolean(load_default=False)
    sources = fields.List(fields.String(), load_default=None)
    trust = fields.Dict(_one_of(View), fields.List(_one_of(Key)), load_default=dict)
    probe = fields.Boolean(load_default=False)
    brand = fields.String(load_default="")
    blocks = fields.List(fields.Dict(), load_default=list)
    links = fields.List(fields.Dict(), load_default=list)
    hooks = fields.Nested(_HooksSchema, load_default=dict)

    @validates_schema
    def _probe_shows_nobody(self, data: Mapping[str, Any], **_: Any) -> None:
        idle = [name for name in ("sources", "trust", "blocks", "links") if data.get(name)]
        if data.get("probe") and idle:
            says = "a panel that probes shows no customers; take it out"
            raise ValidationError({name: [says] for name in idle})


class _LintSchema(Schema):
    hosts = fields.List(
        fields.String(
            validate=lambda text: _require(
                _HOST.fullmatch(text), "not a host; write it as crm.example.com or *.example.com"
            )
        )
    )
    ignore = fields.List(_one_of(LINT_RULES))


class _WorkbenchSchema(Schema):
    enabled = fields.Boolean(load_default=False)
    keys = fields.List(fields.Nested(_KeySchema), load_default=list)


class _RecordSchema(Schema):
    always = fields.Boolean(load_default=False)
    most = fields.Integer(
        strict=True,
        load_default=200,
        validate=validate.Range(min=1, max=10_000, error="must be from 1 to 10000"),
    )
    folder = fields.String(load_default="recordings")


class _BreakerSchema(Schema):
    failures = _positive()
    reset = fields.Float(
        validate=validate.Range(min=0.1, max=3600, error="must be from 0.1 to 3600 seconds")
    )


def _seconds(most: int) -> fields.Float:
    return fields.Float(
        validate=validate.Range(min=0, max=most, error="must be from 0 to {max} seconds")
    )


class _CacheSchema(Schema):
    ttl = _seconds(3600)
    negative_ttl = _seconds(3600)
    stale_if_error = _seconds(86_400)
    entries = fields.Integer(
        strict=True,
        validate=validate.Range(min=1, max=100_000, error="must be from 1 to 100000"),
    )


def _has_password(url: str) -> bool:
    """Whether the address of a Redis may have a password: it has a user, or such an option."""
    return "@" in url or "passw" in url


class _SharedCacheSchema(Schema):
    url = fields.String(
        required=True,
        metadata={"secret": _has_password},
        validate=lambda text: _require(
            text.startswith(("redis://", "rediss://", "unix://")),
            "not the address of a Redis; write it as redis://host:6379/0",
        ),
    )
    prefix = fields.String(
        load_default="imbox",
        validate=lambda text: _require(
            re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", text), "use letters, digits and _ . : -"
        ),
    )


class _Cache(fields.Nested):
    """Its table, or whether there is a cache at all."""

    def _deserialize(
        self, value: Any, attr: Any, data: Any, partial: Any = None, **kwargs: Any
    ) -> Any:
        if isinstance(value, bool):
            return {} if value else {"ttl": 0.0}
        return super()._deserialize(value, attr, data, partial, **kwargs)


class SourceSchema(Schema):
    """What every source's table has beside the options of its type."""

    name = _name(_IDENTIFIER, "use letters, digits and _, beginning with a letter")
    type = fields.String(required=True)
    default_region = Region()
    enrich = _Enrich(load_default=SHARED_KEYS)
    threads = fields.Integer(
        strict=True,
        load_default=16,
        validate=validate.Range(min=1, max=100, error="must be from 1 to 100"),
    )
    breaker = fields.Nested(_BreakerSchema, load_default=dict)
    cache = _Cache(_CacheSchema, load_default=None)


def _public_address(text: str) -> None:
    """What is put before the paths of this server, and travels with tickets in it."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return  # that it is no address is said already
    if not parts.hostname:
        return
    is_own = parts.hostname == "localhost" or _is_loopback(parts.hostname)
    _require(
        parts.scheme == "https" or is_own,
        "not https, so that link tickets could be read on the way; write it as https://host",
    )
    _require(
        not (parts.query or parts.fragment or "@" in parts.netloc),
        "more than a host and a path; leave the rest out",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class _EventsSchema(Schema):
    sink = fields.Dict(required=True)
    url = fields.String(
        load_default=None, metadata={"secret": lambda url: "@" in url or "passw" in url}
    )
    keep_days = fields.Integer(
        strict=True,
        load_default=30,
        validate=validate.Range(min=1, max=3650, error="must be from 1 to 3650 days"),
    )
    attempts = fields.Integer(
        strict=True,
        load_default=16,
        validate=validate.Range(min=1, max=100, error="must be from 1 to 100"),
    )


class _SettingsSchema(Schema):
    base_url = fields.Url(
        schemes={"https", "http"},
        require_tld=False,
        load_default=None,
        validate=_public_address,
    )
    proxies = fields.Integer(
        strict=True,
        load_default=0,
        validate=validate.Range(min=0, max=9, error="must be from 0 to 9"),
    )
    locale = fields.String(load_default="en")
    timezone = fields.String(load_default=None)
    default_region = Region(load_default=None)
    deadline = fields.Float(
        load_default=2.5,
        validate=validate.Range(min=0.1, max=60, error="must be from 0.1 to 60 seconds"),
    )
    secret_keys = fields.List(_secret(), load_default=list)
    state = fields.String(load_default="imbox-state")
    cache = fields.Nested(_SharedCacheSchema, load_default=None)
    validation = _choice("lenient", "strict")
    sanitizer = _choice("nh3", "bleach")
    limits = fields.Nested(_LimitsSchema, load_default=dict)
    lint = fields.Nested(_LintSchema, load_default=dict)
    record = fields.Nested(_RecordSchema, load_default=lambda: _RecordSchema().load({}))
    events = fields.Nested(_EventsSchema, load_default=None)
    workbench = fields.Nested(_WorkbenchSchema, load_default=dict)
    wire = fields.Dict(load_default=dict)
    sources = _one_or_more(fields.Dict(), "no sources; add [[sources]] with name and type")
    panels = fields.Dict(
        fields.String(),
        fields.Dict(),
        required=True,
        error_messages={"required": _NO_PANELS},
        validate=validate.Length(min=1, error=_NO_PANELS),
    )


class SettingsFile:
    """A settings file while it is read: its tables, and the problems found so far.

    The parts of the server load their own tables through `load`, so that one start reports
    every mistake of every part.

    Args:
        path: the TOML file; relative paths inside start at its folder.
        environ: where `{ env = "NAME" }` is looked up.

    Raises:
        SettingsError: the file cannot be read, or it is not TOML.
    """

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        self.folder = path.resolve().parent
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._environ = environ
        #: by path: what was read for a reference
        self._references: dict[str, str] = {}
        self._broken: set[str] = set()
        try:
            self.tables: Mapping[str, Any] = self._resolve(_read(path), "")
        except RecursionError:
            problem = Problem("", "tables or lists lie too deep in each other; make it flatter")
            raise SettingsError(path, [problem]) from None

    def problem(self, path: str, message: str) -> None:
        """Note a mistake that stops the start.

        What is said about a reference that leads nowhere is left out: that is said already. So is
        the text that a reference stands for, wherever it was put: it is a secret, most likely.
        """
        for text in self._references.values():
            if len(text) >= _TELLTALE:
                message = message.replace(text, "...")
        if not any(_inside(path, broken) for broken in self._broken):
            self.problems.append(Problem(path, message))

    def warn(self, path: str, message: str) -> None:
        """Note something that works, but deserves a look."""
        self.warnings.append(Problem(path, message))

    def finish(self) -> None:
        """Raise SettingsError with all problems, if there are any."""
        if self.problems:
            raise SettingsError(self.path, self.problems)

    def load(
        self, schema: Schema, table: Mapping[str, Any], path: str, others: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Load one table by its schema, noting every mistake under its path.

        Returns what is valid, with the schema's defaults for the rest, so that the reading goes
        on and finds the mistakes behind the first.

        Args:
            schema: of the table, or of some of its settings.
            table: these settings.
            path: where they are.
            others: settings the table may have as well; they are named where one is misspelt.
        """
        loaded, _ = self._load(schema, table, path, others)
        return loaded

    def load_whole(
        self, schema: Schema, table: Mapping[str, Any], path: str, others: Iterable[str] = ()
    ) -> dict[str, Any] | None:
        """Load a table that something is built from: None when any of it is wrong or missing."""
        loaded, whole = self._load(schema, table, path, others)
        return loaded if whole else None

    def _load(
        self, schema: Schema, table: Mapping[str, Any], path: str, others: Iterable[str]
    ) -> tuple[dict[str, Any], bool]:
        for place in _secrets(schema, table, path):
            if place not in self._references:
                self.warn(place, 'a secret in the file; write { env = "NAME" } in its place')
        whole = not any(_inside(broken, path) for broken in self._broken)
        try:
            return dict(schema.load(table)), whole
        except ValidationError as error:
            for place, message in _flat(error.messages, schema, path, others):
                self.problem(place, message)
            valid = error.valid_data if isinstance(error.valid_data, dict) else {}
            return {**_defaults(schema), **valid}, False

    def _resolve(self, value: Any, path: str) -> Any:
        """Replace each `{ env = }` and `{ file = }` by what it names."""
        if isinstance(value, dict):
            if len(value) == 1 and _REFERENCES.issuperset(value) and path:
                ((kind, name),) = value.items()
                if isinstance(name, str):
                    return self._reference(kind, name, path)
            return {key: self._resolve(item, join(path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._resolve(item, f"{path}[{at}]") for at, item in enumerate(value)]
        return value

    def _reference(self, kind: str, name: str, path: str) -> str:
        text = ""
        if kind == "env":
            text = self._environ.get(name, "").strip()
            cure = f"the environment variable {name} is not set or empty; set it"
        else:
            cure = f"the file {name} cannot be read or is empty; write the secret into it"
            try:
                text = (self.folder / name).read_text("utf-8-sig").strip()
            except (OSError, ValueError):
                text = ""
        self._references[path] = text
        if not text:
            self.problem(path, cure)
            self._broken.add(path)
        return text


def join(path: str, key: str) -> str:
    """The path of `key` inside the table at `path`, written as in TOML."""
    if not _BARE_KEY.fullmatch(key):
        key = json.dumps(key, ensure_ascii=False)
    return f"{path}.{key}" if path else key


def _inside(place: str, path: str) -> bool:
    """Whether a place is the path, or somewhere in the table or list there."""
    return not path or place == path or place.startswith((f"{path}.", f"{path}["))


def find_settings(environ: Mapping[str, str], folder: Path) -> Path:
    """The settings file: what IMBOX_SETTINGS names, else `imbox.toml` in the folder.

    Raises:
        SettingsError: neither is there.
    """
    named = environ.get("IMBOX_SETTINGS", "").strip()
    path = Path(named) if named else folder / "imbox.toml"
    if path.is_file():
        return path
    if named:
        message = f"IMBOX_SETTINGS names {named}, and there is no such file; correct the name"
    else:
        message = (
            "there are no settings: name a file in IMBOX_SETTINGS, or write imbox.toml in this "
            "folder (examples/demo/imbox.toml is one to begin with)"
        )
    raise SettingsError(None, [Problem("", message)])


def read_settings(file: SettingsFile) -> Settings:
    """The typed settings; mistakes are noted in `file`, and what can be read is returned."""
    tables = file.load(_SettingsSchema(), file.tables, "")
    sources = tuple(_sources(file, tables["default_region"]))
    names = [source.name for source in sources if source.name]
    panels = tuple(
        _panel(file, name, table, names) for name, table in (tables["panels"] or {}).items()
    )
    # Of a table with a mistake in it, only what is valid has been read.
    record = _defaults(_RecordSchema()) | tables["record"]
    return Settings(
        locale=tables["locale"],
        timezone=tables["timezone"],
        default_region=tables["default_region"],
        deadline=tables["deadline"],
        base_url=tables["base_url"],
        proxies=tables["proxies"],
        secret_keys=tuple(tables["secret_keys"]),
        state=file.folder / tables["state"],
        cache=_shared_cache(file, tables),
        strict=tables["validation"] == "strict",
        sanitizer=tables["sanitizer"],
        limits=Limits(**tables["limits"]),
        record=RecordTable(**{**record, "folder": file.folder / record["folder"]}),
        workbench=_workbench(file, tables["workbench"]),
        lint=LintTable(**{name: frozenset(own) for name, own in tables["lint"].items()}),
        wire=tables["wire"],
        sources=sources,
        panels=panels,
        events=_events(tables["events"]),
    )


def _events(loaded: Mapping[str, Any] | None) -> EventsTable | None:
    """What is valid of the table; what is not is a problem already."""
    if loaded is None:
        return None
    return EventsTable(
        sink=loaded.get("sink"),
        url=loaded.get("url"),
        keep_days=loaded.get("keep_days", 1),
        attempts=loaded.get("attempts", 1),
    )


def _shared_cache(file: SettingsFile, tables: Mapping[str, Any]) -> SharedCacheTable | None:
    table = tables["cache"]
    if not table or "url" not in table:
        return None
    if not file.tables.get("secret_keys"):
        cure = "missing; what is kept in Redis is sealed with them: add one at random"
        file.problem("secret_keys", cure)
    return SharedCacheTable(**{"prefix": "imbox", **table})


def _sources(file: SettingsFile, region: str | None) -> Iterator[SourceTable]:
    common = SourceSchema()
    names: set[str] = set()
    tables = file.tables.get("sources")
    for at, table in enumerate(tables if isinstance(tables, list) else ()):
        if not isinstance(table, dict):
            continue
        path = f"sources[{at}]"
        own = {key: value for key, value in table.items() if key in common.fields}
        loaded = file.load(common, own, path)
        # A name that is wrong in itself is still the one that panels and blocks mean.
        name = own.get("name")
        name = name if isinstance(name, str) else ""
        if name in names:
            file.problem(f"{path}.name", f"another source is named {name}; rename one")
        names.update({name} if name else ())
        yield SourceTable(
            path=path,
            name=name,
            type=loaded["type"],
            default_region=loaded.get("default_region") or region,
            enrich=loaded["enrich"],
            threads=loaded["threads"],
            breaker=BreakerTable(**loaded["breaker"]),
            cache=None if loaded["cache"] is None else CacheTable(**loaded["cache"]),
            options={key: value for key, value in table.items() if key not in common.fields},
        )


def _panel(
    file: SettingsFile, name: str, table: Mapping[str, Any], sources: list[str]
) -> PanelTable:
    path = join("panels", name)
    if not _NAME.fullmatch(name):
        file.problem(path, "not a name for an address; use letters, digits, - and _")
    loaded = file.load(_PanelSchema(), table, path)
    return PanelTable(
        path=path,
        name=name,
        keys=_access_keys(loaded["keys"]),
        key_header=loaded["key_header"],
        key_in_query=loaded["key_in_query"],
        sources=_asked(file, table.get("sources"), f"{path}.sources", sources),
        trust={
            View(view): frozenset(map(Key, trusted)) for view, trusted in loaded["trust"].items()
        },
        probe=loaded["probe"],
        brand=loaded["brand"],
        blocks=_tables(table.get("blocks")),
        links=_tables(table.get("links")),
        wazzup=_hook(loaded["hooks"].get("wazzup"), f"{path}.hooks.wazzup"),
    )


def _hook(loaded: Mapping[str, Any] | None, path: str) -> HookTable | None:
    if loaded is None:
        return None
    return HookTable(path, _access_keys(loaded.get("keys")), loaded.get("key_in_query", False))


def _access_keys(loaded: Iterable[Mapping[str, Any]] | None) -> tuple[AccessKey, ...]:
    return tuple(AccessKey(**key) for key in loaded or () if "id" in key and "secret" in key)


def _asked(file: SettingsFile, chosen: object, path: str, sources: list[str]) -> tuple[str, ...]:
    """The sources a panel asks, in the order of the settings."""
    if not isinstance(chosen, list):
        return tuple(sources)
    if not chosen:
        file.problem(path, "no sources; leave it out to ask all of them")
    for at, source in enumerate(chosen):
        if isinstance(source, str) and source not in sources:
            file.problem(f"{path}[{at}]", unknown("source", source, sources))
    return tuple(source for source in sources if source in chosen)


def _workbench(file: SettingsFile, table: Mapping[str, Any]) -> WorkbenchTable:
    keys = [AccessKey(**key) for key in table.get("keys", ()) if "id" in key and "secret" in key]
    enabled = table.get("enabled", False)
    if enabled and not table.get("keys"):
        file.problem(
            "workbench.keys", "no keys, and it shows customers; add one with id and secret"
        )
    return WorkbenchTable(enabled, tuple(keys))


def _tables(given: object) -> tuple[Mapping[str, Any], ...]:
    """The tables of a list up to the first entry that is none, so that their places stay right."""
    tables = given if isinstance(given, list) else ()
    return tuple(takewhile(lambda table: isinstance(table, dict), tables))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that does not exist: the nearest one, and all there are."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"no {what} is called {name!r}; {hint}there are: {', '.join(known) or 'none'}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        problem = f"the file cannot be read ({error.strerror}); check its name and its rights"
    except UnicodeDecodeError:
        problem = "the file is not UTF-8 text; save it as UTF-8"
    except ValueError as error:  # tomllib's own, and Python's for a number of 5000 digits
        problem = f"not TOML: {error}; correct it there"
    raise SettingsError(path, [Problem("", problem)])


def _named(schema: Schema) -> dict[str, fields.Field[Any]]:
    """The fields of a schema by their names in the settings."""
    return {field_.data_key or name: field_ for name, field_ in schema.fields.items()}


def _secrets(schema: Schema, table: Any, path: str) -> Iterator[str]:
    """The path of each secret value given in a table."""
    if not isinstance(table, Mapping):
        return
    for name, field_ in _named(schema).items():
        value = table.get(name)
        items = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for at, item in items:
            place = join(path, name) + ("" if at is None else f"[{at}]")
            leaf = field_.inner if isinstance(field_, fields.List) else field_
            if isinstance(leaf, fields.Nested):
                yield from _secrets(leaf.schema, item, place)
            elif _is_secret(leaf.metadata.get("secret"), item):
                yield place


def _is_secret(secret: Any, value: object) -> bool:
    """Whether a value given is a secret; `secret` may be a function that tells by the value."""
    if not isinstance(value, str) or not value:
        return False
    return bool(secret(value) if callable(secret) else secret)


def _flat(
    errors: Any, of: Schema | fields.Field[Any] | None, path: str, others: Iterable[str] = ()
) -> Iterator[tuple[str, str]]:
    """Path and sentence of each of marshmallow's messages about what `of` has loaded."""
    if isinstance(of, fields.Nested):
        of = of.schema
    if not isinstance(errors, Mapping):
        for message in errors if isinstance(errors, list) else [errors]:
            yield path, _sentence(str(message))
        return
    for key, inner in errors.items():
        if key == "_schema" and inner != [_UNKNOWN]:
            yield from _flat(inner, of, path)
        elif isinstance(key, int):
            item = of.inner if isinstance(of, fields.List) else of
            yield from _flat(inner, item, f"{path}[{key}]")
        elif isinstance(of, fields.Dict):
            # What a mapping's own fields say lies one level deeper, under "key" or "value".
            wrapped = isinstance(inner, Mapping) and inner.keys() <= {"key", "value"}
            for part in inner.values() if wrapped else [inner]:
                yield from _flat(part, of.value_field, join(path, str(key)))
        elif isinstance(of, Schema) and key not in (named := _named(of)):
            known = unknown("setting", str(key), [*named, *others])
            yield from _flat(known if inner == [_UNKNOWN] else inner, None, join(path, key))
        else:
            field_ = _named(of)[key] if isinstance(of, Schema) else None
            yield from _flat(inner, field_, join(path, str(key)))


def _sentence(message: str) -> str:
    """Marshmallow's message with a cure where it has none."""
    return {
        "Missing data for required field.": "missing; add it",
        _UNKNOWN: "no such setting; take it out",
        "Field may not be null.": "has no value; give it one or take it out",
        "Not a valid string.": 'must be a text; write it in quotes, "..."',
        "Not a valid integer.": "must be a whole number, without quotes",
        "Not a valid number.": "must be a number, without quotes",
        "Number too large.": "too large; make it smaller",
        "Special numeric values (nan or infinity) are not permitted.": "must be a finite number",
        "Not a valid boolean.": "must be true or false, without quotes",
        "Not a valid list.": "must be a list; write it as [...] or under [[two brackets]]",
        "Not a valid mapping type.": "must be a table; write it as { ... } or under a [heading]",
        "Invalid input type.": "must be a table; write it as { ... } or under a [heading]",
        "Not a valid URL.": "not an address; write it as https://host.example",
    }.get(message, message)


def _defaults(schema: Schema) -> dict[str, Any]:
    found = {}
    for name, field_ in schema.fields.items():
        default = field_.load_default
        if default is missing:
            default = None if field_.required else missing
        if default is not missing:
            found[name] = default() if callable(default) else default
    return found
