"""One implementation in a process of its own, so that no two frameworks share one.

The suite's process sends requests through a pipe and gets NumPy arrays back.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import multiprocessing
import sys
import traceback
import warnings
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.batch import Batch, LineBatch
from common.config import TrainConfig
from common.data.characters import CharacterBatches
from common.data.line_batches import LineBatches
from common.errors import UserError
from common.recognizer import Device, DType, Recognizer, State, load_implementation
from common.spec import Spec
from common.training.run import Progress, Run

PATIENCE_SECONDS = 3 * 3600
MODELS_KEPT = 8  # no check uses more in turn; compiled models would fill the memory
# of Keras the border alone: Keras reads the signature of a layer's __init__, which the check of shapes replaces
BORDER_ONLY = {"impl_keras": "impl_keras.recognizer"}


class WorkerFailed(RuntimeError):
    """The implementation raised; the text is its traceback."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a training run left behind."""

    weights: dict[str, np.ndarray]
    losses: list[float]
    """One per step."""
    digests: list[str]
    """SHA-256 of each batch it was given, in order."""
    state: dict[str, np.ndarray]
    """As given to the last `epoch_done`."""
    progress: Progress


class _Interrupted(Exception):
    """Stops a run in mid-epoch."""


class _HashingRun(Run):
    """Notes every batch the implementation takes."""

    digests: list[str]

    def batches(self, epoch: int) -> Iterator[Batch | LineBatch]:
        for batch in super().batches(epoch):
            self.digests.append(digest(batch))
            yield batch


@dataclass
class _Notes:
    """Keeps what the loop reports; stops the run one step after `stop_after_epoch` is done."""

    stop_after_epoch: int | None
    losses: list[float] = field(default_factory=list)
    state: State = field(default_factory=dict)
    progress: Progress | None = None

    def step_done(self, progress: Progress, loss: float, learning_rate: float) -> None:
        self.losses.append(float(loss))
        if self.progress is not None and self.progress.epoch == self.stop_after_epoch:
            raise _Interrupted

    def epoch_done(self, progress: Progress, recognizer: Recognizer, state: State) -> None:
        # a copy: a state that shares memory with the running model would go on changing
        self.state, self.progress = {name: np.array(array) for name, array in state.items()}, progress


def digest(batch: Batch | LineBatch) -> str:
    """SHA-256 of a batch's bytes, types and shapes."""
    sha = hashlib.sha256()
    for array in batch.arrays:
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def fit(
    model: Recognizer,
    config: TrainConfig,
    batches: CharacterBatches | LineBatches,
    stop_after_epoch: int | None = None,
    resume: Fitted | None = None,
) -> Fitted:
    """Train with the model's own `fit`, and note everything it does."""
    notes = _Notes(stop_after_epoch)
    run = _HashingRun(
        config,
        batches,
        observers=[notes],
        checkpoint=resume.state if resume else None,
        progress=resume.progress if resume else None,
    )
    run.digests = []
    with contextlib.suppress(_Interrupted):
        model.fit(run)
    assert notes.progress is not None, "fit reported no epoch"
    return Fitted(
        weights=model.export_weights(),
        losses=notes.losses,
        digests=run.digests,
        state=dict(notes.state),
        progress=notes.progress,
    )


class Model:
    """A recognizer in a worker, with the border's methods."""

    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, worker: Worker, handle: int, spec: Spec) -> None:
        self._worker, self._handle, self.spec = worker, handle, spec

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        self._worker.request("call", self._handle, "load_weights", dict(weights))

    def export_weights(self) -> dict[str, np.ndarray]:
        return self._worker.request("call", self._handle, "export_weights")

    def logits(self, *inputs: np.ndarray) -> np.ndarray:
        return self._worker.request("call", self._handle, "logits", *inputs)

    def decode(
        self, images_BHW1: np.ndarray, widths_B: np.ndarray, *, cached: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        return self._worker.request("decode", self._handle, images_BHW1, widths_B, cached)

    def loss_and_gradients(self, batch: Batch | LineBatch) -> tuple[float, dict[str, np.ndarray]]:
        return self._worker.request("call", self._handle, "loss_and_gradients", batch)

    def placement(self) -> dict[str, Device]:
        return self._worker.request("call", self._handle, "placement")

    def fit(
        self,
        config: TrainConfig,
        batches: CharacterBatches | LineBatches,
        *,
        stop_after_epoch: int | None = None,
        resume: Fitted | None = None,
    ) -> Fitted:
        """Train with the implementation's own `fit`; optionally break off in mid-epoch, or go on from such a run."""
        return self._worker.request("fit", self._handle, config, batches, stop_after_epoch, resume)


class Worker:
    """A process that holds one implementation.

    Args:
        implementation: its entry point's name.
        strict: check shapes at run time, and take warnings for errors.
    """

    def __init__(self, implementation: str, *, strict: bool = True) -> None:
        self.implementation = implementation
        self.runs: dict[Hashable, Fitted] = {}
        """Runs that checks share; see `conformance.checks.subject.golden_run`."""
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, implementation, strict), daemon=True)
        self._process.start()
        theirs.close()

    def request(self, operation: str, *arguments: Any) -> Any:
        """Run one operation over there.

        Raises:
            UserError: as the implementation raised it.
            WorkerFailed: it raised anything else, died, or took longer than three hours.
        """
        try:
            self._connection.send((operation, arguments))
            if not self._connection.poll(PATIENCE_SECONDS):
                self.close()
                raise WorkerFailed(f"{self.implementation}: no answer to {operation} in {PATIENCE_SECONDS} s")
            kind, answer = self._connection.recv()
        except (EOFError, BrokenPipeError) as error:
            raise WorkerFailed(f"{self.implementation}: the process died during {operation}") from error
        if kind == "user error":
            raise UserError(answer)
        if kind == "failure":
            raise WorkerFailed(f"{self.implementation}, {operation}:\n{answer}")
        return answer

    def build(self, spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> Model:
        """A new model over there; see `common.recognizer.Build`."""
        return Model(self, self.request("build", spec, seed, device, dtype), spec)

    def borrow(self, spec: Spec, *, device: Device, dtype: DType) -> Model:
        """A model that was borrowed before, if there is one, with what it has compiled; its weights are anyone's."""
        return Model(self, self.request("borrow", spec, device, dtype), spec)

    def shadow(self, folder: Path | None) -> None:
        """Import the implementation anew, from `folder` instead of where it is installed; None undoes it."""
        self.runs.clear()
        self.request("shadow", None if folder is None else str(folder))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def _serve(connection: Connection, implementation: str, strict: bool) -> None:
    server = _Server(implementation, strict)
    while True:
        try:
            operation, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = "answer", getattr(server, operation)(*arguments)
        except UserError as error:
            answer = "user error", str(error)
        except BaseException:  # noqa: BLE001 whatever an implementation raises is told to the suite
            answer = "failure", traceback.format_exc()
        connection.send(answer)


class _Server:
    """The operations, on the worker's side."""

    def __init__(self, implementation: str, strict: bool) -> None:
        self._implementation = implementation
        self._strict = strict
        self._models: dict[int, Recognizer] = {}
        self._lent: dict[tuple[Spec, Device, DType], int] = {}
        self._built = 0
        self._shadow: str | None = None

    def load(self) -> None:
        load_implementation(self._implementation)
        if not self._strict:
            return
        from jaxtyping import install_import_hook

        # the shapes in signatures are checked while the suite runs; only now, because whatever a hooked module is the
        # first to import, such as the whole framework, is compiled from its source instead of read as bytecode
        package = _package(self._implementation)
        install_import_hook(BORDER_ONLY.get(package, package), "beartype.beartype")
        self._forget()
        load_implementation(self._implementation)
        # from here on; what a framework warns of while it is imported is its own affair
        warnings.simplefilter("error")

    def build(self, spec: Spec, seed: int, device: Device, dtype: DType) -> int:
        build = load_implementation(self._implementation)
        self._models.pop(self._built - MODELS_KEPT, None)
        self._built += 1
        self._models[self._built] = build(spec, seed=seed, device=device, dtype=dtype)
        return self._built

    def borrow(self, spec: Spec, device: Device, dtype: DType) -> int:
        key = spec, device, dtype
        if self._lent.get(key) not in self._models:
            self._lent[key] = self.build(spec, 0, device, dtype)
        return self._lent[key]

    def call(self, handle: int, method: str, *arguments: Any) -> Any:
        return getattr(self._models[handle], method)(*arguments)

    def decode(
        self, handle: int, images_BHW1: np.ndarray, widths_B: np.ndarray, cached: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        return self._models[handle].decode(images_BHW1, widths_B, cached=cached)

    def fit(self, handle: int, *arguments: Any) -> Fitted:
        return fit(self._models[handle], *arguments)

    def shadow(self, folder: str | None) -> None:
        self._models.clear()
        self._lent.clear()
        if self._shadow is not None:
            sys.path.remove(self._shadow)
        if folder is not None:
            sys.path.insert(0, folder)
        self._forget()
        self._shadow = folder

    def _forget(self) -> None:
        """Have the implementation imported anew by whoever asks for it next; its framework stays."""
        package = _package(self._implementation)
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]
        importlib.invalidate_caches()


def _package(implementation: str) -> str:
    from common.recognizer import implementations

    return implementations()[implementation].module.split(".")[0]
