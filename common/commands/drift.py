"""The command `fourhands drift`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from common.atomic import write_atomically
from common.errors import UserError
from common.evaluation.drift import ALPHA
from common.evaluation.profile import FILE, Profile, identity_of
from common.evaluation.signs import PageSigns
from common.reading.shipped import MODELS, READER, check_shipped
from common.recognizer import Device
from common.report.drift import drift_figures, render, sentences
from common.terminal import progress_bar

DRIFTED = 1
"""Exit code if an alarm was raised."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Say whether pictures, or what the service has read, are still like those that the reader was made for."""

    inputs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="FOLDER|LOG ...")]
    """Folders, image files, TIFF and PDF files to read, or files that the service wrote with --log-signs (.jsonl)."""
    run: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """A run folder or a weights file of a model that reads lines, with profile.json beside it; by default the reader
    that ships."""
    profile: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Another profile to compare with."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """HTML file for a report with plots."""
    last: Annotated[int, tyro.conf.arg(metavar="INT")] = 0
    """Compare only the last pictures that have this number of lines; 0 compares all."""
    as_: Annotated[Literal["auto", "page", "line"], tyro.conf.arg(name="as")] = "auto"
    """What each picture shows; auto takes each for what it seems to show."""
    framework: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """The framework that computes; by default the one that trained RUN, and NumPy for the reader that ships."""
    device: Device = "cpu"
    """Where to compute. No GPU has run this project yet."""
    json: bool = False
    """Print every figure as JSON."""

    def __call__(self) -> int:
        """Compare; the exit code is 1 if an alarm was raised, so that a script can act on it."""
        if not self.inputs:
            raise UserError("there is nothing to compare; name a folder with pictures, or a log of signs (.jsonl)")
        profile = Profile.load(self.profile or profile_of(self.run))
        if self.profile is None and profile.reader and profile.reader != identity_of(weights_file(self.run)):
            print("fourhands: the profile is of other weights; make it again", file=sys.stderr)
        if self.last < 0:
            raise UserError(f"--last is {self.last}; give a number of lines, or 0 for all")
        if self.out is not None and self.out.is_dir():
            raise UserError(f"--out {self.out} is a folder; name an HTML file")
        logs = [Path(name) for name in self.inputs if Path(name).suffix == ".jsonl"]
        names = [name for name in self.inputs if Path(name).suffix != ".jsonl"]
        pages = [page for log in logs for page in read_log(log)]
        failed = 0
        if names:
            pictures, failed = self._read(names)
            pages += pictures
        if self.last:
            pages = last_pages(pages, self.last)
        figures = drift_figures(profile, pages, alpha=ALPHA)
        if self.json:
            print(json.dumps(figures | {"failed": failed}, ensure_ascii=False))
        else:
            for sentence in sentences(figures):
                print(sentence)
        if self.out is not None:
            subject = ", ".join(self.inputs)
            write_atomically(self.out, render(figures, title="fourhands: drift", subject=subject).encode())
        return DRIFTED if figures["alarms"] else 0

    def _read(self, names: list[str]) -> tuple[list[PageSigns], int]:
        """The signs of pictures, and how many could not be read."""
        from common.data.documents import find_documents, open_document
        from common.training.page_reader import PageReader
        from common.training.profiles import watch

        documents = find_documents(names)
        reader = PageReader.open_for(self.run, self.framework, self.device)
        kind = None if self.as_ == "auto" else self.as_
        signs: list[PageSigns] = []
        failed = 0
        with progress_bar() as bar:
            task = None if bar is None else bar.add_task("reading", total=len(documents))
            for document in documents:
                try:
                    with open_document(document.path) as pages:
                        signs += [watch(reader, picture_HW, kind=kind)[1] for picture_HW in pages]
                except UserError as error:
                    failed += 1
                    print(f"fourhands: error: {' '.join(str(error).split())}", file=sys.stderr)
                if bar is not None and task is not None:
                    bar.advance(task)
        if not signs:
            raise UserError("no picture could be read; name pictures of pages or lines")
        return signs, failed


def weights_file(run: Path | None) -> Path:
    """The weights of a run, or of the reader that ships."""
    if run is None:
        return check_shipped(READER)
    return run / "weights.safetensors" if run.is_dir() else run


def profile_of(run: Path | None) -> Path:
    """The profile of a run, or of the reader that ships."""
    if run is None:
        return MODELS / FILE
    return (run if run.is_dir() else run.parent) / FILE


def read_log(path: Path) -> Iterator[PageSigns]:
    """The signs in a log of the service. A last line that was cut off is left out.

    Raises:
        UserError: the file cannot be read, or has a line of another form.
    """
    try:
        rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} ({error}); name a file that the service wrote with --log-signs") from None
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            content: Any = json.loads(row)
            signs = content["signs"]
        except (ValueError, TypeError, KeyError):
            if number == len(rows) and not row.endswith("\n"):
                return
            raise UserError(
                f"{path}, line {number}: expected a JSON object with signs; name a file that the service wrote with "
                "--log-signs"
            ) from None
        try:
            yield PageSigns.from_json(signs)
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None


def last_pages(pages: list[PageSigns], lines: int) -> list[PageSigns]:
    """The last pictures, the fewest that have this number of lines; one without lines counts as one."""
    count = 0
    for start in range(len(pages) - 1, -1, -1):
        count += max(1, len(pages[start].lines))
        if count >= lines:
            return pages[start:]
    return pages
