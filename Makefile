# make help   says what there is; each command sets up what it needs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The set-up has three parts; the last holds the others.
FOR_WHEELS := $(VENV)/.installed-wheels
FOR_DEMO := $(VENV)/.installed-demo
FOR_TEST := $(VENV)/.installed-test
FOR_DOCS := $(VENV)/.installed-docs

# Compiled modules are kept, whatever the environment says: the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

RELEASE = PYTHONPATH=tests $(BIN)/python -m release
# The wheels are made again by `make wheels`, and where something that goes into them is newer.
WHEELS := dist/.built
PACKAGED := $(wildcard $(shell git ls-files -co --exclude-standard edgeguard converters firmware_configs 2>/dev/null))

.NOTPARALLEL:  # two parts at once would write into one environment
.PHONY: demo demo-fleet detector test test-full coverage test-native fuzz fuzz-python fuzz-models fuzz-loaders test-aarch64 wheels release-check
.PHONY: release-check-x86-64 lint types bench clean docs help

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z0-9-]+:.*  ## / { printf "make %-22s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(FOR_DEMO)  ## the main job: converts, runs defended, attacks, shows what fails
	$(BIN)/edgeguard demo

# A broker (mosquitto), a repository, three agents; a good bundle and a bad one.
demo-fleet: $(FOR_TEST)  ## a broker, a repository, three agents: an update and a rollback
	$(BIN)/python benchmarks/fleet_demo.py

# Scenes, training, conversion, and a patch against it: under an hour of one core; run it again to go on.
detector: $(FOR_TEST)  ## trains the card detector, and a patch that makes a stop sign vanish
	$(BIN)/python -m edgeguard.demo.train_detector --output build/detector
	cp build/detector/detector.tflite edgeguard/demo/assets/detector.tflite
	$(BIN)/edgeguard patch make edgeguard/demo/assets/detector.tflite --card stop --mode vanish --angle 30 \
		--steps 450 --batch 8 --output build/detector/vanish-stop
	mkdir -p edgeguard/demo/assets/vanish-stop
	cp build/detector/vanish-stop/patch.json build/detector/vanish-stop/patch.png edgeguard/demo/assets/vanish-stop/

# One thread for each worker: they share the cores.
test: $(FOR_TEST)  ## the fast tests, under 5 minutes after the set-up
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

test-full: $(FOR_TEST)  ## the slow tests too, an hour or more
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "full or not full"

# Of the packages in which a wrong line is a wrong byte of a frame; the lines that their own tests do not run are named.
MEASURED := dct guard jpeg png preprocess
coverage: $(FOR_TEST)  ## the codec's fast tests, and which of its lines they run
	mkdir -p build
	COVERAGE_FILE=build/.coverage OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(MEASURED:%=tests/%) \
	  $(MEASURED:%=--cov=edgeguard.%) --cov-report=term-missing:skip-covered

# The kernel with AddressSanitizer and UndefinedBehaviorSanitizer on random frames (clang++ where it is, else c++), and
# our picture of libjpeg's binary interface against its headers, where they are.
test-native:  ## the native kernel under sanitizers
	cmake -S tests/native -B build/native -DCMAKE_CXX_COMPILER=$(or $(shell command -v clang++),c++) >/dev/null
	cmake --build build/native --target check_kernel --parallel
	build/native/check_kernel 8000
	cmake --build build/native --target run_check_libjpeg_abi

# The compressed domain under libFuzzer (clang++), for FUZZ_SECONDS; findings go to build/fuzz-findings.
FUZZ_SECONDS ?= 120
fuzz: $(FOR_TEST)  ## the compressed domain under libFuzzer, FUZZ_SECONDS=120
	cmake -S tests/native -B build/native -DCMAKE_CXX_COMPILER=clang++ >/dev/null
	cmake --build build/native --target fuzz_jpeg --parallel
	$(BIN)/python tests/native/make_seeds.py build/fuzz-seeds
	mkdir -p build/fuzz-corpus build/fuzz-findings
	build/native/fuzz_jpeg -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
	  -verbosity=0 -artifact_prefix=build/fuzz-findings/ build/fuzz-corpus build/fuzz-seeds

# The parsers in Python (JPEG headers, seals, serial and HTTP streams) under Atheris, for FUZZ_SECONDS.
fuzz-python: $(FOR_TEST)  ## the parsers in Python under Atheris, FUZZ_SECONDS=120
	mkdir -p build/fuzz-python build/fuzz-findings
	$(BIN)/python tests/fuzz/fuzz_parsers.py build/fuzz-python -max_total_time=$(FUZZ_SECONDS) -timeout=20 \
	  -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 -artifact_prefix=build/fuzz-findings/

# Mutated .tflite files and contracts through the commands that read them, for FUZZ_SECONDS in all; build/fuzz-models.
fuzz-models: $(FOR_TEST)  ## damaged models and contracts, FUZZ_SECONDS=120
	$(BIN)/python tests/fuzz/fuzz_models.py --seconds $$(( $(FUZZ_SECONDS) * 3 / 4 )) --keep build/fuzz-models
	$(BIN)/python tests/fuzz/fuzz_models.py --seconds $$(( $(FUZZ_SECONDS) / 4 )) --of contracts --keep build/fuzz-models

# Model files of every format that `convert` reads, changed with their structure in mind, for FUZZ_SECONDS.
fuzz-loaders: $(FOR_TEST)  ## damaged files of every format that convert reads
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_loaders.py --seconds $(FUZZ_SECONDS) --keep build/fuzz-loaders

# What is handed out, into dist/: a wheel with the native kernel for x86-64 and one for aarch64, a bill of materials of
# each, and the sdist.
wheels: $(FOR_WHEELS)  ## wheels for x86-64 and aarch64, their SBOMs and the source archive, into dist/
	@$(RELEASE).build_wheels

# Each wheel in clean environments: this machine's Pythons, and Debian's for aarch64 under emulation.
release-check: release-check-x86-64  ## each wheel in clean environments, aarch64 under emulation
	@$(RELEASE).check_same_bytes
	@$(RELEASE).check_aarch64 bookworm trixie tflite-runtime

release-check-x86-64: $(FOR_TEST) $(WHEELS)  ## of these, the ones of this machine
	@$(RELEASE).check_x86_64

# The wheel for aarch64 on Debian bookworm, under emulation: the same bytes as here.
test-aarch64: $(FOR_TEST) $(WHEELS)  ## of these, the one on Debian bookworm for aarch64
	@$(RELEASE).check_aarch64 bookworm

lint: $(FOR_TEST)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

types: $(FOR_TEST)  ## mypy alone
	$(BIN)/mypy

bench: $(FOR_TEST)  ## start-up and kernel, timed
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/sanitise.py

# The site, strictly: a broken link, a name without a docstring's target or a page that is not there ends it.
docs: $(FOR_DOCS)  ## the site, into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "docs: build/site/index.html"

NATIVE := $(wildcard edgeguard/dct/native/*.*) CMakeLists.txt
# Where a compiler is, a kernel that does not build is an error and not a fallback.
export EDGEGUARD_REQUIRE_NATIVE := $(if $(and $(shell command -v c++),$(shell command -v cmake)),1,0)

TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
PIP_INSTALL := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
  $(BIN)/python -m pip install -qq --prefer-binary --constraint constraints.txt

# The environment. Where PYTHON itself has torch's CPU build in the version that is tested, the environment sees it.
define ENVIRONMENT
@$(PYTHON) -c 'import sys; sys.exit("EdgeGuard needs Python 3.11 or newer, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
@test -x $(BIN)/python || { \
  echo "set-up: a Python environment in $(VENV)"; \
  $(PYTHON) -m venv $(VENV) $$($(PYTHON) -c 'import sys, torch; sys.exit(sys.prefix != sys.base_prefix or torch.version.cuda is not None or torch.__version__.partition("+")[0] != "$(TORCH)")' 2>/dev/null && echo --system-site-packages); }
endef

# PyTorch: what the environment has is taken; then a CPU build, from wherever pip looks; then what the index offers.
define PYTORCH
@if $(BIN)/python -c 'import importlib.metadata as m, sys; sys.exit(m.version("torch").partition("+")[0] != "$(TORCH)")' 2>/dev/null; then \
  echo "set-up: PyTorch $(TORCH) is there"; \
else \
  echo "set-up: PyTorch $(TORCH), its CPU build where pip finds one (the README says how)"; \
  $(PIP_INSTALL) 'torch==$(TORCH)+cpu' 2>/dev/null || $(PIP_INSTALL) 'torch==$(TORCH)'; \
fi
endef

$(FOR_WHEELS): pyproject.toml constraints.txt
	$(ENVIRONMENT)
	@echo "set-up: what builds and audits wheels"
	@$(PIP_INSTALL) $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["release"])')
	@touch $@

$(FOR_DEMO): pyproject.toml constraints.txt $(NATIVE)
	$(ENVIRONMENT)
	$(PYTORCH)
	@echo "set-up: EdgeGuard with its converter"
	@$(PIP_INSTALL) --editable '.[convert,sheets]'
	@touch $@

$(FOR_TEST): pyproject.toml constraints.txt $(NATIVE)
	$(ENVIRONMENT)
	$(PYTORCH)
	@echo "set-up: EdgeGuard with every extra, TensorFlow, Ray and the tests' tools among them"
	@$(PIP_INSTALL) --editable '.[convert,onnx,zoo,keras,attack,data,sheets,serial,web,mqtt,metrics,fleet,cluster,dev]'
	@touch $(FOR_WHEELS) $(FOR_DEMO) $@

$(FOR_DOCS): pyproject.toml constraints.txt | $(FOR_TEST)
	@echo "set-up: what builds the site"
	@$(PIP_INSTALL) --editable '.[docs]'
	@touch $@

$(WHEELS): $(PACKAGED) pyproject.toml CMakeLists.txt README.md LICENSE | $(FOR_WHEELS)
	@$(RELEASE).build_wheels

clean:  ## removes what was built; .venv stays
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis edgeguard-demo
