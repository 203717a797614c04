"""Measure the cold start of the function.

    python deploy/lambda/cold_start.py [PYTHON] [PICTURE] [TIMES]

For each new process: the seconds until it asks for its first event (AWS's "Init Duration") and the processor time until
then, which does not depend on what else the machine does; the seconds of the first and of the second reading of the
picture; the largest resident memory.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from runtime_api import RuntimeAPI, function, http_event


def main(python: str = sys.executable, picture: str | None = None, times: str = "10") -> None:
    """Measure, and print one row per process."""
    page = Path(picture) if picture else Path(__file__).parents[2] / "docs" / "images" / "page.jpg"
    event = http_event("POST", "/v1/read", headers={"content-type": "image/jpeg"}, body=page.read_bytes())
    starts, processor = [], []
    for _ in range(int(times)):
        api = RuntimeAPI(seconds=300)
        start = time.monotonic()
        with function(api, python, FOURHANDS_WITHOUT_TOKEN="1") as process:
            while api.first_next is None and process.poll() is None:
                time.sleep(0.005)
            assert api.first_next, "the function did not start"
            starts.append(api.first_next - start)
            processor.append(_processor_seconds(process.pid))
            first, second = (_reading(api, event) for _ in range(2))
            memory = _peak_megabytes(process.pid)
        api.close()
        print(
            f"init {starts[-1]:.2f} s (processor {processor[-1]:.2f} s), first reading {first:.2f} s, "
            f"second {second:.2f} s, {memory:.0f} MB",
            flush=True,
        )
    for name, values in (("init", starts), ("processor", processor)):
        print(f"{name}: median {statistics.median(values):.2f} s, most {max(values):.2f} s of {len(values)}")


def _reading(api: RuntimeAPI, event: dict[str, Any]) -> float:
    """The seconds of one reading."""
    start = time.monotonic()
    response = api.call(event, timeout=300)
    assert response["statusCode"] == 200, response
    return time.monotonic() - start


def _processor_seconds(process: int) -> float:
    """The processor time of a process until now."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_megabytes(process: int) -> float:
    """The largest resident memory of a process until now."""
    (line,) = (line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
