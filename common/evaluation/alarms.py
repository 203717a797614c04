"""Alarms: what seems to have changed, from the signs that have drifted.

One cause changes several signs: print is read with less confidence, is as even as no hand, and has other characters.
An alarm therefore names a cause. The most specific one comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.evaluation.drift import Finding, Judgement
from common.formatting import percent


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """What seems to have changed."""

    name: str
    """Of a cause in `CAUSES`."""
    sentence: str
    signs: tuple[str, ...]
    """The signs that raised it."""
    p: float
    """The smallest corrected p-value of its signs."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A cause of drift."""

    name: str
    signs: tuple[str, ...]
    """Any of these raises it."""
    rising: bool | None
    """Whether the mean has to rise (True) or to fall (False) for it; None for either."""
    sentence: str
    """What it means and what to do. It may name the mean `now` and `before`, as `percent` if they are shares."""
    shares: bool = False
    least: float = 0.0
    """The mean has to reach this, whatever it was before."""


CAUSES: tuple[Cause, ...] = (
    Cause(
        name="empty",
        signs=("empty",),
        rising=True,
        shares=True,
        sentence="{now} of the pictures show no writing (before: {before}); look whether a camera or a scanner fails",
    ),
    Cause(
        name="upside_down",
        signs=("upside_down",),
        rising=True,
        shares=True,
        sentence="{now} of the pages are upside down (before: {before}); they are read, but take twice the time",
    ),
    Cause(
        name="darker",
        signs=("brightness",),
        rising=False,
        sentence="the pictures are darker: the paper has a brightness of {now} (before: {before})",
    ),
    Cause(
        name="brighter",
        signs=("brightness",),
        rising=True,
        sentence="the pictures are brighter: the paper has a brightness of {now} (before: {before})",
    ),
    Cause(
        name="printed",
        signs=("twins",),
        rising=True,
        least=0.5,
        shares=True,
        sentence="{now} of the letters look like another one of their line (before: {before}), as in print; the reader "
        "has learnt handwriting only",
    ),
    Cause(
        name="blurred",
        signs=("sharpness",),
        rising=False,
        sentence="the pictures are blurred, or of a low resolution: their sharpness is {now} (before: {before})",
    ),
    Cause(
        name="other_characters",
        signs=("characters_read",),
        rising=True,
        sentence="other characters are read than before (population stability index {now}); the alphabet or the "
        "language may be another one",
    ),
    Cause(
        name="one_writer",
        signs=("variety",),
        rising=False,
        sentence="the pages are more alike: {now} of the variance lies between them (before: {before}); one person "
        "may have written them all",
    ),
    Cause(
        name="less_sure",
        signs=("confidence",),
        rising=False,
        sentence="the reader is less sure: mean confidence {now} (before: {before}); check some readings",
    ),
    Cause(
        name="paler",
        signs=("contrast",),
        rising=False,
        sentence="the contrast of ink and paper has fallen to {now} (before: {before})",
    ),
    Cause(
        name="other_pages",
        signs=(
            "together",
            "height",
            "lines",
            "characters",
            "columns",
            "ink",
            "sharpness",
            "contrast",
            "confidence",
        ),
        rising=None,
        sentence="the pages are of another kind than those of the profile; label some of them and compare their CER",
    ),
)
"""The most specific ones first."""


def alarms_of(judgement: Judgement) -> tuple[Alarm, ...]:
    """The causes whose signs raised an alarm, the most specific ones first."""
    raised = [finding for finding in judgement.findings if finding.alarm]
    found = []
    for cause in CAUSES:
        own = [
            finding
            for finding in raised
            if finding.sign in cause.signs and _moves(finding, cause.rising) and _reaches(finding, cause.least)
        ]
        if own:
            found.append(
                Alarm(
                    name=cause.name,
                    sentence=_said(cause, own[0]),
                    signs=tuple(finding.sign for finding in own),
                    p=min(finding.corrected for finding in own),
                )
            )
    return tuple(found)


def names_of(alarms: Sequence[Alarm]) -> list[str]:
    """The names of alarms."""
    return [alarm.name for alarm in alarms]


def _moves(finding: Finding, rising: bool | None) -> bool:
    return rising is None or (finding.now > finding.before) is rising


def _reaches(finding: Finding, least: float) -> bool:
    return not least or finding.now >= least


def _said(cause: Cause, finding: Finding) -> str:
    values = (finding.now, finding.before)
    now, before = (percent(value, 0) if cause.shares else f"{value:.3g}".replace("-", "−") for value in values)
    return cause.sentence.format(now=now, before=before)
