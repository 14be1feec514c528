.DEFAULT_GOAL := help
.PHONY: help install check test test-full bench proto openapi run controlplane format

VENV ?= .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
PYTHON ?= python3
PYTEST_ARGS ?=

# Without bytecode on disk every process that a test starts would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/.synced: pyproject.toml uv.lock | $(BIN)/uv
	$(BIN)/uv sync --quiet --locked --all-groups
	@touch $@

install: $(VENV)/.synced ## Make the environment from the lock file

check: install ## Format, lint, types, architecture, wire, dependencies, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint proto
	$(BIN)/deptry .
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/generated-files

test: install ## Run every tier that this machine can
	$(BIN)/python tests/run.py $(PYTEST_ARGS)

test-full: install ## The same with every seed and the slow tiers
	$(BIN)/python tests/run.py --full $(PYTEST_ARGS)

bench: install ## Measure; writes build/bench.json
	$(BIN)/python -m tests.bench

proto: install ## Regenerate the wire's code
	PATH="$(CURDIR)/$(BIN):$$PATH" proto/generate

openapi: install ## Regenerate docs/openapi.json
	$(BIN)/fedhub openapi > docs/openapi.json

controlplane: ## Build the real Kubernetes control plane for the tests (Go, once per version)
	tests/controlplane/build

run: ## Start the hub and simulated sites
	./deploy/quickstart

format: install ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --select I .
