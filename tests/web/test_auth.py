"""Who is let in, and who is not."""

from __future__ import annotations

import base64
import hmac
import sys
from datetime import UTC, datetime, timedelta

import pytest
from flask import Request
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from imbox_plugin.settings import AccessKey
from imbox_plugin.web.auth import Gate
from tests.web.conftest import KEY, SETTINGS, basic

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

TWO_PANELS = """
[[sources]]
name = "crm"
type = "inline"
people = []

[panels.sales]
keys = [{ id = "sales", secret = { env = "SALES_KEY" } }]
[panels.support]
keys = [{ id = "support", secret = { env = "SUPPORT_KEY" } }]
"""


def gate(*secrets, **options):
    """A gate whose keys have the ids 0, 1, 2."""
    return Gate([AccessKey(str(at), secret) for at, secret in enumerate(secrets)], **options)


def request(authorization=None, query="", **headers):
    """A request whose header texts are UTF-8 on the wire, as a server hands them on."""
    if authorization is not None:
        headers["Authorization"] = authorization
    environ = EnvironBuilder("/imbox", query_string=query).get_environ()
    for name, value in headers.items():
        environ[f"HTTP_{name.upper()}"] = value.encode().decode("latin-1")
    return Request(environ)


@pytest.mark.parametrize(
    "header",
    [
        basic(KEY),
        basic(f"{KEY}:"),
        basic(f":{KEY}"),
        basic(f"{KEY}:any password"),
        basic(f"imbox:{KEY}"),
        f"Bearer {KEY}",
        f"bEARER {KEY}",
        basic(KEY).replace("Basic", "bASIC"),
        basic(KEY).replace(" ", "   "),
        f" {basic(KEY)}\t",
    ],
)
def test_the_key_opens_as_basic_user_or_password_and_as_bearer(header):
    assert gate(KEY).key_id(request(header)) == "0"


@given(
    key=st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1),
    user=st.text(st.characters(exclude_characters=":", exclude_categories=("Cs",))),
)
@example("a key: with colons: inside", "imbox")
@example("a-key-that-ends-with-a-colon:", "imbox")
@example("nyckeln-till-ÅÄÖ-Å", "")
def test_any_key_opens_in_every_way_it_may_arrive(key, user):
    shut = gate(key)

    assert shut.key_id(request(basic(key))) == "0"
    assert shut.key_id(request(basic(f"{key}:"))) == "0"
    assert shut.key_id(request(basic(f"{user}:{key}"))) == "0"
    if key == key.strip(" "):
        assert shut.key_id(request(f"Bearer {key}")) == "0"


def test_a_key_whose_environment_variable_is_not_utf8_opens_by_the_same_bytes():
    raw = b"a key in Latin-1: \xe5\xe4\xf6"
    secret = raw.decode(errors="surrogateescape")

    assert gate(secret).key_id(request(basic(raw))) == "0"


@pytest.mark.parametrize(
    "near",
    [
        KEY[:-1],
        f"{KEY}x",
        KEY.upper(),
        f"{KEY}\0",
        f"\ufeff{KEY}",
        f"{KEY}{KEY}",
        f" {KEY}",
        base64.b64encode(KEY.encode()).decode(),
        f"user:{KEY}:x",
        f"user:more:{KEY}",
    ],
)
def test_nearly_the_key_opens_nothing(near):
    assert gate(KEY).key_id(request(basic(near))) is None


@pytest.mark.parametrize(
    "header",
    [
        KEY,
        f"Token {KEY}",
        basic(KEY).replace("Basic", "Digest"),
        f"Basic {KEY}",
        f"Basic:{KEY}",
        f"Basic\t{base64.b64encode(KEY.encode()).decode()}",
        f'Bearer "{KEY}"',
        f"Bearer {KEY}, Bearer {KEY}",
        f"{basic(KEY)}, {basic(KEY)}",
        f"{basic(KEY)} x",
        f"{basic(KEY)[:12]}*{basic(KEY)[12:]}",
        f"Bearer {base64.b64encode(KEY.encode()).decode()}",
        basic(basic(KEY)),
    ],
)
def test_a_header_of_another_form_opens_nothing_even_with_the_key_in_it(header):
    assert gate(KEY).key_id(request(header)) is None


def test_base64_needs_its_padding_and_the_standard_alphabet():
    key = "ÿÿÿÿ-a-key-with-ÿÿÿÿ?"
    standard = base64.b64encode(key.encode()).decode()
    urlsafe = base64.urlsafe_b64encode(key.encode()).decode()

    assert standard != urlsafe
    assert standard.endswith("=")
    assert gate(key).key_id(request(f"Basic {standard}")) == "0"
    assert gate(key).key_id(request(f"Basic {urlsafe}")) is None
    assert gate(key).key_id(request(f"Basic {standard.rstrip('=')}")) is None


@given(
    st.binary().map(lambda raw: raw.decode("latin-1"))
    | st.binary().map(basic)
    | st.text("abcABC019+/=-_ ,:%\t\0").map("Basic {}".format)
    | st.binary().map(lambda raw: f"Bearer {raw.decode('latin-1')}")
)
def test_any_other_header_is_refused_and_breaks_nothing(header):
    environ = EnvironBuilder("/imbox").get_environ()
    environ["HTTP_AUTHORIZATION"] = header

    assert gate(KEY, "another-key-0123456789").key_id(Request(environ)) is None


def test_malformed_headers_are_401(app, corpus):
    client = app.test_client()
    for case in corpus("auth_malformed_headers"):
        header = case["payload"].encode().decode("latin-1")
        answer = client.get(
            "/imbox?view=chat&email=anna@example.com",
            environ_overrides={"HTTP_AUTHORIZATION": header},
        )

        assert answer.status_code == 401, case["payload"]


def test_nothing_opens_a_gate_without_keys():
    assert gate(header="X-Api-Key", query=True).key_id(request(basic(KEY), f"key={KEY}")) is None


@pytest.mark.parametrize(
    "nothing",
    [
        request(),
        request(""),
        request("Basic"),
        request("Basic "),
        request(basic("")),
        request(basic(":")),
        request("Bearer "),
        request(query="key="),
        request(query="key"),
        request(X_API_KEY=""),
    ],
)
def test_a_blank_key_opens_nothing_even_where_the_secret_is_blank(nothing):
    assert gate("", header="X-Api-Key", query=True).key_id(nothing) is None


def test_a_header_of_the_panels_own_may_hold_the_bare_key():
    own = request(X_API_KEY="nyckeln-Å")

    assert gate("nyckeln-Å", header="x-api-KEY").key_id(own) == "0"
    assert gate("nyckeln-Å", header="X-Other-Key").key_id(own) is None
    assert gate("nyckeln-Å").key_id(own) is None


def test_authorization_opens_beside_a_header_of_the_panels_own():
    both = request(basic(KEY), X_API_KEY="something else")

    assert gate(KEY, header="X-Api-Key").key_id(both) == "0"


def test_the_key_parameter_opens_only_where_the_panel_allows_it():
    asked = request(query={"key": KEY})

    assert gate(KEY, query=True).key_id(asked) == "0"
    assert gate(KEY).key_id(asked) is None


def test_any_of_several_key_parameters_may_be_the_key():
    asked = request(query=[("key", ""), ("key", "not-this-one"), ("key", "nyckeln-Å")])

    assert gate("nyckeln-Å", query=True).key_id(asked) == "0"


def test_a_plus_in_the_key_parameter_has_to_be_encoded():
    shut = gate("one+two", query=True)

    assert shut.key_id(request(query="key=one%2Btwo")) == "0"
    assert shut.key_id(request(query="key=one+two")) is None


def test_while_keys_are_changed_both_open_and_the_id_tells_which():
    shut = gate("the-old-key-0123456789", "the-new-key-0123456789")

    assert shut.key_id(request(basic("the-old-key-0123456789"))) == "0"
    assert shut.key_id(request(basic("the-new-key-0123456789"))) == "1"


def test_a_key_opens_until_the_moment_it_expires():
    now = [NOON - timedelta(microseconds=1)]
    keys = [AccessKey("old", "the-old-key", expires=NOON), AccessKey("new", "the-new-key")]
    shut = Gate(keys, now=lambda: now[0])
    before = shut.key_id(request(basic("the-old-key")))
    now[0] = NOON

    assert before == "old"
    assert shut.key_id(request(basic("the-old-key"))) is None
    assert shut.key_id(request(basic("the-new-key"))) == "new"


def comparisons(shut, asked):
    """How often the constant-time comparison is called for one request."""
    calls = 0

    def count(_frame, event, function):
        nonlocal calls
        calls += event == "c_call" and function is hmac.compare_digest

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        shut.key_id(asked)
    finally:
        sys.setprofile(before)
    return calls


def test_every_candidate_is_compared_with_every_key_whatever_the_others_gave():
    keys = [
        AccessKey("first", "first-key"),
        AccessKey("expired", "expired-key", expires=NOON),
        AccessKey("last", "last-key"),
    ]
    shut = Gate(keys, header="X-Api-Key", query=True, now=lambda: NOON)

    for key in ("first-key", "expired-key", "last-key", "wrong-key", "x", "x" * 5000):
        assert comparisons(shut, request(f"Bearer {key}")) == 3
        everywhere = request(f"Bearer {key}", f"key={key}&key=other", X_API_KEY=key)
        assert comparisons(shut, everywhere) == 12


def test_the_key_of_one_panel_does_not_open_another(serve):
    sales, support = "the-key-of-the-sales-panel", "the-key-of-the-support-panel"
    client = serve(TWO_PANELS, SALES_KEY=sales, SUPPORT_KEY=support).test_client()

    def status(address, key):
        return client.get(address, headers={"Authorization": basic(key)}).status_code

    assert status("/imbox/sales?view=chat", sales) == 200
    assert status("/imbox/sales?view=chat", support) == 401
    assert status("/imbox?view=chat&plugin=support", sales) == 401
    assert status("/imbox?view=chat&plugin=support", support) == 200
    assert status("/imbox/support?view=chat&plugin=sales", sales) == 401


def test_the_settings_decide_on_a_header_and_the_key_parameter(serve):
    allowed = 'key_header = "X-Api-Key"\nkey_in_query = true\nkeys = ['
    client = serve(SETTINGS.replace("keys = [", allowed)).test_client()

    assert client.get("/imbox?view=chat", headers={"X-Api-Key": KEY}).status_code == 200
    assert client.get(f"/imbox?view=chat&key={KEY}").status_code == 200


def test_401_is_the_same_answer_whatever_was_wrong(serve):
    expired = '{ id = "2020", secret = "the-key-of-2020-0123", expires = 2020-12-31 }'
    client = serve(SETTINGS.replace("keys = [", f"keys = [{expired}, ")).test_client()
    answers = [
        client.get(f"/imbox{query}", headers={"Authorization": header} if header else {})
        for header in ("", basic(KEY[:-1]), basic("the-key-of-2020-0123"), "Basic %%%", "Nonsense")
        for query in ("?view=chat&email=anna@example.com", "?view=nonsense", f"?key={KEY}")
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.data for answer in answers}) == 1
    assert len({str(answer.headers) for answer in answers}) == 1
    assert answers[0].headers["WWW-Authenticate"].startswith("Basic ")
    assert "errors" not in answers[0].json


def test_nobody_is_looked_up_without_a_key(ask, asked):
    answer = ask("view=chat&email=anna@example.com", headers={"Authorization": ""})

    assert answer.status_code == 401
    assert asked == []


def test_a_key_in_the_body_opens_nothing(ask):
    answer = ask("view=chat", "POST", json={"key": KEY}, headers={"Authorization": ""})

    assert answer.status_code == 401
