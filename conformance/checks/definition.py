"""The implementations, the reference among them, do what was worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from common.batch import LineBatch
from common.spec import LineSpec
from conformance import golden, line_oracle, oracle
from conformance.checks.subject import Subject, formulas_fit, golden_run
from conformance.tolerances import Mismatch


def logits_match_the_definition(subject: Subject) -> float:
    """Logits equal those worked out one number at a time."""
    spec = golden.small(subject.rung)
    weights, batch = golden.golden_weights(spec), golden.golden_batch(spec)
    actual = subject.model(spec).logits(*batch.inputs)
    if not isinstance(batch, LineBatch):
        expected = np.array([oracle.logits(spec, weights, image) for image in batch.images_BHW1])
        return subject.hold("logits", {"logits": actual}, {"logits": expected})
    expected = np.zeros(actual.shape)  # past a line's own rows
    for line, rows in zip(expected, line_oracle.logits(spec, weights, batch), strict=True):
        line[: len(rows)] = rows
    return subject.hold("logits", {"logits": actual}, {"logits": expected})


def gradients_match_finite_differences(subject: Subject) -> float:
    """Each tensor's gradient gives the slope of the loss, worked out by hand, along random directions."""
    spec = golden.small(subject.rung)
    weights, batch = golden.golden_weights(spec), golden.golden_batch(spec)
    loss_of = line_oracle.loss if isinstance(spec, LineSpec) else oracle.loss
    loss, gradients = subject.model(spec).loss_and_gradients(batch)
    worst = subject.hold("loss", {"loss": np.array(loss)}, {"loss": np.array(loss_of(spec, weights, batch))})
    rng = np.random.default_rng(5)
    for name, gradient in gradients.items():
        direction = rng.standard_normal(gradient.shape)
        expected = oracle.slope(lambda moved: loss_of(spec, moved, batch), weights, name, direction)
        actual = float((gradient * direction).sum())
        # quotients of width 1e-5 are good to about 1e-9 of the loss
        if not abs(actual - expected) <= 1e-7 * max(1.0, abs(expected)):
            raise Mismatch(f"slope of the loss along {name} is {actual!r}, by finite differences {expected!r}")
        worst = max(worst, abs(actual - expected))
    return worst


def steps_match_the_formulas(subject: Subject) -> float:
    """Training ends where the optimizers' published formulas end, running statistics included."""
    spec = golden.small(subject.rung)
    worst = 0.0
    for check, config in (
        ("sgd steps", golden.SGD),
        ("clipped steps", golden.CLIPPED),
        ("adamw steps", golden.ADAMW),
    ):
        actual = golden_run(subject, spec, config).weights
        expected, _ = formulas_fit(spec, config, epsilon_hat=subject.worker.implementation in oracle.EPSILON_HAT)
        worst = max(worst, subject.hold(check, actual, expected))
    return worst


def dropout_matches_its_definition(subject: Subject) -> float:
    """Losses under dropout are spread as they are over all ways to drop the units, worked out by hand.

    Returns the largest distance of the mean of loss and of loss², in standard errors of 400 draws. 5 is the limit: the
    seed is fixed, so the draw is made once and for all, and a wrong share or a missing scale is 15 or more away.
    """
    spec = golden.DROPOUT[subject.rung]
    weights, draws = golden.golden_weights(spec), 400
    # a rate so small that the weights stay where they are
    config = replace(golden.SGD, learning_rate=1e-30, epochs=10, batch_size=1)
    split = golden.dropout_split(spec, draws // config.epochs)
    batches = golden.batches_of(spec, config, split)
    losses = np.array(subject.model(spec, weights).fit(config, batches).losses)
    losses_of = line_oracle.losses_under_dropout if isinstance(spec, LineSpec) else oracle.losses_under_dropout
    ways = losses_of(spec, weights, batches.batch(0, 0), units=golden.DROPOUT_UNITS[subject.rung])
    probability, loss = np.array(ways).T
    worst, centre = 0.0, float(probability @ loss)
    for power in (1, 2):  # about the mean, or the second would say little that the first does not
        of_ways, of_steps = (loss - centre) ** power, (losses - centre) ** power
        mean = float(probability @ of_ways)
        error = np.sqrt((probability @ of_ways**2 - mean**2) / draws)
        distance = abs(float(of_steps.mean()) - mean) / error
        if not distance < 5:
            raise Mismatch(
                f"moment {power} of the loss under dropout is {of_steps.mean():.5f} over {draws} steps where "
                f"{mean:.5f} is expected: {distance:.1f} standard errors apart, limit 5"
            )
        worst = max(worst, float(distance))
    return worst
