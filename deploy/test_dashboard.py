"""What a dashboard shows, a rule watches and the autoscaler reads is what the service's /metrics has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install pyyaml")
parser = pytest.importorskip("prometheus_client.parser", reason='needs it: pip install "fourhands[serve]"')

HERE = Path(__file__).parent
DASHBOARD = json.loads((HERE / "grafana" / "dashboards" / "fourhands.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# what Prometheus or Kubernetes adds to each metric, and the label of a histogram's buckets
ADDED = {"instance", "job", "namespace", "pod", "le"}


def expressions() -> Iterator[tuple[str, str]]:
    """Where metrics are asked for, and the PromQL."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield f"{panel['title']}-{target['refId']}", target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        yield f"variable-{variable['name']}", re.sub(r"label_values\((\w+), \w+\)", r"\1", variable["query"]["query"])
    for path in sorted((HERE / "prometheus").glob("rules.yml")):
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in (rule for group in groups for rule in group["rules"]):
            yield f"rule-{rule.get('alert') or rule.get('record')}", rule["expr"]
    (metric,) = yaml.safe_load((HERE / "kubernetes" / "autoscaler.yaml").read_text(encoding="utf-8"))["spec"]["metrics"]
    yield "autoscaler", metric["pods"]["metric"]["name"]


EXPRESSIONS = dict(expressions())
# a report of the monitor in which nothing is missing
REPORT: dict[str, Any] = {
    "window": {"count": 1},
    "seen": {"lines": 1},
    "firing": [],
    "comparison": {
        "signs": [{"sign": "confidence", "psi": 0.1, "distance": 0.1, "corrected": 1.0, "now": 1.0, "before": 1.0}],
        "cer": {"cer": 0.1, "low": 0.05, "high": 0.2},
    },
    "webhook": {"delivered": 1, "failed": 0},
}


def asked(expression: str) -> dict[str, set[str]]:
    """The metrics of an expression, with the labels that it selects by or groups by."""
    groups = re.findall(r"\b(?:by|without|on) ?\(([^)]*)\)", expression)
    grouped = {label.strip() for group in groups for label in group.split(",")}
    found: dict[str, set[str]] = {}
    for name, selector in re.findall(r"\b(fourhands_\w+)(?:\{([^}]*)\})?", expression):
        found.setdefault(name, set()).update(grouped, re.findall(r"(\w+) ?[=!]", selector or ""))
    return found


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """The names in /metrics, and their labels."""
    pytest.importorskip("fastapi", reason='needs fastapi: pip install "fourhands[serve]"')
    from common.serving.engine import Engine, EngineConfig
    from common.serving.metrics import Metrics
    from common.serving.monitoring.metrics import metrics_of
    from common.serving.reply import ModelInfo, Reply

    class Warm(Engine):
        """An engine that has loaded its model."""

        model = ModelInfo(identity="0" * 12, rung="lstm_ctc", framework="numpy", charset="", parameters=0)

    metrics = Metrics(Warm(EngineConfig()))
    metrics.answered("/v1/read", 200, 0.1, 1)
    metrics.read(Reply(pages=(), seconds={"read": 0.1}, model=Warm.model.identity))
    metrics.add(lambda: metrics_of(REPORT))
    found: dict[str, set[str]] = {}
    for family in parser.text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("place", EXPRESSIONS)
def test_the_service_exposes_what_is_asked_for(place: str, exposed: dict[str, set[str]]) -> None:
    metrics = asked(EXPRESSIONS[place])
    # Prometheus itself has `up`
    assert metrics or re.search(r"\bup\b", EXPRESSIONS[place]), "no metric"
    assert set(metrics) <= set(exposed), f"the service does not expose {sorted(set(metrics) - set(exposed))}"
    for name, labels in metrics.items():
        assert labels <= exposed[name] | ADDED, f"{name} has no label {sorted(labels - exposed[name] - ADDED)}"


def test_every_expression_is_promql(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, of the package prometheus")
    rules = [
        {"record": f"x{index}", "expr": expression.replace("$instance", ".*").replace("$__rate_interval", "5m")}
        for index, expression in enumerate(EXPRESSIONS.values())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_are_apart_and_use_the_provisioned_source() -> None:
    (source,) = yaml.safe_load((HERE / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    cells: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, "the grid has 24 columns"
        for cell in ((x, y) for x in range(place["w"]) for y in range(place["h"])):
            where = (place["x"] + cell[0], place["y"] + cell[1])
            assert where not in cells, f"{panel['title']} lies on {cells[where]}"
            cells[where] = panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]} == {source["uid"]}


def test_the_dashboard_is_where_grafana_looks_for_it() -> None:
    compose = yaml.safe_load((HERE / "compose.yaml").read_text())["services"]["grafana"]
    (provider,) = yaml.safe_load((HERE / "grafana/provisioning/dashboards/fourhands.yaml").read_text())["providers"]
    folder = provider["options"]["path"]
    assert f"./grafana/dashboards:{folder}:ro" in compose["volumes"]
    assert compose["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{folder}/fourhands.json"
    targets: list[Any] = [each.partition(":")[2] for each in compose["volumes"]]
    assert "/etc/grafana/provisioning:ro" in targets
