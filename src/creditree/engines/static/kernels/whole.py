"""Launches of whole decoder layers, made of the launches of their kernels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from creditree.engines.static.kernels.launch import Launch
from creditree.engines.static.kernels.layers import FIELDS, PHASES, ROW, layers
from creditree.engines.static.kernels.scratch import Scratch
from creditree.engines.static.kernels.tiles import power_of_two

_PATIENCE = 1 << 20
"""Looks at a counter that a program takes in one launch, about a second's."""
_ALIGNED = 16


@dataclass(frozen=True, slots=True)
class Whole:
    """How layers are run: by so many programs at once, with so many warps each.

    `lines`: of 64 numbers that are asked for ahead of each phase, of each column or key head;  `most`: layers of one
    launch;  `apart`: a launch for each phase of each layer, which needs no counters.
    """

    programs: int
    warps: int = 4
    lines: dict[str, int] = field(default_factory=dict)
    most: int = 1 << 16
    apart: bool = False
    timed: bool = False
    registers: int | None = None
    cooperative: bool = True


def layer_launches(phases: Sequence[dict[str, Launch]], whole: Whole, scratch: Scratch, used: int) -> list[Launch]:
    """Return what launches layers, given what launches the phases of each, for `used` rows.

    Layers that differ in more than where their tensors are (by an adapter) are launched apart. RuntimeError where
    tensors lie so that one kernel cannot find them.
    """
    return [launch for group in _groups(phases, whole.most) for launch in _group(group, phases, whole, scratch, used)]


def _groups(phases: Sequence[dict[str, Launch]], most: int) -> Iterator[list[int]]:
    """Yield the numbers of layers that one launch can do."""
    for _, alike in groupby(range(len(phases)), key=lambda index: _constants(phases[index])):
        found = list(alike)
        for start in range(0, len(found), most):
            yield found[start : start + most]


def _constants(launches: dict[str, Launch]) -> str:
    varying = {name.partition(".")[2] for name in FIELDS}
    return str([[(k, v) for k, v in launches[name].constants.items() if k not in varying] for name in PHASES])


def _group(
    group: Sequence[int], phases: Sequence[dict[str, Launch]], whole: Whole, scratch: Scratch, used: int
) -> Iterator[Launch]:
    base = phases[group[0]]
    table = _table(phases, base, scratch)
    arguments = _arguments(base, whole) | {
        "table": table,
        "arrivals": scratch.arrivals,
        "late": scratch.arrivals[-1],
        "patience": _PATIENCE,
        "used": used,
        "zero": 0,
        "times": scratch.times if whole.timed else scratch.arrivals,
        "TIMED": whole.timed,
    }
    spans = [(0, len(PHASES) - 1)] if not whole.apart else [(phase, phase) for phase in range(len(PHASES))]
    settings: dict[str, Any] = {"num_warps": whole.warps}
    settings |= {} if whole.apart or not whole.cooperative else {"launch_cooperative_grid": True}
    settings |= {} if whole.registers is None else {"maxnreg": whole.registers}
    runs = [(group[0], len(group))] if not whole.apart else [(index, 1) for index in group]
    for first, count in runs:
        for begin, end in spans:
            more = {"first": first, "count": count, "FIRST": begin, "LAST": end}
            yield Launch(layers, (whole.programs,), arguments | more, settings, "layers")


def _table(phases: Sequence[dict[str, Launch]], base: dict[str, Launch], scratch: Scratch) -> Tensor:
    """Return where each layer's tensors are, seen from those of `base`. Tables are held as long as `scratch`."""
    numbers: list[int] = []
    for launches in phases:
        row = [_seen_from(base, launches, *name.split(".")) for name in FIELDS]
        numbers += [*row, *[0] * (ROW - len(row))]
    key = tuple(numbers)
    if key not in scratch.tables:
        found = torch.tensor(numbers, dtype=torch.int64)
        # a table made of tensors without contents is a table without contents
        scratch.tables[key] = found.view(len(phases), ROW).to(scratch.states.device)
    return scratch.tables[key]


def _seen_from(base: dict[str, Launch], launches: dict[str, Launch], phase: str, name: str) -> int:
    here, origin = launches[phase].arguments[name], base[phase].arguments[name]
    if not isinstance(here, Tensor):
        return int(here)
    apart = 0 if here.is_meta else here.data_ptr() - origin.data_ptr()
    # where a layer has no such tensor, another stands for it, and nothing reads that
    if here.dtype != origin.dtype:
        return 0
    if apart % (_ALIGNED * here.itemsize):
        raise RuntimeError("its tensors do not lie where one kernel can find them")
    return apart // here.itemsize


def _arguments(base: dict[str, Launch], whole: Whole) -> dict[str, Any]:
    """Return the arguments of `layers` that are those of the phases."""
    of = {name: launch.arguments for name, launch in base.items()}
    heads, attention, output, gate_up, down = (of[name] for name in PHASES)
    found: dict[str, Any] = {
        "scaled": heads["x"],
        "states": output["out"],
        "squares": heads["squares"],
        "middle_squares": gate_up["squares"],
        "heads": heads["out"],
        "attended": attention["out"],
        "opened": gate_up["out"],
        "output_norm": output["next_norm"],
        "down_norm": down["next_norm"],
        "kept": down["kept"],
        "partial": heads["partial"],
        "tickets": heads["tickets"],
        "heads_epsilon": heads["epsilon"],
        "gate_up_epsilon": gate_up["epsilon"],
        "attention_epsilon": attention["epsilon"],
        "attention_scaling": attention["scaling"],
        "each": attention["EACH"],
        "context": attention["CONTEXT"],
        "length": attention["LENGTH"],
        "WIDTH": heads["INPUTS"],
        "MIDDLE": gate_up["OUTPUTS"],
        "PARTS": heads["PARTS"],
        "BLOCK_M": heads["BLOCK_M"],
        "BIASES": tuple(one["BIAS"] for one in (heads, output, gate_up, down)),
        "LOOKS": (attention["BLOCK_T"], attention["SPLITS"], attention["STAGES"], _lines(whole, "attention")),
    }
    for name in ("head_norm", "cos", "sin", "start", "column", "context_keys", "context_values", "keys", "values"):
        found[name] = attention[name]
    found |= {name: attention[name] for name in ("QUERIES", "KV", "SIZE", "FOLD", "HEAD_NORM")}
    for name, one in zip(("heads", "output", "gate_up", "down"), (heads, output, gate_up, down), strict=True):
        found |= {f"{name}_{kind}": one[kind] for kind in ("weight", "bias", "scaling")}
        found |= {f"{name}_a": one["lora_a"], f"{name}_b": one["lora_b"], f"{name.upper()}_LORA": one["LORA"]}
        found[name.upper()] = (one["BLOCK_N"], one["BLOCK_K"], one["SPLITS"], one["STAGES"], _lines(whole, name))
    return found


def _lines(whole: Whole, name: str) -> int:
    lines = whole.lines.get(name, 0)
    return power_of_two(lines) if lines else 0
