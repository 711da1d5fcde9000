"""The guard set: problems that must not get worse, and the loss of their targets."""

from dataclasses import dataclass

import numpy as np

from creditree.batch import pack
from creditree.errors import ConfigError, NonFiniteError
from creditree.evaluate.prompt import prompt_ids, target_ids
from creditree.learner.learner import Learner
from creditree.models.load import Model
from creditree.problem import Problem
from creditree.tasks.task import PromptTemplate
from creditree.tree import Branch, IntArray, RolloutTree
from creditree.verify.verifier import Verifier


@dataclass(frozen=True, eq=False, slots=True)
class Guard:
    """Problems with the text whose loss is measured, one each, and who judges completions of them.

    `tolerance`: nats a token by which the loss may rise, None: as it likes;  `source`: the file that they are from;
    `notes`: sentences that the user should see.
    """

    source: str
    problems: tuple[Problem, ...]
    targets: tuple[str, ...]
    prompt: PromptTemplate
    verifier: Verifier
    tolerance: float | None
    notes: tuple[str, ...] = ()

    def check(self, model: Model, max_new_tokens: int) -> None:
        """Raise ConfigError where a prompt with a completion, or with its target, exceeds the model's context."""
        limit = model.network.max_positions
        for problem, target in zip(self.problems, self.targets, strict=True):
            prompt, wanted = len(prompt_ids(self.prompt, problem, model)), len(self._target_ids(target, model))
            if prompt + max(max_new_tokens, wanted) > limit:
                raise ConfigError(
                    f"a prompt of {prompt} tokens (guard problem '{problem.id}') with its target of {wanted}, or with "
                    f"sampling.max_new_tokens {max_new_tokens}, exceeds the context of {limit} tokens of model "
                    f"'{model.name}'; leave the problem out, or lower sampling.max_new_tokens."
                )

    def losses(self, model: Model, learner: Learner) -> dict[str, float]:
        """Return the loss of each problem's target, by problem id: mean over tokens of -log p, in nats.

        p is the model's as it is, at temperature 1, of each token of the target and of the end token after it, given
        the prompt and the target's tokens before.
        """
        targets = [self._target_ids(target, model) for target in self.targets]
        forests = [
            (_tree(problem, prompt_ids(self.prompt, problem, model), target),)
            for problem, target in zip(self.problems, targets, strict=True)
        ]
        ones = [((np.ones(len(target)),),) for target in targets]
        logprobs = learner.logprobs(pack(forests, ones, ones, keep_zero_advantage=True))
        of_targets = np.split(logprobs, np.cumsum([len(target) for target in targets])[:-1])
        if not np.isfinite(logprobs).all():
            raise NonFiniteError(
                f"{self.source}: the log-probabilities of guard targets are not finite: what is measured is damaged, "
                "or its weights have grown too large."
            )
        return {problem.id: -float(own.mean()) for problem, own in zip(self.problems, of_targets, strict=True)}

    def _target_ids(self, target: str, model: Model) -> IntArray:
        return target_ids(target, model, chat=self.prompt.in_chat_format(model.texts))


def _tree(problem: Problem, prompt: IntArray, target: IntArray) -> RolloutTree:
    unknown = np.zeros(len(target))  # log-probabilities at sampling: nothing here was sampled
    return RolloutTree(problem, prompt, branches=(Branch(None, 0, target, unknown, unknown, "stop"),))
