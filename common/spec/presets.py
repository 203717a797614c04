"""Sizes to begin with: `small` for a laptop, `base`, the defaults of the spec, and `large` for a GPU."""

from __future__ import annotations

from typing import Any

PRESETS = ("small", "base", "large")

SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "mlp": {
        "small": {"hidden_dims": (256, 128)},
        "large": {"hidden_dims": (2048, 1024)},
    },
    "cnn": {
        "small": {"channels": (16, 32), "hidden_dim": 64},
        "large": {"channels": (128, 128), "hidden_dim": 256},
    },
    "lstm_ctc": {
        "small": {"stem_channels": (16, 16, 32, 32), "frame_dim": 64, "hidden_dim": 64},
        "large": {"stem_channels": (64, 64, 128, 128), "frame_dim": 256, "hidden_dim": 256, "num_layers": 3},
    },
    "transformer": {
        "small": {"stem_channels": (16, 16, 32, 32), "model_dim": 64, "feed_forward_dim": 256},
        "large": {
            "stem_channels": (64, 64, 128, 128),
            "model_dim": 256,
            "num_layers": 6,
            "num_heads": 8,
            "feed_forward_dim": 1024,
        },
    },
    "unet": {
        "small": {"channels": (8, 16, 24, 32, 48)},
        "large": {"channels": (32, 64, 96, 128, 192)},
    },
}
"""Rung to preset to the fields that differ from the defaults. The strides stay, so frames are equally wide."""


def preset_fields(rung: str, name: str) -> dict[str, Any]:
    """The fields of the spec that a preset sets; `base` sets none."""
    return SIZES[rung].get(name, {})
