"""A measurement shows its first prompt from the token ids, its completion and verdict, and says what cannot be read."""

from collections.abc import Sequence
from dataclasses import dataclass

from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.evaluate.examiner import Examiner
from creditree.evaluate.example import Example
from creditree.evaluate.first_look import FirstLook
from creditree.problem import Problem, Verdict
from creditree.rng import Key
from creditree.runs.attempts import Attempt
from creditree.tasks.task import PromptTemplate
from creditree.verify.verifier import Answer, Verifier
from tests.tiny_models import tiny
from tests.training import Sums


@dataclass(slots=True)
class Blind(Verifier):
    """Finds no answer, or with `sees` the text's length."""

    sees: bool = False

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Judge."""
        if self.sees:
            return tuple(Verdict(0.5, answer=str(len(one.completion))) for one in answers)
        return tuple(Verdict(0.0, "unparsable", "there is none") for one in answers)


def looked(verifier: Verifier, tokens: int, *, shows: bool = True) -> tuple[FirstLook, list[str]]:
    model, told = tiny(), list[str]()
    examiner = Examiner(model, InProcessEngine(model), verifier, PromptTemplate(), tokens, Key.of(0))
    return FirstLook(examiner, told.append, shows=shows, keys={"length_key": "--max-new-tokens"}), told


def test_the_first_completion_is_shown_once_and_nothing_is_sampled_otherwise_than_without_a_look() -> None:
    look, told = looked(Blind(sees=True), 100)
    problems = Sums().held_out("test", 4)
    found = look.examine(problems[:2], Sampling(0.0), 2)
    look.examine(problems[2:], Sampling(0.0), 2)
    assert found == look.examiner.examine(problems[:2], Sampling(0.0), 2)
    assert len(told) == 1
    assert look.example is not None
    texts = look.examiner.model.texts
    ids = look.examiner.prompt.encode(problems[0], texts)
    assert look.example.prompt == texts.exact(ids)
    assert look.example.prompt_tokens == len(ids)
    assert look.example.completion == found[0].text
    assert (look.example.reward, look.example.answer) == (0.5, str(len(found[0].text)))
    assert Example.from_json(look.example.to_json()) == look.example
    assert told[0] == str(look.example)


def test_what_cannot_be_read_is_told_with_the_names_of_the_door() -> None:
    look, told = looked(Blind(), 2, shows=False)
    for piece in (Sums().held_out("test", 8), Sums().held_out("validation", 8)):
        look.examine(piece, Sampling(1.0), 1)
    assert len(told) == 1
    assert "completions were cut off at 2 tokens" in told[0]
    assert "Set --max-new-tokens to 8," in told[0]
    look, told = looked(Blind(), 100, shows=False)
    look.examine(Sums().held_out("test", 16), Sampling(1.0), 1)
    assert len(told) == 1
    assert "the grader 'Blind' found no answer" in told[0]


def test_an_example_says_why_it_ended_and_steers_no_terminal() -> None:
    one = Example("q", "a\x1b[2Jb\nc", 3, "12\x07", 5, True, None, "crash", "it is\ndown", None, ("7", "seven"))
    assert str(one) == (
        "the first prompt, as the model gets it (3 tokens):\n"
        "  | a\\x1b[2Jb\n"
        "  | c\n"
        "its completion (no reward (it is down); no answer found, expected '7' or 'seven'; 5 tokens, cut off at the "
        "limit):\n"
        "  | 12\\x07"
    )
    ended = Example("q", "a", 1, "7", 2, False, 1.0, "ok", "", "7", ("7",))
    assert ended.verdict == "reward 1; answer found '7', expected '7'; 2 tokens, ended by itself"


def test_a_long_text_loses_its_middle() -> None:
    model = tiny()
    long = Attempt("q", 0, 1.0, "ok", "1", 9, False, text="start " + "x" * 5000 + " end")
    found = Example.of(model, PromptTemplate(), Problem("q", "1+1=", ("2",)), long)
    assert len(found.completion) == 1200
    assert found.completion.startswith("start x")
    assert found.completion.endswith("x end")
