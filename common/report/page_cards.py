"""Pages of a report: the page image with the true lines and with the lines that were found."""

# H height, W width

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

TRUE, FOUND = (31, 119, 180), (230, 97, 1)
"""Colours of the baselines: blue for true lines, orange for found lines."""
_WIDEST = 420  # pixels; a page image is reduced to it


def drawn_page(image_HW: UInt8[np.ndarray, "H W"], true: str, found: str) -> UInt8[np.ndarray, "_ _ 3"]:
    """The page image as dark ink on white, with its true lines in blue and the found lines in orange.

    Args:
        image_HW: ink 255 on paper 0.
        true: the true baselines, see `common.evaluation.finding.baselines_text`.
        found: the found baselines.
    """
    shown = Image.fromarray(255 - image_HW // 2).convert("RGB")
    scale = min(1.0, _WIDEST / shown.width)
    if scale < 1:
        shown = shown.resize((round(shown.width * scale), round(shown.height * scale)), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(shown)
    width = max(1, round(shown.width / 250))
    for baselines, colour in ((true, TRUE), (found, FOUND)):
        for line in json.loads(baselines):
            draw.line([(x * scale, y * scale) for x, y in line], fill=colour, width=width)
    return np.asarray(shown)


def page_card(runs: Mapping[str, Any], index: int, image_HW: UInt8[np.ndarray, "H W"]) -> dict[str, Any]:
    """What a card of a page shows: for each framework, the page with its lines, and how many were found."""
    readings = []
    for name, run in runs.items():
        true, found = (len(json.loads(texts[index])) for texts in (run.truths, run.texts))
        matched = (int(run.characters_N[index]) - int(run.edits_N[index])) // 2
        readings.append(
            {
                "framework": name,
                "image": drawn_page(image_HW, run.truths[index], run.texts[index]),
                "said": f"{matched} of {true} lines found, {found - matched} others",
                "right": not run.edits_N[index],
            }
        )
    return {"number": index + 1, "readings": readings}
