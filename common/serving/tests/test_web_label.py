"""The page in label mode, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from common.serving.tests.web_labels import Folder
from common.serving.tests.web_pages import TEXTS, reading, tab, texts_of, wait_for_text, wait_until
from common.serving.tests.web_server import CUT, PageServer, problem, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("web")


@pytest.fixture(scope="module")
def running() -> Iterator[PageServer]:
    with serving(PageServer(mode="label", answer=None)) as server:
        yield server


@pytest.fixture
def folder(running: PageServer) -> Folder:
    folder = Folder()
    running.reset(None)
    running.extra = folder.answer
    return folder


@pytest.fixture
def url(running: PageServer, folder: Folder) -> str:
    return running.url


def opened(page: Page) -> Page:
    """The tab, when the lines of its page are there."""
    page.wait_for_selector("#view g.line")
    return page


def edit(page: Page, line: int, text: str) -> None:
    page.fill(f"#lines li:nth-child({line}) textarea", text)


def sent(folder: Folder) -> list[dict[str, Any]]:
    """The lines that the page has saved last."""
    return folder.puts[-1]


# --- the folder
def test_corrected_page_is_saved_after_a_pause(browser: Browser, url: str, folder: Folder) -> None:
    with tab(browser, url) as page:
        opened(page)
        assert texts_of(page) == list(TEXTS)
        assert "Proposed by the reader" in page.locator("#saved").inner_text()
        assert page.locator("#folder-count").inner_text() == "0 of 3 corrected"
        edit(page, 1, "Dear Anna,")
        assert "Not saved yet" in page.locator("#saved").inner_text()
        assert folder.puts == []  # not for every letter
        wait_for_text(page, "#saved", "✓ Saved")
        assert folder.texts("0") == ["Dear Anna,", *TEXTS[1:]]
        # an outline that fits is kept
        assert sent(folder)[1] == {name: reading()["lines"][1][name] for name in ("text", "baseline", "outline")}
        assert page.locator("#folder-count").inner_text() == "1 of 3 corrected"
        assert "corrected" in page.locator("#page-choice option").first.inner_text()
        assert page.evaluate("localStorage.length") == 0


def test_page_without_mistakes_is_saved_as_correct(browser: Browser, url: str, folder: Folder) -> None:
    with tab(browser, url) as page:
        opened(page).click("#save")
        wait_for_text(page, "#saved", "✓ Saved")
        assert folder.texts("0") == list(TEXTS)


def test_leaving_a_page_saves_it_at_once(browser: Browser, url: str, folder: Folder) -> None:
    folder.somebody_saves("1", ["one", "two"])
    with tab(browser, url) as page:
        edit(opened(page), 1, "Dear Anna,")
        page.keyboard.press("Alt+PageDown")
        wait_until(page, lambda: texts_of(page) == ["one", "two"])
        assert folder.texts("0")[0] == "Dear Anna,"
        assert page.url.endswith("#1")
        page.select_option("#page-choice", index=0)
        wait_until(page, lambda: texts_of(page) == ["Dear Anna,", *TEXTS[1:]])
        page.click("#next-new")
        wait_for_text(page, "#state", "scan_3.png is open")
        assert page.url.endswith("#2")


# --- lines
def test_lines_are_added_moved_and_deleted_and_each_step_can_be_undone(
    browser: Browser, url: str, folder: Folder
) -> None:
    first, second, *others = TEXTS
    with tab(browser, url) as page:
        opened(page).click("#lines li:nth-child(2) textarea")
        steps = [
            ("Alt+Enter", [first, second, "", *others]),
            ("Alt+ArrowUp", [first, "", second, *others]),
            ("Alt+ArrowDown", [first, second, "", *others]),
            ("Alt+Delete", [first, second, *others]),
            ("Alt+Delete", [first, second, *others[1:]]),
        ]
        for key, expected in steps:
            page.keyboard.press(key)
            assert texts_of(page) == expected, key
        for _, expected in reversed(steps[:-1]):
            page.keyboard.press("Control+z")
            assert texts_of(page) == expected
        page.keyboard.press("Control+z")
        assert texts_of(page) == list(TEXTS)
        for _, expected in steps:
            page.keyboard.press("Control+Shift+z")
            assert texts_of(page) == expected
        page.keyboard.press("Control+s")
        wait_for_text(page, "#saved", "✓ Saved")
        assert folder.texts("0") == steps[-1][1]


def test_typing_is_undone_in_steps_and_not_by_the_letter(browser: Browser, url: str, folder: Folder) -> None:
    with tab(browser, url) as page:
        opened(page).click("#lines li:nth-child(5) textarea")
        page.keyboard.press("End")
        page.keyboard.type("my")
        assert texts_of(page)[4] == "Yours, Tommy"
        page.keyboard.press("Control+z")
        assert texts_of(page) == list(TEXTS)


def test_line_added_below_lies_a_line_distance_below(browser: Browser, url: str, folder: Folder) -> None:
    with tab(browser, url) as page:
        opened(page).click("#lines li:nth-child(2) textarea")
        page.click("#add-line")
        page.keyboard.type("between")
        page.click("#save")
        wait_for_text(page, "#saved", "✓ Saved")
        above = reading()["lines"][1]["baseline"]
        assert sent(folder)[2] == {"text": "between", "baseline": [[x, y + 90] for x, y in above]}


def press_picture(page: Page, x: float, y: float) -> None:
    """Press the picture at a point of it."""
    page.locator(".sheet").click(position=on_screen(page, x, y))  # type: ignore[arg-type]


def on_screen(page: Page, x: float, y: float) -> dict[str, float]:
    box = page.locator(".sheet").bounding_box()
    assert box
    return {"x": (x + 0.5) / 600 * box["width"], "y": (y + 0.5) / 800 * box["height"]}


def test_drawn_line_takes_its_place_by_its_height(browser: Browser, url: str, folder: Folder) -> None:
    with tab(browser, url) as page:
        opened(page).click("#draw-line")
        press_picture(page, 300, 232)  # from right to left, between the second and the third line
        press_picture(page, 100, 230)
        assert page.locator("#draw-line").inner_text() == "Finish the line"
        page.keyboard.press("Enter")
        page.keyboard.type("by the sea")
        page.click("#save")
        wait_for_text(page, "#saved", "✓ Saved")
        assert folder.texts("0") == [*TEXTS[:2], "by the sea", *TEXTS[2:]]
        drawn = sent(folder)[2]
        assert "outline" not in drawn
        assert [*drawn["baseline"][0], *drawn["baseline"][1]] == pytest.approx([100, 230, 300, 232], abs=2)
        page.click("#draw-line")
        press_picture(page, 100, 100)
        page.keyboard.press("Escape")
        assert page.locator("#draw-line").get_attribute("aria-pressed") == "false"
        assert len(texts_of(page)) == 6


def test_points_of_a_baseline_are_moved_by_pointer_and_keyboard(browser: Browser, url: str, folder: Folder) -> None:
    before = reading()["lines"][1]["baseline"]
    with tab(browser, url) as page:
        opened(page).click("#lines li:nth-child(2) textarea")
        assert page.locator(".handle").count() == 3
        box = page.locator(".handle").first.bounding_box()
        sheet = page.locator(".sheet").bounding_box()
        assert box
        assert sheet
        end = on_screen(page, 30, 210)
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(sheet["x"] + end["x"], sheet["y"] + end["y"], steps=5)
        page.mouse.up()
        page.locator(".handle").nth(2).focus()
        for key in ("ArrowDown", "Shift+ArrowRight", "ArrowUp", "ArrowUp"):
            page.keyboard.press(key)
        assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Point 3 of 3")
        page.locator(".handle").nth(1).focus()
        page.keyboard.press("Delete")
        assert page.locator(".handle").count() == 2
        page.keyboard.press("Insert")
        page.keyboard.press("Control+s")
        wait_for_text(page, "#saved", "✓ Saved")
        moved = sent(folder)[1]
        assert "outline" not in moved  # the old one no longer fits
        (left, top), middle, right = moved["baseline"]
        assert [left, top] == pytest.approx([30, 210], abs=2)
        assert right == [before[2][0] + 10, before[2][1] - 1]
        assert middle == pytest.approx([(left + right[0]) / 2, (top + right[1]) / 2], abs=1)


# --- nothing is lost
def test_work_survives_a_dead_server_and_a_closed_browser(browser: Browser, url: str, folder: Folder) -> None:
    folder.next_put.extend([CUT] * 50)
    with tab(browser, url, failures=True) as page:
        edit(opened(page), 1, "Dear Anna,")
        wait_for_text(page, "#saved", "This browser keeps your work")
        assert "cannot be reached" in page.locator("#problem").inner_text()
        edit(page, 2, "the weather is bad")  # after the failure
        warned: list[str] = []
        page.on("dialog", lambda dialog: (warned.append(dialog.type), dialog.accept()))
        page.reload()
        assert warned == ["beforeunload"]
        page.wait_for_selector("dialog[open]")
        assert "not saved" in page.locator("dialog[open]").inner_text()
        folder.next_put.clear()
        page.get_by_role("button", name="Go on with it").click()
        wait_until(page, lambda: texts_of(page)[:2] == ["Dear Anna,", "the weather is bad"])
        wait_for_text(page, "#saved", "✓ Saved")
        assert folder.texts("0")[:2] == ["Dear Anna,", "the weather is bad"]
        assert page.evaluate("localStorage.length") == 0


def test_server_that_comes_back_gets_the_work_without_a_word(browser: Browser, url: str, folder: Folder) -> None:
    folder.next_put.append(problem(503, "the disk is busy", Retry_After="1"))
    with tab(browser, url, failures=True) as page:
        edit(opened(page), 1, "Dear Anna,")
        wait_for_text(page, "#saved", "This browser keeps your work")
        wait_for_text(page, "#saved", "✓ Saved")
        assert folder.texts("0")[0] == "Dear Anna,"
        assert not page.locator("#problem").is_visible()


def test_work_that_was_not_saved_can_be_thrown_away(browser: Browser, url: str, folder: Folder) -> None:
    with tab(browser, url) as page:
        opened(page)
        row = {"version": "v0", "width": 600, "height": 800, "time": 0, "lines": []}
        page.evaluate("row => localStorage.setItem('fourhands.label.scan_1.png', JSON.stringify(row))", row)
        page.reload()
        page.wait_for_selector("dialog[open]")
        assert "has changed since" in page.locator("dialog[open]").inner_text()
        page.get_by_role("button", name="Throw it away").click()
        opened(page)
        assert texts_of(page) == list(TEXTS)
        assert page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize("choice", ["Keep mine", "Take theirs"])
def test_somebody_else_who_saved_is_not_overwritten_unasked(
    browser: Browser, url: str, folder: Folder, choice: str
) -> None:
    with tab(browser, url, failures=True) as page:
        opened(page)
        folder.somebody_saves("0", ["their line"])
        edit(page, 1, "my line")
        page.click("#save")
        page.wait_for_selector("dialog[open]")
        assert folder.texts("0") == ["their line"]
        page.get_by_role("button", name=choice).click()
        wait_for_text(page, "#saved", "✓ Saved")
        expected = ["my line", *TEXTS[1:]] if choice == "Keep mine" else ["their line"]
        assert texts_of(page) == expected
        assert folder.texts("0") == expected
        if choice == "Take theirs":
            page.click("#undo")  # mine can still be had
            assert texts_of(page) == ["my line", *TEXTS[1:]]


def test_refused_lines_are_told_and_not_sent_again(browser: Browser, url: str, folder: Folder) -> None:
    folder.next_put.append(problem(422, "line 1: its text has a control character; remove it"))
    with tab(browser, url, failures=True) as page:
        edit(opened(page), 1, "Dear Anna,")
        page.locator("#problem").wait_for()
        assert "Line 1: its text has a control character; remove it." in page.locator("#problem").inner_text()
        edit(page, 1, "Dear Ann")
        wait_for_text(page, "#saved", "✓ Saved")
        assert len(folder.puts) == 2
