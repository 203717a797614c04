"""Faults of the rung transformer: positions, attention, norms."""

from __future__ import annotations

from conformance.planting import Edit, Fault

_SWAPPED = 'weights[name.replace("query.k", "?").replace("key.k", "query.k").replace("?", "key.k")]'
_CANONICAL_SWAPPED = _SWAPPED.replace("name", "canonical_name(path)")

FAULTS: tuple[Fault, ...] = (
    # --- inputs
    Fault(
        name="text not shifted",
        meaning="the decoder gets as input the character that it has to predict",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit(
                "transformer.py",
                "[xp.zeros_like(labels_BL, shape=(len(labels_BL), 1)), labels_BL]",
                "[labels_BL, xp.zeros_like(labels_BL, shape=(len(labels_BL), 1))]",
            ),
            "pytorch": Edit("transformer.py", "F.pad(labels_BL, (1, 0))", "F.pad(labels_BL, (0, 1))"),
            "keras": Edit("transformer.py", "ops.pad(labels, ((0, 0), (1, 0)))", "ops.pad(labels, ((0, 0), (0, 1)))"),
            "jax": Edit(
                "transformer.py", "jnp.pad(labels_BL, ((0, 0), (1, 0)))", "jnp.pad(labels_BL, ((0, 0), (0, 1)))"
            ),
        },
    ),
    Fault(
        name="embedding not scaled",
        meaning="the embedding is not multiplied by √D",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit("transformer.py", "kernel_KD[ids_BL] * math.sqrt(kernel_KD.shape[1])", "kernel_KD[ids_BL]"),
            "pytorch": Edit("transformer.py", " * positions_LD.shape[1] ** 0.5", ""),
            "keras": Edit("transformer.py", "self.width**0.5 * ", ""),
            "jax": Edit("transformer.py", " * self.embedding.features**0.5", ""),
        },
    ),
    Fault(
        name="text's positions off by one",
        meaning="the start has position 1 instead of 0",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit(
                "transformer.py",
                "position_LD = xp.asarray(positions(length, spec.model_dim),",
                "position_LD = xp.asarray(positions(length + 1, spec.model_dim)[1:],",
            ),
            "pytorch": Edit(
                "transformer.py", "self.positions(classes_BL.shape[1])", "self.positions(classes_BL.shape[1] + 1)[1:]"
            ),
            "keras": Edit("transformer.py", "(one_hot_BSK), first=first)", "(one_hot_BSK), first=first + 1)"),
            "jax": Edit(
                "transformer.py",
                "position_rows(ids_BS.shape[1], self.embedding.features, self.embedding.dtype)",
                "position_rows(ids_BS.shape[1] + 1, self.embedding.features, self.embedding.dtype)[1:]",
            ),
        },
    ),
    Fault(
        name="frames' positions off by one",
        meaning="the first frame has position 1 instead of 0",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit(
                "transformer.py",
                "namespace(frames_BTD).asarray(positions(length, spec.model_dim),",
                "namespace(frames_BTD).asarray(positions(length + 1, spec.model_dim)[1:],",
            ),
            "pytorch": Edit(
                "transformer.py", "frames_BTD + self.positions(total)", "frames_BTD + self.positions(total + 1)[1:]"
            ),
            "keras": Edit("transformer.py", "frame_positions(frames)\n", "frame_positions(frames, first=1)\n"),
            "jax": Edit(
                "transformer.py",
                "position_rows(*frames_BTD.shape[1:], frames_BTD.dtype)",
                "position_rows(frames_BTD.shape[1] + 1, frames_BTD.shape[2], frames_BTD.dtype)[1:]",
            ),
        },
    ),
    # --- attention
    Fault(
        name="attention not scaled",
        meaning="scores are not divided by √E",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit("attention.py", "scale = 1 / math.sqrt(q_BALE.shape[3])", "scale = 1.0"),
            "pytorch": Edit("transformer.py", "is_causal=is_causal", "is_causal=is_causal, scale=1.0"),
            "keras": Edit("transformer.py", "self.query(x_BSD) * self.scale", "self.query(x_BSD)"),
            "jax": Edit("transformer.py", "scores_BASM /= keys_BMAE.shape[-1] ** 0.5", "scores_BASM /= 1.0"),
        },
    ),
    Fault(
        name="query and key swapped",
        meaning="their kernels, which have the same shape, are exchanged",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit("recognizer.py", "self.xp.array(weights[name]", f"self.xp.array({_SWAPPED}"),
            "pytorch": Edit("recognizer.py", "to_tensor(weights[name])", f"to_tensor({_SWAPPED})"),
            "keras": Edit("recognizer.py", "variable.assign(weights[name])", f"variable.assign({_SWAPPED})"),
            "jax": Edit("recognizer.py", "weights[canonical_name(path)]", _CANONICAL_SWAPPED),
        },
    ),
    Fault(
        name="heads split wrongly",
        meaning="neighbouring units go to different heads",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit(
                "attention.py",
                "num_heads, width // num_heads).swapaxes(1, 2)",
                "width // num_heads, num_heads).transpose(0, 3, 1, 2)",
            ),
            "pytorch": Edit(
                "transformer.py",
                "length, self.num_heads, -1).transpose(1, 2)",
                "length, -1, self.num_heads).permute(0, 3, 1, 2)",
            ),
            "keras": Edit(
                "transformer.py",
                "ops.reshape(x_BSD, (*ops.shape(x_BSD)[:2], self.num_heads, self.width // self.num_heads))",
                "ops.swapaxes(ops.reshape(x_BSD, (*ops.shape(x_BSD)[:2], self.width // self.num_heads, self.num_heads)), 2, 3)",
            ),
            "jax": Edit("transformer.py", "self.num_heads, -1)", "-1, self.num_heads).swapaxes(2, 3)"),
        },
    ),
    Fault(
        name="causal mask missing",
        meaning="a position attends to later positions",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit("transformer.py", "xp.tri(length, dtype=bool)", "xp.ones((length, length), bool)"),
            "pytorch": Edit("transformer.py", "own, is_causal=True)", "own)"),
            "keras": Edit("transformer.py", "<= position_S1", "<= position_S1 + MAX_LENGTH"),
            "jax": Edit("transformer.py", "<= position + jnp", "<= 10_000 + jnp"),
        },
    ),
    Fault(
        name="causal mask one too far",
        meaning="a position attends to the next one; PyTorch makes the mask itself",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit("transformer.py", "xp.tri(length, dtype=bool)", "xp.tri(length, k=1, dtype=bool)"),
            "keras": Edit("transformer.py", "<= position_S1", "<= position_S1 + 1"),
            "jax": Edit("transformer.py", "<= position + jnp", "<= position + 1 + jnp"),
        },
    ),
    Fault(
        name="cross-attention mask missing",
        meaning="frames past a line's own width are attended to",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit("transformer.py", "memory_BTD, keep_BT[:, None, None])", "memory_BTD, True)"),
            "pytorch": Edit("transformer.py", "crossed, keep_B11T)\n", "crossed)\n"),
            "keras": Edit(
                "transformer.py", "crossed, keep_BT[:, None, None]", "crossed, ops.ones_like(keep_BT)[:, None, None]"
            ),
            "jax": Edit("transformer.py", "(x_BSD), memory, keep_BT[:,", "(x_BSD), memory, jnp.ones_like(keep_BT)[:,"),
        },
    ),
    Fault(
        name="cross-attention mask inverted",
        meaning="True means blocked, as in PyTorch's MultiheadAttention",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit(
                "transformer.py", "memory_BTD, keep_BT[:, None, None])", "memory_BTD, ~keep_BT[:, None, None])"
            ),
            "pytorch": Edit("transformer.py", "crossed, keep_B11T)\n", "crossed, ~keep_B11T)\n"),
            "keras": Edit("transformer.py", "crossed, keep_BT[:, None, None]", "crossed, ~keep_BT[:, None, None]"),
            "jax": Edit("transformer.py", "(x_BSD), memory, keep_BT[:,", "(x_BSD), memory, ~keep_BT[:,"),
        },
    ),
    # --- norms
    Fault(
        name="sum of the normed input",
        meaning="a sublayer's output is added to the normed input, as in a post-norm decoder",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit(
                "transformer.py",
                "        y, cache = multi_head_attention(weights, name, spec.num_heads, y, y, causal)",
                "        x_BLD = y\n        y, cache = multi_head_attention(weights, name, spec.num_heads, y, y, causal)",
            ),
            "pytorch": Edit(
                "transformer.py",
                "y_BLD = self.self_attention_norm(x_BLD)",
                "x_BLD = y_BLD = self.self_attention_norm(x_BLD)",
            ),
            "keras": Edit(
                "transformer.py",
                "x, y = x_BSD, self.self_attention_norm(x_BSD)",
                "x = y = self.self_attention_norm(x_BSD)",
            ),
            "jax": Edit(
                "transformer.py",
                "normed_BSD = self.self_attention_norm(x_BSD)",
                "x_BSD = normed_BSD = self.self_attention_norm(x_BSD)",
            ),
        },
    ),
    Fault(
        name="last norm left out",
        meaning="the decoder's last layer norm is missing, as in a post-norm decoder, which needs none",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit(
                "transformer.py",
                'x_BLD, norm_cache = norm(weights, "decoder.norm", x_BLD)',
                'norm_cache = norm(weights, "decoder.norm", x_BLD)[1]',
            ),
            "pytorch": Edit("transformer.py", "y_BLD: Tensor = self.norm(x_BLD)", "y_BLD: Tensor = x_BLD"),
            "keras": Edit("transformer.py", "self.head(self.norm(x))", "self.head(x)"),
            "jax": Edit(
                "transformer.py", "logits_BSK = self.head(self.decoder_norm(x_BSD))", "logits_BSK = self.head(x_BSD)"
            ),
        },
    ),
    Fault(
        name="layer norm's epsilon",
        meaning="1e-6 for 1e-5, in the last norm or in all; the smallest bug known, which float32 hides at this size",
        check="logits_match_the_definition",
        rung="transformer",
        edits={
            "numpy": Edit("normalization.py", "variance_R1 + NORM_EPSILON", "variance_R1 + 1e-6"),
            "pytorch": Edit(
                "transformer.py",
                "self.norm = nn.LayerNorm(spec.model_dim, eps=NORM_EPSILON)",
                "self.norm = nn.LayerNorm(spec.model_dim, eps=1e-6)",
            ),
            "keras": Edit("transformer.py", 'epsilon=NORM_EPSILON, name="norm"', 'epsilon=1e-6, name="norm"'),
            "jax": Edit("transformer.py", "epsilon=NORM_EPSILON", "epsilon=1e-6"),
        },
    ),
    # --- derivatives
    Fault(
        name="softmax's derivative cut short",
        meaning="the gradient of each share ignores that the others change too; frameworks have their own derivative",
        check="gradients_match_finite_differences",
        rung="transformer",
        edits={
            "numpy": Edit(
                "attention.py", "    dscores_BALM -= (dscores_BALM * shares_BALM).sum(axis=3, keepdims=True)\n", ""
            )
        },
    ),
    Fault(
        name="layer norm's derivative cut short",
        meaning="the mean and the variance are treated as constants; frameworks have their own derivative",
        check="gradients_match_finite_differences",
        rung="transformer",
        edits={"numpy": Edit("normalization.py", "(dnormal - shared) * inverse_R1", "dnormal * inverse_R1")},
    ),
    Fault(
        name="embedding not dropped",
        meaning="dropout acts on the sublayers only",
        check="dropout_matches_its_definition",
        rung="transformer",
        edits={
            "numpy": Edit(
                "transformer.py", "ids_BL, position_LD), spec.dropout, rng)", "ids_BL, position_LD), 0, rng)"
            ),
            "pytorch": Edit("transformer.py", "self.dropout(self.embedded(", "(self.embedded("),
            "keras": Edit("transformer.py", "self.dropout(self.positions(", "(self.positions("),
            "jax": Edit(
                "transformer.py",
                "rows_SD), deterministic=rngs is None",
                "rows_SD), deterministic=True",
            ),
        },
    ),
)
