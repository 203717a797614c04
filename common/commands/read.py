"""The command `fourhands read`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from common.atomic import write_atomically
from common.commands.inputs import make_out, split_run, target_of
from common.data.documents import Document, Pages, find_documents, open_document
from common.errors import UserError
from common.reading.formats import FormatName, Source, render
from common.reading.page import PageReading
from common.recognizer import Device
from common.terminal import progress_bar
from common.training.page_reader import PageReader

SOME_FAILED, ALL_FAILED = 1, 2


@dataclass(frozen=True, kw_only=True)
class Read:
    """Read pictures of pages, of single lines or of single characters."""

    inputs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[RUN] IMAGE ...")]
    """A run folder or a weights file first, or none for the reader that ships. Then image files of any size, dark on
    light or light on dark, TIFF and PDF files with any number of pages, folders, and patterns such as "scans/*.jpg"."""
    as_: Annotated[Literal["auto", "page", "line", "character"], tyro.conf.arg(name="as")] = "auto"
    """What each picture shows; auto takes each for what it seems to show."""
    format: FormatName = "text"
    """text, JSON, ALTO 4, PAGE 2019, hOCR, or a picture of the page with its lines and their text."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Folder for a file per page, NAME.txt, .json, .xml, .html or .png. Files that exist are kept, and their pages are
    not read again. By default, everything goes to standard output."""
    framework: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """The framework that computes; by default the one that trained RUN, and NumPy for the reader that ships."""
    beam: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """lstm_ctc only: width of the beam search; 0, which is the default, takes the best path."""
    ngram: bool = False
    """lstm_ctc only: weigh the texts of the beam with the character language model."""
    device: Device = "cpu"
    """Where to compute. No GPU has run this project yet."""
    json: bool = False
    """The same as --format json."""

    def __call__(self) -> int:
        """Read every picture; the exit code is 1 if some could not be read, and 2 if none could."""
        run, names = split_run(self.inputs)
        if not names:
            raise UserError("no image to read; name at least one image file, PDF file or folder")
        documents = find_documents(names)
        form: FormatName = "json" if self.json else self.format
        if self.out is not None:
            make_out(self.out)
        elif form in ("alto", "page", "hocr", "picture") and len(documents) > 1:
            raise _needs_out(form, f"{len(documents):,} files")
        reader = PageReader.open_for(run, self.framework, self.device)
        if reader.note:
            _say(reader.note)
        job = _Job(command=self, form=form, reader=reader, documents=documents)
        return job.run()


class _CannotWriteError(UserError):
    """A file could not be written."""


@dataclass
class _Job:
    """The reading of all documents."""

    command: Read
    form: FormatName
    reader: PageReader
    documents: list[Document]
    rows: list[dict[str, Any]] = field(default_factory=list)
    written: dict[Path, str] = field(default_factory=dict)
    """The file of each page so far, and the page."""
    done: int = 0
    skipped: int = 0
    failed: int = 0
    bar: Any = None
    task: Any = None

    def run(self) -> int:
        """Read them; the exit code."""
        with self._progress():
            for document in self.documents:
                self._document(document)
        if self.form == "json" and self.command.out is None:
            print(json.dumps(self.rows, ensure_ascii=False))
        if self.skipped:
            total = self.done + self.skipped + self.failed
            _say(f"{self.skipped:,} of {total:,} pages were read before and are skipped")
        if not self.failed:
            return 0
        _say(f"{self.failed:,} of {self.done + self.skipped + self.failed:,} could not be read; the others are done")
        return SOME_FAILED if self.done or self.skipped else ALL_FAILED

    @contextmanager
    def _progress(self) -> Iterator[None]:
        if self.command.out is None:  # a bar would redirect standard output to the terminal
            yield
            return
        with progress_bar() as self.bar:
            if self.bar is not None:
                self.task = self.bar.add_task("reading", total=len(self.documents))
            yield
        self.bar = None

    def _document(self, document: Document) -> None:
        alone = len(self.documents) == 1
        try:
            with open_document(document.path) as pages:
                if alone and self.bar is not None:
                    self.bar.update(self.task, total=len(pages))
                if len(pages) > 1 and self.command.out is None and self.form in ("alto", "page", "hocr", "picture"):
                    raise _needs_out(self.form, f"{len(pages):,} pages")
                for index in range(len(pages)):
                    self._page(document, pages, index)
                    if alone:
                        self._advance()
        except _CannotWriteError:  # the next page could not be written either
            raise
        except UserError as error:
            if alone:
                raise
            self._fail(error)
        if not alone:
            self._advance()

    def _page(self, document: Document, pages: Pages, index: int) -> None:
        label = str(document.path) + (f", page {index + 1}" if len(pages) > 1 else "")
        target: Path | None = None
        try:
            if self.command.out is not None:
                target = target_of(document, self.command.out, self.form, index, len(pages))
                self._check_target(target, label)
                if target.exists():
                    self.skipped += 1
                    return
            picture_HW = pages[index]
            command = self.command
            kind = None if command.as_ == "auto" else command.as_
            reading = self.reader.read(picture_HW, kind=kind, beam=command.beam, ngram=command.ngram or None)
        except UserError as error:
            said = str(error)
            named = UserError(said if said.startswith(str(document.path)) else f"{label}: {said}")
            if len(self.documents) == len(pages) == 1:
                raise named from None
            self._fail(named)
            return
        source = Source(image=str(document.path), picture_HW=picture_HW, page=index + 1, pages=len(pages))
        self._tell(reading, label)
        if target is not None:
            self._write(target, render(reading, source, self.form))
        else:
            self._print(reading, source, label)
        self.done += 1

    def _write(self, target: Path, content: bytes) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, content)
        except OSError as error:
            raise _CannotWriteError(f"cannot make {target.parent} ({error.strerror}); choose another folder") from None
        except UserError as error:
            raise _CannotWriteError(str(error)) from None

    def _check_target(self, target: Path, label: str) -> None:
        if any(target.resolve() == each.path.resolve() for each in self.documents if each.path.name == target.name):
            raise UserError(f"{label} would be written over {target}, which is to be read; give --out another folder")
        before = self.written.setdefault(target, label)
        if before != label:
            raise UserError(
                f"{label} would be written to {target}, as {before} is; rename one of them, or read them into two "
                "folders"
            )

    def _tell(self, reading: PageReading, label: str) -> None:
        """Say what the picture was taken for."""
        if reading.upside_down:
            _say(f"{label}: the page is upside down, so it was turned to be read", self.bar)
        if self.command.as_ != "auto" or reading.kind == "character":
            return
        lines = "" if reading.kind == "line" else f", {len(reading.lines)} lines"
        _say(f"{label}: taken for a {reading.kind}{lines}", self.bar)

    def _print(self, reading: PageReading, source: Source, label: str) -> None:
        if self.form == "json":
            from common.reading.formats.json import as_json

            self.rows.append(as_json(reading, source))
        elif self.form == "text" and reading.kind != "page":
            print(f"{reading.text}  {reading.confidence:6.1%}  {label}")
        else:
            if self.done:
                print()  # between two pages
            sys.stdout.flush()
            _write_bytes(render(reading, source, self.form), self.form)

    def _fail(self, error: UserError) -> None:
        self.failed += 1
        _say(f"error: {' '.join(str(error).split())}", self.bar)

    def _advance(self) -> None:
        if self.bar is not None:
            self.bar.advance(self.task)


def _needs_out(form: FormatName, what: str) -> UserError:
    return UserError(f"--format {form} makes a file per page, and there are {what}; give --out a folder for them")


def _write_bytes(content: bytes, form: FormatName) -> None:
    if form == "picture":
        if sys.stdout.isatty():
            raise UserError("a picture cannot be shown in a terminal; give --out a folder, or redirect the output")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        sys.stdout.write(content.decode())


def _say(sentence: str, bar: Any = None) -> None:
    if bar is None:
        print(f"fourhands: {sentence}", file=sys.stderr)
    else:
        bar.console.print(f"fourhands: {sentence}", markup=False, highlight=False, soft_wrap=True)
