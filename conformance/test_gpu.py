"""On a GPU the implementations are still the same model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance import checks
from conformance.checks import Subject

pytestmark = pytest.mark.gpu

Record = Callable[[float], None]


@pytest.mark.dtypes("float32")
def test_gpu_holds_every_array(subject: Subject, record: Record) -> None:
    record(checks.everything_lies_where_asked(subject))


@pytest.mark.gate("logits")
def test_gpu_logits_agree(subject: Subject, record: Record) -> None:
    record(checks.logits_agree(subject))


@pytest.mark.gate("gradients")
def test_gpu_gradients_agree(subject: Subject, record: Record) -> None:
    record(checks.gradients_agree(subject))


@pytest.mark.gate("sgd steps")
def test_gpu_steps_agree(subject: Subject, record: Record) -> None:
    record(checks.sgd_steps_agree(subject))
