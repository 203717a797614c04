"""A bidirectional LSTM layer, and its derivative through time."""

# B batch, T frames, C channels of a frame, U hidden units of a direction, 2 directions
# Q = 4U values of the gates, in the order i, f, g, o; R rows: T times B, or B and more

from __future__ import annotations

from impl_numpy.device import Array, namespace
from impl_numpy.ops import keep_first, reversal


def bidirectional_lstm(
    x_BTC: Array, lengths_B: Array, kernel_2CQ: Array, recurrent_kernel_2UQ: Array, bias_2Q: Array, *, rows: int = 1
) -> tuple[Array, tuple]:
    """Outputs of both directions, concatenated: (B, T, 2U), zero past each line's own frames.

    c = f·c + i·g and h = o·tanh(c), from a state of zeros. The backward direction reads each line reversed within its
    own length. Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    A batch with fewer lines than `rows` is filled up with zeros in the products of the states.
    """
    xp = namespace(x_BTC)
    batch, length, _ = x_BTC.shape
    units = recurrent_kernel_2UQ.shape[1]
    reverse_TB = reversal(lengths_B, length).T, xp.arange(batch)
    x_TBC = x_BTC.swapaxes(0, 1)
    x_2TBC = xp.stack([x_TBC, x_TBC[reverse_TB]])
    # the input's part of the gates does not depend on the state, so it is one product for all frames
    gates_2TBQ = (x_2TBC.reshape(2, length * batch, -1) @ kernel_2CQ).reshape(2, length, batch, 4 * units)
    gates_2TBQ += bias_2Q[:, None, None]
    # index 0 of both is the start state
    filled_2TRU = xp.zeros((2, length + 1, max(batch, rows), units), x_BTC.dtype)
    h_2TBU = filled_2TRU[:, :, :batch]
    c_2TBU = xp.zeros_like(h_2TBU)
    tanh_c_2TBU = xp.zeros_like(h_2TBU)
    for t in range(length):
        gates = gates_2TBQ[:, t]
        gates += (filled_2TRU[:, t] @ recurrent_kernel_2UQ)[:, :batch]
        _sigmoid(gates[..., : 2 * units])
        _sigmoid(gates[..., 3 * units :])
        i, f, g, o = (gates[..., k * units : (k + 1) * units] for k in range(4))
        xp.tanh(g, out=g)
        c = xp.multiply(f, c_2TBU[:, t], out=c_2TBU[:, t + 1])
        c += i * g
        xp.tanh(c, out=tanh_c_2TBU[:, t + 1])
        xp.multiply(o, tanh_c_2TBU[:, t + 1], out=h_2TBU[:, t + 1])
    forward_TBU, backward_TBU = h_2TBU[:, 1:]
    y_TBU = xp.concatenate([forward_TBU, backward_TBU[reverse_TB]], axis=2)
    keep_TB1 = keep_first(lengths_B, length).T[..., None]
    y_BTU = xp.ascontiguousarray((y_TBU * keep_TB1).swapaxes(0, 1))
    cache = (x_2TBC, gates_2TBQ, h_2TBU, c_2TBU, tanh_c_2TBU, kernel_2CQ, recurrent_kernel_2UQ, reverse_TB, keep_TB1)
    return y_BTU, cache


def bidirectional_lstm_backward(dy_BTU: Array, cache: tuple) -> tuple[Array, Array, Array, Array]:
    """dx, dkernel, drecurrent_kernel, dbias."""
    x_2TBC, gates_2TBQ, h_2TBU, c_2TBU, tanh_c_2TBU, kernel_2CQ, recurrent_kernel_2UQ, reverse_TB, keep_TB1 = cache
    xp = namespace(dy_BTU)
    _, length, batch, channels = x_2TBC.shape
    units = recurrent_kernel_2UQ.shape[1]
    dy_TBU = dy_BTU.swapaxes(0, 1) * keep_TB1
    dh_2TBU = xp.stack([dy_TBU[..., :units], dy_TBU[..., units:][reverse_TB]])
    transposed_2QU = xp.ascontiguousarray(recurrent_kernel_2UQ.swapaxes(1, 2))
    dgates_2TBQ = xp.empty_like(gates_2TBQ)
    dc = xp.zeros_like(dh_2TBU[:, 0])
    for t in reversed(range(length)):
        i, f, g, o = (gates_2TBQ[:, t, :, k * units : (k + 1) * units] for k in range(4))
        di, df, dg, do = (dgates_2TBQ[:, t, :, k * units : (k + 1) * units] for k in range(4))
        dh, tanh_c = dh_2TBU[:, t], tanh_c_2TBU[:, t + 1]
        if t + 1 < length:
            dh += dgates_2TBQ[:, t + 1] @ transposed_2QU
        xp.multiply(dh * tanh_c, o * (1 - o), out=do)
        dc += dh * o * (1 - tanh_c * tanh_c)
        xp.multiply(dc * g, i * (1 - i), out=di)
        xp.multiply(dc * c_2TBU[:, t], f * (1 - f), out=df)
        xp.multiply(dc * i, 1 - g * g, out=dg)
        dc *= f
    rows_2RQ = dgates_2TBQ.reshape(2, length * batch, -1)
    dkernel_2CQ = x_2TBC.reshape(2, length * batch, channels).swapaxes(1, 2) @ rows_2RQ
    drecurrent_2UQ = h_2TBU[:, :length].reshape(2, length * batch, units).swapaxes(1, 2) @ rows_2RQ
    forward_TBC, backward_TBC = (rows_2RQ @ kernel_2CQ.swapaxes(1, 2)).reshape(x_2TBC.shape)
    dx_BTC = (forward_TBC + backward_TBC[reverse_TB]).swapaxes(0, 1)
    return dx_BTC, dkernel_2CQ, drecurrent_2UQ, rows_2RQ.sum(axis=1)


def _sigmoid(x: Array) -> None:
    """In place, by tanh, which does not overflow for any x."""
    x *= 0.5
    namespace(x).tanh(x, out=x)
    x *= 0.5
    x += 0.5
