"""The task of finding the lines of a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from common.charset import Charset
from common.config import TrainConfig
from common.data.batches import Batches
from common.data.config import DataConfig
from common.data.dataset import SPLITS
from common.data.page_batches import PageBatches
from common.data.page_dataset import PageDataset, PageSplit, joined
from common.errors import UserError
from common.evaluation.finding import FindingEvaluation, evaluate_finder
from common.evaluation.measure import F1
from common.evaluation.profile import Profile
from common.reading.ngram import Prior
from common.reading.result import Reading
from common.reading.search import BEST_PATH, Search
from common.recognizer import Recognizer
from common.sampling import evenly
from common.spec import Spec, UNetSpec
from common.tasks.task import Image


class Pages:
    """Pages, on which lines are found; see `Task`. The example of a split is a page with its lines."""

    name = "pages"
    example = "page"
    default_data = "ink_pages"
    default_train = TrainConfig(batch_size=4, learning_rate=3e-3, augment=True)
    measure = F1
    sample_step = 1

    def check(self, spec: Spec, train: TrainConfig, config: DataConfig) -> None:
        if config.balance:
            raise UserError(f"--data.balance is for characters, and {spec.rung} finds lines; leave it out")
        if config.hold_out:
            raise UserError(f"--data.hold-out is for reading lines, and {spec.rung} finds lines; leave it out")
        if config.drawn_lines:
            raise UserError(f"--data.drawn-lines is for reading lines, and {spec.rung} finds lines; leave it out")

    def load(self, data: str, spec: Spec, config: DataConfig) -> PageDataset:
        from common.data import sources  # imports Pillow
        from common.data.splits import subset

        source, path = sources.parse(data, "pages")
        load = source.loader("pages")
        assert load is not None, "data that was parsed for pages has pages"
        dataset: PageDataset = load(path, cast(UNetSpec, spec).side, config)
        train = dataset.train
        if config.examples and not source.drawn:
            train = subset(train, config.examples)
        if config.drawn_pages:
            from common.data import ink_pages

            train = joined(train, ink_pages.load(config.drawn_pages, side=cast(UNetSpec, spec).side).train)
        return replace(dataset, train=train)

    def decide(self, spec: Spec, dataset: PageDataset) -> Spec:
        return spec

    def batches(self, dataset: PageDataset, spec: Spec, train: TrainConfig) -> PageBatches:
        return PageBatches(
            dataset.train,
            batch_size=train.batch_size,
            seed=train.seed,
            spec=cast(UNetSpec, spec),
            workers=train.workers,
            augment=train.augment,
        )

    def facts(self, dataset: PageDataset, batches: Batches[Any, Any]) -> dict[str, Any]:
        """The shape that a framework compiled for, and the numbers of refused and of clipped lines."""
        shape = list(cast(PageBatches, batches).shape)
        return {"buckets": [shape], "refused": len(dataset.refused), "clipped": len(dataset.clipped)}

    def evaluate(
        self,
        recognizer: Recognizer,
        charset: Charset,
        split: PageSplit,
        data_charset: Charset,
        search: Search = BEST_PATH,
    ) -> FindingEvaluation:
        return evaluate_finder(recognizer, cast(UNetSpec, recognizer.spec), split)

    def sample(self, dataset: PageDataset, limit: int) -> PageSplit:
        return dataset.train.take(np.array(evenly(len(dataset.train), limit), dtype=np.int64))

    def evaluate_sample(
        self, recognizer: Recognizer, charset: Charset, sample: PageSplit, dataset: PageDataset
    ) -> FindingEvaluation:
        return self.evaluate(recognizer, charset, sample, dataset.charset)

    def contents(self, dataset: PageDataset, split: PageSplit) -> Iterable[tuple[np.ndarray, str]]:
        nothing = np.zeros((0, 0), np.uint8)
        for scale, lines in zip(split.scales_N.tolist(), split.lines, strict=True):
            places = [[np.round(points, 1).tolist() for points in (line.outline, line.baseline)] for line in lines]
            yield nothing, json.dumps([round(scale, 6), [line.text for line in lines], places])

    def check_search(self, spec: Spec, *, beam: int, ngram: bool) -> None:
        if beam or ngram:
            raise UserError(f"--beam and --ngram are for lstm_ctc, and this model is a {spec.rung}; leave them out")

    def choose_prior(self, recognizer: Recognizer, charset: Charset, dataset: PageDataset) -> Prior | None:
        return None

    def profile(self, recognizer: Recognizer, charset: Charset, dataset: PageDataset, reader: str) -> Profile | None:
        return None

    def prepare(self, image_HW: Image, spec: Spec) -> Image:
        from common.data.page_image import page_image  # imports Pillow

        return page_image(image_HW, cast(UNetSpec, spec).side)[0]

    def read(
        self, recognizer: Recognizer, charset: Charset, images: Sequence[Image], search: Search = BEST_PATH
    ) -> list[Reading]:
        raise UserError("a unet finds the lines of a page and reads no text; name a model of lstm_ctc or transformer")

    def texts(self, split: PageSplit) -> Sequence[str]:
        return ["\n".join(line.text for line in lines) for lines in split.lines]

    def describe(self, dataset: PageDataset) -> list[str]:
        said = [f"{dataset.name} is ready: pages with their lines"]
        for name in SPLITS:
            split = dataset.split(name)
            lines = sum(map(len, split.lines))
            by = "" if split.writers_N is None else f" by {len(np.unique(split.writers_N)):,} writers or of their own"
            said.append(f"{name}: {len(split):,} pages{by}, {lines:,} lines")
        return said


PAGES = Pages()
