"""Faults of `common`, which all implementations share: with each of them the implementations still agree.

So each is caught by a check that compares with a closed form: one of `conformance.checks.definition`, or a test of
`common` whose expectation was computed by hand or by trying every case.
"""

from __future__ import annotations

from conformance.planting import COMMON, Edit, Fault


def _fault(name: str, meaning: str, test: str, file: str, old: str, new: str) -> Fault:
    """A fault in `file` of `common`; `test` is the file of common/tests and the name of the test that catches it."""
    return Fault(
        name=name, meaning=meaning, check=f"common/tests/{test}", rung="", edits={COMMON: Edit(file, old, new)}
    )


SPEC = (
    Fault(
        name="the spec's norm epsilon",
        meaning="1e-6 for 1e-5, in batch norm and in layer norm of all implementations",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={COMMON: Edit("spec/base.py", "NORM_EPSILON = 1e-5", "NORM_EPSILON = 1e-6")},
    ),
    Fault(
        name="the spec's batch norm momentum",
        meaning="0.01 for 0.1, the running statistics of all implementations follow more slowly",
        check="steps_match_the_formulas",
        rung="lstm_ctc",
        edits={COMMON: Edit("spec/base.py", "BATCH_NORM_MOMENTUM = 0.1", "BATCH_NORM_MOMENTUM = 0.01")},
    ),
)

DECODING = (
    _fault(
        "best path merges across a blank",
        "equal characters with one blank between them become one character",
        "test_decoding.py::test_greedy_merges_runs_and_drops_blanks",
        "reading/decoding.py",
        "starts_BT[:, 1:] = best_BT[:, 1:] != best_BT[:, :-1]",
        "starts_BT[:, 1:] = (best_BT[:, 1:] != best_BT[:, :-1]) "
        "& (best_BT[:, 1:] != np.pad(best_BT, ((0, 0), (1, 0)))[:, :-2])",
    ),
    _fault(
        "best path keeps blanks",
        "the blank of each run of blanks is read as a character",
        "test_decoding.py::test_greedy_merges_runs_and_drops_blanks",
        "reading/decoding.py",
        "is_character = best_BT.ravel()[starts] > 0\n    ends = np.cumsum((starts_BT & (best_BT > 0))",
        "is_character = best_BT.ravel()[starts] >= 0\n    ends = np.cumsum(starts_BT",
    ),
    _fault(
        "confidence from a run's lowest frame",
        "the confidence of a character is the lowest probability within its run, not the highest",
        "test_decoding.py::test_greedy_merges_runs_and_drops_blanks",
        "reading/decoding.py",
        "np.maximum.reduceat(",
        "np.minimum.reduceat(",
    ),
    _fault(
        "likelihood without the last blank",
        "alignments that end in a blank are left out of the likelihood of a text",
        "test_decoding.py::test_likelihood_of_every_text_is_the_sum_over_its_alignments",
        "reading/decoding.py",
        "np.stack([alpha_BS[rows, 2 * lengths_B], character_B], axis=1)",
        "np.stack([np.where(lengths_B > 0, -np.inf, alpha_BS[rows, 0]), character_B], axis=1)",
    ),
    _fault(
        "equal neighbours without a blank",
        "the likelihood counts alignments that have no blank between two equal characters",
        "test_decoding.py::test_likelihood_of_every_text_is_the_sum_over_its_alignments",
        "reading/decoding.py",
        "skip_BS[:, 3::2] = labels_BL[:, 1:] != labels_BL[:, :-1]",
        "skip_BS[:, 3::2] = True",
    ),
    _fault(
        "beam does not merge equal prefixes",
        "a prefix that is reached in two ways stays in the beam twice, each with a part of its probability",
        "test_decoding.py::test_wide_beam_finds_the_most_probable_text",
        "reading/decoding.py",
        "& (lengths_BP[:, None, :] > 0)",
        "& (lengths_BP[:, None, :] < 0)",
    ),
    _fault(
        "n-gram with a constant weight for the shorter context",
        "the shorter context has weight 1, not the number of different characters that follow (Witten & Bell)",
        "test_decoding.py::test_bigram_is_witten_bell",
        "reading/ngram.py",
        "rows_SK = followers_S1 * below_SK",
        "rows_SK = 1 * below_SK",
    ),
    _fault(
        "search without the length bonus",
        "the beam search does not get the length bonus of the prior that a run keeps",
        "test_decoding.py::test_search_uses_the_weight_and_the_bonus_of_its_prior",
        "reading/search.py",
        "length_bonus=self.prior.length_bonus",
        "length_bonus=0.0",
    ),
)

LABELS = (
    _fault(
        "labels one too low",
        "the first character gets class 0, which is the blank, and each other character its neighbour's class",
        "test_charset.py::test_classes_of_a_line_start_at_1",
        "charset.py",
        "self.class_of.get(c, -2) + 1",
        "self.class_of.get(c, -1)",
    ),
    _fault(
        "unknown characters stay in labels",
        "a character that the charset lacks stays in the label as class -1",
        "test_line_evaluation.py::test_golden_example_holds_the_logits_of_narrow_lines",
        "data/line_batches.py",
        "label[label > 0]",
        "label[label != 0]",
    ),
    _fault(
        "labels padded with a character",
        "class 1 follows the end of a label, not class 0",
        "test_data_lines.py::test_padding_is_paper_after_each_lines_end",
        "data/lines.py",
        "labels_BL = np.zeros((len(labels), length), np.int32)",
        "labels_BL = np.ones((len(labels), length), np.int32)",
    ),
)

SPLITS = (
    _fault(
        "a writer in two splits",
        "lines are dealt to the splits in turn, so that a writer of the test split is also in training",
        "test_data_splits.py::test_every_line_is_in_one_split_and_so_is_every_writer",
        "data/splits.py",
        "[split_of[group] for group in groups]",
        "[split_of[sorted(split_of)[i % len(split_of)]] for i in range(len(groups))]",
    ),
    _fault(
        "a fifth of the lines held out",
        "validation and test get twice as many lines as they should",
        "test_data_splits.py::test_validation_and_test_have_a_tenth_of_the_lines_each",
        "data/splits.py",
        "_HELD_SHARE = 0.1",
        "_HELD_SHARE = 0.2",
    ),
    _fault(
        "validation drawn anew",
        "the validation examples are others each time that the data is loaded",
        "test_data_sources.py::test_holding_out_keeps_every_example_once",
        "data/splits.py",
        "default_rng(_SEED).permutation(len(split))",
        "default_rng().permutation(len(split))",
    ),
    _fault(
        "validation examples in training",
        "the examples held out for validation also stay in the training split",
        "test_data_sources.py::test_holding_out_keeps_every_example_once",
        "data/splits.py",
        "order_N[held:]",
        "order_N",
    ),
    _fault(
        "subsets not nested",
        "a larger subset is drawn anew and does not contain the smaller one",
        "test_data_sources.py::test_a_larger_subset_holds_the_smaller_one",
        "data/splits.py",
        "default_rng(_SEED + 1)",
        "default_rng(_SEED + examples)",
    ),
)

BATCHES = (
    _fault(
        "bucket narrower than its lines",
        "the widths of the buckets are rounded down, so that the end of a line is cut off",
        "test_data_lines.py::test_buckets_of_a_few_widths",
        "data/lines.py",
        "-(-widths_N // _COLUMNS) * _COLUMNS",
        "np.maximum(widths_N // _COLUMNS, 1) * _COLUMNS",
    ),
    _fault(
        "one bucket too many",
        "a framework compiles for one shape more than documented",
        "test_data_lines.py::test_buckets_of_a_few_widths",
        "data/lines.py",
        "for _ in range(buckets):",
        "for _ in range(buckets + 1):",
    ),
    _fault(
        "the wrong lines wait for the next bucket",
        "the first lines of a bucket are trained on twice, and those that did not fill a batch never",
        "test_data_lines.py::test_an_epoch_holds_every_line_once_whole_and_in_the_shape_of_a_bucket",
        "data/line_batches.py",
        "left = waiting[full:]",
        "left = waiting[: len(waiting) - full]",
    ),
    _fault(
        "last batch dropped",
        "the examples of a last batch that is not full are left out of each epoch",
        "test_data_lines.py::test_an_epoch_holds_every_line_once_whole_and_in_the_shape_of_a_bucket",
        "data/batches.py",
        "-(-self.examples // self.batch_size)",
        "self.examples // self.batch_size",
    ),
    _fault(
        "order by number of workers",
        "the order of the examples depends on how many threads prepare batches",
        "test_data_lines.py::test_batches_are_the_same_bytes_for_any_number_of_workers",
        "data/batches.py",
        "default_rng([self.seed, epoch])",
        "default_rng([self.seed, epoch, self.workers])",
    ),
)

METRICS = (
    _fault(
        "cross-entropy summed",
        "the validation loss is the sum over the examples, not their mean",
        "test_metrics.py::test_cross_entropy_of_equal_logits_is_log_of_the_number_of_classes",
        "metrics.py",
        "labels_N].mean())",
        "labels_N].sum())",
    ),
    _fault(
        "error rate as a mean of the lines' rates",
        "a short line counts as much as a long one",
        "test_metrics_lines.py::test_character_error_rate_is_all_edits_over_all_characters",
        "metrics.py",
        "float(edits_N.sum() / max(1, lengths_N.sum()))",
        "float((edits_N / np.maximum(1, lengths_N)).mean())",
    ),
    _fault(
        "insertions not counted",
        "a character that was read but is not there costs nothing",
        "test_metrics_lines.py::test_character_error_rate_is_all_edits_over_all_characters",
        "metrics.py",
        "Levenshtein.distance(truth, read)",
        "Levenshtein.distance(truth, read, weights=(0, 1, 1))",
    ),
    _fault(
        "word error rate of characters",
        "the word error rate is computed from characters",
        "test_line_evaluation.py::test_figures_add_edits_up_over_all_lines",
        "evaluation/lines.py",
        "edit_distances([t.split() for t in truths], [t.split() for t in texts])",
        "edit_distances(truths, texts)",
    ),
    _fault(
        "interval over lines",
        "the bootstrap draws single lines and not whole writers, so that the interval is too narrow",
        "test_metrics_lines.py::test_interval_of_a_rate_draws_whole_writers",
        "metrics.py",
        "np.unique(writers_N, return_inverse=True)\n    sums_G",
        "np.unique(np.arange(len(values_N)), return_inverse=True)\n    sums_G",
    ),
)

AUGMENTATION = (
    _fault(
        "evaluation of augmented lines",
        "validation and test read lines that the augmentation has changed",
        "test_data_line_sources.py::test_augmentation_changes_training_batches_and_no_other_line",
        "data/line_batches.py",
        "return line_batch([split.images[int(i)] for i in chosen], known, width, length)",
        "from common.data.augment import augment_line\n\n"
        "    rng = np.random.default_rng(0)\n"
        "    images = [augment_line(split.images[int(i)], rng, int(split.widths_N[i])) for i in chosen]\n"
        "    return line_batch(images, known, width, length)",
    ),
    _fault(
        "augmentation without its flag",
        "training lines are augmented although `--train.augment` is off, and are not if it is on",
        "test_data_line_sources.py::test_augmentation_changes_training_batches_and_no_other_line",
        "tasks/lines.py",
        "if train.augment:",
        "if not train.augment:",
    ),
    _fault(
        "the same augmentation in every epoch",
        "the generator of a line's augmentation does not depend on the epoch",
        "test_data_lines.py::test_augmentation_differs_between_epochs_and_never_leaves_the_bucket",
        "data/line_batches.py",
        "np.random.default_rng([self.seed, epoch, int(i)])",
        "np.random.default_rng([self.seed, int(i)])",
    ),
)

TRAINING = (
    _fault(
        "short warm-up",
        "the learning rate rises over a tenth of the steps, not over three tenths",
        "test_schedule.py::test_one_cycle_of_ten_steps",
        "training/schedule.py",
        "WARMUP_SHARE, WARMUP_START = 0.3, 0.04",
        "WARMUP_SHARE, WARMUP_START = 0.1, 0.04",
    ),
    _fault(
        "schedule one step ahead",
        "each step has the learning rate of the next one",
        "test_schedule.py::test_one_cycle_of_ten_steps",
        "training/schedule.py",
        "np.arange(total_steps)",
        "np.arange(1, total_steps + 1)",
    ),
    _fault(
        "schedule does not reach zero",
        "the last step has a learning rate above zero, because the descent is one step too long",
        "test_schedule.py::test_one_cycle_starts_at_4_percent_peaks_after_30_percent_and_ends_at_zero",
        "training/schedule.py",
        "total_steps - 1 - warmup_steps",
        "total_steps - warmup_steps",
    ),
    _fault(
        "the next step's learning rate recorded",
        "metrics.jsonl has the learning rate of the next step beside a loss",
        "test_run.py::test_observers_receive_every_step_once_with_its_own_loss_learning_rate_and_progress",
        "training/run.py",
        "self.learning_rates_S[progress.step - 1]",
        "self.learning_rates_S[progress.step % len(self.learning_rates_S)]",
    ),
    _fault(
        "a loss of NaN accepted",
        "only an infinite loss ends a run",
        "test_run.py::test_first_of_several_bad_losses_is_named",
        "training/run.py",
        "if not math.isfinite(loss):",
        "if math.isinf(loss):",
    ),
    _fault(
        "the last epoch kept",
        "the weights file has the weights of the last epoch, not of the best",
        "test_keeper.py::test_the_weights_of_the_best_epoch_are_kept_the_first_of_equal_ones",
        "training/keeper.py",
        "score > self.best.score",
        "progress.epoch > self.best.epoch",
    ),
    _fault(
        "preset ignored",
        "--preset changes no size",
        "test_presets.py::test_preset_sets_the_defaults_of_the_flags",
        "commands/train.py",
        "new_spec(rung, **preset_fields(rung, preset))",
        "new_spec(rung)",
    ),
    _fault(
        "patience of one epoch more",
        "a run stops one epoch later than --train.patience says",
        "test_keeper.py::test_a_run_stops_once_the_best_epoch_is_patience_epochs_ago",
        "training/keeper.py",
        "epoch - self.best.epoch >= self._patience",
        "epoch - self.best.epoch > self._patience",
    ),
    _fault(
        "learnt by heart, judged on others",
        "--train.overfit evaluates on the test split and not on the examples that it trains on",
        "test_overfit.py::test_examples_are_of_the_training_split_alone_and_all_three_splits_have_the_same",
        "training/overfit.py",
        "validation=few, test=few",
        "validation=few",
    ),
    _fault(
        "learnt by heart under dropout",
        "--train.overfit turns off one kind of dropout only",
        "test_overfit.py::test_dropout_and_augmentation_are_off",
        "training/overfit.py",
        'field.name.endswith("dropout")',
        'field.name == "dropout"',
    ),
    _fault(
        "warm start moved by one class",
        "the weights of each character go to the place of the class before it",
        "test_warm_start.py::test_classes_follow_their_characters_and_new_ones_start_from_the_seed",
        "training/warm_start.py",
        "np.append(extra, target + len(extra))",
        "np.append(extra, target)",
    ),
    _fault(
        "warm start by class number",
        "the weights go to the same class, whichever character it has now",
        "test_warm_start.py::test_classes_follow_their_characters_and_new_ones_start_from_the_seed",
        "training/warm_start.py",
        "source, target = known, of_character_K[known]",
        "source, target = known, known",
    ),
)

FAULTS: tuple[Fault, ...] = (
    *SPEC,
    *DECODING,
    *LABELS,
    *SPLITS,
    *BATCHES,
    *METRICS,
    *AUGMENTATION,
    *TRAINING,
)
