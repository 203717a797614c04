"""A picture: the page with outlines, baselines, texts and confidences drawn over it, as PNG."""

from __future__ import annotations

import io
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from common.reading.formats import Source
from common.reading.page import PageLine, PageReading

_SURE, _UNSURE = (0, 110, 60), (190, 30, 30)
_BASELINE = (30, 90, 200)
_SPLIT = 0.8  # confidence below which a line is drawn as unsure
_LONGEST = 2400  # pixels: a larger page is drawn smaller
_ROOM = 0.45  # part of a line's height that its letters get


def render(reading: PageReading, source: Source) -> bytes:
    """The content of a PNG file. Green lines have a confidence of at least 80%, red ones less."""
    scale = min(1.0, _LONGEST / max(reading.size))
    size = (max(1, round(reading.size[0] * scale)), max(1, round(reading.size[1] * scale)))
    page = Image.fromarray(source.picture_HW).resize(size, Image.Resampling.BOX)
    picture = Image.blend(page, Image.new("L", size, 255), 0.35).convert("RGB")  # paler, so that text can be read
    pen = ImageDraw.Draw(picture)
    for line in reading.lines:
        _draw(pen, line, scale)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def _draw(pen: ImageDraw.ImageDraw, line: PageLine, scale: float) -> None:
    colour = _SURE if line.confidence >= _SPLIT else _UNSURE
    outline = [(float(x) * scale, float(y) * scale) for x, y in line.outline]
    pen.line([*outline, outline[0]], fill=colour, width=1)
    if len(line.baseline) > 1:
        pen.line([(float(x) * scale, float(y) * scale) for x, y in line.baseline], fill=_BASELINE, width=2)
    left, top = min(x for x, _ in outline), min(y for _, y in outline)
    wide, tall = max(x for x, _ in outline) - left, max(y for _, y in outline) - top
    text = f"{line.text}  {line.confidence:.0%}"
    font_size = max(9.0, min(_ROOM * tall, 28.0))
    font = ImageFont.truetype(_font_file(), font_size)
    length = pen.textlength(text, font)
    if length > wide > 0:
        font = font.font_variant(size=max(9.0, font_size * wide / length))
    pen.text((left + 2, top), text, fill=colour, font=font, stroke_width=2, stroke_fill="white")


@cache
def _font_file() -> str:
    """DejaVu Sans, which has the accented letters that Pillow's own font lacks. Matplotlib ships it."""
    spec = find_spec("matplotlib")  # found without importing it, which takes half a second
    assert spec is not None, "Matplotlib is a dependency"
    assert spec.origin is not None, "it is a package with files"
    return str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")
