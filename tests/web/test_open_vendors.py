"""Each vendor that there is, from the card to its window, and what nobody may read of it."""

from __future__ import annotations

import logging
import re
import socket
import time
from contextlib import ExitStack
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import expect

from imbox_plugin.app import create_app
from tests.browser import chromium, served, visits
from tests.toml_text import toml_text
from tests.vendor import playing

#: seconds until something that has to happen is given up
PATIENCE = 15
KEY = "the-canary-key-of-imbox-0123456789"
SECRET = "a-canary-secret-key-of-these-tests"
PERSON = {
    "external_id": "canary-K1001",
    "name": "Anna Öst",
    "phone": "+46701740605",
    "details": {"telegram_id": "340999213"},
}
#: of the person; the last is what a vendor's window tells
IDENTITIES = ("740605", "Anna", "Öst", "%C3%96st", "340999213", "canary-K1001", "canary-told")

#: by type, the link's own settings, which its recordings were made with
LINKS = {
    "gallabox": {
        "login": {
            "email": "agent@example.com",
            "password": "canary-password",
            "token_path": "data.token",
        }
    },
    "wazzup": {
        "api_key": "example-wazzup-key",
        "user": {"id": "222555", "name": "User Name"},
        "chats": [
            {
                "chat_type": "telegram",
                "chat_id": "{contact.telegram_id}",
                "channel_id": "c16fc1c2-9f20-4fda-846d-692ff4c6ec68",
            },
            {"chat_type": "whatsapp"},
        ],
        "deals_events": True,
        "message_events": True,
    },
    "spoki": {
        "api_key": "example-spoki-key",
        "email": "support@example.com",
        "private_key": "example-private-key",
    },
    "chatapp": {
        "license_id": 30310,
        "login": {
            "email": "owner@example.com",
            "password": "canary-password",
            "app_id": "app_14545_1",
        },
    },
}
#: how the minted address begins, and the token in it
MINTED = {
    "gallabox": ("https://conversation-widget.gallabox.com/auth?token=", "canary/token+="),
    "wazzup": ("https://12345678.wazzup24.com/chat/", "example-token-2"),
    "spoki": ("https://spoki.app/chats/", "TOK/+="),
    "chatapp": ("https://dialogs.pro/?", "$2y$10$canary/access1"),
}
WINDOW = "The vendor's window"
#: of those whose windows tell something: a type, and under which name it comes
TOLD = {
    "wazzup": ("type", "WZ_CREATE_ENTITY"),
    "spoki": ("eventType", "hasUnreadChatsChanged"),
}


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser):
    with visits(browser, PATIENCE) as visit:
        yield visit


class Served:
    """A server with the link of one vendor, whose API is played, and whose window stands here."""

    def __init__(self, folder, app, vendor, visit):
        self.app, self.vendor, self._visit = app, vendor, visit
        self.state = folder / "imbox-state"
        self.courier = app.extensions["imbox_plugin"].courier
        #: what browsers asked the vendor for
        self.windows = []

    def card(self):
        """The address in the card of the person."""
        bearer = {"Authorization": f"Bearer {KEY}"}
        asked = "/imbox?view=call&phoneNumber=%2B46701740605"
        return self.app.test_client().get(asked, headers=bearer).json["contactLink"]["url"]

    def click(self, address):
        """The page that an agent comes to; nobody leaves this machine."""
        page = self._visit("about:blank")
        page.context.route(re.compile(r"^(?!http://127\.0\.0\.1:)"), self._window)
        page.goto(address)
        return page

    def _window(self, route):
        self.windows.append(route.request)
        route.fulfill(content_type="text/html", body=f"<h1>{WINDOW}</h1>")

    def fails(self, status, **answer):
        """From now on, so does the vendor's API."""
        self.vendor.recordings["failure"] = {"request": {}, "reply": {"status": status, **answer}}
        self.vendor.always = "failure"


@pytest.fixture
def serve(tmp_path, visit):
    """Serve a vendor's link to browsers."""
    with ExitStack() as stack:

        def serve(name, opens):
            vendor = stack.enter_context(playing(name))
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            link = {"type": name, "text": "Chat", "open": opens, "base_url": vendor.url}
            if opens == "embed" and name in TOLD:
                link["events"] = {TOLD[name][1]: {"action": "deliver"}}
            panel = {
                "keys": [{"id": "t", "secret": KEY}],
                "links": [{**link, **LINKS[name]}, {"type": "whatsapp", "text": "WhatsApp"}],
            }
            settings = {
                "base_url": f"http://127.0.0.1:{port}",
                "secret_keys": [SECRET],
                "sources": [{"name": "crm", "type": "inline", "people": [PERSON]}],
                "events": {"sink": {"type": "log"}},
                "panels": {"default": panel},
            }
            (tmp_path / "imbox.toml").write_text(toml_text(settings), "utf-8")
            app = create_app(tmp_path / "imbox.toml", {})
            opened = Served(tmp_path, app, vendor, visit)
            stack.callback(opened.courier.stop)
            # What was told stays on disk, to be looked for there.
            opened.courier.start = lambda: None
            stack.enter_context(served(app, port))
            return opened

        yield serve


def until(holds, page):
    """Wait for something outside of the browser."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        page.wait_for_timeout(20)


def tell(page, name):
    """Have the vendor's window tell something with an identity in it."""
    field, type_ = TOLD[name]
    (window,) = page.main_frame.child_frames
    message = {field: type_, "data": {"chatId": "46701740605", "text": "canary-told"}}
    window.evaluate("message => parent.postMessage(message, '*')", message)


def credentials(name):
    """What of a link's settings is for the vendor alone."""
    table = LINKS[name].get("login", LINKS[name])
    names = ("email", "password", "app_id", "api_key", "private_key")
    return [table[one] for one in names if one in table]


def found(canaries, text):
    """Those that a text has, as they are or in percent form."""
    return [canary for canary in canaries if canary in text or canary in unquote(text)]


def on_disk(folder):
    """All that the files of a folder hold, and their names."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return "".join(file.read_bytes().decode("utf-8", "replace") + file.name for file in files)


@pytest.mark.parametrize("opens", ["embed", "redirect"])
@pytest.mark.parametrize("name", LINKS)
def test_a_vendors_window_opens_and_nothing_secret_is_left_behind(serve, caplog, name, opens):
    caplog.set_level(logging.DEBUG)
    opened = serve(name, opens)
    is_telling = opens == "embed" and name in TOLD
    begins, token = MINTED[name]
    address = opened.card()
    page = opened.click(address)
    inside = page.frame_locator("iframe") if opens == "embed" else page
    expect(inside.get_by_role("heading", name=WINDOW)).to_be_visible()
    (minted,) = [one.url for one in opened.windows if one.is_navigation_request()]
    referers = {one.all_headers().get("referer") for one in opened.windows}
    if is_telling:
        tell(page, name)
        until(lambda: opened.courier.outbox.counts().waiting, page)
    said = []
    ticket = urlsplit(address).path.removeprefix("/open/")
    private = [*credentials(name), token, minted, ticket, ticket[:40], KEY, SECRET]
    echo = " ".join([*IDENTITIES, *private])
    failures = [(401, {"json": {"message": echo}})]
    if name != "chatapp":
        # In trouble, it leaves in doubt whether a token is good, which opens its window then.
        failures.insert(0, (503, {"text": echo}))
    for status, answer in failures:
        opened.fails(status, **answer)
        failed = opened.click(address)
        expect(failed.get_by_role("button", name="Try again")).to_be_visible()
        said.append(failed.content())
    said.append(opened.click(address[:-9]).content())
    lines = "\n".join(f"{one.getMessage()} {vars(one)}" for one in caplog.records)
    # The other way that an agent is offered has the number in it, as in a card.
    texts = [re.sub(r'href="[^"]*"', "", markup) for markup in said]
    kept = on_disk(opened.state)

    assert minted.startswith(begins)
    assert token in unquote(minted)
    assert referers == {None}
    assert lines.count("links[0] gave no address") >= len(failures)
    assert found([*private, *IDENTITIES, begins], lines) == []
    assert found(private, "".join(said)) == []
    assert found(IDENTITIES, "".join(texts)) == []
    assert bool(kept) == (is_telling or name == "chatapp")
    assert found([*private, *IDENTITIES], kept) == []
