"""Evaluating a page's reader: a run of `unet` with the shipped recognizer, or the shipped reader alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from common.data.config import DataConfig
from common.data.dataset import SPLITS
from common.data.page_dataset import PageSplit, Picture
from common.errors import UserError
from common.evaluation.finding import evaluate_finder
from common.evaluation.page_reading import PageEvaluation, read_pages
from common.machine import versions
from common.reading.finding import FoundLine
from common.reading.page import PageReading
from common.reading.search import Search
from common.reading.shipped import FINDER, check_shipped
from common.recognizer import Device
from common.spec import UNetSpec
from common.tasks import PAGES
from common.terminal import progress_bar
from common.training.page_reader import PageReader
from common.training.trained import data_config_of, open_weights, trained_in

ALL = "all"
"""The name of all splits together."""


def evaluate_pages(
    run: Path | None,
    *,
    framework: str | None,
    data: str | None,
    split: str,
    device: Device,
    beam: int | None = None,
    ngram: bool | None = None,
    writer_pattern: str | None = None,
) -> dict[str, Any]:
    """Find and read the lines of pages, and compare both with the truth; see `fourhands.evaluate`.

    Args:
        run: a run folder or a weights file of `unet`; None for the finder that ships.
        framework: as for `fourhands.evaluate`.
        data: NAME or NAME:FOLDER; None takes the data that the run was trained on.
        split: train, validation, test or all.
        device: cpu or gpu.
        beam: width of the beam search; None takes the shipped reader's default.
        ngram: whether to weigh texts with the shipped character language model; None takes the shipped reader's
            default.
        writer_pattern: of the data; None takes that of the run if `data` is its own, else pages are writers.

    Raises:
        UserError: no such run, data without pages, or a search that the reader cannot use.
    """
    content = open_weights(run or check_shipped(FINDER))
    own = content.provenance.get("data") if run else None
    data = data or own
    if not isinstance(data, str):
        raise UserError("there is no data to evaluate on; give --data, such as --data pages:FOLDER")
    config = data_config_of(content) if data == own else DataConfig()
    if writer_pattern is not None:
        config = replace(config, writer_pattern=writer_pattern)
    dataset = PAGES.load(data, content.spec, config)
    reader = PageReader.open_for(run, framework, device)
    search = reader.search(beam, ngram)
    splits = [dataset.split(name) for name in (SPLITS if split == ALL else (split,))]
    evaluation = _evaluated(reader, splits, search)
    spec = cast(UNetSpec, content.spec)
    maps = {} if split == ALL else evaluate_finder(reader.finder, spec, splits[0]).figures()
    return {
        "rung": content.spec.rung,
        "framework": reader.framework,
        "device": device,
        "trained_in": trained_in(content),
        "data": data,
        "split": split,
        "beam": search.beam,
        "ngram": search.prior is not None,
        **maps,
        **evaluation.figures(),
        "versions": versions(reader.finder.packages),
        **({"note": reader.note} if reader.note else {}),
    }


def _evaluated(reader: PageReader, splits: list[PageSplit], search: Search) -> PageEvaluation:
    recognizer, charset = reader.reader.recognizer, reader.reader.content.charset

    def read(found: Sequence[FoundLine], picture_HW: Picture) -> PageReading:
        try:
            return reader.read_page(picture_HW, found, search)
        except UserError:  # no writing was found
            return PageReading(size=picture_HW.shape[::-1], lines=(), confidence=0.0)

    results = []
    with progress_bar() as bar:
        task = None if bar is None else bar.add_task("reading", total=sum(map(len, splits)))
        for split in splits:
            for result in read_pages(reader.finder, recognizer, charset, split, search, read):
                results.append(result)
                if bar is not None and task is not None:
                    bar.advance(task)
    numbers = [split.writers_N for split in splits if split.writers_N is not None]
    return PageEvaluation(results=results, writers_N=np.concatenate(numbers) if len(numbers) == len(splits) else None)
