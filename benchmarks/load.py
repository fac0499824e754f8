"""A load generator: keep-alive connections in one thread, each asking when it was answered."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Sequence
from itertools import cycle

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def load(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> list[float]:
    """The seconds that each answered request took.

    Raises:
        SystemExit: a request was refused, or a connection closed.
    """
    times: list[float] = []
    waiting = cycle(requests)
    with selectors.DefaultSelector() as selector:
        begun: dict[int, float] = {}
        read: dict[int, bytes] = {}

        def ask(connection: socket.socket) -> None:
            begun[connection.fileno()], read[connection.fileno()] = time.perf_counter(), b""
            connection.sendall(next(waiting))

        opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
        for connection in opened:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ)
            ask(connection)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for key, _ in selector.select(1):
                if not (data := key.fileobj.recv(65536)):  # type: ignore[union-attr]
                    raise SystemExit(f"the server on port {port} closed a connection")
                read[key.fd] += data
                if _is_whole(read[key.fd], port):
                    times.append(time.perf_counter() - begun[key.fd])
                    ask(key.fileobj)  # type: ignore[arg-type]
        for connection in opened:
            connection.close()
    return times


def request(target: str, authorization: str) -> bytes:
    """The bytes of a GET."""
    return (
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
        f"Authorization: {authorization}\r\n\r\n"
    ).encode()


def _is_whole(answer: bytes, port: int) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = _LENGTH.search(head)
    if not head.startswith(b"HTTP/1.1 200 ") or not length:
        raise SystemExit(f"the server on port {port} refused: {head[:15].decode('latin-1')}")
    if len(body) < int(length[1]):
        return False
    if b'"contactName":"' not in body:
        raise SystemExit(f"the server on port {port} gave a card without the person")
    return True
