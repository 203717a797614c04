"""The recorder for TensorBoard."""

# H height, W width

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.reading.result import Reading
from common.training.recorder import About, bins_of, cannot_write, plain, png_size


class TensorBoard:
    """Event files in RUN/tensorboard, written without TensorFlow.

    `tensorboard.summary.writer.EventFileWriter` imports TensorFlow wherever it is installed, which slows down and
    disturbs a run of another framework. `RecordWriter` does not.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, first_step: int, about: About) -> None:
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
            raise cannot_write(self._folder, error) from error
        self._write(0, file_version="brain.Event:2")
        # tells TensorBoard to forget what an interrupted run recorded from this step on
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(first_step, session_log=start)
        text = "    " + json.dumps(config, indent=2, ensure_ascii=False).replace("\n", "\n    ")  # Markdown for code
        self._write(0, summary=text_pb("config", text))
        self._write(0, summary=hparams_pb(plain(config), trial_id=folder.resolve().name))
        if about.environment:
            said = json.dumps(about.environment, indent=2, ensure_ascii=False).replace("\n", "\n    ")
            self._write(0, summary=text_pb("environment", "    " + said))
        if about.layers:
            rows = [f"| {each.name} | {each.arrays} | {each.parameters:,} |" for each in about.layers]
            self._write(
                0, summary=text_pb("layers", "\n".join(["| layer | arrays | parameters |", "|---|---|--:|", *rows]))
            )
        if about.group is not None:
            self._write(0, summary=text_pb("group", about.group))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._write(step, summary=self._summary(value=[{"tag": k, "simple_value": v} for k, v in values.items()]))

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        rows = []
        for name, array in values.items():
            if (bins := bins_of(array)) is None:
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
        self._sheet("readings", step, readings, f"Readings at step {step}")

    def examples(self, step: int, readings: list[Reading]) -> None:
        self._sheet("test readings", step, readings, "Test examples")

    def _sheet(self, tag: str, step: int, readings: list[Reading], title: str) -> None:
        from common.report.drawing import png
        from common.report.figures import sheet_of_readings  # matplotlib is slow to import

        encoded = png(sheet_of_readings(readings, title))
        width, height = png_size(encoded)
        image = {"height": height, "width": width, "colorspace": 4, "encoded_image_string": encoded}
        self._write(step, summary=self._summary(value=[{"tag": tag, "image": image}]))

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
            raise cannot_write(self._folder, error) from error
