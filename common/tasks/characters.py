"""The task of reading single characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from common.charset import Charset
from common.config import TrainConfig
from common.data.batches import Batches
from common.data.characters import CharacterBatches, CharacterDataset, CharacterSplit
from common.data.config import DataConfig
from common.data.dataset import SPLITS
from common.errors import UserError
from common.evaluation.characters import CharacterEvaluation, evaluate_characters, read_characters
from common.evaluation.measure import ACCURACY
from common.evaluation.profile import Profile
from common.reading.ngram import Prior
from common.reading.result import Reading
from common.reading.search import BEST_PATH, Search
from common.recognizer import Recognizer
from common.sampling import evenly
from common.spec import CharacterSpec, CNNSpec, MLPSpec, Spec
from common.tasks.task import Image


class Characters:
    """Single characters; see `Task`."""

    name = "characters"
    example = "image"
    default_data = "ink"
    default_train = TrainConfig()
    measure = ACCURACY
    sample_step = 128

    def check(self, spec: Spec, train: TrainConfig, config: DataConfig) -> None:
        for flag, holds, given in (
            ("--train.augment", "lines", train.augment),
            ("--data.writer-pattern", "lines", config.writer_pattern),
            ("--data.drawn-lines", "lines", config.drawn_lines),
            ("--data.hold-out", "lines", config.hold_out),
            ("--data.drawn-pages", "pages", config.drawn_pages),
        ):
            if given:
                raise UserError(f"{flag} is for {holds}, and {spec.rung} reads characters; leave it out")

    def load(self, data: str, spec: Spec, config: DataConfig) -> CharacterDataset:
        from common.data import sources  # imports Pillow
        from common.data.splits import balanced, subset

        source, path = sources.parse(data, "characters")
        dataset: CharacterDataset = source.load(path, cast(CharacterSpec, spec).height, config)
        train = balanced(dataset.train) if config.balance else dataset.train
        if config.examples and not source.drawn:
            train = subset(train, config.examples)
        return replace(dataset, train=train)

    def decide(self, spec: Spec, dataset: CharacterDataset) -> Spec:
        height, width = dataset.train.images_NHW.shape[1:]
        return replace(cast(MLPSpec | CNNSpec, spec), num_classes=len(dataset.charset), height=height, width=width)

    def batches(self, dataset: CharacterDataset, spec: Spec, train: TrainConfig) -> CharacterBatches:
        return CharacterBatches(dataset.train, batch_size=train.batch_size, seed=train.seed, workers=train.workers)

    def facts(self, dataset: CharacterDataset, batches: Batches[Any, Any]) -> dict[str, Any]:
        return {}

    def evaluate(
        self,
        recognizer: Recognizer,
        charset: Charset,
        split: CharacterSplit,
        data_charset: Charset,
        search: Search = BEST_PATH,
    ) -> CharacterEvaluation:
        return evaluate_characters(recognizer, charset, split, data_charset)

    def sample(self, dataset: CharacterDataset, limit: int) -> CharacterSplit:
        return dataset.train.take(np.array(evenly(len(dataset.train), limit), dtype=np.int64))

    def evaluate_sample(
        self, recognizer: Recognizer, charset: Charset, sample: CharacterSplit, dataset: CharacterDataset
    ) -> CharacterEvaluation:
        return self.evaluate(recognizer, charset, sample, dataset.charset)

    def contents(self, dataset: CharacterDataset, split: CharacterSplit) -> Iterable[tuple[np.ndarray, str]]:
        characters = dataset.charset.characters
        return zip(split.images_NHW, (characters[k] for k in split.labels_N), strict=True)

    def check_search(self, spec: Spec, *, beam: int, ngram: bool) -> None:
        if beam or ngram:
            raise UserError(f"--beam and --ngram are for lstm_ctc, and this model is a {spec.rung}; leave them out")

    def choose_prior(self, recognizer: Recognizer, charset: Charset, dataset: CharacterDataset) -> Prior | None:
        return None

    def profile(
        self, recognizer: Recognizer, charset: Charset, dataset: CharacterDataset, reader: str
    ) -> Profile | None:
        return None

    def prepare(self, image_HW: Image, spec: Spec) -> Image:
        from common.data.character_image import to_character  # imports Pillow

        own = cast(CharacterSpec, spec)
        return to_character(image_HW, own.height, own.width)

    def read(
        self, recognizer: Recognizer, charset: Charset, images: Sequence[Image], search: Search = BEST_PATH
    ) -> list[Reading]:
        return read_characters(recognizer, charset, np.stack(images))

    def texts(self, split: CharacterSplit) -> None:
        return None

    def describe(self, dataset: CharacterDataset) -> list[str]:
        height, width = dataset.train.images_NHW.shape[1:]
        splits = [(name, dataset.split(name)) for name in SPLITS]
        return [
            f"{dataset.name} is ready: images of {height}×{width} pixels",
            *(f"{name}: {len(split):,} images{_by_writers(split)}" for name, split in splits),
            f"charset: {len(dataset.charset)} characters: {''.join(dataset.charset.characters)}",
        ]


def _by_writers(split: CharacterSplit) -> str:
    return "" if split.writers_N is None else f" by {len(np.unique(split.writers_N)):,} writers"


CHARACTERS = Characters()
