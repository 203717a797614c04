"""The implementations, including the reference, are compared with what was computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from common.batch import Batch
from common.spec import LineSpec, Spec
from conformance import golden, line_oracle, oracle
from conformance.checks.subject import Subject, formulas_fit, golden_run, oracle_of
from conformance.tolerances import Mismatch, tolerance


def logits_match_the_definition(subject: Subject) -> float:
    """Logits equal those of the definition, computed one number at a time."""
    worst = 0.0
    for spec in golden.small_specs(subject.rung):
        weights, batch = golden.golden_weights(spec), golden.golden_batch(spec)
        actual = subject.model(spec).logits(*batch.inputs)
        if isinstance(batch, Batch):
            expected = np.array([oracle.logits(spec, weights, image) for image in batch.images_BHW1])
        else:
            expected = np.zeros(actual.shape)  # frames or pixels past a line's or a page's own are zero
            for example, own in zip(expected, oracle_of(spec).logits(spec, weights, batch), strict=True):
                example[tuple(map(slice, np.shape(own)))] = own
        worst = max(worst, subject.hold("logits", {"logits": actual}, {"logits": expected}))
    return worst


def gradients_match_finite_differences(subject: Subject) -> float:
    """Each tensor's gradient equals the slope of the loss of the definition, along a random direction."""
    return max(_slopes_match(subject, spec) for spec in golden.small_specs(subject.rung))


def _slopes_match(subject: Subject, spec: Spec) -> float:
    weights, batch = golden.golden_weights(spec), golden.golden_batch(spec)
    loss_of = oracle_of(spec).loss
    loss, gradients = subject.model(spec).loss_and_gradients(batch)
    worst = subject.hold("loss", {"loss": np.array(loss)}, {"loss": np.array(loss_of(spec, weights, batch))})
    rng = np.random.default_rng(5)
    # a difference quotient of width 1e-5 is correct to about 1e-9 of the loss; Keras's CTC is not
    limit = max(1e-7, tolerance("gradients", subject.dtype, subject.worker.implementation, subject.rung).limit)
    for name, gradient in gradients.items():
        direction = rng.standard_normal(gradient.shape)
        expected = oracle.slope(lambda moved: loss_of(spec, moved, batch), weights, name, direction)
        actual = float((gradient * direction).sum())
        if not abs(actual - expected) <= limit * max(1.0, abs(expected)):
            raise Mismatch(f"the slope of the loss along {name} is {actual!r}, by finite differences {expected!r}")
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


def other_optimizers_match_their_formulas(subject: Subject) -> float:
    """20 steps of SGD with Nesterov's momentum, of Adam and of RMSprop end where the published formulas end."""
    spec = golden.small(subject.rung)
    worst = 0.0
    for check, config in golden.OTHER_OPTIMIZERS.items():
        fitted = golden_run(subject, spec, config)
        hat = subject.worker.implementation in oracle.EPSILON_HAT
        expected, losses = formulas_fit(spec, config, epsilon_hat=hat)
        worst = max(worst, subject.hold(check, fitted.weights, expected))
        worst = max(worst, subject.hold(check, {"losses": np.array(fitted.losses)}, {"losses": np.array(losses)}))
    return worst


def accumulated_steps_match_the_formulas(subject: Subject) -> float:
    """20 steps in two micro-batches each end where the sums over all of them, divided once, end.

    Without batch norm, which sees one micro-batch at a time, they also end where whole batches end. There AdamW is
    compared as well, because its rate changes from step to step.
    """
    spec = golden.small(subject.rung)
    pairs = [(golden.ACCUMULATED, golden.ACCUMULATED)]
    if not any(name.endswith("variance") for name in spec.parameters()):
        of_adamw = golden.ACCUMULATED_ADAMW
        whole, whole_adamw = (replace(config, accumulate=1) for config in (golden.ACCUMULATED, of_adamw))
        pairs += [(golden.ACCUMULATED, whole), (of_adamw, of_adamw), (of_adamw, whole_adamw)]
    hat = subject.worker.implementation in oracle.EPSILON_HAT
    worst = 0.0
    for config, of_formulas in pairs:
        fitted = golden_run(subject, spec, config)
        expected, losses = formulas_fit(spec, of_formulas, epsilon_hat=hat)
        worst = max(worst, subject.hold("accumulated steps", fitted.weights, expected))
        actual = {"losses": np.array(fitted.losses)}
        worst = max(worst, subject.hold("accumulated steps", actual, {"losses": np.array(losses)}))
    return worst


def dropout_matches_its_definition(subject: Subject) -> float:
    """The loss under dropout has the mean and variance that follow from all ways to drop the units.

    Returns the larger distance of the two moments, in standard errors of 400 draws. The limit is 5. The seed is fixed,
    so the result does not vary. A wrong share or a missing scale is at a distance of 15 or more.
    """
    spec = golden.DROPOUT[subject.rung]
    weights, draws = golden.golden_weights(spec), 400
    # a learning rate so small that no weight changes
    config = replace(golden.SGD, learning_rate=1e-30, epochs=10, batch_size=1)
    split = golden.dropout_split(spec, draws // config.epochs)
    batches = golden.batches_of(spec, config, split)
    losses = np.array(subject.model(spec, weights).fit(config, batches).losses)
    losses_of = line_oracle.losses_under_dropout if isinstance(spec, LineSpec) else oracle.losses_under_dropout
    ways = losses_of(spec, weights, batches.batch(0, 0), units=golden.DROPOUT_UNITS[subject.rung])
    probability, loss = np.array(ways).T
    worst, centre = 0.0, float(probability @ loss)
    for power in (1, 2):  # central moments, because the second raw moment would mostly repeat the first
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
