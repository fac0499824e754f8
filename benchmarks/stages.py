"""What each stage of an answer costs, in the thread that asks for it."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import shop
from flask import Flask, request

from imbox_plugin.app import create_app
from imbox_plugin.identity import normal_form
from imbox_plugin.model import Key, Lookup, View
from imbox_plugin.panel import CardLinks
from imbox_plugin.sources import SourceContext
from imbox_plugin.sources.sql import SqlSource
from imbox_plugin.web.webhook import Service

_PEOPLE = 300
_ROUNDS = 15
_REDIS = "redis://127.0.0.1:6379/0"
_SHARED = '{ url = { env = "REDIS_URL" }, prefix = "imbox-bench" }'
#: what was asked before stays in the cache until all is measured
_LASTING = '"shop"\ncache = { ttl = 300 }\n'


def stages(settings: Path, targets: Sequence[str]) -> dict[str, float]:
    """Median microseconds of each stage, measured in turns."""
    app = create_app(settings, {"IMBOX_BENCH_KEY": shop.KEY})
    service: Service = app.extensions["imbox_plugin"]
    panel = service.panels["default"]
    parameters = [parse_qs(urlsplit(target).query) for target in targets[:_PEOPLE]]
    loaded = [service.lookup_schema.load(one) for one in parameters]
    lookups = [service.read(one) for one in parameters]
    findings = [panel.directory.find(lookup) for lookup in lookups]
    replies = [panel.answer(lookup).reply for lookup in lookups]
    documents = [service.reply_schema.dump(reply) for reply in replies]
    source = panel.directory.sources[0]
    composer = panel._composer  # noqa: SLF001 - a stage of its own
    asked = list(zip(lookups, findings, strict=True))

    def normal(texts: Mapping[str, Any]) -> None:
        for key in Key:
            if key.value in texts:
                normal_form(key, texts[key.value], "SE")

    def link(pair: tuple[Lookup, Any]) -> None:
        CardLinks(panel, None, *pair).first()

    return _medians(
        {
            "auth": (_auth(app, service, targets[0]), parameters),
            "LookupSchema load": (service.lookup_schema.load, parameters),
            "identities in normal form": (normal, loaded),
            "source (two SQL statements)": (
                lambda one: source.find(one.by(Key.EXTERNAL_ID)),
                lookups,
            ),
            "directory around the source": (panel.directory.find, lookups),
            "contact link": (link, asked),
            "compose": (lambda pair: composer.compose(*pair, None, {}), asked),
            "ReplySchema dump": (service.reply_schema.dump, replies),
            "JSON": (orjson.dumps, documents),
        }
    )


def find_costs(folder: Path, targets: Sequence[str]) -> dict[str, float]:
    """Median microseconds of asking the directory, by where it finds the answers."""
    works: dict[str, tuple[Callable[[Any], Any], Sequence[Any]]] = {}
    for name, settings in _cached(folder).items():
        environ = {"IMBOX_BENCH_KEY": shop.KEY, "REDIS_URL": _REDIS}
        service: Service = create_app(settings, environ).extensions["imbox_plugin"]
        lookups = [service.read(parse_qs(urlsplit(one).query)) for one in targets[:_PEOPLE]]
        find = service.panels["default"].directory.find
        for lookup in lookups:
            find(lookup)
        works[name] = (find, lookups)
    return _medians(works)


def _cached(folder: Path) -> dict[str, Path]:
    """Settings by where they keep answers; those of Redis only when there is one."""
    warm = (folder / "imbox.toml").read_text("utf-8").replace('"shop"\n', _LASTING, 1)
    files = {"without a cache": folder / "uncached.toml", "from memory": folder / "memory.toml"}
    files["from memory"].write_text(warm, "utf-8")
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", 6379), 1).close()
        files["from Redis on this machine"] = folder / "redis.toml"
        above = f'secret_keys = [{{ env = "IMBOX_BENCH_KEY" }}]\ncache = {_SHARED}\n'
        files["from Redis on this machine"].write_text(above + warm, "utf-8")
    return files


def lookup_costs(folder: Path, sizes: Sequence[int]) -> dict[int, float]:
    """Median microseconds of one look-up with its ten orders, by the number of people."""
    sources = []
    lookups = []
    for size in sizes:
        file = folder / f"{size}.db"
        if not file.exists():
            shop.build(file, size, notes=False)
        columns = "external_id, name, email, phone, city, tier, since, balance"
        options = SqlSource.Options().load(
            {
                "url": f"sqlite:///{file.name}",
                "find": {"email": f"SELECT {columns} FROM people WHERE email = :email"},  # noqa: S608
                "related": {"orders": "SELECT * FROM orders WHERE external_id = :external_id"},
            }
        )
        context = SourceContext(name="shop", folder=folder, default_region="SE")
        sources.append(SqlSource(options, context))
        emails = (
            parse_qs(urlsplit(one).query)["email"][0] for one in shop.questions(size, _PEOPLE)
        )
        lookups.append([Lookup(View.CONTACT, {Key.EMAIL: email}).by(Key.EMAIL) for email in emails])
    works: dict[str, tuple[Callable[[Any], Any], Sequence[Any]]] = {
        str(size): (source.find, asked)
        for size, source, asked in zip(sizes, sources, lookups, strict=True)
    }
    spent = _medians(works)
    for source in sources:
        with closing(source):
            pass
    return {size: spent[str(size)] for size in sizes}


def _auth(app: Flask, service: Service, target: str) -> Callable[[Any], Any]:
    def check(_: Any) -> None:
        if service.gates["default"].key_id(request) is None:
            raise SystemExit("the key was refused")

    app.test_request_context(target, headers={"Authorization": shop.AUTHORIZATION}).push()
    return check


def _medians(
    works: Mapping[str, tuple[Callable[[Any], Any], Sequence[Any]]],
) -> dict[str, float]:
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(_ROUNDS):
        for name, (work, items) in works.items():
            begun = time.perf_counter()
            for item in items:
                work(item)
            spent[name].append((time.perf_counter() - begun) / len(items) * 1e6)
    return {name: statistics.median(times) for name, times in spent.items()}
