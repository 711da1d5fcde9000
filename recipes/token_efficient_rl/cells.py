"""All cells, the tuned ones included: these take the setting that did best on the validation split."""

from collections.abc import Iterator

from grid import COMMON, FOUR_BY_ONE, STORIES, Cell, ablations, cell, main_table, tuned_keys, tuning

CHOSEN: dict[str, dict[str, tuple[int, float]]] = {}
"""For each task and method: index of the shape in `grid.SHAPES`, learning rate. Chosen from results/tuning-*."""


def tuned() -> Iterator[Cell]:
    """The chosen setting of each method, on the test split, with fresh seeds."""
    from grid import SHAPES

    tasks = {"four-by-one": (FOUR_BY_ONE, 30.0), "stories": (STORIES, 60.0)}
    for task_name, methods in CHOSEN.items():
        task, seconds = tasks[task_name]
        for method, (shape, rate) in methods.items():
            yield cell(f"tuned-{task_name}", method, seconds, task, COMMON, tuned_keys(method, SHAPES[shape], rate))


def all_cells() -> list[Cell]:
    """Every cell, in the order in which they are run."""
    return [
        cell("base", "four-by-one", 0.0, FOUR_BY_ONE, COMMON, seeds=(0,)),
        cell("base", "stories", 0.0, STORIES, COMMON, seeds=(0,)),
        *tuning("four-by-one", FOUR_BY_ONE, 20.0),
        *main_table(),
        *tuned(),
        *ablations(),
        *tuning("stories", STORIES, 30.0),
    ]
