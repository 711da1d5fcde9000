"""Whether what runs on the GPU computes what the plain code does: sampled tokens, losses, gradients.

    PYTHONPATH=src:. python benchmarks/gpu_exactness.py [--device cuda] [--out DIR] [--only TEXT ...]

- tokens: static decoding (on CUDA by graphs) against the plain torch decoder on the same device, equal uniforms, with
  an adapter that is updated in place in between, and forks of what was sampled; float64, float32 and bfloat16.
- learner: loss and gradients of GRPO and T-SPMO on the device against whole forward passes, one completion at a time,
  on the CPU; float64 and float32. `waits`: how often the host waited for the device in it.
- flex: its outputs and gradients against the blocks of `tree_attention`, float32, on a tree of 4,400 tokens.

Tiny models of three families in float32, of one in the others. The record is written anew after each check, so that a
run that is cut off keeps those that were finished and goes on with the others; exits with 1 where a check fails, with 8
where no graph launched a step.
"""

import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_record import EAGER_STATUS, parser_of, read, record_file, write
from creditree.batch import pack
from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.static.decoder import DecodingPace, StaticDecoder
from creditree.engines.static.grid import row_bucket
from creditree.engines.static.record import Kernels, Recorder
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.methods import METHODS
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.flex import FlexBlocks, flex_works
from creditree.models.load import Model
from creditree.models.transformer import Transformer
from creditree.models.tree_attention import TreeTokens, blocks_of
from creditree.rng import Key
from creditree.tree import token_array
from tests.naive import naive_loss
from tests.rollouts import credited, largest_gap, sampled_forests
from tests.tiny_models import FAMILIES, char_tokenizer, random_model

SAMPLINGS = (Sampling(1.0), Sampling(0.3, entropies=True), Sampling(0.0), Sampling(0.8, 0.7))
TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-4}
BUDGET = 80  # more than one length of the caches
Found = list[list[Sample]]


class ExactAngles(torch.nn.Module):
    """Rotary angles in float64. transformers takes cosines in float32, whose last digit differs between devices."""

    def __init__(self, plain: Any) -> None:
        super().__init__()
        self.inv_freq = torch.nn.Buffer(plain.inv_freq.double())

    def forward(self, like: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines [1, n, D] in the type of `like`."""
        angle = position_ids[..., None].double() * self.inv_freq
        both = torch.cat([angle, angle], dim=-1)
        return both.cos().to(like.dtype), both.sin().to(like.dtype)


def tiny_on(device: str, family: str, dtype: torch.dtype) -> Model:
    """Return a tiny model on a device, the same on each."""
    network: Any = random_model(family, dtype)
    if dtype == torch.float64:
        network.model.rotary_emb = ExactAngles(network.model.rotary_emb)
    torch.nn.Module.to(network, device)
    return Model(f"random:{family}", Transformer(network), char_tokenizer())


def adapted(model: Model) -> Adapter:
    """Attach an adapter whose matrices are all away from zero, the same on each device."""
    adapter = Adapter(model, LoraSpec(rank=3, layers=0.5), Key.of(0))
    shift(adapter, 2)
    return adapter


@torch.no_grad()
def shift(adapter: Adapter, seed: int) -> None:
    """Change the adapter in place, as an optimiser does."""
    generator = torch.Generator().manual_seed(seed)
    for matrix in adapter.matrices:
        noise = 0.2 * torch.randn(matrix.shape, generator=generator, dtype=torch.float64)
        matrix.copy_(noise.to(matrix.dtype))


def requests(scale: int) -> list[SampleRequest]:
    """Return requests with prompts, groups and budgets that differ."""
    return [
        SampleRequest(
            token_array([5 + p, 9, 12, 7, 30][: 2 + p]),
            tuple(Key.of(0).at(p, i) for i in range(scale - p)),
            BUDGET - 7 * p,
        )
        for p in range(3)
    ]


def forks(asked: list[SampleRequest], found: Found) -> list[SampleRequest]:
    """Return requests that go on from the middle of what was sampled."""
    made = []
    for request, samples in zip(asked, found, strict=True):
        longest = max(samples, key=lambda sample: len(sample.token_ids))
        cut = len(longest.token_ids) // 2
        context = np.concatenate([request.context_ids, longest.token_ids[:cut]])
        made.append(SampleRequest(context, tuple(Key.of(9).at(i) for i in range(3)), request.max_new_tokens - cut))
    return made


def gap(ours: Found, plain: Found) -> tuple[int, float]:
    """Return how many completions differ, and the largest difference of a log-probability in those that do not."""
    pairs = [pair for groups in zip(ours, plain, strict=True) for pair in zip(*groups, strict=True)]
    same = [(a, b) for a, b in pairs if a.token_ids.tolist() == b.token_ids.tolist()]
    gaps = [np.abs(a.logprobs - b.logprobs).max() for a, b in same]
    gaps += [np.abs(a.sampler_logprobs - b.sampler_logprobs).max() for a, b in same]
    return len(pairs) - len(same), float(max(gaps, default=np.inf))


def tokens_check(
    device: str, family: str, dtype: torch.dtype, scale: int, kernels: Kernels | None = None, *, shared: bool = False
) -> dict[str, Any]:
    """Compare static decoding with the plain torch decoder; in bfloat16 only the first log-probabilities.

    `kernels`: which ones, else those of the size;  `shared`: with a row for each different prefix.
    """
    model = tiny_on(device, family, dtype)
    adapter = adapted(model)
    static = InProcessEngine(model, native=False, static=True, keep_layer=adapter.first_layer)
    plain = InProcessEngine(model, native=False, static=False, keep_layer=adapter.first_layer)
    decoder = static._decoder()
    assert isinstance(decoder, StaticDecoder)
    decoder.recorder = Recorder(model.transformer.device, kernels)
    differ, largest, first = 0, 0.0, 0.0
    for turn, sampling in enumerate(SAMPLINGS if device != "cpu" else SAMPLINGS[1:2]):
        shift(adapter, turn)
        for engine in (static, plain):
            engine.forget()
        asked = requests(scale)
        if shared:
            decoder.paces.clear()
            for size in {row_bucket(count, 1) for count in range(1, 3 * scale + 1)}:
                decoder.paces[sampling, size] = DecodingPace(different=0.0, apart=float("inf"))
        found, expected = (engine.sample(asked, sampling)[0] for engine in (static, plain))
        first = max(
            first, *(abs(float(f[0].logprobs[0] - e[0].logprobs[0])) for f, e in zip(found, expected, strict=True))
        )
        rounds = [(found, expected)]
        asked = forks(asked, expected)
        rounds.append((static.sample(asked, sampling)[0], plain.sample(asked, sampling)[0]))
        for ours, theirs in rounds:
            found_differ, found_gap = gap(ours, theirs)
            differ, largest = differ + found_differ, max(largest, found_gap)
    recorder = decoder.recorder
    exact = first < 0.1 if dtype == torch.bfloat16 else differ == 0 and largest < TOLERANCES[dtype]
    captured = recorder.captured > 0 and recorder.failure is None
    return {
        "ok": exact and (device == "cpu" or captured),
        "eager": recorder.eager,
        "kernels": recorder.kernels,
        "refused": recorder.refused,
        "completions_that_differ": differ,
        "largest_gap": largest,
        "first_gap": first,
        "graphs": recorder.captured,
        "capture_failure": recorder.failure,
    }


def learner_check(device: str, family: str, name: str, dtype: torch.dtype) -> dict[str, Any]:
    """Compare loss and gradients on the device with whole forward passes on the CPU."""
    method, plain = METHODS[name](), adapted(tiny_on("cpu", family, dtype))
    forests = sampled_forests(plain.model, method.explore, temperature=1.0)
    advantages, weights = credited(method, forests)
    expected_loss = naive_loss(plain, method.objective, forests, advantages, weights)
    expected_loss.backward()
    expected = [matrix.grad.double().numpy() for matrix in plain.matrices if matrix.grad is not None]
    ours = adapted(tiny_on(device, family, dtype))
    learner = Learner(ours, method.objective, OptimiserSpec())
    batch = pack(forests, advantages, weights, keep_zero_advantage=learner.keep_zero_advantage)
    with waiting(device) as waits:
        loss = learner.gradient(batch, Key.of(1))
    found = [matrix.grad.double().cpu().numpy() for matrix in ours.matrices if matrix.grad is not None]
    gaps = abs(loss - expected_loss.item()) / max(1.0, abs(expected_loss.item())), largest_gap(found, expected)
    gaps_found = {"loss_gap": gaps[0], "gradient_gap": gaps[1], "terms": batch.num_terms, "waits": len(waits)}
    return {"ok": max(gaps) < TOLERANCES[dtype], **gaps_found}


@contextmanager
def waiting(device: str) -> Iterator[list[Any]]:
    """Collect the places where the host waits for the device in the block."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if device != "cpu":
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield caught
        finally:
            if device != "cpu":
                torch.cuda.set_sync_debug_mode("default")


def flex_check(device: str) -> dict[str, Any]:
    """Compare FlexAttention with the blocks that do the same; where it cannot be had, say so."""
    chains, length, prompt = 14, 300, 200
    size = prompt + chains * length
    firsts = prompt + length * (1 + np.arange(chains))
    tree = TreeTokens(np.arange(size), np.concatenate([np.full(prompt, size), np.repeat(firsts, length)]))
    if not flex_works(torch.device(device), torch.float32, 64):
        return {"ok": device == "cpu", "works": False}
    inputs = [torch.randn(1, heads, size, 64, device=device, requires_grad=True) for heads in (8, 2, 2)]
    query, key, value = inputs
    flex = FlexBlocks(tree.enter, tree.enter, tree.exit, query.device).attend(query, key, value, 0.125)
    plain = blocks_of(tree, tree, 4, query).attend(query, key, value, 0.125)
    seed = torch.randn_like(plain)
    pairs = [(flex, plain), *zip(*(torch.autograd.grad(out, inputs, seed) for out in (flex, plain)), strict=True)]
    gaps = [float((ours - theirs).abs().max() / theirs.abs().max()) for ours, theirs in pairs]
    return {"ok": max(gaps) < 1e-2, "works": True, "largest_gaps": gaps}


def checks(device: str) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yield every check with its name, the most wanted first; on a CPU a few of them."""
    whole = device != "cpu"
    scale = 24 if whole else 3
    families = FAMILIES if whole else FAMILIES[1:2]
    for number, dtype in enumerate((torch.float32, torch.bfloat16, torch.float64) if whole else (torch.float64,)):
        kind = str(dtype).removeprefix("torch.")
        for family in families if number == 0 else families[:1]:  # the machine is there for minutes
            yield f"tokens {family} {kind}", partial(tokens_check, device, family, dtype, scale)
            if dtype == torch.bfloat16:
                continue
            for name in ("grpo", "t-spmo"):
                yield f"learner {name} {family} {kind}", partial(learner_check, device, family, name, dtype)
        if number == 0:
            yield "tokens shared", partial(tokens_check, device, families[0], dtype, scale, shared=True)
            if whole:
                # of the families here, the one whose heads are large enough for Triton's kernels
                yield "tokens triton", partial(tokens_check, device, "qwen3", dtype, scale, "triton")
                yield (
                    "tokens triton shared",
                    partial(tokens_check, device, "qwen3", dtype, scale, "triton", shared=True),
                )
            yield "flex", partial(flex_check, device)
    for form in ("triton-pdl", "triton-early") if whole else ():
        yield f"tokens {form}", partial(tokens_check, device, "qwen3", torch.float32, scale, form)


def record(found: dict[str, dict[str, Any]], *, complete: bool) -> dict[str, Any]:
    """Return what is written of the checks that were made."""
    passed = all(one["ok"] for one in found.values())
    return {"benchmark": "gpu_exactness", "ok": passed, "complete": complete, "checks": found}


def main() -> None:
    """Run every check, one failure or not, and write what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="checks whose name holds one of these")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    before = read(record_file(options.device, options.out)).get("exactness", {"complete": True})
    found: dict[str, dict[str, Any]] = {}
    if not before["complete"]:  # cut off: what passed is not made again
        found = {name: one for name, one in before["checks"].items() if one["ok"]}
    for name, check in checks(options.device):
        if name in found or not (options.only is None or any(text in name for text in options.only)):
            continue
        try:
            found[name] = check()
        except Exception as error:
            traceback.print_exc()
            found[name] = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        write("exactness", record(found, complete=False), options.device, options.out, quiet=True)
        print(f"{'ok  ' if found[name]['ok'] else 'FAIL'} {name} {found[name]}", file=sys.stderr, flush=True)
    final = record(found, complete=options.only is None)
    write("exactness", final, options.device, options.out)
    eager = any(one.get("eager") for one in found.values())
    sys.exit(1 if not final["ok"] and not eager else EAGER_STATUS * eager)


if __name__ == "__main__":
    main()
