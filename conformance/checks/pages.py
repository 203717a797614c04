"""Checks of the rung that finds lines on pages: padding in both directions, the corner cases of its loss."""

# B batch, h and w half of the batch's rows and columns, M maps

from __future__ import annotations

from dataclasses import replace

import numpy as np

from common.batch import PageBatch
from common.spec import UNetSpec
from conformance import golden, page_oracle
from conformance.checks.subject import Subject, reference_of
from conformance.golden_pages import GoldenPages, golden_pages, page_batch
from conformance.tolerances import Mismatch
from conformance.worker import Model


def page_reading_does_not_depend_on_its_batch(subject: Subject, spec: UNetSpec) -> float:
    """A page has the same logits alone, among larger pages, with more rows or columns of padding, in another order."""
    model, pages = subject.model(spec), golden_pages(spec, 5)
    together = _logits(model, spec, pages)
    rows, columns = 2 * np.array(together.shape[1:3]) + 1
    backwards = np.arange(len(pages))[::-1]
    others = {
        "padded below": _logits(model, spec, pages, rows=rows, like=together),
        "padded on the right": _logits(model, spec, pages, columns=columns, like=together),
        "backwards": _logits(model, spec, pages.take(backwards))[backwards],
    }
    expected = dict.fromkeys(others, together)
    # only two of the pages, because each size is compiled
    sizes_N2 = pages.sizes_N2
    for name, i in {"lowest": sizes_N2[:, 0].argmin(), "narrowest": sizes_N2[:, 1].argmin()}.items():
        one = np.array([i])
        others[f"{name} alone"] = _logits(model, spec, pages.take(one), like=together)
        expected[f"{name} alone"] = together[one]
    return subject.hold("logits", others, expected)


def page_corners_agree(subject: Subject) -> float:
    """The loss where no pixel counts, of empty maps, of full maps and of a page of 1×1 equals that of the definition.

    The gradients are compared with the reference's, which are compared with finite differences elsewhere.
    """
    spec = golden.small(subject.rung)
    assert isinstance(spec, UNetSpec)
    weights, worst = golden.golden_weights(spec), 0.0
    model, reference = subject.model(spec), reference_of(spec)
    for name, batch in _corners(spec).items():
        loss, gradients = model.loss_and_gradients(batch)
        _, expected = reference.loss_and_gradients(batch)
        of_definition = page_oracle.loss(spec, weights, batch)
        worst = max(
            worst, subject.hold("loss", {f"loss, {name}": np.array(loss)}, {f"loss, {name}": np.array(of_definition)})
        )
        worst = max(worst, subject.hold("gradients", gradients, expected))
    return worst


def _corners(spec: UNetSpec) -> dict[str, PageBatch]:
    """Batches of one shape, so that frameworks that compile do so once."""
    # several pages: over the few pixels of one, the gradient of batch norm is lost in float32's rounding
    pages = golden_pages(spec, 5)
    usual = page_batch(spec, pages)
    _, rows, columns, _ = usual.images_BHW1.shape
    dot = GoldenPages(
        images=[np.full((1, 1), 255, np.uint8), *pages.images[1:]],
        targets=[np.ones((1, 1, spec.num_maps), np.uint8), *pages.targets[1:]],
        counts=[np.ones((1, 1), np.uint8), *pages.counts[1:]],
    )
    return {
        "no pixel counts": replace(usual, counts_Bhw=np.zeros_like(usual.counts_Bhw)),
        "empty maps": replace(usual, targets_BhwM=np.zeros_like(usual.targets_BhwM)),
        "full maps": replace(usual, targets_BhwM=np.ones_like(usual.targets_BhwM)),
        "a page of 1×1": page_batch(spec, dot, rows=rows, columns=columns),
    }


def _logits(
    model: Model, spec: UNetSpec, pages: GoldenPages, like: np.ndarray | None = None, **padding: int
) -> np.ndarray:
    """The pages' logits, cut or padded with zeros to the size of `like`; pixels that are cut off must be zero."""
    logits_BhwM = model.logits(*page_batch(spec, pages, **padding).inputs)
    if like is None:
        return logits_BhwM
    rows, columns = like.shape[1:3]
    if logits_BhwM[:, rows:].any() or logits_BhwM[:, :, columns:].any():
        raise Mismatch("logits past a page's own size are not zero")
    fitted = np.zeros((len(logits_BhwM), *like.shape[1:]))
    cut = logits_BhwM[:, :rows, :columns]
    fitted[:, : cut.shape[1], : cut.shape[2]] = cut
    return fitted
