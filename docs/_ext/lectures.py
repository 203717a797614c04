"""Additions to MyST-NB for the pages in `lectures/`.

- `{section} FILE NAME` shows a section of FILE, a module beside the page. It begins at the marker `# --- NAME`.
- Each page is also a notebook to download, `lectures/NAME.ipynb`. Its first cells write the modules beside the page
  (`NAME.py`, `NAME_*.py`), so that it runs in an empty folder. The sections and figures of its text are filled in.
- A figure that is typed into the text is a warning: figures come from the run, by `{eval}`.
- A page is run again when its modules or the packages have changed.

A cell must not end with `;`: IPython then shows no value, not even the value of an `{eval}` below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from docutils import nodes
from myst_nb.ext.eval import EvalRoleAny
from side_by_side import marked_sections
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

FOLDER = "lectures/"
INSTALL = 'pip install -e ".[lectures]" jupyterlab'

# structure, not figures: 2-D, a year, the number of a list's item
_STRUCTURE = re.compile(r"\b\d-D\b|\b(19|20)\d\d\b|^\s*\d+\.\s")
_FIGURE = re.compile(r"(?<![\w.])[-+−]?\d[\d.,]*")
_FENCE = re.compile(r"\s*(`{3,}|:{3,})(\{[\w-]+\}|\w*)(.*)")
_KEY = re.compile(r"\s*(?!alt|caption)[\w-]+:")
_CODE = re.compile(r"(\{eval\})?(`+)(?!`)(.+?)(?<!`)\2(?!`)", re.DOTALL)
_TARGET = re.compile(r"\]\([^)]*\)|<http[^>]*>")
_OPTION = re.compile(r"\s*:(?!alt|caption)[\w-]+:")
_NAMES_A_FILE = ("{section}", "{figure}", "{image}", "{literalinclude}")
_SECTION = re.compile(r"^(`{3,}|:{3,})\{section\} (\S+) (.+)\n\1$", re.MULTILINE)
_EVAL = re.compile(r"\{eval\}`[^`]+`")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]*\)")
# colon fences hold text (notes, dropdowns, tabs); their titles stay, their options go
_CONTAINER = re.compile(
    r"^\s*:{3,}(?!\{(?:figure|image|literalinclude)\})(?:\{[\w-]+\})? *(.*)\n?(\s*:[\w-]+:.*\n)*", re.MULTILINE
)
_DIRECTIVE = re.compile(r"^\s*(`{3,}|:{3,})\{", re.MULTILINE)

_log = logging.getLogger(__name__)


def section_lines(path: Path, name: str) -> tuple[int, int]:
    """First and last line of a section, without its marker.

    Raises:
        ValueError: the file or the section is missing, or there are two of the name.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is not beside the page; put the module there")
    sections = marked_sections(path)
    found = [(first + 1, last) for title, first, last in sections if title == name]
    if len(found) != 1:
        names = ", ".join(title for title, _, _ in sections)
        raise ValueError(f"{path.name} has {len(found)} sections {name!r}, expected one; it has: {names}")
    return found[0]


class Section(SphinxDirective):
    """The directive."""

    required_arguments = 2
    final_argument_whitespace = True  # "gradient check" is one name

    def run(self) -> list[nodes.Node]:
        file, name = self.arguments
        path = Path(self.env.doc2path(self.env.docname)).with_name(file)
        try:
            first, last = section_lines(path, name)
        except ValueError as error:
            raise self.error(str(error)) from None
        lines = [f"```{{literalinclude}} {file}", ":language: python", f":lines: {first}-{last}"]
        return self.parse_text_to_nodes("\n".join([*lines, f":caption: {file}, line {first}", "```"]))


class Evaluated(EvalRoleAny):
    """MyST-NB's `{eval}`, but it shows `str` of a value, not `repr`, and keeps the text for the notebook."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        self.text = f"str({self.text})"  # NumPy's numbers would be `np.int64(3)`
        shown, messages = super().run()
        self.document.attributes.setdefault("evaluated", []).append("".join(node.astext() for node in shown))
        return shown, messages


def typed_figures(text: str) -> list[tuple[int, str]]:
    """The figures in a page's prose, captions and alternative texts, each with its line, counted from 1."""
    prose = "\n".join(_prose(text.splitlines()))
    # code, roles and the targets of links go; `{eval}` of a mere number is typed by hand
    prose = _CODE.sub(
        lambda found: found[0] if found[1] and not re.search("[a-z_]", found[3]) else _breaks(found), prose
    )
    prose = _TARGET.sub(_breaks, prose)
    return [
        (number, figure[0])
        for number, line in enumerate(prose.splitlines(), 1)
        for figure in _FIGURE.finditer(_STRUCTURE.sub("", line))
    ]


def _breaks(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")


def _prose(lines: list[str]) -> Iterator[str]:
    """The same lines, but lines of code, of options and of the page's head are empty."""
    code, head = "", False  # the fence that ends the code; whether this is the head of the page or of a cell
    for number, line in enumerate(lines):
        fence = _FENCE.fullmatch(line)
        if line == "---" and (number == 0 or head or (code and _FENCE.fullmatch(lines[number - 1]))):
            head = not head
            yield ""
        elif head:  # that of a cell holds captions and alternative texts
            yield line if code and not _KEY.match(line) else ""
        elif code:
            code = "" if line.strip() == code else code
            yield ""
        elif fence:
            code = fence[1] if fence[2] == "{code-cell}" or fence[2].isalpha() else ""
            yield "" if code or fence[2] in _NAMES_A_FILE else fence[3]
        else:
            yield "" if _OPTION.match(line) else line


def notebook_of(page: nbformat.NotebookNode, path: Path, evaluated: list[str]) -> nbformat.NotebookNode:
    """The notebook to download: `page` without outputs, the modules in its first cells, its text filled in.

    Raises:
        ValueError: the text has a directive that a notebook cannot show.
    """
    v4 = nbformat.v4
    modules = _modules(path)
    cells = [v4.new_markdown_cell(_before(path.stem, [module.name for module in modules]))]
    cells.append(v4.new_code_cell("%load_ext autoreload\n%autoreload 2"))
    for module in modules:
        source = f"%%writefile {module.name}\n{module.read_text(encoding='utf-8').rstrip()}"
        cells.append(v4.new_code_cell(source, metadata={"jupyter": {"source_hidden": True}}))
    values = iter(evaluated)
    for cell in page.cells:
        if cell.cell_type == "code":
            kept = {"tags": cell.metadata.tags} if "tags" in cell.metadata else {}
            cells.append(v4.new_code_cell(cell.source, metadata=kept))
        else:
            cells.append(v4.new_markdown_cell(_plain(cell.source, path.parent, values)))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # else random, and the file another one at each build
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return v4.new_notebook(cells=cells, metadata=kernel)


def _modules(path: Path) -> list[Path]:
    return [*path.parent.glob(f"{path.stem}.py"), *sorted(path.parent.glob(f"{path.stem}_*.py"))]


def _before(name: str, modules: list[str]) -> str:
    return (
        f"The notebook of the page `{name}` of fourhands. In a clone, `{INSTALL}` installs what it needs."
        f"\n\nThe next cells write the code that the text discusses: {', '.join(f'`{module}`' for module in modules)}. "
        "Change a function there, run its cell again, and the cells below use it. Figures in the text are those of the "
        "run that built the page."
    )


def _plain(text: str, folder: Path, values: Iterator[str]) -> str:
    """Markdown that needs no Sphinx."""
    text = _EVAL.sub(lambda _: next(values), text)
    text = _SECTION.sub(lambda found: _listing(folder / found[2], found[3]), text)
    text = _LINK.sub(r"\1", text)
    text = _CONTAINER.sub(lambda found: f"**{found[1]}**\n\n" if found[1] else "\n", text)
    if left := _DIRECTIVE.search(text):
        line = text[left.start() :].strip().splitlines()[0]
        raise ValueError(f"a notebook cannot show {line}; say in docs/_ext/lectures.py how it should")
    return text


def _listing(path: Path, name: str) -> str:
    first, last = section_lines(path, name)
    lines = path.read_text(encoding="utf-8").splitlines()[first - 1 : last]
    return "\n".join([f"`{path.name}`, line {first}:", "", "```python", *lines, "```"])


def _check(_app: Sphinx, docname: str, source: list[str]) -> None:
    if docname.startswith(FOLDER):
        for line, figure in typed_figures(source[0]):
            _log.warning("%s is typed by hand; let {eval} show it from the run", figure, location=(docname, line))


def _finish(app: Sphinx, document: nodes.document) -> None:
    """Write the page's notebook, link it under the title, and note what the page depends on."""
    docname = app.env.docname
    if not docname.startswith(FOLDER):
        return
    path = Path(app.env.doc2path(docname))
    run = nbformat.read(Path(app.env.mystnb_config.output_folder, f"{docname}.ipynb"), as_version=4)
    try:
        notebook = notebook_of(run, path, document.attributes.pop("evaluated", []))
    except ValueError as error:
        _log.warning("%s", error, location=docname)
        return
    target = Path(app.outdir, f"{docname}.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)

    link = nodes.reference("", f"as a notebook, {target.name}", refuri=target.name, internal=True)
    note = nodes.paragraph(
        "", "This page runs: download it ", link, nodes.Text(". In a clone, "), classes=["lecture-notebook"]
    )
    note += [nodes.literal("", INSTALL), nodes.Text(" installs what it needs.")]
    next(iter(document.findall(nodes.title))).parent.insert(1, note)

    root = Path(app.srcdir).parent
    for code in (*_modules(path), *(root / "common").rglob("*.py"), *root.glob("impl_*/*.py")):
        app.env.note_dependency(str(code))


def setup(app: Sphinx) -> ExtensionMetadata:
    """As Sphinx asks."""
    app.setup_extension("myst_nb")
    app.add_directive("section", Section)
    app.add_role("eval", Evaluated(), override=True)
    app.connect("source-read", _check)
    app.connect("doctree-read", _finish)
    return {"parallel_read_safe": True}
