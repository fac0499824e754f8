"""Redis is shared by processes and machines; it may fail, and it may not be believed."""

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import trustme
from redis.exceptions import ResponseError

from imbox_plugin.cache import Cache, Kept
from imbox_plugin.directory import Directory
from imbox_plugin.model import Contact, Key, Lookup, Outcome, View
from imbox_plugin.redis_cache import RedisCache
from imbox_plugin.seals import Seal
from imbox_plugin.settings import CacheTable
from tests import faults
from tests.conftest import absent
from tests.redis_place import URL, own_part
from tests.test_cache import ANNA, BO, Shop, by, only

SECRET = "a secret key for the tests only"
HANGS = 10.0


@pytest.fixture
def part():
    with own_part() as part:
        yield part


@pytest.fixture
def store(part):
    """A store as each process has one of its own."""
    prefix, _ = part
    return lambda **changed: a_store(prefix, **changed)


def a_store(prefix, url=URL, secret=SECRET, now=time.time):
    return RedisCache(url, prefix, Seal([secret], "cache entries"), now)


def directory(shop, store, life=None, secret=SECRET, source="shop"):
    names = Seal([secret], "cache")
    cache = Cache(store, life or CacheTable(), names, source, alone=True)
    return Directory([shop], time_limit=HANGS, caches={"shop": cache})


def until(condition):
    end = time.monotonic() + HANGS
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


def entries(part):
    prefix, client = part
    return sorted(
        name.decode()
        for name in client.scan_iter(match=f"{prefix}:*")
        if name.decode() != f"{prefix}:generation"
    )


def asked_and_kept(part, shop, store, lookup, count=1, **options):
    """Ask once, and wait until the answer is in Redis."""
    finding = only(directory(shop, store, **options).find(lookup))
    until(lambda: len(entries(part)) >= count)
    return finding


def test_what_one_process_asked_another_need_not(part, store):
    shop, other = Shop(ANNA), Shop()
    asked_and_kept(part, shop, store(), by(external_id="K1"))
    kept = only(directory(other, store()).find(by(external_id="K1")))

    assert kept.match.contact == ANNA
    assert 0 < kept.age < HANGS
    assert other.asked == []


def test_nothing_in_redis_names_anybody_or_can_be_read(part, store):
    prefix, client = part
    asked_and_kept(part, Shop(ANNA), store(), by(email="anna@example.com"))
    (name,) = entries(part)
    shown = name.encode() + client.get(name)

    # Shorter ones may stand in what is encrypted, by chance.
    for canary in (b"anna@", b"Anna", b"example", b"070-174"):
        assert canary not in shown
    assert 0 < client.ttl(name) <= 300
    assert client.ttl(f"{prefix}:generation") == -1


@pytest.mark.parametrize(
    ("person", "seconds"),
    # That nobody was known names nobody; it keeps out for a minute what was asked before.
    [(ANNA, 20), (Contact(external_id="K2"), 60)],
    ids=["found", "unknown"],
)
def test_an_entry_goes_when_it_may_not_be_shown_any_more(part, store, person, seconds):
    _, client = part
    life = CacheTable(ttl=20, stale_if_error=0)
    asked_and_kept(part, Shop(person), store(), by(external_id="K1"), life=life)

    assert 0 < client.pttl(entries(part)[0]) <= seconds * 1000


@pytest.mark.parametrize("changed", [{"secret": "another secret key of tests"}])
def test_whoever_has_other_secret_keys_shares_nothing(part, store, changed):
    asked_and_kept(part, Shop(ANNA), store(), by(external_id="K1"))
    other = Shop()

    assert not only(directory(other, store(**changed), **changed).find(by(external_id="K1"))).match
    assert other.asked == ["K1"]


def test_a_source_with_other_settings_shares_nothing(part, store):
    asked_and_kept(part, Shop(ANNA), store(), by(external_id="K1"))
    other = Shop()
    directory(other, store(), source="shop with another statement").find(by(external_id="K1"))

    assert other.asked == ["K1"]


def test_an_entry_under_the_name_of_another_is_none(part, store):
    """Somebody who can write to Redis, but has no key, exchanges two entries."""
    _, client = part
    asked_and_kept(part, Shop(ANNA), store(), by(external_id="K1"))
    (of_anna,) = entries(part)
    asked_and_kept(part, Shop(BO), store(), by(external_id="K2"), count=2)
    (of_bo,) = set(entries(part)) - {of_anna}
    client.set(of_bo, client.get(of_anna))
    shop = Shop(BO)

    assert only(directory(shop, store()).find(by(external_id="K2"))).match.contact == BO
    assert shop.asked == ["K2"]


@pytest.mark.parametrize("rubbish", [b"", b"rubbish", b"\xff\xfe", b"gAAAAA" + b"A" * 200])
def test_rubbish_in_redis_is_no_answer(part, store, rubbish):
    _, client = part
    asked_and_kept(part, Shop(ANNA), store(), by(external_id="K1"))
    client.set(entries(part)[0], rubbish)
    shop = Shop(ANNA)

    assert only(directory(shop, store()).find(by(external_id="K1"))).match.contact == ANNA
    assert shop.asked == ["K1"]


def test_something_of_another_kind_in_redis_is_no_answer(part, store):
    prefix, client = part
    client.lpush(f"{prefix}:generation", "x")
    shop = Shop(ANNA)

    assert only(directory(shop, store()).find(by(external_id="K1"))).match.contact == ANNA


def test_an_entry_from_the_future_is_none(part, store):
    asked_and_kept(part, Shop(ANNA), store(now=lambda: time.time() + 60), by(external_id="K1"))
    shop = Shop(ANNA)
    directory(shop, store()).find(by(external_id="K1"))

    assert shop.asked == ["K1"]


def test_the_age_of_an_entry_is_known_to_every_process(part, store):
    asked_and_kept(part, Shop(ANNA), store(), by(external_id="K1"))
    shop = Shop(ANNA)
    late = directory(shop, store(now=lambda: time.time() + 31)).find(by(external_id="K1"))

    assert only(late).age == 0
    assert shop.asked == ["K1"]


def test_while_a_source_fails_what_another_process_asked_is_shown(part, store):
    asked_and_kept(part, Shop(ANNA), store(), by(external_id="K1"))
    shop = Shop()
    shop.error = OSError()
    finding = only(directory(shop, store(now=lambda: time.time() + 60)).find(by(external_id="K1")))

    assert finding.is_stale
    assert finding.match.contact == ANNA
    assert 60 <= finding.match.age < 60 + HANGS


def test_a_process_that_is_told_otherwise_tells_all_of_them(part, store):
    _, client = part
    asked_and_kept(part, Shop(ANNA), store(), by(external_id="K1"))
    (entry,) = entries(part)
    before = client.get(entry)
    later = store(now=lambda: time.time() + 60)
    life = CacheTable(negative_ttl=0)
    denied = only(directory(Shop(), later, life).find(by(external_id="K1")))
    until(lambda: client.get(entry) != before)
    failing = Shop()
    failing.error = OSError()

    assert denied.outcome is Outcome.UNKNOWN
    after = only(directory(failing, later, life).find(by(external_id="K1")))
    assert after.outcome is Outcome.FAILED


def test_a_denial_that_took_long_is_one_all_the_same(part, store):
    _, client = part
    asked_and_kept(part, Shop(ANNA), store(), by(external_id="K1"))
    (entry,) = entries(part)
    before = client.get(entry)
    passed = [60]
    later = store(now=lambda: time.time() + passed[0])

    class Slow(Shop):
        def find(self, lookup):
            passed[0] += 100
            return super().find(lookup)

    directory(Slow(), later).find(by(external_id="K1"))

    until(lambda: client.get(entry) != before)


def test_an_answer_too_large_to_be_kept_is_not_in_redis(part, store):
    _, client = part
    large = Contact(external_id="K1", details={"orders": "x" * 256_000})
    asked_and_kept(part, Shop(large), store(), by(external_id="K1"))

    assert client.strlen(entries(part)[0]) < 1000


def test_what_was_asked_for_later_stays_whichever_answer_comes_first(part, store):
    asking = store()
    generation = asking.read("name")().generation
    now = time.time()
    for content, since in ((b"first", now - 2), (b"third", now), (b"second", now - 1)):
        asking._keep("name", Kept(content, since), 60, generation)  # noqa: SLF001

    assert asking.read("name")().kept == Kept(b"third", now)


@pytest.mark.parametrize("there", [b"", b"rubbish", b"nan x", b"inf x", b"9999999999.5 x"])
def test_what_is_no_entry_does_not_keep_one_out(part, store, there):
    prefix, client = part
    asking = store()
    generation = asking.read("name")().generation
    client.set(f"{prefix}:name", there)
    kept = Kept(b"{}", time.time())
    asking._keep("name", kept, 60, generation)  # noqa: SLF001

    assert asking.read("name")().kept == kept


def test_a_thing_of_another_kind_does_not_keep_an_entry_out(part, store):
    prefix, client = part
    asking = store()
    generation = asking.read("name")().generation
    client.lpush(f"{prefix}:name", "x")
    kept = Kept(b"{}", time.time())
    asking._keep("name", kept, 60, generation)  # noqa: SLF001

    assert asking.read("name")().kept == kept


# Purging


def test_after_a_purge_no_process_shows_anything_and_nothing_is_left(part, store):
    asked_and_kept(part, Shop(ANNA), store(), by(external_id="K1"))
    asked_and_kept(part, Shop(ANNA), store(), by(email="anna@example.com"), count=2)
    other = store()
    deleted = store().purge()
    shop = Shop()

    assert deleted == 2
    assert entries(part) == []
    assert only(directory(shop, other).find(by(external_id="K1"))).outcome is Outcome.UNKNOWN


def test_an_answer_that_was_under_way_during_a_purge_is_not_put_back(part, store):
    asking = store()
    before = asking.read("name")()
    store().purge()
    asking._keep("name", Kept(b"{}", time.time()), 60, before.generation)  # noqa: SLF001
    asking._keep("other", Kept(b"{}", time.time()), 60, asking.read("x")().generation)  # noqa: SLF001

    assert len(entries(part)) == 1
    assert asking.read("name")().kept is None


def test_what_is_kept_under_an_older_generation_is_not_shown(part, store):
    """As after a purge that did not come as far as to delete it."""
    prefix, client = part
    asked_and_kept(part, Shop(ANNA), store(), by(external_id="K1"))
    shop = Shop()
    client.set(f"{prefix}:generation", "another")
    directory(shop, store()).find(by(external_id="K1"))

    assert shop.asked == ["K1"]


def test_a_redis_that_lost_the_generation_gets_a_new_one(part, store):
    prefix, client = part
    asked_and_kept(part, Shop(ANNA), store(), by(external_id="K1"))
    before = client.getdel(f"{prefix}:generation")
    shop = Shop()
    directory(shop, store()).find(by(external_id="K1"))

    assert shop.asked == ["K1"]
    assert client.get(f"{prefix}:generation") not in {None, before}


def test_a_purge_leaves_alone_what_belongs_to_others(part, store):
    _, client = part
    with own_part() as (other, _):
        client.set(f"{other}:entry", "x")
        asked_and_kept(part, Shop(ANNA), store(), by(external_id="K1"))
        store().purge()

        assert client.get(f"{other}:entry") == b"x"


# Redis is down, slow or strange


class Server:
    """A Redis of our own, to be stopped and started again."""

    def __init__(self, folder, *options):
        self.folder, self.options = folder, options
        self.process = None

    def start(self):
        command = ["redis-server", "--save", "", "--dir", str(self.folder), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603

    def stop(self):
        self.process.terminate()
        self.process.wait(HANGS)


@contextmanager
def own_server(folder, *options):
    server = Server(folder, *options)
    try:
        server.start()
    except FileNotFoundError as error:
        absent("redis-server", error)
    try:
        yield server
    finally:
        server.stop()


def answers(url):
    try:
        with redis.Redis.from_url(url) as client:
            return client.ping()
    except redis.RedisError:
        return False


def test_a_redis_that_is_down_costs_a_moment_and_comes_back(tmp_path, caplog):
    url = f"unix://{tmp_path}/redis.sock"
    with own_server(tmp_path, "--port", "0", "--unixsocket", f"{tmp_path}/redis.sock") as server:
        until(lambda: answers(url))
        store = a_store("imbox", url)
        store._guard.breaker._reset = 0.05  # noqa: SLF001
        shop = Shop(ANNA)
        cached = directory(shop, store)
        server.stop()
        for _ in range(12):
            assert only(cached.find(by(external_id="K1"))).match.contact == ANNA
        assert len(shop.asked) == 12
        assert "the cache in Redis does not answer: ConnectionError" in caplog.text
        assert str(tmp_path) not in caplog.text
        server.start()

        def is_kept():
            asked = len(shop.asked)
            assert only(cached.find(by(external_id="K1"))).match.contact == ANNA
            return len(shop.asked) == asked

        until(is_kept)


def test_a_redis_that_takes_nothing_more_costs_no_card(tmp_path):
    url = f"unix://{tmp_path}/redis.sock"
    full = ["--maxmemory", "1", "--maxmemory-policy", "noeviction"]
    with own_server(tmp_path, "--port", "0", "--unixsocket", f"{tmp_path}/redis.sock", *full):
        until(lambda: answers(url))
        with redis.Redis.from_url(url) as client, pytest.raises(ResponseError):
            client.set("x", "y")
        shop = Shop(ANNA)
        cached = directory(shop, a_store("imbox", url))

        for _ in range(12):
            assert only(cached.find(by(external_id="K1"))).match.contact == ANNA


def test_a_redis_that_takes_nothing_more_loses_what_is_over(tmp_path):
    url = f"unix://{tmp_path}/redis.sock"
    with own_server(tmp_path, "--port", "0", "--unixsocket", f"{tmp_path}/redis.sock"):
        until(lambda: answers(url))
        store = a_store("imbox", url)
        cached = directory(Shop(ANNA), store)
        with redis.Redis.from_url(url) as client:
            cached.find(by(external_id="K1"))
            until(lambda: client.dbsize() == 2)
            client.config_set("maxmemory", 1)
            later = a_store("imbox", url, now=lambda: time.time() + 60)
            directory(Shop(), later).find(by(external_id="K1"))

            until(lambda: client.dbsize() == 1)


def test_redis_is_reached_by_tls_and_only_with_a_certificate_that_is_trusted(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    port = free_port()
    pem = str(tmp_path / "server.pem")
    tls = ["--tls-cert-file", pem, "--tls-key-file", pem, "--tls-auth-clients", "no"]
    trusting = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/ca.pem"
    with own_server(tmp_path, "--port", "0", "--tls-port", str(port), *tls):
        until(lambda: answers(trusting))
        wary = a_store("imbox", f"rediss://127.0.0.1:{port}/0")

        assert a_store("imbox", trusting).purge() == 0
        with pytest.raises(redis.RedisError):
            wary.purge()
        assert wary.read("x")().generation is None


def free_port():
    with faults.before(("127.0.0.1", 1)) as proxy:
        return proxy.port


def test_a_purge_of_a_redis_that_is_down_is_an_error(tmp_path):
    with pytest.raises(redis.RedisError):
        a_store("imbox", f"unix://{tmp_path}/none.sock").purge()


# The server


SETTINGS = """
secret_keys = [{{ env = "SECRET" }}]
cache = {{ url = {{ env = "REDIS" }}, prefix = "{prefix}" }}
[[sources]]
name = "shop"
type = "noting_of_test_redis_cache:Noting"
[panels.default]
keys = [{{ id = "test", secret = {{ env = "SECRET" }} }}]
"""

NOTING = """
from imbox_plugin.sources import Contact, DataSource, Key

class Noting(DataSource):
    keys = frozenset({Key.EXTERNAL_ID})

    def find(self, lookup):
        with (self.context.folder / "asked").open("a") as file:
            file.write(f"{lookup.external_id}\\n")
        return [Contact(name="Anna", external_id=lookup.external_id)]
"""

LOOK_UP = f"""
import sys
from pathlib import Path
from imbox_plugin.app import create_app
app = create_app(Path(sys.argv[1]), {{"SECRET": "{SECRET}", "REDIS": "{URL}"}})
for number in range(3):
    reply = app.test_client().get(f"/imbox?view=chat&externalId={{number}}", auth=("", "{SECRET}"))
    print(reply.json["contactName"])
sys.stdin.read()  # what is kept is on its way, and a process that ends does not wait for it
"""


def test_processes_one_after_the_other_ask_a_source_once(part, tmp_path):
    prefix, _ = part
    (tmp_path / "noting_of_test_redis_cache.py").write_text(NOTING)
    settings = tmp_path / "imbox.toml"
    settings.write_text(SETTINGS.format(prefix=prefix))
    for _ in range(2):
        with subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", LOOK_UP, settings],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            until(lambda: len(entries(part)) == 3)
            shown, _ = process.communicate()
        assert shown.split() == ["Anna"] * 3

    assert (tmp_path / "asked").read_text().split() == ["0", "1", "2"]


def test_every_key_and_value_that_a_contact_may_have_comes_back(part, store):
    person = Contact(name="Åsa \N{SNOWMAN}", contact_id="7", phones=("+46701740605", "08"))
    shop = Shop(person)
    lookup = Lookup(View.CALL, {Key.PHONE: "+46701740605"})
    asked_and_kept(part, shop, store(), lookup)

    assert only(directory(Shop(), store()).find(lookup)).match.contact == person
