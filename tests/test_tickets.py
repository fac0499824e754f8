"""Link tickets: what is sealed into an address comes back here, and tells nobody else anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbox_plugin.model import Link
from imbox_plugin.seals import Unsealable
from imbox_plugin.tickets import PATH, Tickets

OLD, NEW = "an old secret key of 32 letters.", "a new secret key of 32 letters.."
ORDER = {"phone": "46701740605", "name": "Åsa Öberg"}
FALLBACK = Link("WhatsApp", "https://wa.me/46701740605")

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)


def tickets(*secrets, url="https://plugin.example.com", clock=lambda: 1000.0):
    return Tickets(secrets or [NEW], url, clock)


def sealed(address):
    return address.partition(PATH)[2]


def made(maker, **changes):
    given = {"panel": "p", "link": "l", "order": ORDER, "fallback": FALLBACK, **changes}
    return sealed(maker.address(**given))


def test_what_a_click_needs_comes_back():
    ticket = tickets().read(made(tickets()))

    assert (ticket.panel, ticket.link, ticket.order) == ("p", "l", ORDER)
    assert ticket.fallback == FALLBACK


@given(st.dictionaries(st.text(), JSON))
def test_any_order_of_json_comes_back(order):
    assert tickets().read(made(tickets(), order=order)).order == order


def test_a_ticket_without_another_way_has_none():
    assert tickets().read(made(tickets(), fallback=None)).fallback is None


def test_the_address_lies_at_the_servers_own_and_tells_nobody_anything():
    address = tickets(url="https://plugin.example.com/imbox-plugin/").address(
        "support", "wazzup", ORDER, FALLBACK
    )

    assert address.startswith("https://plugin.example.com/imbox-plugin/open/")
    for told in ("46701740605", "wa.me", "support", "wazzup", "berg"):
        assert told not in address


def test_a_ticket_knows_how_old_it_is():
    assert tickets(clock=lambda: 1090.5).read(made(tickets())).age == 90.5


def test_a_ticket_is_read_with_an_older_key_and_not_with_a_retired_one():
    old = made(tickets(OLD))

    assert tickets(NEW, OLD).read(old).panel == "p"
    with pytest.raises(Unsealable):
        tickets(NEW).read(old)


def test_no_changed_letter_is_read():
    text = made(tickets())
    for at in range(0, len(text), 7):
        other = "A" if text[at] != "A" else "B"
        with pytest.raises(Unsealable):
            tickets().read(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize("content", [b"{}", b"[]", b"[1,2]", b"no json", b'["p","l","x",{},null]'])
def test_what_another_version_sealed_is_not_read(content):
    maker = tickets()
    text = maker._seal.seal(content)  # noqa: SLF001

    with pytest.raises(Unsealable):
        maker.read(text)


@pytest.mark.parametrize("order", [{"x": object()}, {"x": float("nan")}, {"x": {1, 2}}])
def test_an_order_that_is_no_json_is_refused(order):
    with pytest.raises((TypeError, ValueError)):
        made(tickets(), order=order)


def test_a_lone_surrogate_in_a_name_is_nothing_to_fail_for():
    assert tickets().read(made(tickets(), order={"name": "A\ud800"})).order == {"name": "A?"}


def test_neither_order_nor_fallback_is_in_the_repr():
    assert "4670174" not in repr(tickets().read(made(tickets())))


def test_a_name_is_the_same_each_time_and_depends_on_every_part():
    assert tickets().name("a", "b") == tickets().name("a", "b")
    assert len({tickets().name(*parts) for parts in (("a", "b"), ("ab",), ("a", "", "b"))}) == 3
