"""Traps between frameworks: the same name with another meaning."""

# B batch, T frames, L label length, K classes

from __future__ import annotations

import os

# both are read when Keras and TensorFlow are imported
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only: no notes on the processor

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import torch
import torch.nn.functional as F
from flax import nnx
from torch import Tensor, nn
from traps import Array, ctc_batch

from impl_numpy.ctc import ctc


# --- epsilons
def layer_norm_epsilons() -> dict[str, float]:
    """The default epsilon that is added to the variance."""
    return {
        "PyTorch": nn.LayerNorm(8).eps,
        "Keras": keras.layers.LayerNormalization().epsilon,
        "Flax": nnx.LayerNorm(8, rngs=nnx.Rngs(0)).epsilon,
    }


# --- momentum
def running_means(momentum: float) -> dict[str, float]:
    """The running mean of a batch norm after one batch of ones. It starts at zero."""
    ones = np.ones((4, 1), np.float32)
    in_pytorch = nn.BatchNorm1d(1, momentum=momentum)
    in_pytorch(torch.from_numpy(ones))
    in_keras = keras.layers.BatchNormalization(momentum=momentum)
    in_keras(ones, training=True)
    in_flax = nnx.BatchNorm(1, momentum=momentum, rngs=nnx.Rngs(0))
    in_flax(jnp.asarray(ones))
    return {
        "PyTorch": float(in_pytorch.running_mean),
        "Keras": float(in_keras.moving_mean[0]),
        "Flax": float(in_flax.mean[...][0]),
    }


# --- masks
def gathered_by_true() -> dict[str, float]:
    """The output of each attention for the values 1, 2 and 4, if the mask is True for the first."""
    mask = np.array([[True, False, False]])
    query, keys = np.ones((1, 1, 1, 1), np.float32), np.ones((1, 3, 1, 1), np.float32)
    values = np.array([1, 2, 4], np.float32).reshape(1, 3, 1, 1)
    in_others = {"query": query, "key": keys, "value": values, "mask": mask[None, None]}

    module = nn.MultiheadAttention(embed_dim=1, num_heads=1, bias=False)
    for parameter in module.parameters():
        nn.init.ones_(parameter)  # projections are the identity, so that all compute the same
    in_pytorch = [torch.from_numpy(array[0, :, 0]) for array in (query, keys, values)]
    by_module, _ = module(*in_pytorch, attn_mask=torch.from_numpy(mask))
    by_function = F.scaled_dot_product_attention(*in_pytorch, attn_mask=torch.from_numpy(mask))
    return {
        "PyTorch, nn.MultiheadAttention": by_module.item(),
        "PyTorch, scaled_dot_product_attention": by_function.item(),
        "Keras": float(keras.ops.dot_product_attention(**in_others)[0, 0, 0, 0]),
        "JAX": float(jax.nn.dot_product_attention(**in_others)[0, 0, 0, 0]),
        "Flax": float(nnx.dot_product_attention(**in_others)[0, 0, 0, 0]),
    }


# --- gelu
def errors_of_gelu() -> dict[str, float]:
    """The largest error of each `gelu` against x · Φ(x), between -5 and 5."""
    x = np.linspace(-5, 5, 1001, dtype=np.float32)
    exact = x * torch.special.ndtr(torch.from_numpy(x).double()).numpy()
    return {
        "PyTorch": float(np.abs(F.gelu(torch.from_numpy(x)).numpy() - exact).max()),
        "Keras": float(np.abs(np.asarray(keras.activations.gelu(x)) - exact).max()),
        "JAX": float(np.abs(np.asarray(jax.nn.gelu(x)) - exact).max()),
    }


# --- Adam
def adam_apart(steps: int = 100) -> dict[str, float]:
    """The largest distance of Keras's and optax's weights from PyTorch's, after Adam with equal gradients."""
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-6, 0, 50)  # gradients of another size for each weight
    gradients = (sizes * rng.normal(size=(steps, 50))).astype(np.float32)
    options = {"learning_rate": 1e-3, "eps": 1e-8}

    weight = nn.Parameter(torch.zeros(50))
    in_pytorch = torch.optim.Adam([weight], lr=options["learning_rate"], eps=options["eps"])
    variable = keras.Variable(np.zeros(50, np.float32))
    in_keras = keras.optimizers.Adam(options["learning_rate"], epsilon=options["eps"])
    in_optax = optax.adam(**options)
    array, state = jnp.zeros(50), in_optax.init(jnp.zeros(50))
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient)
        in_pytorch.step()
        in_keras.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        update, state = in_optax.update(jnp.asarray(gradient), state)
        array += update
    expected = weight.detach().numpy()
    return {
        "Keras": float(np.abs(variable.numpy() - expected).max()),
        "optax": float(np.abs(np.asarray(array) - expected).max()),
    }


# --- four means
def means_of_ctc() -> dict[str, float]:
    """The "mean CTC loss" of one batch, by four definitions."""
    batch = logits_BTK, _, labels_BL, _ = ctc_batch()
    return {
        "PyTorch, reduction='mean'": float(pytorch_ctc(*batch, reduction="mean")),
        "optax, mean of what it returns": float(optax_ctc(*batch).mean()),
        "Keras, losses.CTC": float(keras.losses.CTC()(labels_BL, logits_BTK.astype("float32"))),
        "here, nats per character": float(ctc(*batch)[0]),
    }


def pytorch_ctc(
    logits_BTK: Array,
    frames_B: Array,
    labels_BL: Array,
    label_lengths_B: Array,
    reduction: str,
) -> Tensor:
    """The loss in PyTorch, which takes log-probabilities (T, B, K)."""
    log_probs_TBK = torch.from_numpy(logits_BTK).log_softmax(2).transpose(0, 1)
    lengths = torch.from_numpy(frames_B), torch.from_numpy(label_lengths_B)
    return F.ctc_loss(log_probs_TBK, torch.from_numpy(labels_BL), *lengths, reduction=reduction)


def optax_ctc(
    logits_BTK: Array,
    frames_B: Array,
    labels_BL: Array,
    label_lengths_B: Array,
) -> Array:
    """The loss of each line in optax, which takes masks that are one for padding."""
    padding_BT = np.arange(logits_BTK.shape[1]) >= frames_B[:, None]
    padding_BL = np.arange(labels_BL.shape[1]) >= label_lengths_B[:, None]
    with jax.enable_x64(True):
        padding = jnp.asarray(padding_BT, float), labels_BL, jnp.asarray(padding_BL, float)
        return np.asarray(optax.ctc_loss(jnp.asarray(logits_BTK), *padding))


# --- impossible
def losses_of_the_impossible() -> dict[str, float]:
    """The loss of two equal letters in two frames. CTC needs a third frame between them."""
    logits_BTK, frames_B = np.zeros((1, 2, 3)), np.array([2], np.int32)
    labels_BL, label_lengths_B = np.array([[1, 1]], np.int32), np.array([2], np.int32)
    batch = logits_BTK, frames_B, labels_BL, label_lengths_B
    logits = logits_BTK.astype("float32")
    in_keras = keras.ops.ctc_loss(labels_BL, logits, label_lengths_B, frames_B)
    return {
        "PyTorch": float(pytorch_ctc(*batch, reduction="sum")),
        "optax": float(optax_ctc(*batch)[0]),
        "Keras": float(in_keras[0]),
    }
