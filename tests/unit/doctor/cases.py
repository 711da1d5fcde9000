"""Cases made in memory: the metrics and completions that a run with something wrong would leave."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from creditree.config.load import check_config
from creditree.config.schema import RunConfig
from creditree.doctor.case import Case, Record
from creditree.doctor.completions import JudgedCompletion
from creditree.doctor.host import CacheFolder, Device, Host
from creditree.doctor.room import MemoryFit
from creditree.evaluate.summary import Decoding, Summary, SummaryDetails
from creditree.ledger import Ledger
from creditree.problem import Problem, Status
from creditree.rng import Key
from creditree.runs.attempts import Attempt
from creditree.tasks.split import Split
from creditree.tasks.task import PromptTemplate

GROUP = 8


def config(**blocks: Any) -> RunConfig:
    """Return a configuration of GRPO on sums with the built-in model, with blocks replaced."""
    values = {
        "task": {"name": "multiplication", "digits_a": 3, "digits_b": 1},
        "method": {"name": "grpo", "group": GROUP},
        "sampling": {"temperature": 0.7, "max_new_tokens": 48},
        "train": {"steps": 40, "learning_rate": 4e-3},
        "reward": "last_integer",
    }
    return check_config(values | blocks, "a test")


def completion(
    step: int,
    problem: str,
    text: str,
    reward: float | None = 0.0,
    *,
    status: Status = "ok",
    truncated: bool = False,
    surprisal: float | None = 0.5,
    answer: str = "1234",
    question: str = "617*2=",
    detail: str = "",
    index: int = 0,
) -> JudgedCompletion:
    """Return a completion of a group."""
    attempt = Attempt(problem, index, reward, status, None, 5, truncated, detail, text)
    return JudgedCompletion(step, Problem(problem, question, (answer,)), attempt, True, 10, surprisal)


def groups(
    steps: int, rewards: Sequence[float | None], text: str = "text {step} {index}", **of: Any
) -> list[JudgedCompletion]:
    """Return one group a step, with these rewards; texts that differ."""
    return [
        completion(step, f"p{step}", text.format(step=step, index=index), reward, index=index, **of)
        for step in range(1, steps + 1)
        for index, reward in enumerate(rewards)
    ]


def records(steps: int, total: Ledger, **metrics: Any) -> list[Record]:
    """Return the metrics of steps of one problem each, whose counts grow evenly to `total`.

    A metric may be a function of the step.
    """
    healthy = {
        "reward_mean": 0.4, "mixed_share": 0.6, "loss": 0.02, "grad_norm": 0.05, "clip_fraction": 0.0, "problems": 1,
        "sampler_mismatch_mean": 4e-7, "sampler_mismatch_max": 1e-5, "learning_rate": 4e-3,
    }  # fmt: skip
    counts = total.as_dict()
    return [
        {"step": step}
        | {name: value(step) if callable(value) else value for name, value in (healthy | metrics).items()}
        | {name: count * step // steps for name, count in counts.items()}
        for step in range(1, steps + 1)
    ]


def ledger(completions: int = 320, **counts: int) -> Ledger:
    """Return counts of a healthy run: some solved, some worthless."""
    healthy = Ledger(completions=completions, updates=40, solved=completions * 2 // 5, worthless=completions * 3 // 5)
    return replace(healthy, **counts)


def sampled(steps: int = 40, total: Ledger | None = None, **of: Any) -> Case:
    """Return the case of a run whose groups are mixed; `of`: what is otherwise, in the case or in its metrics."""
    names = {"config", "completions", "summary", "base", "trained", "adapter_size", "is_run", "task", "texts"}
    own: dict[str, Any] = {name: of.pop(name) for name in names & of.keys()}
    made: dict[str, Any] = {
        "config": config(),
        "completions": tuple(groups(steps, [0.0, 1.0] * (GROUP // 2))),
        "adapter_size": 0.1,
    }
    return Case(records=records(steps, total or ledger(), **of), **(made | own))


def host(**of: Any) -> Host:
    """Return a machine where all is well."""
    made = Host(
        MappingProxyType({"torch": "2.13.0", "cpu": "a processor", "cores": 2, "system": "Linux"}),
        (),
        MappingProxyType({"engine": "native", "compiler": "c++ 12"}),
        (Device("cpu", "", 16 * 10**9, 8 * 10**9),),
        (CacheFolder("models", "/cache", 10**11, writable=True),),
        MappingProxyType({"quant": None}),
        offline=False,
    )
    return replace(made, **of)


def room(**of: Any) -> MemoryFit:
    """Return a run that fits."""
    made = MemoryFit("cpu", 8 * 10**9, 2 * 10**9, 10**9, "update", "method.group", 64, 500, None, assumed=False)
    return replace(made, **of)


def summary(before: Sequence[int], after: Sequence[int], **details: Any) -> Summary:
    """Return the summary of answers that were right (1) or wrong (0) before and after."""
    sides = [{f"p{place}": right for place, right in enumerate(side)} for side in (before, after)]
    return Summary("grpo", {"greedy": Decoding.of(*sides)}, {}, {}, details=SummaryDetails(**details))


@dataclass(frozen=True)
class Listed:
    """A task of problems that are listed."""

    training_problems: tuple[Problem, ...]
    held: tuple[Problem, ...]
    prompt: PromptTemplate = PromptTemplate()
    name: str = "listed"
    notes: tuple[str, ...] = ()

    @property
    def num_training(self) -> int | None:
        """How many there are to train on."""
        return len(self.training_problems)

    def training(self, key: Key, index: int) -> Problem:
        """Return one of them."""
        return self.training_problems[index]

    def held_out(self, split: Split, limit: int | None = None) -> tuple[Problem, ...]:
        """Return the held-out ones."""
        return self.held[:limit]


def questions(*texts: str, name: str = "q") -> tuple[Problem, ...]:
    """Return problems with these questions."""
    return tuple(Problem(f"{name}{place}", text, ("1",)) for place, text in enumerate(texts))
