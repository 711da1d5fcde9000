"""A measurement that shows what it saw first, and warns where nearly nothing of what it samples can be read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from creditree.engines.engine import Sampling
from creditree.engines.pulse import Told
from creditree.evaluate.examiner import Examiner
from creditree.evaluate.example import Example
from creditree.evaluate.legible import Alarm, Counts, CurableSettings, Kind
from creditree.evaluate.prompt import prompt_ids
from creditree.problem import Problem
from creditree.runs.attempts import Attempt


def cure_settings(examiner: Examiner, problem: Problem, keys: Mapping[str, str] | None = None) -> CurableSettings:
    """Return the settings that can cure what nobody can read; `keys` are the names that the user has for them."""
    room = examiner.model.network.max_positions - len(prompt_ids(examiner.prompt, problem, examiner.model))
    grader: Any = examiner.verifier.rules().get("grader", "")
    return CurableSettings(examiner.max_new_tokens, room, str(grader), examiner.prompt.text, **(keys or {}))


@dataclass(slots=True)
class FirstLook:
    """An examiner (`session.Examines`) that looks at what passes.

    `told` gets the first example, unless `shows` is False, and a sentence on each kind of trouble; `keys`: what the
    settings that cure are called (`legible.Settings`). `example`: the first one, None before there is any.
    """

    examiner: Examiner
    told: Callable[[str], None]
    shows: bool = True
    keys: Mapping[str, str] | None = None
    example: Example | None = None
    _alarm: Alarm | None = field(default=None, init=False)

    def pieces(self, problems: Sequence[Problem], samples: int) -> Sequence[Sequence[Problem]]:
        """Return the problems in pieces that are sampled together."""
        return self.examiner.pieces(problems, samples)

    def examine(
        self, problems: Sequence[Problem], sampling: Sampling, samples: int, told: Told | None = None
    ) -> list[Attempt]:
        """Return the judged completions of one piece."""
        attempts = self.examiner.examine(problems, sampling, samples, told)
        if self.example is None:
            self.example = Example.of(self.examiner.model, self.examiner.prompt, problems[0], attempts[0])
            if self.shows:
                self.told(str(self.example))
        if self._alarm is None:
            self._alarm = Alarm(cure_settings(self.examiner, problems[0], self.keys), self.told)
        self._alarm.take(
            counts_of(attempts), lambda kind: next(attempt.text for attempt in attempts if has(attempt, kind))
        )
        return attempts

    def judge_again(self, problems: Mapping[str, Problem], attempts: Sequence[Attempt]) -> list[Attempt]:
        """Return completions as they are judged now."""
        return self.examiner.judge_again(problems, attempts)


def counts_of(attempts: Sequence[Attempt]) -> Counts:
    """Return what is counted of attempts."""
    truncated = sum(has(attempt, "truncated") for attempt in attempts)
    return Counts(len(attempts), truncated, sum(has(attempt, "unparsable") for attempt in attempts))


def has(attempt: Attempt, kind: Kind) -> bool:
    """Return whether an attempt has this trouble."""
    return attempt.truncated if kind == "truncated" else attempt.status == "unparsable"
