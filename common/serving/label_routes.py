"""The routes of label mode, under /v1/label. See `common.serving.labels` for what they keep."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from common.data.xml_pages import Points
from common.errors import UserError
from common.reading.page import PageLine, PageReading
from common.serving.body import JSON_BYTES, parse_json, read_all
from common.serving.labels import LabelError, Labels, SavedPage
from common.serving.problems import Problem

PREFIX = "/v1/label"
_PROPOSALS = 64  # pages whose proposals are remembered: reading a page takes seconds
_TURNED = "The page seems to be upside down. Turn the picture and start again: its lines cannot be learnt as they are."
_EXAMPLE = {"lines": [{"text": "the house was", "baseline": [[12, 80], [410, 84]]}]}
_VERSION = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "schema": {"type": "string"},
    "description": "The version that was corrected, in quotes, as GET answered it.",
}
_LINES = {
    "type": "object",
    "required": ["lines"],
    "properties": {"lines": {"type": "array", "items": {"type": "object"}}},
}
_SAVE = {
    "parameters": [_VERSION],
    "requestBody": {"required": True, "content": {"application/json": {"schema": _LINES, "example": _EXAMPLE}}},
}

Result = TypeVar("Result")


class Proposer(Protocol):
    """Reads a picture; see `common.serving.engine.Engine`."""

    @property
    def ready(self) -> bool:
        """Whether it takes pictures."""

    async def read(self, data: bytes) -> Any:
        """A reply, whose `pages` have a `reading`."""


def label_router(labels: Labels, engine: Proposer) -> APIRouter:
    """The routes over a folder.

    Args:
        labels: the folder.
        engine: proposes lines for pages that have no file yet.
    """
    router, proposals = APIRouter(prefix=PREFIX, tags=["label"]), _Proposals(labels, engine)

    @router.get("/pages")
    async def pages() -> dict[str, Any]:
        """The pictures of the folder."""
        return {"pages": await asyncio.to_thread(labels.listing), "left_out": list(labels.left_out)}

    @router.get("/pages/{page_id}")
    async def page(page_id: str) -> JSONResponse:
        """The lines of a page: as they were saved, else as the reader proposes."""
        saved = await _answered("cannot-read", labels.saved, page_id)
        proposed: tuple[PageLine, ...] = ()
        note = ""
        if saved.lines is None:
            proposed, note = await proposals.lines(page_id, saved.version)
        width, height = saved.size
        content = {
            "id": page_id,
            "name": labels.page(page_id).name,
            "width": width,
            "height": height,
            "state": saved.state,
            "version": saved.version,
            "lines": [as_row(line) for line in (proposed if saved.lines is None else saved.lines)],
        }
        return JSONResponse(content | ({"note": note} if note else {}), headers=_tag(saved))

    @router.get("/pages/{page_id}/picture", response_class=Response)
    async def picture(page_id: str) -> Response:
        """The picture of a page, upright, as JPEG or PNG."""
        content, kind = await _answered("cannot-read", labels.picture, page_id)
        return Response(content, media_type=kind)

    @router.put("/pages/{page_id}", openapi_extra=_SAVE)
    async def save(page_id: str, request: Request) -> JSONResponse:
        """Keep the corrected lines of a page, unless somebody else saved it since the version in If-Match."""
        version = request.headers.get("if-match", "").strip().removeprefix("W/").strip('"')
        if not version:
            raise Problem(
                "no-version",
                "the header If-Match is missing; send the version that GET answered, so that no correction is lost",
            )
        content = parse_json(await read_all(request.receive, JSON_BYTES))
        if content.keys() != {"lines"}:
            raise Problem(
                "wrong-value", 'the JSON is not {"lines": [...]}; send all lines of the page, each with its text'
            )
        saved = await _answered("wrong-value", labels.save, page_id, version, content["lines"])
        return JSONResponse({"version": saved.version, "state": saved.state}, headers=_tag(saved))

    return router


async def _answered(otherwise: str, ask: Callable[..., Result], *arguments: Any) -> Result:
    """What the store answers, in a thread.

    Args:
        otherwise: kind of the problem of an error that is not the store's own.
        ask: a method of the store.
        arguments: its arguments.

    Raises:
        Problem: the store refused.
    """
    try:
        return await asyncio.to_thread(ask, *arguments)
    except UserError as error:
        raise Problem(error.kind if isinstance(error, LabelError) else otherwise, str(error)) from None


class _Proposals:
    """What the reader proposes, for the pages that were asked for last."""

    def __init__(self, labels: Labels, engine: Proposer) -> None:
        self._labels = labels
        self._engine = engine
        self._known: OrderedDict[tuple[str, str], tuple[tuple[PageLine, ...], str]] = OrderedDict()

    async def lines(self, page_id: str, version: str) -> tuple[tuple[PageLine, ...], str]:
        """The proposed lines of a page in this version, and a note for the person, which is usually empty.

        Raises:
            Problem: the reader is not ready yet.
        """
        key = page_id, version
        if key not in self._known:
            if not self._engine.ready:
                raise Problem("not-ready", "the reader is starting; try again shortly", headers={"Retry-After": "1"})
            data = await _answered("cannot-read", self._labels.original, page_id)
            try:
                reply = await self._engine.read(data)
                self._known[key] = _proposed(reply.pages[0].reading)
            except UserError as error:
                # the picture could be opened, or its size would not be known: no writing was found on it
                self._known[key] = (), str(error)
            while len(self._known) > _PROPOSALS:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]


def _proposed(reading: PageReading) -> tuple[tuple[PageLine, ...], str]:
    return reading.lines, _TURNED if reading.upside_down else ""


def as_row(line: PageLine) -> dict[str, Any]:
    """A line for JSON, as `/v1/read` answers it; its confidence is null if a person wrote it."""
    return {
        "text": line.text,
        "confidence": None if math.isnan(line.confidence) else line.confidence,
        "characters": [each._asdict() for each in line.characters],
        "baseline": _pairs(line.baseline),
        "outline": _pairs(line.outline),
    }


def _pairs(points: Points) -> list[list[int]]:
    return [[round(float(x)), round(float(y))] for x, y in points]


def _tag(saved: SavedPage) -> dict[str, str]:
    return {"ETag": f'"{saved.version}"'}
