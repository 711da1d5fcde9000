"""Tables of tiny twins from their raw files: no figure is typed by hand."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from creditree.evaluate.seeds import mean_and_spread

START, END = "<!-- {}: made by report.py -->", "<!-- end of {} -->"
Record = dict[str, Any]
Found = dict[str, dict[str, list[Record]]]
"""Raw records by table and name, seeds in order."""


def load(results: Path) -> Found:
    """Return the raw records by table and name, seeds in order."""
    found: Found = defaultdict(lambda: defaultdict(list))
    for path in sorted(results.glob("*/*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found[record["table"]][record["name"]].append(record)
    return found


def spread(values: list[float]) -> str:
    """Return mean ± standard deviation over seeds, without the leading zero."""
    if any(np.isnan(values)):
        return "–"
    found = mean_and_spread(values)
    mean = f"{found.mean:.3f}".removeprefix("0") if found.mean < 1 else "1"
    return mean if found.sd is None else f"{mean} ± {found.sd:.3f}".replace("± 0.", "± .")


def at(record: Record, axis: str, mark: float, temperature: str) -> float:
    """Return the accuracy at a mark of CPU seconds or sampled tokens, on the line between the two nearest points.

    NaN where the run ended before the mark.
    """
    x = [point[axis] for point in record["curve"]]
    y = [point["accuracy"][temperature] for point in record["curve"]]
    if mark > x[-1]:
        return float("nan")
    return float(np.interp(mark, [0.0, *x], [record["start"][temperature], *y]))


def cost(records: list[Record], *keys: str) -> float:
    """Return the mean over seeds of a number of the last point."""
    values = []
    for record in records:
        value: Any = record["curve"][-1]
        for key in keys:
            value = value.get(key, 0.0)
        values.append(float(value))
    return float(np.mean(values))


def write(readme: Path, sections: dict[str, str]) -> None:
    """Put each section between its marks in a README."""
    text = readme.read_text(encoding="utf-8")
    for name, content in sections.items():
        start, end = START.format(name), END.format(name)
        if start not in text or end not in text:
            raise SystemExit(f"{readme} has no marks for the section '{name}'")
        before, rest = text.split(start, 1)
        text = f"{before}{start}\n\n{content}\n{end}{rest.split(end, 1)[1]}"
    readme.write_text(text, encoding="utf-8")


def provenance(found: Found) -> str:
    """Return what the runs were made with."""
    environments = [r["environment"] for cells in found.values() for records in cells.values() for r in records]
    lines = []
    for key in ("commit", "python", "torch", "transformers", "peft", "cpu", "cores", "gpu", "cuda"):
        values = sorted({str(environment[key]) for environment in environments if key in environment})
        lines += [f"- {key}: {', '.join(values)}"] if values else []
    total = sum(
        r["curve"][-1]["cpu_s"] for cells in found.values() for rs in cells.values() for r in rs if "curve" in r
    )
    lines.append(f"- {len(environments)} runs, {total / 3600:.1f} CPU hours of training")
    return "\n".join(lines) + "\n"
