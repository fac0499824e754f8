"""One click at one vendor: what may leave, how long it may take, and what is told when it fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from imbox_plugin.links import Destination, Frame, LinkContext, LinkError, Reason
from imbox_plugin.minting import Mint, NotMinted
from tests.minted import Minted

CANARY = "https://chat.example.com/?token=canary"


def builder(instead=None, **options):
    made = Minted(Minted.Options().load(options), LinkContext())
    made.instead = instead
    return made


def told(instead, **options):
    """What the operator is told where a click fails."""
    with pytest.raises(NotMinted) as refused:
        Mint(builder(instead), **options).mint({})
    assert refused.value.__cause__ is None
    return refused.value.code


def test_each_click_gets_an_address_of_its_own():
    mint = Mint(builder())

    assert mint.mint({"phone": "+46701740605"}).url != mint.mint({"phone": "+46701740605"}).url


def test_how_the_page_is_embedded_comes_along():
    frame = Frame("microphone *", "allow-scripts", frozenset({"X"}))

    assert Mint(builder(lambda: Destination(CANARY, frame))).mint({}).frame == frame


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://chat.example.com/a?b#c", "https://chat.example.com"),
        ("https://CHAT.example.com:443/a", "https://chat.example.com"),
        ("HTTPS://chat.example.com:8443", "https://chat.example.com:8443"),
        ("https://a?x", "https://a"),
    ],
)
def test_the_origin_is_written_as_browsers_do(url, origin):
    assert Mint(builder(lambda: Destination(url))).mint({}).origin == origin


@pytest.mark.parametrize(
    "url",
    [
        "http://chat.example.com/",
        "javascript:alert(1)",
        "//chat.example.com",
        "https://",
        "https://user@chat.example.com/",
        "https://chat.example.com@evil.example/",
        "https://chat.example.com\\@evil.example/",
        "https://chat.example.com;script-src/",
        "https://chat.example.com,x/",
        "https://*.example.com/",
        "https://[::1]/",
        "https://chat.example.com:/",
        "https://chat.example.com/a b",
        "https://chat.example.com/\n",
        "https://chat.example.com/\r\nSet-Cookie: a=b",
        "https://chat.example.com/å",
        "https://chat.exämple.com/",
        "https://chat.example.com/" + "x" * 8000,
    ],
)
def test_what_is_no_plain_https_address_does_not_leave(url):
    assert told(lambda: Destination(url)) == "not an https address"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("NO_SUCH_ACCOUNT", "NO_SUCH_ACCOUNT"),
        ("spoki::3014", "spoki::3014"),
        ("429", "429"),
        ("", "no code"),
        ("+46 70 174 06 05", "no code"),
        ("x" * 65, "no code"),
        ("a\nb", "no code"),
        ("no contact", "no code"),
        *((reason, reason.value) for reason in Reason),
    ],
)
def test_of_a_vendors_refusal_only_its_code_is_told(code, says):
    assert told(LinkError(f"the vendor says {CANARY}", code)) == says


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_of_ours_cannot_be_a_vendors_code(reason):
    assert told(LinkError("", reason.value)) == "no code"


@pytest.mark.parametrize(
    ("instead", "says"),
    [
        (RuntimeError(CANARY), "RuntimeError"),
        (lambda: CANARY, "AttributeError"),
        (lambda: Destination(7), "TypeError"),
    ],
)
def test_of_a_builders_mistake_only_its_kind_is_told(instead, says):
    assert told(instead) == says


def test_nobody_waits_longer_than_the_limit():
    release = Event()
    try:
        assert told(lambda: release.wait(30), limit=0.01) == "no answer in time"
    finally:
        release.set()


def test_a_vendor_that_hangs_refuses_the_clicks_that_would_wait():
    hanging, release = Event(), Event()

    def hang():
        hanging.set()
        release.wait(30)
        return Destination(CANARY)

    mint = Mint(builder(hang))
    with ThreadPoolExecutor(8) as clicks:
        waiting = []
        for _ in range(8):
            hanging.clear()
            waiting.append(clicks.submit(mint.mint, {}))
            assert hanging.wait(30)
        with pytest.raises(NotMinted, match="busy with earlier clicks"):
            mint.mint({})
        release.set()

    assert {click.result().url for click in waiting} == {CANARY}
    assert mint.mint({}).url == CANARY
