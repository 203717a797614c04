"""The one weights file that every implementation reads and writes.

The format is safetensors, float32; kernels may be stored as float16. Each parameter has its canonical name and layout
(see `common.spec`). The metadata are format, spec, charset, preprocessing and provenance. The golden example lets the
file prove itself: a few small images with the logits that the trained model computed for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from common.atomic import write_atomically
from common.batch import to_float
from common.charset import Charset
from common.errors import UserError
from common.spec import Parameter, Spec, spec_from_dict, spec_to_dict

# G golden images, H height, W width, K classes, L label length, S scores per image (see Golden)
# h and w half of H and W, M maps of a page

FORMAT = "fourhands-weights-1"
PREPROCESSING = "uint8 image, ink 255 on paper 0, divided by 255"

Weights = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Images with the logits that the model computed for them when the file was written."""

    images_GHW: UInt8[np.ndarray, "G H W"]
    logits: Float[np.ndarray, "G K"] | Float[np.ndarray, "G S K"] | Float[np.ndarray, "G h w M"]
    """As `Recognizer.logits` returns them."""
    widths_G: Int[np.ndarray, "G"] | None = None
    """Lines only: each line's own columns."""
    labels_GL: Int[np.ndarray, "G L"] | None = None
    """Lines only: classes of the text, 0 past its end."""
    sizes_G2: Int[np.ndarray, "G 2"] | None = None
    """Pages only: each page's own rows and columns."""

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        """The arguments of `Recognizer.logits`."""
        more = self.widths_G, self.labels_GL, self.sizes_G2
        return to_float(self.images_GHW), *(array for array in more if array is not None)


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """The content of a weights file."""

    spec: Spec
    charset: Charset
    weights: Weights
    golden: Golden
    provenance: dict[str, Any] = field(default_factory=dict)
    """Origin of the weights: framework, data, seed, versions."""


def initial_weights(spec: Spec, seed: int) -> Weights:
    """The initial weights of every implementation, float32, drawn from the seed and each parameter's name.

    Sources: He et al. 2015 (normal, variance 2 / fan_in); Glorot & Bengio 2010 (uniform, variance 2 over the sum of
    fan_in and fan_out); Saxe et al. 2014 (orthogonal rows); an embedding is normal with variance 1 / D.
    """
    return {name: _draw(name, parameter, seed) for name, parameter in spec.parameters().items()}


def _draw(name: str, parameter: Parameter, seed: int) -> np.ndarray:
    if parameter.initializer in ("zeros", "ones"):
        return np.full(parameter.shape, parameter.initializer == "ones", np.float32)
    rng = np.random.default_rng([seed, *name.encode()])
    if parameter.initializer == "embedding":
        return (rng.standard_normal(parameter.shape) / np.sqrt(parameter.shape[-1])).astype(np.float32)
    if parameter.initializer == "orthogonal":
        q, r = np.linalg.qr(rng.standard_normal(parameter.shape[::-1]))
        return np.ascontiguousarray((q * np.sign(np.diag(r))).T, dtype=np.float32)
    receptive_field = int(np.prod(parameter.shape[:-2]))
    fan_in, fan_out = parameter.shape[-2] * receptive_field, parameter.shape[-1] * receptive_field
    if parameter.initializer == "he_normal":
        return (rng.standard_normal(parameter.shape) * np.sqrt(2 / fan_in)).astype(np.float32)
    limit = np.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, parameter.shape).astype(np.float32)


def check_weights(weights: Mapping[str, np.ndarray], spec: Spec, origin: str) -> None:
    """Check names, shapes and values against the spec's table.

    Args:
        weights: canonical name to array.
        spec: the model they are for.
        origin: name of the weights in an error message.

    Raises:
        UserError: a missing or extra name, a wrong shape, a value that is not finite.
    """
    table = spec.parameters()
    if missing := table.keys() - weights.keys():
        raise UserError(f"{origin} lacks {_listed(missing)}, which rung {spec.rung} needs; is it of another rung?")
    if extra := weights.keys() - table.keys():
        raise UserError(
            f"{origin} holds {_listed(extra)}, which rung {spec.rung} does not have; is it of another rung?"
        )
    for name, parameter in table.items():
        array = weights[name]
        if array.shape != parameter.shape:
            raise UserError(
                f"{origin}: {name} has shape {array.shape} where the spec needs {parameter.shape}; "
                "use weights of the same spec"
            )
        if not np.isfinite(array).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise UserError(
                f"{origin}: {name}{list(index)} is {array[index]}; the file is damaged or training diverged"
            )


def rounded(weights: Mapping[str, np.ndarray]) -> Weights:
    """The weights with their kernels rounded to float16, in float32.

    Biases, scales and running statistics are few, and a variance may be below what float16 can hold. They stay as they
    are.

    Raises:
        UserError: a kernel has a value above float16's largest, 65,504.
    """
    for name, array in weights.items():
        if array.ndim > 1 and np.abs(array).max(initial=0) > np.finfo(np.float16).max:
            raise UserError(f"{name} has a value that float16 cannot hold; keep these weights in float32")
    return {
        name: array.astype(np.float16).astype(np.float32) if array.ndim > 1 else array.astype(np.float32)
        for name, array in weights.items()
    }


def save_weights(path: Path, content: WeightsFile, *, half: bool = False) -> None:
    """Write the file atomically.

    Args:
        path: the file.
        content: what it holds.
        half: store kernels as float16. The golden example must be of weights that were `rounded` before.

    Raises:
        UserError: the folder is not writable, or the disk is full.
    """
    # safetensors 0.8 writes a transposed view's bytes in the wrong order, so every array is made contiguous
    tensors = {
        name: np.ascontiguousarray(array, np.float16 if half and array.ndim > 1 else np.float32)
        for name, array in content.weights.items()
    }
    golden = content.golden
    tensors["golden.images"] = np.ascontiguousarray(golden.images_GHW)
    tensors["golden.logits"] = np.ascontiguousarray(golden.logits, np.float32)
    if golden.widths_G is not None and golden.labels_GL is not None:
        tensors["golden.widths"] = np.ascontiguousarray(golden.widths_G, np.int32)
        tensors["golden.labels"] = np.ascontiguousarray(golden.labels_GL, np.int32)
    if golden.sizes_G2 is not None:
        tensors["golden.sizes"] = np.ascontiguousarray(golden.sizes_G2, np.int32)
    metadata = {
        "format": FORMAT,
        "spec": json.dumps(spec_to_dict(content.spec)),
        "charset": json.dumps(content.charset.characters, ensure_ascii=False),
        "preprocessing": PREPROCESSING,
        "provenance": json.dumps(content.provenance, sort_keys=True),
    }
    write_atomically(path, _in_order(save(tensors, metadata)))


def read_tensors(source: Path | bytes) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The metadata and the tensors of a safetensors file, which is given by its path or its content.

    Raises:
        SafetensorError: it is no safetensors file.
        OSError: it cannot be read.
    """
    if isinstance(source, bytes):
        tensors = load(source)
        length = int.from_bytes(source[:8], "little")  # the format: 8 bytes with the length of the header, the header
        return json.loads(source[8 : 8 + length]).get("__metadata__", {}), tensors
    with safe_open(source, "numpy") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}


def load_weights(path: Path | bytes) -> WeightsFile:
    """Read a weights file, given by its path or its content, and check it against its own spec.

    Raises:
        UserError: no such file, no safetensors, another format, or weights that do not fit the spec.
    """
    if isinstance(path, bytes):
        return _checked(path, "the weights file")
    if not path.is_file():
        raise UserError(f"no weights file at {path}; give a run folder or a .safetensors file")
    return _checked(path, str(path))


def _checked(source: Path | bytes, path: str) -> WeightsFile:
    try:
        metadata, tensors = read_tensors(source)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is not a safetensors file ({error}); give a file that `fourhands train` wrote"
        ) from None
    if metadata.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {metadata.get('format')!r} where {FORMAT!r} was expected; "
            "give a file that `fourhands train` wrote"
        )
    try:
        spec = _spec(path, json.loads(metadata["spec"]))
        charset = Charset(tuple(json.loads(metadata["charset"])))
        provenance = json.loads(metadata["provenance"])
        golden = Golden(
            images_GHW=tensors.pop("golden.images"),
            logits=tensors.pop("golden.logits"),
            widths_G=tensors.pop("golden.widths", None),
            labels_GL=tensors.pop("golden.labels", None),
            sizes_G2=tensors.pop("golden.sizes", None),
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} lacks readable metadata ({error}); train again or restore the file") from None
    complete = bool(spec.stem) == (golden.widths_G is not None)
    complete &= (spec.task == "pages") == (golden.sizes_G2 is not None)
    if not isinstance(provenance, dict) or not complete:
        raise UserError(f"{path} lacks readable metadata or its golden example; train again or restore the file")
    classes = getattr(spec, "num_classes", 0)  # a model of pages has none
    if spec.task == "pages":
        if len(charset):
            raise UserError(f"{path}: a {spec.rung} has no characters, but the charset has {len(charset)}")
    elif len(charset) + spec.extra_classes != classes:
        raise UserError(
            f"{path}: the charset has {len(charset)} characters, which does not fit the {classes} classes of "
            "the spec; the file was put together from two models"
        )
    tensors = {name: array.astype(np.float32, copy=False) for name, array in tensors.items()}  # of float16
    check_weights(tensors, spec, path)
    return WeightsFile(spec=spec, charset=charset, weights=tensors, golden=golden, provenance=provenance)


def _spec(path: str, fields: Any) -> Spec:
    try:
        return spec_from_dict(fields)
    except UserError as error:
        raise UserError(f"{path}: {error}; train again or restore the file") from None


def _in_order(file: bytes) -> bytes:
    """The file with its metadata sorted: safetensors writes them in random order, but one run must give one file."""
    length = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    ordered = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % 8)  # the format wants the tensors aligned
    return len(ordered).to_bytes(8, "little") + ordered + file[8 + length :]


def _listed(names: set[str]) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return ", ".join(shown[:3]) + more
