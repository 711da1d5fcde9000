"""Cells of the selections that need no tuning by hand, and of fuzzy against exact matching of prefixes."""

from collections.abc import Iterator, Mapping

from recipes.cell import Cell, cell
from recipes.token_efficient_rl.grid import COMMON, FOUR_BY_ONE, STORIES, TRIED, TUNING_SEED, tuned_keys

LENGTH = 64
"""Longest completion: as a cap it is none."""

NEW: dict[str, Mapping[str, object]] = {
    "top entropy, q=0.2": {"method.select": "top_entropy"},
    "low probability, below 0.9": {"method.select": "low_probability"},
    "early and random, Horvitz-Thompson": {
        "method.name": "s-grpo",
        "method.alpha": 8,
        "method.probability": 0.7,
        "method.k": LENGTH,
        "method.reweight": "horvitz_thompson",
    },
    "prefix cut": {"method.select": "prefix_cut"},
    "adapter residual, q=0.5": {"method.select": "adapter_residual"},
    "auto, positions, budget=0.5": {"method.select": "auto"},
    "auto, tokens, budget=0.5": {"method.select": "auto", "method.allocation": "tokens"},
    "auto, tokens, budget=0.2": {"method.select": "auto", "method.allocation": "tokens", "method.budget": 0.2},
}
"""GRPO with another selection; its numbers are the defaults, wherever they come from. No number was tried out."""

RATES = (2e-3, 4e-3, 8e-3)
RATE: dict[str, float] = dict.fromkeys(NEW, 8e-3) | {
    "adapter residual, q=0.5": 4e-3,
    "auto, positions, budget=0.5": 4e-3,
    "auto, tokens, budget=0.2": 4e-3,
}
"""Learning rate of each, by accuracy at T = 0.3 in results/tuning-selection."""

MATCHING: dict[str, Mapping[str, object]] = {
    "exact": {},
    "text": {"method.match": "text"},
    "hidden, cosine 0.99": {"method.match": "hidden"},
    "hidden, cosine 0.95": {"method.match": "hidden", "method.similarity": 0.95},
}


def _keys(name: str, rate: float) -> dict[str, object]:
    """Return the keys of a new selection: GRPO's chosen setting, but for the selection and the learning rate."""
    return tuned_keys("grpo", TRIED[2]) | dict(NEW[name]) | {"train.learning_rate": rate}


def selection_table() -> Iterator[Cell]:
    """Each selection at equal seconds, GRPO and S-GRPO as they were tuned beside them."""
    for method in ("grpo", "s-grpo"):
        yield cell("selections", method, 30.0, FOUR_BY_ONE, COMMON, tuned_keys(method, TRIED[2]))
    for name, rate in RATE.items():
        yield cell("selections", name, 30.0, FOUR_BY_ONE, COMMON, _keys(name, rate))


def selection_tuning() -> Iterator[Cell]:
    """The learning rates that GRPO and S-GRPO were tried with, on the validation split."""
    for name in NEW:
        for rate in RATES:
            keys = _keys(name, rate)
            label = f"{name} lr={rate}"
            yield cell("tuning-selection", label, 20.0, FOUR_BY_ONE, COMMON, keys, seeds=(TUNING_SEED,))


def matching_table() -> Iterator[Cell]:
    """T-SPMO's chosen setting on word problems, with prefixes that match exactly and fuzzily."""
    for name, extra in MATCHING.items():
        yield cell("matching-stories", f"t-spmo {name}", 60.0, STORIES, COMMON, tuned_keys("t-spmo", TRIED[4]), extra)
