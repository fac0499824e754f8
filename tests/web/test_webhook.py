"""What ImBox asks and what it is answered."""

from __future__ import annotations

import io
import socket
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imbox_plugin.model import Key
from schemas.request import MAX_BODY
from tests.web.conftest import KEY, SETTINGS, basic

#: the six ids and the e-mail address that ImBox may send beside `view`
PARAMETERS = (
    "email",
    "phoneNumber",
    "externalId",
    "ticketId",
    "contactId",
    "channelId",
    "callId",
)

TWO_PANELS = """
[[sources]]
name = "crm"
type = "inline"
people = [{ name = "Anna Andersson", external_id = "C-1001" }]

[panels.sales]
keys = [{ id = "2026-11", secret = { env = "IMBOX_API_KEY" } }]
blocks = [{ name = "Sales", data = [{ type = "list", rows = [{ label = "A", text = "B" }] }] }]
[panels.support]
keys = [{ id = "2026-11", secret = { env = "IMBOX_API_KEY" } }]
blocks = [{ name = "Support", data = [{ type = "list", rows = [{ label = "A", text = "B" }] }] }]
"""

#: people whom a careless comparison finds by one of the hostile values
SOMEBODY_ELSE = """
[[sources]]
name = "crm"
type = "inline"
default_region = "SE"
people = [
    { name = "Somebody Else", external_id = "123", contact_id = "123" },
    { name = "Somebody Else", external_id = "a", contact_id = "a" },
    { name = "Somebody Else", external_id = "k", contact_id = "k" },
    { name = "Somebody Else", external_id = "i", contact_id = "i" },
    { name = "Somebody Else", external_id = "ss", contact_id = "ss" },
    { name = "Somebody Else", external_id = "fi", contact_id = "fi" },
    { name = "Somebody Else", external_id = "12", contact_id = "12" },
    { name = "Somebody Else", external_id = "x", contact_id = "x" },
    { name = "Somebody Else", external_id = "inf", contact_id = "inf" },
    { name = "Somebody Else", external_id = "False", contact_id = "False" },
    { name = "Somebody Else", emails = ["anna@example.se", "a@b.example", "anna@exomple.se"] },
    { name = "Somebody Else", emails = ["ab@example.com", "a@b.se.example", "tag@example.com"] },
    { name = "Somebody Else", phones = ["+46701740605", "+461"] },
]

[panels.default]
keys = [{ id = "2026-11", secret = { env = "IMBOX_API_KEY" } }]
"""


@pytest.fixture(scope="module")
def panels(serve):
    """Ask a server with the panels sales and support."""
    client = serve(TWO_PANELS).test_client()

    def panels(address, method="GET"):
        return client.open(address, method=method, headers={"Authorization": basic(KEY)})

    return panels


def errors(answer):
    """Field -> reason of a refusal."""
    assert answer.status_code == 400
    assert answer.mimetype == "application/problem+json"
    return {error["field"]: error["reason"] for error in answer.json["errors"]}


def notices(answer):
    """The rows that say why the card shows nobody."""
    assert answer.status_code == 200
    assert answer.json["contactName"] is None
    return [row["label"] for block in answer.json["blocks"] for row in block["data"][0]["rows"]]


def test_a_known_customer_is_answered_with_a_card(ask):
    answer = ask("view=ticket&email=Anna@Example.com")

    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert answer.json["contactName"] == "Anna Andersson"
    assert answer.json["contactLink"] is None
    assert [block["name"] for block in answer.json["blocks"]] == ["crm"]


def test_get_and_post_are_the_same_question(ask):
    query = "view=call&phoneNumber=%2B46701740605"

    assert ask(query).json["contactName"] == "Anna Andersson"
    assert ask(query, "POST").data == ask(query).data


@pytest.mark.parametrize("view", ["chat", "ticket", "call", "contact", "Chat", "%20CALL%20"])
def test_each_view_is_answered(ask, asked, view):
    answer = ask(f"view={view}&externalId=C-1001")

    assert answer.status_code == 200
    assert [lookup.view for lookup in asked] == [view.replace("%20", "").lower()]


@pytest.mark.parametrize("query", ["", "view=", "view=%20", "view=visitor", "view=chat2", "chat"])
def test_a_missing_or_unknown_view_is_refused_with_the_views_there_are(ask, asked, query):
    answer = ask(f"{query}&externalId=C-1001")

    assert list(errors(answer)) == ["view"]
    assert "must be one of: chat, ticket, call, contact" in errors(answer)["view"]
    assert asked == []


def test_every_identity_reaches_the_source_in_its_normal_form(ask, asked):
    ask("view=chat&email=Nobody@Example.COM&phoneNumber=070-174%2006%2010&externalId=%20C-2%20")
    ask("view=chat&contactId=78")

    assert [dict(lookup.identities) for lookup in asked] == [
        {Key.EXTERNAL_ID: "C-2"},
        {Key.EMAIL: "nobody@example.com"},
        {Key.PHONE: "+46701740610"},
        {Key.CONTACT_ID: "78"},
    ]


def test_ids_stay_the_texts_they_are(ask, asked):
    ids = {
        "externalId": "007",
        "ticketId": "0x1F",
        "channelId": "V18751500044654323221",
        "callId": "1e3",
    }
    ask("view=chat&" + "&".join(f"{name}={value}" for name, value in ids.items()))
    (lookup,) = asked

    assert [lookup.external_id, lookup.ticket_id, lookup.channel_id, lookup.call_id] == list(
        ids.values()
    )


def test_the_plus_of_a_phone_number_may_arrive_as_a_space(ask, asked):
    ask("view=call&phoneNumber=+46701740605")
    ask("view=call&phone=%2046701740605")
    ask("view=call&phoneNumber=+0701740605")

    assert [lookup.phone for lookup in asked] == ["+46701740605"] * 3


def test_phone_is_another_name_of_phone_number_which_goes_first(ask, asked):
    ask("view=call&phone=0701740606")
    ask("view=call&phone=0701740606&phoneNumber=0701740607")
    ask("view=call&phone=0701740606&phoneNumber=")

    assert [lookup.phone for lookup in asked] == ["+46701740606", "+46701740607", "+46701740606"]


@pytest.mark.parametrize("blank", ["", "=", "=%20", "=%20%C2%A0%20", "=+"])
def test_a_blank_parameter_is_an_absent_one(ask, asked, blank):
    query = "&".join(f"{name}{blank}" for name in PARAMETERS)
    answer = ask(f"view=chat&{query}")

    assert notices(answer) == ["Nothing to search by"]
    assert asked == []


def test_the_first_of_a_repeated_parameter_that_is_not_blank_counts(ask, asked):
    ask("view=&view=chat&view=call&externalId=&externalId=%20&externalId=C-1&externalId=C-2")
    (lookup,) = asked

    assert (lookup.view, lookup.external_id) == ("chat", "C-1")


@pytest.mark.parametrize("name", ["view", *PARAMETERS, "phone", "segment"])
def test_an_oversize_parameter_is_refused_and_named(ask, asked, name):
    answer = ask(f"view=chat&email=anna@example.com&{name}={'x' * 513}")

    assert errors(answer) == {name: "longer than 512 characters"}
    assert asked == []


def test_512_characters_are_not_too_long(ask, asked):
    ask(f"view=chat&externalId={'å' * 512}")
    (lookup,) = asked

    assert lookup.external_id == "å" * 512


@pytest.mark.parametrize("control", ["%00", "%0A", "%0D%0AX-Injected:%201", "%1B", "%7F", "%C2%85"])
@pytest.mark.parametrize("name", ["view", *PARAMETERS, "segment"])
def test_a_parameter_with_a_control_character_is_refused_and_named(ask, asked, name, control):
    answer = ask(f"view=chat&email=anna@example.com&{name}=C-1001{control}")

    assert errors(answer) == {name: "contains control characters"}
    assert asked == []


def test_every_wrong_parameter_is_named_and_no_value_is_repeated(ask):
    answer = ask(f"view=chat&email={'anna@example.com' * 40}&ticketId=4711%00&externalId=C-1001")

    assert sorted(errors(answer)) == ["email", "ticketId"]
    assert b"anna" not in answer.data
    assert b"4711" not in answer.data


@pytest.mark.parametrize("name", ["email", "phoneNumber"])
def test_an_identity_without_a_normal_form_is_no_key_and_the_others_still_are(ask, asked, name):
    unusable = ask(f"view=chat&{name}=not%20one")
    found = ask(f"view=chat&{name}=not%20one&externalId=C-1001")

    assert notices(unusable) == ["Not usable"]
    assert found.json["contactName"] == "Anna Andersson"
    assert [lookup.key for lookup in asked] == [Key.EXTERNAL_ID]


def test_with_strict_validation_an_identity_without_a_normal_form_is_refused(serve):
    client = serve(f'validation = "strict"\n{SETTINGS}').test_client()
    query = "view=chat&externalId=C-1001&phone=1&email=anna"
    answer = client.get(f"/imbox?{query}", headers={"Authorization": basic(KEY)})

    assert sorted(errors(answer)) == ["email", "phoneNumber"]


def test_other_parameters_are_extras_and_never_an_identity(ask, asked):
    ask("view=chat&externalId=C-2&segment=gold&segment=silver&external_id=C-1001&Email=a@b.se")
    (lookup,) = asked

    assert lookup.identities == {Key.EXTERNAL_ID: "C-2"}
    assert lookup.extras == {"segment": "gold", "external_id": "C-1001", "Email": "a@b.se"}


def test_what_opens_and_chooses_the_panel_is_no_extra(ask, asked):
    ask(f"view=chat&externalId=C-1001&plugin=default&key={KEY}")
    (lookup,) = asked

    assert lookup.extras == {}


def test_the_fields_of_a_posted_object_are_extras_after_those_of_the_query(ask, asked):
    body = {"segment": "silver", "tier": 1, "beta": True, "list": [1], "none": None, "a": "b\0"}
    ask("view=chat&externalId=C-2&segment=gold&tier=", "POST", json=body)
    (lookup,) = asked

    assert lookup.extras == {"segment": "gold", "tier": "1", "beta": "true"}


def test_only_a_post_has_a_body(ask, asked):
    ask("view=chat&externalId=C-1001", "GET", json={"segment": "gold"})
    (lookup,) = asked

    assert lookup.extras == {}


def test_no_more_of_a_body_is_read_than_is_looked_into(ask):
    body = io.BytesIO(b" " * 1_000_000)
    answer = ask(
        "view=chat",
        "POST",
        environ_overrides={"wsgi.input": body, "CONTENT_LENGTH": "1000000"},
    )

    assert answer.status_code == 200
    assert body.tell() == MAX_BODY + 1


@pytest.mark.parametrize("sent", [b'{"segment": "gold"}', b'{"segment'])
def test_the_server_finds_its_connection_as_patient_as_it_was(ask, asked, sent):
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb", 0) as body:
        ours.settimeout(20.0)
        theirs.sendall(sent)
        overrides = {"gunicorn.socket": ours, "wsgi.input": body, "CONTENT_LENGTH": "19"}
        answer = ask("view=chat&externalId=C-1001", "POST", environ_overrides=overrides)
        (lookup,) = asked

        assert (answer.status_code, ours.gettimeout()) == (200, 20.0)
        assert lookup.extras == ({"segment": "gold"} if len(sent) == 19 else {})


def test_nothing_more_is_waited_for_from_who_sent_no_body(ask):
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb", 0) as body:
        ours.settimeout(20.0)
        # As gunicorn has it: Werkzeug reads from the connection, and errors are the connection's.
        overrides = {"gunicorn.socket": ours, "wsgi.input": body, "wsgi.input_terminated": True}
        answer = ask("view=chat&externalId=C-1001", "POST", environ_overrides=overrides)

        assert answer.json["contactName"] == "Anna Andersson"
        # Whoever closes this connection gracefully reads it to its end first.
        assert ours.recv(1) == b""


def test_nobody_is_searched_by_a_posted_identity(ask, asked):
    posted = dict.fromkeys((*PARAMETERS, "phone", "view", "plugin"), "C-1001")
    as_json = ask("view=chat", "POST", json=posted)
    as_form = ask("view=chat", "POST", data=posted)

    assert notices(as_json) == notices(as_form) == ["Nothing to search by"]
    assert asked == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[1, 2]",
        b'"text"',
        b"{",
        b'{"a": NaN, "b": 1e999}',
        b'{"\\ud800": "\\udfff", "a": "\\ud800"}',
        b"\xff\xfe\x00",
        b"[" * 60_000,
        b'{"a": "' + b"x" * 100_000 + b'"}',
        b'{"a": ' + b"9" * 5_000 + b"}",
    ],
    ids=range(11),
)
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "", "nonsense;;="])
def test_no_body_is_a_reason_to_fail(ask, body, kind):
    query = "view=ticket&email=anna@example.com"
    answer = ask(query, "POST", data=body, content_type=kind)

    assert answer.status_code == 200
    assert answer.data == ask(query).data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(), length=st.none() | st.text("0123456789-x", max_size=4))
def test_whatever_is_posted_and_however_long_it_says_it_is(ask, body, length):
    overrides = {} if length is None else {"CONTENT_LENGTH": length}
    answer = ask("view=chat&externalId=C-1001", "POST", data=body, environ_overrides=overrides)

    assert answer.json["contactName"] == "Anna Andersson"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["view", *PARAMETERS, "phone", "plugin", "key", "segment", "", "="]),
            st.text().map(str.encode) | st.text().map(quote).map(str.encode) | st.binary(),
        )
    )
)
def test_any_query_is_answered_or_refused_with_a_reason(ask, pairs):
    answer = ask(b"&".join([b"view=chat", *(name.encode() + b"=" + text for name, text in pairs)]))

    assert answer.status_code in {200, 400, 404}
    assert answer.mimetype in {"application/json", "application/problem+json"}
    assert b"Anna" not in answer.data


def test_a_query_in_raw_utf8_is_read_and_in_another_encoding_refused(ask, asked):
    ask("view=chat&externalId=Å")
    latin = ask("view=chat&externalId=Å".encode("latin-1"))

    assert [lookup.external_id for lookup in asked] == ["Å"]
    assert latin.status_code == 400
    assert "UTF-8" in latin.json["detail"]


def test_hostile_values_find_nobody_and_break_nothing(serve, corpus):
    client = serve(SOMEBODY_ELSE).test_client()
    for case in corpus("identity_hostile_values"):
        value = quote(case["payload"], safe="")
        for name in PARAMETERS:
            answer = client.get(
                f"/imbox?view=chat&{name}={value}", headers={"Authorization": basic(KEY)}
            )

            assert answer.status_code in {200, 400}, (name, case["payload"])
            assert b"Somebody" not in answer.data, (name, case["payload"])


@pytest.mark.parametrize(
    ("address", "panel"),
    [
        ("/imbox/sales?", "Sales"),
        ("/imbox/support?", "Support"),
        ("/imbox?plugin=sales&", "Sales"),
        ("/imbox?plugin=&plugin=%20support%20&plugin=sales&", "Support"),
        ("/imbox/sales?plugin=support&", "Sales"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_panel_is_chosen_by_the_path_or_else_by_plugin(panels, address, panel, method):
    answer = panels(f"{address}view=chat&externalId=C-1001", method)

    assert [block["name"] for block in answer.json["blocks"]] == [panel]


@pytest.mark.parametrize("name", ["default", "the-only-one"])
def test_without_a_name_the_default_or_only_panel_answers(serve, name):
    client = serve(SETTINGS.replace("panels.default", f"panels.{name}")).test_client()
    answer = client.get("/imbox?view=chat&plugin=", headers={"Authorization": basic(KEY)})

    assert answer.status_code == 200


def test_without_a_name_the_default_panel_answers_beside_others(serve):
    client = serve(TWO_PANELS.replace("panels.support", "panels.default")).test_client()
    answer = client.get("/imbox?view=chat&externalId=C-1001", headers={"Authorization": basic(KEY)})

    assert [block["name"] for block in answer.json["blocks"]] == ["Support"]


def test_without_a_name_several_panels_want_one(panels):
    answer = panels("/imbox?view=chat")

    assert answer.status_code == 404
    assert answer.json["errors"] == [
        {"field": "plugin", "reason": "missing; several panels share this server"}
    ]


def test_an_unknown_panel_by_plugin_is_404_and_the_parameter_named(ask, asked):
    answer = ask("view=chat&externalId=C-1001&plugin=customer-info")

    assert answer.status_code == 404
    assert answer.mimetype == "application/problem+json"
    assert answer.json["errors"] == [{"field": "plugin", "reason": "names no panel"}]
    assert b"customer-info" not in answer.data
    assert asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/imbox/",
        "/imbox/nope",
        "/imbox/Default",
        "/imbox/%20",
        "/imbox/default/",
        "/imbox/default/more",
        "/imbox//default",
        "/imbox/%2fdefault",
        "/imbox/%ff",
        "/imbox/default%00",
        "/imbox/../imbox",
        "/imbox/__class__",
        "/nothing",
        "/",
    ],
)
def test_any_other_path_is_404_and_sends_nobody_elsewhere(ask, asked, path):
    answer = ask("view=chat&externalId=C-1001", path=path)

    assert answer.status_code == 404
    assert answer.mimetype == "application/problem+json"
    assert "Location" not in answer.headers
    assert asked == []


def test_head_tells_what_get_would_and_looks_nobody_up(ask, asked):
    known = ask("view=chat&externalId=C-1001", "HEAD")
    unknown_view = ask("view=nonsense", "HEAD")
    no_key = ask("view=chat", "HEAD", headers={"Authorization": ""})

    assert (known.status_code, known.mimetype, known.data) == (200, "application/json", b"")
    # A length has to be that of the GET's answer, which nobody knows without looking up.
    assert "Content-Length" not in known.headers
    assert (unknown_view.status_code, unknown_view.data) == (400, b"")
    assert (no_key.status_code, no_key.data) == (401, b"")
    assert no_key.content_length == ask("view=chat", headers={"Authorization": ""}).content_length
    assert asked == []


def test_get_looks_somebody_up_once(ask, asked):
    ask("view=chat&externalId=C-1001&email=anna@example.com")

    assert len(asked) == 1


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
def test_any_other_method_is_405_with_those_there_are(ask, asked, method):
    answer = ask("view=chat&externalId=C-1001", method)

    assert answer.status_code == 405
    assert answer.mimetype == "application/problem+json"
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}
    assert asked == []
