"""Answers are as the OpenAPI description says, for requests that schemathesis makes from it."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis", reason='needs schemathesis: pip install "fourhands[dev]"')

from hypothesis import HealthCheck, settings  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from common.serving.tests.fake import FakeEngine, Service  # noqa: E402

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


class LastingEngine(FakeEngine):
    """Serves on: schemathesis runs the lifespan for each request."""

    async def close(self) -> None:
        """Do nothing."""


SERVICE = Service(LastingEngine())
DESCRIPTION = copy.deepcopy(SERVICE.app.openapi())
for media in ("application/pdf", "image/*"):  # schemathesis cannot make them; `fuzz.py` does
    del DESCRIPTION["paths"]["/v1/read"]["post"]["requestBody"]["content"][media]
schema = schemathesis.openapi.from_dict(DESCRIPTION)
schema.app = SERVICE.app


@pytest.fixture(autouse=True)
def subnormal_numbers() -> Iterator[None]:
    """Lets the processor compute with subnormal numbers, as hypothesis asks.

    A test before, in the same process, may have built a model in PyTorch, which turns them off.
    """
    torch = sys.modules.get("torch")
    flushed = sys.float_info.min / 2 == 0
    if flushed and torch is not None:
        torch.set_flush_denormal(False)
    yield
    if flushed and torch is not None:
        torch.set_flush_denormal(True)


@schema.parametrize()
@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
def test_answers_are_as_described(case: Any) -> None:
    case.call_and_validate(base_url="http://localhost:8000", checks=CHECKS)
