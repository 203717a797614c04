"""The recorder for MLflow."""

# H height, W width

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from common.atomic import write_atomically
from common.errors import UserError
from common.formatting import flattened
from common.reading.result import Reading
from common.training.recorder import About, cannot_write, plain

DATABASE, ARTIFACTS = "mlflow.db", "mlflow-artifacts"
_BATCH = 500  # values per call; MLflow takes 1,000 at most
_SECONDS = 5  # a value waits no longer than this for the next call


class MLflow:
    """An MLflow run. Its id is kept in RUN/mlflow, so that a resumed run goes on in it.

    Without MLFLOW_TRACKING_URI, runs beside each other share the SQLite file mlflow.db in their common folder, and the
    folder mlflow-artifacts. The experiment is MLFLOW_EXPERIMENT_NAME, or fourhands. A resumed run records the steps
    after its checkpoint again, and MLflow keeps both values of such a step.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, first_step: int, about: About) -> None:
        # by default, the client sends figures about its use to MLflow's authors
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # its default is to try for minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells how it makes its tables
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow.entities import Metric, Param, RunTag

        self._mlflow, self._metric = mlflow, Metric
        self._waiting: list[Any] = []
        self._sent = time.monotonic()
        beside = folder.resolve().parent
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{beside / DATABASE}"
        kept_id = folder / "mlflow" / "run-id.txt"
        try:
            kept_id.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(kept_id.parent, error) from error
        with self._asking():
            self._client = mlflow.MlflowClient(tracking_uri=self._uri)
            if kept_id.exists():
                self._run = kept_id.read_text().strip()
                self._client.update_run(self._run, status="RUNNING")
            else:
                commit = (about.environment.get("code") or {}).get("commit")
                tags = {"mlflow.runName": folder.resolve().name, "mlflow.source.git.commit": commit}
                tags |= {"group": about.group, "run_folder": str(folder.resolve())}
                experiment = self._experiment(beside / ARTIFACTS)
                given = {name: value for name, value in tags.items() if value is not None}
                self._run = self._client.create_run(experiment, tags=given).info.run_id
                write_atomically(kept_id, self._run.encode())
                rows = [Param(name, str(value)[:6000]) for name, value in plain(config).items()]
                for start in range(0, len(rows), 100):
                    self._client.log_batch(self._run, params=rows[start : start + 100])
                seen = flattened({k: v for k, v in about.environment.items() if k in ("data", "machine", "versions")})
                self._client.log_batch(self._run, tags=[RunTag(name, str(value)) for name, value in seen.items()][:100])
                self._client.log_dict(self._run, dict(about.environment), "environment.json")
                self._client.log_dict(self._run, {"layers": [asdict(layer) for layer in about.layers]}, "layers.json")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        moment = int(time.time() * 1000)
        self._waiting += [self._metric(name, float(value), moment, step) for name, value in values.items()]
        if len(self._waiting) >= _BATCH or time.monotonic() - self._sent > _SECONDS:
            self._send()

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """MLflow has no histograms: the norm of each array is kept instead."""
        finite = {name: array[np.isfinite(array)].astype(np.float64) for name, array in values.items()}
        self.scalars(step, {f"norm/{name}": float(np.linalg.norm(array)) for name, array in finite.items()})

    def readings(self, step: int, readings: list[Reading]) -> None:
        from common.report.drawing import png
        from common.report.figures import sheet_of_readings  # matplotlib is slow to import

        self._keep(f"step-{step:06}.png", png(sheet_of_readings(readings, f"Readings at step {step}")), "readings")

    def examples(self, step: int, readings: list[Reading]) -> None:
        """A table with pictures, in test_readings.json and the folder of images beside it."""
        columns = {
            "image": [self._mlflow.Image(np.stack([255 - each.image_HW] * 3, axis=2)) for each in readings],
            "true": [_utf8(each.truth or "") for each in readings],
            "read": [_utf8(each.text) for each in readings],
            "right": [each.truth == each.text for each in readings],
            "confidence": [float(each.confidence) for each in readings],
        }
        with self._asking():
            self._client.log_table(self._run, columns, "test_readings.json")

    def close(self, summary: Mapping[str, Any]) -> None:
        if not summary:  # the error that ended the run is the one to report
            with suppress(UserError):
                self._send()
                self._end("FAILED")
            return
        moment = int(time.time() * 1000)
        numbers = {name: value for name, value in summary.items() if isinstance(value, int | float)}
        self._waiting += [self._metric(f"result/{name}", float(value), moment, 0) for name, value in numbers.items()]
        self._send()
        with self._asking():
            text = json.dumps(summary, indent=2, ensure_ascii=False, default=str)
            self._client.log_text(self._run, text, "result.json")
        self._end("FINISHED")

    def _end(self, status: str) -> None:
        with self._asking():
            self._client.set_terminated(self._run, status=status)

    def _experiment(self, artifacts: Path) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "fourhands")
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        location = artifacts.as_uri() if self._uri.startswith("sqlite:") else None
        try:
            return str(self._client.create_experiment(name, artifact_location=location))
        except self._mlflow.MlflowException:  # another run has made it in the meantime
            known = self._client.get_experiment_by_name(name)
            if known is None:
                raise
            return str(known.experiment_id)

    def _send(self) -> None:
        rows, self._waiting, self._sent = self._waiting, [], time.monotonic()
        with self._asking():
            for start in range(0, len(rows), _BATCH):
                self._client.log_batch(self._run, metrics=rows[start : start + _BATCH])

    def _keep(self, name: str, content: bytes, folder: str) -> None:
        with tempfile.TemporaryDirectory() as scratch, self._asking():
            (Path(scratch) / name).write_bytes(content)
            self._client.log_artifact(self._run, str(Path(scratch) / name), folder)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Word the errors of the client.

        Raises:
            UserError: the store cannot be reached, or refuses.
        """
        try:
            yield
        except (self._mlflow.MlflowException, OSError) as error:
            reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
            raise UserError(
                f"MLflow does not take the run ({reason}); set MLFLOW_TRACKING_URI to a server that runs or to an "
                "SQLite file such as sqlite:///mlflow.db, or leave mlflow out of --record"
            ) from error


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
