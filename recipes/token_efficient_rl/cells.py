"""All cells, the tuned ones included: these take the setting that did best on the validation split."""

from collections.abc import Iterator

from recipes.cell import Cell, cell
from recipes.token_efficient_rl.grid import (
    COMMON,
    FOUR_BY_ONE,
    STORIES,
    TRIED,
    ablations,
    main_table,
    stories_table,
    tuned_keys,
    tuning,
)
from recipes.token_efficient_rl.selections import matching_table, selection_table, selection_tuning

CHOSEN: dict[str, dict[str, int]] = {
    "four-by-one": {"grpo": 2, "s-grpo": 2, "t-spmo": 2},
    "stories": {"grpo": 1, "s-grpo": 1, "t-spmo": 4},
}
"""For each task and method: index in `grid.TRIED`, by accuracy at T = 0.3 in results/tuning-*."""


def tuned() -> Iterator[Cell]:
    """The chosen setting of each method, on the test split, with fresh seeds."""
    tasks = {"four-by-one": (FOUR_BY_ONE, 30.0), "stories": (STORIES, 60.0)}
    for task_name, methods in CHOSEN.items():
        task, seconds = tasks[task_name]
        for method, index in methods.items():
            keys = tuned_keys(method, TRIED[index])
            yield cell(f"tuned-{task_name}", method, seconds, task, COMMON, keys)
            if task_name == "four-by-one":
                printed = keys | {"method.loss_temperature": 1.0}
                yield cell(f"tuned-{task_name}", f"{method} loss T=1", seconds, task, COMMON, printed)


def all_cells() -> list[Cell]:
    """Every cell, in the order in which they are run."""
    return [
        cell("base", "four-by-one", 0.0, FOUR_BY_ONE, COMMON, seeds=(0,)),
        cell("base", "stories", 0.0, STORIES, COMMON, seeds=(0,)),
        *tuning("four-by-one", FOUR_BY_ONE, 20.0),
        *main_table(),
        *stories_table(),
        *tuned(),
        *ablations(),
        *tuning("stories", STORIES, 30.0),
        *selection_tuning(),
        *selection_table(),
        *matching_table(),
    ]
