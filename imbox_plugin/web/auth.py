"""Who may ask: ImBox proves itself by one of the panel's active keys.

Source of the ways a key arrives: docs.imbox.io, client-integration technical description
("Authorization: Basic <base64_encoded_api_key>") and ticket plugin (`key=` in the query).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from werkzeug.wrappers import Request

from imbox_plugin.settings import AccessKey


def utc_now() -> datetime:
    """The clock that keys expire by."""
    return datetime.now(UTC)


class Gate:
    """Lets in who brings an active key. Built once per panel, used from many threads.

    Args:
        keys: of which several may be active at a time.
        header: a header that may hold the bare key, beside `Authorization`.
        query: whether the `key` parameter may hold it.
        now: the clock.
    """

    def __init__(
        self,
        keys: Iterable[AccessKey],
        header: str | None = None,
        *,
        query: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        # An environment variable that is not UTF-8 comes with its odd bytes as surrogates.
        self._keys = tuple(
            (key, _digest(key.secret.encode(errors="surrogateescape"))) for key in keys
        )
        self._header = header
        self._query = query
        self._now = now

    def key_id(self, request: Request) -> str | None:
        """The id of the key that the request brings, or None when it brings none.

        Every candidate is compared with every key, expired or not, in constant time, so that the
        time taken tells neither how nearly right it was nor which key it equals.
        """
        now = self._now()
        found = None
        for candidate in map(_digest, self._candidates(request)):
            for key, digest in self._keys:
                equal = hmac.compare_digest(candidate, digest)
                found = key.id if equal and key.is_active(now) else found
        return found

    def _candidates(self, request: Request) -> Iterator[bytes]:
        """Everything in the request that may be a key; nothing that is blank."""
        yield from filter(None, _authorization(request.headers.get("Authorization", "")))
        if self._header and (value := request.headers.get(self._header)):
            yield _bytes(value)
        if self._query:
            yield from (value.encode() for value in request.args.getlist("key") if value)


def _authorization(header: str) -> Iterator[bytes]:
    # Only HTTP's own white space: as Latin-1 the last byte of an "Å" in UTF-8 is white space, too.
    scheme, _, credentials = header.strip(" \t").partition(" ")
    credentials = credentials.strip(" \t")
    if scheme.lower() == "bearer":
        yield _bytes(credentials)
    elif scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(_bytes(credentials), validate=True)
        except (binascii.Error, ValueError):
            return
        user, _, password = decoded.partition(b":")
        # The third is a key with a colon of its own, sent as a user without password.
        yield from (decoded, user, decoded.removesuffix(b":"), password)


def _bytes(header: str) -> bytes:
    """The bytes of a header, which WSGI hands over as Latin-1 text."""
    return header.encode("latin-1", errors="replace")


def _digest(secret: bytes) -> bytes:
    """Equal lengths for the comparison, whatever the lengths of the keys."""
    return hashlib.sha256(secret).digest()
