"""The page is accessible: axe's rules find nothing, in both modes and both colour schemes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from common.serving.tests.web_labels import Folder
from common.serving.tests.web_pages import file, reading, tab
from common.serving.tests.web_server import PageServer, problem, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("web")

SIZES = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, PageServer]]:
    label = PageServer(mode="label", answer=None, extra=Folder().answer)
    with serving(PageServer(mode="reader", answer=reading())) as reader, serving(label):
        yield {"reader": reader, "label": label}


def violations(page: Page) -> list[str]:
    """What axe finds, one sentence per element."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    found = axe.Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['html'][:120]} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_reading_is_accessible(browser: Browser, servers: dict[str, PageServer], scheme: str, size: str) -> None:
    server = servers["reader"]
    server.reset(reading())
    with tab(browser, server.url, failures=True, color_scheme=scheme, viewport=SIZES[size]) as page:
        assert violations(page) == [], "start"
        page.set_input_files("#files", [file()])  # type: ignore[list-item]
        page.wait_for_selector("#view g.line")
        page.fill("#lines textarea >> nth=0", "Dear Anna,")
        page.hover("#lines li:nth-child(3)")
        assert violations(page) == [], "a page and its text"
        server.next.append(problem(422, "it is no image"))
        page.set_input_files("#files", [file()])  # type: ignore[list-item]
        page.locator("#problem").wait_for()
        assert violations(page) == [], "an error"
        page.click("#help-open")
        assert violations(page) == [], "the list of keys"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_labelling_is_accessible(browser: Browser, servers: dict[str, PageServer], scheme: str, size: str) -> None:
    with tab(browser, servers["label"].url, color_scheme=scheme, viewport=SIZES[size]) as page:
        page.wait_for_selector("#view g.line")
        page.click("#lines li:nth-child(2) textarea")
        page.wait_for_selector(".handle")
        assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_question_for_the_token_is_accessible(browser: Browser, servers: dict[str, PageServer], scheme: str) -> None:
    server = servers["reader"]
    server.reset(reading())
    server.token = "open sesame"
    with tab(browser, server.url, failures=True, color_scheme=scheme) as page:
        page.set_input_files("#files", [file()])  # type: ignore[list-item]
        page.wait_for_selector("#token-dialog[open]")
        assert violations(page) == []


def test_axe_finds_what_is_wrong(browser: Browser, servers: dict[str, PageServer]) -> None:
    with tab(browser, servers["reader"].url) as page:
        page.evaluate("document.querySelector('#choose').textContent = ''")
        assert [each.partition(":")[0] for each in violations(page)] == ["button-name"]


def test_page_without_colours_or_movement_still_works(browser: Browser, servers: dict[str, PageServer]) -> None:
    server = servers["reader"]
    server.reset(reading())
    with tab(browser, server.url, forced_colors="active", reduced_motion="reduce") as page:
        page.set_input_files("#files", [file()])  # type: ignore[list-item]
        page.wait_for_selector("#view g.line")
        page.click("#lines li:nth-child(3) textarea")
        colours = page.evaluate(
            "['.selected', 'li:nth-child(4)'].map(name => "
            "getComputedStyle(document.querySelector('#lines ' + name)).borderLeftColor)"
        )
        assert colours[0] != colours[1]
        moving = "getComputedStyle(document.querySelector('#copy')).transitionDuration"
        assert page.evaluate(moving) == "0s"
