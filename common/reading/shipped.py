"""The reader that ships with this package: a finder of lines, a recognizer of lines, and a character language model.

The files are in `common/reading/models`. `python -m common.reading.ship` makes them from two run folders; MODEL_CARD.md
beside them says how they were trained and how well they read.
"""

from __future__ import annotations

from pathlib import Path

from common.errors import UserError

MODELS = Path(__file__).with_name("models")
FINDER, READER, PRIOR = MODELS / "finder.safetensors", MODELS / "reader.safetensors", MODELS / "prior.safetensors"
BEAM = 16
"""Width of the beam search of the shipped reader, which weighs texts with its character language model."""


def check_shipped(path: Path) -> Path:
    """The path of a file that ships.

    Raises:
        UserError: this installation lacks it.
    """
    if not path.is_file():
        raise UserError(
            f"this installation lacks {path.name} of the reader that ships; install fourhands again, or name a run of "
            "your own"
        )
    return path
