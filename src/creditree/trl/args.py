"""TRL's arguments as a configuration: what has a meaning here is taken, what would change results is refused."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from creditree.config.method import MethodConfig
from creditree.errors import ConfigError
from creditree.piece import numbers_of
from creditree.text import shown


@dataclass(frozen=True)
class CreditreeConfig:
    """The arguments that are honoured, with the names, meanings and defaults of TRL's ``GRPOConfig``."""

    output_dir: str | None = None
    seed: int = 42
    learning_rate: float = 1e-6
    lr_scheduler_type: str = "linear"
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    num_train_epochs: float = 3.0
    max_steps: int = -1
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    steps_per_generation: int | None = None
    generation_batch_size: int | None = None
    num_generations: int | None = 8
    max_completion_length: int | None = 256
    temperature: float = 1.0
    top_p: float = 1.0
    beta: float = 0.0
    epsilon: float = 0.2
    epsilon_high: float | None = None
    reward_weights: list[float] | None = None
    bf16: bool | None = None
    use_cpu: bool = False
    save_steps: float = 500
    report_to: str | list[str] | None = None


DEFAULTS = CreditreeConfig()
OF_THE_METHOD = (
    "loss_type", "scale_rewards", "importance_sampling_level", "multi_objective_aggregation", "num_iterations", "delta",
    "mask_truncated_completions", "top_entropy_quantile", "entropy_coef", "sync_ref_model", "use_bias_correction_kl",
    "off_policy_mask_threshold",
)  # fmt: skip
"""What makes GRPO another method, in TRL by an argument: here it is said by `method`."""
HARMLESS = (
    "logging_", "log_", "dataloader_", "hub_", "eval_", "save_", "vllm_", "ddp_", "torch_compile",
    "gradient_checkpointing", "include_", "tpu_", "greater_is_better", "metric_for_best", "run_name",
    "project", "trackio_", "do_", "disable_tqdm", "per_device_eval", "num_generations_eval", "num_completions_to_print",
    "activation_checkpointing", "remove_unused_columns", "label_names", "use_cache", "tf32",
    "pad_to_multiple_of", "overwrite_output_dir",
    "skip_memory_metrics", "enable_jit_checkpoint", "restore_callback", "average_tokens_across_devices", "past_index",
    "torch_empty_cache_steps", "prediction_loss_only", "batch_eval_metrics", "data_seed",
    "cache_implementation", "ignore_data_skip", "resume_from_checkpoint", "local_rank", "debug",
    "use_transformers_", "transformers_continuous", "disable_dropout", "router_aux", "model_init_kwargs",
    "ref_model_", "sapo_", "vespo_", "entropy_", "use_liger_kernel", "half_precision_backend", "liger_kernel_config",
    "deepspeed_plugin", "distributed_state", "accelerator_config", "parallelism_config", "fsdp_config",
    "torchdynamo", "jit_mode_eval", "length_column_name", "max_tool_calling_iterations", "bf16_full_eval",
)  # fmt: skip
"""How names begin that say where things go and how they are computed, or belong to something that is refused itself."""
MIRRORS = ("tensorboard", "wandb", "trackio")


def check_args(args: Any) -> None:
    """Raise ConfigError for an argument that is set and cannot be honoured; what is at its default may be anything."""
    if isinstance(args, type) or not dataclasses.is_dataclass(args):
        raise ConfigError(
            f"args is {shown(args)}: give TRL's GRPOConfig, or creditree.trl.CreditreeConfig, which has the arguments "
            "that are honoured."
        )
    for item in dataclasses.fields(args):
        if hasattr(DEFAULTS, item.name) or item.name.startswith("_"):
            continue
        value, usual = getattr(args, item.name, None), _default(item)
        if value == usual or not (value or usual) or (item.name == "optim" and "adamw" in str(value)):
            continue
        if item.name in OF_THE_METHOD:
            raise ConfigError(
                f"args.{item.name} is {shown(value)}, which belongs to the method here: leave it out and say it with "
                "`method`, such as method='dr-grpo' or a mapping of its numbers."
            )
        if not item.name.startswith(HARMLESS):
            raise ConfigError(f"args.{item.name} is {shown(value)}, which is not supported here; leave it out.")
    _check_values(args)


def _check_values(args: Any) -> None:
    if scheduler(args) not in ("linear", "constant"):
        raise ConfigError(f"args.lr_scheduler_type is '{scheduler(args)}': set linear or constant.")
    init = getattr(args, "model_init_kwargs", None) or {}
    other = sorted(set(init) - {"dtype", "torch_dtype"}) if isinstance(init, Mapping) else [init]
    if other:
        raise ConfigError(f"args.model_init_kwargs has {shown(other[0])}: only dtype is supported here.")


def scheduler(args: Any) -> str:
    """Return the name of the schedule of the learning rate."""
    kind = _of(args, "lr_scheduler_type")
    return str(getattr(kind, "value", kind))


def settings_of(args: Any, method: str | Mapping[str, Any], rows: int, *, adapter: bool) -> dict[str, Any]:
    """Return the blocks of a configuration that `args` and `method` say, for so many rows. Raises ConfigError."""
    check_args(args)
    update = _of(args, "per_device_train_batch_size") * _of(args, "gradient_accumulation_steps")
    generations = _of(args, "num_generations") or 8
    step = _completions(args, update)
    if step % generations:
        raise ConfigError(
            f"A generation has {step} completions (batch size times accumulation), which is no multiple of "
            f"args.num_generations = {generations}; change one of them."
        )
    problems = step // generations
    steps = math.ceil(_of(args, "num_train_epochs") * rows / problems)
    if _of(args, "max_steps") > 0:
        steps = math.ceil(_of(args, "max_steps") * update / step)
    device = {"device": "cpu"} if _of(args, "use_cpu") else {}
    return {
        "seed": _of(args, "seed"),
        "model": {**device, **({"dtype": _dtype(args)} if adapter else {"dtype": "float32"})},
        "method": _method(args, method, generations),
        "sampling": {
            "temperature": _of(args, "temperature"),
            "top_p": _of(args, "top_p"),
            "max_new_tokens": _of(args, "max_completion_length") or 256,
        },
        "train": {
            "steps": max(1, steps),
            "problems_per_step": problems,
            "learning_rate": _of(args, "learning_rate"),
            "final_learning_rate": 0.0 if scheduler(args) == "linear" else 1.0,
            "weight_decay": _of(args, "weight_decay"),
            "betas": [_of(args, "adam_beta1"), _of(args, "adam_beta2")],
            "eps": _of(args, "adam_epsilon"),
            "max_grad_norm": _of(args, "max_grad_norm"),
            **({"mini_batch": update} if update < step else {}),
        },
        "log": {"checkpoint_every": max(1, int(_of(args, "save_steps"))), "mirrors": _mirrors(args)},
    }


def _completions(args: Any, update: int) -> int:
    """Return how many completions are sampled before the model is updated with them."""
    whole = _of(args, "generation_batch_size")
    if whole is not None:
        return int(whole)
    per = _of(args, "steps_per_generation")
    return update if per is None else int(_of(args, "per_device_train_batch_size") * per)


def _method(args: Any, method: str | Mapping[str, Any], generations: int) -> dict[str, Any]:
    """Return the block `method`, with what arguments of GRPO say where the method has such numbers."""
    block = {"name": method} if isinstance(method, str) else dict(method)
    numbers = {item.name for piece in MethodConfig(**block).build().pieces for item in numbers_of(piece)}
    wanted: dict[str, tuple[str, Any]] = {"group": ("num_generations", generations)}
    if _of(args, "beta") != DEFAULTS.beta:
        wanted["kl"] = ("beta", _of(args, "beta"))
    high = _of(args, "epsilon_high")
    if _of(args, "epsilon") != DEFAULTS.epsilon or high is not None:
        wanted["clip_low"] = ("epsilon", _of(args, "epsilon"))
        wanted["clip_high"] = ("epsilon_high", _of(args, "epsilon") if high is None else high)
    for number, (name, value) in wanted.items():
        if number not in numbers:
            if value == getattr(DEFAULTS, name):
                continue
            raise ConfigError(f"args.{name} is {value}, and the method has no such number; leave it out.")
        if block.setdefault(number, value) != value and value != getattr(DEFAULTS, name):
            raise ConfigError(f"args.{name} is {value} and `method` says {number}: {block[number]}; keep one of them.")
    return block


def _dtype(args: Any) -> str:
    """Return the precision of a frozen base: that of `model_init_kwargs`, else bfloat16 where bf16 is asked for."""
    init = getattr(args, "model_init_kwargs", None) or {}
    named = init.get("dtype", init.get("torch_dtype"))
    if named is None:
        return "bfloat16" if _of(args, "bf16") else "float32"
    return str(named).removeprefix("torch.")


def _mirrors(args: Any) -> list[str]:
    report = _of(args, "report_to") or []
    return [name for name in ([report] if isinstance(report, str) else report) if name in MIRRORS]


def _of(args: Any, name: str) -> Any:
    return getattr(args, name, getattr(DEFAULTS, name))


def _default(item: Any) -> Any:
    factory = item.default_factory
    return item.default if factory is dataclasses.MISSING else factory()
