"""The budgets of a comparison: the data of each rung, and how much every framework trains on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import UserError
from common.spec import RUNGS
from common.tasks import task_of


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much every framework trains a rung."""

    examples: int
    """Training examples; 0 for all."""
    epochs: int
    learning_rate: float
    """Peak learning rate, chosen by validation; see docs/log.md."""
    target: float
    """Accuracy, or CER for lines, that validation should reach; the report shows the time to it."""
    minutes: float
    """Approximate duration of a run on two cores; the progress bar estimates the remaining time from it."""
    dropout: float | None = None
    """Dropout; None for the rung's default. A model that sees its data only two or three times learns faster without."""
    max_characters: int = 0
    """Lines only: characters of the longest line."""
    start: str = ""
    """Rung to take the stem's weights from, trained by the same framework, when that rung is compared as well."""


TIERS: dict[str, dict[str, Budget]] = {
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
    },
}


def data_of(rungs: Sequence[str], data: str) -> dict[str, str]:
    """Rung to the data that it is trained on.

    Args:
        rungs: the rungs to compare; if empty, all that read the data.
        data: NAME or NAME:FOLDER; empty for drawn characters or lines.

    Raises:
        UserError: unknown data, or a rung that does not read it.
    """
    if not data:
        return {rung: task_of(rung).default_data for rung in rungs or RUNGS}
    from common.data.sources import source_of  # imports Pillow

    name, holds = data.partition(":")[0], source_of(data).holds
    fits = [rung for rung in RUNGS if task_of(rung).name == holds]
    other = [rung for rung in rungs if rung not in fits]
    if other:
        raise UserError(
            f"rung {other[0]} does not read {name}, which holds {holds}; compare {' and '.join(fits)} on it, "
            "or leave --data out, and every rung gets data that it reads"
        )
    return dict.fromkeys(rungs or fits, data)
