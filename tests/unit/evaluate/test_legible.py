"""Nearly everything cut off, or without an answer: told once, with an example and a cure that is a value."""

import pytest

from creditree.evaluate.legible import Alarm, Counts, CurableSettings, Kind, is_circular, trouble_words

SETTINGS = CurableSettings(64, 4000, "last_integer", "{question} Answer:")


def test_nine_of_ten_are_nearly_all_and_cut_off_comes_first() -> None:
    assert Counts().trouble() is None
    assert Counts(20, 17, 17).trouble() is None
    assert Counts(20, 18, 20).trouble() == "truncated"
    assert Counts(20, 17, 18).trouble() == "unparsable"


def words(kind: Kind, settings: CurableSettings = SETTINGS, example: str = "so \x1b[31m12 and") -> str:
    return trouble_words(kind, Counts(20, 19, 18), settings, example)


def test_cut_off_completions_get_four_times_the_length_as_far_as_the_context_allows() -> None:
    assert words("truncated") == (
        "19 of 20 completions were cut off at 64 tokens, before they ended; one of them: 'so \\x1b[31m12 and'. Set "
        "sampling.max_new_tokens to 256, or ask for a shorter answer in task.prompt.text."
    )
    short = CurableSettings(64, 100, "math", "{question}", "--max-new-tokens", "--prompt", "--reward")
    assert words("truncated", short).endswith("Set --max-new-tokens to 100, or ask for a shorter answer in --prompt.")
    assert "context holds no more" in words("truncated", CurableSettings(64, 64, "math", "{question}"))


def test_more_tokens_are_no_cure_for_a_completion_that_goes_round_in_circles() -> None:
    circle = "Well, " + "the answer is the number of apples. " * 6
    assert is_circular(circle)
    assert not is_circular("one two three " * 3)
    assert not is_circular("")
    assert "repeats itself" in words("truncated", example=circle)


def test_without_an_answer_the_prompt_is_to_ask_for_what_the_grader_reads() -> None:
    found = words("unparsable", example="twelve")
    assert found == (
        "in 18 of 20 completions the grader 'last_integer' found no answer; one of them: 'twelve'. Set "
        'task.prompt.text to "{question}\\nReason step by step, and finish with the answer as one integer.\\n", which '
        "asks for what this grader reads, or choose another one with reward."
    )
    asked = "{question}\nReason step by step, and finish with the answer as one integer.\n"
    for same in (
        CurableSettings(64, 100, "last_integer", asked),
        CurableSettings(64, 100, "judge.py:score", "{question}"),
    ):
        assert "Say in task.prompt.text in which form" in words("unparsable", same)


def test_an_alarm_waits_for_enough_completions_and_rings_once_for_each_kind() -> None:
    told: list[str] = []
    alarm = Alarm(SETTINGS, told.append)

    def example(kind: Kind) -> str:
        return f"a {kind} one"

    alarm.take(Counts(15, 15, 0), example)
    assert told == []
    alarm.take(Counts(1, 1, 0), example, "step 2: ")
    assert len(told) == 1
    assert told[0].startswith("step 2: 16 of 16 completions were cut off at 64 tokens")
    assert "'a truncated one'" in told[0]
    for _ in range(3):
        alarm.take(Counts(16, 16, 16), example)
        alarm.take(Counts(16, 0, 0), example)
    assert len(told) == 1
    alarm.take(Counts(16, 0, 15), example)
    assert len(told) == 2
    assert "15 of 16 completions the grader" in told[1]


def test_the_example_may_be_one_of_those_that_came_before() -> None:
    told: list[str] = []
    alarm = Alarm(SETTINGS, told.append)
    alarm.take(Counts(15, 15, 0), lambda kind: f"a {kind} one")
    alarm.take(Counts(1, 0, 0), lambda kind: [][0])
    assert len(told) == 1
    assert "'a truncated one'" in told[0]


@pytest.mark.parametrize("kind", ["truncated", "unparsable"])
def test_it_is_one_line(kind: Kind) -> None:
    assert "\n" not in words(kind, example="a\nb\r\nc")
