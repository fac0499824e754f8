"""A server with a workbench, for the tests of its answers and those of its page."""

from __future__ import annotations

import json

from imbox_plugin.app import create_app
from tests.toml_text import toml_text

#: opens the panels
KEY = "the-key-of-these-tests-0123456789"
#: opens the workbench
BENCH_KEY = "the-key-of-the-workbench-0123456789"
SECRET = "a-secret-key-of-these-tests-0123456789"

ANNA = {
    "name": "Anna Andersson",
    "external_id": "C-1001",
    "email": "anna@example.com",
    "phone": "+46701740605",
    "details": {"city": "Uppsala", "password": "not-on-any-card"},
}
TWINS = [
    {"name": name, "external_id": id_, "phone": "+46701740606"}
    for name, id_ in (("Bo Berg", "C-1002"), ("Britta Berg", "C-1003"))
]

#: what a layout may trust, and what only somebody hostile would write
HOSTILE = """
    <h4 id="title" style="color: rgb(1, 2, 3)">Styled</h4>
    <style>p { color: rgb(4, 5, 6) }</style>
    <p id="text">Text</p>
    <script>parent.document.title = "touched"; parent.postMessage({height: 999}, "*")</script>
    <img alt="" src="data:," onerror="parent.document.title = 'touched'">
    <a id="code" href="javascript:parent.document.title='touched'">Code</a>
    <a id="top" target="_top" href="https://elsewhere.example.com/">Top</a>
    <a id="self" target="_self" href="https://elsewhere.example.com/">Self</a>
    <form id="form" action="https://elsewhere.example.com/" target="_top"><button>Go</button></form>
    <iframe src="https://elsewhere.example.com/"></iframe>
"""

BLOCKS = [
    {
        "name": "Customer",
        "icon": "person",
        "data": [
            {
                "type": "list",
                "rows": [
                    {"label": "Id", "text": "{{ contact.external_id }}"},
                    {"label": "City", "text": "{{ contact.city }}"},
                ],
            },
            {"type": "html", "html": "<p>Plain <strong>markup</strong></p>"},
        ],
    },
    {
        "name": "Orders",
        "icon": "no_such_symbol",
        "data": [
            {
                "type": "accordion",
                "title": "Order 7",
                "data": [
                    {"type": "list", "rows": [{"label": "Placed", "text": "1 October"}]},
                    {"type": "html", "html": "<p>Inside<br>an<br>accordion</p>"},
                ],
            }
        ],
    },
]
TRUSTED = [
    {
        "name": "Note",
        "icon": "note",
        "data": [{"type": "html", "html": HOSTILE, "trusted": True}],
    }
]


def settings(**top):
    """The settings of a company with three customers."""
    keys = [{"id": "t", "secret": KEY}]
    link = {"type": "url", "text": "Open", "url": "https://crm.example.com/{external_id}"}
    return {
        "locale": "en",
        "default_region": "SE",
        "secret_keys": [SECRET],
        "sources": [{"name": "crm", "type": "inline", "people": [ANNA, *TWINS]}],
        "panels": {
            "default": {"keys": keys, "blocks": BLOCKS, "links": [link]},
            "trusted": {
                "keys": keys,
                "blocks": TRUSTED,
                "trust": {"chat": ["email", "phone"]},
            },
            "probing": {"keys": keys, "probe": True},
        },
        "workbench": {"enabled": True, "keys": [{"id": "w", "secret": BENCH_KEY}]},
        **top,
    }


class Bench:
    """A server in a folder of its own, and what its workbench answers."""

    def __init__(self, folder, **top):
        self.folder = folder
        self.file = folder / "imbox.toml"
        self.file.write_text(toml_text(settings(**top)), "utf-8")
        self.app = create_app(self.file, {})
        self.service = self.app.extensions["imbox_plugin"]
        self.client = self.app.test_client()

    def ask(self, path="", json=None, key=BENCH_KEY, **options):
        """Ask the workbench, with a key; a document is posted."""
        auth = {"auth": ("", key)} if key else {}
        options = {"method": "POST" if json is not None else "GET", **auth, **options}
        return self.client.open(f"/workbench{path}", json=json, buffered=True, **options)

    def look(self, panel="default", recording=None, **query):
        """A card, and how it came about."""
        return self.ask("/look", {"panel": panel, "query": query, "recording": recording})

    def webhook(self, panel="default", **query):
        """What ImBox gets."""
        return self.client.get(f"/imbox/{panel}", query_string=query, auth=("", KEY))

    def record(self, name, card=None, **recording):
        """Put a recording into the folder of this server's."""
        folder = self.folder / "recordings"
        folder.mkdir(exist_ok=True)
        whole = {
            "about": "A recording of these tests.",
            "origin": "Written for these tests.",
            "request": {"path": "/imbox/default", "query": {"view": "chat"}},
            "reply": {"status": 200, "json": card or {}},
            **recording,
        }
        (folder / f"{name}.json").write_text(json.dumps(whole), "utf-8")
