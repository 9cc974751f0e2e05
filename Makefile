# Everything runs in .venv, which every target makes for itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo check test test-fast test-long torture fuzz bench docs-figures clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tunectl needs Python 3.11 or newer; say which: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch numpy
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/tunectl check --schema .tunectl >/dev/null
	@touch $@

install: $(STAMP)  ## make .venv and install tunectl into it

demo: $(STAMP)  ## run the default study on the demonstration data
	$(BIN)/tunectl tune

check: $(STAMP)  ## ruff, mypy --strict, import-linter, pytest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n auto -m 'not long'

test: check  ## all checks and tests, what CI runs

test-fast: $(STAMP)  ## the tests that take less than a few seconds each
	$(BIN)/pytest -n auto -m 'not slow and not long'

test-long: $(STAMP)  ## the tests that `make test` leaves out, some minutes
	$(BIN)/pytest -n auto -m long

fuzz: $(STAMP)  ## 10,000 damaged configurations, which takes some minutes
	TUNECTL_FUZZ_CASES=10000 $(BIN)/pytest -n auto tests/unit/config/test_config_fuzz.py

torture: $(STAMP)  ## the long form of tests/torture: every signal forty times, every write, a thousand readers
	TUNECTL_KILLS=40 TUNECTL_SWEEP=all TUNECTL_READS=1000 TUNECTL_HELD_S=20 $(BIN)/pytest tests/torture

bench: $(STAMP)  ## all benchmarks, half an hour on an idle machine; ONLY="asking gpu" for some
	$(BIN)/python benchmarks/run.py $(if $(QUICK),--quick) $(ONLY)

docs-figures: $(STAMP)  ## make the figures of docs/figures.md anew from real studies, some minutes
	$(BIN)/python docs/gallery/make.py

clean:  ## remove .venv and caches, never a study
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
