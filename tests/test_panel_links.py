"""Which link a card gets when links have names, conditions and tickets, and what layouts see."""

import logging

import pytest

from imbox_plugin.app import create_app
from imbox_plugin.model import Key, Link, Lookup, View
from imbox_plugin.settings import SettingsError
from tests.minted import Minted

SECRET = "a-secret-key-of-these-tests-0123456789"
KEY = "the-key-of-these-tests-0123456789"

TOP = f"""
base_url = "https://plugin.example.com"
secret_keys = ["{SECRET}"]
"""
SETTINGS = """
default_region = "SE"
[[sources]]
name = "crm"
type = "inline"
people = [
    { name = "Anna", external_id = "K1", phone = "070-174 06 06", details = { tier = "gold" } },
    { name = "Bo", external_id = "K2", phone = "070-174 06 07", details = { tier = "tin" } },
    { name = "Cia", external_id = "K3" },
]
[panels.default]
keys = [{ id = "t", secret = "the-key-of-these-tests-0123456789" }]
"""
MINTED = """
[[panels.default.links]]
name = "chat"
type = "tests.minted:Minted"
text = "Chat"
"""
CRM = """
[[panels.default.links]]
name = "crm"
type = "url"
text = "CRM"
url = "https://crm.example.com/{external_id}"
"""
WHATSAPP = """
[[panels.default.links]]
type = "whatsapp"
text = "WhatsApp"
"""


@pytest.fixture
def serve(tmp_path):
    """Build the service that settings describe."""

    def serve(*links, top=TOP):
        file = tmp_path / "imbox.toml"
        file.write_text("".join([top, SETTINGS, *links]), "utf-8")
        return create_app(file, {}).extensions["imbox_plugin"]

    return serve


@pytest.fixture
def mistakes(serve):
    """What stops the start, by path."""

    def mistakes(*links, **options):
        with pytest.raises(SettingsError) as refused:
            serve(*links, **options)
        return {problem.path: problem.message for problem in refused.value.problems}

    return mistakes


def asked(id_, view=View.TICKET):
    return Lookup(view, {Key.EXTERNAL_ID: id_})


def answer(service, id_="K1", view=View.TICKET):
    return service.panels["default"].answer(asked(id_, view)).reply


def ticket(service, link):
    """What is sealed into the address of a link."""
    address = "https://plugin.example.com/open/"
    assert link.url.startswith(address)
    return service.tickets.read(link.url.removeprefix(address))


# Conditions


@pytest.mark.parametrize(("id_", "text"), [("K1", "Gold"), ("K2", "CRM"), ("K9", None)])
def test_a_link_applies_when_its_condition_says_so(serve, id_, text):
    gold = WHATSAPP.replace('"WhatsApp"', '"Gold"')
    service = serve(gold + "when = \"{{ contact.tier == 'gold' }}\"\n", CRM)
    link = answer(service, id_).contact_link

    assert (link and link.text) == text


@pytest.mark.parametrize(
    ("when", "applies"),
    [
        ("match.source == 'crm'", True),
        ("contacts.crm.name == 'Anna'", True),
        ("lookup.view == 'chat'", False),
        ("contact.missing", False),
        ("{{ contact.tier }}{{ contact.missing }}", True),
    ],
)
def test_a_condition_reads_what_a_layout_reads(serve, when, applies):
    link = answer(serve(f'{WHATSAPP}when = "{when}"\n')).contact_link

    assert bool(link) is applies


def test_a_condition_about_nobody_sees_what_was_asked_and_no_contact(serve):
    when = 'when = "{{ not contact.tier and lookup.phone }}"\n'
    panel = serve(WHATSAPP + when).panels["default"]
    reply = panel.answer(Lookup(View.CALL, {Key.PHONE: "+46701740699"})).reply

    assert reply.contact_link.url == "https://wa.me/46701740699"


def test_a_condition_that_fails_says_no_and_is_logged_without_data(serve, caplog):
    service = serve(f'{WHATSAPP}when = "contact.name // 2"\n', CRM)

    assert answer(service).contact_link.text == "CRM"
    assert "panels.default.links[0].when cannot be told: TypeError" in caplog.text
    assert "Anna" not in caplog.text


# Names


def test_a_link_without_a_name_has_that_of_its_type(serve):
    assert list(serve(WHATSAPP, CRM).panels["default"].links) == ["whatsapp", "crm"]


def test_two_links_of_one_name_are_a_mistake(mistakes):
    assert mistakes(WHATSAPP, WHATSAPP, CRM.replace('"crm"', '"whatsapp"')).keys() == {
        "panels.default.links[1].name",
        "panels.default.links[2].name",
    }


def test_the_same_name_may_be_used_in_two_panels(serve):
    other = WHATSAPP.replace("default", "other")
    keys = '[panels.other]\nkeys = [{ id = "t", secret = "the-key-of-these-tests-0123456789" }]\n'

    assert serve(WHATSAPP, keys, other).panels.keys() == {"default", "other"}


# In layouts


def block(*rows):
    texts = ", ".join(f'{{ label = "x", text = "{row}", when = "{row}" }}' for row in rows)
    return f"""
[[panels.default.blocks]]
name = "Links"
data = [{{ type = "list", rows = [{texts}] }}]
"""


def shown(reply):
    return [row.text for row in reply.blocks[0].data[0].rows]


def test_a_layout_shows_every_link_that_applies_by_its_name(serve):
    layout = block("{{ links.crm.url }}", "{{ links.crm.text }}", "{{ links.whatsapp.url }}")
    service = serve(WHATSAPP, CRM, layout)

    assert shown(answer(service)) == [
        "https://crm.example.com/K1",
        "CRM",
        "https://wa.me/46701740606",
    ]
    assert shown(answer(service, "K3")) == ["https://crm.example.com/K3", "CRM"]


def test_a_layout_shows_a_link_with_a_ticket_too(serve):
    service = serve(CRM, MINTED, block("{{ links.chat.url }}"))
    (url,) = shown(answer(service))

    assert ticket(service, Link("", url)).order == {"phone": "+46701740606"}


def test_a_link_is_only_made_when_a_layout_shows_it(serve):
    layout = block("{{ links.chat.url }}") + "when = \"contact.name == 'Bo'\"\n"
    service = serve(CRM, MINTED, layout)
    asked_for = []
    builder = service.panels["default"].links["chat"].builder
    order = builder.order
    builder.order = lambda *given: asked_for.append(1) or order(*given)
    answer(service, "K1")
    before = len(asked_for)
    answer(service, "K2")

    assert (before, len(asked_for)) == (0, 1)


def test_the_links_of_a_card_can_be_listed_by_a_layout(serve):
    markup = "{% for name in links %}{{ name }} {% endfor %}"
    layout = f"""
[[panels.default.blocks]]
name = "Links"
data = [{{ type = "html", html = "{markup}" }}]
"""

    assert answer(serve(WHATSAPP, CRM, layout), "K3").blocks[0].data[0].html.split() == ["crm"]


def test_a_layout_that_asks_for_a_link_that_is_not_there_is_warned_about(serve, caplog):
    serve(WHATSAPP, block("{{ links.whatsap.url }}"))

    assert "panels.default.blocks[0]: links.whatsap: no link is called 'whatsap'" in caplog.text
    assert "did you mean whatsapp?" in caplog.text


# Tickets


def test_a_link_that_is_minted_leads_through_this_server(serve):
    service = serve(MINTED)
    link = answer(service).contact_link
    sealed = ticket(service, link)

    assert link.text == "Chat"
    assert (sealed.panel, sealed.link) == ("default", "chat")
    assert sealed.order == {"phone": "+46701740606"}
    assert service.panels["default"].links["chat"].builder.minted == []


def test_a_link_without_an_order_for_the_person_is_passed_over(serve):
    assert answer(serve(MINTED, CRM), "K3").contact_link.text == "CRM"


@pytest.mark.parametrize(
    ("links", "fallback"),
    [
        ([MINTED + 'own = "https://o.example.com/"', CRM], Link("", "https://o.example.com/46701740606")),
        ([MINTED, WHATSAPP, CRM], Link("WhatsApp", "https://wa.me/46701740606")),
        ([MINTED, WHATSAPP + 'when = "contact.x"\n', CRM], Link("CRM", "https://crm.example.com/K1")),
        ([MINTED, WHATSAPP + 'views = ["chat"]\n', CRM], Link("CRM", "https://crm.example.com/K1")),
        ([MINTED], None),
    ],
)  # fmt: skip
def test_the_other_way_is_the_links_own_address_or_the_next_link_that_applies(
    serve, links, fallback
):
    service = serve(*links)

    assert ticket(service, answer(service).contact_link).fallback == fallback


def test_the_other_way_is_no_link_before(serve):
    service = serve(CRM, MINTED, block("{{ links.chat.url }}"))
    (url,) = shown(answer(service))

    assert ticket(service, Link("", url)).fallback is None


def test_an_order_too_long_for_an_address_is_passed_over_and_logged(serve, caplog):
    caplog.set_level(logging.DEBUG)
    long = f'order = {{ note = "{"x" * 3000}" }}\n'

    assert answer(serve(MINTED + long, CRM)).contact_link.text == "CRM"
    assert "panels.default.links[0] gave an order too long for an address" in caplog.text
    assert "xxx" not in caplog.text


def test_another_way_that_makes_the_address_too_long_is_left_out(serve):
    long = f'order = {{ note = "{"x" * 1800}" }}\n'
    far = f'own = "https://o.example.com/{"y" * 1500}"\n'
    service = serve(MINTED + long + far)
    link = answer(service).contact_link

    assert len(link.url) <= 4000
    assert ticket(service, link).fallback is None


class NoJson(Minted):
    def order(self, lookup, contact):
        return {**super().order(lookup, contact), "x": object()}


class Failing(Minted):
    def order(self, lookup, contact):
        raise RuntimeError(f"no order for {lookup.value}, {contact}")


@pytest.mark.parametrize(
    ("builder", "says"), [("NoJson", "that is no JSON: TypeError"), ("Failing", "no link: Runtime")]
)
def test_a_builder_whose_order_is_unsound_is_passed_over_and_logged(serve, builder, says, caplog):
    link = MINTED.replace("tests.minted:Minted", f"tests.test_panel_links:{builder}")

    assert answer(serve(link, CRM)).contact_link.text == "CRM"
    assert says in caplog.text
    assert "K1" not in caplog.text


class Silent(Minted):
    """Gives orders without saying that it ever does."""

    mints = False


def test_a_builder_that_did_not_say_that_it_gives_orders_is_left_to_its_own_address(serve, caplog):
    link = MINTED.replace("tests.minted:Minted", "tests.test_panel_links:Silent")

    assert answer(serve(link, CRM, top="")).contact_link.text == "CRM"
    assert "its `mints` does not say" in caplog.text


# Mistakes


def test_what_tickets_need_is_missed_at_the_start(mistakes):
    found = mistakes(MINTED, top="")

    assert found.keys() == {"base_url", "secret_keys"}
    assert "panels.default.links[0] leads through this server" in found["base_url"]
    assert "panels.default.links[0] leads through this server" in found["secret_keys"]


def test_a_secret_key_that_is_not_set_is_one_mistake(mistakes):
    top = 'base_url = "https://plugin.example.com"\nsecret_keys = [{ env = "NONE" }]\n'

    assert mistakes(MINTED, top=top).keys() == {"secret_keys[0]"}


GALLABOX = """
[[panels.default.links]]
type = "gallabox"
text = "WhatsApp"
"""
LOGIN = 'login = { email = "a@example.com", password = "a-password", token_path = "token" }\n'


@pytest.mark.parametrize("link", [WHATSAPP, GALLABOX])
def test_links_that_make_their_address_at_once_need_neither(serve, link):
    assert serve(link, top="").tickets is None


def test_a_link_that_leads_through_the_server_by_an_option_needs_both(mistakes):
    assert mistakes(GALLABOX, LOGIN, top="").keys() == {"base_url", "secret_keys"}


def test_events_of_a_page_that_is_never_embedded_are_a_mistake(mistakes):
    link = f'{MINTED}open = "redirect"\nevents = {{ X = {{ action = "badge" }} }}\n'

    assert mistakes(link).keys() == {"panels.default.links[0].events"}


def test_delivering_to_nobody_is_a_mistake(mistakes):
    link = f'{MINTED}events = {{ X = {{ action = "deliver" }} }}\n'

    assert mistakes(link).keys() == {"panels.default.links[0].events.X.action"}


WAZZUP = """
[[panels.default.links]]
type = "wazzup"
text = "Chat"
api_key = "a-key-of-wazzup"
user = { id = "7" }
"""
SPOKI = """
[[panels.default.links]]
type = "spoki"
text = "Chat"
api_key = "a-key-of-spoki"
email = "support@example.com"
private_key = "a-private-key"
"""
BADGE = '{ action = "badge" }'


def test_an_event_that_the_page_does_not_know_is_a_mistake(mistakes):
    found = mistakes(WAZZUP, f"deals_events = true\nevents = {{ WZ_CREATE = {BADGE} }}\n")

    assert found == {
        "panels.default.links[0].events.WZ_CREATE": (
            "no event of this type of link is called 'WZ_CREATE'; did you mean WZ_CREATE_ENTITY? "
            "there are: WZ_CREATE_ENTITY, WZ_OPEN_ENTITY, WZ_OUTPUT_MESSAGE"
        )
    }


@pytest.mark.parametrize(
    ("type_", "on", "option"),
    [
        ("WZ_CREATE_ENTITY", "message_events", "deals_events"),
        ("WZ_OPEN_ENTITY", "message_events", "deals_events"),
        ("WZ_OUTPUT_MESSAGE", "deals_events", "message_events"),
    ],
)
def test_an_event_that_the_vendor_is_not_asked_for_is_a_mistake(mistakes, type_, on, option):
    found = mistakes(WAZZUP, f"{on} = true\nevents = {{ {type_} = {BADGE} }}\n")

    assert found == {
        f"panels.default.links[0].events.{type_}": (
            f"the page tells of it only with {option} = true; add that, or take this out"
        )
    }


def test_events_of_a_page_that_tells_of_none_are_a_mistake(mistakes):
    found = mistakes(GALLABOX, LOGIN, f"events = {{ X = {BADGE} }}\n")

    assert found == {
        "panels.default.links[0].events": (
            "the page of this type of link tells of no events; take them out"
        )
    }


@pytest.mark.parametrize(
    ("link", "types"),
    [
        (f"{WAZZUP}deals_events = true\n", ["WZ_CREATE_ENTITY", "WZ_OPEN_ENTITY"]),
        (f"{WAZZUP}message_events = true\n", ["WZ_OUTPUT_MESSAGE"]),
        (SPOKI, ["hasUnreadChatsChanged", "chatsChanged", "chatMessagesChanged"]),
        (MINTED, ["of_a_builder_that_does_not_say"]),
    ],
)
def test_events_that_the_page_may_tell_of_are_in_order(serve, link, types):
    table = ", ".join(f"{type_} = {BADGE}" for type_ in types)
    (made,) = serve(f"{link}events = {{ {table} }}\n").panels["default"].links.values()

    assert [*made.events] == types


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ('{ action = "open" }', "missing; add the address to open"),
        ('{ action = "badge", url = "https://x.example.com" }', "only for the action open"),
        ('{ action = "open", url = "http://x.example.com" }', "not an https address"),
        ('{ action = "open", url = "https://{chatId}.example.com" }', "the host must be fixed"),
        ('{ action = "open", url = "https://x.example.com/{a b}" }', "no name: {a b}"),
    ],
)
def test_a_wrong_address_of_an_event_is_a_mistake(mistakes, event, says):
    found = mistakes(f"{MINTED}events = {{ X = {event} }}\n")

    assert found.keys() == {"panels.default.links[0].events.X.url"}
    assert says in found["panels.default.links[0].events.X.url"]


def test_an_address_to_open_needs_no_value_of_the_event(serve):
    event = '{ action = "open", url = "https://x.example.com/new" }'

    assert serve(f"{MINTED}events = {{ X = {event} }}\n")
