"""What a team may conclude from each figure of the comparison, in words that follow from the report's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from charts import in_order, megabytes, name_of, on_gpu, ratio, score_name, seconds, shown_rows

SPREAD = 0.2
"""Times that are closer than this share are not ordered: docs/log.md has the same trainings 4% to 19% apart."""


def listed(names: Sequence[str], last: str = "and") -> str:
    """Names of frameworks as a list in a sentence."""
    shown = [name_of(name) for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {last} {shown[-1]}"


def measurable(report: Mapping[str, Any], rung: str) -> tuple[list[Mapping[str, Any]], int]:
    """The paired differences whose interval excludes zero, and the number of pairs."""
    rows = shown_rows(report, rung)
    pairs = [d for d in report["rungs"][rung]["differences"] if d["first"] in rows and d["second"] in rows]
    return [d for d in pairs if d["measurable"]], len(pairs)


def score(report: Mapping[str, Any], rung: str) -> str:
    """What follows from accuracy or CER."""
    rows, measure = shown_rows(report, rung), score_name(rung)
    if len(rows) < 2:
        return ""
    values = [row[measure.lower()] for row in rows.values()]
    found, pairs = measurable(report, rung)
    title = f"{measure[:1].upper()}{measure[1:]}"
    if not found:
        return (
            f"**{title}: no measurable difference.** The runs lie between {min(values):.1%} and {max(values):.1%}. "
            "For every pair, the 95% interval of the difference includes zero. "
            "Do not choose a framework by this figure. It does not show that all of them always end with the same "
            f"{measure}: another seed moves each of them."
        )
    clauses = [
        f"{name_of(d['better'])}'s run is better than {name_of(_worse(d))}'s by "
        f"{100 * abs(d['difference']):.1f} points (95% interval {_bounds(d['interval'])})"
        for d in found
    ]
    rest = f" The other {pairs - len(found)} pairs show no measurable difference." if pairs > len(found) else ""
    return (
        f"**{title}: a measurable difference in {len(found)} of {pairs} pairs.** {'. '.join(clauses)}.{rest} "
        "Each framework was trained once, with one seed, and parity shows that the models are the same. "
        "So this orders runs, not frameworks. Repeat it with other seeds before you conclude more."
    )


def _worse(difference: Mapping[str, Any]) -> str:
    return str(difference["second" if difference["better"] == difference["first"] else "first"])


def _bounds(interval: Sequence[float]) -> str:
    low, high = sorted(100 * abs(bound) for bound in interval)
    return f"{low:.1f} to {high:.1f}"


def faster(times: Mapping[str, float]) -> list[tuple[list[str], list[str]]]:
    """Groups of frameworks, each with those that take longer than it by more than `SPREAD`."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(times, key=lambda name: times[name]):
        slower = tuple(in_order([other for other, time in times.items() if time > times[name] * (1 + SPREAD)]))
        if slower:
            groups.setdefault(slower, []).append(name)
    return [(in_order(names), list(slower)) for slower, names in groups.items()]


def steps(report: Mapping[str, Any], rung: str) -> str:
    """What follows from the time of a step."""
    times = _known(report, rung, "step_relative")
    if len(times) < 2:
        return ""
    first, last = min(times, key=times.__getitem__), max(times, key=times.__getitem__)
    orders = [f"{listed(a)} {'is' if len(a) == 1 else 'are'} faster than {listed(b)}" for a, b in faster(times)]
    ordered = f"By more than {SPREAD:.0%}, {', and '.join(orders)}." if orders else f"No two differ by {SPREAD:.0%}."
    return (
        f"**Step: {name_of(first)}'s is the shortest, {name_of(last)}'s the longest** ({ratio(times[first])} and "
        f"{ratio(times[last])} PyTorch's time). {ordered} Treat closer pairs as equal: times have no interval, and the "
        f"machine alone has moved them by almost that much. {_only_here(report)}"
    )


def _only_here(report: Mapping[str, Any]) -> str:
    if on_gpu(report):
        return "This says nothing about another device or a larger model."
    return "This says nothing about a larger model or a GPU."


def target(report: Mapping[str, Any], rung: str) -> str:
    """What follows from the time to the target."""
    rows, goal = shown_rows(report, rung), f"{report['rungs'][rung]['budget']['target']:.0%}"
    times = _known(report, rung, "seconds_to_target")
    if not times:
        return f"**Time to {goal}: no framework reached it.** The training was too short to compare this time."
    first, last = min(times, key=times.__getitem__), max(times, key=times.__getitem__)
    said = f"**Time to {goal}: {name_of(first)} arrives first, after {seconds(times[first])}"
    said += f", {name_of(last)} last, after {seconds(times[last])}.**" if len(times) > 1 else ".**"
    missing = [name for name in rows if name not in times]
    if missing:
        said += f" {listed(missing)} did not reach it."
    steps_ = _known(report, rung, "step_relative")
    shortest = min(steps_, key=steps_.__getitem__) if steps_ else first
    compiling = rows[shortest]["compile_seconds"] if shortest in times else None
    if shortest != first and compiling and compiling > 0.1 * times[shortest]:
        said += (
            f" {name_of(shortest)}'s steps are the shortest, but {seconds(compiling)} of its time go into compiling. "
            "That is paid once: the longer the training, the less it counts."
        )
    return said + " The time is known to the epoch, because validation comes at the end of each."


def memory(report: Mapping[str, Any], rung: str) -> str:
    """What follows from peak memory."""
    held = _known(report, rung, "peak_memory_mb")
    if len(held) < 2:
        return ""
    least, most = min(held, key=held.__getitem__), max(held, key=held.__getitem__)
    return (
        f"**Memory: {name_of(least)} needs the least ({megabytes(held[least])}), {name_of(most)} the most "
        f"({megabytes(held[most])}, {held[most] / held[least]:.1f} times as much).** That is the peak of the whole "
        "process with the framework's own code. It does not tell how memory grows with a larger model or batch."
    )


def overlap(rows: Mapping[str, Mapping[str, Any]], field: str) -> str:
    """What follows from intervals alone, where no paired differences were published."""
    apart = [
        f"{name_of(a)} and {name_of(b)}"
        for i, a in enumerate(rows)
        for b in list(rows)[i + 1 :]
        if rows[a][f"{field}_interval"][0] > rows[b][f"{field}_interval"][1]
        or rows[b][f"{field}_interval"][0] > rows[a][f"{field}_interval"][1]
    ]
    if apart:
        return (
            f"the intervals of {_and(apart)} do not overlap. These are single runs: they do not order the frameworks."
        )
    return "all intervals overlap: no measurable difference. The runs do not order the frameworks."


def overview(report: Mapping[str, Any]) -> list[str]:
    """What follows from all rungs together, in paragraphs: speed, and how well the models read."""
    fastest: dict[tuple[str, ...], list[str]] = {}
    score_differs, same = [], []
    for rung in report["rungs"]:
        times = _known(report, rung, "step_relative")
        if times:
            near = [name for name in times if times[name] <= min(times.values()) * (1 + SPREAD)]
            fastest.setdefault(tuple(in_order(near)), []).append(f"`{rung}`")
        found, pairs = measurable(report, rung)
        if found:
            score_differs.append(f"on `{rung}` {len(found)} of {pairs} pairs differ measurably")
        else:
            same.append(f"`{rung}`")
    leaders = "; ".join(f"{listed(names, 'or')} on {_and(rungs)}" for names, rungs in fastest.items())
    speed = f"**Speed.** The shortest step (closer than {SPREAD:.0%} is a draw): {leaders}."
    if fastest and not set.intersection(*map(set, fastest)):
        speed += " No framework is the fastest everywhere, so measure with your own model."
    speed += " The times hold for one machine and for models as small as these."
    speed += "" if on_gpu(report) else " No GPU has run this project yet."
    read = "**How well they read.** "
    if same:
        read += f"On {_and(same)} there is no measurable difference between the frameworks. "
    if score_differs:
        read += f"{_capital(_and(score_differs))}. Each is one run with one seed: that orders runs, not frameworks."
    return [speed, read.strip()]


def _known(report: Mapping[str, Any], rung: str, field: str) -> dict[str, float]:
    return {f: row[field] for f, row in shown_rows(report, rung).items() if row[field] is not None}


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
