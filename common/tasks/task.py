"""The interface of a task."""

# H height, W width

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt8

from common.charset import Charset
from common.config import TrainConfig
from common.data.batches import Batches
from common.data.config import DataConfig
from common.data.dataset import AnyDataset, AnySplit
from common.evaluation.evaluation import Evaluation
from common.evaluation.measure import Measure
from common.evaluation.profile import Profile
from common.reading.ngram import Prior
from common.reading.result import Reading
from common.reading.search import BEST_PATH, Search
from common.recognizer import Recognizer
from common.spec import Spec

Image = UInt8[np.ndarray, "H W"]


class Task(Protocol):
    """What a model reads: single characters, lines, or pages.

    A task takes a split, a data set and a spec of its own kind. Other code passes them on and never asks which kind
    they are.
    """

    name: str
    """characters, lines or pages."""
    example: str
    """The name of one example in a sentence: image, line or page."""
    default_data: str
    """The data set that needs no download."""
    default_train: TrainConfig
    """The defaults of the training flags."""
    measure: Measure
    sample_step: int
    """The size of a sample of training examples is a multiple of it: the batch that an evaluation reads at once."""

    def check(self, spec: Spec, train: TrainConfig, config: DataConfig) -> None:
        """Refuse settings of another task.

        Raises:
            UserError: a setting that has no meaning here; the message names its flag.
        """

    def load(self, data: str, spec: Spec, config: DataConfig) -> AnyDataset:
        """The data set `NAME` or `NAME:FOLDER`, downloaded or prepared if necessary.

        Raises:
            UserError: an unknown name, data for another task, files that are missing or damaged, or too few examples.
        """

    def decide(self, spec: Spec, dataset: AnyDataset) -> Spec:
        """The spec with the fields that the data decides."""

    def batches(self, dataset: AnyDataset, spec: Spec, train: TrainConfig) -> Batches[Any, Any]:
        """The training batches."""

    def facts(self, dataset: AnyDataset, batches: Batches[Any, Any]) -> dict[str, Any]:
        """Figures about data and batches for result.json."""

    def evaluate(
        self,
        recognizer: Recognizer,
        charset: Charset,
        split: AnySplit,
        data_charset: Charset,
        search: Search = BEST_PATH,
    ) -> Evaluation:
        """Evaluate a recognizer on a whole split.

        Args:
            recognizer: the model.
            charset: the model's characters.
            split: the examples.
            data_charset: the data set's characters.
            search: lines only: how CTC's scores become text.

        Raises:
            UserError: images of another size than the model reads, or no character that the model knows.
        """

    def sample(self, dataset: AnyDataset, limit: int) -> AnySplit:
        """At most `limit` training examples, spread over the split, to be evaluated with `evaluate_sample`."""

    def evaluate_sample(
        self, recognizer: Recognizer, charset: Charset, sample: AnySplit, dataset: AnyDataset
    ) -> Evaluation:
        """Evaluate a recognizer on a sample, in batches of the shapes that validation has.

        A framework that compiles for each shape then compiles nothing for the sample.
        """

    def contents(self, dataset: AnyDataset, split: AnySplit) -> Iterable[tuple[np.ndarray, str]]:
        """The image and the truth of each example, for a hash of the data. Of pages the image is left out.

        The images of pages are made while a model trains, which takes minutes; their lines identify them.
        """

    def check_search(self, spec: Spec, *, beam: int, ngram: bool) -> None:
        """Refuse a search that the model cannot use.

        Raises:
            UserError: a beam or a language model where the model does not use CTC, or a language model without a beam.
        """

    def choose_prior(self, recognizer: Recognizer, charset: Charset, dataset: AnyDataset) -> Prior | None:
        """The character language model of a trained model; None if the model cannot use one."""

    def profile(self, recognizer: Recognizer, charset: Charset, dataset: AnyDataset, reader: str) -> Profile | None:
        """The profile of the validation split, with which a service compares what comes in; None if there is none.

        Args:
            recognizer: the trained model.
            charset: the model's characters.
            dataset: the data.
            reader: identity of the model.
        """

    def prepare(self, image_HW: Image, spec: Spec) -> Image:
        """Bring a person's image to the form of the training images.

        Raises:
            UserError: the image is blank, or does not show what the model reads.
        """

    def read(
        self, recognizer: Recognizer, charset: Charset, images: Sequence[Image], search: Search = BEST_PATH
    ) -> list[Reading]:
        """The text of each prepared image."""

    def texts(self, split: AnySplit) -> Sequence[str] | None:
        """The text of each example; None where an example is a single character."""

    def describe(self, dataset: AnyDataset) -> list[str]:
        """A data set in words, a sentence each."""
