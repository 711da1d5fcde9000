"""Tiny twins of AttnRL's tables 2 and 3, and crosses of its pieces with those of other methods.

8 x 1 digits, worked out in nine steps by the built-in model. Lengths are scaled by rule: the least gap of branches is
1/16 of the length (512 of 8192 tokens in the paper), the distance from which later steps count (delta) is 2 of 9 steps,
and the inertia of the number of problems is .5, because a few hundred steps are too short for .9.
"""

from collections.abc import Iterator

from recipes.cell import Cell, cell

SECONDS = 30.0
TUNING_SECONDS = 15.0
TUNING_SEEDS = (100,)
RATES = (4e-3, 8e-3, 1.6e-2)
"""Learning rates tried for every setting alike, on the validation split with a seed of its own."""
RATES_OF_ALL_WEIGHTS = (1e-4, 2e-4, 4e-4)
"""The same where all weights are trained instead of an adapter."""

COMMON: dict[str, object] = {
    "model.name": "builtin:long_multiplication",
    "task": {"name": "multiplication", "digits_a": 8, "digits_b": 1},
    "lora.rank": 8,
    "lora.layers": "1/3",
    "sampling.temperature": 1.0,
    "sampling.max_new_tokens": 96,
    "train.threads": 1,
    "train.problems_per_step": 4,
    "train.final_learning_rate": 0.1,
    "method.kl": 0.0,
}
CLIPPED: dict[str, object] = {"method.objective": "clipped", "method.loss_mean": "tokens"}
DECODING: dict[str, object] = {"method.influence_source": "decoding"}
SCALED: dict[str, object] = DECODING | {"method.min_gap": 6, "method.gap_from": "response", "method.delta": 2}
FIXED: dict[str, object] = {"method.schedule": "fixed"}
TREE: dict[str, object] = {"method.name": "treerl"}
ENTROPY: dict[str, object] = TREE | {"method.first_token": False}
"""As it was measured: the first token of a completion was never forked."""
ATTENTION: dict[str, object] = {"method.name": "attnrl", **SCALED}
ALL_EXPANDED: dict[str, object] = {"method.expansion": "all"}
BOUNDED: dict[str, object] = {"method.batch_decay": 0.5, "method.batch_least": 0.5, "method.batch_most": 4.0}
ADAPTIVE: dict[str, object] = BOUNDED | {"method.off_policy": False}
GROUP: dict[str, object] = {"method.name": "grpo", "method.group": 30, **CLIPPED}
REPLAYED: dict[str, object] = {"method.name": "t-spmo", "method.group": 30, "method.l2": 0.0}

METHODS: dict[str, dict[str, object]] = {
    "GRPO, G = 30": GROUP,
    "GRPO, G = 6": {"method.name": "grpo", "method.group": 6, "train.problems_per_step": 20, **CLIPPED},
    "GRPO, dynamic sampling": GROUP | {"method.schedule": "dynamic"},
    "S-GRPO, G = 30": {
        "method.name": "s-grpo",
        "method.group": 30,
        "method.alpha": 24,
        "method.probability": 0.5,
        "method.k": 48,
    },
    "T-SPMO, G = 30": REPLAYED,
    "TreeRL (entropy)": ENTROPY,
    "TreeRL, all weights": ENTROPY | {"train.weights": "all"},
    "random steps": TREE | {"method.explore": "random_branching", "method.unit": "step"},
    "first two steps": TREE | {"method.explore": "first_steps"},
    "attention": ATTENTION | ALL_EXPANDED | FIXED,
    "attention, adaptive, no filter": ATTENTION | ADAPTIVE | {"method.easy_filter": "none"},
    "attention, adaptive, hard filter": ATTENTION | ADAPTIVE | {"method.easy_filter": "hard"},
    "attention, adaptive, all expanded": ATTENTION | ADAPTIVE | ALL_EXPANDED,
    "AttnRL, on-policy": ATTENTION | ADAPTIVE,
    "AttnRL": ATTENTION | ADAPTIVE | {"method.off_policy": True},
    "TreeRL, off-policy": ENTROPY | {"method.off_policy": True},
    "attnrl-paper": DECODING
    | BOUNDED
    | {
        "method.name": "attnrl-paper",
        "method.delta": 2,
        "method.off_policy": False,
    },
}
CROSSES: dict[str, dict[str, object]] = {
    "attention x prefix gain": ATTENTION | ALL_EXPANDED | FIXED | {"method.credit": "prefix_gain"},
    "T-SPMO, replay at high influence": REPLAYED | DECODING | {"method.explore": "attention_replay", "method.delta": 2},
    "attention x process value x unique pairs": ATTENTION
    | ALL_EXPANDED
    | FIXED
    | {"method.merged": True, "method.unexpanded": "keep", "method.select": "branching_pairs"},
    "attention x early and random": ATTENTION
    | ALL_EXPANDED
    | FIXED
    | {"method.select": "early_and_random", "method.alpha": 24, "method.probability": 0.5, "method.k": 48},
}
SETTINGS = METHODS | CROSSES
CHOSEN: dict[str, float] = {
    "GRPO, G = 30": 8e-3,
    "GRPO, G = 6": 1.6e-2,
    "GRPO, dynamic sampling": 8e-3,
    "S-GRPO, G = 30": 4e-3,
    "T-SPMO, G = 30": 4e-3,
    "TreeRL (entropy)": 4e-3,
    "TreeRL, all weights": 2e-4,
    "random steps": 8e-3,
    "first two steps": 8e-3,
    "attention": 1.6e-2,
    "attention, adaptive, no filter": 4e-3,
    "attention, adaptive, hard filter": 4e-3,
    "attention, adaptive, all expanded": 1.6e-2,
    "AttnRL, on-policy": 8e-3,
    "AttnRL": 8e-3,
    "TreeRL, off-policy": 4e-3,
    "attnrl-paper": 8e-3,
    "attention x prefix gain": 4e-3,
    "T-SPMO, replay at high influence": 8e-3,
    "attention x process value x unique pairs": 8e-3,
    "attention x early and random": 4e-3,
}
"""The learning rate of each setting: the best of its rates, by greedy accuracy in results/tuning, a tie by T = 1."""


def rates(name: str) -> tuple[float, ...]:
    """Return the learning rates tried for a setting."""
    return RATES_OF_ALL_WEIGHTS if SETTINGS[name].get("train.weights") == "all" else RATES


def tuning() -> Iterator[Cell]:
    """Every learning rate of every setting, on the validation split."""
    for name, keys in SETTINGS.items():
        for rate in rates(name):
            own = keys | {"train.learning_rate": rate}
            yield cell("tuning", f"{name} lr={rate:g}", TUNING_SECONDS, COMMON, own, seeds=TUNING_SEEDS, curve=False)


def compared(table: str, settings: dict[str, dict[str, object]]) -> Iterator[Cell]:
    """Settings on the test split, each with its best learning rate and fresh seeds."""
    for name, keys in settings.items():
        yield cell(table, name, SECONDS, COMMON, keys | {"train.learning_rate": CHOSEN[name]})


def all_cells() -> list[Cell]:
    """Every cell."""
    return [
        cell("base", "base", 0.0, COMMON, seeds=(0,)),
        *tuning(),
        *compared("methods", METHODS),
        *compared("crosses", CROSSES),
    ]
