"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from common.data import emnist, ink, mnist
from common.data.dataset import Dataset
from common.data.splits import balanced, subset
from common.errors import UserError, unknown_name


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a data set is and how it is had."""

    description: str
    origin: str
    terms: str
    sizes: str
    """Training (validation taken from it) + test examples; classes."""
    load: Callable[[Path | None], Dataset] | None
    """Reads it from a folder; None for the one that is drawn."""
    locate: Callable[[Path | None], Path] | None
    """The folder that holds its files, filled by download if need be."""


def _emnist(name: str, split: str, description: str, sizes: str) -> Source:
    return Source(
        description=description,
        origin="EMNIST, Cohen et al. 2017, from NIST Special Database 19; download of 562 MB",
        terms="NIST states none; Special Database 19 is a work of the United States government",
        sizes=sizes,
        load=partial(emnist.load, name, split=split),
        locate=partial(emnist.locate, split=split),
    )


SOURCES: dict[str, Source] = {
    "ink": Source(
        description="synthetic handwriting of 0-9 A-Z a-z, drawn on the spot, any amount",
        origin="vector strokes of the Hershey fonts, bent per writer; no download",
        terms="public domain strokes",
        sizes="20,026 + 2,480 validation + 4,960 test by 443 writers; 62 classes",
        load=None,
        locate=None,
    ),
    "mnist": Source(
        description="handwritten digits",
        origin="MNIST, LeCun et al. 1998; download of 12 MB",
        terms="free to use",
        sizes="60,000 + 10,000; 10 classes",
        load=mnist.load,
        locate=mnist.locate,
    ),
    "emnist": _emnist(
        "emnist", "byclass", "handwritten 0-9 A-Z a-z, as often as written", "697,932 + 116,323; 62 classes"
    ),
    "emnist_bymerge": _emnist(
        "emnist_bymerge",
        "bymerge",
        "the same, letters that look alike in both cases merged",
        "697,932 + 116,323; 47 classes",
    ),
    "emnist_balanced": _emnist(
        "emnist_balanced", "balanced", "as bymerge, every class as often", "112,800 + 18,800; 47 classes"
    ),
    "emnist_letters": _emnist(
        "emnist_letters", "letters", "handwritten letters, both cases merged", "124,800 + 20,800; 26 classes"
    ),
    "emnist_digits": _emnist("emnist_digits", "digits", "handwritten digits", "240,000 + 40,000; 10 classes"),
    "emnist_mnist": _emnist(
        "emnist_mnist", "mnist", "handwritten digits, the amounts of MNIST", "60,000 + 10,000; 10 classes"
    ),
}


def _parse(data: str) -> tuple[Source, Path | None]:
    """Source and folder of `NAME[:FOLDER]`."""
    name, colon, folder = data.partition(":")
    if name not in SOURCES:
        raise unknown_name("data", name, SOURCES)
    if colon and not folder:
        raise UserError(f"{data!r} names no folder after the colon; write {name} alone, or {name}:FOLDER")
    if folder and SOURCES[name].load is None:
        raise UserError(f"{name} is drawn, not read from a folder such as {folder!r}; write {name} alone")
    return SOURCES[name], Path(folder).expanduser() if folder else None


def load(data: str, *, examples: int = 0, balance: bool = False) -> Dataset:
    """The data set `NAME` or `NAME:FOLDER`, downloaded if need be.

    Args:
        data: a name of `SOURCES`, and after a colon the folder that holds its files.
        examples: how many to train on; 0 for all. `ink` draws as many, others give a seeded subset.
        balance: cap each class of the training split at the mean class count, before the subset is taken.

    Raises:
        UserError: an unknown name, files that cannot be had or are damaged, or more examples than there are.
    """
    source, folder = _parse(data)
    if examples < 0:
        raise UserError(f"{examples} training examples were asked for; expected at least 1, or 0 for all")
    dataset = ink.load(examples) if source.load is None else source.load(folder)
    train = balanced(dataset.train) if balance else dataset.train
    if examples and source.load is not None:
        train = subset(train, examples)
    return replace(dataset, train=train)


def prepare(data: str) -> Path | None:
    """Download the data set if need be and check it whole; the folder that holds it, None for the one that is drawn.

    Raises:
        UserError: as `load`.
    """
    source, folder = _parse(data)
    if source.load is None or source.locate is None:
        return None
    chosen = source.locate(folder)
    source.load(chosen)
    return chosen
