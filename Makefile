# Each target makes .venv when it is missing, and installs again when pyproject.toml has changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
WORKERS ?= 2

export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: quickstart test check format bench proof clean

# torch first and by version: pip then takes a CPU build where one is at hand, and the package's own range is satisfied.
$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $(READY)

# Trains the built-in model with T-SPMO and shows that it learned.
quickstart: $(READY)
	$(BIN)/creditree quickstart --run runs/quickstart

# Everything that runs in seconds; `make proof` runs the rest.
test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# One script a claim; each prints one JSON line.
bench: $(READY)
	@set -e; scripts=$$(find benchmarks -maxdepth 1 -name '*.py' | sort); \
	test -n "$$scripts" || { echo "benchmarks/ holds no script yet" >&2; exit 1; }; \
	for script in $$scripts; do $(BIN)/python $$script; done

# The slow tests, and the tiny twins of the paper's experiments.
proof: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow
	$(BIN)/python -m recipes.token_efficient_rl.run_tiny --out runs/proof

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
