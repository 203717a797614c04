"""How CTC's scores become text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from common.errors import UserError
from common.reading.decoding import Classes, ctc_beam, ctc_greedy
from common.reading.ngram import Prior

# B batch, T frames, K classes


@dataclass(frozen=True, kw_only=True)
class Search:
    """Best path, or prefix beam search with or without a character language model.

    Raises:
        UserError: a negative beam.
    """

    beam: int = 0
    """Beam width; 0 takes the best path."""
    prior: Prior | None = None
    """The character language model that weighs the texts of the beam."""

    def __post_init__(self) -> None:
        if self.beam < 0:
            raise UserError(f"--beam is {self.beam}; it must be at least 1, or 0 for the best path")

    def __call__(self, log_probs_BTK: Float[np.ndarray, "B T K"], frames_B: Int[np.ndarray, "B"]) -> Classes:
        """The classes of each line's characters."""
        if not self.beam:
            return ctc_greedy(log_probs_BTK, frames_B)[0]
        if self.prior is None:
            return ctc_beam(log_probs_BTK, frames_B, width=self.beam)
        return ctc_beam(
            log_probs_BTK,
            frames_B,
            width=self.beam,
            ngram=self.prior.ngram,
            ngram_weight=self.prior.weight,
            length_bonus=self.prior.length_bonus,
        )


BEST_PATH = Search()
