# Everything a contributor types. Each target works in a fresh clone with Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLONE ?=

.PHONY: demo test test-slow soak simulate lint format bench lock clean

demo: $(STAMP)
	@$(BIN)/otto demo

test: $(STAMP)
	$(BIN)/pytest -n 2 -q

test-slow: $(STAMP)
	OTTO_TEST_CLONE="$(CLONE)" $(BIN)/pytest -q -m slow

# A run of 200 tasks, killed at random moments until it is done, for ten minutes: see docs/reliability.md.
soak: $(STAMP)
	$(BIN)/python -m tests.soak --minutes 10

# Thousands of random histories of a run, with every invariant checked after each step.
simulate: $(STAMP)
	$(BIN)/python -m tests.otto_core.simulate --histories 10000

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Resolve the ranges of pyproject.toml into the versions that the tests use.
lock: $(STAMP)
	$(PYTHON) -m venv .cache/lock
	.cache/lock/bin/pip install --quiet uv
	.cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --output-file requirements-dev.lock pyproject.toml
	.cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --output-file bench/requirements.txt \
		bench/requirements.in

$(STAMP): pyproject.toml requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

# What Otto costs, beside what else does such work, in one run on this machine: see bench/README.md.
bench: $(STAMP)
	$(BIN)/python -m bench --output bench/RESULTS.md
