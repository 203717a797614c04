"""Evaluating a recognizer on lines."""

# N lines, B batch, L label length, K classes, T frames, G golden examples

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from jaxtyping import Int

from common.batch import LineBatch, to_float
from common.charset import Charset
from common.data.line_batches import split_batch
from common.data.lines import LineSplit
from common.errors import UserError
from common.metrics import Edits, bootstrap_interval, count_edits, edit_distances, error_rate
from common.reading.lines import BATCH_SIZE, LineReading, read_split, spec_of
from common.reading.result import Reading
from common.reading.search import BEST_PATH, Search
from common.recognizer import Recognizer
from common.sampling import evenly
from common.spec import LineSpec
from common.weights import Golden

GOLDEN_EXAMPLES = 4
MOST_CONFUSED = 20


@dataclass(frozen=True, kw_only=True)
class LineEvaluation:
    """The result of evaluating a recognizer on a split of lines."""

    charset: Charset
    """The model's characters."""
    split: LineSplit
    readings: Sequence[LineReading]
    """In the order of the split."""
    ends: int
    """Targets of a text besides its characters: 1 if the model predicts the end of the text, else 0."""

    @property
    def texts(self) -> list[str]:
        """The texts that the model read."""
        return [reading.text for reading in self.readings]

    @property
    def loss(self) -> float:
        """Nats per character, over the lines with known characters only; NaN if there is none."""
        known = [i for i, text in enumerate(self.split.texts) if _knows(self.charset, text)]
        targets = sum(len(self.split.texts[i]) + self.ends for i in known)
        return sum(self.readings[i].nats for i in known) / max(1, targets) if known else float("nan")

    @property
    def rates(self) -> dict[str, float]:
        """CER and WER."""
        characters, words = self._edits
        return {"cer": error_rate(*characters), "wer": error_rate(*words)}

    @property
    def score(self) -> float:
        """Minus the CER."""
        return -error_rate(*self._edits[0])

    @property
    def edits(self) -> Edits:
        """The edits by kind and by character."""
        return count_edits(self.split.texts, self.texts)

    def figures(self) -> dict[str, Any]:
        """The figures for result.json."""
        characters, words = self._edits
        writers_N = self.split.writers_N
        edits, unknown = self.edits, self._unknown()
        confused = [{"true": a, "read": b, "times": n} for a, b, n in edits.most_confused(MOST_CONFUSED)]
        return {
            "cer": error_rate(*characters),
            "cer_interval": list(bootstrap_interval(characters[0], writers_N, lengths_N=characters[1])),
            "wer": error_rate(*words),
            "wer_interval": list(bootstrap_interval(words[0], writers_N, lengths_N=words[1])),
            "substitutions": edits.substitutions,
            "insertions": edits.insertions,
            "deletions": edits.deletions,
            "most_confused": confused,
            "loss": self.loss,
            "examples": len(self.split),
            "characters": int(characters[1].sum()),
            "unknown_characters": dict(sorted(unknown.items())),
            "unknown_examples": sum(not _knows(self.charset, text) for text in self.split.texts),
        }

    def reading(self, index: int) -> Reading:
        """One line as a reading."""
        reading = self.readings[index]
        return Reading(
            image_HW=self.split.images[index],
            text=reading.text,
            confidence=reading.confidence,
            truth=self.split.texts[index],
            character_confidences=reading.character_confidences,
        )

    def sample(self, limit: int, mistakes: int) -> list[int]:
        """At most `limit` indices: a sample of the split, then up to `mistakes` most confident mistakes."""
        wrong = [i for i, text in enumerate(self.split.texts) if text != self.readings[i].text]
        worst = sorted(wrong, key=lambda i: -self.readings[i].confidence)[:mistakes]
        return [*evenly(len(self.split), limit - len(worst)), *worst]

    def predictions(self) -> dict[str, np.ndarray]:
        """The arrays of predictions.npz: true texts and read texts, with edits and confidences."""
        (edits_N, lengths_N), (word_edits_N, words_N) = self._edits
        writers_N = self.split.writers_N
        return {
            "truths": np.array(self.split.texts, str),
            "texts": np.array(self.texts, str),
            "edits": edits_N,
            "characters": lengths_N,
            "word_edits": word_edits_N,
            "words": words_N,
            "confidence": np.array([reading.confidence for reading in self.readings]),
        } | ({} if writers_N is None else {"writers": writers_N})

    def golden(self, recognizer: Recognizer) -> Golden:
        """A few of the narrower lines with the logits that `recognizer`, the model evaluated, computes for them now."""
        narrower = np.argsort(self.split.widths_N, kind="stable")[: -(-len(self.split) // 2)]
        batch = split_batch(self.split, self.charset, narrower[evenly(len(narrower), GOLDEN_EXAMPLES)])
        images_GHW = np.rint(batch.images_BHW1[..., 0] * 255).astype(np.uint8)
        logits = recognizer.logits(to_float(images_GHW), batch.widths_B, batch.labels_BL)
        return Golden(images_GHW=images_GHW, logits=logits, widths_G=batch.widths_B, labels_GL=batch.labels_BL)

    def first_batch(self) -> LineBatch:
        """The first lines, for a look at the gradients."""
        return split_batch(self.split, self.charset, np.arange(min(BATCH_SIZE, len(self.split))))

    @cached_property
    def _edits(self) -> list[tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"]]]:
        """Edits and lengths of each line, in characters and in words."""
        truths, texts = self.split.texts, self.texts
        words = edit_distances([t.split() for t in truths], [t.split() for t in texts])
        return [edit_distances(truths, texts), words]

    def _unknown(self) -> Counter[str]:
        """The characters that the model does not know, with their number of occurrences."""
        return Counter(c for text in self.split.texts for c in text if c not in self.charset.class_of)


def evaluate_lines(
    recognizer: Recognizer,
    charset: Charset,
    split: LineSplit,
    search: Search = BEST_PATH,
    like: LineSplit | None = None,
) -> LineEvaluation:
    """Evaluate a recognizer on a whole split.

    Args:
        recognizer: the model.
        charset: the model's characters; other characters in the split's texts count as errors.
        split: the lines.
        search: turns CTC's scores into text; a transformer decodes greedily.
        like: lines whose batches have the same shapes; see `common.data.line_batches.reading_batches`.

    Raises:
        UserError: the lines have another height, or the model knows none of their characters.
    """
    check_height(recognizer, split.height)
    in_data = Charset.of(split.texts)
    if not set(in_data.characters) & set(charset.characters):
        raise UserError(
            f"the model reads {''.join(charset.characters)!r} and none of the data's {''.join(in_data.characters)!r}; "
            "choose data with characters that it knows, or the run that was trained on this charset"
        )
    return LineEvaluation(
        charset=charset,
        split=split,
        readings=read_split(recognizer, charset, split, search, like),
        ends=int(spec_of(recognizer).decodes),
    )


def check_height(recognizer: Recognizer, height: int) -> None:
    """Check that the lines have the height that the model reads.

    Raises:
        UserError: they differ.
    """
    wanted = cast(LineSpec, recognizer.spec).height
    if height != wanted:
        raise UserError(
            f"the data's lines are {height} pixels high where the model reads {wanted}; "
            "prepare the data at that height or train on this data"
        )


def _knows(charset: Charset, text: str) -> bool:
    return all(c in charset.class_of for c in text)
