"""Keeps the requests that really come from ImBox, with nobody's identity in them.

What ImBox sends is documented in part only; the real requests of an account are worth more than any
page. Kept are the method, the path, the parameters and three harmless headers. Identities become
examples, the same one each time; whatever could be a secret or is not understood becomes a
placeholder. The reply is not kept: it is made anew when a kept request is saved as a recording.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from hmac import compare_digest
from pathlib import Path
from typing import Any, TypeVar

import phonenumbers

from imbox_plugin.identity import normal_email, normal_phone
from imbox_plugin.seals import Seal

_log = logging.getLogger(__name__)

_Read = TypeVar("_Read")

#: headers that are kept
HEADERS = ("Accept", "Content-Type", "User-Agent")
#: bytes of one kept request
MOST_BYTES = 16_384
#: stands for what is not kept
PLACEHOLDER = "example"
_LONGEST_HEADER = 200
#: names in a body
_MOST_NAMES = 50
#: characters of an example
_LONGEST = 64
_PUNCTUATION = frozenset("@.-_+ ()")

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_VIEW = re.compile(r"[A-Za-z]{1,20}")
_FILE = re.compile(r"[0-9]{8}T[0-9]{12}-[0-9]+")
_UNTIL = "record-until"
_FOLDER = "recorded"
_REFUSED = "refused.json"
_OWN = "X-Imbox-Plugin-Own"

_ADDRESS = re.compile(r"[^\s<>()\"',;:/=]+(?:@|%40)[^\s<>()\"',;/]+", re.IGNORECASE)
# The numbers of a release have points between them; a phone number with points begins as one.
_NUMBER = re.compile(
    r"\+?\d(?:[ ()-]{0,2}\d){6,}|(?:\+|(?<![\w./])0)(?:[ .()-]{0,2}\d){6,}", re.ASCII
)

# Numbers that belong to nobody: the Swedish authority (PTS) keeps these for fiction, Ofcom and the
# North American administrator those below. Elsewhere the library's example of the country is taken.
_SWEDISH = range(5, 100)
_BRITISH = range(1000)
_AMERICAN = range(100, 200)


@dataclass(frozen=True, slots=True)
class Kept:
    """One request of ImBox's, scrubbed."""

    method: str
    path: str
    #: every value of each parameter, in their order
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    #: how the key came: `basic`, `bearer`, `query`, or `header` for a header of the panel's own
    key: str
    #: names in the JSON body of a POST; their values are static, and may be secret
    body: tuple[str, ...]
    #: bytes of the body
    body_bytes: int
    #: what it was answered with
    status: int
    #: ISO moment in UTC
    at: str
    #: its file's name; empty before it is kept
    name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that was not let in; of what a stranger may send, nothing but how a key came."""

    status: int
    #: how something came for a key: `basic`, `bearer` or `query`; `header`: by neither
    key: str
    #: ISO moment in UTC
    at: str

    @property
    def reason(self) -> str:
        """What was wrong with it."""
        if self.status == 404:  # noqa: PLR2004
            return "it names no panel; compare the address in ImBox Admin with the panels"
        if self.key == "header":
            return "no key by Authorization or in the query; see whether a proxy drops it"
        return (
            f"its key, by {self.key}, is none of the panel's; compare it with that in ImBox Admin"
        )


class Recorder:
    """Keeps scrubbed requests in a folder, a bounded number. Built once, used from many threads.

    Args:
        state: the folder of what must outlive a restart.
        seal: makes the same example of the same identity; None: there are no secret keys, and
            nothing is kept.
        kinds: what a parameter holds: `email`, `phone`, `id`, `view`, `panel` or `key`.
        region: ISO country of phone numbers written nationally.
        always: keep all requests, whatever `start` was told.
        most: requests to keep; the oldest go first.
    """

    def __init__(
        self,
        state: Path,
        seal: Seal | None,
        kinds: Mapping[str, str],
        *,
        region: str | None = None,
        always: bool = False,
        most: int = 200,
    ) -> None:
        self._state, self._seal, self._kinds = state, seal, kinds
        self._region, self._always, self._most = region, always, most

    @property
    def until(self) -> datetime | None:
        """The moment `start` was told to stop at, if it is still to come."""
        try:
            moment = (self._state / _UNTIL).stat().st_mtime
        except OSError:
            return None
        return datetime.fromtimestamp(moment, UTC) if moment > time.time() else None

    @property
    def is_on(self) -> bool:
        """Whether requests are kept now."""
        return self._seal is not None and (self._always or self.until is not None)

    def start(self, seconds: float) -> None:
        """Keep requests for so long, in all processes of this machine, without a restart.

        Raises:
            ValueError: there are no secret keys to make examples with.
            OSError: the folder cannot be written.
        """
        if self._seal is None:
            raise ValueError("secret_keys is empty; identities cannot be replaced without one")
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = self._state / _UNTIL
        marker.touch(mode=0o600)
        os.utime(marker, (time.time(), time.time() + seconds))

    def stop(self) -> None:
        """Keep no more, unless the settings say to."""
        (self._state / _UNTIL).unlink(missing_ok=True)

    @property
    def own(self) -> Mapping[str, str]:
        """The header of a request by this server's own tools, which is not kept as ImBox's.

        Only who has the secret keys can make it.
        """
        return own_header(self._seal)

    def keep(
        self,
        *,
        method: str,
        path: str,
        query: Mapping[str, Sequence[str]],
        headers: Mapping[str, str],
        body: bytes,
        status: int,
    ) -> None:
        """Keep one request, scrubbed; a failure to write is logged and nobody's problem."""
        if self._seal is None or self._is_own(headers):
            return
        kept = Kept(
            method=method,
            path=path,
            query=dict(self._scrubbed(query)),
            headers={
                name: _nobodys(headers[name]) for name in HEADERS if _is_plain(headers.get(name))
            },
            key=self._way_of_key(query, headers),
            body=tuple(_names_in(body)),
            body_bytes=len(body),
            status=status,
            at=_now(),
        )
        text = json.dumps(asdict(kept), ensure_ascii=False)
        if len(text.encode()) > MOST_BYTES:
            _log.warning("a request was too long to be kept")
            return
        self._write(f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}.json", text)

    def refuse(
        self, *, query: Mapping[str, object], headers: Mapping[str, str], status: int
    ) -> None:
        """Note that a request was not let in. Anybody can send one, so only the last is kept."""
        if self._seal is None or self._is_own(headers):
            return
        refused = Refused(status=status, key=self._way_of_key(query, headers), at=_now())
        self._write(_REFUSED, json.dumps(asdict(refused)))

    def kept(self) -> tuple[Kept, ...]:
        """What is kept, newest first; a file that is damaged is logged and left out."""
        files = sorted(self._files(), reverse=True)
        found = (_read(file, partial(_as_kept, file.stem)) for file in files)
        return tuple(one for one in found if one)

    def refused(self) -> Refused | None:
        """The last request that was not let in, ImBox's or a stranger's."""
        return _read(self._state / _FOLDER / _REFUSED, lambda loaded: Refused(**loaded))

    def clear(self) -> int:
        """Remove all that is kept; how many requests those were."""
        (self._state / _FOLDER / _REFUSED).unlink(missing_ok=True)
        files = list(self._files())
        for file in files:
            file.unlink(missing_ok=True)
        return len(files)

    def _write(self, name: str, text: str) -> None:
        folder = self._state / _FOLDER
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Nobody reads a file half written.
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=folder, delete=False
            ) as file:
                file.write(text)
            Path(file.name).rename(folder / name)
            for old in sorted(self._files())[: -self._most]:
                old.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("a request could not be kept: %s", error.strerror)

    def _files(self) -> Iterator[Path]:
        folder = self._state / _FOLDER
        return (file for file in folder.glob("*.json") if _FILE.fullmatch(file.stem))

    def _scrubbed(self, query: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[str]]]:
        for at, (name, values) in enumerate(query.items()):
            kind = self._kinds.get(name, "")
            if kind != "key":
                plain = name if _NAME.fullmatch(name) else f"{PLACEHOLDER}{at}"
                yield plain, [self._example(kind, value) for value in values]

    def _example(self, kind: str, value: str) -> str:
        """What stands for a value: the same for the same person, and of the same form."""
        if not value.strip():
            return value[:1]
        match kind:
            case "email":
                form = normal_email(value)
                example = f"person-{self._name(form)[:8]}@example.com" if form else None
            case "phone":
                example = self._phone(value)
            case "view" | "panel":
                own = _VIEW if kind == "view" else _NAME
                return value if own.fullmatch(value) else PLACEHOLDER
            case "id":
                example = None
            case _:
                return PLACEHOLDER
        return example or self._alike(value)

    def _phone(self, value: str) -> str | None:
        """A number of nobody's, written as the value is: with a plus, its trace, or neither."""
        national = value.strip()
        lost_plus = value[0] == " " and national[0] in "123456789"
        e164 = normal_phone(f"+{national}" if lost_plus else national, self._region)
        if not e164:
            return None
        example = nobodys_number(e164, int(self._name(e164), 16))
        if national.startswith("+"):
            return example
        if lost_plus:
            return f" {example[1:]}"
        if national.startswith("00"):
            return f"00{example[1:]}"
        number = phonenumbers.parse(example)
        written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        return re.sub(r"\D", "", written)

    def _alike(self, value: str) -> str:
        """A text of the same form: a digit for each digit, a letter for each letter."""
        digits = str(int(self._name(value), 16)).zfill(_LONGEST)
        return "".join(map(_alike, value[:_LONGEST], digits))

    def _name(self, text: str) -> str:
        return self._seal.name(text) if self._seal else ""

    def _is_own(self, headers: Mapping[str, str]) -> bool:
        sent = headers.get(_OWN, "").encode(errors="surrogatepass")
        return compare_digest(sent, self._name(_OWN).encode())

    def _way_of_key(self, query: Mapping[str, object], headers: Mapping[str, str]) -> str:
        scheme = headers.get("Authorization", "").strip().partition(" ")[0].lower()
        if scheme in {"basic", "bearer"}:
            return scheme
        return "query" if any(self._kinds.get(name) == "key" for name in query) else "header"


def recorder_seal(secret_keys: Sequence[str]) -> Seal | None:
    """What the recorder makes examples with; None: there are no secret keys."""
    return Seal(secret_keys, "recorder") if secret_keys else None


def own_header(seal: Seal | None) -> Mapping[str, str]:
    """What the recorder with this seal knows this server's own requests by."""
    return {_OWN: seal.name(_OWN)} if seal else {}


def nobodys_number(e164: str, pick: int) -> str:
    """A number of the same country that is kept for fiction, or the library's example of one."""
    number = phonenumbers.parse(e164)
    code = number.country_code or 0
    match code:
        case 46:
            return f"+467017406{_SWEDISH[pick % len(_SWEDISH)]:02}"
        case 44:
            return f"+447700900{_BRITISH[pick % len(_BRITISH)]:03}"
        case 1:
            return f"+1202555{_AMERICAN[pick % len(_AMERICAN)]:04}"
    region = phonenumbers.region_code_for_country_code(code)
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    if example is None:
        return f"+447700900{_BRITISH[pick % len(_BRITISH)]:03}"
    return phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)


def _alike(character: str, digit: str) -> str:
    if character.isdigit():
        return digit
    if not character.isalpha():
        return character if character in _PUNCTUATION else "x"
    letter = "abcdefghij"[int(digit)]
    return letter.upper() if character.isupper() else letter


def _is_plain(value: str | None) -> bool:
    return (
        value is not None
        and len(value) <= _LONGEST_HEADER
        and value.isascii()
        and value.isprintable()
    )


def _nobodys(header: str) -> str:
    """A header without the addresses and long numbers in it."""
    return _NUMBER.sub(PLACEHOLDER, _ADDRESS.sub(PLACEHOLDER, header))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _as_kept(name: str, loaded: Mapping[str, Any]) -> Kept:
    return Kept(**{**loaded, "body": tuple(loaded["body"]), "name": name})


def _read(file: Path, build: Callable[[Any], _Read]) -> _Read | None:
    """What a file holds; None: it is not there, or damaged, which is logged."""
    try:
        return build(json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        # Another process may have removed it since.
        return None
    except OSError as error:
        reason = error.strerror
    except (ValueError, TypeError, KeyError):
        reason = "it is damaged"
    _log.warning("the kept request %s is left out: %s; remove the file", file.name, reason)
    return None


def _names_in(body: bytes) -> Iterable[str]:
    """The names in a JSON object; none for anything else."""
    try:
        document: Any = json.loads(body[:MOST_BYTES])
    except (ValueError, RecursionError):
        return []
    names = document if isinstance(document, dict) else {}
    return [name if _NAME.fullmatch(name) else PLACEHOLDER for name in names][:_MOST_NAMES]
