"""Who decodes in `real_decode.py`: Creditree, transformers' `generate`, and llama.cpp, all from the same prompts."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.errors import ModelError
from creditree.models.load import Model
from creditree.models.quantise import QuantisedLinear
from creditree.rng import Key
from creditree.tree import IntArray
from recipes.real.fetch import FOLDER, SOURCES

HERE = Path(__file__).resolve().parent
PRECISIONS = {"float32": "F32", "bfloat16": "BF16", "int8": "Q8_0"}


class Endless(Model):
    """A model of which no token ends a completion."""

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """None."""
        return ()


def weights_of(model: Model) -> tuple[int, int]:
    """Return how many weights a step multiplies with, and their bytes: projections and head."""
    modules = [m for m in model.transformer.model.modules() if isinstance(m, torch.nn.Linear)]
    held = [list(m.held()) if isinstance(m, QuantisedLinear) else list(m.parameters()) for m in modules]
    count = sum(m.in_features * m.out_features for m in modules)
    return count, sum(t.numel() * t.element_size() for tensors in held for t in tensors)


@dataclass(frozen=True, slots=True)
class Load:
    """What is decoded: rows, tokens of their prompts, and steps that are timed."""

    rows: int
    prompt: int
    steps: int
    vocabulary: int

    def prompts(self, index: int) -> list[IntArray]:
        """Return a round's prompts, of random tokens."""
        generator = np.random.default_rng(index)
        return [generator.integers(100, self.vocabulary // 2, size=self.prompt) for _ in range(self.rows)]


class Ours:
    """Creditree's engine: prompts are stored by a call of their own."""

    def __init__(self, model: Model, load: Load) -> None:
        self._engine, self._load = InProcessEngine(model), load

    def run(self, index: int) -> dict[str, float]:
        """Return the seconds of a round: one more draw than forward passes."""
        prompts = self._load.prompts(index)
        for tokens in (1, self._load.steps + 1):
            requests = [SampleRequest(ids, (Key.of(index).at(i),), tokens) for i, ids in enumerate(prompts)]
            wall, cpu = perf_counter(), process_time()
            self._engine.sample(requests, Sampling(1.0))
            found = {"wall_s": perf_counter() - wall, "cpu_s": process_time() - cpu}
        self._engine.forget()
        return found


class Generate:
    """transformers' `generate` on the same model."""

    def __init__(self, model: Model, load: Load) -> None:
        self._model: Any = model.transformer.model
        self._load = load

    @torch.no_grad()
    def run(self, index: int) -> dict[str, float]:
        """Return the seconds of a round, from the first new token to the last."""
        ids = torch.from_numpy(np.stack(self._load.prompts(index)))
        times: list[tuple[float, float]] = []

        def note(input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            times.append((perf_counter(), process_time()))
            return torch.zeros(len(input_ids), dtype=torch.bool)

        torch.manual_seed(index)
        options = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}
        self._model.generation_config.eos_token_id = None
        self._model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=self._load.steps + 1, pad_token_id=0,
            stopping_criteria=[note], **options,
        )  # fmt: skip
        return {"wall_s": times[-1][0] - times[0][0], "cpu_s": times[-1][1] - times[0][1]}


class LlamaCpp:
    """llama.cpp in a process of its own, on a GGUF file of the same values."""

    def __init__(self, python: Path, file: Path, threads: int, load: Load) -> None:
        command = [str(python), str(HERE / "llama_side.py"), "serve", str(file), "--rows", str(load.rows)]
        command += ["--threads", str(threads), "--prompt", str(load.prompt), "--tokens", str(load.steps + 1)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.system = ""
        answer = self._answer()
        self.system = answer["system"].strip() if answer else self.system
        self._load = load

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.system = f"llama.cpp crashed (exit code {self._process.wait()})"
            return None
        return json.loads(line)

    def run(self, index: int) -> dict[str, float] | None:
        """Return the seconds of a round; None after llama.cpp has crashed."""
        if self._process.poll() is not None:
            return None
        assert self._process.stdin is not None
        prompts = [ids.tolist() for ids in self._load.prompts(index)]
        self._process.stdin.write(json.dumps(prompts) + "\n")
        self._process.stdin.flush()
        return self._answer()  # type: ignore[no-any-return]

    def end(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


def source_file(name: str) -> Path | None:
    """Return the GGUF file that a model's name stands for, None for another model. ModelError: it is not there."""
    if name not in SOURCES:
        return Path(name) if name.endswith(".gguf") else None
    file = Path(os.environ.get("CREDITREE_WEIGHTS", FOLDER)) / SOURCES[name].file
    if not file.is_file():
        raise ModelError(
            f"the weights of {name} are not at {file}: run python -m recipes.real.fetch {name}, "
            "or set CREDITREE_WEIGHTS to the folder that has them."
        )
    return file


def llama_file(python: Path, source: Path, dtype: str, cache: Path) -> Path:
    """Return the GGUF file for llama.cpp, written on first use."""
    if dtype not in PRECISIONS:
        return source
    target = cache / f"{source.stem}-{PRECISIONS[dtype]}.gguf"
    if not target.is_file():
        part = target.with_suffix(".part")
        command = [str(python), str(HERE / "llama_side.py"), "convert", str(source), str(part), PRECISIONS[dtype]]
        subprocess.run(command, check=True, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
        part.replace(target)
    return target
