"""The pictures of the page on reading pages: what each step makes of a photo.

    python docs/reading.py

writes `docs/images/page.jpg`, for README and the home page: the photo, and what the reader that ships made of it.
"""

# H, W page or page image; h, w half of them; M maps; T frames; K classes

from __future__ import annotations

import io
import json
import textwrap
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image as Shown
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from common.charset import Charset
from common.data.ink_hand import draw_hand
from common.data.ink_pages import drawn_page
from common.data.page_targets import CORE, ENDS
from common.data.xml_pages import Points, TextLine
from common.reading.page import Found
from common.reading.tracks import Track

Levels = UInt8[np.ndarray, "H W"]
Colour = tuple[int, int, int]

SEED = 167
"""Decides the writer, the page and the photo."""
LINE = 2
"""The line that the page shows, from 0."""
PROSE = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a "
    "wife. However little known the feelings or views of such a man may be on his first entering a neighbourhood, this "
    "truth is so well fixed in the minds of the surrounding families, that he is considered as the rightful property "
    "of some one or other of their daughters. My dear Mr. Bennet, said his lady to him one day, have you heard that "
    "Netherfield Park is let at last? Mr. Bennet replied that he had not. But it is, returned she; for Mrs. Long has "
    "just been here, and she told me all about it."
)
"""The text that is written: the beginning of Jane Austen's "Pride and Prejudice", 1813."""
WIDTH = 760
"""Of a picture, pixels."""
# Okabe and Ito's colours, which people with any kind of colour vision can tell apart
BLUE, ORANGE, GREEN, PINK, SKY = (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233)
_QUALITY, _GAP = 80, 24  # of the JPEG; pixels between the two pictures of README


def shown(picture: Image.Image) -> Shown:
    """The picture as the page shows it."""
    content = io.BytesIO()
    picture.convert("RGB").save(content, "JPEG", quality=_QUALITY)
    return Shown(content.getvalue(), format="jpeg")


# --- the page
def draw_page() -> tuple[Levels, list[TextLine]]:
    """A photo of a drawn page, and its true lines."""
    rng = np.random.default_rng(SEED)
    return drawn_page(rng, draw_hand(rng), PROSE.split())


# --- drawings
def photo(picture_HW: Levels) -> Image.Image:
    """The picture in the width of the page."""
    return _resized(Image.fromarray(picture_HW))


def ink(image_HW: Levels) -> Image.Image:
    """A page image as ink on paper."""
    return _resized(Image.fromarray(255 - image_HW))


def maps(image_HW: Levels, scores_hwM: Float[np.ndarray, "h w M"]) -> Image.Image:
    """The two maps over the page image: the cores of the lines in blue, their ends in orange."""
    size = image_HW.shape[::-1]
    picture = _pale(image_HW)
    for number, colour in ((CORE, BLUE), (ENDS, ORANGE)):
        share_hw = np.rint(200 * scores_hwM[..., number]).astype(np.uint8)
        share = Image.fromarray(share_hw).resize((2 * share_hw.shape[1], 2 * share_hw.shape[0])).crop((0, 0, *size))
        picture.paste(colour, (0, 0), share)
    return _resized(picture)


def tracks(image_HW: Levels, found: Sequence[Track], baselines: Sequence[Points]) -> Image.Image:
    """The tracks over the page image, each in another colour than its neighbours, and the baselines below them."""
    picture, scale = _enlarged(_pale(image_HW), image_HW)
    pen = ImageDraw.Draw(picture)
    # map pixel i covers the pixels 2i and 2i + 1 of the page image
    for track, colour in zip(found, cycle((ORANGE, GREEN, PINK, SKY)), strict=False):
        points = np.stack([track.columns_X, track.rows_X], axis=1) * 2 + 1
        _line(pen, points * scale, colour, 6)
    for baseline in baselines:
        _line(pen, baseline * scale, BLUE, 2)
    return picture


def lines(picture_HW: Levels, found: Sequence[Found]) -> Image.Image:
    """The outlines and the baselines over the picture, with the number of each line in reading order."""
    picture, scale = _enlarged(photo(picture_HW).convert("RGB"), picture_HW)
    picture = Image.blend(picture, Image.new("RGB", picture.size, "white"), 0.4)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for number, line in enumerate(found, start=1):
        _line(pen, np.concatenate([line.outline, line.outline[:1]]) * scale, GREEN, 2)
        _line(pen, line.baseline * scale, BLUE, 2)
        x, y = line.baseline[0] * scale
        pen.text((x - 8, y), str(number), fill=ORANGE, font=font, anchor="rs", stroke_width=2, stroke_fill="white")
    return picture


def part(picture_HW: Levels, line: Found) -> Image.Image:
    """The part of the picture around one line, with its outline and baseline."""
    corner, end = np.floor(line.outline.min(axis=0)) - 12, np.ceil(line.outline.max(axis=0)) + 12
    corner = np.maximum(corner, 0)
    cut = Image.fromarray(picture_HW).crop((*corner.astype(int).tolist(), *end.astype(int).tolist()))
    scale = WIDTH / cut.width
    picture = _resized(cut).convert("RGB")
    pen = ImageDraw.Draw(picture)
    _line(pen, (np.concatenate([line.outline, line.outline[:1]]) - corner) * scale, GREEN, 2)
    _line(pen, (line.baseline - corner) * scale, BLUE, 2)
    return picture


def frames(image_HW: Levels, probabilities_TK: Float[np.ndarray, "T K"], charset: Charset, first: int) -> Figure:
    """The beginning of a line, and below it the blank and the most probable character of each frame.

    Args:
        image_HW: the line, ink 255 on paper 0.
        probabilities_TK: of the classes of each frame; class 0 is the blank.
        charset: the characters of the other classes.
        first: number of frames to draw.
    """
    step = image_HW.shape[1] / len(probabilities_TK)  # columns per frame
    figure, (above, below) = plt.subplots(2, 1, figsize=(7.2, 3.0), sharex=True, height_ratios=(1, 1.6))
    above.imshow(image_HW[:, : round(first * step)], cmap="gray_r", aspect="auto", extent=(0, first, 0, 1))
    above.set_axis_off()
    places = np.arange(first) + 0.5
    below.bar(places, probabilities_TK[:first, 0], width=0.9, color="#bbbbbb", label="blank")
    best_T = probabilities_TK[:first, 1:].argmax(axis=1)
    best = probabilities_TK[np.arange(first), best_T + 1]
    below.bar(places, best, width=0.5, color="C0", label="most probable character")
    for place, class_, probability in zip(places, best_T, best, strict=True):
        if probability > 0.1:
            letter = "␣" if charset.characters[class_] == " " else charset.characters[class_]
            below.text(place, min(probability, 1) + 0.04, letter, ha="center", fontsize=9, family="DejaVu Sans")
    below.set(xlim=(0, first), ylim=(0, 1.25), xlabel="frame", ylabel="probability", yticks=(0, 0.5, 1))
    below.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=2, fontsize=9)
    return figure


# --- parts of drawings
def _resized(picture: Image.Image) -> Image.Image:
    return picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)


def _enlarged(picture: Image.Image, levels_HW: Levels) -> tuple[Image.Image, float]:
    """The picture in the width of the page, and its pixels per pixel of `levels_HW`."""
    return _resized(picture), WIDTH / levels_HW.shape[1]


def _pale(image_HW: Levels) -> Image.Image:
    """A page image as faint ink on paper."""
    return Image.fromarray((255 - image_HW * 0.45).astype(np.uint8)).convert("RGB")


def _line(pen: ImageDraw.ImageDraw, points: Points, colour: Colour, width: int) -> None:
    pen.line([(float(x), float(y)) for x, y in points], fill=colour, width=width, joint="curve")


# --- texts
def wrapped(sentences: Sequence[str]) -> str:
    """The sentences, each in as many short lines as it needs."""
    return "\n".join(textwrap.fill(sentence, 88, subsequent_indent="    ") for sentence in sentences)


# --- files
def from_file(content: bytes) -> Image.Image:
    """The picture of a PNG file, in the width of the page."""
    return _resized(Image.open(io.BytesIO(content)).convert("RGB"))


def shortened(text: str, most: int = 92) -> str:
    """The text with the middle of each long line left out."""
    return "\n".join(
        line if len(line) <= most else f"{line[: most - 24]} … {line[-20:]}"
        for line in textwrap.dedent(" " * 5 + text).splitlines()
    )


def outlined(whole: dict[str, Any]) -> str:
    """A page's JSON with its first line only, and the beginnings of long lists."""

    def short(values: list[Any], most: int) -> str:
        said = ", ".join(json.dumps(value, ensure_ascii=False) for value in values[:most])
        return f"[{said}, …]" if len(values) > most else f"[{said}]"

    line = whole["lines"][0]
    parts = {"characters": short(line["characters"], 1), "baseline": short(line["baseline"], 2)}
    parts["outline"] = short(line["outline"], 2)
    rows = [
        f'      "{name}": {parts.get(name) or json.dumps(value, ensure_ascii=False)}' for name, value in line.items()
    ]
    head = [
        f'  "{name}": {json.dumps(value if name != "text" else value[:50] + "…", ensure_ascii=False)}'
        for name, value in whole.items()
        if name != "lines"
    ]
    inside = ",\n".join(rows)
    return "{\n" + ",\n".join([*head, f'  "lines": [\n    {{\n{inside}\n    }},\n    …\n  ]']) + "\n}"


# --- the picture of README
def main() -> None:
    """Write the picture."""
    import fourhands
    from common.reading.formats import Source, render

    picture = draw_page()[0]
    read = from_file(render(fourhands.load().read(picture), Source(image="page.jpg", picture_HW=picture), "picture"))
    both = Image.new("RGB", (2 * WIDTH + _GAP, read.height), "white")
    both.paste(photo(picture).convert("RGB"), (0, 0))
    both.paste(read, (WIDTH + _GAP, 0))
    both.save(Path(__file__).with_name("images") / "page.jpg", quality=_QUALITY)


if __name__ == "__main__":
    main()
