"""The command `fourhands adapt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import fourhands
from common.commands.flags import Name
from common.formatting import percent, visible
from common.recognizer import Device
from common.training.adapt import HOLD_OUT, LINES


@dataclass(frozen=True, kw_only=True)
class Adapt:
    """Adapt the reader to your own pages, and measure how many lines it takes."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Pictures of pages with ALTO or PAGE XML beside them, as `fourhands label` keeps them."""
    out: Path
    """The run folder to make."""
    framework: Name = "numpy"
    """numpy, pytorch, keras, jax, or another that is installed. PyTorch is the fastest on a processor."""
    device: Device = "cpu"
    """Where to train. No GPU has run this project yet."""
    start_from: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """The run folder or weights file of lines to adapt; by default the reader that ships."""
    lines: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT ...")] = LINES
    """Numbers of own lines to measure. All lines are always measured too, and the run keeps that reader."""
    hold_out: int = HOLD_OUT
    """Hold out every Nth page for the test, in the order of their names; the model never learns from these."""
    seed: int = 0
    """Seed of the order of the lines, dropout and augmentation."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the matrix products in training. bfloat16 is for PyTorch only, and faster on processors that have
    it."""

    def __call__(self) -> int:
        """Adapt, and print the table of errors against own lines."""
        result = fourhands.adapt(
            self.folder,
            out=self.out,
            framework=self.framework,
            device=self.device,
            start_from=self.start_from,
            lines=self.lines,
            hold_out=self.hold_out,
            seed=self.seed,
            precision=self.precision,
        )
        for line in sentences(result):
            print(line)
        prior = ", prior.safetensors" if result["search"] else ""
        print(f"kept in {self.out}: weights.safetensors{prior}, result.json, adaptation.json, adaptation.png")
        print(f"read with it: fourhands read {self.out} page.jpg")
        return 0


def sentences(result: Mapping[str, Any]) -> list[str]:
    """The result in words, with its table."""
    on = f"{result['examples']:,} lines of {result['test_pages']:,} held-out pages"
    if result["test_by"] != "pages":
        on = f"{result['examples']:,} lines held out from the only page, which flatters: give more pages"
    said = [f"{result['own_lines']:,} own lines; tested on {on}", "", *table(result["curve"]), ""]
    if new := result["new_characters"]:
        said.append("new characters: " + ", ".join(visible(each) for each in new))
    if not result["learnt"]:
        said.append("no epoch read the validation lines better than the reader before, so its weights are kept")
    return said


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Errors against own lines, and how many fewer they are than without."""
    first = rows[0]["cer"]
    made = [f"{'own lines':>9}  {'CER':>6}  {'95% interval':>14}  {'best path':>9}  {'fewer errors':>12}"]
    for row in rows:
        low, high = row["cer_interval"]
        fewer = percent(1 - row["cer"] / first) if row["lines"] and first else ""
        interval = f"{percent(low)}-{percent(high)}"
        made.append(
            f"{row['lines']:>9,}  {percent(row['cer']):>6}  {interval:>14}  {percent(row['cer_best_path']):>9}  "
            f"{fewer:>12}"
        )
    return made
