"""Multi-head attention, and its derivative."""

# B batch, L queries, S keys, D model width, A heads, E = D / A width of a head

from __future__ import annotations

import math

from impl_numpy.device import Array, namespace
from impl_numpy.ops import linear, linear_backward


def multi_head_attention(
    weights: dict[str, Array], name: str, num_heads: int, queries_BLD: Array, memory_BSD: Array, keep: Array
) -> tuple[Array, tuple]:
    """Each position takes a weighted mean of the memory's values, per head.

    Args:
        weights: the model's; a key has no bias, which softmax would not see.
        name: what this attention's are called, up to the part.
        num_heads: they share the width evenly.
        queries_BLD: what asks.
        memory_BSD: what is asked: the same for self-attention.
        keep: bool, shaped to (B, A, L, S); which positions may be looked at. Source: Vaswani et al. 2017.
    """
    batch, length, width = queries_BLD.shape
    queries, query_cache = linear(queries_BLD.reshape(-1, width), *projection(weights, name, "query"))
    k_BASE, v_BASE, memory_cache = keys_and_values(weights, name, num_heads, memory_BSD)
    q_BALE = split_heads(queries.reshape(batch, length, width), num_heads)
    mixed_BALE, dot_cache = dot_product_attention(q_BALE, k_BASE, v_BASE, keep)
    y, output_cache = linear(merge_heads(mixed_BALE).reshape(-1, width), *projection(weights, name, "output"))
    return y.reshape(queries_BLD.shape), (query_cache, memory_cache, dot_cache, output_cache)


def multi_head_attention_backward(
    dy_BLD: Array, cache: tuple, name: str, gradients: dict[str, Array]
) -> tuple[Array, Array]:
    """dqueries, dmemory; the parameters' gradients are put into `gradients`."""
    query_cache, memory_cache, dot_cache, output_cache = cache
    batch, length, width = dy_BLD.shape
    num_heads = dot_cache[0].shape[1]
    dmixed, gradients[f"{name}.output.kernel"], gradients[f"{name}.output.bias"] = linear_backward(
        dy_BLD.reshape(-1, width), output_cache
    )
    dmixed_BALE = split_heads(dmixed.reshape(batch, length, width), num_heads)
    dq_BALE, dk_BASE, dv_BASE = dot_product_attention_backward(dmixed_BALE, dot_cache)
    dqueries, gradients[f"{name}.query.kernel"], gradients[f"{name}.query.bias"] = linear_backward(
        merge_heads(dq_BALE).reshape(-1, width), query_cache
    )
    dmemory_BSD = keys_and_values_backward(dk_BASE, dv_BASE, memory_cache, name, gradients)
    return dqueries.reshape(dy_BLD.shape), dmemory_BSD


def keys_and_values(
    weights: dict[str, Array], name: str, num_heads: int, memory_BSD: Array
) -> tuple[Array, Array, tuple]:
    """Keys and values (B, A, S, E) of a memory."""
    memory = memory_BSD.reshape(-1, memory_BSD.shape[2])
    kernel = weights[f"{name}.key.kernel"]
    keys = memory @ kernel
    values, value_cache = linear(memory, *projection(weights, name, "value"))
    k_BASE, v_BASE = (split_heads(x.reshape(memory_BSD.shape), num_heads) for x in (keys, values))
    return k_BASE, v_BASE, (kernel, value_cache)


def keys_and_values_backward(
    dk_BASE: Array, dv_BASE: Array, cache: tuple, name: str, gradients: dict[str, Array]
) -> Array:
    """dmemory; the parameters' gradients are put into `gradients`."""
    kernel, value_cache = cache
    dkeys_BSD, dvalues_BSD = merge_heads(dk_BASE), merge_heads(dv_BASE)
    width = len(kernel)
    dmemory, gradients[f"{name}.value.kernel"], gradients[f"{name}.value.bias"] = linear_backward(
        dvalues_BSD.reshape(-1, width), value_cache
    )
    dkeys = dkeys_BSD.reshape(-1, width)
    gradients[f"{name}.key.kernel"] = value_cache[0].T @ dkeys
    dmemory += dkeys @ kernel.T
    return dmemory.reshape(dkeys_BSD.shape)


def dot_product_attention(q_BALE: Array, k_BASE: Array, v_BASE: Array, keep: Array) -> tuple[Array, tuple]:
    """softmax(q · k / √E) · v over the kept keys, of which each query has at least one."""
    xp = namespace(q_BALE)
    scale = 1 / math.sqrt(q_BALE.shape[3])
    scores_BALS = q_BALE @ k_BASE.swapaxes(2, 3)
    scores_BALS *= scale
    scores_BALS = xp.where(keep, scores_BALS, -xp.inf)
    scores_BALS -= scores_BALS.max(axis=3, keepdims=True)
    shares_BALS = xp.exp(scores_BALS, out=scores_BALS)
    shares_BALS /= shares_BALS.sum(axis=3, keepdims=True)
    return shares_BALS @ v_BASE, (q_BALE, k_BASE, v_BASE, shares_BALS, scale)


def dot_product_attention_backward(dy_BALE: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """dq, dk, dv."""
    q_BALE, k_BASE, v_BASE, shares_BALS, scale = cache
    dscores_BALS = dy_BALE @ v_BASE.swapaxes(2, 3)
    dscores_BALS -= (dscores_BALS * shares_BALS).sum(axis=3, keepdims=True)
    dscores_BALS *= shares_BALS
    dscores_BALS *= scale
    dv_BASE = shares_BALS.swapaxes(2, 3) @ dy_BALE
    return dscores_BALS @ k_BASE, dscores_BALS.swapaxes(2, 3) @ q_BALE, dv_BASE


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
