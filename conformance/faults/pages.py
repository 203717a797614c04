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
            "pytorch": Edit("unet.py", "F.relu(x_XC * keep_1X.t(), inplace=True)", "F.relu(x_XC)"),
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
        },
    ),
    Fault(
        name="upsampled linearly",
        meaning="upsampling interpolates between pixels; NumPy repeats them and has no other way",
        check="logits_match_the_definition",
        rung="unet",
        edits={"pytorch": Edit("unet.py", 'mode="nearest"', 'mode="bilinear"')},
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
        },
    ),
    Fault(
        name="no gradient through the skips",
        meaning="the way down gets its gradient from the deepest level alone",
        check="gradients_match_finite_differences",
        rung="unet",
        edits={
            "numpy": Edit("unet.py", " + dskips[level]", ""),
            "pytorch": Edit("unet.py", "[seen[level], x_BCHW]", "[seen[level].detach(), x_BCHW]"),
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
        },
    ),
)
