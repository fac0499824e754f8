"""What an agent sees behind a link that leads through this server, in Chromium."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from imbox_plugin.links import LinkError
from tests.browser import chromium, served, site, visits
from tests.opened import CHAT, PHONE, Opened

#: seconds until something that has to happen is given up
PATIENCE = 15

EVENTS = {
    "OPEN": {"action": "open", "url": "{site}/record?phone={{chatId}}&deal={{entity.id}}"},
    "BADGE": {"action": "badge"},
    "KEEP": {"action": "deliver"},
}


#: a vendor's page sends an event
SENDS = 'parent.postMessage({type: "OPEN", data: {chatId: "46 70&x=1/..", entity: {id: 7}}}, "*")'


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def vendor():
    with site() as vendor:
        vendor.pages |= {
            "/window": "<title>Vendor</title><h1>The vendor's window</h1>",
            "/clicked": f"<h1>Window</h1><button onclick='{SENDS}'>New deal</button>",
            "/unasked": f"<h1>Window</h1><script>{SENDS}</script>",
            "/inside": "<title>Inside</title>",
            "/record": "<title>Record</title><h1>The record</h1>",
        }
        yield vendor


@pytest.fixture
def serve(tmp_path, vendor):
    """Serve links of this vendor to browsers."""
    with ExitStack() as stack:

        def serve(**link):
            events = {
                type_: {name: value.format(site=vendor.url) for name, value in event.items()}
                for type_, event in link.pop("events", EVENTS).items()
            }
            common = {**CHAT, "text": "Write on WhatsApp", "url": f"{vendor.url}/window"}
            framed = {**common, "name": "framed", "frame": True, "tells": [*EVENTS], **link}
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            opened = Opened(
                tmp_path,
                {**common, "expires": 28_800},
                {**framed, "events": events},
                base=f"http://127.0.0.1:{port}",
            )
            stack.enter_context(served(opened.app, port))
            return opened

        yield serve


@pytest.fixture
def visit(browser):
    with visits(browser, PATIENCE, ignore_https_errors=True) as visit:
        yield visit


def until(holds, page):
    """Wait for something outside of the browser."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        page.wait_for_timeout(20)


# The page


def test_the_page_goes_on_by_itself(serve, vendor, visit):
    opened = serve()
    page = visit(opened.address())
    page.wait_for_url(f"{vendor.url}/window?token=minted-token-1")

    assert page.title() == "Vendor"
    assert len(opened.builder().minted) == 1
    assert page.complaints == []


def test_without_scripts_its_button_goes_on(serve, vendor, visit):
    opened = serve()
    page = visit(opened.address(), java_script_enabled=False)
    expect(page.get_by_role("heading")).to_have_text("Write on WhatsApp")
    before = len(opened.builder().minted)
    page.get_by_role("button", name="Open").click()
    page.wait_for_url(f"{vendor.url}/window?token=minted-token-1")

    assert before == 0


def test_by_keyboard_it_goes_on_too(serve, vendor, visit):
    page = visit(serve().address(), java_script_enabled=False)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button")).to_be_focused()
    page.keyboard.press("Enter")

    page.wait_for_url(f"{vendor.url}/window?token=minted-token-1")


#: the first page waits to be clicked, as one does that came up in another tab
WAITS = """
    if (!sessionStorage.waited) HTMLFormElement.prototype.requestSubmit = () => {};
    sessionStorage.waited = true;
"""


def test_coming_back_from_the_vendor_is_not_sent_there_again(serve, vendor, visit):
    opened = serve()
    page = visit("about:blank")
    page.add_init_script(WAITS)
    page.goto(opened.address())
    page.get_by_role("button", name="Open").click()
    page.wait_for_url(f"{vendor.url}/**")
    page.go_back()
    expect(page.get_by_role("button", name="Open")).to_be_visible()
    page.reload()
    page.wait_for_url(f"{vendor.url}/**")

    assert len(opened.builder().minted) == 2


#: a tab that is opened behind the one that is looked at
BEHIND = "Object.defineProperty(document, 'visibilityState', { value: 'hidden', writable: true })"


def test_a_page_that_nobody_looks_at_waits_until_somebody_does(serve, vendor, visit):
    opened = serve()
    page = visit("about:blank")
    page.add_init_script(BEHIND)
    page.goto(opened.address())
    before = len(opened.builder().minted)
    page.evaluate("document.visibilityState = 'visible'")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_url(f"{vendor.url}/window?token=minted-token-1")

    assert before == 0


def test_nobody_is_told_the_address_that_the_agent_came_from(serve, vendor, visit):
    opened = serve()
    page = visit(opened.address())
    page.wait_for_url(f"{vendor.url}/**")
    framed = visit(opened.address("framed"))
    expect(framed.frame_locator("iframe").get_by_role("heading")).to_be_visible()

    windows = [headers for path, headers in vendor.asked if path.startswith("/window")]
    assert len(windows) == 2
    for headers in windows:
        assert not {"Referer", "Origin"} & headers.keys()


def test_another_site_cannot_have_the_browser_mint(serve, vendor, visit):
    opened = serve()
    vendor.pages["/attack"] = f"""
        <form method="post" action="{opened.address()}"></form>
        <script>document.forms[0].submit()</script>
    """
    page = visit(f"{vendor.url}/attack")
    page.wait_for_url(f"{opened.service.base_url}/**")
    expect(page.get_by_text("Press the button to go on.")).to_be_visible()
    before = len(opened.builder().minted)
    page.get_by_role("button").click()
    page.wait_for_url(f"{vendor.url}/window?token=minted-token-1")

    assert before == 0


def test_no_other_site_can_frame_the_page(serve, vendor, visit):
    opened = serve()
    vendor.pages["/frame"] = f'<iframe src="{opened.address()}"></iframe>'
    page = visit(f"{vendor.url}/frame")
    until(lambda: any("frame-ancestors" in told for told in page.complaints), page)

    assert opened.builder().minted == []


def test_a_vendor_that_fails_leaves_another_way_and_another_try(serve, vendor, visit):
    opened = serve()
    opened.builder().instead = LinkError("no account", "NO_SUCH_ACCOUNT")
    page = visit(opened.address())
    other = page.get_by_role("link", name="WhatsApp")
    expect(other).to_have_attribute("href", "https://wa.me/46701740605")
    opened.builder().instead = None
    page.get_by_role("button", name="Try again").click()

    page.wait_for_url(f"{vendor.url}/window?token=*")


# The embedded page


@pytest.fixture
def embedded(serve, visit, vendor):
    """The embedded page, its window loaded."""

    def embedded(path="/window", **link):
        opened = serve(**link, url=f"{vendor.url}{path}")
        page = visit(opened.address("framed"))
        expect(page.frame_locator("iframe").get_by_role("heading")).to_be_visible()
        page.opened = opened
        return page

    return embedded


def window(page):
    """The vendor's page inside of ours."""
    (inside,) = page.main_frame.child_frames
    return inside


def tell(teller, type_, data, to="parent", name="type"):
    """Have a page send a message as vendors do."""
    teller.evaluate(f"message => {to}.postMessage(message, '*')", {name: type_, "data": data})


def test_the_vendors_page_fills_ours_with_just_the_rights_it_documents(embedded):
    page = embedded(sandbox="allow-scripts allow-same-origin allow-popups")
    frame = page.locator("iframe")
    size = frame.bounding_box()

    assert frame.get_attribute("allow") == "microphone *; clipboard-write *"
    assert frame.get_attribute("sandbox") == "allow-scripts allow-same-origin allow-popups"
    assert (size["width"], size["height"]) == (1280, 720)
    assert page.complaints == []


def test_the_vendors_page_may_use_what_it_is_allowed_and_nothing_else(embedded):
    page = embedded()
    allowed = "name => document.featurePolicy.allowsFeature(name)"

    assert window(page).evaluate(allowed, "microphone")
    assert window(page).evaluate(allowed, "clipboard-write")
    assert not window(page).evaluate(allowed, "camera")


def test_the_frame_leads_nowhere_but_to_the_minted_origin(embedded, vendor):
    page = embedded()
    with site() as other:
        other.pages["/"] = "<title>Other</title>"
        page.evaluate("url => { document.querySelector('iframe').src = url }", f"{other.url}/")
        until(lambda: any("frame-src" in told for told in page.complaints), page)

        assert other.asked == []


def test_an_event_opens_the_record_in_a_new_tab_without_a_way_back(embedded, vendor):
    page = embedded("/clicked")
    with page.expect_popup() as popup:
        page.frame_locator("iframe").get_by_role("button").click()
    record = popup.value
    record.wait_for_load_state()

    assert record.url == f"{vendor.url}/record?phone=46%2070%26x%3D1%2F..&deal=7"
    assert record.evaluate("opener") is None
    (headers,) = [headers for path, headers in vendor.asked if path.startswith("/record")]
    assert "Referer" not in headers


UNUSABLE = [
    {"chatId": "1"},
    {"chatId": "", "entity": {"id": 7}},
    {"chatId": "..", "entity": {"id": 7}},
    {"chatId": ["1"], "entity": {"id": 7}},
    {"chatId": "1", "entity": {"constructor": 7}},
    {"chatId": "1", "entity": "7"},
    {"chatId": "\ud800", "entity": {"id": 7}},
]


def test_an_event_without_a_usable_value_opens_nothing(embedded):
    page = embedded()
    for data in UNUSABLE:
        tell(window(page), "OPEN", data)
    tell(window(page), "BADGE", {"a": "b", "c": "d"})
    expect(page.get_by_role("status")).to_have_text("1 new")

    assert len(page.context.pages) == 1
    assert page.complaints == []


def test_where_the_browser_blocks_the_tab_there_is_a_button_for_it(embedded, vendor):
    page = embedded("/unasked")
    button = page.get_by_role("link", name="Open in a new tab")
    expect(button).to_be_visible()
    before = len(page.context.pages)
    with page.expect_popup() as popup:
        button.click()
    popup.value.wait_for_url(f"{vendor.url}/record?phone=46%2070%26x%3D1%2F..&deal=7")
    expect(button).to_have_count(0)

    assert before == 1


@pytest.mark.parametrize(
    ("told", "count"),
    [
        ([{"hasUnreadChats": True}], 1),
        ([{"hasUnreadChats": True}, {"hasUnreadChats": True}], 1),
        ([{"hasUnreadChats": True}, {"hasUnreadChats": False}], 0),
        ([{"unread": 12}], 12),
        ([{"unread": 3}, {"unread": -1}], 0),
        ([{"a": "x", "b": "y"}, {"a": "x", "b": "y"}], 2),
        ([{"text": "x"}, {}, {"a": True, "b": 2}], 3),
    ],
)
def test_a_badge_counts_in_the_title_and_on_the_page(embedded, told, count):
    page = embedded()
    for data in told:
        tell(window(page), "BADGE", data)
    title = "Write on WhatsApp · Trädgårdsboden AB"
    expect(page).to_have_title(f"({count}) {title}" if count else title)
    expect(page.get_by_role("status")).to_have_text(f"{count} new" if count else "")


def test_coming_back_to_the_page_empties_the_badge(embedded):
    page = embedded()
    tell(window(page), "BADGE", {"unread": 2})
    expect(page.get_by_role("status")).to_have_text("2 new")
    page.evaluate("dispatchEvent(new Event('focus'))")

    expect(page.get_by_role("status")).to_have_text("")


@pytest.mark.parametrize("name", ["type", "eventType"])
def test_an_event_is_delivered_whichever_way_the_vendor_names_its_type(embedded, name):
    page = embedded()
    tell(window(page), "KEEP", {"chatId": PHONE, "messageId": "m1"}, name=name)
    until(lambda: page.opened.inbox.events, page)
    (event,) = page.opened.inbox.events

    assert (event.panel, event.link, event.type) == ("support", "framed", "KEEP")
    assert event.data == {"chatId": PHONE, "messageId": "m1"}


def test_an_event_that_is_not_kept_is_sent_again(embedded):
    page = embedded()
    page.opened.inbox.failure = RuntimeError()
    with page.expect_response("**/events") as refused:
        tell(window(page), "KEEP", {"chatId": "1"})
    page.opened.inbox.failure = None
    until(lambda: page.opened.inbox.events, page)

    assert refused.value.status == 503
    assert page.locator("#told").text_content() == ""


def test_what_happens_twice_is_delivered_twice_and_what_is_sent_again_once(embedded):
    page = embedded()
    inbox = page.opened.inbox
    for count, state in enumerate([True, False, True], start=1):
        tell(window(page), "KEEP", {"hasUnreadChats": state})
        until(lambda count=count: len(inbox.events) == count, page)
    sent = []
    page.on("request", lambda request: sent.append(request.post_data))
    inbox.failure = RuntimeError()
    with page.expect_response("**/events"):
        tell(window(page), "KEEP", {"hasUnreadChats": True})
    inbox.failure = None
    until(lambda: len(inbox.events) == 4, page)

    assert [event.data["hasUnreadChats"] for event in inbox.events] == [True, False, True, True]
    assert len({event.key for event in inbox.events}) == 4
    assert len(sent) > 1
    assert len({*sent}) == 1


def test_an_event_that_is_lost_is_said(embedded, serve, visit):
    opened = serve()
    page = visit("about:blank")
    page.clock.install()
    page.goto(opened.address("framed"))
    expect(page.frame_locator("iframe").get_by_role("heading")).to_be_visible()
    opened.inbox.failure = RuntimeError()
    statuses = []
    page.on("response", lambda answer: statuses.append(answer.status))
    tell(window(page), "KEEP", {"chatId": "1"})
    told = page.get_by_role("status")

    def is_told():
        page.clock.run_for(1_000)
        return told.text_content()

    until(is_told, page)

    assert told.text_content() == (
        "Something in this window could not be passed on. Please tell whoever runs the plugin."
    )
    assert statuses == [503] * 6


# Messages that are not for us


HARMLESS = {"chatId": "1", "entity": {"id": 7}}


def nothing_happened(page):
    """Whether, after an event that does count, it is the only one that did."""
    tell(window(page), "BADGE", {"a": "b", "c": "d"})
    expect(page.get_by_role("status")).to_have_text("1 new")
    assert len(page.context.pages) - getattr(page, "popups", 0) == 1
    assert page.opened.inbox.events == []
    assert page.complaints == []


def tell_all(teller, to):
    for type_ in EVENTS:
        tell(teller, type_, HARMLESS, to)


def test_our_own_page_tells_nothing(embedded):
    page = embedded()
    tell_all(page, "window")

    nothing_happened(page)


def test_a_frame_inside_of_the_vendors_tells_nothing_though_its_origin_is_the_same(embedded):
    page = embedded()
    window(page).evaluate(
        """() => new Promise(done => {
            const inner = document.createElement("iframe");
            inner.src = "/inside";
            inner.onload = done;
            document.body.append(inner);
        })"""
    )
    (inner,) = window(page).child_frames
    tell_all(inner, "top")

    nothing_happened(page)


def test_a_window_that_the_vendors_page_opened_tells_nothing(embedded):
    page = embedded()
    with page.expect_popup() as popup:
        window(page).evaluate("() => { window.open('/inside') }")
    popup.value.wait_for_load_state()
    page.popups = 1
    tell_all(popup.value, "opener.parent")

    nothing_happened(page)


#: how a message looks like to the page: the vendor's window, and whose origin
MESSAGE = """([origin, type, data]) => {
    const source = document.querySelector("iframe").contentWindow;
    dispatchEvent(new MessageEvent("message", { origin, source, data: { type, data } }));
}"""


def test_the_vendors_window_at_another_origin_tells_nothing(embedded, vendor):
    page = embedded()
    others = ("https://evil.example", "null", "", vendor.url[:-1], f"{vendor.url}.evil.example")
    for origin in (*others, vendor.url.replace("https:", "http:")):
        for type_ in EVENTS:
            page.evaluate(MESSAGE, [origin, type_, HARMLESS])

    nothing_happened(page)


def test_the_vendors_window_at_its_origin_tells(embedded, vendor):
    page = embedded()
    page.evaluate(MESSAGE, [vendor.url, "BADGE", {"unread": 5}])

    expect(page.get_by_role("status")).to_have_text("5 new")


MALFORMED = [
    "null",
    "'OPEN'",
    "7",
    "[]",
    "{}",
    "{ type: 'OPEN' }",
    "{ type: 'OPEN', data: null }",
    "{ type: 'OPEN', data: 'x' }",
    "{ type: 'KEEP', data: [1] }",
    "{ type: ['KEEP'], data: {} }",
    "{ type: 'keep', data: {} }",
    "{ type: 'NONE', data: {} }",
    "{ type: 'constructor', data: {} }",
    "{ type: '__proto__', data: {} }",
    "{ type: 'KEEP', data: { big: 1n } }",
    "(() => { const loop = {}; loop.self = loop; return { type: 'KEEP', data: loop } })()",
]


def test_what_is_no_event_that_has_an_action_does_nothing(embedded):
    page = embedded()
    for message in MALFORMED:
        window(page).evaluate(f"() => parent.postMessage({message}, '*')")

    nothing_happened(page)


def test_an_event_that_the_vendor_does_not_document_does_nothing(embedded):
    page = embedded(tells=["BADGE"])
    tell(window(page), "KEEP", HARMLESS)

    nothing_happened(page)


# For everybody


def pages(opened):
    """Every page there is, by name."""
    return {
        "open": opened.address(),
        "embedded": opened.address("framed"),
        "shut": f"{opened.service.base_url}/open/x",
        "failed": opened.address(),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["open", "embedded", "shut", "failed"])
def test_a_page_has_no_barriers_that_axe_finds(serve, visit, name, scheme):
    opened = serve()
    if name == "failed":
        opened.builder().instead = LinkError("down")
    page = visit("about:blank", color_scheme=scheme)
    if name == "open":
        page.route("**/open.js", lambda route: route.abort())
    page.goto(pages(opened)[name])
    if name == "embedded":
        expect(page.frame_locator("iframe").get_by_role("heading")).to_be_visible()
        tell(window(page), "BADGE", {"unread": 2})
        expect(page.get_by_role("status")).to_have_text("2 new")
    if name == "failed":
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
    found = Axe().run(page, options={"iframes": False})

    assert found.response["passes"]
    assert found.response["violations"] == []


@pytest.mark.parametrize("name", ["open", "shut", "failed"])
def test_a_page_fits_a_narrow_window(serve, visit, name):
    opened = serve()
    opened.builder().instead = LinkError("down")
    size = {"width": 320, "height": 480}
    page = visit(pages(opened)[name], viewport=size, java_script_enabled=False)
    if name == "failed":
        page.get_by_role("button").click()
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")

    assert overflow <= 0


# What nobody may read


def test_no_log_and_no_page_of_ours_tells_a_ticket_an_identity_or_what_was_minted(
    serve, visit, vendor, caplog
):
    caplog.set_level(logging.DEBUG)
    opened = serve()
    address = opened.address("framed")
    page = visit(address)
    expect(page.frame_locator("iframe").get_by_role("heading")).to_be_visible()
    tell(window(page), "KEEP", {"chatId": "canary-chat", "text": "canary-text"})
    until(lambda: opened.inbox.events, page)
    opened.inbox.failure = RuntimeError("canary-text")
    with page.expect_response("**/events"):
        tell(window(page), "KEEP", {"chatId": "canary-chat-2", "text": "canary-text"})
    opened.builder().instead = LinkError(f"no chat with {PHONE}", "NO_SUCH")
    failed = visit(opened.address())
    expect(failed.get_by_role("button", name="Try again")).to_be_visible()
    shut = visit(address[:-9])
    said = f"{failed.content()}{shut.content()}"
    lines = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    ours = "".join(line for line in lines if "imbox_plugin" in line)

    assert "NO_SUCH" in ours
    assert "was not kept" in ours
    ticket = urlsplit(address).path.removeprefix("/open/")
    for canary in (ticket, ticket[:40], PHONE, "canary-", "minted-token", vendor.url):
        assert not [line for line in lines if canary in line], canary
        assert canary not in said
