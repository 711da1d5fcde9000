"""Whether a run can be held by this machine at all: asked before anything is loaded or written."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from creditree.config.load import why_not_sharded
from creditree.config.schema import RunConfig
from creditree.errors import ConfigError, CreditreeError
from creditree.plan.fit import choose
from creditree.plan.prediction import PARTS, predict
from creditree.plan.workload import Workload
from creditree.setup.machine import whole_memory
from creditree.setup.workload import free_of, workload_of
from creditree.units import show_bytes

MATTERS = 0.1
"""A key is named where half of it would save this share of the memory."""


def check_room(config: RunConfig) -> None:
    """Raise ConfigError for a run that is expected to need more memory than the whole machine has.

    `config` has no `auto` left. Only what is surely impossible is refused: a prompt counts as one token, and the
    expectation is taken, not the bound. Where a model's shape cannot be known, loading it will tell.
    """
    try:
        work, _ = workload_of(config, 1, offline=True)
    except CreditreeError:
        return
    have, expected = whole_memory(config.model.device), predict(work, expected=True)
    if expected.total <= have:
        return
    peak = expected.peak
    large = sorted(peak.parts.items(), key=lambda item: -item[1])[:2]
    parts = " and ".join(f"{show_bytes(size)} are {PARTS[name]}" for name, size in large)
    keys = [f"{key} (it is {value:,})" for key, value in _values(work).items() if _matters(work, key, expected.total)]
    lower = f"lower {', '.join(keys)}" if keys else "take a smaller model"
    pieces = "; or set train.memory, and it is done in pieces" if choose(work, have, free_of(config.train)) else ""
    share = "; or divide the base among several devices (model.sharded: true, with `workers`)"
    divide = share if peak.parts["weights"] > have / 2 and why_not_sharded(config) is None else ""
    raise ConfigError(
        f"the run needs about {show_bytes(expected.total)} of memory in {peak.name}, and this machine has "
        f"{show_bytes(have)} in all: {parts}; {lower}{pieces}{divide}."
    )


def _values(work: Workload) -> Mapping[str, int]:
    return {
        work.group_key: work.group,
        "train.problems_per_step": work.problems,
        "sampling.max_new_tokens": work.max_new_tokens,
        "lora.rank": work.rank,
        "train.max_rows": work.max_rows,
        "train.micro_batch_tokens": work.micro_batch_tokens,
    }


_HALVED: Mapping[str, Callable[[Workload], Workload]] = {
    "method.group": lambda work: replace(work, group=max(2, work.group // 2)),
    "train.problems_per_step": lambda work: replace(
        work, problems=max(1, work.problems // 2), most_problems=work.most_problems // 2
    ),
    "sampling.max_new_tokens": lambda work: replace(work, max_new_tokens=max(1, work.max_new_tokens // 2)),
    "lora.rank": lambda work: replace(work, rank=max(1, work.rank // 2)),
    "train.max_rows": lambda work: replace(work, max_rows=max(1, work.max_rows // 2)),
    "train.micro_batch_tokens": lambda work: replace(work, micro_batch_tokens=max(1, work.micro_batch_tokens // 2)),
}


def _matters(work: Workload, key: str, total: int) -> bool:
    halved = _HALVED["method.group" if key == work.group_key else key]
    return predict(halved(work), expected=True).total < (1 - MATTERS) * total
