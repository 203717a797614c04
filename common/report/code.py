"""The source of an implementation: its lines of code, and a fingerprint that changes with it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import tokenize
from pathlib import Path

from common.errors import UserError
from common.recognizer import implementations

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """The number of lines of code, without blank lines, comments and docstrings."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        # a string that is a statement is the docstring of a module, a class, a function or a field
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def package_of(framework: str) -> str:
    """The package that implements the framework."""
    return implementations()[framework].module.partition(".")[0]


def sources_of(framework: str) -> dict[str, Path]:
    """File name to path of the Python files of an implementation, without its tests. Nothing is imported.

    Raises:
        UserError: the package is not installed.
    """
    return package_sources(package_of(framework))


def package_sources(package: str) -> dict[str, Path]:
    """Path within the package to path of each of its Python files, without its tests.

    Raises:
        UserError: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"package {package!r} is not installed; install fourhands again")
    if spec.submodule_search_locations is None:
        return {Path(spec.origin).name: Path(spec.origin)}
    folder = Path(spec.origin).parent
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.py"))}
    return {name: path for name, path in found.items() if "tests" not in Path(name).parts}


def lines_by_file(framework: str) -> dict[str, int]:
    """File name to the number of its lines of code."""
    return {name: code_lines(path.read_text(encoding="utf-8")) for name, path in sources_of(framework).items()}


def fingerprint(package: str) -> str:
    """Twelve hex digits that change with any Python file of the package except its tests."""
    digest = hashlib.sha256()
    for name, path in package_sources(package).items():
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]
