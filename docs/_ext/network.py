"""`{network} RUNG`: a drawing of a rung's network, with the sizes of its spec and its parameter table.

The page gets the drawing twice: from left to right for a wide screen and from top to bottom for a narrow one.
`_static/figures.css` shows one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import svg
from docutils import nodes
from HersheyFonts import HersheyFonts
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from common.charset import ALPHANUMERIC
from common.spec import RUNGS, CNNSpec, LineSpec, LSTMCTCSpec, MLPSpec, Spec, TransformerSpec

# W width of a line, T frames, L length of the text

_LINE = 16  # pixels from one line of text to the next
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


def spec_of(rung: str) -> Spec:
    """The spec of the pages: default sizes and the 62 characters of `ink`; a line rung has class 0 besides."""
    return RUNGS[rung](num_classes=len(ALPHANUMERIC) + issubclass(RUNGS[rung], LineSpec))


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


# --- the rungs
def _dense_stops(spec: Spec, dropout: Sequence[str], prefix: str = "dense") -> list[Stop]:
    """One stop per dense layer; `dropout` is what follows the ReLU of each hidden layer."""
    kernels = [p.shape for name, p in spec.parameters().items() if name.startswith(prefix) and name.endswith("kernel")]
    stops = []
    for i, (_, size) in enumerate(kernels):
        last = i == len(kernels) - 1
        stops.append(
            Stop(
                picture=vector(size),
                shape=f"{size:,}",
                name="logits" if last else "hidden",
                operation=("dense",) if last else ("dense", f"ReLU{dropout[i]}"),
                parameters=trained(spec, f"{prefix}.{i}."),
            )
        )
    return stops


def mlp_stops(spec: MLPSpec) -> list[Stop]:
    """Image, flattened image, hidden layers, logits."""
    flat = spec.height * spec.width
    return [
        Stop(picture=image("a"), shape=f"{spec.height} × {spec.width}", name="image"),
        Stop(picture=vector(flat), shape=f"{flat:,}", name="pixels", operation=("flatten",)),
        *_dense_stops(spec, [f", dropout {spec.dropout:g}"] * len(spec.hidden_dims)),
    ]


def cnn_stops(spec: CNNSpec) -> list[Stop]:
    """Image, feature maps, pooled maps, flattened maps, hidden layer, logits."""
    stops = [Stop(picture=image("a"), shape=f"{spec.height} × {spec.width}", name="image")]
    for i, channels in enumerate(spec.channels):
        stops.append(
            Stop(
                picture=maps(48, 48, channels),
                shape=f"{spec.height} × {spec.width} × {channels}",
                name="maps",
                operation=("convolution", "3 × 3, ReLU"),
                parameters=trained(spec, f"conv.{i}."),
            )
        )
    pooled = f"{spec.height // 2} × {spec.width // 2} × {spec.channels[-1]}"
    stops.append(
        Stop(
            picture=maps(26, 26, spec.channels[-1]),
            shape=pooled,
            name="pooled",
            operation=("max-pool 2 × 2", f"dropout {spec.dropout:g}"),
        )
    )
    stops.append(Stop(picture=vector(spec.flat_dim), shape=f"{spec.flat_dim:,}", name="flat", operation=("flatten",)))
    return [*stops, *_dense_stops(spec, [""])]


def stem_stops(spec: LSTMCTCSpec | TransformerSpec) -> list[Stop]:
    """A line, the maps of each block, the frames."""
    stops = [Stop(picture=image("by hand", 104, 46), shape=f"{spec.height} × W", name="a line")]
    height, stride = spec.height, 1
    for i, block in enumerate(spec.stem):
        last = i == len(spec.stem) - 1
        height = 1 if last else -(-height // block.stride)
        stride *= block.stride
        columns = "W" if stride == 1 else f"W/{stride}"
        apart = f", stride {block.stride}" if block.stride > 1 else ""
        stops.append(
            Stop(
                picture=row(9, 44, 5) if last else maps(12 + 1.2 * height, 18 + 80 / stride, block.channels),
                shape=f"{columns} × {block.channels}" if last else f"{height} × {columns} × {block.channels}",
                name="frames" if last else "maps",
                operation=("convolution", f"{block.rows} × 3{apart}", "batch norm, ReLU"),
                parameters=trained(spec, f"stem.{i}."),
            )
        )
    return stops


def _frames(spec: LSTMCTCSpec | TransformerSpec) -> tuple[str, Stop, Stop]:
    """Number of frames, the line, and the frames that the stem makes of it."""
    line, frames = stem_stops(spec)[0], stem_stops(spec)[-1]
    made = Stop(
        picture=row(8, 44),
        shape=frames.shape,
        name="frames",
        operation=("stem", f"{len(spec.stem)} convolutions"),
        parameters=trained(spec, "stem."),
    )
    return frames.shape.split(" × ")[0], line, made


def lstm_ctc_stops(spec: LSTMCTCSpec) -> list[Stop]:
    """Line, frames, LSTM layers, scores per frame, text."""
    frames, line, made = _frames(spec)
    stops = [line, made]
    for i in range(spec.num_layers):
        stops.append(
            Stop(
                picture=lanes(6),
                shape=f"{frames} × {2 * spec.hidden_dim}",
                name=f"{spec.hidden_dim} units each way",
                operation=("bidirectional LSTM", f"dropout {spec.dropout:g}"),
                parameters=trained(spec, f"lstm.{i}."),
            )
        )
    stops.append(
        Stop(
            picture=row(8, 36),
            shape=f"{frames} × {spec.num_classes}",
            name="logits per frame",
            operation=("dense",),
            parameters=trained(spec, "head."),
        )
    )
    decoded = Stop(picture=written("by hand"), shape="text", name="", operation=("CTC decoding",))
    return [*stops, decoded]


# --- layouts of a chain
def across(stops: Sequence[Stop], alt: str) -> str:
    """From left to right; the arrows share the room that pictures and labels leave of `_WIDE`."""
    highest = max(stop.picture.height for stop in stops)
    above = max(len(stop.operation) for stop in stops)
    middle = max(highest / 2, above * _LINE + 8) + 4
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
            shapes.append(_operation_above(stop, (tail + tip) / 2, middle))
        shapes.append(svg.group(x, middle, stop.picture.shapes))
        base = middle + highest / 2 + _LINE + 2
        shapes.append(svg.text(x, base, stop.shape, "shape", "middle"))
        shapes.append(svg.text(x, base + _LINE, stop.name, "name", "middle"))
    width = x + halves[-1] + 2
    return svg.picture(width, middle + highest / 2 + 2 * _LINE + 8, alt, *shapes, class_="network across")


def _operation_above(stop: Stop, x: float, y: float) -> str:
    shown = [
        svg.text(x, y - 8 - _LINE * (len(stop.operation) - 1 - i), label, "operation", "middle")
        for i, label in enumerate(stop.operation)
    ]
    if stop.parameters is not None:
        shown.append(svg.text(x, y + _LINE, f"{stop.parameters:,}", "name", "middle"))
        shown.append(svg.text(x, y + 2 * _LINE - 3, "parameters", "name", "middle"))
    return "".join(shown)


def down(stops: Sequence[Stop], alt: str) -> str:
    """From top to bottom."""
    centre, y, shapes = 72.0, 2.0, []
    for stop in stops:
        if stop.operation:
            length = max(30.0, _LINE * len(stop.labels) + 12)
            shapes.append(svg.arrow((centre, y + 4), (centre, y + length - 4)))
            first = y + length / 2 - _LINE * len(stop.labels) / 2 + 12
            for i, label in enumerate(stop.labels):
                muted = i >= len(stop.operation)
                shapes.append(svg.text(centre + 14, first + _LINE * i, label, "name" if muted else "operation"))
            y += length
        high = max(stop.picture.height, 2.0 * _LINE)
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


# --- the transformer: two streams that meet
def _decoder_boxes(spec: TransformerSpec) -> list[tuple[str, str, str]]:
    """What the boxes of a decoder layer say: name, detail, parameters."""
    return [
        (name, detail, f"{trained(spec, f'decoder.0.{prefix}'):,} parameters")
        for name, detail, prefix in (
            ("self-attention", f"causal, {spec.num_heads} heads", "self_attention"),
            ("cross-attention", f"to the frames, {spec.num_heads} heads", "cross_attention"),
            ("feed-forward", f"dense {spec.feed_forward_dim}, ReLU, dense", "feed_forward"),
        )
    ]


def _text_stops(spec: TransformerSpec) -> list[Stop]:
    """The text so far, its embedding, the scores after the decoder, the next character."""
    head = trained(spec, "decoder.norm") + trained(spec, "head.")
    return [
        Stop(picture=written("start, b, y"), shape="L", name="text so far"),
        Stop(
            picture=row(3, 44),
            shape=f"L × {spec.model_dim}",
            name="vectors",
            operation=("embedding × √D", "+ positions"),
            parameters=trained(spec, "embedding."),
        ),
        Stop(
            picture=row(3, 36),
            shape=f"L × {spec.num_classes}",
            name="logits",
            operation=("norm", "dense"),
            parameters=head,
        ),
        Stop(picture=written("start, b, y, ␣"), shape="L + 1", name="one more", operation=("most", "probable")),
    ]


def _box(x: float, y: float, width: float, lines: Sequence[str]) -> str:
    """A box of one decoder sublayer, its middle left at (x, y)."""
    classes = ("shape", "operation", "name")
    words = [
        svg.text(width / 2, _LINE * (i - 1) + 5, line, class_, "middle")
        for i, (line, class_) in enumerate(zip(lines, classes, strict=True))
    ]
    return svg.group(x, y, svg.rect(0, -30, width, 60, "box", 6), *words)


def _placed(stop: Stop, x: float, y: float) -> str:
    """A picture with its captions below."""
    half = stop.picture.height / 2
    return (
        svg.group(x, y, stop.picture.shapes)
        + svg.text(x, y + half + _LINE, stop.shape, "shape", "middle")
        + svg.text(x, y + half + 2 * _LINE - 2, stop.name, "name", "middle")
    )


def transformer_across(spec: TransformerSpec, alt: str) -> str:
    """The line above, the text below; the frames go down into cross-attention."""
    _, line, frames = _frames(spec)
    text_so_far, vectors, logits, following = _text_stops(spec)
    upper, lower = 38.0, 170.0
    left, width, apart = 282.0, 146.0, 20.0
    starts = [left + i * (width + apart) for i in range(3)]
    cross, end = starts[1] + width / 2, starts[2] + width
    plain = Stop(picture=Picture(0, 0, ""), shape="", name="", operation=("+ positions",))
    shapes = [
        _placed(line, 52, upper),
        svg.arrow((112, upper), (232, upper)),
        _operation_above(frames, 170, upper),
        _placed(frames, 286, upper),
        svg.arrow((336, upper), (cross, upper), (cross, lower - 34)),
        _operation_above(plain, (336 + cross) / 2, upper),
        svg.text(cross + 10, upper + 26, "keys and values", "name"),
        svg.rect(left - 14, lower - 60, end - left + 28, 104, "frame", 8),
        svg.text(left - 4, lower - 42, f"decoder, {spec.num_layers} layers", "name"),
        _placed(text_so_far, 46, lower),
        svg.arrow((94, lower), (208, lower)),
        _operation_above(vectors, 150, lower),
        _placed(vectors, 230, lower),
        svg.arrow((250, lower), (left - 2, lower)),
        *(_box(x, lower, width, lines) for x, lines in zip(starts, _decoder_boxes(spec), strict=True)),
        *(svg.arrow((a + width + 2, lower), (b - 2, lower)) for a, b in pairwise(starts)),
        svg.arrow((end + 2, lower), (end + 92, lower)),
        _operation_above(logits, end + 52, lower),
        _placed(logits, end + 114, lower),
        svg.arrow((end + 134, lower), (end + 204, lower)),
        _operation_above(following, end + 166, lower),
        _placed(following, end + 262, lower),
    ]
    return svg.picture(end + 322, lower + 56, alt, *shapes, class_="network across")


def transformer_down(spec: TransformerSpec, alt: str) -> str:
    """The line, then the text; the frames go around it into cross-attention."""
    _, line, frames = _frames(spec)
    text_so_far, vectors, logits, following = _text_stops(spec)
    centre, width = 92.0, 168.0
    shapes: list[str] = []

    def beside(stop: Stop, y: float) -> None:
        at = centre + stop.picture.width / 2 + 14
        shapes.append(svg.group(centre, y, stop.picture.shapes))
        shapes.append(svg.text(at, y - 3, stop.shape, "shape") + svg.text(at, y + 13, stop.name, "name"))

    def step(labels: Sequence[str], y: float, muted: int = 99) -> float:
        """An arrow down from y; returns where it ends."""
        length = max(26.0, _LINE * len(labels) + 12)
        shapes.append(svg.arrow((centre, y + 3), (centre, y + length - 3)))
        for i, label in enumerate(labels):
            shapes.append(svg.text(centre + 14, y + 18 + _LINE * i, label, "name" if i >= muted else "operation"))
        return y + length

    beside(line, 26)
    y = step(frames.labels, 50, len(frames.operation)) + 22
    beside(frames, y)
    from_frames = y
    y += 62
    shapes.append(svg.text(26, y - 26, "+ positions", "operation"))
    beside(text_so_far, y)
    y = step(vectors.labels, y + 14, len(vectors.operation)) + 22
    beside(vectors, y)
    y = step((), y + 22)
    top = y
    y += 62
    for i, lines in enumerate(_decoder_boxes(spec)):
        shapes.append(_box(centre - 60, y, width, lines))
        if i == 1:
            into = y
        y = step((), y + 30) + 30 if i < 2 else y + 30
    shapes.insert(0, svg.rect(centre - 70, top, width + 20, y - top + 10, "frame", 8))
    shapes.append(svg.text(centre - 60, top + 19, f"decoder, {spec.num_layers} layers", "name"))
    rail = ((centre - 48, from_frames), (10.0, from_frames), (10.0, into), (centre - 62, into))
    shapes.append(svg.arrow(*rail))
    y = step(logits.labels, y + 10, len(logits.operation)) + 18
    beside(logits, y)
    y = step(following.labels, y + 18) + 13
    beside(following, y)
    return svg.picture(340, y + 18, alt, *shapes, class_="network down")


def _transformer_described(spec: TransformerSpec) -> str:
    _, line, frames = _frames(spec)
    text_so_far, vectors, logits, _ = _text_stops(spec)
    boxes = "; ".join(", ".join(box) for box in _decoder_boxes(spec))
    return (
        f"The network transformer. One stream: {line.name} {line.shape}; {', '.join(frames.labels)}: frames "
        f"{frames.shape}; plus positions. The other: {text_so_far.name}; {', '.join(vectors.labels)}: "
        f"{vectors.shape}. They meet in a decoder of {spec.num_layers} layers, each of them {boxes}. Then "
        f"{', '.join(logits.labels)}: logits {logits.shape}, of which the most probable is the next character."
    )


# --- the directive
CHAINS: dict[str, Callable[..., list[Stop]]] = {
    "mlp": mlp_stops,
    "cnn": cnn_stops,
    "stem": stem_stops,
    "lstm_ctc": lstm_ctc_stops,
}


def drawings(rung: str, spec: Spec) -> list[str]:
    """The drawing for a wide screen and the one for a narrow screen.

    Raises:
        ValueError: there is no drawing of this rung.
    """
    if isinstance(spec, TransformerSpec) and rung == "transformer":
        alt = _transformer_described(spec)
        return [transformer_across(spec, alt), transformer_down(spec, alt)]
    if rung not in CHAINS:
        raise ValueError(f"no drawing of {rung!r}; there are {', '.join([*CHAINS, 'transformer'])}")
    stops = CHAINS[rung](spec)
    alt = described(rung, stops)
    return [across(stops, alt), down(stops, alt)]


class Network(SphinxDirective):
    """The directive."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # the spec can change without the page changing
        rung = self.arguments[0]
        try:
            wide, narrow = drawings(rung, spec_of("lstm_ctc" if rung == "stem" else rung))
        except (KeyError, ValueError) as error:
            raise self.error(str(error)) from None
        return [nodes.raw("", f'<div class="drawing">{wide}{narrow}</div>', format="html")]


def setup(app: Sphinx) -> ExtensionMetadata:
    """As Sphinx asks."""
    app.add_directive("network", Network)
    return {"parallel_read_safe": True}
