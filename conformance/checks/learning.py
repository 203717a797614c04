"""The implementations learn, and a run can be repeated and taken up again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from common.batch import to_float
from common.data.characters import CharacterSplit
from common.data.line_batches import LineBatches
from common.data.lines import LineDataset
from common.evaluation.lines import evaluate_lines
from common.spec import RUNGS
from common.tasks import CHARACTERS, LINES
from conformance import golden
from conformance.checks.subject import Subject, fit_golden, hold_exactly
from conformance.tolerances import Mismatch
from conformance.worker import Model


def one_batch_is_learnt_by_heart(subject: Subject) -> float:
    """Some steps on one batch of 16 random images bring its loss below 0.05 nats."""
    spec, config = golden.BY_HEART[subject.rung]
    model = subject.worker.build(spec, device=subject.device, dtype=subject.dtype)
    losses = fit_golden(model, spec, config, 16).losses
    if not losses[-1] < 0.05:
        raise Mismatch(
            f"after {len(losses)} steps on one batch the loss is {losses[-1]:.3f} nats, at first {losses[0]:.3f}"
        )
    return float(losses[-1])


def unseen_writers_are_read(subject: Subject) -> float:
    """A little training reads characters, or short lines, of writers unseen in it; returns the share missed."""
    recipe = golden.QUICK[subject.rung]
    if RUNGS[subject.rung].task == "lines":
        return _learns_lines(subject, recipe)
    dataset = CHARACTERS.load("ink", recipe.spec, recipe.data)
    return _learns_characters(subject, recipe, dataset.train, dataset.validation)


def mnist_is_read(subject: Subject) -> float:
    """The full tier: MNIST's official test images are read, after training on its training images as they are."""
    recipe = golden.MNIST[subject.rung]
    dataset = CHARACTERS.load("mnist", recipe.spec, recipe.data)
    return _learns_characters(subject, recipe, dataset.train, dataset.test)


def long_lines_are_read(subject: Subject) -> float:
    """The full tier: lines of up to 32 characters by unseen writers; returns the character error rate."""
    return _learns_lines(subject, golden.LONG_LINES[subject.rung])


def same_seed_same_run(subject: Subject) -> float:
    """Two runs from one seed end at the same bytes; another seed ends elsewhere."""
    spec = golden.small(subject.rung, dropout=0.25)
    ends = []
    for seed in (5, 5, 6):
        model = subject.worker.build(spec, seed=seed, device=subject.device, dtype=subject.dtype)
        ends.append(fit_golden(model, spec, replace(golden.ADAMW, seed=seed)).weights)
    hold_exactly(ends[0], ends[1])
    if all(np.array_equal(ends[0][name], ends[2][name]) for name in ends[0]):
        raise Mismatch("another seed ended at the same weights")
    return 0.0


def resumed_run_equals_an_unbroken_one(subject: Subject) -> float:
    """A run broken off in its third epoch and resumed in a new model ends at the same bytes."""
    worst = 0.0
    for config in (golden.ADAMW, golden.CLIPPED):
        spec = golden.small(subject.rung, dropout=0.25)
        unbroken = fit_golden(subject.model(spec), spec, config)
        broken = fit_golden(subject.model(spec), spec, config, stop_after_epoch=2)
        before = 2 * -(-golden.STEPS_EXAMPLES // config.batch_size)  # steps of the two epochs that are kept
        if broken.progress.epoch != 2 or len(broken.losses) != before + 1:
            raise Mismatch(f"the run was to break off at step {before + 1} and did at step {len(broken.losses)}")
        fresh = subject.worker.build(spec, seed=99, device=subject.device, dtype=subject.dtype)
        resumed = fit_golden(fresh, spec, config, resume=broken)
        expected = unbroken.losses[before:]
        if resumed.losses != expected:
            raise Mismatch(f"losses after resuming are {resumed.losses[:2]}..., not {expected[:2]}...")
        worst = max(worst, hold_exactly(resumed.weights, unbroken.weights))
    return worst


def _learns_characters(
    subject: Subject, recipe: golden.Recipe, train: CharacterSplit, judged_by: CharacterSplit
) -> float:
    model = subject.worker.build(recipe.spec, device=subject.device, dtype=subject.dtype)
    model.fit(recipe.config, golden.batches_of(recipe.spec, recipe.config, train))
    images = judged_by.images_NHW
    read = [model.logits(to_float(images[i : i + 128])).argmax(axis=1) for i in range(0, len(images), 128)]
    missed = float((np.concatenate(read) != judged_by.labels_N).mean())
    if not missed <= recipe.missed:
        raise Mismatch(f"{missed:.2%} of {len(images):,} images are misread; the target is {recipe.missed:.2%}")
    return missed


def _learns_lines(subject: Subject, recipe: golden.Recipe) -> float:
    model, dataset = _trained_on_lines(subject, recipe)
    missed = evaluate_lines(model, dataset.charset, dataset.validation).rates["cer"]
    if not missed <= recipe.missed:
        raise Mismatch(f"the character error rate is {missed:.2%}; the target is {recipe.missed:.2%}")
    return missed


def _trained_on_lines(subject: Subject, recipe: golden.Recipe) -> tuple[Model, LineDataset]:
    config = recipe.config
    dataset = LINES.load("ink_lines", recipe.spec, recipe.data)
    spec = LINES.decide(recipe.spec, dataset)
    model = subject.worker.build(spec, device=subject.device, dtype=subject.dtype)
    if recipe.start:
        before = _trained_on_lines(subject, recipe.start)[0].export_weights()
        model.load_weights(model.export_weights() | {name: before[name] for name in before if "stem." in name})
    options = {"batch_size": config.batch_size, "seed": config.seed, "workers": config.workers}
    # in memory: what is open in this process is not open in the worker's
    train = replace(dataset.train, images=list(dataset.train.images))
    model.fit(config, LineBatches(train, dataset.charset, **options))
    return model, dataset
