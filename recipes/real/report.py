"""Rewrite the tables and the picture of README.md from the raw files in results/: no figure is typed by hand.

python -m recipes.real.report
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from creditree.evaluate.statistics import Difference, holm, paired_mean_difference, wilson
from creditree.report.curves import Series, plot_curves
from creditree.report.wording import markdown_table, p_value, points_interval
from creditree.rng import Key
from recipes.real.cells import HERE, METHODS, SETUPS, TRIED, Setup
from recipes.tables import Found, Record, cost, load, provenance, spread, write

DECODINGS = ("greedy", "T=0.3")
OTHER_RATES = "-rates-of-a-cpu"
"""What the name of a set-up's table of other learning rates ends with: those that its twin on a CPU chose."""
WINDOW = 5
"""Steps over which a training reward is averaged."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The seconds that a set-up's training is measured in: what they are called, and where raw files hold them."""

    name: str
    point: str
    phases: str


CPU, GPU = Clock("CPU s", "cpu_s", "cpu_s"), Clock("GPU s", "seconds", "wall_s")


def clock_of(setup: Setup) -> Clock:
    """Return processor seconds or, on a GPU, wall seconds, in which it is shared with the cells beside."""
    return CPU if setup.device == "cpu" else GPU


def shares(records: Sequence[Record], decoding: str) -> list[float]:
    """Return for each problem, in order of id, the share of right completions over seeds."""
    by_seed = [record["evaluation"][decoding]["share_correct"] for record in records]
    return [float(np.mean([one[problem] for one in by_seed])) for problem in sorted(by_seed[0])]


def compared(before: Sequence[Record], after: Sequence[Record], decoding: str) -> Difference:
    """Return the paired difference over problems of two settings' means over seeds."""
    return paired_mean_difference(shares(before, decoding), shares(after, decoding), Key.of(0))


def accuracies(records: Sequence[Record], decoding: str) -> list[float]:
    """Return a setting's accuracies, by seed."""
    return [record["evaluation"][decoding]["accuracy"] for record in records]


def main_table(cells: dict[str, list[Record]], clock: Clock = CPU) -> str:
    """Return the table of a setup: base, and every method that has been run."""
    names = [name for name in METHODS if name in cells]
    header = [
        "",
        *DECODINGS,
        "tokens, greedy",
        "% cut off",
        "k tokens",
        "% in loss",
        clock.name,
        "% in update",
        "seeds",
    ]
    base = cells["base"]
    rows = [["base", *(_base(base[0], decoding) for decoding in DECODINGS), *_length(base), *["–"] * 5]]
    for name in names:
        records = cells[name]
        rows.append(
            [
                name,
                *(spread(accuracies(records, decoding)) for decoding in DECODINGS),
                *_length(records),
                f"{cost(records, 'sampled') / 1e3:.1f}",
                f"{100 * cost(records, 'in_loss') / cost(records, 'sampled'):.1f}",
                spread_whole([record["curve"][-1][clock.point] for record in records]),
                f"{100 * np.mean([r[clock.phases]['learn'] / r['curve'][-1][clock.point] for r in records]):.0f}",
                str(len(records)),
            ]
        )
    return markdown_table(header, rows)


def _length(records: Sequence[Record]) -> tuple[str, str]:
    """Return the mean length of greedy completions, and the percentage of them that the limit of tokens cut off."""
    found = [record["evaluation"][DECODINGS[0]] for record in records]
    length = np.mean([one["tokens"] / one["completions"] for one in found])
    return f"{length:.1f}", f"{100 * np.mean([one['truncated'] / one['completions'] for one in found]):.0f}"


def base_alone(record: Record, setup: Setup) -> str:
    """Return the base model's accuracies, for a setup of which nothing else has been run."""
    found = ", ".join(f"{decoding} {_base(record, decoding)}" for decoding in DECODINGS)
    length = sum(one["tokens"] for one in record["evaluation"].values()) / sum(
        one["completions"] for one in record["evaluation"].values()
    )
    rest = "Its runs of learning are still in the queue." if setup.methods else "No method is run on it."
    return f"Base model: {found}; {length:.0f} tokens a completion. {rest}\n"


def _base(record: Record, decoding: str) -> str:
    found = record["evaluation"][decoding]
    estimate = wilson(round(found["accuracy"] * found["completions"]), found["completions"])
    low, high = (spread([value]) for value in (estimate.interval.low, estimate.interval.high))
    return f"{spread([estimate.value])} ({low} to {high})"


def spread_whole(values: Sequence[float]) -> str:
    """Return mean ± standard deviation of numbers that need no decimals."""
    mean = f"{np.mean(values):.0f}"
    return f"{mean} ± {np.std(values, ddof=1):.0f}" if len(values) > 1 else mean


def differences(cells: dict[str, list[Record]]) -> str:
    """Return what each method changed, and how methods differ: p by Holm within a decoding and a kind of question."""
    names = [name for name in METHODS if name in cells]
    questions = ([("base", name) for name in names], list(combinations(names, 2)))
    rows = []
    for pairs in questions:
        found = {d: [compared(cells[a], cells[b], d) for a, b in pairs] for d in DECODINGS}
        adjusted = {d: holm([one.p_value for one in found[d]]) for d in DECODINGS}
        for place, (before, after) in enumerate(pairs):
            row = [f"{after} − {before}"]
            for decoding in DECODINGS:
                one = found[decoding][place]
                row += [points_interval(one.value, one.interval), p_value(adjusted[decoding][place])]
            rows.append(row)
    header = ["points (95 % interval)", *(text for decoding in DECODINGS for text in (decoding, "p (Holm)"))]
    return markdown_table(header, rows)


def tuning_table(cells: dict[str, list[Record]]) -> str:
    """Return the accuracies by method and learning rate on the validation problems."""
    rows = []
    for name in sorted(cells):
        (record,) = cells[name]
        found = [record["evaluation"][decoding]["accuracy"] for decoding in DECODINGS]
        rows.append([name, *(spread([one]) for one in found), spread([float(np.mean(found))])])
    return markdown_table(["setting", *DECODINGS, "mean"], rows)


def best_rate(cells: dict[str, list[Record]], method: str) -> float:
    """Return the learning rate with the best mean of the two accuracies; of equals the smaller. KeyError: not tuned."""
    found = {}
    for rate in TRIED:
        (record,) = cells[f"{method} lr={rate:g}"]
        found[rate] = float(np.mean([record["evaluation"][decoding]["accuracy"] for decoding in DECODINGS]))
    return max(sorted(found), key=lambda rate: found[rate])


def reward_at(record: Record, mark: float, clock: Clock = CPU) -> float:
    """Return the mean training reward of the last steps before a mark of seconds."""
    rewards = [point["reward_mean"] for point in record["curve"] if point[clock.point] <= mark]
    return float(np.mean(rewards[-WINDOW:])) if rewards else float("nan")


def equal_seconds(cells: dict[str, list[Record]], clock: Clock = CPU) -> str:
    """Return training rewards at equal seconds: where the fastest run ended, and at half of that."""
    names = [name for name in METHODS if name in cells]
    end = min(record["curve"][-1][clock.point] for name in names for record in cells[name])
    marks = (end / 2, end)
    header = ["training reward", *(f"at {mark:.0f} {clock.name}" for mark in marks)]
    return markdown_table(
        header,
        [[name, *(spread([reward_at(r, mark, clock) for r in cells[name]]) for mark in marks)] for name in names],
    )


def on_gpu(cells: dict[str, list[Record]]) -> str:
    """Return what else is to be known of cells on a GPU: their steps, their start, and how they were decoded."""
    records = [record for group in cells.values() for record in group]
    learned = [record["curve"][-1] for record in records if "curve" in record]
    peak = max(record["peak_bytes"] for record in records)
    eager = sum(record["eager"] or 0 for record in records)
    steps = [point["step"] for point in learned]
    pace = np.mean([point["sampled"] / point["seconds"] for point in learned])
    return (
        f"{min(steps)} to {max(steps)} steps a run; {pace:,.0f} sampled tokens a second in each of up to "
        f"{max(record['side_by_side'] for record in records)} cells side by side, updates included; "
        f"{np.mean([record['start_s'] for record in records]):.0f} s from the start of a process to its first step; "
        f"peak {peak / 1e9:.1f} GB; {eager} decoding steps that no graph launched.\n"
    )


def picture(cells: dict[str, list[Record]], setup: Setup) -> None:
    """Draw the training reward against sampled tokens."""
    series = [Series(name, [_curve(record) for record in cells[name]]) for name in METHODS if name in cells]
    plot_curves(
        series,
        HERE / f"{setup.name}.png",
        x_label="sampled tokens",
        y_label=f"training reward, mean of {WINDOW} steps",
        title=setup.name,
    )


def _curve(record: Record) -> tuple[list[float], list[float]]:
    rewards = [point["reward_mean"] for point in record["curve"]]
    smooth = [float(np.mean(rewards[max(0, end - WINDOW) : end])) for end in range(1, len(rewards) + 1)]
    return [float(point["sampled"]) for point in record["curve"]], smooth


def sections(found: Found) -> dict[str, str]:
    """Return what is written between the marks, for the setups that have been run."""
    made = {}
    for setup in SETUPS:
        cells, tuning = found.get(setup.name, {}), found.get(f"tuning-{setup.name}", {})
        if tuning:
            made[f"tuning-{setup.name}"] = tuning_table(tuning)
        other = found.get(setup.name + OTHER_RATES, {})
        if other:
            made[setup.name + OTHER_RATES] = main_table({"base": cells["base"], **other}, clock_of(setup))
        if set(cells) == {"base"}:
            made[setup.name] = base_alone(cells["base"][0], setup)
        elif "base" in cells:
            made[setup.name] = "\n".join(_parts(cells, setup))
    return made


def _parts(cells: dict[str, list[Record]], setup: Setup) -> list[str]:
    clock = clock_of(setup)
    parts = [main_table(cells, clock), differences(cells), equal_seconds(cells, clock)]
    parts += [] if setup.device == "cpu" else [on_gpu(cells)]
    return [*parts, f"![training reward]({setup.name}.png)\n"]


def main(readme: Path = HERE / "README.md") -> None:
    """Rewrite everything."""
    found = load(HERE / "results")
    write(readme, sections(found) | {"provenance": provenance(found)})
    for setup in SETUPS:
        if any(name in found.get(setup.name, {}) for name in METHODS):  # one that is only measured has no curve
            picture(found[setup.name], setup)


if __name__ == "__main__":
    main()
