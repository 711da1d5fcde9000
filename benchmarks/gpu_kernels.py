"""The Triton kernels of a decode step on the GPU: right, how fast each, and how fast a whole step of each form.

    PYTHONPATH=src:. python benchmarks/gpu_kernels.py [--model 1.5b 0.5b] [--rows 8 50] [--parts ...] [--out DIR]

Parts, each of which prints its lines as it goes and adds a record: `check` (which tiles and ways to attend measured
fastest, with the microseconds of each; a whole step in each form against the plain one), `step` (microseconds of a
whole step in each form, and its share of the roofline, which reads the weights once at the measured bandwidth of a
copy), `profile` (the kernels of a step, and gaps). A part that fails says why, and the next one runs. Rows stand at
column 128 of 256, after 100 tokens of context.
"""

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_decode import bandwidths, read_bytes
from benchmarks.gpu_record import parser_of, write
from benchmarks.gpu_trial import SHAPES, Run, Trial
from creditree.engines.static.triton_form import TRITON_FORMS
from creditree.models.random_weights import random_model
from creditree.models.transformer import Transformer

PARTS = ("check", "step", "profile")


def say(text: str) -> None:
    print(text, flush=True)


def gap(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference as a share of the largest number."""
    return float((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max().clamp_min(1e-30))


def check(trial: Trial) -> dict[str, Any]:
    """Choose tiles, and compare a whole step in each form with torch's."""
    began = perf_counter()
    say(f"tiles {trial.name} {trial.rows} rows us: {trial.tuned()} ({perf_counter() - began:.1f} s)")
    theirs = trial.rehearsed(trial.plain())
    return {form: checked(trial, form, theirs) for form in forms(trial)}


def forms(trial: Trial) -> list[str]:
    """Return the forms that the device has."""
    return ["triton"] if trial.transformer.device.type == "cpu" else list(TRITON_FORMS)


def checked(trial: Trial, form: str, theirs: dict[str, Tensor]) -> dict[str, Any]:
    """Compare a whole step with what the plain one left."""
    from creditree.engines.draw import draw_each

    began = perf_counter()
    step = trial.form(form)
    made = perf_counter() - began
    ours = trial.rehearsed(step)
    again = trial.rehearsed(step)
    found: dict[str, Any] = {name: gap(ours[name], theirs[name]) for name in theirs if name != "token"}
    found["tokens_differ"] = int((ours["token"] != theirs["token"]).sum())
    found["repeats"] = all(torch.equal(ours[name], again[name]) for name in ours)
    to, scratch = trial.buffers, step._scratch
    logits = scratch.logits[: to.grid.rows]
    drawn = draw_each(logits, to.uniform[:, int(to.column) + 1], trial.sampling)
    found["draws_differ"] = int((drawn.token != ours["token"].long()).sum())
    found["draw_logprob"] = float((drawn.logprob - ours["logprob"]).abs().max())
    states = to.large["hidden"][:, int(to.column)]
    found["logits"] = gap(logits, trial.transformer.logits(trial.transformer.norm(states)))
    text = " ".join(
        f"{name} {value:.1e}" if isinstance(value, float) else f"{name} {value}" for name, value in found.items()
    )
    say(f"check {trial.name} {trial.rows} rows {form}: {text} (made in {made:.1f} s)")
    return found


def microseconds(run: Run, device: str, state: Sequence[Tensor] = (), replays: int = 20) -> float:
    """Return the microseconds of a graph of `run`; off the GPU, of one call."""
    if device == "cpu":
        began = perf_counter()
        run()
        return 1e6 * (perf_counter() - began)
    before = [tensor.clone() for tensor in state]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        run()
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()
    for tensor, held in zip(state, before, strict=True):
        tensor.copy_(held)
    begun.record()
    for _ in range(replays):
        graph.replay()
    ended.record()
    ended.synchronize()
    for tensor, held in zip(state, before, strict=True):
        tensor.copy_(held)
    return float(begun.elapsed_time(ended)) * 1000 / replays


def step_time(trial: Trial, form: str, step: Run, device: str, speed: float) -> float:
    """Print and return the microseconds of a whole step."""
    taken = microseconds(step, device, trial.buffers.state)
    limit = 1e6 * read_bytes(trial.transformer.model) / speed
    say(
        f"step {trial.name} {trial.rows} rows {form}: {taken:.0f} us, "
        f"{limit / taken:.0%} of the roofline ({limit:.0f} us)"
    )
    return taken


def steps(trial: Trial, device: str, speed: float) -> dict[str, Any]:
    """Time a step in each form."""
    found: dict[str, Any] = {"plain": step_time(trial, "plain", trial.plain(), device, speed)}
    for form in forms(trial):
        try:
            found[form] = step_time(trial, form, trial.form(form), device, speed)
        except Exception as error:
            found[form] = failed(f"step {form}", error)
    return found


def profile(trial: Trial, device: str) -> dict[str, Any]:
    """Print and return the kernels of a step: how many, and microseconds together."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    step = trial.form("triton")
    before = [tensor.clone() for tensor in trial.buffers.state]
    step()
    with profiler(activities=[ProfilerActivity.CPU if device == "cpu" else ProfilerActivity.CUDA]) as seen:
        step()
        if device != "cpu":
            torch.cuda.synchronize()
    for tensor, held in zip(trial.buffers.state, before, strict=True):
        tensor.copy_(held)
    rows = {one.key: (one.count, float(getattr(one, "device_time_total", 0.0))) for one in seen.key_averages()}
    ordered = sorted(rows.items(), key=lambda row: -row[1][1])[:12]
    say(f"profile {trial.name} {trial.rows} rows: " + "; ".join(f"{n[:40]} {c}x {us:.0f} us" for n, (c, us) in ordered))
    return {name: {"count": count, "us": us} for name, (count, us) in ordered}


def failed(what: str, error: Exception) -> str:
    """Print the first lines of an error and where it came from; return the first."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {str(error)[:600]}"
    say(f"FAILED {what}: {text} ({Path(frame.filename).name}:{frame.lineno})")
    return text


class Session:
    """One run: its parts, what they have found, and when it ends."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = options.device
        self.ends = perf_counter() + options.seconds
        self.speed = bandwidths(self.device)["copy"]
        say(f"copy {self.speed / 1e9:.0f} GB/s")

    def part(self, part: str, name: str, rows: int, work: Callable[[], Any]) -> None:
        """Do a part for a model and a number of rows, unless the time is over; write down what came of it."""
        if part not in self.options.parts:
            return
        if perf_counter() > self.ends:
            say(f"no time: {part} {name} {rows}")
            return
        began = perf_counter()
        try:
            found = work()
        except Exception as error:
            found = {"failed": failed(f"{part} {name} {rows}", error)}
        record = {"benchmark": "gpu_kernels", "model": name, "rows": rows, "bytes_per_s": self.speed, part: found}
        write(f"kernels-{part}-{name}-{rows}", record, self.device, self.options.out, quiet=True)
        say(f"  ({part} {name} {rows}: {perf_counter() - began:.1f} s)")

    def model(self, name: str) -> list[Trial]:
        """Do what comes first for a model; return its trials."""
        dtype = torch.float32 if self.device == "cpu" else torch.bfloat16
        transformer = Transformer(random_model(SHAPES[name], dtype, self.device))
        trials = [Trial.of(name, transformer, rows, self.device) for rows in self.options.rows]
        for trial in trials:
            self.part("check", name, trial.rows, partial(check, trial))
            self.part("step", name, trial.rows, partial(steps, trial, self.device, self.speed))
        return trials


@torch.no_grad()
def main() -> None:
    """Do the parts, the most wanted first."""
    parser = parser_of(__doc__)
    parser.add_argument("--model", nargs="+", choices=SHAPES, default=["1.5b", "0.5b"])
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 50])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=38, help="after which no part is begun")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    missing = find_spec("triton") is None or (options.device == "cpu" and os.environ.get("TRITON_INTERPRET") != "1")
    if missing:
        say("skipped: it needs triton, and on a CPU its interpreter (TRITON_INTERPRET=1)")
        return
    session = Session(options)
    trials = [trial for name in options.model for trial in session.model(name)]
    for trial in trials:
        session.part("profile", trial.name, trial.rows, partial(profile, trial, session.device))


if __name__ == "__main__":
    main()
