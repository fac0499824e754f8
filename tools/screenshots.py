"""Make the pictures of the workbench in docs/images: `make screenshots`. Needs Chromium.

They show the demo, so nobody who exists. Fonts differ from machine to machine, and how long an
answer took from run to run.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from imbox_plugin.app import create_app
from tests.browser import chromium, served
from tests.demo import ENVIRON, SETTINGS, build

TARGET = Path(__file__).parents[1] / "docs" / "images"
#: bytes of one picture
MOST = 200_000


def main() -> None:
    """Serve the demo, and picture it as three people may see it."""
    build()
    TARGET.mkdir(exist_ok=True)
    with served(create_app(SETTINGS, ENVIRON)) as port, chromium() as browser:
        for name, scheme, width, height, recording in (
            ("light", "light", 1280, 800, "ticket__note_that_is_html"),
            ("dark", "dark", 1280, 800, "contact__many_orders"),
            ("phone", "light", 390, 800, "chat__compact_panel"),
        ):
            size = {"width": width, "height": height}
            page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")
            page.goto(f"http://127.0.0.1:{port}/workbench")
            picture(page, name, recording)
            page.close()


def picture(page: Page, name: str, recording: str) -> None:
    """Choose a recording, and picture what is seen."""
    page.get_by_label("Recording").select_option(recording)
    expect(page.locator("#difference")).to_be_visible()
    # The first card of a server takes longer: its connections are still to be made.
    with page.expect_response("**/look"):
        page.get_by_role("button", name="Show the card").click()
    expect(page.locator("#card")).not_to_have_attribute("aria-busy", "true")
    expect(page.locator("#difference")).to_have_text("The same reply as recorded.")
    if name == "dark":
        page.get_by_role("button", name="Dark").click()
    if name == "phone":
        page.locator(".tools").evaluate("tools => tools.scrollIntoView()")
    for frame in page.locator("#card iframe.html").all():
        expect(frame.content_frame.locator("body > *").first).to_be_visible()
    file = TARGET / f"workbench-{name}.png"
    size = len(page.screenshot(path=file))
    if size > MOST:
        raise SystemExit(f"{file} has {size} bytes; {MOST} are enough")
    print(f"{file.name}: {size} bytes")


if __name__ == "__main__":
    main()
