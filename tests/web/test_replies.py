"""A reply is sent again as it is only while making it again would give the same."""

import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from imbox_plugin.app import create_app
from imbox_plugin.cache import Purges
from imbox_plugin.model import Lookup
from imbox_plugin.web.replies import Replies
from imbox_plugin.web.webhook import _PLAIN
from tests.redis_place import URL
from tests.toml_text import toml_text

KEY = "a-key-for-this-test-only"
HANGS = 10.0

#: knows everybody by the name that is in a file, and fails when there is none
CODE = """
import os
from imbox_plugin.links import LinkBuilder
from imbox_plugin.sources import Contact, DataSource, Key, SourceError

class Told(DataSource):
    keys = frozenset({Key.EXTERNAL_ID})

    def find(self, lookup):
        try:
            name = (self.context.folder / self.context.name).read_text()
        except OSError:
            raise SourceError("it is closed; open it") from None
        return [Contact(name=f"{name} {lookup.external_id}", external_id=lookup.external_id)]

class Counting(LinkBuilder):
    count = 0

    def url(self, lookup, contact):
        type(self).count += 1
        return f"https://crm.example.com/{self.count}"

class Ordering(Counting):
    lasting = True

    def order(self, lookup, contact):
        return {"who": lookup.external_id}
"""
PLACE = "told_of_test_replies"
SOURCE = {"name": "shop", "type": f"{PLACE}:Told"}
PANEL = {"keys": [{"id": "a", "secret": KEY}]}


@pytest.fixture
def serve(tmp_path):
    """A client of a server with these settings."""

    def serve(*, sources=(SOURCE,), panels=None, **settings):
        (tmp_path / f"{PLACE}.py").write_text(CODE)
        for source in sources:
            (tmp_path / source["name"]).write_text("Anna")
        document = {**settings, "sources": list(sources), "panels": panels or {"default": PANEL}}
        (tmp_path / "imbox.toml").write_text(toml_text(document), "utf-8")
        app = create_app(tmp_path / "imbox.toml", {})
        client = app.test_client()

        def ask(query="view=ticket&externalId=1", path="/imbox", method="GET", key=KEY):
            return client.open(f"{path}?{query}", method=method, auth=("", key))

        ask.app = app
        return ask

    return serve


def kept(ask):
    """How many replies are kept."""
    replies = ask.app.extensions["imbox_plugin"].replies
    return len(replies._memory) if replies else 0  # noqa: SLF001


def layout(text):
    block = {"name": "B", "data": [{"type": "list", "rows": [{"label": "x", "text": text}]}]}
    return {"panels": {"default": {**PANEL, "blocks": [block]}}}


def linked(kind, **own):
    link = {"type": f"{PLACE}:{kind}", "text": "Open", **own}
    sealing = {
        "base_url": "https://plugin.example.com",
        "secret_keys": ["a secret key for the tests only"],
    }
    return {**sealing, "panels": {"default": {**PANEL, "links": [link]}}}


def test_a_reply_that_is_sent_again_is_the_same_with_all_its_headers(serve):
    ask = serve()
    first, again = ask(), ask()

    assert kept(ask) == 1
    assert again.data == first.data
    assert dict(again.headers) == dict(first.headers)
    assert again.json["contactName"] == "Anna 1"


def test_a_reply_that_is_sent_again_does_not_come_to_the_app(serve):
    ask = serve()
    first = ask()
    ask.app.view_functions.clear()

    assert ask().data == first.data
    assert ask("view=ticket&externalId=2").status_code == 500


@pytest.mark.parametrize(
    "path", ["/imbox/", "/imbox//default", "/imbox/default/", "/imboxes", "/imbox/nobody", "/", ""]
)
def test_a_reply_is_at_its_own_address_alone(serve, path):
    ask = serve()
    ask()
    ask(path="/imbox/default")

    assert kept(ask) == 1
    assert ask(path=path).status_code == 404


def test_what_is_recorded_is_made_anew(serve):
    ask = serve(secret_keys=["a secret key for the tests only"], record={"always": True})
    ask()
    ask()

    assert kept(ask) == 0
    assert len(ask.app.extensions["imbox_plugin"].recorder.kept()) == 2


@pytest.mark.parametrize("key", ["", "another-key-than-this"])
def test_nobody_gets_a_reply_without_the_key(serve, key):
    ask = serve()
    ask()

    assert kept(ask) == 1
    assert ask(key=key).status_code == 401


def test_the_key_of_another_panel_opens_none(serve):
    other = {"keys": [{"id": "b", "secret": "the-key-of-another-panel"}]}
    ask = serve(panels={"default": PANEL, "other": other})
    ask()

    assert ask(key="the-key-of-another-panel").status_code == 401
    assert ask(path="/imbox/other").status_code == 401
    assert ask("view=ticket&externalId=1&plugin=other").status_code == 401


@pytest.mark.parametrize(
    "query",
    [
        "view=ticket&externalId=2",
        "view=chat&externalId=1",
        "view=ticket&externalId=1&ticketId=7",
        "view=ticket&externalId=1&team=a",
    ],
)
def test_another_question_has_its_own_reply(serve, query):
    shown = "{{ contact.name }} {{ lookup.view }} {{ lookup.ticket_id }} {{ lookup.extras }}"
    ask = serve(**layout(shown))
    first = ask()
    other = ask(query)

    assert kept(ask) == 2
    assert other.data != first.data
    assert ask(query).data == other.data
    assert ask().data == first.data


def test_another_panel_has_its_own_reply(serve):
    block = layout("of the other")["panels"]["default"]["blocks"]
    ask = serve(panels={"default": PANEL, "other": {**PANEL, "blocks": block}})
    first = ask()

    for query, path in [("", "/imbox/other"), ("&plugin=other", "/imbox")]:
        for _ in range(2):
            reply = ask(f"view=ticket&externalId=1{query}", path=path)
            assert "of the other" in reply.text
    assert ask().data == first.data


def test_a_reply_is_made_anew_when_an_answer_in_it_is_too_old(serve, tmp_path):
    ask = serve(sources=[{**SOURCE, "cache": {"ttl": 0.3}}])
    ask()
    (tmp_path / "shop").write_text("Bo")
    end = time.monotonic() + HANGS
    while ask().json["contactName"] != "Bo 1":
        assert time.monotonic() < end


def test_a_reply_lasts_no_longer_than_the_shortest_of_its_answers(serve):
    sources = [{**SOURCE, "cache": {"ttl": 3600}}, {**SOURCE, "name": "crm", "cache": {"ttl": 20}}]
    ask = serve(sources=sources)
    service = ask.app.extensions["imbox_plugin"]
    lookup = service.read({"view": ["ticket"], "externalId": ["1"]})

    assert 0 < service.panels["default"].answer(lookup).fresh <= 20


def test_after_a_purge_a_reply_is_made_anew(serve, tmp_path):
    ask = serve()
    ask()
    (tmp_path / "shop").write_text("Bo")
    before = ask().json["contactName"]
    Purges(tmp_path / "imbox-state").purge("all")

    assert before == "Anna 1"
    assert ask().json["contactName"] == "Bo 1"


def test_a_reply_that_was_being_made_during_a_purge_is_not_kept(tmp_path):
    purges = Purges(tmp_path)
    replies = Replies(purges)
    place = replies.find("default", b"view=ticket")
    purges.purge("all")
    replies.keep(place, b"{}", 30)

    assert replies.find("default", b"view=ticket").body is None


def test_a_reply_that_took_long_is_kept_for_what_is_left(tmp_path):
    replies = Replies(Purges(tmp_path))
    place = replies.find("default", b"view=ticket")
    while time.monotonic() < place.looked + 0.01:
        pass
    replies.keep(place, b"{}", 0.01)

    assert replies.find("default", b"view=ticket").body is None


def test_a_large_reply_is_not_kept(tmp_path):
    replies = Replies(Purges(tmp_path))
    replies.keep(replies.find("default", b"a"), b"x" * 16_001, 30)
    replies.keep(replies.find("default", b"b"), b"x" * 16_000, 30)

    assert replies.find("default", b"a").body is None
    assert replies.find("default", b"b").body


@pytest.mark.parametrize(
    "sources",
    [
        [{**SOURCE, "cache": False}],
        [SOURCE, {**SOURCE, "name": "crm", "cache": {"ttl": 0}}],
    ],
)
def test_what_a_source_without_a_cache_says_is_in_no_reply_that_is_kept(serve, sources):
    ask = serve(sources=sources)
    ask()

    assert kept(ask) == 0


def test_a_card_that_lacks_a_source_is_not_kept(serve, tmp_path):
    crm = {**SOURCE, "name": "crm", "breaker": {"failures": 1, "reset": 3600}}
    ask = serve(sources=[SOURCE, crm])
    (tmp_path / "crm").unlink()
    texts = [ask().text for _ in range(3)]

    assert kept(ask) == 0
    assert all("crm is not answering" in text for text in texts)


def test_a_card_with_what_a_source_said_before_is_not_kept(serve, tmp_path):
    ask = serve(sources=[{**SOURCE, "cache": {"ttl": 0.01}}])
    ask()
    (tmp_path / "shop").unlink()
    end = time.monotonic() + HANGS
    while "up to 1 min old" not in ask().text:
        assert time.monotonic() < end
    (tmp_path / "shop").write_text("Bo")
    end = time.monotonic() + HANGS
    while ask().json["contactName"] != "Bo 1":
        assert time.monotonic() < end


@pytest.mark.parametrize(
    "text",
    [
        "{{ match.age }}",
        "{{ match['age'] }}",
        "{{ match }}",
        "{% for name in match %}{{ match[name] }}{% endfor %}",
        "{% set m = match %}{{ m.age }}",
        "{{ [match] | map(attribute='age') | join }}",
    ],
)
def test_a_card_that_shows_how_old_it_is_is_not_kept(serve, text):
    ask = serve(**layout(text))
    ask()

    assert kept(ask) == 0


@pytest.mark.parametrize(
    "element",
    [
        {"type": "list", "rows": [{"label": "x", "text": "x", "when": "match.age"}]},
        {"type": "list", "each": "[match]", "rows": [{"label": "x", "text": "x"}]},
        {"type": "html", "html": "{{ match.age }}"},
        {"type": "html", "template": "outer.html"},
    ],
)
def test_the_age_is_found_wherever_it_is_read(serve, tmp_path, element):
    (tmp_path / "outer.html").write_text("{% include 'inner.html' %}")
    (tmp_path / "inner.html").write_text("{{ match.age }}")
    block = {"name": "B", "data": [element]}
    ask = serve(panels={"default": {**PANEL, "blocks": [block]}})
    ask()

    assert kept(ask) == 0


def test_a_card_that_shows_by_what_somebody_was_found_is_kept(serve):
    ask = serve(**layout("{{ match.key }} {{ match.source }} {{ match.via }}"))
    ask()

    assert kept(ask) == 1


def test_a_link_that_may_not_last_is_made_for_each_card(serve):
    ask = serve(**linked("Counting"))
    links = [ask().json["contactLink"]["url"] for _ in range(2)]

    assert kept(ask) == 0
    assert links[0] != links[1]


@pytest.mark.parametrize(("expires", "most"), [(60, 6), (7200, 30)])
def test_a_link_made_at_a_click_is_given_again_for_a_tenth_of_its_life_at_most(
    serve, expires, most
):
    ask = serve(**linked("Ordering", expires=expires))
    links = [ask().json["contactLink"]["url"] for _ in range(2)]
    service = ask.app.extensions["imbox_plugin"]
    lookup = service.read({"view": ["ticket"], "externalId": ["2"]})

    assert links[0] == links[1]
    assert "/open/" in links[0]
    assert most - 1 < service.panels["default"].answer(lookup).fresh <= most


@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_a_reply_is_kept_of_a_get_alone(serve, method):
    ask = serve()
    ask(method=method)

    assert kept(ask) == 0


def test_with_redis_no_reply_is_kept_in_a_process(serve):
    ask = serve(secret_keys=["a secret key for the tests only"], cache={"url": URL})

    assert ask.app.extensions["imbox_plugin"].replies is None


def test_a_card_without_anybody_to_ask_about_is_not_kept(serve):
    ask = serve()
    ask("view=ticket")

    assert kept(ask) == 0


def test_a_card_that_could_not_be_made_is_not_kept(serve, monkeypatch):
    ask = serve()
    with monkeypatch.context() as broken:
        broken.setattr(Lookup, "external_id", property(lambda _: 1 / 0))
        assert ask().json["contactName"] is None

    assert kept(ask) == 0


names = st.one_of(st.sampled_from(["plugin", "plug%69n", "%70lugin", "view", "a+b"]), st.text())
queries = st.lists(st.tuples(names, st.text(max_size=4)), max_size=4).map(
    lambda pairs: "&".join(f"{name}={quote(value)}" for name, value in pairs)
)


@given(st.one_of(queries.map(lambda text: text.encode()), st.binary(max_size=30)))
def test_a_query_that_is_plain_names_no_panel(query):
    environ = EnvironBuilder(path="/imbox").get_environ()
    environ["QUERY_STRING"] = query.decode("latin-1")
    if _PLAIN.fullmatch(query):
        assert "plugin" not in Request(environ).args


def test_a_usual_query_is_plain():
    assert _PLAIN.fullmatch(b"view=ticket&email=anna%40example.com&phoneNumber=%2B46701740605")
