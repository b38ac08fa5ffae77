# make demo   sets up and runs the main job
# make test   sets up and passes the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-full lint bench clean

demo: $(STAMP)
	$(BIN)/edgeguard demo

test: $(STAMP)
	$(BIN)/python -m pytest -n auto

test-full: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "full or not full"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/sanitise.py

NATIVE := $(wildcard edgeguard/guard/native/*) CMakeLists.txt
# Where a compiler is, a kernel that does not build is an error and not a fallback.
export EDGEGUARD_REQUIRE_NATIVE := $(if $(and $(shell command -v c++),$(shell command -v cmake)),1,0)

$(STAMP): pyproject.toml constraints.txt $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit("EdgeGuard needs Python 3.11 or newer, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[convert,dev]'
	touch $@

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis edgeguard-demo
