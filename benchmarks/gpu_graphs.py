"""Whether recorded decoding steps survive what happens to them in training: one record, and an exit status.

    PYTHONPATH=src:. python benchmarks/gpu_graphs.py [--device cuda] [--out DIR]

A tiny model samples with its adapter updated in place, prompts of other lengths, other temperatures, a weight that has
moved (which drops every graph), the adapter switched off, and completions that share prefixes. Captures are counted; a
step that no graph launched makes the exit status 8.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_record import EAGER_STATUS, Stopwatch, parser_of, write
from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.static.decoder import DecodingPace, StaticDecoder
from creditree.ledger import Ledger
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import Model
from creditree.models.random_weights import byte_tokenizer, random_model
from creditree.models.shapes import Shape
from creditree.models.transformer import Transformer
from creditree.rng import Key

SHAPE = Shape(6, 256, 4, 2, 64, 704, 4096, 4096, qkv_bias=True)


class Trial:
    """An engine, and what its calls took."""

    def __init__(self, device: str) -> None:
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        self.device = device
        self.model = Model("random", Transformer(random_model(SHAPE, dtype, device)), byte_tokenizer(SHAPE.vocab_size))
        self.adapter = Adapter(self.model, LoraSpec(rank=4, layers=0.5), Key.of(0))
        self.engine = InProcessEngine(self.model, native=False, static=True, keep_layer=self.adapter.first_layer)
        decoder = self.engine._decoder()
        assert isinstance(decoder, StaticDecoder)
        self.decoder = decoder
        self.total = Ledger()
        self.calls: list[dict[str, Any]] = []

    def sample(self, what: str, tokens: int, length: int = 20, temperature: float = 1.0) -> None:
        """Sample 3 prompts x 8 completions, and write down captures and seconds."""
        self.engine.forget()
        keys = [tuple(Key.of(1).at(prompt, member) for member in range(8)) for prompt in range(3)]
        prompts = [Key.of(2).at(prompt).generator().integers(3, 200, size=length) for prompt in range(3)]
        watch = Stopwatch(self.device)
        asked = [SampleRequest(ids, one, tokens) for ids, one in zip(prompts, keys, strict=True)]
        _, cost = self.engine.sample(asked, Sampling(temperature))
        self.total.add(cost)
        seconds = round(watch.seconds(), 4)
        self.calls.append({"what": what, "captures": cost.captures, "eager": cost.eager, "seconds": seconds})

    @torch.no_grad()
    def update(self) -> None:
        """Change the adapter in place, as an optimiser does."""
        for matrix in self.adapter.matrices:
            matrix.add_(1e-3)


def trial(device: str, tokens: int) -> Trial:
    """Do to recorded steps what training does."""
    made = Trial(device)
    made.sample("first", tokens)
    for step in range(3):
        made.update()
        made.sample(f"after update {step + 1}", tokens, length=20 - step)
    made.sample("another temperature", tokens, temperature=0.3)
    made.sample("a longer prompt", tokens, length=90)
    weight = made.model.transformer.decoder_layers[1].mlp.down_proj.weight
    weight.data = weight.data.clone()
    made.model.transformer.link()
    made.sample("a weight has moved", tokens)
    made.sample("the same again", tokens)
    with made.adapter.off():
        made.sample("without the adapter", tokens)
    for key in list(made.decoder.paces):
        made.decoder.paces[key] = DecodingPace(different=0.0, apart=float("inf"))
    made.sample("shared", tokens)
    made.sample("shared again", tokens)
    return made


def main() -> None:
    """Make the trial and write what came out."""
    options = parser_of(__doc__).parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    made = trial(options.device, 200 if options.device != "cpu" else 8)
    recorder = made.decoder.recorder
    record: dict[str, Any] = {"captures": made.total.captures, "eager": made.total.eager, "failure": recorder.failure}
    record |= {"recording_s": recorder.seconds, "calls": made.calls}
    write("graphs", {"benchmark": "gpu_graphs", **record}, options.device, options.out)
    sys.exit(EAGER_STATUS if made.total.eager else 0)


if __name__ == "__main__":
    main()
