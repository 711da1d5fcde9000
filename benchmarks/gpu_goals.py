"""What the GPU is to reach: figures of the records in `gpu.jsonl`, and what `creditree.plan` says of the same work."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.goals import Goal, Raw, Record, Spread
from benchmarks.measure import spread
from creditree.demand import Learns
from creditree.models.load import Dtype
from creditree.models.shapes import PUBLIC_SHAPES
from creditree.plan.flops import step_cost
from creditree.plan.prediction import predict
from creditree.plan.workload import Workload

RECORDS = "gpu"
"""The file of the records, without its ending."""
TRL_STEPS = "trl steps"
"""Not a record of its own: the seconds of TRL's step on every machine that measured one."""


@dataclass(frozen=True, slots=True)
class GpuWork:
    """A training step that a piece of `gpu_run.py` measures: the last third of the layers is adapted.

    `micro_batch_tokens`: of the record, where it does not say so itself.
    """

    piece: str
    shape: str
    dtype: Dtype
    learns: Learns
    group: int
    tokens: int
    problems: int = 1
    prompt_tokens: int = 100
    micro_batch_tokens: int = 1024

    @property
    def workload(self) -> Workload:
        """What the plan knows of it."""
        shape = PUBLIC_SHAPES[self.shape]
        layers = tuple(range(shape.num_layers - max(1, shape.num_layers // 3), shape.num_layers))
        return Workload(
            shape, self.dtype, layers, self.prompt_tokens, self.tokens, self.group,
            problems=self.problems, learns=self.learns, native=False, static=True,
            on_host=False, micro_batch_tokens=self.micro_batch_tokens,
        )  # fmt: skip

    @property
    def planned_gb(self) -> float:
        """The peak of torch's allocator that is expected."""
        return max(phase.in_torch for phase in predict(self.workload, expected=True).phases) / 1e9

    @property
    def planned_at_most_gb(self) -> float:
        """The peak of torch's allocator that is allowed for."""
        return max(phase.in_torch for phase in predict(self.workload).phases) / 1e9

    @property
    def sampling_tf(self) -> float:
        """Operations of sampling, in 10^12, with a row for each completion."""
        cost = step_cost(self.workload, expected=True)
        return (cost.prefill_flops + cost.decode_flops) / 1e12

    @property
    def update_tf(self) -> float:
        """Operations of the update, in 10^12."""
        return step_cost(self.workload, expected=True).update_flops / 1e12


GRPO = GpuWork("grpo", "Qwen/Qwen2.5-0.5B", "bfloat16", "everything", 16, 256, problems=8, micro_batch_tokens=8192)
T_SPMO = GpuWork("t-spmo", "Qwen/Qwen2.5-0.5B", "bfloat16", "branching", 16, 256, problems=8)
LARGE = GpuWork("t-spmo-1.5b", "Qwen/Qwen2-1.5B", "bfloat16", "branching", 50, 300)
LARGE_NF4 = GpuWork("t-spmo-1.5b-nf4", "Qwen/Qwen2-1.5B", "nf4", "branching", 50, 300)
WORKS = {
    "Qwen2.5-0.5B, GRPO, 8 x 16, 256 tokens, bf16": GRPO,
    "Qwen2.5-0.5B, T-SPMO, 8 x 16, 256 tokens, bf16": T_SPMO,
    "Qwen2-1.5B, T-SPMO, G = 50, 300 tokens, bf16": LARGE,
    "Qwen2-1.5B, T-SPMO, G = 50, 300 tokens, nf4": LARGE_NF4,
}
"""The steps, by what they are called in the tables."""


def of_roofline(piece: str, rows: int) -> Callable[[Raw], Spread]:
    """Return tokens a second over what reading the weights allows, in percent."""

    def measured(raw: Raw) -> Spread:
        found = [row for row in raw[RECORDS][piece]["rows"] if row["rows"] == rows]
        if not found:
            raise KeyError(rows)
        return spread([100 * rate / found[0]["roofline"] for rate in found[0]["all"]])

    return measured


def over_trl(piece: str) -> Callable[[Raw], Spread]:
    """Return TRL's wall seconds of a GRPO step over ours, both of the last machine; the range is over TRL's of all."""

    def measured(raw: Raw) -> Spread:
        theirs = raw[RECORDS]["trl"]["step"]
        if theirs is None:
            raise KeyError("trl")
        ours = raw[RECORDS][piece]["step"]["wall_s"]["step"]
        steps = raw[RECORDS].get(TRL_STEPS, {"wall_s": [theirs["wall_s"]["step"]]})["wall_s"]
        return spread([step / ours for step in steps]) | {"median": theirs["wall_s"]["step"] / ours}

    return measured


def peak_gb(piece: str) -> Callable[[Raw], Spread]:
    """Return the peak of torch's allocator."""
    return lambda raw: spread([raw[RECORDS][piece]["step"]["peak_allocated_mb"] / 1e3])


def off_plan(work: GpuWork) -> Callable[[Raw], Spread]:
    """Return how far the planned peak is from the measured one, in percent of it, either way."""

    def measured(raw: Raw) -> Spread:
        chosen = raw[RECORDS][work.piece]["step"].get("micro_batch_tokens") or work.micro_batch_tokens
        planned = replace(work, micro_batch_tokens=chosen).planned_gb
        return spread([100 * abs(planned / peak_gb(work.piece)(raw)["median"] - 1)])

    return measured


def eager(raw: Raw) -> Spread:
    """Return decoding steps that no graph launched, over all records that count them."""
    found = {name: record for name, record in raw[RECORDS].items() if name != TRL_STEPS}
    learning = [found.pop(name) for name in list(found) if name.startswith("learning step ")]
    return spread([sum(map(_eager_of, (*found.values(), *learning[-1:])))])  # each step has the count up to it


def _eager_of(record: Record) -> int:
    """Return the steps that a record counts: its own, those of `step.py`, of each check, of the last number of rows."""
    step = record.get("step")
    rows = record.get("rows", [])
    rows = rows[-1:] if isinstance(rows, list) else []  # a recorder counts on from number to number
    parts = [record, *([step] if isinstance(step, dict) else []), *record.get("checks", {}).values(), *rows]
    return sum(part.get("eager") or 0 for part in parts)


def gpu_goals() -> tuple[Goal, ...]:
    """Return the goals."""
    return (
        Goal("decoding steps that no graph launched", 0, eager, False, ""),
        *(
            Goal(f"decoding {name}, {rows} rows: of the roofline", 60, of_roofline(f"decode-{size}", rows), unit="%")
            for size, name in (("0.5b", "Qwen2.5-0.5B"), ("1.5b", "Qwen2-1.5B"))
            for rows in (8, 50)
        ),
        Goal("GRPO step, Qwen2.5-0.5B, 8 x 16, 256 tokens, against TRL's", 5, over_trl("grpo")),
        Goal("the same in parts of 16,384 tokens, the default", 5, over_trl("grpo-16k")),
        Goal("T-SPMO step, the same, against TRL's GRPO step", 5, over_trl("t-spmo")),
        *(Goal(f"{name}: peak off the plan", 10, off_plan(work), False, "%") for name, work in WORKS.items()),
        Goal("Qwen2-1.5B, T-SPMO, G = 50, bf16: peak", 4.6, peak_gb("t-spmo-1.5b"), False, "GB"),
        Goal("Qwen2-1.5B, T-SPMO, G = 50, nf4: peak", 2.7, peak_gb("t-spmo-1.5b-nf4"), False, "GB"),
    )
