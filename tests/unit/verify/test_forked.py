"""A function that only this program has: it runs in a copy of it, with everything that holds for functions of files."""

import os
import threading
import time
from collections.abc import Callable

import pytest

from creditree.errors import ConfigError
from creditree.problem import Problem
from creditree.user_code import digest_of, file_of, keep, location_of
from creditree.verify.locate import load_reward
from creditree.verify.verifier import Answer, closing

ANSWERS = [Answer(Problem(str(n), f"q{n}", (str(n),)), f"p{n}", str(n), 1, 8, (n,)) for n in range(3)]


def judged(function: Callable[..., object], deadline_s: float = 60.0) -> list[tuple[float | None, str, str]]:
    with closing(load_reward(keep(function))) as reward:
        reward.deadline_s = deadline_s  # for the call alone: the process may take its time to start
        return [(verdict.reward, verdict.status, verdict.detail) for verdict in reward.judge(ANSWERS)]


def test_a_closure_is_called_in_another_process_which_changes_nothing_here() -> None:
    weight, seen = 0.5, []

    def score(completions: list[str], completion_ids: list[list[int]], **columns: object) -> list[float]:
        seen.extend(completions)
        return [weight * ids[0] + (os.getpid() != own) * 10 for ids in completion_ids]

    own = os.getpid()
    assert [reward for reward, _, _ in judged(score)] == [10.0, 10.5, 11.0]  # 10 for another process, then half of 0..2
    assert seen == []


def test_state_is_kept_from_call_to_call() -> None:
    calls: list[int] = []

    def count(completions: list[str]) -> list[float]:
        calls.append(1)
        return [float(len(calls))] * len(completions)

    with closing(load_reward(keep(count))) as reward:
        assert [reward.judge(ANSWERS)[0].reward for _ in range(3)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("do", "status", "said"),
    [
        (lambda: time.sleep(30), "timeout", "took longer than 0.3 s"),
        (lambda: os._exit(3), "crash", "ended its process with exit code 3"),
        (lambda: os.kill(os.getpid(), 9), "crash", "ended its process by SIGKILL"),
        (lambda: 1 / 0, "crash", "raised ZeroDivisionError"),
    ],
)
def test_it_can_neither_end_nor_hang_the_program(do: Callable[[], object], status: str, said: str) -> None:
    def score(completions: list[str]) -> list[float]:
        do()
        return [1.0] * len(completions)

    for reward, found, detail in judged(score, 0.3 if status == "timeout" else 60.0):
        assert reward is None
        assert found == status
        assert said in detail


def test_a_program_with_threads_and_other_workers_ends_all_of_them() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with closing(load_reward(keep(lambda completions: [1.0] * len(completions)))) as one:
            assert [verdict.reward for verdict in one.judge(ANSWERS)] == [1.0] * 3
            two = load_reward(keep(lambda completions: [2.0] * len(completions)))
            assert [verdict.reward for verdict in two.judge(ANSWERS)] == [2.0] * 3
            process = two._held[0].process
            two.close()
            assert process.returncode is not None
            assert [verdict.reward for verdict in one.judge(ANSWERS)] == [1.0] * 3
    finally:
        stop.set()
        thread.join()


def test_what_it_prints_is_shown_once(capfd: pytest.CaptureFixture[str]) -> None:
    def score(completions: list[str]) -> list[float]:
        print("hello from the copy")
        return [0.0] * len(completions)

    judged(score)
    out, err = capfd.readouterr()
    assert (out, err.count("hello from the copy")) == ("", 1)


def test_a_function_has_one_name_and_two_functions_have_two() -> None:
    def make(value: float) -> Callable[..., object]:
        def score(completions: list[str]) -> list[float]:
            return [value] * len(completions)

        return score

    one, two = make(1.0), make(2.0)
    assert location_of(one) == location_of(one) != location_of(two)
    assert location_of(one).startswith("here:score")
    assert file_of(location_of(one)) is None
    assert digest_of(location_of(one)) is not None
    assert location_of(load_reward).endswith("locate.py:load_reward")
    with pytest.raises(ConfigError, match=r"The reward 'gone' was a function of the program that named it"):
        load_reward("here:gone")
