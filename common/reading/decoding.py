"""From CTC's scores per frame, or a decoder's per character, to text with a confidence.

All is in log space and over the whole batch at once; the loops are over frames. Class 0 is CTC's blank, and the end of
a decoder's text.
"""

# B batch, T frames, K classes, L label length, S = 2L + 1 states (a label with blanks around), W beam width

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from common.data.lines import pad_labels
from common.reading.ngram import CharacterNgram

Classes = list[Int[np.ndarray, "_"]]
Confidences = list[Float[np.ndarray, "_"]]

BEAM_WIDTH = 16
NGRAM_WEIGHT, LENGTH_BONUS = 0.4, 1.0  # chosen by validation on real pages, see docs/log.md
_HASH = np.uint64(0x9E3779B97F4A7C15)


def ctc_log_likelihood(
    log_probs_BTK: Float[np.ndarray, "B T K"],
    frames_B: Int[np.ndarray, "B"],
    labels_BL: Int[np.ndarray, "B L"],
    label_lengths_B: Int[np.ndarray, "B"],
) -> Float[np.ndarray, "B"]:
    """Log of the probability of each label, summed over its alignments; -inf where the frames are too few for it.

    Args:
        log_probs_BTK: log of the probability of each class in each frame, float64.
        frames_B: the line's own frames.
        labels_BL: classes from 1, 0 past the end.
        label_lengths_B: characters.

    Source: Graves et al. 2006, section 4.1.
    """
    states_BS, skip_BS = _states(labels_BL)
    # before the first frame stands a blank that costs nothing
    alpha_BS = np.full(states_BS.shape, -np.inf)
    alpha_BS[:, 0] = 0
    for t in range(int(frames_B.max(initial=0))):
        arrived_BS = np.logaddexp(alpha_BS, _shifted(alpha_BS, 1))
        arrived_BS = np.logaddexp(arrived_BS, np.where(skip_BS, _shifted(alpha_BS, 2), -np.inf))
        arrived_BS += np.take_along_axis(log_probs_BTK[:, t], states_BS, axis=1)
        alpha_BS = np.where((t < frames_B)[:, None], arrived_BS, alpha_BS)
    return np.logaddexp.reduce(_last_two(alpha_BS, label_lengths_B), axis=1)


def ctc_greedy(
    log_probs_BTK: Float[np.ndarray, "B T K"], frames_B: Int[np.ndarray, "B"]
) -> tuple[Classes, Confidences]:
    """The most probable class of every frame, runs merged and blanks left out (best path decoding).

    Returns:
        Per line the classes of its characters, and for each the highest probability within its run.
    """
    keep_BT = np.arange(log_probs_BTK.shape[1]) < frames_B[:, None]
    best_BT = np.where(keep_BT, log_probs_BTK.argmax(axis=2), 0)
    starts_BT = np.ones(best_BT.shape, bool)  # no run goes on from one line to the next
    starts_BT[:, 1:] = best_BT[:, 1:] != best_BT[:, :-1]
    starts = np.flatnonzero(starts_BT)
    peaks = np.exp(np.maximum.reduceat(log_probs_BTK.max(axis=2).ravel(), starts))
    is_character = best_BT.ravel()[starts] > 0
    ends = np.cumsum((starts_BT & (best_BT > 0)).sum(axis=1))[:-1]
    classes = best_BT.ravel()[starts][is_character].astype(np.int32)
    return np.split(classes, ends), np.split(peaks[is_character], ends)


def ctc_beam(
    log_probs_BTK: Float[np.ndarray, "B T K"],
    frames_B: Int[np.ndarray, "B"],
    *,
    width: int = BEAM_WIDTH,
    ngram: CharacterNgram | None = None,
    ngram_weight: float = NGRAM_WEIGHT,
    length_bonus: float = LENGTH_BONUS,
) -> Classes:
    """The most probable text that a search over its beginnings finds, each with all its alignments so far.

    Args:
        log_probs_BTK: log of the probability of each class in each frame, float64.
        frames_B: the line's own frames.
        width: beginnings that are kept after each frame.
        ngram: prior of the text; without it the two below count nothing.
        ngram_weight: of the prior's log probability beside CTC's.
        length_bonus: added per character, as the prior favours short texts.

    Sources: Graves 2012, section 7.5.3; Hannun et al. 2014.
    """
    batch, frames, classes = log_probs_BTK.shape
    shape = (batch, width)
    blank_BW, letter_BW = np.full(shape, -np.inf), np.full(shape, -np.inf)  # log p, ending in a blank or a character
    blank_BW[:, 0] = 0
    prior_BW, lengths_BW, last_BW = np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    text_BWT = np.zeros((*shape, frames), np.int32)
    # a text is known by a hash of its characters; two unequal ones agree by chance once in 2^64
    hash_BW, parent_BW = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
    state_BW = np.full(shape, ngram.start if ngram else 0)
    rows = np.arange(batch)[:, None]
    with np.errstate(over="ignore"):  # hashes are modulo 2^64
        for t in range(int(frames_B.max(initial=0))):
            log_prob_BK = log_probs_BTK[:, t]
            total_BW = np.logaddexp(blank_BW, letter_BW)
            stay_blank_BW = total_BW + log_prob_BK[:, :1]
            stay_letter_BW = letter_BW + np.where(lengths_BW > 0, np.take_along_axis(log_prob_BK, last_BW, 1), -np.inf)
            # a character after itself needs a blank between
            grown_BWK = np.repeat(total_BW[:, :, None], classes, axis=2)
            np.put_along_axis(grown_BWK, last_BW[:, :, None], blank_BW[:, :, None], axis=2)
            grown_BWK += log_prob_BK[:, None]
            grown_BWK[:, :, 0] = -np.inf
            # where a text that grows becomes another one of the beam, the two are one
            is_child_BWW = (hash_BW[:, :, None] == parent_BW[:, None, :]) & (lengths_BW[:, None, :] > 0)
            is_child_BWW &= np.isfinite(total_BW)[:, :, None] & np.isfinite(total_BW)[:, None, :]
            line, source, child = np.nonzero(is_child_BWW)
            character = last_BW[line, child]
            stay_letter_BW[line, child] = np.logaddexp(stay_letter_BW[line, child], grown_BWK[line, source, character])
            grown_BWK[line, source, character] = -np.inf

            stay_prior_BW = prior_BW
            grown_prior_BWK = np.repeat(prior_BW[:, :, None], classes, axis=2)
            if ngram:
                grown_prior_BWK += ngram_weight * ngram.log_probs_SK[state_BW] + length_bonus
            score = np.concatenate(
                [
                    np.logaddexp(stay_blank_BW, stay_letter_BW) + stay_prior_BW,
                    (grown_BWK + grown_prior_BWK).reshape(batch, -1),
                ],
                axis=1,
            )
            chosen_BW = np.argpartition(-score, width - 1, axis=1)[:, :width]
            grows_BW = chosen_BW >= width
            from_BW = np.where(grows_BW, (chosen_BW - width) // classes, chosen_BW)
            class_BW = np.where(grows_BW, (chosen_BW - width) % classes, 0)

            alive_B1 = (t < frames_B)[:, None]  # a line that has ended keeps its beam
            from_BW = np.where(alive_B1, from_BW, np.arange(width))
            grows_BW, class_BW = grows_BW & alive_B1, np.where(alive_B1, class_BW, 0)
            blank_BW = np.where(alive_B1, np.where(grows_BW, -np.inf, stay_blank_BW[rows, from_BW]), blank_BW)
            letter_BW = np.where(
                alive_B1,
                np.where(grows_BW, grown_BWK[rows, from_BW, class_BW], stay_letter_BW[rows, from_BW]),
                letter_BW,
            )
            prior_BW = np.where(grows_BW, grown_prior_BWK[rows, from_BW, class_BW], prior_BW[rows, from_BW])
            text_BWT, lengths_BW = text_BWT[rows, from_BW], lengths_BW[rows, from_BW]
            at = np.nonzero(grows_BW)
            text_BWT[(*at, lengths_BW[at])] = class_BW[at]
            lengths_BW = lengths_BW + grows_BW
            last_BW = np.where(grows_BW, class_BW, last_BW[rows, from_BW])
            parent_BW = np.where(grows_BW, hash_BW[rows, from_BW], parent_BW[rows, from_BW])
            grown_hash_BW = (parent_BW + class_BW.astype(np.uint64)) * _HASH
            hash_BW = np.where(grows_BW, grown_hash_BW ^ (grown_hash_BW >> np.uint64(29)), hash_BW[rows, from_BW])
            state_BW = state_BW[rows, from_BW]
            if ngram:
                state_BW = np.where(grows_BW, ngram.next_SK[state_BW, class_BW], state_BW)
    total_BW = np.logaddexp(blank_BW, letter_BW) + prior_BW
    if ngram:
        total_BW += ngram_weight * ngram.log_probs_SK[state_BW, 0]  # the end of the text
    best_B = total_BW.argmax(axis=1)
    return [text_BWT[i, w, : lengths_BW[i, w]] for i, w in enumerate(best_B)]


def ctc_character_confidence(
    log_probs_BTK: Float[np.ndarray, "B T K"], frames_B: Int[np.ndarray, "B"], classes: Sequence[np.ndarray]
) -> Confidences:
    """Highest probability of each character within its run, on the text's most probable alignment (Viterbi)."""
    lengths_B = np.array([len(line) for line in classes])
    states_BS, skip_BS = _states(pad_labels(classes, int(lengths_B.max(initial=0))))
    batch, frames = log_probs_BTK.shape[:2]
    score_BS = np.full(states_BS.shape, -np.inf)
    score_BS[:, 0] = 0
    steps_TBS = np.zeros((frames, *states_BS.shape), np.int8)  # states that the best way came up by in each frame
    for t in range(frames):
        ways = np.stack([score_BS, _shifted(score_BS, 1), np.where(skip_BS, _shifted(score_BS, 2), -np.inf)])
        alive_B1 = (t < frames_B)[:, None]
        steps_TBS[t] = np.where(alive_B1, ways.argmax(axis=0), 0)
        arrived_BS = ways.max(axis=0) + np.take_along_axis(log_probs_BTK[:, t], states_BS, axis=1)
        score_BS = np.where(alive_B1, arrived_BS, score_BS)
    rows = np.arange(batch)
    state_B = 2 * lengths_B - _last_two(score_BS, lengths_B).argmax(axis=1)
    peak_BS = np.full(states_BS.shape, -np.inf)
    for t in reversed(range(frames)):
        seen_B = np.where(t < frames_B, log_probs_BTK[rows, t, states_BS[rows, state_B]], -np.inf)
        peak_BS[rows, state_B] = np.maximum(peak_BS[rows, state_B], seen_B)
        state_B = state_B - steps_TBS[t, rows, state_B]
    return [np.exp(peak_S[1 : 2 * n : 2]) for peak_S, n in zip(peak_BS, lengths_B, strict=True)]


def decoded_texts(
    classes_BT: Int[np.ndarray, "B T"], log_probs_BT: Float[np.ndarray, "B T"]
) -> tuple[Classes, Confidences, Float[np.ndarray, "B"]]:
    """What `Decoder.decode` gave, up to the end of each text.

    Returns:
        Per line the classes of its characters, the probability of each, and that of the text: the product of these
        and of its end's.
    """
    lengths_B = np.where((classes_BT == 0).any(axis=1), (classes_BT == 0).argmax(axis=1), classes_BT.shape[1])
    probabilities_BT = np.exp(log_probs_BT.astype(np.float64))
    return (
        [row[:n] for row, n in zip(classes_BT, lengths_B, strict=True)],
        [row[:n] for row, n in zip(probabilities_BT, lengths_B, strict=True)],
        probabilities_BT.prod(axis=1),  # past the end the log probabilities are 0
    )


def _states(labels_BL: Int[np.ndarray, "B L"]) -> tuple[Int[np.ndarray, "B S"], np.ndarray]:
    """Each label with a blank before, between and after its characters, and where the blank before may be left out."""
    states_BS = np.zeros((len(labels_BL), 2 * labels_BL.shape[1] + 1), np.int64)
    states_BS[:, 1::2] = labels_BL
    skip_BS = np.zeros(states_BS.shape, bool)
    skip_BS[:, 3::2] = labels_BL[:, 1:] != labels_BL[:, :-1]  # a letter twice needs the blank
    return states_BS, skip_BS


def _shifted(alpha_BS: Float[np.ndarray, "B S"], by: int) -> Float[np.ndarray, "B S"]:
    """Each state's value moved up by so many states."""
    shifted_BS = np.full(alpha_BS.shape, -np.inf)
    shifted_BS[:, by:] = alpha_BS[:, : alpha_BS.shape[1] - by]
    return shifted_BS


def _last_two(alpha_BS: Float[np.ndarray, "B S"], lengths_B: Int[np.ndarray, "B"]) -> Float[np.ndarray, "B 2"]:
    """The blank after the label, and its last character: where an alignment may end."""
    rows = np.arange(len(alpha_BS))
    character_B = np.where(lengths_B > 0, alpha_BS[rows, np.maximum(2 * lengths_B - 1, 0)], -np.inf)
    return np.stack([alpha_BS[rows, 2 * lengths_B], character_B], axis=1)
