"""A mixture of tasks: how often each is drawn, whose order its problems have, held-out problems, wordings."""

from collections import Counter
from dataclasses import replace
from types import MappingProxyType

import pytest

from creditree.errors import DataError
from creditree.problem import Problem, ids_by_task
from creditree.rng import Key
from creditree.tasks import Mixture, Multiplication, PromptTemplate, Table
from creditree.tasks.mixture import BLOCK, MixedPrompt, Part, listed
from creditree.tasks.split import Slice
from tests.unit.tasks.test_prompt import Letters

KEY = Key.of(4)
PLAIN = PromptTemplate()


def table(name: str, training: int, test: int = 4, prompt: PromptTemplate = PLAIN) -> Table:
    sizes: dict[Slice, int] = {"training": training, "validation": 1, "test": test}
    slices = {
        kind: tuple(Problem(f"{kind}-{n}", f"{name} {kind} {n}?", (str(n),)) for n in range(size))
        for kind, size in sizes.items()
    }
    return Table(name, MappingProxyType(slices), prompt)


MIXTURE = Mixture((Part("many", 3.0, table("a", 7)), Part("few", 1.0, table("b", 5))))


def drawn(count: int, key: Key = KEY) -> list[Problem]:
    return [MIXTURE.training(key, index) for index in range(count)]


def test_each_is_drawn_as_often_as_its_weight_says() -> None:
    counts = Counter(problem.task for problem in drawn(2 * BLOCK))
    # 2048 draws with p = 3/4: 1536, and a standard deviation of sqrt(2048 * 3/16) = 19.6
    assert abs(counts["many"] - 1536) < 4 * 19.6
    assert counts.total() == 2048


def test_a_problem_depends_on_the_key_and_its_index_alone() -> None:
    whole = drawn(BLOCK + 50)
    for index in (BLOCK + 49, 3, BLOCK, BLOCK - 1):
        assert MIXTURE.training(KEY, index) == whole[index]
    assert [one.id for one in drawn(50, Key.of(5))] != [one.id for one in whole[:50]]


def test_each_pass_over_a_task_has_each_of_its_problems_once() -> None:
    of_few = [problem.id for problem in drawn(BLOCK + 400) if problem.task == "few"]
    for start in range(0, len(of_few) - 5, 5):
        assert len(set(of_few[start : start + 5])) == 5
    assert set(of_few) == {f"few/training-{n}" for n in range(5)}


def test_held_out_problems_are_taken_in_turn_by_weight_until_a_task_has_no_more() -> None:
    tasks = [problem.task for problem in MIXTURE.held_out("test")]
    # (taken + 1) / weight: 1/3, 2/3, 1 (the first of equals), then 4/3 against 1
    assert tasks == ["many", "many", "many", "few", "many", "few", "few", "few"]
    for limit in range(9):
        assert MIXTURE.held_out("test", limit) == MIXTURE.held_out("test")[:limit]
    assert ids_by_task(MIXTURE.held_out("test", 4)) == {
        "many": ("many/test-0", "many/test-1", "many/test-2"),
        "few": ("few/test-0",),
    }
    assert ids_by_task(table("a", 3).held_out("test")) == {}


def test_every_training_problem_is_listed_once_and_of_those_without_end_the_first() -> None:
    mixture = Mixture((Part("a", 1.0, table("a", 3)), Part("products", 1.0, Multiplication())))
    assert sorted(one.id for one in listed(mixture)) == [f"a/training-{n}" for n in range(3)]
    assert [one.task for one in listed(mixture, 2)] == ["a", "a", "a", "products", "products"]
    assert mixture.num_training is None
    assert mixture.name == "a+products"


def test_a_task_without_training_problems_is_refused() -> None:
    with pytest.raises(DataError, match="The task 'b' of the mixture has no training problems"):
        Mixture((Part("a", 1.0, table("a", 3)), Part("b", 1.0, table("b", 0))))


def test_each_problem_has_the_wording_of_its_task() -> None:
    plain, chat = PromptTemplate("{question}\n", chat=False), PromptTemplate("Solve {question}", chat=True, system="S")
    mixture = Mixture((Part("a", 1.0, table("a", 3, prompt=plain)), Part("b", 1.0, table("b", 3, prompt=chat))))
    prompt, letters = mixture.prompt, Letters(has_chat_template=True)
    of_a, of_b = mixture.held_out("test", 2)
    assert [prompt.render(one) for one in (of_a, of_b)] == ["a test 0?\n", "Solve b test 0?"]
    assert prompt.encode(of_a, letters) == [ord(letter) for letter in "a test 0?\n"]
    assert prompt.encode(of_b, letters) == [7, 8, 9]
    assert letters.conversations[0][1] == "S"
    assert (prompt.of(of_b), prompt.first, prompt.of(replace(of_b, task=""))) == (chat, plain, plain)
    assert prompt.in_chat_format(letters)
    assert isinstance(prompt, MixedPrompt)
    assert (prompt.text, prompt.chat, prompt.system) == ("a: {question}\n\nb: Solve {question}", "auto", None)
