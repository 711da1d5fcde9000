"""What the precision of the frozen base costs: bytes, seconds to load, and how far the predictions move.

Prints one JSON line. Distances are from the float32 base, at every token of its own greedy completions: KL divergence
in nats, share of tokens whose most likely token is the same, mean difference of the token's log-probability. Layer
seconds are of one forward pass of 8 rows, and of 512 tokens with the backward pass, without embedding and head.

    python benchmarks/precision.py [--problems 60] [--shape random:qwen2-0.5b]
"""

import argparse
import json
from pathlib import Path
from time import process_time
from typing import Any

import torch
from torch import Tensor

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.evaluate.prompt import prompt_ids
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.attention import CausalPlan
from creditree.models.footprint import held_bytes, weight_bytes
from creditree.models.load import Dtype, Model, load_model
from creditree.models.shapes import shape_of
from creditree.rng import Key
from creditree.runs.environment import describe_environment
from creditree.tasks.multiplication import Multiplication
from creditree.tasks.task import Task
from creditree.tasks.word_problems import WordProblems

RESULTS = Path(__file__).resolve().parent / "results"
DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16", "int8", "nf4")
TASKS: dict[str, Task] = {
    "builtin:multiplication": Multiplication(3, 1),
    "builtin:word_problems": WordProblems(),
}
ROWS, TOKENS, REPEATS = 8, 512, 3


def greedy(model: Model, task: Task, problems: int) -> list[tuple[int, Tensor]]:
    """Return prompt lengths and whole sequences of the model's greedy completions."""
    contexts = [prompt_ids(task.prompt, problem, model) for problem in task.held_out("test", problems)]
    requests = [SampleRequest(ids, (Key.of(0),), 64) for ids in contexts]
    found, _ = InProcessEngine(model).sample(requests, Sampling(0.0))
    return [
        (len(ids), torch.tensor([*ids.tolist(), *samples[0].token_ids.tolist()])[None])
        for ids, samples in zip(contexts, found, strict=True)
    ]


@torch.no_grad()
def distance(reference: Model, model: Model, sequences: list[tuple[int, Tensor]]) -> dict[str, float]:
    """Return how far the predictions of `model` are from the reference's."""
    kl, same, gap, count = 0.0, 0, 0.0, 0
    for prompt, ids in sequences:
        true, found = (
            one.transformer.model(ids, use_cache=False).logits[0, prompt - 1 : -1].float().log_softmax(-1)
            for one in (reference, model)
        )
        kl += float((true.exp() * (true - found)).sum())
        same += int((true.argmax(-1) == found.argmax(-1)).sum())
        gap += float((true - found).gather(1, ids[0, prompt:, None]).abs().sum())
        count += len(true)
    return {"kl": kl / count, "same_argmax": same / count, "logprob_gap": gap / count, "tokens": count}


def layer_seconds(model: Model) -> dict[str, float]:
    """Return CPU seconds of a decoding pass through all layers, and of a pass and its gradient; the least of three."""
    transformer = model.transformer
    adapter = Adapter(model, LoraSpec(rank=8), Key.of(0))

    def forward(rows: int, length: int) -> Tensor:
        ids = (torch.arange(rows * length) * 7919 % transformer.vocab_size).view(rows, length)
        hidden = transformer.embed(ids)
        rope = transformer.rope(hidden, torch.arange(length)[None])
        return transformer.layers(hidden, rope, CausalPlan())

    def timed(rows: int, length: int, *, learn: bool) -> float:
        times = []
        for _ in range(REPEATS + 1):
            started = process_time()
            with torch.set_grad_enabled(learn):
                out = forward(rows, length)
            if learn:
                torch.autograd.grad(out.float().square().sum(), adapter.matrices)
            times.append(process_time() - started)
        return min(times[1:])

    return {"decode": timed(ROWS, 1, learn=False), "learn": timed(1, TOKENS, learn=True)}


def measured(name: str, dtype: Dtype, reference: Model, sequences: list[tuple[int, Tensor]]) -> dict[str, Any]:
    """Return bytes and distances of one model in one precision."""
    model, shape = load_model(name, dtype), shape_of(name)
    return {
        "said_bytes": None if shape is None else weight_bytes(shape, dtype),
        "held_bytes": held_bytes(model.transformer.model),
    } | distance(reference, model, sequences)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=60)
    parser.add_argument("--shape", default="random:qwen2-0.5b")
    options = parser.parse_args()
    torch.set_num_threads(1)
    record: dict[str, Any] = {"benchmark": "precision", "shape": options.shape, "models": {}, "layers": {}}
    for name, task in TASKS.items():
        reference = load_model(name)
        sequences = greedy(reference, task, options.problems)
        record["models"][name] = {dtype: measured(name, dtype, reference, sequences) for dtype in DTYPES}
    for dtype in DTYPES:
        started = process_time()
        model = load_model(options.shape, dtype)
        record["layers"][dtype] = {
            "load_cpu_s": process_time() - started,
            "held_bytes": held_bytes(model.transformer.model),
            "cpu_s": layer_seconds(model),
        }
    line = json.dumps(record | {"environment": describe_environment()})
    print(line)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "precision.json").write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
