"""`flask record`, `flask replay` and `flask probe`: requests, and the replies they get."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path

import click
from flask import Flask

from imbox_plugin.app import create_app
from imbox_plugin.cli.common import load_service
from imbox_plugin.recorder import Kept, Recorder, own_header, recorder_seal
from imbox_plugin.settings import (
    Settings,
    SettingsError,
    SettingsFile,
    find_settings,
    read_settings,
    unknown,
)
from imbox_plugin.testing.recordings import (
    Answered,
    Recording,
    RecordingError,
    accept,
    as_recording,
    difference,
    read_recording,
    recordings_in,
    replay,
    replay_at,
    write,
)
from imbox_plugin.web.webhook import addressed
from schemas.probe import all_candidates, probe_reply
from schemas.request import parameter_kinds


@click.command("probe")
@click.argument("candidate", required=False)
def probe(candidate: str | None) -> None:
    """List what a panel that probes can try on a live account, or show one such reply."""
    offered = {one.name: one for one in all_candidates()}
    if candidate is None:
        click.echo("docs/probe.md says how; in this order, as the fixed parameter candidate:")
        for name in offered:
            click.echo(f"  {name}")
    elif candidate not in offered:
        raise click.ClickException(unknown("candidate", candidate, offered))
    else:
        click.echo(json.dumps(probe_reply(candidate, ["view"]), indent=2))


@click.group("record")
def record() -> None:
    """Keep the requests that really come from ImBox, with nobody's identity in them."""


@record.command("start")
@click.option("--minutes", type=click.FloatRange(min=0.1), default=60, show_default=True)
def record_start(minutes: float) -> None:
    """Begin, in all processes of this machine, without a restart."""
    recorder = load_service()[1].recorder
    try:
        recorder.start(minutes * 60)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"requests are kept until {recorder.until:%H:%M:%S} UTC; open somebody in ImBox")


@record.command("stop")
def record_stop() -> None:
    """End, unless the settings say to keep them always."""
    recorder = load_service()[1].recorder
    recorder.stop()
    click.echo("still kept, as record.always says" if recorder.is_on else "no more are kept")


@record.command("list")
def record_list() -> None:
    """What is kept, newest first."""
    recorder = load_service()[1].recorder
    kept, refused = recorder.kept(), recorder.refused()
    for one in kept:
        view = " ".join(one.query.get("view", ()))
        names = ", ".join(one.query)
        click.echo(f"{one.name}  {one.status}  {one.method} {one.path}  {view}: {names}")
    click.echo(f"{len(kept)} kept")
    if refused:
        click.echo(f"last refused: {refused.at}, with {refused.status}: {refused.reason}")


@record.command("show")
@click.argument("name")
def record_show(name: str) -> None:
    """All that is kept of one request."""
    kept = asdict(_kept(load_service()[1].recorder, name))
    click.echo(json.dumps(kept, ensure_ascii=False, indent=2))


@record.command("save")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--about", required=True, help="What it shows, in a sentence.")
@click.option("--set", "changes", multiple=True, metavar="PARAMETER=VALUE", help="Another value.")
def record_save(name: str, file: Path, about: str, changes: tuple[str, ...]) -> None:
    """Make a recording of a kept request, with the reply that it gets now."""
    if file.exists():
        raise click.ClickException(f"{file} is there already; name another file")
    service = load_service()[1]
    kinds = parameter_kinds(service.lookup_schema)
    document = as_recording(_kept(service.recorder, name), about)
    for change in changes:
        parameter, equals, value = change.partition("=")
        if not equals:
            raise click.BadParameter(f"{change!r} is not PARAMETER=VALUE", param_hint="--set")
        if kinds.get(parameter) == "key":
            raise click.BadParameter(
                "a key is never in a recording; replay takes it from the settings",
                param_hint="--set",
            )
        document["request"]["query"][parameter] = value
    try:
        write(file, document)
        recording = read_recording(file)
        accept(recording, _admitted(recording))
    except (RecordingError, SettingsError) as error:
        file.unlink(missing_ok=True)
        raise click.ClickException(str(error)) from None
    click.echo(f"{file}: written; read it before you share it")


@record.command("clear")
def record_clear() -> None:
    """Remove all that is kept."""
    click.echo(f"{load_service()[1].recorder.clear()} removed")


@click.command("replay")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--against", metavar="URL", help="A running server: https://plugin.example.com; else the app."
)
@click.option(
    "--accept", "accepting", is_flag=True, help="Take what differs for right from now on."
)
def replay_command(path: Path, against: str | None, *, accepting: bool) -> None:
    """Send recorded requests, and show where a reply differs from the recorded one.

    PATH is a recording, or a folder of them.
    """
    differing = 0
    app = cache(create_app)
    try:
        files = recordings_in(path)
        for file in files:
            recording = read_recording(file)
            answered = _answered(recording, against, app)
            found = difference(recording, answered)
            differing += bool(found)
            click.echo(f"{file}: {'differs' if found else 'the same reply'}: {recording.about}")
            _print_difference(found)
            if found and accepting:
                accept(recording, answered)
    except (RecordingError, SettingsError) as error:
        raise click.ClickException(str(error)) from None
    if len(files) > 1:
        click.echo(f"{len(files)} recordings, {differing} differ")
    if differing and accepting:
        click.echo(f"{differing} accepted")
    elif differing:
        raise click.exceptions.Exit(1)


def _answered(recording: Recording, against: str | None, app: Callable[[Path], Flask]) -> Answered:
    """What the server at an address answers, or else the app in this process."""
    path = recording.settings or find_settings(os.environ, Path.cwd())
    file = SettingsFile(path, os.environ)
    settings = read_settings(file)
    file.finish()
    secret, own = _secret(settings, recording), own_header(recorder_seal(settings.secret_keys))
    if against:
        return replay_at(recording, against, secret, own)
    return replay(recording, app(path), secret, own)


def _admitted(recording: Recording) -> Answered:
    """What the app answers to a request that it has let in before, and must again."""
    answered = _answered(recording, None, create_app)
    if answered.status == HTTPStatus.UNAUTHORIZED:
        raise RecordingError(
            f"the key of the settings, sent by {recording.key}, is refused; "
            "see the panel's keys and key_in_query"
        )
    return answered


def _kept(recorder: Recorder, name: str) -> Kept:
    kept = {one.name: one for one in recorder.kept()}
    if name not in kept:
        raise click.ClickException(f"no request is kept as {name}; see flask record list")
    return kept[name]


def _secret(settings: Settings, recording: Recording) -> str:
    """The first key in force of the panel that a recording leads to; none where there is none."""
    panels = {panel.name: panel for panel in settings.panels}
    asked = [panel.name for panel in settings.panels if not panel.probe]
    rest = recording.path.removeprefix("/imbox").strip("/")
    name = addressed(rest, recording.parameters.get("plugin", ()), panels, asked)
    if name is None or recording.key in {"wrong", "none"}:
        return ""
    now = datetime.now(UTC)
    active = [key.secret for key in panels[name].keys if key.is_active(now)]
    if not active:
        raise RecordingError(f"panel {name} has no key that is not expired; add one to its keys")
    return active[0]


def _print_difference(lines: str) -> None:
    colours = {"+": "green", "-": "red"}
    for line in lines.splitlines():
        click.secho(line, fg=colours.get(line[:1]))
