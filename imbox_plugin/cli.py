"""The commands: `flask check`, `import`, `lookup`, `replay` and `sources`."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from marshmallow import ValidationError
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel as Frame
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from imbox_plugin import plugins
from imbox_plugin.app import build, create_app
from imbox_plugin.html import text_lines
from imbox_plugin.links import LinkBuilder
from imbox_plugin.model import (
    AccordionElement,
    Block,
    Element,
    Finding,
    HtmlElement,
    ListElement,
    Outcome,
    Reply,
    View,
)
from imbox_plugin.plugins import Offer, Option, PluginError, Registry, options_of
from imbox_plugin.settings import (
    Settings,
    SettingsError,
    SettingsFile,
    find_settings,
    read_settings,
)
from imbox_plugin.sources import DataSource, SourceError
from imbox_plugin.store import FIELDS, ImportRefused, ImportReport, import_contacts
from imbox_plugin.testing.recordings import (
    RecordingError,
    difference,
    read_recording,
    replay,
    replay_at,
)
from imbox_plugin.web.webhook import DEFAULT_PANEL, Service

#: the panel's documented width is about 290 pixels; a terminal card of this width reads alike
_WIDTH = 64


@click.command("check")
@click.option("--offline", is_flag=True, help="Read the settings only; ask no source.")
def check(*, offline: bool) -> None:
    """Say whether the server would start, and whether its sources answer."""
    file, service = _service()
    click.echo(f"{file.path}: the settings are in order")
    for warning in file.warnings:
        click.echo(f"  warning: {warning}")
    for name, panel in service.panels.items():
        asked = ", ".join(source.context.name for source in panel.directory.sources)
        click.echo(f"  panel {name}: asks {asked}")
    failed = False
    for source in () if offline else _all_sources(service):
        try:
            source.check()
        except SourceError as error:
            failed = True
            click.echo(f"  source {source.context.name}: {error}")
        else:
            click.echo(f"  source {source.context.name}: answers")
        finally:
            source.close()
    if failed:
        raise click.exceptions.Exit(1)


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--store",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The SQLite file to fill; contacts.db beside the settings, or here, by default.",
)
@click.option("--region", help="ISO country of numbers written nationally; the settings' own.")
@click.option(
    "--map",
    "columns",
    multiple=True,
    metavar="FIELD=HEADER",
    help=f"Which column a field is read from, when its header does not say. {', '.join(FIELDS)}.",
)
@click.option("--encoding", help="The file's encoding; found out when left out.")
@click.option("--replace", is_flag=True, help="Also remove the contacts the file does not have.")
@click.option(
    "--refused",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write the refused rows, with line and reason, into this CSV file.",
)
def import_(
    file: Path,
    store: Path | None,
    region: str | None,
    columns: tuple[str, ...],
    encoding: str | None,
    *,
    replace: bool,
    refused: Path | None,
) -> None:
    """Load contacts from a CSV file into the embedded store: all usable rows, or nothing."""
    folder, own_region = _settings_beside()
    store = store or folder / "contacts.db"
    region = region or own_region
    if region is None:
        click.echo("no region: numbers without + and country code are no key; --region SE")
    try:
        with _progress() as shown:
            report = import_contacts(
                file,
                store,
                region=region,
                columns=dict(_pairs(columns)),
                encoding=encoding,
                replace=replace,
                progress=shown,
            )
    except ImportRefused as error:
        raise click.ClickException(str(error)) from None
    _print_report(report, store)
    if refused and report.refused:
        _write_refused(refused, report)
        click.echo(f"the refused rows are in {refused}")
    if not report.accepted:
        raise click.ClickException("no row is usable, so the store is as it was")


@click.command("lookup")
@click.option(
    "--view", type=click.Choice([view.value for view in View]), default="contact", show_default=True
)
@click.option("--email")
@click.option("--phone")
@click.option("--external-id")
@click.option("--contact-id")
@click.option("--ticket-id")
@click.option("--channel-id")
@click.option("--call-id")
@click.option("--panel", "name", help="Which panel; the default one, or the only one.")
def lookup(name: str | None, **asked: str | None) -> None:
    """Show the card that an agent would see, and how the sources came to it."""
    _, service = _service()
    name = name or (DEFAULT_PANEL if DEFAULT_PANEL in service.panels else min(service.panels))
    if name not in service.panels:
        raise click.ClickException(f"no panel {name}; there are: {', '.join(service.panels)}")
    fields = service.lookup_schema.fields
    parameters = {
        fields[option].data_key or option: [value] for option, value in asked.items() if value
    }
    try:
        question = service.read(parameters)
    except ValidationError as error:
        reasons = [f"{name}: {' '.join(texts)}" for name, texts in error.messages_dict.items()]
        raise click.ClickException("; ".join(reasons)) from None
    answer = service.panels[name].answer(question)
    for line in filter(None, (answer.reply.contact_name, _link(answer.reply))):
        click.secho(line, bold=True)
    Console(highlight=False).print(card(answer.reply))
    for finding in answer.findings:
        click.echo(f"{finding.source}: {_told(finding)}")


@click.command("replay")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--url", help="A running server, such as https://plugin.example.com; else the app.")
def replay_command(file: Path, url: str | None) -> None:
    """Send a recorded request, and show where the reply differs from the recorded one."""
    try:
        recording = read_recording(file)
        settings = recording.settings or find_settings(os.environ, Path.cwd())
        secret = _secret(SettingsFile(settings, os.environ), recording.path)
        if url:
            answered = replay_at(recording, url, secret)
        else:
            answered = replay(recording, create_app(settings), secret)
    except (RecordingError, SettingsError) as error:
        raise click.ClickException(str(error)) from None
    found = difference(recording, answered)
    click.echo(f"{file}: {recording.about}")
    if not found:
        click.echo("the same reply")
        return
    colours = {"+": "green", "-": "red"}
    for line in found.splitlines():
        click.secho(line, fg=colours.get(line[:1]))
    raise click.exceptions.Exit(1)


@click.command("sources")
def sources() -> None:
    """List the types of sources and of links, where they come from, and their options."""
    folder, tables = _tables_beside()
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
    ):
        console.print(Text(title, style="bold"))
        for offer in (*registry.offers, *map(registry.offer, dict.fromkeys(named))):
            console.print(Padding(_offered(registry, offer), (0, 0, 0, 2)))


def card(reply: Reply) -> RenderableType:
    """The blocks of a reply as an agent reads them."""
    return Group(*map(_block, reply.blocks))


def _link(reply: Reply) -> str | None:
    return f"{reply.contact_link.text}: {reply.contact_link.url}" if reply.contact_link else None


def _block(block: Block) -> RenderableType:
    elements = Group(*(_element(element) for element in block.data))
    title = Text(f"{block.name} ({block.icon})")
    return Frame(elements, title=title, title_align="left", width=_WIDTH)


def _element(element: Element) -> RenderableType:
    if isinstance(element, ListElement):
        grid = Table.grid(padding=(0, 2))
        for row in element.rows:
            grid.add_row(Text(row.label, style="dim"), Text(row.text))
        return grid
    if isinstance(element, HtmlElement):
        return Text("\n".join(text_lines(element.html)), style="italic")
    if isinstance(element, AccordionElement):
        inside = Group(*(_element(part) for part in element.data))
        return Group(Text(f"▾ {element.title}", style="bold"), Padding(inside, (0, 0, 0, 2)))
    table = Table(box=None, pad_edge=False)
    for header in element.headers:
        table.add_column(Text(header))
    for cells in element.rows:
        table.add_row(*map(Text, cells))
    return table


def _told(finding: Finding) -> str:
    unasked = "not asked" if finding.reason else "has no key for this"
    asked = f"asked by {', '.join(finding.asked)}" if finding.asked else unasked
    dropped = f", {finding.dropped} dropped: not the identity asked for" if finding.dropped else ""
    count = f" ({finding.count})" if finding.outcome is Outcome.AMBIGUOUS else ""
    via = f", about whom {finding.match.via} found" if finding.match and finding.match.via else ""
    reason = f": {finding.reason}" if finding.reason else ""
    return f"{finding.outcome}{count}, {asked}{via}{dropped}{reason}"


def _service() -> tuple[SettingsFile, Service]:
    try:
        file = SettingsFile(find_settings(os.environ, Path.cwd()), os.environ)
        return file, build(file)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def _all_sources(service: Service) -> Iterator[DataSource]:
    yield from {
        id(source): source
        for panel in service.panels.values()
        for source in panel.directory.sources
    }.values()


def _secret(file: SettingsFile, path: str) -> str:
    """A key of the panel that a request path leads to."""
    settings: Settings = read_settings(file)
    file.finish()
    name = path.removeprefix("/imbox").strip("/") or DEFAULT_PANEL
    panels = {panel.name: panel for panel in settings.panels}
    return (panels.get(name) or settings.panels[0]).keys[0].secret


def _settings_beside() -> tuple[Path, str | None]:
    """The folder of the settings and their region, or this folder when there are none."""
    folder, tables = _tables_beside()
    region = tables.get("default_region")
    return folder, region if isinstance(region, str) else None


def _tables_beside() -> tuple[Path, Mapping[str, Any]]:
    """The folder of the settings and what is in them, or this folder when there are none."""
    try:
        file = SettingsFile(find_settings(os.environ, Path.cwd()), os.environ)
    except SettingsError:
        return Path.cwd(), {}
    return file.folder, file.tables


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


def _pairs(columns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for pair in columns:
        field, equals, header = pair.partition("=")
        if not equals or field not in FIELDS:
            raise click.BadParameter(
                f"{pair!r} is not FIELD=HEADER with a field of {', '.join(FIELDS)}",
                param_hint="--map",
            )
        yield field, header


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print_report(report: ImportReport, store: Path) -> None:
    click.echo(
        f"{store}: {report.added} added, {report.changed} changed, "
        f"{report.unchanged} unchanged, {report.removed} removed, "
        f"{report.repeated} repeated, {len(report.refused)} refused"
    )
    for field, headers in report.columns.items():
        click.echo(f"  {field} from {', '.join(headers)}")
    if report.details:
        click.echo(f"  details: {', '.join(report.details)}")
    for header, count in report.unusable.items():
        click.echo(f"  {header}: {count} cannot be searched by")
    for refusal in report.refused[:10]:
        click.echo(f"  line {refusal.line}: {refusal.reason}")
    if len(report.refused) > 10:  # noqa: PLR2004
        click.echo(f"  +{len(report.refused) - 10} more; --refused FILE has them all")


def _write_refused(file: Path, report: ImportReport) -> None:
    with file.open("w", encoding="utf-8-sig", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["line", "reason", "row"])
        for refusal in report.refused:
            writer.writerow([refusal.line, refusal.reason, *refusal.row])
