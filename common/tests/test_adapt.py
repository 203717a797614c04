"""Adapting a reader to own pages: what is held out, what is chosen, and what the run folder says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fourhands
from common.charset import Charset
from common.commands.adapt import table
from common.config import TrainConfig
from common.data.config import DataConfig
from common.data.splits import held_out
from common.errors import UserError
from common.reading.formats import Source, alto
from common.reading.ngram import CharacterNgram, NgramCounts, load_prior
from common.reading.page import PageLine, PageReading
from common.tasks import LINES
from common.tests import bars
from common.tests.conftest import Command
from common.training import adapt
from common.training.run import Progress
from common.training.tuning import Chooser, EnoughError
from common.weights import load_weights

COUNTS = (3, 5, 4, 2, 6, 3)


def write_page(folder: Path, name: str, counts: tuple[int, ...] = COUNTS, texts: tuple[str, ...] = ()) -> None:
    """A page of bars with its ALTO: the text of a line is its number of bars, unless `texts` says another."""
    folder.mkdir(parents=True, exist_ok=True)
    picture_HW = bars.page_of(counts)
    Image.fromarray(picture_HW).save(folder / f"{name}.png")
    lines = tuple(
        PageLine(text=text, confidence=1.0, characters=(), baseline=found.baseline, outline=found.outline)
        for text, found in zip(texts or [str(n) for n in counts], bars.find(None, picture_HW), strict=True)
    )
    reading = PageReading(size=picture_HW.shape[::-1], lines=lines, confidence=1.0)
    source = Source(image=f"{name}.png", picture_HW=picture_HW)
    (folder / f"{name}.xml").write_bytes(alto.render(reading, source))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pages of six lines; one of the characters is new to the reader."""
    folder = tmp_path_factory.mktemp("own")
    for n in range(6):
        write_page(folder, f"page_{n}", texts=tuple("ñ" if count == 6 else str(count) for count in COUNTS))
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny reader with random weights, and its character language model."""
    folder = tmp_path_factory.mktemp("start")
    bars.models(folder)
    return folder / "reader.safetensors"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs at a high rate."""
    recipe = TrainConfig(epochs=2, batch_size=4, learning_rate=1e-2)
    monkeypatch.setattr(adapt, "recipe", lambda _, seed, __: replace(recipe, seed=seed))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# --- what is held out
def test_every_nth_page_is_held_out_whole() -> None:
    page_N = [f"p{i // 3}" for i in range(36)]  # 12 pages of 3 lines
    splits = held_out(page_N, 5)
    assert {page for page, split in zip(page_N, splits, strict=True) if split == "test"} == {"p4", "p9"}
    assert splits.count("test") == 6
    learnt = [split for split in splits if split != "test"]
    assert learnt == ["validation" if i % 5 == 4 else "train" for i in range(30)]


def test_with_few_pages_the_last_one_is_held_out() -> None:
    assert held_out(["a", "a", "a", "b", "b"], 5) == ["train", "train", "validation", "test", "test"]


def test_of_one_page_the_last_lines_are_held_out() -> None:
    assert held_out(["a"] * 12, 5) == ["train"] * 4 + ["validation"] + ["train"] * 4 + ["validation"] + ["test"] * 2


def test_first_lines_have_a_fifth_for_validation(own: Path, start: Path, cache: None) -> None:
    dataset = LINES.load(f"pages:{own}", load_weights(start).spec, DataConfig(hold_out=5))
    for count, sizes in ((5, (4, 1)), (16, (13, 3)), (30, (24, 6))):
        first = adapt.first_lines(dataset, count)
        assert (len(first.train), len(first.validation)) == sizes
        assert first.train.names == dataset.train.names[: sizes[0]]
        assert first.test.names == dataset.test.names
    assert not set(dataset.test.names) & {*dataset.train.names, *dataset.validation.names}


def test_counts_are_those_below_all_lines_and_all() -> None:
    assert adapt.counts_of((0, 5, 16, 64, 256), 64) == [0, 5, 16, 64]
    assert adapt.counts_of((64, 5, 3), 40) == [0, 5, 40]
    assert adapt.counts_of((), 7) == [0, 7]


# --- what is chosen
class Model:
    """Weights that are the number of the epoch."""

    def __init__(self) -> None:
        self.epoch = 0

    def export_weights(self) -> dict[str, np.ndarray]:
        return {"epoch": np.array(self.epoch)}


class Seen:
    """An evaluation with a CER and a loss."""

    def __init__(self, cer: float, loss: float) -> None:
        self.score, self.loss, self.rates = -cer, loss, {"cer": cer}


def chosen_epoch(history: list[tuple[float, float]], patience: int = 99) -> tuple[int, int]:
    """The epoch that is chosen, and the last epoch that was trained; `history[0]` is before training."""
    seen, model = iter(history), Model()

    class Task:
        def evaluate(self, *_: Any) -> Seen:
            return Seen(*next(seen))

    class Data:
        charset = validation = None

    chooser: Any = Chooser(Task(), Data(), patience)  # type: ignore[arg-type]
    chooser.look(Progress(epoch=0, step=0, seconds=0.0), model)
    for epoch in range(1, len(history)):
        model.epoch = epoch
        try:
            chooser.epoch_done(Progress(epoch=epoch, step=epoch, seconds=0.0), model, {})
        except EnoughError:
            break
    assert chooser.best.epoch == int(chooser.best.weights["epoch"])
    return chooser.best.epoch, model.epoch


def test_the_best_epoch_is_chosen_not_the_last() -> None:
    assert chosen_epoch([(0.5, 1), (0.3, 1), (0.2, 1), (0.4, 1)]) == (2, 3)


def test_the_initial_weights_are_kept_if_no_epoch_is_better() -> None:
    assert chosen_epoch([(0.2, 1.0), (0.3, 0.1), (0.2, 1.0), (0.2, 1.1)])[0] == 0


def test_of_equal_errors_the_lower_loss_is_chosen() -> None:
    assert chosen_epoch([(0.2, 1.0), (0.2, 0.8), (0.2, 0.9)])[0] == 1


def test_training_ends_early_after_epochs_without_a_better_one() -> None:
    assert chosen_epoch([(0.5, 1), (0.3, 1), *[(0.4, 1)] * 9], patience=3) == (1, 4)


def test_a_loss_that_is_unknown_never_beats_a_known_one() -> None:
    assert chosen_epoch([(0.2, 1.0), (0.2, float("nan"))])[0] == 0


# --- the character language model
def test_extended_counts_are_those_of_all_texts_together() -> None:
    old, new = Charset(tuple("abd")), Charset(tuple("abcd"))
    before, own = ["ab", "bad", "a"], ["cab", "dd"]
    moved = np.append(0, new.translation(old) + 1)
    counts = NgramCounts.of([old.encode(text) for text in before], 4)
    extended = counts.extended([new.encode(text) for text in own], 5, moved, times=3)
    wanted = NgramCounts.of([new.encode(text) for text in [*before, *own, *own, *own]], 5)
    for text in ("abcd", "ddab", ""):
        for probs in _probabilities(extended, new.encode(text)), _probabilities(wanted, new.encode(text)):
            assert probs.sum() > 0
        np.testing.assert_allclose(
            _probabilities(extended, new.encode(text)), _probabilities(wanted, new.encode(text)), rtol=1e-6
        )


def _probabilities(counts: NgramCounts, text: np.ndarray) -> np.ndarray:
    """The probabilities of each class after each character of a text."""
    ngram = CharacterNgram.from_counts(counts)
    state, rows = ngram.start, []
    for k in (*text.tolist(), 0):
        rows.append(np.exp(ngram.log_probs_SK[state]))
        state = int(ngram.next_SK[state, k])
    return np.array(rows)


# --- the whole
def test_adapted_run_is_an_ordinary_run(own: Path, start: Path, tmp_path: Path, quick: None, cache: None) -> None:
    out = tmp_path / "run"
    result = fourhands.adapt(own, out=out, start_from=start, lines=(0, 5, 16))
    assert [row["lines"] for row in result["curve"]] == [0, 5, 16, 30]
    assert (result["own_lines"], result["examples"], result["test_pages"]) == (30, 6, 1)
    assert result["new_characters"] == "ñ"
    names = {path.name for path in out.iterdir()}
    assert names >= {"config.json", "weights.safetensors", "prior.safetensors", "metrics.jsonl", "result.json"}
    assert names >= {"adaptation.json", "adaptation.png", "curves.png", "readings.png", "predictions.npz"}
    assert json.loads((out / "adaptation.json").read_text()) == result["curve"]
    content = load_weights(out / "weights.safetensors")
    assert "".join(content.charset.characters) == "0123456789ñ"
    load_prior(out / "prior.safetensors", content.charset)
    again = fourhands.evaluate(out)  # the same held-out page
    assert (again["cer"], again["examples"]) == (result["cer"], result["examples"])
    searched = fourhands.evaluate(out, beam=16, ngram=True)
    assert searched["cer"] == result["curve"][-1]["cer"]
    reader = fourhands.load_pages(out)
    assert reader.search().beam == 16, "an adapted reader takes the search that it was evaluated with"
    assert reader.search().prior is not None
    assert reader.search(beam=0).beam == 0
    assert [each.same for each in fourhands.verify(out, "numpy")] == [True]


def test_first_row_is_the_reader_before(own: Path, start: Path, tmp_path: Path, quick: None, cache: None) -> None:
    result = fourhands.adapt(own, out=tmp_path / "run", start_from=start, lines=())
    content = load_weights(start)
    dataset = LINES.load(f"pages:{own}", content.spec, DataConfig(hold_out=5))
    recognizer = adapt.load_implementation("numpy")(content.spec)
    recognizer.load_weights(content.weights)
    before = LINES.evaluate(recognizer, content.charset, dataset.test, dataset.charset)
    assert result["new_characters"] == "ñ", "the model has a class more than the reader before"
    assert result["curve"][0]["cer_best_path"] == before.rates["cer"]


def test_training_that_only_harms_keeps_the_weights_before(
    own: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: None
) -> None:
    harmful = TrainConfig(epochs=2, batch_size=4, learning_rate=1e-12)

    def worse(*arguments: Any) -> Any:
        seen = evaluate(*arguments)
        looks.append(seen)
        return Seen(0.1 * len(looks), 1.0) if arguments[2] is validation else seen

    evaluate, looks = LINES.evaluate, []
    monkeypatch.setattr(adapt, "recipe", lambda *_: harmful)
    validation: Any = None
    first = adapt.first_lines

    def remembered(dataset: Any, count: int) -> Any:
        nonlocal validation
        chosen = first(dataset, count)
        validation = chosen.validation
        return chosen

    monkeypatch.setattr(adapt, "first_lines", remembered)
    monkeypatch.setattr(type(LINES), "evaluate", lambda _, *arguments: worse(*arguments))
    result = fourhands.adapt(own, out=tmp_path / "run", start_from=start, lines=())
    assert (result["learnt"], result["best_epoch"]) == (False, 0)
    kept, before = (load_weights(path).weights for path in (tmp_path / "run" / "weights.safetensors", start))
    np.testing.assert_array_equal(kept["lstm.0.forward.kernel"], before["lstm.0.forward.kernel"])


def test_command_prints_the_table(own: Path, start: Path, tmp_path: Path, command: Command, quick: None) -> None:
    done = command("adapt", own, "--out", tmp_path / "run", "--start-from", start, "--lines", "5")
    assert done.code == 0, done
    assert "30 own lines; tested on 6 lines of 1 held-out pages" in done.out
    assert [line.split()[0] for line in done.out.splitlines()[2:6]] == ["own", "0", "5", "30"]
    assert "new characters: ñ" in done.out
    assert f"fourhands read {tmp_path / 'run'} page.jpg" in done.out


def test_table_says_how_many_fewer_errors() -> None:
    rows = [
        {"lines": 0, "cer": 0.2, "cer_interval": [0.1, 0.3], "cer_best_path": 0.25},
        {"lines": 16, "cer": 0.15, "cer_interval": [0.1, 0.2], "cer_best_path": 0.2},
    ]
    assert table(rows)[1].split() == ["0", "20.0%", "10.0%-30.0%", "25.0%"]
    assert table(rows)[2].split()[-1] == "25.0%"


@pytest.mark.parametrize(
    ("pages", "counts", "words"),
    [
        (1, (3, 4, 2, 5), "give at least 5"),
        (1, (3, 4), "too few lines"),
        (0, (), "holds no .xml file"),
        (2, (3,), "too few lines"),
    ],
)
def test_too_few_own_lines_are_refused(
    pages: int, counts: tuple[int, ...], words: str, start: Path, tmp_path: Path, cache: None
) -> None:
    (tmp_path / "few").mkdir()
    for n in range(pages):
        write_page(tmp_path / "few", f"p{n}", counts)
    with pytest.raises(UserError, match=words):
        fourhands.adapt(tmp_path / "few", out=tmp_path / "run", start_from=start)
    assert not (tmp_path / "run").exists()


def test_model_that_reads_no_lines_is_refused(own: Path, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="which reads no lines"):
        fourhands.adapt(own, out=tmp_path / "run", start_from=finished)
