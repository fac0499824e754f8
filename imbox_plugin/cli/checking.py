"""`flask check` and `flask doctor`: whether all is in order."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from imbox_plugin.cli.common import all_sources, load_service, print_remarks
from imbox_plugin.doctor import Health, examine
from imbox_plugin.sources import SourceError


@click.command("check")
@click.option("--offline", is_flag=True, help="Read the settings only; ask no source.")
@click.option("--strict", is_flag=True, help="Fail where anything deserves a look, for CI.")
def check(*, offline: bool, strict: bool) -> None:
    """Say whether the server would start, whether its sources answer, and what to look at."""
    file, service = load_service()
    click.echo(f"{file.path}: the settings are in order")
    remarks = service.linter.settings(file.tables, file.warnings)
    print_remarks(remarks)
    for name, panel in service.panels.items():
        asked = ", ".join(source.context.name for source in panel.directory.sources)
        click.echo(f"  panel {name}: asks {asked}")
    failed = False
    for source in () if offline else all_sources(service):
        try:
            source.check()
        except SourceError as error:
            failed = True
            click.echo(f"  source {source.context.name}: {error}")
        else:
            click.echo(f"  source {source.context.name}: answers")
        finally:
            source.close()
    if failed or (strict and remarks):
        raise click.exceptions.Exit(1)


@click.command("doctor")
def doctor() -> None:
    """Look at everything a healthy set-up has, and say what to mend."""
    file, service = load_service()
    ill = False
    colours = {Health.WELL: "green", Health.LOOK: "yellow", Health.ILL: "red"}
    click.echo(f"{file.path}: the settings are in order")
    for sign in examine(
        service.settings, all_sources(service), service.recorder, datetime.now(UTC)
    ):
        ill |= sign.health is Health.ILL
        click.secho(f"{sign.health:8}", fg=colours.get(sign.health), nl=False)
        click.echo(f"{sign.part}: {sign.message}")
    for panel in service.panels.values():
        panel.directory.close()
    if ill:
        raise click.exceptions.Exit(1)
