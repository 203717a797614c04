"""Recorders: the clients' own readers and file formats return what was recorded."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from common.reading.result import Reading
from common.training.recorders import JsonLines, open_recorders

CONFIG = {"framework": "numpy", "train": {"epochs": 3, "learning_rate": 0.001}, "spec": {"hidden_dims": [8, 4]}}
IMAGE_HW = np.arange(28 * 28, dtype=np.uint32).reshape(28, 28).astype(np.uint8)
UNCOMMON = ["$x_1$", "\\", "<b>&", "中", "🤣", "\n", "\u202e", "e\u0301", "\ud800"]


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


# --- JSON lines
def test_jsonl_holds_one_object_per_call_with_null_for_what_is_not_finite(tmp_path: Path) -> None:
    (recorder,) = open_recorders((), tmp_path, CONFIG, first_step=1)
    recorder.scalars(1, {"train/loss": 2.5})
    recorder.scalars(2, {"train/loss": float("nan"), "up": float("inf")})
    recorder.close({})
    assert rows(tmp_path) == [{"step": 1, "train/loss": 2.5}, {"step": 2, "train/loss": None, "up": None}]


def test_jsonl_drops_what_a_resumed_run_records_again(tmp_path: Path) -> None:
    recorder = JsonLines(tmp_path / "metrics.jsonl", first_step=1)
    for step in (1, 2, 3, 4):
        recorder.scalars(step, {"loss": step})
    recorder.close({})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # killed while writing
    resumed = JsonLines(tmp_path / "metrics.jsonl", first_step=3)
    resumed.scalars(3, {"loss": 30})
    resumed.close({})
    assert rows(tmp_path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}, {"step": 3, "loss": 30.0}]


def test_jsonl_begins_anew_when_a_run_was_killed_before_its_first_checkpoint(tmp_path: Path) -> None:
    for loss in (9, 1):
        recorder = JsonLines(tmp_path / "metrics.jsonl", first_step=1)
        recorder.scalars(1, {"loss": loss})
        recorder.close({})
    assert rows(tmp_path) == [{"step": 1, "loss": 1.0}]


def test_jsonl_on_a_full_disk_says_so_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = JsonLines(tmp_path / "metrics.jsonl", first_step=1)

    class Full:
        def write(self, _line: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with recorder._file:
        monkeypatch.setattr(recorder, "_file", Full())
        with pytest.raises(UserError, match=r"metrics.jsonl: No space left on device; free some space"):
            recorder.scalars(1, {"loss": 1})


# --- choosing
def test_unknown_recorder_names_the_nearest_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown recorder 'wandbb': did you mean 'wandb'\?"):
        open_recorders(["wandbb"], tmp_path, CONFIG, first_step=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_recorder_that_is_not_installed_names_its_extra(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf'recorder \'{name}\' is not installed .*pip install "fourhands\[{name}\]"'):
        open_recorders([name], tmp_path, CONFIG, first_step=1)


# --- the clients, each in a process of its own: they start threads and services
def in_own_process(tmp_path: Path, body: str, warnings: str = "error", **environment: str) -> str:
    """Run a script that may use `folder`, `CONFIG` and this file's imports, and return what it printed."""
    script = tmp_path / "script.py"
    head = f"""
        import json, sys
        import numpy as np
        from pathlib import Path
        from common.reading.result import Reading
        from common.training.architecture import Layer
        from common.training.recorders import About, open_recorders
        ABOUT = About(
            layers=[Layer(name="dense.0", arrays="kernel 784×8, bias 8", parameters=6280, statistics=0)],
            environment={{"code": {{"commit": "0123abc"}}, "data": {{"hash": "4567def"}}}},
            group="a sweep",
        )
        folder = Path({str(tmp_path / "run")!r}); folder.mkdir(exist_ok=True)
        CONFIG = {CONFIG!r}
        IMAGE_HW = np.arange(28 * 28, dtype=np.uint32).reshape(28, 28).astype(np.uint8)
    """
    script.write_text(textwrap.dedent(head) + textwrap.dedent(body), encoding="utf-8")
    unset = (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_EXPERIMENT_NAME",
        "WANDB_SWEEP_ID",
        "WANDB_API_KEY",
        "WANDB_PROJECT",
        "WANDB_ENTITY",
        "WANDB_NAME",
        "WANDB_MODE",
        "WANDB_DIR",
    )
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-W", warnings, str(script)],
        env=inherited | {"HOME": str(tmp_path), "WANDB_ERROR_REPORTING": "false"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,  # a busy machine
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


RECORD = """
    for first in (1, 2):  # the second time like a resumed run
        recorder = open_recorders([NAME], folder, CONFIG, first_step=first, about=ABOUT)[-1]
        recorder.scalars(first, {"train/loss": 2.5 / first, "bad": float("nan")})
        array = np.append(np.arange(10.0), [np.nan, np.inf])
        recorder.histograms(first, {
            "weights/dense.0.kernel": array, "constant": np.full(5, 1e20), "nothing": np.array([np.nan])
        })
        readings = [Reading(image_HW=IMAGE_HW, text=t, confidence=0.5, truth="7") for t in [*UNCOMMON, "7"]]
        recorder.readings(first, readings[:-1])
        recorder.examples(first, readings)
        recorder.close({"accuracy": 0.25, "interval": [0.2, 0.3], "versions": {"python": "3"}})
    print([name for name in ("tensorflow", "torch", "keras", "jax") if name in sys.modules])
"""


def recording(name: str) -> str:
    return f"NAME = {name!r}; UNCOMMON = {UNCOMMON!a}\n" + textwrap.dedent(RECORD)


def test_tensorboard_reads_back_what_was_recorded(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    assert in_own_process(tmp_path, recording("tensorboard")).strip() == "[]"
    # TensorBoard's own reader; `notf` keeps it from importing TensorFlow, as TensorBoard's build without it does
    read = """
        import types
        sys.modules["tensorboard.compat.notf"] = types.ModuleType("notf")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray
        events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"histograms": 0})
        events.Reload()
        scalars = [(e.step, e.value) for e in events.Scalars("train/loss")]
        histograms = [(e.step, e.histogram_value) for e in events.Histograms("weights/dense.0.kernel")]
        images = events.Images("readings")
        text = [t for e in events.Tensors("config") for t in make_ndarray(e.tensor_proto).ravel()]
        bad = [e.value for e in events.Scalars("bad")]
        said = {n: make_ndarray(events.Tensors(n)[0].tensor_proto).ravel()[0].decode() for n in ("layers", "group")}
        (folder / "image.png").write_bytes(images[0].encoded_image_string)
        print(json.dumps({
            "scalars": scalars,
            "bad": [str(value) for value in bad],
            "histograms": [(s, h.num, h.min, h.max, h.sum, h.sum_squares, sum(h.bucket)) for s, h in histograms],
            "histogram_tags": events.Tags()["histograms"],
            "image": [images[0].width, images[0].height],
            "text": text[0].decode(),
            "said": said,
            "test readings": [each.step for each in events.Images("test readings")],
            "plugins": sorted(events.summary_metadata),
        }))
    """
    found = json.loads(in_own_process(tmp_path, read))
    assert found["scalars"] == [[1, 2.5], [2, 1.25]]
    assert found["bad"] == ["nan", "nan"]
    # of 0..9: ten values, their sum 45, the sum of their squares 285
    assert found["histograms"] == [[1, 10, 0, 9, 45, 285, 10], [2, 10, 0, 9, 45, 285, 10]]
    assert sorted(found["histogram_tags"]) == ["constant", "weights/dense.0.kernel"]
    assert list(pixels(tmp_path / "run" / "image.png").shape[1::-1]) == found["image"]
    assert json.loads(found["text"]) == CONFIG
    assert "| dense.0 | kernel 784×8, bias 8 | 6,280 |" in found["said"]["layers"].splitlines()
    assert found["said"]["group"] == "a sweep"
    assert found["test readings"] == [1, 2]
    assert "_hparams_/session_start_info" in found["plugins"]


def test_wandb_file_holds_what_was_recorded(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    assert in_own_process(tmp_path, recording("wandb"), WANDB_MODE="offline").strip() == "[]"
    folders = sorted((tmp_path / "run" / "wandb").glob("offline-run-*"))
    run_id = (tmp_path / "run" / "wandb" / "run-id.txt").read_text()
    files = [file for folder in folders for file in folder.glob("run-*.wandb")]
    # a resumed run goes on under the same id, in a file of its own
    assert [file.name for file in files] == [f"run-{run_id}.wandb"] * 2
    for first, file in zip((1, 2), files, strict=True):
        records = list(wandb_records(file))
        config = {u.key: json.loads(u.value_json) for r in records if r.HasField("run") for u in r.run.config.update}
        config.pop("_wandb")
        assert config.pop("environment") == {"code": {"commit": "0123abc"}, "data": {"hash": "4567def"}}
        assert config == CONFIG
        assert {r.run.run_group for r in records if r.HasField("run")} == {"a sweep"}
        history = [r.history for r in records if r.HasField("history")]
        merged = [{"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in h.item} for h in history]
        if first == 1:
            layers = merged.pop(0)
            assert table(file, layers["layers/path"])["data"] == [["dense.0", "kernel 784×8, bias 8", 6280, 0]]
        assert [row["step"] for row in merged] == [first] * 4
        rows = table(file, merged[3]["test_readings/path"])["data"]
        assert [row[1] for row in rows] == ["7"] * (len(UNCOMMON) + 1)
        assert [row[3] for row in rows] == [False] * len(UNCOMMON) + [True]
        assert rows[0][2] == "$x_1$"
        # the pictures of a table are in its artifact; equal ones are one file there
        (artifact,) = [r.artifact for r in records if r.HasField("artifact") and "test_readings" in r.artifact.name]
        pictures = [Path(each.local_path) for each in artifact.manifest.contents if each.path.endswith(".png")]
        assert [np.array_equal(pixels(path), IMAGE_HW) for path in pictures] == [True]
        assert merged[0]["train/loss"] == 2.5 / first
        assert np.isnan(merged[0]["bad"])
        assert sum(merged[1]["weights/dense.0.kernel/values"]) == 10
        assert merged[1]["weights/dense.0.kernel/bins"][-1] == 9
        assert sum(merged[1]["constant/values"]) == 5
        assert not any(name.startswith("nothing") for name in merged[1])
        paths = merged[2]["readings/filenames"]
        assert len(paths) == len(UNCOMMON)
        for path in paths:
            assert np.array_equal(pixels(file.parent / "files" / path), IMAGE_HW)
        captions = merged[2]["readings/captions"]
        assert captions[0] == "✗ true 7, read $x_1$ (50%)"
        assert captions[5] == "✗ true 7, read U+000A (50%)"
        updates = [u for r in records if r.HasField("summary") for u in r.summary.update]
        summary = {u.key or "/".join(u.nested_key): json.loads(u.value_json) for u in updates}
        assert summary["accuracy"] == 0.25
        assert summary["interval"] == [0.2, 0.3]


def table(file: Path, path: str) -> dict[str, Any]:
    """A table that a W&B run in `file` refers to."""
    content: dict[str, Any] = json.loads((file.parent / "files" / path).read_text())
    return content


def test_wandb_within_a_sweep_leaves_the_id_to_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    given: dict[str, Any] = {}

    class Started(UserError):
        """Ends the start of the recorders, which then close."""

    def init(**arguments: Any) -> None:
        given.update(arguments)
        raise Started

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    with pytest.raises(Started):
        open_recorders(["wandb"], tmp_path, CONFIG, first_step=1)
    assert (given["id"], given["resume"]) == (None, None)


@pytest.mark.parametrize(("summary", "code"), [({}, 1), ({"accuracy": 0.5}, 0)], ids=["failed", "complete"])
def test_wandb_marks_only_a_complete_run_as_finished(summary: dict[str, float], code: int, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    body = f"""
        recorder = open_recorders(["wandb"], folder, CONFIG, first_step=1)[-1]
        recorder.scalars(1, {{"train/loss": 2.5}})
        recorder.close({summary!r})
    """
    in_own_process(tmp_path, body, WANDB_MODE="offline")
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    exits = [record.exit.exit_code for record in wandb_records(file) if record.HasField("exit")]
    assert exits == [code]


def test_mlflow_database_holds_what_was_recorded(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason='mlflow is not installed: pip install "fourhands[mlflow]"')
    read = """
        from mlflow import MlflowClient
        client = MlflowClient(tracking_uri=f"sqlite:///{folder.parent / 'mlflow.db'}")
        (run,) = client.search_runs([client.get_experiment_by_name("fourhands").experiment_id])
        def history(name):
            return [[each.step, each.value] for each in client.get_metric_history(run.info.run_id, name)]
        names = [each.path for part in ("", "readings") for each in client.list_artifacts(run.info.run_id, part)]
        table = Path(client.download_artifacts(run.info.run_id, "test_readings.json")).read_text()
        print(json.dumps({
            "status": run.info.status, "name": run.info.run_name, "params": run.data.params, "tags": run.data.tags,
            "loss": history("train/loss"), "bad": [str(value) for _, value in history("bad")],
            "norm": history("norm/weights/dense.0.kernel"), "accuracy": run.data.metrics["result/accuracy"],
            "names": names, "table": json.loads(table),
        }))
    """
    # SQLAlchemy warns of what MLflow does. One process: its imports take seconds
    body = recording("mlflow") + textwrap.dedent(read)
    frameworks, said = in_own_process(tmp_path, body, warnings="ignore").splitlines()
    found = json.loads(said)
    assert frameworks == "[]"
    assert (found["status"], found["name"]) == ("FINISHED", "run")
    assert found["params"] == {"framework": "numpy", "train.epochs": "3", "train.learning_rate": "0.001"} | {
        "spec.hidden_dims": "[8, 4]"
    }
    tags = {name: found["tags"][name] for name in ("group", "mlflow.source.git.commit", "data.hash")}
    assert tags == {"group": "a sweep", "mlflow.source.git.commit": "0123abc", "data.hash": "4567def"}
    assert found["loss"] == [[1, 2.5], [2, 1.25]]
    assert found["bad"] == ["nan", "nan"]
    # of 0..9: the sum of their squares is 285
    assert [norm for _, norm in found["norm"]] == pytest.approx([285**0.5] * 2)
    assert found["accuracy"] == 0.25
    assert {"layers.json", "environment.json", "result.json", "readings/step-000001.png"} <= set(found["names"])
    columns, rows = found["table"]["columns"], found["table"]["data"]
    assert len(rows) == 2 * (len(UNCOMMON) + 1)
    assert [row[columns.index("right")] for row in rows].count(True) == 2
    assert rows[0][columns.index("read")] == "$x_1$"


def test_mlflow_that_cannot_be_reached_says_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason='mlflow is not installed: pip install "fourhands[mlflow]"')
    body = """
        from common.errors import UserError
        try:
            open_recorders(["mlflow"], folder, CONFIG, first_step=1)
        except UserError as error:
            print(error)
    """
    for uri in ("http://127.0.0.1:9", str(tmp_path / "plain")):
        said = in_own_process(tmp_path, body, warnings="ignore", MLFLOW_TRACKING_URI=uri)
        assert said.count("\n") == 1
        assert "MLflow does not take the run" in said
        assert "set MLFLOW_TRACKING_URI" in said


def test_wandb_without_an_account_says_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    body = """
        from common.errors import UserError
        try:
            open_recorders(["wandb"], folder, CONFIG, first_step=1)
        except UserError as error:
            print(error)
    """
    said = in_own_process(tmp_path, body)
    assert said.count("\n") == 1
    assert "No API key configured" in said
    assert "WANDB_MODE=offline" in said


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: a header of 7 bytes, then LevelDB's log format with a protobuf in each entry.

    Source: github.com/google/leveldb, doc/log_format.md.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, entry = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _checksum, length, kind = struct.unpack_from("<IHB", content, position)
        entry += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # the whole of an entry, or the last part of one
            yield Record.FromString(entry)
            entry = b""


@pytest.mark.parametrize("text", UNCOMMON)
def test_caption_is_one_line_that_utf8_can_hold(text: str) -> None:
    from common.training.recorder import caption

    said = caption(Reading(image_HW=IMAGE_HW, text=text, confidence=1, truth=text))
    said.encode()
    assert said.isprintable()
    assert said.startswith("✓")
