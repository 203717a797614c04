"""Faults of learning: loss, gradients, training steps, resuming."""

from __future__ import annotations

from conformance.planting import Edit, Fault

FAULTS: tuple[Fault, ...] = (
    # --- loss and gradients
    Fault(
        name="softmax overflows",
        meaning="the largest logit is not subtracted before exp",
        check="loss_agrees",
        rung="mlp",
        dtype="float32",
        edits={
            "numpy": Edit(
                "ops.py", "shifted = logits_BK - logits_BK.max(axis=1, keepdims=True)", "shifted = logits_BK"
            ),
            "pytorch": Edit(
                "mlp.py",
                "F.cross_entropy(model(images_BHW1), labels_B)",
                "F.nll_loss(model(images_BHW1).softmax(1).log(), labels_B)",
            ),
            "jax": Edit(
                "mlp.py",
                "optax.softmax_cross_entropy_with_integer_labels(model(images_BHW1, rngs), labels_B)",
                '-(jnp := __import__("jax").numpy).log((exp := jnp.exp(model(images_BHW1, rngs))) / exp.sum(1, keepdims=True))[np.arange(len(labels_B)), labels_B]',
            ),
        },
    ),
    Fault(
        name="softmax twice",
        meaning="the loss expects logits and gets probabilities",
        check="loss_agrees",
        rung="cnn",
        edits={
            "pytorch": Edit(
                "cnn.py",
                "F.cross_entropy(model(images_BHW1), labels_B)",
                "F.cross_entropy(model(images_BHW1).softmax(1), labels_B)",
            ),
            "keras": Edit("cnn.py", "from_logits=True", "from_logits=False"),
            "jax": Edit(
                "cnn.py",
                "labels(model(images_BHW1, rngs), labels_B)",
                "labels(nnx.softmax(model(images_BHW1, rngs)), labels_B)",
            ),
        },
    ),
    Fault(
        name="loss summed",
        meaning="the losses of a batch are added, not averaged",
        check="gradients_agree",
        rung="mlp",
        edits={
            "numpy": Edit("ops.py", "return dlogits / len(labels_B)", "return dlogits"),
            "pytorch": Edit(
                "mlp.py",
                "F.cross_entropy(model(images_BHW1), labels_B)",
                'F.cross_entropy(model(images_BHW1), labels_B, reduction="sum")',
            ),
            "keras": Edit("mlp.py", "from_logits=True, dtype", 'from_logits=True, reduction="sum", dtype'),
            "jax": Edit("mlp.py", "labels_B).mean()", "labels_B).sum()"),
        },
    ),
    Fault(
        name="missing bias gradient",
        meaning="the gradient of a dense layer's bias is zero",
        check="gradients_match_finite_differences",
        rung="mlp",
        edits={
            "numpy": Edit("ops.py", "dy_BO.sum(axis=0)", "0 * dy_BO.sum(axis=0)"),
            "pytorch": Edit(
                "mlp.py", "F.relu(dense(x))", "F.relu(F.linear(x, dense.weight, dense.bias.detach()) + 0 * dense.bias)"
            ),
            "keras": Edit(
                "gradients.py",
                "kept.assign(gradient)",
                "kept.assign(0 * gradient if kept is self.kept[1] else gradient)",
            ),
            "jax": Edit(
                "mlp.py",
                "nnx.relu(linear(x))",
                'nnx.relu(linear(x) - linear.bias[...] + __import__("jax").lax.stop_gradient(linear.bias[...]))',
            ),
        },
    ),
    Fault(
        name="missing convolution bias gradient",
        meaning="the gradient of a convolution's bias is zero; only NumPy writes it by hand",
        check="gradients_match_finite_differences",
        rung="cnn",
        edits={"numpy": Edit("cnn.py", "dx.sum(axis=(0, 1, 2))", "0 * dx.sum(axis=(0, 1, 2))")},
    ),
    Fault(
        name="ReLU passes its input back",
        meaning="the derivative of ReLU is its input instead of 1; frameworks have their own",
        check="gradients_match_finite_differences",
        rung="mlp",
        edits={"numpy": Edit("ops.py", "return dy * (cache > 0)", "return dy * cache")},
    ),
    Fault(
        name="pooling shares its gradient",
        meaning="all four pixels of a block get the gradient of the largest; frameworks have their own pooling",
        check="gradients_match_finite_differences",
        rung="cnn",
        edits={"numpy": Edit("ops.py", "d_corner[...] = dy * chosen", "d_corner[...] = dy")},
    ),
    Fault(
        name="kernel not mirrored back",
        meaning="dx of a convolution is computed with the kernel that is not mirrored; frameworks have their own",
        check="gradients_match_finite_differences",
        rung="cnn",
        edits={"numpy": Edit("convolution.py", "kernel_RSCO[::-1, ::-1].swapaxes", "kernel_RSCO.swapaxes")},
    ),
    Fault(
        name="gradients under dropout",
        meaning="`loss_and_gradients` applies dropout",
        check="gradients_ignore_dropout",
        rung="mlp",
        edits={
            "numpy": Edit(
                "recognizer.py",
                "self.step_gradients(batch, rng=None)",
                "self.step_gradients(batch, np.random.default_rng(0))",
            ),
            "pytorch": Edit("recognizer.py", "self.model.eval()\n        loss", "self.model.train()\n        loss"),
            "keras": Edit(
                "recognizer.py",
                "spec: Spec = replace(cast(Any, self.spec), **dict.fromkeys(shares, 0.0))",
                "spec = self.spec",
            ),
            "jax": Edit(
                "recognizer.py",
                "copy=True), *batch))(",
                "copy=True), *batch, nnx.Rngs(dropout=0)))(",
            ),
        },
    ),
    Fault(
        name="backward leaves a trace",
        meaning="the second call goes wrong: NumPy changes a cached array, which is a weight, in place; PyTorch adds to the "
        "gradients of the first call. Keras and JAX keep nothing between two calls",
        check="gradients_are_the_same_twice",
        rung="lstm_ctc",
        edits={
            "numpy": Edit("normalization.py", "dx *= scale_C * inverse_C", "scale_C *= inverse_C\n    dx *= scale_C"),
            "pytorch": Edit(
                "recognizer.py",
                "gradients = torch.autograd.grad(loss, list(trained.values()))",
                "loss.backward()\n        gradients = [parameter.grad for parameter in trained.values()]",
            ),
        },
    ),
    # --- training steps
    Fault(
        name="last batch dropped",
        meaning="a batch smaller than the others is left out",
        check="every_batch_is_seen",
        rung="mlp",
        dtype="float32",
        edits={
            "numpy": Edit(
                "train.py",
                "            rate = float(",
                "            if len(batch.labels_B) < config.batch_size:\n                continue\n            rate = float(",
            ),
            "pytorch": Edit(
                "train.py",
                "            model.train()\n",
                "            if len(batch.labels_B) < config.batch_size:\n                continue\n            model.train()\n",
            ),
            "keras": Edit(
                "train.py",
                "                for part, share in",
                "                if len(batch.images_BHW1) < run.config.batch_size:\n                    continue\n                for part, share in",
            ),
            "jax": Edit(
                "train.py",
                "            if run.config.accumulate == 1:",
                "            if len(batch.labels_B) < run.config.batch_size:\n                continue\n            if run.config.accumulate == 1:",
            ),
        },
    ),
    Fault(
        name="labels shifted",
        meaning="training counts classes from 1",
        check="sgd_steps_agree",
        rung="mlp",
        edits={
            "numpy": Edit(
                "recognizer.py",
                "self.xp.asarray(array) for",
                "(self.xp.asarray(array) + 1) % self.spec.num_classes for",
            ),
            "pytorch": Edit(
                "recognizer.py",
                "to_tensor(array, torch.int64)",
                "(to_tensor(array, torch.int64) + 1) % self.spec.num_classes",
            ),
            "keras": Edit(
                "train.py", "batch.images_BHW1, batch.labels_B", "batch.images_BHW1, (batch.labels_B + 1) % 7"
            ),
            "jax": Edit(
                "train.py",
                "step(state, batch.arrays, rate",
                "step(state, (batch.images_BHW1, (batch.labels_B + 1) % 7), rate",
            ),
        },
    ),
    Fault(
        name="momentum forgotten",
        meaning="SGD without momentum",
        check="steps_match_the_formulas",
        rung="mlp",
        edits={
            "numpy": Edit("optim.py", "velocity *= MOMENTUM", "velocity *= 0"),
            "pytorch": Edit("train.py", "momentum=MOMENTUM, nesterov=ahead, fused", "fused"),
            "keras": Edit("train.py", "momentum=np.float64(MOMENTUM), nesterov=ahead, ", ""),
            "jax": Edit("train.py", "(learning_rate, MOMENTUM, ", "(learning_rate, 0.0, "),
        },
    ),
    Fault(
        name="gradients pile up",
        meaning="the gradients of the last step are not cleared; only PyTorch keeps them in the parameters",
        check="sgd_steps_agree",
        rung="mlp",
        edits={"pytorch": Edit("train.py", "            optimizer.zero_grad()\n", "")},
    ),
    Fault(
        name="mean loss reported",
        meaning="the reported loss is the mean of the epoch so far, which only Keras computes",
        check="sgd_steps_agree",
        rung="mlp",
        edits={"keras": Edit("train.py", 'logs["step_loss"]', 'logs["loss"]')},
    ),
    Fault(
        name="rate one step late",
        meaning="each step uses the learning rate of the step before",
        check="steps_match_the_formulas",
        rung="mlp",
        edits={
            "numpy": Edit("train.py", "run.learning_rates_S[run.step]", "run.learning_rates_S[max(0, run.step - 1)]"),
            "pytorch": Edit("train.py", "run.learning_rates_S[run.step]", "run.learning_rates_S[max(0, run.step - 1)]"),
            "keras": Edit(
                "train.py",
                "keras.ops.take(self.rates_S, step)",
                "keras.ops.take(self.rates_S, keras.ops.maximum(step - 1, 0))",
            ),
            "jax": Edit("train.py", "run.learning_rates_S[run.step]", "run.learning_rates_S[max(0, run.step - 1)]"),
        },
    ),
    Fault(
        name="wrong epsilon",
        meaning="the epsilon of AdamW is 1e-5 instead of 1e-8",
        check="adamw_steps_agree",
        rung="cnn",
        edits={
            "numpy": Edit("optim.py", "+ ADAM_EPSILON", "+ 1e-5"),
            "pytorch": Edit("train.py", '"eps": ADAM_EPSILON', '"eps": 1e-5'),
            "keras": Edit("train.py", '"epsilon": ADAM_EPSILON', '"epsilon": 1e-5'),
            "jax": Edit("train.py", "            ADAM_EPSILON,\n", "            1e-5,\n"),
        },
    ),
    Fault(
        name="bias not corrected",
        meaning="Adam's second moment is not corrected for its start at zero; frameworks have their own",
        check="steps_match_the_formulas",
        rung="mlp",
        edits={"numpy": Edit("optim.py", "correction2 = 1 - ADAM_BETA2 ** (step + 1)", "correction2 = 1.0")},
    ),
    Fault(
        name="biases decay",
        meaning="weight decay is applied to biases, too",
        check="steps_match_the_formulas",
        rung="mlp",
        edits={
            "numpy": Edit("optim.py", 'if name.endswith("kernel"):', "if name:"),
            "pytorch": Edit("train.py", '"weight_decay": 0.0', '"weight_decay": config.weight_decay'),
            "keras": Edit(
                "train.py",
                '    optimizer.exclude_from_weight_decay(var_names=["bias", "scale", "gamma", "beta"])\n',
                "",
            ),
            "jax": Edit("train.py", "w.ndim > 1", "w.ndim > 0"),
        },
    ),
    Fault(
        name="clipped one by one",
        meaning="the norm of each tensor is clipped, not the global norm",
        check="steps_match_the_formulas",
        rung="mlp",
        edits={
            "numpy": Edit(
                "train.py",
                "clip_by_global_norm(gradients, config.clip_norm)",
                "[clip_by_global_norm({n: g}, config.clip_norm) for n, g in gradients.items()]",
            ),
            "pytorch": Edit(
                "train.py",
                "nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)",
                "[nn.utils.clip_grad_norm_(p, config.clip_norm) for p in model.parameters()]",
            ),
            "keras": Edit("train.py", '"global_clipnorm"', '"clipnorm"'),
            "jax": Edit("train.py", "optax.clip_by_global_norm(", "optax.clip_by_block_rms(0.1 * "),
        },
    ),
    Fault(
        name="keeps what it should drop",
        meaning="the dropout rate is used as the share that is kept",
        check="dropout_matches_its_definition",
        rung="cnn",
        edits={
            "numpy": Edit("cnn.py", "dropout(x_BHWC, spec.dropout, rng)", "dropout(x_BHWC, 1 - spec.dropout, rng)"),
            "pytorch": Edit("cnn.py", "nn.Dropout(spec.dropout)", "nn.Dropout(1 - spec.dropout)"),
            "keras": Edit("cnn.py", "layers.Dropout(spec.dropout", "layers.Dropout(1 - spec.dropout"),
            "jax": Edit("cnn.py", "nnx.Dropout(spec.dropout)", "nnx.Dropout(1 - spec.dropout)"),
        },
    ),
    Fault(
        name="dropout not scaled",
        meaning="the units that are kept are not scaled up; frameworks have their own dropout",
        check="dropout_matches_its_definition",
        rung="mlp",
        edits={"numpy": Edit("ops.py", "/ x.dtype.type(1 - rate)", "* x.dtype.type(1)")},
    ),
    Fault(
        name="dropout never on",
        meaning="training has no dropout",
        check="dropout_matches_its_definition",
        rung="mlp",
        edits={
            "numpy": Edit("train.py", "step_gradients(part, rng)", "step_gradients(part, None)"),
            "pytorch": Edit("train.py", "model.train()", "model.eval()"),
            "keras": Edit("mlp.py", "layers.Dropout(spec.dropout", "layers.Dropout(0 * spec.dropout"),
            "jax": Edit("mlp.py", "deterministic=rngs is None", "deterministic=True"),
        },
    ),
    Fault(
        name="dropout ignores the seed",
        meaning="every run drops the same units",
        check="same_seed_same_run",
        rung="mlp",
        dtype="float32",
        edits={
            "numpy": Edit("train.py", "[config.seed, run.step]", "[0, run.step]"),
            "pytorch": Edit("train.py", "dropout_seeded(config.seed, run.step,", "dropout_seeded(0, run.step,"),
            "keras": Edit("train.py", "seed_dropout(model, run.config.seed,", "seed_dropout(model, 0,"),
            "jax": Edit("train.py", "jax.random.key(run.config.seed % 2**32)", "jax.random.key(0)"),
        },
    ),
    # --- resuming
    Fault(
        name="dropout counts steps",
        meaning="a resumed run starts its dropout at the number of the step, though Keras draws for every micro-batch",
        check="resumed_run_equals_an_unbroken_one",
        rung="mlp",
        dtype="float32",
        edits={
            "keras": Edit(
                "train.py",
                "seed_dropout(model, run.config.seed, run.step * parts)",
                "seed_dropout(model, run.config.seed, run.step)",
            ),
        },
    ),
    Fault(
        name="optimizer starts afresh",
        meaning="a resumed run does not restore the optimizer's slots",
        check="resumed_run_equals_an_unbroken_one",
        rung="mlp",
        dtype="float32",
        edits={
            "numpy": Edit(
                "train.py",
                "for name, array in {**weights, **optimizer.slots}.items():\n            array[...]",
                "for name, array in weights.items():\n            array[...]",
            ),
            "pytorch": Edit("train.py", "optimizer.state[parameter][slot] = like.copy_(value)", "like.copy_(value)"),
            "keras": Edit(
                "train.py",
                "variable.assign(run.checkpoint[name])",
                "variable.assign(run.checkpoint[name]) if name in weights else None",
            ),
            "jax": Edit(
                "train.py",
                "state = from_flat(state, run.checkpoint)",
                "state = from_flat(state, run.checkpoint)._replace(opt_state=optimizer.init(params))",
            ),
        },
    ),
    Fault(
        name="dropout starts afresh",
        meaning="a resumed run draws its dropout from the first step again",
        check="resumed_run_equals_an_unbroken_one",
        rung="mlp",
        dtype="float32",
        edits={
            "numpy": Edit(
                "train.py", "[config.seed, run.step]", "[config.seed, run.step - run.first_epoch * run.steps_per_epoch]"
            ),
            "pytorch": Edit(
                "train.py",
                "dropout_seeded(config.seed, run.step,",
                "dropout_seeded(config.seed, run.step - run.first_epoch * run.steps_per_epoch,",
            ),
            "keras": Edit(
                "train.py",
                "seed_dropout(model, run.config.seed, run.step * parts)",
                "seed_dropout(model, run.config.seed, 0)",
            ),
            "jax": Edit(
                "train.py",
                "state = from_flat(state, run.checkpoint)",
                "state = from_flat(state, run.checkpoint)._replace(step=jnp.int32(0))",
            ),
        },
    ),
)
