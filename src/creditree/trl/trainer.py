"""A trainer with the arguments of TRL's ``GRPOTrainer``, and one more: `method`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from creditree.api import measuring, training
from creditree.errors import ConfigError, RunError
from creditree.methods import UNSAID
from creditree.models.reading import load_tokenizer
from creditree.report.watcher import Watcher
from creditree.setup.machine import default_device
from creditree.setup.run import Run
from creditree.text import shown
from creditree.trl.args import CreditreeConfig, settings_of
from creditree.trl.data import Prompts
from creditree.trl.lora import lora_block
from creditree.trl.rewards import reward_block
from creditree.user_code import keep

GREEDY = [0.0]


class TrainOutput(NamedTuple):
    """What `train` returns, as that of transformers' Trainer."""

    global_step: int
    training_loss: float
    metrics: dict[str, float]


@dataclass
class TrainerState:
    """`log_history`: the metrics of each step, by TRL's names where it has them; at the end those of the evaluation."""

    global_step: int = 0
    log_history: list[dict[str, Any]] = field(default_factory=list)


class CreditreeTrainer:
    """Trains a model by `method` on the prompts of a data set, judged by reward functions; the run is ``run``.

    Every argument but `method` means what it means to TRL's GRPOTrainer; one that cannot be honoured is refused with a
    sentence. The run directory is ``args.output_dir``: it can be resumed, compared, exported and reported as any other.
    Without `eval_dataset` a tenth of the rows, 100 at most, is held out, because a run measures before and after.
    """

    def __init__(
        self,
        model: str | PathLike[str],
        reward_funcs: Any = None,
        args: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        peft_config: Any = None,
        *,
        method: str | Mapping[str, Any] = UNSAID,
        watcher: Watcher | None = None,
        **others: Any,
    ) -> None:
        """Check all that can be checked before a model is loaded. Raises ConfigError, DataError or ModelError."""
        if not isinstance(model, str | PathLike):
            raise ConfigError(f"model is a {type(model).__name__}: give the name or the directory of a model.")
        for name, value in others.items():
            if value is not None and value != (None, None) and value != []:
                raise ConfigError(f"{name} is {shown(value)}, which is not supported here; leave it out.")
        self.args = CreditreeConfig() if args is None else args
        self.state = TrainerState()
        self._watcher = watcher
        _check_processing(processing_class, str(model))
        prompts = Prompts.of(train_dataset, eval_dataset)
        settings = settings_of(self.args, method, len(prompts.training), adapter=peft_config is not None)
        settings["model"] = {"device": default_device(), **settings["model"], "name": str(model)}
        settings["train"]["weights"] = "all" if peft_config is None else "adapter"
        weights = getattr(self.args, "reward_weights", None)
        self.config = training.load_config(
            settings
            | ({} if peft_config is None else {"lora": lora_block(peft_config)})
            | {
                "task": {
                    "name": keep(_named(prompts)),
                    "problems": len(prompts.training) + len(prompts.held_out),
                    "validation": 0.0,
                    "test": 0.0,
                    "prompt": {"chat": prompts.chat, "system": prompts.system},
                },
                "reward": reward_block(reward_funcs, weights, chat=prompts.chat),
                "evaluation": {"problems": len(prompts.held_out), "temperatures": GREEDY},
            }
        )
        name = getattr(self.args, "output_dir", None) or f"{Path(str(model)).name}-{self.config.method.name}"
        self._directory = Path(name)

    @property
    def run(self) -> Run:
        """The run. Raises RunError before `train` was called."""
        if not self.state.log_history:
            raise RunError("Nothing is trained yet: call train() first.")
        return Run(self._directory)

    def train(self, resume_from_checkpoint: bool | None = None) -> TrainOutput:
        """Train, and measure before and after; `resume_from_checkpoint`: go on with the run that is there."""
        run = training.train(self.config, self._directory, resume=bool(resume_from_checkpoint), watcher=self._watcher)
        records = run.metrics()
        self.state.log_history = [_logged(record) for record in records]
        self.state.global_step = len(records)
        losses = [record["loss"] for record in records if isinstance(record.get("loss"), float)]
        mean = sum(map(float, losses)) / len(losses) if losses else 0.0  # type: ignore[arg-type]
        metrics = {"train_runtime": run.summary.seconds.get("train", 0.0), "train_loss": mean}
        self.state.log_history.append({"step": len(records)} | self.evaluate())
        return TrainOutput(len(records), mean, metrics)

    def evaluate(self) -> dict[str, float]:
        """Return what was measured on the held-out rows after training, and before it, by greedy decoding."""
        summary = self.run.summary
        reward = (summary.details.mean_reward or {}).get(next(iter(summary.decoding)))
        found = {
            "eval_accuracy": summary.main.after.value,
            "eval_accuracy_before": summary.main.before.value,
        }
        return found if reward is None else {"eval_reward": reward} | found

    def save_model(self, output_dir: str | PathLike[str] | None = None) -> None:
        """Write the adapter in PEFT's format, or the whole model where all weights were trained, with a model card."""
        folder = self._directory / "export" if output_dir is None else Path(output_dir)
        kind = "adapter" if self.config.train.weights == "adapter" else "merged"
        measuring.export(self.run, watcher=self._watcher, **{kind: folder})


def _logged(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a metrics record by the names that TRL's log has, where it has them."""
    logged = {
        "step": record["step"],
        "reward": record.get("reward_mean"),
        "loss": record.get("loss"),
        "grad_norm": record.get("grad_norm"),
        "learning_rate": record.get("learning_rate"),
        "num_tokens": record.get("sampled"),
    }
    singles = record.get("rewards") or {}
    return logged | {f"rewards/{name}/mean": single.get("mean") for name, single in singles.items()}


def _named(prompts: Prompts) -> Any:
    """Return a function that yields the problems, and whose name says what they are."""

    def train_dataset() -> Any:
        return prompts.problems()

    return train_dataset


def _check_processing(processing: Any, model: str) -> None:
    """Raise ConfigError for another tokenizer than the model's: a run has that of its model."""
    if processing is None:
        return
    own = load_tokenizer(model)
    same = getattr(processing, "chat_template", None) == own.chat_template
    if not (same and hasattr(processing, "get_vocab") and processing.get_vocab() == own.get_vocab()):
        raise ConfigError(
            "processing_class is another tokenizer than the model's own, or has another chat template: save it into "
            "the model's directory, and leave it out."
        )
