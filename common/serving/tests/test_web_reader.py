"""The page that reads pictures, in a real browser."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import defusedxml.ElementTree as ET
import pytest
from PIL import Image

from common.serving.tests.web_pages import (
    SIZE,
    TEXTS,
    file,
    picture,
    reading,
    ready,
    tab,
    texts_of,
    wait_for_text,
    wait_until,
)
from common.serving.tests.web_server import CUT, HANG, PageServer, Said, problem, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("web")

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def running() -> Iterator[PageServer]:
    with serving(PageServer(mode="reader", answer=reading())) as server:
        yield server


@pytest.fixture
def server(running: PageServer) -> PageServer:
    running.reset(reading())
    return running


def add(page: Page, *files: dict[str, Any]) -> None:
    """Choose files and wait until the first one is read."""
    page.set_input_files("#files", list(files) or [file()])  # type: ignore[arg-type]
    page.wait_for_selector("#lines textarea")


def hand_over(page: Page, event: str, content: bytes | None) -> None:
    """Drop a file on the page or paste it; None: what is dropped or pasted is a text."""
    script = """([event, bytes]) => {
      const data = new DataTransfer();
      if (bytes) data.items.add(new File([new Uint8Array(bytes)], "given.png", {type: "image/png"}));
      else data.setData("text/plain", "words");
      const init = {bubbles: true, cancelable: true};
      const made = event === "paste" ? new ClipboardEvent("paste", {...init, clipboardData: data})
        : new DragEvent(event, {...init, dataTransfer: data});
      return document.body.dispatchEvent(made);
    }"""
    page.evaluate(script, [event, None if content is None else list(content)])


def saved(page: Page, name: str) -> tuple[str, bytes]:
    """The name and the content of the file that a button of the downloads saves."""
    with page.expect_download() as download:
        page.click(f'[data-format="{name}"]')
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


# --- a picture comes in
@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_chosen_picture_becomes_text(browser: Browser, server: PageServer, options: dict[str, Any]) -> None:
    with tab(browser, server.url, **options) as page:
        add(page)
        assert texts_of(page) == list(TEXTS)
        assert page.locator("#summary").inner_text() == "5 lines, 83% sure"
        assert page.locator("#view img").is_visible()
        assert page.viewport_size
        # a phone's browser makes the window as wide as what is in it
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= page.viewport_size["width"], "the page can be scrolled sideways"
        picture_box, text_box = (page.locator(name).bounding_box() for name in ("section.picture", "section.text"))
        assert picture_box
        assert text_box
        if options:
            assert text_box["y"] >= picture_box["y"] + picture_box["height"]
        else:
            assert text_box["x"] >= picture_box["x"] + picture_box["width"]


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_dropped_or_pasted_picture_is_read(browser: Browser, server: PageServer, event: str) -> None:
    with tab(browser, server.url) as page:
        if event == "drop":
            hand_over(page, event, None)
            wait_for_text(page, "#state", "no file")
        hand_over(page, event, picture())
        page.wait_for_selector("#lines textarea")
        (asked,) = [asked for asked in server.asked if asked.path == "/v1/read"]
        assert b'name="file"; filename="given.png"' in asked.body
        assert picture() in asked.body


def test_photo_is_taken_with_the_camera_of_the_back(browser: Browser, server: PageServer) -> None:
    with tab(browser, server.url, **PHONE) as page:
        with page.expect_file_chooser() as chooser:
            page.tap("#photograph")
        assert chooser.value.element.get_attribute("capture") == "environment"
        chooser.value.set_files(file())  # type: ignore[arg-type]
        page.wait_for_selector("#lines textarea")


def test_pictures_are_read_one_after_the_other(browser: Browser, server: PageServer) -> None:
    server.next.extend([Said.json(reading(("first",))), Said.json(reading(("second",)))])
    with tab(browser, server.url) as page:
        add(page, file("one.png"), file("two.png"))
        page.wait_for_selector("#shelf li:nth-child(2)[data-state=read]")
        assert texts_of(page) == ["first"]
        page.click("#shelf li:nth-child(2) .name")
        wait_until(page, lambda: texts_of(page) == ["second"])
        page.click("#shelf li:nth-child(2) .remove")
        wait_until(page, lambda: texts_of(page) == ["first"])
        page.click("#shelf .remove")
        assert page.locator("#start").is_visible()


def test_turned_photo_and_its_lines_lie_over_each_other(browser: Browser, server: PageServer) -> None:
    upright = Image.new("L", SIZE, 250)
    upright.paste(0, (0, 0, 150, 80))  # a dark corner on the upper left, above the first line
    exif, stored = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # the camera was held upright: what is seen is what is stored, turned to the right
    upright.transpose(Image.Transpose.ROTATE_90).save(stored, "JPEG", exif=exif)
    with tab(browser, server.url) as page:
        add(page, file("photo.jpg", stored.getvalue(), "image/jpeg"))
        page.wait_for_selector("#view g.line")
        page.click("#zoom-page")
        boxes = [page.locator(name).bounding_box() for name in ("#view img", "#view svg")]
        assert boxes[0] == boxes[1]
        seen = Image.open(io.BytesIO(page.locator(".sheet").screenshot())).convert("L")
        assert seen.height / seen.width == pytest.approx(800 / 600, abs=0.01)
        corners = [(x, y) for y in (0.04, 0.96) for x in (0.04, 0.96)]
        dark = [seen.getpixel((int(x * seen.width), int(y * seen.height))) < 128 for x, y in corners]
        assert dark == [True, False, False, False]


def test_page_that_the_browser_cannot_show_is_drawn_on_paper(browser: Browser, server: PageServer) -> None:
    pages = [reading(page=1), reading(("another page",), page=2)]
    server.answer = {"pages": pages, "model": "0123456789ab", "seconds": {"total": 3.0}}
    content = io.BytesIO()
    first = Image.open(io.BytesIO(picture()))
    first.save(content, "TIFF", save_all=True, append_images=[first])
    with tab(browser, server.url) as page:
        add(page, file("scan.tif", content.getvalue(), "image/tiff"))
        page.wait_for_selector("#view text")
        assert page.locator("#view text").all_text_contents() == list(TEXTS)
        assert "cannot show" in page.locator("#note").inner_text()
        assert page.locator("#page-number").inner_text() == "Page 1 of 2"
        page.fill("#lines textarea >> nth=0", "Dear Anna,")
        page.click("#page-after")
        wait_until(page, lambda: page.locator("#view text").count() == 1)
        assert texts_of(page) == ["another page"]
        assert page.locator("#page-after").is_disabled()
        assert saved(page, "text") == (
            "scan.txt",
            ("\n".join(("Dear Anna,", *TEXTS[1:])) + "\n\nanother page\n").encode(),
        )
        name, content_xml = saved(page, "page")
        assert name == "scan_2.page.xml"
        assert b"another page" in content_xml
        assert [each["text"] for each in json.loads(saved(page, "json")[1])["pages"]] == [
            "\n".join(("Dear Anna,", *TEXTS[1:])),
            "another page",
        ]


def test_page_without_writing_says_so(browser: Browser, server: PageServer) -> None:
    server.answer = reading(())
    with tab(browser, server.url) as page:
        page.set_input_files("#files", [file()])  # type: ignore[list-item]
        wait_for_text(page, "#empty", "No writing")


# --- picture and text together
def test_hovering_and_focusing_one_shows_the_other(browser: Browser, server: PageServer) -> None:
    with tab(browser, server.url) as page:
        add(page)
        page.wait_for_selector("#view g.line")
        page.hover("#lines li:nth-child(2)")
        assert page.locator("#view g.hover").count() == 1
        assert page.locator("#view g:nth-child(2).hover").count() == 1
        page.locator("#view g:nth-child(4) polygon").hover()
        assert page.locator("#lines li:nth-child(4).hover").count() == 1
        page.locator("#view g:nth-child(4) polygon").click()
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Line 4"
        assert page.locator("#view g.selected").count() == 1
        assert page.locator("#view g:nth-child(4).selected").count() == 1


def test_confidence_is_shown_by_more_than_colour(browser: Browser, server: PageServer) -> None:
    with tab(browser, server.url) as page:
        add(page)
        page.wait_for_selector("#view g.line")
        levels = [item.get_attribute("data-level") for item in page.locator("#view g.line").all()]
        assert levels == ["sure", "check", "unsure", "sure", "sure"]
        dashes = [
            page.locator(f"#view g:nth-child({at}) .baseline").evaluate(
                "line => getComputedStyle(line).strokeDasharray"
            )
            for at in (1, 2, 3)
        ]
        assert len(set(dashes)) == 3
        assert page.locator("#lines .confidence").all_text_contents()[:3] == ["●97%", "◐85%", "○53%"]
        assert page.locator("#lines mark").all_inner_texts() == ["h"]  # below a half
        assert "Uncertain: h" in page.locator("#note-3").inner_text()


def test_zooming_and_moving_the_picture(browser: Browser, server: PageServer) -> None:
    with tab(browser, server.url) as page:
        add(page)
        page.wait_for_selector("#view g.line")
        view, sheet = page.locator("#view"), page.locator(".sheet")

        def width() -> float:
            box = sheet.bounding_box()
            assert box
            return box["width"]

        whole = width()
        page.click("#zoom-in")
        assert width() == pytest.approx(1.3 * whole, rel=0.01)
        view.focus()
        page.keyboard.press("-")
        assert width() == pytest.approx(whole, rel=0.01)
        page.keyboard.press("0")
        box = sheet.bounding_box()
        assert box
        assert box["height"] <= view.evaluate("view => view.clientHeight") + 1
        for _ in range(6):
            page.keyboard.press("+")
        box = view.bounding_box()
        assert box
        before = view.evaluate("view => view.scrollTop")
        page.mouse.move(box["x"] + 200, box["y"] + 200)
        page.mouse.down()
        page.mouse.move(box["x"] + 150, box["y"] + 120, steps=4)
        page.mouse.up()
        assert view.evaluate("view => view.scrollTop") == pytest.approx(before + 80, abs=6)
        assert page.locator("#view g.selected").count() == 0  # a drag is no click


# --- correcting and taking away
def test_corrected_text_is_what_is_downloaded(browser: Browser, server: PageServer) -> None:
    with tab(browser, server.url) as page:
        add(page, file("letter.png"))
        page.fill("#lines textarea >> nth=2", "where once we walked & <talked>")
        expected = [*TEXTS[:2], "where once we walked & <talked>", *TEXTS[3:]]
        assert page.locator("#lines li:nth-child(3)").get_attribute("data-level") == "own"
        assert saved(page, "text") == ("letter.txt", ("\n".join(expected) + "\n").encode())

        name, alto = saved(page, "alto")
        assert name == "letter.alto.xml"
        root = ET.fromstring(alto)
        assert [each.get("CONTENT") for each in root.iter() if each.tag.endswith("}String")] == expected
        name, page_xml = saved(page, "page")
        assert name == "letter.page.xml"
        assert [each.text for each in ET.fromstring(page_xml).iter() if each.tag.endswith("}Unicode")] == expected

        name, content = saved(page, "json")
        row = json.loads(content)
        assert (name, row["text"]) == ("letter.json", "\n".join(expected))
        assert "".join(one["text"] for one in row["lines"][2]["characters"]) == expected[2]
        assert {one["confidence"] for one in row["lines"][2]["characters"]} == {1}
        assert row["lines"][0] == reading()["lines"][0]


def test_correction_keeps_the_confidence_of_what_it_leaves(browser: Browser, server: PageServer) -> None:
    with tab(browser, server.url) as page:
        add(page)
        page.fill("#lines textarea >> nth=2", "here and I walk")
        row = json.loads(saved(page, "json")[1])["lines"][2]
        kept = [0.2, *[0.55] * 8, 1, *[0.55] * 5]  # "here and ", "I", " walk"
        assert [one["confidence"] for one in row["characters"]] == kept
        assert row["confidence"] == pytest.approx(sum(kept) / len(kept))
        assert page.locator("#lines mark").all_inner_texts() == ["h"]
        page.click("#lines li:nth-child(3) .reset")
        assert texts_of(page) == list(TEXTS)
        page.fill("#lines textarea >> nth=0", "x")
        page.fill("#lines textarea >> nth=1", "y")
        page.click("#reset")
        assert texts_of(page) == list(TEXTS)
        assert not page.locator("#reset").is_visible()


def test_text_is_copied(browser: Browser, server: PageServer) -> None:
    with tab(browser, server.url, permissions=["clipboard-read", "clipboard-write"]) as page:
        add(page)
        page.fill("#lines textarea >> nth=0", "Dear Anna,")
        page.click("#copy")
        wait_for_text(page, "#state", "clipboard")
        assert page.evaluate("navigator.clipboard.readText()") == "\n".join(("Dear Anna,", *TEXTS[1:])) + "\n"


def test_page_stores_nothing(browser: Browser, server: PageServer) -> None:
    with tab(browser, server.url) as page:
        add(page)
        page.fill("#lines textarea >> nth=0", "Dear Anna,")
        stored = page.evaluate(
            "(async () => [localStorage.length, sessionStorage.length, document.cookie, "
            "(await indexedDB.databases()).length, (await caches.keys()).length])()"
        )
        assert stored == [0, 0, "", 0, 0]


# --- the keyboard
def test_everything_works_from_the_keyboard(browser: Browser, server: PageServer) -> None:
    def label(page: Page) -> str:
        return str(page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"))

    with tab(browser, server.url) as page:
        for _ in range(3):  # the link to the content, the list of keys, the button
            page.keyboard.press("Tab")
        assert label(page) == "choose"
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(file())  # type: ignore[arg-type]
        page.wait_for_selector("#lines textarea")
        assert label(page) == "text-heading"  # what was pressed is gone, so the focus goes to where the text is
        for _ in range(2):  # the next uncertain line, the first line
            page.keyboard.press("Tab")
        assert label(page) == "Line 1"
        for key, line in (("ArrowDown", 2), ("Enter", 3), ("Shift+Enter", 2), ("ArrowUp", 1), ("ArrowUp", 1)):
            page.keyboard.press(key)
            assert label(page) == f"Line {line}", key
        page.keyboard.press("End")
        page.keyboard.type(" and Tom")
        assert texts_of(page)[0] == "Dear Ann, and Tom"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement === document.body")
        page.click("#next-doubt")
        assert label(page) == "Line 3"


# --- a server that fails
@pytest.mark.parametrize(
    ("answer", "title", "more", "again"),
    [
        (problem(500, "secret words of the server"), "The server failed", "Try again", True),
        (problem(504, "took longer than 30 s"), "Reading took too long", "cut the picture in parts", True),
        (
            problem(413, "it has 31 MB; at most 20 MB are read"),
            "too large",
            "It has 31 MB; at most 20 MB are read.",
            False,
        ),
        (problem(422, "page.png is no image"), "cannot be read", "Page.png is no image.", False),
        (Said(status=502, body=b"<html>Bad gateway"), "The server failed", "tell whoever runs it", True),
        (Said(body=b"<html>hello", headers={"Content-Type": "text/html"}), "not one of this service", "reload", True),
        (Said.json({"lines": 3}), "not one of this service", "reload", True),
        (CUT, "cannot be reached", "Check the connection", True),
    ],
    ids=["500", "504", "413", "422", "502", "no JSON", "other JSON", "connection cut"],
)
def test_failure_is_told_and_the_next_try_works(
    browser: Browser, server: PageServer, answer: Said, title: str, more: str, again: bool
) -> None:
    server.next.append(answer)
    if answer is CUT:
        server.next.extend([CUT] * 20)  # the browser itself tries again
    with tab(browser, server.url, failures=True) as page:
        page.set_input_files("#files", [file()])  # type: ignore[list-item]
        alert = page.locator("#problem")
        alert.wait_for()
        said = alert.inner_text()
        assert title in said
        assert more in said
        assert "secret" not in said.lower()
        assert page.locator("#shelf li").get_attribute("data-state") == "failed"
        buttons = alert.get_by_role("button").all_inner_texts()
        assert buttons == (["Try again"] if again else []) + ["Remove this picture"]
        server.next.clear()
        if again:
            alert.get_by_role("button", name="Try again").click()
            page.wait_for_selector("#lines textarea")
            assert not alert.is_visible()


def test_busy_server_is_asked_again_when_it_says_so(browser: Browser, server: PageServer) -> None:
    server.next.extend([problem(503, "the queue is full", Retry_After="1")] * 2)
    with tab(browser, server.url, failures=True) as page:
        page.set_input_files("#files", [file()])  # type: ignore[list-item]
        wait_for_text(page, "#state", "Try 2 of 6")
        page.wait_for_selector("#lines textarea")
        assert sum(asked.path == "/v1/read" for asked in server.asked) == 3


@pytest.mark.parametrize(
    "answer", [HANG, problem(503, "the queue is full", Retry_After="30")], ids=["reading", "waiting"]
)
@pytest.mark.parametrize("way", ["button", "Escape"])
def test_reading_is_cancelled(browser: Browser, server: PageServer, answer: Said, way: str) -> None:
    server.next.append(answer)
    with tab(browser, server.url, failures=True) as page:
        page.set_input_files("#files", [file(), file("next.png")])  # type: ignore[list-item]
        words = "Reading page.png" if answer is HANG else "The server is busy"
        wait_for_text(page, "#state", words)
        if way == "button":
            page.click("#cancel")
        else:
            page.keyboard.press("Escape")
        page.wait_for_selector("#shelf li:nth-child(1)[data-state=cancelled]")
        page.wait_for_selector("#shelf li:nth-child(2)[data-state=read]")  # the next one is read


def test_token_is_asked_for_and_kept_in_the_tab(browser: Browser, server: PageServer) -> None:
    server.token = "open sesame"
    with tab(browser, server.url, failures=True) as page:
        page.set_input_files("#files", [file()])  # type: ignore[list-item]
        page.wait_for_selector("#token-dialog[open]")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        wait_for_text(page, "#token-wrong", "did not accept")
        page.keyboard.type("open sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("#lines textarea")
        assert page.evaluate("[localStorage.length, Object.values(sessionStorage)]") == [0, ["open sesame"]]
        page.reload()
        ready(page)
        add(page)  # the tab still has it
        server.token = "another one"
        page.set_input_files("#files", [file()])  # type: ignore[list-item]
        page.wait_for_selector("#token-dialog[open]")
        page.keyboard.press("Escape")
        page.locator("#problem").wait_for()
        assert "wants a token" in page.locator("#problem").inner_text()


def test_file_that_the_browser_cannot_open_is_told_from_a_broken_network(browser: Browser, server: PageServer) -> None:
    with tab(browser, server.url) as page:
        page.set_input_files("#files", [file("empty.png", b"")])  # type: ignore[list-item]
        page.locator("#problem").wait_for()
        assert "The file is empty" in page.locator("#problem").inner_text()
        assert not any(asked.path == "/v1/read" for asked in server.asked)


def test_photo_in_a_format_that_the_service_does_not_read_is_converted(browser: Browser, server: PageServer) -> None:
    with tab(browser, server.url) as page:
        # Chromium goes by the content, as Safari does, which can open HEIC
        add(page, file("photo.heic", picture(), "image/heic"))
        (asked,) = [asked for asked in server.asked if asked.path == "/v1/read"]
        assert b"image/jpeg" in asked.body
        assert b"JFIF" in asked.body
        page.set_input_files("#files", [file("other.heic", b"no picture", "image/heic")])  # type: ignore[list-item]
        page.locator("#problem").wait_for()
        assert "Most Compatible" in page.locator("#problem").inner_text()


def test_picture_stays_in_sight_while_a_phone_scrolls_the_text(browser: Browser, server: PageServer) -> None:
    server.answer = reading(TEXTS * 6)
    with tab(browser, server.url, **PHONE) as page:
        add(page)
        page.focus("#lines li:nth-child(28) textarea")
        shown, line = (page.locator(name).bounding_box() for name in ("#view", "#lines li:nth-child(28)"))
        assert shown
        assert line
        assert shown["y"] >= 0
        assert shown["y"] + shown["height"] <= line["y"]
        assert line["y"] + line["height"] <= 844
