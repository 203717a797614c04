"""The training loop, the same for every rung."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.spec import BATCH_NORM_MOMENTUM
from common.training.run import Run
from impl_numpy.device import keep_freed_memory, to_numpy
from impl_numpy.optim import clip_by_global_norm, optimizer_for

if TYPE_CHECKING:
    from impl_numpy.recognizer import NumpyRecognizer


def fit(recognizer: NumpyRecognizer, run: Run) -> None:
    """Train in place."""
    keep_freed_memory()
    config, xp, weights = run.config, recognizer.xp, recognizer.weights
    trained = {name: weights[name] for name, row in recognizer.spec.parameters().items() if row.trained}
    optimizer = optimizer_for(config, trained)
    if run.checkpoint:
        for name, array in {**weights, **optimizer.slots}.items():
            array[...] = xp.asarray(run.checkpoint[name])

    for epoch in run.epochs():
        for batch in run.batches(epoch):
            rate = float(run.learning_rates_S[run.step])
            rng = np.random.default_rng([config.seed, run.step])
            loss, gradients, statistics = recognizer.step_gradients(batch, rng)
            if config.clip_norm:
                clip_by_global_norm(gradients, config.clip_norm)
            optimizer.update(trained, gradients, rate, run.step)
            for name, statistic in statistics.items():
                weights[name] += BATCH_NORM_MOMENTUM * (statistic - weights[name])
            run.step_done(float(loss))
        state = {name: to_numpy(array) for name, array in {**weights, **optimizer.slots}.items()}
        run.epoch_done(recognizer, state)
