"""The command line with lines, through `main` in this process."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fourhands
from common.charset import Charset
from common.cli import main
from common.config import TrainConfig
from common.data.config import DataConfig
from common.data.dataset import Refused
from common.data.lines import LineDataset, LineSplit
from common.evaluation import prior
from common.reading.decoding import BEAM_WIDTH
from common.reading.ngram import CharacterNgram, NgramCounts, Prior, load_prior, save_prior
from common.reading.search import Search
from common.recognizer import load_implementation
from common.spec import RUNGS, Spec
from common.tasks.lines import LINES, WIDEST, Lines
from common.tests.conftest import Command
from common.weights import load_weights

SIZES = {
    "lstm_ctc": ["--spec.frame-dim", "16", "--spec.hidden-dim", "12"],
    "transformer": ["--spec.model-dim", "16", "--spec.num-heads", "2", "--spec.feed-forward-dim", "16"],
}
STEM = ["--spec.height", "8", "--spec.stem-channels", "4", "--spec.stem-strides", "2"]
TRAIN = ["--train.epochs", "2", "--train.batch-size", "8", "--train.learning-rate", "0.02"]


def line(text: str) -> np.ndarray:
    """A letter is a bar of 4 columns at a height of its own, with 2 columns of paper after it."""
    image_HW = np.zeros((8, 6 * len(text)), np.uint8)
    for i, character in enumerate(text):
        image_HW["abcdé".index(character) + 1, 6 * i : 6 * i + 4] = 255
    return image_HW


def split(count: int, seed: int, letters: str) -> LineSplit:
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list(letters), rng.integers(2, 8))) for _ in range(count)]
    images = [line(text) for text in texts]
    widths_N = np.array([image.shape[1] for image in images])
    names = [f"line {i}" for i in range(count)]
    return LineSplit(images=images, widths_N=widths_N, texts=texts, names=names, writers_N=np.arange(count) // 4)


def load_bars(task: Lines, data: str, spec: Spec, config: DataConfig) -> LineDataset:
    train = split(config.examples or 60, 0, "abcd" if data == "ink_lines" else "bcdé")
    return LineDataset(
        name=data,
        charset=Charset.of(train.texts),
        train=train,
        validation=split(20, 1, "abcd"),
        test=split(20, 2, "abcd" if data == "ink_lines" else "abcé"),
        refused=(Refused(name="line x", reason="too long"),),
    )


@pytest.fixture(autouse=True)
def bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every data set consists of lines of bars."""
    monkeypatch.setattr(Lines, "load", load_bars)


def arguments(rung: str, out: Path) -> list[str]:
    return ["train", "--rung", rung, *STEM, *SIZES[rung], *TRAIN, "--out", str(out)]


def is_ctc(run: Path) -> bool:
    return json.loads((run / "config.json").read_text())["rung"] == "lstm_ctc"


@pytest.fixture(scope="module", params=["lstm_ctc", "transformer"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of lines that `fourhands train` completed; tests do not write to it."""
    out = tmp_path_factory.mktemp("runs") / "lines"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Lines, "load", load_bars)
        assert main(arguments(request.param, out)) == 0
    return out


@pytest.mark.parametrize("rung", SIZES)
def test_every_field_is_a_flag_and_lines_have_their_own_defaults(rung: str, command: Command) -> None:
    shown = command("train", "--rung", rung, "--help").out
    for prefix, fields in (("train", dataclasses.fields(TrainConfig)), ("spec", dataclasses.fields(RUNGS[rung]))):
        for field in fields:
            flag = f"--{prefix}.{field.name.replace('_', '-')} "
            assert (flag in shown or flag.rstrip() + "\n" in shown) is (field.name != "num_classes"), flag
    words = " ".join(shown.replace("│", " ").split())
    assert "NAME or NAME:FOLDER; see `fourhands data list`. (default: ink_lines)" in words
    assert "Examples per step. (default: 32)" in words
    assert "Height that lines are scaled to, pixels. (default: 28)" in words


def test_run_folder_holds_all_files_of_a_run(finished: Path) -> None:
    names = {
        "config.json",
        "environment.json",
        "status.json",
        "weights.safetensors",
        "metrics.jsonl",
        "result.json",
        "predictions.npz",
    }
    pictures = {"curves.png", "readings.png", "confusion.png"}
    if is_ctc(finished):
        names.add("prior.safetensors")
    else:  # this model of CTC has learnt too little to read any text
        names.add("profile.json")
    assert {path.name for path in finished.iterdir()} - {"uncommitted.diff"} == names | pictures
    for name in pictures:
        with Image.open(finished / name) as image:
            assert min(image.size) > 100


def test_result_holds_figures_and_settings(finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    expected = {"data": "ink_lines", "split": "test", "examples": 20, "steps": 2 * 8, "refused": 1}
    assert {name: result[name] for name in expected} == expected
    assert result["cer_interval"][0] <= result["cer"] <= result["cer_interval"][1]
    edits = result["substitutions"] + result["insertions"] + result["deletions"]
    assert result["cer"] == edits / result["characters"]
    assert len(result["buckets"]) > 1
    assert "accuracy" not in result


def test_metrics_hold_the_rates_of_every_epoch_and_the_best_is_the_lowest(finished: Path) -> None:
    rows = [json.loads(row) for row in (finished / "metrics.jsonl").read_text().splitlines()]
    epochs = [row for row in rows if "validation/cer" in row]
    assert [row["epoch"] for row in epochs] == [1, 2]
    assert all({"validation/wer", "validation/loss", "seconds"} <= row.keys() for row in epochs)
    result = json.loads((finished / "result.json").read_text())
    best = min(epochs, key=lambda row: row["validation/cer"])
    assert (best["epoch"], best["validation/cer"]) == (result["best_epoch"], result["best_validation_cer"])


def test_evaluate_repeats_the_result(finished: Path, command: Command) -> None:
    again = json.loads(command("evaluate", finished, "--json").out)
    kept = json.loads((finished / "result.json").read_text())
    for name in ("cer", "cer_interval", "wer", "loss", "most_confused"):
        assert again[name] == kept[name], name
    assert f"CER {kept['cer']:.2%}" in command("evaluate", finished).out


def test_evaluate_names_the_characters_that_the_model_does_not_know(finished: Path, command: Command) -> None:
    shown = command("evaluate", finished, "--data", "pages:x").out
    unknown = sum(text.count("é") for text in split(20, 2, "abcé").texts)
    assert "lines hold characters that the model does not know" in shown
    assert f"not known: é ({unknown})" in shown


def test_beam_and_prior_are_for_ctc(finished: Path, command: Command) -> None:
    outcome = command("evaluate", finished, "--beam", "4", "--ngram")
    negative = command("evaluate", finished, "--beam", "-1")
    if is_ctc(finished):
        assert outcome.code == 0
        negative.refuses("--beam is -1")
    else:
        outcome.refuses("--beam and --ngram are for lstm_ctc", "a transformer")
        negative.refuses("--beam and --ngram are for lstm_ctc")


def test_prior_needs_a_beam(finished: Path, command: Command) -> None:
    command("evaluate", finished, "--ngram").refuses("--ngram")


def test_verify_passes_the_weights_as_they_were_saved_and_fails_others(
    finished: Path, tmp_path: Path, command: Command
) -> None:
    assert json.loads(command("verify", finished, "--framework", "numpy", "--json").out)[0]["worst"] < 1e-5
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(finished / "weights.safetensors", "numpy") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    tensors["head.bias"] = tensors["head.bias"] + np.float32(1e-4 * np.abs(tensors["golden.logits"]).max())
    save_file(tensors, tmp_path / "moved.safetensors", metadata)
    outcome = command("verify", tmp_path / "moved.safetensors", "--framework", "numpy")
    assert outcome.code == 1
    assert "DIFFERS" in outcome.out


def test_same_flags_give_the_same_weights_and_a_resumed_run_too(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.training.keeper import Keeper

    step_done = Keeper.step_done

    def cut(self: Keeper, progress: Any, *rest: Any) -> None:
        step_done(self, progress, *rest)
        if progress.step == 11:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "step_done", cut)
        assert command(*arguments("lstm_ctc", tmp_path / "cut")).code == 130
    assert command(*arguments("lstm_ctc", tmp_path / "cut"), "--resume").code == 0
    assert command(*arguments("lstm_ctc", tmp_path / "whole")).code == 0
    for name in ("weights.safetensors", "prior.safetensors", "predictions.npz", "readings.png", "confusion.png"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_run_starts_from_another_charset_s_weights(finished: Path, tmp_path: Path, command: Command) -> None:
    rung = json.loads((finished / "config.json").read_text())["rung"]
    few = ["--data.examples", "40", "--train.epochs", "1", "--train.learning-rate", "1e-9"]
    flags = [*arguments(rung, tmp_path / "run"), "--data", "pages:x", "--start-from", finished, *few]
    outcome = command(*flags)
    assert outcome.code == 0
    assert "3 of 4 characters carried over" in outcome.out
    before, after = (load_weights(run / "weights.safetensors") for run in (finished, tmp_path / "run"))
    assert "".join(after.charset.characters) == "bcdé"
    # classes 2, 3 and 4 were b, c and d; with such a small learning rate they hardly change
    np.testing.assert_allclose(after.weights["head.kernel"][:, 1:4], before.weights["head.kernel"][:, 2:5], atol=1e-6)
    assert after.provenance["start_from"] == str(finished)


def test_start_from_weights_of_other_sizes_is_refused(finished: Path, tmp_path: Path, command: Command) -> None:
    rung = json.loads((finished / "config.json").read_text())["rung"]
    flags = arguments(rung, tmp_path / "run")
    command(*flags, "--start-from", finished, "--spec.height", "9").refuses("spec.height 8 and not 9")
    command(*flags, "--start-from", tmp_path / "nowhere").refuses("nowhere does not exist")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("rung", "flag", "words"),
    [
        ("lstm_ctc", ["--data.balance"], "--data.balance is for characters"),
        ("mlp", ["--train.augment"], "--train.augment is for lines"),
        ("mlp", ["--data.writer-pattern", "x"], "--data.writer-pattern is for lines"),
    ],
)
def test_flags_of_the_other_kind_of_data_are_refused(
    rung: str, flag: list[str], words: str, tmp_path: Path, command: Command
) -> None:
    command("train", "--rung", rung, *flag, "--out", tmp_path / "run").refuses(words)


def test_read_gives_a_text_and_the_confidence_of_each_character(
    finished: Path, tmp_path: Path, command: Command
) -> None:
    for text in ("abcd", "dd"):
        Image.fromarray(line(text)).save(tmp_path / f"{text}.png")
    rows = json.loads(command("read", finished, tmp_path / "abcd.png", tmp_path / "dd.png", "--json").out)
    assert [row["image"] for row in rows] == [str(tmp_path / "abcd.png"), str(tmp_path / "dd.png")]
    for row in rows:
        assert len(row["character_confidences"]) == len(row["text"])
        assert all(0 <= share <= 1 for share in (row["confidence"], *row["character_confidences"]))


def test_line_wider_than_any_is_refused(finished: Path, tmp_path: Path, command: Command) -> None:
    wide_HW = np.zeros((8, WIDEST + 40), np.uint8)
    wide_HW[2:6, 2:-2] = 255
    Image.fromarray(wide_HW).save(tmp_path / "wide.png")
    command("read", finished, tmp_path / "wide.png").refuses("wide.png", "pixels wide", "at most 2,048")


# --- the character language model of a run
@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of lstm_ctc; tests do not write to it."""
    out = tmp_path_factory.mktemp("runs") / "ctc"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Lines, "load", load_bars)
        assert main(arguments("lstm_ctc", out)) == 0
    return out


NGRAM = ["--beam", "8", "--ngram"]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An image of one line."""
    Image.fromarray(line("abcdabcd")).save(tmp_path / "line.png")
    return tmp_path / "line.png"


def with_prior(run: Path, folder: Path, weight: float, bonus: float = 0.0) -> Path:
    """A copy of a run whose character language model knows only the text `dddd`."""
    shutil.copytree(run, folder)
    charset = load_weights(run / "weights.safetensors").charset
    counts = NgramCounts.of([charset.encode("dddd")] * 99, len(charset) + 1)
    save_prior(folder / "prior.safetensors", Prior(counts=counts, weight=weight, length_bonus=bonus), charset)
    return folder


def test_read_and_evaluate_use_the_file_of_the_run(ctc: Path, picture: Path, tmp_path: Path, command: Command) -> None:
    other = with_prior(ctc, tmp_path / "other", weight=50.0)
    (plain,), (own,), (strange,) = (
        json.loads(command("read", run, picture, "--json", *flags).out)
        for run, flags in ((other, ["--beam", 8]), (ctc, NGRAM), (other, NGRAM))
    )
    assert set(strange["text"]) <= {"d"}, "a text of this language model"
    assert strange["text"] != plain["text"]
    assert set(own["text"]) > {"d"}
    plain_cer, own_cer, strange_cer = (
        json.loads(command("evaluate", run, "--json", *flags).out)["cer"]
        for run, flags in ((other, ["--beam", 8]), (ctc, NGRAM), (other, NGRAM))
    )
    assert strange_cer > max(plain_cer, own_cer)
    # the public API, and a weights file beside the language model
    reader = fourhands.load(ctc / "weights.safetensors")
    assert reader.read(picture, beam=8, ngram=True).text == own["text"]
    assert fourhands.evaluate(ctc, beam=8, ngram=True)["cer"] == own_cer


def test_settings_of_the_language_model_are_used(ctc: Path, picture: Path, tmp_path: Path, command: Command) -> None:
    nothing = with_prior(ctc, tmp_path / "nothing", weight=0.0)
    longer = with_prior(ctc, tmp_path / "longer", weight=0.0, bonus=9.0)
    texts = [
        json.loads(command("read", run, picture, "--json", *flags).out)[0]["text"]
        for run, flags in ((ctc, ["--beam", 8]), (nothing, NGRAM), (longer, NGRAM))
    ]
    assert texts[0] == texts[1]
    assert len(texts[2]) > len(texts[1])


def of_another_charset(path: Path) -> None:
    charset = Charset(("x", "y", "z"))
    save_prior(path, Prior(counts=NgramCounts.of([], 4), weight=1.0, length_bonus=1.0), charset)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Path.unlink, ["prior.safetensors does not exist", "leave --ngram out, or train it again"]),
        (of_another_charset, ["belongs to a model with another charset", "restore the file of this run"]),
        (lambda path: path.write_bytes(b"no such file"), ["is not a character language model", "restore it"]),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), ["is not a character language model", "restore it"]),
        (lambda path: shutil.copy(path.with_name("weights.safetensors"), path), ["is not a character language model"]),
    ],
    ids=["missing", "another charset", "text", "cut off", "another kind of file"],
)
@pytest.mark.parametrize("verb", ["read", "evaluate"])
def test_language_model_that_cannot_be_used_is_refused(
    verb: str,
    damage: Callable[[Path], Any],
    words: list[str],
    ctc: Path,
    picture: Path,
    tmp_path: Path,
    command: Command,
) -> None:
    shutil.copytree(ctc, tmp_path / "run")
    damage(tmp_path / "run" / "prior.safetensors")
    argv = [verb, tmp_path / "run", *([picture] if verb == "read" else [])]
    command(*argv, *NGRAM).refuses("prior.safetensors", *words)
    assert command(*argv, "--beam", 8).code == 0, "a beam alone needs no language model"


def test_read_refuses_a_language_model_without_a_beam(ctc: Path, picture: Path, command: Command) -> None:
    command("read", ctc, picture, "--ngram").refuses("--ngram", "give --beam as well")


def test_language_model_that_was_saved_is_the_one_that_was_estimated(ctc: Path, tmp_path: Path) -> None:
    charset = load_weights(ctc / "weights.safetensors").charset
    texts = [charset.encode(text) for text in split(60, 0, "abcd").texts]
    estimated = CharacterNgram.estimate(texts, len(charset) + 1)
    kept = load_prior(ctc / "prior.safetensors", charset)
    save_prior(tmp_path / "again", kept, charset)
    for path in (ctc / "prior.safetensors", tmp_path / "again"):
        loaded = load_prior(path, charset)
        assert (loaded.weight, loaded.length_bonus) == (kept.weight, kept.length_bonus)
        ngram = CharacterNgram.from_counts(loaded.counts)
        assert ngram.start == estimated.start
        for name in ("log_probs_SK", "next_SK"):
            ours, theirs = getattr(ngram, name), getattr(estimated, name)
            assert ours.dtype == theirs.dtype
            assert ours.tobytes() == theirs.tobytes(), name


def test_settings_of_the_language_model_are_the_best_in_validation(ctc: Path) -> None:
    content = load_weights(ctc / "weights.safetensors")
    recognizer = load_implementation("numpy")(content.spec)
    recognizer.load_weights(content.weights)
    kept = load_prior(ctc / "prior.safetensors", content.charset)
    validation = split(20, 1, "abcd")

    def cer(weight: float, bonus: float) -> float:
        search = Search(beam=BEAM_WIDTH, prior=Prior(counts=kept.counts, weight=weight, length_bonus=bonus))
        return LINES.evaluate(recognizer, content.charset, validation, content.charset, search).rates["cer"]

    others = [cer(*setting) for setting in product(prior._WEIGHTS, prior._BONUSES)]
    assert cer(kept.weight, kept.length_bonus) == min(others)
    assert len(set(others)) > 1, "this test needs settings that make a difference"
