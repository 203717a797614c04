"""The budgets of a comparison: for each tier and rung, the data and how long every framework trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from common.errors import UserError
from common.spec import RUNGS
from common.tasks import task_of


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long every framework trains a rung."""

    examples: int
    """Training examples; 0 uses all."""
    epochs: int
    learning_rate: float
    """Peak learning rate, chosen by validation; see docs/log.md."""
    target: float
    """Accuracy, for lines CER, or for pages F1 to reach in validation; the report shows the time until then."""
    minutes: float
    """Approximate duration of a run on two cores, for the progress bar's estimate of the remaining time."""
    dropout: float | None = None
    """Dropout; None uses the rung's default. With two or three epochs a model learns faster without dropout."""
    max_characters: int = 0
    """Characters of the longest line; lines only."""
    side: int = 0
    """Size of the page images, see `UNetSpec.side`; pages only, and 0 takes the rung's default."""
    start: str = ""
    """Rung to take the stem's weights from, trained by the same framework, if that rung is compared as well."""


TIERS: dict[str, dict[str, Budget]] = {
    # Whole batches, because a smaller last batch would be compiled on its own. Short lines in two epochs: every width
    # occurs more than once, so compilation can be separated from the step. JAX compiles for about 4 s per width.
    "first": {
        "mlp": Budget(examples=4096, epochs=2, learning_rate=2e-3, target=0.4, minutes=0.15),
        "cnn": Budget(examples=1536, epochs=1, learning_rate=5e-3, dropout=0, target=0.3, minutes=0.2),
        "lstm_ctc": Budget(
            examples=2400, epochs=2, learning_rate=6e-3, dropout=0, target=0.75, minutes=0.3, max_characters=5
        ),
        "transformer": Budget(
            examples=2400,
            epochs=2,
            learning_rate=2e-3,
            dropout=0,
            target=0.75,
            minutes=0.3,
            max_characters=5,
            start="lstm_ctc",
        ),
        "unet": Budget(examples=96, epochs=2, learning_rate=5e-3, target=0.3, minutes=0.35, side=160),
    },
    "quick": {
        "mlp": Budget(examples=8000, epochs=5, learning_rate=2e-3, target=0.7, minutes=0.2),
        "cnn": Budget(examples=5000, epochs=2, learning_rate=5e-3, dropout=0, target=0.7, minutes=0.5),
        "lstm_ctc": Budget(
            examples=6000, epochs=3, learning_rate=6e-3, dropout=0, target=0.15, minutes=0.9, max_characters=12
        ),
        "transformer": Budget(
            examples=26_000,
            epochs=2,
            learning_rate=2e-3,
            dropout=0,
            target=0.15,
            minutes=1.4,
            max_characters=5,
            start="lstm_ctc",
        ),
        "unet": Budget(examples=192, epochs=4, learning_rate=5e-3, target=0.6, minutes=0.8, side=192),
    },
    "full": {
        "mlp": Budget(examples=0, epochs=20, learning_rate=1e-3, target=0.8, minutes=1.5),
        "cnn": Budget(examples=0, epochs=10, learning_rate=1e-3, target=0.85, minutes=8.0),
        "lstm_ctc": Budget(examples=48_000, epochs=4, learning_rate=2e-3, target=0.05, minutes=15.0, max_characters=32),
        "transformer": Budget(
            examples=48_000,
            epochs=8,
            learning_rate=2e-3,
            target=0.05,
            minutes=30.0,
            max_characters=32,
            start="lstm_ctc",
        ),
        "unet": Budget(examples=0, epochs=8, learning_rate=3e-3, target=0.9, minutes=15.0, side=320),
    },
}


SUITE_TIERS = {"first": "quick", "quick": "full", "full": "full"}
"""Tier of the comparison to the tier of the suite, whose `quick` checks one dtype and plants a sample of faults."""
_SUITE_MINUTES = {"quick": 0.7, "full": 1.6}
"""Tier of the suite to its approximate minutes per rung on two cores: parity and planted faults together."""
_DRAWN_LINES = ("ink_lines", "emnist_lines")  # data whose lines are drawn with at most `max_characters`


def suite_minutes(tier: str, rungs: Sequence[str]) -> float:
    """Approximate minutes of the suite, parity and planted faults together, on two cores."""
    return _SUITE_MINUTES[SUITE_TIERS[tier]] * len(rungs)


def estimated_minutes(tier: str, rungs: Sequence[str], frameworks: int) -> float:
    """Approximate minutes of a comparison on two cores."""
    return suite_minutes(tier, rungs) + frameworks * sum(TIERS[tier][rung].minutes for rung in rungs)


def rung_title(rung: str, found: Mapping[str, Any]) -> str:
    """The heading of a rung's figures: the rung, the data, and the characters of the longest line or the size of pages.

    Args:
        rung: the rung.
        found: the rung's entry in report.json.
    """
    budget = found["budget"]
    title = f"{rung} on {budget['data']}"
    if budget["data"].partition(":")[0] in _DRAWN_LINES:
        return f"{title}: lines of at most {budget['max_characters']} characters"
    if budget.get("side"):
        return f"{title}: pages of {budget['side']}² pixels"
    if found.get("buckets") and RUNGS[rung].task == "lines":
        longest = max(length for _, length in found["buckets"])
        return f"{title}: training lines of at most {longest} characters"
    return title


def data_of(rungs: Sequence[str], data: str) -> dict[str, str]:
    """Rung to the data for its training.

    Args:
        rungs: the rungs to compare; if empty, all rungs that read the data.
        data: NAME or NAME:FOLDER; if empty, each rung gets drawn characters or lines.

    Raises:
        UserError: unknown data, or a rung that does not read it.
    """
    if not data:
        return {rung: task_of(rung).default_data for rung in rungs or RUNGS}
    from common.data.sources import source_of  # imports Pillow

    name, source = data.partition(":")[0], source_of(data)
    fits = [rung for rung, spec in RUNGS.items() if source.loader(cast(Any, spec.task)) is not None]
    other = [rung for rung in rungs if rung not in fits]
    if other:
        raise UserError(
            f"rung {other[0]} does not read {name}, which holds {source.holds}; compare {' and '.join(fits)} on it, "
            "or leave --data out, so that every rung gets data that it reads"
        )
    return dict.fromkeys(rungs or fits, data)
