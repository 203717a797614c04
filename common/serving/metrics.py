"""Metrics for Prometheus, in a registry of their own."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from common.reading.formats.xml import program_version
from common.serving.reply import ModelInfo, Reply

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# names of `Engine.state()`: what each counts
_GAUGES = {
    "depth": ("queue_depth", "Pictures that wait"),
    "in_flight": ("in_flight", "Pictures that are read now"),
    "capacity": ("queue_capacity", "Pictures that may wait"),
    "workers_alive": ("workers_alive", "Processes that read"),
}
_COUNTERS = {
    "restarts": ("worker_restarts", "Processes that ended unexpectedly and were started again"),
    "swaps": ("model_swaps", "Models that were loaded while serving"),
    "refused_swaps": ("model_swaps_refused", "Models that failed their proof and never served"),
    "retries": ("read_retries", "Documents that were given to another process, because theirs ended"),
    "batches": ("batches", "Batches of lines"),
    "lines": ("batched_lines", "Lines of these batches"),
    "unplanned": ("unplanned_shapes", "Batches that exceeded the largest shape that was prepared"),
}
disable_created_metrics()  # type: ignore[no-untyped-call] # a series more per counter, for nothing


class Metrics:
    """Counts what the service does."""

    def __init__(self, engine: Any) -> None:
        """Make a registry.

        Args:
            engine: its `state()`, `ready` and `model` are looked up whenever the metrics are asked for.
        """
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "fourhands_requests", "Requests that were answered", ["route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "fourhands_request_seconds",
            "Seconds from the head of a request to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "fourhands_stage_seconds",
            "Seconds that a picture spends in each stage",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.pages = Counter("fourhands_pages_read", "Pages that were read", registry=self.registry)
        self.lines = Counter("fourhands_lines_read", "Lines that were read", registry=self.registry)
        self.bytes = Counter("fourhands_received_bytes", "Bytes of all bodies", registry=self.registry)
        self.registry.register(_Engine(engine))

    def answered(self, route: str, status: int, seconds: float, size: int) -> None:
        """Count a request."""
        self.requests.labels(route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)
        self.bytes.inc(size)

    def read(self, reply: Reply) -> None:
        """Count what was read."""
        self.pages.inc(len(reply.pages))
        self.lines.inc(sum(len(page.reading.lines) for page in reply.pages))
        for stage, seconds in reply.seconds.items():
            self.stage_seconds.labels(stage).observe(max(0.0, seconds))

    def add(self, collect: Callable[[], Iterable[Metric]]) -> None:
        """Show the metrics of another part too."""
        self.registry.register(_Other(collect))

    def render(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return generate_latest(self.registry)


class _Other:
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self.collect = collect

    def describe(self) -> list[Metric]:
        return []  # else the registry collects at once, to learn the names


class _Engine:
    """The state of the engine, whenever it is asked for."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        state: Mapping[str, float] = self.engine.state()
        for key, (name, text) in _GAUGES.items():
            yield GaugeMetricFamily(f"fourhands_{name}", text, value=state.get(key, 0))
        for key, (name, text) in _COUNTERS.items():
            yield CounterMetricFamily(f"fourhands_{name}", text, value=state.get(key, 0))
        yield GaugeMetricFamily("fourhands_ready", "Whether the service is ready", value=float(self.engine.ready))
        build = {"version": program_version(), "python": platform.python_version()}
        yield InfoMetricFamily("fourhands_build", "This program", value=build)
        model: ModelInfo | None = self.engine.model
        if model is not None:
            said = {"identity": model.identity, "rung": model.rung, "framework": model.framework}
            yield InfoMetricFamily("fourhands_model", "The model that reads", value=said)
