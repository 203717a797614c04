"""The monitor: watches what the service reads, and tells when it is no longer what the reader was made for."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.evaluation.alarms import Alarm
from common.evaluation.drift import LOOKS
from common.evaluation.profile import Profile
from common.evaluation.signs import PageSigns
from common.report.drift import drift_figures
from common.serving.monitoring.alerts import Alert, Alerts
from common.serving.monitoring.webhook import Webhook
from common.serving.monitoring.window import Window

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.core import Metric

    from common.serving.reply import Reply

_LOG = logging.getLogger(__name__)
HISTORY = 200
"""Looks whose estimates are kept."""


class Monitor:
    """Keeps the signs of the last lines, compares them with a profile, and raises alarms.

    Any thread may call it. `observe` only adds the signs to the window; a thread of the monitor compares them, because
    that takes some milliseconds. A look follows whenever a `LOOKS`th of the window is new.

    Args:
        profile: of the reader; None keeps the signs but has nothing to compare them with.
        profile_file: where it was read from. When that file changes, because the reader was trained again, the profile
            is read anew, and the window begins anew.
        window: lines of the window; None takes that of the profile.
        model: identity of the model, for messages.
        webhook: is told when an alarm begins or ends.
        log: file to which the signs of each picture are appended, for `fourhands drift`.
        clock: seconds since 1970.
        background: whether a thread looks. Without it, `look` must be called.
    """

    def __init__(
        self,
        profile: Profile | None,
        *,
        profile_file: Path | None = None,
        window: int | None = None,
        model: str = "",
        webhook: Webhook | None = None,
        log: Path | None = None,
        clock: Callable[[], float] = time.time,
        background: bool = True,
    ) -> None:
        self.profile = profile
        self.model = model
        self._file = profile_file
        self._changed = _changed(profile_file)
        self._webhook = webhook
        self._log = None if log is None else SignLog(log)
        self._clock = clock
        self._background = background
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._window = Window(window or (profile.window if profile else 300))
        self._new = 0
        self._alerts = Alerts()
        self._figures: dict[str, Any] | None = None
        self._history: deque[dict[str, float]] = deque(maxlen=HISTORY)
        self._due = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self.looks = 0

    # --- what comes in
    def observe(self, reply: Reply) -> None:
        """Add the pictures of an answer."""
        for page in reply.pages:
            if page.signs is not None:
                self.add(page.signs)

    def refused(self, error: Exception) -> None:
        """Add a picture that was refused because no writing was found; other errors are ignored."""
        signs = getattr(error, "signs", None)
        if isinstance(signs, PageSigns):
            self.add(signs)

    def add(self, page: PageSigns) -> None:
        """Add a picture."""
        with self._lock:
            self._window.add(page)
            self._new += max(1, len(page.lines))
            due = self._new >= max(1, self._window.lines // LOOKS)
        if self._log is not None:
            self._log.write(page, self._clock())
        if due and self._background:
            self._start()
            self._due.set()

    # --- comparing
    def look(self) -> list[Alert]:
        """Compare the window with the profile now; the alarms that have begun or ended."""
        with self._looking:
            self._read_anew()
            if self.profile is None:
                return []
            with self._lock:
                pages, self._new = self._window.pages(), 0
            figures = drift_figures(self.profile, pages)
            now = self._clock()
            alarms = [Alarm(**alarm) for alarm in figures["alarms"]]
            with self._lock:
                changes = self._alerts.look(alarms, now)
                self._figures = figures
                if figures["cer"]:
                    cer = {name: figures["cer"][name] for name in ("cer", "low", "high")}
                    self._history.append({"time": now, **cer})
                self.looks += 1
        for change in changes:
            _LOG.warning("alarm %s %s: %s", change.alarm.name, change.state, change.alarm.sentence)
            if self._webhook is not None:
                self._webhook.send(self._key(change), self._message(change, figures))
        return changes

    def _read_anew(self) -> None:
        """Read the profile again if its file has changed."""
        changed = _changed(self._file)
        if self._file is None or changed == self._changed:
            return
        self._changed = changed
        try:
            profile = Profile.load(self._file)
        except UserError as error:  # it may be about to be written
            _LOG.warning("the profile is not read anew: %s", error)
            return
        with self._lock:
            self.profile, self._window, self._figures = profile, Window(self._window.lines), None
            self._history.clear()
            self._new = 0

    @property
    def open_paths(self) -> tuple[str, ...]:
        """Addresses that need no token, because they show nothing that was read."""
        from common.serving.monitoring.routes import OPEN_PATHS

        return OPEN_PATHS

    def close(self) -> None:
        """Stop looking, and tell what waits once more."""
        self._closed = True
        self._due.set()
        if self._thread is not None:
            self._thread.join(5)
        if self._webhook is not None:
            self._webhook.close()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._closed:
                return
            try:
                self.look()
            except Exception:  # noqa: BLE001 - who only watches must not end the service
                _LOG.exception("the monitor failed")

    # --- what it says
    def report(self) -> dict[str, Any]:
        """The last comparison, the alarms that are not over, and the estimates of the last looks."""
        with self._lock:
            figures, firing = self._figures, self._alerts.firing()
            history = list(self._history)
            seen = {"pictures": self._window.seen_pictures, "lines": self._window.seen_lines}
            window = {"lines": self._window.lines, "count": self._window.count}
        return {
            "model": self.model,
            "seen": seen,
            "window": window,
            "has_profile": self.profile is not None,
            "firing": [asdict(alert.alarm) | {"since": _iso(alert.since)} for alert in firing],
            "comparison": figures,
            "history": history,
            "webhook": None
            if self._webhook is None
            else {"delivered": self._webhook.delivered, "failed": self._webhook.failed},
        }

    def metrics(self) -> Iterator[Metric]:
        """The metrics of the last look, for Prometheus."""
        from common.serving.monitoring.metrics import metrics_of

        return metrics_of(self.report())

    def router(self) -> APIRouter:
        """The routes `/monitor` and `/v1/monitor`."""
        from common.serving.monitoring.routes import router_of

        return router_of(self.report)

    def _key(self, change: Alert) -> str:
        return f"{self.model or 'reader'}-{int(change.since)}-{change.number}-{change.state}"

    def _message(self, change: Alert, figures: dict[str, Any]) -> dict[str, Any]:
        return {
            "version": 1,
            "service": "fourhands",
            "state": change.state,
            "alarm": change.alarm.name,
            "sentence": change.alarm.sentence,
            "signs": list(change.alarm.signs),
            "since": _iso(change.since),
            "at": _iso(self._clock()),
            "model": self.model,
            "lines": figures["lines"],
            "pictures": figures["pictures"],
            "cer": figures["cer"],
        }


class SignLog:
    """A file with a JSON object per picture, for `fourhands drift`. It has no image and no text.

    Args:
        path: is appended to; it is made, readable by its owner only, if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def write(self, page: PageSigns, now: float) -> None:
        """Append a picture. A full disk costs the line and not the answer."""
        row = json.dumps({"time": _iso(now), "signs": page.as_json()}, ensure_ascii=False, separators=(",", ":"))
        try:
            with self._lock, open(self._path, "a", encoding="utf-8", opener=_private) as file:
                file.write(row + "\n")
        except OSError as error:
            _LOG.warning("cannot write the log of signs (%s)", error.strerror)


def _changed(path: Path | None) -> int | None:
    try:
        return None if path is None else path.stat().st_mtime_ns
    except OSError:
        return None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
