"""Access tokens of OAuth 2, for a client that asks in its own name (RFC 6749, section 4.4)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Lock
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from imbox_plugin.http import Client, HttpError, SingleFlight, TooSlow, Unreadable, basic

#: seconds for one token, whoever is waiting for it
_TIME_LIMIT = 10.0
#: seconds that a token is kept whose server does not say how long it is good for
_USUAL_LIFE = 1800.0
#: seconds before its end that a token is no longer used
_MARGIN = 30.0
_REFUSALS = frozenset({400, 401, 403})


class TokenRefused(HttpError):
    """The token server gives this client no token."""

    permanent = True

    def __init__(self, status: int) -> None:
        super().__init__(
            f"the token server gives us no token ({status}); "
            "correct client_id, client_secret and scope"
        )


class ClientCredentials:
    """The access tokens of one client.

    A token is kept until it expires. It is fetched once, and all who need it meanwhile wait for
    that, each as long as they can.

    Args:
        server: the token server; its base URL is the whole address.
        client_id: as the vendor gave it.
        client_secret: likewise.
        scope: what the token is to be good for; None: whatever the vendor grants.
        params: further fields that the vendor asks for, such as `audience`.
        in_header: send id and secret as HTTP Basic instead of in the body.
        clock: seconds, rising.
    """

    def __init__(
        self,
        server: Client,
        client_id: str,
        client_secret: str,
        *,
        scope: str | None = None,
        params: Mapping[str, str] = MappingProxyType({}),
        in_header: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._clock = clock
        self._headers = {}
        self._form = {"grant_type": "client_credentials", **params}
        if scope:
            self._form["scope"] = scope
        if in_header:
            # RFC 6749, section 2.3.1: both are encoded before they are joined.
            self._headers["Authorization"] = basic(quote(client_id, ""), quote(client_secret, ""))
        else:
            self._form |= {"client_id": client_id, "client_secret": client_secret}
        self._lock = Lock()
        self._kept: tuple[str, float] | None = None
        self._fetching = SingleFlight(self._fetch)

    def token(self, time_limit: float) -> str:
        """A token that has not expired.

        Raises:
            HttpError: there is none within `time_limit` seconds.
        """
        token = self._usable()
        if token is not None:
            return token
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
        self._server.close()

    def _usable(self) -> str | None:
        with self._lock:
            return self._kept[0] if self._kept and self._clock() < self._kept[1] else None

    def _fetch(self) -> str:
        # Somebody may have fetched one since the caller looked.
        token = self._usable()
        if token is not None:
            return token
        asked = self._clock()
        answer = self._server.request(
            "POST", "", form=self._form, headers=self._headers, time_limit=_TIME_LIMIT
        )
        if answer.status in _REFUSALS:
            raise TokenRefused(answer.status)
        if not answer.ok:
            raise answer.refused()
        token, life = _read(answer.document)
        with self._lock:
            self._kept = token, asked + life
        return token


def _read(document: Any) -> tuple[str, float]:
    """The token, and the seconds that it may be used."""
    given = document if isinstance(document, dict) else {}
    token = given.get("access_token")
    if not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
        raise Unreadable
    try:
        life = float(given.get("expires_in") or _USUAL_LIFE)
    except (TypeError, ValueError):
        life = _USUAL_LIFE
    return token, life - min(_MARGIN, life / 10)
