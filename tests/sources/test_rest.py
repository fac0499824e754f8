"""The REST source: the examples of its page against the vendors' documented answers, and worse."""

from __future__ import annotations

import json
import logging
import re
import tomllib
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote

import pytest

from imbox_plugin.app import create_app
from imbox_plugin.directory import Directory
from imbox_plugin.identity import normal_form
from imbox_plugin.model import Key, Lookup, Outcome, View
from imbox_plugin.settings import SettingsError, SettingsFile
from imbox_plugin.sources import SourceContext, SourceError
from imbox_plugin.sources.rest import RestSource
from imbox_plugin.testing import SourceContract
from tests.loopback import answering, serving
from tests.vendor import FOLDER, playing

PAGE = (Path(__file__).parents[2] / "docs" / "rest.md").read_text("utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES = dict(re.findall(r"<!-- (\w+) -->\n```toml\n(.*?)```", PAGE, re.DOTALL))
#: the others in the folder are of links
RECORDINGS = [file for vendor in EXAMPLES for file in sorted(FOLDER.glob(f"{vendor}__*.json"))]
SECRETS = {
    "HUBSPOT_TOKEN": "pat-example-hubspot",
    "ZENDESK_TOKEN": "example-zendesk",
    "SHOP_SECRET": "cs_example",
    "SALESFORCE_SECRET": "8A4Bexample",
    "PIPEDRIVE_TOKEN": "example-pipedrive",
    "CRM_TOKEN": "example-crm",
}
HOSTS = re.compile(
    r"https://(?:api\.hubapi|[a-z]+\.(?:zendesk|my\.salesforce|pipedrive|example))\.com"
)
#: stands for whatever must not be repeated
CANARY = "canary4711"
ADA = {
    Key.EXTERNAL_ID: "C-1001",
    Key.EMAIL: "ada@example.com",
    Key.PHONE: "+46701740605",
}


def load(table):
    """The source of a table, as the server would load it."""
    table = dict(table)
    name, region = table.pop("name", "crm"), table.pop("default_region", None)
    table.pop("type", None)
    options = RestSource.Options().load(table)
    return RestSource(options, SourceContext(name=name, default_region=region, time_limit=5))


def from_page(vendor, url, tmp_path, secrets=SECRETS):
    """The example of the page, with its host replaced by one of this machine."""
    file = tmp_path / "imbox.toml"
    file.write_text(HOSTS.sub(url, EXAMPLES[vendor]), "utf-8")
    return load(SettingsFile(file, secrets).tables["sources"][0])


@pytest.fixture
def vendor(request, tmp_path):
    """The vendor's server and the page's source for it: `vendor` is parametrised indirectly."""
    with playing(request.param) as server:
        source = from_page(request.param, server.url, tmp_path)
        with closing(source):
            yield server, source


def of(name):
    return pytest.mark.parametrize("vendor", [name], indirect=True)


EVERY_VENDOR = pytest.mark.parametrize("vendor", EXAMPLES, indirect=True)


def lookup(key, value):
    return Lookup(View.CHAT, {key: value})


def find(source, key, value=None):
    return source.find(lookup(key, value or ADA[key]))


def asked_of(source, key, value=None):
    (finding,) = Directory([source]).find(lookup(key, value or ADA[key]))
    return finding


def refusal(source, key=Key.EMAIL, value=None):
    """The error that the source raises instead of an answer."""
    with pytest.raises(SourceError) as caught:
        find(source, key, value)
    return caught.value


TABLE = {
    "client": {"base_url": "http://127.0.0.1:9"},
    "endpoints": {
        "email": {"path": "/people", "params": {"email": "{email}"}},
        "external_id": {"path": "/people/{external_id}"},
    },
    "contact": {"external_id": "id", "name": "name", "emails": "mail", "details": "@"},
}


def changed(**parts):
    """A table that works, with parts changed: `client={...}` is merged."""
    table = json.loads(json.dumps(TABLE))
    for name, part in parts.items():
        table[name] = {**table[name], **part} if isinstance(table.get(name), dict) else part
    return table


@contextmanager
def source_of(play, **parts):
    """A source whose server plays what a test says."""
    with serving(play) as server:
        client = {"base_url": server.url, **parts.pop("client", {})}
        with closing(load(changed(client=client, **parts))) as source:
            yield source


def answer(document, status="200 OK", headers=()):
    return answering(status=status, headers=headers, body=json.dumps(document).encode())


# --- the vendors ----------------------------------------------------------------------------------


@of("hubspot")
def test_hubspot_knows_a_contact_by_email_and_its_deals(vendor):
    _, source = vendor

    (person,) = find(source, Key.EMAIL)

    assert (person.name, person.external_id) == ("Ada Lovelace", "100451")
    assert person.emails == ("Ada@example.com", "ada@home.example", "a.lovelace@example.com")
    assert person.phones == ("+46 70 174 06 05",)
    assert person.details == {
        "stage": "customer",
        "deals": [
            {"name": "Analytical engine", "amount": "1500.00", "stage": "closedwon"},
            {"name": "Maintenance", "amount": None, "stage": "qualifiedtobuy"},
        ],
    }


@of("hubspot")
def test_hubspot_finds_who_shares_a_number_on_all_pages_and_asks_no_more_about_them(vendor):
    server, source = vendor

    finding = asked_of(source, Key.PHONE, "+46701740610")

    assert (finding.outcome, finding.count) == (Outcome.AMBIGUOUS, 2)
    assert finding.dropped == 1  # "070-174 06 10" is no number without a region
    assert [asked.json.get("after") for asked in server.asked] == [None, "2"]


@of("zendesk")
@pytest.mark.parametrize("key", ADA)
def test_zendesk_knows_a_user_by_each_key_and_the_tickets(vendor, key):
    _, source = vendor

    finding = asked_of(source, key)

    assert finding.match.contact.name == "Ada Lovelace"
    assert finding.match.contact.details == {
        "zendesk_id": 360000000035436,
        "plan": "gold",
        "seats": 12,
        "tickets": [
            {"id": 35401, "subject": "Engine stuck", "status": "open"},
            {"id": 35402, "subject": "Invoice", "status": "solved"},
            {"id": 35403, "subject": "Thanks", "status": "closed"},
        ],
    }


@of("zendesk")
def test_zendesk_finds_too_much_and_the_person_meant_is_shown(vendor):
    server, source = vendor

    finding = asked_of(source, Key.EMAIL)

    assert finding.dropped == 1
    assert finding.match.contact.external_id == "C-1001"
    assert [asked.query.get("page[after]") for asked in server.asked[1:]] == [
        None,
        "eyJvIjoiaWQifQ==",
    ]


@of("woocommerce")
@pytest.mark.parametrize(("key", "value"), [(Key.EMAIL, None), (Key.EXTERNAL_ID, "25")])
def test_woocommerce_knows_a_customer_and_the_orders_of_two_pages(vendor, key, value):
    server, source = vendor

    (person,) = find(source, key, value)

    assert (person.name, person.external_id, person.phones) == (
        "Ada Lovelace",
        "25",
        ("070-174 06 05",),
    )
    assert [order["total"] for order in person.details["orders"]] == ["29.35", "39.00", "1010.10"]
    assert [asked.query.get("page") for asked in server.asked[1:]] == [None, "2"]


@of("salesforce")
def test_salesforce_knows_a_contact_by_a_number_of_the_company(vendor):
    server, source = vendor

    (person,) = find(source, Key.EXTERNAL_ID)

    assert (person.name, person.external_id) == ("Ada Lovelace", "C-1001")
    assert person.details == {
        "salesforce_id": "003D000001AdaIAU",
        "credit_limit": Decimal("2500.5"),
        "cases": [{"number": "00001026", "subject": "Engine stuck", "status": "New"}],
    }
    assert [asked.path.rpartition("/")[2] for asked in server.asked] == ["token", "C-1001", "Cases"]


@of("salesforce")
def test_salesforce_searches_by_the_end_of_a_number_and_the_person_meant_is_shown(vendor):
    server, source = vendor

    finding = asked_of(source, Key.PHONE)

    assert (finding.match.contact.external_id, finding.dropped) == ("C-1001", 1)
    assert server.asked[1].query["q"] == "1740605"


@of("salesforce")
def test_salesforce_gives_one_token_for_all_and_another_when_it_is_revoked(vendor):
    server, source = vendor

    find(source, Key.EMAIL)
    find(source, Key.EMAIL)
    server.next.append("not_let_in")
    (person,) = find(source, Key.EMAIL)

    tokens = [asked for asked in server.asked if asked.path.endswith("/token")]
    assert person.name == "Ada Lovelace"
    assert len(tokens) == 2


@of("salesforce")
def test_salesforce_asks_no_third_time_when_a_new_token_is_refused_as_well(vendor):
    server, source = vendor
    server.next.extend(["token", "not_let_in", "token", "not_let_in"])

    error = refusal(source)

    assert "endpoints.email: the server does not let us in (401)" in str(error)
    assert error.permanent
    assert len(server.asked) == 4


@of("salesforce")
def test_salesforce_gives_no_token_for_a_wrong_secret(vendor):
    server, source = vendor
    server.next.append("token_refused")

    error = refusal(source)

    assert "gives us no token (400); correct client_id" in str(error)
    assert error.permanent
    assert len(server.asked) == 1


@of("salesforce")
def test_salesforce_cannot_say_who_is_meant_by_a_number_that_two_have(vendor):
    _, source = vendor

    error = refusal(source, Key.EXTERNAL_ID, "C-2002")

    assert "refuses the question (300)" in str(error)


@of("pipedrive")
@pytest.mark.parametrize("key", [Key.EMAIL, Key.PHONE])
def test_pipedrive_knows_a_person_and_no_digit_of_an_id_is_lost(vendor, key):
    server, source = vendor

    (person,) = find(source, key)

    assert person.external_id == "12345678901234567890"
    assert person.details["company"] == "Engines Ltd"
    assert [str(deal["value"]) for deal in person.details["deals"]] == ["1500.5", "0", "10.1", "7"]
    assert [asked.query.get("start") for asked in server.asked[1:]] == [None, "2", "4"]


@of("pipedrive")
def test_a_success_that_says_it_is_none_is_an_error(vendor):
    server, source = vendor
    server.next.append("failure_in_success")

    error = refusal(source)

    assert "reports an error in an answer of success" in str(error)


@EVERY_VENDOR
def test_a_stranger_is_unknown_to_every_vendor(vendor):
    _, source = vendor
    strangers = {
        Key.EXTERNAL_ID: "9999",
        Key.EMAIL: "stranger@example.com",
        Key.PHONE: "+46701740699",
    }

    found = {key: asked_of(source, key, strangers[key]).outcome for key in source.keys}

    assert set(found.values()) == {Outcome.UNKNOWN}


@pytest.mark.parametrize(
    ("vendor", "situation"),
    [
        file.stem.split("__")
        for file in RECORDINGS
        if file.stem.endswith(("not_let_in", "too_often", "out_of_order"))
    ],
    indirect=["vendor"],
)
def test_every_vendors_errors_are_of_the_right_kind(vendor, situation):
    server, source = vendor
    if server.name == "salesforce":
        server.next.append("token")
        if situation == "not_let_in":
            server.next.extend(["not_let_in", "token"])
    server.next.append(situation)

    error = refusal(source)

    recorded = server.recordings[situation]["reply"]
    assert error.permanent is (situation == "not_let_in")
    assert f"({recorded['status']})" in str(error)
    wait = recorded.get("headers", {}).get("Retry-After")
    assert wait is None or f"asks us to wait {wait} s" in str(error)


@of("hubspot")
@pytest.mark.parametrize(
    ("situation", "says"),
    [
        ("migration", "(477) and asks us to wait 86400 s"),
        ("property_unknown", "(400); compare"),
    ],
)
def test_hubspots_further_errors_say_what_to_do(vendor, situation, says):
    server, source = vendor
    server.next.append(situation)

    error = refusal(source)

    assert says in str(error)
    assert not error.permanent


@EVERY_VENDOR
def test_every_vendor_passes_the_check(vendor):
    server, source = vendor

    source.check()

    identities = {"ada", "C-1001", "1740605"}
    assert not [
        asked.target for asked in server.asked if any(i in asked.target for i in identities)
    ]


@of("woocommerce")
def test_the_check_finds_a_wrong_path_although_404_means_unknown(vendor):
    server, source = vendor
    server.always = "no_route"

    assert find(source, Key.EMAIL) == []
    with pytest.raises(SourceError, match=r"endpoints.email: .* \(404\); compare path"):
        source.check()


@of("zendesk")
def test_the_check_asks_health_alone(vendor):
    server, source = vendor

    source.check()
    server.always = "not_let_in"

    assert [asked.path for asked in server.asked] == ["/api/v2/users/me"]
    with pytest.raises(SourceError, match="health: the server does not let us in"):
        source.check()


@pytest.mark.parametrize(
    "vendor", ["hubspot", "zendesk", "woocommerce", "pipedrive"], indirect=True
)
def test_wrong_secrets_are_noticed(vendor, tmp_path):
    server, _ = vendor
    wrong = dict.fromkeys(SECRETS, CANARY)

    with closing(from_page(server.name, server.url, tmp_path, wrong)) as source:
        error = refusal(source)

    assert "does not let us in" in str(error)
    assert error.permanent
    assert CANARY not in str(error)


def test_every_recording_says_where_it_is_from_and_is_played():
    """The situations that no request matches are played by name."""
    by_name = {"not_let_in", "too_often", "out_of_order", "migration", "property_unknown"}
    by_name |= {"no_route", "token_refused", "failure_in_success"}
    for file in RECORDINGS:
        situation = file.stem.partition("__")[2]
        recording = json.loads(file.read_text("utf-8"))

        assert recording.keys() == {"about", "origin", "request", "reply"}
        assert recording["about"].endswith(".")
        assert "documentation" in recording["origin"]
        assert (situation in by_name) == (not recording["request"])


class TestContract(SourceContract):
    """What every source has to do, on Zendesk's example."""

    known = ADA
    name = "Ada Lovelace"
    external_id = "C-1001"

    @pytest.fixture
    def source(self, tmp_path):
        with playing("zendesk") as server, ExitStack() as stack:
            yield stack.enter_context(closing(from_page("zendesk", server.url, tmp_path)))

    @pytest.fixture
    def broken(self, tmp_path):
        with closing(from_page("zendesk", "http://127.0.0.1:9", tmp_path)) as source:
            yield source


# --- the page -------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_of_the_page_loads(block, tmp_path):
    """Parts of a source stand in the smallest one."""
    smallest = BLOCKS[0]
    if not block.startswith("[[sources]]"):
        if not block.startswith("["):
            block = f"[sources.endpoints.external_id]\npath = '/{{external_id}}'\n{block}"
        block = f"{smallest}\n{block}"
    panels = '[panels.default]\nkeys = [{ id = "1", secret = { env = "KEY" } }]\n'
    file = tmp_path / "imbox.toml"
    file.write_text(block + panels, "utf-8")

    app = create_app(file, {**SECRETS, "KEY": "0123456789abcdef"})

    (source,) = app.extensions["imbox_plugin"].panels["default"].directory.sources
    assert isinstance(source, RestSource)


def test_the_smallest_example_finds_somebody(tmp_path):
    person = {
        "id": 7,
        "first_name": "Ada",
        "last_name": None,
        "email": "ada@example.com",
        "phone": None,
        "mobile": "+46701740605",
        "customer": {"tier": "gold"},
    }
    with serving(answer({"results": [person]})) as server:
        text = BLOCKS[0].replace("https://api.crm.example/v1", server.url)
        file = tmp_path / "imbox.toml"
        file.write_text(text, "utf-8")
        with closing(load(SettingsFile(file, SECRETS).tables["sources"][0])) as source:
            (found,) = find(source, Key.EMAIL)

    assert (found.external_id, found.name, found.phones) == ("7", "Ada", ("+46701740605",))
    assert found.details == {"tier": "gold"}


@pytest.mark.parametrize(
    ("record", "expression", "gives"),
    [
        ({"person": {"mail": "a@b.se"}}, "person.mail", ("a@b.se",)),
        ({"emails": [{"value": "a@b.se"}]}, "emails[].value", ("a@b.se",)),
        ({"e-mail": "a@b.se, c@d.se;"}, '"e-mail"', ("a@b.se", "c@d.se")),
        ({"a": ["a@b.se", None], "b": "a@b.se"}, "[a, b]", ("a@b.se",)),
        ({"f": [{"key": "m", "value": "x@y.se"}]}, "f[?key == 'm'].value | [0]", ("x@y.se",)),
        ({}, "mail", ()),
        ({"mail": {"a": 1}}, "mail", ()),
    ],
)
def test_identities_are_found_however_they_lie(record, expression, gives):
    with source_of(answer([record]), contact={"emails": expression}) as source:
        (person,) = find(source, Key.EMAIL)

    assert person.emails == gives


# --- what an answer may be ------------------------------------------------------------------------


@pytest.mark.parametrize("document", [None, [], [None]])
def test_no_record_is_nobody(document):
    with source_of(answer(document)) as source:
        assert find(source, Key.EMAIL) == []


def test_one_object_is_one_person():
    with source_of(answer({"id": 1.0, "name": "Ada", "mail": "ada@example.com"})) as source:
        (person,) = find(source, Key.EMAIL)

    assert (person.external_id, person.name) == ("1", "Ada")


@pytest.mark.parametrize("document", ["text", ["text"], 5, [[{"id": 1}]], True])
def test_something_else_than_objects_is_an_error(document):
    with source_of(answer(document)) as source:
        error = refusal(source)

    assert "gives something else than objects; correct it" in str(error)


def test_an_expression_that_does_not_fit_says_where_and_tells_no_value():
    contact = {"name": "join(' ', [name, last])"}
    with source_of(answer([{"id": 1, "name": CANARY, "last": None}]), contact=contact) as source:
        error = refusal(source)

    assert str(error) == (
        "contact.name does not fit what the server sent (JMESPathTypeError in join()); "
        "allow for what may be missing, as in [a, b][?@]"
    )
    assert CANARY not in "".join(traceback.format_exception(error))


def test_details_that_are_no_object_are_an_error():
    with source_of(answer([{"id": 1, "name": "x"}]), contact={"details": "name"}) as source:
        error = refusal(source)

    assert "contact.details gives no object" in str(error)


def test_depth_is_cut_and_not_survived_by_luck():
    deep = "x"
    for _ in range(300):
        deep = [deep]
    with source_of(answer({"id": 1, "mail": "ada@example.com", "deep": deep})) as source:
        (person,) = find(source, Key.EMAIL)

    assert json.dumps(person.details["deep"]).count("[") == 32


def test_decimals_pass_through_functions_unchanged():
    orders = [{"at": 2, "sum": 1}, {"at": 1, "sum": 2}]
    body = json.dumps({"id": 1, "orders": orders}).replace('"sum": 1', '"sum": 12.50').encode()
    details = {"orders": "sort_by(orders, &sum)", "sum": "sum(orders[].sum)"}
    with source_of(answering(body=body), contact={"details": details}) as source:
        (person,) = find(source, Key.EMAIL)

    assert [str(order["sum"]) for order in person.details["orders"]] == ["2", "12.50"]
    assert person.details["sum"] == 14.5


@pytest.mark.parametrize(
    ("status", "actions", "outcome"),
    [
        ("404 X", {}, "unknown"),
        ("404 X", {"404": "permanent"}, "permanent"),
        ("400 X", {"400": "unknown"}, "unknown"),
        ("410 X", {}, "temporary"),
        ("403 X", {}, "permanent"),
        ("403 X", {"403": "temporary"}, "temporary"),
        ("503 X", {"503": "permanent"}, "permanent"),
        ("302 X", {}, "permanent"),
    ],
)
def test_statuses_mean_what_the_settings_say(status, actions, outcome):
    endpoints = {"email": {**TABLE["endpoints"]["email"], "response_actions": actions}}
    with source_of(answer({}, status), endpoints=endpoints) as source:
        if outcome == "unknown":
            assert find(source, Key.EMAIL) == []
        else:
            error = refusal(source)
            assert error.permanent is (outcome == "permanent")


@pytest.mark.parametrize(
    ("play", "says"),
    [
        (answering(body=b"<html>"), "is not JSON in UTF-8"),
        (answering(body=b"[" * 100_000), "is not JSON in UTF-8"),
        (answering(body=b" " * 2_000_000), "larger than size_limit"),
        (answering(headers=["Location: /x"], status="307 X"), "redirects to another address"),
        (lambda wire: wire.request(), "broke off"),
        (
            lambda wire: (wire.request(), wire.drip(b"HTTP/1.1 200 OK\r\n" * 200)),
            "not answer in time",
        ),
    ],
    ids=["html", "deep", "large", "redirect", "gone", "drip"],
)
def test_a_server_that_misbehaves_is_a_source_error(play, says):
    with source_of(play, time_limit=0.25) as source:
        error = refusal(source)

    assert str(error).startswith("endpoints.email: ")
    assert says in str(error)


# --- pages ----------------------------------------------------------------------------------------


def pages(*documents):
    """A play that gives one document after the other, and keeps what it was asked."""
    requests = []

    def play(wire):
        while (request := wire.request()) is not None:
            requests.append(request.split(b" ")[1].decode())
            body = json.dumps(documents[min(len(requests), len(documents)) - 1]).encode()
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    return play, requests


PEOPLE = [{"id": number, "mail": "ada@example.com"} for number in range(5)]


@pytest.mark.parametrize(
    ("pagination", "documents", "asked"),
    [
        ({"type": "page", "param": "p", "size": 2}, [PEOPLE[:2], PEOPLE[2:3]], ["", "&p=2"]),
        (
            {"type": "page", "param": "p", "size": 2, "first": 0},
            [PEOPLE[:2], PEOPLE[2:4], []],
            ["", "&p=1", "&p=2"],
        ),
        ({"type": "offset", "param": "o", "size": 2}, [PEOPLE[:2], []], ["", "&o=2"]),
        ({"type": "link"}, [PEOPLE[:1]], [""]),
    ],
)
def test_pages_are_asked_for_until_one_is_not_full(pagination, documents, asked):
    play, requests = pages(*documents)
    endpoints = {"email": {**TABLE["endpoints"]["email"], "pagination": pagination}}
    with source_of(play, endpoints=endpoints) as source:
        found = find(source, Key.EMAIL)

    assert [person.external_id for person in found] == [
        str(person["id"]) for document in documents for person in document
    ]
    assert requests == [f"/people?email=ada%40example.com{more}" for more in asked]


def test_people_on_more_pages_than_are_asked_for_are_an_error():
    pagination = {"type": "page", "param": "p", "size": 1, "max_pages": 2}
    endpoints = {"email": {**TABLE["endpoints"]["email"], "pagination": pagination}}
    play, requests = pages([PEOPLE[0]])
    with source_of(play, endpoints=endpoints) as source:
        error = refusal(source)

    assert "more pages for one identity than max_pages" in str(error)

    assert len(requests) == 2


def test_related_pages_are_cut_at_the_limit():
    pagination = {"type": "cursor", "param": "c", "next": "next", "max_pages": 2}
    related = {"orders": {"path": "/o", "data_selector": "data", "pagination": pagination}}
    play, requests = pages(PEOPLE[0], {"data": [1], "next": "a b"}, {"data": [2], "next": "c"})
    with source_of(play, related=related) as source:
        (person,) = find(source, Key.EMAIL)

    assert person.details["orders"] == [1, 2]
    assert requests[1:] == ["/o", "/o?c=a%20b"]


def test_pages_that_are_no_lists_are_an_error():
    endpoints = {"email": {**TABLE["endpoints"]["email"], "pagination": {"type": "link"}}}
    with source_of(answer({"id": 1}), endpoints=endpoints) as source:
        error = refusal(source)

    assert "gives no list, which pages are" in str(error)


# --- related --------------------------------------------------------------------------------------


RELATED = {"orders": {"path": "/of/{external_id}/{phone}", "data_selector": "@"}}


def test_nothing_is_asked_about_somebody_who_is_not_the_one():
    play, requests = pages([{"id": 1, "mail": "else@example.com"}, {"id": 2, "mail": None}])
    with source_of(play, related=RELATED) as source:
        found = find(source, Key.EMAIL)

    assert len(found) == 2
    assert len(requests) == 1


def test_rows_of_one_person_are_one_person_whose_related_are_asked_once():
    rows = [{"id": 1, "mail": "ada@example.com", "n": n} for n in (1, 2)]
    play, requests = pages([*rows, {"id": 3, "mail": "x@example.com"}], ["order"])
    related = {"orders": {"path": "/of/{external_id}"}}
    with source_of(play, related=related) as source:
        ada, other = find(source, Key.EMAIL)

    assert ada.details == {"id": 1, "mail": "ada@example.com", "n": 1, "orders": ["order"]}
    assert other.external_id == "3"
    assert len(requests) == 2


def test_what_a_person_lacks_is_not_asked_for():
    play, requests = pages({"id": 1, "mail": "ada@example.com"})
    with source_of(play, related=RELATED) as source:
        (person,) = find(source, Key.EMAIL)

    assert person.details["orders"] == []
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("external_id", "endpoint"),
    [
        ("..", {"path": "/of/{external_id}/orders"}),
        ("\ud800", {"path": "/of/{external_id}/orders"}),
        ("\ud800", {"path": "/of", "json": {"id": "{external_id}"}}),
    ],
)
def test_an_id_that_cannot_be_asked_for_has_nothing_related(external_id, endpoint):
    play, requests = pages({"id": external_id, "mail": "ada@example.com"})
    with source_of(play, related={"orders": endpoint}) as source:
        (person,) = find(source, Key.EMAIL)

    assert person.details["orders"] == []
    assert len(requests) == 1


def test_related_are_asked_by_what_the_record_has_and_by_its_forms():
    play, requests = pages({"id": 1, "mail": "Ada@Example.com", "tel": "070 1", "n": 5}, [])
    params = {"tel": "{phone}", "mail": "{email}", "local": "{email_local}", "n": "{number}"}
    with source_of(
        play,
        contact={"phones": "tel", "details": {"number": "n"}},
        related={"orders": {"path": "/orders", "params": params}},
    ) as source:
        find(source, Key.EMAIL)

    assert requests[1] == "/orders?tel=070%201&mail=Ada%40Example.com&local=ada&n=5"


def test_all_requests_of_a_question_share_its_time():
    related = {name: {"path": "/slow"} for name in ("a", "b", "c", "d", "e")}
    slow = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + b" " * 10

    def play(wire):
        while (request := wire.request()) is not None:
            if b" /slow " in request:
                wire.drip(slow[:20])
                wire.send(slow[20:])
            else:
                body = json.dumps({"id": 1, "mail": "ada@example.com"}).encode()
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with source_of(play, related=related, time_limit=0.9) as source:
        error = refusal(source)

    assert re.match(r"related\.[b-e]: the server did not answer in time", str(error))


# --- hostile identities, threads, secrets ---------------------------------------------------------


def echo(requests):
    """A play that knows exactly one person, by any path and parameter."""

    def play(wire):
        while (request := wire.request()) is not None:
            requests.append(request.split(b" ")[1].decode())
            body = json.dumps({"id": CANARY, "mail": f"{CANARY}@example.com"}).encode()
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    return play


def test_a_hostile_identity_stays_one_segment_or_is_not_asked_and_finds_nobody_else(corpus):
    requests = []
    with source_of(echo(requests), related={"more": {"path": "/more"}}) as source:
        for case in corpus("identity_hostile_values"):
            value = normal_form(Key.EXTERNAL_ID, case["payload"], None)
            if value is None:
                continue
            before = len(requests)
            finding = asked_of(source, Key.EXTERNAL_ID, value)

            assert finding.outcome is Outcome.UNKNOWN
            assert len(requests) <= before + 1
            for target in requests[before:]:
                people, segment = target.removeprefix("/").split("/")
                assert (people, unquote(segment)) == ("people", value)


def test_a_hostile_text_in_a_body_stays_a_text():
    bodies = []

    def play(wire):
        while (request := wire.request()) is not None:
            bodies.append(json.loads(request.partition(b"\r\n\r\n")[2]))
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")

    body = {"query": "query($q: String!) { id }", "variables": {"q": "id:{external_id}", "n": 5}}
    endpoints = {"external_id": {"path": "/graphql", "json": body}}
    with source_of(play, endpoints=endpoints) as source:
        assert find(source, Key.EXTERNAL_ID, '"}, {external_id} \\u0022\ud800') == ()
        find(source, Key.EXTERNAL_ID, '"}, {external_id} \\u0022')

    assert bodies == [
        {
            "query": "query($q: String!) { id }",
            "variables": {"q": 'id:"}, {external_id} \\u0022', "n": 5},
        }
    ]


def test_32_threads_find_each_their_own_person():
    def play(wire):
        while (request := wire.request()) is not None:
            number = request.split(b" ")[1].rpartition(b"/")[2].decode()
            body = json.dumps({"id": number, "name": f"N{number}"}).encode()
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    numbers = [str(number) for number in range(320)]
    with source_of(play, time_limit=30) as source, ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda number: find(source, Key.EXTERNAL_ID, number), numbers))

    assert [[person.name] for (person,) in found] == [[f"N{number}"] for number in numbers]


@pytest.mark.parametrize(
    "play",
    [
        answer({}, "401 No"),
        answer({CANARY: CANARY}, "500 No"),
        answering(body=CANARY.encode()),
        answer(CANARY),
        lambda wire: wire.request(),
        answering(status="302 X", headers=[f"Location: https://{CANARY}/"]),
    ],
)
def test_neither_log_nor_error_tells_a_secret_an_address_or_an_identity(play, caplog):
    caplog.set_level(logging.DEBUG)
    auth = {"type": "api_key", "name": "key", "api_key": CANARY, "location": "query"}
    with source_of(play, client={"auth": auth}) as source:
        for key, value in ((Key.EMAIL, f"{CANARY}@example.com"), (Key.EXTERNAL_ID, CANARY)):
            error = refusal(source, key, value)
            told = str(error) + repr(error) + str(asked_of(source, key, value).reason)

            assert CANARY not in told
            assert "127.0.0.1" not in told
    own = [record for record in caplog.records if record.name == "imbox_plugin.directory"]
    assert caplog.records == own
    assert CANARY not in caplog.text


# --- settings -------------------------------------------------------------------------------------


def mistakes(tmp_path, text):
    """What the start says about `[[sources]]` with this text, by path."""
    file = tmp_path / "imbox.toml"
    panels = '[panels.default]\nkeys = [{ id = "1", secret = { env = "KEY" } }]\n'
    file.write_text(f'[[sources]]\nname = "crm"\ntype = "rest"\n{text}\n{panels}', "utf-8")
    with pytest.raises(SettingsError) as caught:
        create_app(file, {"KEY": "0123456789abcdef"})
    return {problem.path: problem.message for problem in caught.value.problems}


GOOD = """
[sources.client]
base_url = "https://crm.example"
[sources.endpoints.email]
path = "/people"
params = { email = "{email}" }
[sources.contact]
emails = "mail"
"""


@pytest.mark.parametrize(
    ("good", "bad", "path", "says"),
    [
        ('"https://crm.example"', '"http://crm.example"', "client.base_url", "insecure = true for"),
        ('"https://crm.example"', '"crm"', "client.base_url", "not an address; write it as https"),
        ("base_url", "base_uri", "client.base_uri", "did you mean base_url?"),
        ("/people", "/people?x", "endpoints.email.path", "not a path; write it as /customers"),
        ("/people", "people", "endpoints.email.path", "not a path"),
        (
            "/people",
            "/people/{mail}",
            "endpoints.email.path",
            "no placeholder is called 'mail'; did you mean email?",
        ),
        (
            "/people",
            "/people/{phone}",
            "endpoints.email.path",
            "there are: email, email_domain, email_local",
        ),
        ("{email}", "{external_id}", "endpoints.email.params", "no placeholder is called"),
        (
            "{email}",
            "all",
            "endpoints.email.path",
            "would ask for everybody; write {email}, {email_local}",
        ),
        ("endpoints.email", "endpoints.mail", "endpoints.mail", "did you mean email?"),
        ('"mail"', '"mail["', "contact.emails", "not a JMESPath expression (character 6)"),
        (
            '"mail"',
            '"lower(mail)"',
            "contact.emails",
            "no function is called 'lower'; did you mean floor?",
        ),
        (
            "emails",
            "phones",
            "contact.emails",
            "missing; without it nobody found by email could be",
        ),
        (
            '"mail"',
            '"mail"\ndetails = { email = "x" }',
            "contact.details.email",
            "not a name for a detail",
        ),
        (
            '"mail"',
            '"mail"\ndetails = { a = "x[" }',
            "contact.details.a",
            "not a JMESPath expression",
        ),
        ('"mail"', '"mail"\ndetails = 5', "contact.details", "must be a text"),
    ],
)
def test_a_mistake_is_found_at_the_start_and_its_place_named(tmp_path, good, bad, path, says):
    assert good in GOOD

    found = mistakes(tmp_path, GOOD.replace(good, bad))

    assert says in found[f"sources[0].{path}"]


@pytest.mark.parametrize(
    ("more", "path", "says"),
    [
        ("[sources.related.email]\npath = '/x'", "related.email", "not a name for a detail"),
        ("[sources.related.a]\npath = '/{b}'", "related.a.path", "no placeholder is called 'b'"),
        (
            "[sources.related.a]\npagination = { type = 'link' }",
            "related.a.path",
            "missing; add it",
        ),
        (
            "[sources.related.a]\npath = '/x'\nmethod = 'PUT'",
            "related.a.method",
            "one of: GET, POST",
        ),
        (
            "[sources.related.a]\npath = '/x'\njson = { a = nan }",
            "related.a.json",
            "holds what JSON has not",
        ),
        (
            "[sources.related.a]\npath = '/x'\njson = { a = 2026-01-01 }",
            "related.a.json",
            "dates as texts",
        ),
        (
            "[sources.related.a]\npath = '/x'\nparams = { a = [1] }",
            "related.a.params.a",
            "must be a text, a number",
        ),
        (
            "[sources.related.a]\npath = '/x'\nresponse_actions = { 40 = 'unknown' }",
            "related.a.response_actions.40",
            "not a status such as 404",
        ),
        (
            "[sources.related.a]\npath = '/x'\nresponse_actions = { 404 = 'ignore' }",
            "related.a.response_actions.404",
            "must be one of: unknown, temporary, permanent",
        ),
        (
            "[sources.related.a]\npath = '/x'\npagination = { type = 'page', param = 'p' }",
            "related.a.pagination.size",
            "missing; add it",
        ),
        (
            "[sources.related.a]\npath = '/x'\npagination = { type = 'link', size = 5 }",
            "related.a.pagination.size",
            "means nothing to the type link",
        ),
        ("[sources.health]\npath = '/{email}'", "health.path", "no placeholder is called 'email'"),
    ],
)
def test_a_mistake_in_a_further_table_is_found_at_the_start(tmp_path, more, path, says):
    found = mistakes(tmp_path, f"{GOOD}\n{more}")

    assert says in found[f"sources[0].{path}"]


@pytest.mark.parametrize(
    ("auth", "path", "says"),
    [
        ("{ type = 'digest' }", "type", "must be one of: bearer, api_key, http_basic, oauth2"),
        ("{ type = 'bearer' }", "token", "missing; add it"),
        ("{ type = 'bearer', token = 'a\\nb' }", "token", "must be plain ASCII in one line"),
        (
            "{ type = 'bearer', token = 'x', name = 'X' }",
            "name",
            "means nothing to the type bearer",
        ),
        ("{ type = 'api_key', name = 'a b', api_key = 'x' }", "name", "not the name of a header"),
        (
            "{ type = 'api_key', name = 'a', api_key = 'x', location = 'body' }",
            "location",
            "header, query",
        ),
        ("{ type = 'http_basic', username = 'a:b', password = 'x' }", "username", "no colon"),
        (
            "{ type = 'oauth2', token_url = 'http://t.se', client_id = 'i', client_secret = 's' }",
            "token_url",
            "http sends secrets for everybody to read",
        ),
    ],
)
def test_a_mistake_in_auth_is_found_at_the_start(tmp_path, auth, path, says):
    auth = auth.replace("'", '"')
    found = mistakes(tmp_path, GOOD.replace('crm.example"', f'crm.example"\nauth = {auth}'))

    assert says in found[f"sources[0].client.auth.{path}"]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("Authorization", "write it as auth"),
        ("Host", "not the name of a header"),
        ("a b", "not the name of a header"),
    ],
)
def test_a_header_that_is_not_ours_to_set_is_refused(tmp_path, header, says):
    table = GOOD.replace('crm.example"', f'crm.example"\nheaders = {{ "{header}" = "x" }}')

    found = mistakes(tmp_path, table)

    assert (
        says
        in found[f"sources[0].client.headers.{json.dumps(header) if ' ' in header else header}"]
    )


def test_a_secret_in_the_file_is_warned_about(tmp_path):
    file = tmp_path / "imbox.toml"
    auth = 'auth = { type = "bearer", token = "literal" }'
    file.write_text(
        "[[sources]]\n" + GOOD.replace('crm.example"', f'crm.example"\n{auth}'), "utf-8"
    )
    settings = SettingsFile(file, {})

    settings.load_whole(RestSource.Options(), settings.tables["sources"][0], "sources[0]")

    assert [warning.path for warning in settings.warnings] == ["sources[0].client.auth.token"]


@pytest.mark.parametrize(
    ("auth", "line"),
    [
        ({"type": "bearer", "token": "t"}, b"Authorization: Bearer t\r\n"),
        ({"type": "api_key", "name": "X-Key", "api_key": "k"}, b"X-Key: k\r\n"),
        (
            {"type": "api_key", "name": "Authorization", "prefix": "Token ", "api_key": "k"},
            b"Authorization: Token k\r\n",
        ),
        ({"type": "api_key", "name": "key", "api_key": "a b", "location": "query"}, b"?key=a%20b&"),
        (
            {"type": "http_basic", "username": "u", "password": "å:"},
            b"Authorization: Basic dTrDpTo=\r\n",
        ),
    ],
)
def test_each_kind_of_auth_is_sent_where_it_belongs(auth, line):
    requests = []

    def play(wire):
        while (request := wire.request()) is not None:
            requests.append(request)
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")

    with source_of(play, client={"auth": auth, "headers": {"X-A": "b"}}) as source:
        find(source, Key.EMAIL)

    assert line in requests[0]
    assert b"X-A: b\r\n" in requests[0]


def test_the_table_of_a_test_is_one_that_loads():
    """So that a mistake made above is the one that is found."""
    assert load(TABLE).keys == {Key.EMAIL, Key.EXTERNAL_ID}
    assert tomllib.loads(f"[[sources]]{GOOD}")
