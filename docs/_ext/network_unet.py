"""The drawing of `unet`: down to coarser levels, up again, and at each level across."""

from __future__ import annotations

import svg
from network_parts import LINE, Stop, maps, operation_above, page, placed, trained

from common.spec import UNetSpec

_EACH = ("two convolutions 3 × 3,", "batch norm, ReLU")


def _level(spec: UNetSpec, way: str, level: int, operation: tuple[str, ...]) -> Stop:
    """The maps of a level on the way down or up."""
    part = 2 ** (level + 1)
    channels = spec.channels[level]
    return Stop(
        picture=maps(10 + 30 / (level + 1), 8 + 22 / (level + 1), channels),
        shape=f"H/{part} × W/{part} × {channels}",
        name="maps",
        operation=operation,
        parameters=trained(spec, f"{way}.{level}.") + (trained(spec, "enter.") if (way, level) == ("down", 0) else 0),
    )


def unet_stops(spec: UNetSpec) -> list[Stop]:
    """A page, the maps of each level on the way down, on the way up, and the scores."""
    deepest = len(spec.channels) - 1
    stops = [Stop(picture=page(), shape="H × W", name="a page")]
    for level in range(deepest + 1):
        before = ("max-pool 2 × 2,",) if level else ("convolution 5 × 5, stride 2,", "batch norm, ReLU,")
        stops.append(_level(spec, "down", level, (*before, *_EACH)))
    for level in reversed(range(deepest)):
        stops.append(
            _level(
                spec, "up", level, ("repeat 2 × 2, and beside it", f"the maps above of H/{2 ** (level + 1)},", *_EACH)
            )
        )
    scores = Stop(
        picture=maps(48, 36, max(4, spec.num_maps)),
        shape=f"H/2 × W/2 × {spec.num_maps}",
        name="logits per pixel",
        operation=("dense",),
        parameters=trained(spec, "head."),
    )
    return [*stops, scores]


def unet_across(spec: UNetSpec, alt: str) -> str:
    """The page on the left, the coarsest level in the middle at the bottom, the scores on the right."""
    first, *levels, scores = unet_stops(spec)
    deepest = len(spec.channels) - 1
    left, right, top, drop = 204.0, 822.0, 34.0, 50.0
    xs = [left + (right - left) / (2 * deepest) * i if deepest else (left + right) / 2 for i in range(len(levels))]
    ys = [top + drop * min(i, 2 * deepest - i) for i in range(len(levels))]
    bottom = ys[deepest] + levels[deepest].picture.height / 2
    halves = [stop.picture.width / 2 + 6 for stop in levels]
    entering = Stop(picture=page(), shape="", name="", operation=("convolution 5 × 5,", "stride 2"))
    shapes = [
        placed(first, 34, top),
        svg.arrow((60, top), (xs[0] - halves[0], top)),
        operation_above(entering, (60 + xs[0] - halves[0]) / 2, top),
        svg.arrow((xs[-1] + halves[-1], top), (912, top)),
        operation_above(scores, (xs[-1] + halves[-1] + 908) / 2, top),
        placed(scores, 946, top),
        svg.text(34, bottom - 8, "each level, on either way:", "name"),
        *(svg.text(34, bottom - 8 + LINE * (i + 1), words, "operation") for i, words in enumerate(_EACH)),
    ]
    for i, (stop, x, y) in enumerate(zip(levels, xs, ys, strict=True)):
        shapes.append(svg.group(x, y, stop.picture.shapes))
        under = y + stop.picture.height / 2 + 4
        if i < deepest:
            twin = 2 * deepest - i
            middle, ends = (x + xs[twin]) / 2, (x + halves[i], xs[twin] - halves[twin])
            said = " parameters" if ends[1] - ends[0] > 260 else ""
            shapes += [
                svg.arrow((x, under), (x, ys[i + 1]), (xs[i + 1] - halves[i + 1], ys[i + 1])),
                svg.text(x - 8, ys[i + 1] + 4, "max-pool 2 × 2", "operation", "end"),
                svg.arrow((ends[0], y), (ends[1], y)),
                svg.text(middle, y - 5, stop.shape, "shape", "middle"),
                svg.text(ends[0], y + LINE - 1, f"{stop.parameters:,}{said}", "name"),
                svg.text(ends[1] - 8, y + LINE - 1, f"{levels[twin].parameters:,}{said}", "name", "end"),
            ]
        elif i > deepest:
            shapes.append(svg.arrow((xs[i - 1] + halves[i - 1], ys[i - 1]), (x, ys[i - 1]), (x, under)))
            shapes.append(svg.text(x + 8, ys[i - 1] + 4, "repeat 2 × 2", "operation"))
        else:
            shapes.append(svg.text(x, bottom + LINE, stop.shape, "shape", "middle"))
            shapes.append(svg.text(x, bottom + 2 * LINE - 2, f"{stop.parameters:,} parameters", "name", "middle"))
    return svg.picture(1000, bottom + 2 * LINE + 4, alt, *shapes, class_="network across")
