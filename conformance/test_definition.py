"""The implementations, including the reference, agree with what was computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance import checks
from conformance.checks import Subject

pytestmark = pytest.mark.parity

FLOAT64 = pytest.mark.dtypes("float64")

Record = Callable[[float], None]


@FLOAT64
@pytest.mark.gate("logits")
def test_logits_match_the_definition(subject: Subject, record: Record) -> None:
    record(checks.logits_match_the_definition(subject))


@FLOAT64
def test_gradients_match_finite_differences(subject: Subject, record: Record) -> None:
    record(checks.gradients_match_finite_differences(subject))


@FLOAT64
def test_steps_match_the_formulas(subject: Subject, record: Record) -> None:
    record(checks.steps_match_the_formulas(subject))


# the transformer's embedding has a gradient of rows on TensorFlow; the other rungs have no other kind of tensor
@pytest.mark.rungs("mlp", "transformer")
@pytest.mark.gate("rmsprop steps")
def test_other_optimizers_match_their_formulas(subject: Subject, record: Record) -> None:
    record(checks.other_optimizers_match_their_formulas(subject))


@FLOAT64
@pytest.mark.rungs("mlp", "lstm_ctc", "transformer", "unet")  # one for each number that a loss is divided by
@pytest.mark.gate("accumulated steps")
def test_accumulated_steps_match_the_formulas(subject: Subject, record: Record) -> None:
    record(checks.accumulated_steps_match_the_formulas(subject))


@FLOAT64
def test_dropout_matches_its_definition(subject: Subject, record: Record) -> None:
    record(checks.dropout_matches_its_definition(subject))
