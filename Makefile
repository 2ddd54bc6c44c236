# Every target works on a fresh machine with Python 3.11 or newer, as the only command needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run install test test-all test-deploy bench lint lock

run: $(VENV)/.run
	exec $(BIN)/gunicorn -c deploy/gunicorn.conf.py wsgi:app

# What the service and its commands need, without running anything.
install: $(VENV)/.run

test: $(VENV)/.test
	$(BIN)/pytest -n auto

# The full matrix of engines: there is one.
test-all: test

# Boots a fresh Debian or Ubuntu, installs into it and takes it through all that may happen to it:
# as root, about ten minutes. `make test-deploy DEPLOY="--suite trixie"`, `--help` ...
test-deploy: $(VENV)/.test
	$(BIN)/python -m tests.deploy.drill $(DEPLOY)

# It needs wrk, and node, npm, git and gcc for all rows of its tables. tests/bench/README.md explains
# it. `make bench BENCH="--quick"` takes two minutes, and `BENCH="--help"` lists all options.
bench: $(VENV)/.bench
	$(BIN)/python -m tests.bench $(BENCH)

lint: $(VENV)/.test $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# What releases are installed from; after a change of what setup.cfg asks for.
lock: $(VENV)/.lock
	$(BIN)/uv pip compile setup.cfg --extra relay --extra release --universal --python-version 3.11 \
	    --generate-hashes --no-annotate --custom-compile-command "make lock" \
	    --quiet --output-file deploy/requirements.lock

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "orderapi needs Python 3.11 or newer; this is $$($(PYTHON) -V 2>&1). Set PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	    { echo "This Python cannot make virtual environments. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[relay]'
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

$(VENV)/.lock: $(VENV)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[lock]'
	@touch $@

$(VENV)/.lint: $(VENV)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[lint]'
	@touch $@
