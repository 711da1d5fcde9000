import io

from rich.console import Console

from creditree.engines.pulse import Pulse
from creditree.report.measuring import MeasureProgress


def written(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_lines_have_the_share_and_the_time_left_without_what_was_there_before() -> None:
    now = [0.0]
    console = Console(file=io.StringIO(), width=80)
    with MeasureProgress(300, console, clock=lambda: now[0]) as progress:
        progress.measured("a greedy", 0, 100, 25, 200)
        now[0] = 5.0
        progress.measured("a greedy", 20, 100, 30, 200)  # too early for a line
        now[0] = 12.0
        progress.measured("a greedy", 60, 100, 80, 200)
        now[0] = 20.0
        progress.measured("a greedy", 100, 100, 150, 200)
        progress.measured("b greedy", 0, 0, 0, 100)
        now[0] = 40.0
        progress.measured("b greedy", 100, 0, 0, 100)
    assert written(console) == [
        "a greedy: 100 of 200 completions | correct 25.0 %",
        # 60 in 12 s, 300 - 100 - 60 = 140 to go: 28 s.
        "a greedy: 160 of 200 completions | correct 50.0 % | 28.0 s left",
        "a greedy: 200 of 200 completions | correct 75.0 % | 20.0 s left",
        "b greedy: 0 of 100 completions | 20.0 s left",
        "b greedy: 100 of 100 completions | correct 0.0 % | 0.0 s left",
    ]


def test_a_piece_that_lasts_is_told_with_a_bound_of_the_time_left() -> None:
    now = [0.0]
    console = Console(file=io.StringIO(), width=80)
    with MeasureProgress(40, console, clock=lambda: now[0]) as progress:
        progress.measured("a", 0, 8, 2, 40)
        now[0] = 9.0
        progress.beat("a", Pulse(8, 1, 90, 9.0, 11.0))  # too early for a line
        now[0] = 12.0
        progress.beat("a", Pulse(8, 2, 900, 10.0, 6.0))
        now[0] = 20.0
        progress.measured("a", 8, 8, 6, 40)
        now[0] = 30.0
        progress.beat("a", Pulse(8, 0, 0, 0.0, None, 300, 1500))
    now_words = "now 2 of 8 completions sampled, 900 tokens, 90 tokens/s"
    assert written(console) == [
        "a: 8 of 40 completions | correct 25.0 %",
        # 8 rows take 16 s at most, 32 four times that; 10 are over.
        f"a: 8 of 40 completions | correct 25.0 % | {now_words} | at most 54.0 s left",
        "a: 16 of 40 completions | correct 37.5 % | now reading prompts, 300 of 1.50 k tokens | 1 min 30 s left",
    ]


def test_the_time_left_of_a_call_that_is_larger_than_the_total_is_its_own() -> None:
    console = Console(file=io.StringIO(), width=80)
    with MeasureProgress(16, console, clock=lambda: 0.0) as progress:
        progress.beat("timing", Pulse(64, 8, 900, 10.0, 6.0))
    assert written(console)[0].endswith("at most 6.0 s left")


def test_a_terminal_has_a_bar() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with MeasureProgress(10, console) as progress:
        progress.measured("a", 0, 0, 0, 10)
        progress.measured("a", 10, 0, 5, 10)
        progress.message("a sentence")
    assert isinstance(console.file, io.StringIO)
    assert "a sentence" in console.file.getvalue()
    assert "a: 10 of 10 completions" in console.file.getvalue()
