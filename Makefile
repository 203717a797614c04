# Each goal makes .venv if it is missing, installs the pinned set there, and runs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: check format lint types test docs compare clean

check: format lint types test docs ## what CI runs

format: .venv/installed
	$(BIN)/ruff format --check

lint: .venv/installed
	$(BIN)/ruff check

types: .venv/installed
	$(BIN)/mypy

test: .venv/installed
	$(BIN)/pytest

docs: .venv/installed
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q docs docs/_build/html

compare: .venv/installed
	$(BIN)/fourhands compare --tier quick --out report

clean:
	rm -rf .venv docs/_build

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
