"""What a comparison gives every framework: the data of each rung, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import UserError, unknown_name
from common.spec import RUNGS, reads_lines


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every framework gets to train a rung."""

    examples: int
    """Training examples; 0 for all."""
    epochs: int
    learning_rate: float
    """Peak; chosen by validation, see docs/log.md."""
    target: float
    """What to reach in validation, for the time to it: an accuracy, or the CER of lines."""
    minutes: float
    """About what a run takes on two cores; only the time left is told from it."""
    dropout: float | None = None
    """None for the rung's own. A model that sees its data two or three times learns it faster without."""
    max_characters: int = 0
    """Longest line that is drawn; of rungs that read lines."""
    start: str = ""
    """The rung whose run, by the same framework, gives its stem, if it is compared too."""


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
    """What each rung to compare is trained on.

    Args:
        rungs: those that were asked for; if none, all that the data is for.
        data: NAME or NAME:FOLDER; "" for what is drawn, characters or lines.

    Raises:
        UserError: unknown data, or a rung that was asked for reads something else.
    """
    if not data:
        return {rung: "ink_lines" if reads_lines(rung) else "ink" for rung in rungs or RUNGS}
    from common.data.sources import SOURCES  # imports Pillow

    name = data.partition(":")[0]
    if name not in SOURCES:
        raise unknown_name("data", name, SOURCES)
    holds = SOURCES[name].holds
    fits = [rung for rung in RUNGS if reads_lines(rung) == (holds == "lines")]
    other = [rung for rung in rungs if rung not in fits]
    if other:
        raise UserError(
            f"rung {other[0]} does not read {name}, which holds {holds}; compare {' and '.join(fits)} on it, "
            "or leave --data out to give every rung what it reads"
        )
    return dict.fromkeys(rungs or fits, data)
