"""`{side-by-side} RUNG SECTION`: one section of a rung in all four implementations, from their own source.

A section of `impl_*/RUNG.py` begins with its marker, a line `# --- SECTION`, and ends before the next marker. The page
gets one set of tabs, which `_static/side_by_side.css` lays out as columns on a wide screen. With the option `:capped:`,
the columns are low enough for the page's first screen, and a checkbox below them shows the sections whole.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from charts import NAMES
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata, OptionSpec

FRAMEWORKS = NAMES
SECTIONS = ["layers", "model", "loss", "training step", "weights"]
OPTIONAL = "decoding"  # for a model that writes text
UNFOLD = '<label class="unfold"><input type="checkbox"> Show these sections whole</label>'


def find_sections(path: Path) -> dict[str, tuple[int, int]]:
    """Section of a rung to its first and last line, see `marked_sections`.

    Raises:
        ValueError: the file is missing, or its markers are not those of a rung, in their order.
    """
    place = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        raise ValueError(f"{place} does not exist; every implementation has the same files")
    sections = marked_sections(path)
    names = [name for name, _, _ in sections]
    if [name for name in names if name != OPTIONAL] != SECTIONS:
        raise ValueError(
            f"{place} has the sections {', '.join(names) or '(none)'}; expected {', '.join(SECTIONS)}, "
            "each under a line `# --- NAME`"
        )
    return {name: (first, last) for name, first, last in sections}


def marked_sections(path: Path) -> list[tuple[str, int, int]]:
    """Each section with its first and last line, counted from 1; the first is the marker, the last is not blank."""
    lines = path.read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("# --- ")]
    sections = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        while not lines[end - 1].strip():
            end -= 1
        sections.append((re.split(r"# --- |:", lines[start])[1], start + 1, end))
    return sections


class SideBySide(SphinxDirective):
    """The directive."""

    required_arguments = 2
    final_argument_whitespace = True  # "training step" is one name
    option_spec: ClassVar[OptionSpec] = {"capped": directives.flag}

    def run(self) -> list[nodes.Node]:
        rung, section = self.arguments
        root = Path(self.env.srcdir).parent
        tabs = []
        for framework, title in FRAMEWORKS.items():
            file = f"impl_{framework}/{rung}.py"
            try:
                sections = find_sections(root / file)
            except ValueError as error:
                raise self.error(str(error)) from None
            if section not in sections:
                raise self.error(f"no section {section!r} in a rung; there are {', '.join(sections)}")
            first, last = sections[section]
            tabs += [
                f":::{{tab-item}} {title}",
                f":sync: {framework}",
                f"```{{literalinclude}} /../{file}",
                ":language: python",
                f":lines: {first}-{last}",
                f":caption: {file}, line {first}",
                "```",
                ":::",
            ]
        capped = "capped" in self.options
        classes = "side-by-side capped" if capped else "side-by-side"
        head = ["::::{tab-set}", f":class: {classes}", ":sync-group: framework"]
        shown = self.parse_text_to_nodes("\n".join([*head, *tabs, "::::"]))
        return [*shown, nodes.raw("", UNFOLD, format="html")] if capped else shown


def setup(app: Sphinx) -> ExtensionMetadata:
    """As Sphinx asks."""
    app.add_directive("side-by-side", SideBySide)
    return {"parallel_read_safe": True}
