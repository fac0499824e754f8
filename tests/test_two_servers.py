"""Two servers on one database behind a balancer, and one of them lost under load."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException
from itertools import count, takewhile
from threading import Event

import pytest

from tests.places import COMMON, CUSTOMERS, in_database
from tests.redis_place import URL, own_part
from tests.servers import serving, until

SECRET = "a secret key of thirty-two letters"


class Balancer:
    """Gives requests to servers in turns, and one that a server lost to the next server.

    A request only asks, so it may be put again.
    """

    def __init__(self, servers):
        self._servers = servers
        self._turns = count()
        #: by server: requests it has answered
        self.answered = Counter()
        self.lost = 0

    def ask(self, customer):
        """The card's name, or the status; None: no server answered."""
        turn = next(self._turns)
        for at in range(len(self._servers)):
            server = self._servers[(turn + at) % len(self._servers)]
            try:
                reply = server.fetch(f"/imbox?view=chat&externalId={customer['id']}")
            except (OSError, HTTPException):
                self.lost += 1
                continue
            self.answered[server.port] += 1
            body = json.loads(reply.body)
            return body.get("contactName", reply.status)
        return None


@pytest.fixture(params=["caches of their own", "a shared Redis"])
def servers(request, tmp_path):
    source, drop = in_database("postgresql", tmp_path)
    with ExitStack() as stack:
        stack.callback(drop)
        shared = ""
        if request.param == "a shared Redis":
            prefix, _ = stack.enter_context(own_part())
            shared = (
                f'secret_keys = ["{SECRET}"]\ncache = {{ url = "{URL}", prefix = "{prefix}" }}\n'
            )
        folders = [tmp_path / name for name in ("one", "two")]
        for folder in folders:
            folder.mkdir()
        settings = shared + COMMON.format(source=source)
        yield [stack.enter_context(serving(folder, settings)) for folder in folders]


def test_a_server_that_dies_under_load_costs_no_card(servers):
    balancer = Balancer(servers)
    stop = Event()
    wrong = []

    def load(client):
        for number in takewhile(lambda _: not stop.is_set(), count(client)):
            customer = CUSTOMERS[number % len(CUSTOMERS)]
            if (shown := balancer.ask(customer)) != customer["name"]:
                wrong.append(shown)

    dead, alive = servers
    with ThreadPoolExecutor(8) as clients:
        loads = [clients.submit(load, client) for client in range(8)]
        try:
            until(lambda: min(balancer.answered[server.port] for server in servers) > 50)
            dead.kill()
            seen = balancer.answered[alive.port]
            until(lambda: balancer.answered[alive.port] > seen + 200)
        finally:
            stop.set()
        for one in loads:
            one.result()

    assert wrong == []
    assert balancer.lost > 0
