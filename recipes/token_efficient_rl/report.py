"""Rewrite the tables of README.md and the pictures from the raw files in results/: no figure is typed by hand.

python -m recipes.token_efficient_rl.report
"""

from pathlib import Path

from creditree.report.curves import Series, plot_curves
from creditree.report.wording import markdown_table
from recipes.tables import Record, at, cost, load, provenance, spread, write
from recipes.token_efficient_rl.grid import METHODS

HERE = Path(__file__).resolve().parent


def row(name: str, records: list[Record], early_s: float, tokens: float) -> list[str]:
    """Return one line of a table."""
    final = [record["final"] for record in records]
    learn = cost(records, "cpu_s_by_phase", "learn") / cost(records, "cpu_s")
    return [
        name,
        *(spread([f[t] for f in final]) for t in ("T=0", "T=0.3", "T=1")),
        spread([at(r, "cpu_s", early_s, "T=0") for r in records]),
        spread([at(r, "sampled", tokens, "T=0") for r in records]),
        spread([at(r, "sampled", tokens, "T=0.3") for r in records]),
        f"{cost(records, 'sampled') / 1e3:.0f}",
        f"{100 * cost(records, 'in_loss') / cost(records, 'sampled'):.1f}",
        f"{100 * learn:.0f}",
        str(len(records)),
    ]


def table(cells: dict[str, list[Record]], names: list[str], early_s: float, tokens: float) -> str:
    """Return a table of cells, in the order of `names`."""
    header = [
        "setting",
        "greedy",
        "T = .3",
        "T = 1",
        f"greedy at {early_s:g} s",
        f"greedy at {tokens / 1e3:.0f} k tokens",
        f"T = .3 at {tokens / 1e3:.0f} k tokens",
        "k tokens",
        "% in loss",
        "% of time in update",
        "seeds",
    ]
    return markdown_table(header, [row(name, cells[name], early_s, tokens) for name in names if name in cells])


def picture(cells: dict[str, list[Record]], names: dict[str, str], path: Path, title: str, temperature: str) -> None:
    """Draw accuracy against CPU seconds."""
    series = []
    for name, label in names.items():
        if name not in cells:
            continue
        points = [
            (
                [0.0, *(point["cpu_s"] for point in record["curve"])],
                [record["start"][temperature], *(point["accuracy"][temperature] for point in record["curve"])],
            )
            for record in cells[name]
        ]
        series.append(Series(label, points))
    if series:
        label = "greedy" if temperature == "T=0" else temperature
        plot_curves(
            series, path, x_label="CPU seconds of training", y_label=f"accuracy ({label}), 200 problems", title=title
        )


def main() -> None:
    """Rewrite everything."""
    found = load(HERE / "results")
    bases = {name: records[0] for name, records in found["base"].items()}
    for name, cells in found.items():
        task = "stories" if name.endswith("stories") else "four-by-one"
        for records in cells.values():
            for record in records:
                record["start"] = bases[task]["first_200"]
    sections = {
        "bases": markdown_table(
            ["task (test split, n = 300)", "greedy", "T = .3", "T = 1"],
            [
                [name, *(f"{value:.3f}".removeprefix("0") for value in record["base"].values())]
                for name, record in bases.items()
            ],
        ),
        "paper-like": "\n".join(
            f"{task}:\n\n" + table(found[name], sorted(found[name]), 10.0, 50e3)
            for task, name in (("four-by-one", "paper-like"), ("stories", "paper-like-stories"))
        ),
        "tuning": "\n".join(
            f"{task}:\n\n" + table(found[f"tuning-{task}"], sorted(found[f"tuning-{task}"]), 5.0, 100e3)
            for task in ("four-by-one", "stories")
            if found[f"tuning-{task}"]
        ),
        "tuned": "\n".join(
            f"{task}:\n\n" + table(found[f"tuned-{task}"], sorted(found[f"tuned-{task}"]), 5.0, 100e3)
            for task in ("four-by-one", "stories")
            if found[f"tuned-{task}"]
        ),
        **{
            section: table(found[name], sorted(found[name]), 5.0, 100e3)
            for section, name in (
                ("selections", "selections"),
                ("matching", "matching-stories"),
                ("tuning-selection", "tuning-selection"),
            )
            if found[name]  # one that is not run yet keeps the sentence that says so
        },
        "ablations": table(found["ablations"], sorted(found["ablations"]), 5.0, 100e3),
        "provenance": provenance(found),
    }
    write(HERE / "README.md", sections)
    for temperature, suffix in (("T=0", "greedy"), ("T=0.3", "T0.3")):
        for task in ("four-by-one", "stories"):
            names = {name: name for name in sorted(found[f"tuned-{task}"])}
            picture(found[f"tuned-{task}"], names, HERE / f"tuned-{task}-{suffix}.png", f"tuned, {task}", temperature)
        names = {
            f"{method} G=50 T=0.3 loss T={loss}": f"{method}, loss T={loss}"
            for method in METHODS
            for loss in (1.0, 0.3)
        }
        picture(found["paper-like"], names, HERE / f"paper-like-{suffix}.png", "|G| = 50, T = 0.3", temperature)


if __name__ == "__main__":
    main()
