"""Whether a run fits, what it costs, and what would fit, before anything is loaded."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from creditree.config.schema import RunConfig
from creditree.plan.assumptions import assumed
from creditree.plan.fit import Card, cards, choose, largest_group, largest_length
from creditree.plan.flops import step_cost
from creditree.plan.prediction import Prediction, predict
from creditree.plan.workload import Workload
from creditree.setup.choices import Choices
from creditree.setup.defaults import chosen
from creditree.setup.problems import check_problems
from creditree.setup.start import started
from creditree.setup.workload import Prompt, free_of, too_little, workload_of
from creditree.units import parse_bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """A configuration's prediction, for the settings chosen; `problem`: why it does not fit its limit, or None.

    `choices`: what was chosen where the configuration does not say.
    """

    config: RunConfig
    work: Workload
    prompt: Prompt
    limit: int | None
    problem: str | None
    group: int | None
    length: int | None
    table: list[Card]
    choices: Choices = ()

    @classmethod
    def of(cls, config: RunConfig, prompt_tokens: int | None = None) -> "Plan":
        """Return the plan. Raises ConfigError for a model of unknown shape."""
        work, prompt = workload_of(config, prompt_tokens)
        free = free_of(config.train)
        table = cards(work, free)
        if config.train.memory is None:
            return cls(config, work, prompt, None, None, None, None, table)
        limit = parse_bytes(config.train.memory)
        best = choose(work, limit, free)
        problem = None if best else too_little(work, limit, free)
        group, length = largest_group(work, limit, free), largest_length(work, limit, free)
        return cls(config, best or work, prompt, limit, problem, group, length, table)

    @property
    def fits(self) -> bool | None:
        """Whether the run fits its limit, None without one."""
        return None if self.limit is None else self.problem is None

    @property
    def peak_bytes(self) -> int:
        """Bytes at the peak, at most."""
        return predict(self.work).total

    def to_json(self) -> dict[str, Any]:
        """Return all of it; sizes in bytes."""
        work = self.work
        settings = ("micro_batch_tokens", "max_rows", "stored_tokens")
        return {
            "model": self.config.model.name,
            "dtype": work.dtype,
            "method": self.config.method.name,
            "prompt_tokens": self.prompt.tokens,
            "prompt_is_assumed": self.prompt.assumed,
            "prompt_notes": list(self.prompt.notes),
            "limit": self.limit,
            "fits": self.fits,
            "problem": self.problem,
            "assumed": assumed(work),
            "warm_start": self.config.warm_start.model_dump() if self.config.warm_start.steps else None,
            "settings": {name: getattr(work, name) for name in settings},
            "at_most": _memory_record(predict(work)) | {"step": asdict(step_cost(work))},
            "expected": _memory_record(predict(work, expected=True)) | {"step": asdict(step_cost(work, expected=True))},
            "largest": {"group": self.group, "max_new_tokens": self.length},
            "cards": [asdict(card) for card in self.table],
            "chosen": [asdict(choice) for choice in self.choices],
        }


def plan(config: RunConfig, prompt_tokens: int | None = None) -> Plan:
    """Predict the memory and work of a run, without loading the model or asking the network.

    `prompt_tokens`: of the longest prompt, where it is known. Raises ConfigError for a model of unknown shape.
    """
    config, choices = chosen(started(config, offline=True), offline=True)
    check_problems(config, offline=True)
    return replace(Plan.of(config, prompt_tokens), choices=choices)


def _memory_record(prediction: Prediction) -> dict[str, Any]:
    return {
        "peak_bytes": prediction.total,
        "peak_phase": prediction.peak.name,
        "limits": prediction.limits,
        "phases": {phase.name: {"bytes": phase.total, "parts": phase.parts} for phase in prediction.phases},
    }
