"""Short word problems from templates: what happened, what is asked, and the steps that solve it."""

from dataclasses import dataclass
from typing import Literal

from numpy.random import Generator

Operation = Literal["+", "-", "*", "/"]

NAMES = (
    "Ada", "Ben", "Carla", "Dan", "Emma", "Finn", "Grace", "Hugo", "Iris", "Jack", "Kim", "Leo",
    "Mia", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tina", "Zoe",
)  # fmt: skip
THINGS = (
    "apples", "balls", "books", "cards", "coins", "cookies", "cups", "dolls", "eggs", "flowers", "hats", "kites",
    "marbles", "pears", "pens", "plates", "shells", "stamps", "stones", "toys",
)  # fmt: skip
HOLDERS = ("bags", "baskets", "boxes", "drawers", "jars", "trays")
SINGULAR = {"bags": "bag", "baskets": "basket", "boxes": "box", "drawers": "drawer", "jars": "jar", "trays": "tray"}
DISTRACTORS = ("{n} also has {d} {p}.", "There are {d} {p} on the table.", "{m} sees {d} {p}.")


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on two whole numbers; a division is always exact."""

    left: int
    operation: Operation
    right: int

    @property
    def result(self) -> int:
        """Return the value of the step."""
        match self.operation:
            case "+":
                return self.left + self.right
            case "-":
                return self.left - self.right
            case "*":
                return self.left * self.right
            case "/":
                return self.left // self.right


@dataclass(frozen=True, slots=True)
class Story:
    """A drawn word problem: its text, the steps of its solution, and what could mislead a reader."""

    kind: str
    question: str
    steps: tuple[Step, ...]
    numbers: tuple[int, ...]
    distractor: int | None

    @property
    def answer(self) -> int:
        """Return the result of the last step."""
        return self.steps[-1].result


@dataclass(frozen=True, slots=True)
class Kind:
    """A family of problems: (text, question) phrasings, and steps over the numbers a, b, c and r, the result before."""

    phrasings: tuple[tuple[str, str], ...]
    steps: tuple[tuple[str, Operation, str], ...]


KINDS = {
    "gain": Kind(
        (
            ("{n} has {a} {o}. {m} gives {n} {b} more {o}.", "How many {o} does {n} have now?"),
            ("{n} had {a} {o} and then found {b} {o}.", "How many {o} does {n} have now?"),
            ("There were {a} {o} in the {k}. {n} put in {b} more.", "How many {o} are in the {k} now?"),
        ),
        (("a", "+", "b"),),
    ),
    "loss": Kind(
        (
            ("{n} had {a} {o}. {n} gave {b} {o} to {m}.", "How many {o} does {n} have left?"),
            ("{n} had {a} {o} but lost {b} {o}.", "How many {o} are left?"),
            ("There were {a} {o} in the {k}. {n} took out {b}.", "How many {o} are left in the {k}?"),
        ),
        (("a", "-", "b"),),
    ),
    "total": Kind(
        (
            ("{n} has {a} {o} and {m} has {b} {o}.", "How many {o} do they have in all?"),
            ("{n} found {a} {o}. {m} found {b} {o}.", "How many {o} did they find together?"),
        ),
        (("a", "+", "b"),),
    ),
    "groups": Kind(
        (
            ("{n} has {a} {h} with {b} {o} in each {k}.", "How many {o} does {n} have in all?"),
            ("There are {a} {h}. Each {k} holds {b} {o}.", "How many {o} are there in all?"),
        ),
        (("a", "*", "b"),),
    ),
    "share": Kind(
        (
            ("{n} puts {a} {o} into {b} {h}, the same number in each.", "How many {o} are in each {k}?"),
            ("{b} {h} hold {a} {o}, the same number in each.", "How many {o} are in each {k}?"),
        ),
        (("a", "/", "b"),),
    ),
    "compare": Kind(
        (
            ("{n} has {a} {o}. {m} has {b} {o}.", "How many more {o} does {n} have than {m}?"),
            ("{m} found {b} {o} and {n} found {a} {o}.", "How many more {o} did {n} find than {m}?"),
        ),
        (("a", "-", "b"),),
    ),
    "start": Kind(
        (
            ("{n} lost {a} {o} and has {b} {o} left.", "How many {o} did {n} have at first?"),
            ("{n} gave {a} {o} to {m}. Now {n} has {b} {o}.", "How many {o} did {n} have at first?"),
        ),
        (("a", "+", "b"),),
    ),
    "gain_loss": Kind(
        (
            ("{n} had {a} {o}, found {b} {o} and lost {c} {o}.", "How many {o} does {n} have now?"),
            ("{n} has {a} {o}. {m} gives {n} {b} more and takes {c}.", "How many {o} does {n} have now?"),
        ),
        (("a", "+", "b"), ("r", "-", "c")),
    ),
    "more_total": Kind(
        (
            ("{n} has {a} {o}. {m} has {b} more {o} than {n}.", "How many {o} do they have in all?"),
            ("{n} found {a} {o}. {m} found {b} more than {n}.", "How many {o} did they find together?"),
        ),
        (("a", "+", "b"), ("a", "+", "r")),
    ),
    "groups_loss": Kind(
        (
            ("{n} has {a} {h} with {b} {o} in each. {n} gave {c} {o} to {m}.", "How many {o} does {n} have left?"),
            ("There are {a} {h} with {b} {o} in each. {n} took {c} {o}.", "How many {o} are left?"),
        ),
        (("a", "*", "b"), ("r", "-", "c")),
    ),
}
LARGEST = 20
LARGEST_FACTOR = 9


def draw(rng: Generator, kinds: tuple[str, ...], distractors: float) -> Story:
    """Return a random story of one of `kinds`; problems of one step have a distractor with this probability."""
    name = kinds[int(rng.integers(len(kinds)))]
    kind = KINDS[name]
    numbers, steps = _numbers(kind, rng)
    text, question = kind.phrasings[int(rng.integers(len(kind.phrasings)))]
    n, m = (NAMES[int(i)] for i in rng.permutation(len(NAMES))[:2])
    o, p = (THINGS[int(i)] for i in rng.permutation(len(THINGS))[:2])
    h = HOLDERS[int(rng.integers(len(HOLDERS)))]
    distractor = None
    sentences = [text, question]
    if len(steps) == 1 and rng.random() < distractors:
        unused = [number for number in range(2, LARGEST + 1) if number not in numbers.values()]
        distractor = unused[int(rng.integers(len(unused)))]
        sentences.insert(int(rng.integers(2)), DISTRACTORS[int(rng.integers(len(DISTRACTORS)))])
    template = " ".join(sentences)
    fields = {"n": n, "m": m, "o": o, "p": p, "h": h, "k": SINGULAR[h], "d": distractor, **numbers}
    told = {letter: fields[letter] for letter in "abcd" if "{" + letter + "}" in template}
    in_order = sorted(told, key=lambda letter: template.index("{" + letter + "}"))
    shown = tuple(value for letter in in_order if isinstance(value := told[letter], int))
    return Story(name, template.format(**fields), steps, shown, distractor)


def _numbers(kind: Kind, rng: Generator) -> tuple[dict[str, int], tuple[Step, ...]]:
    letters = sorted({letter for left, _, right in kind.steps for letter in (left, right)} - {"r"})
    operations = [operation for _, operation, _ in kind.steps]
    while True:
        numbers = {letter: int(rng.integers(2, LARGEST + 1)) for letter in letters}
        if "*" in operations or "/" in operations:
            numbers |= {letter: int(rng.integers(2, LARGEST_FACTOR + 1)) for letter in "ab"}
        if "/" in operations:
            numbers["a"] *= numbers["b"]
        steps: list[Step] = []
        for left, operation, right in kind.steps:
            known = numbers | ({"r": steps[-1].result} if steps else {})
            steps.append(Step(known[left], operation, known[right]))
        # Distinct numbers leave no doubt which of them a solution used.
        if len(set(numbers.values())) == len(numbers) and all(step.result >= 1 for step in steps):
            return numbers, tuple(steps)
