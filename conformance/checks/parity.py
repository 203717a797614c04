"""The implementations are the same model: weights, forward, loss, gradients, steps, devices."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from common.batch import LineBatch, PageBatch
from common.config import TrainConfig
from common.spec import LineSpec, UNetSpec
from common.weights import Golden, Weights, WeightsFile, initial_weights, load_weights, save_weights
from conformance import golden
from conformance.checks.lines import line_reading_does_not_depend_on_its_batch
from conformance.checks.pages import page_reading_does_not_depend_on_its_batch
from conformance.checks.subject import (
    Subject,
    fit_golden,
    formulas_fit,
    golden_batches,
    golden_run,
    hold_exactly,
    in_dtype,
    reference_fit,
    reference_gradients,
    reference_of,
)
from conformance.oracle import EPSILON_HAT
from conformance.tolerances import Mismatch, hold, tolerance
from conformance.worker import digest
from impl_numpy import build as build_reference


# --- weights
def starts_from_the_same_weights(subject: Subject) -> float:
    """A new model's weights have the spec's names and shapes, the model's dtype, and the values drawn from the seed."""
    spec = golden.small(subject.rung)
    model = subject.worker.build(spec, seed=3, device=subject.device, dtype=subject.dtype)
    return hold_exactly(model.export_weights(), in_dtype(initial_weights(spec, seed=3), subject.dtype))


def load_then_export_is_the_identity(subject: Subject) -> float:
    """Exported weights are those that were loaded, and stay so while the model continues to train: they are copies."""
    spec = golden.small(subject.rung)
    weights = in_dtype(golden.golden_weights(spec), subject.dtype)
    model, batches = subject.model(spec), golden.batches_of(spec, golden.ONE_EPOCH, golden.golden_split(spec, 16))
    hold_exactly(model.export_weights(), weights)
    return hold_exactly(model.exported_weights_are_copies(weights, golden.ONE_EPOCH, batches), weights)


def file_is_read_by_the_reference(subject: Subject) -> float:
    """The reference reads a weights file that the implementation wrote after training, and returns the same logits."""
    spec = golden.small(subject.rung)
    weights, batch = golden_run(subject, spec, golden.SGD).weights, golden.golden_batch(spec)
    logits = subject.model(spec, weights).logits(*batch.inputs)
    images_GHW = np.rint(255 * batch.images_BHW1[..., 0]).astype(np.uint8)
    more = {}
    if isinstance(batch, LineBatch):
        more = {"widths_G": batch.widths_B, "labels_GL": batch.labels_BL}
    elif isinstance(batch, PageBatch):
        more = {"sizes_G2": batch.sizes_B2}
    example = Golden(images_GHW=images_GHW, logits=logits, **more)
    charset = golden.charset_of(spec)
    with TemporaryDirectory() as folder:
        path = Path(folder, "weights.safetensors")
        save_weights(path, WeightsFile(spec=spec, charset=charset, weights=weights, golden=example))
        content = load_weights(path)
    reference = build_reference(spec, dtype="float64")
    reference.load_weights(content.weights)
    # the file is float32 in every dtype of the model
    gate = tolerance("logits", "float32", subject.worker.implementation, subject.rung)
    return hold({"logits": logits}, {"logits": reference.logits(*content.golden.inputs)}, gate)


# --- forward
def logits_agree(subject: Subject) -> float:
    """The logits of the golden weights equal the reference's, at the small size and at full size."""
    worst = 0.0
    for spec in (golden.small(subject.rung), golden.full(subject.rung)):
        inputs = golden.golden_batch(spec).inputs
        actual, expected = subject.model(spec).logits(*inputs), reference_of(spec).logits(*inputs)
        worst = max(worst, subject.hold("logits", {"logits": actual}, {"logits": expected}))
    return worst


def reading_does_not_depend_on_its_batch(subject: Subject) -> float:
    """An image has the same logits alone, in a batch, and in another order."""
    spec = golden.small(subject.rung)
    if isinstance(spec, LineSpec):
        return line_reading_does_not_depend_on_its_batch(subject, spec)
    if isinstance(spec, UNetSpec):
        return page_reading_does_not_depend_on_its_batch(subject, spec)
    model, images_BHW1 = subject.model(spec), golden.golden_batch(spec).images_BHW1
    together = model.logits(images_BHW1)
    alone = np.concatenate([model.logits(image[None]) for image in images_BHW1])
    backwards = model.logits(images_BHW1[::-1].copy())[::-1]
    return subject.hold("logits", {"alone": alone, "backwards": backwards}, {"alone": together, "backwards": together})


def dropout_is_off_when_reading(subject: Subject) -> float:
    """A model with dropout in its spec reads as one without dropout, also after training."""
    spec = golden.small(subject.rung, dropout=0.5)
    model = subject.model(spec)
    fitted = fit_golden(model, spec, golden.ONE_EPOCH, 16)
    reference = build_reference(golden.small(subject.rung), dtype="float64")
    reference.load_weights(fitted.weights)
    inputs = golden.golden_batch(spec).inputs
    return subject.hold("logits", {"logits": model.logits(*inputs)}, {"logits": reference.logits(*inputs)})


# --- loss and gradients
def loss_agrees(subject: Subject) -> float:
    """The loss of a batch equals the reference's, also where a logit is far above 88, where float32 exp overflows."""
    spec = golden.small(subject.rung)
    batch = golden.golden_batch(spec)
    worst = 0.0
    # over the frames of a line the logarithms add up: with 300, float32 would have no digits left after the point
    for scale in (1, 30 if isinstance(spec, LineSpec) else 300):
        weights = golden.golden_weights(spec)
        last = [name for name in weights if name.endswith("bias")][-1]
        # whole numbers: large logits are then exact in float32, and the tolerance need not grow with them
        if scale > 1:
            # of two maps, one has large logits below zero and one above
            first = -0.5 if isinstance(spec, UNetSpec) else 0
            weights[last] = ((first + np.arange(len(weights[last]))) * scale).astype(np.float32)
        loss, _ = subject.model(spec, weights).loss_and_gradients(batch)
        reference = build_reference(spec, dtype="float64")
        reference.load_weights(weights)
        expected, _ = reference.loss_and_gradients(batch)
        # relative to the loss where it is above 1 nat
        unit = max(1.0, abs(expected))
        worst = max(worst, subject.hold("loss", {"loss": np.array(loss / unit)}, {"loss": np.array(expected / unit)}))
    return worst


def gradients_agree(subject: Subject) -> float:
    """The gradient of every parameter equals the reference's, at the small size and at full size."""
    worst = 0.0
    for spec in (golden.small(subject.rung), golden.full(subject.rung)):
        _, gradients = subject.model(spec).loss_and_gradients(golden.golden_batch(spec))
        worst = max(worst, subject.hold("gradients", gradients, reference_gradients(spec)))
    return worst


def gradients_ignore_dropout(subject: Subject) -> float:
    """`loss_and_gradients` has dropout off, also where the spec has dropout."""
    spec = golden.small(subject.rung, dropout=0.5)
    _, gradients = subject.model(spec).loss_and_gradients(golden.golden_batch(spec))
    return subject.hold("gradients", gradients, reference_gradients(golden.small(subject.rung)))


def gradients_are_the_same_twice(subject: Subject) -> float:
    """A second call of `loss_and_gradients` returns the loss and the gradients of the first, and no weight has moved.

    On a CPU to the last bit. On a GPU within the gates, because some of its sums have no fixed order.
    """
    spec = golden.small(subject.rung)
    weights, batch = golden.golden_weights(spec), golden.golden_batch(spec)
    model = subject.model(spec, weights)
    first_loss, first = model.loss_and_gradients(batch)
    second_loss, second = model.loss_and_gradients(batch)
    hold_exactly(model.export_weights(), in_dtype(weights, subject.dtype))
    if subject.device == "cpu":
        return hold_exactly({"loss": np.array(second_loss), **second}, {"loss": np.array(first_loss), **first})
    worst = subject.hold("loss", {"loss": np.array(second_loss)}, {"loss": np.array(first_loss)})
    return max(worst, subject.hold("gradients", second, first))


# --- training
def every_batch_is_seen(subject: Subject) -> float:
    """Training takes exactly the batches of each epoch, byte for byte, the smaller last one included."""
    spec = golden.small(subject.rung)
    expected = [digest(batch) for batch in golden_batches(spec, golden.SGD)]
    fitted = golden_run(subject, spec, golden.SGD)
    if len(fitted.losses) != len(expected):
        raise Mismatch(f"{len(fitted.losses)} updates were reported, expected one for each of {len(expected)} batches")
    if fitted.digests[: len(expected)] != expected:
        first = next(i for i, (a, b) in enumerate(zip(fitted.digests, expected, strict=False)) if a != b)
        raise Mismatch(f"batch {first} is not the one that seed, epoch and index determine")
    return 0.0


def sgd_steps_agree(subject: Subject) -> float:
    """20 steps of SGD with momentum end at the reference's weights and have its loss at every step."""
    return _steps_agree(subject, "sgd steps", golden.SGD)


def clipped_steps_agree(subject: Subject) -> float:
    """20 steps of SGD with the gradient's global norm clipped end at the reference's weights."""
    return _steps_agree(subject, "clipped steps", golden.CLIPPED)


def adamw_steps_agree(subject: Subject) -> float:
    """20 steps of AdamW under one cycle end at the reference's weights, with its loss at every step.

    An implementation with another epsilon is compared with the formula that has its epsilon, see `EPSILON_HAT`.
    """
    if subject.worker.implementation not in EPSILON_HAT:
        return _steps_agree(subject, "adamw steps", golden.ADAMW)
    spec = golden.small(subject.rung)
    weights, losses = formulas_fit(spec, golden.ADAMW, epsilon_hat=True)
    return _run_agrees(subject, "adamw steps", golden.ADAMW, weights, losses)


# --- devices
def everything_lies_where_asked(subject: Subject) -> float:
    """Every parameter and the output lie on the requested device, as the arrays themselves report."""
    spec = golden.small(subject.rung)
    placement = subject.model(spec).placement()
    expected = {*spec.parameters(), "logits"}
    if placement.keys() != expected:
        raise Mismatch(f"placement lists {sorted(placement)}, expected {sorted(expected)}")
    if astray := {name: device for name, device in placement.items() if device != subject.device}:
        raise Mismatch(f"not on the {subject.device}: {astray}")
    return 0.0


def _steps_agree(subject: Subject, check: str, config: TrainConfig) -> float:
    expected = reference_fit(golden.small(subject.rung), config)
    return _run_agrees(subject, check, config, expected.weights, expected.losses)


def _run_agrees(subject: Subject, check: str, config: TrainConfig, weights: Weights, losses: list[float]) -> float:
    fitted = golden_run(subject, golden.small(subject.rung), config)
    worst = subject.hold(check, {"losses": np.array(fitted.losses)}, {"losses": np.array(losses)})
    return max(worst, subject.hold(check, fitted.weights, weights))
