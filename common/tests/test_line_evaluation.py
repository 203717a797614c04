"""The evaluation of lines, with recognizers whose answers are known."""

# B batch, T frames, L label length, K classes

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.charset import Charset
from common.data.line_batches import READING_BUCKETS
from common.data.lines import LineSplit
from common.errors import UserError
from common.evaluation.lines import LineEvaluation, evaluate_lines
from common.metrics import log_softmax
from common.reading.decoding import ctc_log_likelihood
from common.reading.lines import BATCH_SIZE, read_lines
from common.reading.search import Search
from common.spec import LSTMCTCSpec, TransformerSpec
from common.weights import Golden

LETTERS = Charset(("a", "b", "c"))
SIZES: dict[str, Any] = {"num_classes": 4, "height": 2, "stem_channels": (1,), "stem_strides": (1,)}


class Oracle:
    """Reads the class that stands in each column's first pixel, with a logit of 9; a frame is a column."""

    packages = ()
    precisions = ("float32",)

    def __init__(self) -> None:
        self.spec = LSTMCTCSpec(**SIZES)
        self.shapes: list[tuple[int, ...]] = []

    def logits(self, images_BHW1: np.ndarray, widths_B: np.ndarray, labels_BL: np.ndarray | None = None) -> np.ndarray:
        self.shapes.append(images_BHW1.shape)
        keep_BT = np.arange(images_BHW1.shape[2]) < widths_B[:, None]
        return 9 * np.eye(4, dtype=np.float32)[pixels(images_BHW1)] * keep_BT[:, :, None]


class DecodingOracle(Oracle):
    """A decoder: column i holds the class of character i; after the line's end it reads the end of the text."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = TransformerSpec(**SIZES, model_dim=2, num_heads=1)

    def logits(self, images_BHW1: np.ndarray, widths_B: np.ndarray, labels_BL: np.ndarray | None = None) -> np.ndarray:
        assert labels_BL is not None
        class_BS = np.pad(pixels(images_BHW1), ((0, 0), (0, 99)))[:, : labels_BL.shape[1] + 1]
        own_BS = np.arange(class_BS.shape[1]) <= (labels_BL > 0).sum(axis=1, keepdims=True)
        return 9 * np.eye(4, dtype=np.float32)[class_BS] * own_BS[:, :, None]

    def decode(self, images_BHW1: np.ndarray, widths_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.shapes.append(images_BHW1.shape)
        class_BT = pixels(images_BHW1)
        ended_BT = np.cumsum(class_BT == 0, axis=1) > 1
        return class_BT.astype(np.int32), np.where(ended_BT, 0, np.log(0.9)).astype(np.float32)


def pixels(images_BHW1: np.ndarray) -> np.ndarray:
    return np.rint(images_BHW1[:, 0, :, 0] * 255).astype(int)


def lines(columns: list[str], texts: list[str], writers: list[int] | None = None, height: int = 2) -> LineSplit:
    """One line per text; each column is a letter, which is its class, or `-`, the blank."""
    images = [np.array([["-abc".index(c) for c in line]] * height, np.uint8) for line in columns]
    return LineSplit(
        images=images,
        widths_N=np.array([len(line) for line in columns]),
        texts=texts,
        names=[f"line {i}" for i in range(len(texts))],
        writers_N=None if writers is None else np.array(writers),
    )


def look(recognizer: Any, columns: list[str], texts: list[str], **options: Any) -> LineEvaluation:
    return evaluate_lines(recognizer, LETTERS, lines(columns, texts, **options))


def test_readings_are_in_the_order_of_the_split() -> None:
    columns = ["aa-a-b", "c", "-", "abcabcabc", "bb"] * 20
    texts = ["aab", "c", "", "abcabcabc", "b"] * 20
    seen = look(Oracle(), columns, texts)
    assert seen.texts == texts
    assert seen.rates == {"cer": 0, "wer": 0}


def test_batches_have_few_shapes_and_none_is_smaller() -> None:
    rng = np.random.default_rng(0)
    columns = ["a" * int(n) for n in rng.integers(1, 200, 5 * BATCH_SIZE + 3)]
    for recognizer in (Oracle(), DecodingOracle()):
        look(recognizer, columns, ["a"] * len(columns))
        assert {shape[0] for shape in recognizer.shapes} == {BATCH_SIZE}
        assert 1 < len(set(recognizer.shapes)) <= READING_BUCKETS


def test_figures_add_edits_up_over_all_lines() -> None:
    seen = look(Oracle(), ["abc", "ab-b", "a--"], ["abc", "acbb", "b ab"])
    figures = seen.figures()
    # "abb" for "acbb": c missed; "a" for "b ab": three missed; the words: none of 1, 1 of 1, 2 of 2
    assert figures["cer"] == 4 / 11
    assert (figures["substitutions"], figures["insertions"], figures["deletions"]) == (0, 0, 4)
    assert figures["wer"] == 3 / 4
    assert figures["most_confused"][0] == {"true": "b", "read": "", "times": 2}
    assert (figures["examples"], figures["characters"]) == (3, 11)
    assert seen.score == -figures["cer"]
    assert figures["cer_interval"][0] <= figures["cer"] <= figures["cer_interval"][1]


def test_intervals_draw_whole_writers() -> None:
    columns, texts = ["a", "b"] * 50, ["a"] * 100
    alone = look(Oracle(), columns, texts).figures()["cer_interval"]
    together = look(Oracle(), columns, texts, writers=[0, 1] * 50).figures()["cer_interval"]
    assert together == [0, 1]
    assert alone[0] > 0.3


def test_loss_of_ctc_is_per_character_over_the_lines_that_the_model_knows() -> None:
    columns, texts = ["aab", "c-c-", "b"], ["ab", "cc", "bé"]
    seen = look(Oracle(), columns, texts)
    expected = 0.0
    for line, label in (("aab", [1, 2]), ("c-c-", [3, 3])):
        log_probs_TK = log_softmax(9 * np.eye(4)[["-abc".index(c) for c in line]])
        expected -= ctc_log_likelihood(log_probs_TK[None], np.array([len(line)]), np.array([label]), np.array([2]))[0]
    assert seen.loss == pytest.approx(expected / 4, rel=1e-6)


def test_loss_of_a_decoder_is_per_character_and_end() -> None:
    seen = look(DecodingOracle(), ["ab-", "c--", "b"], ["ab", "ca", "bé"])
    right, wrong = np.log(1 + 3 * np.exp(-9)), 9 + np.log(1 + 3 * np.exp(-9))
    # right: a, b, end; then c, wrong: end instead of a, right: end
    assert seen.loss == pytest.approx((5 * right + wrong) / 6, rel=1e-6)


def test_characters_the_model_does_not_know_are_mistakes_and_are_named() -> None:
    figures = look(Oracle(), ["ab", "ab", "a"], ["aéb", "éb", "a"]).figures()
    assert (figures["unknown_characters"], figures["unknown_examples"]) == ({"é": 2}, 2)
    assert figures["cer"] == 2 / 6


def test_without_a_line_that_the_model_knows_there_is_no_loss() -> None:
    assert np.isnan(look(Oracle(), ["a"], ["aé"]).loss)


def test_confidence_of_ctc_is_that_of_the_text_and_not_of_one_alignment() -> None:
    columns = ["a--", "---"]
    seen = look(Oracle(), columns, ["a", "a"])
    for line, label, reading in zip(columns, ([1], []), seen.readings, strict=True):
        log_probs_TK = log_softmax(9 * np.eye(4)[["-abc".index(c) for c in line]])
        labels_BL = np.array([label], int).reshape(1, -1)
        expected = ctc_log_likelihood(log_probs_TK[None], np.array([3]), labels_BL, np.array([len(label)]))
        assert reading.confidence == pytest.approx(np.exp(expected[0]), rel=1e-6)
        assert len(reading.character_confidences) == len(label)


def test_confidence_of_a_decoder_is_the_product_with_the_end_s() -> None:
    reading = look(DecodingOracle(), ["ab-"], ["ab"]).readings[0]
    assert reading.text == "ab"
    assert reading.confidence == pytest.approx(0.9**3, rel=1e-6)
    assert reading.character_confidences == pytest.approx((0.9, 0.9), rel=1e-6)


def test_beam_takes_the_place_of_the_best_path() -> None:
    # the blank has 4/7 in each frame, but the text "a" has three alignments
    class Doubtful(Oracle):
        def logits(self, images_BHW1: np.ndarray, *rest: np.ndarray) -> np.ndarray:
            return np.log(np.array([4, 3, 1e-9, 1e-9], np.float32)) + 0 * super().logits(images_BHW1, *rest)

    recognizer: Any = Doubtful()
    split = lines(["--"], ["a"])
    assert evaluate_lines(recognizer, LETTERS, split).texts == [""]
    assert evaluate_lines(recognizer, LETTERS, split, Search(beam=4)).texts == ["a"]


def test_lines_without_a_truth_are_read() -> None:
    recognizer: Any = Oracle()
    split = lines(["ab-", "c"], ["", ""])
    readings = read_lines(recognizer, LETTERS, list(split.images))
    assert [reading.text for reading in readings] == ["ab", "c"]
    assert [reading.truth for reading in readings] == [None, None]
    assert [len(reading.character_confidences or ()) for reading in readings] == [2, 1]


def test_lines_of_another_height_are_refused() -> None:
    with pytest.raises(UserError, match="3 pixels high where the model reads 2"):
        look(Oracle(), ["a"], ["a"], height=3)


def test_charset_of_another_run_is_refused() -> None:
    with pytest.raises(UserError, match="reads 'abc' and none of the data's 'xy'"):
        look(Oracle(), ["a"], ["xyx"])


def test_sample_shows_lines_of_the_whole_split_then_the_surest_mistakes() -> None:
    # a shorter wrong line has a higher confidence
    columns = ["a"] * 30 + ["b" * 9] + ["b"] + ["b" * 4]
    seen = look(Oracle(), columns, ["a"] * 33)
    *spread, surest, second = seen.sample(8, 2)
    assert (surest, second) == (31, 32)
    assert len(spread) == 6
    assert spread == sorted(spread)
    assert spread[-1] > 20


def test_golden_example_holds_the_logits_of_narrow_lines() -> None:
    columns, texts = ["a" * n for n in range(1, 21)], ["aé"] * 20
    recognizer: Any = Oracle()
    golden: Golden = look(recognizer, columns, texts).golden(recognizer)
    assert golden.widths_G is not None
    assert golden.labels_GL is not None
    assert len(golden.widths_G) == 4
    assert golden.widths_G.max() <= 10
    assert golden.labels_GL.tolist() == [[1]] * 4, "without the characters that the model does not know"
    again = recognizer.logits(golden.images_GHW[..., None].astype(np.float32) / 255, golden.widths_G)
    np.testing.assert_array_equal(again, golden.logits)


def test_predictions_hold_texts_and_their_edits() -> None:
    arrays = look(Oracle(), ["ab", "c"], ["ac", "c a"], writers=[4, 5]).predictions()
    assert arrays["truths"].tolist() == ["ac", "c a"]
    assert arrays["texts"].tolist() == ["ab", "c"]
    assert arrays["edits"].tolist() == [1, 2]
    assert arrays["characters"].tolist() == [2, 3]
    assert (arrays["word_edits"].tolist(), arrays["words"].tolist()) == ([1, 1], [1, 2])
    assert arrays["writers"].tolist() == [4, 5]
    assert arrays["confidence"].shape == (2,)
