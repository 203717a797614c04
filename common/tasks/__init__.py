"""Tasks: what a model reads. A task owns all that depends on it, from loading data to preparing a person's image."""

from __future__ import annotations

from common.spec import RUNGS, Spec
from common.tasks.characters import CHARACTERS
from common.tasks.lines import LINES
from common.tasks.pages import PAGES
from common.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (CHARACTERS, LINES, PAGES)}


def task_of(rung: str | Spec) -> Task:
    """The task of a rung, by its name or by a spec."""
    return TASKS[RUNGS[rung].task if isinstance(rung, str) else rung.task]


__all__ = ["CHARACTERS", "LINES", "PAGES", "TASKS", "Task", "task_of"]
