"""Loads data for a test, as a task does."""

from __future__ import annotations

from typing import Any

from common.data.characters import CharacterDataset
from common.data.config import DataConfig
from common.data.lines import LineDataset
from common.spec import LSTMCTCSpec, MLPSpec
from common.tasks import CHARACTERS, LINES


def load(data: str, **options: Any) -> CharacterDataset:
    """A data set of characters; the options are those of `DataConfig`."""
    return CHARACTERS.load(data, MLPSpec(num_classes=2), DataConfig(**options))


def load_lines(data: str, *, height: int, **options: Any) -> LineDataset:
    """A data set of lines for a model with one frame per four columns; the options are those of `DataConfig`."""
    return LINES.load(data, LSTMCTCSpec(num_classes=2, height=height), DataConfig(**options))
