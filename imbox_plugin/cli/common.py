"""What several commands need."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from imbox_plugin.app import build
from imbox_plugin.lint import Remark
from imbox_plugin.settings import SettingsError, SettingsFile, find_settings
from imbox_plugin.sources import DataSource
from imbox_plugin.web.webhook import Service


def load_service() -> tuple[SettingsFile, Service]:
    """The settings, and all that they describe; what is wrong with them ends the command."""
    try:
        file = SettingsFile(find_settings(os.environ, Path.cwd()), os.environ)
        return file, build(file)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def all_sources(service: Service) -> Iterator[DataSource]:
    """The sources of all panels, each once."""
    yield from {
        id(source): source
        for panel in service.panels.values()
        for source in panel.directory.sources
    }.values()


def tables_beside() -> tuple[Path, Mapping[str, Any]]:
    """The folder of the settings and what is in them, or this folder when there are none."""
    try:
        file = SettingsFile(find_settings(os.environ, Path.cwd()), os.environ)
    except SettingsError:
        return Path.cwd(), {}
    return file.folder, file.tables


def print_remarks(remarks: Iterable[Remark]) -> None:
    """Print what deserves a look, each with its place and its difference."""
    for remark in remarks:
        click.echo(f"  {remark}")
        for line in remark.detail:
            click.echo(f"      {line}")
