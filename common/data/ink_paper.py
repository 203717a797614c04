"""The paper of a drawn page: its grain, its rules or squares, and what is printed on it."""

# H height, W width

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Kind = Literal["plain", "ruled", "squared"]
Grey = Float[np.ndarray, "H W"]

KINDS: dict[Kind, float] = {"plain": 0.45, "ruled": 0.4, "squared": 0.15}
"""Share of the pages with each kind of paper."""
HEADING = 0.3
STAMP = 0.15
SHOW_THROUGH = 0.2
FOLDS = 0.2
HOLES = 0.08
"""Shares of the pages that have each."""
_MARGIN_LINE = 0.35  # share of the ruled and squared pages that have a line beside the margin
# fonts that matplotlib brings along; file names without their end
_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSansMono")


@dataclass(frozen=True, kw_only=True)
class PaperPlan:
    """What the paper is like. Lengths are in pixels."""

    kind: Kind
    level: float
    """Grey level of the paper."""
    grain: float
    """Standard deviation of the paper's grain, grey levels."""
    first: float
    """y of the first rule."""
    distance: float
    """Distance between rules or the side of a square."""
    darkness: float
    """Of the rules, from 0 (none) to 1 (black)."""
    margin_line: float | None
    """x of the line beside the margin."""
    heading: bool
    stamp: bool
    folds: int
    """Number of folds, across and down."""
    holes: int
    """Number of punched holes at the top."""
    show_through: float
    """Share of the darkness that writing on the back has on the front; 0 if there is none."""


def draw_paper(size: tuple[int, int], first: float, distance: float, rng: np.random.Generator) -> PaperPlan:
    """Draw what the paper is like.

    Args:
        size: height and width, pixels.
        first: y of the first line of writing.
        distance: distance between the lines of writing.
        rng: source of the random numbers.
    """
    kind = list(KINDS)[rng.choice(len(KINDS), p=list(KINDS.values()))]
    squares = rng.choice([1.0, 1.5, 2.0]) if kind == "squared" else 1.0
    has_margin_line = kind != "plain" and rng.random() < _MARGIN_LINE
    return PaperPlan(
        kind=kind,
        level=rng.uniform(170, 252),
        grain=rng.uniform(0.5, 4),
        first=first + rng.uniform(0, 0.12) * distance,
        distance=distance / squares,
        darkness=float(np.exp(rng.uniform(np.log(0.1), np.log(0.5)))),
        margin_line=size[1] * rng.uniform(0.08, 0.2) if has_margin_line else None,
        heading=rng.random() < HEADING,
        stamp=rng.random() < STAMP,
        folds=int(rng.integers(1, 4)) if rng.random() < FOLDS else 0,
        holes=int(rng.integers(1, 4)) if rng.random() < HOLES else 0,
        show_through=rng.uniform(0.08, 0.25) if rng.random() < SHOW_THROUGH else 0.0,
    )


def blank(plan: PaperPlan, size: tuple[int, int], rng: np.random.Generator) -> Grey:
    """The paper with its grain, rules and print, before anybody writes on it; grey levels, float32."""
    height, width = size
    paper_HW = plan.level + smooth_noise(size, max(size) / 12, rng) * np.float32(plan.grain)
    rules_HW = np.zeros(size, np.float32)
    if plan.kind != "plain":
        top = plan.first if plan.kind == "ruled" else plan.first % plan.distance
        rules_HW += _grating(height, top, plan.distance)[:, None]
        if plan.kind == "squared":
            np.maximum(rules_HW, _grating(width, rng.uniform(0, plan.distance), plan.distance), out=rules_HW)
        if plan.margin_line is not None:
            np.maximum(rules_HW, 1.5 * _grating(width, plan.margin_line, 10.0 * width), out=rules_HW)
        paper_HW *= 1 - np.float32(plan.darkness) * np.minimum(rules_HW, 1.5)
    return paper_HW


def wear(plan: PaperPlan, page_HW: Grey, rng: np.random.Generator) -> None:
    """Fold the page and punch holes into it, in place."""
    height, width = page_HW.shape
    for _ in range(plan.folds):
        across = bool(rng.random() < 0.6)
        side = height if across else width
        at = np.abs(np.arange(side, dtype=np.float32) - rng.uniform(0.2, 0.8) * side)
        share = 1 - np.float32(rng.uniform(0.05, 0.3)) * np.exp(-at / np.float32(rng.uniform(0.7, 2.5)))
        page_HW *= share[:, None] if across else share
    for _ in range(plan.holes):
        radius = height * rng.uniform(0.006, 0.012)
        x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.015, 0.05) * height
        top, left = int(y - radius - 1), int(x - radius - 1)
        part = page_HW[max(top, 0) : int(y + radius + 2), max(left, 0) : int(x + radius + 2)]
        rows, columns = np.ogrid[: part.shape[0], : part.shape[1]]
        away = np.hypot(rows + max(top, 0) + 0.5 - y, columns + max(left, 0) + 0.5 - x)
        part += np.clip(radius - away + 0.5, 0, 1) * (plan.level + 8 - part)


def _grating(length: int, first: float, distance: float) -> Float[np.ndarray, "_"]:
    """1 at `first` and at each `distance` after it, 0 elsewhere; lines are about a pixel thick."""
    thickness = max(1.0, length / 1000)
    at = np.arange(length, dtype=np.float32) + np.float32(0.5) - np.float32(first)
    near = np.abs(at - np.maximum(np.rint(at / distance), 0) * distance)
    cover: Float[np.ndarray, "_"] = np.clip(0.5 + thickness / 2 - near, 0, 1).astype(np.float32)
    return cover


def smooth_noise(size: tuple[int, int], length: float, rng: np.random.Generator) -> Grey:
    """Noise that changes over about `length` pixels, with standard deviation of about 1."""
    small = [max(2, int(np.ceil(side / length)) + 1) for side in size]
    coarse = Image.fromarray(rng.normal(0, 1, small).astype(np.float32))
    return np.array(coarse.resize((size[1], size[0]), Image.Resampling.BILINEAR))


@cache
def _font(name: str, pixels: int) -> ImageFont.FreeTypeFont:
    spec = find_spec("matplotlib")  # finds it without importing it, which is slow
    assert spec is not None, "matplotlib is a dependency"
    assert spec.origin is not None, "matplotlib is a package"
    return ImageFont.truetype(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf", pixels)


def print_heading(
    size: tuple[int, int], bottom: float, left: float, words: Sequence[str], rng: np.random.Generator
) -> Grey:
    """Print a few short lines at the top of the page.

    Args:
        size: height and width of the page, pixels.
        bottom: y above which the heading has to end, pixels.
        left: x where the writing starts.
        words: words to print.
        rng: source of the random numbers.

    Returns:
        The share of the light that the print takes from each pixel.
    """
    height, width = size
    layer = Image.new("L", (width, max(1, int(bottom))))
    draw = ImageDraw.Draw(layer)
    font_name = str(rng.choice(_FONTS))
    centred = rng.random() < 0.5
    y, rest = bottom * rng.uniform(0.05, 0.3), list(words)
    for _ in range(int(rng.integers(1, 5))):
        pixels = int(max(7, min(height * rng.uniform(0.008, 0.022), bottom / 3)))
        font = _font(font_name, pixels)
        if y + 1.3 * pixels > bottom:
            break
        text = ""
        most = rng.uniform(0.2, 0.95) * (width - 2 * left)
        while rest and (not text or font.getlength(f"{text} {rest[0]}") < most):
            text = f"{text} {rest.pop(0)}".strip()
        if rng.random() < 0.3:
            text = text.upper()
        x = (width - font.getlength(text)) / 2 if centred else left
        draw.text((x, y), text, font=font, fill=255)
        y += pixels * rng.uniform(1.2, 1.6)
    printed_HW = np.zeros(size, np.float32)
    printed_HW[: layer.height] = np.asarray(layer, np.float32) / 255
    return printed_HW * np.float32(rng.uniform(0.5, 0.9))


def print_stamp(size: tuple[int, int], words: Sequence[str], rng: np.random.Generator) -> Grey:
    """A stamp anywhere on the page: a round one, or some printed lines at an angle; the share of ink in each pixel."""
    height, width = size
    side = int(min(size) * rng.uniform(0.12, 0.24))
    stamp = Image.new("L", (side, side))
    draw = ImageDraw.Draw(stamp)
    font = _font(str(rng.choice(_FONTS)), max(6, side // 9))
    if rng.random() < 0.6:
        for inset in (0.02, 0.18) if rng.random() < 0.6 else (0.02,):
            box = (inset * side, side * inset, side * (1 - inset), side * (1 - inset))
            draw.ellipse(box, outline=255, width=max(1, side // 45))
        lines = 2
    else:
        lines = 4
    for i, word in enumerate(words[:lines]):
        draw.text((side / 2, side * (i + 1) / (lines + 1)), word[:12], font=font, fill=255, anchor="mm")
    worn = Image.fromarray(np.clip(200 + 60 * smooth_noise((side, side), side / 8, rng), 0, 255).astype(np.uint8))
    stamp = Image.fromarray((np.asarray(stamp, np.float32) * np.asarray(worn, np.float32) / 255).astype(np.uint8))
    stamp = stamp.rotate(rng.normal(0, 12), Image.Resampling.BICUBIC, expand=True)
    layer = Image.new("L", (width, height))
    layer.paste(stamp, (int(rng.uniform(0, width - side)), int(rng.uniform(0, height - side))))
    return np.asarray(layer, np.float32) / 255 * np.float32(rng.uniform(0.35, 0.8))


def seen_from_behind(ink_HW: Grey, distance: float, rng: np.random.Generator) -> Grey:
    """Ink of the back of the sheet, as it looks from the front: mirrored, blurred, and at another height."""
    shift = int(rng.uniform(0.3, 0.7) * distance)
    mirrored_HW = np.roll(ink_HW[:, ::-1], (shift, int(rng.uniform(-1, 1) * distance)), axis=(0, 1))
    picture = Image.fromarray((255 * mirrored_HW).astype(np.uint8))
    blurred = picture.filter(ImageFilter.GaussianBlur(len(ink_HW) / 1000 * rng.uniform(0.8, 2)))
    return np.asarray(blurred, np.float32) / 255
