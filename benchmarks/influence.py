"""What forward context influence (FCI) costs: memory of the pass at 8,192 tokens, and seconds of both its sources.

Prints one JSON line, for a model of Qwen2-1.5B's width (12 heads) with a few layers and random float32 weights:

- `memory`, as torch's allocator counts live bytes: the peaks of the plain forward pass over one sequence and of the
  pass with influence, whose difference is the extra; of a layer's attention with influence alone, without its outputs
  (the peak of a whole layer may be in its MLP); and what one layer's T x T matrix would take;
- `pass_s`: CPU seconds of the plain forward pass, of the pass with influence, and of one that keeps the map of steps as
  well, as it does for a prompt's first completion, over the same tokens;
- `decoding_s`: CPU seconds of sampling a group without influence, with influence from decoding, and from the pass.

    python benchmarks/influence.py [--tokens 8192] [--layers 2] [--rounds 3] [--group 8] [--new-tokens 256]
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import process_time

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.allocator import allocator_peak
from benchmarks.measure import spread
from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.models.attention import CausalPlan
from creditree.models.influence import InfluencePlan, StepTable, influence
from creditree.models.load import Model
from creditree.models.random_weights import byte_tokenizer, random_model
from creditree.models.shapes import PUBLIC_SHAPES
from creditree.models.transformer import Transformer
from creditree.rng import Key
from creditree.runs.environment import describe_environment
from creditree.signals import InfluenceSource, InfluenceSpec, Signals
from creditree.steps import Separators, Step
from creditree.tree import IntArray, token_array

RESULTS = Path(__file__).resolve().parent / "results"
STEP_TOKENS = 64
VOCABULARY = 4096
"""Of the benchmark's model: the head is no part of what is measured."""


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--save", action="store_true", help="write the line to benchmarks/results/influence.json")
    return parser.parse_args()


def wide_model(layers: int) -> Model:
    """Return a model of Qwen2-1.5B's width."""
    shape = replace(PUBLIC_SHAPES["Qwen/Qwen2-1.5B"], num_layers=layers, vocab_size=VOCABULARY)
    network = random_model(shape, torch.float32)
    return Model("random:qwen2-1.5b-width", Transformer(network), byte_tokenizer(VOCABULARY))


def plain_forward(transformer: Transformer, ids: IntArray) -> None:
    """Run all layers over one sequence."""
    with torch.no_grad():
        hidden = transformer.embed(torch.from_numpy(ids)[None])
        transformer.layers(hidden, transformer.rope(hidden, torch.arange(len(ids))[None]), CausalPlan())


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of `work`."""
    before = process_time()
    work()
    return process_time() - before


def measure_pass(model: Model, tokens: int, rounds: int) -> dict[str, object]:
    """Return memory and seconds of the pass over one sequence of so many tokens."""
    transformer = model.transformer
    ids = Key.of(0).generator().integers(0, VOCABULARY, tokens)
    steps: list[Step] = [(start, min(tokens, start + STEP_TOKENS)) for start in range(0, tokens, STEP_TOKENS)]
    spec = InfluenceSpec()

    def plain() -> None:
        plain_forward(transformer, ids)

    def scored() -> None:
        influence(transformer, [ids], [steps], spec)

    def mapped() -> None:
        influence(transformer, [ids], [steps], spec, mapped=(0,))

    with allocator_peak() as base:
        plain()
    with allocator_peak() as whole:
        scored()
    query = torch.randn(1, transformer.num_heads, tokens, transformer.head_dim)
    key = torch.randn(1, transformer.num_kv_heads, tokens, transformer.head_dim)
    table = StepTable.of([steps], spec.delta, query.device, query.dtype)
    with allocator_peak() as attention:
        InfluencePlan(table, None, None).attend(0, query, key, key, transformer.scaling)
    times = [(seconds(plain), seconds(scored), seconds(mapped)) for _ in range(rounds)]
    return {
        "memory": {
            "plain_peak_mb": base.peak / 1e6,
            "pass_peak_mb": whole.peak / 1e6,
            "extra_peak_mb": (whole.peak - base.peak) / 1e6,
            "attention_alone_mb": (attention.peak - query.nbytes) / 1e6,
            "dense_matrix_mb": transformer.num_heads * tokens**2 * 4 / 1e6,
        },
        "pass_s": {
            "plain": statistics.median(one for one, _, _ in times),
            "with_influence": statistics.median(other for _, other, _ in times),
            "with_map": statistics.median(last for _, _, last in times),
            "ratio": spread([other / one for one, other, _ in times]),
            "ratio_of_map": spread([last / other for _, other, last in times]),
        },
    }


def measure_decoding(model: Model, group: int, new_tokens: int, rounds: int, *, native: bool) -> dict[str, object]:
    """Return the seconds of sampling one group: without influence, and with it from either source."""
    ends = frozenset(range(0, VOCABULARY, STEP_TOKENS // 2))
    prompt = token_array(Key.of(1).generator().integers(0, VOCABULARY, 64))
    keys = tuple(Key.of(2).at(index) for index in range(group))
    engine = InProcessEngine(model, native=native, static=False)

    def sample(source: InfluenceSource | None) -> None:
        spec = None if source is None else InfluenceSpec(Separators((ends,)), source=source)
        engine.forget()
        engine.sample([SampleRequest(prompt, keys, new_tokens, signals=Signals(influence=spec))], Sampling())

    sample(None)
    names: dict[str, InfluenceSource | None] = {"plain": None, "decoding": "decoding", "pass": "pass"}
    times = [{name: seconds(partial(sample, source)) for name, source in names.items()} for _ in range(rounds)]
    ratios = {name: spread([one[name] / one["plain"] for one in times]) for name in ("decoding", "pass")}
    return {**{name: statistics.median(one[name] for one in times) for name in names}, "ratio": ratios}


def main() -> None:
    """Measure and print."""
    options = parse()
    model = wide_model(options.layers)
    decoding = {
        kind: measure_decoding(model, options.group, options.new_tokens, options.rounds, native=kind == "native")
        for kind in ("native", "torch")
    }
    record = {
        "benchmark": "influence",
        **{name: getattr(options, name) for name in ("tokens", "layers", "rounds", "group", "new_tokens")},
        "heads": model.transformer.num_heads,
        "step_tokens": STEP_TOKENS,
        **measure_pass(model, options.tokens, options.rounds),
        "decoding_s": decoding,
        "threads": torch.get_num_threads(),
        "environment": describe_environment(),
    }
    line = json.dumps(record)
    print(line)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "influence.json").write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
