"""One implementation in its own process, so that no two frameworks share a process.

The suite's process sends requests through a pipe and receives NumPy arrays.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import multiprocessing
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.config import TrainConfig
from common.data.batches import Batches
from common.errors import UserError
from common.recognizer import AnyBatch, Device, DType, Recognizer, State, load_implementation
from common.spec import Spec
from common.training.run import Progress, Run
from conformance.inside import exported_weights_are_copies
from conformance.tolerances import Mismatch

PATIENCE_SECONDS = 600.0
"""A request that takes longer ends its worker. The slowest one takes about a minute on a quiet machine."""
MODELS_KEPT = 8  # no check uses more at once, and more compiled models would fill the memory
# Keras reads the signature of a layer's __init__, which the check of shapes replaces, so only its border is checked
BORDER_ONLY = {"impl_keras": "impl_keras.recognizer"}


class WorkerFailed(RuntimeError):
    """The implementation raised, its process died, or it did not answer in time; the message says which request."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The result of a training run."""

    weights: dict[str, np.ndarray]
    losses: list[float]
    """One per step."""
    digests: list[str]
    """SHA-256 of each batch that it took, in order."""
    state: dict[str, np.ndarray]
    """The state that the last `epoch_done` received."""
    progress: Progress


class _Interrupted(Exception):
    """Stops a run in the middle of an epoch."""


class _HashingRun(Run):
    """Records every batch that the implementation takes."""

    digests: list[str]

    def batches(self, epoch: int) -> Iterator[AnyBatch]:
        for batch in super().batches(epoch):
            self.digests.append(digest(batch))
            yield batch


@dataclass
class _Notes:
    """Records what the loop reports, and stops the run one step after the epoch `stop_after_epoch`."""

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


def digest(batch: AnyBatch) -> str:
    """SHA-256 of the bytes, types and shapes of a batch."""
    sha = hashlib.sha256()
    for array in batch.arrays:
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def fit(
    model: Recognizer,
    config: TrainConfig,
    batches: Batches,
    stop_after_epoch: int | None = None,
    resume: Fitted | None = None,
) -> Fitted:
    """Train with the model's own `fit`, and record what it does."""
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
    """A recognizer in a worker. Its methods are those of `common.recognizer.Recognizer`."""

    packages: ClassVar[tuple[str, ...]] = ()
    precisions: ClassVar[tuple[str, ...]] = ("float32",)

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

    def loss_and_gradients(self, batch: AnyBatch) -> tuple[float, dict[str, np.ndarray]]:
        return self._worker.request("call", self._handle, "loss_and_gradients", batch)

    def placement(self) -> dict[str, Device]:
        return self._worker.request("call", self._handle, "placement")

    def exported_weights_are_copies(
        self, weights: Mapping[str, np.ndarray], config: TrainConfig, batches: Batches
    ) -> dict[str, np.ndarray]:
        """See `conformance.inside.exported_weights_are_copies`."""
        return self._worker.request("exported_weights_are_copies", self._handle, dict(weights), config, batches)

    def fit(
        self,
        config: TrainConfig,
        batches: Batches,
        *,
        stop_after_epoch: int | None = None,
        resume: Fitted | None = None,
        patience: float | None = None,
    ) -> Fitted:
        """Train with the implementation's own `fit`.

        Args:
            config: how to train.
            batches: what to train on.
            stop_after_epoch: stop one step after this many epochs.
            resume: a run that was stopped, to continue.
            patience: seconds until the worker is ended; None is `PATIENCE_SECONDS`.
        """
        arguments = self._handle, config, batches, stop_after_epoch, resume
        return self._worker.request("fit", *arguments, patience=patience)


class Worker:
    """A process that holds one implementation.

    Args:
        implementation: its entry point's name.
        strict: check shapes at run time, and treat warnings as errors.
        environment: variables to set for this process alone.
        path: a folder to import from before all others, such as one with a faulty copy of a package.
    """

    def __init__(
        self,
        implementation: str,
        *,
        strict: bool = True,
        environment: Mapping[str, str] | None = None,
        path: Path | None = None,
    ) -> None:
        self.implementation = implementation
        self.runs: dict[Hashable, Fitted] = {}
        """Runs that checks share; see `conformance.checks.subject.golden_run`."""
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, implementation, strict), daemon=True)
        with _process_settings(environment or {}, path):  # a spawned process copies both from this one
            self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it can take a request."""
        return not self._connection.closed and self._process.is_alive()

    def request(self, operation: str, *arguments: Any, patience: float | None = None) -> Any:
        """Run one operation in the worker.

        Args:
            operation: a method of `_Server`.
            arguments: its arguments.
            patience: seconds to wait for the answer; None is `PATIENCE_SECONDS`.

        Raises:
            UserError: the implementation raised it.
            Mismatch: a check in the worker raised it.
            WorkerFailed: the implementation raised anything else, its process died, or the answer took too long.
        """
        seconds = PATIENCE_SECONDS if patience is None else patience
        asked = f"{self.implementation}: {_name(operation, arguments)}"
        if not self.alive:
            raise WorkerFailed(f"{asked} was not sent: the process has ended")
        try:
            self._connection.send((operation, arguments))
            if not self._connection.poll(seconds):
                self.close()
                raise WorkerFailed(f"{asked} has not answered within {seconds:g} seconds; its process was ended")
            kind, answer = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self.close()
            raise WorkerFailed(f"{asked} ended its process (exit code {self._process.exitcode})") from error
        if kind == "user error":
            raise UserError(answer)
        if kind == "mismatch":
            raise Mismatch(answer)
        if kind == "failure":
            raise WorkerFailed(f"{asked} raised:\n{answer}")
        return answer

    def build(self, spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> Model:
        """A new model; see `common.recognizer.Build`."""
        return Model(self, self.request("build", spec, seed, device, dtype), spec)

    def borrow(self, spec: Spec, *, device: Device, dtype: DType) -> Model:
        """A model of this spec, shared by all who borrow it, so that it is compiled once. Load weights before use."""
        return Model(self, self.request("borrow", spec, device, dtype), spec)

    def shadow(self, folder: Path | None) -> None:
        """Import the implementation again, from `folder` instead of where it is installed; None undoes this."""
        self.runs.clear()
        self.request("shadow", None if folder is None else str(folder))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()


@contextlib.contextmanager
def _process_settings(environment: Mapping[str, str], path: Path | None) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    if path is not None:
        sys.path.insert(0, str(path))
    try:
        yield
    finally:
        if path is not None:
            sys.path.remove(str(path))
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _name(operation: str, arguments: tuple[Any, ...]) -> str:
    """The request in words: the operation, or the recognizer's method that it calls, and the spec that it names."""
    called = arguments[1] if operation == "call" else operation
    function = getattr(arguments[0], "__name__", "") if operation == "apply" else ""
    about = [repr(argument) for argument in arguments if isinstance(argument, Spec)]
    return " ".join(["request", f"'{function or called}'", *(f"for {spec}" for spec in about)])


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
        except Mismatch as error:
            answer = "mismatch", str(error)
        except BaseException:  # noqa: BLE001 the suite reports whatever an implementation raises
            answer = "failure", traceback.format_exc()
        connection.send(answer)


class _Server:
    """The operations, in the worker."""

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

        # The shapes in signatures are checked while the suite runs. The hook is installed only now, because what a
        # hooked module is the first to import, such as the whole framework, is compiled from source each time
        package = _package(self._implementation)
        install_import_hook(BORDER_ONLY.get(package, package), "beartype.beartype")
        self._forget()
        load_implementation(self._implementation)
        # only now: a warning while a framework is imported says nothing about the implementation
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

    def apply(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    def exported_weights_are_copies(
        self, handle: int, weights: dict[str, np.ndarray], config: TrainConfig, batches: Batches
    ) -> dict[str, np.ndarray]:
        model = self._models[handle]
        return exported_weights_are_copies(model, weights, lambda: fit(model, config, batches))

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
        """Remove the implementation's modules, so that it is imported again; its framework stays."""
        package = _package(self._implementation)
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]
        importlib.invalidate_caches()


def _package(implementation: str) -> str:
    from common.recognizer import implementations

    return implementations()[implementation].module.split(".")[0]
