"""The only way out: every HTTP request that the server makes goes through here.

A server out there may be slow, broken or hostile, so a request ends at its deadline and after so
many bytes whatever the other side does, goes to one fixed host, follows no redirect, and takes no
proxy, password or cookie from its surroundings. Nothing is logged, and no error tells an address,
a header, a secret or a value.
"""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import json
import logging
import re
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Lock, Thread
from types import MappingProxyType
from typing import Any, Generic, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import parse_header_links
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError as TransportError

T = TypeVar("T")

_NOTHING: Mapping[str, str] = MappingProxyType({})

#: a value's place in a path, a parameter or a body
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

SIZE_LIMIT = 1_000_000
#: bytes that status line, headers and chunk sizes may take beside the body
_FRAME = 65_536
_CHUNK = 65_536
#: connections kept open between requests
_KEPT = 16
#: seconds that the system may be asked for, where none are left
_TICK = 0.001
#: a Decimal of a few bytes may stand for a million zeros
_MOST_ZEROS = 400

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")
_DOTS = frozenset({"", ".", ".."})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_LET_IN = frozenset({401, 403})
#: statuses of the 4xx that say nothing about the request itself
_PASSING = frozenset({408, 423, 425, 429})
#: seconds for one access token, whoever is waiting for it
_TOKEN_TIME = 10.0
#: seconds that a token is kept whose server does not say how long it is good for
_TOKEN_LIFE = 1800.0
#: seconds before its end that a token is no longer used
_TOKEN_MARGIN = 30.0
#: what these write down has addresses in it, and with them identities
_TALKATIVE = ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry")


class HttpError(Exception):
    """A request that brought no usable answer; the message is for the operator."""

    #: asking again will not help until somebody mends it
    permanent = False


class TooSlow(HttpError):
    """The whole answer was not there in time."""

    def __init__(self) -> None:
        super().__init__("the server did not answer in time; see why, or raise time_limit")


class Unreachable(HttpError):
    """There was no connection, or it broke off."""


class Untrusted(HttpError):
    """There was no TLS connection with the server that was meant."""

    permanent = True

    def __init__(self) -> None:
        super().__init__(
            "the server's certificate is not trusted, or it speaks no TLS; correct the address, or "
            "let this machine trust the authority that signed the certificate"
        )


class Redirected(HttpError):
    """The server wants us elsewhere, and secrets do not travel."""

    permanent = True

    def __init__(self) -> None:
        super().__init__(
            "the server redirects to another address, which is never followed; "
            "write the final address"
        )


class TooLarge(HttpError):
    """The answer has more bytes than are allowed."""

    permanent = True

    def __init__(self) -> None:
        super().__init__("the answer is larger than size_limit; ask for less, or raise it")


class Unreadable(HttpError):
    """The answer is no JSON."""

    def __init__(self) -> None:
        super().__init__(
            "the answer is not JSON in UTF-8; see that the address is that of the API itself"
        )


class Unsendable(HttpError):
    """A value that cannot be part of a request: as a path segment it would mean another path."""

    permanent = True

    def __init__(self) -> None:
        super().__init__("a value cannot be part of an address")


class Refused(HttpError):
    """The server answered with a status that is no success."""

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        super().__init__(_refusal(status, retry_after))
        self.permanent = status not in _PASSING and status < 500 and retry_after is None  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, be it yes or no."""

    status: int
    #: the JSON of a success, floats as Decimal; None: there was no body, or it is no success
    document: Any = field(repr=False)
    #: by names of any case
    headers: Mapping[str, str] = field(repr=False)

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait; None: it does not say."""
        text = self.headers.get("Retry-After", "").strip()
        if text.isdecimal():
            return float(text[:9])
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        wait = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)
        return max(0.0, wait.total_seconds())

    @property
    def next_params(self) -> Mapping[str, str] | None:
        """The parameters of the next page by the `Link` header; None: this is the last.

        Of the address in it nothing else is used, so that no answer can lead to another host.
        """
        for link in parse_header_links(self.headers.get("Link", "")):
            if "next" in str(link.get("rel", "")).lower().split():
                try:
                    return dict(parse_qsl(urlsplit(link["url"]).query))
                except ValueError:
                    return None
        return None

    def refused(self) -> Refused:
        """The error for a status that is of no use."""
        return Refused(self.status, self.retry_after)


class ClientCredentials:
    """The access tokens of one OAuth 2 client (RFC 6749, section 4.4).

    A token is kept until it expires. It is fetched by one thread, and whoever needs it meanwhile
    waits for that one, as long as there is time.

    Args:
        client: of the token server; its base URL is the token's whole address.
        client_id: as the vendor gave it.
        client_secret: likewise.
        scope: what the token is to be good for; None: whatever the vendor grants.
        params: further fields that the vendor asks for, such as `audience`.
        in_header: send id and secret as HTTP Basic instead of in the body.
        clock: seconds, rising.
    """

    def __init__(
        self,
        client: Client,
        client_id: str,
        client_secret: str,
        *,
        scope: str | None = None,
        params: Mapping[str, str] = _NOTHING,
        in_header: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._clock = clock
        self._headers = {}
        self._form = {"grant_type": "client_credentials", **params}
        if scope:
            self._form["scope"] = scope
        if in_header:
            # RFC 6749, section 2.3.1: each is encoded before the two are joined.
            self._headers["Authorization"] = basic(quote(client_id, ""), quote(client_secret, ""))
        else:
            self._form |= {"client_id": client_id, "client_secret": client_secret}
        self._lock = Lock()
        self._kept: tuple[str, float] | None = None
        self._fetching = _Shared(self._fetch)

    def token(self, time_limit: float) -> str:
        """A token that has not expired.

        Raises:
            HttpError: there is none within `time_limit` seconds.
        """
        with self._lock:
            kept = self._kept
        if kept and self._clock() < kept[1]:
            return kept[0]
        try:
            return self._fetching.result(time_limit)
        except TimeoutError:
            raise TooSlow from None

    def drop(self, token: str) -> None:
        """Forget a token that was refused, unless another has taken its place already."""
        with self._lock:
            if self._kept and self._kept[0] == token:
                self._kept = None

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def _fetch(self) -> str:
        asked = self._clock()
        answer = self._client.request(
            "POST", "", form=self._form, headers=self._headers, time_limit=_TOKEN_TIME
        )
        if answer.status in {400, *_NOT_LET_IN}:
            raise _TokenRefused(answer.status)
        if answer.document is None:
            raise answer.refused()
        token, life = _token(answer.document)
        with self._lock:
            self._kept = token, asked + life
        return token


class _TokenRefused(HttpError):
    permanent = True

    def __init__(self, status: int) -> None:
        super().__init__(
            f"the token server does not give us a token ({status}); "
            "correct client_id, client_secret and scope"
        )


class Client:
    """One server, asked in one way. Built once, used from many threads at the same time.

    Args:
        base_url: scheme, host, port, and what all paths begin with.
        headers: sent with every request.
        params: sent with every request; a key that the vendor wants in the query, say.
        tokens: gives every request its `Authorization`; None: it has none, or it is in `headers`.
        size_limit: bytes of one answer, as sent and as unpacked.
        insecure: whether plain http may be spoken with another machine.

    Raises:
        ValueError: the base URL is none, see `check_base_url`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] = _NOTHING,
        params: Mapping[str, str] = _NOTHING,
        tokens: ClientCredentials | None = None,
        size_limit: int = SIZE_LIMIT,
        insecure: bool = False,
    ) -> None:
        check_base_url(base_url, insecure=insecure)
        for name in _TALKATIVE:
            logging.getLogger(name).addFilter(_unheard)
        self._base = base_url.rstrip("/")
        self._headers = {
            "Accept": "application/json",
            "User-Agent": "imbox-plugin",
            **CaseInsensitiveDict(headers),
            "Accept-Encoding": "gzip",
        }
        self._params = dict(params)
        self._tokens = tokens
        self._size_limit = size_limit
        self._door = _Door(_pool(urlsplit(base_url), size_limit))

    def request(
        self,
        method: str,
        path: str,
        values: Mapping[str, str] = _NOTHING,
        *,
        params: Mapping[str, str] = _NOTHING,
        json: Any = None,
        form: Mapping[str, str] = _NOTHING,
        headers: Mapping[str, str] = _NOTHING,
        time_limit: float,
    ) -> Answer:
        """Ask, and read the whole answer.

        Args:
            method: of HTTP.
            path: what follows the base URL, such as `/customers/{external_id}/orders`.
            values: for the placeholders of the path; each stays within its segment.
            params: of the query.
            json: the body; None: none.
            form: the body as a web form.
            headers: for this request alone.
            time_limit: seconds for everything, connecting included.

        Raises:
            HttpError: no usable answer. A status that is no success is one.
        """
        deadline = time.monotonic() + time_limit
        url = self._base + filled(path, values)
        try:
            query = urlencode({**self._params, **params}, quote_via=quote)
        except UnicodeEncodeError:
            raise Unsendable from None
        request = requests.Request(
            method,
            f"{url}?{query}" if query else url,
            headers={**self._headers, **headers},
            json=json,
            data=form,
        ).prepare()
        if self._tokens is None:
            return self._send(request, deadline)
        token = self._tokens.token(_left(deadline))
        answer = self._send(_with_token(request, token), deadline)
        if answer.status == http.client.UNAUTHORIZED:
            self._tokens.drop(token)
            token = self._tokens.token(_left(deadline))
            answer = self._send(_with_token(request, token), deadline)
        return answer

    def close(self) -> None:
        """Give back the connections."""
        self._door.close()
        if self._tokens is not None:
            self._tokens.close()

    def _send(self, request: requests.PreparedRequest, deadline: float) -> Answer:
        try:
            response = self._door.send(
                request,
                stream=True,
                timeout=Timeout(total=_left(deadline)),  # type: ignore[arg-type] # it may be one
            )
            with closing(response.raw):
                return self._answer(response)
        except requests.exceptions.SSLError:
            raise Untrusted from None
        except requests.exceptions.Timeout:
            raise TooSlow from None
        except (requests.RequestException, TransportError, OSError, http.client.HTTPException):
            raise Unreachable("the connection to the server broke off; see that it runs") from None

    def _answer(self, response: requests.Response) -> Answer:
        if response.status_code in _REDIRECTS:
            raise Redirected
        # Also of a refusal: a connection can be used again once it is read to its end.
        body = b"".join(iter(partial(response.raw.read, _CHUNK, decode_content=False), b""))
        body = _unpacked(body, response.headers.get("Content-Encoding", ""), self._size_limit)
        document = _document(body) if response.ok and body.strip() else None
        return Answer(response.status_code, document, response.headers)


def check_base_url(url: str, *, insecure: bool = False) -> None:
    """See that an address can be a client's.

    Raises:
        ValueError: it cannot; the message is a sentence for the settings and repeats none of it.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("not an address; write it as https://api.example.com/v1")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("holds a user, a query or a fragment; secrets go under auth")
    if not _HOST.fullmatch(parts.hostname):
        raise ValueError("the host must be plain ASCII; write it in its xn-- form")
    check_path(parts.path)
    if parts.scheme == "http" and not insecure and not _is_here(parts.hostname):
        raise ValueError(
            "http sends secrets for everybody to read; write https://, or insecure = true for a "
            "server in your own network"
        )


def check_path(path: str) -> None:
    """See that a path can be asked for.

    Raises:
        ValueError: it cannot; the message is a sentence for the settings.
    """
    plain = PLACEHOLDER.sub("x", path)
    if not _PATH.fullmatch(plain):
        raise ValueError(
            "not a path; write it as /customers/{external_id}, unencoded and without a query"
        )
    if not {".", ".."}.isdisjoint(plain.split("/")):
        raise ValueError("a segment . or .. means another path; write that path")


def filled(path: str, values: Mapping[str, str]) -> str:
    """A path with its placeholders filled, each value encoded and within its segment.

    Raises:
        Unsendable: a segment would be empty or dots, which means another path, or is no Unicode.
    """
    segments = [
        (segment, PLACEHOLDER.sub(lambda found: values[found[1]], segment))
        for segment in path.split("/")
    ]
    if any(whole in _DOTS for segment, whole in segments if whole != segment or "{" in segment):
        raise Unsendable
    try:
        return PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=""), path)
    except UnicodeEncodeError:
        raise Unsendable from None


def basic(user: str, password: str) -> str:
    """The `Authorization` of HTTP Basic (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


# --- what is sent and what comes back -------------------------------------------------------------


def _with_token(request: requests.PreparedRequest, token: str) -> requests.PreparedRequest:
    request = request.copy()
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _token(document: Any) -> tuple[str, float]:
    """The token of a token server's answer, and the seconds that it may be used."""
    given = document if isinstance(document, dict) else {}
    token = given.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise Unreadable
    try:
        life = float(given.get("expires_in") or _TOKEN_LIFE)
    except (TypeError, ValueError):
        life = _TOKEN_LIFE
    return token, life - min(_TOKEN_MARGIN, life / 10)


def _refusal(status: int, retry_after: float | None) -> str:
    wait = f" and asks us to wait {retry_after:.0f} s" if retry_after is not None else ""
    if status in _NOT_LET_IN:
        return f"the server does not let us in ({status}){wait}; correct auth, and what it may read"
    if status == http.client.TOO_MANY_REQUESTS:
        return f"the server is asked too often ({status}){wait}; ask its vendor for a higher limit"
    if status in _PASSING or status >= http.client.INTERNAL_SERVER_ERROR:
        return f"the server is in trouble ({status}){wait}; see its vendor's status page"
    return (
        f"the server refuses the question ({status}){wait}; "
        "compare path, params and json with its vendor's documentation"
    )


def _unpacked(body: bytes, encoding: str, most: int) -> bytes:
    match encoding.strip().lower():
        case "" | "identity":
            unpacked = body
        case "gzip" | "x-gzip":
            try:
                unpacked = zlib.decompressobj(wbits=31).decompress(body, most + 1)
            except zlib.error:
                raise Unreadable from None
        case _:
            raise Unreadable
    if len(unpacked) > most:
        raise TooLarge
    return unpacked


def _document(body: bytes) -> Any:
    try:
        return json.loads(
            body.decode("utf-8-sig"), parse_float=_number, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):  # also of a number of 5000 digits
        raise Unreadable from None


def _number(text: str) -> Decimal | str:
    """A number exactly as it was written: money, for one, is no float."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return number if abs(number.adjusted()) <= _MOST_ZEROS else text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


# --- connections ----------------------------------------------------------------------------------


class _Shared(Generic[T]):
    """A call that is made once at a time, in a thread of its own, for all who want its outcome.

    For what knows no deadline, or must not be done by everybody at once.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._lock = Lock()
        self._outcome: Future[T] | None = None

    def result(self, time_limit: float) -> T:
        """What the call under way gives, or a new one where none is; TimeoutError: too late."""
        with self._lock:
            outcome = self._outcome
            if outcome is None or outcome.done():
                outcome = self._outcome = Future()
                Thread(target=self._run, args=(outcome,), daemon=True).start()
        return outcome.result(time_limit)

    def _run(self, outcome: Future[T]) -> None:
        try:
            outcome.set_result(self._call())
        except BaseException as error:  # noqa: BLE001 - it is raised to those who wait
            outcome.set_exception(error)


class _Wire(io.RawIOBase):
    """What a server sends as one answer, up to a deadline and a number of bytes."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, deadline: float, most: int) -> None:
        self._sock = sock
        self._raw = raw
        self._deadline = deadline
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        try:
            count: int | None = self._raw.readinto(buffer)  # type: ignore[attr-defined]
        except TimeoutError:
            raise TooSlow from None
        self._most -= count or 0
        if self._most < 0:
            raise TooLarge
        return count

    def close(self) -> None:
        super().close()
        self._raw.close()


class _Incoming(http.client.HTTPResponse):
    """An answer that is read through a `_Wire`."""

    def __init__(self, sock: socket.socket, *args: Any, most: int, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        # The connection has just set what is left of the time.
        deadline = time.monotonic() + (sock.gettimeout() or 0)
        raw: Any = self.fp
        self.fp = io.BufferedReader(_Wire(sock, raw.detach(), deadline, most))


class _Connection(HTTPConnection):
    """A connection whose time limit is for everything that is done with it, not for each step."""

    def __init__(self, *args: Any, addresses: _Addresses, most: int, **kwargs: Any) -> None:
        self._deadline = 0.0
        super().__init__(*args, **kwargs)
        self._addresses = addresses
        self.response_class = partial(_Incoming, most=most)  # type: ignore[assignment]

    @property
    def timeout(self) -> float:  # type: ignore[override]
        return _left(self._deadline)

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def _new_conn(self) -> socket.socket:
        addresses = self._addresses.find(self.timeout)
        failure: OSError = TimeoutError()
        for at, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # A dead address must not use up the time of those behind it.
                sock.settimeout(self.timeout / (len(addresses) - at))
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
                continue
            sock.settimeout(self.timeout)
            return sock
        if isinstance(failure, TimeoutError):
            raise TooSlow
        kind_of = type(failure).__name__
        raise Unreachable(
            f"cannot connect to the server ({kind_of}); see that it runs and the address is right"
        )


class _TlsConnection(_Connection, HTTPSConnection):
    """The same with TLS."""


class _Addresses:
    """The addresses of one host. Whoever asks does not wait for a resolver that has no deadline."""

    def __init__(self, host: str, port: int) -> None:
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        self._looking_up = _Shared(look_up)

    def find(self, time_limit: float) -> list[Any]:
        try:
            return self._looking_up.result(time_limit)
        except TimeoutError:
            raise TooSlow from None
        except (OSError, UnicodeError):
            raise Unreachable(
                "the name of the server has no address; see that it is right and DNS works"
            ) from None


class _Door(HTTPAdapter):
    """Leads to one host alone, whatever a request says."""

    def __init__(self, pool: HTTPConnectionPool) -> None:
        super().__init__(max_retries=0)
        self._pool = pool

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        return self._pool

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Nothing to do: whom to trust is settled in the pool's TLS context."""

    def close(self) -> None:
        self._pool.close()
        super().close()


def _pool(base: SplitResult, size_limit: int) -> HTTPConnectionPool:
    host = str(base.hostname)
    own: dict[str, Any] = {"maxsize": _KEPT, "timeout": 1.0, "most": size_limit + _FRAME}
    if base.scheme == "http":
        port = base.port or http.client.HTTP_PORT
        plain = HTTPConnectionPool(host, port, addresses=_Addresses(host, port), **own)
        plain.ConnectionCls = _Connection
        return plain
    port = base.port or http.client.HTTPS_PORT
    # The machine's own authorities, so that a company's private one is trusted as well.
    own["ssl_context"] = ssl.create_default_context()
    pool = HTTPSConnectionPool(host, port, addresses=_Addresses(host, port), **own)
    pool.ConnectionCls = _TlsConnection
    return pool


def _left(deadline: float) -> float:
    return max(_TICK, deadline - time.monotonic())


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if url.isascii() and url.isprintable() and " " not in url else None


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unheard(_record: logging.LogRecord) -> bool:
    return False
