"""Image files of any kind, prepared for a model."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image, ImageOps

from common.data import ink
from common.data.character_image import to_character
from common.data.idx import read_idx
from common.data.images import load_image
from common.errors import UserError

CHARACTER = ink.draw_page(7)[33]  # 28×28, an X
SMOOTH = np.asarray(Image.fromarray(CHARACTER).resize((280, 280), Image.Resampling.BICUBIC)).astype(float)
LARGE = np.clip(128 + 5 * (SMOOTH - 128), 0, 255).astype(np.uint8)  # edges two pixels wide, as a pen leaves them
ON_PAPER = np.pad(LARGE, ((40, 100), (10, 220)))
EXPECTED = to_character(ON_PAPER, 28, 28)


def difference(a: UInt8[np.ndarray, "H W"], b: UInt8[np.ndarray, "H W"]) -> float:
    """Mean absolute difference relative to the amount of ink."""
    return float(np.abs(a.astype(float) - b).sum() / a.sum())


def coloured(dark: tuple[int, int, int], light: tuple[int, int, int]) -> Image.Image:
    share = ON_PAPER[..., None] / 255
    return Image.fromarray(np.rint(np.array(dark) * share + np.array(light) * (1 - share)).astype(np.uint8))


def with_alpha(colour: int) -> Image.Image:
    return Image.merge("LA", [Image.new("L", (510, 420), colour), Image.fromarray(ON_PAPER)])


def with_round_corners() -> Image.Image:
    alpha = Image.new("L", (510, 420), 255)
    alpha.paste(0, (0, 0, 60, 60))
    return Image.merge("LA", [Image.fromarray(255 - ON_PAPER), alpha])


def turned() -> tuple[Image.Image, Image.Exif]:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    return Image.fromarray(255 - ON_PAPER).rotate(90, expand=True), exif


def write(path: Path, kind: str) -> None:
    dark_on_light = Image.fromarray(255 - ON_PAPER)
    match kind:
        case "light on dark.png":
            Image.fromarray(ON_PAPER).save(path)
        case "dark on light.jpg" | "dark on light.png" | "dark on light.bmp" | "dark on light.tiff":
            dark_on_light.save(path)
        case "dark on light.webp":
            dark_on_light.save(path, lossless=True)
        case "palette.gif":
            dark_on_light.convert("P").save(path)
        case "palette with transparency.png":
            dark_on_light.convert("P").save(path, transparency=255)
        case "blue on yellow.png":
            coloured((20, 30, 160), (250, 240, 170)).save(path)
        case "dark on transparent.png":
            with_alpha(0).save(path)
        case "light on transparent.png":
            with_alpha(255).save(path)
        case "transparent corners.png":
            with_round_corners().save(path)
        case "16 bits.png":
            Image.fromarray(65535 - ON_PAPER.astype(np.uint16) * 257).save(path)
        case "floats.tiff":
            Image.fromarray((1 - ON_PAPER / np.float32(255)).astype(np.float32)).save(path)
        case "turned by exif.jpg":
            image, exif = turned()
            image.save(path, exif=exif, quality=95)
        case "faint.png":
            Image.fromarray((200 - ON_PAPER * 0.3).astype(np.uint8)).save(path)
        case "grainy.png":
            grain = np.random.default_rng(0).normal(0, 10, ON_PAPER.shape)
            Image.fromarray(np.clip(220 - ON_PAPER * 0.8 + grain, 0, 255).astype(np.uint8)).save(path)
        case "black and white.png":
            dark_on_light.convert("1", dither=Image.Dither.NONE).save(path)
        case "cmyk.jpg":
            dark_on_light.convert("CMYK").save(path, quality=95)
        case _:
            raise AssertionError(kind)


KINDS = {
    "light on dark.png": 0.0,
    "dark on light.png": 0.0,
    "dark on light.bmp": 0.0,
    "dark on light.tiff": 0.0,
    "dark on light.webp": 0.0,
    "dark on light.jpg": 0.05,
    "palette.gif": 0.05,
    "palette with transparency.png": 0.05,
    "blue on yellow.png": 0.05,
    "dark on transparent.png": 0.01,
    "light on transparent.png": 0.01,
    "transparent corners.png": 0.01,
    "16 bits.png": 0.0,
    "floats.tiff": 0.01,
    "turned by exif.jpg": 0.05,
    "faint.png": 0.05,
    "grainy.png": 0.15,
    "black and white.png": 0.2,
    "cmyk.jpg": 0.05,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_character_comes_out_of_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    write(path, kind)
    character = to_character(load_image(path), 28, 28)
    assert (character.dtype, character.shape) == (np.uint8, (28, 28))
    assert difference(EXPECTED, character) <= KINDS[kind]


def test_enlarging_and_padding_a_character_is_undone() -> None:
    differences = []
    for character in ink.draw_page(7):
        large = np.asarray(Image.fromarray(character).resize((280, 280), Image.Resampling.BICUBIC))
        differences.append(difference(character, to_character(255 - np.pad(large, 100), 28, 28)))
    assert np.median(differences) < 0.4  # a shift by one pixel in each direction gives 0.84


def test_the_longer_side_fills_twenty_of_twenty_eight_pixels_and_the_aspect_is_kept() -> None:
    bar = np.zeros((300, 300), dtype=np.uint8)
    bar[50:250, 100:150] = 255  # 200 by 50
    character = to_character(bar, 28, 28)
    # its centre of mass, 10 and 2.5 pixels from its corner, goes to the middle of pixel 14
    assert np.flatnonzero(character.any(axis=1)).tolist() == list(range(4, 24))
    assert np.count_nonzero(character.max(axis=0) > 20) == 5
    assert to_character(bar, 56, 56).any(axis=1).sum() == 40


def test_a_grainy_photo_gives_the_character_that_is_on_it() -> None:
    photo = np.asarray(Image.fromarray(255 - ON_PAPER).resize((2040, 1680), Image.Resampling.BICUBIC))
    grain = np.random.default_rng(0).normal(0, 25, photo.shape)
    character = to_character(np.clip(40 + 0.7 * photo + grain, 0, 255).astype(np.uint8), 28, 28)
    assert difference(EXPECTED, character) < 0.2


def test_a_bold_character_cropped_tightly_keeps_its_ink() -> None:
    bar = np.full((60, 30), 255, dtype=np.uint8)
    bar[:, :3] = bar[:, -3:] = bar[:3] = bar[-3:] = 0  # ink covers 80 %, the border is paper
    assert to_character(bar, 28, 28)[14, 14] == 255


@pytest.mark.parametrize("form", ["as it is", "inverted", "cropped tightly", "inverted, 8 times the size, padded"])
def test_mnist_comes_back_as_it_was(form: str, real_data: Callable[[str], Path]) -> None:
    images = read_idx(real_data("mnist") / "t10k-images-idx3-ubyte.gz", dims=3)[:300]
    differences = []
    for image in images:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        given = {
            "as it is": image,
            "inverted": 255 - image,
            "cropped tightly": image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1],
            "inverted, 8 times the size, padded": 255
            - np.pad(np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC)), 60),
        }[form]
        differences.append(difference(image, to_character(given, 28, 28)))
    # enlarging loses where the pixels lay; centring by the box instead of the mass gives 0.7
    assert np.median(differences) < (0.2 if "8 times" in form else 0.02)


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header claims a size and which holds no pixels."""
    chunk = b"IHDR" + struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    end = b"IDAT" + zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (chunk, end)
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected PNG"),
        (b"%PDF-1.7 and so on", "is not an image that can be read"),
        (png_header(10_000, 10_000), "more than 89,478,485 pixels"),
        (png_header(2**31 - 1, 2**31 - 1), "more than 89,478,485 pixels"),
        (png_header(40, 40), "cannot be read"),
    ],
    ids=["empty", "another format", "many pixels", "a decompression bomb", "cut off"],
)
def test_a_file_that_is_no_usable_image_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        load_image(path)
    assert str(path) in str(raised.value)


def encoded(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(255 - ON_PAPER).save(file, format=kind, **options)
    return file.getvalue()


def jpeg_segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def damaged() -> dict[str, bytes]:
    """Files that make Pillow warn, log, or let libtiff print. Some of them can still be read."""
    png, jpeg = encoded("PNG"), encoded("JPEG")
    lzw = encoded("TIFF", compression="tiff_lzw")
    entries = bytearray(lzw)
    (directory,) = struct.unpack_from("<I", lzw, 4)
    entries[directory : directory + 2] = b"\xff\x00"  # says that it has 255 entries
    # TIFF's tag 277, samples per pixel, short: 9,999
    file = io.BytesIO()
    Image.new("RGB", (40, 40)).save(file, format="TIFF")
    samples = bytearray(file.getvalue())
    place = samples.index(struct.pack("<HH", 277, 3))
    samples[place + 8 : place + 10] = struct.pack("<H", 9999)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x03\x01\x12\0\x03\0\0\0\x01\0\x01\0\0\x87\x69\xff\xff"
    return {
        "cut.png": png[: len(png) // 2],
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "cut.tiff": lzw[: len(lzw) // 2],
        "codes of the compression.tiff": lzw[:40] + b"\xab" * 400 + lzw[440:],
        "number of entries.tiff": bytes(entries),
        "samples per pixel.tiff": bytes(samples),
        "checksum.png": png[:29] + b"\0\0\0\0" + png[33:],
        "exif.jpg": jpeg[:2] + jpeg_segment(0xE1, exif) + jpeg[2:],
        "several pictures.jpg": jpeg[:2] + jpeg_segment(0xE2, b"MPF\0II*\0\xff\xff" + bytes(8)) + jpeg[2:],
        "many pixels.png": png_header(10_000, 10_000),
        "a decompression bomb.png": png_header(2**31 - 1, 2**31 - 1),
    }


def test_what_pillow_and_libtiff_say_about_damaged_files_stays_off_the_terminal(tmp_path: Path) -> None:
    for name, content in damaged().items():
        (tmp_path / name).write_bytes(content)
    # the command line first, as for a person; then the files, each in a process that has warned of nothing yet
    program = """
import contextlib, pathlib, sys
from common.cli import main
from common.data.images import load_image
from common.errors import UserError
path, sys.argv = pathlib.Path(sys.argv[1]), ["fourhands", "data", "list"]
main()
with contextlib.suppress(UserError):
    load_image(path)
"""
    told = {}
    for name in damaged():
        command = [sys.executable, "-c", program, str(tmp_path / name)]
        told[name] = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert told == dict.fromkeys(damaged(), "")


def test_reading_an_image_leaves_the_warning_filters_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # they belong to the whole process: another thread would see the change, or undo it
    path = tmp_path / "character.png"
    Image.fromarray(255 - ON_PAPER).save(path)
    before, during, turn = list(warnings.filters), [], ImageOps.exif_transpose
    monkeypatch.setattr(ImageOps, "exif_transpose", lambda image: during.append(list(warnings.filters)) or turn(image))
    load_image(path)
    assert during == [before]


@pytest.mark.parametrize("action", ["error", "ignore"])
def test_many_pixels_are_refused_whatever_becomes_of_warnings(tmp_path: Path, action: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(png_header(10_000, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(UserError, match="more than 89,478,485 pixels"):
            load_image(path)


def test_a_missing_image_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.png does not exist"):
        load_image(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match="is a folder; name the image files in it"):
        load_image(tmp_path)


@pytest.mark.parametrize(
    "image",
    [np.zeros((1, 1)), np.full((50, 40), 255), np.full((50, 40), 130) + np.arange(40) % 9],
    ids=["1×1", "blank", "blank with grain"],
)
def test_an_image_without_ink_is_refused(image: np.ndarray) -> None:
    height, width = image.shape
    with pytest.raises(UserError, match=rf"\({height}×{width} pixels\) is blank"):
        to_character(image.astype(np.uint8), 28, 28)


def test_threads_that_load_images_do_not_disturb_each_other(tmp_path: Path) -> None:
    bomb, good = tmp_path / "bomb.png", tmp_path / "good.png"
    bomb.write_bytes(png_header(10_000, 10_000))  # between Pillow's warning and its error
    Image.fromarray(255 - ON_PAPER).save(good)
    expected, rounds = load_image(good), 100
    start = threading.Barrier(4)

    def load(path: Path) -> list[str]:
        start.wait()
        found = []
        for _ in range(rounds):
            try:
                found.append("same" if np.array_equal(load_image(path), expected) else "another image")
            except UserError as error:
                found.append("too large" if "more than 89,478,485 pixels" in str(error) else str(error))
        return found

    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        first, second, third, fourth = pool.map(load, [bomb, good, bomb, good])
    assert first == third == ["too large"] * rounds
    assert second == fourth == ["same"] * rounds
    assert warnings.filters == before
