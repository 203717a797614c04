"""`{network} RUNG`: a drawing of a rung's network, with the sizes of its spec and its parameter table.

The page gets the drawing twice: from left to right for a wide screen and from top to bottom for a narrow one.
`_static/figures.css` shows one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import svg
from docutils import nodes
from network_parts import (
    LINE,
    Picture,
    Stop,
    across,
    described,
    down,
    image,
    lanes,
    maps,
    operation_above,
    placed,
    row,
    trained,
    vector,
    written,
)
from network_unet import unet_across, unet_stops
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from common.charset import ALPHANUMERIC
from common.spec import RUNGS, CNNSpec, LineSpec, LSTMCTCSpec, MLPSpec, Spec, TransformerSpec, UNetSpec

# W width of a line, T frames, L length of the text


def spec_of(rung: str) -> Spec:
    """The spec of the pages: default sizes and the 62 characters of `ink`; a line rung has class 0 besides."""
    spec_type = RUNGS[rung]
    decided = "num_classes" in spec_type.decided_by_data
    return spec_type(**({"num_classes": len(ALPHANUMERIC) + issubclass(spec_type, LineSpec)} if decided else {}))


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
        down_rows, along_columns = block.strides
        height = 1 if last else -(-height // down_rows)
        stride *= along_columns
        columns = "W" if stride == 1 else f"W/{stride}"
        apart = f", stride {down_rows}" if down_rows > 1 else ""
        if along_columns != down_rows:
            apart = f", stride {down_rows} × {along_columns}"
        pooled = ("maximum of a column",) if last and spec.stem_pooling == "max" else ()
        stops.append(
            Stop(
                picture=row(9, 44, 5) if last else maps(12 + 1.2 * height, 18 + 80 / stride, block.channels),
                shape=f"{columns} × {block.channels}" if last else f"{height} × {columns} × {block.channels}",
                name="frames" if last else "maps",
                operation=("convolution", f"{block.rows} × {block.columns}{apart}", "batch norm, ReLU", *pooled),
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
    for i, dropout in enumerate(spec.layer_dropouts):
        stops.append(
            Stop(
                picture=lanes(6),
                shape=f"{frames} × {2 * spec.hidden_dim}",
                name=f"{spec.hidden_dim} units each way",
                operation=("bidirectional LSTM", f"dropout {dropout:g}"),
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
        svg.text(width / 2, LINE * (i - 1) + 5, line, class_, "middle")
        for i, (line, class_) in enumerate(zip(lines, classes, strict=True))
    ]
    return svg.group(x, y, svg.rect(0, -30, width, 60, "box", 6), *words)


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
        placed(line, 52, upper),
        svg.arrow((112, upper), (232, upper)),
        operation_above(frames, 170, upper),
        placed(frames, 286, upper),
        svg.arrow((336, upper), (cross, upper), (cross, lower - 34)),
        operation_above(plain, (336 + cross) / 2, upper),
        svg.text(cross + 10, upper + 26, "keys and values", "name"),
        svg.rect(left - 14, lower - 60, end - left + 28, 104, "frame", 8),
        svg.text(left - 4, lower - 42, f"decoder, {spec.num_layers} layers", "name"),
        placed(text_so_far, 46, lower),
        svg.arrow((94, lower), (208, lower)),
        operation_above(vectors, 150, lower),
        placed(vectors, 230, lower),
        svg.arrow((250, lower), (left - 2, lower)),
        *(_box(x, lower, width, lines) for x, lines in zip(starts, _decoder_boxes(spec), strict=True)),
        *(svg.arrow((a + width + 2, lower), (b - 2, lower)) for a, b in pairwise(starts)),
        svg.arrow((end + 2, lower), (end + 92, lower)),
        operation_above(logits, end + 52, lower),
        placed(logits, end + 114, lower),
        svg.arrow((end + 134, lower), (end + 204, lower)),
        operation_above(following, end + 166, lower),
        placed(following, end + 262, lower),
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
        length = max(26.0, LINE * len(labels) + 12)
        shapes.append(svg.arrow((centre, y + 3), (centre, y + length - 3)))
        for i, label in enumerate(labels):
            shapes.append(svg.text(centre + 14, y + 18 + LINE * i, label, "name" if i >= muted else "operation"))
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
    "unet": unet_stops,
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
    wide = unet_across(spec, alt) if isinstance(spec, UNetSpec) else across(stops, alt)
    return [wide, down(stops, alt)]


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
