"""A character language model: an n-gram, how it is estimated, and the file that a run keeps it in."""

# S states (contexts seen in training), K classes, E entries (a context and a character that follows it)

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.numpy import save

from common.atomic import write_atomically
from common.charset import Charset
from common.errors import UserError
from common.weights import read_tensors

ORDER = 5
_ROWS = 512  # contexts that are estimated at a time: their rows stay in the cache
FORMAT = "fourhands-prior-1"


_Counts = defaultdict[tuple[int, ...], Counter[int]]
"""A context to the characters that follow it, with their numbers."""


@dataclass(frozen=True, kw_only=True)
class NgramCounts:
    """How often each character follows each context, in a training text.

    Class 0 is the end of a text, and what comes before its start.
    """

    num_classes: int
    """Classes K: the characters and class 0."""
    contexts_SC: Int[np.ndarray, "S C"]
    """The characters of each context, right-aligned, -1 before its first; shorter contexts come first."""
    followers_S: Int[np.ndarray, "S"]
    """Number of different characters that follow each context."""
    classes_E: Int[np.ndarray, "E"]
    """The characters that follow, context by context."""
    times_E: Int[np.ndarray, "E"]
    """How often each follows."""

    @classmethod
    def of(cls, texts: Iterable[Int[np.ndarray, "_"]], num_classes: int, order: int = ORDER) -> NgramCounts:
        """Count each character after the contexts of up to `order` - 1 characters before it.

        Args:
            texts: classes of each text's characters, from 1.
            num_classes: K.
            order: characters that a count spans, at least 1.
        """
        counts: _Counts = defaultdict(Counter, {(): Counter()})
        _count(counts, texts, order, times=1)
        return cls._of_counts(counts, num_classes, order)

    def extended(
        self, texts: Iterable[Int[np.ndarray, "_"]], num_classes: int, class_of_K: Int[np.ndarray, "K"], times: int = 1
    ) -> NgramCounts:
        """These counts and those of more texts, which may have characters that are new.

        Args:
            texts: classes of each text's characters, from 1.
            num_classes: classes with the new characters.
            class_of_K: the new class of each old one; 0 stays 0.
            times: how often each text counts.
        """
        order = self.contexts_SC.shape[1] + 1
        # -1, which is before the first character of a context, stays -1
        moved_SC = np.append(class_of_K, -1)[self.contexts_SC].tolist()
        moved_E, times_E = class_of_K[self.classes_E].tolist(), self.times_E.tolist()
        ends_S = np.cumsum(self.followers_S).tolist()
        counts: _Counts = defaultdict(Counter)
        start = 0
        for context, end in zip(moved_SC, ends_S, strict=True):
            followers = dict(zip(moved_E[start:end], times_E[start:end], strict=True))
            counts[tuple(k for k in context if k >= 0)] = Counter(followers)
            start = end
        _count(counts, texts, order, times)
        return self._of_counts(counts, num_classes, order)

    @classmethod
    def _of_counts(cls, counts: _Counts, num_classes: int, order: int) -> NgramCounts:
        contexts = sorted(counts, key=len)
        contexts_SC = np.full((len(contexts), order - 1), -1, np.int32)
        for row, context in zip(contexts_SC, contexts, strict=True):
            row[order - 1 - len(context) :] = context
        followers = [counts[context] for context in contexts]
        return cls(
            num_classes=num_classes,
            contexts_SC=contexts_SC,
            followers_S=np.array([len(each) for each in followers], np.int32),
            classes_E=np.array([k for each in followers for k in each], np.int32),
            times_E=np.array([times for each in followers for times in each.values()], np.int32),
        )


def _count(counts: _Counts, texts: Iterable[Int[np.ndarray, "_"]], order: int, times: int) -> None:
    """Count each character after the contexts of up to `order` - 1 characters before it."""
    for text in texts:
        line = (0, *(int(k) for k in text), 0)
        for i in range(1, len(line)):
            for length in range(min(order - 1, i) + 1):
                counts[line[i - length : i]][line[i]] += times


@dataclass(frozen=True, kw_only=True)
class CharacterNgram:
    """An n-gram as a state machine: the state is the longest suffix of the text so far that was seen in training.

    Class 0 is the end of a text, and what comes before its start.
    """

    log_probs_SK: Float[np.ndarray, "S K"]
    """Log of the probability that a class follows; the probabilities of a row sum to 1."""
    next_SK: Int[np.ndarray, "S K"]
    """The state after that class."""
    start: int
    """The state before the first character."""

    @classmethod
    def estimate(cls, texts: Iterable[Int[np.ndarray, "_"]], num_classes: int, order: int = ORDER) -> CharacterNgram:
        """The n-gram of the texts; see `NgramCounts.of` for the arguments."""
        return cls.from_counts(NgramCounts.of(texts, num_classes, order))

    @classmethod
    def from_counts(cls, counts: NgramCounts) -> CharacterNgram:
        """Interpolate each context's counts with those of the context without its first character.

        Source: Witten & Bell 1991, in the interpolated form of Chen & Goodman 1999, section 2.4.
        """
        num_classes, longest = counts.num_classes, counts.contexts_SC.shape[1]
        codes_S, shorter_S, length_S = _codes(counts.contexts_SC, num_classes)
        starts_S = np.cumsum(counts.followers_S) - counts.followers_S
        state_E = np.repeat(np.arange(len(codes_S)), counts.followers_S)
        grown_E = codes_S[state_E] * (num_classes + 1) + counts.classes_E + 1
        probs_SK = np.empty((len(codes_S), num_classes), np.float32)
        next_SK = np.zeros((len(codes_S), num_classes), np.int32)
        order_S = np.argsort(codes_S, kind="stable")
        # contexts of one length follow each other, and need those of the length before
        borders = np.flatnonzero(np.diff(length_S, prepend=-1, append=longest + 1)).tolist()
        pieces = [(a, min(a + _ROWS, end)) for start, end in pairwise(borders) for a in range(start, end, _ROWS)]
        for first, last in pieces:
            states, length = slice(first, last), length_S[first]
            below_SK = np.full((1, num_classes), 1 / num_classes)
            if length:
                shorter = _find(codes_S, order_S, shorter_S[states])
                below_SK = probs_SK[shorter].astype(np.float64)
                next_SK[states] = next_SK[shorter]
            entries = slice(starts_S[first], starts_S[last - 1] + counts.followers_S[last - 1])
            at = state_E[entries], counts.classes_E[entries]
            followers_S1 = counts.followers_S[states][:, None]
            rows_SK = followers_S1 * below_SK
            rows_SK[at[0] - first, at[1]] += counts.times_E[entries].astype(np.float64)
            if not followers_S1.all():  # without any text, nothing follows the empty context
                rows_SK = np.where(followers_S1 > 0, rows_SK, below_SK)
            probs_SK[states] = rows_SK / rows_SK.sum(axis=1, keepdims=True)
            if length < longest:
                found = _find(codes_S, order_S, grown_E[entries])
                next_SK[at] = np.where(found >= 0, found, next_SK[at])
        start = _find(codes_S, order_S, np.array([1]))[0] if longest else -1
        return cls(log_probs_SK=np.log(probs_SK), next_SK=next_SK, start=max(int(start), 0))


def _codes(contexts_SC: Int[np.ndarray, "S C"], num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A number for each context, the number of the context without its first character, and the contexts' lengths."""
    base, longest = num_classes + 1, contexts_SC.shape[1]
    wide = base**longest < 2**62  # else Python's own numbers, which have no limit
    places_C = np.array([base**i for i in reversed(range(longest))], np.int64 if wide else object)
    digits_SC = (contexts_SC + 1).astype(places_C.dtype)  # 0 before the first character
    length_S = (contexts_SC >= 0).sum(axis=1)
    rows, first_S = np.arange(len(contexts_SC)), np.minimum(longest - length_S, max(longest - 1, 0))
    codes_S = digits_SC @ places_C if longest else np.zeros(len(contexts_SC), np.int64)
    shorter_S = codes_S - digits_SC[rows, first_S] * places_C[first_S] if longest else codes_S
    return codes_S, shorter_S, length_S


def _find(codes_S: np.ndarray, order_S: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The context of each wanted number; -1 where there is none. `order_S` sorts the numbers."""
    at = np.minimum(np.searchsorted(codes_S, wanted, sorter=order_S), len(codes_S) - 1)
    found = order_S[at]
    return np.where(codes_S[found] == wanted, found, -1)


@dataclass(frozen=True, kw_only=True)
class Prior:
    """The character language model of a run, with the settings that read its validation split best."""

    counts: NgramCounts
    """Of the training texts."""
    weight: float
    """Factor of the n-gram's log probability."""
    length_bonus: float
    """Added to the score per character, because the n-gram favours short texts."""

    @cached_property
    def ngram(self) -> CharacterNgram:
        """The n-gram, estimated at the first use."""
        return CharacterNgram.from_counts(self.counts)


def save_prior(path: Path, prior: Prior, charset: Charset) -> None:
    """Write the file atomically: safetensors, with the charset in its metadata.

    Raises:
        UserError: the folder is not writable, or the disk is full.
    """
    counts = prior.counts
    tensors = {
        "contexts": _smallest(counts.contexts_SC),
        "followers": _smallest(counts.followers_S),
        "classes": _smallest(counts.classes_E),
        "times": _smallest(counts.times_E),
    }
    # one entry: safetensors writes several in random order, and the same run must write the same file
    content = {"format": FORMAT, "charset": charset.characters, "weight": prior.weight, "bonus": prior.length_bonus}
    write_atomically(path, save(tensors, {"prior": json.dumps(content, ensure_ascii=False)}))


def _smallest(array: np.ndarray) -> np.ndarray:
    """The array in the smallest type of whole numbers that holds its values: the file is a third as large."""
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    types = (np.int8, np.int16) if low < 0 else (np.uint8, np.uint16)
    fits = [each for each in types if np.iinfo(each).min <= low and high <= np.iinfo(each).max]
    return np.ascontiguousarray(array, fits[0] if fits else np.int32)


def load_prior(path: Path | bytes, charset: Charset) -> Prior:
    """Read what `save_prior` wrote, given by its path or its content, for a model with this charset.

    Raises:
        UserError: no such file, not such a file, or one of a model with another charset.
    """
    name = "the file of the character language model" if isinstance(path, bytes) else str(path)
    if isinstance(path, Path) and not path.is_file():
        raise UserError(
            f"{path} does not exist: the model has no character language model; leave --ngram out, or train it again"
        )
    try:
        metadata, tensors = read_tensors(path)
        content = json.loads(metadata["prior"])
        contexts, followers, classes, times = (
            tensors[name].astype(np.int32) for name in ("contexts", "followers", "classes", "times")
        )
        if content["format"] != FORMAT:
            raise KeyError(FORMAT)
        theirs, weight, bonus = tuple(content["charset"]), float(content["weight"]), float(content["bonus"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{name} is not a character language model ({error}); restore it, or train the model again"
        ) from None
    if theirs != charset.characters:
        raise UserError(f"{name} belongs to a model with another charset; restore the file of this run")
    counts = NgramCounts(
        num_classes=len(charset) + 1, contexts_SC=contexts, followers_S=followers, classes_E=classes, times_E=times
    )
    return Prior(counts=counts, weight=weight, length_bonus=bonus)
