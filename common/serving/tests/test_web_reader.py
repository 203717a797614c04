"""The page that reads pictures, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from common.serving.tests.web_pages import TEXTS, file, reading, tab, texts_of
from common.serving.tests.web_server import PageServer, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.xdist_group("web")


@pytest.fixture(scope="module")
def running() -> Iterator[PageServer]:
    with serving(PageServer(mode="reader", answer=reading())) as server:
        yield server


@pytest.fixture
def server(running: PageServer) -> PageServer:
    running.reset(reading())
    return running


def test_chosen_picture_becomes_text(browser: Browser, server: PageServer) -> None:
    with tab(browser, server.url) as page:
        page.set_input_files("#files", file())
        page.wait_for_selector("#lines textarea")
        assert texts_of(page) == list(TEXTS)
        assert page.locator("#summary").inner_text() == "5 lines, 83% sure"
