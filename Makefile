# `make demo` and `make test` are all that one needs to know. Everything below is idempotent and quick the second time.
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
# The reference is 3.11; 3.10 also has every wheel. From 3.12 on pybullet has none: see docs/decisions and WITH_PYBULLET.
PYTHON ?= $(shell for p in python3.11 python3.10 python3 ; do if $$p -c 'import venv, ensurepip' >/dev/null 2>&1; then echo $$p; break; fi; done)
# WITH_PYBULLET=compile builds pybullet from source (minutes, needs a C++ compiler) where it has no wheel.
WITH_PYBULLET ?=
STAMP := $(VENV)/.dari-setup

.PHONY: setup demo test test-long lint bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt launch/setup.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" WITH_PYBULLET="$(WITH_PYBULLET)" bash launch/setup.sh
	@touch $@

demo: setup
	@$(VENV)/bin/dari demo

test: setup
	@$(PY) -m pytest -m "not long"

test-long: setup
	@$(PY) -m pytest -m "long"

lint: setup
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/interrogate -q bridge adapters twin recorder

bench: setup
	@$(PY) -m tests.bench

clean:
	rm -rf $(VENV) build dist *.egg-info
