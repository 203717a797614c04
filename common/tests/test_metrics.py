"""Metrics, compared with closed forms."""

# N examples, K classes

from __future__ import annotations

import numpy as np
import pytest

from common.charset import ALPHANUMERIC, DIGITS, Charset
from common.data.characters import CharacterSplit
from common.errors import UserError
from common.evaluation.characters import BATCH_SIZE, CharacterEvaluation, evaluate_characters, score
from common.metrics import bootstrap_interval, confusion_counts, cross_entropy, log_softmax, most_confused
from common.recognizer import Recognizer
from common.sampling import evenly
from common.spec import MLPSpec


def test_cross_entropy_of_equal_logits_is_log_of_the_number_of_classes() -> None:
    assert cross_entropy(np.full((3, 7), 5.0, np.float32), np.array([0, 3, 6])) == pytest.approx(np.log(7), rel=1e-14)


def test_cross_entropy_is_right_where_float32_overflows() -> None:
    logits_NK = np.array([[0.0, 1000.0], [1000.0, 0.0]], np.float32)
    assert cross_entropy(logits_NK, np.array([1, 1])) == 500.0  # -log p is 0 and 1000


def test_probabilities_sum_to_one() -> None:
    logits_NK = np.random.default_rng(0).normal(0, 50, (9, 5)).astype(np.float32)
    np.testing.assert_allclose(np.exp(log_softmax(logits_NK)).sum(axis=1), 1, rtol=1e-14)


def test_confusion_counts_have_true_classes_in_rows() -> None:
    counts_KK = confusion_counts(np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 1, 1]), 3)
    assert counts_KK.tolist() == [[1, 1, 0], [0, 0, 0], [0, 2, 1]]


def test_most_confused_pairs_come_most_frequent_first_and_without_correct_readings() -> None:
    counts_KK = np.array([[90, 1, 0], [0, 90, 0], [0, 5, 0]])
    assert most_confused(counts_KK, 9) == [(2, 1, 5), (0, 1, 1)]
    assert most_confused(counts_KK, 1) == [(2, 1, 5)]


def test_interval_of_single_examples_is_that_of_the_normal_approximation() -> None:
    read_right = np.arange(10_000) < 9_000
    low, high = bootstrap_interval(read_right)
    half = 1.96 * np.sqrt(0.9 * 0.1 / 10_000)
    assert low == pytest.approx(0.9 - half, abs=0.2 * half)
    assert high == pytest.approx(0.9 + half, abs=0.2 * half)


def test_interval_draws_whole_writers() -> None:
    # a hundred writers, each always right or always wrong: as uncertain as a hundred examples, not as ten thousand
    writers = np.repeat(np.arange(100), 100)
    low, high = bootstrap_interval(writers < 50, writers)
    half = 1.96 * np.sqrt(0.5 * 0.5 / 100)
    assert high - low == pytest.approx(2 * half, rel=0.15)


def test_interval_weighs_writers_by_their_examples() -> None:
    # nine examples of one writer, all right, and one of another, wrong: a draw gives 1, 0.9 or 0 and never 0.5
    low, high = bootstrap_interval(np.arange(10) < 9, np.array([7] * 9 + [3]))
    assert (low, high) == (0.0, 1.0)
    assert bootstrap_interval(np.arange(10) < 9, np.array([7] * 9 + [3]), share=0.0) == (0.9, 0.9)


def test_interval_is_the_same_for_a_seed() -> None:
    values = np.random.default_rng(1).random(50)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


class Oracle:
    """Reads the class that stands in an image's first pixel, with a logit of 9."""

    packages = ()
    precisions = ("float32",)

    def __init__(self, classes: int) -> None:
        self.spec = MLPSpec(num_classes=classes, height=2, width=2)
        self.batches: list[int] = []

    def logits(self, images_BHW1: np.ndarray) -> np.ndarray:
        self.batches.append(len(images_BHW1))
        pixel_B = np.rint(images_BHW1[:, 0, 0, 0] * 255).astype(int)
        return 9 * np.eye(self.spec.num_classes, dtype=np.float32)[pixel_B]


def look(classes: int, charset: Charset, pixels: list[int], labels: list[int], data: Charset) -> CharacterEvaluation:
    images_NHW = np.zeros((len(pixels), 2, 2), np.uint8)
    images_NHW[:, 0, 0] = pixels
    recognizer: Recognizer = Oracle(classes)  # type: ignore[assignment]  # a recognizer that only reads
    return evaluate_characters(
        recognizer, charset, CharacterSplit(images_NHW=images_NHW, labels_N=np.array(labels)), data
    )


def test_every_example_is_scored_the_last_batch_too() -> None:
    count = 2 * BATCH_SIZE + 3
    seen = look(10, DIGITS, [1] * count, [1] * (count - 1) + [2], DIGITS)
    assert seen.accuracy == (count - 1) / count
    assert len(seen.read_N) == count


def test_confidence_is_the_probability_of_what_was_read() -> None:
    seen = look(10, DIGITS, [4], [4], DIGITS)
    assert seen.confidence_N[0] == pytest.approx(1 / (1 + 9 * np.exp(-9)), rel=1e-12)


def test_case_folds_in_the_second_accuracy_only() -> None:
    upper, lower = ALPHANUMERIC.class_of["A"], ALPHANUMERIC.class_of["a"]
    seen = look(62, ALPHANUMERIC, [upper, lower, lower, 1], [lower, upper, lower, 7], ALPHANUMERIC)
    assert (seen.accuracy, seen.accuracy_case_folded) == (0.25, 0.75)


def test_digits_have_no_case_to_fold() -> None:
    assert look(10, DIGITS, [1], [1], DIGITS).accuracy_case_folded is None


def test_characters_are_matched_by_name_and_not_by_class() -> None:
    backwards = Charset(tuple(reversed(DIGITS.characters)))
    assert look(10, DIGITS, [0, 1, 2], [9, 8, 7], backwards).accuracy == 1.0


def test_characters_the_model_does_not_know_count_as_wrong_and_are_counted() -> None:
    seen = look(10, DIGITS, [1, 1, 1, 1], [1, 11, 40, 1], ALPHANUMERIC)
    assert (seen.accuracy, seen.unknown) == (0.5, 2)
    assert seen.loss == pytest.approx(np.log(1 + 9 * np.exp(-9)), rel=1e-12), "over the known characters"


def test_data_without_any_character_of_the_model_is_refused() -> None:
    with pytest.raises(UserError, match="none of the data's 'ab'"):
        look(10, DIGITS, [1], [0], Charset(("a", "b")))


def test_images_of_another_size_are_refused() -> None:
    split = CharacterSplit(images_NHW=np.zeros((1, 3, 2), np.uint8), labels_N=np.array([0]))
    with pytest.raises(UserError, match="3×2 where the model reads 2×2"):
        evaluate_characters(Oracle(10), DIGITS, split, DIGITS)  # type: ignore[arg-type]


def test_sample_shows_examples_of_the_whole_split_then_the_surest_mistakes() -> None:
    logits_NK = np.zeros((100, 10), np.float32)
    logits_NK[:, 0] = np.arange(100) / 10  # small enough that the probabilities do not round to 1
    labels_N = np.where(np.isin(np.arange(100), (20, 40, 60)), 5, 0)
    split = CharacterSplit(images_NHW=np.zeros((100, 2, 2), np.uint8), labels_N=labels_N)
    assert score(logits_NK, DIGITS, labels_N, split).sample(5, 2) == [*evenly(100, 3), 60, 40]


def test_evenly_takes_one_index_of_each_stretch() -> None:
    assert evenly(3, 8) == [0, 1, 2]
    assert [index // 25 for index in evenly(100, 4)] == [0, 1, 2, 3]
    assert len({index % 10 for index in evenly(1000, 50)}) > 5, "in step with ten classes in turn"
