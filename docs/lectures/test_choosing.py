"""Tests of the page on choosing: what it looks up, what it measures, and the names that it mentions."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason='the lectures need PyTorch: pip install "fourhands[lectures]"')
pytest.importorskip("jax", reason='the lectures need JAX: pip install "fourhands[lectures]"')

import choosing

from common.spec import MLPSpec


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
def test_requirements_follow_extras_and_markers(names: Iterable[str], expected: set[str]) -> None:
    assert choosing.needed(names) == expected


@pytest.mark.usefixtures("installed")
def test_megabytes_are_the_sum_of_the_files() -> None:
    assert choosing.megabytes(["a", "d"]) == 301


def _report(**fields: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """A report with the fields of jax and pytorch for each rung."""
    return {
        "rungs": {
            rung: {
                "rows": {
                    framework: {field: values[rung][place] for field, values in fields.items()}
                    for place, framework in enumerate(("jax", "pytorch"))
                }
            }
            for rung in ("mlp", "cnn", "lstm_ctc")
        }
    }


def test_figures_are_by_rung_and_framework() -> None:
    report = _report(seconds={"mlp": (3, 4), "cnn": (5, 6), "lstm_ctc": (7, 8)})
    assert choosing.figures(report, "seconds")["cnn"] == {"jax": 5, "pytorch": 6}


def test_winner_of_most_rungs_comes_first_with_all_its_rungs() -> None:
    values = {"mlp": {"jax": 2.0, "keras": 1.0}, "cnn": {"jax": 1.0, "keras": 2.0}, "unet": {"jax": 1.0, "keras": 3.0}}
    won = choosing.winners(values)
    assert list(won.items()) == [("jax", ["cnn", "unet"]), ("keras", ["mlp"])]
    assert choosing.in_words(won, {"jax": "JAX", "keras": "Keras"}) == "JAX on cnn and unet, Keras on mlp"


def test_three_rungs_are_joined_by_comma_and_and() -> None:
    assert choosing.in_words({"jax": ["mlp", "cnn", "unet"]}, {"jax": "JAX"}) == "JAX on mlp, cnn and unet"


def test_compiling_is_repaid_only_by_a_faster_step() -> None:
    report = _report(
        compile_seconds={"mlp": (11, 1), "cnn": (11, 1), "lstm_ctc": (1, 2)},
        step_seconds={"mlp": (0.01, 0.03), "cnn": (0.03, 0.01), "lstm_ctc": (0.01, 0.02)},
    )
    repaid = choosing.repaid_after(report, "jax", "pytorch")
    assert repaid == "on mlp after 500 steps, on lstm_ctc after 0 steps"  # (11 - 1) / (0.03 - 0.01)
    assert choosing.repaid_after(report, "pytorch", "jax").startswith("on cnn")


def test_published_comparison_has_each_figure_of_the_page_for_every_run() -> None:
    report = choosing.published()
    fields = ("step_relative", "step_seconds", "compile_seconds", "seconds", "peak_memory_mb", "lines_in_all")
    for field in fields:
        for rung, row in choosing.figures(report, field).items():
            assert set(row) == set(report["settings"]["frameworks"]), (rung, field)


def test_eager_code_sees_numbers_in_both_frameworks_and_jit_sees_one_tracer() -> None:
    seen = choosing.values_seen()
    (traced,) = seen.pop("JAX, jit")
    assert "Tracer" in traced
    assert seen == {
        "PyTorch, eager": ["tensor(6.)", "tensor(8.)"],
        "JAX, eager": ["6.0", "8.0"],
        "JAX, jit disabled": ["6.0", "8.0"],
    }


def test_products_are_a_part_of_a_step_and_not_nearly_all_of_it() -> None:
    share = choosing.share_of_products(MLPSpec(num_classes=62), steps=2)
    assert 0.05 < share < 0.9


def test_operations_are_counted_as_products_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"aten::mm": 1, "aten::addmm": 2, "aten::mkldnn_convolution": 4, "aten::mul": 8, "aten::copy_": 5}
    events = [SimpleNamespace(key=key, self_cpu_time_total=time) for key, time in times.items()]
    profile = SimpleNamespace(key_averages=lambda: events)
    monkeypatch.setattr("torch.profiler.profile", lambda **_: nullcontext(profile))
    assert choosing.share_of_products(MLPSpec(num_classes=62, hidden_dims=(2,)), steps=1, batch_size=2) == 7 / 20


@pytest.mark.parametrize(
    "name",
    [
        "torch.export:export",
        "torch.onnx:export",
        "torch.nn.parallel:DistributedDataParallel",
        "torch.distributed.fsdp:fully_shard",
        "tensorflow:distribute.MirroredStrategy",
        "keras:distribution.DataParallel",
        "keras:distribution.ModelParallel",
        "jax:export.export",
        "jax.experimental.jax2tf:convert",
        "jax:sharding",
        "jax:shard_map",
    ],
)
def test_name_on_the_page_exists_in_its_framework(name: str) -> None:
    assert pkgutil.resolve_name(name)
    page = Path(choosing.__file__).with_suffix(".md").read_text(encoding="utf-8")
    assert name.replace(":", ".").rpartition(".")[2] in page


def test_keras_exports_the_formats_that_the_page_names() -> None:
    keras = pytest.importorskip("keras")
    for kind in ("litert", "onnx", "tf_saved_model"):
        assert f'"{kind}"' in keras.Model.export.__doc__
