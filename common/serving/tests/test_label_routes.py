"""The routes of label mode: proposals, saving, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from common.reading.page import PageLine, PageReading, ReadCharacter
from common.serving.labels import Labels
from common.serving.tests.label_kit import baseline, box


class Engine:
    """Proposes one line for each picture, and counts."""

    model = None

    def __init__(self) -> None:
        self.read_pages = 0
        self.fails = ""
        self.ready = True

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to end."""

    def state(self) -> dict[str, int]:
        return {}

    async def read(self, data: bytes) -> Any:
        self.read_pages += 1
        if self.fails:
            raise UserError(self.fails)
        characters = (ReadCharacter("3", 0.75),)
        proposed = PageLine(
            text="3",
            confidence=0.75,
            characters=characters,
            baseline=np.array(baseline(0), float),
            outline=np.array(box(0), float),
        )
        reading = PageReading(size=(600, 700), lines=(proposed,), confidence=0.75)
        return SimpleNamespace(pages=(SimpleNamespace(reading=reading),))


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def client(folder: Path, engine: Engine) -> Any:
    for module, what in (("fastapi", "fourhands[serve]"), ("httpx", "httpx")):
        pytest.importorskip(module, reason=f"missing: {module}; pip install '{what}'")
    from common.serving.app import create_app
    from common.serving.config import ServeConfig

    return Client(create_app(ServeConfig(), engine, token=None, labels=Labels.open(folder)))  # type: ignore[arg-type]


class Client:
    """Sends requests to an application in this process."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def get(self, url: str) -> Any:
        return self.send("GET", url)

    def put(self, url: str, **sent: Any) -> Any:
        return self.send("PUT", url, **sent)

    def send(self, method: str, url: str, **sent: Any) -> Any:
        import httpx

        async def ask() -> Any:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, url, **sent)

        return asyncio.run(ask())


def test_routes_propose_save_and_answer_what_was_saved(client: Any, engine: Engine) -> None:
    row = client.get("/v1/label/pages").json()["pages"][1]
    assert (row["id"], row["name"], row["state"]) == ("1", "scan_1.png", "new")
    first = client.get("/v1/label/pages/1").json()
    assert (first["width"], first["height"], first["state"]) == (600, 700, "new")
    assert first["lines"] == [
        {
            "text": "3",
            "confidence": 0.75,
            "characters": [{"text": "3", "confidence": 0.75}],
            "baseline": baseline(0),
            "outline": box(0),
        }
    ]
    client.get("/v1/label/pages/1")
    assert engine.read_pages == 1, "a proposal is remembered"
    first["lines"][0]["text"] = "drei"
    answer = client.put(
        "/v1/label/pages/1", json={"lines": first["lines"]}, headers={"If-Match": f'"{first["version"]}"'}
    )
    assert (answer.status_code, answer.json()["state"]) == (200, "corrected")
    assert answer.json()["version"] != first["version"]
    assert answer.headers["etag"] == f'"{answer.json()["version"]}"'
    again = client.get("/v1/label/pages/1").json()
    assert again["version"] == answer.json()["version"]
    assert [(each["text"], each["confidence"]) for each in again["lines"]] == [("drei", None)]


def test_page_whose_lines_were_all_deleted_stays_empty(client: Any, engine: Engine) -> None:
    version = client.get("/v1/label/pages/1").json()["version"]
    assert client.put("/v1/label/pages/1", json={"lines": []}, headers={"If-Match": version}).status_code == 200
    again = client.get("/v1/label/pages/1").json()
    assert (again["state"], again["lines"]) == ("corrected", [])


def test_page_without_writing_has_no_lines_and_a_note(client: Any, engine: Engine) -> None:
    engine.fails = "no writing was found"
    answer = client.get("/v1/label/pages/1").json()
    assert (answer["lines"], answer["note"]) == ([], "no writing was found")


URL = "/v1/label/pages/1"
NOTHING = {"content": b'{"lines": []}'}


@pytest.mark.parametrize(
    ("status", "url", "sent"),
    [
        (404, "/v1/label/pages/7", None),
        (404, "/v1/label/pages/x/picture", None),
        (404, "/v1/label/pages/..%2Fscan_1/picture", None),
        (412, URL, NOTHING | {"headers": {"If-Match": '"old"'}}),
        (428, URL, NOTHING | {"headers": {}}),
        (422, URL, {"content": b'{"lines": [{}]}'}),
        (422, URL, {"content": b"[]"}),
        (400, URL, {"content": b"{"}),
        (400, URL, {"content": b"[" * 99_999}),
        (400, URL, {"content": b"\xff"}),
        (413, URL, {"content": b" " * (8 << 20 | 1)}),
    ],
)
def test_wrong_requests_are_answered_with_a_problem(
    client: Any, folder: Path, status: int, url: str, sent: dict[str, Any] | None
) -> None:
    version = client.get(URL).json()["version"]
    answer = client.get(url) if sent is None else client.put(url, **({"headers": {"If-Match": version}} | sent))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["detail"]
    assert not (folder / "scan_1.xml").exists()


def test_reader_that_is_starting_is_waited_for(client: Any, engine: Engine) -> None:
    engine.ready = False
    answer = client.get(URL)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    engine.ready = True
    assert client.get(URL).status_code == 200


def test_other_site_cannot_save(client: Any, folder: Path) -> None:
    version = client.get(URL).json()["version"]
    headers = {"If-Match": version, "Origin": "http://evil.example"}
    assert client.put(URL, json={"lines": []}, headers=headers).status_code == 403
    assert not (folder / "scan_1.xml").exists()


def test_picture_route_sends_the_picture(client: Any, folder: Path) -> None:
    answer = client.get("/v1/label/pages/1/picture")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == (folder / "scan_1.png").read_bytes()
