"""Faults of `common`, which all implementations share: with each of them the implementations still agree.

So each is caught by a check that compares with a closed form: one of `conformance.checks.definition`, or a test of
`common` that was computed by hand.
"""

from __future__ import annotations

from conformance.planting import COMMON, Edit, Fault

FAULTS: tuple[Fault, ...] = (
    Fault(
        name="the spec's norm epsilon",
        meaning="1e-6 for 1e-5, in batch norm and in layer norm of all implementations",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={COMMON: Edit("spec.py", "NORM_EPSILON = 1e-5", "NORM_EPSILON = 1e-6")},
    ),
    Fault(
        name="the spec's batch norm momentum",
        meaning="0.01 for 0.1, the running statistics of all implementations follow more slowly",
        check="steps_match_the_formulas",
        rung="lstm_ctc",
        edits={COMMON: Edit("spec.py", "BATCH_NORM_MOMENTUM = 0.1", "BATCH_NORM_MOMENTUM = 0.01")},
    ),
    Fault(
        name="cross-entropy summed",
        meaning="the validation loss is the sum over the examples, not their mean",
        check="common/tests/test_metrics.py::test_cross_entropy_of_equal_logits_is_log_of_the_number_of_classes",
        rung="",
        edits={COMMON: Edit("metrics.py", "labels_N].mean())", "labels_N].sum())")},
    ),
)
