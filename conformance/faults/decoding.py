"""Faults of the rung transformer: targets, decoding, weight decay."""

from __future__ import annotations

from conformance.planting import Edit, Fault

FAULTS: tuple[Fault, ...] = (
    # --- loss
    Fault(
        name="padding is a target",
        meaning="every place after a text's end is a target too, up to the longest text of the batch",
        check="loss_agrees",
        rung="transformer",
        edits={
            "numpy": Edit(
                "transformer.py",
                "keep_first(label_lengths_B + 1, targets_BL.shape[1])",
                "xp.ones(targets_BL.shape, bool)",
            ),
            "pytorch": Edit("transformer.py", "targets_BL.where(keep_BL, IGNORED)", "targets_BL"),
            "keras": Edit("transformer.py", "ops.arange(ops.shape(targets_BS)[1]) <= ends_B1", "targets_BS >= 0"),
            "jax": Edit("transformer.py", ".mean(where=keep_BS)", ".mean()"),
        },
    ),
    Fault(
        name="end is no target",
        meaning="the end of a text is no target, so the decoder does not learn to stop",
        check="loss_agrees",
        rung="transformer",
        edits={
            "numpy": Edit("transformer.py", "keep_first(label_lengths_B + 1,", "keep_first(label_lengths_B,"),
            "pytorch": Edit("transformer.py", "non_blocking=True) + 1, targets", "non_blocking=True), targets"),
            "keras": Edit("transformer.py", "<= ends_B1", "< ends_B1"),
            "jax": Edit("transformer.py", "keep_first(label_lengths_B + 1,", "keep_first(label_lengths_B,"),
        },
    ),
    # --- decoding
    Fault(
        name="cache one step stale",
        meaning="with the cache a position does not attend to itself",
        check="decoding_agrees",
        rung="transformer",
        edits={
            "numpy": Edit(
                "transformer.py",
                "self._attend(name, y, *known, True)",
                "self._attend(name, y, *(part[..., : max(1, position), :] for part in known), True)",
            ),
            "pytorch": Edit(
                "transformer.py",
                "return self.keys.narrow(2, 0, self.length), self.values.narrow(2, 0, self.length)",
                "return (part.narrow(2, 0, max(1, self.length - 1)) for part in (self.keys, self.values))",
            ),
            "keras": Edit(
                "transformer.py",
                "<= position_S1",
                "<= (position_S1 if cache is None else ops.maximum(position_S1 - 1, 0))",
            ),
            "jax": Edit(
                "transformer.py", "<= position + jnp", "<= jnp.maximum(position - (cache is not None), 0) + jnp"
            ),
        },
    ),
    Fault(
        name="position stands still",
        meaning="with the cache every character has position 0",
        check="decoding_agrees",
        rung="transformer",
        edits={
            "numpy": Edit("transformer.py", "self.position_TD[position]", "self.position_TD[0]"),
            "pytorch": Edit("transformer.py", "positions_TD[t : t + 1]", "positions_TD[:1]"),
            "keras": Edit("transformer.py", "(one_hot_BSK), first=first)", "(one_hot_BSK))"),
            "jax": Edit("transformer.py", "at_position(rows_TD)", "rows_TD[:1]"),
        },
    ),
    Fault(
        name="end does not stop",
        meaning="decoding continues after the end of a text",
        check="decoding_agrees",
        rung="transformer",
        edits={
            "numpy": Edit("transformer.py", "(best_B != 0) & (position + 1", "(position + 1"),
            "pytorch": Edit("transformer.py", "(class_B > 0) & (t + 1", "(t + 1"),
            "keras": Edit("transformer.py", "(class_B > 0) & (i + 1", "(i + 1"),
            "jax": Edit("transformer.py", "(best_B != 0) & (position + 1", "(position + 1"),
        },
    ),
    Fault(
        name="past a line's own frames",
        meaning="a text may have as many characters as the widest line of the batch has frames",
        check="decoding_agrees",
        rung="transformer",
        edits={
            "numpy": Edit("transformer.py", "position + 1 < frames_B", "position + 1 < length"),
            "pytorch": Edit("transformer.py", "t + 1 < frames_B", "t + 1 < total"),
            "keras": Edit("transformer.py", "i + 1 < frames_B", "i + 1 < total"),
            "jax": Edit("transformer.py", "position + 1 < frames_B", "position + 1 < length"),
        },
    ),
    Fault(
        name="score for a probability",
        meaning="the logit of a character is reported as its log-probability",
        check="decoding_agrees",
        rung="transformer",
        edits={
            "numpy": Edit("transformer.py", "-xp.log(xp.exp(logits_BK - largest_B1).sum(axis=1))", "largest_B1[:, 0]"),
            "pytorch": Edit("transformer.py", ".log_softmax(1).max(1)", ".max(1)"),
            "keras": Edit("transformer.py", "ops.log_softmax(logits_B1K[:, 0])", "logits_B1K[:, 0]"),
            "jax": Edit("transformer.py", "nnx.log_softmax(model.head", "(model.head"),
        },
    ),
    # --- training steps
    Fault(
        name="norms' scales decay",
        meaning="weight decay is applied to the scales of norms; JAX selects by rank, so there the fault 'biases decay' covers it",
        check="adamw_steps_agree",
        rung="transformer",
        edits={
            "numpy": Edit("optim.py", 'if name.endswith("kernel")', 'if not name.endswith("bias")'),
            "pytorch": Edit(
                "train.py",
                '{"params": vectors, "weight_decay": 0.0}',
                '*({"params": [v], "weight_decay": config.weight_decay * any(v is m.weight for m in model.modules() if isinstance(m, nn.LayerNorm))} for v in vectors)',
            ),
            "keras": Edit("train.py", '["bias", "scale", "gamma", "beta"]', '["bias", "beta"]'),
        },
    ),
    Fault(
        name="embedding does not decay",
        meaning="weight decay leaves out the embedding",
        check="adamw_steps_agree",
        rung="transformer",
        edits={
            "numpy": Edit(
                "optim.py", 'if name.endswith("kernel")', 'if name.endswith(".kernel") and "embed" not in name'
            ),
            "pytorch": Edit(
                "train.py",
                '{"params": kernels, "weight_decay": config.weight_decay}',
                '*({"params": [k], "weight_decay": config.weight_decay * (k is not model.embedding.weight)} for k in kernels)',
            ),
            "keras": Edit(
                "train.py",
                "optimizer.build(model.trainable_variables)\n",
                "optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if 'embedding' in v.path], ['bias', 'beta', 'scale', 'gamma'])\n    optimizer.build(model.trainable_variables)\n",
            ),
            "jax": Edit(
                "train.py",
                "jax.tree.map(lambda w: w.ndim > 1, params)",
                'jax.tree.map_with_path(lambda path, w: w.ndim > 1 and "embed" not in path_name(path), params)',
            ),
        },
    ),
)
