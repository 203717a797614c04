"""The experiments of the page on monitoring: eight planted drifts, windows without drift, and estimates of CER.

    python docs/monitoring.py read FOLDER --cache CACHE      reads pages, about ten minutes of a processor core
    python docs/monitoring.py judge --cache CACHE            judges windows of them

FOLDER has the three collections of the model card, each in a subfolder. What was read is kept in CACHE, so that windows
can be drawn from it in seconds. The profile, the calibration and every threshold come from the validation split. The
windows without drift come from the validation split and, at the end, from the test split. The drifts are planted on
pages of the test split, or drawn.
"""

# H height, W width

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from common.data import ink_hand, ink_pages, prose
from common.data.config import DataConfig
from common.evaluation.alarms import alarms_of, names_of
from common.evaluation.calibration import Calibration, expected_cer, isotonic, judged, platt, raw
from common.evaluation.drift import LOOKS, draw_window, judge
from common.evaluation.known import KnownLine
from common.evaluation.profile import Measured, Profile
from common.evaluation.profiling import whole_profile
from common.evaluation.signs import PageSigns
from common.training.page_reader import PageReader
from common.training.profiles import Watched, split_of_pages, watch, watch_pages

Picture = UInt8[np.ndarray, "H W"]

WRITERS = r"^(?:.*/)?(SC0033B(?=_)|.+?)(?:_s4.*|_[0-9]|-[0-9]+)?$"
WINDOW = 300
DRAWN = 40  # pages that are drawn for a drift, at most
MARGIN = 20  # lines that are read beyond a window
FONTS = ("DejaVuSerif.ttf", "DejaVuSans.ttf", "DejaVuSerif-Italic.ttf", "DejaVuSansMono.ttf")


# --- planted drifts
def darker(picture_HW: Picture) -> Picture:
    """Less light: every grey level times 0.55."""
    return (picture_HW * 0.55).astype(np.uint8)


def blurred(picture_HW: Picture) -> Picture:
    """Out of focus: a Gaussian blur of about a tenth of the height of small letters."""
    image = Image.fromarray(picture_HW).filter(ImageFilter.GaussianBlur(len(picture_HW) / 600))
    return np.asarray(image)


def upside_down(picture_HW: Picture) -> Picture:
    """Turned by 180°."""
    return np.ascontiguousarray(picture_HW[::-1, ::-1])


CHANGES = {"darker": darker, "blurred": blurred, "upside down": upside_down}
"""Drifts that change pictures."""


def empty(seed: int) -> Picture:
    """A picture without writing: paper with grain, a shadow and a fold, or a table top."""
    rng = np.random.default_rng([seed, 9])
    y, x = np.mgrid[:1000, :720] / 1000
    level_HW = 200 + 40 * np.sin(rng.uniform(0, 6) + rng.uniform(1, 4) * x) * np.cos(rng.uniform(1, 4) * y)
    level_HW += rng.normal(0, rng.uniform(2, 12), level_HW.shape)
    level_HW -= 60 * (np.abs(x * rng.uniform(0.5, 1.5) - y + rng.uniform(-0.3, 0.3)) < 0.004)
    return np.clip(level_HW, 0, 255).astype(np.uint8)


def printed(seed: int) -> Picture:
    """A page of print, turned a little, with grain."""
    from matplotlib import get_data_path

    rng = np.random.default_rng([seed, 8])
    size = int(rng.integers(26, 40))
    font = ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", FONTS[seed % len(FONTS)]), size)
    page = Image.new("L", (1100, 1500), int(rng.integers(225, 250)))
    draw = ImageDraw.Draw(page)
    words = prose.words("validation")
    at = int(rng.integers(len(words) - 600))
    y, step = 100.0, size * rng.uniform(1.6, 2.1)
    while y < 1380:
        line = ""
        while draw.textlength(f"{line} {words[at]}", font) < 900:
            line, at = f"{line} {words[at]}".strip(), at + 1
        draw.text((100, y), line, int(rng.integers(20, 60)), font)
        y += step
    page = page.rotate(rng.uniform(-0.7, 0.7), Image.Resampling.BILINEAR, fillcolor=240)
    noisy_HW = np.asarray(page.filter(ImageFilter.GaussianBlur(0.7))) + rng.normal(0, 4, (1500, 1100))
    return np.clip(noisy_HW, 0, 255).astype(np.uint8)


def drawn(seed: int) -> Picture:
    """A page of another collection: drawn handwriting."""
    rng = np.random.default_rng([seed, 7])
    return ink_pages.drawn_page(rng, ink_hand.draw_hand(rng), prose.words("validation"))[0]


def other_alphabet(seed: int) -> Picture:
    """A drawn page in Cyrillic or Greek letters."""
    face = ("cyrillic", "greeks")[seed % 2]
    ink_hand._glyphs.cache_clear()
    try:
        with patch.object(ink_hand, "_FACES", (face,) * len(ink_hand._FACES)):
            return drawn(seed)
    finally:
        ink_hand._glyphs.cache_clear()


DRAWINGS = {"empty": empty, "printed": printed, "drawn collection": drawn, "another alphabet": other_alphabet}
"""Drifts that are drawn."""


# --- reading
def pictures(name: str, test: Sequence[Picture]) -> Iterator[Picture]:
    """The pictures of a drift."""
    if name in CHANGES:
        order = np.random.default_rng(5).permutation(len(test))
        yield from (CHANGES[name](test[int(i)]) for i in order)
    else:
        yield from (DRAWINGS[name](seed) for seed in range(DRAWN))


def read_drift(reader: PageReader, name: str, test: Sequence[Picture]) -> list[PageSigns]:
    """The signs of the pictures of a drift: as many as a window needs, at most 20 if they have no lines."""
    signs: list[PageSigns] = []
    for picture_HW in pictures(name, test):
        signs.append(watch(reader, picture_HW, kind="page")[1])
        if sum(len(page.lines) for page in signs) >= WINDOW + MARGIN or (name == "empty" and len(signs) >= 20):
            break
    return signs


def save(path: Path, watched: Watched) -> None:
    """Write what was read to a file."""
    content = {
        "pages": [page.as_json() for page in watched.pages],
        "writers": list(watched.writers),
        "names": list(watched.names),
        "lines": [asdict(line) for line in watched.lines],
    }
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def load(path: Path) -> Watched:
    """Read such a file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return Watched(
        pages=[PageSigns.from_json(page) for page in content["pages"]],
        writers=content["writers"],
        names=content["names"],
        lines=[
            KnownLine(**line | {"confidences": tuple(line["confidences"]), "right": tuple(line["right"])})
            for line in content["lines"]
        ],
    )


def read(folder: Path, cache: Path, names: Sequence[str], framework: str) -> None:
    """Read what is not in the cache yet."""
    reader, config = PageReader.open(run=None, framework=framework), DataConfig(writer_pattern=WRITERS)
    cache.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = cache / f"{name.replace(' ', '_')}.json"
        if path.exists():
            continue
        if name in ("validation", "test"):
            save(path, watch_pages(reader, split_of_pages(reader, f"pages:{folder}", name, config)))
        else:
            test = split_of_pages(reader, f"pages:{folder}", "test", config) if name in CHANGES else None
            signs = read_drift(reader, name, () if test is None else test.pictures)  # type: ignore[arg-type]
            save(path, Watched(pages=signs, writers=list(range(len(signs))), lines=()))
        sys.stdout.write(f"{name}: {len(load(path).pages)} pictures\n")


# --- judging
RIGHT = {
    "darker": "darker",
    "blurred": "blurred",
    "upside down": "upside_down",
    "empty": "empty",
    "printed": "printed",
    "drawn collection": "other_pages",
    "another alphabet": "other_characters",
}
"""Drift to the alarm that it must raise."""


def alarms_at(profile: Profile, pages: Sequence[PageSigns]) -> list[str]:
    """The names of the alarms that a look at these pictures raises."""
    return names_of(alarms_of(judge(profile, Measured.of(pages))))


def windows(watched: Watched, seed: int, count: int = 200) -> Iterator[list[Measured]]:
    """Windows of whole writers, drawn with replacement."""
    groups: dict[int, list[Measured]] = {}
    for page, writer in zip(watched.pages, watched.writers, strict=True):
        groups.setdefault(writer, []).append(Measured.of([page]))
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield draw_window(list(groups.values()), WINDOW, rng)


def false_alarms(profile: Profile, watched: Watched, seed: int) -> Counter[str]:
    """The alarms of 200 windows without drift."""
    found: Counter[str] = Counter()
    for window in windows(watched, seed):
        found.update(names_of(alarms_of(judge(profile, Measured.joined(window)))))
    return found


def noticed(profile: Profile, pages: Sequence[PageSigns], alarm: str) -> tuple[int | None, list[str]]:
    """The lines after which an alarm is raised, or None, and the alarms of the whole window.

    The service looks whenever a sixth of the window is new. The lines before the drift are not in the window: it is
    the state of a service that has just started, or that of a window that the drift has filled.
    """
    first = None
    seen = since = 0
    for number, page in enumerate(pages, start=1):
        seen, since = seen + max(1, len(page.lines)), since + max(1, len(page.lines))
        if since >= WINDOW // LOOKS or seen >= WINDOW or number == len(pages):
            since = 0
            if first is None and alarm in alarms_at(profile, pages[:number]):
                first = seen
        if seen >= WINDOW:
            break
    return first, alarms_at(profile, pages[:number])


def by_writer(watched: Watched, least: int = 15) -> Iterator[tuple[str, list[PageSigns]]]:
    """A window by each writer with enough lines: pages of 18 of their lines, drawn with replacement."""
    rng = np.random.default_rng(4)
    for writer in sorted(set(watched.writers)):
        own = [page for page, each in zip(watched.pages, watched.writers, strict=True) if each == writer]
        lines = [line for page in own for line in page.lines]
        if len(lines) >= least:
            pages = [own[int(rng.integers(len(own)))] for _ in range(WINDOW // 18 + 1)]
            chosen = [tuple(lines[int(i)] for i in rng.integers(len(lines), size=18)) for _ in pages]
            yield str(writer), [replace(page, lines=each) for page, each in zip(pages, chosen, strict=True)]


def coverage(profile: Profile, watched: Watched, seed: int) -> dict[str, tuple[float, int]]:
    """Share of the windows whose CER is within the interval of its estimate, and their number."""
    calibration = Calibration.from_json(profile.calibration)
    assert calibration is not None
    by: dict[int, list[KnownLine]] = {}
    for line in watched.lines:
        by.setdefault(line.writer, []).append(line)
    groups = list(by.values())
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(200):
        window: list[KnownLine] = []
        while len(window) < WINDOW:
            window += groups[int(rng.integers(len(groups)))]
        drawn.append(window[:WINDOW])
    kinds = {"several writers": drawn, "one writer": [lines for lines in groups if len(lines) >= 8]}
    found = {}
    for kind, chosen in kinds.items():
        inside = []
        for lines in chosen:
            columns = np.array([(line.confidence, line.characters) for line in lines])
            cer = sum(line.edits for line in lines) / sum(line.length for line in lines)
            guess = expected_cer(calibration, columns[:, 0], columns[:, 1])
            inside.append(abs(np.log(max(cer, 1e-4) / guess)) <= calibration.spread)
        found[kind] = float(np.mean(inside)), len(inside)
    return found


def judge_all(cache: Path, test: bool) -> None:
    """Print every figure; with those of the test split if it was read."""
    say = sys.stdout.write
    validation = load(cache / "validation.json")
    profile = whole_profile(validation.pages, validation.writers, validation.lines)
    say(f"profile: {profile.lines} lines, {profile.pages} pages, {profile.writers} writers\n")
    for name, sign in profile.signs.items():
        say(f"  {name}: mean {sign.mean:.3g}, effective {sign.effective:.3f}, wobble {sign.wobble:.3g}\n")
    for name, fit in (("none", raw), ("isotonic", isotonic), ("Platt", platt)):
        say(f"calibration {name}: {judged(validation.lines, fit):.4f}\n")
    say(f"interval: a factor of {np.exp((profile.calibration or {})['spread']):.2f}\n")
    say(f"200 validation windows: {dict(false_alarms(profile, validation, 1))}\n")
    splits = {"validation": validation}
    if test and (cache / "test.json").exists():
        splits["test"] = load(cache / "test.json")
        say(f"200 test windows: {dict(false_alarms(profile, splits['test'], 2))}\n")
    for name, watched in splits.items():
        say(f"coverage on {name}: {coverage(profile, watched, 3)}\n")
    for name, alarm in RIGHT.items():
        path = cache / f"{name.replace(' ', '_')}.json"
        if path.exists():
            say(f"{name}: {noticed(profile, load(path).pages, alarm)}\n")
    for name, watched in splits.items():
        # what the two change, without reading again: the images of lines are relative to the paper
        dark = [
            replace(page, brightness=0.55 * (page.brightness or 0), contrast=0.55 * (page.contrast or 0))
            for page in watched.pages
        ]
        turned = [replace(page, upside_down=True) for page in watched.pages]
        say(f"darker, from the signs of {name}: {noticed(profile, dark, 'darker')}\n")
        say(f"upside down, from the signs of {name}: {noticed(profile, turned, 'upside_down')}\n")
    for name, watched in splits.items():
        ones = [noticed(profile, pages, "one_writer") for _, pages in by_writer(watched)]
        raised = sum(first is not None for first, _ in ones)
        any_ = sum(bool(alarms) for _, alarms in ones)
        say(f"one writer of {name}: {raised} of {len(ones)} raise one_writer, {any_} any alarm\n")
        for collection in ("copiste", "wills", "stanford"):
            chosen = [i for i, page in enumerate(watched.names) if page.startswith(collection)]
            pages = [watched.pages[i] for i in chosen]
            lines = sum(len(page.lines) for page in pages)
            say(f"only {collection} of {name}: {noticed(profile, pages * (WINDOW // lines + 1), 'other_pages')}\n")
    own = [i for i, page in enumerate(validation.names) if page.startswith("copiste")]
    copiste = whole_profile([validation.pages[i] for i in own], [validation.writers[i] for i in own], [])
    for name, watched in splits.items():
        for collection in ("copiste", "wills"):
            pages = [page for page, of in zip(watched.pages, watched.names, strict=True) if of.startswith(collection)]
            lines = sum(len(page.lines) for page in pages)
            first = noticed(copiste, pages * (WINDOW // lines + 1), "other_pages")
            say(f"profile of copiste, {collection} of {name}: {first}\n")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("read", "judge"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=["validation", "test", *CHANGES, *DRAWINGS])
    parser.add_argument("--framework", default="numpy", help="the framework that reads; all read the same")
    parser.add_argument("--test", action="store_true", help="judge windows of the test split as well")
    given = parser.parse_args()
    if given.what == "read":
        read(given.folder, given.cache, given.only, given.framework)
    else:
        judge_all(given.cache, given.test)


if __name__ == "__main__":
    main()
