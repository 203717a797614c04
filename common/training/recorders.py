"""Recorders keep the figures of a run: JSON lines always, TensorBoard and Weights & Biases on request."""

# H height, W width

from __future__ import annotations

import errno
import io
import json
import math
import os
import secrets
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from common.atomic import write_atomically
from common.errors import UserError, unknown_name
from common.formatting import flattened, percent, visible
from common.reading.result import Reading

METRICS = "metrics.jsonl"
BINS = 64


@runtime_checkable
class Recorder(Protocol):
    """Keeps a run's figures. Steps count from 1 and never go back within a recorder."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Named numbers at a step, such as `train/loss` or `validation/accuracy`."""

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Named arrays at a step, such as `weights/dense.0.kernel` or `gradients/dense.0.kernel`."""

    def readings(self, step: int, readings: list[Reading]) -> None:
        """A few sample readings at a step."""

    def close(self, summary: Mapping[str, Any]) -> None:
        """The run has ended; `summary` is the content of result.json, or empty if the run failed or was stopped."""


def open_recorders(names: Iterable[str], folder: Path, config: dict[str, Any], *, first_step: int) -> list[Recorder]:
    """JSON lines, and the recorders that `--record` names.

    Args:
        names: of `tensorboard` and `wandb`.
        folder: the run folder, which exists.
        config: the resolved configuration, JSON-ready.
        first_step: the first step that will be recorded: 1, or the first step of a resumed run. Records of that step
            and later ones are dropped from the folder, because they will be recorded again.

    Raises:
        UserError: an unknown name, a recorder that is not installed, or a folder that cannot be written.
    """
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in RECORDERS:
            raise unknown_name("recorder", name, RECORDERS)
    opened: list[Recorder] = [JsonLines(folder / METRICS, first_step=first_step)]
    try:
        for name in wanted:
            opened.append(RECORDERS[name](folder, config, first_step=first_step))
    except (UserError, ModuleNotFoundError) as error:
        for recorder in opened:
            recorder.close({})
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"recorder {name!r} is not installed ({error.name} is missing); "
            f'install it with: pip install "fourhands[{name}]"'
        ) from None
    return opened


class JsonLines:
    """One object per call to `scalars`: `{"step": 1, "train/loss": 4.1}`. A value that is not finite becomes null.

    The line is written, without a buffer, before `scalars` returns.
    """

    def __init__(self, path: Path, *, first_step: int) -> None:
        self._path = path
        kept = _lines_before(path, first_step)
        try:
            # unbuffered: on a full disk a buffer would try again at exit, and fail again
            self._file = path.open("ab", buffering=0)
            self._file.truncate(kept)
        except OSError as error:
            raise _cannot_write(path, error) from error

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        row = {"step": step} | {name: float(v) if math.isfinite(v) else None for name, v in values.items()}
        line = (json.dumps(row, allow_nan=False) + "\n").encode()
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Not kept: a line holds numbers."""

    def readings(self, step: int, readings: list[Reading]) -> None:
        """Not kept: the run folder has its own sheet of readings."""

    def close(self, summary: Mapping[str, Any]) -> None:
        self._file.close()


class TensorBoard:
    """Event files in RUN/tensorboard, written without TensorFlow.

    `tensorboard.summary.writer.EventFileWriter` imports TensorFlow wherever it is installed, which slows down and
    disturbs a run of another framework. `RecordWriter` does not.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, first_step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._folder = folder / "tensorboard"
        try:
            self._folder.mkdir(exist_ok=True)
            # TensorBoard reads the files of a folder in the order of their names
            name = f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
            self._records = RecordWriter((self._folder / name).open("wb"))
        except OSError as error:
            raise _cannot_write(self._folder, error) from error
        self._write(0, file_version="brain.Event:2")
        # tells TensorBoard to forget what an interrupted run recorded from this step on
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(first_step, session_log=start)
        text = "    " + json.dumps(config, indent=2, ensure_ascii=False).replace("\n", "\n    ")  # Markdown for code
        self._write(0, summary=text_pb("config", text))
        self._write(0, summary=hparams_pb(_plain(config), trial_id=folder.resolve().name))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._write(step, summary=self._summary(value=[{"tag": k, "simple_value": v} for k, v in values.items()]))

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        rows = []
        for name, array in values.items():
            if (bins := _bins(array)) is None:
                continue
            counts, edges = bins
            finite = array[np.isfinite(array)].astype(np.float64)
            histogram = {
                "min": finite.min(),
                "max": finite.max(),
                "num": finite.size,
                "sum": finite.sum(),
                "sum_squares": np.square(finite).sum(),
                "bucket_limit": edges[1:],
                "bucket": counts,
            }
            rows.append({"tag": name, "histo": histogram})
        self._write(step, summary=self._summary(value=rows))

    def readings(self, step: int, readings: list[Reading]) -> None:
        from common.report.drawing import png
        from common.report.figures import sheet_of_readings  # matplotlib is slow to import

        encoded = png(sheet_of_readings(readings, f"Readings at step {step}"))
        width, height = _png_size(encoded)
        image = {"height": height, "width": width, "colorspace": 4, "encoded_image_string": encoded}
        self._write(step, summary=self._summary(value=[{"tag": "readings", "image": image}]))

    def close(self, summary: Mapping[str, Any]) -> None:
        from tensorboard.plugins.text.summary_v2 import text_pb

        if not summary:  # the run did not come to an end
            self._records.close()
            return
        text = "    " + json.dumps(summary, indent=2, ensure_ascii=False, default=str).replace("\n", "\n    ")
        self._write(0, summary=text_pb("result", text))
        self._records.close()

    def _write(self, step: int, **content: Any) -> None:
        try:
            self._records.write(self._event(step=step, wall_time=time.time(), **content).SerializeToString())
            self._records.flush()
        except OSError as error:
            raise _cannot_write(self._folder, error) from error


class WandB:
    """A Weights & Biases run with its files in RUN/wandb. Its id is kept there, so that a resumed run keeps it.

    The client's own environment variables apply: WANDB_MODE (online, offline, disabled), WANDB_PROJECT, WANDB_ENTITY.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, first_step: int) -> None:
        import wandb

        self._wandb = wandb
        kept_id = folder / "wandb" / "run-id.txt"
        try:
            kept_id.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise _cannot_write(kept_id.parent, error) from error
        if not kept_id.exists():
            write_atomically(kept_id, secrets.token_hex(4).encode())
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "fourhands"),
                name=os.environ.get("WANDB_NAME", folder.resolve().name),
                id=kept_id.read_text().strip(),
                resume="allow",
                dir=folder,
                config=config,
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

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **values})

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        bins = {name: _bins(array) for name, array in values.items()}
        shown = {name: self._wandb.Histogram(np_histogram=b) for name, b in bins.items() if b is not None}
        self._run.log({"step": step, **shown})

    def readings(self, step: int, readings: list[Reading]) -> None:
        images = [self._wandb.Image(reading.image_HW, caption=caption(reading)) for reading in readings]
        self._run.log({"step": step, "readings": images})

    def close(self, summary: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(summary))
        self._run.finish(exit_code=0 if summary else 1)  # without it, W&B shows a crashed run as finished


def caption(reading: Reading) -> str:
    """One line: the true text where it is known, the text that was read, and its confidence."""
    read = f"read {visible(reading.text)} ({percent(reading.confidence, 0)})"
    if reading.truth is None:
        return read
    sign = "✓" if reading.text == reading.truth else "✗"
    return f"{sign} true {visible(reading.truth)}, {read}"


RECORDERS: dict[str, type[TensorBoard] | type[WandB]] = {"tensorboard": TensorBoard, "wandb": WandB}


def _lines_before(path: Path, first_step: int) -> int:
    """Length in bytes of the file's whole lines up to the one that reaches `first_step`."""
    kept = 0
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or json.loads(line)["step"] >= first_step:
                    break
                kept += len(line)
    return kept


def _bins(array: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Counts and edges of the finite values, or None where there are none."""
    finite = array[np.isfinite(array)].astype(np.float64)
    if not finite.size:
        return None
    low, high = finite.min(), finite.max()
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # as good as constant: no room for the bins between
        half = max(0.5, abs(low) / 2)
        low, high = low - half, high + half
    counts, edges = np.histogram(finite, bins=BINS, range=(low, high))
    return counts, edges


def _plain(config: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Flat settings; a value that is no number, truth value or text becomes JSON."""
    return {
        name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for name, value in flattened(config).items()
    }


def _png_size(encoded: bytes) -> tuple[int, int]:
    from PIL import Image

    return Image.open(io.BytesIO(encoded)).size


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror}; free some space or choose another folder")
