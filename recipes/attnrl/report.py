"""Rewrite the tables of README.md from the raw files in results/: no figure is typed by hand.

python -m recipes.attnrl.report
"""

import json
from pathlib import Path

import numpy as np

from creditree.report.wording import markdown_table
from recipes.attnrl.cells import CROSSES, METHODS, SETTINGS, rates
from recipes.tables import Found, Record, at, cost, load, provenance, spread, write

HERE = Path(__file__).resolve().parent
TOKENS = 500e3
"""Sampled tokens at which methods are compared: all runs went further."""


def row(name: str, records: list[Record]) -> list[str]:
    """Return one line of a table."""
    final = [record["final"] for record in records]
    last = [record["curve"][-1] for record in records]
    steps = float(np.mean([point["step"] for point in last]))
    seconds = cost(records, "cpu_s")
    return [
        name,
        *(spread([f[t] for f in final]) for t in ("T=0", "T=1")),
        spread([at(r, "sampled", TOKENS, "T=0") for r in records]),
        f"{cost(records, 'sampled') / 1e3:.0f}",
        f"{100 * cost(records, 'decoded') / cost(records, 'sampled'):.0f}",
        f"{100 * cost(records, 'useful_share'):.0f}",
        f"{seconds / steps:.3f}",
        f"{100 * cost(records, 'cpu_s_by_phase', 'sample') / seconds:.0f}",
        str(len(records)),
    ]


def table(cells: dict[str, list[Record]], names: list[str]) -> str:
    """Return a table of cells, in the order of `names`."""
    header = [
        "setting",
        "greedy",
        "T = 1",
        f"greedy at {TOKENS / 1e3:.0f} k tokens",
        "k tokens",
        "% decoded",
        "% useful",
        "s a step",
        "% of time sampling",
        "seeds",
    ]
    return markdown_table(header, [row(name, cells[name]) for name in names if name in cells])


def tuned(found: Found, name: str) -> dict[float, tuple[float, float]]:
    """Return greedy and T = 1 accuracy of each learning rate tried for a setting, the mean over seeds."""
    runs = {rate: found["tuning"].get(f"{name} lr={rate:g}", []) for rate in rates(name)}
    return {rate: (mean_final(runs[rate], "T=0"), mean_final(runs[rate], "T=1")) for rate in runs if runs[rate]}


def mean_final(records: list[Record], temperature: str) -> float:
    """Return the mean over seeds of the accuracy at the end."""
    return float(np.mean([record["final"][temperature] for record in records]))


def best_rates(found: Found) -> dict[str, float]:
    """Return the learning rate of the best greedy accuracy for each setting that was tuned, a tie by T = 1."""
    measured = {name: tuned(found, name) for name in SETTINGS}
    return {name: max(tried, key=lambda rate: tried[rate]) for name, tried in measured.items() if tried}


def tuning_table(found: Found) -> str:
    """Return greedy / T = 1 accuracy of every setting and rate."""
    best = best_rates(found)
    lines = []
    for name, rate in best.items():
        tried = tuned(found, name)
        cells = [f"{greedy:.3f} / {warm:.3f}".replace("0.", ".") for greedy, warm in tried.values()]
        lines.append([name, f"{min(tried):g}", *cells, f"{rate:g}"])
    return markdown_table(["setting", "least rate", "1 x", "2 x", "4 x", "taken"], lines)


def disruption(record: Record) -> str:
    """Return what hiding a step did, rule by rule."""
    found = record["still_right"]
    lines = []
    for name, hidden in found.items():
        if name.startswith("nothing"):
            continue
        control = found[f"nothing hidden: {name}"]
        low, high = hidden["nats_interval"]
        lines.append(
            [
                name,
                f"{hidden['right']} of {hidden['of']}",
                f"{control['right']} of {control['of']}",
                f"{hidden['nats_lost']:.2f} ({low:.2f} to {high:.2f})",
            ]
        )
    header = ["hidden step", "still right", "control", "nats a token lost (95 % interval)"]
    return markdown_table(header, lines)


def main() -> None:
    """Rewrite everything."""
    found = load(HERE / "results")
    (base,) = found["base"]["base"]
    for cells in found.values():
        for records in cells.values():
            for record in records:
                record["start"] = base["first_200"]
    sections = {
        "base": markdown_table(
            ["test split, n = 300", "greedy", "T = .3", "T = 1"],
            [["base", *(f"{value:.3f}".removeprefix("0") for value in base["base"].values())]],
        ),
        "tuning": tuning_table(found),
        "methods": table(found["methods"], list(METHODS)),
        "crosses": table(found["crosses"], list(CROSSES)),
        "disruption": disruption(json.loads((HERE / "results" / "disruption.json").read_text(encoding="utf-8"))),
        "provenance": provenance(found),
    }
    write(HERE / "README.md", sections)


if __name__ == "__main__":
    main()
