"""Multi-head attention, and its derivative."""

# B batch, L queries, M keys, D model width, A attention heads, E = D / A width of a head

from __future__ import annotations

import math

from impl_numpy.device import Array, namespace
from impl_numpy.ops import linear, linear_backward


def multi_head_attention(
    weights: dict[str, Array], name: str, num_heads: int, queries_BLD: Array, memory_BMD: Array, keep: Array
) -> tuple[Array, tuple]:
    """Per head and query, a weighted mean of the memory's values. Source: Vaswani et al. 2017.

    Args:
        weights: the model's, by canonical name. Keys have no bias, because the softmax would cancel it.
        name: prefix of this attention's names, such as `decoder.0.self_attention`.
        num_heads: divides the width evenly.
        queries_BLD: positions that attend.
        memory_BMD: positions that are attended to; in self-attention the same array.
        keep: bool, broadcast to (B, A, L, M); True where a query may attend to a key.
    """
    batch, length, width = queries_BLD.shape
    queries, query_cache = linear(queries_BLD.reshape(-1, width), *projection(weights, name, "query"))
    k_BAME, v_BAME, memory_cache = keys_and_values(weights, name, num_heads, memory_BMD)
    q_BALE = split_heads(queries.reshape(batch, length, width), num_heads)
    mixed_BALE, dot_cache = dot_product_attention(q_BALE, k_BAME, v_BAME, keep)
    y, output_cache = linear(merge_heads(mixed_BALE).reshape(-1, width), *projection(weights, name, "output"))
    return y.reshape(queries_BLD.shape), (query_cache, memory_cache, dot_cache, output_cache)


def multi_head_attention_backward(
    dy_BLD: Array, cache: tuple, name: str, gradients: dict[str, Array]
) -> tuple[Array, Array]:
    """dqueries, dmemory; stores the parameters' gradients in `gradients`."""
    query_cache, memory_cache, dot_cache, output_cache = cache
    batch, length, width = dy_BLD.shape
    num_heads = dot_cache[0].shape[1]
    dmixed, gradients[f"{name}.output.kernel"], gradients[f"{name}.output.bias"] = linear_backward(
        dy_BLD.reshape(-1, width), output_cache
    )
    dmixed_BALE = split_heads(dmixed.reshape(batch, length, width), num_heads)
    dq_BALE, dk_BAME, dv_BAME = dot_product_attention_backward(dmixed_BALE, dot_cache)
    dqueries, gradients[f"{name}.query.kernel"], gradients[f"{name}.query.bias"] = linear_backward(
        merge_heads(dq_BALE).reshape(-1, width), query_cache
    )
    dmemory_BMD = keys_and_values_backward(dk_BAME, dv_BAME, memory_cache, name, gradients)
    return dqueries.reshape(dy_BLD.shape), dmemory_BMD


def keys_and_values(
    weights: dict[str, Array], name: str, num_heads: int, memory_BMD: Array
) -> tuple[Array, Array, tuple]:
    """Keys and values (B, A, M, E) of a memory, and the cache."""
    memory = memory_BMD.reshape(-1, memory_BMD.shape[2])
    kernel = weights[f"{name}.key.kernel"]
    keys = memory @ kernel
    values, value_cache = linear(memory, *projection(weights, name, "value"))
    k_BAME, v_BAME = (split_heads(x.reshape(memory_BMD.shape), num_heads) for x in (keys, values))
    return k_BAME, v_BAME, (kernel, value_cache)


def keys_and_values_backward(
    dk_BAME: Array, dv_BAME: Array, cache: tuple, name: str, gradients: dict[str, Array]
) -> Array:
    """dmemory; stores the parameters' gradients in `gradients`."""
    kernel, value_cache = cache
    dkeys_BMD, dvalues_BMD = merge_heads(dk_BAME), merge_heads(dv_BAME)
    width = len(kernel)
    dmemory, gradients[f"{name}.value.kernel"], gradients[f"{name}.value.bias"] = linear_backward(
        dvalues_BMD.reshape(-1, width), value_cache
    )
    dkeys = dkeys_BMD.reshape(-1, width)
    gradients[f"{name}.key.kernel"] = value_cache[0].T @ dkeys
    dmemory += dkeys @ kernel.T
    return dmemory.reshape(dkeys_BMD.shape)


def dot_product_attention(q_BALE: Array, k_BAME: Array, v_BAME: Array, keep: Array) -> tuple[Array, tuple]:
    """softmax(q · k / √E) · v over the kept keys; each query needs at least one."""
    xp = namespace(q_BALE)
    scale = 1 / math.sqrt(q_BALE.shape[3])
    scores_BALM = q_BALE @ k_BAME.swapaxes(2, 3)
    scores_BALM *= scale
    scores_BALM = xp.where(keep, scores_BALM, -xp.inf)
    scores_BALM -= scores_BALM.max(axis=3, keepdims=True)
    shares_BALM = xp.exp(scores_BALM, out=scores_BALM)
    shares_BALM /= shares_BALM.sum(axis=3, keepdims=True)
    return shares_BALM @ v_BAME, (q_BALE, k_BAME, v_BAME, shares_BALM, scale)


def dot_product_attention_backward(dy_BALE: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """dq, dk, dv."""
    q_BALE, k_BAME, v_BAME, shares_BALM, scale = cache
    dscores_BALM = dy_BALE @ v_BAME.swapaxes(2, 3)
    dscores_BALM -= (dscores_BALM * shares_BALM).sum(axis=3, keepdims=True)
    dscores_BALM *= shares_BALM
    dscores_BALM *= scale
    dv_BAME = shares_BALM.swapaxes(2, 3) @ dy_BALE
    return dscores_BALM @ k_BAME, dscores_BALM.swapaxes(2, 3) @ q_BALE, dv_BAME


def projection(weights: dict[str, Array], name: str, part: str) -> tuple[Array, Array]:
    """Kernel and bias of an attention's query, value or output."""
    return weights[f"{name}.{part}.kernel"], weights[f"{name}.{part}.bias"]


def split_heads(x_BLD: Array, num_heads: int) -> Array:
    """(B, L, D) to (B, A, L, E)."""
    batch, length, width = x_BLD.shape
    return x_BLD.reshape(batch, length, num_heads, width // num_heads).swapaxes(1, 2)


def merge_heads(x_BALE: Array) -> Array:
    """(B, A, L, E) to (B, L, D)."""
    batch, heads, length, width = x_BALE.shape
    return x_BALE.swapaxes(1, 2).reshape(batch, length, heads * width)
