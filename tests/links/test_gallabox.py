"""The Gallabox conversation link, as Gallabox documents it."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from imbox_plugin.links import LinkContext
from imbox_plugin.links.gallabox import Gallabox
from imbox_plugin.model import Contact, Key, Lookup, View

CHANNEL = "647062b51e3c77d2741188cb"
NOBODY_ASKED = Lookup(View.CHAT)


def link(**options):
    return Gallabox(Gallabox.Options().load(options), LinkContext())


def call(phone):
    return Lookup(View.CALL, {Key.PHONE: phone})


def test_the_link_is_the_documented_one_byte_for_byte():
    url = link(channel_id=CHANNEL).url(call("+919900000001"), Contact(name="Lakshmanan"))

    assert url == (
        "https://conversation-widget.gallabox.com/conversations/phone/919900000001"
        "?name=Lakshmanan&channelId=647062b51e3c77d2741188cb"
    )


def test_a_name_is_encoded_as_one_value_with_spaces_as_percent_20():
    url = link(channel_id=CHANNEL).url(call("+46701740605"), Contact(name="Åsa & Bo Öberg"))

    assert url == (
        "https://conversation-widget.gallabox.com/conversations/phone/46701740605"
        "?name=%C3%85sa%20%26%20Bo%20%C3%96berg&channelId=647062b51e3c77d2741188cb"
    )


@given(st.text(st.characters(), min_size=1, max_size=12))
def test_no_name_changes_the_conversation_or_the_channel(name):
    url = link(channel_id=CHANNEL).url(call("+46701740605"), Contact(name=name))
    parts = urlsplit(url)

    assert re.fullmatch("[!-~]+", url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == (
        "https://conversation-widget.gallabox.com/conversations/phone/46701740605"
    )
    assert parse_qs(parts.query, strict_parsing=True) == {
        "name": [name.encode(errors="replace").decode()],
        "channelId": [CHANNEL],
    }


@pytest.mark.parametrize("contact", [None, Contact(), Contact(name="")])
def test_a_caller_without_a_name_gets_a_link_without_one(contact):
    url = link(channel_id=CHANNEL).url(call("+46701740605"), contact)

    assert url.endswith("/conversations/phone/46701740605?channelId=647062b51e3c77d2741188cb")


def test_an_account_with_one_channel_needs_no_channel_id():
    url = link().url(call("+46701740605"), None)

    assert url == "https://conversation-widget.gallabox.com/conversations/phone/46701740605"


def test_the_number_of_this_call_comes_before_the_numbers_of_the_contact():
    url = link().url(call("+46701740605"), Contact(phones=("+46701740606",)))

    assert "/phone/46701740605" in url


def test_without_a_number_in_the_call_the_first_one_of_the_contact_is_taken():
    contact = Contact(phones=("+46701740606", "+46701740607"))

    assert "/phone/46701740606" in link().url(NOBODY_ASKED, contact)


@pytest.mark.parametrize("contact", [None, Contact(name="Anna")])
def test_there_is_no_link_without_a_number_that_is_certain(contact):
    assert link(channel_id=CHANNEL).url(NOBODY_ASKED, contact) is None


@pytest.mark.parametrize(
    "channel", ["", "a b", "x&y=z", "../x", "647062b51e3c77d2741188cb\n", "å", "a" * 65]
)
def test_what_is_no_channel_id_is_refused_with_the_place_to_find_it(channel):
    with pytest.raises(ValidationError, match="copy it from Gallabox"):
        link(channel_id=channel)
