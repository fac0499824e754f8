"""`flask init`: the first settings."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import click

from imbox_plugin import starter


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="imbox.toml")
@click.option("--source", type=click.Choice(list(starter.SOURCES)), help="Where the customers are.")
@click.option("--from", "where", help="Their file or table, or the address of their API.")
@click.option("--locale", help="Of dates, amounts and sentences: sv, en-GB.")
@click.option("--region", help="ISO country of phone numbers written nationally: SE.")
@click.option("--base-url", help="The server's public address: https://plugin.example.com.")
@click.option("--link", type=click.Choice(starter.LINKS), help="Where a card leads.")
@click.option("--link-url", help="For the link url: the address, with {external_id} in it.")
def init(file: Path, source: str | None, where: str | None, **given: str | None) -> None:
    """Write the first settings and a key, and say what to enter in ImBox Admin.

    Asks for what no option says, unless nobody is there to answer.
    """
    source = _asked(source, "Where are the customers", "inline", starter.SOURCES)
    if source != "inline":
        where = _asked(where, starter.SOURCES[source][:1].upper() + starter.SOURCES[source][1:])
    link = _asked(given["link"], "Where should the card lead", "none", starter.LINKS)
    link_url = given["link_url"] or ""
    if link == "url":
        link_url = _asked(
            link_url, "The address of a record, such as https://crm.example.com/{external_id}"
        )
    answers = starter.Answers(
        source=source,
        where=where or "",
        locale=_asked(given["locale"], "Language of the cards", "en"),
        region=_asked(given["region"], "Country of phone numbers, such as SE", "") or None,
        base_url=_asked(given["base_url"], "The server's public address, if you know it", "")
        or None,
        link=link,
        link_url=link_url,
    )
    start = starter.start(answers, datetime.now(UTC).date())
    try:
        written = starter.write(start, file)
    except starter.AlreadyThere as error:
        there = f"{error} is there already; move it away, or name another file"
        raise click.ClickException(there) from None
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from None
    click.echo(f"written: {', '.join(map(str, written))}")
    _print_start(start, file)


def _asked(
    given: str | None, question: str, default: str | None = None, choices: Iterable[str] = ()
) -> str:
    """What an option says, else what somebody answers, else the default."""
    if given:
        return given
    if not sys.stdin.isatty():
        if default is None:
            raise click.UsageError(f"say it with an option, see --help: {question}")
        return default
    kind = click.Choice(list(choices)) if choices else None
    return str(click.prompt(question, default=default, type=kind))


def _print_start(start: starter.Start, file: Path) -> None:
    """What to paste, and what is left to do before it works."""
    # No table: what is to be pasted must not be broken into lines.
    click.echo("In ImBox Admin:")
    for name, value in start.paste:
        click.echo(f"  {name:24}{value}")
    click.echo("Then:")
    for sentence in start.remaining:
        click.echo(f"  - {sentence}")
    click.echo(f"  - IMBOX_SETTINGS={file} flask check")
