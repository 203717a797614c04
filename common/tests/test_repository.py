"""The files around the code agree with it: hooks, hosted workflow, citation, change log, metadata."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install pyyaml")


def load(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def commands_of_make(goal: str) -> list[str]:
    """The commands of a goal in the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(rf"^{goal}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe, f"the Makefile has no goal {goal}"
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]


def test_hooks_run_the_tools_of_make_check() -> None:
    hooks = [hook for repo in load(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [hook["id"] for hook in hooks] == ["format", "lint", "types"]
    for hook in hooks:
        (command,) = commands_of_make(hook["id"])
        # a hook mends the format where the check only complains, and skips the files that ruff is told to skip
        assert hook["entry"].removesuffix(" --force-exclude") == command.removesuffix(" --check")
        assert hook["language"] == "system", "the version is the one of `.venv`"


def test_the_hosted_workflow_runs_make_check_on_every_supported_python() -> None:
    job = load(".github/workflows/check.yml")["jobs"]["check"]
    assert "make check" in [step.get("run") for step in job["steps"]]
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert job["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_hosted_actions_are_pinned_by_commit() -> None:
    # whoever takes over an action's repository can move its tags
    jobs = load(".github/workflows/check.yml")["jobs"].values()
    actions = [step["uses"] for job in jobs for step in job["steps"] if "uses" in step]
    assert actions
    assert [action for action in actions if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)] == []


def test_the_change_log_and_the_citation_name_the_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest, *_ = re.findall(r"^## \[(\d.*?)\] - \d{4}-\d\d-\d\d$", changes, re.MULTILINE)
    assert newest == PROJECT["version"]
    citation = load("CITATION.cff")
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert str(citation["date-released"]) in changes
