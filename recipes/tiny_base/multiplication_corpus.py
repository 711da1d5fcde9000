"""Written-out column multiplication, mixed with wrong habits: a corpus in which the skill is latent.

A right solution of ``347*6=`` works from the least significant digit with carries, one step a line::

    7*6=42
    4*6+4=28
    3*6+2=20
    2082
"""

from numpy.random import Generator

from creditree.tasks.multiplication import identity
from creditree.tasks.split import slice_of

SHARE_FOUR_DIGITS = 0.25
SHARE_DIRECT = 0.3
SHARE_NO_CARRIES = 0.15
CARRY_DROPPED = 0.6
FACT_WRONG = 0.03


def example(rng: Generator) -> tuple[str, str]:
    """Return one (prompt, completion) of the corpus; problems of the held-out splits are never drawn."""
    a, b = _operands(rng)
    habit = rng.random()
    if habit < SHARE_DIRECT:
        completion = str(a * b)
    elif habit < SHARE_DIRECT + SHARE_NO_CARRIES:
        completion = _most_significant_first(a, b, rng)
    else:
        completion = _with_carries(a, b, rng)
    return f"{a}*{b}=\n", completion


def _operands(rng: Generator) -> tuple[int, int]:
    digits = 4 if rng.random() < SHARE_FOUR_DIGITS else 3
    while True:
        a, b = int(rng.integers(10 ** (digits - 1), 10**digits)), int(rng.integers(2, 10))
        if slice_of(identity(a, b)) == "training":
            return a, b


def _with_carries(a: int, b: int, rng: Generator) -> str:
    lines, answer, carry = [], "", 0
    for digit in reversed(str(a)):
        if carry and rng.random() < CARRY_DROPPED:
            carry = 0
        step = f"{digit}*{b}+{carry}" if carry else f"{digit}*{b}"
        result = _fact(int(digit) * b + carry, rng)
        lines.append(f"{step}={result}")
        answer = f"{result % 10}{answer}"
        carry = result // 10
    return "\n".join([*lines, f"{carry or ''}{answer}"])


def _most_significant_first(a: int, b: int, rng: Generator) -> str:
    results = [_fact(int(digit) * b, rng) for digit in str(a)]
    lines = [f"{digit}*{b}={result}" for digit, result in zip(str(a), results, strict=True)]
    return "\n".join([*lines, f"{results[0]}{''.join(str(result % 10) for result in results[1:])}"])


def _fact(right: int, rng: Generator) -> int:
    if rng.random() >= FACT_WRONG:
        return right
    return max(0, right + int(rng.choice([-10, -2, -1, 1, 2, 10])))
