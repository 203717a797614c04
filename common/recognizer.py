"""The border: what each implementation answers, NumPy on both sides.

An implementation is a package with an entry point in the group `fourhands.implementations`, whose value is a
function `build(spec, *, seed, device, dtype) -> Recognizer`. The command line, the suite and the report know no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from common.data.dataset import Batch
from common.data.lines import LineBatch
from common.errors import UserError, unknown_name
from common.spec import Spec

if TYPE_CHECKING:
    from common.training.run import Run

# B batch, H height, W width, K classes, L label length, T frames, S scores per image

GROUP = "fourhands.implementations"

Device = Literal["cpu", "gpu"]
DType = Literal["float32", "float64"]


@runtime_checkable
class Recognizer(Protocol):
    """One model of one rung in one framework."""

    packages: ClassVar[tuple[str, ...]]
    """Distributions whose versions belong in a result, such as ("jax", "flax", "optax")."""
    spec: Spec

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take canonical weights (see `common.weights`), already held against the spec."""

    def export_weights(self) -> dict[str, np.ndarray]:
        """Canonical weights, running statistics among them; C-contiguous copies in the model's dtype."""

    def logits(
        self,
        images_BHW1: Float[np.ndarray, "B H W 1"],
        widths_B: Int[np.ndarray, "B"] | None = None,
        labels_BL: Int[np.ndarray, "B L"] | None = None,
    ) -> Float[np.ndarray, "B K"] | Float[np.ndarray, "B S K"]:
        """Unnormalised scores per class, dropout off, batch norm by its running statistics. Any B from 1.

        `mlp`, `cnn` take images and give (B, K). `lstm_ctc` takes lines with their widths (see `LineBatch`) and gives
        (B, T, K), a row per frame. `transformer` takes their labels too and gives (B, L + 1, K): row i scores what
        follows the first i characters, class 0 the end of the text. Rows past a line's own frames, or past the end of
        its text, are zero. A line gives the same logits alone and in any batch, whatever it is padded to.
        """

    def loss_and_gradients(self, batch: Batch | LineBatch) -> tuple[float, dict[str, np.ndarray]]:
        """The loss of a training step with dropout off, and its gradient per trained canonical parameter.

        Characters: mean softmax cross-entropy, nats. `lstm_ctc`: Σ -log p(label | frames) ÷ Σ characters.
        `transformer`: Σ cross-entropy of the characters and of the end ÷ how many these are. Batch norm is by the
        batch's own statistics, over the columns that are the lines' own; the running ones stay as they are.
        """

    def fit(self, run: Run) -> None:
        """Train from the present weights, or from `run.checkpoint` if there is one, as `run.config` says."""

    def placement(self) -> dict[str, Device]:
        """Where each parameter (by canonical name) and the output ("logits") really lie, read off the arrays."""


@runtime_checkable
class Decoder(Protocol):
    """What a `transformer` answers besides."""

    def decode(
        self,
        images_BHW1: Float[np.ndarray, "B H W 1"],
        widths_B: Int[np.ndarray, "B"],
        *,
        cached: bool = True,
    ) -> tuple[Int[np.ndarray, "B T"], Float[np.ndarray, "B T"]]:
        """The most probable class at each position, given those before it, up to the end of the text.

        Args:
            images_BHW1: lines, as for `logits`.
            widths_B: their own columns.
            cached: keep each layer's keys and values; without, decode the whole text anew for every character, which
                is here to be compared with.

        Returns:
            Classes, int32, and the log-probability of each. A text ends with its first class 0, whose log-probability
            counts, or with as many characters as the line has frames of its own; after its end, both are 0.
        """


@runtime_checkable
class Build(Protocol):
    """An implementation's entry point."""

    def __call__(self, spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> Recognizer:
        """A model that starts from `common.weights.initial_weights(spec, seed)`.

        Raises:
            UserError: the device is not there.
        """


def implementations() -> dict[str, EntryPoint]:
    """Name to entry point of every implementation that is registered, whether or not its framework is installed."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def load_implementation(name: str) -> Build:
    """The `build` function of the implementation called `name`.

    Raises:
        UserError: unknown name, or its framework is not installed.
    """
    known = implementations()
    if name not in known:
        raise unknown_name("framework", name, known)
    try:
        build: Build = known[name].load()
    except ModuleNotFoundError as error:
        distribution = known[name].dist
        package = distribution.name if distribution else "fourhands"
        raise UserError(
            f"framework {name!r} is not installed ({error.name} is missing); "
            f'install it with: pip install "{package}[{name}]"'
        ) from None
    return build
