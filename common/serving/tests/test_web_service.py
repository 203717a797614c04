"""The page and the real service: the reader that ships reads a drawn page, and a folder is labelled."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import defusedxml.ElementTree as ET
import pytest

import fourhands
from common.serving.tests.engine_kit import TEXTS, encoded, page_picture
from common.serving.tests.web_pages import file, tab, texts_of, wait_for_text, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.xdist_group("web")

pytest.importorskip("fastapi", reason='needs the service: pip install "fourhands[serve]"')

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def running(*command: str) -> Iterator[str]:
    """The address of `fourhands COMMAND`, when it is ready to read."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-m", "common.cli", *command, "--port", str(port)]
    url = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(program, cwd=ROOT, env=environment, stdout=said, stderr=said)
        try:
            _wait_until_ready(url, process, said)
            yield url
        finally:
            process.terminate()
            process.wait(60)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"{url}readyz", timeout=5).close()
            return
        except urllib.error.HTTPError as error:  # not ready
            error.close()
        except OSError:  # it does not listen yet
            pass
        if process.poll() is not None:
            break
        time.sleep(0.1)
    said.seek(0)
    pytest.fail(f"{process.args} is not ready:\n{said.read().decode()}")


PICTURES = [page_picture(TEXTS, 3), page_picture(TEXTS[::-1], 8)]


@pytest.fixture(scope="module")
def expected() -> list[list[str]]:
    """What the reader reads without the service."""
    reader = fourhands.load()
    return [[line.text for line in reader.read(picture_HW).lines] for picture_HW in PICTURES]


def test_page_reads_corrects_and_downloads_with_the_real_service(
    browser: Browser, tmp_path: Path, expected: list[list[str]]
) -> None:
    token = tmp_path / "token"
    token.write_text("open-sesame-open-sesame\n")
    with (
        running("serve", "--workers", "1", "--seconds", "300", "--token-file", str(token)) as url,
        tab(browser, url, failures=True) as page,
    ):
        page.set_input_files("#files", [file("scan.tif", encoded(*PICTURES), "image/tiff")])  # type: ignore[list-item]
        page.wait_for_selector("#token-dialog[open]")
        page.keyboard.type(token.read_text().strip())
        page.keyboard.press("Enter")
        page.wait_for_selector("#lines textarea, #problem:not([hidden])", timeout=120_000)
        assert not page.locator("#problem").is_visible(), page.locator("#problem").inner_text()
        assert texts_of(page) == expected[0]
        assert page.locator("#view text").all_text_contents() == expected[0]
        page.click("#page-after")
        wait_until(page, lambda: texts_of(page) == expected[1])
        page.fill("#lines textarea >> nth=0", "corrected & <checked>")
        for form, tag in (("alto", "String"), ("page", "Unicode")):
            with page.expect_download() as download:
                page.click(f'[data-format="{form}"]')
            assert download.value.suggested_filename == f"scan_2.{form}.xml"
            elements = ET.parse(download.value.path()).iter()
            found = [each.get("CONTENT") or each.text for each in elements if each.tag.endswith(f"}}{tag}")]
            assert found == ["corrected & <checked>", *expected[1][1:]]
        page.set_input_files("#files", [file("notes.txt", b"no picture", "text/plain")])  # type: ignore[list-item]
        page.locator("#problem").wait_for()
        assert "cannot be read" in page.locator("#problem").inner_text()


def test_folder_is_labelled_with_the_real_service(browser: Browser, tmp_path: Path, expected: list[list[str]]) -> None:
    for number, picture_HW in enumerate(PICTURES, start=1):
        (tmp_path / f"scan_{number}.png").write_bytes(encoded(picture_HW))
    with running("label", str(tmp_path)) as url, tab(browser, url) as page:
        page.wait_for_selector("#lines textarea, #problem:not([hidden])", timeout=120_000)
        assert not page.locator("#problem").is_visible(), page.locator("#problem").inner_text()
        assert texts_of(page) == expected[0]
        page.fill("#lines textarea >> nth=0", "corrected & <checked>")
        page.click("#lines li:nth-child(2) textarea")
        page.keyboard.press("Alt+Enter")
        page.keyboard.type("a line of my own")
        page.locator(".handle").first.focus()
        page.keyboard.press("Shift+ArrowDown")
        page.keyboard.press("Control+s")
        wait_for_text(page, "#saved", "✓ Saved")
        mine = ["corrected & <checked>", expected[0][1], "a line of my own", *expected[0][2:]]
        root = ET.parse(tmp_path / "scan_1.xml").getroot()
        assert [each.get("CONTENT") for each in root.iter() if each.tag.endswith("}String")] == mine
        page.click("#next")
        wait_until(page, lambda: texts_of(page) == expected[1])
        page.click("#previous")
        wait_until(page, lambda: texts_of(page) == mine)
