"""Documents: image files of any kind, TIFF and PDF files with many pages, folders and patterns, and their limits."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.data import documents
from common.data.documents import Document, find_documents, open_document
from common.data.images import MAX_PIXELS
from common.errors import TooLargeError, UserError

pdfium = pytest.importorskip("pypdfium2", reason="needs pypdfium2: pip install pypdfium2")


def page(shade: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A light page with a dark spot in its upper left corner."""
    picture = Image.new("L", size, 255)
    picture.paste(shade, (2, 2, 12, 8))
    return picture


def spot(picture_HW: np.ndarray) -> int:
    """The grey level of the spot."""
    return int(picture_HW[5, 6])


def pictures(path: Path) -> list[np.ndarray]:
    with open_document(path) as pages:
        return list(pages)


# --- kinds of files
def cmyk(path: Path) -> None:
    page(80).convert("RGB").convert("CMYK").save(path, "JPEG", quality=95)


def sixteen_bits(path: Path) -> None:
    Image.fromarray(np.asarray(page(80)).astype(np.uint16) * 257).save(path, "PNG")


def palette(path: Path) -> None:
    page(80).convert("P").save(path, "GIF")


def alpha(path: Path) -> None:
    ink = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    ink.paste((80, 80, 80, 255), (2, 2, 12, 8))
    ink.save(path, "PNG")


def bitonal(path: Path) -> None:
    page(80).point(lambda level: 255 * (level > 128)).convert("1").save(path, "TIFF", compression="group4")


@pytest.mark.parametrize(
    ("write", "ink"),
    [(cmyk, 80), (sixteen_bits, 80), (palette, 80), (alpha, 80), (bitonal, 0)],
    ids=["CMYK", "16 bits", "palette", "alpha", "bitonal"],
)
def test_every_kind_of_pixel_becomes_dark_ink_on_light_paper(
    write: Callable[[Path], None], ink: int, tmp_path: Path
) -> None:
    write(tmp_path / "picture")
    (picture_HW,) = pictures(tmp_path / "picture")
    assert picture_HW.shape == (30, 40)
    assert spot(picture_HW) == pytest.approx(ink, abs=6)
    assert picture_HW[25, 35] > 245


def test_a_turned_photo_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    page(80).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    (picture_HW,) = pictures(tmp_path / "photo.jpg")
    assert picture_HW.shape == (40, 30)
    assert picture_HW[6, 30 - 1 - 5] < 100


def test_every_page_of_a_tiff_is_read_and_a_thumbnail_is_not(tmp_path: Path) -> None:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    thumbnail = ImageFileDirectory_v2()
    thumbnail[254] = 1
    small = page(1)
    small.encoderinfo = {"tiffinfo": thumbnail}
    page(10).save(tmp_path / "scan.tif", save_all=True, append_images=[small, page(20), page(30, (50, 60))])
    found = pictures(tmp_path / "scan.tif")
    assert [spot(picture_HW) for picture_HW in found] == [10, 20, 30]
    assert found[2].shape == (60, 50)


def test_pages_may_be_read_in_any_order_and_again(tmp_path: Path) -> None:
    page(10).save(tmp_path / "scan.tif", save_all=True, append_images=[page(20), page(30)])
    with open_document(tmp_path / "scan.tif") as pages:
        assert [spot(pages[i]) for i in (2, 0, 1, 2, -1)] == [30, 10, 20, 30, 30]


def pdf(path: Path, shades: list[int], **options: Any) -> None:
    first, *rest = (page(shade, (144, 72)) for shade in shades)
    first.save(path, "PDF", resolution=72.0, save_all=True, append_images=rest, **options)


def test_every_page_of_a_pdf_is_drawn_at_200_dpi(tmp_path: Path) -> None:
    pdf(tmp_path / "letter.pdf", [10, 90])
    found = pictures(tmp_path / "letter.pdf")
    assert [picture_HW.shape for picture_HW in found] == [(200, 400)] * 2  # 2 × 1 inches
    levels = [int(picture_HW[14, 17]) for picture_HW in found]
    assert levels == pytest.approx([10, 90], abs=12)  # Pillow embeds JPEG


def test_a_pdf_is_known_by_its_content(tmp_path: Path) -> None:
    pdf(tmp_path / "letter.jpg", [10])
    assert len(pictures(tmp_path / "letter.jpg")) == 1


# --- what is refused
def animation(path: Path) -> None:
    page(10).convert("P").save(path, "GIF", save_all=True, append_images=[page(90).convert("P")])


def huge_tiff(path: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(path, "TIFF", compression="group4")


def no_pdf(path: Path) -> None:
    path.write_bytes(b"%PDF-1.7\nand nothing else")


def cut_pdf(path: Path) -> None:
    pdf(path, [10])
    path.write_bytes(path.read_bytes()[:300])


# made with qpdf's layout of an encrypted file: a user password, so that nobody reads it without
def encrypted_pdf(path: Path) -> None:
    pdf(path, [10])
    content = path.read_bytes()
    encrypt = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"11" * 32 + b"> /U <" + b"22" * 32 + b"> >>"
    trailer = content.rindex(b"trailer")
    identity = b"/ID [<" + b"33" * 16 + b"> <" + b"33" * 16 + b">] /Encrypt " + encrypt
    changed = content[trailer:].replace(b"<<", b"<< " + identity + b" ", 1)
    path.write_bytes(content[:trailer] + changed)


def large_pdf(path: Path) -> None:
    document = pdfium.PdfDocument.new()
    document.new_page(14_000, 14_000)
    document.save(path)


def empty_pdf(path: Path) -> None:
    pdfium.PdfDocument.new().save(path)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (animation, ["is an animation of 2 frames", "save the frame"]),
        (huge_tiff, [f"more than {MAX_PIXELS:,} pixels", "reduce its size"]),
        (no_pdf, ["is a damaged PDF", "save or copy it again"]),
        (cut_pdf, ["is a damaged PDF"]),
        (encrypted_pdf, ["is encrypted", "without a password"]),
        (large_pdf, ["page 1 has", f"at most {MAX_PIXELS:,}"]),
        (empty_pdf, ["without pages"]),
        (lambda path: path.write_text("hello"), ["is not an image that can be read"]),
        (lambda path: path.touch(), ["is empty"]),
        (lambda _: None, ["does not exist"]),
        (lambda path: path.mkdir(), ["is a folder"]),
    ],
    ids=[
        "animation",
        "huge",
        "no PDF",
        "cut PDF",
        "encrypted",
        "large PDF",
        "no page",
        "text",
        "empty",
        "missing",
        "folder",
    ],
)
def test_a_document_that_cannot_be_read_is_named_in_a_sentence(
    write: Callable[[Path], Any], words: list[str], tmp_path: Path
) -> None:
    write(tmp_path / "document")
    with pytest.raises(UserError) as caught:
        pictures(tmp_path / "document")
    for word in ["document", *words]:
        assert word in str(caught.value)


def test_a_picture_inside_a_pdf_is_measured_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page(10, (600, 400)).save(tmp_path / "small.pdf", "PDF", resolution=600.0)  # an inch wide, so 200 pixels
    assert pictures(tmp_path / "small.pdf")[0].shape == (134, 200)
    monkeypatch.setattr("common.data.images.MAX_PIXELS", 200_000)
    with pytest.raises(UserError, match="240,000 pixels"):
        pictures(tmp_path / "small.pdf")


@pytest.mark.parametrize("name", ["scan.tif", "scan.pdf"])
def test_a_document_with_too_many_pages_is_refused_before_any_is_decoded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_PAGES", 2)
    page(10).save(tmp_path / name, save_all=True, append_images=[page(20), page(30)])
    with (
        pytest.raises(UserError, match=r"scan.* has 3 pages; at most 2 are read, so split it"),
        open_document(tmp_path / name),
    ):
        pass


def test_a_damaged_page_of_a_tiff_does_not_cost_the_others(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)
    first, *rest = map(Image.fromarray, noise)
    path = tmp_path / "scan.tif"
    first.save(path, save_all=True, append_images=rest, compression="tiff_lzw")
    with Image.open(path) as image:
        image.seek(1)
        offset = image.tag_v2[273][0]
    content = bytearray(path.read_bytes())
    content[offset : offset + 200] = b"\xff" * 200
    path.write_bytes(content)
    with open_document(path) as pages:
        np.testing.assert_array_equal(pages[0], noise[0])
        with pytest.raises(UserError, match=r"scan\.tif, page 2"):
            pages[1]
        np.testing.assert_array_equal(pages[2], noise[2])


def test_a_pdf_without_its_reader_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pdf(tmp_path / "letter.pdf", [10])
    monkeypatch.setitem(__import__("sys").modules, "pypdfium2", None)
    with pytest.raises(UserError, match=r'letter\.pdf is a PDF.*pip install "fourhands\[pdf\]"'):
        pictures(tmp_path / "letter.pdf")


# --- folders and patterns
def test_files_folders_and_patterns_are_found_in_order_and_once(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    (scans / "sub").mkdir(parents=True)
    (scans / ".hidden").mkdir()
    for name in ("b.jpg", "a.PNG", "sub/c.pdf", "notes.txt", ".secret.png", ".hidden/d.png"):
        (scans / name).touch()
    alone = tmp_path / "odd.name.x"
    alone.touch()
    found = find_documents([str(alone), scans, str(scans / "*.jpg"), str(tmp_path / "**" / "c.*")])
    assert [os.path.relpath(each.path, tmp_path) for each in found] == [
        *("odd.name.x", "scans/a.PNG", "scans/b.jpg", "scans/sub/c.pdf")
    ]
    assert [str(each.name) for each in found] == ["odd.name", "a", "b", "sub/c"]


def test_a_file_that_does_not_exist_is_left_to_the_one_who_opens_it(tmp_path: Path) -> None:
    assert find_documents([tmp_path / "x.jpg"]) == [Document(tmp_path / "x.jpg", Path("x"))]


def test_a_folder_without_documents_and_a_pattern_without_match_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no image and no PDF"):
        find_documents([tmp_path])
    with pytest.raises(UserError, match=r"no file matches .*\*\.jpg"):
        find_documents([str(tmp_path / "*.jpg")])


# --- bytes
@pytest.mark.parametrize("name", ["scan.png", "scan.jpg", "scan.webp", "scan.bmp", "scan.gif", "scan.tif", "scan.pdf"])
def test_a_document_may_come_as_bytes(name: str, tmp_path: Path) -> None:
    if name.endswith((".tif", ".pdf")):
        page(10).save(tmp_path / name, save_all=True, append_images=[page(200)])
    else:
        page(10).save(tmp_path / name)
    with open_document((tmp_path / name).read_bytes()) as pages:
        found = list(pages)
    expected = pictures(tmp_path / name)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_bytes_are_an_image_of_a_usual_format_or_a_pdf(tmp_path: Path) -> None:
    for name in ("scan.eps", "scan.ico", "scan.tga"):
        page(10).save(tmp_path / name)
        with (
            pytest.raises(UserError, match="not an image that can be read; expected PNG, JPEG"),
            open_document((tmp_path / name).read_bytes()),
        ):
            pass
    with pytest.raises(UserError, match="the document is a damaged PDF"), open_document(b"%PDF-1.7 and no more"):
        pass


@pytest.mark.parametrize("name", ["scan.tif", "scan.pdf"])
def test_limits_of_a_document_can_be_lower(name: str, tmp_path: Path) -> None:
    page(10).save(tmp_path / name, save_all=True, append_images=[page(20)])
    data = (tmp_path / name).read_bytes()
    with pytest.raises(TooLargeError, match="has 2 pages; at most 1 are read"), open_document(data, pages=1):
        pass
    with open_document(data, pages=2) as pages:
        pixels = pages[0].size
    with open_document(data, pages=2, pixels=pixels + 100) as pages:
        assert pages[1].size == pixels
    with (
        open_document(data, pages=2, pixels=pixels // 2) as pages,
        pytest.raises(TooLargeError, match=f"{pixels // 2:,}"),
    ):
        pages[1]
