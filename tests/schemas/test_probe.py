"""The replies that find out on a live account what the undocumented parts are called."""

import tomllib

import pytest

from schemas.probe import all_candidates, probe_reply
from schemas.wire import WireNames, WireSchema, candidates, uncertain_names

CANDIDATES = {candidate.name: candidate for candidate in all_candidates()}
SINGLE = [name for name in CANDIDATES if not name.endswith(".all")]


def rows(reply):
    return {row["label"]: row["text"] for row in reply["blocks"][0]["data"][0]["rows"]}


def followed(reply, said="If not, try"):
    """Every candidate that is met by doing what the replies say."""
    while (following := rows(reply)[said]) in CANDIDATES:
        yield following
        reply = probe_reply(following, [])


def test_following_the_instructions_tries_every_candidate_once():
    first, *others = CANDIDATES

    assert f"candidate to {first}," in rows(probe_reply("", []))["What to do"]
    assert [*followed(probe_reply(first, []))] == others


@pytest.mark.parametrize("right", ["html.all", "html.content"])
def test_what_is_right_leads_to_what_is_still_to_be_found_out(right):
    following = followed(probe_reply(right, []), "And then try")

    assert [*following] == ["accordion.all", "link.all"]


@pytest.mark.parametrize("kind", ["html", "accordion", "link"])
def test_the_lines_to_paste_settle_every_name_of_their_kind(kind):
    every = {name for name in uncertain_names() if name.startswith(f"{kind}_")}
    pasted = [tomllib.loads(one.wire) for one in all_candidates() if one.name.startswith(kind)]

    assert all(set(lines) == every for lines in pasted)


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_candidate_stands_below_a_list_in_the_documented_shape(name):
    reply = probe_reply(name, ["view", "candidate"])
    [first] = reply["blocks"][0]["data"]

    assert set(reply) == {"contactName", "contactLink", "blocks"}
    assert set(first) == {"type", "rows"}
    assert all(set(row) == {"label", "text"} for row in first["rows"])
    assert rows(reply)["Candidate"].startswith(name)


@pytest.mark.parametrize("name", SINGLE)
def test_the_lines_to_paste_are_settings_that_give_what_was_tried(name):
    candidate = CANDIDATES[name]
    wire = WireNames(**WireSchema().load(tomllib.loads(candidate.wire)))
    tried = candidate.element or candidate.link
    types = {"html": wire.html_type, "accordion": wire.accordion_type, "link": None}
    kind = name.partition(".")[0]
    named = {
        "html": {wire.html_content},
        "accordion": {wire.accordion_title, wire.accordion_data},
        "link": {wire.link_text, wire.link_url},
    }

    assert set(tried) - {"type"} == named[kind]
    assert tried.get("type") == types[kind]


@pytest.mark.parametrize("kind", ["html", "accordion", "link"])
def test_one_candidate_has_every_name_of_its_kind(kind):
    every = CANDIDATES[f"{kind}.all"]
    names = [name for name in uncertain_names() if name.startswith(f"{kind}_")]
    wanted = {one for name in names if not name.endswith("_type") for one in candidates(name)}

    assert set(every.element or every.link) - {"type"} == wanted


def test_only_one_thing_is_tried_at_a_time():
    assert all(bool(one.element) != bool(one.link) for one in CANDIDATES.values())


def test_the_likeliest_name_is_the_one_in_use():
    assert all(candidates(name)[0] == getattr(WireNames(), name) for name in uncertain_names())


def test_an_unknown_candidate_gets_the_list_of_those_there_are():
    reply = probe_reply("html.nonsense", [])

    assert "No such candidate" in rows(reply)
    assert len(reply["blocks"]) == 1


def test_the_names_of_the_parameters_are_told_without_our_own():
    assert rows(probe_reply("html.all", ["view", "email", "candidate"]))["ImBox sent"] == (
        "email, view"
    )
    assert rows(probe_reply("html.all", []))["ImBox sent"] == "no parameters"
