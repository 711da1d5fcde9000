"""Tiny twins of AttnRL's tables 2 and 3, and crosses of its pieces with those of other methods.

8 x 1 digits, worked out in nine steps by the built-in model. Lengths are scaled by rule: the least gap of branches is
1/16 of the length (512 of 8192 tokens in the paper), the distance from which later steps count (delta) is 2 of 9 steps,
and the inertia of the number of problems is .5, because a few hundred steps are too short for .9.
"""

from collections.abc import Iterator

from recipes.cell import Cell, cell

SECONDS = 30.0
TUNING_SECONDS = 20.0
TUNING_SEED = 100
RATES = (1e-3, 2e-3, 4e-3)
"""Learning rates tried for every method alike."""

COMMON: dict[str, object] = {
    "model.name": "builtin:long_multiplication",
    "task": {"name": "multiplication", "digits_a": 8, "digits_b": 1},
    "lora.rank": 8,
    "lora.layers": "1/3",
    "sampling.temperature": 1.0,
    "sampling.max_new_tokens": 96,
    "train.threads": 1,
    "train.problems_per_step": 4,
    "train.learning_rate": 4e-3,  # the best of RATES for every method tried
    "train.final_learning_rate": 0.1,
    "method.kl": 0.0,
}
CLIPPED: dict[str, object] = {"method.objective": "clipped", "method.loss_mean": "tokens"}
DECODING: dict[str, object] = {"method.influence_source": "decoding"}
SCALED: dict[str, object] = DECODING | {"method.min_gap": 6, "method.gap_from": "response", "method.delta": 2}
FIXED: dict[str, object] = {"method.schedule": "fixed"}
TREE: dict[str, object] = {"method.name": "treerl"}
ATTENTION: dict[str, object] = {"method.name": "attnrl", **SCALED}
ALL_EXPANDED: dict[str, object] = {"method.expansion": "all"}
ADAPTIVE: dict[str, object] = {"method.batch_decay": 0.5, "method.off_policy": False}

METHODS: dict[str, dict[str, object]] = {
    "GRPO, G = 30": {"method.name": "grpo", "method.group": 30, **CLIPPED},
    "GRPO, G = 6": {"method.name": "grpo", "method.group": 6, "train.problems_per_step": 20, **CLIPPED},
    "S-GRPO, G = 30": {
        "method.name": "s-grpo",
        "method.group": 30,
        "method.alpha": 24,
        "method.probability": 0.5,
        "method.k": 48,
    },
    "T-SPMO, G = 30": {"method.name": "t-spmo", "method.group": 30, "method.l2": 0.0},
    "TreeRL (entropy)": TREE,
    "random steps": TREE | {"method.explore": "random_branching", "method.unit": "step"},
    "first two steps": TREE | {"method.explore": "first_steps"},
    "attention": ATTENTION | ALL_EXPANDED | FIXED,
    "attention, adaptive, no filter": ATTENTION | ADAPTIVE | {"method.easy_filter": "none"},
    "attention, adaptive, all expanded": ATTENTION | ADAPTIVE | ALL_EXPANDED,
    "AttnRL, on-policy": ATTENTION | ADAPTIVE,
    "AttnRL": ATTENTION | ADAPTIVE | {"method.off_policy": True},
    "TreeRL, off-policy": TREE | {"method.off_policy": True},
    "attnrl-paper": DECODING
    | {
        "method.name": "attnrl-paper",
        "method.delta": 2,
        "method.batch_decay": 0.5,
        "method.off_policy": False,
    },
}
CROSSES: dict[str, dict[str, object]] = {
    "attention x prefix gain": ATTENTION | ALL_EXPANDED | FIXED | {"method.credit": "prefix_gain"},
    "attention x process value x unique pairs": ATTENTION
    | ALL_EXPANDED
    | FIXED
    | {"method.merged": True, "method.unexpanded": "keep", "method.select": "branching_pairs"},
    "attention x early and random": ATTENTION
    | ALL_EXPANDED
    | FIXED
    | {"method.select": "early_and_random", "method.alpha": 24, "method.probability": 0.5, "method.k": 48},
}
TUNED = ("GRPO, G = 30", "T-SPMO, G = 30", "TreeRL (entropy)", "AttnRL, on-policy")


def tuning() -> Iterator[Cell]:
    """Every learning rate for one method of each kind, on the validation split."""
    for name in TUNED:
        for rate in RATES:
            keys = METHODS[name] | {"train.learning_rate": rate}
            yield cell("tuning", f"{name} lr={rate:g}", TUNING_SECONDS, COMMON, keys, seeds=(TUNING_SEED,))


def all_cells() -> list[Cell]:
    """Every cell."""
    return [
        cell("base", "base", 0.0, COMMON, seeds=(0,)),
        *tuning(),
        *(cell("methods", name, SECONDS, COMMON, keys) for name, keys in METHODS.items()),
        *(cell("crosses", name, SECONDS, COMMON, keys) for name, keys in CROSSES.items()),
    ]
