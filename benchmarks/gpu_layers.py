"""Whole decoder layers in one Triton kernel on the GPU: right, how fast in each of a few ways, and where time goes.

    PYTHONPATH=src:. python benchmarks/gpu_layers.py [--seconds 70] [--only NAME ...] [--out DIR]

Kernels are compiled by processes of their own, side by side, while another one makes the model (the 1.5B shape, random
weights). That one then takes the trials in order, each of which compares a whole step with the plain one, first launched
phase by phase and then as it is meant to be, and times it in a graph; each prints its line and adds a record at once. A
trial that hangs or brings the process down costs itself only: another process goes on with the next. Rows stand at
column 128 of 256, after 100 tokens of context.
"""

import multiprocessing
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any, cast

os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # looking for a device must not keep processes from being forked
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.compile_kernels import META, empty, layer_of
from benchmarks.gpu_decode import bandwidths, read_bytes
from benchmarks.gpu_kernels import gap, microseconds
from benchmarks.gpu_record import parser_of, write
from benchmarks.gpu_trial import CONTEXT, LENGTH, SHAPES, Trial
from creditree.engines.engine import Sampling
from creditree.engines.static.buffers import Arena, Buffers
from creditree.engines.static.grid import Grid, row_bucket
from creditree.engines.static.kernels.launch import Launch, Options
from creditree.engines.static.kernels.scratch import Parts, Scratch
from creditree.engines.static.kernels.step import TritonStep
from creditree.engines.static.kernels.tiles import Looks, Tiles, row_block
from creditree.engines.static.kernels.whole import Whole
from creditree.engines.static.step import DecodeStep
from creditree.models.random_weights import random_model
from creditree.models.transformer import Transformer

MODEL = "1.5b"
COMPILERS = 12
COMPILE_SECONDS = 35
"""Seconds that are waited for the compilers; what is not compiled then is compiled when it is run."""
QUIET_SECONDS = 25
"""Seconds without a word after which a process is ended."""
PHASES = ("heads", "attention", "output", "gate_up", "down")
LINES = {"heads": 32, "output": 32, "gate_up": 8, "down": 16, "attention": 64}
FEW = {
    "heads": Tiles(16, 128, 1, 4, 5),
    "output": Tiles(16, 128, 1, 4, 5),
    "gate_up": Tiles(64, 64, 1, 4, 5),
    "down": Tiles(32, 128, 5, 4, 5),
}
DEEP = {
    "heads": Tiles(16, 128, 1, 4, 12),
    "output": Tiles(16, 128, 1, 4, 12),
    "gate_up": Tiles(64, 64, 1, 4, 7),
    "down": Tiles(32, 128, 5, 4, 9),
}
MANY = {
    "heads": Tiles(64, 64, 4, 4, 4),
    "output": Tiles(64, 64, 4, 4, 4),
    "gate_up": Tiles(64, 64, 1, 4, 4),
    "down": Tiles(64, 64, 10, 4, 4),
}


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a step: `each`: programs on each processor; `lines`: asked for ahead; None: five kernels."""

    rows: int
    each: int | None = 2
    warps: int = 4
    tiles: dict[str, Tiles] = field(default_factory=dict)
    looks: Looks = field(default_factory=lambda: Looks(1, 64, 4, 2))
    lines: dict[str, int] = field(default_factory=lambda: LINES)
    most: int = 1 << 16
    registers: int | None = None
    phases_first: bool = False
    timed: bool = False

    def whole(self, processors: int) -> Whole | None:
        """Return how layers are run; None for a kernel for each phase."""
        if self.each is None:
            return None
        return Whole(
            self.each * processors, self.warps, self.lines, self.most, registers=self.registers, timed=self.timed
        )

    def step(self, plain: DecodeStep, parts: Parts, whole: Whole | None) -> TritonStep:
        """Return the step."""
        block_m = row_block(plain.buffers.grid.rows)
        return TritonStep(plain, parts, Scratch.of(parts, block_m, self.tiles, self.looks), Options(), whole)


few, many = Way(8, tiles=FEW), Way(50, tiles=MANY)
NO_LINES: dict[str, int] = {}
SHORT = {"heads": 32, "output": 32, "attention": 64}
LONG = LINES | {"gate_up": 16, "down": 32}
WAYS: dict[str, Way] = {
    "few": replace(few, phases_first=True),
    "few-timed": replace(few, timed=True),
    "many": replace(many, phases_first=True),
    "few-no-lines": replace(few, lines=NO_LINES),
    "few-long": replace(few, lines=LONG),
    "few-short": replace(few, lines=SHORT),
    "many-timed": replace(many, timed=True),
    "few-gate128": replace(few, tiles=FEW | {"gate_up": Tiles(64, 128, 1, 4, 3)}),
    "few-deep": replace(few, tiles=DEEP),
    "many-no-lines": replace(many, lines=NO_LINES),
    "few-looks4": replace(few, looks=Looks(4, 64, 4, 2)),
    "few-one": replace(few, each=1, warps=8, tiles=FEW | {"gate_up": Tiles(64, 128, 1, 8, 4)}),
    "many-8-warps": replace(many, warps=8, registers=128),
    "few-three": replace(few, each=3, registers=168, tiles=FEW | {"gate_up": Tiles(32, 64, 1, 4, 5)}),
    "few-splits": replace(few, tiles=FEW | {"heads": Tiles(32, 128, 4, 4, 3), "output": Tiles(32, 128, 4, 4, 3)}),
    "few-looks128": replace(few, looks=Looks(1, 128, 4, 2)),
    "many-gate32": replace(many, tiles=MANY | {"gate_up": Tiles(32, 128, 1, 4, 3)}),
    "many-long": replace(many, lines=LONG),
    "many-one": replace(many, each=1, warps=8),
    "many-two": replace(many, tiles=MANY | {"heads": Tiles(32, 128, 2, 4, 3), "output": Tiles(32, 128, 2, 4, 3)}),
    "few-a-layer": replace(few, most=1),
    "few-kernels": Way(8, each=None),
    "many-kernels": Way(50, each=None),
}
TUNED = {"few-tuned": 8, "many-tuned": 50}
"""Rows of the five kernels with the tiles that measure fastest, which takes seconds to find out: last."""


def say(text: str) -> None:
    print(text, flush=True)


def plan_of(rows: int) -> tuple[DecodeStep, Parts]:
    """Return a plain step and a model without contents: kernels compile for it as for the real one."""
    shape = SHAPES[MODEL]
    layers = (layer_of(shape, adapted=False),) * shape.num_layers
    table = empty(shape.vocab_size, shape.hidden_size)
    parts = Parts(layers, table, empty(shape.hidden_size), 1e-6, table)
    model: Any = SimpleNamespace(
        device=META,
        dtype=torch.bfloat16,
        num_layers=shape.num_layers,
        num_kv_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        hidden_size=shape.hidden_size,
    )
    grid = Grid(1, row_bucket(rows, 1), CONTEXT, LENGTH)
    arena = Arena(model, keeps_trunk=True)
    arena.grow(grid)
    angles = empty(512, shape.head_dim)
    buffers = Buffers.of(grid, model, arena.views(grid), (angles, angles))
    return DecodeStep(cast(Any, model), buffers, Sampling(1.0), LENGTH, empty(1, dtype=torch.int64), 1), parts


def launches_of(way: Way) -> list[Launch]:
    """Return the different launches of a way, those phase by phase included."""
    plain, parts = plan_of(way.rows)
    whole = way.whole(1)
    steps = [way.step(plain, parts, whole)]
    if way.phases_first and whole is not None:
        steps.append(way.step(plain, parts, replace(whole, apart=True)))
    found = {f"{one.kernel.__name__} {one.settings} {different(one)}": one for step in steps for one in step.launches}
    return list(found.values())


def different(launch: Launch) -> str:
    """Return what makes a kernel another one: not the numbers of layers."""
    return str({name: value for name, value in launch.constants.items() if name not in ("first", "count")})


class NoDevice:
    """What Triton asks of a device when it compiles: here of none, which takes no time to begin with."""

    def get_current_target(self) -> GPUTarget:
        """Return what is compiled for."""
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        """Return its number."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """Return the stream that nothing is launched on."""
        return device


def compile_part(names: Sequence[str], part: int) -> None:
    """Compile every COMPILERS-th kernel into Triton's cache; errors show again where the kernel is run."""
    torch.set_num_threads(1)
    driver.set_active(cast(Any, NoDevice()))
    for place, launch in enumerate(one for name in names for one in launches_of(WAYS[name])):
        if place % COMPILERS == part:
            try:
                launch.compile()
            except Exception as error:
                say(f"  compile {launch.kernel.__name__}: {type(error).__name__}: {str(error)[:200]}")


def processes() -> Any:
    """Return how processes are started: forked, which saves their imports, unless this one has met the device."""
    files = (os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd"))
    met = any(name.startswith("/dev/nvidia") for name in files)
    return multiprocessing.get_context("spawn" if met else "fork")


def compile_all(names: Sequence[str]) -> list[Any]:
    """Start processes that compile the kernels."""
    context = processes()
    found = [context.Process(target=compile_part, args=(names, part)) for part in range(COMPILERS)]
    for one in found:
        one.start()
    return found


def gaps(trial: Trial, step: Any, theirs: dict[str, Any]) -> str:
    """Run a step twice; return how far it is from the plain one, and whether it repeats itself."""
    ours, again = trial.rehearsed(step), trial.rehearsed(step)
    found = " ".join(f"{name} {gap(ours[name], theirs[name]):.1e}" for name in theirs if name != "token")
    repeats = all(torch.equal(ours[name], again[name]) for name in ours)
    return f"{found} repeats {repeats} late {int(step._scratch.arrivals[-1, 0])}"


def where_time_goes(step: TritonStep, programs: int, layers_us: float) -> str:
    """Return, for each phase, microseconds in layers but the first: of waiting, working and arriving."""
    layers = len(step._parts.layers)
    clock = step._scratch.times[: layers * programs * 20].view(layers, programs, 5, 4)[1:].double()
    scale = layers_us / layers / float((clock[1:, 0, 0, 1] - clock[:-1, 0, 0, 1]).mean())
    texts = []
    for phase, name in enumerate(PHASES):
        of = clock[:, clock[0, :, phase, 3] > 0, phase].diff(dim=-1) * scale
        if not of.numel():
            continue
        wait, work, arrive = (of[..., place] for place in range(3))
        texts.append(
            f"{name} ({of.shape[1]}): wait {wait.mean():.2f} (least {wait.amin(1).mean():.2f}) work {work.mean():.2f} "
            f"(least {work.amin(1).mean():.2f}, most {work.amax(1).mean():.2f}) arrive {arrive.mean():.2f}"
        )
    return f"layer {layers_us / layers:.2f}; " + "; ".join(texts)


class Bench:
    """The model, the trials of so many rows, and what the plain step computes."""

    def __init__(self, device: str, out: Path) -> None:
        began = perf_counter()
        self.device, self.out = device, out
        self.name, dtype = (MODEL, torch.bfloat16) if device != "cpu" else ("tiny", torch.float32)
        self.transformer = Transformer(random_model(SHAPES[self.name], dtype, device))
        self.parts = Parts.of(self.transformer)
        self.trials: dict[int, tuple[Trial, dict[str, Any]]] = {}
        self.processors, self.cooperative = 2, True
        self.speed = bandwidths(device)["copy"]
        if device != "cpu":
            self.processors = torch.cuda.get_device_properties(0).multi_processor_count
            say(f"{torch.cuda.get_device_name()}, {self.processors} processors, copies {self.speed / 1e9:.0f} GB/s")
        say(f"model in {perf_counter() - began:.1f} s")

    def trial(self, rows: int) -> tuple[Trial, dict[str, Any]]:
        """Return the buffers of some rows, and what the plain step makes of them."""
        if rows not in self.trials:
            made = Trial.of(self.name, self.transformer, rows, self.device)
            self.trials[rows] = made, made.rehearsed(made.plain())
        return self.trials[rows]

    def run(self, name: str) -> None:
        """Do a trial; print and write down what comes of it."""
        began = perf_counter()
        found: dict[str, Any] = {}
        try:
            if name in TUNED:
                trial, _ = self.trial(TUNED[name])
                found["tiles"] = trial.tuned()
                self.time(trial, trial.form("triton"), None, found)
            else:
                self.way(name, WAYS[name], found)
        except Exception as error:
            found["failed"] = f"{type(error).__name__}: {error}"
            say(f"{name} FAILED:\n{traceback.format_exc()[-3000:]}")
        say(f"{name}: {found} ({perf_counter() - began:.1f} s)")
        record = {"benchmark": "gpu_layers", "model": self.name, "way": name, "bytes_per_s": self.speed, **found}
        write(f"layers-{name}", record, self.device, self.out, quiet=True)

    def way(self, name: str, way: Way, found: dict[str, Any]) -> None:
        """Compare a step in one way with the plain one, and time it."""
        trial, theirs = self.trial(way.rows)
        whole = way.whole(self.processors)
        if whole is not None and way.phases_first:
            apart = way.step(trial.plain(), self.parts, replace(whole, apart=True))
            found["phase by phase"] = gaps(trial, apart, theirs)
            say(f"{name} phase by phase: {found['phase by phase']}")
        if whole is not None:
            whole = replace(whole, apart=self.device == "cpu", cooperative=self.cooperative)
        step = way.step(trial.plain(), self.parts, whole)
        found["together"] = gaps(trial, step, theirs)
        say(f"{name} together: {found['together']}")
        try:
            self.time(trial, step, whole, found)
        except RuntimeError as error:
            if whole is None or not self.cooperative:
                raise
            say(f"{name} cannot be captured as a cooperative launch ({error}): trying without")
            self.cooperative, whole = False, replace(whole, cooperative=False)
            self.time(trial, way.step(trial.plain(), self.parts, whole), whole, found)

    def time(self, trial: Trial, step: TritonStep, whole: Whole | None, found: dict[str, Any]) -> None:
        """Time a step, and what comes before the logits, in graphs."""
        limit = 1e6 * read_bytes(self.transformer.model) / self.speed
        found["us"] = microseconds(step, self.device, trial.buffers.state)
        found["of_roofline"] = limit / found["us"]
        before = [one for one in step.launches if one.name not in ("logits", "draw")]
        found["layers_us"] = microseconds(lambda: [one() for one in before], self.device)
        if whole is not None and whole.timed and self.device != "cpu":
            found["time"] = where_time_goes(step, whole.programs, found["layers_us"])


@torch.no_grad()
def measure(names: Sequence[str], device: str, out: Path, pipe: Connection) -> None:
    """Do trials one after the other, once told that all is compiled, and say before each which it is."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    bench = Bench(device, out)
    for rows in (8, 50):
        bench.trial(rows)
    say("the plain step ran")
    pipe.recv()
    for name in names:
        pipe.send(name)
        bench.run(name)
    pipe.send(None)


class Watch:
    """What is left of the time, and the processes that measure."""

    def __init__(self, seconds: float, device: str, out: Path) -> None:
        self.ends = perf_counter() + seconds
        self.device, self.out = device, out

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.ends - perf_counter()

    def attempt(self, names: Sequence[str], compilers: Sequence[Any]) -> list[str]:
        """Let a process do trials; return those that are left when it is done, or was lost, or has hung."""
        context = processes()
        ours, theirs = context.Pipe()
        process = context.Process(target=measure, args=(names, self.device, self.out, theirs))
        process.start()
        theirs.close()
        for one in compilers:
            one.join(max(0.0, min(self.left - 20, COMPILE_SECONDS)))
        say(f"compiled, {self.left:.0f} s left; still compiling: {sum(one.is_alive() for one in compilers)}")
        current: str | None = None
        try:
            ours.send("go")
            while ours.poll(max(0.0, min(self.left, QUIET_SECONDS))):
                current = ours.recv()
                if current is None:
                    return []
            say(f"{current} HUNG" if self.left > 0 else f"time is over at {current}")
        except (EOFError, OSError):
            say(f"{current} ENDED THE PROCESS")
        finally:
            if process.is_alive():
                process.kill()
            process.join(5)
        return list(names[names.index(current) + 1 :]) if current in names else []


def main() -> None:
    """Compile, and do the trials, whatever happens to a few of them."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", default=[*WAYS, *TUNED], choices=[*WAYS, *TUNED])
    parser.add_argument("--seconds", type=float, default=70, help="after which the run is ended")
    options = parser.parse_args()
    watch = Watch(options.seconds, options.device, options.out)
    names: list[str] = list(options.only)
    compilers = compile_all([name for name in names if name in WAYS]) if options.device != "cpu" else []
    while names and watch.left > 0:
        names = watch.attempt(names, compilers)
    for one in compilers:
        if one.is_alive():
            one.kill()


if __name__ == "__main__":
    main()
