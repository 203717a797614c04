"""Connectionist temporal classification: the loss of a label whose place in the line is not known.

Source: Graves et al. 2006.
"""

# B batch, T frames, K classes, L label length, S = 2L + 1 states: the label's characters with blanks around them

from __future__ import annotations

import numpy as np

from impl_numpy.device import Array, namespace

BLANK = 0
# log of no probability: -inf less -inf would be not a number
LOG_ZERO = -1e30


def ctc(logits_BTK: Array, lengths_B: Array, labels_BL: Array, label_lengths_B: Array) -> tuple[Array, tuple]:
    """Σ -log p(label | frames) ÷ Σ characters of the labels, nats.

    Args:
        logits_BTK: scores of each frame.
        lengths_B: frames that are each line's own.
        labels_BL: classes, from 1, 0 past the end.
        label_lengths_B: characters; with the repeated ones counted twice, no more than a line has frames.
    """
    xp = namespace(logits_BTK)
    batch, length, _ = logits_BTK.shape
    shifted = logits_BTK - logits_BTK.max(axis=2, keepdims=True)
    log_probs_BTK = shifted - xp.log(xp.exp(shifted).sum(axis=2, keepdims=True))
    states_BS = xp.full((batch, 2 * labels_BL.shape[1] + 1), BLANK, labels_BL.dtype)
    states_BS[:, 1::2] = labels_BL
    last_state_B = 2 * label_lengths_B

    # what each state emits at each frame, from the first state on, and turned around from the last state back;
    # float64, because a float32 near -300 is good to 3e-5
    lines_B1 = xp.arange(batch)[:, None]
    emitted_BTS = xp.take_along_axis(log_probs_BTK, states_BS[:, None], axis=2).astype(np.float64)
    turned_BT = _turned(lengths_B - 1, length)
    turned_BS = _turned(last_state_B, states_BS.shape[1])
    turned_emitted_BTS = emitted_BTS[lines_B1[..., None], turned_BT[..., None], turned_BS[:, None]]
    forward_BTS, backward_BTS = xp.split(
        _log_prefix_probabilities(
            xp.concatenate([emitted_BTS, turned_emitted_BTS]),
            xp.concatenate([states_BS, states_BS[lines_B1, turned_BS]]),
        ),
        2,
    )
    # a text ends in its last character or in the blank after it
    ends_BS = forward_BTS[lines_B1[:, 0], lengths_B - 1]
    state_S = xp.arange(states_BS.shape[1])
    may_end_BS = (state_S <= last_state_B[:, None]) & (state_S >= last_state_B[:, None] - 1)
    log_p_B = _log_sum(xp.where(may_end_BS, ends_BS, LOG_ZERO), axis=1)
    characters = max(int(label_lengths_B.sum()), 1)

    # the share of the label's alignments that are in a state at a frame
    backward_BTS = backward_BTS[lines_B1[..., None], turned_BT[..., None], turned_BS[:, None]]
    own_BTS = (xp.arange(length)[:, None] < lengths_B[:, None, None]) & (state_S <= last_state_B[:, None, None])
    log_share_BTS = forward_BTS + backward_BTS - emitted_BTS - log_p_B[:, None, None]
    share_BTS = xp.exp(xp.where(own_BTS, log_share_BTS, LOG_ZERO)).astype(logits_BTK.dtype)
    return -log_p_B.sum() / characters, (log_probs_BTK, share_BTS, states_BS, lengths_B, characters)


def ctc_backward(cache: tuple) -> Array:
    """dlogits: the softmax less the share of the alignments that emit a class there; 0 past a line's own frames."""
    log_probs_BTK, share_BTS, states_BS, lengths_B, characters = cache
    xp = namespace(share_BTS)
    one_hot_BSK = (states_BS[..., None] == xp.arange(log_probs_BTK.shape[2])).astype(share_BTS.dtype)
    dlogits = xp.exp(log_probs_BTK) - share_BTS @ one_hot_BSK
    dlogits *= xp.arange(dlogits.shape[1])[:, None] < lengths_B[:, None, None]
    dlogits /= characters
    return dlogits


def _log_prefix_probabilities(emitted_BTS: Array, states_BS: Array) -> Array:
    """Log-probability of all ways to be in a state at a frame, that frame included, from the first two states on."""
    xp = namespace(emitted_BTS)
    # from one character straight to the next, unless they are the same: then a blank must stand between them
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


def _turned(last_B: Array, size: int) -> Array:
    """Index (B, size) that turns 0 ... last around and leaves what comes after."""
    xp = namespace(last_B)
    at = xp.arange(size)
    return xp.where(at <= last_B[:, None], last_B[:, None] - at, at)
