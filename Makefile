# Each target is the only command that a new machine with Python 3.11 or newer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Containers often set this variable. Without bytecode, each process compiles the program again, and
# the tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run install test test-all test-deploy test-failover bench lint lock

run: $(VENV)/.run
	exec $(BIN)/gunicorn -c deploy/gunicorn.conf.py wsgi:app

# Installs what the service and its commands need, and starts nothing.
install: $(VENV)/.run

# Many tests only wait. On two cores, five processes take much less time than two. A process that has
# finished takes tests from one that has many left, because the slow tests of one file follow each other.
test: $(VENV)/.test
	$(BIN)/pytest -n 5 --dist worksteal

# Runs the tests on every database engine, and what is specific to PostgreSQL. The servers of PostgreSQL
# need a part of the processor time.
test-all: $(VENV)/.test
	$(BIN)/pytest -n 4 --dist worksteal --engine all

# Boots a new Debian or Ubuntu, installs the service in it, and tries every operation under load. This
# needs root, and takes about ten minutes. `make test-deploy DEPLOY="--help"` lists all options.
test-deploy: $(VENV)/.test
	$(BIN)/python -m tests.deploy.drill $(DEPLOY)

# Kills, freezes and switches over the primary of a PostgreSQL cluster under load, ten times. This needs
# root, and takes about five minutes. `make test-failover FAILOVER="--failovers 3"` takes two.
test-failover: $(VENV)/.test
	$(BIN)/python -m tests.failover $(FAILOVER)

# It needs wrk, and node, npm, git and gcc for all rows of its tables. tests/bench/README.md explains
# it. `make bench BENCH="--quick"` takes two minutes, and `BENCH="--help"` lists all options.
bench: $(VENV)/.bench
	$(BIN)/python -m tests.bench $(BENCH)

lint: $(VENV)/.test $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Writes the versions and hashes from which releases are installed. Run this target after a change of
# the dependencies in setup.cfg.
lock: $(VENV)/.lock
	$(BIN)/uv pip compile setup.cfg --extra postgres --extra relay --extra release --universal --python-version 3.11 \
	    --generate-hashes --no-annotate --custom-compile-command "make lock" \
	    --quiet --output-file deploy/requirements.lock

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "orderapi needs Python 3.11 or newer, but this is $$($(PYTHON) -V 2>&1). Set PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	    { echo "This Python cannot create virtual environments. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[postgres,relay]'
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

# The benchmark starts PostgreSQL in the same way as the tests.
$(VENV)/.bench: $(VENV)/.test
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

$(VENV)/.lock: $(VENV)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[lock]'
	@touch $@

$(VENV)/.lint: $(VENV)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[lint]'
	@touch $@
