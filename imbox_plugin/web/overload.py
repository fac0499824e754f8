"""Too many requests at once: refused soon and before any work, instead of queued to death."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from queue import Empty, SimpleQueue
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from imbox_plugin.web import errors
from imbox_plugin.web.errors import Refusal

_THREADS = "WEB_THREADS"
#: where in the WSGI environment it says when the request arrived, on the monotonic clock
ARRIVED = "imbox_plugin.arrived"
#: seconds from a request's arrival to its refusal: a burst passes, an overload does not pile up
_PATIENCE = 0.5
_DETAIL = "More requests came than this server can answer; try again in a moment."
# Eight bytes, then numbers of four; that number is the milliseconds since data came last (tcp(7)).
_TCP_INFO = struct.Struct("=52xI")


def places(environ: Mapping[str, str]) -> int:
    """How many requests one process works on at a time, as the environment has it.

    Raises:
        ValueError: it is not a number of 1 or more.
    """
    text = environ.get(_THREADS, "24")
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError(
            f"the environment variable {_THREADS} is not a number of 1 or more; correct it"
        )
    return int(text)


class Door:
    """Lets so many requests in at a time, and refuses those that have waited too long for it.

    It needs a server with more threads than that: a refusal takes a thread, too.

    Args:
        app: what is behind it.
        most: requests at the same time, in this process.
        free: paths that are let in at any time.
        patience: seconds from the arrival of a request until it is refused.
    """

    def __init__(
        self,
        app: WSGIApplication,
        most: int,
        free: Collection[str] = (),
        patience: float = _PATIENCE,
    ) -> None:
        self._app, self._free, self._patience = app, free, patience
        #: those that are free; a queue, since a semaphore takes some microseconds more
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(most):
            self._places.put(None)
        #: since when every request has come too late; None: the last one did not
        self._late: float | None = None
        #: when the last one was looked at
        self._seen = 0.0
        self._refused = errors.response(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, _DETAIL))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as WSGI has it (PEP 3333)."""
        if environ["PATH_INFO"] in self._free:
            return self._app(environ, start_response)
        gone = waited(environ)
        environ[ARRIVED] = time.monotonic() - gone
        left = self._patience - gone
        if self._is_behind(left < 0) or not self._is_free(max(0.0, left)):
            return self._refused(environ, start_response)
        # What is left to do behind it is to send the answer, which is made already.
        try:
            return self._app(environ, start_response)
        finally:
            self._places.put(None)

    def _is_free(self, seconds: float) -> bool:
        """Whether there is a place within so many seconds; it is taken then."""
        try:
            self._places.get(timeout=seconds)
        except Empty:
            return False
        return True

    def _is_behind(self, late: bool) -> bool:  # noqa: FBT001 - it is a measurement
        """Whether the queue is longer than the processor can manage.

        Requests also come late after a pause: of the machine, or until the process had started. A
        queue of that kind is gone in a moment, and all of it is answered. So what comes late is
        refused when nothing else has come for some time, without a pause.
        """
        # Threads may come between; what they change is true as well, so long as it is read once.
        now, since = time.monotonic(), self._late
        if since is None or now - self._seen > self._patience:
            since = now
        self._seen, self._late = now, since if late else None
        return late and now - since > self._patience


def waited(environ: WSGIEnvironment) -> float:
    """Seconds since the last bytes of the request arrived; 0 where nobody can say.

    Neither gunicorn nor WSGI tells how long a connection lay in the queues of the system and of the
    worker. Linux does.
    """
    if sys.platform != "linux":
        return 0.0
    try:
        info = environ["gunicorn.socket"].getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size
        )
        (milliseconds,) = _TCP_INFO.unpack(info)
    except (KeyError, OSError, struct.error):
        # Another server than gunicorn, or no TCP: a Unix socket.
        return 0.0
    return float(milliseconds) / 1000
