"""Characters and figures, worded for a reader."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from common.reading.result import Reading


def visible(text: str) -> str:
    """The text with what cannot be seen made visible: a space as ␣, a control character as U+000A."""
    return "".join("␣" if c == " " else c if c.isprintable() else f"U+{ord(c):04X}" for c in text)


def caption(reading: Reading) -> str:
    """One line: the true text where it is known, what was read, and how surely."""
    read = f"read {visible(reading.text)} ({percent(reading.confidence, 0)})"
    if reading.truth is None:
        return read
    sign = "✓" if reading.text == reading.truth else "✗"
    return f"{sign} true {visible(reading.truth)}, {read}"


def reached(result: Mapping[str, Any]) -> str:
    """How well a model read, from the figures of result.json."""
    examples, split = f"{result['examples']:,}", result["split"]
    if "accuracy" in result:
        low, high = result["accuracy_interval"]
        return (
            f"{result['accuracy']:.2%} of {examples} {split} images read right (95% interval {low:.2%} to {high:.2%})"
        )
    (low, high), (word_low, word_high) = result["cer_interval"], result["wer_interval"]
    return (
        f"CER {result['cer']:.2%} (95% interval {low:.2%} to {high:.2%}) and WER {result['wer']:.2%} "
        f"({word_low:.2%} to {word_high:.2%}) of {examples} {split} lines"
    )


def percent(share: float | None, digits: int = 1) -> str:
    """0.9876 as 98.8%."""
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f}%"


def duration(seconds: float | None) -> str:
    """Seconds as ms, s or min, three digits."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 1:
        return f"{significant(1000 * seconds)} ms"
    return f"{significant(seconds)} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def significant(value: float | None, digits: int = 3) -> str:
    """The value to so many digits, thousands apart: 12,300; 0.0123; 1.2e-07."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -3:
        return f"{value:.{digits - 1}e}"
    rounded = round(value, digits - 1 - exponent)
    return f"{rounded:,.{max(0, digits - 1 - exponent)}f}"
