"""The page `/monitor` in a real browser, under the content security policy of the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from common.serving.monitoring.monitor import Monitor
from common.serving.tests.test_monitor import darkened, pages, profile  # noqa: F401 - fixtures
from common.serving.tests.web_pages import tab
from common.serving.tests.web_server import Asked, PageServer, Said, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.xdist_group("web")
routes = pytest.importorskip("common.serving.monitoring.routes", reason="missing: fastapi of the extra [serve]")

TOKEN = "a-token-of-many-signs"


@pytest.fixture(scope="module")
def server(profile: Any, pages: Any) -> Iterator[PageServer]:  # noqa: F811
    monitor = Monitor(profile, background=False)
    for page in pages:
        monitor.add(darkened(page))
        if monitor.report()["seen"]["pictures"] % 20 == 0:
            monitor.look()
    monitor.look()

    def extra(asked: Asked) -> Said | None:
        files = {
            "/monitor": ("text/html", (routes.FOLDER / "monitor.html").read_bytes()),
            "/monitor/style.css": ("text/css", routes.style().encode()),
            "/monitor/monitor.js": ("text/javascript", (routes.FOLDER / "monitor.js").read_bytes()),
            "/v1/monitor?format=html": ("text/html", routes.fragment(monitor.report()).encode()),
        }
        if asked.path not in files:
            return None
        kind, body = files[asked.path]
        return Said(body=body, headers={"Content-Type": f"{kind}; charset=utf-8"})

    class Opened(PageServer):
        """The files of the page need no token."""

        def reply(self, asked: Asked) -> Said:
            if asked.path in routes.OPEN_PATHS:
                return extra(asked) or Said(status=404)
            return super().reply(asked)

    with serving(Opened(mode="reader", answer={}, extra=extra)) as running:
        yield running


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_shows_alarms_signs_and_plots(width: int, browser: Browser, server: PageServer) -> None:
    server.reset({})
    with tab(browser, server.url, failures=True, viewport={"width": width, "height": 900}) as page:
        page.goto(server.url + "monitor")
        page.wait_for_selector(".alarms")
        assert "darker" in page.inner_text(".alarms")
        assert page.locator("tr.alarm").count() >= 1
        assert page.locator("svg").count() == 11, "ten signs, and the estimates of the last looks"
        colours = page.evaluate(
            "['before', 'now'].map(kind => getComputedStyle(document.querySelector(`svg rect.${kind}`)).fill)"
        )
        assert len(set(colours)) == 2, "the style sheet colours the plots"
        assert "rgb(0, 0, 0)" not in colours
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing is cut off at the side"


def test_the_page_asks_for_the_token_of_the_tab(browser: Browser, server: PageServer) -> None:
    server.reset({})
    server.token = TOKEN
    with tab(browser, server.url, failures=True) as page:
        page.goto(server.url + "monitor")
        page.wait_for_function("document.getElementById('state').textContent.includes('token')")
        assert page.locator(".alarms").count() == 0
        page.evaluate(f"sessionStorage.setItem('fourhands.token', {json.dumps(TOKEN)})")
        page.reload()
        page.wait_for_selector(".alarms")
