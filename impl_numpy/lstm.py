"""A bidirectional LSTM layer, and its derivative through time."""

# B batch, T frames, C numbers in a frame, H units, G = 4H gates in the order i, f, g, o, 2 directions

from __future__ import annotations

from impl_numpy.device import Array, namespace


def bidirectional_lstm(
    x_BTC: Array, lengths_B: Array, kernel_2CG: Array, recurrent_kernel_2HG: Array, bias_2G: Array
) -> tuple[Array, tuple]:
    """Forward and backward outputs side by side (B, T, 2H), zero past each line's own frames.

    c = f·c + i·g and h = o·tanh(c), from a state of zeros. The backward direction runs over each line turned around
    within its own length. Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """
    xp = namespace(x_BTC)
    batch, length, _ = x_BTC.shape
    units = recurrent_kernel_2HG.shape[1]
    turn = _turn(lengths_B, length)
    x_TBC = x_BTC.swapaxes(0, 1)
    x_2TBC = xp.stack([x_TBC, x_TBC[turn]])
    # the gates' share of the frames needs no state, so it is one product for all of them
    gates_2TBG = (x_2TBC.reshape(2, length * batch, -1) @ kernel_2CG).reshape(2, length, batch, 4 * units)
    gates_2TBG += bias_2G[:, None, None]
    # frame 0 of both is the start state
    h_2TBH = xp.zeros((2, length + 1, batch, units), x_BTC.dtype)
    c_2TBH = xp.zeros_like(h_2TBH)
    tanh_c_2TBH = xp.empty_like(h_2TBH)
    for t in range(length):
        gates = gates_2TBG[:, t]
        gates += h_2TBH[:, t] @ recurrent_kernel_2HG
        _sigmoid(gates[..., : 2 * units])
        _sigmoid(gates[..., 3 * units :])
        i, f, g, o = (gates[..., k * units : (k + 1) * units] for k in range(4))
        xp.tanh(g, out=g)
        c = xp.multiply(f, c_2TBH[:, t], out=c_2TBH[:, t + 1])
        c += i * g
        xp.tanh(c, out=tanh_c_2TBH[:, t + 1])
        xp.multiply(o, tanh_c_2TBH[:, t + 1], out=h_2TBH[:, t + 1])
    forward_TBH, backward_TBH = h_2TBH[:, 1:]
    y_TBH = xp.concatenate([forward_TBH, backward_TBH[turn]], axis=2)
    keep_TB1 = (xp.arange(length)[:, None] < lengths_B)[..., None]
    y_BTH = xp.ascontiguousarray((y_TBH * keep_TB1).swapaxes(0, 1))
    cache = (x_2TBC, gates_2TBG, h_2TBH, c_2TBH, tanh_c_2TBH, kernel_2CG, recurrent_kernel_2HG, turn, keep_TB1)
    return y_BTH, cache


def bidirectional_lstm_backward(dy_BTH: Array, cache: tuple) -> tuple[Array, Array, Array, Array]:
    """dx, dkernel, drecurrent_kernel, dbias."""
    x_2TBC, gates_2TBG, h_2TBH, c_2TBH, tanh_c_2TBH, kernel_2CG, recurrent_kernel_2HG, turn, keep_TB1 = cache
    xp = namespace(dy_BTH)
    _, length, batch, channels = x_2TBC.shape
    units = recurrent_kernel_2HG.shape[1]
    dy_TBH = dy_BTH.swapaxes(0, 1) * keep_TB1
    dh_2TBH = xp.stack([dy_TBH[..., :units], dy_TBH[..., units:][turn]])
    transposed_2GH = xp.ascontiguousarray(recurrent_kernel_2HG.swapaxes(1, 2))
    dgates_2TBG = xp.empty_like(gates_2TBG)
    dc = xp.zeros_like(dh_2TBH[:, 0])
    for t in reversed(range(length)):
        i, f, g, o = (gates_2TBG[:, t, :, k * units : (k + 1) * units] for k in range(4))
        di, df, dg, do = (dgates_2TBG[:, t, :, k * units : (k + 1) * units] for k in range(4))
        dh, tanh_c = dh_2TBH[:, t], tanh_c_2TBH[:, t + 1]
        if t + 1 < length:
            dh += dgates_2TBG[:, t + 1] @ transposed_2GH
        xp.multiply(dh * tanh_c, o * (1 - o), out=do)
        dc += dh * o * (1 - tanh_c * tanh_c)
        xp.multiply(dc * g, i * (1 - i), out=di)
        xp.multiply(dc * c_2TBH[:, t], f * (1 - f), out=df)
        xp.multiply(dc * i, 1 - g * g, out=dg)
        dc *= f
    rows_2NG = dgates_2TBG.reshape(2, length * batch, -1)
    dkernel_2CG = x_2TBC.reshape(2, length * batch, channels).swapaxes(1, 2) @ rows_2NG
    drecurrent_2HG = h_2TBH[:, :length].reshape(2, length * batch, units).swapaxes(1, 2) @ rows_2NG
    forward_TBC, backward_TBC = (rows_2NG @ kernel_2CG.swapaxes(1, 2)).reshape(x_2TBC.shape)
    dx_BTC = (forward_TBC + backward_TBC[turn]).swapaxes(0, 1)
    return dx_BTC, dkernel_2CG, drecurrent_2HG, rows_2NG.sum(axis=1)


def _turn(lengths_B: Array, length: int) -> tuple[Array, Array]:
    """Index (T, B) that turns each line around within its own length and leaves its padding; it undoes itself."""
    xp = namespace(lengths_B)
    t = xp.arange(length)[:, None]
    return xp.where(t < lengths_B, lengths_B - 1 - t, t), xp.arange(len(lengths_B))


def _sigmoid(x: Array) -> None:
    """In place, by tanh, which overflows nowhere."""
    x *= 0.5
    namespace(x).tanh(x, out=x)
    x *= 0.5
    x += 0.5
