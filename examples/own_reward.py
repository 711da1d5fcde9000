"""A reward of your own: the answer, and a little for saying it briefly.

    creditree train CONFIG.yaml --run runs/brief --set reward=examples/own_reward.py:brief_and_right

It runs in a process of its own, which is ended if it hangs or crashes. It gets prompts, completions, the accepted
answers of each, and those columns of the problems that it names; it returns one number for each completion.
"""

import re
from collections.abc import Sequence

LONG = 40
"""Characters from which nothing is given for being brief."""


def brief_and_right(completions: Sequence[str], answers: Sequence[Sequence[str]]) -> list[float]:
    """Return 1 for a completion whose last number is an accepted answer, plus up to 0.1 for a short one."""
    rewards = []
    for text, accepted in zip(completions, answers, strict=True):
        numbers = re.findall(r"-?\d+", text)
        right = bool(numbers) and numbers[-1] in accepted
        rewards.append(right * (1.0 + 0.1 * max(0.0, 1.0 - len(text) / LONG)))
    return rewards
