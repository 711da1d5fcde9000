"""The recipe of the built-in base models still is what was run, and the shipped weights are what it made."""

import hashlib
import re
from itertools import islice
from pathlib import Path

import pytest
import torch
from numpy.random import default_rng
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2ForCausalLM

import creditree.models
from creditree.problem import Problem
from creditree.tasks import Multiplication, WordProblems, stories
from creditree.tasks.multiplication import identity
from creditree.tasks.split import slice_of
from creditree.verify import Answer, LastInteger
from recipes.tiny_base import measure, multiplication_corpus, train, word_problems_corpus

README = (Path(train.__file__).parent / "README.md").read_text(encoding="utf-8")
BUILTIN = Path(str(creditree.models.__file__)).parent / "builtin"
NAMES = sorted(train.RECIPES)
MODELS = pytest.mark.parametrize("name", NAMES)
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


@MODELS
def test_the_first_steps_are_deterministic_and_as_recorded(name: str) -> None:
    losses, model = first_steps(name)
    again, other = first_steps(name)
    assert again == losses
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    assert losses == pytest.approx([float(loss) for loss in recorded(name, "first losses")], abs=2e-3)


@MODELS
def test_settings_that_the_first_steps_hardly_show_are_the_recorded_ones(name: str) -> None:
    recipe = train.RECIPES[name]
    assert (recipe.betas, recipe.clip, recipe.decay_share, recipe.batch) == ((0.9, 0.98), 1.0, 0.3, 64)
    assert recipe.num_steps == int(recorded(name, "steps of 64")[0].replace(" ", ""))
    for setting in ("betas (.9, .98)", "gradient clip 1", "over the last 30 %"):
        assert setting in README


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


@MODELS
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
    ("task", "low", "high"), [(Multiplication(3, 1), 0.02, 0.1), (WordProblems(), 0.2, 0.5)], ids=["m", "w"]
)
def test_the_skill_is_latent_before_training(task: Multiplication | WordProblems, low: float, high: float) -> None:
    name = "multiplication" if isinstance(task, Multiplication) else "word_problems"
    assert low < measure.accuracy(BUILTIN / name, task, task.held_out("test"), 0.0) < high


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
