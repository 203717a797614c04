"""Faults of the stem of both line rungs: masks, convolution, batch norm, frames."""

from __future__ import annotations

from conformance.planting import Edit, Fault

_MOMENTUM = Edit(
    "stem.py",
    "import BATCH_NORM_MOMENTUM, NORM_EPSILON, Block, LineSpec",
    "import NORM_EPSILON, Block, LineSpec\n\nBATCH_NORM_MOMENTUM = 0.9",
)

FAULTS: tuple[Fault, ...] = (
    # --- masks
    Fault(
        name="mask missing after a block",
        meaning="values past a line's own width enter the next convolution",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("block.py", "y *= keep_BHW[..., None]", "pass"),
            "pytorch": Edit("stem.py", "F.relu(x_XC * keep_1X.t(), inplace=True)", "F.relu(x_XC)"),
            "keras": Edit("stem.py", "self.bias) * keep_BHW1", "self.bias)"),
            "jax": Edit("stem.py", "return jnp.where(keep_BHW1, x_BHWC, 0)", "return x_BHWC"),
        },
    ),
    Fault(
        name="mask inverted",
        meaning="True means masked out",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("ops.py", "arange(total) < lengths_B", "arange(total) >= lengths_B"),
            "pytorch": Edit("stem.py", ") < lengths_B[:, None]", ") >= lengths_B[:, None]"),
            "keras": Edit("stem.py", ") < lengths_B[:, None]", ") >= lengths_B[:, None]"),
            "jax": Edit("stem.py", "arange(total) < lengths_B", "arange(total) >= lengths_B"),
        },
    ),
    # --- convolution
    Fault(
        name="padding shifted by one column",
        meaning='two columns of zeros after the line and none before it, as "SAME" may do with a stride',
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "convolution.py", "(padding, padding), (columns, columns)", "(padding, padding), (0, 2 * columns)"
            ),
            "pytorch": Edit(
                "stem.py",
                "self.conv(x_BCHW)",
                "F.conv2d(F.pad(x_BCHW, (0, 2, *2 * self.conv.padding[:1])), self.conv.weight, stride=self.conv.stride)",
            ),
            "keras": Edit("stem.py", "(rows, rows), (columns, columns)", "(rows, rows), (0, 2 * columns)"),
            "jax": Edit("stem.py", "(rows, rows), (columns, columns)", "(rows, rows), (0, 2 * columns)"),
        },
    ),
    Fault(
        name="frames rounded down",
        meaning="w columns become w // stride, rounded down, so a line loses its last frame",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("stem.py", "-(-widths_B // size.strides[1])", "widths_B // size.strides[1]"),
            "pytorch": Edit("stem.py", "-(-widths_B // stride)", "widths_B // stride"),
            "keras": Edit("stem.py", "= -(-widths_B // block.strides[1])", "= widths_B // block.strides[1]"),
            "jax": Edit("stem.py", "= -(-widths_B // block.strides[1])", "= widths_B // block.strides[1]"),
        },
    ),
    Fault(
        name="frames by the strides of the rows",
        meaning="a line has as many frames as if the strides down the rows were those along the columns",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("stem.py", "widths_B // size.strides[1])", "widths_B // size.strides[0])"),
            "pytorch": Edit("stem.py", "block.strides[1] for block", "block.strides[0] for block"),
            "keras": Edit("stem.py", "= -(-widths_B // block.strides[1])", "= -(-widths_B // block.strides[0])"),
            "jax": Edit("stem.py", "= -(-widths_B // block.strides[1])", "= -(-widths_B // block.strides[0])"),
        },
    ),
    Fault(
        name="first row for the maximum",
        meaning="a frame is the first row of its column",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("ops.py", "y_BWC = x_BHWC.max(axis=1)", "y_BWC = x_BHWC[:, 0]"),
            "pytorch": Edit("stem.py", "x_BCHW.amax(2)", "x_BCHW[:, :, 0]"),
            "keras": Edit("stem.py", "ops.max(x, axis=1)", "x[:, 0]"),
            "jax": Edit(
                "stem.py", "reduce(jnp.maximum, (x_BHWC[:, row] for row in range(x_BHWC.shape[1])))", "x_BHWC[:, 0]"
            ),
        },
    ),
    Fault(
        name="mean of a column for its maximum",
        meaning="a frame is the mean of its column",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("ops.py", "y_BWC = x_BHWC.max(axis=1)", "y_BWC = x_BHWC.mean(axis=1)"),
            "pytorch": Edit("stem.py", "x_BCHW.amax(2)", "x_BCHW.mean(2)"),
            "keras": Edit("stem.py", "ops.max(x, axis=1)", "ops.mean(x, axis=1)"),
            "jax": Edit(
                "stem.py", "reduce(jnp.maximum, (x_BHWC[:, row] for row in range(x_BHWC.shape[1])))", "x_BHWC.mean(1)"
            ),
        },
    ),
    Fault(
        name="gradient of the maximum to the wrong row",
        meaning="the gradient of a frame goes to the row below the largest number; frameworks have their own derivative",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={"numpy": Edit("ops.py", "(place_H11 == rows_BWC[:, None])", "(place_H11 == rows_BWC[:, None] + 1)")},
    ),
    # --- batch norm
    Fault(
        name="batch norm's epsilon",
        meaning="1e-3 for 1e-5, which is the default of Keras",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "normalization.py",
                "namespace(kernel_RSCO).sqrt(variance_O + NORM_EPSILON)",
                "(variance_O + 1e-3) ** 0.5",
            ),
            "pytorch": Edit("stem.py", "eps=NORM_EPSILON", "eps=1e-3"),
            "keras": Edit("stem.py", "variance + NORM_EPSILON", "variance + 1e-3"),
            "jax": Edit("stem.py", "variance_C + NORM_EPSILON", "variance_C + 1e-3"),
        },
    ),
    Fault(
        name="batch statistics while reading",
        meaning="reading uses the statistics of the batch, so a line depends on its neighbours",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("lstm_ctc.py", "widths_B, training=False)", "widths_B, training=True)"),
            "pytorch": Edit("lstm_ctc.py", "batch_statistics: bool = False", "batch_statistics: bool = True"),
            "keras": Edit(
                "recognizer.py",
                "self._predict(self.model, inputs if len(inputs) > 1 else images_BHW1)",
                "np.array(keras.tree.flatten(self.model(inputs, training=True))[0])",
            ),
            "jax": Edit("lstm_ctc.py", "training: bool = False", "training: bool = True"),
        },
    ),
    Fault(
        name="batch norm counts the padding",
        meaning="columns past a line's own width count in the mean and variance of the batch",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "normalization.py",
                "xp.broadcast_to(keep_BHW, ",
                "xp.broadcast_to(xp.ones_like(keep_BHW), ",
            ),
            "pytorch": Edit(
                "stem.py", "x_BHWC.flatten(0, 2), keep_1X,", "x_BHWC.flatten(0, 2), torch.ones_like(keep_1X),"
            ),
            "keras": Edit(
                "stem.py", "self.batch_statistics(x, keep_BHW1)", "self.batch_statistics(x, ops.ones_like(keep_BHW1))"
            ),
            "jax": Edit("stem.py", "keep_BHW1.sum() * (x_BHWC.shape[1] // keep_BHW1.shape[1])", "x_BHWC[..., 0].size"),
        },
    ),
    Fault(
        name="batch norm's derivative cut short",
        meaning="the mean and the variance are treated as constants; Keras and JAX have their own derivative",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("normalization.py", "dx = xp.subtract(dy, shared, out=products)", "dx = dy.copy()"),
            "pytorch": Edit("stem.py", "dx_XC[few].sub_(shared_XC).mul_(", "dx_XC[few].mul_("),
        },
    ),
    # --- running statistics
    Fault(
        name="momentum of the other side",
        meaning="0.9 for 0.1: the shares of the batch and of the past are exchanged",
        check="sgd_steps_agree",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("train.py", "BATCH_NORM_MOMENTUM * (", "(1 - BATCH_NORM_MOMENTUM) * ("),
            "pytorch": _MOMENTUM,
            "keras": Edit(
                "stem.py",
                "(1 - BATCH_NORM_MOMENTUM) * running + BATCH_NORM_MOMENTUM * of_batch",
                "BATCH_NORM_MOMENTUM * running + (1 - BATCH_NORM_MOMENTUM) * of_batch",
            ),
            "jax": _MOMENTUM,
        },
    ),
    Fault(
        name="unbiased running variance",
        meaning="the running variance is divided by n - 1, as in PyTorch's own batch norm",
        check="sgd_steps_agree",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "normalization.py", "count), mean_C, variance_C", "count), mean_C, variance_C * count / (count - 1)"
            ),
            "pytorch": Edit("stem.py", "lerp_(variance_C,", "lerp_(variance_C * keep_1X.sum() / (keep_1X.sum() - 1),"),
            "keras": Edit("stem.py", "(self.variance, variance))", "(self.variance, variance * count / (count - 1)))"),
            "jax": Edit(
                "stem.py",
                "(variance_C - self.variance[...])",
                "(variance_C * count / (count - 1) - self.variance[...])",
            ),
        },
    ),
    Fault(
        name="running statistics moved without training",
        meaning="`loss_and_gradients` changes them; JAX's pure function cannot",
        check="running_statistics_stay_when_not_training",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "stem.py",
                "            statistics |= seen",
                "            for name in seen:\n                weights[name] += 0.1 * (seen[name] - weights[name])\n            statistics |= seen",
            ),
            "pytorch": Edit("stem.py", "if self.training:", "if batch_statistics:"),
            "keras": Edit(
                "gradients.py",
                "        gradients = {v.path",
                "        for name, variable in self.variables.items():\n            weights[name].assign(variable)\n        gradients = {v.path",
            ),
        },
    ),
    Fault(
        name="running statistics not loaded",
        meaning="only trained parameters are taken from a weights file",
        check="load_then_export_is_the_identity",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "recognizer.py",
                "self.xp.array(weights[name], dtype=self.dtype) for name in self.spec.parameters()",
                "self.xp.array(weights[name] if row.trained else self.weights.get(name, weights[name]), dtype=self.dtype) for name, row in self.spec.parameters().items()",
            ),
            "pytorch": Edit(
                "recognizer.py",
                "tensor.copy_(to_tensor(weights[name]))",
                "tensor.copy_(to_tensor(weights[name])) if self.spec.parameters()[name].trained else None",
            ),
            "keras": Edit(
                "recognizer.py",
                "variable.assign(weights[name])",
                "variable.assign(weights[name]) if variable.trainable else None",
            ),
            "jax": Edit(
                "recognizer.py",
                "weights[canonical_name(path)].astype",
                "(weights if state is self.params else initial_weights(self.spec, 0))[canonical_name(path)].astype",
            ),
        },
    ),
    Fault(
        name="running statistics start afresh",
        meaning="a resumed run does not restore them; Keras and JAX restore all state as one mapping",
        check="resumed_run_equals_an_unbroken_one",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "train.py",
                "in {**weights, **optimizer.slots}.items():\n            array[...]",
                "in {**trained, **optimizer.slots}.items():\n            array[...]",
            ),
            "pytorch": Edit(
                "train.py",
                'state.items() if "/" not in name})',
                "state.items() if name in dict(model.named_parameters())}, strict=False)",
            ),
        },
    ),
)
