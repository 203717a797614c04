"""The report as one HTML file that needs no other."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from common.charset import Charset
from common.data.dataset import Split
from common.report.charts import learning_charts
from common.report.results import Finished, gallery
from common.report.words import duration, percent, significant, visible

# H height, W width

GALLERIES = {
    "sample": ("A sample", "Test images, taken evenly."),
    "worst": ("Worst examples", "Read wrong by the most frameworks, the most confidently."),
    "disagreement": ("Where the frameworks disagree", "The most confident disagreements."),
}


def render(report: Mapping[str, Any], pictures: Mapping[str, Any]) -> str:
    """The page.

    Args:
        report: what stands in report.json.
        pictures: rung to what `pictures_of` made.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"percent": percent, "duration": duration, "significant": significant, "visible": visible}
    environment.filters["points"] = points
    return environment.get_template("index.html").render(report=report, pictures=pictures)


def pictures_of(
    runs: Mapping[str, Finished], order: list[str], target: float, test: Split, charset: Charset
) -> dict[str, Any]:
    """Charts and galleries of one rung."""
    metrics = {name: run.metrics for name, run in runs.items()}
    charts = [{"title": title, "svg": Markup(svg)} for title, svg in learning_charts(metrics, order, target)]
    cards = {
        kind: [_card(runs, index, test, charset) for index in chosen]
        for kind, chosen in gallery(runs).items()
        if chosen
    }
    titles = {kind: GALLERIES[kind] for kind in cards}
    return {"charts": charts, "galleries": [(*titles[kind], cards[kind]) for kind in cards]}


def points(share: float) -> str:
    """A difference of shares in percentage points, signed."""
    return f"{100 * share:+.2f}".replace("-", "−")


def _card(runs: Mapping[str, Finished], index: int, test: Split, charset: Charset) -> dict[str, Any]:
    truth = charset.characters[test.labels_N[index]]
    readings = [
        {
            "framework": name,
            "text": charset.characters[run.read_N[index]],
            "confidence": float(run.confidence_N[index]),
            "right": bool(run.correct_N[index]),
        }
        for name, run in runs.items()
    ]
    return {"image": _data_uri(test.images_NHW[index]), "truth": truth, "readings": readings}


def _data_uri(image_HW: UInt8[np.ndarray, "H W"]) -> str:
    """Dark ink on white, as a PNG within the page."""
    buffer = io.BytesIO()
    Image.fromarray(255 - image_HW).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
