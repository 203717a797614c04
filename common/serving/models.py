"""The shapes of JSON: what the service answers, and the readings that it turns into files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.data.xml_pages import Points
from common.reading.page import PageLine, PageReading, ReadCharacter
from common.serving.problems import Problem

LONGEST_TEXT = 10_000  # characters of a line
MOST_LINES = 1000
MOST_PAGES = 100
_MOST_POINTS = 2000
_SIDE = 1_000_000  # pixels

Confidence = Annotated[float, Field(ge=0, le=1, description="Probability, 0 to 1.")]
Coordinate = Annotated[int, Field(ge=0, le=_SIDE)]
Polyline = Annotated[
    list[Annotated[list[Coordinate], Field(min_length=2, max_length=2)]], Field(max_length=_MOST_POINTS)
]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Character(_Strict):
    """A character of a line."""

    text: Annotated[str, Field(max_length=16)]
    confidence: Confidence


class Line(_Strict):
    """A line of a page. Points are (x, y), whole pixels of the picture, from its upper left corner."""

    text: Text
    confidence: Annotated[
        Confidence | None, Field(description="Mean probability of its characters; null for a text that a person wrote.")
    ] = None
    characters: Annotated[list[Character], Field(max_length=LONGEST_TEXT)] = []
    baseline: Annotated[
        Polyline, Field(description="Polyline under its letters, from left to right; empty in a picture of one line.")
    ] = []
    outline: Annotated[Polyline, Field(min_length=3, description="Polygon around its ink.")]


class Page(_Strict):
    """What was read from one picture."""

    image: Annotated[str, Field(max_length=1000, description="Name of the file, as it was sent.")] = "image"
    page: Annotated[int | None, Field(ge=1, description="Number of the page; only in a document of several.")] = None
    kind: Annotated[Literal["page", "line", "character"], Field(description="What the picture was taken for.")] = "page"
    width: Annotated[int, Field(ge=1, le=_SIDE, description="Pixels.")]
    height: Annotated[int, Field(ge=1, le=_SIDE, description="Pixels.")]
    text: Annotated[str, Field(description="The text of all lines.")] = ""
    confidence: Confidence | None = None
    character_confidences: Annotated[list[Confidence] | None, Field(description="Of a picture of one line only.")] = (
        None
    )
    upside_down: Annotated[bool, Field(description="Whether the page was turned by 180° to be read.")] = False
    lines: Annotated[list[Line], Field(max_length=MOST_LINES, description="In reading order.")]


class Made(_Strict):
    """How an answer was made."""

    model: Annotated[str, Field(description="Identity of the model: the start of a SHA-256 over its files.")] = ""
    seconds: Annotated[
        dict[str, float] | None, Field(description="Time of each stage: queue, decode, find, read, total.")
    ] = None
    request: Annotated[str, Field(description="Id of the request, as in X-Request-Id and in the log.")] = ""


class OnePage(Page, Made):
    """The reading of a picture, or of a document of one page."""


class SeveralPages(Made):
    """The reading of a document of several pages."""

    pages: Annotated[list[Page], Field(min_length=1, max_length=MOST_PAGES)]


class ProblemBody(BaseModel):
    """An error. Source: RFC 9457."""

    type: Annotated[str, Field(description="Address of the explanation of this kind of error.")]
    title: str
    status: int
    detail: Annotated[str, Field(description="One sentence: what is wrong, what was expected, what to do.")]
    request: Annotated[str, Field(description="Id of the request.")]
    limit: Annotated[float | None, Field(description="The limit that was passed.")] = None


class Model(BaseModel):
    """The model that reads."""

    identity: Annotated[str, Field(description="The start of a SHA-256 over finder, reader and prior.")]
    rung: str
    framework: str
    charset: Annotated[str, Field(description="All characters that it knows.")]
    parameters: int
    card: Annotated[str, Field(description="Its model card, Markdown.")]
    provenance: Annotated[dict[str, Any], Field(description="What it was trained on, and how.")]


class State(BaseModel):
    """The state of the service."""

    status: str


def readings_of(content: dict[str, Any]) -> tuple[str, list[PageReading]]:
    """The name of the picture, and its readings, of the JSON that `/v1/read` answers.

    Raises:
        Problem: another field or another value.
    """
    shape = SeveralPages if "pages" in content else OnePage
    try:
        said = shape.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][:6]) or "the object"
        unknown = first["type"] == "extra_forbidden"
        what = f"unknown field {where[:100]!r}" if unknown else f"{where[:100]}: {first['msg']}"
        raise Problem("wrong-value", f"{what}; send a reading as /v1/read answers it, see /openapi.json") from None
    pages: Sequence[Page] = said.pages if isinstance(said, SeveralPages) else [said]
    return pages[0].image, [_reading(page) for page in pages]


def _reading(page: Page) -> PageReading:
    lines = tuple(_line(line) for line in page.lines)
    mean = float(np.mean([line.confidence for line in lines])) if lines else 0.0
    confidence = mean if page.confidence is None else page.confidence
    return PageReading(
        size=(page.width, page.height),
        lines=lines,
        confidence=confidence,
        kind=page.kind,
        upside_down=page.upside_down,
    )


def _line(line: Line) -> PageLine:
    return PageLine(
        text=" ".join(line.text.split()),  # one line
        confidence=1.0 if line.confidence is None else line.confidence,
        characters=tuple(ReadCharacter(each.text, each.confidence) for each in line.characters),
        baseline=_points(line.baseline),
        outline=_points(line.outline),
    )


def _points(points: list[list[int]]) -> Points:
    return np.array(points, np.float64).reshape(-1, 2)
