"""Checks of the rungs that read lines: padding, the corner cases of CTC, decoding."""

from __future__ import annotations

import numpy as np

from common.data.lines import LineSplit, pad_labels
from common.spec import LineSpec
from conformance import golden, line_oracle
from conformance.checks.subject import Subject, reference_of
from conformance.tolerances import Mismatch
from conformance.worker import Model
from impl_numpy import build as build_reference

# Labels for a line of 8 frames, in which an error in the sum over alignments shows first
CORNERS = ("", "a", "aa", "aab", "abab", "aabb", "abcdeabc", "aaaab")


def line_reading_does_not_depend_on_its_batch(subject: Subject, spec: LineSpec) -> float:
    """A line has the same logits alone, among wider lines, with more padding, and in another order."""
    model, lines = subject.model(spec), golden.golden_lines(spec, 5)
    together = _logits(model, spec, lines)
    backwards = np.arange(len(lines))[::-1]
    others = {
        "padded": _logits(model, spec, lines, columns=13, places=3, like=together),
        "backwards": _logits(model, spec, lines.take(backwards))[backwards],
    }
    expected = dict.fromkeys(others, together)
    # only two of the lines, because each width is compiled
    for name, i in {"narrowest": lines.widths_N.argmin(), "widest": lines.widths_N.argmax()}.items():
        one = np.array([i])
        others[f"{name} alone"] = _logits(model, spec, lines.take(one), like=together)
        expected[f"{name} alone"] = together[one]
    return subject.hold("logits", others, expected)


def padding_changes_no_loss(subject: Subject) -> float:
    """More padding of columns and labels, or of rows and columns, changes neither the loss nor a gradient."""
    spec = golden.small(subject.rung)
    model = subject.model(spec)
    loss, gradients = model.loss_and_gradients(golden.golden_batch(spec))
    padded_loss, padded_gradients = model.loss_and_gradients(golden.padded_batch(spec))
    worst = subject.hold("loss", {"loss": np.array(padded_loss)}, {"loss": np.array(loss)})
    return max(worst, subject.hold("gradients", padded_gradients, gradients))


def running_statistics_stay_when_not_training(subject: Subject) -> float:
    """Neither reading nor `loss_and_gradients` changes a weight or a running statistic."""
    spec = golden.small(subject.rung)
    weights, batch = golden.golden_weights(spec), golden.golden_batch(spec)
    model = subject.model(spec, weights)
    model.logits(*batch.inputs)
    model.loss_and_gradients(batch)
    after = model.export_weights()
    for name, array in weights.items():
        if not np.array_equal(after[name], array):
            raise Mismatch(f"{name} was changed by a pass that does not train")
    return 0.0


def ctc_corners_agree(subject: Subject) -> float:
    """The loss of empty, one-letter and repeated labels, and of the longest possible, equals the sum over alignments.

    The gradient is compared with the reference's, which is compared with finite differences elsewhere.
    """
    spec = golden.small(subject.rung)
    weights, worst = golden.golden_weights(spec), 0.0
    model, reference = subject.model(spec), reference_of(spec)
    # each label beside another line; in the last batch there are no characters to divide by
    longest = max(map(len, CORNERS))
    for text, other in [*((corner, "ba") for corner in CORNERS), ("", "")]:
        lines = _lines(spec, [text, other])
        # the same number of label places in all, so that frameworks that compile do so once
        batch = golden.line_batch(spec, lines, places=longest - max(1, len(text), len(other)))
        loss, gradients = model.loss_and_gradients(batch)
        by_hand = line_oracle.loss(spec, weights, batch)
        worst = max(
            worst, subject.hold("loss", {f"loss of {text!r}": np.array(loss)}, {f"loss of {text!r}": np.array(by_hand)})
        )
        expected = {f"{name}, label {text!r}": g for name, g in reference.loss_and_gradients(batch)[1].items()}
        actual = {f"{name}, label {text!r}": g for name, g in gradients.items()}
        worst = max(worst, subject.hold("gradients", actual, expected))
    return worst


def decoding_agrees(subject: Subject) -> float:
    """Greedy decoding chooses at each position the class with the highest reference logit after the text so far.

    The result is the same with the cache and without, alone and in a batch. A text ends with class 0. After it there
    are only zeros.
    """
    spec = golden.small(subject.rung, dropout=0.5)  # dropout is off when reading
    worst, ends = 0.0, set()
    for end in (-1.0, 0.4, 0.5):  # bias of the end's class: texts end never, sometimes, early
        weights = golden.golden_weights(spec)
        weights["head.bias"] = np.append(np.float32(end), weights["head.bias"][1:])
        model, lines = subject.model(spec, weights), golden.golden_lines(spec, 5)
        reference = build_reference(spec, dtype="float64")
        reference.load_weights(weights)
        batch = golden.line_batch(spec, lines)
        classes_BT, log_probs_BT = model.decode(batch.images_BHW1, batch.widths_B)
        again_BT, again_log_probs_BT = model.decode(batch.images_BHW1, batch.widths_B, cached=False)
        if not np.array_equal(classes_BT, again_BT):
            raise Mismatch(f"with the cache the classes are {classes_BT.tolist()}, without it {again_BT.tolist()}")
        worst = max(worst, subject.hold("logits", {"log p": log_probs_BT}, {"log p": again_log_probs_BT}))
        for i, (classes, log_probs) in enumerate(zip(classes_BT, log_probs_BT, strict=True)):
            most = int(spec.frames(int(batch.widths_B[i])))
            length = int(np.append(classes, 0).argmin())
            ends.add(length < most)
            places = min(length + 1, most)  # the characters, and the end if it fits
            if length > most or classes[places:].any() or log_probs[places:].any():
                raise Mismatch(f"line {i}: a class follows its end or its {most} frames: {classes.tolist()}")
            if not (log_probs <= 0).all():
                raise Mismatch(f"line {i}: a probability is above 1: log p = {float(log_probs.max())!r}")
            one = slice(i, i + 1)
            labels_BL = pad_labels([classes[:length]], max(1, length))
            logits_SK = reference.logits(batch.images_BHW1[one], batch.widths_B[one], labels_BL)[0][:places]
            expected = logits_SK - np.log(np.exp(logits_SK).sum(axis=1, keepdims=True))
            worst = max(worst, subject.hold("logits", {"log p": log_probs[:places]}, {"log p": expected.max(axis=1)}))
            highest = expected.argmax(axis=1).tolist()
            if classes[:places].tolist() != highest:
                raise Mismatch(
                    f"line {i}: the classes are {classes[:places].tolist()}, the highest logits are at {highest}"
                )
            if i not in (batch.widths_B.argmin(), batch.widths_B.argmax()):
                continue  # only two of the lines, because each width is compiled
            alone, _ = model.decode(batch.images_BHW1[one, :, : batch.widths_B[i]], batch.widths_B[one])
            if np.trim_zeros(alone[0], "b").tolist() != classes[:length].tolist():
                raise Mismatch(f"line {i}: alone the classes are {alone[0].tolist()}, in a batch {classes.tolist()}")
    if ends != {True, False}:
        raise Mismatch("some text must end before its last frame and some must not; choose other biases for the end")
    return worst


def _lines(spec: LineSpec, texts: list[str]) -> LineSplit:
    """Random lines of 8 frames with these texts."""
    rng = np.random.default_rng(13)
    width = 16
    return LineSplit(
        images=[rng.integers(0, 256, (spec.height, width)).astype(np.uint8) for _ in texts],
        widths_N=np.full(len(texts), width),
        texts=texts,
        names=[f"corner {text!r}" for text in texts],
    )


def _logits(
    model: Model, spec: LineSpec, lines: LineSplit, like: np.ndarray | None = None, **padding: int
) -> np.ndarray:
    """The lines' logits, cut or padded with zeros to the rows of `like`; rows that are cut off must be zero."""
    logits_BSK = model.logits(*golden.line_batch(spec, lines, **padding).inputs)
    if like is None:
        return logits_BSK
    rows = like.shape[1]
    if logits_BSK[:, rows:].any():
        raise Mismatch("logits past a line's own rows are not zero")
    missing = max(0, rows - logits_BSK.shape[1])
    return np.pad(logits_BSK, ((0, 0), (0, missing), (0, 0)))[:, :rows]
