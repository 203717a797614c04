"""The measurements of the page on timing: products, a training step, a loader, three benchmarks that mislead."""

# N examples, D inputs, H hidden units, K classes

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np
import torch


# --- seconds
def seconds(run: Callable[[], object], repeats: int = 7) -> float:
    """Seconds of the fastest call. The first call does not count."""
    run()
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        durations.append(time.perf_counter() - start)
    return min(durations)


# --- product
def operations_per_second(size: int) -> float:
    """The speed of a product of two square float32 matrices, which takes 2 · size³ operations."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, size, size), np.float32)
    calls = max(1, 2_000_000 // size**3)  # enough for the clock
    return calls * 2 * size**3 / seconds(lambda: [a @ b for _ in range(calls)])


# --- step
Weights = list[jax.Array]


def loss_of(weights: Weights, x_ND: jax.Array, t_NK: jax.Array) -> jax.Array:
    """Cross-entropy of a network with one hidden layer."""
    w1, b1, w2, b2 = weights
    hidden_NH = jax.nn.relu(x_ND @ w1 + b1)
    return -jnp.mean(jnp.sum(t_NK * jax.nn.log_softmax(hidden_NH @ w2 + b2), axis=1))


def step(weights: Weights, x_ND: jax.Array, t_NK: jax.Array) -> Weights:
    """One update by gradient descent."""
    gradients = jax.grad(loss_of)(weights, x_ND, t_NK)
    return [w - 0.1 * dw for w, dw in zip(weights, gradients, strict=True)]


def arguments(
    batch: int = 32,
    inputs: int = 784,
    hidden: int = 128,
    classes: int = 10,
) -> tuple[Weights, jax.Array, jax.Array]:
    """Weights, inputs and targets for `step`."""
    rng = np.random.default_rng(0)
    shapes = (inputs, hidden), (hidden,), (hidden, classes), (classes,)
    weights = [jnp.asarray(0.05 * rng.standard_normal(shape), jnp.float32) for shape in shapes]
    targets = jax.nn.one_hot(rng.integers(0, classes, batch), classes)
    return weights, jnp.asarray(rng.random((batch, inputs)), jnp.float32), targets


# --- loader
@dataclass(frozen=True, kw_only=True)
class Span:
    """An activity with its start and end, seconds."""

    what: str
    start: float
    end: float


def noted(spans: list[Span], what: str, run: Callable[[], object]) -> object:
    """Run, and append the span."""
    start = time.perf_counter()
    result = run()
    spans.append(Span(what=what, start=start, end=time.perf_counter()))
    return result


def in_turn(load: Callable[[], object], batches: int) -> Iterator[object]:
    """Load each batch on demand."""
    for _ in range(batches):
        yield load()


def ahead(load: Callable[[], object], batches: int) -> Iterator[object]:
    """Load the next batch in a thread while this one is used."""
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(load)
        for _ in range(batches - 1):
            ready, waiting = waiting.result(), thread.submit(load)
            yield ready
        yield waiting.result()


# --- timeline
def timeline(
    loader: Callable[[Callable[[], object], int], Iterator[object]],
    batches: int = 8,
) -> list[Span]:
    """Load batches and compute steps. Return the spans of both.

    Both wait 30 ms: the one for a disk, the other for a device that computes.
    """
    spans: list[Span] = []
    for _ in loader(lambda: noted(spans, "load", lambda: time.sleep(0.03)), batches):
        noted(spans, "step", lambda: time.sleep(0.03))
    return spans


# --- counting the compiler
def with_compilation(calls: int) -> tuple[float, float]:
    """Seconds per call of a compiled step, with the first call and without it."""
    compiled = jax.jit(step)
    given = arguments(hidden=100 + calls)  # a shape that is not compiled yet
    start = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(compiled(*given))
    counted = (time.perf_counter() - start) / calls
    return counted, seconds(lambda: jax.block_until_ready(compiled(*given)))


# --- not waiting
def without_waiting(size: int = 1024) -> tuple[float, float]:
    """Seconds until a compiled product returns, and until its result is computed."""
    product = jax.jit(lambda a: a @ a @ a @ a)
    a = jnp.ones((size, size))
    jax.block_until_ready(product(a))
    returned, done = [], []
    for _ in range(7):
        start = time.perf_counter()
        result = product(a)
        returned.append(time.perf_counter() - start)
        jax.block_until_ready(result)
        done.append(time.perf_counter() - start)
    return median(returned), median(done)


# --- two precisions
def two_precisions(size: int = 1024) -> dict[str, float]:
    """Seconds of a product in the default precision of NumPy and of PyTorch, and in NumPy in float32.

    The fastest of ten calls, in turn, so that other work disturbs all of them alike.
    """
    torch.set_num_threads(1)  # like NumPy on the page
    rng = np.random.default_rng(0)
    doubles, tensor = rng.random((size, size)), torch.rand(size, size)
    singles = doubles.astype(np.float32)
    factors = {"NumPy": doubles, "PyTorch": tensor, "NumPy, float32": singles}
    taken: dict[str, list[float]] = {name: [] for name in factors}
    for _ in range(10):
        for name, factor in factors.items():
            start = time.perf_counter()
            factor @ factor
            taken[name].append(time.perf_counter() - start)
    return {name: min(durations) for name, durations in taken.items()}
