import io

import pytest
from rich.console import Console

from creditree.report.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def record(step: int, **more: object) -> dict[str, object]:
    return {
        "step": step,
        "seconds": 2.0 * step,
        "reward_mean": 0.1 * step,
        "signal_share": 0.75,
        "sampled": 1000 * step,
        "decoded": 400 * step,
        "forwarded": 30 * step,
        "in_loss": 7 * step,
        "updates": 3 * step,
        "no_signal": step,
        "loss": -0.00125,
        "grad_norm": 0.5,
        "seconds_by_phase": {"sample": 1.5 * step, "learn": 0.5 * step},
    } | more


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=80, force_terminal=terminal, color_system=None), file


def test_a_plain_line_says_it_all() -> None:
    out, file = console(terminal=False)
    with Progress(10, out) as progress:
        progress.update(record(4, validation_accuracy=0.5))
    assert file.getvalue() == (
        "step 4/10 in 8.0 s | reward 0.400 | steps with signal 75.0 % | validation 50.0 % | sampled 4.00 k | "
        "decoded 1.60 k | forwarded 120 | in the loss 28 | sample 6.0 s | learn 2.0 s | 12.0 s left\n"
    )


def test_a_validation_whose_rewards_are_not_0_and_1_shows_their_mean_too() -> None:
    for reward, shown in (
        (0.9, "validation 50.0 % | validation reward 0.900 | "),
        (0.5, "validation 50.0 % | sampled"),
    ):
        out, file = console(terminal=False)
        with Progress(10, out) as progress:
            progress.update(record(4, validation_accuracy=0.5, validation_reward=reward))
        assert shown in file.getvalue()


def test_lines_come_by_the_clock_at_validations_and_at_the_end() -> None:
    out, file = console(terminal=False)
    clock = Clock()
    with Progress(100, out, every_s=10, clock=clock) as progress:
        for step in range(1, 31):
            clock.now = float(step)
            progress.update(record(step, validation_accuracy=0.5 if step == 15 else None))
    # First, then after 10 s; at the validation of step 15; 10 s after that; and the last.
    assert [line.split()[1] for line in file.getvalue().splitlines()] == [
        "1/100",
        "11/100",
        "15/100",
        "25/100",
        "30/100",
    ]


def test_the_last_line_is_not_written_twice_and_none_without_a_record() -> None:
    out, file = console(terminal=False)
    with Progress(1, out) as progress:
        progress.update(record(1))
    assert len(file.getvalue().splitlines()) == 1
    out, file = console(terminal=False)
    with Progress(1, out):
        pass
    assert file.getvalue() == ""


def test_messages_are_plain_text_and_unbroken() -> None:
    for terminal in (False, True):
        out, file = console(terminal=terminal)
        with Progress(1, out) as progress:
            progress.message("[bold]not markup[/] " + "x" * 100)
        assert "[bold]not markup[/] " + "x" * 100 in file.getvalue()


def test_the_reward_is_the_mean_of_the_last_twenty_that_have_one() -> None:
    progress = Progress(None, console(terminal=False)[0])
    for step in range(1, 31):
        progress.update(record(step, reward_mean=None if step == 30 else float(step)))
    # Steps 11 to 30, the last without a reward: the mean of 11 .. 29 is 20.
    assert "| reward 20.000 |" in progress.line()


def test_what_is_missing_is_not_shown() -> None:
    progress = Progress(None, console(terminal=False)[0])
    assert progress.remaining_s() is None
    progress.update({"step": 3, "reward_mean": None})
    assert progress.line() == "step 3"


def test_the_time_left_is_by_steps_or_by_budget_whichever_ends_first() -> None:
    quiet = console(terminal=False)[0]
    by_steps, by_budget, by_cpu = Progress(100, quiet), Progress(100, quiet, 50.0), Progress(None, quiet, 50.0)
    for step in range(1, 11):
        # The first ten steps took 2 s each.
        by_steps.update(record(step))
        by_budget.update(record(step))
        # Half of the wall time is the processor's: 50 - 10 CPU seconds last 80 s.
        by_cpu.update(record(step, cpu_seconds=1.0 * step))
    assert by_steps.remaining_s() == pytest.approx(180.0)
    assert by_budget.remaining_s() == pytest.approx(30.0)
    assert by_cpu.remaining_s() == pytest.approx(80.0)
    by_budget.update(record(60))
    assert by_budget.remaining_s() == 0.0


def test_time_of_training_leaves_measuring_out() -> None:
    """Of every 2 s a step, 0.5 s measure: after 10 steps 15 s of 30 are used, and the other 15 last 20 s."""
    progress = Progress(None, console(terminal=False)[0], None, 30.0)
    for step in range(1, 11):
        progress.update(record(step, seconds_by_phase={"sample": 1.5 * step, "validate": 0.5 * step}))
    assert progress.remaining_s() == pytest.approx(20.0)


def test_the_measurement_of_the_base_model_is_no_step_to_come() -> None:
    """A first step of 32 s after a measurement of 92: 99 steps of 32 s are left, not of 124."""
    progress = Progress(100, console(terminal=False)[0])
    progress.update(record(1, seconds=124.0, seconds_by_phase={"evaluate": 92.0, "sample": 32.0}))
    assert progress.remaining_s() == pytest.approx(99 * 32.0)
    progress.update(record(2, seconds=154.0, seconds_by_phase={"evaluate": 92.0, "sample": 62.0}))
    assert progress.remaining_s() == pytest.approx(98 * 30.0)


def test_a_resumed_run_is_paced_by_its_new_steps() -> None:
    progress = Progress(100, console(terminal=False)[0])
    progress.update(record(51, seconds=1000.0))
    progress.update(record(52, seconds=1003.0))
    assert progress.remaining_s() == pytest.approx(48 * 3.0)


def test_a_terminal_has_a_panel_with_every_figure() -> None:
    out, file = console(terminal=True)
    clock = Clock()
    with Progress(10, out, clock=clock) as progress:
        progress.update(record(4, validation_accuracy=0.5))
    text = file.getvalue()
    for figure in (
        "training", "step 4/10 in 8.0 s", "12.0 s left", "reward 0.400", "steps with signal 75.0 %",
        "validation 50.0 %", "sampled 4.00 k", "decoded 1.60 k", "forwarded 120", "in the loss 28",
        "updates 12", "without signal 4",
        "loss -0.00125", "gradient norm 0.5", "sample 6.0 s", "learn 2.0 s",
    ):  # fmt: skip
        assert figure in text
    # The panel is taken away, and one plain line stays.
    assert text.rstrip().endswith("12.0 s left")


def test_a_terminal_is_not_redrawn_for_every_fast_step() -> None:
    out, file = console(terminal=True)
    clock = Clock()
    with Progress(1000, out, clock=clock) as progress:
        for step in range(1, 201):
            clock.now = step * 0.01
            progress.update(record(step))
    # 2 s at 0.1 s: the first and about 19 more.
    assert 15 <= file.getvalue().count("training") <= 21
