"""The compose file fits its official schema, and confines what it starts."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install pyyaml")
jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema: pip install jsonschema")
pytest.importorskip("check_jsonschema", reason="needs the compose schema: pip install check-jsonschema")

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))


def errors(compose: dict[str, Any]) -> list[str]:
    """What the schema of the Compose Specification says against a compose file."""
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_bytes())
    found = jsonschema.validators.validator_for(schema)(schema).iter_errors(compose)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def test_compose_file_fits_the_official_schema(compose: dict[str, Any]) -> None:
    assert errors(compose) == []


def test_the_schema_refuses_what_it_does_not_know(compose: dict[str, Any]) -> None:
    service = compose["services"]["fourhands"]
    wrong = compose | {"services": {"fourhands": service | {"read-only": True, "stop_grace_period": 60}}}
    assert len(errors(wrong)) == 2


@pytest.mark.parametrize("name", ["fourhands", "prometheus", "grafana"])
def test_each_service_is_confined(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "mem_limit", "pids_limit"} <= service.keys()
    assert not service.get("privileged")
    assert all(port.startswith("127.0.0.1:") for port in service["ports"]), "loopback only"


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items() if "build" not in service}
    assert images
    for image in images.values():
        assert any(sign.isdigit() for sign in image.partition(":")[2]), f"{image} has no version"


def test_every_file_that_is_mounted_exists(compose: dict[str, Any]) -> None:
    volumes = [volume for service in compose["services"].values() for volume in service.get("volumes", ())]
    for source in (volume.partition(":")[0] for volume in volumes):
        assert (HERE / source).exists() if source.startswith(".") else source in compose["volumes"], source
    build = compose["services"]["fourhands"]["build"]
    assert (HERE / build["context"] / build["dockerfile"]).samefile(HERE / "Containerfile")


def test_secrets_are_never_committed(compose: dict[str, Any]) -> None:
    if not (HERE.parent / ".git").exists():
        pytest.skip("needs a git clone: only git knows which files are ignored")
    named = [HERE / secret["file"] for secret in compose["secrets"].values()]
    done = subprocess.run(["git", "check-ignore", *named], cwd=HERE, stdout=subprocess.PIPE, check=False)
    assert len(done.stdout.splitlines()) == len(named)


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, of the package prometheus")
    for path in (HERE / "prometheus").glob("*.yml"):
        shutil.copy(path, tmp_path)
    config = tmp_path / "prometheus.yml"
    # promtool wants the file with the token, which only the container has
    token = tmp_path / "token"
    token.write_text("token")
    config.write_text(config.read_text().replace("/run/secrets/fourhands_token", str(token)))
    done = subprocess.run([promtool, "check", "config", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
