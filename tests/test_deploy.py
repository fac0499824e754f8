"""The balancer of deploy/, a real nginx, before two real servers; and its settings."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from imbox_plugin.app import create_app
from tests.conftest import absent
from tests.loopback import authority
from tests.places import KEY
from tests.servers import HANGS, ROOT, gated, until

DEPLOY = ROOT / "deploy"
#: folders that are nginx's own where it is installed as a service
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@pytest.fixture
def folder():
    """A folder that nginx's workers, who are nobody, may look into as well."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def servers(folder):
    with ExitStack() as stack:
        folders = [folder / name for name in ("one", "two")]
        for own in folders:
            own.mkdir()
        yield [stack.enter_context(gated(own)) for own in folders]


def configured(folder, servers, port):
    """The balancer's configuration, with the ports, the certificate and the logs of this test."""
    authority().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(folder / "tls.pem")
    )
    text = (DEPLOY / "nginx.conf").read_text()
    changes = {
        "server-1:8000": f"127.0.0.1:{servers[0].port}",
        "server-2:8000": f"127.0.0.1:{servers[1].port}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/nginx/tls/fullchain.pem": folder / "tls.pem",
        "/etc/nginx/tls/privkey.pem": folder / "tls.pem",
        "/run/nginx.pid": folder / "nginx.pid",
        "/dev/stderr": folder / "error.log",
        "/dev/stdout": folder / "access.log",
        "http {": "http {" + "".join(f"\n{name}_temp_path {folder / name};" for name in TEMPORARY),
    }
    for old, new in changes.items():
        assert text.count(old) == 1, f"deploy/nginx.conf has no {old} any more, or several"
        text = text.replace(old, str(new))
    return text


@pytest.fixture
def balancer(folder, servers):
    """The balancer's port."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if not nginx:
        absent("nginx", FileNotFoundError())
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    (folder / "nginx.conf").write_text(configured(folder, servers, port))
    for server in servers:
        until(lambda server=server: len(server.workers()) == 2)
    command = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - our own
        try:
            until(lambda: process.poll() is not None or listens(port))
            assert process.poll() is None, "nginx did not start"
            yield port
        finally:
            process.terminate()


def listens(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def target(number):
    return f"/imbox?view=chat&externalId={number}"


def ask(port, path, method="GET"):
    """The status and the body that come through the balancer."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=HANGS)
    headers = {"Authorization": f"Bearer {KEY}", "Referer": f"https://example.com{path}"}
    try:
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_dies_costs_no_card_through_the_balancer(balancer, servers, method):
    with ThreadPoolExecutor(8) as clients:
        cards = [clients.submit(ask, balancer, target(n), method) for n in range(8)]
        until(lambda: sum(len(server.asked()) for server in servers) >= 8)
        dead, alive = servers
        in_its_hands = len(dead.asked())
        dead.kill()
        alive.open()
        cards = [card.result() for card in cards]
    later = [ask(balancer, target(n), method) for n in range(8)]

    assert in_its_hands > 0
    assert [status for status, _ in cards + later] == [200] * 16
    assert [json.loads(card)["contactName"] for _, card in cards + later] == [
        f"Customer {n}" for n in [*range(8), *range(8)]
    ]


def test_the_balancer_logs_no_identity_and_no_key(balancer, servers, folder):
    for server in servers:
        server.open()
    ask(balancer, f"{target(7001740605)}&email=anna%40example.com&key={KEY}")
    for server in servers:
        server.kill()
    status, _ = ask(balancer, "/imbox?view=chat&email=anna%40example.com")
    log = folder / "access.log"
    until(lambda: log.read_text().count("\n") == 2)

    assert status in {502, 504}
    assert re.search(r' GET "/imbox" 200 ', log.read_text())
    for text in (log.read_text(), (folder / "error.log").read_text()):
        assert not re.search(f"anna|7001740605|{KEY}|example", text)


def test_vendors_webhooks_come_through_the_balancer(balancer, folder):
    # The settings of these servers take none, and they say so themselves.
    status, told = ask(balancer, f"/hooks/wazzup/default?key={KEY}", "POST")
    until(lambda: "\n" in (folder / "access.log").read_text())

    assert (status, json.loads(told)["detail"]) == (
        404,
        "No webhooks are taken here; correct the address.",
    )
    assert ' POST "/hooks/wazzup/default" 404 ' in (folder / "access.log").read_text()
    assert KEY not in (folder / "access.log").read_text()


@pytest.mark.parametrize(
    "path", ["/open/{}", "/open//{}", "/Open/{}", "/opne/{}", "/{}", "/imbox/{}"]
)
def test_the_balancer_logs_no_ticket_and_one_line_for_a_request(balancer, folder, path):
    ticket = "gAAAAAB" + "x" * 91
    ask(balancer, path.format(ticket))
    ask(balancer, "/nope%22%20200%0A%0Dforged")
    log = folder / "access.log"
    until(lambda: "forged" in log.read_text())
    told = [line for line in log.read_text().splitlines() if "forged" in line]

    assert ticket[:32] not in log.read_text()
    assert len(told) == 1
    assert r'"/nope\x22 200\x0A\x0Dforged" 404 ' in told[0]


def test_the_balancer_keeps_probes_inside(balancer):
    statuses = [ask(balancer, path)[0] for path in ("/livez", "/readyz", "/")]

    assert statuses == [404, 404, 404]


def test_the_settings_of_the_composition_are_sound(tmp_path):
    text = (DEPLOY / "imbox.toml").read_text("utf-8")
    text = text.replace("/run/secrets/", "").replace("/var/lib/imbox-plugin", "state")
    (tmp_path / "crm_url").write_text("postgresql://crm:secret@127.0.0.1:1/crm")
    (tmp_path / "imbox_api_key").write_text(KEY)
    (tmp_path / "imbox_secret_key").write_text(KEY[::-1])
    (tmp_path / "imbox.toml").write_text(text, "utf-8")
    client = create_app(tmp_path / "imbox.toml", {}).test_client()

    assert client.get("/readyz").status_code == 200
