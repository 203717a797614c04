"""The reader that ships finds the same lines and reads the same texts in every implementation.

Each implementation reads in a process of its own, so that no two frameworks share one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from common.recognizer import implementations
from conformance.worker import Worker

READ = """
import json, sys
import fourhands
from common.data import ink_pages

pages = ink_pages.load(1, side=672).validation
reader = fourhands.load(framework=sys.argv[1])
reading = reader.read(pages.pictures[0], kind="page")
print(json.dumps([[line.text, line.confidence, line.baseline.tolist()] for line in reading.lines]))
"""
PIXELS = 2
"""Largest distance of a point: a score at a threshold may round to either side."""
CONFIDENCE = 0.01
"""Largest difference of a line's confidence: a line that is cut a pixel higher has other scores."""


@cache
def lines_of(implementation: str) -> list[Any]:
    """Text, confidence and baseline of each line of a drawn page."""
    command = [sys.executable, "-c", READ, implementation]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return lines


@pytest.mark.full("a page read by the reader that ships")
@pytest.mark.parametrize("implementation", [name for name in implementations() if name != "numpy"])
def test_a_page_has_the_same_lines_and_texts(implementation: str, installed: Callable[[str], Worker]) -> None:
    installed(implementation)  # skips where its framework is missing
    expected, found = lines_of("numpy"), lines_of(implementation)
    assert expected, "NumPy found no line"
    assert [line[0] for line in found] == [line[0] for line in expected]
    for (_, confidence, baseline), (_, confident, based) in zip(expected, found, strict=True):
        assert confident == pytest.approx(confidence, abs=CONFIDENCE)
        np.testing.assert_allclose(based, baseline, rtol=0, atol=PIXELS)
