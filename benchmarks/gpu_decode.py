"""Tokens a second that are sampled on the GPU, against what reading the weights alone would allow.

    PYTHONPATH=src:. python benchmarks/gpu_decode.py --system creditree [--rows 8 50 400] [--out DIR]

The roofline: a step reads every weight once (an embedding that is not the output head too is not read), so n rows get
at most n * bandwidth / bytes of weights tokens a second; the bandwidth is the larger of those of a copy (reads and
writes counted) and of a sum (reads alone), measured on the same device just before. Systems: `creditree` (the engine: a
graph a step, with the kernels that measure fastest), `plain` and `triton` (with these kernels), `shared` (a
model made surer of its tokens, at T = 0.3: rows apart, then shared, then whichever was faster), `generate` and
`continuous` (transformers' `generate` and `generate_batch`). Every figure is of a whole call (prompt, sampling, and for
the engine the store too), after one that warms up; prompts are of 100 random tokens, one for every 50 completions; no
completion ends early. Nothing has an adapter. The record is written after each number of rows.
"""

import argparse
import statistics
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_record import EAGER_STATUS, Stopwatch, parser_of, write
from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.static.decoder import StaticDecoder
from creditree.engines.static.record import Kernels, Recorder
from creditree.models.load import Dtype, load_model
from creditree.models.random_weights import random_model
from creditree.models.shapes import PUBLIC_SHAPES, RANDOM, public_name
from creditree.rng import Key
from creditree.tree import IntArray

GROUP = 50
Sampled = tuple[int, dict[str, Any]]
Work = Callable[[int, int], Sampled]
"""Samples for a round and a number of rows; returns how many tokens, and what else is worth writing down."""


def prompts(rows: int, length: int, turn: int) -> list[IntArray]:
    """Return one prompt for every 50 rows."""
    generator = Key.of(0).at("prompts", turn).generator()
    return [generator.integers(3, 200, size=length) for _ in range(-(-rows // GROUP))]


def ours(options: argparse.Namespace, kernels: Kernels | None) -> tuple[Work, torch.nn.Module]:
    """Return what samples with the engine, and its model."""
    model = load_model(options.model, options.dtype, options.device)
    static = True if options.device == "cpu" else None
    engine = InProcessEngine(model, max(options.rows), native=False, static=static)
    sharp = options.system == "shared"
    if sharp:
        with torch.no_grad():
            model.transformer.ends[1].weight.mul_(options.sharpness)
        model.transformer.link()
    decoder = engine._decoder()
    assert isinstance(decoder, StaticDecoder), "this model is not decoded in static shapes"
    decoder.recorder = Recorder(model.transformer.device, kernels)

    def sample(turn: int, rows: int) -> Sampled:
        asked, left = [], rows
        recorder = decoder.recorder
        for place, prompt in enumerate(prompts(rows, options.prompt_tokens, turn)):
            keys = tuple(Key.of(turn).at(place, member) for member in range(min(left, GROUP)))
            asked.append(SampleRequest(prompt, keys, options.tokens))
            left -= GROUP
        engine.forget()
        sampling = Sampling(0.3 if sharp else 1.0)
        found, cost = engine.sample(asked, sampling)
        sampled = sum(len(one.token_ids) for samples in found for one in samples)
        return sampled, {
            "graphs": recorder.captured,
            "eager": recorder.eager,
            "failure": recorder.failure,
            "kernels": recorder.kernels,
            "kernel_paces_ms": {name: 1000 * pace for name, pace in recorder.paces.items()},
            "refused": recorder.refused,
            "decoded_share": cost.decoded / sampled,
            "paces": [asdict(pace) for (one, _), pace in decoder.paces.items() if one == sampling],
        }

    return sample, model.transformer.model


def theirs(options: argparse.Namespace, *, continuous: bool) -> tuple[Work, torch.nn.Module]:
    """Return what samples with transformers, and its model."""
    dtype = getattr(torch, options.dtype)
    if options.model.startswith(RANDOM):
        model: Any = random_model(PUBLIC_SHAPES[public_name(options.model)], dtype, options.device)
    else:
        model = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype).to(options.device).eval()
    settings = GenerationConfig(
        max_new_tokens=options.tokens,
        min_new_tokens=None if continuous else options.tokens,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        eos_token_id=-1 if continuous else None,
        pad_token_id=0,
    )

    # its default takes what memory there is, which on a CPU takes minutes to fill
    paged = ContinuousBatchingConfig(num_blocks=64, max_batch_tokens=128) if options.device == "cpu" else None

    @torch.no_grad()
    def sample(turn: int, rows: int) -> Sampled:
        asked = np.repeat(np.array(prompts(rows, options.prompt_tokens, turn)), GROUP, axis=0)[:rows]
        if continuous:
            found = model.generate_batch(asked.tolist(), settings, continuous_batching_config=paged)
            return sum(len(one.generated_tokens) for one in found.values()), {}
        ids = torch.from_numpy(asked).to(options.device)
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        return int(out[:, ids.shape[1] :].numel()), {}

    return sample, model


SYSTEMS: dict[str, Callable[[argparse.Namespace], tuple[Work, torch.nn.Module]]] = {
    "creditree": lambda options: ours(options, None),
    "plain": lambda options: ours(options, "plain"),
    "triton": lambda options: ours(options, "triton"),
    "shared": lambda options: ours(options, None),
    "generate": lambda options: theirs(options, continuous=False),
    "continuous": lambda options: theirs(options, continuous=True),
}


def bandwidths(device: str) -> dict[str, float]:
    """Return the bytes a second that a copy reads and writes, and that a sum reads: the best of some of each."""
    size = (1 << 30) if device != "cpu" else (1 << 26)
    source, target = (torch.zeros(size // 4, dtype=torch.float32, device=device) for _ in range(2))

    def best(work: Callable[[], object], moved: int) -> float:
        seconds = float("inf")
        for _ in range(8):
            watch = Stopwatch(device)
            for _ in range(4):
                work()
            seconds = min(seconds, watch.seconds() / 4)
        return moved / seconds

    return {"copy": best(lambda: target.copy_(source), 2 * size), "read": best(source.sum, size)}


def read_bytes(model: Any) -> int:
    """Return the bytes of the weights that a decode step reads."""
    embed, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    total = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return int(total if embed is head else total - embed.numel() * embed.element_size())


def measure(options: argparse.Namespace, settings: dict[str, Any]) -> bool:
    """Write tokens a second for each number of rows once it is known; return whether graphs launched all steps."""
    measured = bandwidths(options.device)
    fastest = max(measured.values())
    sample, model = SYSTEMS[options.system](options)
    weights = read_bytes(model)
    table = []
    for rows in options.rows:
        watch = Stopwatch(options.device)
        sample(0, rows)
        first = watch.seconds()
        rates: list[float] = []
        extra: dict[str, Any] = {}
        for turn in range(1, options.rounds + 1):
            watch = Stopwatch(options.device)
            sampled, extra = sample(turn, rows)
            rates.append(sampled / watch.seconds())
            assert sampled == rows * options.tokens, f"{sampled} tokens instead of {rows * options.tokens}"
        rate, roofline = statistics.median(rates), rows * fastest / weights
        table.append(
            {"rows": rows, "tokens_per_s": rate, "all": rates, "roofline": roofline, "of_roofline": rate / roofline}
            | {"first_call_s": first, "step_ms": 1000 * rows / rate, **extra}
        )
        print(
            f"{options.system} {rows} rows: {rate:.0f} tokens/s, {rate / roofline:.0%} of the roofline",
            file=sys.stderr,
            flush=True,
        )
        peak = None if options.device == "cpu" else torch.cuda.max_memory_allocated() / 1e6
        speeds = {name: speed / 1e9 for name, speed in measured.items()}
        found = {"weights_mb": weights / 1e6, "bandwidth_gb_per_s": speeds, "rows": table, "peak_allocated_mb": peak}
        write(options.name or f"decode-{options.system}", settings | found, options.device, options.out)
    return not any(row.get("eager") for row in table)


def main() -> None:
    """Measure one system and write what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("--system", choices=SYSTEMS, default="creditree")
    parser.add_argument("--model", default="random:qwen2-1.5b")
    parser.add_argument("--dtype", choices=get_args(Dtype), default="bfloat16")
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 50, 400])
    parser.add_argument("--prompt-tokens", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sharpness", type=float, default=8.0, help="of system shared: what multiplies the final norm")
    parser.add_argument("--name", help="of the record; default: decode-SYSTEM")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "name", "rows")}
    settings |= {"benchmark": "gpu_decode", "model": Path(options.model).name}
    sys.exit(0 if measure(options, settings) else EAGER_STATUS)


if __name__ == "__main__":
    main()
