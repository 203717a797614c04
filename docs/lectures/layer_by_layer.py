"""The lecture on layers: the digits, the initial weights, and the code of each step."""

# N examples, D pixels of an image, H hidden units, K classes

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.batch import to_float
from common.charset import ALPHANUMERIC, DIGITS
from common.data import ink, mnist
from common.data.characters import CharacterDataset, CharacterSplit
from common.data.download import DATA_ROOT, cache_folder
from common.errors import UserError

Weights = dict[str, np.ndarray]


# --- digits
@dataclass(frozen=True, kw_only=True)
class Digits:
    """Images and their classes, for training and for validation. An image is a row of pixels."""

    name: str
    x: np.ndarray
    t: np.ndarray
    x_valid: np.ndarray
    t_valid: np.ndarray

    def as_images(self) -> Digits:
        """The same digits as images (channel, height, width)."""
        shape = (-1, 1, 28, 28)
        return replace(self, x=self.x.reshape(shape), x_valid=self.x_valid.reshape(shape))


def load_digits(examples: int, *, dtype: str) -> Digits:
    """Load MNIST if it is on this machine, else `ink`. Nothing is downloaded."""
    classes = len(ALPHANUMERIC)  # a page of `ink` has each class once
    pages = -(-examples // len(DIGITS))
    data = mnist_at_hand() or ink.load(pages * classes)
    x, t = _rows(data.train, examples, dtype)
    x_valid, t_valid = _rows(data.validation, examples // 5, dtype)
    return Digits(name=data.name, x=x, t=t, x_valid=x_valid, t_valid=t_valid)


# --- at hand
def mnist_at_hand() -> CharacterDataset | None:
    """MNIST from the data root or the cache. None if its files are missing or incomplete."""
    roots = [os.environ[DATA_ROOT]] if DATA_ROOT in os.environ else []
    for root in (*roots, cache_folder()):
        try:
            return mnist.load(Path(root, "mnist"))  # with a folder, nothing is downloaded
        except UserError:
            continue
    return None


def _rows(split: CharacterSplit, most: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    digits_N = np.flatnonzero(split.labels_N < len(DIGITS))
    chosen = split.take(np.random.default_rng(0).permutation(digits_N)[:most])
    rows_ND = to_float(chosen.images_NHW).reshape(len(chosen), -1)
    return rows_ND.astype(dtype), chosen.labels_N.astype(np.int64)


# --- plan
@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to train. An epoch takes each batch once, in the order of the examples."""

    rate: float
    batch: int
    epochs: int
    momentum: float = 0


# --- start
def start_weights(hidden: int, *, dtype: str, scale: float = 1.0) -> Weights:
    """Draw kernels 784 → hidden → 10, with a smaller scale for more inputs. Biases are zero."""
    rng = np.random.default_rng(0)
    return {
        "w1": (scale * np.sqrt(2 / 784) * rng.normal(size=(784, hidden))).astype(dtype),
        "b1": np.zeros(hidden, dtype),
        "w2": (scale * np.sqrt(1 / hidden) * rng.normal(size=(hidden, 10))).astype(dtype),
        "b2": np.zeros(10, dtype),
    }


# --- code of a step
def code_of(file: str, *sections: str) -> str:
    """The code under the markers `# --- SECTION` of the file, in that order."""
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    parts = dict(part.split("\n", 1) for part in text.split("\n# --- ")[1:])
    return "\n\n\n".join(parts[section].strip() for section in sections) + "\n"


def diff(before: str, after: str) -> str:
    """All lines of both: `-` for those only before, `+` for those only after."""
    old, new = (code.replace("\n\n\n", "\n\n").splitlines() for code in (before, after))
    lines = difflib.unified_diff(old, new, n=len(old), lineterm="")
    return "\n".join([*lines][3:])  # the first three are headers
