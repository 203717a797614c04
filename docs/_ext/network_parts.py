"""The parts of a drawing of a network: pictures of data, operations between them, and layouts of a chain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import svg
from HersheyFonts import HersheyFonts

from common.spec import Spec

LINE = 16  # pixels from one line of text to the next
_WIDE = 1000.0  # pixels of a drawing from left to right
_LETTER = 6.6  # pixels of one character at most, on average over a label


@dataclass(frozen=True)
class Picture:
    """A drawing around (0, 0)."""

    width: float
    height: float
    shapes: str


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Data on its way through the network, and the operation that makes it."""

    picture: Picture
    shape: str
    """The shape of one example."""
    name: str
    operation: tuple[str, ...] = ()
    """The operation, one line of text each; empty for the input."""
    parameters: int | None = None
    """Trained parameters of the operation; None where it has none."""

    @property
    def labels(self) -> list[str]:
        """The operation and its number of parameters."""
        return [*self.operation, *([] if self.parameters is None else [f"{self.parameters:,} parameters"])]


def trained(spec: Spec, prefix: str) -> int:
    """Trained parameters whose names begin with the prefix."""
    return sum(math.prod(p.shape) for name, p in spec.parameters().items() if p.trained and name.startswith(prefix))


# --- pictures of data
@cache
def _writing(words: str, width: float, height: float) -> str:
    """Pen strokes that fill a box around (0, 0)."""
    font = HersheyFonts()
    font.load_default_font("scripts")
    strokes = [list(stroke) for stroke in font.strokes_for_text(words)]
    xs, ys = zip(*[point for stroke in strokes for point in stroke], strict=True)
    scale = min(width / (max(xs) - min(xs)), height / (max(ys) - min(ys)))
    middle_x, middle_y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    return "".join(
        svg.polyline([((x - middle_x) * scale, (y - middle_y) * scale) for x, y in stroke], "pen") for stroke in strokes
    )


def image(words: str, width: float = 56, height: float = 56) -> Picture:
    """An image with handwriting."""
    paper = svg.rect(-width / 2, -height / 2, width, height, "paper")
    return Picture(width, height, paper + _writing(words, width - 16, height - 14))


def page(width: float = 36, height: float = 48) -> Picture:
    """A page with lines of handwriting."""
    lines = [(words, -height / 2 + 11 + 13 * i) for i, words in enumerate(("my dear", "we all", "are so"))]
    written = "".join(svg.group(0, y, _writing(words, width - 8, 8)) for words, y in lines)
    return Picture(width, height, svg.rect(-width / 2, -height / 2, width, height, "paper") + written)


def maps(height: float, width: float, channels: int) -> Picture:
    """Feature maps, one behind the other; more of them for more channels."""
    sheets = max(2, round(math.log2(channels)) - 1)
    step = 4.0
    depth = step * (sheets - 1)
    left, top = -(width + depth) / 2, -(height + depth) / 2
    shapes = [svg.rect(left + depth - step * i, top + step * i, width, height, "data") for i in range(sheets)]
    return Picture(width + depth, height + depth, "".join(shapes))


def vector(size: int) -> Picture:
    """A column of numbers, higher for a larger size."""
    height = 8.0 * max(2, round(math.log2(size)))
    cell = height / round(height / 8)
    lines = [
        svg.polyline([(-7, -height / 2 + cell * i), (7, -height / 2 + cell * i)], "cell")
        for i in range(1, round(height / cell))
    ]
    return Picture(14, height, svg.rect(-7, -height / 2, 14, height, "data") + "".join(lines))


def row(count: int, height: float, width: float = 8) -> Picture:
    """A row of frames or characters, each of them a vector."""
    step = width + 3
    left = -(count * step - 3) / 2
    return Picture(
        count * step - 3,
        height,
        "".join(svg.rect(left + step * i, -height / 2, width, height, "data") for i in range(count)),
    )


def lanes(count: int) -> Picture:
    """A bidirectional LSTM: cells along the frames, once in each direction."""
    step, size = 23, 13
    left = -(count * step - (step - size)) / 2
    shapes = []
    for y, forward in ((-14, True), (14, False)):
        for i in range(count):
            x = left + step * i
            shapes.append(svg.rect(x, y - size / 2, size, size, "box", 3))
            if i:
                ends = ((x - 7, y), (x, y))
                shapes.append(svg.arrow(*(ends if forward else ends[::-1])))
    return Picture(count * step - (step - size), 28 + size, "".join(shapes))


def written(words: str) -> Picture:
    """Text that the network has read."""
    return Picture(
        _LETTER * len(words) + 14,
        26,
        svg.rect(-(_LETTER * len(words) + 14) / 2, -13, _LETTER * len(words) + 14, 26, "box", 4)
        + svg.text(0, 4, words, "shape", "middle"),
    )


# --- layouts of a chain
def across(stops: Sequence[Stop], alt: str) -> str:
    """From left to right; the arrows share the room that pictures and labels leave of `_WIDE`."""
    highest = max(stop.picture.height for stop in stops)
    above = max(len(stop.operation) for stop in stops)
    middle = max(highest / 2, above * LINE + 8) + 4
    # half the room that each picture with its caption takes, and the shortest arrows that hold their labels
    halves = [max(s.picture.width, _LETTER * len(s.shape), _LETTER * len(s.name)) / 2 for s in stops]
    arrows = [max([46.0, *(_LETTER * len(label) for label in (*s.operation, "parameters"))]) for s in stops[1:]]
    left = _WIDE - 4 - 2 * sum(halves) - sum(arrows)
    more = max(0.0, left / len(arrows))
    x, shapes = halves[0] + 2, []
    for i, stop in enumerate(stops):
        if i:
            start, x = x, x + halves[i - 1] + arrows[i - 1] + more + halves[i]
            tail, tip = start + stops[i - 1].picture.width / 2 + 8, x - stop.picture.width / 2 - 8
            shapes.append(svg.arrow((tail, middle), (tip, middle)))
            shapes.append(operation_above(stop, (tail + tip) / 2, middle))
        shapes.append(svg.group(x, middle, stop.picture.shapes))
        base = middle + highest / 2 + LINE + 2
        shapes.append(svg.text(x, base, stop.shape, "shape", "middle"))
        shapes.append(svg.text(x, base + LINE, stop.name, "name", "middle"))
    width = x + halves[-1] + 2
    return svg.picture(width, middle + highest / 2 + 2 * LINE + 8, alt, *shapes, class_="network across")


def operation_above(stop: Stop, x: float, y: float) -> str:
    """The operation above an arrow whose middle is (x, y), and its number of parameters below."""
    shown = [
        svg.text(x, y - 8 - LINE * (len(stop.operation) - 1 - i), label, "operation", "middle")
        for i, label in enumerate(stop.operation)
    ]
    if stop.parameters is not None:
        shown.append(svg.text(x, y + LINE, f"{stop.parameters:,}", "name", "middle"))
        shown.append(svg.text(x, y + 2 * LINE - 3, "parameters", "name", "middle"))
    return "".join(shown)


def down(stops: Sequence[Stop], alt: str) -> str:
    """From top to bottom."""
    centre, y, shapes = 72.0, 2.0, []
    for stop in stops:
        if stop.operation:
            length = max(30.0, LINE * len(stop.labels) + 12)
            shapes.append(svg.arrow((centre, y + 4), (centre, y + length - 4)))
            first = y + length / 2 - LINE * len(stop.labels) / 2 + 12
            for i, label in enumerate(stop.labels):
                muted = i >= len(stop.operation)
                shapes.append(svg.text(centre + 14, first + LINE * i, label, "name" if muted else "operation"))
            y += length
        high = max(stop.picture.height, 2.0 * LINE)
        shapes.append(svg.group(centre, y + high / 2, stop.picture.shapes))
        beside = centre + stop.picture.width / 2 + 14
        shapes.append(svg.text(beside, y + high / 2 + (-3 if stop.name else 5), stop.shape, "shape"))
        if stop.name:
            shapes.append(svg.text(beside, y + high / 2 + 13, stop.name, "name"))
        y += high
    return svg.picture(340, y + 4, alt, *shapes, class_="network down")


def described(rung: str, stops: Sequence[Stop]) -> str:
    """The chain in words, for a screen reader."""
    first, *others = stops
    steps = "; ".join(f"{', '.join(stop.labels)}: {' '.join(filter(None, (stop.name, stop.shape)))}" for stop in others)
    return f"The network {rung}. Input: {first.name} {first.shape}; {steps}."


def placed(stop: Stop, x: float, y: float) -> str:
    """A picture with its captions below."""
    half = stop.picture.height / 2
    return (
        svg.group(x, y, stop.picture.shapes)
        + svg.text(x, y + half + LINE, stop.shape, "shape", "middle")
        + svg.text(x, y + half + 2 * LINE - 2, stop.name, "name", "middle")
    )
