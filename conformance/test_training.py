"""The implementations learn, and a run can be repeated and resumed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from common.data.config import DataConfig
from common.errors import UserError
from common.spec import RUNGS
from common.tasks import CHARACTERS
from conformance import checks
from conformance.checks import Subject

pytestmark = [pytest.mark.learning, pytest.mark.dtypes("float32")]

Record = Callable[[float], None]


@pytest.fixture
def mnist(missing: Callable[[str, str], None]) -> None:
    """Skips, or fails if data is required, where MNIST is neither in the data root nor in the cache."""
    try:
        CHARACTERS.load("mnist", RUNGS["mlp"](num_classes=1), DataConfig())
    except UserError as error:
        missing("data", str(error))


def test_one_batch_is_learnt_by_heart(subject: Subject, record: Record) -> None:
    record(checks.one_batch_is_learnt_by_heart(subject))


def test_unseen_writers_are_read(subject: Subject, record: Record) -> None:
    record(checks.unseen_writers_are_read(subject))


@pytest.mark.slow
@pytest.mark.rungs("mlp", "cnn")
def test_mnist_is_read(subject: Subject, record: Record, mnist: None) -> None:
    record(checks.mnist_is_read(subject))


@pytest.mark.slow
@pytest.mark.rungs("lstm_ctc", "transformer")
def test_long_lines_are_read(subject: Subject, record: Record) -> None:
    record(checks.long_lines_are_read(subject))


def test_same_seed_same_run(subject: Subject, record: Record) -> None:
    record(checks.same_seed_same_run(subject))


def test_resumed_run_equals_an_unbroken_one(subject: Subject, record: Record) -> None:
    record(checks.resumed_run_equals_an_unbroken_one(subject))
