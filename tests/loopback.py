"""Servers on 127.0.0.1 that do what a test tells them."""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import contextmanager, suppress
from functools import cache
from threading import Thread

import trustme

#: seconds between the bytes of a drip; a script of 2000 bytes outlasts every time limit of a test
_DRIP = 0.02


class Wire:
    """One connection of a client, from the server's side."""

    def __init__(self, sock):
        self.sock = sock
        self.sent = 0
        #: whether the client hung up before the script was through
        self.cut_off = False

    def request(self):
        """Read one request, its body included; None: the client went away."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self.sock.recv(65536)
            if not chunk:
                return None
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(body) < length:
            body += self.sock.recv(65536)
        return head + b"\r\n\r\n" + body

    def send(self, data):
        self.sock.sendall(data)
        self.sent += len(data)

    def drip(self, data):
        """Send a byte at a time until the client has enough."""
        for at in range(len(data)):
            self.send(data[at : at + 1])
            if select.select([self.sock], [], [], _DRIP)[0]:
                self.cut_off = True
                return

    def flood(self, head, chunk, most=100_000_000):
        """Send the same again and again until the client hangs up."""
        self.send(head)
        while self.sent < most:
            self.send(chunk)


@cache
def authority():
    """Who signs the certificates of the servers here; nobody trusts it but who is told to."""
    return trustme.CA()


@contextmanager
def serving(play, *, tls=False):
    """A server that plays each connection: `play(wire)`. Gives its port and the wires so far."""
    listener = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if tls:
        authority().issue_cert("127.0.0.1").configure_cert(context)
    wires, threads = [], []

    def one(sock):
        wire = Wire(sock)
        wires.append(wire)
        try:
            if tls:
                wire.sock = context.wrap_socket(sock, server_side=True)
            play(wire)
        except OSError:
            wire.cut_off = True
        finally:
            wire.sock.close()
            sock.close()

    def accept():
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threads.append(Thread(target=one, args=(sock,)))
                threads[-1].start()

    accepting = Thread(target=accept)
    accepting.start()
    served = Served(listener.getsockname()[1], wires, threads, tls=tls)
    try:
        yield served
    finally:
        # Closing alone does not wake a thread that waits in accept().
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        served.done()


class Served:
    """What a test knows of its server."""

    def __init__(self, port, wires, threads, *, tls):
        self.port = port
        self.wires = wires
        self._threads = threads
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"

    def done(self):
        """Wait until every connection is over."""
        for thread in self._threads:
            thread.join()


def answering(*, status="200 OK", headers=(), body=b"{}"):
    """A play that gives this answer to every request of a connection."""
    length = () if status.startswith("204") else (f"Content-Length: {len(body)}",)
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, *length, "", ""]).encode("latin-1")

    def play(wire):
        while wire.request() is not None:
            wire.send(head + body)

    return play
