"""Traps of PyTorch."""

# N examples, C channels, H height, W width, T frames, D width of a layer

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import nn

Result = TypeVar("Result")


# --- two biases
def speed_of_two_biases() -> float:
    """The step of an LSTM's bias in SGD when both biases are trained, relative to one."""
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 4)
    outputs, _ = lstm(torch.randn(5, 2, 3))
    outputs.sum().backward()
    both = lstm.bias_ih_l0.grad + lstm.bias_hh_l0.grad  # the gates see the sum of the two
    return float(both.norm() / lstm.bias_ih_l0.grad.norm())


# --- clipping
def clipping_falls_short() -> float:
    """The relative difference between the requested norm and that of a clipped gradient."""
    weight = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    weight.grad = torch.tensor([3.0, 4.0], dtype=torch.float64)
    nn.utils.clip_grad_norm_([weight], max_norm=1.0)
    return 1 - float(weight.grad.norm())


# --- a key's bias
def step_of_a_keys_bias() -> tuple[float, float]:
    """The gradient of a key's bias relative to a query's, and its step in Adam at a rate of one."""
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(embed_dim=16, num_heads=2)
    x_TD = 4 * torch.randn(12, 16)
    gathered, _ = attention(x_TD, x_TD, x_TD)
    (100 * gathered**2).sum().backward()
    query, key, _ = attention.in_proj_bias.grad.chunk(3)
    optimizer = torch.optim.Adam([attention.in_proj_bias], lr=1.0)
    before = attention.in_proj_bias.detach().clone()
    optimizer.step()
    steps = (attention.in_proj_bias.detach() - before).abs()
    return float(key.norm() / query.norm()), float(steps.chunk(3)[1].max())


# --- batch norm
def variances_of_two() -> tuple[float, float]:
    """The variance that normalizes the numbers -1 and 1, and the one that is kept."""
    norm = nn.BatchNorm1d(1, momentum=1.0)
    normalized = norm(torch.tensor([[-1.0], [1.0]]))
    return normalized[1].item() ** -2, norm.running_var.item()


# --- sums in float32
def errors_of_batch_norm() -> dict[str, float]:
    """The largest error of a float32 batch norm for each order of axes in memory."""
    torch.manual_seed(0)
    x_NCHW = 3 + torch.randn(32, 8, 28, 160)
    exact = F.batch_norm(x_NCHW.double(), None, None, training=True)
    errors = {}
    for name, order in (
        ("channels first", torch.contiguous_format),
        ("channels last", torch.channels_last),
    ):
        x = x_NCHW.contiguous(memory_format=order)
        errors[name] = float((F.batch_norm(x, None, None, training=True) - exact).abs().max())
    return errors


# --- processor time
def in_a_thread(work: Callable[[], Result]) -> Result:
    """Run work in a new thread, whose settings end with it."""
    results: list[Result] = []
    thread = Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def seconds(work: Callable[[], object], repeats: int = 7) -> float:
    """The least processor time of work in this thread. Other programs change it little."""
    taken = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        taken.append(time.thread_time() - start)
    return min(taken)


# --- denormal numbers
def slowness_of_denormals() -> float:
    """The time for square roots of numbers near 1e-40, relative to that with denormals flushed."""

    def timed(flush: bool) -> float:
        torch.set_flush_denormal(flush)
        tiny = torch.full((10_000,), 1e-40)  # small enough for one thread
        return seconds(tiny.sqrt, repeats=30)

    return in_a_thread(lambda: timed(False)) / in_a_thread(lambda: timed(True))


# --- flushed too late
def surviving_denormals(late: bool) -> float:
    """The share of denormal numbers kept, if the setting comes after two threads start or before."""

    def share() -> float:
        torch.set_num_threads(2)
        torch.set_flush_denormal(not late)
        small = torch.full((1_000_000,), 1e-38)  # large enough to start the threads
        torch.set_flush_denormal(True)
        bits = (small / 2).view(torch.int32)  # a comparison of floats would flush them too
        return float((bits != 0).float().mean())

    threads = torch.get_num_threads()
    try:
        return in_a_thread(share)
    finally:
        torch.set_num_threads(threads)


# --- channels last
def slowness_of_channels_first() -> float:
    """The time of convolution, ReLU and pooling, relative to that with channels last in memory."""

    def timed(order: torch.memory_format) -> float:
        torch.set_num_threads(1)
        x_NCHW = torch.rand(64, 32, 28, 28).contiguous(memory_format=order)
        block = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        block.to(memory_format=order)
        with torch.no_grad():
            return seconds(lambda: block(x_NCHW))

    threads = torch.get_num_threads()
    try:
        first = in_a_thread(lambda: timed(torch.contiguous_format))
        return first / in_a_thread(lambda: timed(torch.channels_last))
    finally:
        torch.set_num_threads(threads)
