"""Whatever the network does, a card is the right one, or says what is missing; and in time."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random
from urllib.parse import urlsplit

import pytest
from sqlalchemy import make_url

from imbox_plugin.app import create_app
from imbox_plugin.identity import normal_phone
from tests import faults
from tests.places import COMMON, ENVIRON, KEY, in_database, in_rest
from tests.sources.test_sql import SERVERS, server_url
from tests.test_same_cards import ASKED

UPSTREAMS = [*SERVERS, "rest"]

#: requests under each fault; .ci/run asks for 200
REQUESTS = int(os.environ.get("FAULT_REQUESTS", "40"))
#: requests from one fault of a schedule to the next
CHANGES = 5
CLIENTS = 8
SEED = 20261121

#: seconds; so much more than it takes that only something that hangs is found out by it
DEADLINE = 0.5
HANGS = 4 * DEADLINE
UNHEALED = 10.0

#: the faults that no answer gets through
FATAL = {faults.Down, faults.Bandwidth, faults.Hang, faults.ResetPeer}

NO_ANSWER = {
    "shop svarar inte just nu. Det som visas kan vara ofullständigt.",
    "shop svarade inte i tid. Det som visas kan vara ofullständigt.",
    "shop är överbelastad och svarar inte just nu. Det som visas kan vara ofullständigt.",
}


def is_marked(document, query):
    """Whether this is, word for word, the card of somebody about whom the shop cannot be asked."""
    texts = [row["text"] for row in document["blocks"][0]["data"][0]["rows"]]
    phone = normal_phone(query.get("phoneNumber", ""), "SE")
    # Who calls can be written to without being known.
    link = {"text": "WhatsApp", "url": f"https://wa.me/{phone[1:]}"} if phone else None
    return set(texts) <= NO_ANSWER and document == {
        "contactName": None,
        "contactLink": link,
        "blocks": [
            {
                "name": "Observera",
                "icon": "info",
                "data": [
                    {
                        "type": "list",
                        "rows": [{"label": "Inget svar", "text": text} for text in texts],
                    }
                ],
            }
        ],
    }


def repeatable():
    return Random(SEED)  # noqa: S311 - not for secrets


class Server:
    """An application whose customers are behind a proxy."""

    def __init__(self, app, proxy):
        self.proxy = proxy
        self._app = app
        self.fresh = [self.ask(query).data for query, _ in ASKED]
        assert [json.loads(card)["contactName"] for card in self.fresh] == [n for _, n in ASKED]

    def ask(self, query):
        return self._app.test_client().get("/imbox", query_string=query, auth=("", KEY))

    def judge(self, at):
        """Put one question; whether the answer was the same as ever, and not only marked."""
        started = time.monotonic()
        reply = self.ask(ASKED[at][0])
        took = time.monotonic() - started
        assert reply.status_code == 200
        assert took < HANGS, f"{ASKED[at]} took {took:.1f} s"
        is_fresh = reply.data == self.fresh[at]
        assert is_fresh or is_marked(reply.json, ASKED[at][0]), reply.text
        return is_fresh

    def storm(self, random, schedule=()):
        """Many questions at once, each answer judged; which of those for somebody were fresh.

        The faults of the schedule strike one after the other, while questions are under way.
        """
        asked = random.choices(range(len(ASKED)), k=REQUESTS)
        strikes = dict(zip(range(0, REQUESTS, CHANGES), schedule, strict=False))

        def judge(number):
            if number in strikes:
                self.proxy.strike(strikes[number]())
            return self.judge(asked[number])

        with ThreadPoolExecutor(CLIENTS) as clients:
            answers = list(clients.map(judge, range(REQUESTS)))
        return [is_fresh for at, is_fresh in zip(asked, answers, strict=True) if ASKED[at][1]]

    def heal(self):
        """Lift the fault, and ask until everybody is shown again."""
        self.proxy.lift()
        until = time.monotonic() + UNHEALED
        while not all(self.judge(at) for at in range(len(ASKED))):
            assert time.monotonic() < until, "the source did not come back"
            time.sleep(0.02)


@contextmanager
def behind_proxy(name, folder):
    """The settings of a source whose server is behind a proxy, and the proxy.

    The address of the server must have its port.
    """
    if name == "rest":
        source, done = in_rest()
        url = source.partition('base_url = "')[2].partition('"')[0]
        host, port = urlsplit(url).hostname, urlsplit(url).port
    else:
        source, done = in_database(name, folder)
        url = server_url(name)
        parts = make_url(url)
        host, port = parts.host, parts.port
    try:
        with faults.before((host, port), SEED) as proxy:
            moved = url.replace(f"{host}:{port}", f"127.0.0.1:{proxy.port}")
            yield source.replace(url, moved), proxy
    finally:
        done()


@pytest.fixture(scope="module", params=UPSTREAMS)
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with behind_proxy(request.param, folder) as (text, proxy):
        impatient = 'name = "shop"\ncache = false\nbreaker = { failures = 5, reset = 0.2 }\n'
        source = text.replace('name = "shop"\n', impatient, 1)
        file = folder / "imbox.toml"
        file.write_text(f"deadline = {DEADLINE}\n{COMMON.format(source=source)}", "utf-8")
        app = create_app(file, ENVIRON)
        try:
            yield Server(app, proxy)
        finally:
            for panel in app.extensions["imbox_plugin"].panels.values():
                panel.directory.close()


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.__name__)
def test_under_every_fault_each_card_is_right_or_marked_and_the_source_comes_back(server, fault):
    server.proxy.strike(fault())
    shown = server.storm(repeatable())

    assert server.proxy.struck
    assert not (fault in FATAL and any(shown))
    server.heal()


def test_faults_that_come_and_go_while_questions_are_asked_spoil_no_card(server):
    random = repeatable()
    schedule = random.choices([faults.Fault, *faults.FAULTS], k=REQUESTS)
    server.storm(random, schedule)

    server.heal()


class LostAtTheEnd(faults.Fault):
    """The connection breaks when a question has its answer, and the transaction is to end."""

    async def carry(self, stream, data):
        if b"ROLLBACK" in data:
            stream.link.reset()
        else:
            stream.send(data)


@pytest.mark.parametrize("server", SERVERS, indirect=True)
def test_a_connection_that_is_lost_when_all_was_read_costs_no_answer(server):
    server.proxy.strike(LostAtTheEnd())

    assert [server.judge(0) for _ in range(8)] == 8 * [True]
    server.heal()
