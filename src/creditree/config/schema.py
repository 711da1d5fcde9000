"""The configuration of a run: every key with its unit, range and default. Unknown keys are refused."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from creditree.config.block import Block, Positive, Problems, Real, Share, Whole
from creditree.config.engine import EngineBlock
from creditree.config.guard import GuardBlock
from creditree.config.method import MethodConfig
from creditree.config.reward import RewardBlock
from creditree.config.task import TaskConfig, default_reward
from creditree.config.warm_start import WarmStartBlock
from creditree.units import parse_bytes

Decay = Annotated[Real, Field(ge=0, lt=1)]
MOST_THREADS = 1024


def same_temperature(temperatures: Sequence[float]) -> float | None:
    """Return the first temperature that is the same as one before, to the six digits that results are named by."""
    seen: set[str] = set()
    for temperature in temperatures:
        name = f"{temperature:g}"
        if name in seen:
            return temperature
        seen.add(name)
    return None


class ModelConfig(Block):
    """The base model."""

    name: str = Field("builtin:multiplication", description="built-in name, directory, hub name or GGUF file")
    dtype: Literal["float32", "bfloat16", "int8", "nf4"] = Field(
        "float32", description="of the frozen base; int8 and nf4 need bitsandbytes; adapters stay float32"
    )
    device: str = Field("cpu", description="cpu, cuda, cuda:1, ...")
    sharded: bool = Field(False, description="true: the frozen base is divided among the workers, by layers (FSDP2)")


class LoraBlock(Block):
    """The adapter (LoRA)."""

    rank: Positive = Field(8, description="rank of every adapted matrix")
    alpha: Real | None = Field(None, description="scale alpha / rank; none: 2 * rank", gt=0)
    dropout: Decay = Field(0.0, description="LoRA dropout, below 1")
    layers: str | float | list[int] = Field(
        "1/3", description="fraction of the layers, from the last; or a list of indices"
    )
    targets: list[str] = Field(
        ["q_proj", "v_proj"],
        description="projections that get an adapter, by Llama's or the model's own names",
        min_length=1,
    )

    @field_validator("layers", mode="before")
    @classmethod
    def _fraction(cls, layers: Any) -> Any:
        if isinstance(layers, list):
            if not layers:
                raise ValueError("the list names no layer")
            if not all(type(index) is int for index in layers):
                raise ValueError("a list holds whole numbers, the indices of layers")
            return layers
        try:
            share = None if isinstance(layers, bool) else Fraction(layers)
        except (TypeError, ValueError, OverflowError, ZeroDivisionError):
            share = None
        if share is None:
            raise ValueError("it is neither a fraction such as 1/3 nor a list of layer indices")
        if not 0 < share <= 1:
            raise ValueError("a fraction is above 0 and at most 1; layers by index are a list, such as [0, 1]")
        return layers


class SamplingConfig(Block):
    """How completions are drawn in training."""

    temperature: Real = Field(0.5, description="of the softmax", gt=0)
    top_p: Real = Field(1.0, description="nucleus; 1 is off", gt=0, le=1)
    max_new_tokens: Positive = Field(64, description="tokens of a completion, at most")


class TrainBlock(Block):
    """How long to train, and how fast."""

    steps: Positive = Field(100, description="training steps")
    cpu_seconds: Real | None = Field(None, description="stop after this much processor time of training", gt=0)
    seconds: Real | None = Field(None, description="stop after this many wall-clock seconds of training", gt=0)
    tokens: Positive | None = Field(None, description="stop after the step in which so many tokens are sampled")
    problems_per_step: Positive = Field(1, description="problems of a training step")
    learning_rate: Real = Field(1e-4, description="AdamW", gt=0)
    final_learning_rate: Share = Field(1.0, description="linear decay to this fraction of learning_rate")
    weights: Literal["adapter", "all"] = Field(
        "adapter", description="what learns: the adapter of lora, or all weights of the model, in float32"
    )
    start: str | None = Field(
        None, description="adapter, or run directory, to go on from; none: a fresh adapter", min_length=1
    )
    mini_batch: Positive | None = Field(
        None, description="about this many completions, of whole problems, make one optimiser step; none: all of a step"
    )
    weight_decay: Real = Field(0.0, description="AdamW", ge=0)
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="AdamW")
    eps: Real = Field(1e-8, description="AdamW", gt=0)
    max_grad_norm: Real = Field(1.0, description="gradients are clipped at this global norm", gt=0)
    skip_grad_norm: Real = Field(
        1e6,
        description="an update whose gradient has a larger norm than this is left out",
        gt=0,
        le=1e18,
    )
    max_mismatch: Real = Field(
        0.5,
        description="an update is left out where who samples and who learns differ by more nats a token than this",
        gt=0,
    )
    max_skipped: Positive = Field(
        5, description="end the run after this many steps in a row whose updates were all left out"
    )
    max_unjudged: Positive = Field(5, description="end the run after this many steps in a row without any reward")
    memory: str | None = Field(
        None, description="limit such as 8GB or 500MB, by which every auto below is chosen; none: no limit"
    )
    micro_batch_tokens: Whole | Literal["auto"] = Field(
        "auto",
        description="skeleton tokens forwarded at once; changes memory, not the result; auto: 1024 at most, GPU 16384",
    )
    max_rows: Whole | Literal["auto"] = Field("auto", description="completions decoded at once; auto: up to 512")
    stored_tokens: Whole | Literal["auto"] | None = Field(
        "auto", description="tokens whose keys and values are held at once; none: all of a step; auto: none if it fits"
    )
    threads: Whole | None = Field(None, description="CPU threads; none: torch's choice", ge=1, le=MOST_THREADS)

    @field_validator("memory", mode="before")
    @classmethod
    def _size(cls, memory: Any) -> Any:
        if memory is not None:
            parse_bytes(memory)
        return memory

    @field_validator("micro_batch_tokens", "max_rows", "stored_tokens", mode="before")
    @classmethod
    def _count_or_auto(cls, count: Any, info: ValidationInfo) -> Any:
        if count is None and info.field_name == "stored_tokens":
            return count
        if count != "auto" and (type(count) is not int or count < 1):
            raise ValueError("set auto, or a whole number of at least 1")
        return count


class ValidationBlock(Block):
    """Choose the best adapter by accuracy on held-out problems."""

    every: Whole = Field(0, description="steps between validations; 0: never, the last adapter is kept", ge=0)
    problems: Problems = Field(100, description="validation problems")
    temperature: Real = Field(0.0, description="decoding; 0 is greedy", ge=0)
    patience: Positive | None = Field(None, description="stop after this many validations without a better one")


class EvaluationBlock(Block):
    """What is measured before and after training."""

    split: Literal["test", "validation"] = Field("test", description="which held-out problems are measured")
    problems: Problems = Field(500, description="held-out problems, at most")
    temperatures: list[Annotated[Real, Field(ge=0)]] = Field(
        [0.0, 0.3, 1.0], min_length=1, description="the first is the headline"
    )

    @field_validator("temperatures")
    @classmethod
    def _different(cls, temperatures: list[float]) -> list[float]:
        twice = same_temperature(temperatures)
        if twice is not None:
            raise ValueError(f"it has the temperature {twice:g} twice; keep one of them")
        return temperatures


class LogBlock(Block):
    """What the run directory keeps."""

    checkpoint_every: Positive = Field(50, description="steps between checkpoints")
    checkpoint_every_s: Real = Field(
        60.0,
        description="seconds between checkpoints, whatever the steps; longer where writing is slow",
        gt=0,
    )
    rollouts_every: Whole = Field(10, description="steps between kept rollouts; 0: none", ge=0)
    mirrors: list[Literal["tensorboard", "wandb", "trackio"]] = Field([], description="where else to show the metrics")


class RunConfig(Block):
    """A whole run."""

    seed: Whole = Field(0, description="every random number of the run depends on it", ge=0)
    model: ModelConfig = Field(default_factory=ModelConfig)
    lora: LoraBlock = Field(default_factory=LoraBlock)
    task: TaskConfig
    reward: RewardBlock = Field(default_factory=RewardBlock, description="who judges; a benchmark has its own")
    method: MethodConfig = Field(default_factory=MethodConfig)
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    engine: EngineBlock = Field(default_factory=EngineBlock)
    train: TrainBlock = Field(default_factory=TrainBlock)
    warm_start: WarmStartBlock = Field(default_factory=WarmStartBlock)
    validation: ValidationBlock = Field(default_factory=ValidationBlock)
    evaluation: EvaluationBlock = Field(default_factory=EvaluationBlock)
    guard: GuardBlock = Field(default_factory=GuardBlock)
    log: LogBlock = Field(default_factory=LogBlock)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, values: Any) -> Any:
        """Accept ``task: multiplication`` for ``task: {name: multiplication}``, and a block without any key."""
        if not isinstance(values, dict):
            return values
        short = ("task", "method", "model", "engine")
        named = {key: {"name": values[key]} for key in short if isinstance(values.get(key), str)}
        return {key: value for key, value in (values | named).items() if value is not None}

    @model_validator(mode="after")
    def _default_reward(self) -> Self:
        """Take the task's own reward where none is named."""
        own = None if "reward" in self.model_fields_set else default_reward(self.task)
        if own is not None:
            self.reward = RewardBlock(name=own)
        return self
