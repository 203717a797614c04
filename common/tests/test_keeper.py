"""The observer that keeps a run: which epoch's weights it saves, with scores that are chosen here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.charset import Charset
from common.errors import UserError
from common.spec import MLPSpec
from common.training import keeper
from common.training.checkpoint import Best, Checkpoint
from common.training.folder import RunFolder
from common.training.keeper import Keeper
from common.training.run import Progress, StoppedEarly
from common.weights import Golden, WeightsFile


class Kept:
    """What a run wrote, in order: the epochs of the weights files and the best epochs of the checkpoints."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.weights: list[int] = []
        self.checkpoints: list[int] = []
        monkeypatch.setattr(keeper, "save_weights", self._save_weights)
        monkeypatch.setattr(keeper, "save_checkpoint", self._save_checkpoint)

    def _save_weights(self, path: Path, content: WeightsFile) -> None:
        self.weights.append(content.provenance["epoch"])

    def _save_checkpoint(self, path: Path, checkpoint: Checkpoint) -> None:
        assert checkpoint.best is not None
        self.checkpoints.append(checkpoint.best.epoch)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    return Kept(monkeypatch)


def train(
    folder: Path,
    scores: list[float],
    losses: list[float] | None = None,
    best: Best | None = None,
    patience: int = 0,
) -> Keeper:
    """Finish one epoch for each validation score."""
    spec = MLPSpec(num_classes=2, hidden_dims=(2,))
    golden = Golden(images_GHW=np.zeros((1, 28, 28), np.uint8), logits=np.zeros((1, 2), np.float32))

    def result(score: float, loss: float) -> Any:
        return SimpleNamespace(
            loss=loss, score=score, rates={"accuracy": score}, reading=lambda _: None, golden=lambda _: golden
        )

    results = iter(map(result, scores, losses or [1.0] * len(scores)))
    task: Any = SimpleNamespace(evaluate=lambda *_: next(results))
    dataset: Any = SimpleNamespace(charset=Charset(("a", "b")), validation=range(3))
    recognizer: Any = SimpleNamespace(spec=spec, export_weights=dict)
    options: Any = {"recorders": [], "histograms": False, "provenance": {}, "best": best, "patience": patience}
    observer = Keeper(RunFolder(folder), task, dataset, **options)
    first = best.epoch + 1 if best else 1
    for epoch in range(first, first + len(scores)):
        observer.epoch_done(Progress(epoch=epoch, step=10 * epoch, seconds=0.0), recognizer, {})
    return observer


def test_the_weights_of_the_best_epoch_are_kept_the_first_of_equal_ones(kept: Kept, tmp_path: Path) -> None:
    observer = train(tmp_path, [0.5, 0.9, 0.4, 0.9, 0.8])
    assert kept.weights == [1, 2]
    assert kept.checkpoints == [1, 2, 2, 2, 2]
    assert observer.best == Best(epoch=2, score=0.9, rates={"accuracy": 0.9})


def test_a_resumed_run_keeps_an_earlier_best_epoch(kept: Kept, tmp_path: Path) -> None:
    train(tmp_path, [0.5, 0.8, 0.6], best=Best(epoch=4, score=0.7, rates={"accuracy": 0.7}))
    assert kept.weights == [6]
    assert kept.checkpoints == [4, 6, 6]


def test_a_run_stops_once_the_best_epoch_is_patience_epochs_ago(kept: Kept, tmp_path: Path) -> None:
    scores = [0.5, 0.9, 0.4, 0.8, 0.9, 1.0]  # equal is not better: epochs 3, 4 and 5 are no better than epoch 2
    with pytest.raises(StoppedEarly):
        train(tmp_path, scores, patience=3)
    assert kept.checkpoints == [1, 2, 2, 2, 2], "the last epoch is kept before the run stops"


def test_patience_counts_from_the_last_better_epoch_and_zero_never_stops(kept: Kept, tmp_path: Path) -> None:
    train(tmp_path, [0.5, 0.4, 0.6, 0.5, 0.7, 0.6], patience=2)
    train(tmp_path, [0.5, 0.4, 0.3, 0.2])


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_an_epoch_whose_validation_loss_is_not_finite_is_not_kept(kept: Kept, tmp_path: Path, loss: float) -> None:
    with pytest.raises(UserError, match=rf"the validation loss became {loss} after epoch 2 \(step 20\)"):
        train(tmp_path, [0.5, 0.9, 1.0], [1.0, loss, 1.0])
    assert (kept.weights, kept.checkpoints) == ([1], [1])
