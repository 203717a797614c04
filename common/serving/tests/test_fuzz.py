"""A few hundred mutated requests and pictures; `fuzz.py` sends any number."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import UserError
from common.serving.inprocess import InProcessEngine
from common.serving.settings import EngineConfig
from common.serving.tests.fake import FakeEngine, Service
from common.serving.tests.fuzz import send_all

# mutated pictures warn of much before they are refused
pytestmark = pytest.mark.filterwarnings("ignore::Warning:PIL", "ignore:.*:UserWarning", "ignore:.*:RuntimeWarning")


def test_mutated_requests_and_pictures_are_answered_or_refused() -> None:
    outcome = send_all(Service(InProcessEngine(EngineConfig())), 250, seed=0)  # type: ignore[arg-type]
    assert outcome.faults == []
    assert sum(outcome.statuses.values()) == 250
    assert {200, 400, 404, 422} <= outcome.statuses.keys(), "the requests are of few kinds"


@pytest.mark.parametrize(
    ("error", "words"),
    [(ZeroDivisionError(), "status 500"), (UserError("a\nb"), ""), (UserError(" "), "no problem")],
    ids=["an unexpected error", "no fault", "an empty sentence"],
)
def test_the_check_finds_faults(error: Exception, words: str) -> None:
    engine: Any = FakeEngine(error=error)
    faults = send_all(Service(engine), 40, seed=3).faults
    assert all(words in fault for fault in faults)
    assert bool(faults) is bool(words)
