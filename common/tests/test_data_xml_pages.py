"""ALTO and PAGE files of the same page hold the same lines; any other file is refused in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest

from common.data.xml_pages import Page, TextLine, read_page
from common.errors import UserError

Corners = Sequence[tuple[int, int]]
SCHEMAS = ["ALTO 2", "ALTO 3", "ALTO 4", "PAGE 2013-07-15", "PAGE 2019-07-15"]
DECOMPOSED = "Cafe\u0301"  # e and a combining accent


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line to be written in any schema."""

    words: tuple[str, ...] = ("word",)
    polygon: Corners = ((10, 20), (200, 25), (200, 60), (10, 55))
    baseline: Corners = ((10, 48), (100, 51), (200, 53))


ROWS = (
    Row(words=(DECOMPOSED, "noir"), polygon=((10, 20), (90, 15), (200, 25), (200, 60), (10, 55))),
    Row(words=("a<b", '"&c"'), polygon=((12, 70), (210, 72), (209, 99)), baseline=((12, 90), (210, 93))),
)


@contextmanager
def refuses(*words: str) -> Iterator[None]:
    """Expect a user error: one sentence that contains the words."""
    with pytest.raises(UserError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message, message
    for word in words:
        assert word in message, f"{word!r} is not in {message!r}"


def points(corners: Corners, form: str = "x,y") -> str:
    return " ".join(f"{x},{y}" if form == "x,y" else f"{x} {y}" for x, y in corners)


def written(
    schema: str, rows: Sequence[Row], *, size: tuple[int, int] = (220, 110), image: str = "scan.png", form: str = "x,y"
) -> str:
    """A page's file in the schema, with `form` for its points: `x,y` or `x y`."""
    name, version = schema.split()
    lines = "".join(_alto_line(row, form) if name == "ALTO" else _page_line(row, form) for row in rows)
    width, height = size
    if name == "ALTO":
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<alto xmlns="http://www.loc.gov/standards/alto/ns-v{version}#">\n'
            "<Description><MeasurementUnit>pixel</MeasurementUnit><sourceImageInformation>"
            f"<fileName>{image}</fileName></sourceImageInformation></Description>\n"
            f'<Layout><Page WIDTH="{width}" HEIGHT="{height}"><PrintSpace><TextBlock>{lines}'
            "</TextBlock></PrintSpace></Page></Layout></alto>"
        )
    return (
        f'<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/{version}">\n'
        f'<Page imageFilename="{image}" imageWidth="{width}" imageHeight="{height}">\n'
        f"<TextRegion>{lines}</TextRegion></Page></PcGts>"
    )


def _alto_line(row: Row, form: str) -> str:
    strings = "<SP/>".join(f"<String CONTENT={quoteattr(word)}/>" for word in row.words)
    return (
        f'<TextLine HPOS="1" VPOS="2" WIDTH="3" HEIGHT="4" BASELINE="{points(row.baseline, form)}">'
        f'<Shape><Polygon POINTS="{points(row.polygon, form)}"/></Shape>{strings}</TextLine>\n'
    )


def _page_line(row: Row, form: str) -> str:
    text = " ".join(row.words).replace("&", "&amp;").replace("<", "&lt;")
    return (
        f'<TextLine><Coords points="{points(row.polygon, form)}"/><Baseline points="{points(row.baseline, form)}"/>'
        f"<Word><TextEquiv><Unicode>not the line's</Unicode></TextEquiv></Word>"
        f"<TextEquiv><Unicode>{text}</Unicode></TextEquiv></TextLine>\n"
    )


def read(folder: Path, content: str) -> Page:
    path = folder / "leaf.xml"
    path.write_text(content, encoding="utf-8")
    return read_page(path)


def alto(folder: Path, line: str, *, before: str = "") -> TextLine:
    """The line of an ALTO page whose only line is `line`."""
    page = f"{before}<Layout><Page>{line}</Page></Layout>"
    (found,) = read(folder, f'<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">{page}</alto>').lines
    return found


def page_xml(folder: Path, line: str) -> TextLine:
    """The line of a PAGE page whose only line is `line`."""
    namespace = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
    (found,) = read(folder, f'<PcGts xmlns="{namespace}"><Page><TextLine>{line}</TextLine></Page></PcGts>').lines
    return found


@pytest.mark.parametrize("form", ["x,y", "x y"])
@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_schema_gives_the_same_lines(tmp_path: Path, schema: str, form: str) -> None:
    page = read(tmp_path, written(schema, ROWS, form=form))
    assert (page.image_name, page.size) == ("scan.png", (220, 110))
    assert [line.number for line in page.lines] == [1, 2]
    assert [line.text for line in page.lines] == ["Caf\u00e9 noir", 'a<b "&c"']
    for line, row in zip(page.lines, ROWS, strict=True):
        np.testing.assert_array_equal(line.outline, row.polygon)
        np.testing.assert_array_equal(line.baseline, row.baseline)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('<String CONTENT="one"/><SP/><String CONTENT="two"/>', "one two"),
        ('<String CONTENT="one"/><String CONTENT="two"/>', "one two"),  # written without spaces
        ('<String CONTENT="on"/><String CONTENT="e"/><SP/><String CONTENT="two"/>', "one two"),
        ('<String CONTENT=" one  "/><SP/><SP/><String CONTENT="two&#9;"/>', "one two"),
        ('<SP/><String CONTENT="hand"/><HYP CONTENT="-"/>', "hand-"),
        ("", ""),
    ],
)
def test_strings_and_spaces_of_alto_make_one_text(tmp_path: Path, content: str, text: str) -> None:
    assert alto(tmp_path, f"<TextLine>{content}</TextLine>").text == text


def test_a_line_without_polygon_has_its_box(tmp_path: Path) -> None:
    line = alto(tmp_path, '<TextLine HPOS="5" VPOS="7.5" WIDTH="100" HEIGHT="20"/>')
    np.testing.assert_array_equal(line.outline, [(5, 7.5), (105, 7.5), (105, 27.5), (5, 27.5)])
    assert line.baseline.shape == (0, 2)
    bare = alto(tmp_path, "<TextLine/>")
    assert (bare.outline.shape, bare.baseline.shape) == ((0, 2), (0, 2))
    assert page_xml(tmp_path, "").outline.shape == (0, 2)


def test_a_baseline_of_one_number_is_level_from_end_to_end(tmp_path: Path) -> None:
    line = alto(tmp_path, '<TextLine HPOS="5" VPOS="7" WIDTH="100" HEIGHT="20" BASELINE="22"/>')
    np.testing.assert_array_equal(line.baseline, [(5, 22), (105, 22)])
    assert alto(tmp_path, '<TextLine BASELINE="22"/>').baseline.shape == (0, 2)


def test_the_best_of_several_readings_is_taken(tmp_path: Path) -> None:
    def reading(index: str, text: str) -> str:
        return f"<TextEquiv {index}><Unicode>{text}</Unicode></TextEquiv>"

    for readings in (
        reading('index="10"', "c") + reading('index="2"', "b") + reading('index="0"', "a"),
        reading('index="0"', "b") + reading("", "a"),
        reading("", "  a\n"),
    ):
        assert page_xml(tmp_path, readings).text == "a"
    assert page_xml(tmp_path, "<TextEquiv/>").text == ""


BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>\n'
SECRET = '<!DOCTYPE x [<!ENTITY s SYSTEM "secret.txt">]>\n'
GOOD = written("PAGE 2019-07-15", ROWS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (GOOD[:-5], ["not well-formed", "line 5", "export or copy it again"]),
        (GOOD.replace("</TextRegion>", "</Region>"), ["not well-formed", "mismatched tag", "line 5"]),
        ("", ["not well-formed"]),
        ('<?xml version="1.0" encoding="no-such"?>\n<a/>', ["not well-formed", "encoding"]),
        ("<TEI xmlns='http://www.tei-c.org/ns/1.0'/>", ["<TEI>", "http://www.tei-c.org/ns/1.0", "ALTO 2 to 4"]),
        (GOOD.replace("2019-07-15", "2010-03-19"), ["2010-03-19", "PAGE 2013 to 2019"]),
        (written("ALTO 5", ROWS), ["ns-v5", "expected ALTO 2 to 4"]),
        ("<alto/>", ["<alto>", "without a name"]),
        (BOMB + GOOD.replace("noir", "&b;"), ["declares entities", "remove"]),
        (SECRET + GOOD.replace("noir", "&s;"), ["declares entities", "remove"]),
        (GOOD.replace("</PcGts>", "<Page/></PcGts>"), ["describes 2 pages", "one page"]),
        (GOOD.replace("<Page ", "<Other ").replace("</Page>", "</Other>"), ["describes 0 pages"]),
        (GOOD.replace("12,70", "12,7O"), ["line 2", "'7O' is not a coordinate"]),
        (GOOD.replace("12,70", "12,nan"), ["line 2", "'nan' is not a coordinate"]),
        (GOOD.replace("12,70", "12"), ["line 2", "5 coordinates", "pairs"]),
        (GOOD.replace('imageWidth="220"', 'imageWidth="wide"'), ["'wide' is not a coordinate"]),
        (GOOD.replace("<TextEquiv><Unicode>a", '<TextEquiv index="first"><Unicode>a'), ["line 2", "'first'"]),
        (written("ALTO 4", ROWS).replace(">pixel<", ">mm10<"), ["measures in mm10", "expected pixels"]),
    ],
    ids=lambda value: ", ".join(value[:2]) if isinstance(value, list) else "",
)
def test_file_that_is_not_a_page_is_refused_by_name(tmp_path: Path, content: str, words: list[str]) -> None:
    (tmp_path / "secret.txt").write_text("a secret")
    with refuses("leaf.xml", *words):
        read(tmp_path, content)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "leaf.xml").mkdir()
    with refuses("leaf.xml cannot be read"):
        read_page(tmp_path / "leaf.xml")
