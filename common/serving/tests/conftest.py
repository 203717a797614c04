"""What the tests of the page share: one browser and one server per module."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from common.serving.tests.engine_kit import serve, small  # noqa: F401  # fixtures
from common.serving.tests.label_kit import folder  # noqa: F401  # a fixture
from conformance.plugin import Missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser(missing: Missing) -> Iterator[Browser]:
    """Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        missing("browser", "needs a browser: neither chromium nor google-chrome is on the path")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()
