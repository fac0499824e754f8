"""The server as it is deployed, under gunicorn, sent bytes that no client library would send."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.loopback import Wire
from tests.web.conftest import KEY, SETTINGS, basic

ROOT = Path(__file__).parents[2]

ASKED = "/imbox?view=chat&externalId=C-1001"

KNOWN = f"Authorization: {basic(KEY)}\r\n"


class Server:
    """A gunicorn process that listens on a loopback port of ours."""

    def __init__(self, process, port):
        self._process = process
        self._port = port

    def send(self, request, *, hang_up=False):
        """Send raw bytes and return all that comes back until the server closes."""
        raw = request.encode() if isinstance(request, str) else request
        with self.connected() as connection:
            connection.sendall(raw)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as answer:
                return answer.read()

    def connected(self):
        return socket.create_connection(("127.0.0.1", self._port), timeout=20)

    def log_until(self, marker):
        """All lines that the process has written, up to the first with the marker."""
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if marker in line:
                return "".join(lines)
        pytest.fail(f"gunicorn ended: {''.join(lines)}")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    file = tmp_path_factory.mktemp("served") / "imbox.toml"
    settings = SETTINGS.replace(
        "keys = [", 'key_header = "X-Api-Key"\nkey_in_query = true\nkeys = ['
    )
    file.write_text(settings.replace("tests.web.witness:Witness", "inline"), "utf-8")
    environ = {
        **os.environ,
        "IMBOX_SETTINGS": str(file),
        "IMBOX_API_KEY": KEY,
        "WEB_CONCURRENCY": "1",
        # One after the other, so that the log is in the order of the requests.
        "WEB_THREADS": "1",
    }
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        bind = f"fd://{listener.fileno()}"
        with subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "gunicorn", "--bind", bind, "wsgi:app"],
            cwd=ROOT,
            env=environ,
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            # Only gunicorn is to hold the port: if it fails, connections are refused at once.
            listener.close()
            try:
                yield Server(process, port)
            finally:
                process.terminate()


def get(address=ASKED, headers=KNOWN, method="GET", version="1.1"):
    """A whole request without a body, after which the server is to close."""
    return f"{method} {address} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"


def post(headers, body):
    head = f"POST {ASKED} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{KNOWN}{headers}\r\n"
    return head.encode() + body


def status(answer):
    """The status of the last answer."""
    return int(re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)[-1])


def test_a_customer_is_answered_over_http(server):
    answer = server.send(get())

    assert status(answer) == 200
    assert b"Anna Andersson" in answer
    assert b"\r\nCache-Control: no-store\r\n" in answer


@pytest.mark.parametrize(
    "headers",
    [
        b"Authorization: Bearer \xff\xfe\xe5\r\n",
        b"Authorization: Basic \xc3\xa5\r\n",
        b"Authorization:\r\n",
        b"Authorization: " + b"x" * 8000 + b"\r\n",
        b"Authorization: Bearer " + KEY.encode() + b"\x00\r\n",
        b"Authorization : Bearer " + KEY.encode() + b"\r\n",
        b"Authorization: Bearer\r\n " + KEY.encode() + b"\r\n",
        b"Authorization\r\n",
        b"X_Api_Key: " + KEY.encode() + b"\r\n",
        2 * KNOWN.encode(),
        KNOWN.encode() + b"Authorization: Basic eDp5\r\n",
        2 * b"X-Api-Key: " + KEY.encode() + b"\r\n",
    ],
)
def test_a_malformed_or_doubled_header_opens_nothing(server, headers):
    request = get(headers="").encode().removesuffix(b"\r\n") + headers + b"\r\n"

    assert status(server.send(request)) in {400, 401}


def test_a_header_of_the_panels_own_and_the_key_parameter_open(server):
    assert status(server.send(get(headers=f"x-api-key: {KEY}\r\n"))) == 200
    assert status(server.send(get(f"{ASKED}&key={KEY}", headers=""))) == 200


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"view=chat&externalId=\xff", 400),
        (b"view=chat&externalId=%FF%FE", 200),
        (b"view=chat&externalId=\xc3\xa5", 400),
        (b"view=chat&externalId=%00", 400),
        (b"view=chat&externalId=%ED%A0%80", 200),
        (b"view=chat&externalId=%zz%", 200),
        (b"view=chat&&&;=&=x&%=%", 200),
        (b"view=chat&email=" + b"a" * 3000, 400),
        (b"view=chat&plugin=\xff", 400),
        (b"\xff=\xff", 400),
    ],
)
def test_no_query_breaks_anything(server, query, expected):
    head, tail = get("/imbox?QUERY").encode().split(b"QUERY")
    answer = server.send(head + query + tail)

    assert status(answer) == expected
    assert b"Anna" not in answer


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("", b""),
        ("Content-Length: 0\r\n", b""),
        ("Content-Length: 16\r\nContent-Type: application/json\r\n", b'{"segment":"vip"}'),
        ("Content-Length: 1000000\r\n", b"x" * 1_000_000),
        ("Transfer-Encoding: chunked\r\n", b'11\r\n{"segment":"vip"}\r\n0\r\n\r\n'),
        ("Transfer-Encoding: chunked\r\n", b"zz\r\nnot a chunk\r\n"),
        ("Content-Length: 4\r\nExpect: 100-continue\r\n", b"null"),
    ],
)
def test_a_body_of_any_kind_is_no_reason_to_fail(server, headers, body):
    answer = server.send(post(headers, body))

    assert status(answer) == 200
    assert b"Anna Andersson" in answer


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("Content-Length: 1000\r\n", b'{"segm'),
        ("Content-Length: 1000000\r\n", b"x" * 70_000),
        ("Transfer-Encoding: chunked\r\n", b'11\r\n{"seg'),
    ],
)
def test_a_body_that_breaks_off_is_no_reason_to_fail(server, headers, body):
    assert status(server.send(post(headers, body), hang_up=True)) == 200


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("Content-Length: 100\r\n", b""),
        ("Content-Length: 100\r\n", b'{"segm'),
        ("Content-Length: 100\r\nExpect: 100-continue\r\n", b""),
        ("Transfer-Encoding: chunked\r\n", b""),
        ("Transfer-Encoding: chunked\r\n", b'11\r\n{"seg'),
    ],
)
def test_a_body_that_does_not_come_is_not_waited_for(server, headers, body):
    answer = server.send(post(headers, body))

    assert status(answer) == 200
    assert b"Anna Andersson" in answer


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("Content-Length: 4000\r\n", b""),
        ("Transfer-Encoding: chunked\r\n", b"fa0\r\n"),
    ],
)
def test_a_body_that_comes_byte_by_byte_is_not_waited_for_to_its_end(server, headers, body):
    with server.connected() as connection:
        connection.sendall(post(headers, body))
        wire = Wire(connection)
        wire.drip(b" " * 4000)
        answer = connection.makefile("rb").read()

    assert wire.cut_off
    assert status(answer) == 200
    assert b"Anna Andersson" in answer


def test_what_comes_of_a_body_after_the_answer_is_not_taken_for_the_next_request(server):
    late = get(f"/imbox?view=chat&externalId=C-1001&key={KEY}", headers="")
    head = f"POST {ASKED} HTTP/1.1\r\nHost: x\r\n{KNOWN}Content-Length: {len(late)}\r\n\r\n"
    with server.connected() as connection, connection.makefile("rb") as answer:
        connection.sendall(head.encode())
        first = answer.readline()
        with suppress(OSError):
            connection.sendall(late.encode())
        try:
            rest = answer.read()
        except ConnectionResetError:
            rest = b""

    assert first == b"HTTP/1.1 200 OK\r\n"
    assert b"HTTP/1.1" not in rest


def test_the_connection_serves_on_after_a_body_that_took_a_moment(server):
    head = f"POST {ASKED} HTTP/1.1\r\nHost: x\r\n{KNOWN}Expect: 100-continue\r\n"
    with server.connected() as connection, connection.makefile("rb") as answer:
        connection.sendall(f"{head}Content-Length: 4\r\n\r\n".encode())
        asked_for = answer.readline()
        connection.sendall(b"null" + get().encode())
        answers = answer.read()

    assert asked_for == b"HTTP/1.1 100 Continue\r\n"
    assert re.findall(rb"HTTP/1\.1 (\d{3}) ", answers) == [b"200", b"200"]


def test_a_refused_request_is_answered_without_waiting_for_its_body(server):
    answer = server.send(
        f"POST {ASKED} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n"
    )

    assert status(answer) == 401


def test_an_unread_body_is_not_taken_for_the_next_request(server):
    inside = get(f"/imbox?view=chat&externalId=C-1001&key={KEY}", headers="")
    answer = server.send(
        f"POST {ASKED} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(inside)}\r\n\r\n{inside}"
        + get("/imbox?view=chat")
    )

    assert re.findall(rb"HTTP/1\.1 (\d{3}) ", answer) == [b"401", b"200"]
    assert b"Anna" not in answer


def test_head_has_neither_a_body_nor_the_length_of_one(server):
    answer = server.send(get(method="HEAD"))
    head, _, body = answer.partition(b"\r\n\r\n")

    assert status(answer) == 200
    assert body == b""
    assert b"content-length" not in head.lower()
    assert b"transfer-encoding" not in head.lower()


def test_the_connection_serves_on_after_head(server):
    answer = server.send(f"HEAD {ASKED} HTTP/1.1\r\nHost: x\r\n{KNOWN}\r\n" + get())

    assert re.findall(rb"HTTP/1\.1 (\d{3}) ", answer) == [b"200", b"200"]
    assert answer.count(b'"contactName"') == 1


@pytest.mark.parametrize(
    "request_",
    [
        get("/imbox//default?view=chat"),
        get("//imbox?view=chat"),
        get("/imbox/%ff?view=chat"),
        get("http://elsewhere.example/imbox?view=chat"),
        get("*", method="OPTIONS"),
        get(method="TRACE"),
        get(method="BREW"),
        get(version="1.0"),
        get(version="9.9"),
        get(f"/imbox?view=chat&x={'y' * 9000}"),
        "GET /imbox?view=chat\r\n\r\n",
        "\r\n\r\n",
        "nonsense\r\n\r\n",
        post("Content-Length: -1\r\n", b""),
        post("Content-Length: 1\r\nContent-Length: 2\r\n", b"x"),
        post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        post("Expect: a miracle\r\n", b""),
    ],
)
def test_no_request_breaks_the_server_or_is_sent_elsewhere(server, request_):
    answer = server.send(request_, hang_up=True)

    assert answer == b"" or status(answer) in {200, 400, 401, 404, 405, 414, 417}
    assert b"\r\nLocation:" not in answer


def test_what_gunicorn_writes_holds_no_key_no_identity_and_no_query(server):
    everything = f"{ASKED}&email=anna@example.com&phoneNumber=%2B46701740605&key={KEY}"
    server.send(get("/the-first-one"))
    server.log_until("/the-first-one")
    statuses = [
        status(server.send(get(everything))),
        status(server.send(get(everything.replace(KEY, "wrong"), headers=""))),
        status(server.send(get(f"{everything}&callId=%00"))),
        status(server.send(get(everything.replace("/imbox", "/imbox/nope")))),
        status(server.send(get("/the-last-one"))),
    ]
    written = server.log_until("/the-last-one")

    assert statuses == [200, 401, 400, 404, 404]
    assert '"GET /imbox" 401' in written
    for secret in (KEY, basic(KEY).split()[1], "C-1001", "anna", "740605", "view=", "externalId"):
        assert secret not in written


def test_gunicorn_writes_no_ticket(server):
    ticket = "gAAAAAB" + "x" * 200
    server.send(get("/the-first-one"))
    server.log_until("/the-first-one")
    statuses = [
        status(server.send(get(f"/open/{ticket}", method=method))) for method in ("GET", "POST")
    ]
    statuses.append(status(server.send(get(f"/open/{ticket}/events", method="POST"))))
    server.send(get("/the-last-one"))
    written = server.log_until("/the-last-one")

    assert statuses == [404, 404, 404]
    assert '"GET /open/-" 404' in written
    assert '"POST /open/-/events" 404' in written
    assert ticket[:32] not in written


@pytest.mark.parametrize(
    "address",
    ["/open//{}", "/Open/{}", "/open/./{}", "/open%2F{}", "/open/x/{}", "/opne/{}", "/{}"],
)
def test_gunicorn_writes_no_ticket_of_a_mistyped_address_either(server, address):
    # The shortest that there can be: an empty one is 73 bytes.
    ticket = "gAAAAAB" + "x" * 91
    server.send(get("/the-first-one"))
    server.log_until("/the-first-one")
    answer = server.send(get(address.format(ticket)))
    server.send(get("/the-last-one"))
    written = server.log_until("/the-last-one")

    assert status(answer) == 404
    assert '/-" 404' in written
    assert ticket[:32] not in written


@pytest.mark.parametrize("end", ["%0A", "%0D%0A", "%0D", "%0B", "%C2%85", "%E2%80%A8", "%00"])
@pytest.mark.parametrize("path", ["/nope", "/open/x", "/imbox/x"])
def test_nobody_writes_a_line_of_their_own_into_the_log(server, path, end):
    server.send(get("/the-first-one"))
    server.log_until("/the-first-one")
    server.send(get(f'{path}{end}[a%20day]%20"GET%20/forged"%20200', headers=""))
    server.send(get("/the-last-one"))
    written = server.log_until("/the-last-one").removesuffix("\n")
    told = [line for line in written.splitlines() if "forged" in line]

    assert len(told) == 1
    assert f'"GET {path}?' in told[0]
    assert written.isascii()
    assert written.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "malformed",
    [
        f"GET {ASKED}&key={KEY}&\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET {ASKED} HTTP/1.1\r\nHost: x\r\nAuthorization Bearer {KEY}\r\n\r\n",
    ],
    ids=["raw byte", "no colon"],
)
def test_what_gunicorn_cannot_read_is_not_written_either(server, malformed):
    server.send(get("/the-first-one"))
    server.log_until("/the-first-one")
    answer = server.send(malformed.encode("latin-1"))
    server.send(get("/the-last-one"))
    written = server.log_until("/the-last-one")

    assert status(answer) == 400
    assert KEY not in written
    assert "C-1001" not in written
