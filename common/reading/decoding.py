"""Decoding: from CTC's scores per frame, or a decoder's scores per character, to text with confidences.

Every function works in log space and on the whole batch at once; the loops run over frames. Class 0 is CTC's blank, and
the end of a decoder's text.
"""

# B batch, T frames, K classes, L label length, S = 2L + 1 states (a label with blanks around), P prefixes of the beam

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
    """Log of the probability of each label, summed over its alignments; -inf if the line has too few frames for it.

    Args:
        log_probs_BTK: log of the probability of each class in each frame, float64.
        frames_B: each line's own frames.
        labels_BL: classes from 1, 0 past the end.
        label_lengths_B: characters.

    Source: Graves et al. 2006, section 4.1.
    """
    states_BS, skip_BS = _states(labels_BL)
    # before the first frame there is a blank that costs nothing
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
    """Best path decoding: the most probable class of every frame, with runs merged and blanks left out.

    Returns:
        For each line, the classes of its characters, and for each character the highest probability within its run.
    """
    keep_BT = np.arange(log_probs_BTK.shape[1]) < frames_B[:, None]
    best_BT = np.where(keep_BT, log_probs_BTK.argmax(axis=2), 0)
    starts_BT = np.ones(best_BT.shape, bool)  # a run ends with its line
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
    """Prefix beam search: the most probable text, summing over all alignments of each prefix.

    Args:
        log_probs_BTK: log of the probability of each class in each frame, float64.
        frames_B: each line's own frames.
        width: prefixes kept after each frame (the beam width).
        ngram: character language model; without it, `ngram_weight` and `length_bonus` have no effect.
        ngram_weight: factor of the language model's log probability.
        length_bonus: added to the score per character, because the language model favours short texts.

    Sources: Graves 2012, section 7.5.3; Hannun et al. 2014.
    """
    batch, frames, classes = log_probs_BTK.shape
    shape = (batch, width)
    blank_BP, letter_BP = np.full(shape, -np.inf), np.full(shape, -np.inf)  # log p, ending in a blank or a character
    blank_BP[:, 0] = 0
    prior_BP, lengths_BP, last_BP = np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    text_BPT = np.zeros((*shape, frames), np.int32)
    # a prefix is identified by a hash of its characters; two different prefixes share one by chance once in 2^64
    hash_BP, parent_BP = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
    state_BP = np.full(shape, ngram.start if ngram else 0)
    rows = np.arange(batch)[:, None]
    with np.errstate(over="ignore"):  # hashes are modulo 2^64
        for t in range(int(frames_B.max(initial=0))):
            log_prob_BK = log_probs_BTK[:, t]
            total_BP = np.logaddexp(blank_BP, letter_BP)
            stay_blank_BP = total_BP + log_prob_BK[:, :1]
            stay_letter_BP = letter_BP + np.where(lengths_BP > 0, np.take_along_axis(log_prob_BK, last_BP, 1), -np.inf)
            # the same character twice needs a blank between
            grown_BPK = np.repeat(total_BP[:, :, None], classes, axis=2)
            np.put_along_axis(grown_BPK, last_BP[:, :, None], blank_BP[:, :, None], axis=2)
            grown_BPK += log_prob_BK[:, None]
            grown_BPK[:, :, 0] = -np.inf
            # an extended prefix that equals another prefix of the beam is merged with it
            is_child_BPP = (hash_BP[:, :, None] == parent_BP[:, None, :]) & (lengths_BP[:, None, :] > 0)
            is_child_BPP &= np.isfinite(total_BP)[:, :, None] & np.isfinite(total_BP)[:, None, :]
            line, source, child = np.nonzero(is_child_BPP)
            character = last_BP[line, child]
            stay_letter_BP[line, child] = np.logaddexp(stay_letter_BP[line, child], grown_BPK[line, source, character])
            grown_BPK[line, source, character] = -np.inf

            stay_prior_BP = prior_BP
            grown_prior_BPK = np.repeat(prior_BP[:, :, None], classes, axis=2)
            if ngram:
                grown_prior_BPK += ngram_weight * ngram.log_probs_SK[state_BP] + length_bonus
            score = np.concatenate(
                [
                    np.logaddexp(stay_blank_BP, stay_letter_BP) + stay_prior_BP,
                    (grown_BPK + grown_prior_BPK).reshape(batch, -1),
                ],
                axis=1,
            )
            chosen_BP = np.argpartition(-score, width - 1, axis=1)[:, :width]
            grows_BP = chosen_BP >= width
            from_BP = np.where(grows_BP, (chosen_BP - width) // classes, chosen_BP)
            class_BP = np.where(grows_BP, (chosen_BP - width) % classes, 0)

            alive_B1 = (t < frames_B)[:, None]  # a line that has ended keeps its beam
            from_BP = np.where(alive_B1, from_BP, np.arange(width))
            grows_BP, class_BP = grows_BP & alive_B1, np.where(alive_B1, class_BP, 0)
            blank_BP = np.where(alive_B1, np.where(grows_BP, -np.inf, stay_blank_BP[rows, from_BP]), blank_BP)
            letter_BP = np.where(
                alive_B1,
                np.where(grows_BP, grown_BPK[rows, from_BP, class_BP], stay_letter_BP[rows, from_BP]),
                letter_BP,
            )
            prior_BP = np.where(grows_BP, grown_prior_BPK[rows, from_BP, class_BP], prior_BP[rows, from_BP])
            text_BPT, lengths_BP = text_BPT[rows, from_BP], lengths_BP[rows, from_BP]
            at = np.nonzero(grows_BP)
            text_BPT[(*at, lengths_BP[at])] = class_BP[at]
            lengths_BP = lengths_BP + grows_BP
            last_BP = np.where(grows_BP, class_BP, last_BP[rows, from_BP])
            parent_BP = np.where(grows_BP, hash_BP[rows, from_BP], parent_BP[rows, from_BP])
            grown_hash_BP = (parent_BP + class_BP.astype(np.uint64)) * _HASH
            hash_BP = np.where(grows_BP, grown_hash_BP ^ (grown_hash_BP >> np.uint64(29)), hash_BP[rows, from_BP])
            state_BP = state_BP[rows, from_BP]
            if ngram:
                state_BP = np.where(grows_BP, ngram.next_SK[state_BP, class_BP], state_BP)
    total_BP = np.logaddexp(blank_BP, letter_BP) + prior_BP
    if ngram:
        total_BP += ngram_weight * ngram.log_probs_SK[state_BP, 0]  # the end of the text
    best_B = total_BP.argmax(axis=1)
    return [text_BPT[i, w, : lengths_BP[i, w]] for i, w in enumerate(best_B)]


def ctc_character_confidence(
    log_probs_BTK: Float[np.ndarray, "B T K"], frames_B: Int[np.ndarray, "B"], classes: Sequence[np.ndarray]
) -> Confidences:
    """Highest probability of each character within its run, on the most probable alignment of the text (Viterbi)."""
    lengths_B = np.array([len(line) for line in classes])
    states_BS, skip_BS = _states(pad_labels(classes, int(lengths_B.max(initial=0))))
    batch, frames = log_probs_BTK.shape[:2]
    score_BS = np.full(states_BS.shape, -np.inf)
    score_BS[:, 0] = 0
    steps_TBS = np.zeros(
        (frames, *states_BS.shape), np.int8
    )  # states that the best alignment advanced by in each frame
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
    """The result of `Decoder.decode`, cut off at the end of each text.

    Returns:
        For each line, the classes of its characters, the probability of each character, and the probability of the
        text: the product over the characters and the end of the text.
    """
    lengths_B = np.where((classes_BT == 0).any(axis=1), (classes_BT == 0).argmax(axis=1), classes_BT.shape[1])
    probabilities_BT = np.exp(log_probs_BT.astype(np.float64))
    return (
        [row[:n] for row, n in zip(classes_BT, lengths_B, strict=True)],
        [row[:n] for row, n in zip(probabilities_BT, lengths_B, strict=True)],
        probabilities_BT.prod(axis=1),  # past the end the log probabilities are 0
    )


def _states(labels_BL: Int[np.ndarray, "B L"]) -> tuple[Int[np.ndarray, "B S"], np.ndarray]:
    """Each label with blanks around its characters, and the states that may be entered without the blank before."""
    states_BS = np.zeros((len(labels_BL), 2 * labels_BL.shape[1] + 1), np.int64)
    states_BS[:, 1::2] = labels_BL
    skip_BS = np.zeros(states_BS.shape, bool)
    skip_BS[:, 3::2] = labels_BL[:, 1:] != labels_BL[:, :-1]  # a letter twice needs the blank
    return states_BS, skip_BS


def _shifted(alpha_BS: Float[np.ndarray, "B S"], by: int) -> Float[np.ndarray, "B S"]:
    """Each state's value moved up by `by` states."""
    shifted_BS = np.full(alpha_BS.shape, -np.inf)
    shifted_BS[:, by:] = alpha_BS[:, : alpha_BS.shape[1] - by]
    return shifted_BS


def _last_two(alpha_BS: Float[np.ndarray, "B S"], lengths_B: Int[np.ndarray, "B"]) -> Float[np.ndarray, "B 2"]:
    """The states in which an alignment may end: the blank after the label, and its last character."""
    rows = np.arange(len(alpha_BS))
    character_B = np.where(lengths_B > 0, alpha_BS[rows, np.maximum(2 * lengths_B - 1, 0)], -np.inf)
    return np.stack([alpha_BS[rows, 2 * lengths_B], character_B], axis=1)
