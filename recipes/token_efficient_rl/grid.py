"""The tiny twins of the paper's experiments: which settings are run, under which names."""

from collections.abc import Iterator, Mapping
from itertools import product

from recipes.cell import Cell, cell

METHODS = ("grpo", "s-grpo", "t-spmo")
TUNING_SEED = 100

FOUR_BY_ONE = {"model.name": "builtin:multiplication", "task": {"name": "multiplication", "digits_a": 4, "digits_b": 1}}
STORIES = {"model.name": "builtin:word_problems", "task": {"name": "word_problems"}}
COMMON = {
    "train.threads": 1,
    "train.final_learning_rate": 0.1,
    "sampling.max_new_tokens": 64,
    "lora.layers": "1/3",
    "lora.rank": 8,
}
# alpha, k and P of our defaults for the paper's 300 tokens (50, 100, 0.5), brought to completions of 30 to 40 tokens.
SELECTION = {"method.alpha": 8, "method.probability": 0.5, "method.k": 16}
TRIED = (
    {"group": 16, "temperature": 0.5, "problems": 4, "learning_rate": 2e-3},
    {"group": 16, "temperature": 0.5, "problems": 4, "learning_rate": 4e-3},
    {"group": 16, "temperature": 0.5, "problems": 4, "learning_rate": 8e-3},
    {"group": 16, "temperature": 1.0, "problems": 4, "learning_rate": 4e-3},
    {"group": 8, "temperature": 0.5, "problems": 8, "learning_rate": 4e-3},
    {"group": 50, "temperature": 0.3, "problems": 1, "learning_rate": 4e-3},
)
"""The settings tried for every method alike; T-SPMO keeps its replay of one success and one failure."""


def method_keys(method: str, group: int, temperature: float, loss_temperature: float) -> dict[str, object]:
    """The keys of one method at one group size and temperature, with the paper's KL penalty and no L2."""
    keys: dict[str, object] = {
        "method.name": method,
        "method.group": group,
        "method.loss_temperature": loss_temperature,
        "sampling.temperature": temperature,
    }
    if method == "s-grpo":
        keys |= SELECTION
    return keys | ({"method.l2": 0.0} if method == "t-spmo" else {"method.kl": 0.01})


def main_table() -> Iterator[Cell]:
    """Settings like the paper's: one problem an update, its penalty, |G| 8 and 50, sampling at 0.3 and at 1."""
    for method, group, (temperature, loss_temperature) in product(
        METHODS, (8, 50), ((0.3, 1.0), (0.3, 0.3), (1.0, 1.0))
    ):
        name = f"{method} G={group} T={temperature} loss T={loss_temperature}"
        yield cell(
            "paper-like",
            name,
            30.0,
            FOUR_BY_ONE,
            COMMON,
            {"train.learning_rate": 2e-3, "train.problems_per_step": 1},
            method_keys(method, group, temperature, loss_temperature),
        )
    penalised = method_keys("t-spmo", 50, 0.3, 1.0) | {"method.l2": 0.01}
    for name, extra in (("l2 0.01 in the loss", {}), ("l2 0.01 decoupled", {"method.l2_decoupled": True})):
        yield cell(
            "paper-like",
            f"t-spmo G=50 T=0.3 {name}",
            30.0,
            FOUR_BY_ONE,
            COMMON,
            {"train.learning_rate": 2e-3, "train.problems_per_step": 1},
            penalised,
            extra,
        )


def stories_table() -> Iterator[Cell]:
    """The harder task with the paper's |G| and temperature for each method, both temperatures of the loss."""
    for method, loss_temperature in product(METHODS, (1.0, 0.3)):
        group = 50 if method == "t-spmo" else 8
        yield cell(
            "paper-like-stories",
            f"{method} G={group} T=0.3 loss T={loss_temperature}",
            30.0,
            STORIES,
            COMMON,
            {"train.learning_rate": 2e-3, "train.problems_per_step": 1},
            method_keys(method, group, 0.3, loss_temperature),
        )


def tuned_keys(method: str, tried: Mapping[str, float]) -> dict[str, object]:
    """One of the settings tried for every method: loss at the sampling temperature, no penalty."""
    keys: dict[str, object] = {
        "method.name": method,
        "method.group": int(tried["group"]),
        "method.loss_temperature": tried["temperature"],
        "sampling.temperature": tried["temperature"],
        "train.problems_per_step": int(tried["problems"]),
        "train.learning_rate": tried["learning_rate"],
    }
    if method == "s-grpo":
        keys |= {"method.alpha": 8, "method.probability": 0.7, "method.k": 32}
    return keys | ({"method.l2": 0.0} if method == "t-spmo" else {"method.kl": 0.0})


def tuning(task_name: str, task: Mapping[str, object], cpu_seconds: float) -> Iterator[Cell]:
    """The same settings for each method, judged on the validation split, with a seed that is not used again."""
    for method, tried in product(METHODS, TRIED):
        name = f"{method} G={tried['group']} T={tried['temperature']} B={tried['problems']} lr={tried['learning_rate']}"
        yield cell(
            f"tuning-{task_name}", name, cpu_seconds, task, COMMON, tuned_keys(method, tried), seeds=(TUNING_SEED,)
        )


def ablations() -> Iterator[Cell]:
    """The paper's ablations in small: |G|, replay, alpha and k, effective batch size (elsewhere 4 problems)."""
    common = {"train.learning_rate": 4e-3, "train.problems_per_step": 4}

    def one(name: str, base: Mapping[str, object], extra: Mapping[str, object]) -> Cell:
        return cell("ablations", name, 20.0, FOUR_BY_ONE, COMMON, common, base, extra)

    t_spmo = method_keys("t-spmo", 16, 0.5, 1.0)
    for group in (4, 8, 16, 50):
        yield one(f"t-spmo group={group}", t_spmo, {"method.group": group})
    for name, successes, failures in (("none", 0, 0), ("success", 1, 0), ("failure", 0, 1)):
        yield one(f"t-spmo replay={name}", t_spmo, {"method.successes": successes, "method.failures": failures})
    yield one("t-spmo u_norm=all", t_spmo, {"method.u_norm": "all"})
    yield one("t-spmo objective=policy_gradient", t_spmo, {"method.objective": "policy_gradient"})
    s_grpo = method_keys("s-grpo", 16, 0.5, 0.5) | {"method.kl": 0.0}
    for alpha, k in ((0, 8), (8, 16), (8, 32)):
        yield one(f"s-grpo alpha={alpha} k={k}", s_grpo, {"method.alpha": alpha, "method.k": k})
    for method, base in (("s-grpo", s_grpo), ("t-spmo", t_spmo)):
        for batch in (1, 16):
            yield one(f"{method} batch={batch}", base, {"train.problems_per_step": batch})
