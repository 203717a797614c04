"""The recorder for Weights & Biases."""

# H height, W width

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.atomic import write_atomically
from common.errors import UserError
from common.reading.result import Reading
from common.training.recorder import About, bins_of, cannot_write, caption


class WandB:
    """A Weights & Biases run with its files in RUN/wandb. Its id is kept there, so that a resumed run keeps it.

    The client's own environment variables apply: WANDB_MODE (online, offline, disabled), WANDB_PROJECT, WANDB_ENTITY.
    Within a W&B sweep the sweep chooses the id: a run of a sweep must not have another one.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, first_step: int, about: About) -> None:
        import wandb

        self._wandb = wandb
        kept_id = folder / "wandb" / "run-id.txt"
        try:
            kept_id.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(kept_id.parent, error) from error
        in_sweep = "WANDB_SWEEP_ID" in os.environ
        if not in_sweep and not kept_id.exists():
            write_atomically(kept_id, secrets.token_hex(4).encode())
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "fourhands"),
                name=os.environ.get("WANDB_NAME", folder.resolve().name),
                id=None if in_sweep else kept_id.read_text().strip(),
                resume=None if in_sweep else "allow",
                group=about.group,
                dir=folder,
                config=config | ({"environment": dict(about.environment)} if about.environment else {}),
                # console off: it would wrap stdout, and break the progress shown there
                settings=wandb.Settings(console="off", silent=not sys.stderr.isatty()),
            )
        except wandb.errors.Error as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(
                f"Weights & Biases did not start ({reason}); run `wandb login`, or set WANDB_MODE=offline"
            ) from error
        # a column of our own instead of W&B's step counter, which refuses the steps that a resumed run repeats
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        if about.layers and first_step == 1:
            rows = [[each.name, each.arrays, each.parameters, each.statistics] for each in about.layers]
            layers = wandb.Table(columns=["layer", "arrays", "parameters", "statistics"], data=rows)
            self._run.log({"step": 0, "layers": layers})

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **values})

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        bins = {name: bins_of(array) for name, array in values.items()}
        shown = {name: self._wandb.Histogram(np_histogram=b) for name, b in bins.items() if b is not None}
        self._run.log({"step": step, **shown})

    def readings(self, step: int, readings: list[Reading]) -> None:
        images = [self._wandb.Image(reading.image_HW, caption=caption(reading)) for reading in readings]
        self._run.log({"step": step, "readings": images})

    def examples(self, step: int, readings: list[Reading]) -> None:
        rows = [
            [
                self._wandb.Image(each.image_HW),
                _utf8(each.truth or ""),
                _utf8(each.text),
                each.truth == each.text,
                float(each.confidence),
            ]
            for each in readings
        ]
        table = self._wandb.Table(columns=["image", "true", "read", "right", "confidence"], data=rows)
        self._run.log({"step": step, "test_readings": table})

    def close(self, summary: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(summary))
        self._run.finish(exit_code=0 if summary else 1)  # without it, W&B shows a crashed run as finished


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
