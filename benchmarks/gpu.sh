#!/usr/bin/env bash
# Everything that needs a GPU, on a machine with PyTorch and transformers and nothing else, that is there for minutes.
#
#     benchmarks/gpu.sh [--out DIR] [--seconds 590] [--only NAME ...] [--again] [--together]
#     benchmarks/gpu.sh --cpu [--out DIR]     the same pieces in tiny sizes on the CPU: a smoke test of the scripts
#     benchmarks/gpu.sh --table [...]         the table of recipes/real at 256 tokens, in its own time (see below)
#
# What the pieces are, their order, the records and the exit status: benchmarks/gpu_run.py, which this calls. Creditree
# runs from src/. What else it needs is taken from the machine or from benchmarks/wheels/ (nothing is downloaded;
# installed into a folder of its own, gone afterwards). To make the wheels, on any machine, for the Python and platform
# of the GPU's machine (here 3.12 on Linux x86-64):
#
#     pip download --no-deps --dest benchmarks/wheels --only-binary=:all: --python-version 3.12 \
#         --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 \
#         pydantic pydantic-core annotated-types typing-inspection gguf \
#         math-verify latex2sympy2-extended antlr4-python3-runtime==4.13.2 trl==1.16.0 datasets multiprocess dill
#
# (pydantic works with one pydantic-core only: the newest of both, or the one it names. Without trl and what follows it
# TRL's seconds are null.) Real weights come in pieces: see benchmarks/gpu_carry.sh.
#
# The table is a measurement, nine runs of tuning and nine of learning, cells side by side. It takes the options that
# `python -m recipes.real.run_table --help` lists. The weights are carried as qwen2.5-coder-0.5b-instruct-q4_k_m.gguf
# (its name in recipes/real/fetch.py), SVAMP's 1,000 problems as benchmarks/carry/svamp.jsonl. One archive is all that
# has to come back; it is written anew whenever a cell ends, so that a table that is cut off is in it as far as it came:
#
#     cp svamp.jsonl benchmarks/carry/
#     benchmarks/gpu.sh --table --seconds 230 --workers 5 --archive OUT/table.tar.gz
#     tar -xzf OUT/table.tar.gz -C recipes/real/results svamp-qwen-256 && python -m recipes.real.report
#
# WHEELS names another folder, PYTHON the interpreter, COMMIT the commit where the source is not under git.
set -u
cd "$(dirname "$0")/.." || exit 2
case " $* " in *" --help "* | *" -h "*) sed -n '1d; /^#/!q; s/^# \{0,1\}//p' benchmarks/gpu.sh; exit 0 ;; esac
PYTHON=${PYTHON:-python3}
WHEELS=${WHEELS:-benchmarks/wheels}
SITE=$(mktemp -d)
trap 'rm -rf "$SITE"' EXIT
export PYTHONPATH="$PWD/src:$PWD:$SITE${PYTHONPATH:+:$PYTHONPATH}"
export TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1

# can_import PACKAGE: whether Python finds it (found, not run: peft takes seconds to import)
can_import() { "$PYTHON" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"; }

for package in torch transformers; do
    can_import $package || { echo "$package is missing, and is not carried: install it" >&2; exit 2; }
done
if compgen -G "$WHEELS/*.whl" >/dev/null; then
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$SITE" "$WHEELS"/*.whl ||
        echo "some wheels of $WHEELS could not be installed" >&2
fi
for package in peft accelerate psutil pydantic pydantic_core annotated_types typing_inspection safetensors; do
    can_import $package || { echo "$package is missing: see the head of this file for how to carry it" >&2; exit 2; }
done
case " $* " in
    *" --cpu "* | *" --smoke "*) export OMP_NUM_THREADS=1 ;;
    *)
        "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
            { echo "torch finds no CUDA device; --cpu, or --table --smoke, runs a smoke test of the scripts" >&2; exit 2; }
        benchmarks/gpu_carry.sh join || echo "real weights are left out" >&2
        ;;
esac
if [ "${1:-}" = --table ]; then
    shift
    work=${TMPDIR:-/tmp}/creditree-table
    "$PYTHON" -m recipes.real.run_table --only svamp-qwen-256 --weights benchmarks/carry \
        --data benchmarks/carry/svamp.jsonl --work "$work" --out "$work/results" "$@"
else
    "$PYTHON" benchmarks/gpu_run.py "$@"
fi
