"""The commands `fourhands data list`, `prepare` and `show`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from common.data import sources
from common.data.config import DataConfig
from common.data.dataset import AnyDataset
from common.errors import UserError
from common.spec import RUNGS, new_spec
from common.tasks import TASKS, Task

_HEIGHT, _MAX_CHARACTERS = 28, DataConfig().max_characters


@dataclass(frozen=True, kw_only=True)
class List:
    """List the data sets."""

    def __call__(self) -> int:
        """Print a paragraph per data set."""
        for name, source in sources.SOURCES.items():
            holds = source.holds if source.load_pages is None else f"{source.holds}, pages"
            print(f"{name}: {source.description} ({holds})")
            print(f"    {source.sizes}\n    {source.origin}; {source.terms}")
        return 0


@dataclass(frozen=True, kw_only=True)
class _Data:
    """A data set."""

    data: tyro.conf.Positional[str]
    """NAME or NAME:FOLDER; see `fourhands data list`."""
    as_: Annotated[sources.Holds | None, tyro.conf.arg(name="as")] = None
    """Load the data as characters, lines or pages. The default is what `fourhands data list` names first."""
    height: int = _HEIGHT
    """Lines only: rows to scale each line to, pixels."""
    max_characters: int = _MAX_CHARACTERS
    """Drawn lines only: characters of the longest line."""
    writer_pattern: str = ""
    """Pages only: a regular expression whose group 1 is the writer in a page's name. Splits then share none."""

    def __post_init__(self) -> None:
        for field in ("height", "max_characters"):
            if getattr(self, field) < 1:
                raise UserError(f"--{field.replace('_', '-')} is {getattr(self, field)}; it must be at least 1")

    def task(self) -> Task:
        """The task that the data is for.

        Raises:
            UserError: unknown data, or a flag for lines where it holds something else.
        """
        task = TASKS[self.as_ or sources.source_of(self.data).holds]
        if task.name != "lines" and (self.height, self.max_characters) != (_HEIGHT, _MAX_CHARACTERS):
            raise UserError(
                f"--height and --max-characters are for lines, and {self.data} holds {task.name}; leave them out"
            )
        if task.name == "characters" and self.writer_pattern:
            raise UserError(f"--writer-pattern is for lines, and {self.data} holds characters; leave it out")
        return task

    def load(self) -> tuple[Task, AnyDataset]:
        """The task and the data."""
        task = self.task()
        rung = next(name for name, spec in RUNGS.items() if spec.task == task.name)
        spec = new_spec(rung, **({} if task.name == "pages" else {"height": self.height}))
        config = DataConfig(max_characters=self.max_characters, writer_pattern=self.writer_pattern)
        return task, task.load(self.data, spec, config)


@dataclass(frozen=True, kw_only=True)
class Prepare(_Data):
    """Download a data set if necessary, check it, and prepare its lines."""

    refused: bool = False
    """Lines and pages only: name each line that is in no split, and the reason."""

    def __call__(self) -> int:
        """Print what is in the splits."""
        if self.refused and self.task().name == "characters":
            raise UserError(f"--refused is for lines and pages, and {self.data} holds characters; leave it out")
        task, dataset = self.load()
        for sentence in task.describe(dataset):
            print(sentence)
        source, path = sources.parse(self.data, self.as_ or sources.source_of(self.data).holds)
        if source.locate is not None:
            print(f"files: {source.locate(path)}")
        if task.name != "characters":
            hint = "" if self.refused or not dataset.refused else "; --refused names them"
            print(f"refused: {len(dataset.refused):,} lines{hint}")
            if dataset.clipped:
                print(f"cut off at the edge of their page: {len(dataset.clipped):,} lines")
        if self.refused:
            for line in dataset.refused:
                print(f"    {line.name}: {line.reason}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Show(_Data):
    """Draw a contact sheet of a data set."""

    out: Path
    """The PNG to write."""
    augment: bool = False
    """Lines and pages only: draw training examples beside what augmentation makes of them."""

    def __call__(self) -> int:
        """Write the sheet."""
        from common.report.contact_sheet import AUGMENTED, SHEETS  # matplotlib is slow to import

        if self.augment and self.task().name not in AUGMENTED:
            raise UserError(f"--augment is for lines and pages, and {self.data} holds {self.task().name}; leave it out")
        task, dataset = self.load()
        (AUGMENTED if self.augment else SHEETS)[task.name](dataset, self.out)
        print(f"drawn in {self.out}")
        return 0
