"""A script for TRL's trainer: its arguments, reward functions, prompts and adapters, with a stand-in for its config."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig

from creditree.errors import ConfigError, CreditreeError, DataError, RunError
from creditree.report.watcher import Watcher
from creditree.trl import CreditreeConfig, CreditreeTrainer
from creditree.trl.args import settings_of
from creditree.trl.data import Prompts
from creditree.trl.lora import lora_block
from creditree.trl.rewards import TrlReward
from creditree.user_code import load

MODEL = "builtin:multiplication"
ROWS = [{"prompt": f"{a} * {b} = ", "product": a * b} for a in range(12, 18) for b in (3, 7)]


@dataclass
class GRPOConfig:
    """Arguments by the names and defaults of TRL's."""

    output_dir: str | None = None
    learning_rate: float = 1e-6
    max_steps: int = -1
    num_train_epochs: float = 3.0
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    num_generations: int = 8
    max_completion_length: int = 256
    temperature: float = 1.0
    beta: float = 0.0
    epsilon: float = 0.2
    loss_type: str = "dapo"
    scale_rewards: str = "group"
    shuffle_dataset: bool = True
    bf16: bool | None = None
    fp16: bool = False
    use_vllm: bool = False
    top_k: int = 0
    optim: str = "adamw_torch_fused"
    warmup_steps: float = 0
    lr_scheduler_type: str = "linear"
    logging_steps: int = 10
    save_steps: int = 500
    seed: int = 42
    reward_weights: list[float] | None = None


def close(completions: list[str], product: list[int], prompts: list[str], **columns: Any) -> list[float]:
    """Return more for a longer common beginning; 1 for the whole product."""
    assert len(columns["completion_ids"]) == len(prompts) == len(completions)
    return [float(text.startswith(str(right))) for text, right in zip(completions, product, strict=True)]


def test_a_script_trains_measures_saves_and_shows_what_happened(tmp_path: Path) -> None:
    seen = 0.25  # a closure: no other process can import it

    def short(completions: list[str]) -> list[float | None]:
        return [None if len(text) > 8 else seen for text in completions]

    args = GRPOConfig(
        output_dir=str(tmp_path / "run"), max_steps=2, learning_rate=1e-3, per_device_train_batch_size=8,
        num_generations=4, max_completion_length=12, reward_weights=[1.0, 0.5], lr_scheduler_type="constant",
    )  # fmt: skip
    trainer = CreditreeTrainer(
        model=MODEL, reward_funcs=[close, short], args=args, train_dataset=ROWS, eval_dataset=ROWS[:3],
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"]), method="t-spmo", watcher=Watcher(),
    )  # fmt: skip
    with pytest.raises(RunError, match="Nothing is trained yet"):
        trainer.evaluate()
    done = trainer.train()
    assert done.global_step == trainer.state.global_step == 2
    steps = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert [entry["step"] for entry in steps] == [1, 2]
    assert steps[0].keys() >= {"loss", "learning_rate", "rewards/close/mean", "rewards/short/mean"}
    assert 0 <= trainer.evaluate()["eval_accuracy"] <= 1
    config = trainer.run.config
    assert (config.train.problems_per_step, config.method.group, config.sampling.max_new_tokens) == (2, 4, 12)
    assert (config.lora.rank, config.lora.alpha, config.lora.targets, config.train.weights) == (
        4,
        8,
        ["q_proj"],
        "adapter",
    )
    assert config.evaluation.problems == 3
    trainer.save_model(tmp_path / "saved")
    assert (tmp_path / "saved" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss_type": "dr_grpo"}, r"args.loss_type is 'dr_grpo', which belongs to the method"),
        ({"use_vllm": True}, "args.use_vllm is True, which is not supported"),
        ({"fp16": True}, "args.fp16 is True"),
        ({"top_k": 20}, "args.top_k is 20"),
        ({"optim": "sgd"}, "args.optim is 'sgd'"),
        ({"warmup_steps": 10}, "args.warmup_steps is 10"),
        ({"shuffle_dataset": False}, "args.shuffle_dataset is False"),
        ({"lr_scheduler_type": "cosine"}, "set linear or constant"),
        ({"epsilon": 0.3}, r"args.epsilon is 0.3, and the method has no such number"),
        ({"num_generations": 3}, "no multiple of args.num_generations = 3"),
    ],
)
def test_what_would_change_results_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings_of(GRPOConfig(**changes), "t-spmo", 10, adapter=True)


def test_arguments_become_settings() -> None:
    args = GRPOConfig(
        per_device_train_batch_size=4, gradient_accumulation_steps=6, num_generations=8, beta=0.04, bf16=True,
        optim="adamw_torch", logging_steps=1,
    )  # fmt: skip
    settings = settings_of(args, {"name": "grpo"}, 100, adapter=True)
    # 4 x 6 completions are 3 problems of 8; 3 epochs of 100 rows are 300 problems
    assert settings["train"]["problems_per_step"] == 3
    assert settings["train"]["steps"] == 100
    assert settings["train"]["final_learning_rate"] == 0.0
    assert settings["method"] == {"name": "grpo", "group": 8, "kl": 0.04}
    assert settings["model"]["dtype"] == "bfloat16"
    assert settings_of(args, "grpo", 100, adapter=False)["model"]["dtype"] == "float32"
    clipped = settings_of(GRPOConfig(epsilon=0.3), {"name": "grpo", "objective": "clipped"}, 9, adapter=True)["method"]
    assert (clipped["clip_low"], clipped["clip_high"]) == (0.3, 0.3)
    with pytest.raises(ConfigError, match="args is 'x': give TRL's GRPOConfig"):
        settings_of("x", "grpo", 9, adapter=True)


def chat(question: str, system: str | None = "Be brief.") -> dict[str, Any]:
    before = [] if system is None else [{"role": "system", "content": system}]
    return {"prompt": [*before, {"role": "user", "content": question}], "solution": "4"}


def test_messages_are_prompts_and_completions_of_one_message() -> None:
    prompts = Prompts.of([chat(f"{n} + 1") for n in range(20)], None)
    assert (prompts.chat, prompts.system, len(prompts.training), len(prompts.held_out)) == (True, "Be brief.", 18, 2)
    first = next(iter(prompts.problems()))
    assert (first["question"], first["split"], first["columns"]) == ("0 + 1", "train", {"solution": "4"})

    def judge(prompts: Any, completions: Any, solution: Any, **columns: Any) -> list[float]:
        assert not columns
        assert prompts[0][0]["role"] == "system"
        return [float(message[0]["content"] == right) for message, right in zip(completions, solution, strict=True)]

    asked = {"prompt": [first["prompt"]] * 2, "columns": [first["columns"]] * 2, "question": ["0 + 1"] * 2}
    assert TrlReward(judge, chat=True, others=False)(completions=["4", "5"], **asked) == [1.0, 0.0]


def test_of_several_functions_one_leaves_a_completion_to_the_others() -> None:
    async def none(completions: list[str]) -> list[float | None]:
        return [None, 1.0]

    asked: dict[str, Any] = {"completions": ["a", "b"], "prompt": ["p", "q"], "columns": [{}, {}]}
    assert TrlReward(none, chat=False, others=True)(**asked) == [0.0, 1.0]
    assert TrlReward(none, chat=False, others=False)(**asked) == [None, 1.0]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "train_dataset has no rows"),
        ("hub/name", "train_dataset is 'hub/name': give a datasets.Dataset"),
        ([{"question": "1"}, {"question": "2"}], "Row 1 of train_dataset has no prompt"),
        ([{"prompt": "a"}], "has one row"),
        ([{"prompt": "a"}, chat("b")], "Some prompts are texts and others are messages"),
        ([chat("a"), chat("b", None)], "different system messages"),
        ([{"prompt": [{"role": "assistant", "content": "x"}]}] * 2, "conversations of several turns"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused(rows: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Prompts.of(rows, None)


def test_an_adapter_of_peft_becomes_the_run_s() -> None:
    every = lora_block(LoraConfig(target_modules="all-linear"))["targets"]
    assert every == ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    block = lora_block(LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj"], layers_to_transform=[1, 2]))
    assert (block["rank"], block["alpha"], block["layers"]) == (3, 6.0, [1, 2])
    assert lora_block(LoraConfig())["targets"] == ["q_proj", "v_proj"]
    with pytest.raises(ConfigError, match=r"peft_config.use_dora is True"):
        lora_block(LoraConfig(use_dora=True))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": object()}, "model is a object: give the name or the directory"),
        ({"callbacks": [1]}, "callbacks is"),
        ({"reward_funcs": "reward/model"}, "reward models are not supported"),
        ({"args": CreditreeConfig(reward_weights=[1.0, 2.0])}, "2 numbers for 1 reward functions"),
    ],
)
def test_other_arguments_are_refused_in_a_sentence(changes: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"model": MODEL, "reward_funcs": close, "train_dataset": ROWS} | changes
    with pytest.raises(CreditreeError, match=said):
        CreditreeTrainer(**given)


def test_without_an_adapter_all_weights_learn() -> None:
    trainer = CreditreeTrainer(MODEL, close, train_dataset=ROWS)
    assert (trainer.config.train.weights, trainer.config.model.dtype) == ("all", "float32")
    assert (trainer.config.train.learning_rate, trainer.config.sampling.temperature) == (1e-6, 1.0)
    assert callable(load(trainer.config.reward.name, "reward", "function"))
    assert len(list(load(trainer.config.task.name, "task", "function")())) == len(ROWS)  # type: ignore[operator]
