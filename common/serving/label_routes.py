"""The routes of label mode, under /v1/label. See `common.serving.labels` for what they keep."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from common.data.xml_pages import Points
from common.errors import UserError
from common.reading.page import PageLine, PageReading
from common.serving.labels import LabelError, Labels, SavedPage

PREFIX = "/v1/label"
MAX_BODY = 8 << 20
"""Bytes of the largest page of lines that is accepted. A thousand lines with their outlines have about two million."""
_PROPOSALS = 64  # pages whose proposals are remembered: reading a page takes seconds
_TURNED = "The page seems to be upside down. Turn the picture and start again: its lines cannot be learnt as they are."


class Proposer(Protocol):
    """Reads a picture; see `common.serving.engine.Engine`."""

    async def read(self, data: bytes) -> Any:
        """A reply, whose `pages` have a `reading`."""


def label_router(labels: Labels, engine: Proposer) -> APIRouter:
    """The routes over a folder.

    Args:
        labels: the folder.
        engine: proposes lines for pages that have no file yet.
    """
    router, proposals = APIRouter(prefix=PREFIX, tags=["label"]), _Proposals(labels, engine)

    @router.get("/pages", summary="The pictures of the folder")
    async def pages() -> dict[str, Any]:
        return {"pages": await run_in_threadpool(labels.listing), "left_out": list(labels.left_out)}

    @router.get("/pages/{page_id}", summary="The lines of a page: as saved, else as the reader proposes")
    async def page(page_id: str) -> Response:
        try:
            saved = await run_in_threadpool(labels.saved, page_id)
            proposed, note = None, ""
            if saved.lines is None:
                proposed, note = await proposals.lines(page_id, saved.version)
        except UserError as error:
            return problem(error)
        width, height = saved.size
        content = {
            "id": page_id,
            "name": labels.page(page_id).name,
            "width": width,
            "height": height,
            "state": saved.state,
            "version": saved.version,
            "lines": [as_row(line) for line in (saved.lines or proposed or ())],
        }
        return JSONResponse(content | ({"note": note} if note else {}), headers=_fresh(saved))

    @router.get("/pages/{page_id}/picture", summary="The picture, upright, as JPEG or PNG")
    async def picture(page_id: str) -> Response:
        try:
            content, kind = await run_in_threadpool(labels.picture, page_id)
        except UserError as error:
            return problem(error)
        return Response(content, media_type=kind, headers={"Cache-Control": "no-store"})

    @router.put("/pages/{page_id}", summary="Keep the corrected lines of a page")
    async def save(page_id: str, request: Request) -> Response:
        version = request.headers.get("if-match", "").strip().removeprefix("W/").strip('"')
        if not version:
            return _problem(
                428, "the header If-Match is missing; send the version that GET answered, so that no correction is lost"
            )
        try:
            given = await _lines_of(request)
            saved = await run_in_threadpool(labels.save, page_id, version, given)
        except _TooLargeError as error:
            return _problem(413, str(error))
        except UserError as error:
            return problem(error)
        return JSONResponse({"version": saved.version, "state": saved.state}, headers=_fresh(saved))

    return router


class _TooLargeError(Exception):
    """The body has more than `MAX_BODY` bytes."""


class _Proposals:
    """What the reader proposes, for the pages that were asked for last."""

    def __init__(self, labels: Labels, engine: Proposer) -> None:
        self._labels = labels
        self._engine = engine
        self._known: OrderedDict[tuple[str, str], tuple[tuple[PageLine, ...], str]] = OrderedDict()

    async def lines(self, page_id: str, version: str) -> tuple[tuple[PageLine, ...], str]:
        """The proposed lines of a page in this version, and a note for the person, which is usually empty."""
        key = page_id, version
        if key not in self._known:
            data = await run_in_threadpool(self._labels.original, page_id)
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


async def _lines_of(request: Request) -> Any:
    """The `lines` of the body. It is read piece by piece, so that no more than `MAX_BODY` bytes are kept."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise _TooLargeError(
                f"the body has more than {MAX_BODY:,} bytes; send the lines of one page, with fewer points"
            )
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise UserError('the body is not JSON; send {"lines": [{"text": ..., "baseline": [[x, y], ...]}]}') from None
    if not isinstance(content, dict) or "lines" not in content:
        raise UserError('the body has no `lines`; send {"lines": [{"text": ..., "baseline": [[x, y], ...]}]}')
    return content["lines"]


def _fresh(saved: SavedPage) -> dict[str, str]:
    return {"ETag": f'"{saved.version}"', "Cache-Control": "no-store"}


# --- errors
_TITLES = {
    404: "No such page",
    410: "The picture is gone",
    412: "Somebody else saved this page",
    413: "The body is too large",
    422: "These lines cannot be kept",
    428: "The version is missing",
    507: "The page was not saved",
}


def problem(error: UserError) -> Response:
    """The answer for an error of the store, RFC 9457."""
    return _problem(error.status if isinstance(error, LabelError) else 422, str(error))


def _problem(status: int, detail: str) -> Response:
    content = {"type": "about:blank", "title": _TITLES[status], "status": status, "detail": detail}
    return JSONResponse(content, status_code=status, media_type="application/problem+json")
