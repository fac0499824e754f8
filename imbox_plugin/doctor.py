"""What a healthy set-up has, one by one: what was seen and, if need be, a cure."""

from __future__ import annotations

import platform
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from imbox_plugin.http import Answer, Client, HttpError, certificate_end
from imbox_plugin.recorder import Kept, Recorder
from imbox_plugin.settings import AccessKey, PanelTable, Settings
from imbox_plugin.sources import DataSource, SourceError

#: packages whose release matters when somebody asks for help
_PACKAGES = (
    "imbox-plugin",
    "flask",
    "marshmallow",
    "gunicorn",
    "sqlalchemy",
    "nh3",
    "cryptography",
)
_PATIENCE = 10.0
#: how far a clock may be off before keys and tickets expire at the wrong time
_DRIFT = timedelta(seconds=60)
_SOON = timedelta(days=30)
_OLD = timedelta(days=365)
#: as `flask init` names a key: by the day it was made
_DAY = re.compile(r"\d{4}-\d{2}(-\d{2})?")


class Health(StrEnum):
    """How it stands."""

    WELL = "well"
    #: it works, and deserves a look
    LOOK = "look"
    ILL = "ill"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing that was looked at."""

    health: Health
    #: what was looked at, such as `source crm`
    part: str
    #: what was seen and, unless it is well, the cure
    message: str


def examine(
    settings: Settings, sources: Iterable[DataSource], recorder: Recorder, now: datetime
) -> Iterator[Sign]:
    """Everything that can be seen from here, in the order to mend it.

    Args:
        settings: once they are known to be in order.
        sources: those of all panels.
        recorder: knows what ImBox sent last.
        now: the clock of this machine.
    """
    yield Sign(Health.WELL, "versions", ", ".join(_versions()))
    for source in sources:
        yield _source(source)
    for panel in settings.panels:
        for key in panel.keys:
            yield _key(panel, key, now)
    yield _secret_keys(settings)
    # Before this machine asks anything itself.
    last = tuple(_last_requests(recorder))
    yield from _address(settings, recorder.own, now)
    yield from last


def _versions() -> Iterator[str]:
    yield f"Python {platform.python_version()}"
    for name in _PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed"


def _source(source: DataSource) -> Sign:
    part = f"source {source.context.name}"
    try:
        source.check()
    except SourceError as error:
        return Sign(Health.ILL, part, str(error))
    return Sign(Health.WELL, part, "answers")


def _key(panel: PanelTable, key: AccessKey, now: datetime) -> Sign:
    part = f"panel {panel.name}, key {key.id}"
    if key.expires and not key.is_active(now):
        return Sign(Health.ILL, part, f"expired on {key.expires:%Y-%m-%d}; take it out")
    if key.expires and key.expires - now < _SOON:
        days = (key.expires - now).days
        return Sign(Health.LOOK, part, f"expires in {days} days; add another, and change ImBox")
    made = key.created or _day(key.id)
    if made is None:
        return Sign(Health.UNKNOWN, part, "of unknown age; write created = 2026-11-01 beside it")
    age = (now - made).days
    if now - made > _OLD:
        return Sign(Health.LOOK, part, f"{age} days old; add another, change ImBox, take it out")
    return Sign(Health.WELL, part, f"{age} days old")


def _day(text: str) -> datetime | None:
    """The day that the id of a key says it was made."""
    if not _DAY.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(f"{text}-01"[:10]).replace(tzinfo=UTC)
    except ValueError:
        return None


def _secret_keys(settings: Settings) -> Sign:
    count = len(settings.secret_keys)
    if not count:
        cure = "none, so links by ticket, a shared cache and the recorder cannot be; add one"
        return Sign(Health.LOOK, "secret_keys", cure)
    kept = f"{count}, the first seals" if count > 1 else "one"
    return Sign(Health.WELL, "secret_keys", kept)


def _address(settings: Settings, own: Mapping[str, str], now: datetime) -> Iterator[Sign]:
    """Whether ImBox would reach this server, as far as this machine can tell."""
    part = "base_url"
    if settings.base_url is None:
        yield Sign(Health.UNKNOWN, part, "not set, so it is not tried; write the public address")
        return
    try:
        client = Client(settings.base_url)
    except ValueError as error:
        yield Sign(Health.ILL, part, str(error))
        return
    try:
        yield from _reached(client, settings, own, now)
    except HttpError as error:
        yield Sign(Health.ILL, part, f"not reached from this machine: {error}")
    finally:
        client.close()
    if urlsplit(settings.base_url).scheme == "https":
        yield _certificate(settings.base_url, now)
    else:
        yield Sign(Health.LOOK, "TLS", "http sends customers for everybody to read; use https")


def _reached(
    client: Client, settings: Settings, own: Mapping[str, str], now: datetime
) -> Iterator[Sign]:
    panel = next((panel for panel in settings.panels if not panel.probe), settings.panels[0])
    path = f"/imbox/{panel.name}"
    without = client.request(
        "GET", path, params={"view": "contact"}, headers=own, time_limit=_PATIENCE
    )
    yield _clock(without, now)
    if without.status != 401:  # noqa: PLR2004
        seen = f"{path} answers {without.status} to a request without a key, not 401"
        yield Sign(Health.ILL, "base_url", f"{seen}; see what stands there in place of this server")
        return
    active = [key for key in panel.keys if key.is_active(now)]
    if not active:
        yield Sign(Health.ILL, "base_url", f"panel {panel.name} has no key that is not expired")
        return
    secret = b64encode(active[0].secret.encode(errors="surrogateescape")).decode()
    answer = client.request(
        "GET",
        path,
        params={"view": "contact"},
        headers={**own, "Authorization": f"Basic {secret}"},
        time_limit=_PATIENCE,
    )
    if answer.ok:
        yield Sign(
            Health.WELL, "base_url", "a card comes from there with the key, and none without"
        )
    else:
        seen = f"{path} answers {answer.status} with the key {active[0].id}"
        cure = "see that the proxy passes Authorization on, and that the server has these settings"
        yield Sign(Health.ILL, "base_url", f"{seen}; {cure}")


def _clock(answer: Answer, now: datetime) -> Sign:
    try:
        theirs = parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        return Sign(Health.UNKNOWN, "clock", "the answer says no time to compare with")
    drift = abs(theirs.replace(tzinfo=theirs.tzinfo or UTC) - now)
    if drift > _DRIFT:
        seen = f"{drift.total_seconds():.0f} s from that of base_url"
        return Sign(Health.ILL, "clock", f"{seen}; keys and tickets expire by it: set it by NTP")
    return Sign(Health.WELL, "clock", "the same as that of base_url")


def _certificate(base_url: str, now: datetime) -> Sign:
    try:
        end = certificate_end(base_url, _PATIENCE)
    except HttpError as error:
        return Sign(Health.ILL, "TLS", str(error))
    days = (end - now).days
    if end - now < _SOON:
        return Sign(
            Health.LOOK, "TLS", f"the certificate ends in {days} days; see that it is renewed"
        )
    return Sign(Health.WELL, "TLS", f"trusted, and the certificate is good for {days} days")


def _last_requests(recorder: Recorder) -> Iterator[Sign]:
    """The last that was let in and, when it is no older, the last that was not."""
    kept, refused = recorder.kept(), recorder.refused()
    yield _last_request(kept[0] if kept else None)
    # A stranger can be refused, too, so that it is nothing ill.
    if refused and (not kept or refused.at >= kept[0].at):
        seen = f"{refused.at}, answered {refused.status}; if that was ImBox, {refused.reason}"
        yield Sign(Health.LOOK, "last refused request", seen)


def _last_request(last: Kept | None) -> Sign:
    part = "last ImBox request"
    if last is None:
        return Sign(Health.UNKNOWN, part, "none is kept; flask record start, then open a contact")
    seen = (
        f"{last.at}, {last.method} {last.path} with {', '.join(last.query) or 'no parameters'}, "
        f"the key by {last.key}, answered {last.status}"
    )
    if last.status == 200:  # noqa: PLR2004
        return Sign(Health.WELL, part, seen)
    return Sign(Health.ILL, part, f"{seen}; flask record list shows what it was")
