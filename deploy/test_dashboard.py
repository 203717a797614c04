"""What a dashboard shows, a rule watches and the autoscaler reads is what the service's /metrics has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install pyyaml")
pytest.importorskip("prometheus_client", reason='needs prometheus-client: pip install "fourhands[serve]"')
pytest.importorskip("fastapi", reason='needs fastapi: pip install "fourhands[serve]"')

HERE = Path(__file__).parent
DASHBOARD = json.loads((HERE / "grafana" / "dashboards" / "fourhands.json").read_text(encoding="utf-8"))
_NAME = re.compile(r"\bfourhands_\w+")


def panels() -> Iterator[dict[str, Any]]:
    """The panels of the dashboard that show something."""
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "row":
            yield panel


def expressions() -> dict[str, str]:
    """Where it is used to PromQL, of everything that asks for metrics."""
    found = {
        f"panel {each['title']}, {target['refId']}": target["expr"] for each in panels() for target in each["targets"]
    }
    for variable in DASHBOARD["templating"]["list"]:
        found[f"variable {variable['name']}"] = variable["query"]["query"]
    rules = yaml.safe_load((HERE / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        found[f"rule {rule.get('alert') or rule['record']}"] = rule["expr"]
    autoscaler = yaml.safe_load((HERE / "kubernetes" / "autoscaler.yaml").read_text(encoding="utf-8"))
    (metric,) = autoscaler["spec"]["metrics"]
    return found | {"the autoscaler": metric["pods"]["metric"]["name"]}


EXPRESSIONS = expressions()
