"""The implementations are the same model: same weights, logits, loss, gradients and training steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance import checks
from conformance.checks import Subject

pytestmark = pytest.mark.parity

Record = Callable[[float], None]


def test_starts_from_the_same_weights(subject: Subject, record: Record) -> None:
    record(checks.starts_from_the_same_weights(subject))


def test_load_then_export_is_the_identity(subject: Subject, record: Record) -> None:
    record(checks.load_then_export_is_the_identity(subject))


@pytest.mark.gate("logits", "float32")  # as the file is
def test_file_is_read_by_the_reference(subject: Subject, record: Record) -> None:
    record(checks.file_is_read_by_the_reference(subject))


@pytest.mark.gate("logits")
def test_logits_agree(subject: Subject, record: Record) -> None:
    record(checks.logits_agree(subject))


@pytest.mark.gate("logits")
def test_reading_does_not_depend_on_its_batch(subject: Subject, record: Record) -> None:
    record(checks.reading_does_not_depend_on_its_batch(subject))


@pytest.mark.gate("logits")
@pytest.mark.dtypes("float64")
def test_dropout_is_off_when_reading(subject: Subject, record: Record) -> None:
    record(checks.dropout_is_off_when_reading(subject))


@pytest.mark.gate("loss")
def test_loss_agrees(subject: Subject, record: Record) -> None:
    record(checks.loss_agrees(subject))


@pytest.mark.gate("gradients")
def test_gradients_agree(subject: Subject, record: Record) -> None:
    record(checks.gradients_agree(subject))


@pytest.mark.gate("gradients")
@pytest.mark.dtypes("float64")
def test_gradients_ignore_dropout(subject: Subject, record: Record) -> None:
    record(checks.gradients_ignore_dropout(subject))


@pytest.mark.gate("gradients")
def test_gradients_are_the_same_twice(subject: Subject, record: Record) -> None:
    record(checks.gradients_are_the_same_twice(subject))


@pytest.mark.dtypes("float32")
def test_every_batch_is_seen(subject: Subject, record: Record) -> None:
    record(checks.every_batch_is_seen(subject))


@pytest.mark.gate("sgd steps")
def test_sgd_steps_agree(subject: Subject, record: Record) -> None:
    record(checks.sgd_steps_agree(subject))


@pytest.mark.gate("clipped steps")
def test_clipped_steps_agree(subject: Subject, record: Record) -> None:
    record(checks.clipped_steps_agree(subject))


@pytest.mark.gate("adamw steps")
def test_adamw_steps_agree(subject: Subject, record: Record) -> None:
    record(checks.adamw_steps_agree(subject))


PADDED = pytest.mark.rungs("lstm_ctc", "transformer", "unet")


@PADDED
@pytest.mark.gate("gradients")
def test_padding_changes_no_loss(subject: Subject, record: Record) -> None:
    record(checks.padding_changes_no_loss(subject))


@PADDED
@pytest.mark.dtypes("float64")
def test_running_statistics_stay_when_not_training(subject: Subject, record: Record) -> None:
    record(checks.running_statistics_stay_when_not_training(subject))


@pytest.mark.rungs("lstm_ctc")
@pytest.mark.gate("gradients")
def test_ctc_corners_agree(subject: Subject, record: Record) -> None:
    record(checks.ctc_corners_agree(subject))


@pytest.mark.rungs("unet")
@pytest.mark.gate("gradients")
def test_page_corners_agree(subject: Subject, record: Record) -> None:
    record(checks.page_corners_agree(subject))


@pytest.mark.rungs("transformer")
@pytest.mark.gate("logits")
def test_decoding_agrees(subject: Subject, record: Record) -> None:
    record(checks.decoding_agrees(subject))


@pytest.mark.dtypes("float64")
def test_everything_lies_where_asked(subject: Subject, record: Record) -> None:
    record(checks.everything_lies_where_asked(subject))
