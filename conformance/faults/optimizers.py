"""Faults of the optimizers, and of steps that are accumulated from micro-batches."""

from __future__ import annotations

from conformance.planting import COMMON, Edit, Fault

FAULTS: tuple[Fault, ...] = (
    Fault(
        name="Nesterov's momentum",
        meaning="the update of plain SGD looks ahead",
        check="steps_match_the_formulas",
        rung="mlp",
        edits={
            "numpy": Edit("optim.py", "if self.nesterov else velocity", "if True else velocity"),
            "pytorch": Edit("train.py", "nesterov=ahead", "nesterov=True"),
            "keras": Edit("train.py", "nesterov=ahead", "nesterov=True"),
            "jax": Edit("train.py", 'nesterov=name == "sgd_nesterov"', "nesterov=True"),
        },
    ),
    Fault(
        name="does not look ahead",
        meaning="SGD with Nesterov's momentum takes the steps of plain SGD",
        check="other_optimizers_match_their_formulas",
        rung="mlp",
        edits={
            "numpy": Edit("optim.py", "if self.nesterov else velocity", "if False else velocity"),
            "pytorch": Edit("train.py", "nesterov=ahead", "nesterov=False"),
            "keras": Edit("train.py", "nesterov=ahead", "nesterov=False"),
            "jax": Edit("train.py", 'nesterov=name == "sgd_nesterov"', "nesterov=False"),
        },
    ),
    Fault(
        name="Adam decays",
        meaning="Adam has the weight decay of AdamW, added to the gradient or to the update",
        check="other_optimizers_match_their_formulas",
        rung="mlp",
        edits={
            "numpy": Edit(
                "optim.py", 'config.weight_decay if config.optimizer == "adamw" else 0.0', "config.weight_decay"
            ),
            "pytorch": Edit(
                "train.py",
                "Adam(model.parameters(), **options)",
                "Adam(model.parameters(), weight_decay=config.weight_decay, **options)",
            ),
            "keras": Edit(
                "train.py",
                "optimizers.Adam(rates, ",
                "optimizers.Adam(rates, weight_decay=number(config.weight_decay), ",
            ),
            "jax": Edit(
                "train.py",
                "optax.adam(learning_rate, ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON)",
                "optax.adamw(learning_rate, ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, weight_decay=weight_decay)",
            ),
        },
    ),
    Fault(
        name="epsilon inside the root",
        meaning="RMSprop divides by √(v + ε), as Keras and optax do by default; PyTorch never does",
        check="other_optimizers_match_their_formulas",
        rung="mlp",
        edits={
            "numpy": Edit("optim.py", ".sqrt(v) + RMSPROP_EPSILON", ".sqrt(v + RMSPROP_EPSILON)"),
            "keras": Edit("train.py", "return RMSprop(", "return keras.optimizers.RMSprop("),
            "jax": Edit("train.py", ", eps_in_sqrt=False", ""),
        },
    ),
    Fault(
        name="another decay",
        meaning="RMSprop has the decay 0.99, which is PyTorch's default",
        check="other_optimizers_match_their_formulas",
        rung="mlp",
        edits={
            "numpy": Edit("optim.py", "v += (1 - RMSPROP_DECAY)", "v += (1 - 0.99)"),
            "pytorch": Edit("train.py", "alpha=RMSPROP_DECAY, ", ""),
            "keras": Edit("train.py", "rho=number(RMSPROP_DECAY)", "rho=number(0.99)"),
            "jax": Edit("train.py", "learning_rate, RMSPROP_DECAY", "learning_rate, 0.99"),
        },
    ),
    Fault(
        name="average of averages",
        meaning="the losses of micro-batches are averaged, whatever the length of their texts",
        check="accumulated_steps_match_the_formulas",
        rung="lstm_ctc",
        edits={COMMON: Edit("training/accumulate.py", "max(1, own) / whole", "1 / count")},
    ),
    Fault(
        name="micro-batches of one weight",
        meaning="each micro-batch has the same share in a step, though the last one has fewer examples",
        check="accumulated_steps_match_the_formulas",
        rung="mlp",
        edits={
            "numpy": Edit(
                "train.py",
                "add_scaled(gradients, part_gradients, share)",
                "add_scaled(gradients, part_gradients, 1 / config.accumulate)",
            ),
            "pytorch": Edit("train.py", "share * loss_of(part)", "loss_of(part) / config.accumulate"),
            "keras": Edit("train.py", "weighted(part, model, share * parts)", "weighted(part, model, 1.0)"),
            "jax": Edit("train.py", "jnp.asarray(share)", "jnp.asarray(1 / run.config.accumulate)"),
        },
    ),
    Fault(
        name="rate of the micro-batch",
        meaning="the learning rate is taken from the table by the number of the micro-batch, as Keras does by itself",
        check="accumulated_steps_match_the_formulas",
        rung="mlp",
        edits={
            "keras": Edit("train.py", "np.repeat(run.learning_rates_S, config", "np.tile(run.learning_rates_S, config")
        },
    ),
    Fault(
        name="last micro-batch counts alone",
        meaning="the gradients of a step are those of its last micro-batch; Keras adds them up itself",
        check="accumulated_steps_match_the_formulas",
        rung="mlp",
        edits={
            "numpy": Edit("optim.py", "total[name] += gradient", "total[name] = gradient"),
            "pytorch": Edit(
                "train.py",
                "                    loss.backward()",
                "                    optimizer.zero_grad()\n                    loss.backward()",
            ),
            "jax": Edit("train.py", "if total is not None:", "if total is not None and False:"),
        },
    ),
    Fault(
        name="statistics of the last micro-batch",
        meaning="batch norm's running statistics move by the last micro-batch of a step only; it is easy where the step "
        "passes them on by hand",
        check="accumulated_steps_match_the_formulas",
        rung="lstm_ctc",
        edits={
            "numpy": Edit(
                "train.py",
                "                for name, statistic in statistics.items():\n                    weights",
                "            for name, statistic in statistics.items():\n                    weights",
            ),
            "jax": Edit(
                "train.py", "before = state if total is None else state._replace(statistics=total[1])", "before = state"
            ),
        },
    ),
)
