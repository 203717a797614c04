"""Making the whole profile of a reader: signs, what they are without drift, and the calibration of confidences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from common.evaluation.calibration import calibrate
from common.evaluation.drift import with_nulls
from common.evaluation.known import KnownLine, known_line
from common.evaluation.lines import LineEvaluation
from common.evaluation.profile import LEAST, Measured, Profile, make_profile
from common.evaluation.signs import PageSigns, image_signs


def whole_profile(
    pages: Sequence[PageSigns],
    writers: Sequence[int],
    lines: Sequence[KnownLine],
    *,
    reader: str = "",
    data: str = "",
    window: int = 300,
) -> Profile:
    """The profile of a reader.

    Args:
        pages: the signs of the pictures of the validation split.
        writers: the writer of each of them, or a number for each picture where writers are not known.
        lines: the lines whose true text is known.
        reader: identity of the model.
        data: name of the data.
        window: lines of the windows that will be compared with it.

    Raises:
        UserError: too few lines were read.
    """
    profile = make_profile(Measured.of(pages), reader=reader, data=data, writers=len(set(writers)))
    profile = with_nulls(profile, pages, writers, window=window)
    calibration = calibrate(lines, window=window)
    return replace(profile, calibration=None if calibration is None else calibration.as_json())


def profile_of_lines(evaluation: LineEvaluation, *, reader: str = "", data: str = "") -> Profile | None:
    """The profile of a reader of lines, from the evaluation of its validation split; None if that is too small.

    The pages of the lines are not known. There are no signs of pages, and no line heights.
    """
    split = evaluation.split
    numbers = range(len(split)) if split.writers_N is None else split.writers_N.tolist()
    pages, writers, lines = [], [], []
    for i, (reading, writer) in enumerate(zip(evaluation.readings, numbers, strict=True)):
        text, confidences = reading.text, reading.character_confidences
        if not text or not split.texts[i]:
            continue
        signs = image_signs(split.images[i], len(text), sum(confidences) / len(confidences))
        counts = {character: text.count(character) for character in set(text)}
        pages.append(PageSigns(brightness=None, contrast=None, lines=(signs,), characters=counts, kind="line"))
        writers.append(writer)
        lines.append(known_line(split.texts[i], text, confidences, writer))
    if len(pages) < LEAST:
        return None
    return whole_profile(pages, writers, lines, reader=reader, data=data)
