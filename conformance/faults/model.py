"""Faults of the character rungs: weights and forward pass."""

from __future__ import annotations

from conformance.planting import Edit, Fault

FAULTS: tuple[Fault, ...] = (
    # --- weights
    Fault(
        name="seed ignored",
        meaning="every run starts from the same weights",
        check="starts_from_the_same_weights",
        rung="mlp",
        edits={
            "numpy": Edit("recognizer.py", "initial_weights(spec, seed)", "initial_weights(spec, 0)"),
            "pytorch": Edit("recognizer.py", "initial_weights(spec, seed)", "initial_weights(spec, 0)"),
            "keras": Edit("recognizer.py", "initial_weights(spec, seed)", "initial_weights(spec, 0)"),
            "jax": Edit("recognizer.py", "initial_weights(spec, seed)", "initial_weights(spec, 0)"),
        },
    ),
    Fault(
        name="kernel transposed",
        meaning="a square dense kernel (in, out) is read as (out, in), which no shape shows",
        check="logits_match_the_definition",
        rung="mlp",
        edits={
            "numpy": Edit(
                "ops.py",
                "return x_BC @ kernel_CO + bias_O",
                "return x_BC @ (kernel_CO.T if kernel_CO.shape[0] == kernel_CO.shape[1] else kernel_CO) + bias_O",
            ),
            "pytorch": Edit(
                "mlp.py", "tensor.t() for", "(tensor if tensor.shape[0] == tensor.shape[-1] else tensor.t()) for"
            ),
            "keras": Edit(
                "recognizer.py",
                "variable.assign(weights[name])",
                "variable.assign(weights[name].T if weights[name].shape[0] == weights[name].shape[-1] else weights[name])",
            ),
            "jax": Edit(
                "recognizer.py",
                "jax.device_put(weights[canonical_name(path)].astype(self.dtype)",
                "jax.device_put((weights[canonical_name(path)].T if weights[canonical_name(path)].shape[0] == weights[canonical_name(path)].shape[-1] else weights[canonical_name(path)]).astype(self.dtype)",
            ),
        },
    ),
    Fault(
        name="channels exchanged",
        meaning="the input and output channels of a convolution kernel, equal in number, are exchanged",
        check="logits_match_the_definition",
        rung="cnn",
        edits={
            "numpy": Edit(
                "convolution.py",
                "kernel = kernel_RSCO.reshape(-1, out_channels)",
                "kernel = (kernel_RSCO if kernel_RSCO.shape[2] != kernel_RSCO.shape[3] else kernel_RSCO.transpose(0, 1, 3, 2)).reshape(-1, out_channels)",
            ),
            "pytorch": Edit(
                "cnn.py",
                "tensor.permute(2, 3, 1, 0)",
                "(tensor.permute(2, 3, 1, 0) if tensor.shape[0] != tensor.shape[1] else tensor.permute(2, 3, 0, 1))",
            ),
            "keras": Edit(
                "recognizer.py",
                "variable.assign(weights[name])",
                "variable.assign(weights[name].swapaxes(-1, -2) if weights[name].ndim == 4 and weights[name].shape[2] == weights[name].shape[3] else weights[name])",
            ),
            "jax": Edit(
                "recognizer.py",
                "jax.device_put(weights[canonical_name(path)].astype(self.dtype)",
                "jax.device_put((weights[canonical_name(path)].swapaxes(2, 3) if weights[canonical_name(path)].ndim == 4 and weights[canonical_name(path)].shape[2] == weights[canonical_name(path)].shape[3] else weights[canonical_name(path)]).astype(self.dtype)",
            ),
        },
    ),
    Fault(
        name="export without a copy",
        meaning="exported weights share memory with the model; TensorFlow always copies a variable that Keras exports",
        check="load_then_export_is_the_identity",
        rung="mlp",
        edits={
            "numpy": Edit(
                "recognizer.py", "{name: to_numpy(array) for name, array in self.weights.items()}", "dict(self.weights)"
            ),
            "pytorch": Edit(
                "recognizer.py",
                "{name: to_numpy(tensor) for name, tensor in self._canonical_weights().items()}",
                "{name: tensor.contiguous().numpy() for name, tensor in self._canonical_weights().items()}",
            ),
            "jax": Edit("recognizer.py", "canonical_name(path): np.array(", "canonical_name(path): np.asarray("),
        },
    ),
    Fault(
        name="export in the order of columns",
        meaning="exported weights are in column order in memory; their values are right",
        check="load_then_export_is_the_identity",
        rung="mlp",
        edits={
            "numpy": Edit("device.py", 'array.get(), order="C")', 'array.get(), order="F")'),
            "pytorch": Edit(
                "device.py", 'tensor.numpy(force=True), order="C")', 'tensor.numpy(force=True), order="F")'
            ),
            "keras": Edit("device.py", 'np.asarray(array), order="C")', 'np.asarray(array), order="F")'),
            "jax": Edit(
                "recognizer.py",
                "canonical_name(path): np.array(array[...])",
                'canonical_name(path): np.array(array[...], order="F")',
            ),
        },
    ),
    Fault(
        name="export in another dtype",
        meaning="a float64 model exports float32; golden weights are exact in both",
        check="load_then_export_is_the_identity",
        rung="mlp",
        edits={
            "numpy": Edit(
                "recognizer.py",
                "to_numpy(array) for name, array in",
                'to_numpy(array).astype("float32") for name, array in',
            ),
            "pytorch": Edit(
                "recognizer.py",
                "to_numpy(tensor) for name, tensor in",
                'to_numpy(tensor).astype("float32") for name, tensor in',
            ),
            "keras": Edit(
                "recognizer.py",
                "to_numpy(variable) for name, variable in",
                'to_numpy(variable).astype("float32") for name, variable in',
            ),
            "jax": Edit(
                "recognizer.py",
                "canonical_name(path): np.array(array[...])",
                'canonical_name(path): np.array(array[...], "float32")',
            ),
        },
    ),
    Fault(
        name="weights loaded without a copy",
        meaning="training changes the caller's arrays; the other frameworks always copy",
        check="load_then_export_is_the_identity",
        rung="mlp",
        edits={"numpy": Edit("recognizer.py", "self.xp.array(weights[name]", "self.xp.asarray(weights[name]")},
    ),
    # --- forward
    Fault(
        name="image transposed",
        meaning="rows and columns of an image are exchanged before it is flattened",
        check="logits_match_the_definition",
        rung="mlp",
        edits={
            "numpy": Edit(
                "mlp.py",
                "images_BHW1.reshape(len(images_BHW1), -1)",
                "images_BHW1.swapaxes(1, 2).reshape(len(images_BHW1), -1)",
            ),
            "pytorch": Edit("mlp.py", "images_BHW1.flatten(1)", "images_BHW1.transpose(1, 2).flatten(1)"),
            "keras": Edit(
                "mlp.py", "(images)\n    for i", "(layers.Permute((2, 1, 3), dtype=dtype)(images))\n    for i"
            ),
            "jax": Edit(
                "mlp.py",
                "images_BHW1.reshape(len(images_BHW1), -1)",
                "images_BHW1.swapaxes(1, 2).reshape(len(images_BHW1), -1)",
            ),
        },
    ),
    Fault(
        name="bias doubled",
        meaning="a bias is added twice, as in a framework with two biases",
        check="logits_match_the_definition",
        rung="mlp",
        edits={
            "numpy": Edit("ops.py", "return x_BC @ kernel_CO + bias_O", "return x_BC @ kernel_CO + 2 * bias_O"),
            "pytorch": Edit("mlp.py", "F.relu(dense(x))", "F.relu(dense(x) + dense.bias)"),
            "keras": Edit(
                "mlp.py",
                'dense(i, width, "relu")(x)',
                "keras.ops.relu((layer := dense(i, width, None))(x) + layer.bias)",
            ),
            "jax": Edit("mlp.py", "nnx.relu(linear(x))", "nnx.relu(linear(x) + linear.bias[...])"),
        },
    ),
    Fault(
        name="activation forgotten",
        meaning="the hidden dense layer has no ReLU",
        check="logits_match_the_definition",
        rung="cnn",
        edits={
            "numpy": Edit("cnn.py", "x, relu_cache = relu(x)\n    logits", "relu_cache = relu(x)[1]\n    logits"),
            "pytorch": Edit("cnn.py", "F.relu(self.dense[0](x))", "self.dense[0](x)"),
            "keras": Edit(
                "cnn.py",
                'layers.Dense(spec.hidden_dim, activation="relu"',
                "layers.Dense(spec.hidden_dim, activation=None",
            ),
            "jax": Edit("cnn.py", "self.dense[1](nnx.relu(self.dense[0](x)))", "self.dense[1](self.dense[0](x))"),
        },
    ),
    Fault(
        name="kernel mirrored",
        meaning="the kernel is mirrored, as in a mathematical convolution; frameworks compute a cross-correlation",
        check="logits_match_the_definition",
        rung="cnn",
        edits={
            "numpy": Edit(
                "convolution.py",
                "kernel = kernel_RSCO.reshape(-1, out_channels)",
                "kernel = kernel_RSCO[::-1, ::-1].reshape(-1, out_channels)",
            ),
            "pytorch": Edit("cnn.py", "tensor.permute(2, 3, 1, 0) if", "tensor.flip(2, 3).permute(2, 3, 1, 0) if"),
            "keras": Edit(
                "recognizer.py",
                "variable.assign(weights[name])",
                "variable.assign(weights[name][::-1, ::-1] if weights[name].ndim == 4 else weights[name])",
            ),
            "jax": Edit(
                "recognizer.py",
                "jax.device_put(weights[canonical_name(path)].astype(self.dtype)",
                "jax.device_put((weights[canonical_name(path)][::-1, ::-1] if weights[canonical_name(path)].ndim == 4 else weights[canonical_name(path)]).astype(self.dtype)",
            ),
        },
    ),
    Fault(
        name="padding on one side",
        meaning="two rows and columns of zeros are before the image and none after it",
        check="logits_match_the_definition",
        rung="cnn",
        edits={
            "numpy": Edit(
                "convolution.py", "(padding, padding), (columns, columns)", "(2 * padding, 0), (2 * columns, 0)"
            ),
            "pytorch": Edit(
                "cnn.py",
                "F.relu(conv(x_BCHW), inplace=True)",
                "F.relu(F.conv2d(F.pad(x_BCHW, (2, 0, 2, 0)), conv.weight, conv.bias))",
            ),
            "keras": Edit(
                "cnn.py",
                '        x = layers.Conv2D(\n            channels, 3, padding="same",',
                '        x = layers.ZeroPadding2D(((2, 0), (2, 0)), **image)(x)\n        x = layers.Conv2D(\n            channels, 3, padding="valid",',
            ),
            "jax": Edit("cnn.py", "padding=((1, 1), (1, 1))", "padding=((2, 0), (2, 0))"),
        },
    ),
    Fault(
        name="mean for max",
        meaning="pooling takes the mean of each block instead of the maximum",
        check="logits_match_the_definition",
        rung="cnn",
        edits={
            "numpy": Edit(
                "ops.py",
                "y = xp.maximum(xp.maximum(corners[0], corners[1]), xp.maximum(corners[2], corners[3]))",
                "y = sum(corners) / 4",
            ),
            "pytorch": Edit("cnn.py", "F.max_pool2d(", "F.avg_pool2d("),
            "keras": Edit("cnn.py", "layers.MaxPooling2D(", "layers.AveragePooling2D("),
            "jax": Edit("cnn.py", ".max(axis=(2, 4))", ".mean(axis=(2, 4))"),
        },
    ),
    Fault(
        name="channels first",
        meaning="the pooled image is flattened channel by channel",
        check="logits_match_the_definition",
        rung="cnn",
        edits={
            "numpy": Edit(
                "cnn.py",
                "x = x_BHWC.reshape(len(x_BHWC), -1)",
                "x = x_BHWC.transpose(0, 3, 1, 2).reshape(len(x_BHWC), -1)",
            ),
            "pytorch": Edit("cnn.py", "x_BCHW.permute(0, 2, 3, 1).flatten(1)", "x_BCHW.flatten(1)"),
            "keras": Edit(
                "cnn.py",
                "layers.Flatten(**image)(x)",
                "layers.Flatten(**image)(layers.Permute((3, 1, 2), dtype=dtype)(x))",
            ),
            "jax": Edit(
                "cnn.py",
                "x = x_BHWC.reshape(len(x_BHWC), -1)",
                "x = x_BHWC.transpose(0, 3, 1, 2).reshape(len(x_BHWC), -1)",
            ),
        },
    ),
    Fault(
        name="half precision",
        meaning="a dense layer multiplies in half precision, as some accelerators do by default",
        check="logits_agree",
        rung="mlp",
        dtype="float32",
        edits={
            "numpy": Edit(
                "ops.py",
                "return x_BC @ kernel_CO + bias_O",
                'return (x_BC.astype("float16") @ kernel_CO.astype("float16")).astype(x_BC.dtype) + bias_O',
            ),
            "pytorch": Edit("mlp.py", "F.relu(dense(x))", "F.relu(dense.bfloat16()(x.bfloat16()).float())"),
            "keras": Edit("mlp.py", 'name=f"dense_{i}", dtype=dtype)', 'name=f"dense_{i}", dtype="mixed_bfloat16")'),
            "jax": Edit("mlp.py", "dtype=dtype, param_dtype=dtype", 'dtype="bfloat16", param_dtype=dtype'),
        },
    ),
    Fault(
        name="dropout while reading",
        meaning="dropout is on while reading",
        check="dropout_is_off_when_reading",
        rung="mlp",
        edits={
            "numpy": Edit(
                "recognizer.py",
                "self.xp.asarray(images_BHW1, dtype=self.dtype))",
                "self.xp.asarray(images_BHW1, dtype=self.dtype), np.random.default_rng(0))",
            ),
            "pytorch": Edit("recognizer.py", "self.model.eval()(*inputs)", "self.model(*inputs)"),
            "keras": Edit(
                "recognizer.py",
                "self._predict(self.model, inputs if len(inputs) > 1 else images_BHW1)",
                "to_numpy(self.model(images_BHW1, training=True))",
            ),
            "jax": Edit(
                "recognizer.py",
                "return nnx.merge(graphdef, params, statistics)(*inputs)",
                "return nnx.merge(graphdef, params, statistics)(*inputs, rngs=nnx.Rngs(dropout=0))",
            ),
        },
    ),
)
