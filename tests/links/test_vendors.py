"""What a vendor answers: which of its addresses are followed, and which of its codes are shown."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from marshmallow import ValidationError
from requests.models import PreparedRequest

from imbox_plugin.links import LinkError, Reason
from imbox_plugin.links.vendors import BaseUrl, Host, Refusal, VendorApi, is_token, leads_to
from tests.links.minting import CONFUSING, everything_told, once
from tests.loopback import serving

CANARY = "canary4711"


def ask(url, **options):
    api = VendorApi("Chatty", url, "correct api_key", {"X-Key": CANARY})
    return api.ask("POST", "/window", deadline=time.monotonic() + 5, **options).document


def refusal(play):
    with serving(play) as server, pytest.raises(LinkError) as refused:
        ask(server.url, params={"phone": CANARY}, json={"phone": CANARY})
    return refused.value


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "https://chat.example.com",
        "https://chat.example.com/",
        "https://chat.example.com/a/b?token=x%2F&b=@:/#c",
        "https://chat.example.com?token=x",
        "https://chat.example.com#x",
        "HTTPS://Chat.Example.COM/x",
    ],
)
def test_an_https_address_at_the_host_is_followed(url):
    assert leads_to(url, "chat.example.com")
    assert leads_to(url, "example.com", below=True)
    assert not leads_to(url, "example.com")


@pytest.mark.parametrize("url", CONFUSING)
@pytest.mark.parametrize("below", [False, True])
def test_an_address_that_only_looks_like_it_is_not_followed(url, below):
    assert not leads_to(url.replace("{}", "chat.example.com"), "chat.example.com", below=below)


@pytest.mark.parametrize("url", [None, 1, True, b"https://a.example/", ["https://a.example/"], {}])
def test_what_is_no_text_is_no_address(url):
    assert not leads_to(url, "a.example")


def test_a_dot_of_the_host_stands_for_a_dot():
    assert not leads_to("https://chatxexample.com/", "chat.example.com")


def test_an_address_longer_than_any_is_not_followed():
    assert not leads_to("https://a.example/" + "x" * 5000, "a.example")


pieces = st.sampled_from(
    [*"/\\@:?#.x[]-\t\n \0\u3002\uff0f", "a.example", "evil.example", "https://", "443", "%2e"]
)


@given(
    st.lists(pieces, max_size=8).map("".join)
    | st.text(max_size=12).map("https://a.example{}".format)
)
@example("https://a.example\\@evil.example")
@example("https://a.example/..//evil.example/")
def test_whatever_is_followed_is_at_the_host_for_others_who_read_it(text):
    """The library that requests are sent with reads addresses by the rules of browsers, mostly."""
    if not leads_to(text, "a.example", below=True):
        return
    request = PreparedRequest()
    request.prepare_url(text, {})
    host = request.url.removeprefix("https://").partition("/")[0].partition("?")[0]

    assert host == "a.example" or host.endswith(".a.example")


def test_no_hostile_address_is_followed(corpus):
    for line in corpus("url_redirect_ssrf"):
        follows = leads_to(line["payload"], "crm.example")

        assert not follows or line["expected"] == "accept", line["payload"]


# Settings


@pytest.mark.parametrize(
    "url",
    ["http://api.example.com", "api.example.com", "https://u:p@api.example.com", "https://a?b", ""],
)
def test_what_is_no_address_of_an_api_is_refused_and_not_repeated(url):
    with pytest.raises(ValidationError) as refused:
        BaseUrl(load_default="https://api.example.com").deserialize(url)

    assert refused.value.messages == [
        "not the https address of an API; write it as https://api.example.com"
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("", "com", "a..b", ".a.b", "-a.example", "a-.example", "å.example", "127.0.0.1"),
        *("https://a.example", "a.example/", "a.example:443", "*.example.com", "a.example\n"),
    ],
)
def test_what_is_no_name_of_a_host_is_refused(name):
    with pytest.raises(ValidationError, match=r"write it as a\.example"):
        Host(load_default="a.example").deserialize(name)


# Answers


def test_an_object_is_the_answer():
    with serving(once(body=b'{"url": "x", "error": null}')) as server:
        assert ask(server.url) == {"url": "x", "error": None}


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("400 No", "it refuses the question (400)"),
        ("401 No", "it does not let us in (401); correct api_key"),
        ("403 No", "it does not let us in (403); correct api_key"),
        ("404 No", "it knows no such call (404); see that base_url"),
        ("422 No", "it refuses the question (422)"),
        ("429 No", "it is asked too often (429)"),
        ("500 No", "it is in trouble (500)"),
        ("503 No", "it is in trouble (503)"),
    ],
)
def test_a_refusal_says_what_to_do_and_has_its_status_for_a_code(status, says):
    error = refusal(once(status=status, body=b""))

    assert str(error).startswith(f"Chatty: {says}")
    assert error.code == status[:3]


@pytest.mark.parametrize("status", ["200 OK", "400 No", "429 No", "500 No"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": "NO_SUCH_ACCOUNT"}', "NO_SUCH_ACCOUNT"),
        (b'{"error": {"code": "NO_SUCH_ACCOUNT"}}', "NO_SUCH_ACCOUNT"),
        (b'{"errors": [{"code": "uriNotValid", "message": "x"}, 1]}', "uriNotValid"),
        (b'{"error": 1, "code": "spoki::3014"}', "spoki::3014"),
    ],
)
def test_every_usual_shape_of_an_error_has_its_code(status, body, code):
    assert refusal(once(status=status, body=body)).code == code


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": "canary4711"}',
        b'{"error": {"code": "46701740605"}}',
        b'{"error": {"code": "ann@example.com"}}',
        b'{"error": {"code": "a b"}}',
        b'{"error": {"code": "A\\nB"}}',
        b'{"error": {"code": ["A"]}}',
        b'{"error": {"message": "canary4711"}}',
        b'{"errors": ["canary4711"]}',
        b'{"errors": {"canary4711": 1}}',
        b'{"error": "' + b"A" * 50 + b'"}',
    ],
)
def test_a_code_that_may_be_something_else_is_not_shown(body):
    assert refusal(once(body=body)).code == "200"
    assert refusal(once(status="400 No", body=body)).code == "400"


@pytest.mark.parametrize(
    ("status", "is_no"),
    [
        *((f"{status} No", True) for status in (400, 401, 403, 404, 409, 422, 423, 429)),
        *((f"{status} Oh", False) for status in (408, 425, 500, 502, 503)),
    ],
)
def test_trouble_is_no_refusal(status, is_no):
    error = refusal(once(status=status))

    assert isinstance(error, Refusal) == is_no
    assert not is_no or error.status == int(status[:3])
    assert is_no or "in trouble" in str(error)


@pytest.mark.parametrize(
    "body",
    [b'{"error": true}', b'{"errors": [1]}', b'{"success": false}', b'{"success": false, "a": 1}'],
)
def test_a_success_may_be_a_refusal(body):
    error = refusal(once(body=body))

    assert "an error in an answer of success" in str(error)
    assert isinstance(error, Refusal)
    assert error.status == 200


@pytest.mark.parametrize("body", [b"[1]", b"null", b"", b"{}"])
def test_a_success_may_be_asked_for_in_any_shape(body):
    with serving(once(body=body)) as server:
        assert ask(server.url, shape=object) in ([1], None, {})


@pytest.mark.parametrize("value", [None, "", 7, ["x"], "a b", "a\n", "\u00e5", "x" * 2001])
def test_what_cannot_be_in_a_header_is_no_token(value):
    assert not is_token(value)


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"1", b"null", b" "])
def test_a_success_without_an_object_is_none(body):
    error = refusal(once(body=body))

    assert "no object; see that base_url" in str(error)
    assert error.code is Reason.UNUSABLE


@pytest.mark.parametrize("body", [b"{", b"\xff", b"<html>", b'{"a": NaN}'])
def test_a_success_that_is_no_json_is_none(body):
    error = refusal(once(body=body))

    assert "the answer is not JSON" in str(error)
    assert error.code is Reason.UNUSABLE


def test_an_answer_without_an_end_is_too_large():
    def play(wire):
        wire.request()
        wire.flood(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" " * 60_000)

    error = refusal(play)

    assert "the answer is too large" in str(error)
    assert error.code is Reason.UNUSABLE


def test_a_connection_that_breaks_off_is_none():
    assert refusal(lambda wire: wire.request()).code is Reason.NO_CONNECTION


def test_a_certificate_that_nobody_signed_is_not_trusted():
    with serving(once(), tls=True) as server, pytest.raises(LinkError) as refused:
        ask(server.url)

    assert refused.value.code is Reason.NOT_TRUSTED


def test_an_answer_that_does_not_come_is_late():
    api_hangs = serving(lambda wire: (wire.request(), wire.sock.recv(1)))
    with api_hangs as server, pytest.raises(LinkError) as refused:
        VendorApi("Chatty", server.url, "").ask("GET", "/", deadline=time.monotonic() + 0.2)

    assert refused.value.code is Reason.LATE


def test_a_redirect_is_not_followed():
    headers = (f"Location: https://{CANARY}.example/",)

    assert "redirects" in str(refusal(once(status="302 Go", headers=headers)))


@pytest.mark.parametrize(
    "play",
    [
        lambda wire: wire.request(),
        once(status="302 Go", headers=(f"Location: https://{CANARY}.example/",)),
        once(status="400 No", body=b'{"error": {"code": "canary4711"}}'),
        once(body=b'{"error": "canary4711"}'),
        once(body=b"canary4711"),
        once(status="500 canary4711", body=b"canary4711"),
    ],
)
def test_neither_log_nor_error_tells_what_was_asked_or_answered(play, caplog):
    caplog.set_level("DEBUG")

    error = refusal(play)

    assert error.__cause__ is None
    assert error.__context__ is None
    assert CANARY not in everything_told(error, caplog)
    assert "127.0.0.1" not in everything_told(error, caplog)
