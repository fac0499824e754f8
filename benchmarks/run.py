"""How fast the server is, against bare Flask and against FastAPI: `make bench`.

    .venv/bin/python benchmarks/run.py [--rounds 7] [--seconds 1] [--people 10000 1000000]

All servers run at the same time and are asked in turns, a second each, so that whatever else the
machine does slows them alike. Ratios are medians of the rounds' own ratios. With two cores the
servers share one and the load generator has the other.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import shop
from chart import bars
from load import load, request
from stages import find_costs, lookup_costs, stages

HERE = Path(__file__).parent
FLOOR = "bare Flask, text of the card"
OURS = "this server, nothing cached"
WARM = "this server, cache warm"
_PEOPLE = 10_000
_TARGETS = 1_000
_CONNECTIONS = (1, 16)
# As gunicorn.conf.py has them, one worker; what that file's hooks need is ours alone.
_GUNICORN = (
    *("gunicorn", "--config", "python:bare", "--worker-class", "gthread", "--workers", "1"),
    *("--threads", "16", "--keep-alive", "5", "--no-control-socket", "--log-level", "error"),
)
_UVICORN = ("uvicorn", "--no-access-log", "--log-level", "error")


@dataclass(frozen=True, slots=True)
class Server:
    """What is measured."""

    name: str
    command: tuple[str, ...]
    #: asked for instead of the look-up's
    path: str | None = None
    checkout: Path = HERE.parent
    settings: str = "uncached.toml"


SERVERS = (
    Server(FLOOR, (*_GUNICORN, "floor:app"), "/imbox"),
    Server("bare Flask, jsonify", (*_GUNICORN, "floor:app"), "/jsonify"),
    Server(OURS, (*_GUNICORN, "wsgi:app")),
    Server(WARM, (*_GUNICORN, "wsgi:app"), settings="imbox.toml"),
    Server("FastAPI + pydantic + nh3", (*_UVICORN, "fastapi_app:app")),
)


def main() -> None:
    """Measure, print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--people", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--picture", type=Path, default=HERE.parent / "docs" / "performance.svg")
    parser.add_argument("--before", type=Path, help="another checkout, measured beside this one")
    options = parser.parse_args()
    servers = list(SERVERS)
    if options.before:
        knows_caches = (options.before / "imbox_plugin" / "cache.py").exists()
        servers.append(
            Server(
                "the other checkout",
                (*_GUNICORN, "wsgi:app"),
                checkout=options.before,
                settings="uncached.toml" if knows_caches else "imbox.toml",
            )
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = (HERE / "imbox.toml").read_text("utf-8")
        (folder / "imbox.toml").write_text(settings, "utf-8")
        uncached = settings.replace('name = "shop"\n', 'name = "shop"\ncache = false\n')
        (folder / "uncached.toml").write_text(uncached, "utf-8")
        shop.build(folder / "shop.db", _PEOPLE)
        targets = shop.questions(_PEOPLE, _TARGETS)
        requests(
            servers,
            folder,
            targets,
            rounds=options.rounds,
            seconds=options.seconds,
            picture=options.picture,
        )
        print("\nOne stage after the other, in one thread" + " " * 13 + "us")
        for stage, spent in stages(folder / "uncached.toml", targets).items():
            print(f"  {stage:44}{spent:9.0f}")
        print("\nOne look-up of the directory" + " " * 25 + "us")
        for place, spent in find_costs(folder, targets).items():
            print(f"  {place:44}{spent:9.0f}")
        costs = lookup_costs(folder, options.people)
        print("\nOne look-up in SQLite by an index, with ten orders    us")
        for people, spent in costs.items():
            ratio = spent / next(iter(costs.values()))
            print(f"  {people:>12,} people {'':24}{spent:9.0f}   x {ratio:.2f}")


def requests(
    servers: Sequence[Server],
    folder: Path,
    targets: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    picture: Path,
) -> None:
    """Ask all servers in turns, and print what they answered."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])
    card = folder / "card.json"
    with serving(next(server for server in servers if server.name == OURS), folder, cores[0]) as at:
        card.write_bytes(_get(at, targets[0]))
    rates: dict[tuple[str, int], list[float]] = {}
    times: dict[tuple[str, int], list[float]] = {}
    with ExitStack() as stack:
        ports = [stack.enter_context(serving(server, folder, cores[0])) for server in servers]
        _same_cards(
            [at for server, at in zip(servers, ports, strict=True) if not server.path],
            targets[:50],
        )
        for _ in range(rounds):
            for server, port in zip(servers, ports, strict=True):
                paths = [server.path] if server.path else targets
                asked = [request(path, shop.AUTHORIZATION) for path in paths]
                if server.name == WARM:
                    # The others had their turns meanwhile, and what was asked then is too old.
                    for path in paths:
                        _get(port, path)
                for connections in _CONNECTIONS:
                    answered = load(port, asked, connections, seconds)
                    rates.setdefault((server.name, connections), []).append(len(answered) / seconds)
                    times.setdefault((server.name, connections), []).extend(answered)
    os.sched_setaffinity(0, cores)
    size = card.stat().st_size
    print(f"One worker, {size:,} bytes of JSON, {rounds} rounds of {seconds:g} s, medians")
    shown: dict[str, dict[str, float]] = {}
    for connections in _CONNECTIONS:
        print(f"\n{connections:2} keep-alive connections      req/s    p50 ms    p99 ms   x floor")
        for name in (server.name for server in servers):
            pairs = zip(rates[name, connections], rates[FLOOR, connections], strict=True)
            ratio = statistics.median(own / floor for own, floor in pairs)
            shown.setdefault(name, {})[f"{connections} at a time"] = ratio
            spent = statistics.quantiles(times[name, connections], n=100)
            rate = statistics.median(rates[name, connections])
            p50, p99 = spent[49] * 1e3, spent[98] * 1e3
            print(f"  {name:30}{rate:9,.0f}{p50:10.2f}{p99:10.2f}{ratio:10.2f}")
    picture.write_text(bars("Requests per second, as a part of the floor", shown), "utf-8")


@contextmanager
def serving(server: Server, folder: Path, core: int) -> Iterator[int]:
    """One server on its core, by its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    program, *command = server.command
    place = ["--port", str(port)] if program == "uvicorn" else ["--bind", f"127.0.0.1:{port}"]
    environ = {
        **os.environ,
        "PYTHONPATH": f"{server.checkout}{os.pathsep}{HERE}",
        "IMBOX_SETTINGS": str(folder / server.settings),
        "IMBOX_BENCH_KEY": shop.KEY,
        "IMBOX_BENCH_SHOP": str(folder / "shop.db"),
        "IMBOX_BENCH_CARD": str(folder / "card.json"),
    }
    process = subprocess.Popen(  # noqa: S603 - the commands above
        [sys.executable, "-m", program, *command, *place], env=environ, cwd=server.checkout
    )
    os.sched_setaffinity(process.pid, {core})
    try:
        _wait(server.name, port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait(name: str, port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{name} did not start; its own words stand above")


def _same_cards(ports: Sequence[int], targets: Sequence[str]) -> None:
    """Stop unless all servers that look somebody up give the same card."""
    for target in targets:
        first, *others = [_known(json.loads(_get(port, target))) for port in ports]
        if any(other != first for other in others):
            raise SystemExit(f"the servers give different cards for {target}")


def _known(card: object) -> object:
    if not (isinstance(card, dict) and card.get("contactName")):
        raise SystemExit("a card without a person: the look-up finds nobody")
    return card


def _get(port: int, target: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", target, headers={"Authorization": shop.AUTHORIZATION})
    body = connection.getresponse().read()
    connection.close()
    return body


if __name__ == "__main__":
    main()
