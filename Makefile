# Everything that one does here, each enough on a fresh clone with nothing but Python 3.10 to 3.13:
#   make demo        the main example: 336,776 flights, as tables
#   make demo-flink  the same on Apache Flink, on a cluster that it starts
#   make test        every test
#   make test-full   the same with many more generated cases and longer runs: an hour or two
#   make lint        ruff and mypy
#   make bench       the benchmarks; BENCH="--jobs a,b --scale 0.1" passes arguments
#   make clean       removes the environment, caches and what the demo wrote
# Another Python: make test PYTHON=python3.12

PYTHON ?= python3
BENCH  ?=
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo demo-flink test test-full lint bench clean

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.examples
	@$(BIN)/python examples/flights.py build/demo

demo-flink: $(VENV)/.examples $(VENV)/.flink
	@JETBRIDGE_RUNNER=flink $(BIN)/python examples/flights.py build/demo-flink

# Two processes at most: each test of a job starts processes of its own.
test: $(VENV)/.test
	@$(BIN)/python -m pytest -q -n 2

test-full: $(VENV)/.test
	@HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -q -n 2 -m 'full or not full' --durations=30

lint: $(VENV)/.lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo 'Some files are not formatted: run $(BIN)/ruff format .'; exit 1; }
	@$(BIN)/mypy

bench: $(VENV)/.bench
	@$(BIN)/python tests/benchmarks/run.py $(BENCH)

clean:
	@rm -rf $(VENV) build dist .jetbridge .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo 'Removed the environment, caches and data.'

# The stamp $(VENV)/.NAME says that the extra NAME is installed as pyproject.toml has it now.
$(VENV)/.%: pyproject.toml | $(BIN)/python
	@echo 'Installing jetbridge[$*] into $(VENV) (a minute or so the first time) ...'
	@$(PIP) install --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo 'jetbridge needs Python 3.10 to 3.13, and $(PYTHON) is:' \
	    "$$($(PYTHON) --version 2>/dev/null || echo not there)."; \
	  echo 'Name another one: make PYTHON=python3.11 $(MAKECMDGOALS)'; exit 1; } >&2
	@echo 'Creating $(VENV) with' "$$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo 'No virtual environment could be made; on Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
