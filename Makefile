# Each goal makes .venv if it is missing, installs the pinned versions there, and runs.
PYTHON ?= python3
BIN := .venv/bin
# more options for pytest, such as --require browser
PYTEST_FLAGS ?=
# how much `make compare` trains: first, quick or full
TIER ?= first

.PHONY: check format lint types test test-all docs compare clean

check: format lint types test-all docs ## everything; what CI runs

format: .venv/installed
	$(BIN)/ruff format --check

lint: .venv/installed
	$(BIN)/ruff check

types: .venv/installed
	$(BIN)/mypy

test: .venv/installed ## each check once, a sample of the planted faults; its last lines say what it left out
	$(BIN)/pytest $(PYTEST_FLAGS)

test-all: .venv/installed ## both dtypes, all planted faults, the lectures, every page in a browser
	$(BIN)/pytest --tier full $(PYTEST_FLAGS)

docs: .venv/installed
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q docs docs/_build/html

compare: .venv/installed ## a first look in about twelve minutes; `make compare TIER=quick` for figures to publish
	$(BIN)/fourhands compare --tier $(TIER) --out report$(if $(filter-out first,$(TIER)),-$(TIER))

clean:
	rm -rf .venv docs/_build

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
