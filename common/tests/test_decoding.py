"""Decoding, compared with an enumeration of all alignments in small cases."""

# B batch, T frames, K classes, L label length

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest

from common.data.lines import pad_labels
from common.metrics import log_softmax
from common.reading.decoding import ctc_beam, ctc_character_confidence, ctc_greedy, ctc_log_likelihood, decoded_texts
from common.reading.ngram import CharacterNgram, NgramCounts, Prior
from common.reading.search import Search

Text = tuple[int, ...]
FRAMES_B = np.array([5, 5, 4, 3, 2, 1])
TRAINING_TEXTS = [np.array(text) for text in ([1, 2, 3], [1, 2], [3, 3])]


def scores(seed: int = 0, classes: int = 4) -> np.ndarray:
    logits_BTK = np.random.default_rng(seed).normal(0, 2, (len(FRAMES_B), 5, classes))
    return log_softmax(logits_BTK)


def probabilities(log_probs_TK: np.ndarray) -> dict[Text, float]:
    """The likelihood of every text: the sum over all alignments."""
    frames, classes = log_probs_TK.shape
    found: dict[Text, float] = defaultdict(float)
    for path in itertools.product(range(classes), repeat=frames):
        text = tuple(k for k, _ in itertools.groupby(path) if k)
        found[text] += float(np.exp(log_probs_TK[np.arange(frames), path].sum()))
    return found


def likelihood(log_probs_TK: np.ndarray, texts: list[Text], frames: int) -> np.ndarray:
    labels = [np.array(text, np.int32) for text in texts]
    return ctc_log_likelihood(
        np.repeat(log_probs_TK[None], len(texts), axis=0),
        np.full(len(texts), frames),
        pad_labels(labels, 6),
        np.array([len(text) for text in texts]),
    )


def test_likelihood_of_every_text_is_the_sum_over_its_alignments() -> None:
    for log_probs_TK, frames in zip(scores(), FRAMES_B, strict=True):
        expected = probabilities(log_probs_TK[:frames])
        found = np.exp(likelihood(log_probs_TK, list(expected), frames))
        np.testing.assert_allclose(found, list(expected.values()), rtol=1e-12)
        assert () in expected, "the empty text is among them"


def test_likelihood_of_a_line_does_not_depend_on_its_batch() -> None:
    labels_BL = np.array([[1, 2, 3], [2, 2, 0], [3, 0, 0], [1, 2, 0], [0, 0, 0], [1, 0, 0]])
    lengths_B = np.array([3, 2, 1, 2, 0, 1])
    together = ctc_log_likelihood(scores(), FRAMES_B, labels_BL, lengths_B)
    for i, (frames, length) in enumerate(zip(FRAMES_B, lengths_B, strict=True)):
        (alone,) = likelihood(scores()[i, :frames], [tuple(labels_BL[i, :length].tolist())], int(frames))
        assert together[i] == pytest.approx(alone, rel=1e-12), i


@pytest.mark.parametrize(("text", "frames"), [((1, 1), 2), ((1, 2, 3), 2), ((1,), 0), ((2, 2, 2), 4)])
def test_text_that_does_not_fit_its_frames_is_impossible(text: Text, frames: int) -> None:
    assert likelihood(scores()[0], [text], frames)[0] == -np.inf


def test_without_frames_the_empty_text_is_certain() -> None:
    assert likelihood(scores()[0], [()], 0)[0] == 0


def test_likelihood_of_a_long_line_stays_in_range() -> None:
    # there is one alignment only, because every frame is another letter
    log_probs_TK = np.full((2000, 3), np.log(1e-3))
    assert likelihood_of_alternating(log_probs_TK) == pytest.approx(2000 * np.log(1e-3), rel=1e-12)


def likelihood_of_alternating(log_probs_TK: np.ndarray) -> float:
    frames = len(log_probs_TK)
    labels_BL = np.where(np.arange(frames) % 2, 1, 2)[None]
    return float(ctc_log_likelihood(log_probs_TK[None], np.array([frames]), labels_BL, np.array([frames]))[0])


def test_greedy_merges_runs_and_drops_blanks() -> None:
    best_BT = np.array([[1, 1, 0, 1, 2, 2], [0, 0, 3, 3, 1, 1], [2, 2, 2, 2, 2, 2]])
    probabilities_BT = np.array([[0.5, 0.6, 0.9, 0.7, 0.8, 0.5], [0.9, 0.9, 0.5, 0.6, 0.7, 0.9], [0.5] * 5 + [0.9]])
    log_probs_BTK = np.log(np.repeat((1 - probabilities_BT)[:, :, None] / 3, 4, axis=2))
    np.put_along_axis(log_probs_BTK, best_BT[:, :, None], np.log(probabilities_BT)[:, :, None], axis=2)
    classes, confidences = ctc_greedy(log_probs_BTK, np.array([6, 5, 4]))
    assert [line.tolist() for line in classes] == [[1, 1, 2], [3, 1], [2]]
    for found, expected in zip(confidences, [[0.6, 0.7, 0.8], [0.6, 0.7], [0.5]], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_wide_beam_finds_the_most_probable_text(seed: int) -> None:
    log_probs_BTK = scores(seed)
    found = ctc_beam(log_probs_BTK, FRAMES_B, width=400)
    for text, log_probs_TK, frames in zip(found, log_probs_BTK, FRAMES_B, strict=True):
        every = probabilities(log_probs_TK[:frames])
        assert tuple(text.tolist()) == max(every, key=every.__getitem__)


@pytest.mark.parametrize("seed", range(5))
def test_wide_beam_with_a_prior_finds_the_text_that_is_best_by_both(seed: int) -> None:
    ngram = CharacterNgram.estimate(TRAINING_TEXTS, 4, order=3)
    log_probs_BTK = scores(seed)
    found = ctc_beam(log_probs_BTK, FRAMES_B, width=400, ngram=ngram, ngram_weight=0.7, length_bonus=0.4)
    changed = 0
    for text, log_probs_TK, frames in zip(found, log_probs_BTK, FRAMES_B, strict=True):
        every = probabilities(log_probs_TK[:frames])
        assert tuple(text.tolist()) == best_by_both(every, ngram, weight=0.7, bonus=0.4)
        changed += tuple(text.tolist()) != max(every, key=every.__getitem__)
    assert seed or changed, "this test needs a prior that makes a difference"


def best_by_both(every: dict[Text, float], ngram: CharacterNgram, *, weight: float, bonus: float) -> Text:
    """The text with the highest sum of its log likelihood, its weighed prior and a bonus per character."""

    def total(text: Text) -> float:
        state, prior = ngram.start, 0.0
        for k in (*text, 0):
            prior += float(ngram.log_probs_SK[state, k])
            state = int(ngram.next_SK[state, k])
        return float(np.log(every[text])) + weight * prior + bonus * len(text)

    return max(every, key=total)


@pytest.mark.parametrize(("weight", "bonus"), [(0.0, 0.0), (0.7, 0.4), (1.5, 0.0), (0.2, 3.0)])
def test_search_uses_the_weight_and_the_bonus_of_its_prior(weight: float, bonus: float) -> None:
    counts = NgramCounts.of(TRAINING_TEXTS, 4, order=3)
    search = Search(beam=400, prior=Prior(counts=counts, weight=weight, length_bonus=bonus))
    found, ngram = search(scores(), FRAMES_B), CharacterNgram.from_counts(counts)
    for text, log_probs_TK, frames in zip(found, scores(), FRAMES_B, strict=True):
        every = probabilities(log_probs_TK[:frames])
        assert tuple(text.tolist()) == best_by_both(every, ngram, weight=weight, bonus=bonus)


def test_narrow_beam_is_hardly_worse_than_a_wide_one() -> None:
    log_probs_BTK = log_softmax(np.random.default_rng(3).normal(0, 3, (8, 30, 12)))
    frames_B = np.full(8, 30)
    narrow, wide = (ctc_beam(log_probs_BTK, frames_B, width=width) for width in (16, 200))

    def log_p(classes: list[np.ndarray]) -> np.ndarray:
        lengths_B = np.array([len(line) for line in classes])
        return ctc_log_likelihood(log_probs_BTK, frames_B, pad_labels(classes, int(lengths_B.max())), lengths_B)

    assert (log_p(narrow) <= log_p(wide) + 1e-9).all()
    assert (log_p(narrow) >= log_p(ctc_greedy(log_probs_BTK, frames_B)[0]) - 1e-9).all()
    assert log_p(narrow).sum() > log_p(ctc_greedy(log_probs_BTK, frames_B)[0]).sum(), "better than the best path"


def test_beam_search_of_a_line_does_not_depend_on_its_batch() -> None:
    log_probs_BTK = scores()
    together = ctc_beam(log_probs_BTK, FRAMES_B, width=6)
    for i, frames in enumerate(FRAMES_B):
        (alone,) = ctc_beam(log_probs_BTK[i : i + 1, :frames], FRAMES_B[i : i + 1], width=6)
        assert alone.tolist() == together[i].tolist()


def test_confidence_of_the_best_path_s_characters_is_the_peak_of_each_run() -> None:
    log_probs_BTK = log_softmax(np.random.default_rng(1).normal(0, 2, (8, 20, 5)))
    frames_B = np.arange(13, 21)
    classes, peaks = ctc_greedy(log_probs_BTK, frames_B)
    for found, expected in zip(ctc_character_confidence(log_probs_BTK, frames_B, classes), peaks, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_confidence_of_another_text_follows_its_own_best_alignment() -> None:
    # 1 is read in the first frame; for the text 2 the best frames are the second and the third
    probabilities_TK = np.array([[0.2, 0.7, 0.1], [0.3, 0.3, 0.4], [0.1, 0.3, 0.6], [0.8, 0.1, 0.1]])
    found = ctc_character_confidence(np.log(probabilities_TK)[None], np.array([4]), [np.array([2])])
    np.testing.assert_allclose(found[0], [0.6], rtol=1e-12)
    assert ctc_character_confidence(np.log(probabilities_TK)[None], np.array([4]), [np.array([], int)])[0].size == 0


def test_decoded_text_ends_with_its_first_end_whose_probability_counts() -> None:
    classes_BT = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [2, 2, 2, 2]])
    log_probs_BT = np.log([[0.5, 0.8, 0.9, 1.0], [0.7, 1.0, 1.0, 1.0], [0.9, 0.9, 0.9, 0.5]])
    classes, characters, confidence_B = decoded_texts(classes_BT, log_probs_BT)
    assert [line.tolist() for line in classes] == [[3, 1], [], [2, 2, 2, 2]]
    np.testing.assert_allclose(characters[0], [0.5, 0.8], rtol=1e-12)
    np.testing.assert_allclose(confidence_B, [0.5 * 0.8 * 0.9, 0.7, 0.9**3 * 0.5], rtol=1e-12)


# --- n-gram
def test_probabilities_of_every_state_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    ngram = CharacterNgram.estimate([rng.integers(1, 6, n) for n in rng.integers(0, 12, 40)], 6)
    np.testing.assert_allclose(np.exp(ngram.log_probs_SK).sum(axis=1), 1, rtol=1e-6)


def test_bigram_is_witten_bell() -> None:
    # in "ab" and "ac", b and c follow a once each; the counts are a 2, b 1, c 1, end 2
    ngram = CharacterNgram.estimate([np.array([1, 2]), np.array([1, 3])], 5, order=2)
    unigram = (np.array([2, 2, 1, 1, 0]) + 4 * (1 / 5)) / (6 + 4)
    after_a = (np.array([0, 0, 1, 1, 0]) + 2 * unigram) / (2 + 2)
    state = ngram.next_SK[ngram.start, 1]
    np.testing.assert_allclose(np.exp(ngram.log_probs_SK[state]), after_a, rtol=1e-6)
    first = (np.array([0, 2, 0, 0, 0]) + 1 * unigram) / (2 + 1)
    np.testing.assert_allclose(np.exp(ngram.log_probs_SK[ngram.start]), first, rtol=1e-6)


def test_state_is_the_longest_suffix_seen_in_training() -> None:
    ngram = CharacterNgram.estimate([np.array([1, 2, 3, 1])], 5, order=3)
    assert len(ngram.next_SK) == len({(), (0,), (1,), (2,), (3,), (0, 1), (1, 2), (2, 3), (3, 1)})

    def walk(*text: int) -> int:
        state = ngram.start
        for k in text:
            state = int(ngram.next_SK[state, k])
        return state

    assert walk(1, 2) == walk(3, 1, 2)
    assert walk(1, 2) != walk(3, 2), "2 never follows 3 in training, so the state is that of 2 alone"
    assert walk(3, 2) == walk(2)
    assert walk(4) == walk(1, 4), "an unseen character leads to the empty context"


def test_prior_without_training_text_is_uniform() -> None:
    np.testing.assert_allclose(np.exp(CharacterNgram.estimate([], 4).log_probs_SK), 0.25, rtol=1e-6)
