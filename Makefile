# Two commands do everything: `make run` and `make test`. See README.md.
.PHONY: run test torture venv lint bench images clean
.DEFAULT_GOAL := run

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# What `make run` carries: any image that `wherry copy` reads, e.g. IMAGE=docker://registry.example/app:1
IMAGE ?= oci:docs/examples/hello:latest

run: $(VENV)/.installed
	@out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && set -ex && \
	$(BIN)/wherry --insecure-policy copy "$(IMAGE)" "oci:$$out/copy:latest" && \
	$(BIN)/wherry inspect "oci:$$out/copy:latest"

test: $(VENV)/.installed-tests
	$(BIN)/python -m pytest $(ARGS)

# What `make test` takes samples of, in full: pulls that are cut at every byte. About ten minutes.
torture: $(VENV)/.installed-tests
	TORTURE=1 $(BIN)/python -m pytest -o faulthandler_timeout=0 tests/registry/test_torture.py $(ARGS)

lint: $(VENV)/.installed-tests
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-tests
	$(BIN)/python -m benchmarks $(ARGS)

# Builds the image of `make run` anew (needs buildah); the fixture images of the tests are made by the tests.
images:
	docs/examples/make-hello

venv: $(VENV)/.installed

# python3 must be 3.11 or newer: Debian 12's is.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "wherry needs Python 3.11 or newer: make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-tests: pyproject.toml .ci/packages.txt .ci/install-packages
	.ci/install-packages
	@$(MAKE) --no-print-directory $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
