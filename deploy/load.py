"""Load a running service and check every answer: `python deploy/load.py http://127.0.0.1:8000 PICTURE ...`.

Each picture is first read alone. Its answer is the one that every later request with this picture must return, so an
answer that went to another client shows. Then the capacity is measured: a fixed number of clients each send the next
request when the last one is answered. Then requests come at random (Poisson arrivals) at given parts of the capacity,
whether or not earlier ones were answered. Queues grow then as they do in reality.

An answer is right (200 with the expected lines), refused (503), late (504), wrong (200 with other lines), failed
(another status) or lost (no answer). Times are those of right answers, from sending to the last byte.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

PARTS = (0.5, 0.9, 2.0)
"""Parts of the capacity."""
CLIENTS = 16
"""Clients that measure the capacity."""
_MEBIBYTE = 1 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Picture:
    """A picture, and what the service reads from it when nothing else goes on."""

    name: str
    data: bytes
    lines: tuple[str, ...]


@dataclass
class Tally:
    """The answers of one phase."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """Of each right answer."""
    lines: int = 0
    mistakes: list[str] = field(default_factory=list)

    def figures(self, seconds: float) -> dict[str, Any]:
        """The phase in numbers, per second of its length."""
        right = self.statuses["right"]
        times = sorted(self.seconds)
        return {
            "requests": self.statuses.total(),
            **{status: self.statuses[status] for status in ("right", "refused", "late", "wrong", "failed", "lost")},
            "requests_per_second": round(right / seconds, 2),
            "lines_per_second": round(self.lines / seconds, 2),
            "p50_ms": round(1000 * statistics.median(times), 1) if times else None,
            "p99_ms": round(1000 * times[min(len(times) - 1, int(0.99 * len(times)))], 1) if times else None,
            **({"mistakes": self.mistakes[:10]} if self.mistakes else {}),
        }


@dataclass(frozen=True)
class Load:
    """Sends the pictures to one service."""

    client: httpx.AsyncClient
    pictures: Sequence[Picture]
    random: random.Random

    async def capacity(self, seconds: float) -> dict[str, Any]:
        """Requests a second that `CLIENTS` clients get answered, each with one request at a time."""
        tally, start = Tally(), time.monotonic()

        async def one() -> None:
            while time.monotonic() < start + seconds:
                await self._send(tally)

        await asyncio.gather(*(one() for _ in range(CLIENTS)))
        return tally.figures(time.monotonic() - start)

    async def offer(self, rate: float, seconds: float) -> dict[str, Any]:
        """Send `rate` requests a second, at random moments."""
        tally, start = Tally(), time.monotonic()
        running: set[asyncio.Task[None]] = set()
        due = start
        while True:
            due += self.random.expovariate(rate)
            if due > start + seconds:
                break
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(self._send(tally))
            running.add(task)
            task.add_done_callback(running.discard)
        if running:
            await asyncio.wait(running)
        return {"offered_per_second": round(rate, 2), **tally.figures(seconds)}

    async def _send(self, tally: Tally) -> None:
        picture, start = self.random.choice(self.pictures), time.monotonic()
        try:
            answer = await self.client.post("/v1/read", files={"file": picture.data})
        except httpx.HTTPError as error:
            tally.statuses["lost"] += 1
            tally.mistakes.append(f"{picture.name}: {error!r}")
            return
        if answer.status_code != 200:
            status = {503: "refused", 504: "late"}.get(answer.status_code, "failed")
            tally.statuses[status] += 1
            if status == "failed":
                tally.mistakes.append(f"{picture.name}: {answer.status_code} {answer.text[:200]}")
            return
        lines = lines_of(answer.json())
        if lines != picture.lines:
            tally.statuses["wrong"] += 1
            tally.mistakes.append(f"{picture.name}: {lines} instead of {picture.lines}")
            return
        tally.statuses["right"] += 1
        tally.seconds.append(time.monotonic() - start)
        tally.lines += len(lines)


def lines_of(answer: dict[str, Any]) -> tuple[str, ...]:
    """The texts of all lines of an answer."""
    return tuple(line["text"] for page in answer.get("pages", [answer]) for line in page["lines"])


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All phases."""
    headers = {}
    if options.token_file is not None:
        headers["Authorization"] = f"Bearer {options.token_file.read_text().strip()}"
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=options.url, headers=headers, timeout=120, limits=limits) as client:
        pictures, alone = [], []
        for path in options.pictures:
            data = path.read_bytes()
            start = time.monotonic()
            answer = await client.post("/v1/read", files={"file": data})
            if answer.status_code != 200:
                sys.exit(f"error: {path}: {answer.text.strip()}")
            alone.append(time.monotonic() - start)
            pictures.append(Picture(path.name, data, lines_of(answer.json())))
        load = Load(client, pictures, random.Random(options.seed))
        report: dict[str, Any] = {
            "pictures": len(pictures),
            "lines_per_picture": round(statistics.mean(len(each.lines) for each in pictures), 2),
            "alone_p50_ms": round(1000 * statistics.median(alone), 1),
        }
        report["capacity"] = await load.capacity(options.seconds)
        full = report["capacity"]["requests_per_second"]
        if options.soak:
            report["soak"] = await _soak(load, 0.7 * full, options)
            return report
        for part in PARTS:
            report[f"at {part:g} of capacity"] = await load.offer(part * full, options.seconds)
            await asyncio.sleep(2)  # the queue empties
    return report


async def _soak(load: Load, rate: float, options: argparse.Namespace) -> dict[str, Any]:
    """Load the service for long, and watch the memory of its processes."""
    memory: list[float] = []

    async def watch() -> None:
        while True:
            memory.append(resident(options.pid))
            await asyncio.sleep(10)

    watching = asyncio.create_task(watch()) if options.pid else None
    figures = await load.offer(rate, 60 * options.soak)
    if watching is not None:
        watching.cancel()
        tenth = max(1, len(memory) // 10)
        early, late = statistics.median(memory[tenth : 2 * tenth] or memory), statistics.median(memory[-tenth:])
        figures |= {
            "memory_early_mib": round(early),
            "memory_late_mib": round(late),
            "growth": round(late / early - 1, 4),
        }
    return figures


def resident(pid: int) -> float:
    """Resident memory of a process and its descendants, MiB."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(status.read_text().rpartition(")")[2].split()[1]), []).append(
                int(status.parent.name)
            )
        except OSError:  # it has just ended
            continue
    total, waiting = 0, [pid]
    while waiting:
        each = waiting.pop()
        waiting += parents.get(each, [])
        try:
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1])
        except OSError:
            continue
    return total * _PAGE / _MEBIBYTE


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python deploy/load.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("url", help="address of the service")
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE")
    parser.add_argument("--seconds", type=float, default=30, help="length of a phase (default: %(default)s)")
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES", help="one long phase at 0.7 of capacity")
    parser.add_argument("--pid", type=int, default=0, help="process of the service, whose memory --soak watches")
    parser.add_argument("--token-file", type=Path, metavar="FILE")
    parser.add_argument("--seed", type=int, default=0, help="seed of the arrivals (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the report there")
    options = parser.parse_args()
    report = asyncio.run(measure(options))
    text = json.dumps(report, indent=1, ensure_ascii=False)
    sys.stdout.write(text + "\n")
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
