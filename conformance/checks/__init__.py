"""What every implementation must pass. A check raises `Mismatch` or returns the largest deviation it saw.

The tests call these, and so do the planted faults, which must turn them red.
"""

from conformance.checks.definition import (
    accumulated_steps_match_the_formulas,
    dropout_matches_its_definition,
    gradients_match_finite_differences,
    logits_match_the_definition,
    other_optimizers_match_their_formulas,
    steps_match_the_formulas,
)
from conformance.checks.learning import (
    long_lines_are_read,
    mnist_is_read,
    one_batch_is_learnt_by_heart,
    resumed_run_equals_an_unbroken_one,
    same_seed_same_run,
    unseen_writers_are_read,
)
from conformance.checks.lines import (
    ctc_corners_agree,
    decoding_agrees,
    padding_changes_no_loss,
    running_statistics_stay_when_not_training,
)
from conformance.checks.pages import page_corners_agree
from conformance.checks.parity import (
    adamw_steps_agree,
    clipped_steps_agree,
    dropout_is_off_when_reading,
    every_batch_is_seen,
    everything_lies_where_asked,
    file_is_read_by_the_reference,
    gradients_agree,
    gradients_are_the_same_twice,
    gradients_ignore_dropout,
    load_then_export_is_the_identity,
    logits_agree,
    loss_agrees,
    reading_does_not_depend_on_its_batch,
    sgd_steps_agree,
    starts_from_the_same_weights,
)
from conformance.checks.subject import Check, Subject

__all__ = [
    "Check",
    "Subject",
    "accumulated_steps_match_the_formulas",
    "adamw_steps_agree",
    "clipped_steps_agree",
    "ctc_corners_agree",
    "decoding_agrees",
    "dropout_is_off_when_reading",
    "dropout_matches_its_definition",
    "every_batch_is_seen",
    "everything_lies_where_asked",
    "file_is_read_by_the_reference",
    "gradients_agree",
    "gradients_are_the_same_twice",
    "gradients_ignore_dropout",
    "gradients_match_finite_differences",
    "load_then_export_is_the_identity",
    "logits_agree",
    "logits_match_the_definition",
    "long_lines_are_read",
    "loss_agrees",
    "mnist_is_read",
    "one_batch_is_learnt_by_heart",
    "other_optimizers_match_their_formulas",
    "padding_changes_no_loss",
    "page_corners_agree",
    "reading_does_not_depend_on_its_batch",
    "resumed_run_equals_an_unbroken_one",
    "running_statistics_stay_when_not_training",
    "same_seed_same_run",
    "sgd_steps_agree",
    "starts_from_the_same_weights",
    "steps_match_the_formulas",
    "unseen_writers_are_read",
]
