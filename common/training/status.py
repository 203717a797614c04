"""Whether a run is running: status.json in its folder."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.atomic import write_atomically
from common.errors import UserError


@contextmanager
def kept_status(path: Path) -> Iterator[None]:
    """Keep the state of a run in a file: running, then complete, failed or interrupted.

    A run that is killed leaves `running` behind; `is_alive` then tells that its process is gone.
    """
    start = {"state": "running", "started": now(), **_process()}
    write(path, start)
    end: dict[str, Any] = {"state": "complete"}
    try:
        yield
    except KeyboardInterrupt:
        end = {"state": "interrupted", "reason": "it was stopped from the keyboard or by a signal"}
        raise
    except BaseException as error:
        said = " ".join(str(error).split())[:1000]
        end = {"state": "failed", "reason": said if isinstance(error, UserError) else f"{type(error).__name__}: {said}"}
        raise
    finally:
        with suppress(UserError):  # on a full disk, the first error is the one to report
            write(path, start | end | {"ended": now()})


def now() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write the file atomically."""
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def is_alive(status: Mapping[str, Any]) -> bool | None:
    """Whether the process that wrote a status still runs; None if this host cannot tell."""
    if status.get("host") != platform.node() or not isinstance(status.get("pid"), int):
        return None
    pid = int(status["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it exists, and belongs to another user
    return status.get("process_started") == _start_of(pid)


def _process() -> dict[str, Any]:
    """What identifies this process: ids are used again, so the time of its start belongs to it."""
    pid = os.getpid()
    return {"host": platform.node(), "pid": pid, "process_started": _start_of(pid)}


def _start_of(pid: int) -> str | None:
    """The boot of the machine and the clock ticks from then to the start of a process; None if not on Linux."""
    try:
        # the name of the program, in parentheses, may contain anything
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{ticks}"
    except (OSError, IndexError):
        return None
