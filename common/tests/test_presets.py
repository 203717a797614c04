"""The presets: their sizes, and how `train` takes them."""

from __future__ import annotations

import pytest

from common.commands.train import defaults_for
from common.errors import UserError
from common.spec import RUNGS, new_spec, parameter_count
from common.spec.presets import PRESETS, SIZES, preset_fields


@pytest.mark.parametrize("rung", RUNGS)
def test_each_preset_is_at_least_twice_as_large_as_the_one_before(rung: str) -> None:
    counts = [parameter_count(new_spec(rung, **preset_fields(rung, name))) for name in PRESETS]
    assert 2 * counts[0] <= counts[1]
    assert 2 * counts[1] <= counts[2]


def test_every_rung_has_presets_and_base_is_the_default() -> None:
    assert SIZES.keys() == RUNGS.keys()
    assert all(preset_fields(rung, "base") == {} for rung in RUNGS)
    assert all(sizes.keys() == {"small", "large"} for sizes in SIZES.values())


def test_sizes_computed_by_hand() -> None:
    # 784·256 + 256 + 256·128 + 128 + 128·10 + 10
    assert parameter_count(new_spec("mlp", **preset_fields("mlp", "small"), num_classes=10)) == 235_146


def test_preset_sets_the_defaults_of_the_flags() -> None:
    given = defaults_for(["--rung", "lstm_ctc", "--preset", "large"])
    assert given.spec == new_spec("lstm_ctc", **preset_fields("lstm_ctc", "large"))
    assert defaults_for(["--preset=small", "--rung", "mlp"]).spec.hidden_dims == (256, 128)
    assert defaults_for(["--rung", "mlp"]).spec == new_spec("mlp")


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(UserError, match="huge"):
        defaults_for(["--rung", "mlp", "--preset", "huge"])


def test_flag_changes_one_size_of_a_preset(tiny, tmp_path, command) -> None:  # noqa: ANN001
    flags = [flag for flag in tiny if flag != "--spec.hidden-dims"]
    flags.remove("16")
    out = tmp_path / "run"
    done = command(*flags, "--preset", "small", "--spec.dropout", "0.25", "--train.epochs", "1", "--out", out)
    assert done.code == 0
    config = (out / "config.json").read_text()
    assert "256" in config
    assert '"dropout": 0.25' in config
