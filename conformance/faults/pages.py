"""Faults of the rung unet: masks, levels, loss."""

from __future__ import annotations

from conformance.planting import Edit, Fault

FAULTS: tuple[Fault, ...] = (
    # --- masks
    Fault(
        name="mask missing after a block",
        meaning="values past a page's own size enter the next convolution and the pooling",
        check="logits_match_the_definition",
        rung="unet",
        edits={
            "numpy": Edit("block.py", "y *= keep_BHW[..., None]", "pass"),
            "pytorch": Edit("stem.py", "F.relu(x_XC * keep_1X.t(), inplace=True)", "F.relu(x_XC)"),
            "keras": Edit("stem.py", "self.bias) * keep_BHW1", "self.bias)"),
            "jax": Edit("stem.py", "return jnp.where(keep_BHW1, x_BHWC, 0)", "return x_BHWC"),
        },
    ),
    Fault(
        name="mask missing after upsampling",
        meaning="the last pixel of a page of odd size is repeated past the page's own size",
        check="logits_match_the_definition",
        rung="unet",
        edits={
            "numpy": Edit("unet.py", "upsample2x2(x_BHWC) * masks[level][..., None]", "upsample2x2(x_BHWC)"),
            "pytorch": Edit("unet.py", 'mode="nearest") * masks[level][:, None]', 'mode="nearest")'),
            "keras": Edit("unet.py", "(2, **image)(x) * masks[level]", "(2, **image)(x)"),
            "jax": Edit("unet.py", "jnp.where(masks[level], repeat2x2(x), 0)", "repeat2x2(x)"),
        },
    ),
    Fault(
        name="mask of columns only",
        meaning="rows past a page's own are not masked, as in the stem, where all lines have one height",
        check="logits_match_the_definition",
        rung="unet",
        edits={
            "numpy": Edit("unet.py", "rows_BH[:, :, None] & columns", "(rows_BH | True)[:, :, None] & columns"),
            "pytorch": Edit("unet.py", "(rows_BH[:, :, None] & columns", "((rows_BH | True)[:, :, None] & columns"),
            "keras": Edit(
                "unet.py",
                "ops.logical_and(rows_Bh[:, :, None], ",
                "ops.logical_and(ops.ones_like(rows_Bh)[:, :, None], ",
            ),
            "jax": Edit("unet.py", "(rows_Bh[:, :, None] & columns", "((rows_Bh | True)[:, :, None] & columns"),
        },
    ),
    Fault(
        name="rows and columns exchanged",
        meaning="a page's own rows are taken for its columns",
        check="logits_match_the_definition",
        rung="unet",
        edits={
            "numpy": Edit(
                "unet.py",
                "keep_first(sizes_B2[:, 0], height), keep_first(sizes_B2[:, 1], width)",
                "keep_first(sizes_B2[:, 1], height), keep_first(sizes_B2[:, 0], width)",
            ),
            "pytorch": Edit(
                "unet.py",
                "keep_first(sizes_B2[:, 0], height), keep_first(sizes_B2[:, 1], width)",
                "keep_first(sizes_B2[:, 1], height), keep_first(sizes_B2[:, 0], width)",
            ),
            "keras": Edit(
                "unet.py",
                "keep_first(sizes_B2[:, 0], height), keep_first(sizes_B2[:, 1], width)",
                "keep_first(sizes_B2[:, 1], height), keep_first(sizes_B2[:, 0], width)",
            ),
            "jax": Edit(
                "unet.py",
                "keep_first(sizes_B2[:, 0], height), keep_first(sizes_B2[:, 1], width)",
                "keep_first(sizes_B2[:, 1], height), keep_first(sizes_B2[:, 0], width)",
            ),
        },
    ),
    Fault(
        name="sizes rounded down",
        meaning="each level loses the last row and column of an odd page",
        check="logits_match_the_definition",
        rung="unet",
        edits={
            "numpy": Edit("unet.py", "= -(-sizes_B2 // 2), ", "= sizes_B2 // 2, "),
            "pytorch": Edit("unet.py", "= -(-sizes_B2 // 2), ", "= sizes_B2 // 2, "),
            "keras": Edit("unet.py", "= -(-sizes_B2 // 2), ", "= sizes_B2 // 2, "),
            "jax": Edit("unet.py", "= -(-sizes_B2 // 2), ", "= sizes_B2 // 2, "),
        },
    ),
    Fault(
        name="logits past the page",
        meaning="pixels past a page's own size have the head's bias",
        check="logits_match_the_definition",
        rung="unet",
        edits={
            "numpy": Edit("unet.py", "spec.num_maps) * masks[0][..., None], (", "spec.num_maps), ("),
            "pytorch": Edit(
                "unet.py",
                "self.head(x_BCHW.permute(0, 2, 3, 1)) * masks[0][..., None]",
                "self.head(x_BCHW.permute(0, 2, 3, 1))",
            ),
            "keras": Edit("unet.py", "head(x) * masks[0]", "head(x)"),
            "jax": Edit("unet.py", "jnp.where(masks[0], self.head(x), 0)", "self.head(x)"),
        },
    ),
    Fault(
        name="batch norm counts the padding",
        meaning="pixels past a page's own size count in the mean and variance of the batch",
        check="gradients_match_finite_differences",
        rung="unet",
        edits={
            "numpy": Edit("normalization.py", "xp.broadcast_to(keep_BHW, ", "xp.broadcast_to(xp.ones_like(keep_BHW), "),
            "pytorch": Edit(
                "unet.py", "x_BHWC.flatten(0, 2), keep_1X,", "x_BHWC.flatten(0, 2), torch.ones_like(keep_1X),"
            ),
            "keras": Edit(
                "stem.py", "self.batch_statistics(x, keep_BHW1)", "self.batch_statistics(x, ops.ones_like(keep_BHW1))"
            ),
            "jax": Edit("stem.py", "keep_BHW1.sum() * (x_BHWC.shape[1] // keep_BHW1.shape[1])", "x_BHWC[..., 0].size"),
        },
    ),
    Fault(
        name="gradient through the mask of upsampling",
        meaning="pixels past a page's own size send a gradient to the coarser level; frameworks have their own derivative",
        check="gradients_match_finite_differences",
        rung="unet",
        edits={"numpy": Edit("unet.py", "dx[..., channels:] * masks[level][..., None]", "dx[..., channels:]")},
    ),
    # --- levels
    Fault(
        name='padding of "SAME" with a stride',
        meaning="one row and column of zeros before the page and two after it in the first block, as TensorFlow pads",
        check="logits_match_the_definition",
        rung="unet",
        edits={
            "numpy": Edit(
                "convolution.py",
                "(padding, padding), (columns, columns)",
                "(padding - padding // 2, padding), (columns - columns // 2, columns)",
            ),
            "pytorch": Edit(
                "unet.py",
                "self.conv(x_BCHW)",
                "(F.conv2d(F.pad(x_BCHW, (1, 2, 1, 2)), self.conv.weight, stride=2) if self.conv.stride == (2, 2) else self.conv(x_BCHW))",
            ),
            "keras": Edit(
                "stem.py",
                "(rows, rows), (columns, columns)",
                "(rows - rows // 2, rows), (columns - columns // 2, columns)",
            ),
            "jax": Edit(
                "stem.py",
                "(rows, rows), (columns, columns)",
                "(rows - rows // 2, rows), (columns - columns // 2, columns)",
            ),
        },
    ),
    Fault(
        name="mean for max",
        meaning="pooling takes the mean of each block instead of the maximum",
        check="logits_match_the_definition",
        rung="unet",
        edits={
            "numpy": Edit(
                "ops.py",
                "y = xp.maximum(xp.maximum(corners[0], corners[1]), xp.maximum(corners[2], corners[3]))",
                "y = sum(corners) / 4",
            ),
            "pytorch": Edit("unet.py", "F.max_pool2d(", "F.avg_pool2d("),
            "keras": Edit("unet.py", "layers.MaxPooling2D(", "layers.AveragePooling2D("),
            "jax": Edit("cnn.py", ".max(axis=(2, 4))", ".mean(axis=(2, 4))"),
        },
    ),
    Fault(
        name="upsampled linearly",
        meaning="upsampling interpolates between pixels; NumPy and JAX repeat them and have no other way",
        check="logits_match_the_definition",
        rung="unet",
        edits={
            "pytorch": Edit("unet.py", 'mode="nearest"', 'mode="bilinear"'),
            "keras": Edit("unet.py", "UpSampling2D(2, **image)", 'UpSampling2D(2, interpolation="bilinear", **image)'),
        },
    ),
    Fault(
        name="skip from before the blocks",
        meaning="the way up gets what entered the blocks of its level on the way down",
        check="logits_match_the_definition",
        rung="unet",
        edits={
            "numpy": Edit(
                "unet.py",
                '        for i in range(2):\n            x_BHWC = through(f"down.{level}.{i}", x_BHWC, keep_BHW)\n        skips.append(x_BHWC)',
                '        skips.append(x_BHWC)\n        for i in range(2):\n            x_BHWC = through(f"down.{level}.{i}", x_BHWC, keep_BHW)',
            ),
            "pytorch": Edit(
                "unet.py",
                "            x_BCHW = through(pair, x_BCHW, keep_BHW, batch_statistics=batch_statistics)\n            seen.append(x_BCHW)",
                "            seen.append(x_BCHW)\n            x_BCHW = through(pair, x_BCHW, keep_BHW, batch_statistics=batch_statistics)",
            ),
            "keras": Edit(
                "unet.py",
                '            x = blocks[f"down.{level}.1"](blocks[f"down.{level}.0"](x, keep), keep)\n            seen.append(x)',
                '            seen.append(x)\n            x = blocks[f"down.{level}.1"](blocks[f"down.{level}.0"](x, keep), keep)',
            ),
            "jax": Edit(
                "unet.py",
                "            x = through(pair, x, keep_Bhw1, training=training)\n            seen.append(x)",
                "            seen.append(x)\n            x = through(pair, x, keep_Bhw1, training=training)",
            ),
        },
    ),
    Fault(
        name="skip after the coarse channels",
        meaning="the channels of the coarser level come before those of the skip",
        check="logits_match_the_definition",
        rung="unet",
        edits={
            "numpy": Edit("unet.py", "[skips[level], x_BHWC]", "[x_BHWC, skips[level]]"),
            "pytorch": Edit("unet.py", "[seen[level], x_BCHW]", "[x_BCHW, seen[level]]"),
            "keras": Edit("unet.py", "[seen[level], x]", "[x, seen[level]]"),
            "jax": Edit("unet.py", "[seen[level], x]", "[x, seen[level]]"),
        },
    ),
    Fault(
        name="no gradient through the skips",
        meaning="the way down gets its gradient from the deepest level alone",
        check="gradients_agree",
        rung="unet",
        dtype="float32",
        edits={
            "numpy": Edit("unet.py", " + dskips[level]", ""),
            "pytorch": Edit("unet.py", "[seen[level], x_BCHW]", "[seen[level].detach(), x_BCHW]"),
            "keras": Edit("unet.py", "[seen[level], x]", "[ops.stop_gradient(seen[level]), x]"),
            "jax": Edit("unet.py", "[seen[level], x]", '[__import__("jax").lax.stop_gradient(seen[level]), x]'),
        },
    ),
    Fault(
        name="gradient of upsampling averaged",
        meaning="a coarse pixel gets the mean of the gradients of its four copies; frameworks have their own derivative",
        check="gradients_match_finite_differences",
        rung="unet",
        edits={
            "numpy": Edit(
                "ops.py",
                "return (top_left + top_right) + (bottom_left + bottom_right)",
                "return (top_left + top_right + bottom_left + bottom_right) / 4",
            )
        },
    ),
    # --- loss
    Fault(
        name="Dice without one added",
        meaning="where no pixel counts, or maps and scores are empty, the share is 0 / 0",
        check="page_corners_agree",
        rung="unet",
        edits={
            "numpy": Edit(
                "unet.py", "2 * common_M + 1, scores_M + targets_M + 1", "2 * common_M, scores_M + targets_M"
            ),
            "pytorch": Edit("unet.py", "(2 * common_M + 1) / (total_M + 1)", "2 * common_M / total_M"),
            "keras": Edit("unet.py", "(2 * common_M + 1) / (total_M + 1)", "2 * common_M / total_M"),
            "jax": Edit("unet.py", "(2 * common_M + 1) / (total_M + 1)", "2 * common_M / total_M"),
        },
    ),
    Fault(
        name="Dice of all maps together",
        meaning="the maps are summed before the share is taken, so a sparse map counts less",
        check="gradients_match_finite_differences",
        rung="unet",
        edits={
            "numpy": Edit("unet.py", "(1 - above_M / below_M).mean()", "1 - (above_M.sum() - 1) / (below_M.sum() - 1)"),
            "pytorch": Edit(
                "unet.py", "(2 * common_M + 1) / (total_M + 1)", "(2 * common_M.sum() + 1) / (total_M.sum() + 1)"
            ),
            "keras": Edit(
                "unet.py", "(2 * common_M + 1) / (total_M + 1)", "(2 * ops.sum(common_M) + 1) / (ops.sum(total_M) + 1)"
            ),
            "jax": Edit(
                "unet.py", "(2 * common_M + 1) / (total_M + 1)", "(2 * common_M.sum() + 1) / (total_M.sum() + 1)"
            ),
        },
    ),
    Fault(
        name="no Dice",
        meaning="the loss is the cross-entropy alone",
        check="gradients_match_finite_differences",
        rung="unet",
        edits={
            "numpy": Edit("unet.py", "loss = entropy + (1 - above_M / below_M).mean()", "loss = entropy"),
            "pytorch": Edit("unet.py", "return entropy + (1 - ", "return entropy + 0 * (1 - "),
            "keras": Edit("unet.py", "return entropy + ops.mean(", "return entropy + 0 * ops.mean("),
            "jax": Edit("unet.py", "return entropy + (1 - ", "return entropy + 0 * (1 - "),
        },
    ),
    Fault(
        name="Dice's derivative cut short",
        meaning="the sum of the scores is treated as a constant; frameworks have their own derivative",
        check="gradients_match_finite_differences",
        rung="unet",
        edits={
            "numpy": Edit(
                "unet.py", "dscores = of_score_M - targets_BhwM * of_target_M", "dscores = -targets_BhwM * of_target_M"
            )
        },
    ),
    Fault(
        name="mean over the padding",
        meaning="the cross-entropy is divided by all pixels of the batch, also those that do not count",
        check="gradients_match_finite_differences",
        rung="unet",
        edits={
            "numpy": Edit("unet.py", "float(counts_Bhw1.sum(dtype=np.float64))", "float(counts_Bhw1.size)"),
            "pytorch": Edit(
                "unet.py",
                "(counts_Bhw1.sum() * logits_BhwM.shape[3])",
                "logits_BhwM[..., 0].sum().mul(0).add(logits_BhwM.numel())",
            ),
            "keras": Edit(
                "unet.py", "ops.sum(counts_Bhw1) * logits_BhwM.shape[3]", "ops.cast(ops.size(logits_BhwM), dtype)"
            ),
            "jax": Edit("unet.py", "counts_Bhw1.sum() * logits_BhwM.shape[3]", "logits_BhwM.size"),
        },
    ),
    Fault(
        name="every pixel counts",
        meaning="also pixels past a page's own size, and those whose truth is not known, are learnt",
        check="gradients_match_finite_differences",
        rung="unet",
        edits={
            "numpy": Edit("unet.py", "counts_Bhw.astype(", "xp.ones_like(counts_Bhw).astype("),
            "pytorch": Edit("unet.py", "counts_Bhw1 = counts_Bhw.to(", "counts_Bhw1 = torch.ones_like(counts_Bhw).to("),
            "keras": Edit(
                "unet.py", "ops.cast(counts_Bhw[..., None], dtype)", "ops.ones_like(counts_Bhw[..., None], dtype)"
            ),
            "jax": Edit("unet.py", "= counts_Bhw[..., None].astype(", "= jnp.ones_like(counts_Bhw)[..., None].astype("),
        },
    ),
    Fault(
        name="cross-entropy from probabilities",
        meaning="the logarithm of a score that float32 has rounded to 0 or 1",
        check="loss_agrees",
        rung="unet",
        dtype="float32",
        edits={
            "numpy": Edit(
                "unet.py",
                "entropy = (entropy_BhwM * counts_Bhw1)",
                "entropy_BhwM = -xp.log(xp.where(targets_BhwM > 0, scores_BhwM, 1 - scores_BhwM))\n    entropy = (entropy_BhwM * counts_Bhw1)",
            ),
            "pytorch": Edit(
                "unet.py",
                "F.binary_cross_entropy_with_logits(logits_BhwM, targets",
                "F.binary_cross_entropy(logits_BhwM.sigmoid(), targets",
            ),
            "keras": Edit(
                "unet.py",
                "ops.softplus(logits_BhwM) - logits_BhwM * targets_BhwM",
                "-ops.log(ops.where(targets_BhwM > 0, ops.sigmoid(logits_BhwM), 1 - ops.sigmoid(logits_BhwM)))",
            ),
            "jax": Edit(
                "unet.py",
                "optax.sigmoid_binary_cross_entropy(logits_BhwM, targets_BhwM)",
                "-jnp.log(jnp.where(targets_BhwM > 0, nnx.sigmoid(logits_BhwM), 1 - nnx.sigmoid(logits_BhwM)))",
            ),
        },
    ),
)
