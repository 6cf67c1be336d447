# `make help` lists the targets. Everything runs out of .venv, which is made from requirements.lock when it is needed.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

BIN := .venv/bin
# Most tests wait for other processes at times: two more at once than there are processors.
JOBS ?= $(shell echo $$((2 + $$(nproc 2>/dev/null || echo 2))))
PYTHONS := python3.13 python3.12 python3.11 python3
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# --- running ----------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: .venv tmux ## a layout is made, broken, repaired and recovered before your eyes, in under a minute
	@$(BIN)/agenttower demo

.PHONY: demo-foreman
demo-foreman: .venv tmux ## issues are resolved, tested and closed by background sessions, offline, in seconds
	@$(BIN)/python examples/foreman/demo.py

.PHONY: up
up: .venv tmux ## run a tower in the foreground
	@$(BIN)/agenttower up

# --- testing ----------------------------------------------------------------------------------------------------------

.PHONY: test
test: .venv tmux ## all tests; ARGS="-k layout" picks some, JOBS=1 runs them one after another
	@$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: simulate
simulate: .venv ## whole towers in seeded worlds: MINUTES=30 searches, SEED=7 repeats what was found
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

.PHONY: faults
faults: .venv tmux ## real parts killed, full, gone and fed with garbage, at every point and at random: half an hour
	@$(BIN)/pytest -n $(JOBS) -m 'faults or not faults' tests/faults $(ARGS)

.PHONY: soak
soak: .venv tmux ## random work and random kills for MINUTES=10 or OPERATIONS=2000; SEED=7 does the same again
	@$(BIN)/python -m tests.faults.soak $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(OPERATIONS),--operations $(OPERATIONS)) $(ARGS)

.PHONY: bench
bench: .venv ## measure speed on this machine; installs the libraries that we compare with
	@$(BIN)/pip install --quiet --no-build-isolation --editable '.[bench]'
	@$(BIN)/python -m tests.bench $(ARGS)

CHECKS := check-format check-lint check-types check-imports check-tidy check-schemas check-compose

.PHONY: check
check: .venv ## style, types, direction of imports, generated files; no test of behaviour
	@$(MAKE) --keep-going --jobs=$(JOBS) --output-sync=target $(CHECKS)

.PHONY: format
format: .venv ## write the style that `check` asks for
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

.PHONY: schemas
schemas: .venv ## write schemas/ anew from the types
	@$(BIN)/python -m adapters.schemas

.PHONY: $(CHECKS)
check-format:
	@$(BIN)/ruff format --check .
check-lint:
	@$(BIN)/ruff check .
check-types:
	@$(BIN)/basedpyright
check-imports:
	@$(BIN)/lint-imports --no-logo
check-tidy:
	@$(BIN)/pytest -q -p no:cacheprovider tests/tidy/test_tidy.py
check-schemas:
	@$(BIN)/python -m adapters.schemas --check
check-compose:
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	@if docker compose version >/dev/null 2>&1; then docker compose --file compose.yaml config --quiet; fi

# --- what the rest needs ----------------------------------------------------------------------------------------------

.PHONY: .venv
.venv: .venv/.installed ## the virtual environment, exactly as locked

.venv/.installed: requirements.lock pyproject.toml
	@for python in $(PYTHONS); do \
	  if ! $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then continue; fi; \
	  if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then lacks_venv=$$python; continue; fi; \
	  found=$$python; break; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  if [ -n "$${lacks_venv:-}" ]; then echo "$$lacks_venv cannot make virtual environments: apt-get install python3-venv"; \
	  else echo "Python 3.11 or newer is missing: apt-get install python3 python3-venv"; fi >&2; \
	  exit 1; \
	fi; \
	echo "Installing into .venv with $$($$found --version) (once; about a minute)"; \
	[ -x $(BIN)/python ] || $$found -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: tmux
tmux:
	@command -v tmux >/dev/null || { echo "tmux is missing: apt-get install tmux" >&2; exit 1; }

.PHONY: lock
lock: ## write requirements.lock anew after a change of pyproject.toml; ARGS=--upgrade takes newer versions
	@[ -x build/lock/bin/pip-compile ] || { python3 -m venv build/lock && build/lock/bin/pip install --quiet pip-tools; }
	@build/lock/bin/pip-compile --quiet --extra dev --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file requirements.lock $(ARGS) pyproject.toml

.PHONY: clean
clean: ## remove everything that make made, .venv too
	@rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
