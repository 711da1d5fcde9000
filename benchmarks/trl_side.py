"""The other side of `vs_trl.py`: the same steps with TRL's GRPOTrainer, in TRL's own virtual environment.

Takes what `step.py` takes and prints the same keys, as far as they make sense, as one JSON line. Nothing of Creditree
but `benchmarks/measure.py` is imported.

`generate` is the call of transformers' `generate` and what TRL does around it (`_generate_single_turn`). `update` is
from there to the end of the step without decoding, rewards and advantages (the rest of
`_generate_and_score_completions`): forward, backward, clipping, optimiser and the Trainer's bookkeeping between.
`step` is from the end of one step to the end of the next.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import gc
import json
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`: this file is run by its path
from benchmarks.measure import Clock, peak_resident_mb, read_prompts, reset_peak, resident_mb, reward_of

RANK, TARGETS = 8, ["q_proj", "v_proj"]
LIBRARIES = ("trl", "torch", "transformers", "peft", "accelerate", "datasets", "numpy")


def rewards(completions: list[str], **_: object) -> list[float]:
    """Return the fixed hash of each text."""
    return [reward_of(text) for text in completions]


class TimedTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL is not installed where types are checked
    """GRPOTrainer with a clock at its generation and its scoring; nothing else is changed."""

    clock: Clock
    counter: FlopCounterMode | None = None
    flops: int | None = None
    flops_outside = 0
    forwarded = 0
    peak_rss_mb: float | None = None

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        with self.clock.phase("generate"):
            return super()._generate_single_turn(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        before = self._counted()
        with self.clock.phase("score"):
            found = super()._generate_and_score_completions(inputs)
        self.flops_outside += self._counted() - before
        self.forwarded = found["prompt_ids"].numel() + found["completion_ids"].numel()
        return found

    def _counted(self) -> int:
        return 0 if self.counter is None else int(self.counter.get_total_flops())


class StepClock(TrainerCallback):
    """Closes the clock's steps, resets the high-water mark after warm-up, and counts operations after the last step."""

    def __init__(self, trainer: Any, warmup: int, steps: int) -> None:
        self.trainer = trainer
        self.warmup = warmup
        self.steps = steps
        self.began = self.ended = (process_time(), perf_counter())

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the step's own seconds, which leave out the data loader's."""
        if state.global_step == self.warmup + self.steps:
            self.trainer.counter = FlopCounterMode(display=False)
            self.trainer.counter.__enter__()
        self.began = (process_time(), perf_counter())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the step."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = (process_time(), perf_counter())
        clock = self.trainer.clock
        clock.add("step", now[0] - self.ended[0], now[1] - self.ended[1])
        clock.add("update", now[0] - self.began[0] - clock.cpu["score"], now[1] - self.began[1] - clock.wall["score"])
        clock.next_step()
        if self.trainer.counter is not None:
            self.trainer.counter.__exit__(None, None, None)
            self.trainer.flops = self.trainer.counter.get_total_flops() - self.trainer.flops_outside
        if state.global_step == self.warmup:
            reset_peak()
        if state.global_step == self.warmup + self.steps:
            self.trainer.peak_rss_mb = peak_resident_mb()
        self.ended = (process_time(), perf_counter())


def config(options: argparse.Namespace, directory: str) -> Any:
    """Return TRL's settings: its defaults, but for sizes, logging, and what the options change."""
    together = options.group * options.problems
    micro = options.micro_batch or together
    settings: dict[str, Any] = {"gradient_checkpointing": False} if options.no_checkpointing else {}
    return GRPOConfig(
        output_dir=directory,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=together // micro,
        num_generations=options.group,
        max_completion_length=options.max_new_tokens,
        temperature=options.temperature,
        max_steps=options.warmup + options.steps + options.flops,
        bf16=options.dtype == "bfloat16",  # autocast, as is its default; without it bf16 weights take the same time
        shuffle_dataset=False,
        use_cpu=options.device == "cpu",
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=options.seed,
        **settings,
    )


def lora(num_layers: int) -> Any:
    """Return the adapter's settings: rank 8, q and v of the last third of the layers."""
    last = max(1, num_layers // 3)
    layers = list(range(num_layers - last, num_layers))
    return LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules=TARGETS,
        layers_to_transform=layers,
        bias="none",
        task_type="CAUSAL_LM",
    )


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Run the steps and return what they took."""
    torch.set_num_threads(options.threads)
    rss_import = resident_mb()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
    rss_model = resident_mb()
    weights_mb = sum(weight.numel() * weight.element_size() for weight in model.parameters()) / 1e6
    dataset = Dataset.from_dict({"prompt": read_prompts(options.prompts)})
    with tempfile.TemporaryDirectory() as directory:
        trainer = TimedTrainer(
            model=model,
            reward_funcs=rewards,
            args=config(options, directory),
            train_dataset=dataset,
            processing_class=tokenizer,
            peft_config=lora(model.config.num_hidden_layers),
        )
        trainer.clock = Clock()
        trainer.add_callback(StepClock(trainer, options.warmup, options.steps))
        gc.collect()
        trainer.train()
    trained = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
    return {
        "benchmark": "step",
        "system": "trl",
        **{name: Path(value).name if name in ("model", "prompts") else value for name, value in vars(options).items()},
        **trainer.clock.medians(options.warmup, options.steps),
        "tokens_sampled": options.group * options.problems * options.max_new_tokens,
        "tokens_forwarded": trainer.forwarded,
        "loss_terms": options.group * options.problems * options.max_new_tokens,
        "flops": trainer.flops,
        "peak_rss_mb": trainer.peak_rss_mb,
        "rss_import_mb": rss_import,
        "rss_model_mb": rss_model,
        "weights_mb": weights_mb,
        "peak_allocated_mb": torch.cuda.max_memory_allocated() / 1e6 if options.device != "cpu" else None,
        "trained_parameters": trained,
        "versions": {name: version(name) for name in LIBRARIES},
    }


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a directory")
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--problems", type=int, default=1, help="prompts of one step")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--prompts", type=Path, required=True, help="a file with one prompt a line")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--no-checkpointing", action="store_true", help="switch gradient checkpointing off")
    parser.add_argument("--micro-batch", type=int, help="completions a forward pass; default: all of a step")
    parser.add_argument("--flops", action="store_true", help="run one step more and count its update's operations")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    warnings.filterwarnings("ignore")
    print(json.dumps(measure(parse())))


if __name__ == "__main__":
    main()
