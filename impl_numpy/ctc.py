"""Connectionist temporal classification (CTC): the loss of a label when its alignment with the frames is unknown.

Source: Graves et al. 2006.
"""

# B batch, T frames, K classes, L label length (characters)
# S = 2L + 1 states: the characters of the label, with a blank between any two and at both ends

from __future__ import annotations

import numpy as np

from impl_numpy.device import Array, namespace
from impl_numpy.ops import keep_first, reversal

BLANK = 0
# log of probability 0: -inf would not do, since -inf - -inf is not a number
LOG_ZERO = -1e30


def ctc(logits_BTK: Array, lengths_B: Array, labels_BL: Array, label_lengths_B: Array) -> tuple[Array, tuple]:
    """Σ -log p(label | frames) ÷ Σ characters of the labels, nats.

    Args:
        logits_BTK: scores of each frame.
        lengths_B: each line's own frames.
        labels_BL: classes from 1; 0 past the end of a label.
        label_lengths_B: characters. A label needs one frame per character, and one more per repeated character; a line
            must have at least as many.
    """
    xp = namespace(logits_BTK)
    batch, length, _ = logits_BTK.shape
    shifted = logits_BTK - logits_BTK.max(axis=2, keepdims=True)
    log_probs_BTK = shifted - xp.log(xp.exp(shifted).sum(axis=2, keepdims=True))
    states_BS = xp.full((batch, 2 * labels_BL.shape[1] + 1), BLANK, labels_BL.dtype)
    states_BS[:, 1::2] = labels_BL
    last_state_B = 2 * label_lengths_B

    # log-probability of each state's class at each frame, in order and reversed in time and states;
    # in float64, because the spacing of float32 near -300 is 3e-5
    lines_B1 = xp.arange(batch)[:, None]
    emitted_BTS = xp.take_along_axis(log_probs_BTK, states_BS[:, None], axis=2).astype(np.float64)
    reverse_BT = reversal(lengths_B, length)
    reverse_BS = reversal(last_state_B + 1, states_BS.shape[1])
    reverse = lines_B1[..., None], reverse_BT[..., None], reverse_BS[:, None]
    forward_BTS, backward_BTS = xp.split(
        _log_prefix_probabilities(
            xp.concatenate([emitted_BTS, emitted_BTS[reverse]]),
            xp.concatenate([states_BS, states_BS[lines_B1, reverse_BS]]),
        ),
        2,
    )
    # an alignment ends in the last character or in the blank after it
    ends_BS = forward_BTS[lines_B1[:, 0], lengths_B - 1]
    state_S = xp.arange(states_BS.shape[1])
    may_end_BS = (state_S <= last_state_B[:, None]) & (state_S >= last_state_B[:, None] - 1)
    log_p_B = _log_sum(xp.where(may_end_BS, ends_BS, LOG_ZERO), axis=1)
    characters = max(int(label_lengths_B.sum()), 1)

    # probability of each state at each frame, given the label
    keep_BTS = keep_first(lengths_B, length)[..., None] & (state_S <= last_state_B[:, None, None])
    log_share_BTS = forward_BTS + backward_BTS[reverse] - emitted_BTS - log_p_B[:, None, None]
    share_BTS = xp.exp(xp.where(keep_BTS, log_share_BTS, LOG_ZERO)).astype(logits_BTK.dtype)
    return -log_p_B.sum() / characters, (log_probs_BTK, share_BTS, states_BS, lengths_B, characters)


def ctc_backward(cache: tuple) -> Array:
    """dlogits: the softmax minus the probability of each class given the label; 0 past a line's own frames."""
    log_probs_BTK, share_BTS, states_BS, lengths_B, characters = cache
    xp = namespace(share_BTS)
    one_hot_BSK = (states_BS[..., None] == xp.arange(log_probs_BTK.shape[2])).astype(share_BTS.dtype)
    dlogits = xp.exp(log_probs_BTK) - share_BTS @ one_hot_BSK
    dlogits *= keep_first(lengths_B, dlogits.shape[1])[..., None]
    dlogits /= characters
    return dlogits


def _log_prefix_probabilities(emitted_BTS: Array, states_BS: Array) -> Array:
    """Log of the summed probability of all alignments up to each frame that are in each state there.

    An alignment starts in one of the first two states.
    """
    xp = namespace(emitted_BTS)
    # from one character directly to the next; equal characters need the blank between them
    may_skip_BS = xp.zeros(states_BS.shape, bool)
    may_skip_BS[:, 2:] = (states_BS[:, 2:] != BLANK) & (states_BS[:, 2:] != states_BS[:, :-2])
    skip_BS = xp.where(may_skip_BS, 0, LOG_ZERO)
    log_p_BTS = xp.empty_like(emitted_BTS)
    log_p_BTS[:, 0] = LOG_ZERO
    log_p_BTS[:, 0, :2] = emitted_BTS[:, 0, :2]
    ways_3BS = xp.full((3, *states_BS.shape), LOG_ZERO, emitted_BTS.dtype)
    for t in range(1, emitted_BTS.shape[1]):
        before_BS = log_p_BTS[:, t - 1]
        ways_3BS[0] = before_BS
        ways_3BS[1, :, 1:] = before_BS[:, :-1]
        xp.add(before_BS[:, :-2], skip_BS[:, 2:], out=ways_3BS[2, :, 2:])
        xp.add(_log_sum(ways_3BS, axis=0), emitted_BTS[:, t], out=log_p_BTS[:, t])
    return log_p_BTS


def _log_sum(log_p: Array, axis: int) -> Array:
    xp = namespace(log_p)
    largest = log_p.max(axis=axis, keepdims=True)
    return xp.log(xp.exp(log_p - largest).sum(axis=axis)) + largest.squeeze(axis)
