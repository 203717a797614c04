"""The recognizer in JAX: flax.nnx modules, pure jitted functions, optax."""

from impl_jax.recognizer import build

__all__ = ["build"]
