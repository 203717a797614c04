"""The part of README that follows from docs/results/report.json: a picture, and what it says.

    python docs/_ext/readme.py

writes `docs/images/comparison.svg` and the lines between the two comments in README. A test fails if they do not match
the report.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import charts
import conclusions

ROOT = Path(__file__).parents[2]
REPORT, PICTURE, README = (
    ROOT / name for name in ("docs/results/report.json", "docs/images/comparison.svg", "README.md")
)
BEGIN = "<!-- conclusions: `python docs/_ext/readme.py` writes this part from docs/results/report.json -->"
END = "<!-- end of conclusions -->"


def with_conclusions(text: str, report: dict[str, Any]) -> str:
    """README with what follows from the report between its two comments.

    Raises:
        ValueError: a comment is missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks the line {BEGIN if not begin else END!r}")
    return "\n\n".join([before + BEGIN, *conclusions.overview(report), END + after])


def main() -> None:
    """Write both files."""
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    PICTURE.write_text(charts.committed(report), encoding="utf-8")
    README.write_text(with_conclusions(README.read_text(encoding="utf-8"), report), encoding="utf-8")


if __name__ == "__main__":
    main()
