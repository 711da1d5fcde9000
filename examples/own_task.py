"""A task of your own: a Python function that yields problems.

    creditree train --model Qwen/Qwen2.5-Coder-0.5B-Instruct --task examples/own_task.py:sums --run runs/sums

Each problem is a question and its answer (a text, a number, or a list of accepted ones), or a mapping of columns, which
the prompt and reward functions may name. A tenth is held out for validation and a tenth for test, by a hash of the
question. The function takes nothing, and has to yield the same problems each time it is called: a run that goes on
checks that, and that this file is as it was. In a mixture it is one part:

    task: {mixture: [{name: multiplication, weight: 3}, {name: examples/own_task.py:sums, weight: 1}]}
"""

from collections.abc import Iterator
from random import Random


def sums(count: int = 2000, seed: int = 0) -> Iterator[tuple[str, int]]:
    """Yield sums of two numbers of three digits."""
    random = Random(seed)
    for _ in range(count):
        a, b = random.randrange(100, 1000), random.randrange(100, 1000)
        yield f"{a}+{b}=", a + b


def chains() -> Iterator[dict[str, object]]:
    """Yield longer sums as rows, with a column that says how many steps they take."""
    random = Random(1)
    for _ in range(1000):
        numbers = [random.randrange(10, 100) for _ in range(random.randrange(3, 6))]
        yield {"question": "+".join(map(str, numbers)) + "=", "answer": sum(numbers), "steps": len(numbers) - 1}
