"""Transformer: stem, frames + positions, decoder with causal self-attention and cross-attention, dense."""

# B batch, H height, W width, T frames, L label length (characters) or positions of the decoder
# D model width, K classes, A attention heads, E = D / A width of a head, M keys

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.spec import NORM_EPSILON, TransformerSpec, positions
from impl_pytorch import stem
from impl_pytorch.device import to_tensor

IGNORED = -100
"""The class of a target that the loss leaves out."""
TABLE_LENGTH = 1024
"""Positions computed in advance: frames of a line of 4,096 columns."""


# --- layers
class Attention(nn.Module):
    """Multi-head attention of positions (B, L, D) to others (B, M, D). Source: Vaswani et al. 2017."""

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        self.num_heads = spec.num_heads
        self.query = nn.Linear(spec.model_dim, spec.model_dim)
        self.key = nn.Linear(spec.model_dim, spec.model_dim, bias=False)
        self.value = nn.Linear(spec.model_dim, spec.model_dim)
        self.output = nn.Linear(spec.model_dim, spec.model_dim)

    def keys_values(self, x_BMD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the positions that are attended to, (B, A, M, E) each."""
        return self._split(self.key(x_BMD)), self._split(self.value(x_BMD))

    def forward(
        self,
        x_BLD: Tensor,
        keys_values: tuple[Tensor, Tensor],
        keep_B11M: Tensor | None = None,
        *,
        is_causal: bool = False,
    ) -> Tensor:
        # divides by √E; the mask is True where a key takes part
        mixed_BALE = F.scaled_dot_product_attention(
            self._split(self.query(x_BLD)), *keys_values, attn_mask=keep_B11M, is_causal=is_causal
        )
        y_BLD: Tensor = self.output(mixed_BALE.transpose(1, 2).flatten(2))
        return y_BLD

    def _split(self, x_BMD: Tensor) -> Tensor:
        batch, length, _ = x_BMD.shape
        return x_BMD.view(batch, length, self.num_heads, -1).transpose(1, 2)


@dataclass
class Cache:
    """Keys and values of self-attention at the positions decoded so far, with room for all: (B, A, T, E)."""

    keys: Tensor
    values: Tensor
    length: int = 0

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add one position; return all so far."""
        self.keys[:, :, self.length] = keys[:, :, 0]
        self.values[:, :, self.length] = values[:, :, 0]
        self.length += 1
        return self.keys.narrow(2, 0, self.length), self.values.narrow(2, 0, self.length)


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and dense → ReLU → dense, each x + dropout(f(norm(x)))."""

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        self.self_attention_norm = nn.LayerNorm(spec.model_dim, eps=NORM_EPSILON)
        self.self_attention = Attention(spec)
        self.cross_attention_norm = nn.LayerNorm(spec.model_dim, eps=NORM_EPSILON)
        self.cross_attention = Attention(spec)
        self.feed_forward_norm = nn.LayerNorm(spec.model_dim, eps=NORM_EPSILON)
        self.feed_forward = nn.ModuleList(
            [nn.Linear(spec.model_dim, spec.feed_forward_dim), nn.Linear(spec.feed_forward_dim, spec.model_dim)]
        )
        self.dropout = nn.Dropout(spec.dropout)

    def forward(
        self, x_BLD: Tensor, crossed: tuple[Tensor, Tensor], keep_B11T: Tensor, cache: Cache | None = None
    ) -> Tensor:
        """All positions at once; or, with a cache of the earlier positions, the next one (L = 1), which it adds.

        `crossed` are the keys and values of the frames from `cross_attention`; `keep_B11T` is the mask of a line's own
        frames.
        """
        y_BLD = self.self_attention_norm(x_BLD)
        own = self.self_attention.keys_values(y_BLD)
        if cache is None:
            y_BLD = self.self_attention(y_BLD, own, is_causal=True)
        else:
            y_BLD = self.self_attention(y_BLD, cache.extend(*own))
        x_BLD = x_BLD + self.dropout(y_BLD)
        y_BLD = self.cross_attention(self.cross_attention_norm(x_BLD), crossed, keep_B11T)
        x_BLD = x_BLD + self.dropout(y_BLD)
        y_BLD = self.feed_forward[1](F.relu(self.feed_forward[0](self.feed_forward_norm(x_BLD))))
        return x_BLD + self.dropout(y_BLD)


class Positions(nn.Module):
    """The positions 0 to `length` - 1: rows of a table (length, D). A line longer than the table makes it grow."""

    table_LD: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # not persistent: it is a constant, which neither weights nor checkpoints need
        self.register_buffer("table_LD", torch.empty(TABLE_LENGTH, width), persistent=False)

    def compute(self, length: int = TABLE_LENGTH) -> None:
        """Fill the table, whose numbers a model built on the meta device lacks."""
        old = self.table_LD
        with torch.inference_mode(False):  # or training could not use a table that grew while reading
            self.table_LD = to_tensor(positions(length, old.shape[1]), old.dtype, old.device)

    def forward(self, length: int) -> Tensor:
        if length > len(self.table_LD):
            self.compute(2 * length)
        return self.table_LD[:length]


# --- model
class Transformer(nn.Module):
    """Images (B, H, W, 1), their widths (B,) and labels (B, L) to logits (B, L + 1, K), zero past the end of a text."""

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        self.stem = stem.Stem(spec)
        self.positions = Positions(spec.model_dim)
        self.embedding = nn.Embedding(spec.num_classes, spec.model_dim)
        self.dropout = nn.Dropout(spec.dropout)
        self.layers = nn.ModuleList(DecoderLayer(spec) for _ in range(spec.num_layers))
        self.norm = nn.LayerNorm(spec.model_dim, eps=NORM_EPSILON)
        self.head = nn.Linear(spec.model_dim, spec.num_classes)

    def forward(
        self, images_BHW1: Tensor, widths_B: Tensor, labels_BL: Tensor, *, batch_statistics: bool = False
    ) -> Tensor:
        memory_BTD, keep_B11T = self.memory(images_BHW1, widths_B, batch_statistics=batch_statistics)
        labels_BL = labels_BL.to(images_BHW1.device, non_blocking=True)
        starts_BL = F.pad(labels_BL, (1, 0))  # the first character is predicted from class 0
        logits_BLK = self.head(self.decoded(starts_BL, memory_BTD, keep_B11T))
        keep_BL = stem.keep_first((labels_BL > 0).sum(1) + 1, starts_BL.shape[1])
        masked_BLK: Tensor = logits_BLK * keep_BL[..., None]
        return masked_BLK

    def memory(self, images_BHW1: Tensor, widths_B: Tensor, *, batch_statistics: bool = False) -> tuple[Tensor, Tensor]:
        """Frames + positions (B, T, D), and the mask of each line's own frames (B, 1, 1, T)."""
        frames_BTD, frames_B = self.stem(images_BHW1, widths_B, batch_statistics=batch_statistics)
        total = frames_BTD.shape[1]
        keep_BT = stem.keep_first(frames_B, total)
        return frames_BTD + self.positions(total), keep_BT[:, None, None]

    def decoded(self, classes_BL: Tensor, memory_BTD: Tensor, keep_B11T: Tensor) -> Tensor:
        """Output of the decoder (B, L, D) for the classes before each position."""
        x_BLD = self.dropout(self.embedded(classes_BL, self.positions(classes_BL.shape[1])))
        for layer in self.layers:
            x_BLD = layer(x_BLD, layer.cross_attention.keys_values(memory_BTD), keep_B11T)
        y_BLD: Tensor = self.norm(x_BLD)
        return y_BLD

    def embedded(self, classes_BL: Tensor, positions_LD: Tensor) -> Tensor:
        """√D · embedding + position: (B, L, D)."""
        return self.embedding(classes_BL) * positions_LD.shape[1] ** 0.5 + positions_LD


# --- decoding
@torch.inference_mode()
def decode(model: Transformer, images_BHW1: Tensor, widths_B: Tensor, *, cached: bool) -> tuple[Tensor, Tensor]:
    """Greedy decoding: classes (B, T) and their log-probabilities (B, T); see `common.recognizer.Decoder`.

    With the cache each step computes one position; without, it computes all earlier positions again.
    """
    memory_BTD, keep_B11T = model.memory(images_BHW1, widths_B)
    batch, total, _ = memory_BTD.shape
    classes_BT = torch.zeros(batch, 1 + total, dtype=torch.int64, device=memory_BTD.device)  # column 0: the start
    log_probs_BT = memory_BTD.new_zeros(batch, total)
    frames_B = keep_B11T.sum((1, 2, 3))
    going_B = torch.ones_like(frames_B, dtype=torch.bool)
    if cached:
        positions_TD = model.positions(total)
        # every step reads them, so each head's are contiguous
        crossed = [
            tuple(x.contiguous() for x in layer.cross_attention.keys_values(memory_BTD)) for layer in model.layers
        ]
        caches = [Cache(torch.empty_like(keys), torch.empty_like(values)) for keys, values in crossed]
    for t in range(total):
        if cached:
            x_BLD = model.embedded(classes_BT[:, t : t + 1], positions_TD[t : t + 1])
            for layer, keys_values, cache in zip(model.layers, crossed, caches, strict=True):
                x_BLD = layer(x_BLD, keys_values, keep_B11T, cache)
            x_BLD = model.norm(x_BLD)
        else:
            x_BLD = model.decoded(classes_BT[:, : t + 1], memory_BTD, keep_B11T)
        log_prob_B, class_B = model.head(x_BLD[:, -1]).log_softmax(1).max(1)
        classes_BT[:, t + 1] = class_B * going_B
        log_probs_BT[:, t] = log_prob_B * going_B
        going_B = going_B & (class_B > 0) & (t + 1 < frames_B)
        if not going_B.any():  # a GPU waits here at every step, which is what saves the steps after the last end
            break
    return classes_BT[:, 1:], log_probs_BT


# --- loss
def loss(
    model: Transformer, images_BHW1: Tensor, widths_B: Tensor, labels_BL: Tensor, label_lengths_B: Tensor
) -> Tensor:
    """Mean cross-entropy of the characters and of the end of each text, nats."""
    logits_BLK = model(images_BHW1, widths_B, labels_BL, batch_statistics=True)
    device = logits_BLK.device
    targets_BL = F.pad(labels_BL.to(device, non_blocking=True), (0, 1))  # class 0 is the end
    keep_BL = stem.keep_first(label_lengths_B.to(device, non_blocking=True) + 1, targets_BL.shape[1])
    return F.cross_entropy(logits_BLK.flatten(0, 1), targets_BL.where(keep_BL, IGNORED).flatten(), ignore_index=IGNORED)


# --- training step: shared by all rungs, see train.fit


# --- weights
def canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of parameters and running statistics, or of gradients, under canonical names and axes.

    Dense (in, out), not (out, in); an embedding is (K, D) in both.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith("stem."):
            name, tensor = stem.canonical(name, tensor)
        else:
            name = name.replace("layers.", "decoder.").replace("weight", "kernel" if tensor.ndim > 1 else "scale")
            name = f"decoder.{name}" if name.startswith("norm.") else name
            tensor = tensor if name == "embedding.kernel" else tensor.t()
        named[name] = tensor
    return named
