"""Records in well-known CRMs: the account is fixed by the settings, the record is a value."""

import re
from decimal import Decimal
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from imbox_plugin.links import LinkContext
from imbox_plugin.links.crm import DOCUMENTED, PRESETS, SEEN
from imbox_plugin.links.url import UrlTemplate
from imbox_plugin.model import Contact, Lookup, View

ASKED = Lookup(View.CALL)
ANNA = Contact(name="Anna Öst", external_id="1001")
APP = "0f5c2c4e-1d1b-4c0a-9b6e-2a6f3d1c9e70"

DYNAMICS = "https://acme.crm4.dynamics.com/main.aspx"

#: by preset: the account, and the address of the contact 1001
ADDRESSES = {
    "bitrix24": (
        {"portal": "acme.bitrix24.eu"},
        "https://acme.bitrix24.eu/crm/contact/details/1001/",
    ),
    "dynamics365": (
        {"org": "acme.crm4", "app": APP},
        DYNAMICS + f"?appid={APP}&pagetype=entityrecord&etn=contact&id=1001",
    ),
    "hubspot": (
        {"portal": "12345678"},
        "https://app.hubspot.com/contacts/12345678/record/0-1/1001",
    ),
    "kommo": ({"subdomain": "acme"}, "https://acme.kommo.com/contacts/detail/1001"),
    "lime": ({"host": "crm.example.com"}, "https://crm.example.com/client/object/person/1001"),
    "pipedrive": ({"company": "acme"}, "https://acme.pipedrive.com/person/1001"),
    "salesforce": (
        {"domain": "acme--test.sandbox"},
        "https://acme--test.sandbox.lightning.force.com/lightning/r/Contact/1001/view",
    ),
    "zendesk": ({"subdomain": "acme"}, "https://acme.zendesk.com/agent/users/1001"),
    "zoho": ({"org": "20079"}, "https://crm.zoho.com/crm/org20079/tab/Contacts/1001"),
}
EVERY_PART = [(name, part) for name, preset in PRESETS.items() for part in preset.parts]


def link(preset, account=None, **options):
    account = ADDRESSES[preset][0] if account is None else account
    options = UrlTemplate.Options().load({"preset": preset, "account": account, **options})
    return UrlTemplate(options, LinkContext())


def refusal(**table):
    with pytest.raises(ValidationError) as refused:
        UrlTemplate.Options().load(table)
    return {name: " ".join(said) for name, said in refused.value.messages_dict.items()}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_leads_to_the_contact_in_that_crm(preset):
    assert link(preset).url(ASKED, ANNA) == ADDRESSES[preset][1]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_its_evidence(preset):
    assert PRESETS[preset].evidence in {DOCUMENTED, SEEN}
    assert PRESETS[preset].source


@pytest.mark.parametrize(
    ("preset", "account", "start"),
    [
        ("hubspot", {"portal": "1", "host": "app-eu1"}, "https://app-eu1.hubspot.com/contacts/1/"),
        ("zoho", {"org": "1", "domain": "com.au"}, "https://crm.zoho.com.au/crm/org1/"),
        ("zoho", {"org": "1", "module": "Leads"}, "https://crm.zoho.com/crm/org1/tab/Leads/"),
        (
            "salesforce",
            {"domain": "acme", "object": "Kund__c"},
            "https://acme.lightning.force.com/lightning/r/Kund__c/1001/view",
        ),
    ],
)
def test_a_region_and_the_kind_of_record_can_be_said(preset, account, start):
    assert link(preset, account).url(ASKED, ANNA).startswith(start)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("003x", "003x"),
        (4711, "4711"),
        (Decimal(4711), "4711"),
        (UUID(APP), APP),
        (" 7 ", "7"),
    ],
)
def test_the_record_may_be_a_detail_that_the_source_has(value, text):
    contact = Contact(external_id="K1001", details={"crm_id": value})
    url = link("pipedrive", record="contact.crm_id").url(ASKED, contact)

    assert url == f"https://acme.pipedrive.com/person/{text}"


@pytest.mark.parametrize("value", [None, "", " ", True, 1.5, Decimal("1.5"), [1], {"id": 1}])
def test_a_detail_that_is_no_id_makes_no_link(value):
    contact = Contact(external_id="K1001", details={"crm_id": value})

    assert link("pipedrive", record="contact.crm_id").url(ASKED, contact) is None


def test_whoever_is_not_found_has_no_record():
    assert link("pipedrive").url(ASKED, None) is None
    assert link("pipedrive", record="contact.crm_id").url(ASKED, None) is None


def test_a_template_of_ones_own_can_hold_a_detail_too():
    options = UrlTemplate.Options().load({"url": "https://crm.example.com/{contact.crm_id}"})
    url = UrlTemplate(options, LinkContext()).url(ASKED, Contact(details={"crm_id": "a/b"}))

    assert url == "https://crm.example.com/a%2Fb"


@pytest.mark.parametrize("preset", PRESETS)
@given(record=st.text(st.characters(), min_size=1, max_size=12))
def test_no_record_changes_where_a_preset_leads(preset, record):
    url = link(preset).url(ASKED, Contact(external_id=record))
    expected = urlsplit(ADDRESSES[preset][1])

    if record in {".", ".."} and preset != "dynamics365":
        assert url is None
        return
    assert re.fullmatch("[!-~]+", url)
    assert urlsplit(url).netloc == expected.netloc
    assert urlsplit(url).path.count("/") == expected.path.count("/")
    assert urlsplit(url).query.count("&") == expected.query.count("&")


@pytest.mark.parametrize(("preset", "part"), EVERY_PART)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "a/b",
        "a@b",
        "a b",
        "x?y",
        "x#y",
        "evil.example/",
        "a:1",
        "{name}",
        "<a>",
        "..",
        "å",
        "a\n",
    ],
)
def test_a_part_of_the_account_is_a_label_a_number_or_a_name_and_nothing_else(preset, part, text):
    said = refusal(preset=preset, account={**ADDRESSES[preset][0], part: text})

    assert said["account"].startswith(f"{part} cannot be right; it is ")
    assert text not in said["account"] or len(text) < 3


@pytest.mark.parametrize("preset", PRESETS)
def test_a_missing_part_is_named_with_where_to_find_it(preset):
    needed = next(name for name, part in PRESETS[preset].parts.items() if part.default is None)

    assert refusal(preset=preset)["account"].startswith(f"{needed} is missing; it is ")


@pytest.mark.parametrize(
    ("table", "place", "says"),
    [
        ({}, "url", "missing; add it, or preset with its account"),
        ({"preset": "sugar"}, "preset", "must be one of: bitrix24, dynamics365"),
        (
            {"preset": "kommo", "account": {"subdomain": "a", "portal": "1"}},
            "account",
            "no part of the account is called 'portal'; there are: subdomain",
        ),
        ({"preset": "kommo", "url": "https://x.example/{email}"}, "preset", "keep one"),
        (
            {"url": "https://x.example/{email}", "account": {"portal": "1"}},
            "account",
            "of no use without preset",
        ),
        (
            {"preset": "kommo", "account": {"subdomain": "a"}, "record": "kommo_id"},
            "record",
            "no placeholder is called 'kommo_id'",
        ),
        ({"preset": "kommo", "account": {"subdomain": 7}}, "account", ""),
    ],
)
def test_a_mistake_is_named_with_its_cure(table, place, says):
    with pytest.raises(ValidationError) as refused:
        UrlTemplate.Options().load(table)

    assert says in str(refused.value.messages_dict[place])
