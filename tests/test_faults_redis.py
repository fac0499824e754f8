"""Whatever the network does to the cache in Redis, every card is as if it were not there."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pytest

from imbox_plugin import redis_cache
from imbox_plugin.app import create_app
from imbox_plugin.identity import normal_form
from imbox_plugin.model import Key, Lookup, View
from tests import faults
from tests.places import COMMON, ENVIRON, in_database
from tests.redis_place import URL, own_part
from tests.test_faults import DEADLINE, REQUESTS, SEED, UNHEALED, Server, repeatable

SHARED = """
secret_keys = [{{ env = "IMBOX_API_KEY" }}]
cache = {{ url = "redis://127.0.0.1:{port}/{database}", prefix = "{prefix}" }}
deadline = {deadline}
"""
#: so short that answers are read and written all the time
CACHED = 'name = "shop"\ncache = { ttl = 0.2, negative_ttl = 0.2 }\n'


class Kept(Server):
    """An application whose cache is behind a proxy, and its customers are not."""

    def __init__(self, app, proxy):
        self.directory = app.extensions["imbox_plugin"].panels["default"].directory
        super().__init__(app, proxy)

    def judge(self, at):
        """As of a source that works, for Redis is none."""
        is_fresh = super().judge(at)
        assert is_fresh
        return is_fresh

    def reads(self):
        """Whether an answer comes out of the cache again."""
        found = Lookup(View.CHAT, {Key.EXTERNAL_ID: normal_form(Key.EXTERNAL_ID, "K1", None)})
        return any(finding.age for finding in self.directory.find(found))

    def heal(self):
        self.proxy.lift()
        until = time.monotonic() + UNHEALED
        while not self.reads():
            assert time.monotonic() < until, "the cache did not come back"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cached")
    parts = urlsplit(URL)
    source, done = in_database("sqlite", folder)
    with (
        pytest.MonkeyPatch.context() as patch,
        own_part() as (prefix, _),
        faults.before((parts.hostname, parts.port or 6379), SEED) as proxy,
    ):
        patch.setattr(redis_cache, "_RESET", 0.2)
        above = SHARED.format(
            port=proxy.port,
            database=parts.path.strip("/") or 0,
            prefix=prefix,
            deadline=DEADLINE,
        )
        file = folder / "imbox.toml"
        source = source.replace('name = "shop"\n', CACHED, 1)
        file.write_text(above + COMMON.format(source=source), "utf-8")
        server = Kept(create_app(file, ENVIRON), proxy)
        try:
            server.heal()
            yield server
        finally:
            server.directory.close()
            done()


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.__name__)
def test_under_every_fault_of_redis_every_card_is_right_and_the_cache_comes_back(server, fault):
    server.proxy.strike(fault())
    server.storm(repeatable())

    assert server.proxy.struck
    server.heal()


def test_faults_of_redis_that_come_and_go_spoil_no_card(server):
    random = repeatable()
    schedule = random.choices([faults.Fault, *faults.FAULTS], k=REQUESTS)
    server.storm(random, schedule)

    server.heal()
