"""What the benchmarks are to reach, and how each figure follows from the raw files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import spread

Record = dict[str, Any]
Raw = dict[str, Record]
"""Records by the name of their file, without its ending."""
Spread = dict[str, float]


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table: a figure, and the least or most that it may be (in `unit`).

    `measured` raises KeyError where a raw file is missing.
    """

    what: str
    bound: float
    measured: Callable[[Raw], Spread]
    at_least: bool = True
    unit: str = "x"

    def met(self, raw: Raw) -> bool:
        """Return whether the median reaches the bound."""
        median = self.measured(raw)["median"]
        return median >= self.bound if self.at_least else median <= self.bound


def faster(case: str, phase: str, variant: str = "default") -> Callable[[Raw], Spread]:
    """Return TRL's CPU seconds divided by ours."""
    return lambda raw: raw[f"vs_trl-{case}"]["trl_over_creditree"][variant][phase]


def smaller(case: str) -> Callable[[Raw], Spread]:
    """Return TRL's peak over the imports divided by ours, each with the whole group in one micro-batch."""

    def measured(raw: Raw) -> Spread:
        peaks = raw[f"vs_trl-{case}"]["peak_over_imports_mb"]
        ours = peaks.get("creditree whole-group", peaks["creditree"])["median"]
        return {key: value / ours for key, value in peaks["trl default"].items()}

    return measured


def over_weights(case: str, system: str) -> Callable[[Raw], Spread]:
    """Return the peak over imports and weights, in MB."""
    return lambda raw: raw[f"vs_trl-{case}"]["peak_over_imports_and_weights_mb"][system]


def update_share(case: str) -> Callable[[Raw], Spread]:
    """Return the update's share of our step, in percent."""

    def measured(raw: Raw) -> Spread:
        rounds = raw[f"vs_trl-{case}"]["rounds"]["creditree"]
        return spread([100 * record["cpu_s"]["update"] / record["cpu_s"]["step"] for record in rounds])

    return measured


def logit_positions(case: str) -> Callable[[Raw], Spread]:
    """Return at how many positions of one tree the update needs logits."""
    return lambda raw: spread([record["logit_positions"] for record in raw[f"vs_trl-{case}"]["rounds"]["creditree"]])


def rows_over_unique(raw: Raw) -> Spread:
    """Return rows decoded divided by unique prefixes, over every run of ours."""
    runs = [run for name, record in raw.items() if name.startswith("vs_trl-") for run in record["rounds"]["creditree"]]
    if not runs:
        raise KeyError("vs_trl")
    return spread([run["rows_decoded"] / run["unique_nodes"] for run in runs])


def sharing(model: str) -> Callable[[Raw], Spread]:
    """Return the engine's speed-up by shared prefixes divided by tokens sampled over rows decoded: the worst size."""

    def measured(raw: Raw) -> Spread:
        found = raw["throughput"][f"sharing-{model}"]
        return spread([size["speedup"]["median"] / size["tokens_over_rows_decoded"]["median"] for size in found])

    return measured


def peaky(case: str) -> Callable[[Raw], Spread]:
    """Return how much faster than TRL we sample, divided by tokens sampled over unique prefixes."""

    def measured(raw: Raw) -> Spread:
        record = raw[f"vs_trl-{case}"]
        runs = record["rounds"]["creditree"]
        shared = spread([run["tokens_sampled"] / run["unique_nodes"] for run in runs])["median"]
        ratio = record["trl_over_creditree"]["default"]["generate"]
        return {key: value / shared for key, value in ratio.items()}

    return measured


def never_slower(raw: Raw) -> Spread:
    """Return the seconds of `generate` divided by ours, over all models and sizes: the smallest is what counts."""
    sizes = [size for model in raw["throughput"]["models"].values() for size in model]
    found = [size["generate_over_creditree"]["median"] for size in sizes if "generate_over_creditree" in size]
    return spread(found) | {"median": min(found)}


def of_step(name: str, key: str, scale: float) -> Callable[[Raw], Spread]:
    """Return a number of one run of `step.py`."""
    return lambda raw: spread([raw[f"step-{name}"][key] * scale])


def update_seconds(name: str) -> Callable[[Raw], Spread]:
    """Return the CPU seconds of the update in one run of `step.py`."""
    return lambda raw: spread([raw[f"step-{name}"]["cpu_s"]["update"]])


def peak_over_weights(name: str) -> Callable[[Raw], Spread]:
    """Return the peak over imports and weights in one run of `step.py`, in MB."""

    def measured(raw: Raw) -> Spread:
        record = raw[f"step-{name}"]
        return spread([record["peak_rss_mb"] - record["rss_import_mb"] - record["weights_mb"]])

    return measured


def start(raw: Raw) -> Spread:
    """Return the CPU seconds of `creditree train` to its first step, over those of the imports."""
    found: Spread = raw["start"]["ratio"]
    return found


def help_seconds(raw: Raw) -> Spread:
    """Return the wall seconds of `creditree --help`."""
    return spread([raw["start"]["wall_s"]["help"]])


_TINY, _SMALL, _BF16 = "grpo-tiny-g8-t64", "grpo-small-g8-t64", "grpo-small-bf16-g8-t64"
_G50, _T256 = "grpo-small-g50-t64", "grpo-small-g8-t256"
BIG = "qwen2-1.5b-bf16"

GOALS = (
    Goal("GRPO update, tiny", 7, faster(_TINY, "update")),
    Goal("GRPO update, small", 5, faster(_SMALL, "update")),
    Goal("GRPO update, small, bf16", 7, faster(_BF16, "update")),
    Goal("GRPO update, tiny, TRL without checkpointing", 3, faster(_TINY, "update", "no-checkpointing")),
    Goal("GRPO update, small, TRL without checkpointing", 3, faster(_SMALL, "update", "no-checkpointing")),
    Goal("GRPO update, small, G = 50", 5.5, faster(_G50, "update")),
    Goal("generation, tiny", 8, faster(_TINY, "generate")),
    Goal("generation, small", 3, faster(_SMALL, "generate")),
    Goal("generation, small, bf16", 2.8, faster(_BF16, "generate")),
    Goal("generation, small, G = 50", 2.4, faster(_G50, "generate")),
    Goal("generation against generate, the worst of all sizes", 1, never_slower),
    Goal("GRPO step, tiny", 4, faster(_TINY, "step")),
    Goal("GRPO step, small", 2.3, faster(_SMALL, "step")),
    Goal("GRPO step, small, bf16", 4, faster(_BF16, "step")),
    Goal("GRPO step, small, G = 50", 3.5, faster(_G50, "step")),
    Goal("T-SPMO update against GRPO's, tiny, G = 50", 80, faster("tspmo-tiny-g50-t64", "update")),
    Goal("T-SPMO update against GRPO's, small, G = 50", 300, faster("tspmo-small-g50-t64", "update")),
    Goal("T-SPMO, G = 50: positions with logits", 49, logit_positions("tspmo-small-g50-t64"), False, ""),
    Goal("T-SPMO update's share of the step, tiny", 5, update_share("tspmo-tiny-g50-t64"), False, "%"),
    Goal("T-SPMO update's share of the step, small", 5, update_share("tspmo-small-g50-t64"), False, "%"),
    Goal("rows decoded / unique prefixes, all runs", 1, rows_over_unique, False),
    Goal("speed-up by sharing / (tokens / unique prefixes), tiny, 8 to 400 rows", 0.6, sharing("tiny")),
    Goal("speed-up by sharing / (tokens / unique prefixes), small, 8 to 400 rows", 0.6, sharing("small")),
    Goal("generation against TRL / (tokens / unique prefixes), peaky tiny", 0.6, peaky("peaky-tiny")),
    Goal("generation against TRL / (tokens / unique prefixes), peaky small", 0.6, peaky("peaky-small")),
    Goal("peak memory over the imports, small", 3.5, smaller(_SMALL)),
    Goal("peak memory over the imports, small, T = 256", 6, smaller(_T256)),
    Goal("peak memory over the imports, small, G = 50", 8, smaller(_G50)),
    Goal("peak over imports and weights, small", 80, over_weights(_SMALL, "creditree"), False, "MB"),
    Goal("Qwen2-1.5B, T-SPMO, G = 50: peak over weights", 1000, peak_over_weights(f"{BIG}-t-spmo-g50"), False, "MB"),
    Goal("Qwen2-1.5B, T-SPMO, G = 50: update", 1.5, update_seconds(f"{BIG}-t-spmo-g50"), False, "s"),
    Goal("Qwen2-1.5B, GRPO, G = 8: operations", 6.5, of_step(f"{BIG}-grpo-g8", "flops", 1e-12), False, "TF"),
    Goal("Qwen2-1.5B, GRPO, G = 50: operations", 40, of_step(f"{BIG}-grpo-g50", "flops", 1e-12), False, "TF"),
    Goal("Qwen2-1.5B, T-SPMO, G = 50: operations", 2.8, of_step(f"{BIG}-t-spmo-g50", "flops", 1e-12), False, "TF"),
    Goal("`creditree train` to its first step / `import transformers, peft`", 1.5, start, False),
    Goal("`creditree --help`", 0.5, help_seconds, False, "s"),
)
