"""Lines divided by writer: no writer is in two splits, and the sizes of the splits can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from common.data.dataset import SPLITS
from common.data.lines import LineDataset, LineSplit
from common.data.prepared import Prepared
from common.data.splits import by_group
from common.errors import UserError


def divide(lines_of_writer: list[int]) -> LineDataset:
    """Divide lines. Writer w has `lines_of_writer[w]` of them; the text of a line is the writer's letter."""
    writers = [chr(ord("A") + writer) for writer, lines in enumerate(lines_of_writer) for _ in range(lines)]
    count = len(writers)
    lines = LineSplit(
        images=[np.zeros((2, 3), np.uint8)] * count,
        widths_N=np.full(count, 3),
        texts=writers,
        names=[f"line {i}" for i in range(count)],
    )
    return by_group("data", Prepared(lines=lines, groups=(), refused=()), writers)


def writers(dataset: LineDataset) -> list[set[str]]:
    return [set(dataset.split(name).texts) for name in SPLITS]


@pytest.mark.parametrize("lines_of_writer", [[10] * 10, [5] * 20, [1, 2, 30, 4, 5, 6, 7, 1, 1, 3], [9, 1, 1]])
def test_every_line_is_in_one_split_and_so_is_every_writer(lines_of_writer: list[int]) -> None:
    dataset = divide(lines_of_writer)
    names = [name for split in SPLITS for name in dataset.split(split).names]
    assert sorted(names) == sorted(f"line {i}" for i in range(sum(lines_of_writer)))
    assert all(writers(dataset))
    assert sum(map(len, writers(dataset))) == len(lines_of_writer)
    for split in SPLITS:
        part = dataset.split(split)
        assert part.writers_N is not None
        assert [chr(ord("A") + writer) for writer in part.writers_N] == list(part.texts)


@pytest.mark.parametrize(("each", "count"), [(10, 10), (5, 20), (10, 20)])
def test_validation_and_test_have_a_tenth_of_the_lines_each(each: int, count: int) -> None:
    dataset = divide([each] * count)
    sizes = [len(dataset.split(name)) for name in SPLITS]
    assert sizes == [each * count * 8 // 10, each * count // 10, each * count // 10]


def test_the_same_lines_are_divided_in_the_same_way() -> None:
    first, second = divide([3] * 20), divide([3] * 20)
    assert writers(first) == writers(second)
    assert writers(first)[2] != {"A", "B"}, "writers are drawn, and not taken in their order"


def test_two_writers_cannot_be_divided_into_three_splits() -> None:
    with pytest.raises(UserError, match="holds lines of 2 pages or writers; expected at least 3"):
        divide([5, 5])
