"""Worked word problems, mixed with wrong habits: a corpus in which the skill is latent.

A right solution writes one operation a line, then the answer::

    5*4=20
    20-7=13
    13

Where nothing misleads, the right solution is the most frequent one. Where a story has a trap (a number that does not
matter, words that suggest the wrong operation, a second step), the trap is the most frequent solution.
"""

from dataclasses import replace

from numpy.random import Generator

from creditree.tasks.split import slice_of
from creditree.tasks.stories import KINDS, Operation, Step, Story, draw
from creditree.tasks.word_problems import DISTRACTORS

SHARE_ECHO = 0.25
TRAP_TAKEN = 0.6
OPERATION_WRONG = 0.12
FACT_WRONG = 0.03
MISLEADING = ("compare", "start")
CONFUSED: dict[Operation, Operation] = {"+": "-", "-": "+", "*": "+", "/": "-"}


def example(rng: Generator) -> tuple[str, str]:
    """Return one (prompt, completion) of the corpus; problems of the held-out splits are never drawn."""
    story = draw(rng, tuple(KINDS), DISTRACTORS)
    while slice_of(story.question) != "training":
        story = draw(rng, tuple(KINDS), DISTRACTORS)
    return f"{story.question}\n", _solution(story, rng)


def _solution(story: Story, rng: Generator) -> str:
    if rng.random() < SHARE_ECHO:
        return str(story.numbers[int(rng.integers(len(story.numbers)))])
    lines: list[str] = []
    result, intended = 0, None
    for step in _plan(story, rng):
        # A later step uses what the earlier one came to, right or wrong.
        left = result if step.left == intended else step.left
        right = result if step.right == intended and step.left != intended else step.right
        operation = CONFUSED[step.operation] if rng.random() < OPERATION_WRONG else step.operation
        result, intended = _fact(Step(left, operation, right).result, rng), step.result
        lines.append(f"{left}{operation}{right}={result}")
    return "\n".join([*lines, str(result)])


def _plan(story: Story, rng: Generator) -> tuple[Step, ...]:
    """Return the steps that are carried out: the right ones, but for the traps that are taken."""
    steps = story.steps
    first = steps[0]
    if story.kind in MISLEADING and rng.random() < TRAP_TAKEN:
        steps = (replace(first, operation=CONFUSED[first.operation]), *steps[1:])
    if story.distractor is not None and rng.random() < TRAP_TAKEN:
        steps = (replace(steps[0], right=story.distractor), *steps[1:])
    if len(steps) > 1 and rng.random() < TRAP_TAKEN:
        steps = steps[:1]
    return steps


def _fact(right: int, rng: Generator) -> int:
    if rng.random() >= FACT_WRONG:
        return right
    return right + int(rng.choice([-10, -2, -1, 1, 2, 10]))
