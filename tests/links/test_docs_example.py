"""The page about contact links: every example on it is set up, and must give the link it shows."""

import re
import sys
from pathlib import Path

import pytest

from imbox_plugin.app import create_app
from imbox_plugin.model import Key, Lookup, View

PAGE = (Path(__file__).parents[2] / "docs" / "links.md").read_text("utf-8")
MODULE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
EXAMPLES = re.findall(r"```toml\n([^`]*)```\n\n```text\n(.*)\n```", PAGE)

SETTINGS = """
[[sources]]
name = "crm"
type = "inline"
default_region = "SE"
people = [{ external_id = "K1001", name = "Anna Öst", phone = "070-174 06 05" }]

[panels.default]
keys = [{ id = "t", secret = { env = "KEY" } }]
"""


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Set up the server with a table of the page, and ask it: `ask(table, phone=...)`."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "crm_link", raising=False)
    tmp_path.joinpath("crm_link.py").write_text(MODULE, "utf-8")

    def ask(table, **identities):
        file = tmp_path / "imbox.toml"
        file.write_text(SETTINGS + table, "utf-8")
        app = create_app(file, {"KEY": "0123456789abcdef0123456789abcdef"})
        panel = app.extensions["imbox_plugin"].panels["default"]
        known = {Key(name): value for name, value in identities.items()}
        return panel.answer(Lookup(View.CALL, known)).reply.contact_link

    yield ask
    sys.modules.pop("crm_link", None)


def test_every_type_has_an_example_and_every_example_its_link():
    types = {re.search('type = "(.*?)"', table)[1] for table, _ in EXAMPLES}

    assert types == {"url", "gallabox", "whatsapp", "crm_link:CrmRecord"}
    assert len(EXAMPLES) == PAGE.count("```toml")


@pytest.mark.parametrize(("table", "url"), EXAMPLES)
def test_an_example_gives_the_link_that_the_page_shows(ask, table, url):
    assert ask(table, phone="+46701740605").url == url


def test_the_own_link_searches_for_a_caller_who_is_not_known(ask):
    table, _ = EXAMPLES[-1]

    assert ask(table, phone="+46701740699").url == (
        "https://crm.example.com/lund/search?q=%2B46701740699"
    )
    assert ask(table) is None
