"""Tokens a second that a pretrained model is decoded at, beside what the machine allows, `generate` and llama.cpp.

    python benchmarks/real_decode.py --model smollm2 --rows 8 --dtype bfloat16 --json
    python benchmarks/real_decode.py --table          the cells of docs/BENCHMARKS.md that are not in the raw results

All three draw at temperature 1 from the same short prompts, one completion a prompt, as many steps, on as many threads;
no token ends a completion. In every round each goes once, in alternating order, and the memory is read once:
figures are medians over rounds of wall seconds, from the first new token to the last (prompts are not counted).

- `read_gb_per_s`: as the same cores read a block of memory of the size of the weights, once through.
- `of_limit`: the share of the nearer limit, which is reading every weight once a step, or multiplying each with every
  row at the cores' float32 peak; `of_read` and `of_peak` are the shares of both.
- `llama_cpp_tokens_per_s`: on the same values: a GGUF file in float32 or bfloat16 that is written from the model's own;
  Q8_0 beside int8, and the file as it is (Q4) beside nf4. null where it cannot be built: `llama_cpp` says why.
- `generate` and the torch of int8 and nf4 are those of the same process, and know nothing of --isa.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.decode_sides import Endless, Generate, LlamaCpp, Load, Ours, llama_file, source_file, weights_of
from benchmarks.llama_environment import LLAMA_VERSION, llama_python
from benchmarks.machine_peaks import Peaks
from benchmarks.report import lines_of
from benchmarks.trl_environment import cache_directory
from creditree.engines.native.compiler import ISA, ISAS
from creditree.engines.native.library import identity
from creditree.errors import CreditreeError
from creditree.models.load import Dtype, Model, load_model
from creditree.runs.environment import describe_environment

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
STEPS_AT_LEAST, WEIGHTS_A_ROUND = 4, 1.5e9
ROWS = (1, 8, 64)
CELL = ("isa", "model", "dtype", "threads", "rows")
MODELS = ("smollm2", "qwen")
KEYS = ("tokens_per_s", "generate_tokens_per_s", "llama_cpp_tokens_per_s", "read_gb_per_s", "of_limit")
DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16", "int8", "nf4")
Timed = Callable[[int], dict[str, float] | None]


@contextmanager
def llama(options: argparse.Namespace, dtype: str, threads: int, load: Load) -> Iterator[LlamaCpp | str]:
    """Give llama.cpp, or why there is none."""
    source = source_file(options.model)
    python = "not asked for" if options.alone else "the model is no GGUF file" if source is None else None
    found = python or llama_python(options.cache)
    if isinstance(found, str) or source is None:
        yield str(found)
        return
    side = LlamaCpp(found, llama_file(found, source, dtype, options.cache), threads, load)
    try:
        yield side
    finally:
        side.end()


def measure(options: argparse.Namespace, model: Model, rows: int, threads: int) -> dict[str, Any]:
    """Return the figures of one cell."""
    torch.set_num_threads(threads)
    count, size = weights_of(model)
    steps = options.steps or max(STEPS_AT_LEAST, int(WEIGHTS_A_ROUND / count / max(1, rows / 8)))
    load = Load(rows, options.prompt, steps, model.transformer.vocab_size)
    peaks = Peaks(options.cache, threads, size)
    with llama(options, options.dtype, threads, load) as side:
        work: dict[str, Timed] = {"creditree": Ours(model, load).run}
        if not options.alone:
            work["generate"] = Generate(model, load).run
        if isinstance(side, LlamaCpp):
            work["llama_cpp"] = side.run
        raw: dict[str, list[Any]] = {name: [] for name in (*work, "read_gb_per_s", "gflop_per_s")}
        for index in range(options.rounds + 1):
            for name in work if index % 2 else reversed(work):
                found = work[name](index)
                raw[name] += [found] if index and found else []  # the first round warms up
            raw["read_gb_per_s"].append(peaks.read_gb_per_s())
            raw["gflop_per_s"].append(peaks.gflop_per_s())
        said = side.system if isinstance(side, LlamaCpp) else side
    found = figures(raw, load, count, size)
    return {key: found.pop(key) for key in KEYS} | {
        "benchmark": "real_decode", "model": options.model, "rows": rows, "dtype": options.dtype, "threads": threads,
        "isa": options.isa, "rounds": options.rounds, "prompt": load.prompt, "steps": steps, **found,
        "llama_cpp": said, "llama_cpp_version": LLAMA_VERSION,
        "decoder": identity(str(model.transformer.dtype).removeprefix("torch.")), "raw": raw,
        "environment": describe_environment(),
    }  # fmt: skip


def figures(raw: dict[str, list[Any]], load: Load, count: int, size: int) -> dict[str, Any]:
    """Return medians over rounds, and shares of the limits."""
    done = load.rows * load.steps
    speed = {
        name: done / statistics.median(one["wall_s"] for one in raw[name]) if raw.get(name) else None
        for name in ("creditree", "generate", "llama_cpp")
    }
    read, peak = (statistics.median(raw[name]) for name in ("read_gb_per_s", "gflop_per_s"))
    ours = speed["creditree"] or 0.0
    of_read, of_peak = size / 1e9 / read * ours / load.rows, 2e-9 * count / peak * ours
    return {
        "tokens_per_s": ours,
        "generate_tokens_per_s": speed["generate"],
        "llama_cpp_tokens_per_s": speed["llama_cpp"],
        "read_gb_per_s": read,
        "of_limit": max(of_read, of_peak),
        "of_read": of_read,
        "of_peak": of_peak,
        "peak_gflop_per_s": peak,
        "weights": count,
        "weight_bytes": size,
    }


def table(options: argparse.Namespace) -> None:
    """Measure the cells that are not there yet, in a process for each file, precision, instructions and threads.

    Those of most interest come first; whoever stops it keeps what was measured, and goes on with the same command.
    SystemExit with status 1 where a process failed.
    """
    for name in MODELS:
        source_file(name)  # a sentence now, before anything is measured
    options.results.mkdir(parents=True, exist_ok=True)
    there = {tuple(one[key] for key in CELL) for one in lines_of("real_decode", options.results)}
    both = [("native", model, dtype, model == "qwen" and dtype in DTYPES[2:]) for model in MODELS for dtype in DTYPES]
    alone = [("avx2", "smollm2", dtype, True) for dtype in DTYPES] + [
        ("avx2", "qwen", dtype, True) for dtype in DTYPES[:2]
    ]
    alone += [("avx512", "smollm2", dtype, True) for dtype in DTYPES[:3]]
    two = [("native", model, dtype, True) for model in MODELS for dtype in DTYPES[:2]]
    failed = False
    for place, (isa, model, dtype, is_alone) in enumerate(both + alone + two):
        threads = 2 if place >= len(both + alone) else 1
        missing = [str(rows) for rows in ROWS if (isa, model, dtype, threads, rows) not in there]
        if not missing:
            continue
        command = [sys.executable, str(Path(__file__).resolve()), "--model", model, "--dtype", dtype, "--isa", isa]
        command += ["--threads", str(threads), "--prompt", "1"]
        command += ["--rounds", str(options.rounds), "--cache", str(options.cache), "--results", str(options.results)]
        command += ["--rows", *missing, *(["--alone"] if is_alone else [])]
        failed |= subprocess.run(command, check=False).returncode != 0
    raise SystemExit(int(failed))


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="smollm2, qwen (`python -m recipes.real.fetch`), or a file")
    parser.add_argument("--rows", type=int, nargs="+", default=[8], help="sequences side by side; several: a line each")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--isa", choices=tuple(ISAS), default="native", help="instructions; native: all there are")
    parser.add_argument("--prompt", type=int, default=4, help="tokens of a prompt")
    parser.add_argument("--steps", type=int, help="tokens that are timed; default: by rows and size of the model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="without generate and llama.cpp (which is built once)")
    parser.add_argument("--json", action="store_true", help="the line alone: nothing is added to the raw results")
    parser.add_argument(
        "--table", action="store_true", help="the cells that are missing; heeds the next two and --rounds"
    )
    parser.add_argument("--cache", type=Path, default=cache_directory(), help="where llama.cpp and its files are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the raw results")
    return parser.parse_args()


def main() -> None:
    """Measure what was asked for; what is wrong is told in one sentence, with exit status 2."""
    options = parse()
    try:
        table(options) if options.table else cells(options)
    except CreditreeError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def cells(options: argparse.Namespace) -> None:
    """Measure, print a line for each cell, and add it to the raw results."""
    warnings.filterwarnings("ignore")
    os.environ[ISA] = options.isa
    found = load_model(str(source_file(options.model) or options.model), options.dtype)
    model = Endless(found.name, found.transformer, found.tokenizer)
    for threads in options.threads:
        for rows in options.rows:
            line = json.dumps(measure(options, model, rows, threads))
            print(line, flush=True)
            if not options.json:
                with (options.results / "real_decode.jsonl").open("a", encoding="utf-8") as file:
                    file.write(line + "\n")


if __name__ == "__main__":
    main()
