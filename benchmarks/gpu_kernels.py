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
from dataclasses import dataclass, field
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
from creditree.engines.engine import Sampling
from creditree.engines.static.buffers import Arena, Buffers
from creditree.engines.static.grid import Grid, row_bucket
from creditree.engines.static.step import DecodeStep
from creditree.engines.static.triton_form import TRITON_FORMS, ScratchRooms, triton_step
from creditree.models.random_weights import random_model
from creditree.models.shapes import PUBLIC_SHAPES, Shape
from creditree.models.transformer import Transformer

SHAPES = {
    "1.5b": PUBLIC_SHAPES["Qwen/Qwen2-1.5B"],
    "0.5b": PUBLIC_SHAPES["Qwen/Qwen2.5-0.5B"],
    "tiny": Shape(3, 64, 4, 2, 16, 96, 200, 512, qkv_bias=True),
}
CONTEXT, LENGTH, COLUMN = 128, 256, 128
PROMPT = 100
PARTS = ("check", "step", "profile")
Run = Callable[[], object]


@dataclass(frozen=True, eq=False, slots=True)
class Trial:
    """A model and the buffers of some rows, with tokens, caches and uniform numbers made up."""

    name: str
    rows: int
    transformer: Transformer
    buffers: Buffers
    ends: Tensor
    sampling: Sampling
    rooms: ScratchRooms = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, transformer: Transformer, rows: int, device: str) -> "Trial":
        """Make the buffers."""
        torch.manual_seed(0)
        context, length = (CONTEXT, LENGTH) if device != "cpu" else (16, 16)
        grid = Grid(1, row_bucket(rows, 1), context, length)
        arena = Arena(transformer, keeps_trunk=True)
        arena.grow(grid)
        place = torch.arange(512, device=device)[None]
        cos, sin = transformer.rope(transformer.embed(place[:, :1]), place)
        buffers = Buffers.of(grid, transformer, arena.views(grid), (cos[0].contiguous(), sin[0].contiguous()))
        for name_of in ("context_keys", "context_values", "keys", "values"):
            buffers.large[name_of].normal_()
        buffers.token.random_(transformer.vocab_size)
        buffers.column.fill_(COLUMN if device != "cpu" else 5)
        known = PROMPT if device != "cpu" else 9
        buffers.start.fill_(known)
        buffers.context_bias[:, known:] = -torch.inf
        buffers.uniform.uniform_()
        buffers.budget.fill_(length)
        buffers.done.fill_(False)
        ends = torch.tensor([transformer.vocab_size - 1], device=device)
        return cls(name, rows, transformer, buffers, ends, Sampling(1.0))

    def plain(self) -> DecodeStep:
        """Return the step in torch's kernels."""
        length = self.buffers.grid.length
        return DecodeStep(self.transformer, self.buffers, self.sampling, length, self.ends, 1)

    def tuned(self) -> str:
        """Find the fastest tiles, and keep the memory of steps in them; return what was compared, in microseconds."""
        from creditree.engines.static.kernels.scratch import Parts, Scratch
        from creditree.engines.static.kernels.tiles import row_block
        from creditree.engines.static.kernels.tune import tuned

        parts, block_m = Parts.of(self.transformer), row_block(self.buffers.grid.rows)
        if self.transformer.device.type == "cpu":
            self.rooms[block_m] = Scratch.of(parts, block_m)
            return "nothing on a CPU"
        self.rooms[block_m], times = tuned(self.plain(), parts, block_m)
        chosen = {*self.rooms[block_m].tiles.items(), ("attention", self.rooms[block_m].looks)}
        lines = {
            name: ", ".join(
                f"{_short(one)} {1e6 * took:.1f}{'*' * ((name, one) in chosen)}" for one, took in found.items()
            )
            for name, found in times.items()
        }
        return "; ".join(f"{name} {line}" for name, line in lines.items())

    def form(self, name: Any) -> Any:
        """Return the step in Triton kernels."""
        return triton_step(self.plain(), self.rooms, name)

    def rehearsed(self, step: Run) -> dict[str, Tensor]:
        """Run a step, undo it, and return what it computed."""
        to = self.buffers
        before = [tensor.clone() for tensor in to.state]
        column = int(to.column)
        step()
        found = {"hidden": to.large["hidden"][:, column], "trunk": to.large["trunk"][:, column]}
        found |= {"keys": to.large["keys"][-1, :, :, :, column], "values": to.large["values"][-1, :, :, :, column]}
        found |= {"token": to.token, "logprob": to.out[1, :, column + 1], "sampler": to.out[2, :, column + 1]}
        found |= {"left": to.left, "column": to.column}
        found = {name: tensor.double().clone() for name, tensor in found.items()}
        for tensor, held in zip(to.state, before, strict=True):
            tensor.copy_(held)
        return found


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


def _short(one: Any) -> str:
    if hasattr(one, "block_t"):
        return f"{one.block_t}/{one.splits}w{one.warps}s{one.stages}"
    return f"{one.block_n}x{one.block_k}/{one.splits}w{one.warps}s{one.stages}"


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
