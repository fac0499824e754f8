"""The settings that a new integrator begins with, written out with a comment at each choice."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

#: what a source can be begun with, and what is asked about it
SOURCES = {
    "csv": "the CSV file of the customers",
    "excel": "the workbook of the customers",
    "json": "the JSON file of the customers",
    "sql": "the table of the customers",
    "rest": "the address that all endpoints of the API begin with",
    "inline": "nothing: an invented customer, to see a card first",
}
LINKS = ("none", "whatsapp", "gallabox", "url")

_KEY_FILE = "imbox-api.key"
_SECRET_FILE = "imbox-secret.key"  # noqa: S105 - the name of a file


class AlreadyThere(Exception):
    """A file that would have been written over; the message is its path."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What is to be known before the first settings can be written."""

    #: one of SOURCES
    source: str = "inline"
    #: of the source: a file, a table or an address
    where: str = ""
    locale: str = "en"
    #: ISO country; None: unknown
    region: str | None = None
    #: the public address of the server, such as https://plugin.example.com; None: not yet known
    base_url: str | None = None
    #: one of LINKS
    link: str = "none"
    #: for the link `url`: the template
    link_url: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """Files to write, by their names beside the settings, and what to paste into ImBox Admin."""

    settings: str
    #: readable for nobody but the owner
    secrets: dict[str, str]
    #: what ImBox Admin asks for, and what is entered there
    paste: tuple[tuple[str, str], ...]
    #: what is left to do, one sentence each
    remaining: tuple[str, ...]


def start(answers: Answers, today: date) -> Start:
    """The first settings, with a fresh key."""
    key = secrets.token_urlsafe(32)
    header = b64encode(key.encode()).decode()
    host = answers.base_url or "https://<your host>"
    return Start(
        settings=_settings(answers, today),
        secrets={_KEY_FILE: key, _SECRET_FILE: secrets.token_urlsafe(32)},
        paste=(
            ("Endpoint", f"{host.rstrip('/')}/imbox"),
            ("Method", "GET"),
            ("Header name", "Authorization"),
            ("Header value", f"Basic {header}"),
            ("Fixed query parameters", "none"),
            ("POST body", "none"),
        ),
        remaining=tuple(_remaining(answers)),
    )


def write(start: Start, settings: Path) -> tuple[Path, ...]:
    """Write the files, and give their paths.

    Raises:
        AlreadyThere: one of them is; none is written then.
        OSError: the folder cannot be written.
    """
    secret = {settings.parent / name: text for name, text in start.secrets.items()}
    for path in (settings, *secret):
        if path.exists():
            raise AlreadyThere(path)
    settings.parent.mkdir(parents=True, exist_ok=True)
    for path, text in secret.items():
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(f"{text}\n", "utf-8")
    settings.write_text(start.settings, "utf-8")
    return (settings, *secret)


def _settings(answers: Answers, today: date) -> str:
    names = {"key_file": _KEY_FILE, "secret_file": _SECRET_FILE, "today": today}
    environment = Environment(
        autoescape=False,  # noqa: S701 - it writes TOML
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["toml"] = _quoted
    # Between quotes that are there already.
    environment.filters["toml_inside"] = lambda text: _quoted(text)[1:-1]
    template = files("imbox_plugin").joinpath("starter.toml.jinja").read_text("utf-8")
    return environment.from_string(template).render(names, **asdict(answers))


def _quoted(text: str) -> str:
    """A text of TOML: JSON's escapes are TOML's, which has one more."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007f")


def _remaining(answers: Answers) -> Iterator[str]:
    if answers.source == "sql":
        yield "put the database's address into the environment variable CRM_URL"
        yield "see that the columns in the statements are those of your table"
    if answers.source == "rest":
        yield "put the API's token into the environment variable CRM_TOKEN"
        yield "write path and parameters as the API's documentation has them (docs/rest.md)"
    if answers.source in {"csv", "excel", "json"} and not Path(answers.where).is_absolute():
        yield f"see that {answers.where} lies beside the settings"
    if answers.region is None:
        yield "set default_region, or phone numbers written nationally find nobody"
    if answers.base_url is None:
        yield "give the server a public address with https, and write it as base_url"
    yield "keep the .key files out of version control"
