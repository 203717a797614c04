"""The Kubernetes manifests fit the official schemas, and belong together."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install pyyaml")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate: pip install it")

FOLDER = Path(__file__).parent / "kubernetes"
# the oldest knows the `sleep` of preStop
VERSIONS = tuple(f"1.{minor}" for minor in range(30, 38))


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


NAMES = tuple(load("kustomization.yaml")["resources"])
BY_KIND = {manifest["kind"]: manifest for manifest in map(load, NAMES)}


def test_kustomization_lists_every_manifest() -> None:
    others = {"kustomization.yaml", "prometheus-adapter.yaml"}
    assert {path.name for path in FOLDER.glob("*.yaml")} - others == set(NAMES)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_manifest_fits_the_official_schema(name: str, version: str) -> None:
    # strict: unknown fields, such as misspelt ones, are errors
    kubernetes_validate.validate(load(name), version, strict=True)


def test_the_schema_refuses_a_misspelt_field() -> None:
    wrong = load("disruption.yaml")
    wrong["spec"]["minimumAvailable"] = wrong["spec"].pop("minAvailable")
    with pytest.raises(kubernetes_validate.ValidationError, match="minimumAvailable"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_kustomize_builds_the_manifests() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("needs kubectl")
    done = subprocess.run([kubectl, "kustomize", FOLDER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert {manifest["kind"] for manifest in built} == BY_KIND.keys()
    (pod,) = (manifest["spec"]["template"]["spec"] for manifest in built if manifest["kind"] == "Deployment")
    assert pod["containers"][0]["image"] == "registry.example/fourhands:0.1.0"


def test_no_manifest_names_a_namespace() -> None:
    for manifest in BY_KIND.values():
        assert "namespace" not in manifest["metadata"]


def test_manifests_select_the_pods_of_the_deployment() -> None:
    labels = BY_KIND["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert BY_KIND["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert BY_KIND["Service"]["spec"]["selector"] == labels
    assert BY_KIND["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert BY_KIND["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    target = BY_KIND["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    deployment = BY_KIND["Deployment"]
    assert target == {key: deployment[key] for key in ("apiVersion", "kind")} | {"name": deployment["metadata"]["name"]}


def test_the_autoscaler_alone_sets_the_number_of_pods() -> None:
    # `kubectl apply` would set it back each time
    assert "replicas" not in BY_KIND["Deployment"]["spec"]
    autoscaler = BY_KIND["HorizontalPodAutoscaler"]["spec"]
    assert autoscaler["minReplicas"] > BY_KIND["PodDisruptionBudget"]["spec"]["minAvailable"], (
        "a machine can be drained"
    )


def test_the_adapter_serves_the_metric_that_the_autoscaler_reads() -> None:
    (metric,) = BY_KIND["HorizontalPodAutoscaler"]["spec"]["metrics"]
    (rule,) = load("prometheus-adapter.yaml")["rules"]["custom"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"] == rule["name"]["matches"]
    assert rule["seriesQuery"].partition("{")[0] == rule["name"]["matches"]


def test_the_pod_is_confined() -> None:
    pod = BY_KIND["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz", "never waits for a reading"
