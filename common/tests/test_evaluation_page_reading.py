"""Evaluating a page's reader, with a finder and a recognizer whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from common.charset import Charset
from common.data.page_dataset import PageSplit, page_split
from common.data.xml_pages import TextLine
from common.evaluation import page_reading
from common.evaluation.finding import finding_figures, page_finding
from common.evaluation.page_reading import PageEvaluation, read_own_lines, read_pages
from common.reading.finding import FoundLine
from common.spec import LSTMCTCSpec, UNetSpec


class Finder:
    """The finder is never asked: `find_lines` is replaced."""

    packages = ()
    spec = UNetSpec()


class Recognizer:
    """Reads `a` in every line."""

    packages = ()
    spec = LSTMCTCSpec(num_classes=3)

    def logits(self, images_BHW1: np.ndarray, widths_B: np.ndarray, labels_BL: np.ndarray | None = None) -> np.ndarray:
        logits = np.zeros((len(images_BHW1), self.spec.frames(images_BHW1.shape[2]), 3), np.float32)
        logits[:, :, 0] = 9
        logits[:, 0] = (0, 9, 0)
        return logits


CHARSET = Charset(("a", "b"))


def corners(y: float, left: float = 20, right: float = 380) -> np.ndarray:
    return np.array([(left, y - 30), (right, y - 30), (right, y + 10), (left, y + 10)], dtype=np.float64)


def truth(text: str, y: float) -> TextLine:
    return TextLine(number=1, text=text, outline=corners(y), baseline=np.array([(20.0, y), (380.0, y)]))


def found(y: float, right: float = 380) -> FoundLine:
    return FoundLine(baseline=np.array([(20.0, y), (right, y)]), outline=corners(y, right=right), score=1.0)


def page(inked: Sequence[float]) -> np.ndarray:
    """A page with ink above these baselines."""
    picture_HW = np.full((400, 400), 255, np.uint8)
    for y in inked:
        picture_HW[int(y) - 20 : int(y), 30:370:8] = 0
    return picture_HW


def split_of(lines: Sequence[tuple[TextLine, ...]], unknown: Sequence[tuple[np.ndarray, ...]]) -> PageSplit:
    pictures = [page([line.baseline[0, 1] for line in each] + [200, 350]) for each in lines]
    names = [f"{'one' if i == 0 else 'two'}/page{i}" for i in range(len(lines))]
    return page_split(
        pictures=pictures,
        side=64,
        scales=[0.16] * len(lines),
        lines=lines,
        names=names,
        unknown=unknown,
        writers_N=np.arange(len(lines)),
    )


@pytest.fixture
def evaluation(monkeypatch: pytest.MonkeyPatch) -> PageEvaluation:
    """Two pages: on the first everything is right; on the second a line is missed and one is invented."""
    lines = [(truth("a", 50), truth("a", 100)), (truth("ab", 50), truth("ab", 100), truth("aaa", 150))]
    split = split_of(lines, [(), (corners(200),)])
    # on the second page: the first two lines, one where the truth is not known, and one that is invented
    answers = [[found(50), found(100)], [found(50), found(100), found(200), found(350)]]
    of_picture = {id(picture): answer for picture, answer in zip(split.pictures, answers, strict=True)}
    monkeypatch.setattr(page_reading, "find_lines", lambda _, picture_HW: of_picture[id(picture_HW)])
    results = list(read_pages(Finder(), Recognizer(), CHARSET, split))
    return PageEvaluation(results=results, writers_N=split.writers_N)


def test_figures_of_all_pages_and_of_each_collection(evaluation: PageEvaluation) -> None:
    figures = evaluation.figures()
    # 5 true lines; 6 found lines, of which one does not count; 4 are right
    assert figures["precision"] == pytest.approx(4 / 5)
    assert figures["recall"] == pytest.approx(4 / 5)
    assert figures["f1"] == pytest.approx(4 / 5)
    # a|a read as a|a. ab|ab|aaa read as a|a|a: two b and one aa are not read
    assert (figures["characters"], figures["examples"], figures["pages"]) == (3 + 9, 2, 2)
    assert figures["cer_misreading"] == pytest.approx(2 / 12)
    assert figures["cer_missed"] == pytest.approx(4 / 12)
    assert figures["cer_invented"] == pytest.approx(2 / 12)
    assert figures["cer_own_lines"] == pytest.approx(4 / 12)
    assert list(figures["collections"]) == ["one", "two"]
    assert figures["collections"]["one"]["cer"] == 0
    assert figures["collections"]["two"]["recall"] == pytest.approx(2 / 3)
    assert figures["collections"]["two"]["characters"] == 9


def test_each_page_is_named_the_worst_first(evaluation: PageEvaluation) -> None:
    pages = evaluation.figures()["each_page"]
    assert [each["page"] for each in pages] == ["two/page1", "one/page0"]
    assert (pages[0]["lines"], pages[0]["lines_found"], pages[0]["lines_matched"]) == (3, 3, 2)
    assert pages[0]["edits"] == evaluation.results[1].score.edits > 0
    assert pages[0]["cer"] == pytest.approx(pages[0]["edits"] / 9)


def test_one_collection_has_no_figures_of_its_own(evaluation: PageEvaluation) -> None:
    first = PageEvaluation(results=evaluation.results[:1], writers_N=None)
    assert "collections" not in first.figures()


def test_own_lines_are_cut_by_their_own_outlines_and_kept_in_order() -> None:
    lines = [truth("a", 50), truth("b", 300), truth("a", 100)]  # nothing is written at 300
    assert read_own_lines(Recognizer(), CHARSET, page([50, 100]), lines) == ["a", None, "a"]


def test_a_found_line_counts_unless_the_truth_is_unknown_where_it_lies() -> None:
    true = [truth("a", 50), truth("a", 100)]
    lines = [found(50), found(200)]
    assert page_finding(true, lines, [], (400, 400)).found == 2
    assert page_finding(true, lines, [corners(200)], (400, 400)).found == 1
    # a line that matches a true line always counts
    assert page_finding(true, lines, [corners(50)], (400, 400)).found == 2


def test_area_of_outlines_that_is_common_and_that_is_covered() -> None:
    finding = page_finding([truth("a", 100)], [found(100, right=200)], [], (400, 400))
    assert finding.common_pixels / finding.all_pixels == pytest.approx(180 / 360, abs=0.01)
    # pixels where the truth is not known count for neither
    finding = page_finding([truth("a", 100)], [found(100, right=200)], [corners(100, left=200)], (400, 400))
    assert finding.common_pixels / finding.all_pixels == pytest.approx(1, abs=0.02)
    large = page_finding([truth("a", 100)], [found(100)], [], (4000, 400))
    assert large.all_pixels < 361 * 41 / 10  # at a reduced size


def test_rates_of_finding_add_up_over_pages() -> None:
    one = page_finding([truth("a", 50)], [found(50), found(200)], [], (400, 400))
    two = page_finding([truth("a", 50), truth("a", 100)], [found(50)], [], (400, 400))
    figures = finding_figures([one, two], np.array([0, 1]))
    assert (figures["precision"], figures["recall"], figures["f1"]) == (2 / 3, 2 / 3, 2 / 3)
    assert figures["recall_interval"] == [0.5, 1.0]
    assert (figures["lines_true"], figures["lines_found"]) == (3, 3)
