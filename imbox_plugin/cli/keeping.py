"""`flask events` and `flask purge`: what is kept, and how it is let go."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from imbox_plugin.app import shared_cache
from imbox_plugin.cache import Purges
from imbox_plugin.cli.common import load_service
from imbox_plugin.identity import normal_form
from imbox_plugin.model import Key
from imbox_plugin.outbox import Letter, OutboxError
from imbox_plugin.settings import (
    Settings,
    SettingsError,
    SettingsFile,
    find_settings,
    read_settings,
)


@click.command("events")
@click.option("--retry", metavar="KEY", help="Deliver this dead letter after all; all: each.")
@click.option("--drop", metavar="KEY", help="Forget this dead letter; all: each.")
def events(retry: str | None, drop: str | None) -> None:
    """Say how many events wait, and list the dead letters; nothing of what is in them."""
    _, service = load_service()
    if service.courier is None:
        raise click.ClickException("the settings have no [events], so none are taken")
    outbox = service.courier.outbox
    try:
        letters = outbox.dead()
        for done, key, change in (
            ("to be retried", retry, outbox.retry),
            ("dropped", drop, outbox.settle),
        ):
            if key is None:
                continue
            chosen = [letter for letter in letters if key in ("all", _key(letter))]
            if not chosen and key != "all":
                raise click.ClickException("no dead letter has this key; flask events lists them")
            for letter in chosen:
                change(letter)
            click.echo(f"{len(chosen)} {done}")
        counts, letters = outbox.counts(), outbox.dead()
    except OutboxError as error:
        raise click.ClickException(str(error)) from None
    finally:
        outbox.close()
    oldest = f", the oldest for {counts.oldest:.0f} s" if counts.waiting else ""
    click.echo(f"{counts.waiting} waiting{oldest}")
    click.echo(f"{counts.settled} delivered or dropped, whose ids are remembered")
    click.echo(f"{counts.dead} dead")
    for letter in letters:
        click.echo(f"  {_dead(letter)}")


@click.command("purge")
@click.option("--email")
@click.option("--phone")
@click.option("--external-id")
@click.option("--contact-id")
@click.option("--all", "everybody", is_flag=True, help="Without naming anybody.")
def purge(*, everybody: bool, **named: str | None) -> None:
    """Make every process forget what sources answered about a person: all answers it has kept."""
    try:
        file = SettingsFile(find_settings(os.environ, Path.cwd()), os.environ)
        settings = read_settings(file)
        shared = shared_cache(file, settings)
        file.finish()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    given = {Key(name): text for name, text in named.items() if text is not None}
    if not given and not everybody:
        raise click.UsageError("name the person, by --email say, or write --all")
    for key, text in given.items():
        if normal_form(key, text, settings.default_region) is None:
            option = f"--{key.value.replace('_', '-')}"
            raise click.ClickException(f"{option} names nobody: incomplete or not valid")
    failed = _purged_here(settings, ", ".join(given) or "all")
    if shared:
        failed = _purged_there(shared.purge) or failed
    if failed:
        raise click.exceptions.Exit(1)
    about = "about this person and everybody else" if given else "about everybody"
    click.echo(f"forgotten: all that sources had answered {about}; they are asked anew")


def _purged_here(settings: Settings, about: str) -> bool:
    """Purge the memories of this machine's processes; whether that failed."""
    try:
        Purges(settings.state).purge(about)
    except OSError as error:
        click.echo(
            f"memory: NOT purged: {settings.state} cannot be written ({error.strerror}); run this "
            "as the server's own user",
            err=True,
        )
        return True
    if not settings.cache:
        click.echo(
            "memory: each process of this machine drops all answers at its next look-up, and shows "
            "none of them from now on; a server on another machine needs this command, too"
        )
    return False


def _purged_there(purge_redis: Callable[[], int]) -> bool:
    """Purge Redis; whether that failed."""
    try:
        deleted = purge_redis()
    except Exception as error:  # noqa: BLE001
        # Whatever it is, it is not purged; its message may have the address.
        kind = type(error).__name__
        click.echo(f"Redis: NOT purged: it does not answer ({kind}); purge again", err=True)
        return True
    click.echo(f"Redis: {deleted} entries deleted, for all servers that share it")
    return False


def _key(letter: Letter) -> str:
    """What a dead letter is called: the key of its event, or its id where that cannot be read."""
    return letter.event.key if letter.event else letter.id


def _dead(letter: Letter) -> str:
    event = letter.event
    # What came from a browser must not steer the terminal.
    names = (event.type, event.link, event.panel) if event else ("?", "?", "?")
    kind, link, panel = (ascii(name)[1:-1] for name in names)
    moment = datetime.fromtimestamp(letter.accepted, UTC).isoformat(timespec="seconds")
    return (
        f"{kind} of link {link} in panel {panel}, key {ascii(_key(letter))[1:-1]}, accepted "
        f"{moment}, {letter.attempts} attempts: {letter.failure}"
    )
