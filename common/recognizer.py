"""The border: what each implementation provides, with NumPy arrays on both sides.

An implementation is a package with an entry point in the group `fourhands.implementations`. The entry point's value is
a function `build(spec, *, seed, device, dtype) -> Recognizer`. The command line, the suite and the report use nothing
else of an implementation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import ClassVar, Literal, Protocol, SupportsFloat, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from common.batch import Batch, LineBatch, PageBatch
from common.config import TrainConfig
from common.errors import NotInstalled, unknown_name
from common.spec import Spec

# B batch, H height, W width, K classes, L label length, T frames, S scores per image or training steps
# h and w half of H and W, M maps of a page

GROUP = "fourhands.implementations"

Device = Literal["cpu", "gpu"]
DType = Literal["float32", "float64"]
AnyBatch = Batch | LineBatch | PageBatch
State = Mapping[str, np.ndarray]
"""All that a training loop needs to continue: weights, optimizer slots, counters, random state. The loop names them."""


@runtime_checkable
class TrainingRun(Protocol):
    """One training run, as an implementation's loop sees it; see `common.training.run.Run`.

    A loop takes up `checkpoint` if there is one, iterates over `epochs()` and `batches(epoch)`, and calls
    `step_done(loss)` after every update and `epoch_done(recognizer, state)` after every epoch.
    """

    config: TrainConfig
    checkpoint: State | None
    """The state that the same implementation gave to `epoch_done`; None if the run starts from the beginning."""
    learning_rates_S: Float[np.ndarray, "S"]
    """Learning rate of each step."""
    steps_per_epoch: int
    step: int
    """Steps finished."""

    @property
    def look_due(self) -> bool:
        """Whether a recorder wants to look at the model after this step. A loop may ignore it."""

    def epochs(self) -> range:
        """The epochs that remain, from 0."""

    def batches(self, epoch: int) -> Iterator[AnyBatch]:
        """The batches of an epoch, in order."""

    def step_done(self, loss: SupportsFloat) -> None:
        """Report an update.

        Args:
            loss: as `Recognizer.loss_and_gradients` defines it. The framework's own scalar will do: the run fetches it
                a few steps later, so that the loop need not wait for the device.

        Raises:
            UserError: the loss of this step, or of one a few steps earlier, is not finite.
        """

    def look(self, recognizer: Recognizer) -> None:
        """Show the model in the middle of an epoch, after a step for which `look_due` is true.

        The recognizer must have the weights after that step: it is asked for weights and gradients.
        """

    def epoch_done(self, recognizer: Recognizer, state: State) -> None:
        """Report a finished epoch, with all that is needed to continue from here.

        Raises:
            StoppedEarly: the run ends here, see `common.training.run`. `fit` lets it through.
        """


@runtime_checkable
class Recognizer(Protocol):
    """One model of one rung in one framework."""

    packages: ClassVar[tuple[str, ...]]
    """Distributions whose versions belong in a result, such as ("jax", "flax", "optax")."""
    precisions: ClassVar[tuple[str, ...]]
    """Values of `TrainConfig.precision` that `fit` can train with."""
    spec: Spec

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Load canonical weights (see `common.weights`); they have been checked against the spec."""

    def export_weights(self) -> dict[str, np.ndarray]:
        """Canonical weights and running statistics, as C-contiguous copies in the model's dtype."""

    def logits(
        self,
        images_BHW1: Float[np.ndarray, "B H W 1"],
        sizes: Int[np.ndarray, "B"] | Int[np.ndarray, "B 2"] | None = None,
        labels_BL: Int[np.ndarray, "B L"] | None = None,
    ) -> Float[np.ndarray, "B K"] | Float[np.ndarray, "B S K"] | Float[np.ndarray, "B h w M"]:
        """Unnormalised scores per class. Dropout is off; batch norm uses its running statistics. B is at least 1.

        `mlp` and `cnn` take images and return (B, K). `lstm_ctc` also takes the lines' widths (see `LineBatch`) and
        returns (B, T, K), a row per frame. `transformer` also takes labels and returns (B, L + 1, K): row i scores the
        character after the first i, where class 0 is the end of the text. Rows past a line's own frames, or past the
        end of its text, are zero. `unet` takes pages and their sizes (see `PageBatch`) and returns (B, h, w, M), zero
        past a page's own size. A line or a page has the same logits alone and in any batch, whatever its padding.
        """

    def loss_and_gradients(self, batch: AnyBatch) -> tuple[float, dict[str, np.ndarray]]:
        """The loss of a training step with dropout off, and its gradient per trained canonical parameter.

        Characters: mean softmax cross-entropy, nats. `lstm_ctc`: Σ -log p(label | frames) ÷ Σ characters.
        `transformer`: Σ cross-entropy ÷ number of targets, which are the characters and the end of each text. Batch
        norm uses the statistics of the batch, over the lines' own columns or the pages' own pixels; the running
        statistics do not change. `unet`: mean binary cross-entropy over the pixels that count, nats, plus the mean over
        the maps of 1 - (2 Σ score · target + 1) / (Σ score + Σ target + 1).
        """

    def fit(self, run: TrainingRun) -> None:
        """Train as `run.config` says, from the present weights, or from `run.checkpoint` if there is one."""

    def placement(self) -> dict[str, Device]:
        """The device of each parameter (by canonical name) and of the output ("logits"), read from the arrays."""


@runtime_checkable
class Decoder(Protocol):
    """What a `transformer` provides in addition."""

    def decode(
        self,
        images_BHW1: Float[np.ndarray, "B H W 1"],
        widths_B: Int[np.ndarray, "B"],
        *,
        cached: bool = True,
    ) -> tuple[Int[np.ndarray, "B T"], Float[np.ndarray, "B T"]]:
        """Greedy decoding: the most probable class at each position given the previous ones, to the end of the text.

        Args:
            images_BHW1: lines, as for `logits`.
            widths_B: int32, each line's own columns.
            cached: keep the keys and values of each layer. Without the cache, every character decodes the whole text
                again; the suite compares the two.

        Returns:
            Classes, int32, and the log-probability of each. A text ends with its first class 0, whose log-probability
            counts, or when it has as many characters as the line has frames. After its end, both are 0.
        """


@runtime_checkable
class Build(Protocol):
    """An implementation's entry point."""

    def __call__(self, spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> Recognizer:
        """A model that starts from `common.weights.initial_weights(spec, seed)`.

        Raises:
            UserError: this machine does not have the device.
        """


def implementations() -> dict[str, EntryPoint]:
    """Name to entry point of every registered implementation, whether or not its framework is installed."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def load_implementation(name: str) -> Build:
    """The `build` function of the implementation called `name`.

    Raises:
        UserError: an unknown name.
        NotInstalled: its framework is not installed.
    """
    known = implementations()
    if name not in known:
        raise unknown_name("framework", name, known)
    try:
        build: Build = known[name].load()
    except ModuleNotFoundError as error:
        distribution = known[name].dist
        package = distribution.name if distribution else "fourhands"
        raise NotInstalled(
            f"framework {name!r} is not installed ({error.name} is missing); "
            f'install it with: pip install "{package}[{name}]"'
        ) from None
    return build
