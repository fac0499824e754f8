"""The workbench's page, in Chromium."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from imbox_plugin.lint import WIDTH, WIDTH_INSIDE
from tests.benches import BENCH_KEY, KEY, Bench
from tests.browser import chromium, served, visits

#: seconds until something that has to happen is given up
PATIENCE = 15
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    query = {"view": "ticket", "email": "anna@example.com"}
    reply = bench.webhook(**query).json
    bench.record("ticket__anna", reply, request={"path": "/imbox", "query": query})
    bench.record("ticket__old", {**reply, "contactName": "Anna Ek"}, request={"query": query})
    return bench


@pytest.fixture
def address(bench):
    with served(bench.app) as port:
        yield f"http://127.0.0.1:{port}/workbench"


@pytest.fixture
def visit(address, browser):
    """Open the workbench, unless another address is given."""
    with visits(browser, PATIENCE, viewport=DESK, http_credentials=LOGIN) as visit:
        yield lambda to=address, **options: visit(to, **options)


LOGIN = {"username": "", "password": BENCH_KEY}


@pytest.fixture
def page(visit):
    return visit()


def look(page, panel="default"):
    """Ask for Anna, and wait for her card."""
    page.get_by_label("Panel").select_option(panel)
    page.get_by_label("External id").fill("C-1001")
    page.get_by_role("button", name="Show the card").click()
    # Not that of an earlier question, which would be drawn anew in the midst of the test.
    expect(card(page)).not_to_have_attribute("aria-busy", "true")
    expect(card(page).locator(".person")).to_have_text("Anna Andersson")


def card(page):
    return page.get_by_role("group", name="The card", exact=True)


def inside(page, at=0):
    """The document of an html element."""
    return page.frame_locator("iframe.html").nth(at)


# The card


def test_a_recording_shows_its_card_and_whether_it_is_the_recorded_one(page):
    page.get_by_label("Recording").select_option("ticket__anna")

    expect(card(page).locator(".person")).to_have_text("Anna Andersson")
    expect(page.get_by_label("E-mail")).to_have_value("anna@example.com")
    expect(page.get_by_role("radio", name="Ticket")).to_be_checked()
    expect(page.locator("#difference")).to_have_text("The same reply as recorded.")
    expect(page.locator("#about")).to_have_text("A recording of these tests.")
    page.get_by_label("Recording").select_option("ticket__old")
    expect(page.locator("#difference del").last).to_have_text('-  "contactName": "Anna Ek",')
    expect(page.locator("#difference ins").last).to_have_text('+  "contactName": "Anna Andersson",')
    assert page.complaints == []


def test_what_is_changed_is_no_longer_compared_with_the_recording(page):
    page.get_by_label("Recording").select_option("ticket__old")
    expect(page.locator("#difference")).to_contain_text("differs")
    page.get_by_label("E-mail").fill("nobody@example.com")
    page.keyboard.press("Enter")

    expect(page.get_by_label("Recording")).to_have_value("")
    expect(page.locator("#difference")).to_be_hidden()


def test_an_identity_shows_its_card_as_an_agent_reads_it(page):
    look(page)
    blocks = card(page).get_by_role("heading", level=3)

    expect(blocks).to_have_text(["Customer", "Orders1"])
    expect(card(page).get_by_role("link", name="Open")).to_have_attribute(
        "href", "https://crm.example.com/C-1001"
    )
    expect(card(page).locator("dl").first).to_have_text("IdC-1001CityUppsala")
    expect(inside(page).locator("strong")).to_have_text("markup")
    assert blocks.locator("path").first.get_attribute("d").startswith("M")
    assert page.complaints == []


def test_an_accordion_opens_and_html_in_it_is_as_high_as_it_has_to_be(page):
    look(page)
    frame = card(page).locator("details iframe")
    expect(frame).to_be_hidden()
    card(page).get_by_text("Order 7").click()

    expect(card(page).get_by_text("1 October")).to_be_visible()
    expect(inside(page, 1).get_by_text("Inside")).to_be_visible()
    expect(frame).to_have_css("height", "63px")


def test_an_accordion_has_the_room_that_the_linter_reckons_with(page):
    look(page)
    page.get_by_text("Order 7").first.click()

    assert card(page).locator("details dl").bounding_box()["width"] == WIDTH_INSIDE


def test_the_view_is_asked_at_once(page):
    look(page, "trusted")
    page.get_by_role("radio", name="Chat").check(force=True)

    expect(page.locator("#identities")).to_have_text("externalIdnot trusted in the view chat")


def test_the_card_is_as_wide_as_in_imbox_or_wide(page):
    look(page)
    box = card(page).bounding_box()
    content = card(page).locator("dl").first.bounding_box()
    page.get_by_role("button", name="Wide").click()

    assert box["width"] == 290
    assert content["width"] == WIDTH
    assert card(page).bounding_box()["width"] > 290
    expect(page.get_by_role("button", name="Wide")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="290 px")).to_have_attribute("aria-pressed", "false")


def test_the_card_is_light_or_dark_and_so_is_html(page):
    look(page)
    light = card(page).evaluate("card => getComputedStyle(card).backgroundColor")
    page.get_by_role("button", name="Dark").click()

    expect(card(page)).not_to_have_css("background-color", light)
    expect(inside(page).locator("html")).to_have_class("dark")
    expect(inside(page).locator("html")).to_have_css("color", "rgb(232, 236, 244)")


def test_what_came_with_wrong_parameters_is_at_the_field_and_in_words(page):
    look(page)
    page.get_by_label("E-mail").fill("x" * 513)
    page.get_by_role("button", name="Show the card").click()

    expect(page.get_by_role("status").first).to_contain_text("email: ")
    expect(page.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
    expect(card(page)).to_contain_text("ImBox would get this answer")
    expect(page.locator("#json")).to_contain_text('"status": 400')
    page.get_by_label("E-mail").fill("")
    page.get_by_role("button", name="Show the card").click()
    expect(page.get_by_label("E-mail")).not_to_have_attribute("aria-invalid", "true")


def test_a_remark_about_a_whole_block_is_marked_at_its_title(visit, tmp_path):
    emptied = [{"type": "html", "html": "<form></form>"}, {"type": "html", "html": "<p>Left</p>"}]
    block = {"name": "Note", "icon": "notes", "data": emptied}
    panels = {"default": {"keys": [{"id": "t", "secret": KEY}], "blocks": [block]}}
    with served(Bench(tmp_path, panels=panels).app) as port:
        page = visit(f"http://127.0.0.1:{port}/workbench")
        page.get_by_label("External id").fill("C-1001")
        page.get_by_role("button", name="Show the card").click()

        expect(card(page).locator("h3 .mark")).to_have_attribute("title", re.compile("not on the"))


def test_what_a_remark_is_about_is_shown_on_the_card_and_in_the_reply(page):
    look(page)
    card(page).get_by_role("heading", name="Orders").get_by_role("button").click()
    remark = page.locator("[data-pointer='/blocks/1/icon']")
    expect(remark).to_be_focused()
    remark.get_by_role("button", name="/blocks/1/icon").click()

    expect(page.locator(".pointed")).to_have_text('"no_such_symbol"')
    expect(page.locator(".pointed")).to_be_in_viewport()
    expect(page.locator("#json")).to_be_focused()


def test_the_reply_is_written_as_json_is(page, bench):
    look(page)
    written = page.locator("#json").evaluate(
        "pre => pre.textContent === JSON.stringify(JSON.parse(pre.textContent), null, 2)"
    )

    assert written
    assert page.evaluate("JSON.parse(document.querySelector('#json').textContent)") == (
        bench.webhook(view="contact", externalId="C-1001").json
    )


def test_what_is_saved_is_in_the_list(page):
    look(page)
    page.get_by_text("Save as a recording").click()
    page.get_by_label("Name", exact=True).fill("contact__saved")
    page.get_by_label("What it shows").fill("A contact by her customer number.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_have_text("Saved as contact__saved.json")
    page.get_by_role("button", name="Show the card").click()

    expect(page.get_by_label("Recording")).to_have_value("recordings/contact__saved")
    expect(page.locator("#difference")).to_have_text("The same reply as recorded.")


# HTML


def test_html_has_no_origin_and_does_not_reach_the_page(page):
    look(page, "trusted")
    expect(inside(page).locator("#text")).to_be_visible()
    frame = page.locator("iframe.html").element_handle().content_frame()
    reached = frame.evaluate(
        """() => {
            try { return parent.document.title } catch (error) { return error.name }
        }"""
    )

    assert frame.evaluate("self.origin") == "null"
    assert reached == "SecurityError"
    assert page.evaluate("document.querySelector('iframe.html').contentDocument") is None


def test_styles_of_html_are_shown_and_stay_in_it(page):
    look(page, "trusted")

    expect(inside(page).locator("#title")).to_have_css("color", "rgb(1, 2, 3)")
    expect(inside(page).locator("#text")).to_have_css("color", "rgb(4, 5, 6)")
    expect(page.locator("#told-title")).not_to_have_css("color", "rgb(4, 5, 6)")


def test_scripts_of_html_do_not_run(page):
    look(page, "trusted")
    expect(inside(page).locator("#text")).to_be_visible()
    inside(page).locator("#code").click()
    inside(page).locator("#title").click()

    assert page.title() == "Workbench · ImBox plugin server"
    assert page.locator("iframe.html").bounding_box()["height"] < 900


@pytest.mark.parametrize("name", ["#top", "#self", "#form button"])
def test_html_leads_the_page_nowhere(page, address, name):
    asked = []
    page.context.route("**elsewhere.example.com**", lambda route: asked.append(1) or route.abort())
    look(page, "trusted")
    inside(page).locator(name).click()
    page.wait_for_timeout(200)

    assert page.url == address
    assert asked == []
    expect(card(page).locator(".person")).to_have_text("Anna Andersson")


def test_a_link_in_html_opens_a_window_of_its_own_that_does_not_know_where_it_came_from(page):
    seen = []
    page.context.route(
        "**elsewhere.example.com**",
        lambda route: seen.append(route.request.headers) or route.fulfill(body="Elsewhere"),
    )
    look(page, "trusted")
    expect(inside(page).locator("#text")).to_be_visible()
    inside(page).locator("#self").evaluate("link => link.removeAttribute('target')")
    with page.context.expect_page() as opened:
        inside(page).locator("#self").click()
    opened.value.wait_for_load_state()

    assert opened.value.evaluate("window.opener") is None
    assert "referer" not in seen[0]


def test_a_message_from_another_window_does_nothing(page, address):
    look(page)
    expect(inside(page).locator("strong")).to_be_visible()
    frame = page.locator("iframe.html").first
    before = frame.bounding_box()["height"]
    page.evaluate("postMessage({height: 999, ready: true}, '*')")
    page.evaluate(
        """() => new Promise((resolve) => {
            const other = document.createElement("iframe");
            other.src = document.body.dataset.frame;
            document.body.append(other);
            addEventListener("message", ({source}) => source === other.contentWindow && resolve());
        })"""
    )
    page.wait_for_timeout(100)

    assert frame.bounding_box()["height"] == before < 200
    assert page.frames[-1].locator("body").inner_html().strip() == ""


def test_a_message_to_the_frame_from_another_window_than_its_page_does_nothing(page):
    look(page)
    expect(inside(page).locator("strong")).to_be_visible()
    frame = page.locator("iframe.html").first.element_handle().content_frame()
    frame.evaluate("postMessage({markup: 'forged', theme: 'forged'}, '*')")
    page.wait_for_timeout(100)

    assert "forged" not in frame.content()


# Copying


@pytest.mark.parametrize("what", ["json", "curl"])
def test_what_is_copied_is_what_is_shown(visit, what):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    look(page)
    button = page.locator(f"[data-copies={what}]")
    button.click()
    expect(button).to_have_text("Copied")

    assert page.evaluate("navigator.clipboard.readText()") == page.locator(f"#{what}").inner_text()


def test_without_a_clipboard_it_is_selected_to_be_copied(page):
    look(page)
    page.evaluate("delete Navigator.prototype.clipboard")
    page.get_by_role("button", name="Copy the reply").click()

    expect(page.locator("[data-copies=json]")).to_have_text("Selected; press Ctrl+C")
    assert page.evaluate("getSelection().toString().trim()") == (
        page.locator("#json").inner_text().strip()
    )


# The keyboard

# What the eye sees of a view is the text beside its button. A frame is a stop by what is in it.
STOPS = """() => {
    const name = (one) => one.id || one.textContent.trim().slice(0, 40) || one.value;
    const seen = (one) => one.name === "view" ? one.nextElementSibling : one;
    window.stop = () => {
        const one = document.activeElement;
        if (one === document.body) return null;
        return [name(one), getComputedStyle(seen(one)).outlineStyle !== "none"];
    };
    const own = "a[href], button, input:not([type=hidden]), select, textarea, summary";
    return [...document.querySelectorAll(`${own}, [tabindex="0"]`)]
        .filter((one) => one.checkVisibility() && (one.name !== "view" || one.checked))
        .map(name);
}"""


def test_everything_is_reached_by_keyboard_and_shows_that_it_is(page):
    look(page)
    everything = page.evaluate(STOPS)
    page.get_by_role("link", name="Skip to the card").focus()
    page.keyboard.press("Shift+Tab")
    stops = []
    for _ in everything:
        page.keyboard.press("Tab")
        stops.append(page.evaluate("stop()"))

    assert len(everything) > 20
    assert stops == [[name, True] for name in everything]


def test_a_card_is_asked_for_by_keyboard_alone(page):
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the card")).to_be_focused()
    page.get_by_label("Panel").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("radio", name="Call")).to_be_checked()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.type("C-1001")
    page.keyboard.press("Enter")
    expect(card(page).locator(".person")).to_have_text("Anna Andersson")
    accordion = card(page).locator("summary")
    accordion.focus()
    page.keyboard.press("Enter")

    expect(card(page).get_by_text("1 October")).to_be_visible()


def test_the_skip_link_leads_to_the_card(page):
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(card(page)).to_be_focused()


def test_what_was_shown_is_said_to_who_does_not_see_it(page):
    look(page)

    expect(page.locator("#heard")).to_have_text("Card of Anna Andersson: 2 blocks, 4 remarks.")


# What axe finds


def shown(page, state):
    """Bring the page into a state."""
    if state == "card":
        look(page)
        card(page).get_by_text("Order 7").click()
        expect(inside(page, 1).get_by_text("Inside")).to_be_visible()
        card(page).get_by_role("heading", name="Orders").get_by_role("button").click()
        page.get_by_text("Other ids and parameters").click()
        page.get_by_text("Save as a recording").click()
    elif state == "dark card":
        look(page)
        page.get_by_role("button", name="Dark").click()
        expect(inside(page).locator("html")).to_have_class("dark")
    elif state == "difference":
        page.get_by_label("Recording").select_option("ticket__old")
        expect(page.locator("#difference")).to_contain_text("differs")
    elif state == "wrong":
        page.get_by_label("E-mail").fill("x" * 513)
        page.get_by_role("button", name="Show the card").click()
        expect(page.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")


STATES = ["empty", "card", "dark card", "difference", "wrong"]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_the_page_has_no_barriers_that_axe_finds(visit, state, scheme, size):
    page = visit(color_scheme=scheme, viewport=size, reduced_motion="reduce")
    shown(page, state)
    found = Axe().run(page, options={"iframes": False})
    violations = [
        (rule["id"], [node["target"] for node in rule["nodes"]])
        for rule in found.response["violations"]
    ]

    assert found.response["passes"]
    assert violations == []


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1280])
@pytest.mark.parametrize("state", STATES)
def test_the_page_is_never_wider_than_the_window(visit, state, width):
    page = visit(viewport={"width": width, "height": 800})
    shown(page, state)

    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_what_is_pressed_on_a_phone_is_large_enough(visit):
    page = visit(viewport=PHONE, has_touch=True)
    look(page)
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, summary, select, .views span")]
            .filter((one) => one.checkVisibility())
            .map((one) => [one.textContent.trim().slice(0, 30), one.getBoundingClientRect()])
            .filter(([, {width, height}]) => width < 24 || height < 20)
            .map(([name]) => name)"""
    )

    assert small == []


# When things go wrong


def test_where_all_panels_probe_nothing_can_be_asked_and_the_page_says_so(visit, tmp_path):
    folder = tmp_path / "probing"
    folder.mkdir()
    keys = [{"id": "t", "secret": KEY}]
    bench = Bench(folder, panels={"probing": {"keys": keys, "probe": True}})
    with served(bench.app) as port:
        page = visit(f"http://127.0.0.1:{port}/workbench")

        expect(page.get_by_text("All panels of this server probe")).to_be_visible()
        expect(page.get_by_role("button", name="Show the card")).to_be_hidden()
        expect(page.get_by_text("Save as a recording")).to_have_count(0)
        expect(card(page)).to_have_text("No panel shows a card.")


def test_an_answer_to_an_older_question_is_not_shown_over_a_newer_one(page):
    held = []

    def hold(route):
        if "C-1002" in route.request.post_data:
            held.append(route)
        else:
            route.continue_()

    page.route("**/look", hold)
    page.get_by_label("External id").fill("C-1002")
    ask = page.get_by_role("button", name="Show the card")
    ask.click()
    page.get_by_label("External id").fill("C-1001")
    ask.click()
    expect(card(page).locator(".person")).to_have_text("Anna Andersson")
    with page.expect_response(lambda response: "C-1002" in (response.request.post_data or "")):
        held[0].continue_()
    page.wait_for_timeout(100)

    expect(card(page).locator(".person")).to_have_text("Anna Andersson")
    assert len(held) == 1


def test_a_server_that_went_away_is_said(page):
    look(page)
    page.context.set_offline(True)
    page.get_by_role("button", name="Show the card").click()

    expect(page.get_by_role("status").first).to_contain_text("see that it runs")
    expect(card(page)).to_contain_text("see that it runs")
    expect(page.locator("#json")).to_have_text("")
    expect(card(page)).not_to_have_attribute("aria-busy", "true")


def test_a_list_of_recordings_that_does_not_come_is_said(visit, address):
    page = visit("about:blank")
    page.route("**/recordings", lambda route: route.fulfill(status=502, body="<html>"))
    page.goto(address)

    expect(page.get_by_role("status").first).to_contain_text("see that it runs")


@pytest.mark.parametrize("state", [state for state in STATES if state != "wrong"])
def test_a_browser_has_nothing_to_complain_about(visit, state):
    page = visit()
    shown(page, state)

    assert page.complaints == []
