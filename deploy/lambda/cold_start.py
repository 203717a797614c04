"""Measure the cold start of the function.

    python deploy/lambda/cold_start.py [PYTHON] [PICTURE] [TIMES]

For each new process, the seconds until it asks for its first event (AWS's "Init Duration"), those of the first and of
the second reading of the picture, and the largest resident memory.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from runtime_api import RuntimeAPI, function, http_event


def main(python: str = sys.executable, picture: str | None = None, times: str = "10") -> None:
    """Measure, and print one row per process."""
    page = Path(picture) if picture else Path(__file__).parents[2] / "docs" / "images" / "page.jpg"
    event = http_event("POST", "/v1/read", headers={"content-type": "image/jpeg"}, body=page.read_bytes())
    starts = []
    for _ in range(int(times)):
        api = RuntimeAPI()
        start = time.monotonic()
        with function(api, python, FOURHANDS_WITHOUT_TOKEN="1") as process:
            request_id, readings = "", []
            for _ in range(2):
                asked = time.monotonic()
                request_id = api.send(event)
                kind, answered, _content = api.answer(120)
                assert (kind, answered) == ("response", request_id), kind
                readings.append(time.monotonic() - (asked if readings else api.first_next or asked))
            memory = _peak_megabytes(process.pid)
        api.close()
        assert api.first_next
        starts.append(api.first_next - start)
        print(
            f"init {starts[-1]:.2f} s, first reading {readings[0]:.2f} s, second {readings[1]:.2f} s, {memory:.0f} MB",
            flush=True,
        )
    print(f"init: median {statistics.median(starts):.2f} s, slowest {max(starts):.2f} s of {len(starts)}")


def _peak_megabytes(process: int) -> float:
    """The largest resident memory of a process until now."""
    (line,) = (line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
