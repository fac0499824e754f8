"""`flask init`: the first settings."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import click

from imbox_plugin import starter
from imbox_plugin.app import build
from imbox_plugin.settings import Problem, SettingsError, SettingsFile

#: of each answer that can be wrong: its option, and what it becomes in the settings
_PLACES = MappingProxyType(
    {
        "where": ("--from", "sources[0]"),
        "locale": ("--locale", "locale"),
        "region": ("--region", "default_region"),
        "base_url": ("--base-url", "base_url"),
        "link_url": ("--link-url", "panels.default.links[0]"),
    }
)
#: what the first settings take from the environment, for as long as they are only tried
_STAND_INS = MappingProxyType({"CRM_URL": "sqlite:///crm.db", "CRM_TOKEN": "0123456789abcdef"})
#: what an arrow key leaves in an answer, and a file name that is not UTF-8: TOML holds neither
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_QUOTED = r'"[^"\\]+"|`[^`\\]+`|\[[^\]\\]+\]'
_TABLE = re.compile(rf"(?:[\w$#]+|{_QUOTED})(?:\.(?:[\w$#]+|{_QUOTED}))*")


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="imbox.toml")
@click.option("--source", type=click.Choice(list(starter.SOURCES)), help="Where the customers are.")
@click.option("--from", "where", help="Their file or table, or the address of their API.")
@click.option("--locale", help="Of dates, amounts and sentences: sv, en-GB.")
@click.option("--region", help="ISO country of phone numbers written nationally: SE.")
@click.option("--base-url", help="The server's public address: https://plugin.example.com.")
@click.option("--link", type=click.Choice(starter.LINKS), help="Where a card leads.")
@click.option("--link-url", help="For the link url: the address, with {external_id} in it.")
def init(file: Path, **given: str | None) -> None:
    """Write the first settings and a key, and say what to enter in ImBox Admin.

    Asks for what no option says, unless nobody is there to answer. Nothing is written that the
    server would not start with.
    """
    answers = _answers(given)
    if mistakes := _mistakes(answers):
        lines = (f"  {_PLACES[name][0]}: {mistake}" for name, mistake in mistakes.items())
        raise click.UsageError("\n".join(["nothing is written; correct", *lines]))
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


def _answers(given: Mapping[str, str | None]) -> starter.Answers:
    """What the options say, and somebody answers."""
    answers = starter.Answers()
    answers = _asked(answers, "source", given, "Where are the customers", starter.SOURCES)
    if answers.source != "inline":
        where = starter.SOURCES[answers.source]
        answers = _asked(answers, "where", given, where[:1].upper() + where[1:])
    answers = _asked(answers, "link", given, "Where should the card lead", starter.LINKS)
    if answers.link == "url":
        example = "https://crm.example.com/{external_id}"
        answers = _asked(answers, "link_url", given, f"The address of a record, such as {example}")
    answers = _asked(answers, "locale", given, "Language of the cards")
    answers = _asked(answers, "region", given, "Country of phone numbers, such as SE")
    return _asked(answers, "base_url", given, "The server's public address, if you know it")


def _asked(
    answers: starter.Answers,
    name: str,
    given: Mapping[str, str | None],
    question: str,
    choices: Iterable[str] = (),
) -> starter.Answers:
    """The answers with one more: what its option says, else what somebody answers.

    What is wrong is asked again. Where nobody is there to answer, it is taken as it is, or left as
    it was, for all mistakes to be told together.
    """
    default = str(getattr(answers, name) or "")
    kind: click.ParamType[Any] = click.Choice(list(choices)) if choices else click.STRING

    def taken(text: str | None) -> starter.Answers:
        return replace(answers, **{name: text}) if text else answers

    def checked(text: str) -> starter.Answers:
        more = taken(kind.convert(text, None, None))
        if mistake := _mistakes(more).get(name):
            raise click.BadParameter(mistake)
        return more

    if not sys.stdin.isatty():
        return taken(given[name])
    if option := given[name]:
        try:
            return checked(option)
        except click.BadParameter as error:
            click.echo(f"{_PLACES[name][0]}: {error.message}")
    answered: starter.Answers = click.prompt(
        question, default=default, type=kind, value_proc=checked, show_default=bool(default)
    )
    return answered


def _mistakes(answers: starter.Answers) -> dict[str, str]:
    """What the server would refuse, by the answer that it comes of.

    What no answer mends, such as a package that is not installed, is left to `flask check`.
    """
    found = {
        name: "has a character that no settings file can hold; write it without"
        for name, text in asdict(answers).items()
        if _UNWRITABLE.search(text or "")
    }
    if answers.source != "inline" and not answers.where:
        found["where"] = f"missing; say it: {starter.SOURCES[answers.source]}"
    elif answers.source == "sql" and not _TABLE.fullmatch(answers.where):
        found["where"] = (
            "not the name of a table; write it as customers or crm.customers, and in the quotes "
            'of your database where it has spaces: "my customers"'
        )
    if answers.link == "url" and not answers.link_url:
        found["link_url"] = "missing; say it: the address of a record, with {external_id} in it"
    sound = _sound(answers)
    tried = replace(answers, **{name: getattr(sound, name) for name in found})
    problems = _problems(tried)
    for problem in set(problems).difference(_problems(sound) if problems else ()):
        for name, (_, place) in _PLACES.items():
            if problem.path.startswith(place):
                found.setdefault(name, problem.message)
    return {name: found[name] for name in _PLACES if name in found}


def _sound(answers: starter.Answers) -> starter.Answers:
    """Answers of the same kind that have no mistake."""
    return starter.Answers(
        source=answers.source,
        where="https://api.example.com" if answers.source == "rest" else "customers",
        link=answers.link,
        link_url="https://crm.example.com/{external_id}",
    )


def _problems(answers: starter.Answers) -> tuple[Problem, ...]:
    """What the server says of the settings that these answers give."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "imbox.toml")
        starter.write(starter.start(answers, datetime.now(UTC).date()), file)
        try:
            service = build(SettingsFile(file, _STAND_INS))
        except SettingsError as error:
            return error.problems
        for panel in service.panels.values():
            panel.directory.close()
    return ()


def _print_start(start: starter.Start, file: Path) -> None:
    """What to paste, and what is left to do before it works."""
    # No table: what is to be pasted must not be broken into lines.
    click.echo("In ImBox Admin:")
    for name, value in start.paste:
        click.echo(f"  {name:24}{value}")
    click.echo("Then:")
    for sentence in start.remaining:
        click.echo(f"  - {sentence}")
    click.echo(f"  - IMBOX_SETTINGS={shlex.quote(str(file))} {_flask()} check")


def _flask() -> str:
    """How this very command was called, for a shell; the bare name may be none there."""
    if Path(sys.argv[0]).name != "flask":
        return f"{shlex.quote(sys.executable)} -m flask"
    return "flask" if shutil.which("flask") == sys.argv[0] else shlex.quote(sys.argv[0])
