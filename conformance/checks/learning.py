"""The implementations learn, and a run can be repeated and resumed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from common.batch import to_float
from common.data.characters import CharacterSplit
from common.data.line_batches import LineBatches
from common.data.lines import LineDataset
from common.data.page_batches import PageBatches
from common.evaluation.finding import evaluate_finder
from common.evaluation.lines import evaluate_lines
from common.spec import RUNGS, UNetSpec
from common.tasks import CHARACTERS, LINES, PAGES
from conformance import golden
from conformance.checks.subject import Subject, fit_golden, hold_exactly
from conformance.tolerances import Mismatch
from conformance.worker import Model


def one_batch_is_learnt_by_heart(subject: Subject) -> float:
    """Training on one batch of 16 random images brings its loss below 0.05 nats."""
    spec, config = golden.BY_HEART[subject.rung]
    model = subject.worker.build(spec, device=subject.device, dtype=subject.dtype)
    losses = fit_golden(model, spec, config, 16).losses
    if not losses[-1] < 0.05:
        raise Mismatch(
            f"after {len(losses)} steps on one batch the loss is {losses[-1]:.3f} nats, expected below 0.05; "
            f"it was {losses[0]:.3f} at the first step"
        )
    return float(losses[-1])


def unseen_writers_are_read(subject: Subject) -> float:
    """After a short training, characters or short lines of unseen writers are read; returns the error rate.

    Pages only: the lines of pages by unseen writers are marked; returns 1 - IoU.
    """
    recipe = golden.QUICK[subject.rung]
    if RUNGS[subject.rung].task == "lines":
        return _learns_lines(subject, recipe)
    if RUNGS[subject.rung].task == "pages":
        return _learns_pages(subject, recipe)
    dataset = CHARACTERS.load("ink", recipe.spec, recipe.data)
    return _learns_characters(subject, recipe, dataset.train, dataset.validation)


def mnist_is_read(subject: Subject) -> float:
    """Slow: after training on MNIST's training images, its official test images are read; returns the error rate."""
    recipe = golden.MNIST[subject.rung]
    dataset = CHARACTERS.load("mnist", recipe.spec, recipe.data)
    return _learns_characters(subject, recipe, dataset.train, dataset.test)


def long_lines_are_read(subject: Subject) -> float:
    """Slow: lines of up to 32 characters by unseen writers are read; returns the character error rate."""
    return _learns_lines(subject, golden.LONG_LINES[subject.rung])


def same_seed_same_run(subject: Subject) -> float:
    """Two runs from one seed end at the same bytes; a run that differs only in its dropout seed ends elsewhere.

    In a rung without dropout, this third run ends at the same bytes as well.
    """
    spec = golden.small(subject.rung, dropout=0.25)
    # the same initial weights and the same batches for all, so that nothing but dropout can tell the seeds apart
    config = replace(golden.ADAMW, seed=5)
    batches = golden.batches_of(spec, config, golden.golden_split(spec, golden.STEPS_EXAMPLES))
    ends = []
    for seed in (5, 5, 6):
        model = subject.worker.build(spec, seed=5, device=subject.device, dtype=subject.dtype)
        ends.append(model.fit(replace(config, seed=seed), batches).weights)
    hold_exactly(ends[0], ends[1])
    if not spec.dropout:
        return hold_exactly(ends[0], ends[2])
    if all(np.array_equal(ends[0][name], ends[2][name]) for name in ends[0]):
        raise Mismatch("a run with another dropout seed ended at the same weights: dropout ignores the seed")
    return 0.0


def resumed_run_equals_an_unbroken_one(subject: Subject) -> float:
    """A run that is stopped in its third epoch and resumed in a new model ends at the same bytes."""
    worst = 0.0
    # micro-batches draw dropout of their own; one rung is enough for that
    micro_batches = [golden.ACCUMULATED_ADAMW] if subject.rung == "mlp" else []
    for config in (golden.ADAMW, golden.CLIPPED, *micro_batches):
        spec = golden.small(subject.rung, dropout=0.25)
        unbroken = fit_golden(subject.model(spec), spec, config)
        broken = fit_golden(subject.model(spec), spec, config, stop_after_epoch=2)
        before = 2 * -(-golden.STEPS_EXAMPLES // config.batch_size)  # steps of the two finished epochs
        if broken.progress.epoch != 2 or len(broken.losses) != before + 1:
            raise Mismatch(f"the run stopped after step {len(broken.losses)}, expected step {before + 1}")
        fresh = subject.worker.build(spec, seed=99, device=subject.device, dtype=subject.dtype)
        resumed = fit_golden(fresh, spec, config, resume=broken)
        expected = unbroken.losses[before:]
        if resumed.losses != expected:
            raise Mismatch(f"the losses after resuming are {resumed.losses[:2]}..., expected {expected[:2]}...")
        worst = max(worst, hold_exactly(resumed.weights, unbroken.weights))
    return worst


def _learns_characters(subject: Subject, recipe: golden.Recipe, train: CharacterSplit, test: CharacterSplit) -> float:
    model = subject.worker.build(recipe.spec, device=subject.device, dtype=subject.dtype)
    batches = golden.batches_of(recipe.spec, recipe.config, train)
    model.fit(recipe.config, batches, patience=recipe.patience)
    images = test.images_NHW
    read = [model.logits(to_float(images[i : i + 128])).argmax(axis=1) for i in range(0, len(images), 128)]
    missed = float((np.concatenate(read) != test.labels_N).mean())
    if not missed <= recipe.missed:
        raise Mismatch(f"{missed:.2%} of {len(images):,} images are misread; the target is {recipe.missed:.2%}")
    return missed


def _learns_pages(subject: Subject, recipe: golden.Recipe) -> float:
    spec, config = recipe.spec, recipe.config
    assert isinstance(spec, UNetSpec)
    dataset = PAGES.load("ink_pages", spec, recipe.data)
    model = subject.worker.build(spec, device=subject.device, dtype=subject.dtype)
    # in memory and without the pictures, because a page that is drawn on demand cannot be sent to the worker
    train = replace(dataset.train, pictures=(), images=list(dataset.train.images), lines=list(dataset.train.lines))
    batches = PageBatches(
        train, batch_size=config.batch_size, seed=config.seed, spec=spec, workers=config.workers, augment=config.augment
    )
    model.fit(config, batches, patience=recipe.patience)
    missed = 1 - evaluate_finder(model, spec, dataset.validation.take(np.arange(16))).iou
    if not missed <= recipe.missed:
        raise Mismatch(f"1 - IoU of the lines' cores is {missed:.2%}; the target is {recipe.missed:.2%}")
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
    # in memory, because a file that is open in this process is not open in the worker
    train = replace(dataset.train, images=list(dataset.train.images))
    model.fit(config, LineBatches(train, dataset.charset, **options), patience=recipe.patience)
    return model, dataset
