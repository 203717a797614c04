"""What the page on choosing looks up is right."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason='the lectures need PyTorch: pip install "fourhands[lectures]"')
pytest.importorskip("jax", reason='the lectures need JAX: pip install "fourhands[lectures]"')

import choosing


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four distributions: a needs b[fast], which needs d only for fast; c is for another system."""
    sizes = {"a": 1, "b": 20, "d": 300}
    requires = {
        "a": ["b[fast]>=1", "c; sys_platform == 'other'", "gone"],
        "b": ["d; extra == 'fast'", "a; extra == 'slow'"],
        "d": ["a"],  # a circle
    }
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(b"." * size * 1_000_000)

    def distribution(name: str) -> SimpleNamespace:
        if name not in sizes:
            raise choosing.PackageNotFoundError(name)
        file = SimpleNamespace(locate=lambda: tmp_path / name)
        return SimpleNamespace(requires=requires[name], files=[file])

    monkeypatch.setattr(choosing, "distribution", distribution)


@pytest.mark.parametrize(
    ("names", "expected"), [(["a"], {"a", "b", "d"}), (["b"], {"b"}), (["B[fast]"], {"a", "b", "d"})]
)
@pytest.mark.usefixtures("installed")
def test_what_is_needed_follows_extras_and_markers(names: Iterable[str], expected: set[str]) -> None:
    assert choosing.needed(names) == expected


@pytest.mark.usefixtures("installed")
def test_megabytes_are_those_of_the_files() -> None:
    assert choosing.megabytes(["a", "d"]) == 301


def test_figures_are_by_rung_and_framework() -> None:
    report = {"rungs": {"mlp": {"rows": {"jax": {"seconds": 3.0, "accuracy": 1}, "numpy": {"seconds": 4.0}}}}}
    assert choosing.figures(report, "seconds") == {"mlp": {"jax": 3.0, "numpy": 4.0}}


def test_published_comparison_has_every_figure_of_the_page_in_every_run() -> None:
    report = choosing.published()
    for field in ("step_relative", "compile_seconds", "seconds", "peak_memory_mb", "lines_in_all"):
        for rung, row in choosing.figures(report, field).items():
            assert set(row) == set(report["settings"]["frameworks"]), (rung, field)


def test_eager_code_sees_each_number_and_compiled_code_a_tracer_once() -> None:
    numbers: list[str] = []
    choosing.eager(numbers)
    assert numbers == ["tensor(6.)", "tensor(8.)"]
    tracers: list[str] = []
    choosing.compiled(tracers)
    assert len(tracers) == 1
    assert "Tracer" in tracers[0]
