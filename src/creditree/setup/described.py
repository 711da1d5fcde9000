"""A method, and a prompt as the model gets it, as records that programs read."""

from typing import Any

from creditree.config.schema import RunConfig
from creditree.errors import ModelError
from creditree.evaluate.prompt import text_notes
from creditree.methods import AXES, Method
from creditree.piece import numbers_of
from creditree.problem import Problem
from creditree.setup.build import build_prompt, build_task
from creditree.setup.workload import Encoder
from creditree.tasks.benchmarks import BENCHMARKS
from creditree.tasks.multiplication import Multiplication
from creditree.tasks.svamp import PROMPT as SVAMP_PROMPT
from creditree.tasks.task import PromptTemplate
from creditree.tasks.word_problems import WordProblems


def piece_text(piece: Any) -> str:
    """Return a piece with its numbers, such as ``replay(group=50, successes=1)``."""
    numbers = [f"{item.name}={getattr(piece, item.name)}" for item in numbers_of(piece)]
    return f"{piece.name}({', '.join(numbers)})"


def method_record(method: Method) -> dict[str, str]:
    """Return a method as the seven strings of `creditree methods --json`."""
    axes = {axis: piece_text(getattr(method, axis)) for axis in AXES}
    return {"name": method.name, "paper": method.paper} | axes


def wordings() -> dict[str, str]:
    """Return the wording of the prompt of every task that has one of its own."""
    return {
        "multiplication": Multiplication().prompt.text,
        "multiplication (paper)": Multiplication.paper().prompt.text,
        "word_problems": WordProblems().prompt.text,
        "svamp": SVAMP_PROMPT,
        **{name: benchmark.prompt.text for name, benchmark in BENCHMARKS.items()},
    }


def asked(config: RunConfig, prompt: PromptTemplate, problem: Problem) -> dict[str, object]:
    """Return a prompt as the model gets it, from its token ids, and what ends its answers.

    Raises ModelError for a chat template that cannot be rendered.
    """
    try:
        texts = Encoder(config.model.name, offline=True).texts
    except (OSError, ValueError, ModelError):
        note = "the model's tokenizer is not at hand: special tokens and a chat format around the prompt are not shown"
        return {"prompt": prompt.render(problem), "notes": [note]}
    ids = prompt.encode(problem, texts)
    said = {"ends": list(texts.end_words), "notes": list(text_notes(prompt, texts))}
    return {"prompt": texts.exact(ids), "prompt_tokens": len(ids)} | said


def example_of(config: RunConfig) -> dict[str, object]:
    """Return the first prompt of the test split with its answers; of problems on the hub, the wording alone."""
    if config.task.is_on_hub:
        return {"wording": build_prompt(config.task).text}
    task = build_task(config.task)
    problem = task.held_out("test", 1)[0]
    return asked(config, task.prompt, problem) | {"answers": list(problem.answers)}
