"""The warm start: supervised steps on worked solutions, through the same learner, before the method begins."""

from dataclasses import replace

import numpy as np

from creditree.errors import ConfigError, DataError
from creditree.evaluate.prompt import prompt_ids, target_ids
from creditree.ledger import Ledger, Seconds
from creditree.methods import supervised
from creditree.models.load import Model
from creditree.problem import Problem, Verdict
from creditree.rng import Key
from creditree.tasks.mixture import listed
from creditree.tasks.task import PromptTemplate, Task
from creditree.train.settings import Parts, WarmStart
from creditree.train.step import StepResult, learn
from creditree.tree import Branch, Forest, RolloutTree


def warm_step(parts: Parts, warm: WarmStart, step: int, key: Key, learning_rate: float, seconds: Seconds) -> StepResult:
    """Make supervised step `step` (from 0): raise log pi of each solution's tokens, and of the token that ends it.

    The loss is - mean over problems of the mean over tokens of log pi: `creditree.methods.supervised`. Problems come in
    passes over all of them, each in a random order of its own; nothing is sampled, and the method's problems and random
    numbers are those that it has without a warm start.
    """
    drawn = (parts.task.training(key.at("problems"), step * warm.problems + place) for place in range(warm.problems))
    forests: list[Forest] = [(solved(problem, parts.task.prompt, parts.model),) for problem in drawn]
    keys = [key.at("step", step, place) for place in range(warm.problems)]
    method = supervised()
    with parts.learner.maximising(method.objective):
        made = learn(
            replace(parts, method=method), forests, keys, key.at("step", step), learning_rate, seconds, Ledger()
        )
    return replace(made, explored=[])


def solved(problem: Problem, prompt: PromptTemplate, model: Model) -> RolloutTree:
    """Return a tree whose one completion is the problem's solution, as if it had been sampled and was right.

    Raises DataError where the problem has none.
    """
    if problem.solution is None:
        raise DataError(f"problem '{problem.id}' has no worked solution for the warm start; see task.solution.")
    ids = target_ids(problem.solution, model, chat=prompt.of(problem).in_chat_format(model.texts))
    unknown = np.zeros(len(ids))  # nothing was sampled, so there is no engine to compare the learner with
    branch = Branch(None, 0, ids, unknown, unknown, "stop", Verdict(1.0), old_logprobs=unknown)
    return RolloutTree(problem, prompt_ids(prompt, problem, model), branches=(branch,))


def check_solutions(model: Model, task: Task) -> None:
    """Raise ConfigError where a prompt with its solution exceeds the model's context."""
    limit = model.network.max_positions
    for problem in listed(task, 1):
        tree = solved(problem, task.prompt, model)
        if len(tree.prompt_ids) + tree.branches[0].end > limit:
            raise ConfigError(
                f"a prompt of {len(tree.prompt_ids)} tokens (problem '{problem.id}') with its solution of "
                f"{tree.branches[0].end} exceeds the context of {limit} tokens of model '{model.name}'; shorten the "
                "solution, leave the problem out, or do without warm_start."
            )
