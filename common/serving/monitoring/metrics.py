"""The metrics of the monitor, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from common.evaluation.alarms import CAUSES


def metrics_of(report: Mapping[str, Any]) -> Iterator[Metric]:
    """The metrics of a report of the monitor. What is not known is left out."""
    yield GaugeMetricFamily(
        "fourhands_window_lines", "Lines in the window of the monitor", value=report["window"]["count"]
    )
    empty = CounterMetricFamily("fourhands_watched_lines", "Lines whose signs the monitor has seen")
    empty.add_metric([], report["seen"]["lines"])
    yield empty
    alarms = GaugeMetricFamily("fourhands_alarm", "1 while the monitor raises an alarm", labels=["alarm"])
    firing = {alarm["name"] for alarm in report["firing"]}
    for cause in CAUSES:
        alarms.add_metric([cause.name], float(cause.name in firing))
    yield alarms
    figures = report["comparison"]
    if figures is None:
        return
    index = GaugeMetricFamily("fourhands_psi", "Population stability index of a sign in the window", labels=["sign"])
    apart = GaugeMetricFamily(
        "fourhands_ks_distance", "Kolmogorov-Smirnov distance of a sign in the window", labels=["sign"]
    )
    p = GaugeMetricFamily(
        "fourhands_drift_p", "p-value of the change of a sign, corrected for the number of signs", labels=["sign"]
    )
    mean = GaugeMetricFamily("fourhands_sign", "Mean of a sign in the window", labels=["sign"])
    before = GaugeMetricFamily("fourhands_profile_sign", "Mean of a sign in the profile", labels=["sign"])
    for row in figures["signs"]:
        for family, name in ((index, "psi"), (apart, "distance"), (p, "corrected"), (mean, "now"), (before, "before")):
            if row[name] is not None:
                family.add_metric([row["sign"]], row[name])
    yield from (index, apart, p, mean, before)
    if figures["cer"]:
        for name, what in (("cer", ""), ("low", ", lower bound"), ("high", ", upper bound")):
            suffix = "" if name == "cer" else f"_{name}"
            text = f"Estimated CER of the lines in the window, from their confidences{what}"
            yield GaugeMetricFamily(f"fourhands_estimated_cer{suffix}", text, value=figures["cer"][name])
    if report["webhook"]:
        sent = CounterMetricFamily("fourhands_webhook_messages", "Messages to the webhook", labels=["result"])
        for result in ("delivered", "failed"):
            sent.add_metric([result], report["webhook"][result])
        yield sent
