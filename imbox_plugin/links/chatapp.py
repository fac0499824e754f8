"""ChatApp Dialog: the chats with a person's numbers, with the agent's own login or a token.

Source: ChatApp, "Embedding messengers in the developer's own system", "Getting an access token" and
"Errors", chatapp.online/help and help.chatapp.online.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from marshmallow import ValidationError, validate, validates_schema

from imbox_plugin.http import Answer
from imbox_plugin.links import (
    Contact,
    Destination,
    Frame,
    LinkBuilder,
    LinkContext,
    LinkError,
    Lookup,
    Reason,
    Schema,
    encoded,
    fields,
)
from imbox_plugin.links.placeholders import Template, check_placeholders, known, phones
from imbox_plugin.links.vendors import BaseUrl, Logins, Refusal, VendorApi, is_token
from imbox_plugin.seals import Seal, Unsealable

#: what PHP's http_build_query takes here: texts, and lists and tables of them; None is left out
Tree: TypeAlias = "str | Sequence[Tree] | Mapping[str, Tree] | None"

_SANDBOX = (
    "allow-forms allow-modals allow-orientation-lock allow-pointer-lock allow-popups"
    " allow-popups-to-escape-sandbox allow-presentation allow-same-origin allow-scripts"
    " allow-top-navigation allow-top-navigation-by-user-activation"
)
_FEATURES = ("camera", "microphone", "clipboard-read", "clipboard-write")

_ORIGIN = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]*[A-Za-z0-9])+")
_PHONE_DIGITS = "phone_digits"
#: where the settings write the @ of an account, and whoever stored it has, too
_ATS = re.compile("@{2,}")
#: numbers and chat ids of one link, and characters of one: an order becomes part of an address
_MOST = 5
_LONGEST = 100

#: seconds before its end that a token is not given out any more
_MARGIN = 120.0
#: seconds that asking whether a token is still good may take
_CHECK = 2.0
#: seconds between two tries to be the one process that renews the tokens
_TURN = 0.05
_INVALID = "ApiInvalidTokenError"
_CURE = "correct email, password and app_id"


def http_build_query(tree: Mapping[str, Tree]) -> str:
    """A query as PHP's function of that name makes it, with PHP_QUERY_RFC3986.

    The vendor's document builds its addresses so: `a[b][0]=c`, brackets in percent form, empty
    lists left out.
    """
    return "&".join(f"{encoded(name)}={encoded(text)}" for name, text in _pairs("", tree))


def _pairs(path: str, tree: Tree) -> Iterator[tuple[str, str]]:
    match tree:
        case None:
            return
        case str():
            yield path, tree
        case Mapping():
            for name, inner in tree.items():
                yield from _pairs(f"{path}[{name}]" if path else name, inner)
        case _:
            for at, inner in enumerate(tree):
                yield from _pairs(f"{path}[{at}]", inner)


class _LoginSchema(Schema):
    email = fields.String(
        required=True,
        metadata={"secret": True, "help": "of the ChatApp account that all agents will act in"},
    )
    password = fields.String(required=True, metadata={"secret": True, "help": "of that account"})
    app_id = fields.String(
        required=True,
        metadata={"secret": True, "help": "from the account's page about the API"},
    )


def _check_dialog_id(template: str) -> None:
    if len(check_placeholders(template, (_PHONE_DIGITS,))) != 1:
        raise ValidationError("must have one placeholder, as in {phone_digits}@c.us")


def _known(digits: str, lookup: Lookup, contact: Contact | None, name: str) -> str | None:
    """What is known of a person, with one of the numbers."""
    return digits if name == _PHONE_DIGITS else known(lookup, contact, name)


class ChatApp(LinkBuilder):
    """The chats with a person in ChatApp Dialog."""

    lasting = True
    events = MappingProxyType({})

    class Options(Schema):
        """Which of the account's lines, and `login` to spare the agents their own."""

        license_id = fields.Integer(
            strict=True,
            load_default=None,
            metadata={"help": "the number of the line (license) to write from"},
        )
        messenger = fields.String(
            load_default=None,
            metadata={"help": "which messenger of the line, such as grWhatsApp"},
            validate=validate.Regexp(
                r"[A-Za-z][A-Za-z0-9_]{0,39}\Z", error="not a messenger; write it as grWhatsApp"
            ),
        )
        phones = fields.Boolean(
            load_default=True,
            metadata={"help": "by the person's numbers; false without dialog_ids: all chats"},
        )
        dialog_ids = fields.List(
            fields.String(validate=_check_dialog_id),
            load_default=list,
            metadata={"help": "ids of chats, such as {phone_digits}@c.us or @{contact.telegram}"},
        )
        crm_domain = fields.String(
            load_default=None,
            metadata={"help": "the other system by which ChatApp knows employee_ext_code"},
            validate=validate.Regexp(
                rf"(?:{_HOST.pattern})\Z", error="not a host; write it as crm.example.com"
            ),
        )
        employee_ext_code = fields.String(
            load_default=None,
            metadata={"help": "the one employee, by the id there, that all agents act as"},
            validate=validate.Length(1, _LONGEST, error="must have from {min} to {max} characters"),
        )
        login = fields.Nested(
            _LoginSchema,
            load_default=None,
            metadata={"help": "the account of the token; left out: the agents' own login"},
        )
        dialog = fields.String(
            load_default="https://dialogs.pro",
            metadata={"help": "where ChatApp Dialog is"},
            validate=validate.Regexp(
                rf"(?:{_ORIGIN.pattern})\Z", error="not an address; write it as https://dialogs.pro"
            ),
        )
        base_url = BaseUrl(
            load_default="https://api.chatapp.online",
            metadata={"help": "the address of ChatApp's API"},
        )

        @validates_schema
        def _complete(self, data: Mapping[str, Any], **_: Any) -> None:
            if (data["crm_domain"] is None) != (data["employee_ext_code"] is None):
                lacks = "crm_domain" if data["crm_domain"] is None else "employee_ext_code"
                raise ValidationError("missing; one is of no use without the other", lacks)

    def __init__(
        self,
        options: Mapping[str, Any],
        context: LinkContext,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(options, context)
        dialog = str(options["dialog"])
        allow = "; ".join(f"{feature} {dialog}/" for feature in _FEATURES)
        self._frame = Frame(allow=allow, sandbox=_SANDBOX)
        self._dialog_ids = [Template(text) for text in options["dialog_ids"]]
        self._account: _Account | None = None
        if options["login"]:
            if context.seal is None:
                raise ValueError("login keeps its tokens sealed; add secret_keys at the top level")
            kept = _Kept(
                context.state, context.seal, (options["base_url"], *options["login"].values())
            )
            self._account = _Account(
                options["login"],
                VendorApi("ChatApp", options["base_url"], _CURE),
                kept,
                time_limit=context.time_limit,
                now=now,
                clock=clock,
            )

    def url(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """Without a token: ChatApp asks who has not logged in yet to do so, once."""
        found = self._found(lookup, contact)
        return self._address(found, None) if found else None

    @property
    def mints(self) -> bool:
        """Whether it has a login to."""
        return self._account is not None

    def order(self, lookup: Lookup, contact: Contact | None) -> Mapping[str, Any] | None:
        """With a login: the numbers and the ids of the chats."""
        return self._found(lookup, contact) if self._account else None

    def mint(self, order: Mapping[str, Any]) -> Destination:
        """With a token that is good at this moment, as ChatApp asks for."""
        if self._account is None:
            raise LinkError(
                "the settings have no login any more; open the contact anew in ImBox",
                Reason.NO_LOGIN,
            )
        return Destination(self._address(order, self._account.token()), self._frame)

    def _found(self, lookup: Lookup, contact: Contact | None) -> dict[str, list[str]] | None:
        """What the chats are found by; None: nothing. Nothing is needed to open them all."""
        digits = [phone.lstrip("+") for phone in phones(lookup, contact)][:_MOST]
        values = [partial(_known, number, lookup, contact) for number in digits or [""]]
        filled = (one.fill(value) for one in self._dialog_ids for value in values)
        texts = dict.fromkeys(_ATS.sub("@", text) for text in filled if text)
        ids = [text for text in texts if len(text) <= _LONGEST][:_MOST]
        numbers = digits if self.options["phones"] else []
        is_unfiltered = not self.options["phones"] and not self._dialog_ids
        found = {"phones": numbers, "dialog_ids": ids}
        return found if numbers or ids or is_unfiltered else None

    def _address(self, found: Mapping[str, Any], token: str | None) -> str:
        license_id = self.options["license_id"]
        query = http_build_query(
            {
                "api": {
                    "access_token": token,
                    "license_id": None if license_id is None else str(license_id),
                    "messenger_type": self.options["messenger"],
                    "crm_domain": self.options["crm_domain"],
                    "employee_ext_code": self.options["employee_ext_code"],
                },
                "crm": {"phones": found["phones"], "dialogIds": found["dialog_ids"]},
            }
        )
        return f"{self.options['dialog']}/{'?' if query else ''}{query}"


# --- tokens ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pair:
    """An access token, and the one that a new pair is got for; ends in seconds since 1970."""

    access: str = field(repr=False)
    access_end: float
    refresh: str = field(repr=False)
    refresh_end: float


class _Account:
    """The tokens of one ChatApp account: got once, kept for all processes, renewed when need be.

    The vendor wants a pair to be kept and renewed when its API refuses it, and calls a login for
    every use wrong. Whether a refreshed pair ends the old one, or a refresh token may be used
    twice, no document says; so one thread of one process renews at a time.
    """

    def __init__(
        self,
        login: Mapping[str, str],
        api: VendorApi,
        kept: _Kept,
        *,
        time_limit: float,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._credentials = {
            "email": login["email"],
            "password": login["password"],
            "appId": login["app_id"],
        }
        self._api = api
        self._kept = kept
        self._time_limit = time_limit
        self._now = now
        self._logins = Logins("ChatApp", clock)

    def token(self) -> str:
        """An access token that is good now.

        Raises:
            LinkError: there is none in time.
        """
        until = time.monotonic() + self._time_limit
        pair = self._kept.read()
        if pair and self._is_in_time(pair) and not self._is_refused(pair, until):
            return pair.access
        with self._kept.locked(until):
            found = self._kept.read()
            if found and found != pair and self._is_in_time(found):
                # Another process has renewed it while we waited.
                return found.access
            renewed = self._refreshed(found, until) if found else None
            if renewed is None:
                renewed = self._logins.run(lambda: self._log_in(until), until)
            self._kept.write(renewed)
            return renewed.access

    def _is_in_time(self, pair: _Pair) -> bool:
        return self._now() < pair.access_end - _MARGIN

    def _is_refused(self, pair: _Pair, until: float) -> bool:
        """Whether the API says that the token is not good any more, before its end.

        The documented sign is an error of the API, so a call has to be made. This one is made for
        that, and only programs of other people show it: any other answer than that error, also
        that there is no such call, leaves it at the token's end.
        """
        deadline = min(until, time.monotonic() + _CHECK)
        headers = {"Authorization": pair.access}
        try:
            self._api.ask("GET", "/v1/tokens/check", headers=headers, deadline=deadline)
        except Refusal as error:
            return error.status == HTTPStatus.UNAUTHORIZED or error.code == _INVALID
        except LinkError:
            pass
        return False

    def _refreshed(self, pair: _Pair, until: float) -> _Pair | None:
        """A new pair for the refresh token; None: it is not accepted any more."""
        if self._now() >= pair.refresh_end:
            return None
        headers = {"Refresh": pair.refresh}
        try:
            answer = self._api.ask(
                "POST", "/v1/tokens/refresh", headers=headers, deadline=until, shape=object
            )
        except Refusal as error:
            if error.status == HTTPStatus.TOO_MANY_REQUESTS:
                raise
            # It is never shown again: not by the next click, and not by another process.
            self._kept.drop()
            return None
        return self._pair(answer)

    def _log_in(self, until: float) -> _Pair:
        return self._pair(
            self._api.ask(
                "POST",
                "/v1/tokens",
                json=self._credentials,
                deadline=until,
                cure=_CURE,
                shape=object,
            )
        )

    def _pair(self, answer: Answer) -> _Pair:
        with suppress(TypeError, KeyError, ValueError, OverflowError):
            given = answer.document["data"]
            pair = _Pair(
                given["accessToken"],
                float(given["accessTokenEndTime"]),
                given["refreshToken"],
                float(given["refreshTokenEndTime"]),
            )
            if is_token(pair.access) and is_token(pair.refresh):
                return pair
        raise self._api.refusal(
            "the answer has no pair of tokens where its document says; see whether its API changed",
            answer,
            Reason.NO_CREDENTIAL,
        )


class _Kept:
    """A pair of tokens in a sealed file of its own, for all processes of this machine.

    Args:
        folder: made when it is not there, for its owner alone.
        seal: what makes it unreadable to everybody else.
        account: what tells one account from another; with a new password it is a new file.
    """

    def __init__(self, folder: Path, seal: Seal, account: Sequence[str]) -> None:
        self._folder = folder
        self._seal = seal
        # A name of keyed hash: nobody can try addresses on it.
        self._file = folder / f"chatapp-{seal.name(json.dumps(['chatapp', *account]))[:32]}"

    def read(self) -> _Pair | None:
        """The pair; None: there is none, or none that we can read."""
        try:
            document = json.loads(self._seal.unseal(self._file.read_text("ascii")))
            return _Pair(**document["chatapp"])
        except (OSError, ValueError, Unsealable, KeyError, TypeError):
            # Sealed with a key that is retired, most likely: a login makes a new one.
            return None

    def write(self, pair: _Pair) -> None:
        """Keep a pair in the place of the old one; whoever reads meanwhile gets one or the other.

        Raises:
            LinkError: it cannot be written.
        """
        sealed = self._seal.seal(json.dumps({"chatapp": asdict(pair)}).encode())
        with _plain_errors():
            number, name = tempfile.mkstemp(dir=self._folder, prefix=f"{self._file.name}.")
            try:
                with os.fdopen(number, "w", encoding="ascii") as file:
                    file.write(sealed)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(self._file)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise

    def drop(self) -> None:
        """Keep none."""
        with _plain_errors():
            self._file.unlink(missing_ok=True)

    @contextmanager
    def locked(self, until: float) -> Iterator[None]:
        """Alone, among all threads and processes of this machine.

        Raises:
            LinkError: another has not finished by then, or the folder cannot be written.
        """
        with _plain_errors():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _taken(lock):
                if time.monotonic() >= until:
                    raise LinkError(
                        "another process has not renewed the token yet; click again", Reason.BUSY
                    )
                time.sleep(_TURN)
            yield
        finally:
            os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LinkError(
            f"the folder of state cannot be written ({error.strerror}); correct its rights or room",
            Reason.NO_STATE,
        ) from None
