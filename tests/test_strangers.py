"""No card ever shows a person whose identity was not asked for, wherever the people are."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imbox_plugin.identity import normal_email, normal_phone
from imbox_plugin.model import View
from tests.places import CUSTOMERS, KEY, PLACES, serving

ids = [one["id"] for one in CUSTOMERS]
emails = [one["email"] for one in CUSTOMERS if one["email"]]
phones = [one["phone"] for one in CUSTOMERS if one["phone"]]

#: near misses, injections, wildcards, and what databases call equal
HOSTILE = [
    *(
        "%",
        "_",
        "*",
        "K%",
        "K_",
        "' OR 1=1 --",
        "K1'; DROP TABLE x; --",
        "..",
        ".",
        "/",
        "K1/",
        "\\",
    ),
    *(
        "K1 ",
        " K1",
        "k1",
        "K\N{FULLWIDTH DIGIT ONE}",
        "\N{KELVIN SIGN}1",
        "K1\u200b",
        "K01",
        "1",
        "0",
    ),
    *("åsa@example.com", "ASA@EXAMPLE.COM", "asa@exämple.com", "asa+x@example.com", "@example.com"),
    *("asa@example.com,bo@example.com", "*@example.com", "kaffe@example.com.evil.example"),
    *("+4670174060", "+467017406050", "0701740605 ankn 1", "+46701740 6XX", "701740605", "1740605"),
    *(
        "+1701740605",
        "{external_id}",
        "{{ 7 * 7 }}",
        "null",
        "None",
        "true",
        "[]",
        "\ufffd",
        "a" * 512,
    ),
]
values = st.sampled_from([*ids, *emails, *phones]) | st.sampled_from(HOSTILE) | st.text(max_size=20)
questions = st.fixed_dictionaries(
    {"view": st.sampled_from(list(View))},
    optional=dict.fromkeys(
        ("email", "phoneNumber", "externalId", "contactId", "ticketId", "channelId"), values
    ),
)


def asked_for(question):
    """The names of those who have one of the identities asked for."""
    email = normal_email(question.get("email", ""))
    phone = normal_phone(question.get("phoneNumber", ""), "SE")
    return {
        one["name"]
        for one in CUSTOMERS
        if one["id"] == question.get("externalId", "").strip()
        or (email and normal_email(one["email"]) == email)
        or (phone and normal_phone(one["phone"], "SE") == phone)
    }


def shown(document):
    """The ids, and so the names, of everybody in a card."""
    if not isinstance(document, dict) or not document.get("blocks"):
        return set()
    texts = json.dumps(document["blocks"])
    return {one["name"] for one in CUSTOMERS if f'"{one["id"]}"' in texts}


@pytest.mark.parametrize("place", PLACES)
def test_nobody_is_shown_who_was_not_asked_for(place, tmp_path_factory):
    with serving(place, tmp_path_factory.mktemp(place)) as client:
        people = []

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(questions)
        @example({"view": "chat", "externalId": ids[0]})
        def ask(question):
            reply = client.get("/imbox", query_string=question, auth=("", KEY))

            assert reply.status_code in {200, 400}
            assert shown(reply.json) <= asked_for(question)
            people.extend(shown(reply.json))

        ask()

        # Not by showing nobody at all.
        assert people
