"""The Triton kernels of a decode step on the GPU: right, how fast each, and how fast a whole step of each form.

    PYTHONPATH=src:. python benchmarks/gpu_kernels.py [--model 1.5b 0.5b] [--rows 8 50] [--parts ...] [--out DIR]

Parts, each of which prints its lines as it goes and adds a record: `check` (each kernel against torch, a whole step
against the plain one), `step` (milliseconds of a whole step in each form, and its share of the roofline, which reads
the weights once at the measured bandwidth of a copy), `tiles` (each kernel in several tilings, in a graph of one launch
for each layer, so that no cache hides the weights, beside torch's product; then a step with the best of each),
`profile` (the kernels of a replay), `fused` (the step in compiled kernels). A part that fails says why, and the next
one runs. Rows stand at column 128 of 256, after 100 tokens of context.
"""

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_decode import bandwidths, read_bytes
from benchmarks.gpu_record import parser_of, write
from creditree.engines.engine import Sampling
from creditree.engines.static.buffers import Arena, Buffers
from creditree.engines.static.grid import Grid, row_bucket
from creditree.engines.static.step import DecodeStep
from creditree.models.random_weights import random_model
from creditree.models.shapes import PUBLIC_SHAPES, Shape
from creditree.models.transformer import Transformer

if TYPE_CHECKING:
    from creditree.engines.static.kernels.launch import Launch, Options
    from creditree.engines.static.kernels.step import TritonStep
    from creditree.engines.static.kernels.tiles import Looks, Tiles

SHAPES = {
    "1.5b": PUBLIC_SHAPES["Qwen/Qwen2-1.5B"],
    "0.5b": PUBLIC_SHAPES["Qwen/Qwen2.5-0.5B"],
    "tiny": Shape(3, 64, 4, 2, 16, 96, 200, 512, qkv_bias=True),
}
CONTEXT, LENGTH, COLUMN = 128, 256, 128
PROMPT = 100
PARTS = ("check", "step", "tiles", "profile", "fused")
Run = Callable[[], object]


@dataclass(slots=True)
class Best:
    """Tilings that were the fastest."""

    tiles: "dict[str, Tiles]"
    looks: "Looks | None"


@dataclass(frozen=True, eq=False, slots=True)
class Trial:
    """A model and the buffers of some rows, with tokens, caches and uniform numbers made up."""

    name: str
    rows: int
    transformer: Transformer
    buffers: Buffers
    ends: Tensor
    sampling: Sampling

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

    def plain(self, *, fused: bool = False) -> DecodeStep:
        """Return the step in torch's kernels."""
        length = self.buffers.grid.length
        return DecodeStep(self.transformer, self.buffers, self.sampling, length, self.ends, 1, fused)

    def triton(self, options: "Options | None" = None, best: "Best | None" = None) -> "TritonStep":
        """Return the step in Triton kernels."""
        from creditree.engines.static.kernels.step import Parts, Scratch, TritonStep
        from creditree.engines.static.kernels.tiles import row_block

        parts, block_m = Parts.of(self.transformer), row_block(self.buffers.grid.rows)
        best = best or Best({}, None)
        return TritonStep(self.plain(), parts, Scratch.of(parts, block_m, best.tiles, best.looks), options)

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
    """Compare a whole step, and each product and the attention of layer 1, with torch's."""
    from creditree.engines.draw import draw_each

    step = trial.triton()
    compile_all([step])
    theirs, ours = trial.rehearsed(trial.plain()), trial.rehearsed(step)
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
    say(f"check {trial.name} {trial.rows} rows: {text}")
    return found


def compile_all(steps: "Sequence[TritonStep]") -> None:
    """Compile the kernels of steps side by side, and say how long that took."""
    from creditree.engines.static.kernels.launch import compile_ahead

    began = perf_counter()
    compile_ahead([launch for step in steps for launch in step.launches])
    say(f"compiled in {perf_counter() - began:.1f} s")


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


def forms() -> "dict[str, Options]":
    """Return the ways to launch that are compared."""
    from creditree.engines.static.kernels.launch import Options

    return {"triton": Options(), "pdl": Options(pdl=True), "pdl+prefetch": Options(pdl=True, prefetch=8)}


def steps(trial: Trial, device: str, speed: float, *, best: Best | None = None) -> dict[str, Any]:
    """Time a step in each form."""
    found: dict[str, Any] = {} if best else {"plain": step_time(trial, "plain", trial.plain(), device, speed)}
    made = {
        name: trial.triton(options, best) for name, options in forms().items() if device != "cpu" or name == "triton"
    }
    compile_all(list(made.values()))
    for name, step in made.items():
        try:
            found[name] = step_time(trial, name + (" best" if best else ""), step, device, speed)
        except Exception as error:
            found[name] = failed(f"step {name}", error)
    return found


CHOICES: dict[str, dict[bool, tuple[tuple[int, int, int, int, int], ...]]] = {
    "heads": {
        True: ((16, 128, 1, 4, 6), (16, 256, 1, 4, 4), (32, 128, 2, 4, 4), (32, 128, 4, 4, 4), (64, 128, 4, 4, 4)),
        False: ((16, 128, 1, 4, 4), (32, 128, 2, 4, 4), (32, 64, 2, 4, 6), (64, 128, 4, 4, 3), (64, 64, 4, 4, 5)),
    },
    "output": {
        True: ((16, 128, 1, 4, 6), (16, 128, 2, 4, 6), (32, 128, 3, 4, 4), (32, 128, 7, 4, 4), (64, 128, 6, 4, 4)),
        False: ((16, 128, 2, 4, 4), (32, 128, 3, 4, 4), (32, 128, 7, 4, 4), (64, 128, 6, 4, 3), (64, 64, 6, 4, 4)),
    },
    "gate_up": {
        True: ((16, 128, 1, 4, 6), (32, 128, 1, 4, 4), (32, 256, 1, 4, 3), (64, 128, 1, 4, 3), (64, 64, 1, 4, 5)),
        False: ((32, 64, 1, 4, 5), (32, 128, 1, 4, 3), (64, 64, 1, 4, 4), (64, 64, 1, 8, 4), (64, 128, 1, 8, 3)),
    },
    "down": {
        True: ((16, 256, 5, 4, 4), (32, 128, 5, 4, 5), (32, 256, 5, 4, 4), (32, 128, 7, 4, 5), (64, 128, 10, 4, 4)),
        False: ((32, 128, 5, 4, 4), (32, 128, 7, 4, 4), (64, 128, 5, 4, 3), (64, 128, 10, 4, 3), (64, 64, 7, 4, 5)),
    },
    "logits": {
        True: ((64, 128, 1, 4, 4), (128, 128, 1, 4, 3), (128, 64, 1, 4, 5), (128, 64, 1, 8, 5), (256, 64, 1, 8, 4)),
        False: ((64, 64, 1, 4, 5), (128, 64, 1, 4, 4), (128, 64, 1, 8, 4), (128, 128, 1, 8, 3), (256, 64, 1, 8, 3)),
    },
}
"""Tilings (outputs, inputs, splits, warps, stages) of each product, for at most 16 rows and for more."""


LOOKS = ((1, 64, 4, 2), (1, 128, 4, 2), (1, 64, 4, 3), (2, 64, 4, 2), (4, 64, 4, 2), (4, 32, 4, 2), (2, 64, 8, 2))
"""Ways to attend: parts of the keys, keys at once, warps, steps in flight."""


def choices(name: str, trial: Trial, step: "TritonStep") -> "list[Tiles]":
    """Return the tilings of a product to compare, those the inputs cannot be split into evenly changed."""
    from creditree.engines.static.kernels.tiles import Tiles

    inputs = _named(step, name)[0].arguments["INPUTS"]
    found: list[Tiles] = [step._scratch.tiles[name]]
    for numbers in CHOICES[name][trial.buffers.grid.rows <= 16]:
        tiles = Tiles(*numbers)
        while inputs % tiles.block_k and tiles.block_k > 16:
            tiles = replace(tiles, block_k=tiles.block_k // 2)
        count = -(-inputs // tiles.block_k)
        splits = min((one for one in range(1, count + 1) if count % one == 0), key=lambda one: abs(one - tiles.splits))
        found.append(replace(tiles, splits=splits))
    return list(dict.fromkeys(found))


def _named(step: "TritonStep", name: str) -> "list[Launch]":
    return [one for one in step.launches if one.name == name]


def _short(one: Any) -> str:
    if hasattr(one, "block_t"):
        return f"{one.block_t}/{one.splits}w{one.warps}s{one.stages}"
    return f"{one.block_n}x{one.block_k}/{one.splits}w{one.warps}s{one.stages}"


def launch_all(launches: "Sequence[Launch]") -> None:
    for launch in launches:
        launch()


def multiply_all(x: Tensor, weights: Sequence[Tensor]) -> None:
    for weight in weights:
        torch.nn.functional.linear(x, weight)


def compared(trial: Trial, name: str, made: "dict[Any, TritonStep]", device: str) -> dict[Any, float]:
    """Return the microseconds of a kernel in each of several steps, on the average of all layers."""
    from creditree.engines.static.kernels.launch import compile_ahead

    try:
        compile_ahead([one for step in made.values() for one in _named(step, name)])
    except Exception as error:
        failed(f"compiling {name}", error)
    times: dict[Any, float] = {}
    for tiles, step in made.items():
        launches = _named(step, name)
        try:
            times[tiles] = microseconds(partial(launch_all, launches), device) / len(launches)
        except Exception as error:
            failed(f"{name} {_short(tiles)}", error)
    return times


def tile_times(trial: Trial, device: str) -> tuple[dict[str, Any], Best]:
    """Time each kernel of all layers in each tiling, and torch's product; return the figures, and the best tilings."""
    from creditree.engines.static.kernels.tiles import Looks

    table: dict[str, Any] = {}
    best, first = Best({}, None), trial.triton()
    for name in CHOICES:
        made = {tiles: trial.triton(best=Best({name: tiles}, None)) for tiles in choices(name, trial, first)}
        times = compared(trial, name, made, device)
        if not times:
            continue
        best.tiles[name] = min(times, key=lambda one: times[one])
        weights = [one.arguments["weight"] for one in _named(first, name)]
        x = _named(first, name)[0].arguments["x"][: trial.buffers.grid.rows]
        theirs = microseconds(partial(multiply_all, x, weights), device) / len(weights)
        rate = weights[0].numel() * weights[0].element_size() / min(times.values()) / 1000
        line = ", ".join(f"{_short(one)} {took:.1f}{'*' * (one == best.tiles[name])}" for one, took in times.items())
        say(f"tiles {trial.name} {trial.rows} rows {name} us: {line}; torch {theirs:.1f}; best {rate:.0f} GB/s")
        table[name] = {_short(one): took for one, took in times.items()} | {"torch": theirs, "gb_per_s": rate}
    ways = {looks: trial.triton(best=Best({}, looks)) for looks in (Looks(*numbers) for numbers in LOOKS)}
    times = compared(trial, "attention", ways, device)
    best.looks = min(times, key=lambda one: times[one], default=None)
    line = ", ".join(f"{_short(one)} {took:.1f}{'*' * (one == best.looks)}" for one, took in times.items())
    others = {one: compared(trial, one, {next(iter(ways)): first}, device) for one in ("embed", "draw")}
    rest = ", ".join(f"{name} {took:.1f}" for name, found in others.items() for took in found.values())
    say(f"tiles {trial.name} {trial.rows} rows attention us: {line}; {rest}")
    table["attention"] = {_short(one): took for one, took in times.items()}
    return table, best


def profile(trial: Trial, device: str, best: Best | None) -> dict[str, Any]:
    """Print and return the kernels of a step: how many, and microseconds together."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    step = trial.triton(best=best)
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
        self.best: dict[tuple[str, int], Best] = {}
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

    def tiles(self, trial: Trial) -> dict[str, Any]:
        """Compare tilings, then time a step with the best."""
        table, best = tile_times(trial, self.device)
        self.best[trial.name, trial.rows] = best
        return table | {"step": steps(trial, self.device, self.speed, best=best)}

    def model(self, name: str) -> list[Trial]:
        """Do what comes first for a model; return its trials."""
        dtype = torch.float32 if self.device == "cpu" else torch.bfloat16
        transformer = Transformer(random_model(SHAPES[name], dtype, self.device))
        trials = [Trial.of(name, transformer, rows, self.device) for rows in self.options.rows]
        for trial in trials:
            self.part("check", name, trial.rows, partial(check, trial))
            self.part("step", name, trial.rows, partial(steps, trial, self.device, self.speed))
        return trials

    def rest(self, trial: Trial) -> None:
        """Profile a step, and time the fused form."""
        best = self.best.get((trial.name, trial.rows))
        self.part("profile", trial.name, trial.rows, lambda: profile(trial, self.device, best))
        fused = trial.plain(fused=True)
        self.part("fused", trial.name, trial.rows, lambda: step_time(trial, "fused", fused, self.device, self.speed))


@torch.no_grad()
def main() -> None:
    """Do the parts, the most wanted first."""
    parser = parser_of(__doc__)
    parser.add_argument("--model", nargs="+", choices=SHAPES, default=["1.5b", "0.5b"])
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 50])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=75, help="after which no part is begun")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    missing = find_spec("triton") is None or (options.device == "cpu" and os.environ.get("TRITON_INTERPRET") != "1")
    if missing:
        say("skipped: it needs triton, and on a CPU its interpreter (TRITON_INTERPRET=1)")
        return
    session = Session(options)
    trials = [trial for name in options.model for trial in session.model(name)]
    for trial in trials:
        session.part("tiles", trial.name, trial.rows, partial(session.tiles, trial))
    for trial in trials:
        session.rest(trial)


if __name__ == "__main__":
    main()
