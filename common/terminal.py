"""Progress bars: on stderr, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import rich.progress


@contextmanager
def progress_bar(
    kind: Literal["count", "bytes", "share"] = "count", *, speed_seconds: float = 30
) -> Iterator[rich.progress.Progress | None]:
    """A bar with the time that remains; None where stderr is no terminal.

    Args:
        kind: beside the bar, a count (3/10), an amount (3.1/10 MB), or nothing.
        speed_seconds: the time over which the speed is measured; from it follows the time that remains.
    """
    if not sys.stderr.isatty():
        yield None
        return
    import rich.console  # only needed on a terminal
    import rich.progress as rp

    columns: dict[str, list[rp.ProgressColumn]] = {
        "count": [rp.MofNCompleteColumn()],
        "bytes": [rp.DownloadColumn()],
        "share": [],
    }
    with rp.Progress(
        rp.TextColumn("{task.description}"),
        rp.BarColumn(),
        *columns[kind],
        rp.TimeElapsedColumn(),
        rp.TextColumn("left"),
        rp.TimeRemainingColumn(),
        console=rich.console.Console(stderr=True),
        transient=True,
        speed_estimate_period=speed_seconds,
    ) as bar:
        yield bar
