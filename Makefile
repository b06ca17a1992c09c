# Set-up and the main jobs. Needs Python 3.11 or newer, make and git.
#
#   make demo     set up, then fit, score and evaluate on bundled data; prints where the report is
#   make test     set up, then lint, types, tests, documentation and wheel: what CI runs
#   make docs     build the documentation and its examples, in build/docs/html
#   make torture  the long run behind docs/reliability.md; make test-min: lowest versions

PYTHON ?= python3
BIN := .venv/bin

# What is compiled once is kept, whatever the caller's settings: each process would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint types tests docs wheel-test screenshot format bench torture test-min clean

demo: .venv/installed
	$(BIN)/vae-anomaly demo -o reports/demo

# Types, documentation and wheel are checked beside the tests.
test: lint
	$(MAKE) --jobs=2 tests types docs wheel-test

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-test
	$(BIN)/mypy

# Root gives up what sets it apart from other users.
tests: .venv/installed-test
	$(BIN)/python tests/ordinary_user.py $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

# Beside the tests, small products on several threads take three times the processor time.
docs wheel-test: export OMP_WAIT_POLICY = PASSIVE
docs wheel-test: export TF_NUM_INTRAOP_THREADS = 1

# Warnings are errors. The gallery of examples runs if an example changed.
docs: .venv/installed-test
	$(BIN)/python -m sphinx -W --keep-going -q -d build/docs/cache docs build/docs/html
	@echo "documentation: build/docs/html/index.html"

# What would be published runs the demo in an environment of its own. Without --no-compile
# installing takes twice as long.
wheel-test: .venv/installed-test
	rm -rf build/wheel
	$(BIN)/python -m build --outdir build/wheel >build/build.log || (cat build/build.log; exit 1)
	$(BIN)/twine check --strict build/wheel/*
	$(BIN)/python tests/wheel_contents.py build/wheel
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/pip install --quiet --no-compile build/wheel/*.whl
	cd build/wheel && venv/bin/vae-anomaly demo -o demo --max-steps 300

# The screenshot of the README, from a new report of the demo; needs chromium.
screenshot: .venv/installed
	$(BIN)/python docs/screenshot.py

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
	.venv-min/bin/python tests/ordinary_user.py .venv-min/bin/pytest -n auto --dist loadfile

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

# All that `make test` needs is resolved once. Compiling on all cores takes half as long as by pip;
# files of packages that are templates do not compile.
.venv/installed-test: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --no-compile -e ".[test,docs,release]"
	-$(BIN)/python -m compileall -q -j 0 -x '/tests?/' .venv/lib
	touch .venv/installed $@

# PyOD wants torch, whose default build is gigabytes of CUDA: a CPU build serves.
.venv/installed-bench: .venv/installed
	$(BIN)/pip install --quiet -e ".[bench]"
	touch $@

clean:
	rm -rf .venv .venv-min build dist docs/generated docs/examples docs/api/generated *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
