"""Three times as many requests as there are places, to servers as they are deployed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.servers import gated, until

_PLACES = 4
#: three times what two workers have
_CLIENTS = 3 * 2 * _PLACES
#: everything that could be set otherwise is as it is by default, but for the time that there is
_TWO_PANELS = """
deadline = 30
[[sources]]
name = "hangs"
type = "gated_source:Gated"
[[sources]]
name = "quick"
type = "inline"
people = [{ name = "Anna", external_id = "1" }]
[panels.hangs]
keys = [{ id = "test", secret = { env = "IMBOX_API_KEY" } }]
sources = ["hangs"]
[panels.quick]
keys = [{ id = "test", secret = { env = "IMBOX_API_KEY" } }]
sources = ["quick"]
"""


@pytest.fixture
def clients():
    with ThreadPoolExecutor(_CLIENTS) as clients:
        yield clients


@pytest.fixture
def server(tmp_path, clients):
    """A server whose clients have all been answered when the test is over."""
    with gated(tmp_path, WEB_THREADS=str(_PLACES)) as server:
        yield server


def asked(server):
    return [number for _, number in server.asked()]


def overload(server, clients):
    """Ask for more than can be answered, until all that is too much has been refused."""
    replies = {number: clients.submit(server.ask, number) for number in range(_CLIENTS)}
    until(lambda: sum(reply.done() for reply in replies.values()) + len(asked(server)) == _CLIENTS)
    return replies


def test_what_is_too_much_is_refused_before_anything_is_answered_and_nobody_is_lost(
    server, clients
):
    replies = overload(server, clients)
    inside = asked(server)
    refused = {number: reply.result() for number, reply in replies.items() if reply.done()}
    server.open()

    assert _PLACES <= len(inside) <= 2 * _PLACES
    assert refused == dict.fromkeys(set(range(_CLIENTS)) - set(inside), 503)
    assert {number: replies[number].result() for number in inside} == {
        number: f"Customer {number}" for number in inside
    }


def test_a_source_that_hangs_leaves_others_a_place_at_the_defaults(tmp_path, clients):
    with gated(tmp_path, _TWO_PANELS, WEB_CONCURRENCY="1") as server:
        hanging = [clients.submit(server.ask, number, "hangs") for number in range(_CLIENTS)]
        until(lambda: len(asked(server)) + sum(reply.done() for reply in hanging) == _CLIENTS)
        others = [server.ask(number, "quick") for number in (1, 1, 1)]
        # That the source was too busy for some is on their cards.
        refused = [reply.result() for reply in hanging if reply.done()]

    assert others == ["Anna"] * 3
    assert 503 not in refused


def test_after_the_load_everybody_is_answered_again(server, clients):
    replies = overload(server, clients)
    server.open()
    for reply in replies.values():
        reply.result()

    assert [server.ask(number) for number in range(100, 120)] == [
        f"Customer {number}" for number in range(100, 120)
    ]


def test_a_refusal_over_http_says_when_to_come_again(server, clients):
    overload(server, clients)
    # Each worker that has room takes one of these at most; then there is none left.
    more = [clients.submit(server.fetch, "/imbox?view=chat&externalId=1") for _ in range(_CLIENTS)]
    until(lambda: any(reply.done() for reply in more))
    refused = next(reply.result() for reply in more if reply.done())

    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert refused.headers["Content-Type"] == "application/problem+json"


def test_probes_are_answered_under_overload(server, clients):
    replies = overload(server, clients)
    probes = [server.fetch(path).status for path in ("/livez", "/readyz")]

    assert probes == [200, 200]
    assert not all(reply.done() for reply in replies.values())


def memory(server):
    """Bytes that the workers have in memory."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in server.workers())
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells it like this")
def test_thousands_of_requests_under_overload_leave_the_memory_as_it_was(server, clients):
    server.open()
    warm = Counter(type(reply) for reply in clients.map(server.ask, range(1000)))
    before = memory(server)
    replies = Counter(
        reply == f"Customer {number}" or reply
        for number, reply in zip(
            range(1000, 4000), clients.map(server.ask, range(1000, 4000)), strict=True
        )
    )

    assert warm[str] > 0
    assert replies.keys() <= {True, 503}
    assert memory(server) - before < 10_000_000


def test_a_worker_that_was_told_to_stop_says_so_on_the_connections_it_still_has(server, clients):
    until(lambda: len(server.workers()) == 2)
    clients.submit(server.ask, 1)
    until(lambda: asked(server) == [1])
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    before = server.fetch("/readyz", connection).status
    server.process.send_signal(signal.SIGTERM)
    until(lambda: "Handling signal: term" in server.log())
    statuses = []

    def stopping():
        statuses.append(server.fetch("/readyz", connection).status)
        return statuses[-1] != 200

    try:
        until(stopping)
    finally:
        connection.close()

    assert (before, statuses[-1]) == (200, 503)
