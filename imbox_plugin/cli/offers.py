"""`flask sources`: the types there are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from imbox_plugin import plugins
from imbox_plugin.cli.common import tables_beside
from imbox_plugin.links import LinkBuilder
from imbox_plugin.plugins import Offer, Option, PluginError, Registry, options_of
from imbox_plugin.sinks import EventSink
from imbox_plugin.sources import DataSource


@click.command("sources")
def sources() -> None:
    """List the types of sources, links and sinks, where they come from, and their options."""
    folder, tables = tables_beside()
    links = (panel.get("links") for panel in _tables(tables.get("panels")))
    console = Console(highlight=False)
    for title, registry, named in (
        (
            "sources",
            Registry(DataSource, plugins.SOURCES, plugins.SOURCE_GROUP, folder),
            _own_types(tables.get("sources")),
        ),
        (
            "links",
            Registry(LinkBuilder, plugins.LINKS, plugins.LINK_GROUP, folder),
            [type_ for own in links for type_ in _own_types(own)],
        ),
        (
            "sinks",
            Registry(EventSink, plugins.SINKS, plugins.SINK_GROUP, folder),
            _own_types([event.get("sink") for event in _tables([tables.get("events")])]),
        ),
    ):
        console.print(Text(title, style="bold"))
        for offer in (*registry.offers, *map(registry.offer, dict.fromkeys(named))):
            console.print(Padding(_offered(registry, offer), (0, 0, 0, 2)))


def _tables(given: object) -> Iterator[Mapping[str, Any]]:
    """The tables of a list or of a table, whatever else may be wrong with the settings."""
    items = given.values() if isinstance(given, dict) else given
    yield from (
        item for item in (items if isinstance(items, Iterable) else ()) if isinstance(item, dict)
    )


def _own_types(given: object) -> list[str]:
    """The types in a list of tables that are written as `module:Class`."""
    types = (str(table.get("type")) for table in _tables(given))
    return [type_ for type_ in types if ":" in type_]


def _offered(registry: Registry[Any], offer: Offer) -> RenderableType:
    """A type with its options, or with what is wrong with it."""
    title = Text.assemble((offer.type, "bold"), f", {offer.origin}")
    try:
        if registry.offer(offer.type) != offer:
            return title.append(": never used, because a built-in type has this name")
        plugin = registry.load(offer.type)
        options = list(options_of(plugin.Options()))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - broken, and nobody need use it
        kind = "" if isinstance(error, PluginError) else f"{type(error).__name__}: "
        return title.append(f": broken, {kind}{error}")
    grid = Table.grid(padding=(0, 2))
    for option in options:
        *tables, name = option.name.replace(".<name>", "").split(".")
        grid.add_row(Text(f"{'  ' * len(tables)}{name}"), Text(_meaning(option)))
    about = (plugin.__doc__ or "").strip().partition("\n")[0]
    return Group(title.append(f". {about}" if about else ""), Padding(grid, (0, 0, 1, 2)))


def _meaning(option: Option) -> str:
    """What is written for an option, whether it has to be, and what it is for."""
    written = [option.kind]
    if option.required:
        written.append("required")
    elif option.default is not None:
        written.append(f"default {json.dumps(option.default, ensure_ascii=False)}")
    if option.secret:
        written.append("secret")
    return ": ".join(filter(None, (", ".join(written), option.help)))
