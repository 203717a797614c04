"""Pages of a folder as a data set: the splits of their lines, pictures on demand, and what is not known."""

# H height, W width

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.data import page_dataset, pages, prepared
from common.data.config import DataConfig
from common.data.dataset import SPLITS
from common.data.images import load_image
from common.data.page_dataset import PageDataset
from common.data.splits import subset
from common.errors import UserError
from common.spec import UNetSpec
from common.tasks.pages import PAGES
from common.tests.conftest import Command
from common.tests.test_data_pages import HEIGHT, ROW, SIZE, print_page, write
from common.tests.test_data_xml_pages import refuses

SIDE = 120


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "cache_folder", lambda: tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two collections of pages; some lines have no text, some pages nothing that can be read."""
    for collection, count in (("one", 24), ("two", 8)):
        (tmp_path / "all" / collection).mkdir(parents=True)
        for number in range(count):
            rows = [ROW] * (1 + number % 3) if number % 5 else [ROW, replace(ROW, words=("",))]
            write(tmp_path / "all" / collection, f"hand{number // 2:02}_{number % 2 + 1}", rows)
    write(tmp_path / "all" / "one", "hand99_1", [replace(ROW, words=("><",))])
    write(tmp_path / "all" / "one", "hand99_2", [])
    return tmp_path / "all"


def names(dataset: PageDataset) -> list[str]:
    return [name for split in SPLITS for name in dataset.split(split).names]


@pytest.mark.parametrize("pattern", ["", "^(.*)_[12]$"], ids=["page", "writer"])
def test_pages_are_in_the_splits_of_their_lines(folder: Path, pattern: str) -> None:
    found = page_dataset.load(folder, side=SIDE, writer_pattern=pattern)
    lines = pages.load(folder, height=HEIGHT, writer_pattern=pattern)
    for split in SPLITS:
        of_lines = {name.partition(",")[0] for name in lines.split(split).names}
        of_pages = set(found.split(split).names)
        # a page whose lines cannot be read has lines to find
        assert of_pages - of_lines == ({"one/hand99_1"} if split == "train" else set())
        assert of_lines <= of_pages
    assert [refused.name for refused in found.refused] == ["one/hand99_2"]
    assert found.refused[0].reason == "the page has no lines"


def test_no_writer_is_in_two_splits(folder: Path) -> None:
    dataset = page_dataset.load(folder, side=SIDE, writer_pattern="^(.*)_[12]$")
    writers = [set(np.unique(np.asarray(dataset.split(split).writers_N))) for split in SPLITS]
    assert sum(map(len, writers)) == len(set().union(*writers)) == 17


def test_pictures_are_read_when_they_are_needed_and_images_are_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(path: Path) -> np.ndarray:
        read.append(path.name)
        return load_image(path)

    monkeypatch.setattr("common.data.page_files.load_image", counted)
    dataset = page_dataset.load(folder, side=SIDE)
    assert read == []
    first = dataset.train.images[3]
    assert dataset.train.take(np.array([3])).images[0] is first
    assert subset(dataset.train, len(dataset.train)).images[3] is first
    assert len(read) == 1
    picture_HW = dataset.train.pictures[3]
    assert picture_HW.shape == SIZE[::-1]
    assert len(read) == 2
    scale = dataset.train.scales_N[3]
    assert first.shape == (round(SIZE[1] * scale), round(SIZE[0] * scale))


def test_lines_are_in_pixels_of_the_picture_and_clipped(folder: Path) -> None:
    write(folder / "one", "hand01_1", [replace(ROW, polygon=((-9, 20), (329, 20), (329, 75), (-9, 75)))])
    dataset = page_dataset.load(folder, side=SIDE)
    assert dataset.clipped == ("one/hand01_1, line 1",)
    split = next(split for split in map(dataset.split, SPLITS) if "one/hand01_1" in split.names)
    (line,) = split.lines[list(split.names).index("one/hand01_1")]
    assert line.outline.min(axis=0).tolist() == [0, 20]
    assert line.outline.max(axis=0).tolist() == [SIZE[0], 75]
    assert line.baseline.tolist() == [list(point) for point in ROW.baseline]


def test_a_line_without_a_baseline_is_of_unknown_truth(folder: Path) -> None:
    write(folder / "one", "hand01_1", [ROW, replace(ROW, baseline=())])
    dataset = page_dataset.load(folder, side=SIDE)
    assert ("one/hand01_1, line 2", "has no baseline") in [(each.name, each.reason) for each in dataset.refused]
    split = next(split for split in map(dataset.split, SPLITS) if "one/hand01_1" in split.names)
    i = list(split.names).index("one/hand01_1")
    assert len(split.lines[i]) == 1
    (polygon,) = split.unknown[i]
    assert polygon.tolist() == [list(corner) for corner in ROW.polygon]


def test_an_image_that_is_missing_or_of_another_size_is_refused_at_once(folder: Path) -> None:
    print_page().resize((640, 300)).save(folder / "one" / "hand01_1.png")
    with refuses("hand01_1.png is 640×300 pixels but hand01_1.xml says 320×150"):
        page_dataset.load(folder, side=SIDE)
    (folder / "one" / "hand01_1.png").unlink()
    with refuses("the image of hand01_1.xml is missing"):
        page_dataset.load(folder, side=SIDE)


def test_a_folder_whose_pages_have_no_lines_is_refused(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path, name, [replace(ROW, polygon=())] if name == "a" else [ROW])
    with pytest.raises(UserError, match="expected at least 3"):
        page_dataset.load(tmp_path, side=SIDE)


def test_drawn_pages_join_the_training_split_only(folder: Path) -> None:
    spec = UNetSpec(side=SIDE, channels=(4, 4))
    plain = PAGES.load(f"pages:{folder}", spec, DataConfig())
    mixed = PAGES.load(f"pages:{folder}", spec, DataConfig(drawn_pages=6))
    assert len(mixed.train) == len(plain.train) + 6
    assert list(mixed.train.names[: len(plain.train)]) == list(plain.train.names)
    assert (list(mixed.validation.names), list(mixed.test.names)) == (
        list(plain.validation.names),
        list(plain.test.names),
    )
    last = len(mixed.train) - 1
    assert mixed.train.images[last].ndim == 2
    assert mixed.train.lines[last]
    assert mixed.train.writers_N is not None
    assert not set(mixed.train.writers_N[-6:]) & set(mixed.train.writers_N[:-6])


def test_pages_are_listed_prepared_and_shown(folder: Path, command: Command, tmp_path: Path) -> None:
    assert "(lines, pages)" in command("data", "list").out
    data = f"pages:{folder}"
    said = command("data", "prepare", data, "--as", "pages", "--writer-pattern", "^(.*)_[12]$")
    assert said.code == 0, said
    assert "pages is ready: pages with their lines" in said.out
    assert "refused: 1 lines; --refused names them" in said.out
    assert "the page has no lines" in command("data", "prepare", data, "--as", "pages", "--refused").out
    sheets = [tmp_path / "sheet.png", tmp_path / "augmented.png"]
    assert command("data", "show", data, "--as", "pages", "--out", sheets[0]).code == 0
    assert command("data", "show", data, "--as", "pages", "--augment", "--out", sheets[1]).code == 0
    assert sheets[0].read_bytes()[:4] == sheets[1].read_bytes()[:4] == b"\x89PNG"
    command("data", "prepare", data, "--as", "pages", "--height", 30).refuses("--height", "are for lines")
    command("data", "prepare", "ink_lines", "--as", "pages").refuses("ink_lines holds lines where pages are needed")
