#!/usr/bin/env bash
# Everything that needs a GPU, in under ten minutes, on a machine with PyTorch and transformers and nothing else.
#
#     benchmarks/gpu.sh [--out DIR]        on one CUDA device; records go to benchmarks/results/gpu-*.json
#     benchmarks/gpu.sh --cpu [--out DIR]  the same pieces in tiny sizes on the CPU: a smoke test of the scripts
#
# Creditree runs from src/. What else it needs is taken from the machine or, where a package cannot be imported, from
# benchmarks/wheels/ (nothing is downloaded; installed into a folder of its own, gone afterwards). To make the wheels,
# on any machine, for the Python and platform of the GPU's machine (here 3.12 on Linux x86-64):
#
#     pip download --no-deps --dest benchmarks/wheels --only-binary=:all: --python-version 3.12 \
#         --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 \
#         peft accelerate psutil pydantic pydantic-core annotated-types typing-inspection
#
# (pydantic works with one pydantic-core only: the newest of both, or the one it names.) WHEELS names another folder,
# PYTHON the interpreter, COMMIT the commit where the source is not under git, PIECES (a regular expression) what to run.
#
# Every piece has a time limit of its own and writes a JSON line; one that fails does not stop the others. Exit status:
# 0 if all passed, 1 if any failed or found no time, 2 if nothing could be run.
set -u
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
WHEELS=${WHEELS:-benchmarks/wheels}
DEVICE=cuda
OUT=benchmarks/results
LIMIT=590
while [ $# -gt 0 ]; do
    case $1 in
        --cpu) DEVICE=cpu; OUT=$(mktemp -d) ;;
        --out) shift; OUT=${1:?--out needs a folder} ;;
        *) echo "unknown option $1; use --cpu or --out DIR" >&2; exit 2 ;;
    esac
    shift
done
mkdir -p "$OUT"
SITE=$(mktemp -d)
trap 'rm -rf "$SITE"' EXIT
export PYTHONPATH="$PWD/src:$PWD:$SITE${PYTHONPATH:+:$PYTHONPATH}"
export TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
[ "$DEVICE" = cpu ] && export OMP_NUM_THREADS=1

# can_import PACKAGE: whether Python finds it (found, not run: peft takes seconds to import)
can_import() { "$PYTHON" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"; }

for package in torch transformers; do
    can_import $package || { echo "$package is missing, and is not carried: install it" >&2; exit 2; }
done
for package in peft accelerate psutil pydantic pydantic_core annotated_types typing_inspection safetensors; do
    can_import $package && continue
    "$PYTHON" -m pip install --quiet --no-index --no-deps --find-links "$WHEELS" --target "$SITE" $package ||
        { echo "$package is missing: see the head of this file for how to carry it" >&2; exit 2; }
done
if [ "$DEVICE" = cuda ]; then
    "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
        { echo "torch finds no CUDA device; --cpu runs a smoke test of the scripts" >&2; exit 2; }
fi

SUMMARY=()
FAILED=0
# piece NAME SECONDS SCRIPT ARGUMENTS...: run one, within its own limit and what is left of the whole
piece() {
    local name=$1 seconds=$2 left=$((LIMIT - SECONDS)) start=$SECONDS status
    shift 2
    [[ $name =~ ${PIECES:-.} ]] || return 0
    [ "$seconds" -gt "$left" ] && seconds=$left
    if [ "$seconds" -lt 5 ]; then
        status=124
    else
        timeout --kill-after=10 "$seconds" "$PYTHON" "benchmarks/$1" "${@:2}" --device "$DEVICE" --out "$OUT"
        status=$?
    fi
    case $status in
        0) SUMMARY+=("passed    $name ($((SECONDS - start)) s)") ;;
        124 | 137) SUMMARY+=("NO TIME   $name (stopped after $((SECONDS - start)) s)"); FAILED=1 ;;
        *) SUMMARY+=("FAILED    $name (status $status)"); FAILED=1 ;;
    esac
}

if [ "$DEVICE" = cpu ]; then
    MODEL=$("$PYTHON" benchmarks/gpu_smoke_model.py "$SITE/model") || exit 2
    tiny=(--model "$MODEL" --prompt-tokens 10)
    piece exactness 120 gpu_exactness.py
    piece step 60 gpu_steps.py "${tiny[@]}" --dtype float32 --group 4 --max-new-tokens 8 --steps 1
    for system in creditree generate continuous; do
        piece "decode-$system" 60 gpu_decode.py "${tiny[@]}" --system $system --dtype float32 --rows 3 --tokens 4 --rounds 1
    done
else
    piece exactness 150 gpu_exactness.py
    piece decode-creditree 90 gpu_decode.py --system creditree
    for dtype in bfloat16 float32; do
        piece "step-grpo-$dtype" 60 gpu_steps.py --method grpo --group 8 --dtype $dtype
        piece "step-s-grpo-$dtype" 60 gpu_steps.py --method s-grpo --group 8 --dtype $dtype
        piece "step-t-spmo-$dtype" 75 gpu_steps.py --method t-spmo --group 50 --dtype $dtype
    done
    piece decode-generate 90 gpu_decode.py --system generate --rounds 1
    piece decode-continuous 90 gpu_decode.py --system continuous --rounds 1
    # one length of the caches, so that there is one step to compile
    piece decode-plain 45 gpu_decode.py --system creditree --name decode-t64 --rows 50 --tokens 64
    piece decode-compiled 150 gpu_decode.py --system creditree-compiled --rows 50 --tokens 64
fi
printf '%s\n' "" "${SUMMARY[@]}" "records in $OUT, $SECONDS s in all"
exit $FAILED
