"""Training steps on the GPU by `step.py`, in a process each, with the peak of memory beside what `plan` predicts.

    PYTHONPATH=src:. python benchmarks/gpu_steps.py --method grpo --group 16 --problems 8 --dtype bfloat16 [--out DIR]

`peak_allocated_mb` is `torch.cuda.max_memory_allocated` over the timed steps; `planned_mb` what `creditree.plan`
expects in torch's allocator, `planned_at_most_mb` what it allows for. Where the records hold TRL's step too, its
seconds are shown beside ours.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_record import EAGER_STATUS, parser_of, read, record_file, write
from creditree.demand import Learns
from creditree.models.shapes import shape_of
from creditree.plan.fit import usual_micro_batch
from creditree.plan.prediction import predict
from creditree.plan.workload import Workload
from creditree.rng import Key

STEP = Path(__file__).resolve().with_name("step.py")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def write_prompts(path: Path, length: int, count: int = 16) -> None:
    """Write prompts of `length` letters, one token each for the tokenizer of a random model."""
    draws = [Key.of(0).at("prompts", line).generator().integers(len(LETTERS), size=length) for line in range(count)]
    path.write_text("".join("".join(LETTERS[i] for i in draw) + "\n" for draw in draws), encoding="utf-8")


def run_step(options: argparse.Namespace, prompts: Path) -> dict[str, Any]:
    """Run `step.py` and return its record."""
    named = {"model": options.model, "method": options.method, "group": options.group, "dtype": options.dtype}
    named |= {"max-new-tokens": options.max_new_tokens, "steps": options.steps, "warmup": options.warmup}
    named |= {"device": options.device, "prompts": prompts, "problems": options.problems}
    named |= {} if options.micro_batch_tokens is None else {"micro-batch-tokens": options.micro_batch_tokens}
    command = [sys.executable, str(STEP), *(f"--{name}={value}" for name, value in named.items()), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    record: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return record


def workload(options: argparse.Namespace) -> Workload:
    """Return what the plan knows of the step: the last third of the layers is adapted, as in `step.py`."""
    shape = shape_of(options.model)
    assert shape is not None
    learns: Learns = "branching" if options.method == "t-spmo" else "everything"
    return Workload(
        shape,
        options.dtype,
        tuple(range(shape.num_layers - max(1, shape.num_layers // 3), shape.num_layers)),
        options.prompt_tokens,
        options.max_new_tokens,
        options.group,
        problems=options.problems,
        learns=learns,
        native=False,
        static=options.device != "cpu",
        on_host=options.device == "cpu",
        micro_batch_tokens=options.micro_batch_tokens or usual_micro_batch(on_host=options.device == "cpu"),
    )


def planned(work: Workload) -> dict[str, float]:
    """Return what is predicted for torch's allocator, in MB."""
    return {
        name: max(phase.in_torch for phase in predict(work, expected=expected).phases) / 1e6
        for name, expected in (("planned_mb", True), ("planned_at_most_mb", False))
    }


def memory_words(record: dict[str, Any], plan: dict[str, float]) -> str:
    """Return one line on the peak: measured, planned, and the gap in percent."""
    peak = record["peak_allocated_mb"]
    if peak is None:
        return f"memory: planned {plan['planned_mb']:.0f} MB"
    gap = 100 * (plan["planned_mb"] / peak - 1)
    return f"memory: peak {peak:.0f} MB, planned {plan['planned_mb']:.0f} MB ({gap:+.1f} %)"


def beside(device: str, out: Path) -> dict[str, float]:
    """Print and return TRL's seconds a step over ours, for each of our methods that the records have on this work."""
    found = read(record_file(device, out))
    theirs = (found.get("trl") or {}).get("step")
    ratios: dict[str, float] = {}
    for name in ("grpo", "t-spmo"):
        if theirs and name in found:
            ratios[name] = theirs["wall_s"]["step"] / found[name]["step"]["wall_s"]["step"]
            print(f"{name} step: {ratios[name]:.1f} times as fast as TRL's GRPO step", file=sys.stderr, flush=True)
    return ratios


def options_of(description: str | None) -> argparse.Namespace:
    """Return the options, which TRL's side of the comparison takes too."""
    parser = parser_of(description)
    parser.add_argument("--name", help="of the record; default: step-METHOD-gGROUP-DTYPE")
    parser.add_argument("--model", default="random:qwen2-1.5b")
    parser.add_argument("--method", default="grpo")
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--problems", type=int, default=1)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--prompt-tokens", type=int, default=100)
    parser.add_argument("--max-new-tokens", type=int, default=300)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--micro-batch-tokens", type=int, help="default: what a run takes where memory does not matter")
    return parser.parse_args()


def main() -> None:
    """Measure one method in one precision and write what came out."""
    options = options_of(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.txt"
        write_prompts(prompts, options.prompt_tokens)
        record = run_step(options, prompts)
    name = options.name or f"step-{options.method}-g{options.group}-{options.dtype}"
    plan = planned(workload(options))
    write(name, {"benchmark": "gpu_step", "step": record, **plan}, options.device, options.out)
    print(f"{name}: {record['wall_s']['step']:.2f} s a step; {memory_words(record, plan)}", file=sys.stderr, flush=True)
    beside(options.device, options.out)
    sys.exit(EAGER_STATUS if record["eager"] else 0)


if __name__ == "__main__":
    main()
