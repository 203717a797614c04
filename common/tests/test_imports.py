"""What imports what: no circles, no import of a later room, no framework, and a fast start."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

SLOW = ["torch", "tensorflow", "keras", "jax", "flax", "optax", "wandb", "tensorboard", "matplotlib", "cupy"]
# processor time from after the start of Python: other processes do not lengthen it
PROGRAM = f"""
import json, sys, time
start = time.process_time()
import common, impl_numpy, common.cli
seconds = time.process_time() - start
print(json.dumps([seconds, [name for name in {SLOW} if name in sys.modules]]))
"""
COMMON = Path(__file__).resolve().parents[1]
ROOT = COMMON.parent
IMPLEMENTATIONS = ("impl_numpy", "impl_pytorch", "impl_keras", "impl_jax")
TOP = ("errors", "atomic", "formatting", "terminal", "machine", "sampling", "charset", "config", "batch", "spec")
TOP += ("metrics", "weights", "recognizer")
# a room imports from itself and from the rooms before it
ROOMS = ("top", "data", "reading", "evaluation", "tasks", "report", "training", "experiments", "fourhands", "serving")
ROOMS += ("commands", "cli")
OF_ONE_TASK = {
    *("CharacterSplit", "LineSplit", "Split"),
    *("Dataset", "LineDataset", "CharacterDataset"),
    *("Batch", "LineBatch", "Batches", "LineBatches", "CharacterBatches"),
    *("CharacterEvaluation", "LineEvaluation"),
}


# --- speed
@pytest.fixture(scope="module")
def imports() -> list[tuple[float, list[str]]]:
    """Seconds of the import and the slow packages that it pulled in, in three fresh processes."""
    return [
        json.loads(subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True).stdout)
        for _ in range(3)
    ]


def test_import_takes_at_most_half_a_second(imports: list[tuple[float, list[str]]]) -> None:
    assert min(seconds for seconds, _ in imports) <= 0.5


def test_import_pulls_in_no_framework_and_nothing_slow(imports: list[tuple[float, list[str]]]) -> None:
    assert imports[0][1] == []


def test_import_of_the_public_api_pulls_in_no_framework_and_nothing_slow() -> None:
    program = f"import fourhands, sys; print([name for name in {SLOW} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_help_pulls_in_no_framework_and_nothing_slow() -> None:
    program = "from common.cli import main; import sys; main(['train', '--help']); "
    program += f"print([name for name in {SLOW} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --- who imports whom
def sources(root: Path, package: str) -> dict[str, Path]:
    """Module name to file, for a package (without its tests) or a single module under `root`."""
    if (root / f"{package}.py").is_file():
        return {package: root / f"{package}.py"}
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if "tests" not in parts and not parts[-1].startswith("test_"):
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """The known modules that a file imports, at its top, within functions or for type checking only."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}, line {node.lineno}: import by the full name, not relative to the file"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from common.data import ink` imports a module, `from common.spec import Spec` a name of one
            names |= {name if name in known else str(node.module) for name in whole}
    return names & known.keys()


def graph(root: Path, *packages: str) -> dict[str, set[str]]:
    """Module to the modules that it imports, among these packages."""
    known = {name: path for package in packages for name, path in sources(root, package).items()}
    return {name: imported(path, known) - {name} for name, path in known.items()}


def circle(edges: dict[str, set[str]]) -> str:
    """Modules that import each other in a circle, such as `b → a → b`; empty if there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return " → ".join(error.args[1])
    return ""


def room(module: str) -> int:
    """Index in `ROOMS`.

    Raises:
        ValueError: a module that is in no room.
    """
    first, _, rest = module.partition(".")
    if first == "fourhands" or not rest:
        return ROOMS.index("fourhands" if first == "fourhands" else "top")
    second = rest.partition(".")[0]
    return ROOMS.index("top" if second in TOP else second)


def backward(edges: dict[str, set[str]]) -> list[str]:
    """The imports from a later room."""
    return sorted(f"{name} imports {other}" for name in edges for other in edges[name] if room(other) > room(name))


def test_no_files_of_common_import_each_other_and_none_imports_a_later_room() -> None:
    edges = graph(ROOT, "common", "fourhands")
    assert len(edges) > 50, "the files were not found"
    assert circle(edges) == ""
    assert backward(edges) == []


@pytest.mark.parametrize("package", IMPLEMENTATIONS)
def test_no_files_of_an_implementation_import_each_other(package: str) -> None:
    edges = graph(Path(str(find_spec(package).origin)).parents[1], package)  # type: ignore[union-attr]
    assert len(edges) > 5, "the files were not found"
    assert circle(edges) == ""


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    "statement",
    [
        "import common.tasks.lines",
        "from common.tasks import lines",
        "from common.tasks.lines import LINES",
        "def later():\n    from common.tasks import lines\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from common.tasks.lines import LINES\n",
    ],
    ids=["module", "from package", "name", "in a function", "for types only"],
)
def test_check_of_imports_finds_a_circle_and_a_later_room(statement: str, tmp_path: Path) -> None:
    files = {"common/__init__.py": "", "common/tasks/__init__.py": "", "common/data/ink.py": ""}
    write(tmp_path, files | {"common/tasks/lines.py": "from common.data import ink\n", "fourhands.py": ""})
    assert (circle(edges := graph(tmp_path, "common", "fourhands")), backward(edges)) == ("", [])
    write(tmp_path, {"common/data/ink.py": statement})
    edges = graph(tmp_path, "common", "fourhands")
    assert set(circle(edges).split(" → ")) == {"common.data.ink", "common.tasks.lines"}
    assert backward(edges) == ["common.data.ink imports common.tasks.lines"]


# --- who asks for a type
def type_questions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of each type that `isinstance`, `issubclass` or a class pattern asks for."""
    for node in ast.walk(tree):
        asked: ast.AST | None = None
        if isinstance(node, ast.MatchClass):
            asked = node.cls
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            asked = node.args[1] if node.func.id in ("isinstance", "issubclass") else None
        for part in ast.walk(asked) if asked is not None else ():
            if isinstance(part, ast.Name | ast.Attribute):
                yield part.lineno, part.id if isinstance(part, ast.Name) else part.attr


def questions_outside_tasks(root: Path) -> list[str]:
    """Where a file that is not a task asks for the type of a split, a batch, a data set, an evaluation or a spec."""
    found = []
    for package in ("common", "fourhands"):
        for path in sources(root, package).values():
            place = path.relative_to(root).as_posix()
            if place.startswith("common/tasks/"):
                continue
            for line, name in type_questions(ast.parse(path.read_text(encoding="utf-8"))):
                if name in OF_ONE_TASK or (name.endswith("Spec") and place != "common/commands/flags.py"):
                    found.append(f"{place}:{line} asks for {name}")
    return found


def test_only_tasks_ask_for_the_type_of_what_they_handle() -> None:
    assert questions_outside_tasks(ROOT) == []


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("isinstance(x, LineSplit)", "LineSplit"),
        ("isinstance(x, (int, lines.LineDataset))", "LineDataset"),
        ("isinstance(x, Batch | None)", "Batch"),
        ("issubclass(x, LineSpec)", "LineSpec"),
        ("match x:\n    case CharacterEvaluation():\n        pass", "CharacterEvaluation"),
    ],
)
def test_check_of_types_finds_a_question(question: str, name: str, tmp_path: Path) -> None:
    asks = {"common/report/row.py": question, "common/tasks/lines.py": question, "fourhands.py": "isinstance(x, dict)"}
    write(tmp_path, asks)
    (found,) = questions_outside_tasks(tmp_path)
    assert found.startswith("common/report/row.py:")
    assert found.endswith(f"asks for {name}")
