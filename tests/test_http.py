"""The way out, against servers that are slow, broken or hostile."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbox_plugin import http
from imbox_plugin.http import (
    Answer,
    Client,
    Redirected,
    SingleFlight,
    TooLarge,
    TooSlow,
    Unreachable,
    Unreadable,
    Unsendable,
    Untrusted,
    basic,
    check_base_url,
    check_path,
    filled,
)
from tests.loopback import answering, authority, serving

#: stands for whatever must not be repeated
CANARY = "canary4711"
#: seconds; a drip takes many times as long
PATIENCE = 0.25


def ask(url, path="/people", **options):
    client = Client(url, **{name: options.pop(name) for name in ("size_limit",) if name in options})
    try:
        return client.request("GET", path, time_limit=options.pop("time_limit", 5), **options)
    finally:
        client.close()


def head(request):
    """Request line and headers, by name in lower case."""
    line, *headers = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    pairs = (header.partition(": ") for header in headers)
    return line, {name.lower(): value for name, _, value in pairs}


def heard_by(requests):
    """A play that answers, and keeps what it was asked."""

    def play(wire):
        while (request := wire.request()) is not None:
            requests.append(request)
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=b; Path=/\r\n\r\n{}")

    return play


# --- what comes back ------------------------------------------------------------------------------


def test_an_answer_is_json_with_its_numbers_as_they_were_written():
    body = b"""{"id": 12345678901234567890, "total": 12.50,
               "huge": 1e999999999, "mad": 1e-99999999999999999999}"""

    with serving(answering(body=body)) as server:
        answer = ask(server.url)

    assert answer.ok
    assert answer.document == {
        "id": 12345678901234567890,
        "total": Decimal("12.50"),
        "huge": "1e999999999",
        "mad": "1e-99999999999999999999",
    }
    assert str(answer.document["total"]) == "12.50"


@pytest.mark.parametrize(
    "play",
    [
        answering(headers=["Content-Type: text/html"], body=b'{"a": 1}'),
        answering(body=b'\xef\xbb\xbf{"a": 1}'),
        answering(headers=["Content-Encoding: gzip"], body=gzip.compress(b'{"a": 1}')),
        answering(headers=["Connection: close"], body=b'{"a": 1}'),
    ],
    ids=["wrong type", "byte order mark", "gzip", "closing"],
)
def test_json_is_read_however_it_is_labelled_and_packed(play):
    with serving(play) as server:
        assert ask(server.url).document == {"a": 1}


def test_an_answer_in_pieces_is_put_together():
    def play(wire):
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in b'{"a": "\xc3\xa5"}':
            wire.send(b"1\r\n%c\r\n" % at)
        wire.send(b"0\r\n\r\n")

    with serving(play) as server:
        assert ask(server.url).document == {"a": "å"}


def test_no_content_is_no_document():
    with serving(answering(status="204 No Content", body=b"")) as server:
        answer = ask(server.url)

    assert (answer.status, answer.document) == (204, None)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>maintenance</html>",
        b'{"a": "\xff"}',
        b'{"a": NaN}',
        b'{"a": ',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"9" * 5000,
    ],
    ids=["html", "not utf-8", "nan", "cut off", "deep lists", "deep objects", "5000 digits"],
)
def test_what_is_no_json_is_told_and_not_repeated(body):
    with serving(answering(body=body)) as server, pytest.raises(Unreadable) as caught:
        ask(server.url)

    assert str(caught.value) == (
        "the answer is not JSON in UTF-8; see that the address is that of the API itself"
    )


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("br", b"{}"), ("gzip", b"{}"), ("gzip", gzip.compress(b"{}" * 99)[:-20])],
    ids=["not asked for", "not packed", "cut off"],
)
def test_an_answer_that_cannot_be_unpacked_is_told(encoding, body):
    play = answering(headers=[f"Content-Encoding: {encoding}"], body=body)

    with serving(play) as server, pytest.raises(Unreadable):
        ask(server.url)


@pytest.mark.parametrize(
    ("status", "says", "permanent"),
    [
        ("401 Unauthorized", "does not let us in (401); correct auth", True),
        ("403 Forbidden", "does not let us in (403); correct auth", True),
        ("404 Not Found", "refuses the question (404); compare", False),
        ("422 No", "refuses the question (422); compare", False),
        ("429 Slow", "is asked too often (429); ask its vendor", False),
        ("500 Oh", "is in trouble (500); see its vendor's status page", False),
        ("300 Which", "refuses the question (300); compare", False),
    ],
)
def test_a_refusal_is_an_answer_and_says_what_to_do(status, says, permanent):
    with serving(answering(status=status, body=b'{"error": "who?"}')) as server:
        answer = ask(server.url)

    assert (answer.ok, answer.document) == (False, None)
    assert says in str(answer.refused())
    assert answer.refused().permanent is permanent


def test_what_a_server_says_of_its_refusal_is_at_hand_and_never_shown():
    body = json.dumps({"error": {"code": "NoSuchAccount", "for": CANARY}}).encode()
    with serving(answering(status="401 No", body=body)) as server:
        answer = ask(server.url)

    assert answer.problem == {"error": {"code": "NoSuchAccount", "for": CANARY}}
    assert answer.document is None
    assert CANARY not in repr(answer) + str(answer.refused())


@pytest.mark.parametrize("body", [b"", b" ", b"<html>sorry</html>", b"\xff", b'{"error":', b"NaN"])
def test_a_refusal_without_json_is_a_refusal_all_the_same(body):
    with serving(answering(status="502 Gone", body=body)) as server:
        answer = ask(server.url)

    assert (answer.status, answer.problem, answer.document) == (502, None, None)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("93", 93), (" 5 ", 5), ("", None), ("soon", None), ("-1", None), ("9" * 50, 999_999_999)],
)
def test_the_wait_that_a_server_asks_for_is_read(value, seconds):
    assert Answer(429, None, {"Retry-After": value}).retry_after == seconds


def test_a_wait_until_a_moment_is_told_in_seconds():
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    passed = "Wed, 21 Oct 2015 07:28:00 GMT"

    assert 3500 < Answer(503, None, {"Retry-After": in_an_hour}).retry_after <= 3600
    assert Answer(503, None, {"Retry-After": passed}).retry_after == 0


def test_a_server_that_asks_to_wait_is_not_broken_for_good():
    refused = Answer(403, None, {"Retry-After": "86400"}).refused()

    assert "(403) and asks us to wait 86400 s" in str(refused)
    assert not refused.permanent


@pytest.mark.parametrize(
    ("link", "params"),
    [
        ('<https://evil.example/x?page=2&q=a%20b>; rel="next"', {"page": "2", "q": "a b"}),
        ('<?page=1>; rel="prev", <?page=3>; rel="next last"', {"page": "3"}),
        ('<?page=1>; rel="prev"', None),
        ("", None),
        ('<http://[broken>; rel="next"', None),
    ],
)
def test_the_next_page_is_known_by_parameters_alone(link, params):
    assert Answer(200, None, {"Link": link}).next_params == params


# --- time -----------------------------------------------------------------------------------------

SCRIPTS = {
    "headers": b"HTTP/1.1 200 OK\r\n" + b"X-Drip: " + b"x" * 2000,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(300)),
    "continues": b"HTTP/1.1 100 Continue\r\n\r\n" * 90,
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b" " * 2000,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 400,
    "no length": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 2000,
}


def left_by(play, scheme="http:"):
    """The wires of a server that the client gave up."""
    with serving(play) as server, pytest.raises(TooSlow):
        ask(server.url.replace("http:", scheme), time_limit=PATIENCE)
    return server.wires


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_server_that_drips_is_left_before_it_is_through(script):
    def play(wire):
        wire.request()
        wire.drip(script)

    (wire,) = left_by(play)

    assert wire.cut_off
    assert 0 < wire.sent < len(script)


def test_a_tls_handshake_that_drips_is_left_before_it_is_through():
    # The beginning of a record of 16 kB, so that the client waits for the whole of it.
    script = b"\x16\x03\x03\x40\x00" + b"\x02" * 2000

    def play(wire):
        wire.sock.recv(65536)
        wire.drip(script)

    (wire,) = left_by(play, "https:")

    assert wire.cut_off
    assert wire.sent < len(script)


def test_a_kept_connection_that_drips_is_left_as_well():
    def play(wire):
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        wire.request()
        wire.drip(SCRIPTS["body"])

    with serving(play) as server:
        client = Client(server.url)
        client.request("GET", "/a", time_limit=5)
        with pytest.raises(TooSlow):
            client.request("GET", "/b", time_limit=PATIENCE)
        client.close()
        server.done()

    assert [wire.cut_off for wire in server.wires] == [True]


def test_a_server_that_accepts_and_stays_silent_is_left():
    def play(wire):
        wire.request()
        wire.cut_off = wire.sock.recv(1) == b""

    (wire,) = left_by(play)

    assert wire.cut_off


@contextmanager
def unanswering():
    """The address of a listener whose queue is full: a further connection gets no answer."""
    with ExitStack() as stack:
        listener, *waiting = [stack.enter_context(socket.socket()) for _ in range(5)]
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for sock in waiting:
            sock.settimeout(0)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems' queues are longer")


@ON_LINUX
def test_a_connection_that_is_never_made_is_given_up():
    with unanswering() as (host, port), pytest.raises(TooSlow):
        ask(f"http://{host}:{port}", time_limit=PATIENCE)


def test_without_time_nothing_is_asked():
    with serving(answering()) as server, pytest.raises(TooSlow):
        ask(server.url, time_limit=0)

    assert not server.wires


def test_a_resolver_that_hangs_holds_nobody_up_and_is_asked_once(monkeypatch):
    asked, answer = [], threading.Event()

    def hang(*args, **_):
        asked.append(args)
        answer.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    client = Client("https://crm.example")
    for _ in range(3):
        with pytest.raises(TooSlow):
            client.request("GET", "/a", time_limit=0.05)
    answer.set()

    assert asked == [("crm.example", 443)]


def test_a_name_without_an_address_is_told():
    with pytest.raises(Unreachable, match="the name of the server has no address"):
        ask("https://crm.invalid")


@ON_LINUX
def test_a_dead_address_leaves_time_for_the_next(monkeypatch):
    with serving(answering(body=b"[1]")) as server, unanswering() as dead:
        tcp = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        addresses = [(*tcp, dead), (*tcp, ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)

        assert ask("http://localhost", time_limit=1).document == [1]


def test_a_server_that_is_not_there_is_told_with_the_kind_of_failure_alone():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable) as caught:
            ask(f"http://127.0.0.1:{closed.getsockname()[1]}")

    assert str(caught.value) == (
        "cannot connect to the server (ConnectionRefusedError); "
        "see that it runs and the address is right"
    )


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"SSH-2.0-hello\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        # What the library takes for a whole answer without a body.
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n",
    ],
)
def test_a_connection_that_breaks_off_is_told(script):
    def play(wire):
        wire.request()
        wire.send(script)

    with serving(play) as server, pytest.raises(Unreachable, match="broke off"):
        ask(server.url)


# --- size -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "chunk"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99000000\r\n\r\n", b" " * 9999),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"3e8\r\n" + b" " * 1000 + b"\r\n",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 9999),
        (b"HTTP/1.1 200 OK\r\nX-Endless: ", b"x" * 9999),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", b" " * 9999),
    ],
    ids=["length", "chunks", "chunk size", "header", "continues", "refusal"],
)
def test_a_flood_is_left_at_the_size_limit(start, chunk):
    def play(wire):
        wire.request()
        wire.flood(start, chunk)

    with serving(play) as server:
        with pytest.raises((TooLarge, Unreachable)):
            ask(server.url, size_limit=10_000)
        server.done()

    assert server.wires[0].cut_off


def test_a_little_that_unpacks_to_much_is_left_at_the_size_limit():
    bomb = gzip.compress(b" " * 50_000_000)
    play = answering(headers=["Content-Encoding: gzip"], body=bomb)
    assert len(bomb) < 100_000

    with serving(play) as server, pytest.raises(TooLarge, match="larger than size_limit"):
        ask(server.url, size_limit=100_000)


@pytest.mark.parametrize("packed", [False, True])
def test_the_size_limit_is_exact(packed):
    body = json.dumps("x" * 98).encode()
    given = gzip.compress(body) if packed else body
    headers = ["Content-Encoding: gzip"] if packed else []

    with serving(answering(headers=headers, body=given)) as server:
        assert ask(server.url, size_limit=100).document == "x" * 98
        with pytest.raises(TooLarge):
            ask(server.url, size_limit=99)


# --- where it goes --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_not_followed(status):
    requests = []
    with serving(heard_by(requests)) as elsewhere:
        play = answering(status=f"{status} Go", headers=[f"Location: {elsewhere.url}/stolen"])
        with serving(play) as server, pytest.raises(Redirected) as caught:
            ask(server.url)

    assert not requests
    assert elsewhere.url not in str(caught.value)


def test_proxies_passwords_and_cookies_of_the_surroundings_are_not_used(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password secret\n", "utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    requests = []

    with serving(heard_by(requests)) as server:
        client = Client(server.url)
        for _ in range(2):
            client.request("GET", "/people", time_limit=5)
        client.close()

    for line, headers in map(head, requests):
        assert line == "GET /people HTTP/1.1"
        assert headers.keys() == {"host", "accept", "accept-encoding", "user-agent"}


def test_what_is_asked_arrives_as_it_was_meant():
    requests = []
    with serving(heard_by(requests)) as server:
        client = Client(f"{server.url}/v1/", headers={"X-Key": "k"}, params={"api": "a b"})
        client.request(
            "GET",
            "/e/{id}:x",
            {"id": "a/b?c#d&e+f %2e"},
            params={"q": "å&b=c+d"},
            time_limit=5,
        )
        client.request("POST", "", json={"mail": "å"}, headers={"X-Key": "other"}, time_limit=5)
        client.request("POST", "/token/", form={"a": "b c&d"}, time_limit=5)
        client.close()

    (line, headers), (second, other), (third, form) = map(head, requests)
    bodies = [request.partition(b"\r\n\r\n")[2] for request in requests]
    assert line == (
        "GET /v1/e/a%2Fb%3Fc%23d%26e%2Bf%20%252e:x?api=a%20b&q=%C3%A5%26b%3Dc%2Bd HTTP/1.1"
    )
    assert headers["x-key"] == "k"
    assert second == "POST /v1/?api=a%20b HTTP/1.1"
    assert other["x-key"] == "other"
    assert other["content-type"] == "application/json"
    assert json.loads(bodies[1]) == {"mail": "å"}
    assert third == "POST /v1/token/?api=a%20b HTTP/1.1"
    assert form["content-type"] == "application/x-www-form-urlencoded"
    assert bodies[2] == b"a=b+c%26d"


@pytest.mark.parametrize("value", ["", ".", "..", "../admin", "a/../b", "..\\admin", "\ud800"])
def test_a_value_that_would_lead_to_another_path_is_refused_before_the_call(value):
    requests = []
    with serving(heard_by(requests)) as server, pytest.raises(Unsendable) as caught:
        ask(server.url, "/customers/{id}/orders", values={"id": value})

    assert not requests
    assert str(caught.value) == "a value cannot be part of an address"


def test_two_values_cannot_make_up_dots_together():
    with pytest.raises(Unsendable):
        filled("/{a}{b}", {"a": ".", "b": "."})


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_value_stays_one_segment(value):
    try:
        path = filled("/customers/{id}/orders", {"id": value})
    except Unsendable:
        return
    before, segment, after = path.removeprefix("/").split("/")

    assert (before, unquote(segment, errors="strict"), after) == ("customers", value, "orders")
    assert segment.isascii()
    assert {"?", "#", "\\", " ", "%2E", "%2e"}.isdisjoint(segment.replace("%25", ""))
    assert unquote(segment) not in {"", ".", ".."}


def test_a_parameter_that_is_no_unicode_is_refused():
    with pytest.raises(Unsendable):
        ask("http://127.0.0.1:9", params={"q": "\ud800"})


@pytest.mark.parametrize(
    ("url", "insecure", "says"),
    [
        ("https://api.example.com", False, ""),
        ("https://api.example.com:8443/v1/", False, ""),
        ("http://127.0.0.1:8000", False, ""),
        ("http://localhost/v1", False, ""),
        ("http://[::1]:8000", False, ""),
        ("http://crm.internal", True, ""),
        ("http://crm.internal", False, "http sends secrets for everybody to read"),
        ("http://127.0.0.1.example.com", False, "http sends secrets"),
        ("http://localhost.example.com", False, "http sends secrets"),
        ("ftp://api.example.com", False, "not an address"),
        ("api.example.com", False, "not an address"),
        ("https://", False, "not an address"),
        ("https://api.example.com:port", False, "not an address"),
        ("https://api.example.com /x", False, "not an address"),
        ("https://exämple.se", False, "not an address"),
        ("https://user:pass@api.example.com", False, "holds a user"),
        ("https://api.example.com?key=1", False, "holds a user, a query"),
        ("https://api.example.com/#x", False, "holds a user, a query or a fragment"),
        ("https://api.example.com\\@evil.example", False, "holds a user"),
        ("https://api_x.example.com", False, "the host must be plain ASCII"),
        ("https://api.example.com/a/../b", False, "a segment . or .."),
        ("https://api.example.com//a", False, "not a path"),
        ("https://api.example.com/%2e%2e/a", False, "not a path"),
    ],
)
def test_only_an_address_that_secrets_may_go_to_is_taken(url, insecure, says):
    said = ""
    try:
        check_base_url(url, insecure=insecure)
    except ValueError as error:
        said = str(error)

    assert said.startswith(says)
    assert bool(said) == bool(says)


@pytest.mark.parametrize(
    "url",
    ["canary4711", "https://canary4711@a.example", "http://canary4711.example", "https://c_4711"],
)
def test_a_refused_address_is_not_repeated(url):
    with pytest.raises(ValueError, match="; ") as caught:
        check_base_url(url)

    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("path", ["", "/", "/a/{id}", "/a/{id}/", "/a.json", "/Contacts('{id}')"])
def test_a_path_may_have_placeholders_and_end_in_a_slash(path):
    check_path(path)


@pytest.mark.parametrize("path", ["a", "/a b", "/a?b=c", "/a#b", "/a%20b", "/a//b", "/a/{", "/å"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="not a path"):
        check_path(path)


# --- TLS ------------------------------------------------------------------------------------------


def test_a_certificate_that_nobody_signed_is_not_trusted():
    with serving(answering(), tls=True) as server, pytest.raises(Untrusted) as caught:
        ask(server.url)

    assert caught.value.permanent


@pytest.fixture
def trusting(monkeypatch, tmp_path):
    """Let this machine trust who signs the certificates of the servers here."""
    authority().cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


@pytest.mark.usefixtures("trusting")
def test_a_certificate_is_trusted_when_the_machine_trusts_its_authority():
    with serving(answering(body=b"[1]"), tls=True) as server:
        assert ask(server.url).document == [1]


@pytest.mark.usefixtures("trusting")
def test_a_certificate_of_another_host_is_not_trusted(monkeypatch):
    with serving(answering(), tls=True) as server:
        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address])
        with pytest.raises(Untrusted):
            ask("https://crm.example")


def test_a_server_without_tls_is_told():
    def play(wire):
        wire.sock.recv(65536)
        wire.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with serving(play) as server, pytest.raises(Untrusted):
        ask(server.url.replace("http:", "https:"))


# --- many threads, and the end --------------------------------------------------------------------


def test_connections_are_kept_also_after_a_refusal():
    def play(wire):
        while wire.request() is not None:
            wire.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope")

    with serving(play) as server:
        client = Client(server.url)
        for _ in range(5):
            client.request("GET", "/a", time_limit=5)
        client.close()

        assert len(server.wires) == 1


def test_32_threads_get_each_their_own_answer():
    def play(wire):
        while (request := wire.request()) is not None:
            body = json.dumps(head(request)[0].split()[1]).encode()
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with serving(play) as server, ThreadPoolExecutor(32) as pool:
        client = Client(server.url)
        paths = [f"/people/{number}" for number in range(320)]
        answers = pool.map(lambda path: client.request("GET", path, time_limit=20), paths)
        documents = [answer.document for answer in answers]
        client.close()

    assert documents == paths


def test_a_closed_client_says_so_instead_of_asking():
    requests = []
    with serving(heard_by(requests)) as server:
        client = Client(server.url)
        client.close()
        with pytest.raises(Unreachable):
            client.request("GET", "/a", time_limit=5)

    assert not requests


def test_a_flight_is_shared_and_its_failure_too():
    start, calls = threading.Event(), []

    def call():
        calls.append(1)
        start.wait()
        raise KeyError(len(calls))

    flight = SingleFlight(call)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(flight.result, 20) for _ in range(8)]
        start.set()
        failures = [outcome.exception() for outcome in waiting]

    assert {type(failure) for failure in failures} == {KeyError}
    assert len(calls) == len({id(failure) for failure in failures})


def test_basic_is_as_rfc_7617_shows_it():
    assert basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert basic("test", "123\u00a3") == "Basic dGVzdDoxMjPCow=="


# --- secrets --------------------------------------------------------------------------------------


def refusing(wire):
    wire.request()


def redirecting(wire):
    wire.request()
    wire.send(f"HTTP/1.1 302 Go\r\nLocation: http://{CANARY}.example/\r\n\r\n".encode())


def babbling(wire):
    wire.request()
    wire.send(f"HTTP/1.1 200 {CANARY}\r\n{CANARY}\r\nContent-Length: 10\r\n\r\n{CANARY}".encode())


def garbling(wire):
    wire.request()
    wire.send(f"{CANARY} 999\r\n\r\n".encode())


@pytest.mark.parametrize("play", [refusing, redirecting, babbling, garbling])
def test_neither_log_nor_error_tells_an_address_a_header_or_a_value(play, caplog):
    caplog.set_level(logging.DEBUG)
    with serving(play) as server:
        client = Client(f"{server.url}/{CANARY}", headers={"X-Key": CANARY}, params={"key": CANARY})
        with pytest.raises(http.HttpError) as caught:
            client.request(
                "GET",
                "/{id}",
                {"id": CANARY},
                params={"q": CANARY},
                json={"a": CANARY},
                time_limit=5,
            )
        client.close()
    error = caught.value
    # The lines of code in a traceback are this test's own.
    told = "".join(traceback.TracebackException.from_exception(error).format_exception_only())

    assert CANARY not in told + str(error) + repr(error) + caplog.text
    assert str(server.port) not in told + caplog.text
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_success_is_not_logged_either(caplog):
    caplog.set_level(logging.DEBUG)
    with serving(answering()) as server:
        answer = ask(server.url, f"/{CANARY}")

    assert caplog.text == ""
    assert repr(answer) == "Answer(status=200)"
