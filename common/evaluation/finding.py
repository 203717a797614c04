"""Evaluating a finder on pages: which lines it found, and how much of their area.

A found line is right if it matches a true line. Lines are matched one to one, so a line found twice is right once. Two
baselines can be matched if over half of each is within 0.3 of the page's line distance of the other. Of all ways to
match them, the one with the most matches counts (Hungarian method).

Source of the measure: after Grüning et al. 2018, "READ-BAD", but one to one, and with one tolerance.
"""

# T true lines, F found lines, N pages, H height, W width of a page image

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from common.data.page_batches import reading_batches
from common.data.page_dataset import PageSplit
from common.data.xml_pages import Points
from common.evaluation.maps import MapEvaluation, core_pixels, page_loss
from common.metrics import bootstrap_interval, error_rate
from common.reading.finding import FoundLine, lines_of_scores, sigmoid
from common.reading.order import HasBaseline, line_distance
from common.reading.result import Mark, Reading
from common.recognizer import Recognizer
from common.spec import UNetSpec

TOLERANCE = 0.3
"""Part of the line distance by which two baselines may differ."""
LEAST_SHARE = 0.5
"""Baselines can be matched if more than this share of each is within the tolerance."""


_MASK = 1000  # pixels of the longer side of a page on which the areas of outlines are compared


class HasOutline(Protocol):
    """A polygon on a page, such as that of a line."""

    @property
    def outline(self) -> Points: ...


class Line(HasBaseline, HasOutline, Protocol):
    """A line of a page, such as `FoundLine` and `TextLine`."""


@dataclass(frozen=True, kw_only=True)
class Outlined:
    """A polygon on a page that is no line."""

    outline: Points


@dataclass(frozen=True, kw_only=True)
class PageFinding:
    """The result of finding the lines of one page."""

    true: int
    """True lines."""
    found: int
    """Found lines."""
    pairs: tuple[tuple[int, int], ...]
    """The matched lines: index of the true line and of the found line."""
    common_pixels: int
    """Pixels in the outlines of true lines and in those of found lines."""
    all_pixels: int
    """Pixels in the outlines of true lines or in those of found lines."""


def match_lines(
    true: Sequence[HasBaseline], found: Sequence[HasBaseline], distance: float
) -> tuple[tuple[int, int], ...]:
    """Match true and found lines one to one.

    Args:
        true: the true lines.
        found: the found lines, in the same pixels.
        distance: the line distance in these pixels.

    Returns:
        Pairs of an index in `true` and an index in `found`, in the order of `true`.
    """
    from scipy.optimize import linear_sum_assignment  # takes 0.2 s to import

    if not len(true) or not len(found):
        return ()
    shares_TF = np.array([[_share(a.baseline, b.baseline, distance) for b in found] for a in true])
    can_TF = shares_TF > LEAST_SHARE
    # a match counts more than any difference of shares
    rows, columns = linear_sum_assignment(np.where(can_TF, 1 + shares_TF / 1000, 0), maximize=True)
    return tuple((int(i), int(j)) for i, j in zip(rows, columns, strict=True) if can_TF[i, j])


def _share(a: Points, b: Points, distance: float) -> float:
    """The part of the longer baseline that is within the tolerance of the other."""
    a, b = _rightwards(a), _rightwards(b)
    left, right = max(a[0, 0], b[0, 0]), min(a[-1, 0], b[-1, 0])
    longer = max(a[-1, 0] - a[0, 0], b[-1, 0] - b[0, 0], 1.0)
    if right <= left:
        return 0.0
    x = np.linspace(left, right, max(2, round(right - left)))
    near = np.abs(np.interp(x, *a.T) - np.interp(x, *b.T)) <= TOLERANCE * distance
    return float(near.mean() * (right - left) / longer)


def _rightwards(baseline: Points) -> Points:
    return baseline[np.argsort(baseline[:, 0], kind="stable")]


def outline_mask(lines: Sequence[HasOutline], size: tuple[int, int], scale: float = 1.0) -> Bool[np.ndarray, "H W"]:
    """True inside the outline of any line.

    Args:
        lines: lines with outlines in pixels of the picture.
        size: rows and columns of the mask.
        scale: pixels of the mask per pixel of the picture.
    """
    from PIL import Image, ImageDraw

    mask = Image.new("1", size[::-1])
    draw = ImageDraw.Draw(mask)
    for line in lines:
        outline: Float[np.ndarray, "_ 2"] = line.outline * scale
        if len(outline) >= 3:
            draw.polygon([(float(x), float(y)) for x, y in outline], fill=1)
    return np.asarray(mask)


def distance_of(lines: Sequence[Line]) -> float:
    """The line distance of a page, pixels, at least 1.

    If no line is below another, it is 0.7 of the median height of the outlines.
    """
    heights = [float(np.ptp(line.outline[:, 1])) for line in lines if len(line.outline)]
    return max(1.0, line_distance(lines) or 0.7 * float(np.median(heights or [0])))


def page_finding(
    true: Sequence[Line], found: Sequence[Line], unknown: Sequence[Points], size: tuple[int, int]
) -> PageFinding:
    """How well the lines of a page were found.

    A found line without a true line does not count if the middle of its baseline lies where the truth is not known.

    Args:
        true: the true lines.
        found: the lines that were found.
        unknown: polygons within which the truth is not known.
        size: rows and columns of the picture.
    """
    pairs = match_lines(true, found, distance_of(true))
    scale = min(1.0, _MASK / max(size))
    small = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    known_HW = ~outline_mask([Outlined(outline=polygon) for polygon in unknown], small, scale)
    true_HW, found_HW = (outline_mask(lines, small, scale) & known_HW for lines in (true, found))
    matched = {j for _, j in pairs}
    middles = np.array([line.baseline.mean(axis=0) * scale for line in found]).reshape(-1, 2)
    x, y = np.clip(np.rint(middles), 0, np.array(small[::-1]) - 1).astype(int).T
    counted = [j for j in range(len(found)) if j in matched or known_HW[y[j], x[j]]]
    return PageFinding(
        true=len(true),
        found=len(counted),
        pairs=pairs,
        common_pixels=int(np.count_nonzero(true_HW & found_HW)),
        all_pixels=int(np.count_nonzero(true_HW | found_HW)),
    )


def finding_figures(findings: Sequence[PageFinding], writers_N: Int[np.ndarray, "N"] | None) -> dict[str, Any]:
    """Precision, recall and F1 of the lines, and the intersection over union of their outlines, with 95% intervals.

    Whole writers are resampled for the intervals.
    """
    true_N, found_N, right_N, common_N, all_N = np.array(
        [(page.true, page.found, len(page.pairs), page.common_pixels, page.all_pixels) for page in findings], np.int64
    ).T
    figures: dict[str, Any] = {}
    for name, counts_N, of_N in (
        ("precision", right_N, found_N),
        ("recall", right_N, true_N),
        ("f1", 2 * right_N, true_N + found_N),
        ("outline_iou", common_N, all_N),
    ):
        figures[name] = error_rate(counts_N, of_N)
        figures[f"{name}_interval"] = list(bootstrap_interval(counts_N, writers_N, lengths_N=of_N))
    return figures | {"lines_true": int(true_N.sum()), "lines_found": int(found_N.sum())}


@dataclass(frozen=True, kw_only=True)
class FindingEvaluation(MapEvaluation):
    """The result of evaluating a finder on a split of pages: its maps, and the lines that follow from them."""

    findings: Sequence[PageFinding]
    """How well the lines of each page were found."""
    found: Sequence[tuple[FoundLine, ...]]
    """The lines found on each page, in pixels of its page image."""

    @property
    def f1_N(self) -> Float[np.ndarray, "N"]:
        """F1 of each page."""
        return np.array([2 * len(page.pairs) / max(1, page.true + page.found) for page in self.findings])

    @property
    def score(self) -> float:
        """F1 of the lines."""
        return self.rates["f1"]

    @property
    def rates(self) -> dict[str, float]:
        """Precision, recall and F1 of the lines, and the intersection over union of the maps of cores."""
        true, found, right = (
            sum(values)
            for values in zip(*((page.true, page.found, len(page.pairs)) for page in self.findings), strict=True)
        )
        return {
            "precision": right / max(1, found),
            "recall": right / max(1, true),
            "f1": 2 * right / max(1, true + found),
            "iou": self.iou,
        }

    def figures(self) -> dict[str, Any]:
        """The figures for result.json."""
        return super().figures() | finding_figures(self.findings, self.split.writers_N)

    def reading(self, index: int) -> Reading:
        """One page as a reading: found lines are orange, true lines are blue; its confidence is F1."""
        reading, found = super().reading(index), self.found[index]
        marks = tuple(Mark(points=line.baseline, colour="tab:orange") for line in found)
        return replace(
            reading,
            text=f"{len(found)} lines",
            confidence=float(self.f1_N[index]),
            marks=(*(reading.marks or ()), *marks),
        )

    def sample(self, limit: int, mistakes: int) -> list[int]:
        """At most `limit` indices: a sample of the split, then the `mistakes` pages with the worst F1."""
        return self._sample(self.f1_N, limit, mistakes)

    def predictions(self) -> dict[str, np.ndarray]:
        """The arrays of predictions.npz: in addition, the true, the found and the matched lines of each page.

        `true`, `found` and `matched` are their numbers. `true_lines` and `found_lines` are their baselines, see
        `baselines_text`.
        """
        counts = np.array([(page.true, page.found, len(page.pairs)) for page in self.findings], np.int64).reshape(-1, 3)
        scaled = [
            [line.baseline * scale for line in lines]
            for lines, scale in zip(self.split.lines, self.split.scales_N, strict=True)
        ]
        texts = {
            "true_lines": np.array([baselines_text(baselines) for baselines in scaled], str),
            "found_lines": np.array([baselines_text([line.baseline for line in lines]) for lines in self.found], str),
        }
        return super().predictions() | dict(zip(("true", "found", "matched"), counts.T, strict=True)) | texts


def baselines_text(baselines: Sequence[Points]) -> str:
    """Baselines as JSON: a list of points [x, y] per line, in whole pixels."""
    return json.dumps([np.rint(points).astype(int).tolist() for points in baselines], separators=(",", ":"))


def evaluate_finder(recognizer: Recognizer, spec: UNetSpec, split: PageSplit) -> FindingEvaluation:
    """Evaluate a finder on a whole split, page by page."""
    losses, pixels, findings, all_found = [], [], [], []
    for i, batch in reading_batches(split):
        logits_BhwM = recognizer.logits(*batch.inputs)
        losses.append(page_loss(logits_BhwM, batch))
        pixels.append(core_pixels(logits_BhwM, batch))
        image_HW, scale = split.images[i], float(split.scales_N[i])
        rows, columns = -(-image_HW.shape[0] // 2), -(-image_HW.shape[1] // 2)
        found = lines_of_scores(sigmoid(logits_BhwM[0, :rows, :columns]), image_HW)
        true = [replace(line, baseline=line.baseline * scale, outline=line.outline * scale) for line in split.lines[i]]
        unknown = [polygon * scale for polygon in split.unknown[i]]
        findings.append(page_finding(true, found, unknown, (image_HW.shape[0], image_HW.shape[1])))
        all_found.append(tuple(found))
    common_N, either_N = np.array(pixels).T
    return FindingEvaluation(
        split=split,
        spec=spec,
        loss=float(np.mean(losses)),
        common_N=common_N,
        either_N=either_N,
        findings=findings,
        found=all_found,
    )
