"""Alerts: an alarm that has begun or ended. Each is told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from common.evaluation.alarms import Alarm

State = Literal["firing", "resolved"]
QUIET = 2
"""Looks without an alarm after which it is over: one look at its edge must not end it and begin it again."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """The beginning or the end of an alarm."""

    alarm: Alarm
    state: State
    since: float
    """When it began, seconds since 1970."""
    number: int
    """Of the alarms since the start of the service; both messages about one alarm have the same."""


@dataclass(kw_only=True)
class _Firing:
    alarm: Alarm
    since: float
    number: int
    quiet: int = 0


class Alerts:
    """The alarms that have begun and are not over. It is not safe for threads."""

    def __init__(self) -> None:
        self._firing: dict[str, _Firing] = {}
        self._numbers = 0

    def look(self, alarms: Sequence[Alarm], now: float) -> list[Alert]:
        """What has begun or ended since the last look.

        Args:
            alarms: of this look.
            now: seconds since 1970.
        """
        found = []
        for alarm in alarms:
            firing = self._firing.get(alarm.name)
            if firing is None:
                self._numbers += 1
                firing = self._firing[alarm.name] = _Firing(alarm=alarm, since=now, number=self._numbers)
                found.append(_alert(firing, "firing"))
            firing.alarm, firing.quiet = alarm, 0
        names = {alarm.name for alarm in alarms}
        for name in [name for name in self._firing if name not in names]:
            firing = self._firing[name]
            firing.quiet += 1
            if firing.quiet >= QUIET:
                del self._firing[name]
                found.append(_alert(firing, "resolved"))
        return found

    def firing(self) -> list[Alert]:
        """The alarms that are not over, in the order in which they began."""
        return [_alert(firing, "firing") for firing in self._firing.values()]


def _alert(firing: _Firing, state: State) -> Alert:
    return Alert(alarm=firing.alarm, state=state, since=firing.since, number=firing.number)
