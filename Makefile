# Two commands for a newcomer: `make retrain` and `make test`. Each brings all that it needs, from a package registry
# alone: uv into .tools, the locked environment into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SUPPORTED := import sys; sys.exit(not (3, 11, 4) <= sys.version_info[:3] < (3, 14))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c "$(SUPPORTED)" 2>/dev/null && echo "$$python" && break; done)
BIN := .venv/bin
UV := .tools/bin/uv
IMAGES := deployments/images
# uv does not read pip's configuration: a mirror that is set for pip serves uv too.
INDEX := $(or $(UV_DEFAULT_INDEX),$(PIP_INDEX_URL),$(shell $(PYTHON) -m pip config get global.index-url 2>/dev/null))
ifneq ($(INDEX),)
export UV_DEFAULT_INDEX := $(INDEX)
endif
export UV_PYTHON_DOWNLOADS := never
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock"

.PHONY: help setup retrain test check format docs lock clean

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

retrain: setup ## retrain and publish: the default recipe, or RECIPE=file.yaml, and ARGS="--set train.epochs=2"
	$(BIN)/hubtune retrain $(RECIPE) $(ARGS)

# tests/conftest.py says which tests share a process, and in which order they start.
test: setup ## run all tests
	$(BIN)/pytest --numprocesses 3 --dist loadgroup --no-loadscope-reorder $(ARGS)

check: setup ## format check, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## make a site of docs/ in site/, with each warning as an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

setup: .venv/.ready ## make the environment of requirements.lock in .venv

# Compiled here once: containers often forbid Python to write bytecode, and TensorFlow then takes 18 s to import, not 7.
.venv/.ready: requirements.lock pyproject.toml $(UV)
	[ -x $(BIN)/python ] || $(UV) venv --quiet --python "$(PYTHON)" .venv
	$(UV) pip sync --quiet --require-hashes --compile-bytecode --python $(BIN)/python requirements.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	$(BIN)/python -m compileall -q hubtune deployments flows tasks schemas
	touch $@

$(UV): requirements-uv.lock
	@[ -n "$(PYTHON)" ] || { echo "error: no Python from 3.11.4 to 3.13 found; install one, or name it: make PYTHON=/path/to/python3 ..."; exit 2; }
	"$(PYTHON)" -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-uv.lock
	touch $@

# The images have no dev and no docs group: what is in their locks is in requirements.lock too, at the same version. Only tpu.lock has
# an older TensorFlow, so that the versions of requirements.lock are what it prefers, not what it must take.
lock: $(UV) ## resolve the dependencies of pyproject.toml anew into requirements.lock, and into those of the images
	$(COMPILE) --group pipeline --group dev --group docs --output-file requirements.lock pyproject.toml
	echo "uv" | $(COMPILE) --output-file requirements-uv.lock -
	$(COMPILE) --group pipeline --constraints requirements.lock --output-file $(IMAGES)/cpu.lock pyproject.toml
	$(COMPILE) --group pipeline --constraints requirements.lock --output-file $(IMAGES)/gpu.lock pyproject.toml $(IMAGES)/gpu.in
	cp requirements.lock $(IMAGES)/tpu.lock
	$(COMPILE) --group pipeline --overrides $(IMAGES)/tpu.overrides --output-file $(IMAGES)/tpu.lock pyproject.toml $(IMAGES)/tpu.in

clean: ## remove the environment and caches (not the store)
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache site
