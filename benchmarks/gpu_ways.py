"""Ways to keep a GPU's memory busy between the kernels of a decode step, and what each step of them costs at least.

    PYTHONPATH=src:. python benchmarks/gpu_ways.py [--model 1.5b 0.5b] [--rows 8 50] [--out DIR]

First `floors`, microseconds: of a kernel that does nothing, in a row of them, with and without programmatic dependent
launch; of reading 16 MB of weights that were read long ago, and that a kernel before has asked for. Then, for each
model and number of rows, a whole step in each way: when the next kernel begins, how many of its weights a program
loads before it waits (`preload`), how far kernels ask for the weights of others (`lookahead`, MB each and in all); and
in the fastest way the microseconds of each kernel. All ways must compute the same.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import triton
import triton.language as tl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_decode import bandwidths, read_bytes
from benchmarks.gpu_kernels import microseconds, say
from benchmarks.gpu_record import parser_of, write
from benchmarks.gpu_trial import SHAPES, Trial
from creditree.engines.static.kernels.ahead import Lookahead
from creditree.engines.static.kernels.launch import Options, compile_ahead
from creditree.engines.static.kernels.prefetch import ask_ahead
from creditree.engines.static.kernels.scratch import Parts
from creditree.engines.static.kernels.step import TritonStep
from creditree.engines.static.kernels.tiles import row_block
from creditree.models.random_weights import random_model
from creditree.models.transformer import Transformer

MB = 1 << 20
PRELOAD = (4096, 8192, 16384, 32768)
LOOKAHEADS = ((6, 16), (12, 32), (20, 64))
CHAIN = 100


@triton.jit
def idle(out, PDL: tl.constexpr) -> None:
    """Do nothing but wait, and let the next begin."""
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    tl.store(out, 1)


@triton.jit
def read(source, out, NUMBERS: tl.constexpr) -> None:
    """Add up a program's share of `source`."""
    at = tl.program_id(0) * NUMBERS + tl.arange(0, NUMBERS)
    tl.store(out + tl.program_id(0), tl.sum(tl.load(source + at).to(tl.float32), axis=0))


@triton.jit
def ask(source, numbers) -> None:
    """Ask for the first `numbers` of `source`."""
    ask_ahead(source, numbers, source, 0, 128)


def floors(device: str) -> dict[str, float]:
    """Return the microseconds of what a step consists of at least."""
    if device == "cpu":
        return {}
    out = torch.zeros(1 << 16, device=device)
    numbers, share = 8 * MB, 8192  # 16 MB of weights
    matrix, other = (torch.ones(size, dtype=torch.bfloat16, device=device) for size in (numbers, 32 * numbers))
    grid = (numbers // share,)

    def chain(pdl: bool) -> Callable[[], object]:
        extra = {"launch_pdl": True} if pdl else {}
        return lambda: [idle[(132,)](out, pdl, num_warps=4, **extra) for _ in range(CHAIN)]

    def forgotten() -> None:
        other.sum()

    def cold() -> None:
        forgotten()
        read[grid](matrix, out, share)

    def asked(*, reads: bool) -> Callable[[], None]:
        def run() -> None:
            forgotten()
            ask[(64,)](matrix, numbers)
            idle[(132,)](out, False)
            if reads:
                read[grid](matrix, out, share)

        return run

    def warm() -> None:
        cold()
        read[grid](matrix, out, share)

    found = {"idle": microseconds(chain(False), device) / CHAIN, "idle, pdl": microseconds(chain(True), device) / CHAIN}
    took = {"forgotten": forgotten, "cold": cold, "warm": warm, "asked": asked(reads=False)}
    spent = {name: microseconds(run, device) for name, run in took.items()}
    spent["asked, read"] = microseconds(asked(reads=True), device)
    found |= {"read 16 MB": spent["cold"] - spent["forgotten"], "read 16 MB again": spent["warm"] - spent["cold"]}
    found["ask for 16 MB"] = spent["asked"] - spent["forgotten"]
    found["read 16 MB that were asked for"] = spent["asked, read"] - spent["asked"]
    return found


def ways(device: str) -> Iterator[tuple[str, Options]]:
    """Yield what is compared, by name: the first is what the others must compute."""
    yield "none", Options()
    if device == "cpu":
        yield "none, preload 512", Options(preload=512)
        return
    for pdl in ("late", "early"):
        yield pdl, Options(pdl)
        for preload in PRELOAD:
            yield f"{pdl}, preload {preload}", Options(pdl, preload)
    for each, window in LOOKAHEADS:
        lookahead = Lookahead(each * MB, window * MB)
        yield f"none, lookahead {each}/{window}", Options(lookahead=lookahead)
        yield f"early, preload {PRELOAD[2]}, lookahead {each}/{window}", Options("early", PRELOAD[2], lookahead)


def kernels(step: TritonStep) -> dict[str, float]:
    """Return the microseconds of the kernels of a step, by name, as torch's profiler sees them."""
    from torch.profiler import ProfilerActivity, profile

    names = [launch.name for launch in step.launches]
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        step()
        torch.cuda.synchronize()
    events = sorted(seen.events() or (), key=lambda event: event.time_range.start)
    took = [event.device_time_total for event in events if event.device_time_total]
    found: dict[str, float] = {}
    for name, one in zip(names, took, strict=False):
        found[name] = found.get(name, 0.0) + float(one)
    return found


def compare(trial: Trial, device: str, speed: float) -> dict[str, Any]:
    """Time a step in each way; return the microseconds, and those of the kernels in the fastest."""
    say(f"tiles {trial.name} {trial.rows} rows: {trial.tuned()}")
    parts, scratch = Parts.of(trial.transformer), trial.rooms[row_block(trial.buffers.grid.rows)]
    limit = 1e6 * read_bytes(trial.transformer.model) / speed
    steps = {name: TritonStep(trial.plain(), parts, scratch, options) for name, options in ways(device)}
    compile_ahead([launch for step in steps.values() for launch in step.launches])
    found: dict[str, Any] = {}
    expected = trial.rehearsed(steps["none"])
    for name, step in steps.items():
        try:
            left = trial.rehearsed(step)
        except Exception as error:  # one way may need more shared memory than there is
            say(f"{trial.name} {trial.rows} rows, {name}: FAILED {str(error)[:200]}")
            continue
        differs = [key for key, tensor in expected.items() if not torch.allclose(left[key], tensor, 1e-2, 1e-2)]
        before = [tensor.clone() for tensor in trial.buffers.state]
        found[name] = microseconds(step, device, trial.buffers.state)
        for tensor, held in zip(trial.buffers.state, before, strict=True):
            tensor.copy_(held)
        share = f"{found[name]:.0f} us, {limit / found[name]:.1%} of the roofline"
        say(f"{trial.name} {trial.rows} rows, {name}: {share}{f', DIFFERS in {differs}' if differs else ''}")
    best = min(found, key=found.__getitem__)
    try:
        each = kernels(steps[best]) if device != "cpu" else {}
    except Exception as error:  # a profiler may be refused: what was measured is written all the same
        each = {}
        say(f"no microseconds of kernels: {str(error)[:200]}")
    say(f"{best}: " + ", ".join(f"{name} {us:.0f}" for name, us in each.items()))
    return {"limit_us": limit, "us": found, "fastest": best, "kernels_us": each}


@torch.no_grad()
def main() -> None:
    """Measure, and write each record as it is known."""
    parser = parser_of(__doc__)
    parser.add_argument("--model", nargs="+", choices=SHAPES, default=["1.5b", "0.5b"])
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 50])
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    device = options.device
    speed = bandwidths(device)["copy"]
    record = {"benchmark": "gpu_ways", "bytes_per_s": speed}
    found = floors(device)
    say(", ".join(f"{name} {us:.1f} us" for name, us in found.items()))
    write("ways-floors", record | {"us": found}, device, options.out, quiet=True)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    for name in options.model:
        transformer = Transformer(random_model(SHAPES[name], dtype, device))
        for rows in options.rows:
            began = perf_counter()
            measured = compare(Trial.of(name, transformer, rows, device), device, speed)
            seconds = {"seconds": perf_counter() - began}
            write(f"ways-{name}-{rows}", record | measured | seconds, device, options.out, quiet=True)


if __name__ == "__main__":
    main()
