"""Pictures and readings for the tests of the page, and a browser tab that watches what the page does."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SIZE = (600, 800)
TEXTS = ("Dear Ann,", "the weather is fine", "here and we walk", "along the shore.", "Yours, Tom")
CONFIDENCES = (0.97, 0.85, 0.55, 0.93, 0.99)
"""Of each line's characters. The third line is uncertain, and so is its first letter."""


def reading(texts: tuple[str, ...] = TEXTS, **more: Any) -> dict[str, Any]:
    """What the service answers for a page with these lines, one below the other."""
    lines = [_line(text, 100 + 90 * row, CONFIDENCES[row % len(CONFIDENCES)]) for row, text in enumerate(texts)]
    every = [one["confidence"] for line in lines for one in line["characters"]]
    row = {"image": "page.png", "kind": "page", "width": SIZE[0], "height": SIZE[1], "text": "\n".join(texts)}
    row |= {"confidence": sum(every) / len(every) if every else 0.0, "lines": lines}
    return row | {"model": "0123456789ab", "seconds": {"total": 1.5}, "request": "r-1"} | more


def _line(text: str, y: int, confidence: float) -> dict[str, Any]:
    characters = [{"text": one, "confidence": confidence} for one in text]
    if confidence < 0.6:
        characters[0]["confidence"] = 0.2
    left, right = 60, 60 + 20 * len(text)
    return {
        "text": text,
        "confidence": sum(one["confidence"] for one in characters) / len(characters),
        "characters": characters,
        "baseline": [[left, y], [(left + right) // 2, y + 2], [right, y]],
        "outline": [[left, y - 40], [right, y - 40], [right, y + 15], [left, y + 15]],
    }


def picture(form: str = "PNG", size: tuple[int, int] = SIZE, **options: Any) -> bytes:
    """A file with a picture of a page: a stroke where each line of `reading()` is."""
    image = Image.new("L", size, 250)
    pen = ImageDraw.Draw(image)
    for row, text in enumerate(TEXTS):
        pen.line([(60, 90 + 90 * row), (60 + 20 * len(text), 95 + 90 * row)], fill=40, width=6)
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def file(name: str = "page.png", content: bytes | None = None, kind: str = "image/png") -> dict[str, Any]:
    """A file as Playwright gives it to a file field."""
    return {"name": name, "mimeType": kind, "buffer": picture() if content is None else content}


@contextmanager
def tab(browser: Browser, url: str, *, failures: bool = False, **options: Any) -> Iterator[Page]:
    """A tab with the page. At its end, nothing may have gone to another host, and nothing may have gone wrong.

    Args:
        browser: the browser.
        url: the page's address.
        failures: whether requests may fail: the browser reports each in its console.
        options: of Playwright's `new_context`, such as `viewport`.
    """
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
    page = context.new_page()
    page.set_default_timeout(30_000)  # a machine may be busy
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    # from the start: Playwright turns this on in the background, and a key that is pressed at once would come before
    page.on("filechooser", lambda _: None)
    page.on("request", lambda asked: _check_host(asked.url, url, wrong))
    try:
        page.goto(url)
        ready(page)
        yield page
    finally:
        context.close()
    told = [each for each in wrong if not (failures and each.startswith("Failed to load resource"))]
    assert told == []


def _check_host(asked: str, own: str, wrong: list[str]) -> None:
    if not asked.startswith((own, "blob:", "data:")):
        wrong.append(f"request to another host: {asked}")


def ready(page: Page) -> None:
    """Wait until the scripts run: the browser says that a page is loaded before that."""
    page.wait_for_selector("#start:visible, #work:visible")


def texts_of(page: Page) -> list[str]:
    """The texts in the fields of the lines."""
    texts: list[str] = page.locator("#lines textarea").evaluate_all("fields => fields.map(field => field.value)")
    return texts


def wait_for_text(page: Page, selector: str, text: str) -> None:
    """Wait until an element holds a text. Playwright's `wait_for_function` needs `eval`, which the policy forbids."""
    page.locator(selector).filter(has_text=text).first.wait_for(state="attached")


def wait_until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait up to 30 seconds for a condition."""
    for _ in range(600):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("waited for 30 seconds")
