"""Bad input: one sentence, exit code 2, nothing lost."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from common.recognizer import Recognizer, load_implementation
from common.tests.conftest import Command
from common.tests.test_cli import bytes_of
from common.training import session
from common.training.run import Run

Tensors = dict[str, np.ndarray]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["trian"], ["unknown command 'trian'", "did you mean 'train'?"]),
        (["data", "shwo"], ["unknown command 'data shwo'", "did you mean 'data show'?"]),
        (["train", "--rung", "cnm"], ["unknown rung 'cnm'", "did you mean 'cnn'?"]),
        (["train", "--rung", "mlp", "--out", "x", "--framework", "pytorhc"], ["did you mean 'pytorch'?"]),
        (
            ["train", "--rung", "mlp", "--out", "x", "--data", "mnits"],
            ["unknown data 'mnits'", "did you mean 'mnist'?"],
        ),
        (["train", "--rung", "mlp", "--out", "x", "--record", "wnadb"], ["did you mean 'wandb'?"]),
        (["train", "--rung", "mlp", "--out", "x", "--train.epoch", "1"], ["--train.epoch;", "mean --train.epochs?"]),
        (["train", "--rung", "cnn", "--out", "x", "--spec.hidden-dims", "1"], ["mean --spec.hidden-dim?"]),
        (["train", "--rung", "mlp", "--out", "x", "--spec.num-classes", "9"], ["no flag --spec.num-classes"]),
        (["train", "--rung", "mlp", "--out", "x", "--train.epochs", "0"], ["train.epochs is 0; it must be at least 1"]),
        (["train", "--rung", "mlp", "--out", "x", "--train.epochs", "many"], ["--train.epochs", "'many'"]),
        (["train", "--rung", "mlp", "--out", "x", "--device", "tpu"], ["--device", "'tpu'", "'cpu', 'gpu'"]),
        (["train", "--rung", "mlp", "--out", "x", "stray"], ["stray"]),
        (["train", "--out", "x"], ["--rung"]),
        (["train", "--rung", "mlp"], ["--out"]),
        (["verify", "--framework"], ["--framework"]),
        (["evaluate", "run", "--beam", "wide"], ["--beam", "'wide'"]),
        (["evaluate", "run", "--split", "tset"], ["--split", "'tset'", "'train', 'validation', 'test'"]),
        (["evaluate", "nowhere"], ["nowhere does not exist", "give a run folder"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0] in ("train", "trian", "data", "evaluate") else "",
)
def test_wrong_argument_is_refused(
    argv: list[str], words: list[str], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--record" in argv:  # the other flags must be valid
        argv = [*argv, "--data", digits]
    command(*argv).refuses(*words)
    assert not (tmp_path / "x" / "weights.safetensors").exists()


@pytest.mark.parametrize("flag", ["examples", "balance", "max-characters", "writer-pattern"])
@pytest.mark.parametrize("spelling", ["--train.{} 3", "--train.{}=3", "--train.{}"])
def test_flag_that_has_a_new_name_names_it(flag: str, spelling: str, tmp_path: Path, command: Command) -> None:
    for name in {flag, flag.replace("-", "_")}:
        outcome = command("train", "--rung", "mlp", "--out", tmp_path / "run", *spelling.format(name).split())
        outcome.refuses(f"--train.{flag} is now --data.{flag}")
    assert not (tmp_path / "run").exists()


def test_framework_that_is_not_installed_is_named_with_its_extra(
    tiny: list[str], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("impl_pytorch", "torch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)  # an import then fails, as it does for a missing package
    outcome = command(*tiny, "--framework", "pytorch", "--out", tmp_path / "run")
    outcome.refuses("'pytorch' is not installed", 'pip install "fourhands[pytorch]"')
    assert not (tmp_path / "run").exists()


def drop(tensors: Tensors) -> None:
    del tensors["dense.1.bias"]


def add(tensors: Tensors) -> None:
    tensors["dense.7.bias"] = np.zeros(3, np.float32)


def reshape(tensors: Tensors) -> None:
    tensors["dense.0.kernel"] = tensors["dense.0.kernel"][:-1]


def spoil(tensors: Tensors) -> None:
    tensors["dense.0.kernel"][5, 3] = np.nan


def as_of_another_rung(tensors: Tensors) -> None:
    tensors["conv.0.kernel"] = tensors.pop("dense.0.kernel")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop, ["lacks dense.1.bias"]),
        (add, ["holds dense.7.bias"]),
        (reshape, ["dense.0.kernel has shape (783, 16) where the spec needs (784, 16)"]),
        (spoil, ["dense.0.kernel[5, 3] is nan"]),
        (as_of_another_rung, ["lacks dense.0.kernel"]),
        (lambda tensors: tensors.pop("golden.logits"), ["lacks readable metadata"]),
    ],
    ids=["missing name", "extra name", "wrong shape", "NaN", "another rung", "no golden example"],
)
@pytest.mark.parametrize("verb", ["evaluate", "verify"])
def test_weights_that_do_not_fit(
    verb: str, change: Callable[[Tensors], Any], words: list[str], finished: Path, tmp_path: Path, command: Command
) -> None:
    with safe_open(finished / "weights.safetensors", "numpy") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    change(tensors)
    path = tmp_path / "bad.safetensors"
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path, metadata)
    command(verb, path).refuses("bad.safetensors", *words)


@pytest.mark.parametrize(
    ("field", "content", "words"),
    [
        ("spec", [1, 2], "a spec must be an object with a rung and its fields, not [1, 2]"),
        ("spec", "mlp", "a spec must be an object"),
        ("spec", None, "a spec must be an object"),
        ("spec", {"rung": ["mlp"]}, "lacks readable metadata"),
        ("spec", {"rung": "mlp", "hidden_dims": 3, "num_classes": 10}, "not a spec of rung mlp"),
        ("spec", {"rung": "mlp", "hidden_dims": ["a"], "num_classes": 10}, "not a spec of rung mlp"),
        ("spec", {"rung": "mlp", "hidden_dims": [16], "num_classes": "ten"}, "not a spec of rung mlp"),
        ("provenance", [1, 2], "lacks readable metadata"),
        ("provenance", "numpy", "lacks readable metadata"),
        ("charset", 5, "lacks readable metadata"),
        ("charset", [1, 2], "charset"),
        ("charset", {"a": 1}, "charset"),
    ],
)
@pytest.mark.parametrize("verb", ["evaluate", "verify"])
def test_metadata_of_another_kind_gives_one_sentence(
    verb: str, field: str, content: Any, words: str, finished: Path, tmp_path: Path, command: Command
) -> None:
    with safe_open(finished / "weights.safetensors", "numpy") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    save_file(tensors, tmp_path / "bad.safetensors", metadata | {field: json.dumps(content)})
    command(verb, tmp_path / "bad.safetensors").refuses(words)


@pytest.mark.parametrize("provenance", [{"framework": 3}, {"framework": []}, {"data_config": []}])
def test_provenance_with_wrong_fields_gives_one_sentence_or_is_ignored(
    provenance: dict[str, Any], finished: Path, tmp_path: Path, command: Command
) -> None:
    with safe_open(finished / "weights.safetensors", "numpy") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    whole = json.loads(metadata["provenance"]) | provenance
    save_file(tensors, tmp_path / "odd.safetensors", metadata | {"provenance": json.dumps(whole)})
    outcome = command("evaluate", tmp_path / "odd.safetensors")
    if outcome.code:
        outcome.refuses()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "not a safetensors file"), (b"not weights at all", "not a safetensors file"), (None, "format None")],
    ids=["empty", "text", "someone else's safetensors"],
)
def test_file_that_holds_no_weights(content: bytes | None, words: str, tmp_path: Path, command: Command) -> None:
    path = tmp_path / "bad.safetensors"
    if content is None:
        save_file({"a": np.zeros(2, np.float32)}, path)
    else:
        path.write_bytes(content)
    command("evaluate", path).refuses("bad.safetensors", words)


def test_cut_off_weights(finished: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "w").write_bytes((finished / "weights.safetensors").read_bytes()[:-100])
    command("read", tmp_path / "w", "image.png").refuses("not a safetensors file")


def test_folder_without_weights(tmp_path: Path, command: Command) -> None:
    command("evaluate", tmp_path).refuses("holds no weights.safetensors", "a run that finished an epoch")


def _bomb(path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text("hello"), "is not an image that can be read"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: Image.new("L", (1, 1)).save(path), "is blank"),
        (lambda path: Image.new("RGB", (40, 40), "white").save(path), "is blank"),
        (_bomb, "more than"),
        (lambda path: path.mkdir(), "holds no image and no PDF"),
        (lambda _: None, "does not exist"),
    ],
    ids=["no image", "empty", "1×1", "blank", "decompression bomb", "folder", "missing"],
)
def test_image_that_cannot_be_read(
    make: Callable[[Path], Any], words: str, finished: Path, tmp_path: Path, command: Command
) -> None:
    make(tmp_path / "image.png")
    command("read", finished, tmp_path / "image.png").refuses("image.png", words)


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of files that may not be opened. Permissions of the file system do not stop the administrator."""
    names: set[str] = set()
    for module in (builtins, io):
        real = module.open

        def opened(path: Any, *rest: Any, real: Callable[..., Any] = real, **more: Any) -> Any:
            if isinstance(path, str | Path) and Path(path).name in names:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path, *rest, **more)

        monkeypatch.setattr(module, "open", opened)
    return names


def test_image_that_may_not_be_read_is_not_called_one_that_cannot_be_written(
    locked: set[str], finished: Path, tmp_path: Path, command: Command
) -> None:
    Image.new("L", (40, 40)).save(tmp_path / "image.png")
    locked.add("image.png")
    outcome = command("read", finished, tmp_path / "image.png")
    outcome.refuses("image.png cannot be read", "permission denied")
    assert "write" not in outcome.err
    assert "space" not in outcome.err


@pytest.mark.parametrize("name", ["labels.csv", "line.png"])
def test_labels_that_may_not_be_read_are_not_called_ones_that_cannot_be_written(
    name: str, locked: set[str], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "lines").mkdir()
    Image.new("L", (90, 40)).save(tmp_path / "lines" / "line.png")
    (tmp_path / "lines" / "labels.csv").write_text("image,text\nline.png,abc\n")
    locked.add(name)
    outcome = command("data", "prepare", f"folder:{tmp_path / 'lines'}", "--refused")
    outcome.refuses(*(["labels.csv", "ermission"] if name == "labels.csv" else []))
    assert "cannot write" not in outcome.err
    assert "space" not in outcome.err


def test_reading_needs_an_image(finished: Path, command: Command) -> None:
    command("read", finished).refuses("name at least one image")


def test_run_folder_that_exists_already(finished: Path, tiny: list[str], command: Command) -> None:
    before = bytes_of(finished)
    command(*tiny, "--out", finished).refuses("exists already", "--out a new folder")
    command(*tiny, "--out", finished, "--resume").refuses("is complete", "nothing to resume")
    assert bytes_of(finished) == before


def test_out_that_is_a_file_or_lies_under_one(tiny: list[str], tmp_path: Path, command: Command) -> None:
    (tmp_path / "file").write_text("mine")
    command(*tiny, "--out", tmp_path / "file").refuses("is a file")
    command(*tiny, "--out", tmp_path / "file" / "run").refuses("file")
    assert (tmp_path / "file").read_text() == "mine"


def test_resume_in_a_folder_that_is_no_run(tiny: list[str], tmp_path: Path, command: Command) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    command(*tiny, "--out", tmp_path, "--resume").refuses("holds no run")
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_resume_with_another_configuration_names_the_field_and_both_values(
    finished: Path, tiny: list[str], tmp_path: Path, command: Command
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    before = bytes_of(tmp_path / "run")
    arguments = [*tiny, "--out", tmp_path / "run", "--resume"]
    command(*arguments, "--train.learning-rate", "0.5").refuses("train.learning_rate 0.001 and not 0.5")
    command(*arguments, "--spec.hidden-dims", "4", "5").refuses("spec.hidden_dims [16] and not [4, 5]")
    assert bytes_of(tmp_path / "run") == before


def test_resume_from_a_damaged_checkpoint(finished: Path, tiny: list[str], tmp_path: Path, command: Command) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"half a checkpo")
    before = bytes_of(tmp_path / "run")
    command(*tiny, "--out", tmp_path / "run", "--resume").refuses("is no checkpoint that can be read")
    assert bytes_of(tmp_path / "run") == before


def test_more_examples_than_there_are(tiny: list[str], tmp_path: Path, command: Command) -> None:
    command(*tiny, "--data.examples", "271", "--out", tmp_path / "run").refuses("271", "there are 270")
    assert not (tmp_path / "run").exists()


def test_loss_that_stops_being_finite_says_where(tiny: list[str], tmp_path: Path, command: Command) -> None:
    outcome = command(*tiny, "--train.learning-rate", "1e30", "--out", tmp_path / "run")
    outcome.refuses("the loss became", "at step 2 (epoch 1, learning rate", "try a lower learning rate")
    assert not (tmp_path / "run" / "result.json").exists()


class Diverging:
    """A recognizer whose loss is NaN from the second epoch on."""

    def __init__(self, inner: Recognizer) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def fit(self, run: Run) -> None:
        told = run.step_done
        run.step_done = lambda loss: told(loss if run.step < run.steps_per_epoch else float("nan"))  # type: ignore[method-assign]
        self._inner.fit(run)


def test_diverging_epoch_keeps_the_best_weights_and_the_run_can_be_resumed(
    tiny: list[str], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*tiny, "--out", tmp_path / "run"]
    with monkeypatch.context() as patched:
        patched.setattr(
            session, "load_implementation", lambda name: lambda *a, **k: Diverging(load_implementation(name)(*a, **k))
        )
        command(*arguments).refuses(
            "the loss became nan at step 10 (epoch 2", "what earlier epochs kept is still there"
        )
    kept = json.loads(command("evaluate", tmp_path / "run", "--split", "validation", "--json").out)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert kept["accuracy"] == next(row["validation/accuracy"] for row in rows if row.get("epoch") == 1)
    assert command(*arguments, "--resume").code == 0


@pytest.mark.parametrize("nth", [1, 2, 3], ids=["first weights", "first checkpoint", "second epoch"])
def test_full_disk_keeps_the_last_good_files_and_the_run_can_be_resumed(
    nth: int, finished: Path, tiny: list[str], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*tiny, "--out", tmp_path / "run"]
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        # the files that say how the run began are written before the first line of metrics.jsonl
        if (tmp_path / "run" / "metrics.jsonl").exists():
            calls.append(descriptor)
        if len(calls) == 2 * nth - 1:  # each file is synced, then its folder
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        command(*arguments).refuses("cannot write", "No space left on device", "free some space")
    assert not [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")], "a half file"
    assert command(*arguments, "--resume").code == 0
    for name in ("predictions.npz", "config.json"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes(), name
