"""The public API: train a model, load it, read images with it, evaluate and verify it."""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

import fourhands
from common.tests.conftest import Command
from fourhands import CNNSpec, DataConfig, MLPSpec, TrainConfig, UserError

SHORT: dict[str, Any] = {"batch_size": 32, "epochs": 1}


@pytest.fixture
def picture() -> np.ndarray:
    """A dark stroke on light paper."""
    picture_HW = np.full((60, 50), 255, np.uint8)
    picture_HW[10:50, 18:24] = 0
    picture_HW[45:50, 10:40] = 0
    return picture_HW


# --- training
def test_training_returns_the_result_that_the_run_folder_holds(digits: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    spec, config = {"hidden_dims": (8,)}, {"examples": 64}
    result = fourhands.train("mlp", out=out, data=digits, spec=spec, train=SHORT, data_config=config)
    assert result == json.loads((out / "result.json").read_text())
    assert (result["framework"], result["rung"], result["steps"], result["epochs"]) == ("numpy", "mlp", 2, 1)
    kept = json.loads((out / "config.json").read_text())
    assert (kept["spec"]["hidden_dims"], kept["spec"]["num_classes"]) == ([8], 10)
    assert (kept["train"]["batch_size"], kept["train"]["learning_rate"]) == (32, TrainConfig().learning_rate)
    assert kept["data_config"] == asdict(fourhands.DataConfig(examples=64))


def test_configurations_may_be_given_whole_or_as_the_fields_that_differ(digits: str, tmp_path: Path) -> None:
    fourhands.train("mlp", out=tmp_path / "a", data=digits, spec={"hidden_dims": (8,)}, train=SHORT)
    fourhands.train(
        "mlp",
        out=tmp_path / "b",
        data=digits,
        spec=MLPSpec(num_classes=3, hidden_dims=(8,)),  # the data decides the number of classes
        train=TrainConfig(batch_size=32, epochs=1),
        data_config=DataConfig(),
    )
    for name in ("config.json", "weights.safetensors", "predictions.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_command_line_and_api_train_the_same_model(finished: Path, digits: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    fourhands.train(
        "mlp", out=str(out), data=digits, spec={"hidden_dims": (16,)}, train={"batch_size": 32, "epochs": 2}
    )
    for name in ("config.json", "weights.safetensors", "predictions.npz", "readings.png", "confusion.png"):
        assert (out / name).read_bytes() == (finished / name).read_bytes(), name


def test_training_starts_from_the_weights_of_another_run(finished: Path, digits: str, tmp_path: Path) -> None:
    spec, train = {"hidden_dims": (16,)}, SHORT | {"learning_rate": 1e-9}
    result = fourhands.train(
        "mlp", out=tmp_path / "run", data=digits, spec=spec, train=train, start_from=finished / "weights.safetensors"
    )
    assert result["started_with"] == "10 of 10 characters"
    before, after = (fourhands.evaluate(run)["accuracy"] for run in (finished, tmp_path / "run"))
    assert before == after


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rung": "cnm"}, r"unknown rung 'cnm': did you mean 'cnn'\?"),
        ({"spec": {"hidden_dimm": 3}}, "not a spec of rung mlp: .*hidden_dimm"),
        ({"train": {"epoch": 3}}, "train has an unknown field: .*epoch"),
        ({"data_config": {"example": 3}}, "data_config has an unknown field: .*example"),
        ({"spec": CNNSpec(num_classes=10)}, "the spec is of rung cnn and not of mlp; give one of them"),
        ({"train": {"epochs": 0}}, r"train\.epochs is 0; it must be at least 1"),
        ({"data_config": {"examples": -1}}, r"data\.examples is -1; it must be at least 1, or 0 for all"),
        ({"framework": "torch"}, r"unknown framework 'torch': did you mean 'pytorch'\?"),
        ({"data": "mnits"}, r"unknown data 'mnits': did you mean 'mnist'\?"),
        ({"data": "ink_lines"}, "ink_lines holds lines where characters are needed"),
        ({"start_from": "nowhere"}, "nowhere does not exist; give a run folder or a weights file"),
        ({"record": ["wandbb"]}, r"unknown recorder 'wandbb': did you mean 'wandb'\?"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_argument_of_train_is_refused_in_a_sentence(
    arguments: dict[str, Any], words: str, digits: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        fourhands.train(**({"rung": "mlp", "out": tmp_path / "run", "data": digits} | arguments))
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_folder_of_another_run_is_not_overwritten(finished: Path, digits: str) -> None:
    with pytest.raises(UserError, match="exists already and is not empty"):
        fourhands.train("mlp", out=finished, data=digits)


# --- reading
def test_reader_reads_a_path_bytes_an_array_and_a_pillow_image_alike(
    finished: Path, picture: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    reader = fourhands.load(finished)
    kinds = [path, str(path), path.read_bytes(), picture, Image.fromarray(picture), Image.open(path)]
    readings = [reader.read(image) for image in kinds]
    first = readings[0]
    assert first.text in reader.charset == "0123456789"
    assert 0.1 <= first.confidence <= 1
    assert (first.truth, first.character_confidences) == (None, None)
    for reading in readings[1:]:
        assert (reading.text, reading.confidence) == (first.text, first.confidence)
        np.testing.assert_array_equal(reading.image_HW, first.image_HW)
    assert [reading.text for reading in reader.read_all(kinds)] == [first.text] * len(kinds)
    assert reader.read_all([]) == []


def test_reader_of_a_weights_file_and_the_command_read_alike(
    finished: Path, picture: np.ndarray, tmp_path: Path, command: Command
) -> None:
    Image.fromarray(picture).save(tmp_path / "picture.png")
    (row,) = json.loads(command("read", finished, tmp_path / "picture.png", "--json").out)
    reading = fourhands.load(str(finished / "weights.safetensors")).read(tmp_path / "picture.png")
    assert (reading.text, reading.confidence) == (row["text"], row["confidence"])


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("nowhere.png", "nowhere.png does not exist"),
        (b"no image", "is not an image that can be read"),
        (np.zeros((4, 4), np.float32), "array of float32 with shape .*expected uint8 grey levels"),
        (np.zeros((4, 4, 3), np.uint8), r"shape \(4, 4, 3\); expected uint8 grey levels"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\); expected uint8 grey levels"),
        (np.zeros((40, 40), np.uint8), "is blank"),
        (Image.new("RGB", (40, 40), "white"), "is blank"),
    ],
    ids=["missing", "bytes", "floats", "colours", "empty", "blank array", "blank image"],
)
def test_image_that_cannot_be_read_is_refused_in_a_sentence(image: Any, words: str, finished: Path) -> None:
    with pytest.raises(UserError, match=words):
        fourhands.load(finished).read(image)


def test_something_that_is_no_image_is_refused_in_a_sentence(finished: Path) -> None:
    for wrong in (None, 3, [[0, 255]]):
        with pytest.raises(UserError, match="image"):
            fourhands.load(finished).read(wrong)


def test_beam_is_refused_where_the_model_has_none(finished: Path, picture: np.ndarray) -> None:
    with pytest.raises(UserError, match="--beam and --ngram are for lstm_ctc, and this model is a mlp"):
        fourhands.load(finished).read(picture, beam=4)


@pytest.mark.parametrize(
    ("run", "framework", "words"),
    [
        ("nowhere", "numpy", "nowhere does not exist; give a run folder or a weights file"),
        (".", "numpy", "holds no weights.safetensors"),
        (None, "torch", r"unknown framework 'torch': did you mean 'pytorch'\?"),
    ],
)
def test_model_that_cannot_be_loaded_is_refused_in_a_sentence(
    run: str | None, framework: str, words: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        fourhands.load(finished if run is None else run, framework)


# --- evaluating and verifying
def test_evaluation_repeats_the_result_of_training(finished: Path, digits: str) -> None:
    again, kept = fourhands.evaluate(finished), json.loads((finished / "result.json").read_text())
    for name in ("rung", "framework", "data", "split", "accuracy", "accuracy_interval", "loss", "examples", "versions"):
        assert again[name] == kept[name], name
    assert "note" not in again
    validation = fourhands.evaluate(finished / "weights.safetensors", split="validation", data=digits)
    assert (validation["examples"], validation["accuracy"]) == (30, kept["best_validation_accuracy"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data": "mnits"}, r"unknown data 'mnits'"),
        ({"split": "tset"}, r"unknown split 'tset': did you mean 'test'\?"),
        ({"beam": 4}, "--beam and --ngram are for lstm_ctc"),
        ({"ngram": True}, "--beam and --ngram are for lstm_ctc"),
    ],
)
def test_wrong_argument_of_evaluate_is_refused_in_a_sentence(
    arguments: dict[str, Any], words: str, finished: Path
) -> None:
    with pytest.raises(UserError, match=words):
        fourhands.evaluate(finished, **arguments)


def test_verification_finds_the_same_model_and_another(finished: Path, tmp_path: Path) -> None:
    (found,) = fourhands.verify(finished, "numpy")
    assert (found.framework, found.same, found.reason) == ("numpy", True, None)
    assert found.worst is not None
    assert found.worst < 1e-5
    with safe_open(finished / "weights.safetensors", "numpy") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    tensors["dense.0.kernel"] = 1.01 * tensors["dense.0.kernel"]
    save_file(tensors, tmp_path / "moved.safetensors", metadata)
    assert fourhands.verify(tmp_path / "moved.safetensors", "numpy")[0].same is False


def test_verification_in_a_named_framework_that_is_missing_is_refused(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_torch(monkeypatch)
    with pytest.raises(UserError, match="'pytorch' is not installed"):
        fourhands.verify(finished, "pytorch")


# --- the framework that trained the model is not installed
def hide_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `import torch` fail, as it does where the package is missing."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("impl_pytorch", "torch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.fixture
def of_pytorch(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights that PyTorch trained, where PyTorch is not installed."""
    with safe_open(finished / "weights.safetensors", "numpy") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    metadata["provenance"] = json.dumps(json.loads(metadata["provenance"]) | {"framework": "pytorch"})
    save_file(tensors, tmp_path / "of-pytorch.safetensors", metadata)
    hide_torch(monkeypatch)
    return tmp_path / "of-pytorch.safetensors"


NOTE = "pytorch, which trained this model, is not installed; NumPy computes it instead"


def test_numpy_reads_in_place_of_a_framework_that_is_not_installed(
    of_pytorch: Path, finished: Path, picture: np.ndarray, tmp_path: Path, command: Command
) -> None:
    Image.fromarray(picture).save(tmp_path / "picture.png")
    outcome = command("read", of_pytorch, tmp_path / "picture.png")
    assert (outcome.code, outcome.err) == (0, f"fourhands: {NOTE}\n")
    assert outcome.out == command("read", finished, tmp_path / "picture.png").out
    as_json = command("read", of_pytorch, tmp_path / "picture.png", "--json")
    assert as_json.err == f"fourhands: {NOTE}\n"
    assert len(json.loads(as_json.out)) == 1
    reader = fourhands.load(of_pytorch, framework=None)
    assert (reader.framework, reader.note) == ("numpy", NOTE)
    assert fourhands.load(of_pytorch).note == "", "NumPy is what `load` uses unless another is named"


def test_numpy_evaluates_in_place_of_a_framework_that_is_not_installed(
    of_pytorch: Path, finished: Path, command: Command
) -> None:
    outcome = command("evaluate", of_pytorch)
    assert (outcome.code, outcome.err) == (0, f"fourhands: {NOTE}\n")
    assert outcome.out == command("evaluate", finished).out
    result = fourhands.evaluate(of_pytorch)
    assert (result["framework"], result["trained_in"], result["note"]) == ("numpy", "pytorch", NOTE)
    assert json.loads(command("evaluate", of_pytorch, "--json").out)["note"] == NOTE


def test_framework_that_was_named_and_is_not_installed_is_refused(
    of_pytorch: Path, picture: np.ndarray, tmp_path: Path, command: Command
) -> None:
    Image.fromarray(picture).save(tmp_path / "picture.png")
    for argv in (["read", of_pytorch, tmp_path / "picture.png"], ["evaluate", of_pytorch], ["verify", of_pytorch]):
        command(*argv, "--framework", "pytorch").refuses("'pytorch' is not installed", "pip install")


# --- the interface
@pytest.mark.parametrize("name", fourhands.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(fourhands, name)) or name == "Spec", name


def methods() -> list[Any]:
    reader = [fourhands.Reader.read, fourhands.Reader.read_all, fourhands.Reader.open.__func__]  # type: ignore[attr-defined]
    return [fourhands.frameworks, fourhands.load, fourhands.train, fourhands.evaluate, fourhands.verify, *reader]


@pytest.mark.parametrize("function", methods(), ids=lambda function: function.__qualname__)
def test_every_argument_and_result_is_annotated(function: Any) -> None:
    signature = inspect.signature(function)
    assert signature.return_annotation is not signature.empty
    for name, parameter in signature.parameters.items():
        assert parameter.annotation is not parameter.empty or name in ("self", "cls"), name


def test_registered_frameworks_are_listed() -> None:
    assert {"numpy", "pytorch", "keras", "jax"} <= set(fourhands.frameworks())
