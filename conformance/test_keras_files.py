"""Keras's own `.keras` files: every model, compiled as it was trained, is the same model once it is saved and loaded.

In a process of its own, so that no two frameworks share one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from common.spec import RUNGS
from conformance.worker import Worker

# trains two steps with dropout, saves, and loads into a process that has imported the package, as Keras asks
SAVE = """
import sys
import keras
import numpy as np
from conformance import golden
from conformance.checks.subject import fit
from impl_keras import build

rung, dtype, folder = sys.argv[1:]
spec = golden.small(rung, dropout=0.25)
recognizer = build(spec, dtype=dtype)
recognizer.load_weights(golden.golden_weights(spec))
fit(recognizer, golden.ADAMW, golden.batches_of(spec, golden.ADAMW, golden.golden_split(spec, 16)))
batch = golden.golden_batch(spec)
model = recognizer.model
model.save(f"{folder}/model.keras")
# the same graph without the model's class, so that each layer is loaded by its own configuration
keras.Model(model.inputs, model.outputs).save(f"{folder}/graph.keras")
answers = {"logits": recognizer.logits(*batch.inputs)}
if rung == "transformer":
    recognizer.greedy[True].save(f"{folder}/greedy.keras")
    answers["classes"], answers["log_probs"] = recognizer.decode(batch.images_BHW1, batch.widths_B)
answers["logits of the graph"] = answers["logits"]
np.savez(f"{folder}/answers.npz", **answers)
"""
LOAD = """
import json, sys
import keras
import numpy as np
from conformance import golden
from impl_keras import build

rung, dtype, folder = sys.argv[1:]
spec = golden.small(rung, dropout=0.25)
recognizer = build(spec, dtype=dtype)
kind = type(recognizer.model)
recognizer.model = keras.saving.load_model(f"{folder}/model.keras")
same_class = type(recognizer.model) is kind
batch = golden.golden_batch(spec)
answers = {"logits": recognizer.logits(*batch.inputs)}
if rung == "transformer":
    recognizer.greedy = {True: keras.saving.load_model(f"{folder}/greedy.keras")}
    answers["classes"], answers["log_probs"] = recognizer.decode(batch.images_BHW1, batch.widths_B)
optimizer = recognizer.model.optimizer
weights = recognizer.model.trainable_weights
recognizer.model = keras.saving.load_model(f"{folder}/graph.keras")
answers["logits of the graph"] = recognizer.logits(*batch.inputs)
saved = np.load(f"{folder}/answers.npz")
print(json.dumps({
    "same class": same_class,
    "different": [name for name in saved.files if not np.array_equal(saved[name], answers[name])],
    "dtypes": sorted({str(weight.dtype) for weight in weights}),
    "steps": int(optimizer.iterations.numpy()),
    "rates": optimizer.get_config()["learning_rate"]["registered_name"],
}))
"""


def run(program: str, *argv: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *argv], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("rung", "dtype"), [*((rung, "float32") for rung in RUNGS), ("lstm_ctc", "float64")])
def test_model_saved_and_loaded_is_the_same(
    rung: str, dtype: str, tmp_path: Path, installed: Callable[[str], Worker]
) -> None:
    installed("keras")  # skips where Keras is missing
    run(SAVE, rung, dtype, str(tmp_path))
    found = json.loads(run(LOAD, rung, dtype, str(tmp_path)).splitlines()[-1])
    assert found["same class"]
    assert found["different"] == []
    assert found["dtypes"] == [dtype]
    assert found["steps"] > 0, "the optimizer is loaded with its steps"
    assert found["rates"] == "fourhands>LearningRates"
