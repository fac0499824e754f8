"""WhatsApp's own link."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbox_plugin.links import LinkContext
from imbox_plugin.links.whatsapp import WhatsApp
from imbox_plugin.model import Contact, Key, Lookup, View


def link(**options):
    return WhatsApp(WhatsApp.Options().load(options), LinkContext())


def call(phone):
    return Lookup(View.CALL, {Key.PHONE: phone})


def test_the_link_has_the_number_with_its_country_code_and_without_a_plus():
    assert link().url(call("+46701740605"), None) == "https://wa.me/46701740605"


def test_the_number_of_the_contact_is_taken_when_there_is_no_call():
    contact = Contact(name="Anna", phones=("+46701740606",))

    assert link().url(Lookup(View.CONTACT), contact) == "https://wa.me/46701740606"


@pytest.mark.parametrize("contact", [None, Contact(name="Anna")])
def test_there_is_no_link_without_a_number_that_is_certain(contact):
    assert link().url(Lookup(View.CONTACT), contact) is None


@given(st.text(st.characters(), min_size=1, max_size=12))
def test_a_message_is_one_encoded_value(message):
    parts = urlsplit(link(message=message).url(call("+46701740605"), None))

    assert (parts.netloc, parts.path, parts.fragment) == ("wa.me", "/46701740605", "")
    assert parse_qs(parts.query, strict_parsing=True) == {
        "text": [message.encode(errors="replace").decode()]
    }
