"""The learning rate of every step, compared with values computed by hand."""

# S training steps

from __future__ import annotations

import numpy as np
import pytest

from common.config import TrainConfig
from common.training.schedule import learning_rates


def test_one_cycle_of_ten_steps() -> None:
    # 3 steps up from 4%, along 1 - cos 0°, cos 60°, cos 120°; then from the peak down to 0 in six steps of 30°
    up = [0.04 + 0.96 * rise for rise in (0, 0.25, 0.75)]
    down = [1, (1 + np.sqrt(0.75)) / 2, 0.75, 0.5, 0.25, (1 - np.sqrt(0.75)) / 2, 0]
    rates_S = learning_rates(TrainConfig(learning_rate=2.0), 10)
    np.testing.assert_allclose(rates_S, 2 * np.array(up + down), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("steps", [7, 100, 1001])
def test_one_cycle_starts_at_4_percent_peaks_after_30_percent_and_ends_at_zero(steps: int) -> None:
    rates_S = learning_rates(TrainConfig(learning_rate=0.5), steps)
    assert rates_S.dtype == np.float32
    assert rates_S[0] == pytest.approx(0.02, rel=1e-6)
    assert (rates_S.max(), int(rates_S.argmax())) == (0.5, round(0.3 * steps))
    assert rates_S[-1] == 0
    rises_S = np.diff(rates_S) > 0
    assert rises_S.tolist() == sorted(rises_S, reverse=True), "up, then down"


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_run_of_a_few_steps_has_finite_rates(steps: int) -> None:
    rates_S = learning_rates(TrainConfig(learning_rate=1.0), steps)
    assert len(rates_S) == steps
    assert np.isfinite(rates_S).all()
    assert 0 < rates_S[0] <= 1


def test_a_constant_schedule_has_one_rate() -> None:
    assert learning_rates(TrainConfig(learning_rate=0.25, schedule="constant"), 4).tolist() == [0.25] * 4
