"""Answers in Redis, which all processes and machines share.

Redis may be down, slow or lying: then a card is slower, and never wrong. Nothing in it can be read
without the secret keys, and an entry that is not the one asked for is none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from functools import partial
from secrets import token_hex
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from imbox_plugin.cache import Kept, Page
from imbox_plugin.resilience import Breaker, Guard, NoAnswer
from imbox_plugin.seals import Seal, Unsealable
from imbox_plugin.typed_json import dumps, loads

_log = logging.getLogger(__name__)

#: seconds that a card waits for Redis, each time that it looks for answers
_PATIENCE = 0.1
#: the same for the one who waits for a purge, and how many names are looked at in one step of it
_PURGE_PATIENCE = 5.0
_BATCH = 500
#: operations at the same time in one process; further ones are left out
_THREADS = 16
#: failures in a row after which Redis is left alone, and for how many seconds
_FAILURES, _RESET = 5, 5.0
#: seconds that the clocks of two machines may differ before one distrusts the other's entries
_SKEW = 2.0

_NOTHING = Page(None)

#: keeps an entry in one step with the look at the generation, so that no purge comes between, and
#: at the moment the entry before was asked for; one from the future is believed no more than shown
_KEEP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return
end
local before = redis.pcall('GET', KEYS[2])
local since = type(before) == 'string' and tonumber(before:match('^(%S+) ') or '')
if since and since > tonumber(ARGV[4]) and since <= tonumber(ARGV[5]) then
    return
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
"""


class RedisCache:
    """A store of answers, for all sources of all processes with the same secret keys and prefix.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        prefix: begins the names of all entries, and of nothing else in that database.
        seal: encrypts them.
        now: the seconds of a clock that all machines share.

    Raises:
        ValueError: the address cannot be one of Redis.
    """

    def __init__(
        self, url: str, prefix: str, seal: Seal, now: Callable[[], float] = time.time
    ) -> None:
        self.now = now
        self._url, self._prefix, self._seal = url, prefix, seal
        self._generation_name = f"{prefix}:generation"
        self._client = _client(url, _PATIENCE)
        self._keep_script = self._client.register_script(_KEEP)
        self._guard = Guard(_THREADS, Breaker(_FAILURES, _RESET))

    def read(self, name: str) -> Callable[[], Page]:
        """Begin to look; a page without a generation when Redis does not answer in time."""
        until = time.monotonic() + _PATIENCE
        try:
            call = self._guard.ask(partial(self._read, name))
        except NoAnswer:
            return lambda: _NOTHING

        def page() -> Page:
            try:
                return call.result(until)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is only slow
                _told(error)
                return _NOTHING

        return page

    def keep(self, name: str, kept: Kept, seconds: float, generation: Hashable) -> None:
        """Begin to keep an answer for so long, unless there was a purge or a newer one is there."""
        try:
            self._guard.ask(partial(self._keep, name, kept, seconds, generation))
        except NoAnswer as error:
            _log.debug("an answer is not kept in Redis: %s", error)

    def purge(self) -> int:
        """Forget everything; how many entries were deleted.

        Raises:
            RedisError: not all of it is done.
        """
        deleted = 0
        with _client(self._url, _PURGE_PATIENCE) as client:
            # A new generation first: from now on no entry is shown, and none of before is kept.
            client.set(self._generation_name, token_hex())
            for name in client.scan_iter(match=f"{self._prefix}:*", count=_BATCH):
                if name != self._generation_name.encode():
                    deleted += client.unlink(name)
        return deleted

    def _read(self, name: str) -> Page:
        generation, sealed = self._client.mget(self._generation_name, self._place(name))
        if generation is None:
            # None there yet, or Redis has lost it: whatever is there belongs to no generation.
            self._client.set(self._generation_name, token_hex(), nx=True)
            generation = self._client.get(self._generation_name)
            sealed = None
        generation = generation.decode("ascii")
        return Page(generation, self._opened(name, generation, sealed) if sealed else None)

    def _opened(self, name: str, generation: str, sealed: bytes) -> Kept | None:
        """What is in an entry, if it is one of this name and this generation, and not of later."""
        _, _, text = sealed.partition(b" ")
        try:
            *whose, since, content = loads(self._seal.unseal(text.decode("ascii")))
        except (Unsealable, ValueError):
            return None
        if whose != [name, generation] or since > self.now() + _SKEW:
            return None
        return Kept(content, since)

    def _keep(self, name: str, kept: Kept, seconds: float, generation: Hashable) -> None:
        now = self.now()
        left = seconds - (now - kept.since)
        if left <= 0:
            return
        sealed = self._seal.seal(dumps([name, generation, kept.since, kept.content]))
        place = self._place(name)
        # The moment stands before it for the script, which cannot open it; nobody else believes it.
        entry = f"{kept.since!r} {sealed}"
        life = max(1, round(left * 1000))
        try:
            try:
                self._keep_script(
                    keys=[self._generation_name, place],
                    args=[str(generation), entry, life, kept.since, now + _SKEW],
                )
            except redis.ResponseError:
                # A Redis that is full takes nothing, but what is there is over all the same.
                self._client.unlink(place)
                raise
        except Exception as error:
            _told(error)
            raise

    def _place(self, name: str) -> str:
        return f"{self._prefix}:{name}"


def _client(url: str, patience: float) -> Any:
    return redis.Redis.from_url(
        url,
        socket_timeout=patience,
        socket_connect_timeout=patience,
        # Nobody waits for a second try.
        retry=Retry(NoBackoff(), 0),
        # Two messages less for each connection.
        protocol=2,
        driver_info=None,
    )


def _told(error: Exception) -> None:
    """Its kind alone: a message may have the address, and the password with it."""
    reason = "not in time" if isinstance(error, NoAnswer) else type(error).__name__
    _log.warning("the cache in Redis does not answer: %s", reason)
