"""The page on the service: its commands run, and its tables say what the code does."""

from __future__ import annotations

import base64
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason='the page needs FastAPI: pip install "fourhands[serve]"')

from common.serving.answers import MEDIA_TYPES
from common.serving.body import JSON_BYTES
from common.serving.config import ServeConfig
from common.serving.frame import HEAD_BYTES
from common.serving.openapi import picture
from common.serving.problems import KINDS
from common.serving.tests.fake import FakeEngine
from common.serving.tests.test_server import Running
from common.serving.urls import SECONDS

PAGE = (Path(__file__).parent / "serving.md").read_text(encoding="utf-8")


def rows(section: str) -> list[list[str]]:
    """The cells of the tables of a section."""
    text = re.split(r"^#+ ", PAGE.split(f"## {section}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in found if not set("".join(row)) <= {"-"}]


def listed(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# --- commands
@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    service = Running(FakeEngine())
    yield service
    service.stop()


CURL = [line for line in PAGE.splitlines() if line.startswith("curl ")]


@pytest.mark.parametrize("line", CURL)
def test_the_commands_run(line: str, running: Running, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    for name in ("page.jpg", "line.png"):
        (tmp_path / name).write_bytes(picture())
    (tmp_path / "token").write_text("0123456789abcdef\n")
    command = line.replace("http://localhost:8000", running.url).replace("$(cat token)", "0123456789abcdef")
    done = subprocess.run(
        [*shlex.split(command), "-s", "-w", "%{http_code}"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout[-3:] == "200", done.stdout
    data, kind, _ = running.engine.asked[-1]
    assert data == (base64.b64decode("iVBORw0KGgo=") if "-d" in line.split() else picture())
    assert kind == ("line" if "as=line" in line else None)


def test_there_are_commands() -> None:
    assert len(CURL) == 7


# --- tables
def test_the_limits_are_those_of_the_settings() -> None:
    config = ServeConfig()
    limits = {row[0]: row[1:] for row in rows("Limits")[1:]}
    by_flag = {listed(flag)[0]: shown for shown, flag in limits.values() if flag}
    assert by_flag == {
        "--max-mb": f"{config.max_mb:g} MiB",
        "--max-pixels": f"{config.max_pixels:,}",
        "--max-pages": f"{config.max_pages}",
        "--max-lines": f"{config.max_lines}",
        "--upload-seconds": f"{config.upload_seconds:g}",
        "--seconds": f"{config.seconds:g}",
        "--queue": f"{config.queue}",
    }
    assert limits["bytes of the address and the headers"][0] == f"{HEAD_BYTES:,}"
    assert limits["bytes of the JSON of `/v1/render`"][0] == f"{JSON_BYTES >> 20} MiB"
    assert f"for at most {SECONDS:g} seconds" in PAGE


def test_each_flag_of_the_page_is_one() -> None:
    flags = set(re.findall(r"--[a-z][a-z-]+", re.sub(r"^curl.*$|`fourhands read.*?`", "", PAGE, flags=re.MULTILINE)))
    fields = {"--" + name.replace("_", "-") for name in ServeConfig.__dataclass_fields__}
    assert flags - fields <= {"--data-binary"}


def test_the_errors_are_those_that_there_are() -> None:
    said = {}
    for kinds, statuses, _ in rows("Errors")[1:]:
        names, codes = listed(kinds), [int(code) for code in statuses.split(", ")]
        said |= dict(zip(names, codes * len(names) if len(codes) == 1 else codes, strict=True))
    assert said == {kind: status for kind, (status, _) in KINDS.items()}


def test_the_formats_are_those_that_there_are() -> None:
    table = [row for row in rows("Ask it") if row[0].startswith("`") and "/" in row[1]]
    said = {
        media: listed(form)[0]
        for form, medias, _ in (row for row in table if len(row) == 3)
        for media in listed(medias)
    }
    assert said == MEDIA_TYPES
