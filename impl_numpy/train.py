"""The training loop, shared by all rungs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from common.recognizer import AnyBatch, Recognizer, TrainingRun
from common.spec import BATCH_NORM_MOMENTUM
from common.training.accumulate import micro_batches
from impl_numpy.device import Array, keep_freed_memory, namespace, to_numpy
from impl_numpy.optim import add_scaled, clip_by_global_norm, optimizer_for

StepGradients = Callable[[AnyBatch, np.random.Generator | None], tuple[Array, dict[str, Array], dict[str, Array]]]
"""Loss, gradients and batch statistics of a batch; the generator is for dropout."""


def fit(recognizer: Recognizer, weights: dict[str, Array], step_gradients: StepGradients, run: TrainingRun) -> None:
    """Train in place.

    Args:
        recognizer: the model, for those who observe the run.
        weights: its weights, by canonical name.
        step_gradients: see `StepGradients`; it uses these weights.
        run: what to train on and how.
    """
    keep_freed_memory()
    config = run.config
    trained = {name: weights[name] for name, row in recognizer.spec.parameters().items() if row.trained}
    optimizer = optimizer_for(config, trained)
    if run.checkpoint:
        for name, array in {**weights, **optimizer.slots}.items():
            array[...] = namespace(array).asarray(run.checkpoint[name])

    for epoch in run.epochs():
        for batch in run.batches(epoch):
            rate = float(run.learning_rates_S[run.step])
            rng = np.random.default_rng([config.seed, run.step])
            loss, gradients = 0.0, {}
            for part, share in micro_batches(recognizer.spec, batch, config.accumulate):
                of_part, part_gradients, statistics = step_gradients(part, rng)
                loss += share * of_part
                add_scaled(gradients, part_gradients, share)
                for name, statistic in statistics.items():
                    weights[name] += BATCH_NORM_MOMENTUM * (statistic - weights[name])
            if config.clip_norm:
                clip_by_global_norm(gradients, config.clip_norm)
            optimizer.update(trained, gradients, rate, run.step)
            run.step_done(loss)  # still on the device: the run fetches the losses of several steps at once
            if run.look_due:
                run.look(recognizer)
        state = {name: to_numpy(array) for name, array in {**weights, **optimizer.slots}.items()}
        run.epoch_done(recognizer, state)
