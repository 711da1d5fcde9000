"""A callable with TRL's reward signature as a verifier: ``f(prompts, completions, **columns) -> list[float]``."""

from collections.abc import Sequence
from dataclasses import dataclass

from creditree.problem import Status, Verdict
from creditree.verify.calling import Offered, RewardCallable, call, name_of
from creditree.verify.prose import final_answer
from creditree.verify.verifier import Answer, Rules, Verifier


@dataclass(frozen=True, slots=True)
class RewardFunction(Verifier):
    """Calls `function` in this process, once for a batch, with keyword arguments, each a list with one entry an answer.

    The arguments are ``prompts`` and ``completions`` (texts), ``answers`` (lists of accepted texts), ``question``,
    ``id``, ``num_tokens`` and ``completion_ids`` (where completions were just written), and every column of the
    problems' rows; a function without ``**kwargs`` gets those that it names. It returns, or its coroutine does, one
    finite number an answer, of the size 1e30 at most. Anything else (NaN, infinity, None, a text, a wrong length,
    whatever it raises but KeyboardInterrupt) gives verdicts ``crash`` without a reward, which name the row and are
    never trained on. What the function reads is not known, so a completion votes for its final answer, as
    `final_answer` finds it.

    This is for a function that lives in the calling program. It has no deadline, and one that ends its process ends the
    program: `load_reward` gives a function of a file or module a process of its own.
    """

    function: RewardCallable

    @property
    def name(self) -> str:
        """Return the function's name, as messages show it."""
        return name_of(self.function)

    def rules(self) -> Rules:
        """Return its rules."""
        return rules_of(self.name)

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        if not answers:
            return ()
        return verdicts(self.name, answers, call(self.function, offered(answers), len(answers)))


def rules_of(name: str) -> Rules:
    """Return the rules of a reward function, as far as they are known."""
    return {"grader": name, "correct": "a reward of at least 1", "vote": "the final answer, as math finds it"}


def offered(answers: Sequence[Answer]) -> Offered:
    """Return all that a reward function may be called with."""
    columns = dict.fromkeys(name for answer in answers for name in answer.problem.columns)
    lengths: list[object] = [answer.num_tokens for answer in answers]
    tokens: list[object] = [None if answer.token_ids is None else list(answer.token_ids) for answer in answers]
    return {
        **{name: [answer.problem.columns.get(name) for answer in answers] for name in columns},
        **({} if None in lengths else {"num_tokens": lengths}),
        **({} if None in tokens else {"completion_ids": tokens}),
        "question": [answer.problem.question for answer in answers],
        "id": [answer.problem.id for answer in answers],
        "answers": [list(answer.problem.answers) for answer in answers],
        "prompts": [answer.prompt for answer in answers],
        "completions": [answer.completion for answer in answers],
    }


def verdicts(
    name: str, answers: Sequence[Answer], outcomes: Sequence[float | str], status: Status = "crash"
) -> tuple[Verdict, ...]:
    """Return the verdicts for what was returned; a reason in place of a number gives one with `status`, no reward."""
    return tuple(
        Verdict(None, status, f"row {row} of {name} (problem {answer.problem.id}): {outcome}.")
        if isinstance(outcome, str)
        else Verdict(outcome, answer=final_answer(answer.completion))
        for row, (answer, outcome) in enumerate(zip(answers, outcomes, strict=True), 1)
    )
