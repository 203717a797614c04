"""The report as one self-contained HTML file."""

# H height, W width

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from common.data.dataset import Split
from common.formatting import duration, framework_name, percent, significant, visible
from common.metrics import edit_operations
from common.report.budgets import rung_title
from common.report.charts import learning_charts
from common.report.first import FirstLook
from common.report.page_cards import page_card
from common.report.results import Finished, gallery
from common.tasks import Task, task_of

GALLERIES = {
    "sample": ("A sample", "Test {examples}, spread over the split."),
    "worst": (
        "Worst examples",
        "Test {examples} with the most mistakes of all frameworks together, then the most confident mistakes.",
    ),
    "disagreement": (
        "Where the frameworks disagree",
        "Test {examples} that the frameworks read differently, the most confident readings first.",
    ),
}
PAGE_GALLERIES = GALLERIES | {
    "worst": ("Worst pages", "Test pages with the most lines that are missed, or that are none, in all frameworks."),
    "disagreement": (
        "Where the frameworks disagree",
        "Test pages on which the numbers of these mistakes differ most.",
    ),
}


def render(report: Mapping[str, Any], pictures: Mapping[str, Any], first: FirstLook | None = None) -> str:
    """The page as HTML.

    Args:
        report: the content of report.json.
        pictures: rung to the result of `pictures_of`.
        first: what the page says about the tier `first`; None for other tiers.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"percent": percent, "duration": duration, "significant": significant, "visible": visible}
    environment.filters |= {"points": points, "framework": framework_name}
    environment.globals |= {"task_of": task_of, "title_of": rung_title}
    tasks = {task_of(rung).name for rung in report["rungs"]}
    page = environment.get_template("index.html")
    return page.render(report=report, pictures=pictures, tasks=tasks, first=first)


def pictures_of(
    runs: Mapping[str, Finished], order: list[str], target: float, test: Split, task: Task
) -> dict[str, Any]:
    """Charts and galleries of one rung."""
    measure, make = task.measure, CARDS[task.name]
    metrics = {name: run.metrics for name, run in runs.items()}
    charts = [{"title": title, "svg": Markup(svg)} for title, svg in learning_charts(metrics, order, target, measure)]
    chosen_of = gallery(runs, ROOM[task.name], by_spread=task.name == "pages")
    cards = {kind: [make(runs, index, test) for index in chosen] for kind, chosen in chosen_of.items() if chosen}
    said = PAGE_GALLERIES if task.name == "pages" else GALLERIES
    titles = {kind: (said[kind][0], said[kind][1].format(examples=measure.examples)) for kind in cards}
    return {"charts": charts, "galleries": [(*titles[kind], cards[kind]) for kind in cards]}


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * share:+.2f}".replace("-", "−")


def pieces(truth: str, read: str) -> list[tuple[str, str]]:
    """The text that was read, in pieces: (kind, text).

    The kinds are right; wrong, read instead of another character; extra, an insertion; missed, a deletion, whose
    text is the missing part of the true text.
    """
    edits = edit_operations(truth, read)
    kinds = {place: "wrong" if true else "extra" for true, said, _, place in edits if said}
    missed = [(place, true) for true, said, _, place in edits if not said]
    found: list[tuple[str, str]] = []
    for place in range(len(read) + 1):
        found += [("missed", true) for at, true in missed if at == place]
        found += [(kinds.get(place, "right"), said) for said in read[place : place + 1]]
    together = groupby(found, key=lambda piece: piece[0])
    return [(kind, "".join(text for _, text in group)) for kind, group in together]


def _card(runs: Mapping[str, Finished], index: int, test: Split) -> dict[str, Any]:
    truth = next(iter(runs.values())).truths[index]
    readings = [
        {
            "framework": name,
            "text": run.texts[index],
            "pieces": pieces(truth, run.texts[index]),
            "confidence": float(run.confidence_N[index]),
            "right": not run.wrong_N[index],
        }
        for name, run in runs.items()
    ]
    return {"image": _data_uri(255 - test.image(index)), "truth": truth, "readings": readings}


def _page_card(runs: Mapping[str, Finished], index: int, test: Split) -> dict[str, Any]:
    card = page_card(runs, index, test.image(index))
    return card | {"readings": [each | {"image": _data_uri(each["image"])} for each in card["readings"]]}


CARDS: dict[str, Callable[[Mapping[str, Finished], int, Split], dict[str, Any]]] = {
    "characters": _card,
    "lines": _card,
    "pages": _page_card,
}
"""Task to the function that makes a card of a test example."""
ROOM = {"characters": 8, "lines": 8, "pages": 3}
"""Task to the number of cards in a gallery."""


def _data_uri(pixels: UInt8[np.ndarray, "..."]) -> str:
    """Pixels as a PNG in a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
