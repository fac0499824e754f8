"""A real browser, and servers of two origins for it."""

from __future__ import annotations

import shutil
import ssl
import sys
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingMixIn
from threading import Thread
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from playwright.sync_api import sync_playwright

from tests.conftest import absent
from tests.loopback import authority

_OPTIONS = (
    "--headless",
    "--no-sandbox",  # a container has no user namespaces for it
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium():
    """The system's Chromium; a test that asks for it is skipped where there is none.

    It blocks popups, as agents' own do and as Playwright's would not.
    """
    path = shutil.which("chromium")
    if path is None:
        absent("Chromium", FileNotFoundError())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[*_OPTIONS],
            ignore_default_args=["--disable-popup-blocking"],
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visits(browser, patience, **usual):
    """What opens an address in a new, clean window; complaints of the page are kept on it."""
    with ExitStack() as stack:

        def visit(address, **options):
            context = browser.new_context(**{**usual, **options})
            stack.callback(context.close)
            context.set_default_timeout(patience * 1000)
            page = context.new_page()
            page.complaints = []
            page.on("console", lambda message: page.complaints.append(message.text))
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            page.goto(address)
            return page

        yield visit


class _Server(ThreadingMixIn, WSGIServer):
    """Answers many at a time; a browser's spare connections keep nobody from ending."""

    daemon_threads = True


class _Silent(WSGIRequestHandler):
    """Writes no request lines: with tickets in them they are for no log."""

    def log_message(self, *_):
        pass


@contextmanager
def served(app, port=0):
    """An app of ours on http://127.0.0.1; gives its port."""
    # Not Werkzeug's server: where a browser hangs up it leaves open the file that it was sending.
    server = make_server("127.0.0.1", port, app, _Server, _Silent)
    with _running(server):
        yield server.server_port


class Site:
    """Pages of somebody else's, and who asked for them with which headers."""

    def __init__(self):
        #: by path, the markup
        self.pages = {"/favicon.ico": ""}
        #: path and headers of each request so far
        self.asked = []
        self.url = ""


@contextmanager
def site():
    """A site on https://localhost, which to a browser is another site than 127.0.0.1."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = urlsplit(self.path).path
            site.asked.append((self.path, dict(self.headers)))
            body = site.pages.get(path, "").encode()
            self.send_response(200 if path in site.pages else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            # A browser tries without its exception for the certificate first, and hangs up.
            if not isinstance(sys.exception(), OSError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("localhost").configure_cert(context)
    # Each connection shakes hands in its own thread, or a browser's spare one would stop all.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    site.url = f"https://localhost:{server.server_port}"
    with _running(server):
        yield site


@contextmanager
def _running(server):
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
