"""A server with links that are minted at a click, for the tests of what stands behind them."""

from __future__ import annotations

from imbox_plugin.app import create_app
from imbox_plugin.model import Link
from imbox_plugin.tickets import PATH, Tickets
from tests.toml_text import toml_text

BASE = "https://plugin.example.com"
SECRET = "a-secret-key-of-these-tests-0123456789"
KEY = "the-key-of-these-tests-0123456789"
PHONE = "+46701740605"
ORDER = {"phone": PHONE}
FALLBACK = Link("WhatsApp", "https://wa.me/46701740605")

CHAT = {"name": "chat", "type": "tests.minted:Minted", "text": "Chat"}


class Inbox:
    """Keeps events in memory, each once, or fails as it is told."""

    def __init__(self):
        self.events = []
        self.failure = None

    def accept(self, event):
        if self.failure:
            raise self.failure
        is_new = event.key not in {kept.key for kept in self.events}
        self.events.append(event)
        return is_new


class Opened:
    """A server, and what its tickets open."""

    def __init__(self, folder, *links, base=BASE, **top):
        panel = {
            "keys": [{"id": "t", "secret": KEY}],
            "brand": "Trädgårdsboden AB",
            "links": list(links or [CHAT]),
        }
        settings = {
            "base_url": base,
            "secret_keys": [SECRET],
            "default_region": "SE",
            "sources": [{"name": "crm", "type": "inline", "people": []}],
            "panels": {"support": panel},
            **top,
        }
        file = folder / "imbox.toml"
        file.write_text(toml_text(settings), "utf-8")
        self.inbox = Inbox()
        self.app = create_app(file, {}, self.inbox)
        self.service = self.app.extensions["imbox_plugin"]
        self.client = self.app.test_client()

    def builder(self, link="chat"):
        """What mints the addresses of a link."""
        return self.service.panels["support"].links[link].builder

    def address(
        self, link="chat", panel="support", order=ORDER, fallback=FALLBACK, tickets=None, **maker
    ):
        """The address that a card carries."""
        if maker:
            tickets = Tickets(**{"secrets": [SECRET], "base_url": BASE, **maker})
        return (tickets or self.service.tickets).address(panel, link, order, fallback)

    def path(self, **options):
        """The address without the server's own."""
        return PATH + self.address(**options).partition(PATH)[2]

    def post(self, path=None, site="same-origin", **options):
        """What the button of the page does."""
        headers = {**({"Sec-Fetch-Site": site} if site else {}), **options.pop("headers", {})}
        return self.client.post(path or self.path(), headers=headers, **options)
