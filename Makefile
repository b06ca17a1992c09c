# Set-up and the main jobs. Needs Python 3.11 or newer, make and git.
#
#   make demo     set up, then fit, score and evaluate on bundled data; prints where the report is
#   make test     set up, then lint, types and tests: what CI runs
#   make torture  the long run behind docs/reliability.md; make test-min: lowest versions

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types tests format bench torture test-min clean

demo: .venv/installed
	$(BIN)/vae-anomaly demo -o reports/demo

test: lint types tests

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-test
	$(BIN)/mypy

tests: .venv/installed-test
	$(BIN)/pytest -n auto --dist loadfile

format: .venv/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# ADBench's tables are not shipped: DATA names the folder of .npz files.
bench: .venv/installed-bench
	$(BIN)/python benchmarks/adbench.py --data $(DATA)

# A million fuzzed models, thousands of kills and failing calls: an hour on a free machine.
torture: .venv/installed-test
	$(BIN)/pip install --quiet -e ".[torture]"
	$(BIN)/python tests/hostile/torture.py --write docs/reliability.md

# The lowest versions that work, in a separate environment.
test-min: .venv-min/installed
	.venv-min/bin/pytest -n auto --dist loadfile

.venv-min/installed: pyproject.toml tests/minimum.txt
	$(PYTHON) -m venv .venv-min
	.venv-min/bin/pip install --quiet -e ".[test]" -c tests/minimum.txt
	touch $@

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet -e .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/pip install --quiet -e ".[test]"
	touch $@

# PyOD wants torch, whose default build is gigabytes of CUDA: a CPU build serves.
.venv/installed-bench: .venv/installed
	$(BIN)/pip install --quiet -e ".[bench]"
	touch $@

clean:
	rm -rf .venv .venv-min build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
