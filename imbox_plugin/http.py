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
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Lock, Thread
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

import requests
from requests.adapters import HTTPAdapter
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
_DOTS = frozenset({".", ".."})
_SLASH = re.compile(r"[/\\]")
_SUCCESSES = range(200, 300)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_LET_IN = frozenset({401, 403})
#: statuses of the 4xx that say nothing about the request itself
_PASSING = frozenset({408, 423, 425, 429})
#: whatever the libraries below raise; what they say has addresses in it
_FAILURES = (
    requests.RequestException,
    TransportError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
#: what these write down has addresses in it, and with them identities
_TALKATIVE = ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry")


class HttpError(Exception):
    """A request that brought no usable answer; the message is for the operator."""

    #: asking again will not help until somebody mends it
    permanent = False
    #: of an answer that came, but is of no use; None: none did, or not to its end
    status: int | None = None


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
        # Any other refusal may be due to a value that was asked for.
        self.permanent = status in _NOT_LET_IN and retry_after is None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, be it yes or no."""

    status: int
    #: the JSON of a success, floats as Decimal; None: there was no body, or it is no success
    document: Any = field(default=None, repr=False)
    #: by names of any case
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)
    #: the JSON that came with what is no success, for a vendor's own code; None: there was none
    problem: Any = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return self.status in _SUCCESSES

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


class Tokens(Protocol):
    """Where a client's access tokens come from."""

    def token(self, time_limit: float) -> str:
        """One that has not expired; HttpError: there is none within so many seconds."""

    def drop(self, token: str) -> None:
        """Forget one that the server refused."""

    def close(self) -> None:
        """Give back connections."""


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
        tokens: Tokens | None = None,
        size_limit: int = SIZE_LIMIT,
        insecure: bool = False,
    ) -> None:
        check_base_url(base_url, insecure=insecure)
        for name in _TALKATIVE:
            logging.getLogger(name).addFilter(_unheard)
        self._base_url = base_url
        self._headers = {
            "Accept": "application/json",
            "User-Agent": "imbox-plugin",
            **headers,
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
        content: bytes = b"",
        headers: Mapping[str, str] = _NOTHING,
        time_limit: float,
    ) -> Answer:
        """Ask, and read the whole answer.

        Args:
            method: of HTTP.
            path: what follows the base URL, as `/customers/{external_id}/orders`; may be empty.
            values: for the placeholders of the path; each stays within its segment.
            params: of the query.
            json: the body; None: none.
            form: the body as a web form.
            content: the body as it is to be sent, to the byte; say in `headers` what it is.
            headers: for this request alone.
            time_limit: seconds for everything, connecting included.

        Raises:
            HttpError: no usable answer. A status that is no success is one.
        """
        deadline = time.monotonic() + time_limit
        url = self._base_url.rstrip("/") + filled(path, values) if path else self._base_url
        query = _query({**self._params, **params})
        headers = {**self._headers, **headers}
        try:
            data = content or form
            request = requests.Request(method, url + query, headers, data=data, json=json).prepare()
            return self._ask(request, deadline)
        except requests.exceptions.SSLError:
            raise Untrusted from None
        except requests.exceptions.Timeout:
            raise TooSlow from None
        except _FAILURES:
            raise Unreachable("the connection to the server broke off; see that it runs") from None

    def close(self) -> None:
        """Give back the connections."""
        self._door.close()
        if self._tokens is not None:
            self._tokens.close()

    def _ask(self, request: requests.PreparedRequest, deadline: float) -> Answer:
        if self._tokens is None:
            return self._send(request, deadline)
        token = self._tokens.token(_left(deadline))
        answer = self._send(_with_token(request, token), deadline)
        if answer.status != http.client.UNAUTHORIZED:
            return answer
        # It may have been revoked before its time.
        self._tokens.drop(token)
        return self._send(_with_token(request, self._tokens.token(_left(deadline))), deadline)

    def _send(self, request: requests.PreparedRequest, deadline: float) -> Answer:
        if time.monotonic() >= deadline:
            raise TooSlow
        timeout: Any = Timeout(total=_left(deadline))
        response = self._door.send(request, stream=True, timeout=timeout)
        with closing(response.raw):
            return self._answer(response)

    def _answer(self, response: requests.Response) -> Answer:
        if response.status_code in _REDIRECTS:
            raise Redirected
        answer = Answer(response.status_code, headers=response.headers)
        try:
            body = self._body(response)
            if body and answer.ok:
                return replace(answer, document=_document(body))
        except (TooLarge, Unreadable) as error:
            error.status = answer.status
            raise
        return replace(answer, problem=_document_or_none(body)) if body else answer

    def _body(self, response: requests.Response) -> bytes:
        # Also of a refusal: a connection can be used again once it is read to its end.
        body = b"".join(iter(partial(response.raw.read, _CHUNK, decode_content=False), b""))
        if not body and _lacks_its_body(response):
            raise http.client.IncompleteRead(b"")
        encoding = response.headers.get("Content-Encoding", "")
        return _unpacked(body, encoding, self._size_limit).strip()


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


def certificate_end(url: str, time_limit: float) -> datetime:
    """The moment until which the certificate at an https address is good.

    Raises:
        HttpError: there is no trusted TLS connection within `time_limit` seconds.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    context = ssl.create_default_context()
    try:
        with (
            socket.create_connection((host, port), time_limit) as plain,
            context.wrap_socket(plain, server_hostname=host) as sealed,
        ):
            certificate = sealed.getpeercert() or {}
    except ssl.SSLError:
        raise Untrusted from None
    except TimeoutError:
        raise TooSlow from None
    except OSError:
        raise Unreachable("nobody answers at that address; see that the server runs") from None
    end = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return datetime.fromtimestamp(end, UTC)


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
    if not _DOTS.isdisjoint(plain.split("/")):
        raise ValueError("a segment . or .. means another path; write that path")


def filled(path: str, values: Mapping[str, str]) -> str:
    """A path with its placeholders filled, each value encoded and within its segment.

    Raises:
        Unsendable: a segment would be empty or dots, which means another path, or is no Unicode.
    """
    for segment in path.split("/"):
        whole = PLACEHOLDER.sub(lambda found: values[found[1]], segment)
        # Some servers decode a segment before they look for the end of it.
        if whole != segment and (not whole or not _DOTS.isdisjoint(_SLASH.split(whole))):
            raise Unsendable
    try:
        return PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=""), path)
    except UnicodeEncodeError:
        raise Unsendable from None


def basic(user: str, password: str) -> str:
    """The `Authorization` of HTTP Basic (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


# --- what is sent and what comes back -------------------------------------------------------------


def _query(params: Mapping[str, str]) -> str:
    try:
        query = urlencode(params, quote_via=quote, safe="")
    except UnicodeEncodeError:
        raise Unsendable from None
    return f"?{query}" if query else ""


def _with_token(request: requests.PreparedRequest, token: str) -> requests.PreparedRequest:
    request = request.copy()
    request.headers["Authorization"] = f"Bearer {token}"
    return request


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


def _lacks_its_body(response: requests.Response) -> bool:
    """Whether an empty body may be a connection that broke off; it would mean "not known"."""
    return (
        response.status_code in _SUCCESSES
        and response.status_code != http.client.NO_CONTENT
        and "Content-Length" not in response.headers
        and "Transfer-Encoding" not in response.headers
    )


def _unpacked(body: bytes, encoding: str, most: int) -> bytes:
    is_whole = True
    match encoding.strip().lower():
        case "" | "identity":
            pass
        case "gzip" | "x-gzip":
            unpacker = zlib.decompressobj(wbits=31)
            try:
                body = unpacker.decompress(body, most + 1)
            except zlib.error:
                raise Unreadable from None
            is_whole = unpacker.eof
        case _:
            raise Unreadable
    if len(body) > most:
        raise TooLarge
    if not is_whole:
        raise Unreadable
    return body


def _document(body: bytes) -> Any:
    try:
        return json.loads(
            body.decode("utf-8-sig"), parse_float=_number, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):  # also of a number of 5000 digits
        raise Unreadable from None


def _document_or_none(body: bytes) -> Any:
    """A refusal may come from anything on the way, with a page of its own."""
    try:
        return _document(body)
    except Unreadable:
        return None


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


class SingleFlight(Generic[T]):
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

    def __init__(self, sock: socket.socket, raw: Any, deadline: float, most: int) -> None:
        self._sock = sock
        self._raw = raw
        self._deadline = deadline
        self._most = most
        #: whether the server has hung up
        self.is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        try:
            count: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            raise TooSlow from None
        self.is_over = count == 0
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
        self._wire = _Wire(sock, raw.detach(), deadline, most)
        self.fp = io.BufferedReader(self._wire)

    def begin(self) -> None:
        """Read status and headers; the library takes an end in the midst of them for theirs."""
        super().begin()
        if self._wire.is_over:
            raise http.client.IncompleteRead(b"")


class _Connection(HTTPConnection):
    """A connection whose time limit is for everything that is done with it, not for each step."""

    def __init__(self, *args: Any, addresses: _Addresses, most: int, **kwargs: Any) -> None:
        self._deadline = 0.0
        super().__init__(*args, **kwargs)
        self._addresses = addresses
        self.response_class = partial(_Incoming, most=most)  # type: ignore[assignment]

    @property
    def timeout(self) -> float | None:
        return _left(self._deadline)

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._deadline = time.monotonic() + (seconds or 0)

    def _new_conn(self) -> socket.socket:
        addresses = self._addresses.find(_left(self._deadline))
        failure: OSError = TimeoutError()
        for at, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # A dead address must not use up the time of those behind it.
                sock.settimeout(_left(self._deadline) / (len(addresses) - at))
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
        self._looking_up = SingleFlight(look_up)

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
