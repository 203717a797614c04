"""`{generated} NAME [ARGUMENT]`: tables made from the code when the site is built, so no page repeats a figure."""

from __future__ import annotations

import ast
import inspect
import os
import textwrap
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import get_type_hints
from unittest import mock

from docutils import nodes
from network import spec_of
from published import comparison, overview, rubric, runs, table
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from common.cli import COMMANDS, main
from common.data.sources import SOURCES
from common.spec import RUNGS, new_spec, parameter_count
from common.spec.presets import PRESETS, preset_fields
from conformance import checks
from conformance.faults import OWN
from conformance.tolerances import TOLERANCES

HELP_COLUMNS = "80"
_MODULES = ("parity", "lines", "pages", "definition", "learning")  # of `conformance.checks`, in the order to read them


def parameters(rung: str) -> str:
    """Names and shapes of a rung's parameters."""
    spec = spec_of(rung)
    rows = [
        (f"`{name}`", " × ".join(map(str, parameter.shape)), parameter.initializer.replace("_", " "))
        for name, parameter in spec.parameters().items()
    ]
    return table(("name", "shape", "starts from"), [*rows, ("all", f"{parameter_count(spec):,} numbers", "")])


def presets() -> str:
    """Parameters and sizes of each rung's presets, for 83 classes."""
    rows = []
    for rung in RUNGS:
        for name in PRESETS:
            fields = preset_fields(rung, name)
            spec = new_spec(rung, **fields)
            if "num_classes" in spec.decided_by_data:
                spec = replace(spec, num_classes=83)
            sizes = ", ".join(f"`{field}` {value}" for field, value in fields.items()) or "the defaults"
            rows.append((f"`{rung}`", name, f"{parameter_count(spec):,}", sizes))
    return table(("rung", "preset", "parameters", "sizes"), rows)


def tolerances(check: str = "") -> str:
    """The tolerances of the suite, of the checks whose name starts with `check`."""
    rows = [
        (
            *(row[0], row[1], ", ".join(part for part in row[2:] if part != "*") or "all"),
            *(f"{gate.limit:g}", f"{gate.noise:.1e}", f"{gate.bug:.1e}", gate.norm),
            "; ".join(filter(None, (gate.reason, gate.exception))),
        )
        for row, gate in TOLERANCES.items()
        if row[0].startswith(check)
    ]
    return table(("what", "dtype", "for", "limit", "noise", "bug", "norm", "reason"), rows)


def suite() -> str:
    """Each check with the first line of its docstring."""
    found = [check for _, check in inspect.getmembers(checks, inspect.isfunction) if _is_check(check)]
    found.sort(key=lambda check: (_MODULES.index(check.__module__.rpartition(".")[2]), check.__code__.co_firstlineno))
    return table(
        ("check", "what it checks"),
        [(check.__name__.replace("_", " "), (check.__doc__ or "").splitlines()[0]) for check in found],
    )


def _is_check(function: object) -> bool:
    return not function.__name__.startswith("_") and get_type_hints(function).get("subject") is checks.Subject


def faults() -> str:
    """The planted faults, and the packages that they are planted in."""
    rows = [
        (f.name, f.rung or "all", f.meaning, f.check.rpartition("::")[2].replace("_", " "), ", ".join(f.edits))
        for f in OWN
    ]
    return table(("fault", "rung", "what goes wrong", "caught by", "planted in"), rows)


def sources() -> str:
    """The data sets, as a list, because the texts are too long for a table on a phone."""
    return "\n\n".join(
        f"`{name}`\n: {source.description}.\n  {source.sizes}. From: {source.origin}. Terms: {source.terms}."
        for name, source in SOURCES.items()
    )


def commands() -> str:
    """What each command prints for --help."""
    invocations = [[*name.split()] for name in COMMANDS if name != "train"]
    invocations[3:3] = [["train", "--rung", rung] for rung in RUNGS]
    return "\n\n".join(
        f"{rubric('`' + ' '.join(words) + '`')}\n\n```text\n{_help(words)}\n```" for words in invocations
    )


def _help(words: list[str]) -> str:
    printed = StringIO()
    with mock.patch.dict(os.environ, COLUMNS=HELP_COLUMNS, NO_COLOR="1"), redirect_stdout(printed):
        main([*words, "--help"])
    return printed.getvalue().strip()


def api() -> str:
    """Signatures and docstrings of the public functions, and of what they return, from the source."""
    import fourhands

    functions = [
        *(fourhands.train, fourhands.evaluate, fourhands.load, fourhands.Reader.read, fourhands.load_pages),
        *(fourhands.PageReader.read, fourhands.PageReader.read_document, fourhands.verify),
    ]
    return "\n\n".join(f"```python\n{_signature(function)}\n```" for function in functions)


def _signature(function: Callable[..., object]) -> str:
    """The source of a function up to the end of its docstring."""
    source = textwrap.dedent(inspect.getsource(function))
    definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.FunctionDef) or ast.get_docstring(definition) is None:
        raise ValueError(f"{function.__qualname__} has no docstring to show")
    return "\n".join(source.splitlines()[: definition.body[0].end_lineno])


CONTENT = {
    "api": api,
    "parameters": parameters,
    "presets": presets,
    "tolerances": tolerances,
    "suite": suite,
    "faults": faults,
    "sources": sources,
    "commands": commands,
}
FROM_FILES = {"comparison": comparison, "overview": overview, "runs": runs}


class Generated(SphinxDirective):
    """The directive."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # its content can change without the page changing
        name, *arguments = self.arguments
        try:
            if name in FROM_FILES:
                text = FROM_FILES[name](Path(self.env.srcdir, "results"), *arguments)
            else:
                text = CONTENT[name](*arguments)
        except ValueError as error:
            raise self.error(str(error)) from None
        return self.parse_text_to_nodes(text)


def setup(app: Sphinx) -> ExtensionMetadata:
    """As Sphinx asks."""
    app.add_directive("generated", Generated)
    return {"parallel_read_safe": True}
