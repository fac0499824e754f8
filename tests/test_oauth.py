"""Access tokens, from a token server on 127.0.0.1."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import parse_qsl

import pytest

from imbox_plugin.http import Client, Refused, TooSlow, Unreachable, Unreadable
from imbox_plugin.oauth import ClientCredentials, TokenRefused
from tests.loopback import serving

SECRET = "canary4711 + &=%å"


class TokenServer:
    """Gives numbered tokens; `reply` makes the next answers, `open` lets them out."""

    def __init__(self):
        self.requests = []
        self.reply = lambda number: (200, {"access_token": f"token{number}", "expires_in": 3600})
        self.open = threading.Event()
        self.open.set()

    def play(self, wire):
        while (request := wire.request()) is not None:
            self.requests.append(request)
            self.open.wait()
            status, document = self.reply(len(self.requests))
            body = json.dumps(document).encode()
            wire.send(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


class Clock:
    now = 1000.0
    #: what it says once, before it says the time
    once = None

    def __call__(self):
        said, self.once = self.once, None
        return self.now if said is None else said


@contextmanager
def tokens_of(server, **options):
    with serving(server.play) as served:
        client = Client(f"{served.url}/oauth/token/")
        tokens = ClientCredentials(client, "id", SECRET, **options)
        yield tokens
        tokens.close()


def test_a_token_is_asked_for_as_rfc_6749_says():
    server = TokenServer()

    with tokens_of(server, scope="read all", params={"audience": "crm"}) as tokens:
        assert tokens.token(5) == "token1"

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /oauth/token/ HTTP/1.1\r\n")
    assert b"Authorization" not in head
    assert dict(parse_qsl(body.decode())) == {
        "grant_type": "client_credentials",
        "scope": "read all",
        "audience": "crm",
        "client_id": "id",
        "client_secret": SECRET,
    }


def test_id_and_secret_may_go_into_the_header_encoded():
    server = TokenServer()

    with tokens_of(server, in_header=True) as tokens:
        tokens.token(5)

    # base64 of "id:canary4711%20%2B%20%26%3D%25%C3%A5"
    expected = b"Basic aWQ6Y2FuYXJ5NDcxMSUyMCUyQiUyMCUyNiUzRCUyNSVDMyVBNQ=="
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert expected in head
    assert body == b"grant_type=client_credentials"


def test_a_token_is_kept_until_shortly_before_it_expires():
    server, clock = TokenServer(), Clock()

    with tokens_of(server, clock=clock) as tokens:
        first = tokens.token(5)
        clock.now += 3600 - 31
        still = tokens.token(5)
        clock.now += 2
        second = tokens.token(5)

    assert (first, still, second) == ("token1", "token1", "token2")


@pytest.mark.parametrize("says", [{}, {"expires_in": None}, {"expires_in": "soon"}])
def test_a_token_of_unknown_life_is_kept_for_half_an_hour(says):
    server, clock = TokenServer(), Clock()
    server.reply = lambda number: (200, {"access_token": f"token{number}", **says})

    with tokens_of(server, clock=clock) as tokens:
        tokens.token(5)
        clock.now += 1769
        assert tokens.token(5) == "token1"
        clock.now += 2
        assert tokens.token(5) == "token2"


@pytest.mark.parametrize("life", [10, "10", 10.0])
def test_a_short_life_is_a_number_or_a_text(life):
    server, clock = TokenServer(), Clock()
    server.reply = lambda number: (200, {"access_token": f"t{number}", "expires_in": life})

    with tokens_of(server, clock=clock) as tokens:
        tokens.token(5)
        clock.now += 8.9
        assert tokens.token(5) == "t1"
        clock.now += 0.2
        assert tokens.token(5) == "t2"


def test_16_threads_wait_for_one_token_at_the_start_and_when_it_expires():
    server, clock = TokenServer(), Clock()

    with tokens_of(server, clock=clock) as tokens, ThreadPoolExecutor(16) as pool:
        for expected in ("token1", "token2"):
            server.open.clear()
            waiting = [pool.submit(tokens.token, 20) for _ in range(16)]
            while len(server.requests) < int(expected[-1]):
                pass
            server.open.set()
            assert {token.result() for token in waiting} == {expected}
            clock.now += 4000

    assert len(server.requests) == 2


def test_a_token_that_another_has_just_fetched_is_not_fetched_again():
    server, clock = TokenServer(), Clock()

    with tokens_of(server, clock=clock) as tokens:
        tokens.token(5)
        clock.once = 1e9  # as if this thread had looked before the other was through
        tokens.token(5)

    assert len(server.requests) == 1


def test_16_threads_share_a_refusal_too():
    server = TokenServer()
    server.reply = lambda _: (401, {"error": "invalid_client"})
    server.open.clear()

    with tokens_of(server) as tokens, ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(tokens.token, 20) for _ in range(16)]
        while not server.requests:
            pass
        server.open.set()
        failures = [token.exception() for token in waiting]

    assert {type(failure) for failure in failures} == {TokenRefused}
    assert len(server.requests) == len({id(failure) for failure in failures})


def test_who_waits_for_a_token_gives_up_in_time_and_the_next_has_it():
    server = TokenServer()
    server.open.clear()

    with tokens_of(server) as tokens:
        with pytest.raises(TooSlow):
            tokens.token(0.05)
        server.open.set()
        token = tokens.token(20)

    assert token == "token1"
    assert len(server.requests) == 1


def test_a_refused_token_is_dropped_once():
    server = TokenServer()

    with tokens_of(server) as tokens:
        first = tokens.token(5)
        tokens.drop(first)
        second = tokens.token(5)
        tokens.drop(first)
        third = tokens.token(5)

    assert (first, second, third) == ("token1", "token2", "token2")


def test_a_failure_is_not_kept():
    server = TokenServer()
    replies = {1: (503, {}), 2: (200, {"access_token": "t", "expires_in": 60})}
    server.reply = replies.get

    with tokens_of(server) as tokens:
        with pytest.raises(Refused, match=r"in trouble \(503\)"):
            tokens.token(5)
        assert tokens.token(5) == "t"


@pytest.mark.parametrize(
    ("status", "document", "error", "permanent"),
    [
        (400, {"error": "invalid_client", "hint": SECRET}, TokenRefused, True),
        (401, {}, TokenRefused, True),
        (429, {}, Refused, False),
        (500, {}, Refused, False),
        (200, [], Unreadable, False),
        (200, {"token": "x"}, Unreadable, False),
        (200, {"access_token": ""}, Unreadable, False),
        (200, {"access_token": "a\r\nX-Evil: 1"}, Unreadable, False),
        (200, {"access_token": 5}, Unreadable, False),
    ],
)
def test_no_token_is_an_error_without_a_secret(status, document, error, permanent):
    server = TokenServer()
    server.reply = lambda _: (status, document)

    with tokens_of(server) as tokens, pytest.raises(error) as caught:
        tokens.token(5)

    assert caught.value.permanent is permanent
    assert "canary" not in str(caught.value)


def test_a_token_server_that_is_not_there_is_told():
    tokens = ClientCredentials(Client("http://127.0.0.1:9"), "id", SECRET)

    with pytest.raises(Unreachable):
        tokens.token(5)
