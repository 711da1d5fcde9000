"""Where an evaluation of what a run trained is unlike that run: its wording of the prompt, and problems it has seen."""

from collections.abc import Iterable
from contextlib import suppress

from creditree.config.load import check_config, parse_values
from creditree.config.schema import RunConfig
from creditree.config.trust import without_pieces
from creditree.errors import CreditreeError
from creditree.problem import Problem
from creditree.runs.directory import RunDirectory
from creditree.setup.build import build_prompt
from creditree.setup.problems import trained_on
from creditree.tasks.mixture import MixedPrompt
from creditree.tasks.task import PromptTemplate
from creditree.text import shown
from creditree.train.start import run_of


def own_config(target: str) -> RunConfig | None:
    """Return the configuration of the run that a target is, or is the adapter of; None: there is none that holds."""
    with suppress(CreditreeError):
        run = run_of(target)
        if run is not None:
            where = str(run / "config.yaml")
            return check_config(without_pieces(parse_values(RunDirectory.read(run).config_yaml, where)), where)
    return None


def wording_notes(own: RunConfig, prompt: PromptTemplate) -> tuple[str, ...]:
    """Return a sentence where problems are asked in words that the run was not trained with."""
    known = _wordings(build_prompt(own.task))
    if set(_wordings(prompt)) <= set(known):
        return ()
    here, there = _wordings(prompt)[0], known[0]
    keys = [key for key in ("text", "chat", "system") if getattr(here, key) != getattr(there, key)]
    others = [f"task.prompt.{key} is {shown(getattr(here, key))}, and was {shown(getattr(there, key))}" for key in keys]
    return (f"The prompt is not the one that the run was trained with: {'; '.join(others) or 'of several tasks'}.",)


def _wordings(prompt: PromptTemplate) -> tuple[PromptTemplate, ...]:
    return tuple(wording for _, wording in prompt.parts) if isinstance(prompt, MixedPrompt) else (prompt,)


def also_in_training(own: RunConfig, problems: Iterable[Problem]) -> int | None:
    """Return how many problems' questions the run was trained on; None where its problems are not at hand."""
    learned = trained_on(own.task)
    if learned is None:
        return None
    questions = {problem.question for problem in learned}
    return sum(problem.question in questions for problem in problems)


def training_notes(seen: int | None, count: int) -> tuple[str, ...]:
    """Return a sentence where some of `count` problems, `seen` of them, are problems that the run was trained on."""
    return (f"Problems that the run was trained on, and counted: {seen} of {count}.",) if seen else ()
