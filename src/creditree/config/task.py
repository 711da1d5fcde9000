"""The key `task` of a configuration: where the problems come from."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from creditree.config.block import Block, Problems, PromptBlock, Real, Share, Whole
from creditree.sources import SOURCES, SVAMP, BenchmarkName, is_on_hub
from creditree.user_code import placed

Digits = Annotated[Whole, Field(ge=1, le=18)]
Operand = Annotated[Whole, Field(gt=-(10**18), lt=10**18)]


class TaskBlock(Block):
    """What every task is in a configuration."""

    @property
    def is_on_hub(self) -> bool:
        """Whether the problems have to be fetched."""
        return False

    @property
    def source(self) -> str:
        """Where the problems are from: a file, a set on the hub, code, or a generator."""
        return "generated"

    @property
    def label(self) -> str:
        """What a part of a mixture is called."""
        return str(getattr(self, "name", ""))

    @property
    def locations(self) -> tuple[str, ...]:
        """Where code lies that makes the problems, if it is not ours."""
        return ()


class MultiplicationConfig(TaskBlock):
    """Products, generated without end."""

    name: Literal["multiplication"]
    digits_a: Digits = Field(3, description="digits of the first operand")
    digits_b: Digits = Field(1, description="digits of the second operand")
    range_a: tuple[Operand, Operand] | None = Field(
        None, description="first operand from .. to; default: all numbers of digits_a digits"
    )
    range_b: tuple[Operand, Operand] | None = Field(None, description="second operand from .. to")
    num_held_out: Problems = Field(500, description="problems in each held-out split")
    prompt: PromptBlock = Field(default_factory=PromptBlock)


class WordProblemsConfig(TaskBlock):
    """Short stories with a question, generated without end."""

    name: Literal["word_problems"]
    kinds: list[str] | None = Field(None, description="families of stories; none: all")
    distractors: Share | None = Field(None, description="chance of a number that does not matter")
    num_held_out: Problems = Field(500, description="problems in each held-out split")
    prompt: PromptBlock = Field(default_factory=PromptBlock)


class SvampConfig(TaskBlock):
    """SVAMP, from the hub (ChilleD/SVAMP) or a local file."""

    name: Literal["svamp"]
    path: str | None = Field(None, description="local file; none: the hub")
    prompt: PromptBlock = Field(default_factory=PromptBlock)

    @property
    def is_on_hub(self) -> bool:
        """Whether the problems have to be fetched."""
        return self.path is None

    @property
    def source(self) -> str:
        """The file, or the set on the hub."""
        return self.path or f"hub:{SVAMP}"


class FileConfig(TaskBlock):
    """Your own problems: JSONL, JSON, CSV or parquet."""

    name: Literal["file"]
    path: str = Field(description="file of the training problems, or hub:NAME (hub:NAME#SPLIT)")
    validation_path: str | None = Field(None, description="file of the validation problems")
    test_path: str | None = Field(None, description="file of the test problems")
    question: str = Field("question", description="column of the question")
    answer: str | None = Field(
        None, description="column of the answer, or of a list of accepted ones; default: answer, else answers"
    )
    split: str = Field("split", description="column that says train, validation or test, where there is one")
    id: str = Field("id", description="column of the problem's id, where there is one")
    solution: str = Field("solution", description="column of a worked solution, where there is one")
    validation: Share = Field(0.1, description="share held out for validation, by hash of the question")
    test: Share = Field(0.1, description="share held out for test, by hash of the question")
    conflicts: Literal["error", "drop"] = Field(
        "error", description="what to do with one question that has two answers"
    )
    prompt: PromptBlock = Field(default_factory=PromptBlock)

    @property
    def is_on_hub(self) -> bool:
        """Whether the problems have to be fetched."""
        return any(map(is_on_hub, (self.path, self.validation_path, self.test_path)))

    @property
    def source(self) -> str:
        """The file of the training problems."""
        return self.path

    @property
    def label(self) -> str:
        """The file's name."""
        return Path(self.path.partition("#")[0]).stem


class BenchmarkConfig(TaskBlock):
    """A public benchmark set, from the hub or a local file."""

    name: BenchmarkName
    path: str | None = Field(None, description="local file, or hub:NAME#SPLIT; none: the hub")
    prompt: PromptBlock = Field(default_factory=PromptBlock)

    @property
    def is_on_hub(self) -> bool:
        """Whether the problems have to be fetched."""
        return self.path is None or is_on_hub(self.path)

    @property
    def source(self) -> str:
        """The file, or the set on the hub."""
        return self.path or f"hub:{SOURCES[self.name].hub}"


class FunctionConfig(TaskBlock):
    """Your own problems, from a Python function that yields (question, answers), or rows with columns."""

    name: str = Field(description="the function, as FILE.py:name or package.module:name")
    problems: Problems = Field(10_000, description="problems that are taken from it, at most")
    question: str = Field("question", description="column of the question, where it yields rows")
    answer: str | None = Field(
        None, description="column of the answer, or of a list of accepted ones; default: answer, else answers"
    )
    validation: Share = Field(0.1, description="share held out for validation, by hash of the question")
    test: Share = Field(0.1, description="share held out for test, by hash of the question")
    conflicts: Literal["error", "drop"] = Field(
        "error", description="what to do with one question that has two answers"
    )
    prompt: PromptBlock = Field(default_factory=PromptBlock)

    @field_validator("name")
    @classmethod
    def _placed(cls, name: str) -> str:
        return placed(name, Path.cwd())

    @property
    def source(self) -> str:
        """The function."""
        return self.name

    @property
    def label(self) -> str:
        """The function's name."""
        return self.name.rpartition(":")[2]

    @property
    def locations(self) -> tuple[str, ...]:
        """Where the function lies."""
        return (self.name,)


KINDS: dict[str, type[TaskBlock]] = {
    "multiplication": MultiplicationConfig,
    "word_problems": WordProblemsConfig,
    "svamp": SvampConfig,
    "file": FileConfig,
    **dict.fromkeys(SOURCES, BenchmarkConfig),
}
"""The tasks by name."""
ANYBODYS = "last_integer"
"""The grader of tasks that have none of their own."""
FUNCTION, MIXTURE, BENCHMARK = "function", "mixture", "benchmark"


def _tag(value: Any) -> str | None:
    """Return what kind of task a block is; None where it does not say."""
    kind = type(value) if isinstance(value, TaskBlock) else None
    name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
    if kind is MixtureConfig or (isinstance(value, Mapping) and MIXTURE in value):
        return MIXTURE
    if kind is FunctionConfig or (isinstance(name, str) and ":" in name):
        return FUNCTION
    return BENCHMARK if isinstance(name, str) and name in SOURCES else None if name is None else str(name)


_One = (
    Annotated[MultiplicationConfig, Tag("multiplication")]
    | Annotated[WordProblemsConfig, Tag("word_problems")]
    | Annotated[SvampConfig, Tag("svamp")]
    | Annotated[FileConfig, Tag("file")]
    | Annotated[BenchmarkConfig, Tag(BENCHMARK)]
    | Annotated[FunctionConfig, Tag(FUNCTION)]
)
OneTask = Annotated[_One, Discriminator(_tag)]


class MixedBlock(Block):
    """One task of a mixture: its keys, and its weight."""

    weight: Real = Field(1.0, description="problems drawn from it, beside those of the others", gt=0)
    task: OneTask

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, values: Any) -> Any:
        if isinstance(values, str):
            return {"task": {"name": values}}
        if not isinstance(values, Mapping):
            raise ValueError("each task of a mixture is a name, or a block with the keys name and weight")
        weight = {"weight": values["weight"]} if "weight" in values else {}
        return {**weight, "task": {key: value for key, value in values.items() if key != "weight"}}

    @model_serializer(mode="wrap")
    def _dumped(self, dumped: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = dumped(self)
        task: dict[str, Any] = values.pop("task", {})
        return {key: task[key] for key in ("name",) if key in task} | values | task


class MixtureConfig(TaskBlock):
    """Several tasks, of which each problem is drawn from one, as often as its weight says."""

    mixture: list[MixedBlock] = Field(description="tasks, each {name, weight, its keys}", min_length=1)

    @property
    def is_on_hub(self) -> bool:
        """Whether the problems of any have to be fetched."""
        return any(part.task.is_on_hub for part in self.mixture)

    @property
    def name(self) -> str:
        """The names of all."""
        return "+".join(self.labels)

    @property
    def source(self) -> str:
        """Where those of each are from."""
        return ", ".join(part.task.source for part in self.mixture)

    @property
    def labels(self) -> list[str]:
        """What its tasks are called, each once: a second one of a name is called ``name_2``."""
        names: list[str] = []
        counts = Counter[str]()
        for part in self.mixture:
            label = part.task.label
            counts[label] += 1
            names.append(label if counts[label] == 1 else f"{label}_{counts[label]}")
        return names

    @property
    def locations(self) -> tuple[str, ...]:
        """Where code of any lies."""
        return tuple(place for part in self.mixture for place in part.task.locations)


TaskConfig = Annotated[_One | Annotated[MixtureConfig, Tag(MIXTURE)], Discriminator(_tag)]
BY_TAG: dict[str, type[TaskBlock]] = {
    **KINDS,
    BENCHMARK: BenchmarkConfig,
    FUNCTION: FunctionConfig,
    MIXTURE: MixtureConfig,
}
"""The blocks by what stands for them in the place of a mistake."""


def default_reward(task: TaskConfig) -> str | None:
    """Return the grader that a task has of its own; None: any. Raises ValueError where tasks of a mixture differ."""
    tasks = [part.task for part in task.mixture] if isinstance(task, MixtureConfig) else [task]
    graders = [SOURCES[task.name].grader if isinstance(task, BenchmarkConfig) else None for task in tasks]
    names = sorted({name or ANYBODYS for name in graders})
    if len(names) > 1:
        raise ValueError(
            f"the tasks of the mixture have different graders of their own ({', '.join(names)}); set reward to one "
            "that judges all, such as math"
        )
    return names[0] if any(graders) else None
