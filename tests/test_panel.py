"""One panel: which link a card gets, whose name, and that there always is a card."""

import logging
from threading import Event

import pytest

from imbox_plugin.app import create_app
from imbox_plugin.directory import Directory
from imbox_plugin.links import LinkBuilder, LinkContext
from imbox_plugin.model import Contact, Key, Lookup, Outcome, Reply, View
from imbox_plugin.panel import Panel, PanelLink
from imbox_plugin.sources import SourceContext, SourceError
from imbox_plugin.sources.inline import InlineSource

SETTINGS = """
locale = "{locale}"
default_region = "SE"
{sources}
[panels.default]
keys = [{{ id = "t", secret = "0123456789abcdef0123456789abcdef" }}]
{links}
"""

CRM = """
[[sources]]
name = "crm"
type = "inline"
people = [
    { name = "Anna", external_id = " K1 ", email = "anna@example.com", phone = "070-174 06 06" },
    { name = "Bo", external_id = "K2", phone = "070-174 06 07" },
    { name = "Bo junior", external_id = "K3", phone = "070-174 06 07" },
]
"""

LINKS = """
[[panels.default.links]]
type = "gallabox"
text = "Chat"
channel_id = "647062b51e3c77d2741188cb"
views = ["chat", "call"]
[[panels.default.links]]
type = "whatsapp"
text = "WhatsApp"
views = ["ticket"]
[[panels.default.links]]
type = "url"
text = "CRM"
url = "https://crm.example.com/customers/{external_id}"
[[panels.default.links]]
name = "search"
type = "url"
text = "Search"
url = "https://crm.example.com/search?q={email}"
"""

GALLABOX = "https://conversation-widget.gallabox.com/conversations/phone/"
CHANNEL = "channelId=647062b51e3c77d2741188cb"


@pytest.fixture
def serve(tmp_path):
    """Build the panel that a settings text describes."""

    def serve(sources=CRM, links=LINKS, locale="en"):
        file = tmp_path / "imbox.toml"
        file.write_text(SETTINGS.format(sources=sources, links=links, locale=locale), "utf-8")
        return create_app(file, {}).extensions["imbox_plugin"].panels["default"]

    return serve


@pytest.fixture
def panel(serve):
    return serve()


def asked(view, **identities):
    return Lookup(View(view), {Key(name): value for name, value in identities.items()})


def link(panel, view, **identities):
    return panel.answer(asked(view, **identities)).reply.contact_link


def notices(answer):
    (row,) = answer.reply.blocks[0].data[0].rows
    return row


# Which link


@pytest.mark.parametrize(
    ("view", "text"), [("chat", "Chat"), ("call", "Chat"), ("ticket", "WhatsApp")]
)
def test_the_first_link_for_the_view_is_the_contact_link(panel, view, text):
    assert link(panel, view, email="anna@example.com").text == text


def test_a_link_for_other_views_only_is_passed_over(panel):
    found = link(panel, "contact", email="anna@example.com")

    assert (found.text, found.url) == ("CRM", "https://crm.example.com/customers/K1")


def test_a_link_whose_identity_is_missing_is_passed_over(panel):
    found = link(panel, "call", email="nobody@example.com")

    assert (found.text, found.url) == (
        "Search",
        "https://crm.example.com/search?q=nobody%40example.com",
    )


def test_there_is_no_link_when_none_applies(panel):
    assert link(panel, "contact", phone="+46701740699") is None


def test_an_unknown_caller_can_still_be_written_to(panel):
    found = link(panel, "call", phone="+46701740699")

    assert found.url == f"{GALLABOX}46701740699?{CHANNEL}"


def test_where_nobody_is_shown_the_link_names_nobody_either(panel):
    answer = panel.answer(asked("call", phone="+46701740607"))

    assert answer.findings[0].outcome is Outcome.AMBIGUOUS
    assert answer.reply.contact_link.url == f"{GALLABOX}46701740607?{CHANNEL}"
    assert answer.reply.contact_name is None


def test_a_chat_that_claims_an_id_nobody_has_gets_no_record(panel):
    assert link(panel, "chat", external_id="K9") is None


def test_the_link_and_the_name_are_of_the_best_match_not_of_the_first_source(serve):
    by_phone = """
    [[sources]]
    name = "calls"
    type = "inline"
    people = [{ name = "Caller", external_id = "call-7", phone = "070-174 06 05" }]
    """
    answer = serve(by_phone + CRM).answer(
        asked("contact", phone="+46701740605", email="anna@example.com")
    )

    assert [finding.outcome for finding in answer.findings] == [Outcome.FOUND] * 2
    assert answer.reply.contact_name == "Anna"
    assert answer.reply.contact_link.url == "https://crm.example.com/customers/K1"


@pytest.mark.parametrize(("region", "digits"), [("SE", "4622000000"), ("NO", "4722000000")])
def test_a_national_number_is_read_in_the_region_of_its_source(serve, region, digits):
    source = f"""
    [[sources]]
    name = "crm"
    type = "inline"
    default_region = "{region}"
    people = [{{ external_id = "K1", phone = "22 00 00 00" }}]
    """
    found = link(serve(source), "chat", external_id="K1")

    assert found.url == f"{GALLABOX}{digits}?{CHANNEL}"


def test_identities_without_a_normal_form_make_no_link(serve):
    source = """
    [[sources]]
    name = "crm"
    type = "inline"
    people = [{ external_id = "K1", emails = ["-", "Anna@Example.com"], phones = ["ask Bo"] }]
    """
    search = """
    [[panels.default.links]]
    type = "whatsapp"
    text = "WhatsApp"
    [[panels.default.links]]
    type = "url"
    text = "Search"
    url = "https://crm.example.com/?q={email}"
    """
    found = link(serve(source, search), "contact", external_id="K1")

    assert found.url == "https://crm.example.com/?q=anna%40example.com"


# Builders that are plugins


class Told(LinkBuilder):
    """Gives, or raises, what it was told."""

    def url(self, lookup, contact):
        del lookup, contact
        if isinstance(self.options["url"], BaseException):
            raise self.options["url"]
        return self.options["url"]


class Composed:
    """Keeps the link it was given."""

    def compose(self, lookup, findings, link, links):
        del lookup, findings, links
        return Reply(contact_link=link)


def crm():
    people = [{"name": "Anna", "external_id": "K1"}]
    return InlineSource(InlineSource.Options().load({"people": people}), SourceContext(name="crm"))


def linked(*urls):
    """The URL that a panel with these links chooses."""
    links = [
        PanelLink(
            f"links[{at}]", f"link{at}", "Open", frozenset(View), Told({"url": url}, LinkContext())
        )
        for at, url in enumerate(urls)
    ]
    panel = Panel("default", Directory([crm()]), links, Composed())
    found = panel.answer(asked("chat", external_id="K1")).reply.contact_link
    return found and found.url


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.example.com/",
        "javascript:alert(1)",
        "data:text/html,x",
        "//crm.example.com/",
        "/customers/7",
        "https://",
        "https://crm.example.com/a b",
        "https://crm.example.com/\n",
        "https://crm.example.com/å",
        "https://crm.example.com/\ud800",
        "https://crm.example.com/" + "x" * 5000,
        b"https://crm.example.com/",
        7,
        ValueError("no link for K1"),
    ],
)
def test_a_builder_that_gives_no_sound_address_is_passed_over_and_logged(url, caplog):
    caplog.set_level(logging.DEBUG)

    assert linked(url, "https://crm.example.com/") == "https://crm.example.com/"
    assert "links[0] made no" in caplog.text
    assert "crm.example.com" not in caplog.text
    assert "K1" not in caplog.text


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_builder_without_an_address_for_the_person_is_nothing_to_log(nothing, caplog):
    assert linked(nothing, "HTTPS://crm.example.com/") == "HTTPS://crm.example.com/"
    assert caplog.text == ""


def test_what_stops_the_server_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt):
        linked(KeyboardInterrupt())


# There always is a card


class Broken(InlineSource):
    """A source that is down."""

    def find(self, lookup):
        del lookup
        raise SourceError("the database refuses the password; correct it")


BROKEN = """
[[sources]]
name = "shop"
type = "tests.test_panel:Broken"
people = []
"""


@pytest.mark.parametrize(("locale", "says"), [("en", "not answering"), ("sv", "svarar inte")])
def test_a_source_that_is_down_is_a_notice_beside_what_the_others_know(serve, locale, says):
    answer = serve(BROKEN + CRM, locale=locale).answer(asked("ticket", external_id="K1"))

    assert answer.reply.contact_name == "Anna"
    assert [block.name for block in answer.reply.blocks[1:]] == ["crm"]
    assert notices(answer).text.startswith("shop ")
    assert says in notices(answer).text
    assert "password" not in repr(answer.reply)


class Hanging(InlineSource):
    """A source that does not answer until it is released."""

    release = Event()

    def find(self, lookup):
        self.release.wait()
        return super().find(lookup)


HANGING = """
[[sources]]
name = "shop"
type = "tests.test_panel:Hanging"
people = []
"""


def test_a_source_that_hangs_is_a_notice_at_the_deadline_beside_what_the_others_know(serve):
    try:
        answer = serve("deadline = 0.4\n" + HANGING + CRM).answer(asked("ticket", external_id="K1"))
    finally:
        Hanging.release.set()

    assert answer.reply.contact_name == "Anna"
    assert notices(answer).text.startswith("shop did not answer in time")


def test_when_no_source_answers_there_is_still_a_card_with_a_link(serve):
    answer = serve(BROKEN).answer(asked("call", phone="+46701740605"))

    assert notices(answer).label == "No answer"
    assert answer.reply.contact_link.url == f"{GALLABOX}46701740605?{CHANNEL}"


def test_a_card_that_cannot_be_put_together_is_replaced_and_the_findings_kept(caplog):
    class Failing:
        def compose(self, lookup, findings, link, links):
            raise RuntimeError(f"no room for {lookup.value}, {findings}, {link}, {links}")

        def failure(self):
            return Reply(contact_name="instead")

    answer = Panel("default", Directory([crm()]), [], Failing()).answer(
        asked("chat", external_id="K1")
    )

    assert answer.reply.contact_name == "instead"
    assert [finding.outcome for finding in answer.findings] == [Outcome.FOUND]
    assert "panel default made no card: RuntimeError" in caplog.text
    assert "K1" not in caplog.text


# The name


def test_a_person_without_a_name_leaves_the_contact_name_out(serve):
    source = """
    [[sources]]
    name = "crm"
    type = "inline"
    people = [{ external_id = "K1", name = "" }]
    """

    assert serve(source).answer(asked("chat", external_id="K1")).reply.contact_name is None


def test_a_contact_is_not_changed_by_what_its_link_needs(panel):
    (finding,) = panel.answer(asked("chat", email="anna@example.com")).findings

    assert finding.match.contact == Contact(
        name="Anna",
        external_id=" K1 ",
        emails=("anna@example.com",),
        phones=("070-174 06 06",),
        details={},
    )


def test_an_identity_that_the_view_does_not_trust_is_not_searched_by_and_that_is_said(serve):
    panel = serve(links='trust = { chat = ["email"] }')

    in_chat = panel.answer(asked("chat", external_id="K1"))
    in_ticket = panel.answer(asked("ticket", external_id="K1"))

    assert in_chat.findings[0].outcome is Outcome.NOT_ASKED
    assert "anybody can set it in a chat" in notices(in_chat).text
    assert in_ticket.findings[0].outcome is Outcome.FOUND
