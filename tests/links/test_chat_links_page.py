"""The page about chats of a vendor: every example is in order, and gives the link it shows."""

import re
import tomllib

import pytest

from imbox_plugin.app import create_app
from imbox_plugin.links import Reason
from imbox_plugin.model import Key, Lookup, View
from imbox_plugin.tickets import PATH
from tests.demo import ROOT
from tests.toml_text import toml_text

PAGE = (ROOT / "docs" / "chat-links.md").read_text("utf-8")
LINKS = (ROOT / "docs" / "links.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.*)\n((?:(?!## ).*\n)*)", PAGE, re.MULTILINE))
EXAMPLES = [
    (heading, block)
    for heading, section in SECTIONS.items()
    for block in re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
]
#: what the page asks for at the top of the settings
TOP = {
    "base_url": "https://plugin.example.com",
    "secret_keys": ["a secret key of thirty-two letters"],
}
KEY = "0123456789abcdef0123456789abcdef"
PERSON = {
    "external_id": "K1001",
    "name": "Anna Öst",
    "phone": "+46701740605",
    "details": {"spoki_uuid": "0e812899-e25b-4a18-a3e4-d1f5890f9de7"},
}
SOURCE = {"name": "crm", "type": "inline", "people": [PERSON], "default_region": "SE"}


def link_of(service):
    """The link of a card."""
    lookup = Lookup(View.CALL, {Key.PHONE: "+46701740605"})
    return service.panels["default"].answer(lookup).reply.contact_link


@pytest.fixture
def service(tmp_path):
    """The service, with a block of the page."""

    def service(block):
        document = {**TOP, **tomllib.loads(block)}
        document["sources"] = [SOURCE]
        document["panels"]["default"]["keys"] = [{"id": "t", "secret": KEY}]
        file = tmp_path / "imbox.toml"
        file.write_text(toml_text(document), "utf-8")
        environ = dict.fromkeys(re.findall(r'env = "(\w+)"', block), KEY)
        return create_app(file, environ).extensions["imbox_plugin"]

    return service


@pytest.fixture
def link(service):
    """The link of a card, with a block of the page."""
    return lambda block: link_of(service(block))


@pytest.mark.parametrize(("heading", "block"), EXAMPLES)
def test_an_example_gives_a_link_of_the_vendor_it_stands_under(link, heading, block):
    assert link(block)
    assert f'type = "{heading.lower()}"' in block


@pytest.mark.parametrize(("heading", "block"), EXAMPLES)
def test_an_example_that_is_made_at_the_click_has_another_way(service, heading, block):
    made = service(block)
    _, is_ticket, sealed = link_of(made).url.partition(PATH)

    assert not is_ticket or made.tickets.read(sealed).fallback, heading


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained(reason):
    assert f"| `{reason}`" in LINKS or f", `{reason}` |" in LINKS


def test_every_vendor_has_a_section():
    assert list(SECTIONS) == ["Gallabox", "Wazzup", "Spoki", "ChatApp"]


def test_the_link_of_chatapp_is_the_one_that_the_page_shows(link):
    shown = re.search(r"```toml\n(.*?)```\n\n```text\n(.*?)\n```", SECTIONS["ChatApp"], re.DOTALL)

    assert link(shown[1]).url == shown[2]
