"""Error rates of lines, compared with closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from common.metrics import bootstrap_interval, count_edits, edit_distances, edit_operations, error_rate


def test_character_error_rate_is_all_edits_over_all_characters() -> None:
    edits_N, lengths_N = edit_distances(["kitten", "a", ""], ["sitting", "a", "xy"])
    assert (edits_N.tolist(), lengths_N.tolist()) == ([3, 0, 2], [6, 1, 0])
    assert error_rate(edits_N, lengths_N) == 5 / 7


def test_words_are_compared_whole() -> None:
    truths, reads = ["the cat sat", "  two   words "], ["the cut sat on", "two words"]
    edits_N, words_N = edit_distances([t.split() for t in truths], [t.split() for t in reads])
    assert (edits_N.tolist(), words_N.tolist()) == ([2, 0], [3, 2])


def test_rate_without_any_character_to_read() -> None:
    nothing = np.zeros(2, int)
    assert error_rate(nothing, nothing) == 0
    assert error_rate(np.array([0, 3]), nothing) == 3
    assert error_rate(nothing[:0], nothing[:0]) == 0


def test_edits_are_counted_by_kind() -> None:
    edits = count_edits(["abc", "abc", "abc", "aab"], ["abc", "axc", "ac", "aaxb"])
    assert (edits.substitutions, edits.deletions, edits.insertions) == (1, 1, 1)
    assert edits.pairs == {("b", "x"): 1, ("b", ""): 1, ("", "x"): 1}


def test_most_confused_come_most_frequent_first_and_in_one_order() -> None:
    edits = count_edits(["oo0", "o", "z"], ["000", "0", ""])
    assert edits.most_confused(5) == [("o", "0", 3), ("z", "", 1)]
    assert edits.most_confused(1) == [("o", "0", 3)]
    assert count_edits(["b", "a"], ["y", "x"]).most_confused(5) == [("a", "x", 1), ("b", "y", 1)]


def test_edits_have_their_positions_in_both_texts() -> None:
    assert edit_operations("abcd", "abxde") == [("c", "x", 2, 2), ("", "e", 4, 4)]
    assert edit_operations("ab", "b") == [("a", "", 0, 0)]


def test_interval_of_a_rate_draws_edits_and_characters_together() -> None:
    # every line has one edit per ten characters, long or short: no draw gives another rate
    lengths_N = np.array([10, 20, 300, 40])
    low, high = bootstrap_interval(lengths_N // 10, lengths_N=lengths_N)
    assert low == pytest.approx(0.1, rel=1e-12)
    assert high == pytest.approx(0.1, rel=1e-12)


def test_interval_of_a_rate_is_that_of_the_normal_approximation() -> None:
    rng = np.random.default_rng(0)
    lengths_N = rng.integers(10, 30, 4000)
    edits_N = rng.binomial(lengths_N, 0.1)
    low, high = bootstrap_interval(edits_N, lengths_N=lengths_N)
    half = 1.96 * np.sqrt(0.1 * 0.9 / lengths_N.sum())
    assert (low + high) / 2 == pytest.approx(error_rate(edits_N, lengths_N), abs=0.2 * half)
    assert high - low == pytest.approx(2 * half, rel=0.2)


def test_interval_of_a_rate_draws_whole_writers() -> None:
    writers_N = np.repeat(np.arange(50), 20)
    wrong_N = 10 * (writers_N % 2)
    alone = np.diff(bootstrap_interval(wrong_N, lengths_N=np.full(1000, 10)))
    by_writer = np.diff(bootstrap_interval(wrong_N, writers_N, lengths_N=np.full(1000, 10)))
    assert by_writer == pytest.approx(np.sqrt(20) * alone, rel=0.2)
