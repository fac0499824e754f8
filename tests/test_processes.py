"""What happens to requests when gunicorn's processes are stopped, started anew or killed."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count, takewhile
from threading import Event

import pytest

from tests.servers import HANGS, gated, until


class Asked:
    """A server, and the clients that ask it."""

    def __init__(self, server, clients):
        self.process, self.ask, self.log = server.process, server.ask, server.log
        self.open, self.asked = server.open, server.asked
        self._clients = clients

    def start(self, *numbers):
        """Ask for these, and go on once a worker has put the question of each to the source."""
        replies = {number: self._clients.submit(self.ask, number) for number in numbers}
        until(lambda: set(numbers) <= {number for _, number in self.asked()})
        return replies


@pytest.fixture
def server(tmp_path):
    # A worker may take all requests of a test: what has no place would be refused.
    with ThreadPoolExecutor(64) as clients, gated(tmp_path, WEB_THREADS="64") as server:
        yield Asked(server, clients)


def right(numbers):
    """The answers that these must get."""
    return {number: f"Customer {number}" for number in numbers}


def results(replies):
    return {number: reply.result() for number, reply in replies.items()}


def test_a_server_that_is_told_to_stop_answers_what_it_has_begun(server):
    replies = server.start(*range(12))
    server.process.send_signal(signal.SIGTERM)
    until(lambda: "Handling signal: term" in server.log())
    server.open()

    assert results(replies) == right(range(12))
    assert server.process.wait(HANGS) == 0


def test_a_server_that_starts_its_workers_anew_answers_old_and_new_requests(server):
    replies = server.start(*range(12))
    old = {process for process, _ in server.asked()}
    server.process.send_signal(signal.SIGHUP)
    numbers = count(12)

    def a_new_worker_was_asked():
        # An old worker takes requests for a moment yet: until it has heard that it is to stop.
        replies.update(server.start(next(numbers)))
        return any(process not in old for process, _ in server.asked())

    until(lambda: server.log().count("Booting worker") == 4)
    until(a_new_worker_was_asked)
    server.open()

    assert results(replies) == right(replies)


def test_new_workers_under_load_cost_no_request(server):
    server.open()
    stop = Event()

    def load(client):
        numbers = takewhile(lambda _: not stop.is_set(), count(client * 1_000_000))
        replies = ((number, server.ask(number)) for number in numbers)
        return [reply for number, reply in replies if reply != f"Customer {number}"]

    with ThreadPoolExecutor(8) as clients:
        loads = clients.map(load, range(8))
        try:
            for times in (1, 2, 3):
                seen = len(server.asked())
                until(lambda seen=seen: len(server.asked()) > seen + 50)
                server.process.send_signal(signal.SIGHUP)
                until(lambda times=times: server.log().count("Booting worker") == 2 + 2 * times)
                until(lambda times=times: server.log().count("Worker exiting") == 2 * times)
        finally:
            stop.set()

    assert [*chain(*loads)] == []


def test_a_worker_that_is_killed_costs_its_own_requests_alone_and_is_replaced(server):
    replies = server.start(*range(12))
    killed = server.asked()[0][0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: server.log().count("Booting worker") == 3)
    server.open()

    in_its_hands = {number for process, number in server.asked() if process == killed}
    others = right(set(range(12)) - in_its_hands)
    assert results(replies) == {**dict.fromkeys(in_its_hands), **others}
    assert results(server.start(*range(12, 16))) == right(range(12, 16))
