"""The examples of docs/events.md do what the page says."""

from __future__ import annotations

import json
import re
import sys
import tomllib

import pytest

from imbox_plugin.app import create_app
from imbox_plugin.model import Event
from tests.demo import ROOT
from tests.toml_text import toml_text

PAGE = (ROOT / "docs" / "events.md").read_text("utf-8")
ENVIRON = {
    "IMBOX_SECRET_KEY": "a-secret-key-of-this-test-only",
    "IMBOX_EVENTS_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "IMBOX_API_KEY": "a-key-of-this-test-only",
    "WAZZUP_CRM_KEY": "a-crm-key-of-this-test-only",
}
USUAL = {
    "secret_keys": [ENVIRON["IMBOX_SECRET_KEY"]],
    "sources": [{"name": "crm", "type": "inline", "default_region": "SE", "people": []}],
    "events": {"sink": {"type": "log"}},
    "panels": {"default": {"keys": [{"id": "a", "secret": ENVIRON["IMBOX_API_KEY"]}]}},
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def serve(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "deals.py").write_text(*blocks("python"))

    def serve(text):
        file = tmp_path / "imbox.toml"
        file.write_text(toml_text({**USUAL, **tomllib.loads(text)}), "utf-8")
        return create_app(file, ENVIRON).extensions["imbox_plugin"]

    yield serve
    sys.modules.pop("deals", None)


@pytest.mark.parametrize("text", blocks("toml"), ids=range(len(blocks("toml"))))
def test_every_example_of_settings_is_in_order(serve, text):
    assert serve(text).courier


def test_the_sink_of_the_page_writes_a_line_for_each_deal(serve, tmp_path):
    (text,) = (text for text in blocks("toml") if "deals:DealFile" in text)
    courier = serve(text).courier
    for kind in ("WZ_CREATE_ENTITY", "WZ_OPEN_ENTITY"):
        courier.outbox.accept(Event("default", "Chat", kind, {"chatId": "46701740605"}, kind))
        courier.deliver_next()
    courier.stop()
    lines = (tmp_path / "deals.jsonl").read_text().splitlines()

    assert [json.loads(line)["chat"] for line in lines] == ["46701740605"]
    assert courier.outbox.counts().settled == 2


def test_every_place_that_the_page_links_to_is_there():
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}

    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
