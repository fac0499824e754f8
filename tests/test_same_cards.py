"""The same customers in seven places give the same cards, byte for byte."""

from __future__ import annotations

import json

import pytest

from tests.places import KEY, PLACES, serving

#: what ImBox may ask, and whom it must find; None: nobody
ASKED = [
    ({"view": "ticket", "email": "asa@example.com"}, "Åsa Öberg"),
    ({"view": "ticket", "email": " ASA@EXAMPLE.COM "}, "Åsa Öberg"),
    ({"view": "call", "phoneNumber": "+46701740605"}, "Åsa Öberg"),
    ({"view": "call", "phoneNumber": "0046 (0)70-174 06 05"}, "Åsa Öberg"),
    ({"view": "chat", "externalId": "K1"}, "Åsa Öberg"),
    ({"view": "chat", "externalId": "K2"}, "Bo Ek"),
    ({"view": "contact", "externalId": "K4", "email": "kaffe@example.com"}, "<b>Kaffe & Co</b>"),
    ({"view": "contact", "email": "nobody@example.com", "externalId": "K4"}, "<b>Kaffe & Co</b>"),
    ({"view": "call", "phoneNumber": "0701740606"}, None),
    ({"view": "call", "phoneNumber": "+46701740699"}, None),
    ({"view": "call", "phoneNumber": "+468701740605"}, None),
    ({"view": "chat", "externalId": "k1"}, None),
    ({"view": "chat", "externalId": ".."}, None),
    ({"view": "chat", "externalId": "K1' OR '1'='1"}, None),
    ({"view": "chat", "externalId": "K1/orders?"}, None),
    ({"view": "ticket", "email": "%@example.com"}, None),
    ({"view": "chat"}, None),
]


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """Every reply, as bytes, by the place the customers are in; each place is asked once."""
    made = {}

    def ask(place):
        if place not in made:
            with serving(place, tmp_path_factory.mktemp(place)) as client:
                made[place] = [
                    client.get("/imbox", query_string=query, auth=("", KEY)).data
                    for query, _ in ASKED
                ]
        return made[place]

    return ask


@pytest.mark.parametrize("place", PLACES)
def test_everybody_is_found_and_nobody_else(cards, place):
    found = [json.loads(card)["contactName"] for card in cards(place)]

    assert found == [name for _, name in ASKED]


@pytest.mark.parametrize("place", PLACES[1:])
def test_the_cards_are_the_same_as_those_from_sqlite(cards, place):
    assert cards(place) == cards("sqlite")


def test_a_card_shows_what_is_known(cards):
    document = json.loads(cards("sqlite")[0])

    kinds = [element["type"] for element in document["blocks"][0]["data"]]
    assert kinds == ["list", "table", "accordion", "accordion"]
    assert document["contactLink"]["url"] == "https://wa.me/46701740605"
    assert "1 250,00 kr" in json.dumps(document, ensure_ascii=False).replace("\xa0", " ")
