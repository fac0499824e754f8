"""A real Redis for tests, and a part of it that nobody else has."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager

import redis

from tests.conftest import absent

URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")


@contextmanager
def own_part(url=URL):
    """A prefix in Redis, what is under it deleted at the end, and a client of it."""
    prefix = f"imbox-test-{uuid.uuid4().hex[:12]}"
    with redis.Redis.from_url(url) as client:
        try:
            client.ping()
        except redis.RedisError as error:
            absent("redis", error)
        try:
            yield prefix, client
        finally:
            for name in client.scan_iter(match=f"{prefix}:*"):
                client.delete(name)
