"""The alert rules of Prometheus: promtool accepts them, they fire when they must, and they use metrics that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "prometheus"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="missing: promtool (apt-get install prometheus)")


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, check=False)


@needs_promtool
def test_rules_are_valid_and_fire_when_they_must() -> None:
    for arguments in (("check", "rules", HERE / "rules.yml"), ("test", "rules", HERE / "test_rules.yml")):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("fourhands_alarm == 1", "fourhands_alarm == 2"),
        ("for: 5m", "for: 20m"),
        ("fourhands_estimated_cer_low > 0.25", "fourhands_estimated_cer_low > 0.1"),
        ('up{job="fourhands"}', "up"),
        ("> 0.8", "> 0.95"),
        ('{result="failed"}', ""),
    ],
)
def test_the_tests_of_the_rules_can_fail(before: str, after: str, tmp_path: Path) -> None:
    rules = (HERE / "rules.yml").read_text(encoding="utf-8")
    assert before in rules
    (tmp_path / "rules.yml").write_text(rules.replace(before, after), encoding="utf-8")
    shutil.copy(HERE / "test_rules.yml", tmp_path)
    assert promtool("test", "rules", tmp_path / "test_rules.yml").returncode != 0


def test_rules_have_a_test_and_words() -> None:
    rules, tests = ((HERE / name).read_text(encoding="utf-8") for name in ("rules.yml", "test_rules.yml"))
    names = re.findall(r"- alert: (\w+)", rules)
    assert len(names) == len(set(names)) == rules.count("summary:") == rules.count("description:") >= 8
    for name in names:
        assert name in tests, f"{name} has no test"


def test_prometheus_loads_the_rules_and_not_their_tests() -> None:
    """`rule_files: ["rules*.yml"]` in prometheus.yml."""
    assert [path.name for path in HERE.glob("rules*.yml")] == ["rules.yml"]


def test_metrics_of_the_monitor_are_those_of_the_rules() -> None:
    pytest.importorskip("prometheus_client", reason="missing: prometheus_client of the extra [serve]")
    from common.serving.monitoring import metrics

    source = Path(str(metrics.__file__)).read_text(encoding="utf-8")
    for name in ("fourhands_alarm", "fourhands_webhook_messages", "fourhands_estimated_cer"):
        assert f'"{name}' in source
        assert name in (HERE / "rules.yml").read_text(encoding="utf-8")
