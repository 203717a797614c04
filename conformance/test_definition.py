"""The implementations, including the reference, agree with what was computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance import checks
from conformance.checks import Subject

pytestmark = [pytest.mark.parity, pytest.mark.dtypes("float64")]

Record = Callable[[float], None]


@pytest.mark.gate("logits")
def test_logits_match_the_definition(subject: Subject, record: Record) -> None:
    record(checks.logits_match_the_definition(subject))


def test_gradients_match_finite_differences(subject: Subject, record: Record) -> None:
    record(checks.gradients_match_finite_differences(subject))


def test_steps_match_the_formulas(subject: Subject, record: Record) -> None:
    record(checks.steps_match_the_formulas(subject))


def test_dropout_matches_its_definition(subject: Subject, record: Record) -> None:
    record(checks.dropout_matches_its_definition(subject))
