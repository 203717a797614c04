"""The lectures run, as pages and as notebooks; no figure in them is typed by hand; they fit phones and desks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("myst_nb", reason='the lectures need MyST-NB: pip install "fourhands[docs]"')

import nbformat
from lectures import section_lines, typed_figures
from nbclient import NotebookClient

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DOCS = Path(__file__).parent
# what needs the whole site, which takes minutes to build because its lectures run
whole_site = pytest.mark.full("tests of the whole site, built with its lectures: notebooks, and pages in a browser")
LECTURES = sorted(path.stem for path in DOCS.glob("lectures/*.md"))
PAGES = sorted(path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md"))
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

HEAD = "---\nfile_format: mystnb\nkernelspec: {name: python3, display_name: Python 3}\n---\n"
CODE_CELL = """```{code-cell}
---
mystnb:
  image: {width: 300px}
  figure:
    caption: about 7 of them
---
x = 8
```
"""
SOUND = """# Page

```{section} sound.py two words
```

```{code-cell}
import numpy as np
import sound

count = np.int64(sound.count())
```

:::{admonition} Mind
:class: note

Counted {eval}`count`, see [the start](../index.md) and <https://example.org/>.
:::
"""
MODULE = """import math

# --- one
# --- two words: of them
def count():
    return math.isqrt(16)
"""
CONF = f"""
import sys
sys.path.insert(0, {str(DOCS / "_ext")!r})
extensions = ["lectures"]
myst_enable_extensions = ["colon_fence"]
nb_execution_mode = "inline"
nb_execution_show_tb = True
nb_eval_name_regex = ".+"
nb_output_stderr = "warn"
"""
FAULTY = {
    "figure": "About 12 of them.",
    "cell": "```{code-cell}\nassert 1 == 2\n```",
    "stderr": "```{code-cell}\nimport sys\nprint('oh', file=sys.stderr)\n```",
    "section": "```{section} sound.py three\n```",
    "file": "```{section} sounds.py one\n```",
    "directive": "```{note}\nA note.\n```",
}


def _environment() -> dict[str, str]:
    """Without the variable at whose sight a kernel stops listening to what libraries write to stderr."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def _build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("About 12 of them", [(1, "12")]),
        ("falls\nto 0.25, then to\n-3%", [(2, "0.25,"), (3, "-3")]),
        ("takes 3x longer, 10ms", [(1, "3"), (1, "10")]),
        (":::{note} Title with 5\n6 in it\n:::", [(1, "5"), (2, "6")]),
        ("```{figure} image2.png\n:alt: shows 9\n:width: 50%\n\ncaption 4\n```", [(2, "9"), (5, "4")]),
        (HEAD + CODE_CELL, [(10, "7")]),
        ("literally {eval}`7.5`", [(1, "7.5")]),
        ("{eval}`x` and 4 of\n`y`, {eval}`z`, 5", [(1, "4"), (2, "5")]),
    ],
    ids=[
        *("plain", "on its line", "with a unit", "in a directive", "in a figure", "in a cell's caption", "in eval"),
        "between figures of the run",
    ],
)
def test_figure_typed_by_hand_is_found(text: str, found: list[tuple[int, str]]) -> None:
    assert typed_figures(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "{eval}`x[3]` of them",
        "shape `(3, 4)`, ``x`2`` and code `that\nbreaks 5`",
        "a 2-D plot, conv3x3, float32, He et al. 2015",
        "1. first\n2. second",
        "[link](page2.md#3) and [other](https://example.org/4)",
        "```python\nx = 5\n```\n\n````text\n```\n6\n````",
        CODE_CELL.replace("about 7", "some"),
    ],
    ids=["evaluated", "code", "structure", "list", "links", "listings", "cell"],
)
def test_what_is_not_a_figure_is_left_alone(text: str) -> None:
    assert typed_figures(text) == []


@pytest.mark.parametrize("name", LECTURES)
def test_lecture_has_no_figure_typed_by_hand(name: str) -> None:
    assert typed_figures((DOCS / "lectures" / f"{name}.md").read_text(encoding="utf-8")) == []


def test_section_is_without_its_marker(tmp_path: Path) -> None:
    (tmp_path / "sound.py").write_text(MODULE)
    assert section_lines(tmp_path / "sound.py", "two words") == (5, 6)


@pytest.fixture(scope="module")
def small_site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The built site of one sound lecture and of faulty ones, and what Sphinx said."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "docs" / "lectures").mkdir(parents=True)
    (folder / "docs" / "conf.py").write_text(CONF)
    (folder / "docs" / "index.md").write_text("# Start\n\n```{toctree}\n:glob:\n\nlectures/*\n```\n")
    (folder / "docs" / "lectures" / "sound.py").write_text(MODULE)
    (folder / "docs" / "lectures" / "sound.md").write_text(HEAD + SOUND)
    for name, text in FAULTY.items():
        (folder / "docs" / "lectures" / f"{name}.md").write_text(f"{HEAD}# Page\n\n{text}\n")
    done = _build(folder / "docs", folder / "html")
    assert done.returncode != 0
    return folder / "html" / "lectures", done.stderr


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("figure.md:7: WARNING:", "12 is typed by hand"),
        ("cell.md: WARNING: Executing notebook failed", "AssertionError"),
        ("stderr.md:9: WARNING:", "stderr was found"),
        ("section.md:8: ERROR:", "sound.py has 0 sections 'three', expected one; it has: one, two words"),
        ("file.md:8: ERROR:", "sounds.py is not beside the page"),
        ("directive.md: WARNING:", "a notebook cannot show ```{note}"),
    ],
    ids=FAULTY,
)
def test_faulty_lecture_fails_the_build_by_name(small_site: tuple[Path, str], page: str, message: str) -> None:
    said = small_site[1]
    assert page in said
    assert message in said[said.index(page) :]


def test_sound_lecture_is_built_without_a_word(small_site: tuple[Path, str]) -> None:
    folder, said = small_site
    assert "sound.md" not in said
    html = (folder / "sound.html").read_text(encoding="utf-8")
    assert 'href="sound.ipynb"' in html
    assert "sound.py, line 5" in html
    assert html.count("isqrt") == 1


def test_notebook_holds_modules_sections_and_figures(small_site: tuple[Path, str]) -> None:
    notebook = nbformat.read(small_site[0] / "sound.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell.source for cell in notebook.cells]
    assert cells[2] == f"%%writefile sound.py\n{MODULE.rstrip()}"
    assert cells[3].endswith("```python\ndef count():\n    return math.isqrt(16)\n```")
    assert cells[4].startswith("import numpy as np\n")
    assert cells[5].strip() == "**Mind**\n\n\nCounted 4, see the start and <https://example.org/>."


NEEDED = {"torch": "pytorch", "keras": "keras", "tensorflow": "keras", "jax": "jax", "furo": "", "sphinx_design": ""}
"""Module that a page of the site imports -> its name for `--require`."""


@pytest.fixture(scope="session")
def site(missing: Callable[[str, str], None]) -> Path:
    """The whole site, in the folder of `make docs`. Pages that have not changed since are not built again."""
    for module, name in NEEDED.items():
        if find_spec(module) is None:
            missing(name, f'the lectures need {module}: pip install "fourhands[dev]"')
    target = DOCS / "_build" / "html"
    done = _build(DOCS, target)
    assert done.returncode == 0, done.stderr
    return target


@whole_site
@pytest.mark.xdist_group("site")
@pytest.mark.parametrize("name", LECTURES)
def test_downloaded_notebook_runs_from_top_to_bottom(
    name: str, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    notebook = nbformat.read(site / "lectures" / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()


@pytest.fixture(scope="module")
def browser(missing: Callable[[str, str], None]) -> Iterator[Browser]:
    """Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        missing("browser", "needs a browser: neither chromium nor google-chrome is on the path")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page as wide as the test's `width`."""
    page = browser.new_page(viewport={"width": request.getfixturevalue("width"), "height": 900})
    yield page
    page.close()


@whole_site
@pytest.mark.xdist_group("site")
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desk"])
@pytest.mark.parametrize("name", PAGES)
def test_page_fits_the_screen_and_raises_no_error(name: str, width: int, site: Path, page: Page) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    page.goto((site / f"{name}.html").as_uri())
    # on a phone the theme lets a column that is too wide scroll by itself
    for part in (":root", ".content"):
        needed, given = page.locator(part).evaluate("part => [part.scrollWidth, part.clientWidth]")
        assert needed <= given, part
    assert page.evaluate("[...document.images].filter(image => !image.alt).map(image => image.src)") == []
    assert said == []


@whole_site
@pytest.mark.xdist_group("site")
@pytest.mark.parametrize("width", [1280])
def test_code_stands_side_by_side_at_desk_width(width: int, site: Path, page: Page) -> None:
    page.goto((site / "rungs" / "mlp.html").as_uri())
    first, second = (page.locator(".side-by-side pre").nth(number).bounding_box() for number in (0, 1))
    assert first
    assert second
    assert first["y"] == second["y"]
    assert first["x"] + first["width"] <= second["x"]


@whole_site
@pytest.mark.xdist_group("site")
@pytest.mark.parametrize("width", [1280])
@pytest.mark.parametrize("name", ["mlp", "cnn", "stem", "lstm_ctc", "transformer"])
def test_first_screen_of_a_rung_shows_its_drawing_and_the_four(name: str, width: int, site: Path, page: Page) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto((site / "rungs" / f"{name}.html").as_uri())
    code = page.locator(".side-by-side").first.locator("pre")
    assert code.count() == 4
    for part in (page.locator(".network.across"), *code.all()):
        box = part.bounding_box()
        assert box
        assert box["y"] + box["height"] <= 800
    height = box["height"]
    page.locator(".unfold input").check()
    whole = code.last.bounding_box()
    assert whole
    assert whole["height"] > height


@pytest.mark.xdist_group("site")
@pytest.mark.parametrize("width", [390])
def test_keyboard_reaches_the_tabs_on_a_phone(width: int, site: Path, page: Page) -> None:
    page.goto((site / "rungs" / "mlp.html").as_uri())
    code = page.locator(".side-by-side").first.locator("pre")
    assert [code.nth(number).is_visible() for number in (0, 1)] == [True, False]
    page.locator(".side-by-side > input").first.focus()
    page.keyboard.press("ArrowRight")
    assert [code.nth(number).is_visible() for number in (0, 1)] == [False, True]
