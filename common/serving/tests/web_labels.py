"""A folder to label in memory, with the answers of `/v1/label`."""

from __future__ import annotations

import json
import uuid
from collections import deque
from typing import Any

from common.serving.tests.web_pages import picture, reading
from common.serving.tests.web_server import Asked, Said, problem


class Folder:
    """Pages of a folder; `answer` is what the server does with a request to them."""

    def __init__(self, names: tuple[str, ...] = ("scan_1.png", "scan_2.png", "scan_3.png")) -> None:
        self.names = names
        self.saved: dict[str, list[dict[str, Any]]] = {}
        self.versions = dict.fromkeys(map(str, range(len(names))), 1)
        self.key = uuid.uuid4().hex[:8]
        """Part of its versions: a closed tab that still saves must not reach the folder of the next test."""
        self.puts: list[list[dict[str, Any]]] = []
        self.next_put: deque[Said] = deque()
        """Answers to the next PUTs; when none is left, they are saved."""

    def answer(self, asked: Asked) -> Said | None:
        """The answer to a request to `/v1/label`."""
        parts = asked.path.strip("/").split("/")
        if parts[:3] != ["v1", "label", "pages"]:
            return None
        match parts[3:]:
            case []:
                return Said.json({"pages": [self._entry(str(at)) for at in range(len(self.names))], "left_out": []})
            case [page, "picture"] if page in self.versions:
                return Said(body=picture(), headers={"Content-Type": "image/png"})
            case [page] if page in self.versions:
                return self._put(page, asked) if asked.method == "PUT" else Said.json(self._page(page))
        return problem(404, "There is no such page")

    def somebody_saves(self, page: str, texts: list[str]) -> None:
        """Save a page as another person would."""
        lines = reading()["lines"][: len(texts)]
        self.saved[page] = [line | {"text": text} for line, text in zip(lines, texts, strict=True)]
        self.versions[page] += 1

    def texts(self, page: str) -> list[str]:
        """The saved texts of a page."""
        return [line["text"] for line in self.saved.get(page, [])]

    def _version(self, page: str) -> str:
        return f"{self.key}-{self.versions[page]}"

    def _state(self, page: str) -> str:
        return "corrected" if page in self.saved else "new"

    def _entry(self, page: str) -> dict[str, Any]:
        lines = len(self.saved[page]) if page in self.saved else None
        return {"id": page, "name": self.names[int(page)], "state": self._state(page), "lines": lines}

    def _page(self, page: str) -> dict[str, Any]:
        lines = reading()["lines"]
        if page in self.saved:
            empty = {"confidence": None, "characters": [], "outline": [[0, 0], [9, 0], [9, 9]]}
            lines = [empty | {name: line[name] for name in ("text", "baseline")} for line in self.saved[page]]
        row = {"id": page, "name": self.names[int(page)], "width": 600, "height": 800, "state": self._state(page)}
        return row | {"version": self._version(page), "lines": lines}

    def _put(self, page: str, asked: Asked) -> Said:
        if asked.headers.get("If-Match") != f'"{self._version(page)}"':
            return problem(412, "Somebody else saved this page; load it again")
        lines = json.loads(asked.body)["lines"]
        self.puts.append(lines)
        if self.next_put:
            return self.next_put.popleft()
        self.saved[page] = lines
        self.versions[page] += 1
        return Said.json({"version": self._version(page), "state": "corrected"})
