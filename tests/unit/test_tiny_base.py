"""The recipe of the built-in base models still is what was run, and the shipped weights are what it made."""

import hashlib
import re
from functools import cache
from itertools import islice, pairwise
from pathlib import Path

import pytest
import torch
from numpy.random import default_rng
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2ForCausalLM

import creditree.models
from creditree.problem import Problem
from creditree.tasks import Multiplication, Task, WordProblems, stories
from creditree.tasks.multiplication import identity
from creditree.tasks.split import slice_of
from creditree.verify.last_integer import LastInteger
from creditree.verify.verifier import Answer
from recipes.tiny_base import (
    long_multiplication_corpus,
    measure,
    multiplication_corpus,
    train,
    word_problems_corpus,
)

README = (Path(train.__file__).parent / "README.md").read_text(encoding="utf-8")
BUILTIN = Path(str(creditree.models.__file__)).parent / "builtin"
NAMES = sorted(train.RECIPES)
MODELS = pytest.mark.parametrize("name", NAMES)
FEW = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "multiplication" else pytest.mark.thorough) for name in NAMES]
)
"""Where each takes seconds: `make test` is content with the quickstart's."""
NUM_STEPS = 5


def recorded(name: str, label: str) -> list[str]:
    """Return the cells of the README's row for this figure, one a model in alphabetical order."""
    (row,) = re.findall(rf"^\| {re.escape(label)} \|(.*)\|$", README, re.MULTILINE)
    return [part.strip(" `") for part in row.split("|")[NAMES.index(name)].split(",")]


def first_steps(name: str) -> tuple[list[float], Qwen2ForCausalLM]:
    recipe = train.RECIPES[name]
    tokenizer = recipe.tokenizer()
    model = train.new_model(tokenizer, recipe.seed)
    losses = [loss for loss, _ in islice(train.training_losses(model, tokenizer, recipe), NUM_STEPS)]
    return losses, model


once = cache(first_steps)


@FEW
def test_the_first_losses_are_as_recorded(name: str) -> None:
    losses, _ = once(name)
    assert losses == pytest.approx([float(loss) for loss in recorded(name, "first losses")], abs=2e-3)


@pytest.mark.thorough
@FEW
def test_the_first_steps_are_deterministic(name: str) -> None:
    (losses, model), (again, other) = once(name), first_steps(name)
    assert again == losses
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


@MODELS
def test_settings_that_the_first_steps_hardly_show_are_the_recorded_ones(name: str) -> None:
    recipe = train.RECIPES[name]
    assert (recipe.betas, recipe.clip, recipe.decay_share, recipe.batch) == ((0.9, 0.98), 1.0, 0.3, 64)
    assert recipe.num_steps == int(recorded(name, "steps of 64")[0].replace(" ", ""))
    for setting in ("betas (.9, .98)", "gradient clip 1", "over the last 30 %"):
        assert setting in " ".join(README.split())


@MODELS
def test_the_shipped_weights_have_the_recorded_hash_and_size(name: str) -> None:
    weights = (BUILTIN / name / "model.safetensors").read_bytes()
    assert [hashlib.sha256(weights).hexdigest()] == recorded(name, "sha256")
    assert len(weights) < 3_000_000


@MODELS
def test_the_shipped_directory_loads_with_transformers(name: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(BUILTIN / name)
    model = AutoModelForCausalLM.from_pretrained(BUILTIN / name)
    assert model.config.model_type == "qwen2"
    assert model.dtype == torch.float32
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.eos_token_id == model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.config.pad_token_id == model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert model.num_parameters() == int(recorded(name, "parameters")[0].replace(" ", ""))


@FEW
def test_the_shipped_tokenizer_is_the_recipes_and_keeps_every_ascii_text(name: str) -> None:
    shipped, built = AutoTokenizer.from_pretrained(BUILTIN / name), train.RECIPES[name].tokenizer()
    assert shipped.get_vocab() == built.get_vocab()
    text = "".join(chr(code) for code in range(32, 127)) + "\n\nTwo  spaces , and  digits 1234.\n 7*6=42\n"
    assert shipped.encode(text) == built.encode(text)
    assert shipped.decode(shipped.encode(text)) == text
    assert len(shipped.encode("1234\n")) == 5


def test_the_tokenizer_of_the_stories_has_a_token_a_word_and_keeps_any_text() -> None:
    tokenizer = AutoTokenizer.from_pretrained(BUILTIN / "word_problems")
    problems = WordProblems().held_out("test", 200)
    lengths = [len(tokenizer.encode(problem.question + "\n")) for problem in problems]
    assert max(lengths) <= 45
    assert tokenizer.decode(tokenizer.encode("3 × 4 → é")) == "3 × 4 → é"


@pytest.mark.parametrize(
    ("name", "task", "low", "high"),
    [
        pytest.param("long_multiplication", Multiplication(8, 1), 0.15, 0.5, marks=pytest.mark.thorough),
        ("multiplication", Multiplication(3, 1), 0.02, 0.1),
        ("word_problems", WordProblems(), 0.2, 0.5),
    ],
    ids=["l", "m", "w"],
)
def test_the_skill_is_latent_before_training(name: str, task: Task, low: float, high: float) -> None:
    assert low < measure.accuracy(BUILTIN / name, task, task.held_out("test", 300), 0.0) < high


@pytest.mark.thorough
def test_long_multiplication_has_nine_steps_and_mixed_groups() -> None:
    task = Multiplication(8, 1)
    found = measure.groups(BUILTIN / "long_multiplication", task, task.held_out("test", 60), 1.0)
    assert found.lines > 8
    assert 60 < found.tokens < 96
    assert 0.1 < found.accuracy < 0.4
    assert found.mixed > 0.45


def last_is(prompt: str, completion: str, right: int) -> bool:
    problem = Problem("p", prompt, (str(right),))
    return LastInteger().judge([Answer(problem, prompt, completion)])[0].reward == 1.0


def test_a_multiplication_without_wrong_habits_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    for habit in ("SHARE_DIRECT", "SHARE_NO_CARRIES", "CARRY_DROPPED", "FACT_WRONG"):
        monkeypatch.setattr(multiplication_corpus, habit, 0.0)
    rng = default_rng(0)
    for prompt, completion in (multiplication_corpus.example(rng) for _ in range(500)):
        a, b = (int(number) for number in prompt.removesuffix("=\n").split("*"))
        assert last_is(prompt, completion, a * b)
        assert completion.count("\n") == len(str(a))
        assert slice_of(identity(a, b)) == "training"


@pytest.mark.parametrize(
    ("dropped", "completion"),
    [(0.0, "7*6=42\n4*6+4=28\n3*6+2=20\n2082"), (1.0, "7*6=42\n4*6=24\n3*6=18\n1842")],
)
def test_a_dropped_carry_is_the_only_difference(
    monkeypatch: pytest.MonkeyPatch, dropped: float, completion: str
) -> None:
    monkeypatch.setattr(multiplication_corpus, "_operands", lambda rng: (347, 6))
    monkeypatch.setattr(multiplication_corpus, "CARRY_DROPPED", dropped)
    for habit in ("SHARE_DIRECT", "SHARE_NO_CARRIES", "FACT_WRONG"):
        monkeypatch.setattr(multiplication_corpus, habit, 0.0)
    assert multiplication_corpus.example(default_rng(0)) == ("347*6=\n", completion)


LONG_HABITS = {"SHARE_DIRECT": 0.0, "CARRY_DROPPED": (0.0,) * 8, "SHARE_MISREMEMBERED": 0.0, "FACT_WRONG": 0.0}


def test_a_long_multiplication_without_slips_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    for habit, never in LONG_HABITS.items():
        monkeypatch.setattr(long_multiplication_corpus, habit, never)
    rng = default_rng(0)
    for prompt, completion in (long_multiplication_corpus.example(rng) for _ in range(500)):
        a, b = (int(number) for number in prompt.removesuffix("=\n").split("*"))
        assert last_is(prompt, completion, a * b)
        assert [len(line) for line in completion.split("\n")] == [8] * 8 + [len(str(a * b))]
        assert slice_of(identity(a, b)) == "training"


@pytest.mark.parametrize(
    ("dropped", "completion"),
    [
        ((0.0,) * 8, "7*6+0=42\n4*6+4=28\n3*6+2=20\n3*6+2=20\n9*6+2=56\n6*6+5=41\n2*6+4=16\n5*6+1=31\n316160082"),
        # only the carry into the last line is lost: 30 instead of 31 in front
        (
            (0.0,) * 7 + (1.0,),
            "7*6+0=42\n4*6+4=28\n3*6+2=20\n3*6+2=20\n9*6+2=56\n6*6+5=41\n2*6+4=16\n5*6+0=30\n306160082",
        ),
        # the carry 4 into the second line is lost, and so the one out of it is the same 2
        (
            (0.0, 1.0) + (0.0,) * 6,
            "7*6+0=42\n4*6+0=24\n3*6+2=20\n3*6+2=20\n9*6+2=56\n6*6+5=41\n2*6+4=16\n5*6+1=31\n316160042",
        ),
    ],
)
def test_a_lost_carry_changes_its_own_line_and_what_follows_from_it(
    monkeypatch: pytest.MonkeyPatch, dropped: tuple[float, ...], completion: str
) -> None:
    for habit, never in LONG_HABITS.items():
        monkeypatch.setattr(long_multiplication_corpus, habit, never)
    monkeypatch.setattr(long_multiplication_corpus, "_operands", lambda rng: (52693347, 6))
    monkeypatch.setattr(long_multiplication_corpus, "CARRY_DROPPED", dropped)
    assert long_multiplication_corpus.example(default_rng(0)) == ("52693347*6=\n", completion)


def test_a_misremembered_product_is_carried_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for habit, never in LONG_HABITS.items():
        monkeypatch.setattr(long_multiplication_corpus, habit, never)
    monkeypatch.setattr(long_multiplication_corpus, "_operands", lambda rng: (12111167, 8))
    monkeypatch.setattr(long_multiplication_corpus, "SHARE_MISREMEMBERED", 1.0)
    # 7*8 is taken for 54; 6*8 + 5 = 53, 1*8 + 5 = 13, 8 + 1 = 9, 8, 8, 2*8 = 16, 8 + 1 = 9: 96889334, not 96889336
    assert long_multiplication_corpus.example(default_rng(0))[1] == (
        "7*8+0=54\n6*8+5=53\n1*8+5=13\n1*8+1=09\n1*8+0=08\n1*8+0=08\n2*8+0=16\n1*8+1=09\n96889334"
    )


def test_carries_are_lost_at_the_rate_of_their_line() -> None:
    rng = default_rng(0)
    lost, due = [0] * 8, [0] * 8
    for _, completion in (long_multiplication_corpus.example(rng) for _ in range(4000)):
        lines = [line for line in completion.split("\n") if "*" in line]
        for place, (before, line) in enumerate(pairwise(lines), 1):
            carry = int(before[-2])  # "7*6+0=42": the digit to carry, and the one carried in the next line
            due[place] += carry > 0
            lost[place] += carry > 0 and line[4] == "0"
    rates = [one / all_ for one, all_ in zip(lost[1:], due[1:], strict=True)]
    assert rates == pytest.approx(long_multiplication_corpus.CARRY_DROPPED[1:], abs=0.04)
    assert list(long_multiplication_corpus.CARRY_DROPPED) == sorted(long_multiplication_corpus.CARRY_DROPPED)


def test_a_story_without_wrong_habits_is_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    for habit in ("SHARE_ECHO", "TRAP_TAKEN", "OPERATION_WRONG", "FACT_WRONG"):
        monkeypatch.setattr(word_problems_corpus, habit, 0.0)
    answers: list[int] = []
    draw = stories.draw

    def noted(*arguments: object) -> object:
        story = draw(*arguments)  # type: ignore[arg-type]
        answers.append(story.answer)
        return story

    monkeypatch.setattr(word_problems_corpus, "draw", noted)
    rng = default_rng(0)
    for _ in range(500):
        prompt, completion = word_problems_corpus.example(rng)
        assert last_is(prompt, completion, answers[-1])
        assert slice_of(prompt.removesuffix("\n")) == "training"


def test_the_share_of_right_solutions_in_the_corpora() -> None:
    rng = default_rng(0)
    examples = [multiplication_corpus.example(rng) for _ in range(4000)]
    right = 0
    for prompt, completion in examples:
        a, b = (int(number) for number in prompt.removesuffix("=\n").split("*"))
        right += last_is(prompt, completion, a * b)
    # Direct answers are right (.30) and beyond the model; written ones (.55) are right if no carry was dropped.
    assert 0.38 < right / len(examples) < 0.50
