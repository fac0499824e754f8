"""What three times as many requests as can be answered do to the server.

    .venv/bin/python benchmarks/overload.py [--times 3] [--seconds 15]

Requests come at a fixed rate, whether earlier ones are answered or not: people open chats without
waiting for those of others. Connections are kept and used again, as a proxy in front does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from urllib.request import urlopen

import shop
from load import load, request

HERE = Path(__file__).parent
_LENGTH = re.compile(rb"content-length: (\d+)")
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_GIVES_UP = 15.0
_KEPT = 32
_WORKERS = 1
_THREADS = 16
#: seconds that the slow source takes for each answer
_SLOW = 0.5

SOURCE = f"""
import time
from imbox_plugin.sources import Contact, DataSource, Key

class Slow(DataSource):
    keys = frozenset({{Key.EXTERNAL_ID}})

    def find(self, lookup):
        time.sleep({_SLOW})
        return [Contact(name="Someone", external_id=lookup.external_id)]
"""
SETTINGS = """
[[sources]]
name = "slow"
type = "slow_source:Slow"
threads = 100
[panels.default]
keys = [{ id = "bench", secret = "a-key-of-the-benchmarks" }]
"""


def main() -> None:
    """Measure a slow source, then one that takes nothing but processor time."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "slow_source.py").write_text(SOURCE)
        (folder / "imbox.toml").write_text(SETTINGS)
        key = "Bearer a-key-of-the-benchmarks"
        asked = [request(f"/imbox?view=chat&externalId={n}", key) for n in range(1000)]
        capacity = _WORKERS * _THREADS / _SLOW
        print(f"A source that takes {_SLOW:g} s; {capacity:.0f} requests/s can be answered")
        offer(folder, cores[0], asked, options.times * capacity, options.seconds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(HERE / "imbox.toml", folder)
        shop.build(folder / "shop.db", 10_000)
        asked = [request(path, shop.AUTHORIZATION) for path in shop.questions(10_000, 1_000)]
        with serving(folder, cores[0]) as (port, _):
            capacity = len(load(port, asked, _THREADS, 3.0)) / 3.0
        print(f"SQLite, one core; {capacity:.0f} requests/s can be answered")
        offer(folder, cores[0], asked, options.times * capacity, options.seconds)


def offer(folder: Path, core: int, asked: Sequence[bytes], rate: float, seconds: float) -> None:
    """Offer requests at a rate, and print what became of them."""
    with serving(folder, core) as (port, process):
        before = memory(process)
        replies = asyncio.run(_offer(port, asked, rate, seconds))
        after = memory(process)
        found: dict[str, list[float]] = {}
        for status, spent in replies:
            found.setdefault(status, []).append(spent)
        print(
            f"  {rate:.0f} requests/s for {seconds:g} s; {before:.0f} MB before, {after:.0f} after"
        )
        for status, spent in sorted(found.items()):
            cuts = statistics.quantiles(spent, n=100) if len(spent) > 1 else spent * 99
            print(
                f"  {status:12}{len(spent):7,} = {len(spent) / len(replies):6.1%}"
                f"   p50 {cuts[49]:7.3f} s   p99 {cuts[98]:7.3f} s   longest {max(spent):7.3f} s"
            )
        again = Counter(status for status, _ in asyncio.run(_offer(port, asked, 5, 2)))
        print(f"  afterwards: {dict(again)}")


async def _offer(
    port: int, asked: Sequence[bytes], rate: float, seconds: float
) -> list[tuple[str, float]]:
    begun, tasks = time.perf_counter(), []
    free: list[_Connection] = []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(_ask(port, asked[number % len(asked)], free)))
    replies = await asyncio.gather(*tasks)
    for _, writer in free:
        writer.close()
    return replies


async def _ask(port: int, data: bytes, free: list[_Connection]) -> tuple[str, float]:
    """The status, or how it went wrong, and the seconds until then."""
    start = time.perf_counter()
    try:
        async with asyncio.timeout(_GIVES_UP):
            while free:
                # One that was kept may be closed by now, as a proxy knows.
                with suppress(OSError, asyncio.IncompleteReadError):
                    return await _answer(free.pop(), data, free), time.perf_counter() - start
            fresh = await asyncio.open_connection("127.0.0.1", port)
            return await _answer(fresh, data, free), time.perf_counter() - start
    except (OSError, asyncio.IncompleteReadError) as error:
        return type(error).__name__, time.perf_counter() - start


async def _answer(connection: _Connection, data: bytes, free: list[_Connection]) -> str:
    reader, writer = connection
    keep = False
    try:
        writer.write(data)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        keep = b"connection: close" not in head and len(free) < _KEPT
        empty = head[9:12] == b"200" and b'"contactName":"' not in body
        return "200, nobody" if empty else head[9:12].decode()
    finally:
        if keep:
            free.append(connection)
        else:
            writer.close()


@contextmanager
def serving(folder: Path, core: int) -> Iterator[tuple[int, int]]:
    """The server as it is deployed, its settings in this folder; gives port and process."""
    environ = {
        **os.environ,
        "IMBOX_SETTINGS": str(folder / "imbox.toml"),
        "IMBOX_BENCH_KEY": shop.KEY,
        "WEB_CONCURRENCY": str(_WORKERS),
        "WEB_THREADS": str(_THREADS),
    }
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "wsgi:app"]
    with subprocess.Popen(  # noqa: S603 - our own
        ["taskset", "-c", str(core), *command],  # noqa: S607
        cwd=HERE.parent,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            until = time.monotonic() + 20
            while not _answers(port):
                if time.monotonic() > until:
                    raise SystemExit("the server did not start")
                time.sleep(0.05)
            yield port, process.pid
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with suppress(OSError):
        return urlopen(f"http://127.0.0.1:{port}/livez", timeout=20).status == HTTPStatus.OK
    return False


def memory(parent: int) -> float:
    """MB that the workers of a server have in memory."""
    workers = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in workers)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
