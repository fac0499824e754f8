"""`flask import`: contacts from a file into the embedded store."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from imbox_plugin.cli.common import tables_beside
from imbox_plugin.store import FIELDS, ImportRefused, ImportReport, import_contacts


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


def _settings_beside() -> tuple[Path, str | None]:
    """The folder of the settings and their region, or this folder when there are none."""
    folder, tables = tables_beside()
    region = tables.get("default_region")
    return folder, region if isinstance(region, str) else None


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
