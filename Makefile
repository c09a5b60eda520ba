# Everything a developer runs. Each target makes the virtual environment by itself when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DIR ?=
LOCK := -q --strip-extras --allow-unsafe --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host

.PHONY: demo demo-cloud test check fmt proto lock clients bench faults clean

## demo: the main job on the sample folder, or on DIR=<folder>
demo: $(READY)
	@$(BIN)/adiuva demo $(if $(DIR),"$(DIR)")

## demo-cloud: the same with two mail accounts at emulated providers
demo-cloud: $(READY)
	@$(BIN)/python -m tests.demo_cloud

## test: every test
test: $(READY)
	$(BIN)/pytest -q

## check: format, lint, types, directions, contracts, fast tests
check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/python protos/generate.py --check
	$(BIN)/pytest -q -m "not slow and not system"

## fmt: rewrite the sources in the house format
fmt: $(READY)
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .
	$(BIN)/buf format -w

## proto: make the stubs from protos/
proto: $(READY)
	$(BIN)/buf format -w
	$(BIN)/python protos/generate.py

## lock: resolve pyproject.toml again into requirements.lock
lock: $(READY)
	$(BIN)/pip-compile $(LOCK) --extra server --extra local --extra dev -o requirements.lock pyproject.toml
	$(BIN)/pip-compile $(LOCK) --extra clients -c requirements.lock -o requirements-clients.lock pyproject.toml

## clients: the providers' own clients (400 MB), with which CI checks the emulator
clients: $(READY)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-clients.lock

## bench: the figures of the design, as ratios to a floor in the same run
bench: $(READY)
	$(BIN)/python -m tests.benchmarks

## faults: kill -9 at every failpoint, and the tests that wait for minutes (about 40 of them)
faults: $(READY)
	ADIUVA_FAULTS=full $(BIN)/pytest -q tests/faults tests/adiuva_rpc/test_keepalive.py

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=python3.x"; exit 1; }
	@echo "Setting up $(VENV) (the first time takes about a minute)"
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
