"""Eight digits times one, worked out over nine lines, with slips that become likelier from line to line.

A right solution of ``52693347*6=`` works from the least significant digit; every line has digit, factor, carry and a
result of two digits, so a line depends on the ones before it through their text alone::

    7*6+0=42
    4*6+4=28
    3*6+2=20
    ...
    316160082
"""

from numpy.random import Generator

from creditree.tasks.multiplication import identity
from creditree.tasks.split import slice_of

NUM_DIGITS = 8
SHARE_DIRECT = 0.06
CARRY_DROPPED = (0.0, 0.02, 0.03, 0.05, 0.08, 0.14, 0.25, 0.45)
"""Chance, line by line, that a carry is taken for 0."""
MISREMEMBERED = {(3, 7): 24, (4, 8): 36, (6, 7): 48, (6, 9): 56, (7, 8): 54}
"""Products, smaller factor first, that are mistaken for a neighbour in the table."""
SHARE_MISREMEMBERED = 0.55
FACT_WRONG = 0.01


def example(rng: Generator) -> tuple[str, str]:
    """Return one (prompt, completion) of the corpus; problems of the held-out splits are never drawn."""
    a, b = _operands(rng)
    completion = str(a * b) if rng.random() < SHARE_DIRECT else _written_out(a, b, rng)
    return f"{a}*{b}=\n", completion


def _operands(rng: Generator) -> tuple[int, int]:
    while True:
        a, b = int(rng.integers(10 ** (NUM_DIGITS - 1), 10**NUM_DIGITS)), int(rng.integers(2, 10))
        if slice_of(identity(a, b)) == "training":
            return a, b


def _written_out(a: int, b: int, rng: Generator) -> str:
    lines, answer, carry = [], "", 0
    for digit, dropped in zip(reversed(str(a)), CARRY_DROPPED, strict=True):
        if rng.random() < dropped:
            carry = 0
        result = _fact(_product(int(digit), b, rng) + carry, rng)
        lines.append(f"{digit}*{b}+{carry}={result:02d}")
        answer = f"{result % 10}{answer}"
        carry = result // 10
    return "\n".join([*lines, f"{carry or ''}{answer}"])


def _product(digit: int, b: int, rng: Generator) -> int:
    mistaken = MISREMEMBERED.get((min(digit, b), max(digit, b)))
    return digit * b if mistaken is None or rng.random() >= SHARE_MISREMEMBERED else mistaken


def _fact(right: int, rng: Generator) -> int:
    if rng.random() >= FACT_WRONG:
        return right
    return min(99, max(0, right + int(rng.choice([-10, -2, -1, 1, 2, 10]))))
