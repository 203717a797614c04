"""Faults of the rung lstm_ctc: directions, gates, loss."""

from __future__ import annotations

from conformance.planting import Edit, Fault

_GATES = "np.concatenate([(gates := np.split(weights[name], 4, -1))[{}], gates[{}], gates[{}], gates[{}]], -1)"
_FORGET_FIRST = _GATES.format(1, 0, 2, 3)
_OUTPUT_THIRD = _GATES.format(0, 1, 3, 2)

FAULTS: tuple[Fault, ...] = (
    # --- gates
    Fault(
        name="input and forget gates swapped",
        meaning="the gates are in the order f, i, g, o",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("lstm.py", "i, f, g, o = (gates[", "f, i, g, o = (gates["),
            "pytorch": Edit(
                "recognizer.py",
                "to_tensor(weights[name])",
                f'to_tensor({_FORGET_FIRST} if name.startswith("lstm") else weights[name])',
            ),
            "keras": Edit(
                "recognizer.py",
                "variable.assign(weights[name])",
                f'variable.assign({_FORGET_FIRST} if name.startswith("lstm") else weights[name])',
            ),
            "jax": Edit("lstm_ctc.py", "i, f, g, o = jnp.split(", "f, i, g, o = jnp.split("),
        },
    ),
    Fault(
        name="cell and output gates swapped",
        meaning="the gates are in the order i, f, o, g",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "lstm.py",
                "_sigmoid(gates[..., : 2 * units])\n        _sigmoid(gates[..., 3 * units :])\n        i, f, g, o = (",
                "_sigmoid(gates[..., : 3 * units])\n        i, f, o, g = (",
            ),
            "pytorch": Edit(
                "recognizer.py",
                "to_tensor(weights[name])",
                f'to_tensor({_OUTPUT_THIRD} if name.startswith("lstm") else weights[name])',
            ),
            "keras": Edit(
                "recognizer.py",
                "variable.assign(weights[name])",
                f'variable.assign({_OUTPUT_THIRD} if name.startswith("lstm") else weights[name])',
            ),
            "jax": Edit("lstm_ctc.py", "i, f, g, o = jnp.split(", "i, f, o, g = jnp.split("),
        },
    ),
    Fault(
        name="forget bias of one",
        meaning="1 is added to the forget gate in addition to its bias (Jozefowicz et al. 2015)",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "lstm.py",
                "_sigmoid(gates[..., : 2 * units])",
                "gates[..., units : 2 * units] += 1\n        _sigmoid(gates[..., : 2 * units])",
            ),
            "pytorch": Edit(
                "recognizer.py",
                "            tensor.zero_()",
                "            tensor.zero_()\n            if tensor.shape == (4 * getattr(self.spec, 'hidden_dim', 0),):\n                tensor.view(4, -1)[1] = 1",
            ),
            "keras": Edit(
                "recognizer.py",
                "variable.assign(weights[name])",
                'variable.assign(weights[name] + np.repeat([0, 1, 0, 0], weights[name].size // 4) if name.endswith("ward.bias") else weights[name])',
            ),
            "jax": Edit("lstm_ctc.py", "nnx.sigmoid(f)", "nnx.sigmoid(f + 1)"),
        },
    ),
    Fault(
        name="second bias trained",
        meaning="both biases of PyTorch's LSTM are trained, which doubles the learning rate of their sum; the others have one bias",
        check="sgd_steps_agree",
        rung="lstm_ctc",
        edits={"pytorch": Edit("lstm_ctc.py", 'requires_grad_("bias_hh" not in name)', "requires_grad_(True)")},
    ),
    # --- directions
    Fault(
        name="backward from the padding",
        meaning="the backward direction starts at the last frame of the batch, not of the line",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "lstm.py", "reversal(lengths_B, length)", "reversal(xp.full_like(lengths_B, length), length)"
            ),
            "pytorch": Edit(
                "lstm_ctc.py",
                "self.back(reverse(x_BTC, frames_B))",
                "self.back(x_BTC.flip(1))",
            ),
            "keras": Edit("lstm_ctc.py", "(x, mask=keep_BT)", "(x)"),
            "jax": Edit(
                "lstm_ctc.py",
                "stack([keep_TB, keep_TB[::-1]]",
                "stack([keep_TB, jnp.ones_like(keep_TB)]",
            ),
        },
    ),
    Fault(
        name="backward outputs not turned back",
        meaning="the outputs of the backward direction are not reversed; Keras reverses them itself",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("lstm.py", "[forward_TBU, backward_TBU[reverse_TB]]", "[forward_TBU, backward_TBU]"),
            "pytorch": Edit("lstm_ctc.py", "reverse(back_BTU, frames_B)], 2)", "back_BTU], 2)"),
            "jax": Edit("lstm_ctc.py", "h_T2BU[::-1, 1]", "h_T2BU[:, 1]"),
        },
    ),
    Fault(
        name="outputs in the other order",
        meaning="the backward outputs come before the forward ones; Keras concatenates them itself",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "lstm.py", "[forward_TBU, backward_TBU[reverse_TB]]", "[backward_TBU[reverse_TB], forward_TBU]"
            ),
            "pytorch": Edit(
                "lstm_ctc.py",
                "[ahead_BTU, reverse(back_BTU, frames_B)]",
                "[reverse(back_BTU, frames_B), ahead_BTU]",
            ),
            "jax": Edit("lstm_ctc.py", "[h_T2BU[:, 0], h_T2BU[::-1, 1]]", "[h_T2BU[::-1, 1], h_T2BU[:, 0]]"),
        },
    ),
    Fault(
        name="directions exchanged",
        meaning="each direction has the weights of the other",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("lstm_ctc.py", '("forward", "backward")', '("backward", "forward")'),
            "pytorch": Edit(
                "lstm_ctc.py", '{"ahead": "forward", "back": "backward"}', '{"ahead": "backward", "back": "forward"}'
            ),
            "keras": Edit(
                "lstm_ctc.py",
                'path.replace("/", ".")',
                'path.replace("forward", "?").replace("backward", "forward").replace("?", "backward").replace("/", ".")',
            ),
            "jax": Edit("lstm_ctc.py", "= self.forward, self.backward", "= self.backward, self.forward"),
        },
    ),
    Fault(
        name="cell state one frame late in the derivative",
        meaning="the forget gate's gradient uses the state after the frame; PyTorch and Keras have their own derivative",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("lstm.py", "dc * c_2TBU[:, t],", "dc * c_2TBU[:, t + 1],"),
            "jax": Edit("lstm_gradient.py", "dc * c_before", "dc * c"),
        },
    ),
    # --- loss
    Fault(
        name="blank at the other end",
        meaning="the blank is the last class instead of the first",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("ctc.py", "BLANK = 0\n", "BLANK = 5\n"),
            "pytorch": Edit("lstm_ctc.py", "blank=0", "blank=5"),
            "keras": Edit("lstm_ctc.py", "mask_index=0", "mask_index=5"),
            "jax": Edit("lstm_ctc.py", "blank_id=0", "blank_id=5"),
        },
    ),
    Fault(
        name="padding taken for characters",
        meaning="every label has the length of the longest label in the batch",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("ctc.py", "2 * label_lengths_B\n", "2 * xp.full_like(label_lengths_B, labels_BL.shape[1])\n"),
            "pytorch": Edit(
                "lstm_ctc.py",
                "frames_B, label_lengths_B, blank",
                "frames_B, 0 * label_lengths_B + labels_BL.shape[1], blank",
            ),
            "keras": Edit("lstm_ctc.py", "labels_BL > 0", "labels_BL >= 0"),
            "jax": Edit("lstm_ctc.py", "(~keep_BL).astype(dtype)", "jnp.zeros(keep_BL.shape, dtype)"),
        },
    ),
    Fault(
        name="every line of full width",
        meaning="CTC also uses the frames of the padding, as `keras.losses.CTC` does",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "lstm_ctc.py",
                "loss, loss_cache = ctc(logits_BTK, lengths_B,",
                "loss, loss_cache = ctc(logits_BTK, 0 * lengths_B + logits_BTK.shape[1],",
            ),
            "pytorch": Edit("lstm_ctc.py", "model.spec.frames(widths_B)", "0 * widths_B + logits_BTK.shape[1]"),
            "keras": Edit(
                "lstm_ctc.py", "self.spec.frames(x[1])", "0 * x[1] + ops.shape(keras.tree.flatten(logits)[0])[1]"
            ),
            "jax": Edit("lstm_ctc.py", "(~keep_BT).astype(dtype)", "jnp.zeros(keep_BT.shape, dtype)"),
        },
    ),
    Fault(
        name="mean over lines",
        meaning="the loss is in nats per line, not per character",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("ctc.py", "max(int(label_lengths_B.sum()), 1)", "batch"),
            "pytorch": Edit("lstm_ctc.py", "label_lengths_B.sum().clamp(min=1)", "len(labels_BL)"),
            "keras": Edit("lstm_ctc.py", "ops.maximum(ops.sum(lengths_B), 1)", "ops.shape(lengths_B)[0]"),
            "jax": Edit("lstm_ctc.py", "jnp.maximum(label_lengths_B.sum(), 1)", "len(labels_BL)"),
        },
    ),
    Fault(
        name="gradient of the mean over lines",
        meaning="as 'mean over lines', for the tolerance of Keras's gradients alone, which is wider than the others'",
        check="gradients_agree",
        rung="lstm_ctc",
        edits={"keras": Edit("lstm_ctc.py", "ops.maximum(ops.sum(lengths_B), 1)", "ops.shape(lengths_B)[0]")},
    ),
    Fault(
        name="clipped one by one",
        meaning="each tensor's norm is clipped; for the tolerances of PyTorch and Keras alone, which are wider here",
        check="clipped_steps_agree",
        rung="lstm_ctc",
        edits={
            "pytorch": Edit(
                "train.py",
                "nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)",
                "[nn.utils.clip_grad_norm_(p, config.clip_norm) for p in model.parameters()]",
            ),
            "keras": Edit("train.py", '"global_clipnorm"', '"clipnorm"'),
        },
    ),
    Fault(
        name="no blank between equal letters",
        meaning="a repeated letter needs no blank in between; frameworks have their own CTC",
        check="ctc_corners_agree",
        rung="lstm_ctc",
        edits={"numpy": Edit("ctc.py", "!= BLANK) & (states_BS[:, 2:] != states_BS[:, :-2])", "!= BLANK)")},
    ),
    Fault(
        name="emission counted twice",
        meaning="the probability of a frame is counted in the forward and in the backward sum; frameworks have their own CTC",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("ctc.py", "backward_BTS[reverse] - emitted_BTS - log_p_B", "backward_BTS[reverse] - log_p_B")
        },
    ),
    Fault(
        name="dropout missing after the last layer",
        meaning="the last layer has no dropout, as in PyTorch's own nn.LSTM",
        check="dropout_matches_its_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "lstm_ctc.py",
                "dropout(x_BTC, share, rng)",
                "dropout(x_BTC, share if i + 1 < spec.num_layers else 0, rng)",
            ),
            "pytorch": Edit(
                "lstm_ctc.py", "for share in spec.layer_dropouts", "for share in (*spec.layer_dropouts[:-1], 0)"
            ),
            "keras": Edit(
                "lstm_ctc.py", "enumerate(spec.layer_dropouts)", "enumerate((*spec.layer_dropouts[:-1], 0.0))"
            ),
            "jax": Edit(
                "lstm_ctc.py", "for share in spec.layer_dropouts", "for share in (*spec.layer_dropouts[:-1], 0.0)"
            ),
        },
    ),
    Fault(
        name="one dropout for all layers",
        meaning="the share of the last layer, `head_dropout`, is ignored",
        check="dropout_matches_its_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("lstm_ctc.py", "dropout(x_BTC, share, rng)", "dropout(x_BTC, spec.dropout, rng)"),
            "pytorch": Edit("lstm_ctc.py", "nn.Dropout(share) for", "nn.Dropout(spec.dropout) for"),
            "keras": Edit("lstm_ctc.py", "layers.Dropout(share, ", "layers.Dropout(spec.dropout, "),
            "jax": Edit("lstm_ctc.py", "nnx.Dropout(share)", "nnx.Dropout(spec.dropout)"),
        },
    ),
    # --- shortcut
    Fault(
        name="shortcut with full weight",
        meaning="the loss of the shortcut counts as much as that of the LSTM layers",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("lstm_ctc.py", "spec.shortcut_weight * added", "added"),
            "pytorch": Edit("lstm_ctc.py", "model.spec.shortcut_weight * ctc(", "ctc("),
            "keras": Edit("lstm_ctc.py", "self.spec.shortcut_weight * of_shortcut", "of_shortcut"),
            "jax": Edit("lstm_ctc.py", "model.shortcut_weight * ctc(", "ctc("),
        },
    ),
    Fault(
        name="gradient of the shortcut with full weight",
        meaning="the loss has the shortcut's weight and its gradient has not; frameworks have their own derivative",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={"numpy": Edit("lstm_ctc.py", "spec.shortcut_weight * ctc_backward(", "ctc_backward(")},
    ),
    Fault(
        name="shortcut in reading",
        meaning="the logits of the shortcut are added to those of the LSTM layers",
        check="logits_match_the_definition",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "lstm_ctc.py",
                "    keep_BT = keep_first(lengths_B, logits_BTK.shape[1])",
                "    logits_BTK = logits_BTK + shortcut(weights, frames_BTC)[0]\n    keep_BT = keep_first(lengths_B, logits_BTK.shape[1])",
            ),
            "pytorch": Edit(
                "lstm_ctc.py",
                "return self.read(frames_BTC, frames_B)",
                "return self.read(frames_BTC, frames_B) + self.shortcut(frames_BTC.transpose(1, 2)).transpose(1, 2)",
            ),
            "keras": Edit(
                "lstm_ctc.py",
                "return super().call(inputs, training=training, mask=mask)",
                "return sum(self.with_shortcut(inputs))",
            ),
            "jax": Edit(
                "lstm_ctc.py",
                "return self.read(*self.stem(images_BHW1, widths_B, training=training), rngs=rngs)",
                "frames = self.stem(images_BHW1, widths_B, training=training)\n        return self.read(*frames, rngs=rngs) + self.shortcut(frames[0])",
            ),
        },
    ),
    Fault(
        name="shortcut apart from the stem",
        meaning="the gradient of the shortcut's loss does not reach the stem, which it is there for",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("lstm_ctc.py", "dframes = dframes + dadded", "pass"),
            "pytorch": Edit("lstm_ctc.py", "model.shortcut(frames_BTC.", "model.shortcut(frames_BTC.detach()."),
            "keras": Edit("lstm_ctc.py", "[logits, shortcut(frames)]", "[logits, shortcut(ops.stop_gradient(frames))]"),
            "jax": Edit(
                "lstm_ctc.py", "model.shortcut(frames_BTC)", "model.shortcut(jax.lax.stop_gradient(frames_BTC))"
            ),
        },
    ),
    Fault(
        name="shortcut reversed in time",
        meaning="the kernel of the shortcut has its first column at the next frame",
        check="gradients_match_finite_differences",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("lstm_ctc.py", '["shortcut.kernel"][None]', '["shortcut.kernel"][None, ::-1]'),
            "pytorch": Edit(
                "lstm_ctc.py",
                "model.shortcut(frames_BTC.transpose(1, 2)).transpose(1, 2)",
                "model.shortcut(frames_BTC.flip(1).transpose(1, 2)).transpose(1, 2).flip(1)",
            ),
            "keras": Edit(
                "lstm_ctc.py", "[logits, shortcut(frames)]", "[logits, ops.flip(shortcut(ops.flip(frames, 1)), 1)]"
            ),
            "jax": Edit("lstm_ctc.py", "model.shortcut(frames_BTC)", "model.shortcut(frames_BTC[:, ::-1])[:, ::-1]"),
        },
    ),
)
