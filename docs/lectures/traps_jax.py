"""Traps of JAX, Flax and optax."""

# B batch, N positions, A heads, E width of a head

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


# --- float64
def dtypes_of_a_float64() -> tuple[str, str]:
    """The dtype of a converted float64 array, by default and with float64 switched on."""
    array = np.zeros(3)
    without = jnp.asarray(array).dtype.name
    with jax.enable_x64(True):
        return without, jnp.asarray(array).dtype.name


# --- attention
def error_of_attention() -> float:
    """The largest error of `jax.nn.dot_product_attention` in float64 against the formula."""
    q, k, v = np.random.default_rng(0).normal(size=(3, 1, 6, 1, 8))  # (B, N, A, E) each
    scores = np.einsum("bnae,bmae->banm", q, k) / np.sqrt(q.shape[-1])
    shares = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    with jax.enable_x64(True):
        gathered = jax.nn.dot_product_attention(jnp.asarray(q), jnp.asarray(k), jnp.asarray(v))
    assert gathered.dtype == np.float64
    return float(np.abs(np.asarray(gathered) - np.einsum("banm,bmae->bnae", shares, v)).max())


# --- batch norm
def dtypes_of_batch_norm() -> tuple[str, str]:
    """The dtypes of the scale and of the running mean of a batch norm in float64."""
    with jax.enable_x64(True):
        norm = nnx.BatchNorm(3, dtype=jnp.float64, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        return norm.scale[...].dtype.name, norm.mean[...].dtype.name
