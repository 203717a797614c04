"""Characters, figures, names and nested settings, formatted for a reader."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

FRAMEWORK_NAMES = {"numpy": "NumPy", "pytorch": "PyTorch", "keras": "Keras", "jax": "JAX"}
"""Framework id, as in flags and in JSON, to its name as its authors spell it."""


def framework_name(framework: str) -> str:
    """The framework's name for a reader; a framework from another package keeps its id."""
    return FRAMEWORK_NAMES.get(framework, framework)


def visible(text: str) -> str:
    """The text with its invisible characters made visible: a space as ␣, a line feed as U+000A."""
    return "".join("␣" if c == " " else c if c.isprintable() else f"U+{ord(c):04X}" for c in text)


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage: 0.9876 as 98.8%."""
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f}%"


def duration(seconds: float | None) -> str:
    """Seconds as ms or s to three significant digits, from 120 s on as min."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 1:
        return f"{significant(1000 * seconds)} ms"
    return f"{significant(seconds)} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def significant(value: float | None, digits: int = 3) -> str:
    """The value rounded to `digits` significant digits, with commas: 12,300; 0.0123; 1.20e-07."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -3:
        return f"{value:.{digits - 1}e}"
    rounded = round(value, digits - 1 - exponent)
    return f"{rounded:,.{max(0, digits - 1 - exponent)}f}"


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as a flat dictionary: `{"train": {"epochs": 3}}` as `{"train.epochs": 3}`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
