"""The task of reading lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from common.charset import Charset
from common.config import TrainConfig
from common.data.batches import Batches
from common.data.config import DataConfig
from common.data.dataset import SPLITS, Refused
from common.data.line_batches import LineBatches
from common.data.lines import LineDataset, LineSplit, frames_needed, joined
from common.errors import UserError
from common.evaluation.lines import LineEvaluation, evaluate_lines
from common.evaluation.measure import CER
from common.evaluation.profile import Profile
from common.reading.decoding import BEAM_WIDTH
from common.reading.lines import read_lines
from common.reading.ngram import Prior
from common.reading.result import Reading
from common.reading.search import BEST_PATH, Search
from common.recognizer import Recognizer
from common.sampling import evenly
from common.spec import LineSpec, Spec
from common.tasks.task import Image

WIDEST = 2048
"""Columns of the widest line that is used."""

_MOST_ROWS = 3  # rows of text; 2 are not told apart reliably from one line with parts of its neighbours


class Lines:
    """Single lines of text; see `Task`."""

    name = "lines"
    example = "line"
    default_data = "ink_lines"
    default_train = TrainConfig(batch_size=32, learning_rate=2e-3)
    measure = CER
    sample_step = 32

    def check(self, spec: Spec, train: TrainConfig, config: DataConfig) -> None:
        if config.balance:
            raise UserError(f"--data.balance is for characters, and {spec.rung} reads lines; leave it out")
        if config.drawn_pages:
            raise UserError(f"--data.drawn-pages is for pages, and {spec.rung} reads lines; leave it out")

    def load(self, data: str, spec: Spec, config: DataConfig) -> LineDataset:
        """Load lines, and refuse those that a model cannot learn from.

        A line is refused, in whichever split it is, if it has no text, is wider than `WIDEST`, or has fewer frames than
        CTC needs to align its text.
        """
        from common.data import sources  # imports Pillow
        from common.data.splits import subset

        source, path = sources.parse(data, "lines")
        dataset: LineDataset = source.load(path, cast(LineSpec, spec).height, config)
        refused = list(dataset.refused)
        splits = {}
        for name in SPLITS:
            splits[name] = _accepted(dataset.split(name), cast(LineSpec, spec).frames, refused)
            if not len(splits[name]):
                raise UserError(
                    f"the {name} split of {data} is empty ({len(refused):,} lines refused); give more lines"
                )
        train, examples = splits["train"], config.examples
        if examples and len(train) > examples:
            train = subset(train, examples)
        elif len(train) < examples != len(dataset.train):  # drawn data has that many, refused lines included
            raise UserError(f"{examples:,} training lines were asked for; there are {len(train):,}, ask for fewer")
        if config.drawn_lines:
            from common.data import ink_lines

            height, frames = cast(LineSpec, spec).height, cast(LineSpec, spec).frames
            drawn = ink_lines.split("train", config.drawn_lines, height, config.max_characters)
            train = joined(train, _accepted(drawn, frames, refused))
        return replace(
            dataset,
            charset=Charset.of(train.texts),
            train=train,
            validation=splits["validation"],
            test=splits["test"],
            refused=tuple(refused),
        )

    def decide(self, spec: Spec, dataset: LineDataset) -> Spec:
        decided: Spec = replace(cast(Any, spec), num_classes=len(dataset.charset) + spec.extra_classes)
        return decided

    def batches(self, dataset: LineDataset, spec: Spec, train: TrainConfig) -> LineBatches:
        augment = None
        if train.augment:
            from common.data.augment import augment_line  # imports Pillow

            augment = partial(augment_line, shear=train.augment_shear, elastic=train.augment_elastic)
        return LineBatches(
            dataset.train,
            dataset.charset,
            batch_size=train.batch_size,
            seed=train.seed,
            workers=train.workers,
            augment=augment,
            frames=cast(LineSpec, spec).frames,
        )

    def facts(self, dataset: LineDataset, batches: Batches[Any, Any]) -> dict[str, Any]:
        """The shapes that a framework compiled for, and the numbers of refused and of clipped lines."""
        shapes = cast(LineBatches, batches).shapes
        clipped = {"clipped": len(dataset.clipped)} if dataset.clipped else {}
        return {"buckets": [list(shape) for shape in shapes], "refused": len(dataset.refused), **clipped}

    def evaluate(
        self,
        recognizer: Recognizer,
        charset: Charset,
        split: LineSplit,
        data_charset: Charset,
        search: Search = BEST_PATH,
    ) -> LineEvaluation:
        return evaluate_lines(recognizer, charset, split, search)

    def sample(self, dataset: LineDataset, limit: int) -> LineSplit:
        train, validation = dataset.train, dataset.validation
        widest, longest = validation.widths_N.max(), max(map(len, validation.texts))
        fitting_N = np.array([len(text) <= longest for text in train.texts]) & (train.widths_N <= widest)
        indices_N = np.flatnonzero(fitting_N)
        return train.take(indices_N[evenly(len(indices_N), limit)])

    def evaluate_sample(
        self, recognizer: Recognizer, charset: Charset, sample: LineSplit, dataset: LineDataset
    ) -> LineEvaluation:
        return evaluate_lines(recognizer, charset, sample, BEST_PATH, dataset.validation)

    def contents(self, dataset: LineDataset, split: LineSplit) -> Iterable[tuple[np.ndarray, str]]:
        return zip((split.images[i] for i in range(len(split))), split.texts, strict=True)

    def check_search(self, spec: Spec, *, beam: int, ngram: bool) -> None:
        if (beam or ngram) and cast(LineSpec, spec).decodes:
            raise UserError(f"--beam and --ngram are for lstm_ctc, and this model is a {spec.rung}; leave them out")
        if ngram and not beam:
            raise UserError(f"--ngram weighs the texts of a beam; give --beam as well, such as --beam {BEAM_WIDTH}")

    def choose_prior(self, recognizer: Recognizer, charset: Charset, dataset: LineDataset) -> Prior | None:
        from common.evaluation.prior import choose_prior

        spec = cast(LineSpec, recognizer.spec)
        if spec.decodes:
            return None
        return choose_prior(recognizer, spec, charset, dataset.train.texts, dataset.validation)

    def profile(self, recognizer: Recognizer, charset: Charset, dataset: LineDataset, reader: str) -> Profile | None:
        from common.evaluation.profiling import profile_of_lines

        evaluation = evaluate_lines(recognizer, charset, dataset.validation)
        return profile_of_lines(evaluation, reader=reader, data=dataset.name)

    def prepare(self, image_HW: Image, spec: Spec) -> Image:
        from common.data.line_image import rows_of_text, to_line  # imports Pillow

        height = cast(LineSpec, spec).height
        line_HW = to_line(image_HW, height)
        rows = 1 if line_HW is image_HW else rows_of_text(image_HW)  # a prepared line stays as it is
        if rows >= _MOST_ROWS:
            raise UserError(
                f"the image seems to hold about {rows} lines of text above each other; this model reads one line, so "
                "cut each line out and give it as an image of its own"
            )
        if line_HW.shape[1] > WIDEST:
            raise UserError(
                f"the line is {line_HW.shape[1]:,} pixels wide once scaled to the height of {height}; "
                f"at most {WIDEST:,} are read, so cut it in parts"
            )
        return line_HW

    def read(
        self, recognizer: Recognizer, charset: Charset, images: Sequence[Image], search: Search = BEST_PATH
    ) -> list[Reading]:
        return read_lines(recognizer, charset, images, search)

    def texts(self, split: LineSplit) -> Sequence[str]:
        return split.texts

    def describe(self, dataset: LineDataset) -> list[str]:
        said = [f"{dataset.name} is ready: lines of {dataset.train.height} rows"]
        for name in SPLITS:
            split = dataset.split(name)
            by = "" if split.writers_N is None else f" by {len(np.unique(split.writers_N)):,} writers or pages"
            unseen = Counter(c for text in split.texts for c in text if c not in dataset.charset.class_of)
            other = f"; {unseen.total():,} characters that training never shows: {''.join(sorted(unseen))}"
            said.append(f"{name}: {len(split):,} lines{by}{other if unseen else ''}")
        characters = "".join(dataset.charset.characters)
        return [*said, f"charset: {len(dataset.charset)} characters: {characters}"]


def _accepted(split: LineSplit, frames: Callable[[int], int], refused: list[Refused]) -> LineSplit:
    """The lines that a model can learn from; the others are added to `refused`."""
    kept = []
    for i, (text, width) in enumerate(zip(split.texts, split.widths_N.tolist(), strict=True)):
        needed = frames_needed(text)
        if not text:
            reason = "it has no text"
        elif width > WIDEST:
            reason = f"it is {width} columns wide, more than {WIDEST}"
        elif frames(width) < needed:
            reason = f"its {width} columns give {frames(width)} frames where its text needs {needed}"
        else:
            kept.append(i)
            continue
        refused.append(Refused(name=split.names[i], reason=reason))
    return split if len(kept) == len(split) else split.take(np.array(kept, dtype=np.int64))


LINES = Lines()
