"""What the links share whose addresses a vendor makes: asking its API, and trusting no answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from threading import Lock
from types import MappingProxyType
from typing import Any, TypeVar

from marshmallow import ValidationError, fields

from imbox_plugin.http import (
    Answer,
    Client,
    HttpError,
    TooLarge,
    TooSlow,
    Unreachable,
    Untrusted,
    check_base_url,
)
from imbox_plugin.links.base import LinkError, Reason
from imbox_plugin.resilience import Breaker, NoAnswer

T = TypeVar("T")

_NOTHING: Mapping[str, str] = MappingProxyType({})

_PRINTABLE = re.compile(r"[!-~]+")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+[a-z]{_LABEL}", re.IGNORECASE)
#: what may follow the host; a backslash is a slash to a browser
_REST = r"(?:[/?#][!-\[\]-~]{0,4000})?"
#: a code goes into the log: of digits, as of a number or a key that is repeated, it may have few
_CODE = re.compile(r"[A-Za-z_]{2,40}(?:::[0-9]{1,5})?")
_TOKEN = re.compile("[!-~]{1,2000}")
_SERVER_ERRORS = range(500, 600)
#: of the 4xx: they say nothing about what was asked
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
#: seconds that a vendor is left alone after it said no to a login; when it locks an account is
#: unknown
_LEFT_ALONE = 300.0


class Refusal(LinkError):
    """The vendor has said no, and would again.

    Args:
        message: for the operator.
        code: the vendor's own, the status, or a reason.
        status: of the answer; a vendor may say no in a success.
    """

    def __init__(self, message: str, code: str, status: int) -> None:
        super().__init__(message, code)
        self.status = status


class BaseUrl(fields.String):
    """The address of a vendor's API: https, or this very machine."""

    def _deserialize(self, value: object, attr: object, data: object, **kwargs: object) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        try:
            check_base_url(text)
        except ValueError:
            raise ValidationError(
                f"not the https address of an API; write it as {self.load_default}"
            ) from None
        return text


class Host(fields.String):
    """The name of a host, such as `wazzup24.com`."""

    def _deserialize(self, value: object, attr: object, data: object, **kwargs: object) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        if not _HOST.fullmatch(text):
            raise ValidationError(f"not the name of a host; write it as {self.load_default}")
        return text


def check_secret(text: str) -> None:
    """See that a text can be a header; raises ValidationError."""
    if not _PRINTABLE.fullmatch(text):
        raise ValidationError("must be plain ASCII without spaces; copy it again")


def leads_to(url: object, host: str, *, below: bool = False) -> bool:
    """Whether a vendor's address is https and opens nothing but this host.

    No port, no user, nothing that a browser reads differently from us: what does not look like an
    address at first sight is none.

    Args:
        url: as the vendor gave it.
        host: the whole name.
        below: whether a name that ends in `.<host>` will do as well.
    """
    labels = r"(?:[a-z0-9-]+\.)*" if below else ""
    wanted = rf"https://{labels}{re.escape(host)}{_REST}"
    return isinstance(url, str) and bool(re.fullmatch(wanted, url, re.IGNORECASE | re.ASCII))


def is_token(value: object) -> bool:
    """Whether a value of an answer can be a token: a text that fits into a header."""
    return isinstance(value, str) and bool(_TOKEN.fullmatch(value))


class VendorApi:
    """The API of one vendor. Built once, used from many threads.

    Args:
        vendor: its name, for the operator.
        base_url: of its API.
        credentials: what to do when it does not let us in: which settings to correct.
        headers: sent with every request; the key, where it is one.
    """

    def __init__(
        self,
        vendor: str,
        base_url: str,
        credentials: str,
        headers: Mapping[str, str] = _NOTHING,
    ) -> None:
        self._vendor = vendor
        self._client = Client(base_url, headers=headers)
        self._credentials = credentials

    def ask(
        self,
        method: str,
        path: str,
        *,
        deadline: float,
        params: Mapping[str, str] = _NOTHING,
        json: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] = _NOTHING,
        cure: str = "see its code, and that the settings of this link are those of one account",
        shape: type = dict,
    ) -> Answer:
        """A success that reports no error.

        Args:
            method: of HTTP.
            path: what follows the base URL.
            deadline: on the monotonic clock; the calls for one click share it.
            params: of the query.
            json: the body.
            headers: for this request alone.
            cure: what to do when it refuses the question itself.
            shape: what the document of the answer has to be.

        Raises:
            Refusal: the vendor said no.
            LinkError: there is no answer, or the vendor is in trouble. Neither has a cause or a
                context: theirs could hold an address.
        """
        left = deadline - time.monotonic()
        try:
            answer = self._client.request(
                method, path, params=params, json=json, headers=headers, time_limit=left
            )
        except HttpError as error:
            failure = self._failure(error)
        else:
            objection = self._objection(answer, cure, shape)
            if objection is None:
                return answer
            failure = objection
        raise failure

    def error(self, message: str, reason: Reason) -> LinkError:
        """A failure of this vendor that another click may not have."""
        return LinkError(f"{self._vendor}: {message}", reason)

    def refusal(self, message: str, answer: Answer, reason: Reason | None = None) -> Refusal:
        """An answer that is a no, with the code that the vendor gave, or why we take it for one."""
        return Refusal(f"{self._vendor}: {message}", reason or _code(answer), answer.status)

    def _failure(self, error: HttpError) -> LinkError:
        match error:
            case TooSlow():
                text, reason = _TOO_SLOW, Reason.LATE
            case TooLarge():
                text, reason = _TOO_LARGE, Reason.UNUSABLE
            case Unreachable():
                text, reason = str(error), Reason.NO_CONNECTION
            case Untrusted():
                text, reason = str(error), Reason.NOT_TRUSTED
            case _:
                text, reason = str(error), Reason.UNUSABLE
        return self.error(text, reason)

    def _objection(self, answer: Answer, cure: str, shape: type) -> LinkError | None:
        status, document = answer.status, answer.document
        if answer.ok and not _is_error(document):
            fits = isinstance(document, shape)
            return None if fits else self.error(_NO_OBJECT, Reason.UNUSABLE)
        if status in _SERVER_ERRORS or status in _PASSING:
            text = f"it is in trouble ({status}); see its status page, and click again"
            return LinkError(f"{self._vendor}: {text}", _code(answer))
        match status:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                text = f"it does not let us in ({status}); {self._credentials}"
            case HTTPStatus.TOO_MANY_REQUESTS:
                text = f"it is asked too often ({status}); {_TOO_OFTEN}"
            case HTTPStatus.NOT_FOUND:
                text = f"it knows no such call ({status}); see that base_url is that of its API"
            case _ if answer.ok:
                text = f"it reports an error in an answer of success; {cure}"
            case _:
                text = f"it refuses the question ({status}); {cure}"
        return self.refusal(text, answer)


_TOO_SLOW = "it did not answer in time; see its status page, and click again"
_TOO_LARGE = "the answer is too large for what was asked; see base_url"
_NO_OBJECT = "the answer is empty or no object; see that base_url is right"
_TOO_OFTEN = "see what else asks it for this account, or ask it for a higher limit"


def _is_error(document: Any) -> bool:
    return isinstance(document, dict) and bool(
        document.get("error") or document.get("errors") or document.get("success") is False
    )


def _code(answer: Answer) -> str:
    """The vendor's own code, in whichever of the usual shapes; else the status."""
    match answer.document if answer.ok else answer.problem:
        case {"error": str(code)}:
            pass
        case {"error": {"code": str(code)}}:
            pass
        case {"errors": [{"code": str(code)}, *_]}:
            pass
        case {"code": str(code)}:
            pass
        case _:
            code = ""
    return code if _CODE.fullmatch(code) else str(answer.status)


class Logins:
    """Logins at one vendor with one password, one at a time.

    Once it let nobody in, it is left alone for a while: a vendor may lock an account that knocks
    with a wrong password at every click.

    Args:
        vendor: its name, for messages.
        clock: seconds that never go back.
    """

    def __init__(self, vendor: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._vendor = vendor
        self._turn = Lock()
        self._breaker = Breaker(failures=1, reset=_LEFT_ALONE, clock=clock)

    def run(self, login: Callable[[], T], deadline: float) -> T:
        """What the login gives.

        Args:
            login: raises a `Refusal` where nobody is let in.
            deadline: on the monotonic clock.

        Raises:
            LinkError: it failed, now or a while ago.
        """
        if not self._turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise LinkError(
                f"{self._vendor} has not let in an earlier click yet; click again", Reason.BUSY
            )
        try:
            return self._run(login)
        finally:
            self._turn.release()

    def _run(self, login: Callable[[], T]) -> T:
        try:
            permit = self._breaker.permit()
        except NoAnswer as error:
            raise LinkError(f"{self._vendor} is {error}", Reason.PAUSED) from None
        try:
            result = login()
        except Refusal as error:
            self._breaker.failed(permit, f"{error} ({error.code})")
            raise
        except BaseException:
            self._breaker.withdrawn(permit)
            raise
        self._breaker.succeeded(permit)
        return result
