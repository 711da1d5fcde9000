"""Programs: the completion's last block of Python is run, and what it prints is compared."""

import re
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from creditree.limits import check_execution
from creditree.problem import Verdict
from creditree.text import one_line
from creditree.verify.final_answer import after_thinking
from creditree.verify.number import plain_number
from creditree.verify.sandbox import containment, run
from creditree.verify.verifier import Answer, Rules, Verifier

BLOCK = re.compile(r"^[ \t]*```(?:python3?|py)?[ \t]*\r?\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Program(Verifier):
    """Reward 1 if the last fenced block of Python in the completion prints an accepted answer, else 0.

    The program runs as ``python -I`` in an empty folder, without input or the caller's environment, under limits on
    processor time, memory and files, without threads or further processes, and is killed after `deadline_s` wall
    seconds. With `contain` it is shut in (see `confined`): it sees the interpreter and nothing else, neither files,
    processes nor a network, and what it leaves vanishes with it. Where the system cannot do that it is not run. With
    `contain` off **it can do all that you can**. Since it runs at all, `allow_execution` must be given.

    No block is ``unparsable``; the deadline is a ``timeout``; a program that ends with an error, or prints more than
    64 KiB, is a ``crash``: each has reward 0. One that could not be started is a ``crash`` without a reward. Outputs
    are compared line by line without white space at the ends; a single number is compared as a number. Raises
    ConfigError without `allow_execution`.
    """

    allow_execution: bool = False
    deadline_s: float = 5.0
    memory_bytes: int = 1 << 29
    num_workers: int = 2
    contain: bool = True

    def __post_init__(self) -> None:
        check_execution(allowed=self.allow_execution)

    def check(self) -> None:
        """Raise ConfigError where programs are to be shut in and this machine cannot do that."""
        if self.contain:
            containment().check()

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        with ThreadPoolExecutor(self.num_workers, "creditree-program") as threads:
            return tuple(threads.map(self._verdict, answers))

    def rules(self) -> Rules:
        """Return its rules."""
        return {
            "grader": "program",
            "allow_execution": self.allow_execution,
            "contain": self.contain,
            "precision": "outputs line by line, a single number by its value",
            "deadline_s": self.deadline_s,
            "workers": self.num_workers,
            "memory_bytes": self.memory_bytes,
        }

    def same(self, one: str, other: str) -> bool:
        """Return whether two outputs are the same, as an output and an accepted answer are compared."""
        return same_output(one, other)

    def _verdict(self, answer: Answer) -> Verdict:
        program = last_program(answer.completion)
        if program is None:
            return Verdict(0.0, "unparsable", "the completion has no fenced block of Python.")
        try:
            self.check()
            how = containment().how if self.contain else "none"
            ran = run(program, how, self.deadline_s, self.memory_bytes)
        except Exception as error:  # one program that cannot be run is no reason to end whoever asked
            return Verdict(None, "crash", f"the program could not be run: {one_line(str(error)).rstrip('.')}.")
        if ran.code is None:
            return Verdict(0.0, "timeout", f"the program ran longer than {self.deadline_s:g} s.")
        if ran.code != 0:
            return Verdict(0.0, "crash", f"the program {_ending(ran.code)}.")
        right = any(same_output(ran.printed, truth) for truth in answer.problem.answers)
        return Verdict(1.0 if right else 0.0, answer="\n".join(_lines(ran.printed)))


def last_program(completion: str) -> str | None:
    """Return the last fenced block of Python behind the last ``</think>``, or None."""
    blocks = BLOCK.findall(after_thinking(completion))
    return blocks[-1] if blocks else None


def same_output(printed: str, truth: str) -> bool:
    """Return whether what was printed is an accepted answer: the same lines, or the same number."""
    if _lines(printed) == _lines(truth):
        return True
    number, other = plain_number(printed.strip()), plain_number(truth.strip())
    return number is not None and other is not None and number.value == other.value


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def _ending(code: int) -> str:
    with suppress(ValueError):
        if code > 128:
            return f"was ended by {signal.Signals(code - 128).name}"
    return f"ended with exit code {code}"
