"""Tests of the page on training: its gates are those of the suite, and what it says about the same bytes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason='the site needs Sphinx: pip install "fourhands[docs]"')

from generated import tolerances

from conformance import golden
from conformance.tolerances import TOLERANCES

PAGE = " ".join((Path(__file__).parent / "training.md").read_text(encoding="utf-8").split())


def test_page_shows_every_gate_of_the_steps_of_adamw_and_no_other() -> None:
    assert "```{generated} tolerances adamw ```" in PAGE
    rows = [line for line in tolerances("adamw").splitlines() if "steps" in line]
    gates = [gate for key, gate in TOLERANCES.items() if key[0] == "adamw steps"]
    assert len(rows) == len(gates) > 0
    for row, gate in zip(rows, gates, strict=True):
        assert row.startswith("| adamw steps |")
        assert f"| {gate.limit:g} |" in row


def test_without_a_check_all_gates_are_shown() -> None:
    assert sum(f"| {gate.reason} |" in tolerances() for gate in TOLERANCES.values()) == len(TOLERANCES)


def test_page_names_the_number_of_steps_that_the_suite_compares() -> None:
    batches = -(-golden.STEPS_EXAMPLES // golden.ADAMW.batch_size)
    assert f"after {golden.ADAMW.epochs * batches} steps of AdamW" in PAGE


def test_page_has_no_gate_typed_by_hand() -> None:
    assert re.findall(r"\b\d(?:\.\d+)?e-\d+", PAGE) == []


def test_pytorch_itself_calls_the_gradients_on_cuda_not_deterministic() -> None:
    torch = pytest.importorskip("torch")
    text = " ".join(torch.use_deterministic_algorithms.__doc__.split())
    refused = text[text.index("will throw a :class:`RuntimeError` when ``mode=True``") :]
    assert "`torch.nn.CTCLoss` when attempting to differentiate a CUDA tensor" in refused
    assert "`torch.index_select` when attempting to differentiate a CUDA tensor" in text
    link = re.search(r"\[not reproducible\]\(\S+/(\w+)\.(\w+)\.html\)", PAGE)
    assert link
    assert getattr(torch, link[2]) is torch.use_deterministic_algorithms
