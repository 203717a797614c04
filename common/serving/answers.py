"""The forms of an answer: which one a request asks for, and its content."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import quote

import numpy as np
from starlette.responses import Response

from common.reading.formats import SUFFIXES, Source, render
from common.reading.formats.json import as_json
from common.reading.page import PageReading
from common.serving.problems import Problem
from common.serving.reply import Reply

Form = Literal["json", "text", "alto", "page", "hocr"]
FORMS: tuple[Form, ...] = get_args(Form)
MEDIA_TYPES: dict[str, Form] = {
    "application/json": "json",
    "text/plain": "text",
    "application/alto+xml": "alto",
    "application/xml": "alto",
    "text/xml": "alto",
    "application/vnd.prima.page+xml": "page",
    "text/vnd.hocr+html": "hocr",
    "text/html": "hocr",
}
"""What `Accept` may name. The first of a form is the one that `format` answers with."""
_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_NOTHING = np.zeros((1, 1), np.uint8)  # the files do not show the picture


@dataclass(frozen=True)
class Wanted:
    """The form of an answer, and its media type."""

    form: Form
    media_type: str


def wanted(form: Form | None, accept: str) -> Wanted:
    """The form that a request asks for, by its parameter or else by `Accept`.

    Source: RFC 9110, section 12.5.1.

    Raises:
        Problem: `Accept` names none that there is.
    """
    if form is not None:
        return Wanted(form, next(media for media, each in MEDIA_TYPES.items() if each == form))
    best = ("", 0.0)
    ranges = _accepted(accept or "*/*")
    for media in MEDIA_TYPES:
        quality = _quality(media, ranges)
        if quality > best[1]:
            best = (media, quality)
    if not best[1]:
        raise Problem(
            "no-such-format",
            f"Accept names no type that there is; name one of {', '.join(MEDIA_TYPES)}, or add ?format= with one of "
            f"{', '.join(FORMS)}",
        )
    return Wanted(MEDIA_TYPES[best[0]], best[0])


def _accepted(accept: str) -> dict[str, float]:
    """Range of media types and its quality."""
    ranges = {}
    for part in accept.split(","):
        media, *parameters = (each.strip() for each in part.lower().split(";"))
        weight = next((each[2:].strip() for each in parameters if each.startswith("q=")), "1")
        ranges[media] = float(weight) if _QUALITY.fullmatch(weight) else 0.0
    return ranges


def _quality(media: str, ranges: dict[str, float]) -> float:
    for each in (media, media.partition("/")[0] + "/*", "*/*"):  # the most specific decides
        if each in ranges:
            return ranges[each]
    return 0.0


# --- contents
def sources(name: str, pages: Sequence[PageReading]) -> list[Source]:
    """Where each page came from."""
    return [Source(image=name, picture_HW=_NOTHING, page=number + 1, pages=len(pages)) for number in range(len(pages))]


def json_of(reply: Reply, name: str, request_id: str) -> dict[str, Any]:
    """The JSON of a reply.

    A document of one page is one object: `common.reading.formats.json.as_json`, with `model`, `seconds` and `request`.
    A document of several pages is `{"pages": [...], "model", "seconds", "request"}`.
    """
    readings = [page.reading for page in reply.pages]
    rows = [as_json(reading, source) for reading, source in zip(readings, sources(name, readings), strict=True)]
    said = {
        "model": reply.model,
        "seconds": {stage: round(seconds, 4) for stage, seconds in reply.seconds.items()},
        "request": request_id,
    }
    return rows[0] | said if len(rows) == 1 else {"pages": rows} | said


def json_answer(content: Any, media_type: str = "application/json") -> Response:
    """An answer in JSON."""
    return Response(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"), media_type=media_type)


def file_answer(pages: Sequence[PageReading], name: str, what: Wanted) -> Response:
    """An answer in another form.

    Several pages of text are one text with a form feed between two pages. ALTO, PAGE and hOCR describe one page each:
    several pages are a ZIP of files, as `fourhands read --out` names them.
    """
    form, stem = what.form, name.rpartition(".")[0] or name
    rendered = [render(reading, source, form) for reading, source in zip(pages, sources(name, pages), strict=True)]
    media_type = f"{what.media_type}; charset=utf-8"
    suffix = SUFFIXES[form]
    if len(rendered) == 1 or form == "text":
        content = b"\f".join(rendered)
    else:
        content, media_type = _zip(rendered, stem, suffix), "application/zip"
        suffix = ".zip"
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(stem + suffix, safe='', errors='replace')}"}
    return Response(content, headers=headers, media_type=media_type)


def _zip(contents: Sequence[bytes], stem: str, suffix: str) -> bytes:
    file = io.BytesIO()
    digits = len(str(len(contents)))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(contents, start=1):
            entry = zipfile.ZipInfo(f"{stem}-{number:0{digits}}{suffix}")
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return file.getvalue()
