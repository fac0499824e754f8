"""A panel that probes: who may ask it, and that it shows nobody."""

import pytest

from imbox_plugin.settings import SettingsError
from tests.web.conftest import KEY, SETTINGS, basic

PROBE_KEY = "fedcba9876543210fedcba9876543210"
PROBE = """
[panels.probe]
keys = [{ id = "probe", secret = { env = "PROBE_KEY" } }]
probe = true
"""


@pytest.fixture
def probe(serve):
    """Ask the probe: `probe("candidate=html.all", key=...)`."""
    client = serve(SETTINGS + PROBE, PROBE_KEY=PROBE_KEY).test_client()

    def probe(query, key=PROBE_KEY, path="/imbox/probe"):
        return client.get(f"{path}?{query}", headers={"Authorization": basic(key)})

    return probe


def test_the_probe_tries_the_candidate_of_the_fixed_parameter(probe):
    reply = probe("view=contact&email=anna%40example.com&candidate=html.content").json

    assert reply["blocks"][1]["data"] == [
        {"type": "html", "content": "<b>bold words</b>, from content"}
    ]


def test_the_probe_needs_no_view_and_shows_neither_person_nor_value(probe):
    answer = probe("email=anna%40example.com")

    assert answer.status_code == 200
    assert b"email" in answer.data
    assert b"anna" not in answer.data
    assert b"Anna" not in answer.data


@pytest.mark.parametrize("key", [KEY, "wrong"])
def test_the_probe_is_opened_by_its_own_key_only(probe, key):
    assert probe("candidate=html.all", key=key).status_code == 401


def test_the_key_of_the_probe_opens_no_other_panel(probe):
    assert probe("view=contact", path="/imbox/default").status_code == 401


def test_the_other_panel_is_still_the_one_without_a_name(probe):
    answer = probe("view=contact&email=anna%40example.com", key=KEY, path="/imbox")

    assert answer.json["contactName"] == "Anna Andersson"


def test_without_the_setting_there_is_no_probe(ask):
    assert ask("view=contact&candidate=html.all").json["blocks"][0]["name"] != "ImBox probe"


def test_a_panel_that_probes_shows_nobody_so_it_has_no_blocks_or_links(serve):
    link = '[[panels.probe.links]]\ntype = "whatsapp"\ntext = "Write"\n'
    with pytest.raises(SettingsError) as refused:
        serve(SETTINGS + PROBE + 'trust = { chat = ["email"] }\n' + link, PROBE_KEY=PROBE_KEY)

    cure = "a panel that probes shows no customers; take it out"
    assert [str(problem) for problem in refused.value.problems] == [
        f"panels.probe.trust: {cure}",
        f"panels.probe.links: {cure}",
    ]
