# make demo   sets up and runs the main job
# make test   sets up and passes the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-full test-native fuzz fuzz-python test-aarch64 lint bench clean

demo: $(STAMP)
	$(BIN)/edgeguard demo

# One thread for each worker: they share the cores.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

test-full: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "full or not full"

# The kernel with AddressSanitizer and UndefinedBehaviorSanitizer on random frames (clang++ where it is, else c++), and
# our picture of libjpeg's binary interface against its headers, where they are.
test-native:
	cmake -S tests/native -B build/native -DCMAKE_CXX_COMPILER=$(or $(shell command -v clang++),c++) >/dev/null
	cmake --build build/native --target check_kernel --parallel
	build/native/check_kernel 20000
	cmake --build build/native --target run_check_libjpeg_abi

# The compressed domain under libFuzzer (clang++), for FUZZ_SECONDS; findings go to build/fuzz-findings.
FUZZ_SECONDS ?= 120
fuzz: $(STAMP)
	cmake -S tests/native -B build/native -DCMAKE_CXX_COMPILER=clang++ >/dev/null
	cmake --build build/native --target fuzz_jpeg --parallel
	$(BIN)/python tests/native/make_seeds.py build/fuzz-seeds
	mkdir -p build/fuzz-corpus build/fuzz-findings
	build/native/fuzz_jpeg -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
	  -verbosity=0 -artifact_prefix=build/fuzz-findings/ build/fuzz-corpus build/fuzz-seeds

# The parsers in Python (JPEG headers, seals, serial and HTTP streams) under Atheris, for FUZZ_SECONDS.
fuzz-python: $(STAMP)
	mkdir -p build/fuzz-python build/fuzz-findings
	$(BIN)/python tests/fuzz/fuzz_parsers.py build/fuzz-python -max_total_time=$(FUZZ_SECONDS) -timeout=20 \
	  -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 -artifact_prefix=build/fuzz-findings/

# The package on aarch64 under emulation: the same bytes as here.
test-aarch64: $(STAMP)
	tests/aarch64/run.sh $(BIN)/python

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/sanitise.py

NATIVE := $(wildcard edgeguard/dct/native/*.*) CMakeLists.txt
# Where a compiler is, a kernel that does not build is an error and not a fallback.
export EDGEGUARD_REQUIRE_NATIVE := $(if $(and $(shell command -v c++),$(shell command -v cmake)),1,0)

$(STAMP): pyproject.toml constraints.txt $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit("EdgeGuard needs Python 3.11 or newer, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[convert,onnx,keras,attack,web,mqtt,metrics,cluster,dev]'
	touch $@

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis edgeguard-demo
