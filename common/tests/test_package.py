"""The sdist and the wheel build, are complete, and work in an environment that holds nothing else."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ("common", "conformance", "impl_jax", "impl_keras", "impl_numpy", "impl_pytorch")
# of the clone alone: what its own CI runs
NOT_IN_SDIST = {".ci/run"}
# how a user's own pytest starts: none of this run's options, and nothing of this checkout on the path
HIDDEN = ("PYTHONPATH", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "XLA_FLAGS")

# what the extras `serve` and `lambda` bring for modules of `common.serving`
SERVE = {
    "fastapi",
    "h11",
    "httpcore",
    "mangum",
    "prometheus_client",
    "pydantic",
    "python_multipart",
    "starlette",
    "uvicorn",
}

# one process builds for all tests of this file
pytestmark = pytest.mark.xdist_group("package")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command outside the checkout; return its stdout and stderr together."""
    outside = {name: value for name, value in os.environ.items() if name not in HIDDEN}
    done = subprocess.run(
        command, cwd=cwd, env=outside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{command} exits with {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A copy of the checkout's files, without what git ignores, and their names. The build writes beside them."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git clone: only git knows which files are sources")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    names = {name for name in listed if (ROOT / name).exists()}
    copy = tmp_path_factory.mktemp("sources")
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    # left behind by a test run, as in a checkout that is in use
    stale = copy / "common" / "__pycache__" / "stale.cpython-311.pyc"
    stale.parent.mkdir()
    stale.write_bytes(b"stale")
    return copy, names


@pytest.fixture(scope="module")
def built(sources: tuple[Path, set[str]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel built from that sdist."""
    pytest.importorskip("build", reason="needs build: pip install build")
    out = tmp_path_factory.mktemp("dist")
    # no isolation: the environment has setuptools, and the test needs no network
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ".", cwd=sources[0])
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def bare(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel and its declared dependencies."""
    return environment(built[1], tmp_path_factory.mktemp("bare") / "venv", ())


@pytest.fixture(scope="module")
def with_suite(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, its declared dependencies and those of the extra `suite`."""
    return environment(built[1], tmp_path_factory.mktemp("suite") / "venv", ("suite",))


def environment(wheel: Path, folder: Path, extras: Iterable[str]) -> Path:
    """Make a virtual environment with the wheel and links to its dependencies, which this environment has already.

    The links replace a package registry. A dependency that the wheel does not declare is missing there.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    needed = [line for line in requirements(wheel, extras) if line.name != "fourhands"]
    linked: set[str] = set()
    while needed:
        requirement = needed.pop()
        name = canonicalize_name(requirement.name)
        if name in linked:
            continue
        linked.add(name)
        found = distribution(name)
        assert requirement.specifier.contains(found.version, prereleases=True), f"{requirement}, not {found.version}"
        for top in {path.parts[0] for path in found.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(found.locate_file(top))
        needed += applicable(found.requires or (), requirement.extras)
    return python


def requirements(wheel: Path, extras: Iterable[str]) -> list[Requirement]:
    """What the wheel's metadata requires, with the requirements of its extras."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    return applicable(metadata.get_all("Requires-Dist", []), extras)


def applicable(lines: Iterable[str], extras: Iterable[str]) -> list[Requirement]:
    """The requirements whose markers hold in this Python with one of these extras, or without."""
    parsed = [Requirement(line) for line in lines]
    cases = [{"extra": extra} for extra in ("", *extras)]
    return [line for line in parsed if line.marker is None or any(line.marker.evaluate(case) for case in cases)]


def contents(sdist: Path) -> set[str]:
    """The files of an sdist, without the folder that holds them."""
    with tarfile.open(sdist) as archive:
        return {name.name.partition("/")[2] for name in archive.getmembers() if name.isfile()}


def test_sdist_holds_every_source(sources: tuple[Path, set[str]], built: tuple[Path, Path]) -> None:
    held = contents(built[0])
    written_by_setuptools = {name for name in held if re.match(r"PKG-INFO|setup\.cfg|fourhands\.egg-info/", name)}
    assert held - written_by_setuptools == sources[1] - NOT_IN_SDIST


def test_wheel_holds_the_packages_and_nothing_else(sources: tuple[Path, set[str]], built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    packages = {name for name in sources[1] if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    public = {name for name in sources[1] if re.fullmatch(r"fourhands\.py|fourhands/.*", name)}
    assert held == public | {name for name in packages if "/tests/" not in name}
    # what is not Python is easily forgotten in `package-data`
    assert {"common/py.typed", "common/report/index.html"} <= held


def test_the_registry_would_take_both(built: tuple[Path, Path]) -> None:
    pytest.importorskip("twine", reason="needs twine: pip install twine")
    told = run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *built, cwd=built[0].parent)
    assert told.count("PASSED") == 2, told


@pytest.mark.parametrize("module", ["fourhands", "common", "impl_numpy", "conformance"])
def test_the_installed_package_is_imported(bare: Path, tmp_path: Path, module: str) -> None:
    told = run(bare, "-c", f"import {module}; print({module}.__file__)", cwd=tmp_path)
    assert Path(told.strip()).is_relative_to(bare.parents[1]), "not the checkout's"


def test_the_installed_command_shows_its_help(bare: Path, tmp_path: Path) -> None:
    told = run(bare.parent / "fourhands", "--help", cwd=tmp_path)
    assert told.startswith("usage: fourhands COMMAND"), told
    assert "fourhands" in run(bare.parent / "fourhands", "train", "--help", cwd=tmp_path)


def test_every_module_is_imported_with_the_declared_dependencies_alone(bare: Path, tmp_path: Path) -> None:
    program = f"""
import importlib, pkgutil, common, impl_numpy
for package in (common, impl_numpy):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if not module.name.startswith("common.serving.") or error.name.partition(".")[0] not in {SERVE}:
                raise
        else:
            print(module.name)
"""
    imported = run(bare, "-c", program, cwd=tmp_path)
    assert "common.report.page\n" in imported
    assert "common.serving.config\n" in imported


def test_the_installed_suite_passes_for_numpy(with_suite: Path, tmp_path: Path) -> None:
    # every check of one rung in one dtype; the test below runs the other rungs
    run_suite(with_suite, tmp_path, "numpy and mlp and float64 and not faults")


@pytest.mark.slow
def test_every_rung_of_the_installed_suite_passes_for_numpy(with_suite: Path, tmp_path: Path) -> None:
    # the planted faults change copies of the same files, so the checkout's run of them says the same
    run_suite(with_suite, tmp_path, "numpy and not faults")


def run_suite(python: Path, folder: Path, selected: str) -> None:
    """Run the installed suite on the installed NumPy implementation; fail unless tests passed and none failed."""
    suite = ("--pyargs", "conformance", "-m", "not slow", "-k", selected, "-p", "no:cacheprovider", "-q")
    told = run(python, "-m", "pytest", *suite, cwd=folder)
    assert re.search(r"\d+ passed", told), told
    assert str(ROOT) not in told, "the installed suite runs, not the checkout's"
