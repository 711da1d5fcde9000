"""Training steps on the GPU by `step.py`, in a process each, with the peak of memory beside what `plan` predicts.

    PYTHONPATH=src:. python benchmarks/gpu_steps.py --method grpo --group 8 --dtype bfloat16 [--out DIR]

`peak_allocated_mb` is `torch.cuda.max_memory_allocated` over the timed steps; `planned_mb` is `creditree.plan`'s peak
with torch's decoding, `static_mb` what static decoding holds besides (see `StaticDecoder`), which no plan counts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_record import RESULTS, write
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
    named |= {"device": options.device, "prompts": prompts}
    command = [sys.executable, str(STEP), *(f"--{name}={value}" for name, value in named.items()), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    record: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return record


def planned(options: argparse.Namespace) -> dict[str, Any]:
    """Return what is predicted, in MB, or why nothing is: the plan is another part of the package, and may change."""
    try:
        from creditree.engines.static.grid import Grid, length_bucket, row_bucket
        from creditree.models.shapes import shape_of
        from creditree.plan.prediction import predict
        from creditree.plan.workload import NUM_BYTES, Workload

        shape = shape_of(options.model)
        assert shape is not None
        layers = tuple(range(shape.num_layers - max(1, shape.num_layers // 3), shape.num_layers))  # step.py's
        work = Workload(
            shape,
            options.dtype,
            layers,
            options.prompt_tokens,
            options.max_new_tokens,
            options.group,
            learns={"t-spmo": "branching"}.get(options.method, "everything"),  # type: ignore[arg-type]
            native=False,
        )
        rows = row_bucket(options.group, 1)
        grid = Grid(1, rows, length_bucket(options.prompt_tokens), length_bucket(options.max_new_tokens))
        item, size = NUM_BYTES[options.dtype], 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim
        static = (grid.rows * grid.length + grid.copies * grid.context) * size * item
        static += grid.rows * grid.length * shape.hidden_size * item
        return {"planned_mb": predict(work).total / 1e6, "static_mb": static / 1e6}
    except Exception as error:
        return {"planned_mb": None, "why_not_planned": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Measure one method in one precision and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random:qwen2-1.5b")
    parser.add_argument("--method", default="grpo")
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--prompt-tokens", type=int, default=100)
    parser.add_argument("--max-new-tokens", type=int, default=300)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.txt"
        write_prompts(prompts, options.prompt_tokens)
        record = run_step(options, prompts)
    name = f"step-{options.method}-g{options.group}-{options.dtype}"
    write(name, {"benchmark": "gpu_step", "step": record, **planned(options)}, options.device, options.out)


if __name__ == "__main__":
    main()
