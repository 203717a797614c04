"""What every implementation must pass. A check raises `Mismatch` or returns the largest deviation it saw.

The tests call these, and so do the planted faults, which must turn them red.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from common.charset import Charset
from common.data import sources
from common.data.dataset import Batches, Split, to_float
from common.recognizer import Device, DType, Recognizer
from common.spec import CNNSpec, Spec
from common.training.config import TrainConfig
from common.weights import Golden, Weights, WeightsFile, initial_weights, load_weights, save_weights
from conformance import golden, oracle
from conformance.tolerances import Mismatch, hold, tolerance
from conformance.worker import Fitted, Model, Worker, digest, fit
from impl_numpy import build as build_reference


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is tried: one rung of one implementation, on a device, in a dtype."""

    worker: Worker
    rung: str
    device: Device = "cpu"
    dtype: DType = "float64"

    def model(self, spec: Spec, weights: Weights | None = None) -> Model:
        """A model of the implementation, with golden weights unless others are given."""
        model = self.worker.build(spec, device=self.device, dtype=self.dtype)
        model.load_weights(golden.golden_weights(spec) if weights is None else weights)
        return model

    def hold(self, check: str, actual: dict, expected: dict) -> float:
        """Hold named tensors against the gate of `check`."""
        return hold(actual, expected, tolerance(check, self.dtype, self.worker.implementation))


Check = Callable[[Subject], float]


# --- weights
def starts_from_the_same_weights(subject: Subject) -> float:
    """A new model's weights have the spec's names, shapes and counts, and the values that the seed gives."""
    spec = golden.small(subject.rung)
    model = subject.worker.build(spec, seed=3, device=subject.device, dtype=subject.dtype)
    return _exactly(model.export_weights(), initial_weights(spec, seed=3))


def load_then_export_is_the_identity(subject: Subject) -> float:
    """Exported weights are those that were loaded, and stay so while the model trains on."""
    spec = golden.small(subject.rung)
    weights = golden.golden_weights(spec)
    return _exactly(subject.model(spec, weights).export_weights(), weights)


def file_is_read_by_the_reference(subject: Subject) -> float:
    """A weights file that the implementation writes after training gives the reference the same logits."""
    spec = golden.small(subject.rung)
    model = subject.model(spec)
    fitted = model.fit(golden.SGD, golden.golden_split(spec, 16))
    batch = golden.golden_batch(spec)
    logits_BK = model.logits(batch.images_BHW1)
    example = Golden(images_GHW=golden.golden_split(spec, 5).images_NHW, logits_GK=logits_BK)
    charset = Charset(tuple("abcdefg"))
    with TemporaryDirectory() as folder:
        path = Path(folder, "weights.safetensors")
        save_weights(path, WeightsFile(spec=spec, charset=charset, weights=fitted.weights, golden=example))
        content = load_weights(path)
    reference = build_reference(spec, dtype="float64")
    reference.load_weights(content.weights)
    # the file is float32, whatever the model was
    gate = tolerance("logits", "float32", subject.worker.implementation)
    return hold({"logits": logits_BK}, {"logits": reference.logits(batch.images_BHW1)}, gate)


# --- forward
def logits_agree(subject: Subject) -> float:
    """The logits of the golden weights are the reference's, at the small size and at full size."""
    worst = 0.0
    for spec in (golden.small(subject.rung), golden.full(subject.rung)):
        images_BHW1 = golden.golden_batch(spec).images_BHW1
        actual, expected = subject.model(spec).logits(images_BHW1), _reference(spec).logits(images_BHW1)
        worst = max(worst, subject.hold("logits", {"logits": actual}, {"logits": expected}))
    return worst


def reading_does_not_depend_on_its_batch(subject: Subject) -> float:
    """An image gives the same logits alone, in a batch, and in another order."""
    spec = golden.small(subject.rung)
    model, images_BHW1 = subject.model(spec), golden.golden_batch(spec).images_BHW1
    together = model.logits(images_BHW1)
    alone = np.concatenate([model.logits(image[None]) for image in images_BHW1])
    backwards = model.logits(images_BHW1[::-1].copy())[::-1]
    return subject.hold("logits", {"alone": alone, "backwards": backwards}, {"alone": together, "backwards": together})


def dropout_is_off_when_reading(subject: Subject) -> float:
    """A model with dropout in its spec reads as one without, after training as before."""
    spec = golden.small(subject.rung, dropout=0.5)
    model = subject.model(spec)
    fitted = model.fit(replace(golden.SGD, epochs=1), golden.golden_split(spec, 16))
    reference = build_reference(replace(spec, dropout=0.0), dtype="float64")
    reference.load_weights(fitted.weights)
    images_BHW1 = golden.golden_batch(spec).images_BHW1
    return subject.hold("logits", {"logits": model.logits(images_BHW1)}, {"logits": reference.logits(images_BHW1)})


# --- loss and gradients
def loss_agrees(subject: Subject) -> float:
    """Mean cross-entropy of a batch, also where a logit is far above 88, at which float32 exp overflows."""
    spec = golden.small(subject.rung)
    batch = golden.golden_batch(spec)
    worst = 0.0
    for scale in (1, 300):
        weights = golden.golden_weights(spec)
        last = max(name for name in weights if name.endswith("bias"))
        # whole numbers, so that the large logits are exact in float32 and the gate need not grow with them
        weights[last] = (weights[last] if scale == 1 else np.arange(spec.num_classes) * scale).astype(np.float32)
        loss, _ = subject.model(spec, weights).loss_and_gradients(batch)
        reference = build_reference(spec, dtype="float64")
        reference.load_weights(weights)
        expected, _ = reference.loss_and_gradients(batch)
        # relative to the loss once it is above 1 nat
        unit = max(1.0, abs(expected))
        worst = max(worst, subject.hold("loss", {"loss": np.array(loss / unit)}, {"loss": np.array(expected / unit)}))
    return worst


def gradients_agree(subject: Subject) -> float:
    """The gradient of every parameter is the reference's, at the small size and at full size."""
    worst = 0.0
    for spec in (golden.small(subject.rung), replace(golden.full(subject.rung), dropout=0.0)):
        _, gradients = subject.model(spec).loss_and_gradients(golden.golden_batch(spec))
        worst = max(worst, subject.hold("gradients", gradients, _reference_gradients(spec)))
    return worst


def gradients_ignore_dropout(subject: Subject) -> float:
    """`loss_and_gradients` is taken with dropout off, whatever the spec says."""
    spec = golden.small(subject.rung, dropout=0.5)
    _, gradients = subject.model(spec).loss_and_gradients(golden.golden_batch(spec))
    return subject.hold("gradients", gradients, _reference_gradients(replace(spec, dropout=0.0)))


# --- training
def every_batch_is_seen(subject: Subject) -> float:
    """Training takes each epoch's batches byte for byte, the last and smaller one included, and no other."""
    spec = golden.small(subject.rung)
    split = golden.golden_split(spec, golden.STEPS_EXAMPLES)
    batches = Batches(split, batch_size=golden.SGD.batch_size, seed=golden.SGD.seed)
    expected = [digest(batches.batch(epoch, i)) for epoch in range(golden.SGD.epochs) for i in range(len(batches))]
    fitted = subject.model(spec).fit(golden.SGD, split)
    if len(fitted.losses) != len(expected):
        raise Mismatch(f"{len(fitted.losses)} updates reported where {len(expected)} batches were to be learnt from")
    if fitted.digests[: len(expected)] != expected:
        first = next(i for i, (a, b) in enumerate(zip(fitted.digests, expected, strict=False)) if a != b)
        raise Mismatch(f"batch {first} is not the one that (seed, epoch, index) gives")
    return 0.0


def sgd_steps_agree(subject: Subject) -> float:
    """20 steps of SGD with momentum end at the reference's weights, with its loss at every step."""
    return _steps_agree(subject, "sgd steps", golden.SGD)


def clipped_steps_agree(subject: Subject) -> float:
    """20 steps of SGD, the gradient's global norm clipped, end at the reference's weights."""
    return _steps_agree(subject, "clipped steps", golden.CLIPPED)


def adamw_steps_agree(subject: Subject) -> float:
    """20 steps of AdamW under one cycle end at the reference's weights, with its loss at every step."""
    return _steps_agree(subject, "adamw steps", golden.ADAMW)


def dropout_matches_its_definition(subject: Subject) -> float:
    """Losses under dropout are spread as they are over all ways to drop the units, worked out by hand.

    Returns the largest distance of the mean of loss and of loss², in standard errors of 400 draws. 5 is the limit: the
    seed is fixed, so the draw is made once and for all, and a wrong share or a missing scale is 15 or more away.
    """
    spec = golden.DROPOUT[subject.rung]
    weights, draws, label = golden.golden_weights(spec), 400, 1
    image = golden.golden_split(spec, 2).images_NHW[:1]
    split = Split(images_NHW=image.repeat(draws // 10, axis=0), labels_N=np.full(draws // 10, label, np.int32))
    # a rate so small that the weights stay where they are
    config = replace(golden.SGD, learning_rate=1e-30, epochs=10, batch_size=1)
    losses = np.array(subject.model(spec, weights).fit(config, split).losses)
    ways = oracle.losses_under_dropout(spec, weights, image[0][..., None] / 255, label, units=golden.DROPOUT_UNITS)
    probability, loss = np.array(ways).T
    worst = 0.0
    for power in (1, 2):
        mean = float(probability @ loss**power)
        error = np.sqrt((probability @ loss ** (2 * power) - mean**2) / draws)
        distance = abs(float((losses**power).mean()) - mean) / error
        if not distance < 5:
            raise Mismatch(
                f"mean of loss^{power} under dropout is {(losses**power).mean():.5f} over {draws} steps where "
                f"{mean:.5f} is expected: {distance:.1f} standard errors apart, limit 5"
            )
        worst = max(worst, float(distance))
    return worst


# --- learning
def one_batch_is_learnt_by_heart(subject: Subject) -> float:
    """60 steps on one batch of 16 random images bring its loss below 0.05 nats."""
    spec = replace(golden.full(subject.rung), dropout=0.0) if subject.rung == "mlp" else _lean_cnn()
    split = golden.golden_split(spec, 16)
    config = TrainConfig(epochs=60, batch_size=16, learning_rate=3e-3, weight_decay=0.0)
    model = subject.worker.build(spec, device=subject.device, dtype=subject.dtype)
    losses = model.fit(config, split).losses
    if not losses[-1] < 0.05:
        raise Mismatch(
            f"after 60 steps on one batch the loss is {losses[-1]:.3f} nats, from {losses[0]:.3f}; limit 0.05"
        )
    return float(losses[-1])


def unseen_writers_are_read(subject: Subject) -> float:
    """A few seconds of training on 50 writers read the characters of 40 others; returns the share missed."""
    dataset = sources.load("ink", examples=3100)
    recipe = golden.QUICK[subject.rung]
    return _learns(subject, recipe, dataset.train, dataset.validation)


def mnist_is_read(subject: Subject) -> float:
    """The full tier: MNIST's official test images are read, after training on its training images as they are."""
    dataset = sources.load("mnist")
    return _learns(subject, golden.MNIST[subject.rung], dataset.train, dataset.test)


def same_seed_same_run(subject: Subject) -> float:
    """Two runs from one seed end at the same bytes; another seed ends elsewhere."""
    spec = golden.small(subject.rung, dropout=0.25)
    split = golden.golden_split(spec, golden.STEPS_EXAMPLES)
    ends = [
        subject.worker.build(spec, seed=seed, device=subject.device, dtype=subject.dtype)
        .fit(replace(golden.ADAMW, seed=seed), split)
        .weights
        for seed in (5, 5, 6)
    ]
    _exactly(ends[0], ends[1])
    if all(np.array_equal(ends[0][name], ends[2][name]) for name in ends[0]):
        raise Mismatch("another seed ended at the same weights")
    return 0.0


def resumed_run_equals_an_unbroken_one(subject: Subject) -> float:
    """A run broken off in its third epoch and resumed in a new model ends at the same bytes."""
    worst = 0.0
    for config in (golden.ADAMW, golden.CLIPPED):
        spec = golden.small(subject.rung, dropout=0.25)
        split = golden.golden_split(spec, golden.STEPS_EXAMPLES)
        unbroken = subject.model(spec).fit(config, split)
        broken = subject.model(spec).fit(config, split, stop_after_epoch=2)
        if broken.progress.epoch != 2 or len(broken.losses) != 11:
            raise Mismatch(f"the run was to break off at step 11, in epoch 3, and did at step {len(broken.losses)}")
        fresh = subject.worker.build(spec, seed=99, device=subject.device, dtype=subject.dtype)
        resumed = fresh.fit(config, split, resume=broken)
        if resumed.losses != unbroken.losses[10:]:
            raise Mismatch(f"losses after resuming are {resumed.losses[:2]}..., not {unbroken.losses[10:12]}...")
        worst = max(worst, _exactly(resumed.weights, unbroken.weights))
    return worst


# --- devices
def everything_lies_where_asked(subject: Subject) -> float:
    """Every parameter and the output lie on the device asked for, read off the arrays themselves."""
    spec = golden.small(subject.rung)
    placement = subject.model(spec).placement()
    expected = {*spec.parameters(), "logits"}
    if placement.keys() != expected:
        raise Mismatch(f"placement tells of {sorted(placement)} where {sorted(expected)} were expected")
    if astray := {name: device for name, device in placement.items() if device != subject.device}:
        raise Mismatch(f"not on the {subject.device}: {astray}")
    return 0.0


# --- the reference against what was worked out by hand
def logits_match_the_definition(subject: Subject) -> float:
    """Logits equal those worked out one number at a time."""
    spec = golden.small(subject.rung)
    weights, batch = golden.golden_weights(spec), golden.golden_batch(spec)
    expected = np.array([oracle.logits(spec, weights, image) for image in batch.images_BHW1])
    return subject.hold("logits", {"logits": subject.model(spec).logits(batch.images_BHW1)}, {"logits": expected})


def gradients_match_finite_differences(subject: Subject) -> float:
    """Each tensor's gradient gives the slope of the loss, worked out by hand, along random directions."""
    spec = golden.small(subject.rung)
    weights, batch = golden.golden_weights(spec), golden.golden_batch(spec)
    loss, gradients = subject.model(spec).loss_and_gradients(batch)
    worst = subject.hold("loss", {"loss": np.array(loss)}, {"loss": np.array(oracle.loss(spec, weights, batch))})
    rng = np.random.default_rng(5)
    for name, gradient in gradients.items():
        direction = rng.standard_normal(gradient.shape)
        expected = oracle.slope(lambda moved: oracle.loss(spec, moved, batch), weights, name, direction)
        actual = float((gradient * direction).sum())
        # quotients of width 1e-5 are good to about 1e-9 of the loss
        if not abs(actual - expected) <= 1e-7 * max(1.0, abs(expected)):
            raise Mismatch(f"slope of the loss along {name} is {actual!r}, by finite differences {expected!r}")
        worst = max(worst, abs(actual - expected))
    return worst


def steps_match_the_formulas(subject: Subject) -> float:
    """Training ends where the optimizers' published formulas end."""
    spec = golden.small(subject.rung)
    split = golden.golden_split(spec, golden.STEPS_EXAMPLES)
    worst = 0.0
    for check, config in (
        ("sgd steps", golden.SGD),
        ("clipped steps", golden.CLIPPED),
        ("adamw steps", golden.ADAMW),
    ):
        batches = Batches(split, batch_size=config.batch_size, seed=config.seed)
        drawn = [batches.batch(epoch, i) for epoch in range(config.epochs) for i in range(len(batches))]
        model = subject.model(spec)

        def gradients_of(weights: dict, batch: object, model: Model = model) -> dict:
            model.load_weights(weights)
            return model.loss_and_gradients(batch)[1]

        expected = oracle.train(config, golden.golden_weights(spec), drawn, gradients_of)
        worst = max(worst, subject.hold(check, subject.model(spec).fit(config, split).weights, expected))
    return worst


# --- what the checks share
def _exactly(actual: Weights, expected: Weights) -> float:
    if actual.keys() != expected.keys():
        raise Mismatch(f"parameters {sorted(actual)} where {sorted(expected)} were expected")
    for name, right in expected.items():
        left = actual[name]
        if left.shape != right.shape:
            raise Mismatch(f"{name} has shape {left.shape} where {right.shape} was expected")
        if not np.array_equal(left, right):
            index = tuple(int(i) for i in np.argwhere(left != right)[0])
            raise Mismatch(f"{name}{list(index)} is {left[index]!r} where exactly {right[index]!r} was expected")
    return 0.0


def _steps_agree(subject: Subject, check: str, config: TrainConfig) -> float:
    spec = golden.small(subject.rung)
    fitted = subject.model(spec).fit(config, golden.golden_split(spec, golden.STEPS_EXAMPLES))
    expected = _reference_fit(spec, config)
    worst = subject.hold(check, {"losses": np.array(fitted.losses)}, {"losses": np.array(expected.losses)})
    return max(worst, subject.hold(check, fitted.weights, expected.weights))


def _learns(subject: Subject, recipe: golden.Recipe, train: Split, judged_by: Split) -> float:
    model = subject.worker.build(recipe.spec, device=subject.device, dtype=subject.dtype)
    model.fit(recipe.config, train)
    images = judged_by.images_NHW
    read = [model.logits(to_float(images[i : i + 128])).argmax(axis=1) for i in range(0, len(images), 128)]
    accuracy = float((np.concatenate(read) == judged_by.labels_N).mean())
    if not accuracy >= recipe.accuracy:
        raise Mismatch(f"{accuracy:.2%} of {len(images):,} images are read right; the target is {recipe.accuracy:.2%}")
    return 1 - accuracy


def _lean_cnn() -> Spec:
    """A CNN that learns in seconds."""
    return CNNSpec(num_classes=10, channels=(8, 8), hidden_dim=32, dropout=0.0)


# --- the reference's answers
@cache
def _reference(spec: Spec) -> Recognizer:
    reference = build_reference(spec, dtype="float64")
    reference.load_weights(golden.golden_weights(spec))
    return reference


@cache
def _reference_gradients(spec: Spec) -> dict[str, np.ndarray]:
    return _reference(spec).loss_and_gradients(golden.golden_batch(spec))[1]


@cache
def _reference_fit(spec: Spec, config: TrainConfig) -> Fitted:
    reference = build_reference(spec, dtype="float64")
    reference.load_weights(golden.golden_weights(spec))
    return fit(reference, config, golden.golden_split(spec, golden.STEPS_EXAMPLES))
