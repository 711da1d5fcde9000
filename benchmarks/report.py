"""Rewrite the tables of docs/BENCHMARKS.md from the raw files in benchmarks/results/: no figure is typed by hand.

python benchmarks/report.py
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.goals import GOALS, Goal, Raw, Record
from benchmarks.gpu_goals import RECORDS, TRL_STEPS, WORKS, gpu_goals
from benchmarks.gpu_record import read, read_all
from benchmarks.measure import PHASES
from creditree.report.wording import markdown_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS, DOCUMENT = ROOT / "benchmarks" / "results", ROOT / "docs" / "BENCHMARKS.md"
START, END = "<!-- {}: made by report.py -->", "<!-- end of {} -->"
NOT_MEASURED = "not measured"


def load(results: Path = RESULTS) -> Raw:
    """Return the raw records by the name of their file; those of the GPU together, by their own names."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    records = results / f"{RECORDS}.jsonl"
    if not records.is_file():
        return found
    steps = [
        record["step"]["wall_s"]["step"] for record in read_all(records) if record["name"] == "trl" and record["step"]
    ]
    return found | {RECORDS: read(records) | {TRL_STEPS: {"wall_s": steps}}}


def number(value: float) -> str:
    """Return three significant digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ranged(found: dict[str, float], unit: str) -> str:
    """Return a median, with its range where there is one."""
    text = f"{number(found['median'])} {unit}".strip()
    low, high = number(found["min"]), number(found["max"])
    return text if low == high else f"{text} ({low} to {high})"


def goal_line(goal: Goal, raw: Raw) -> list[str]:
    """Return one line of the table of goals."""
    sign = "≥" if goal.at_least else "≤"
    wanted = f"{sign} {goal.bound:g} {goal.unit}".strip()
    try:
        return [goal.what, wanted, ranged(goal.measured(raw), goal.unit), "yes" if goal.met(raw) else "no"]
    except KeyError:
        return [goal.what, wanted, NOT_MEASURED, ""]


def case_lines(record: Record) -> list[list[str]]:
    """Return the lines of a case in the table of seconds: one a system."""
    lines = []
    for system, rounds in record["rounds"].items():
        seconds = [f"{statistics.median(run['cpu_s'][phase] for run in rounds):.3g}" for phase in PHASES]
        flops = [run["flops"] for run in rounds if run["flops"]]
        peak = record["peak_over_imports_mb"][system]
        lines.append(
            [
                record["case"],
                f"{system} {record['method']}" if system == "creditree" else system,
                *seconds,
                f"{rounds[0]['tokens_sampled']:.0f}",
                f"{rounds[0]['unique_nodes']:.0f}" if "unique_nodes" in rounds[0] else "",
                f"{rounds[0]['tokens_forwarded']:.0f}",
                f"{flops[0] / 1e9:.3g}" if flops else "",
                f"{peak['median']:.0f}" if peak else "",
            ]
        )
    for system in record["once"]:
        peak = record["peak_over_imports_mb"][system]
        lines.append([record["case"], f"{system}, once", *[""] * 7, f"{peak['median']:.0f}" if peak else ""])
    return lines


def seconds_table(raw: Raw) -> str:
    """Return the seconds, the work and the memory of both systems, case by case."""
    header = ["case", "system", *PHASES, "tokens sampled", "unique", "forwarded", "GFLOP", "peak MB"]
    records = [record for name, record in raw.items() if name.startswith("vs_trl-")]
    return markdown_table(header, [line for record in records for line in case_lines(record)])


def throughput_table(raw: Raw) -> str:
    """Return tokens a CPU second against the number of completions decoded together."""
    lines = []
    for model, sizes in raw.get("throughput", {"models": {}})["models"].items():
        for size in sizes:
            per_s: dict[str, dict[str, float]] = size["tokens_per_s"]
            ratio = size.get("generate_over_creditree")
            lines.append(
                [
                    model,
                    str(size["rows"]),
                    *(f"{per_s[name]['median']:.0f}" if name in per_s else "" for name in ("creditree", "generate")),
                    ranged(ratio, "x") if ratio else "",
                    f"{statistics.median(w['tokens_sampled'] / w['rows_decoded'] for w in size['work']):.3g}",
                ]
            )
    return markdown_table(["model", "rows", "creditree", "generate", "ratio", "tokens / rows decoded"], lines)


def lines_of(name: str, results: Path = RESULTS) -> list[Record]:
    """Return the records of a benchmark that keeps a line for each cell."""
    path = results / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def wide_products_table(records: list[Record]) -> str:
    """Return what an update takes with products in float32 and with torch's own of bfloat16."""
    header = [
        "model",
        "precision",
        "method",
        "instructions",
        "tokens forwarded",
        "in the loss",
        "CPU s",
        "torch's",
        "ratio",
    ]
    lines = [
        [
            one["model"].removesuffix(".gguf"),
            one["dtype"],
            one["method"],
            (one["instructions"] or "all there are").lower(),
            str(one["tokens_forwarded"]),
            str(one["loss_terms"]),
            f"{one['update_s']:.3g}",
            f"{one['torch_s']:.3g}",
            ranged(one["ratio"], "x"),
        ]
        for one in records
    ]
    return markdown_table(header, lines) + _made_on(records)


def _made_on(records: list[Record]) -> str:
    made = sorted({f"{one['environment']['cpu']}, commit {one['environment']['commit']}" for one in records})
    return "".join(f"\nMade on {one}.\n" for one in made)


def real_decode_table(records: list[Record]) -> str:
    """Return tokens a second of pretrained models beside the limits of the machine and two other programs."""
    header = ["model", "precision", "instructions", "threads", "rows", "tokens a second", "generate", "llama.cpp"]
    header += ["read, GB a second", "of reading", "of float32 peak", "of the nearer limit"]
    lines = [
        [one["model"], one["dtype"], one["isa"], str(one["threads"]), str(one["rows"]), number(one["tokens_per_s"])]
        + [number(one[key]) if one[key] else "" for key in ("generate_tokens_per_s", "llama_cpp_tokens_per_s")]
        + [number(one["read_gb_per_s"])]
        + [f"{100 * one[key]:.0f} %" for key in ("of_read", "of_peak", "of_limit")]
        for one in records
    ]
    return markdown_table(header, lines) + _made_on(records)


def plan_table() -> str:
    """Return what the plan says of the steps that the GPU is to make: nothing in it is measured."""
    header = ["step", "peak, expected", "peak, at most", "sampling", "update"]
    lines = [
        [name, f"{number(work.planned_gb)} GB", f"{number(work.planned_at_most_gb)} GB"]
        + [f"{number(tf)} TFLOP" for tf in (work.sampling_tf, work.update_tf)]
        for name, work in WORKS.items()
    ]
    return markdown_table(header, lines)


def provenance(raw: Raw) -> str:
    """Return what the runs were made with."""
    environments: list[dict[str, Any]] = [record["environment"] for record in raw.values()]
    names = ("commit", "python", "torch", "transformers", "peft", "cpu", "cores")
    found = {name: sorted({str(environment.get(name)) for environment in environments}) for name in names}
    compared = [record for name, record in raw.items() if name.startswith("vs_trl-")]
    sides = [run["versions"] for record in compared for run in record["rounds"]["trl default"]]
    for name in ("trl", "transformers", "peft", "accelerate"):
        found[f"{name}, on TRL's side"] = sorted({side[name] for side in sides})
    lines = [f"- {name}: {', '.join(values)}" for name, values in found.items()]
    return "\n".join(lines) + "\n"


def sections(raw: Raw) -> dict[str, str]:
    """Return the marked sections of the document."""
    header = ["what", "goal", "measured", "met"]
    used = {
        name: record for name, record in raw.items() if name.startswith(("vs_trl-", "throughput", "step-", "start"))
    }
    return {
        "goals": markdown_table(header, [goal_line(goal, raw) for goal in GOALS]),
        "gpu goals": markdown_table(header, [goal_line(goal, raw) for goal in gpu_goals()]),
        "gpu plan": plan_table(),
        "seconds": seconds_table(raw),
        "throughput": throughput_table(raw),
        "real decode": real_decode_table(lines_of("real_decode")),
        "wide products": wide_products_table(lines_of("wide_products")),
        "provenance": provenance(used),
    }


def marked(text: str, name: str, content: str) -> str:
    """Return `text` with `content` between the marks of section `name`."""
    start, end = START.format(name), END.format(name)
    if start not in text or end not in text:
        raise SystemExit(f"{DOCUMENT.name} has no marks for the section '{name}'")
    before, rest = text.split(start, 1)
    return f"{before}{start}\n\n{content}\n{end}{rest.split(end, 1)[1]}"


def main() -> None:
    """Rewrite the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, content in sections(load()).items():
        text = marked(text, name, content)
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
