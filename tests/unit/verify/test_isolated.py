"""Reward functions that misbehave in every way that we know: none ends, hangs or copies the program that asked."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Thread

import pytest

from creditree.errors import ConfigError
from creditree.problem import Problem
from creditree.verify.isolated import IsolatedReward
from creditree.verify.locate import load_reward
from creditree.verify.process import Worker
from creditree.verify.verifier import Answer, closing
from tests.unit.verify.test_pool import ended

JUDGE = """
import ctypes, itertools, os, signal, subprocess, sys, threading, time

CALLS = []

class Leaves:
    def __float__(self):
        raise SystemExit(0)

class Loud:
    def __repr__(self):
        os._exit(0)

def forever():
    while True:
        yield time.sleep(0.01) or 1.0

def recurse(n):
    return recurse(n + 1) + 1

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)

def generator():
    try:
        yield 1.0
    finally:
        raise GeneratorExit

def bomb():
    held = []
    while True:
        held.append(b"x" * (32 << 20))

def swarm(doublings):
    for _ in range(doublings):
        os.fork()
    time.sleep(600)

def judge(completions, pause, **columns):
    CALLS.append(1)
    print("judged", completions[0][:20])
    return eval(HOSTILE.get(completions[0], completions[0]), globals(), {"columns": columns})

def right(completions, **columns):
    return [1.0 for _ in completions]

HOSTILE = {
    "alarm": "[signal.alarm(1), time.sleep(60)]",
    "forgotten alarm": "[1.0 + 0 * signal.setitimer(signal.ITIMER_REAL, 0.2)[0]]",
    "thread": "(threading.Thread(target=time.sleep, args=(600,)).start(), [1.0])[1]",
    "child": "(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']), [1.0])[1]",
    "closed": "(os.closerange(0, 100), [1.0])[1]",
    "all closed": "(os.closerange(0, 5000), [1.0])[1]",
    "loud": "(print('x' * 10**7), [1.0])[1]",
    "fork": "(os.fork(), [1.0])[1]",
    "lingering fork": "(os.fork() or time.sleep(600), [1.0])[1]",
    "no recursion limit": "(sys.setrecursionlimit(10**9), threading.stack_size(), recurse(0))",
}
"""

CRASH = "crash"
KINDS = [
    ("[1.0]", 1.0, ""),
    ("fork", 1.0, ""),
    ("lingering fork", 1.0, ""),
    ("thread", 1.0, ""),
    ("child", 1.0, ""),
    ("closed", 1.0, ""),
    ("forgotten alarm", 1.0, ""),
    ("loud", 1.0, ""),
    ("(os.chdir('/'), [1.0])[1]", 1.0, ""),
    ("sys.exit(0)", None, "raised SystemExit: 0"),
    ("(_ for _ in ()).throw(GeneratorExit)", None, "raised GeneratorExit"),
    ("(_ for _ in ()).throw(KeyboardInterrupt)", None, "raised KeyboardInterrupt"),
    ("[Leaves()]", None, "raised SystemExit: 0"),
    ("[Loud()]", None, "exit code 0"),
    ("os._exit(0)", None, "exit code 0"),
    ("os._exit(3)", None, "exit code 3"),
    ("os.abort()", None, "SIGABRT"),
    ("ctypes.string_at(0)", None, "SIGSEGV"),
    ("os.kill(os.getpid(), 9)", None, "SIGKILL"),
    ("os.kill(0, 15)", None, "SIGTERM"),
    ("all closed", None, ""),
    ("no recursion limit", None, ""),
    ("recurse(0)", None, "RecursionError"),
    ("[0] * 10**14", None, "MemoryError"),
    ("bomb()", None, "memory"),
    ("swarm(9)", None, "more than 256 processes"),
    ("input()", None, "EOFError"),
    ("time.sleep(600)", None, "longer than"),
    ("forever()", None, "more than 1 rewards"),
    ("(time.sleep(0.01) for _ in itertools.count() if False)", None, "longer than"),
    ("(1.0 for _ in itertools.repeat(0) if time.sleep(600))", None, "longer than"),
    ("alarm", None, "SIGALRM"),
    ("os.kill(os.getpid(), 19)", None, "longer than"),
    ("None", None, "None instead of a list"),
]
LIKE_ANOTHER = {
    "os._exit(3)",
    "os.abort()",
    "os.kill(os.getpid(), 9)",
    "(time.sleep(0.01) for _ in itertools.count() if False)",
    "(1.0 for _ in itertools.repeat(0) if time.sleep(600))",
}
"""Kinds that end as another does, each after a process of its own or two seconds."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rewards") / "hostile.py"
    file.write_text(JUDGE)
    return file


@pytest.fixture(scope="module")
def reward(file: Path) -> Iterator[IsolatedReward]:
    with closing(load_reward(f"{file}:judge", memory_bytes=400 << 20)) as reward:
        assert reward.judge([answer("[1.0]")])[0].reward == 1.0
        yield reward


@contextmanager
def hurried(reward: IsolatedReward, deadline_s: float = 0.3) -> Iterator[None]:
    """Wait less for a call that never ends; what has to end has a minute, on a machine that is busy."""
    patient, reward.deadline_s = reward.deadline_s, deadline_s
    yield
    reward.deadline_s = patient


def answer(completion: str) -> Answer:
    return Answer(Problem("p", "?", ("1",), {"pause": 0}), "", completion)


@pytest.mark.parametrize(
    ("kind", "expected", "reason"),
    [
        pytest.param(
            kind, expected, reason,
            marks=pytest.mark.thorough if kind in LIKE_ANOTHER else (),
            id=re.sub(r"\W+", "-", kind),
        )
        for kind, expected, reason in KINDS
    ],
)  # fmt: skip
def test_what_a_function_does_gives_a_verdict_and_the_next_call_is_judged(
    reward: IsolatedReward, kind: str, expected: float | None, reason: str
) -> None:
    with hurried(reward) if reason == "longer than" else nullcontext():
        (verdict,) = reward.judge([answer(kind)])
    assert verdict.reward == expected
    assert reason in verdict.detail or expected is not None
    assert verdict.status == ("ok" if expected else "timeout" if reason == "longer than" else CRASH)
    assert "\n" not in verdict.detail
    (after,) = reward.judge([answer("[0.25]")])
    assert (after.reward, after.detail) == (0.25, "")


def test_the_module_keeps_its_state_between_calls(file: Path) -> None:
    with closing(load_reward(f"{file}:judge")) as reward:
        found = [reward.judge([answer("[float(len(CALLS))]")])[0].reward for _ in range(3)]
    assert found == [1.0, 2.0, 3.0]


def test_what_is_asked_arrives_as_it_is(file: Path) -> None:
    asked = {"pause": [{"a": (1, None)}], "odd": b"\x00", "text": "\ud800é"}
    given = Answer(Problem("p", "?", ("1",), asked), "", f"[1.0 * (columns['odd'] == [{asked['odd']!r}])]")
    with closing(load_reward(f"{file}:judge")) as reward:
        assert reward.judge([given])[0].reward == 1.0
        unsendable = Answer(Problem("p", "?", ("1",), {"pause": lambda: 1}), "", "[1.0]")
        assert "cannot be sent" in reward.judge([unsendable])[0].detail
        assert reward.judge([]) == ()


def test_what_it_prints_goes_to_standard_error_without_control_characters_and_not_without_end(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(load_reward(f"{file}:judge")) as reward:
        reward.judge([answer("(print('\x1b[2Jseen'), sys.stderr.write('also'), os.write(1, b'raw\\n'), [1.0])[-1]")])
        reward.judge([answer("loud")])
        reward.judge([answer("(print('not shown'), [1.0])[-1]")])
    out, err = capfd.readouterr()
    assert out == ""
    assert "\\x1b[2Jseen\n" in err
    assert "raw\n" in err
    assert "\x1b" not in err
    assert "not shown" in err.splitlines()[-1]
    assert len(err) < 80_000


def test_several_threads_may_ask_and_the_thread_that_asked_first_may_end(file: Path) -> None:
    with closing(load_reward(f"{file}:judge")) as reward:
        found: list[float | None] = []
        for _ in range(3):
            threads = [Thread(target=lambda: found.append(reward.judge([answer("[0.5]")])[0].reward)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert reward.judge([answer("[float(len(CALLS))]")])[0].reward == 10.0
    assert found == [0.5] * 9


def test_after_three_calls_without_a_reply_it_is_not_called_again(file: Path) -> None:
    with closing(load_reward(f"{file}:judge")) as reward:
        assert reward.judge([answer("[1.0]")])[0].reward == 1.0
        for _ in range(3):
            assert "any more" not in reward.judge([answer("os._exit(7)")])[0].detail
        (verdict,) = reward.judge([answer("[1.0]")])
    assert (verdict.reward, verdict.status) == (None, "crash")
    assert "not called any more" in verdict.detail
    assert "exit code 7" in verdict.detail


def test_a_function_whose_first_call_gives_no_reply_is_not_waited_for_again(file: Path) -> None:
    with closing(load_reward(f"{file}:judge")) as reward:
        with hurried(reward):
            assert "longer than 0.3 s" in reward.judge([answer("time.sleep(600)")])[0].detail
        assert "not called any more" in reward.judge([answer("[1.0]")])[0].detail


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import os; os._exit(0)", "it ended its process with exit code 0"),
        ("raise SystemExit(0)", "it raises SystemExit: 0"),
        ("raise KeyboardInterrupt", "it raises KeyboardInterrupt"),
        ("import time; time.sleep(600)", "it took longer than 0.3 s"),
        ("import ctypes; ctypes.string_at(0)", "it ended its process by SIGSEGV"),
        ("import os; os.fork()", "has no 'judge'"),
    ],
)
def test_what_a_file_does_when_it_is_imported_is_one_sentence(tmp_path: Path, source: str, reason: str) -> None:
    file = tmp_path / "bad.py"
    file.write_text(source)
    with pytest.raises(ConfigError) as raised:
        load_reward(f"{file}:judge", deadline_s=0.3 if "longer than" in reason else 60.0)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_process_that_is_forgotten_ends(file: Path) -> None:
    reward = load_reward(f"{file}:right")
    process = reward._held[0].process.pid
    del reward
    assert ended(process)


def test_an_interrupt_ends_the_call_and_its_late_reply_is_nobody_elses(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(load_reward(f"{file}:judge")) as reward:
        hear = Worker.hear

        def interrupted(worker: Worker, seconds: float) -> bytes | None:
            monkeypatch.setattr(Worker, "hear", hear)
            raise KeyboardInterrupt

        monkeypatch.setattr(Worker, "hear", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reward.judge([answer("[0.5]")])
        assert reward.judge([answer("[1.0]")])[0].reward == 1.0


def test_a_call_that_takes_long_is_told_of(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    told = tmp_path / "told"

    def release() -> None:
        while not caplog.records:
            time.sleep(0.01)
        told.touch()

    monkeypatch.setattr("creditree.verify.isolated.NOTICE_S", 0.1)
    with closing(load_reward(f"{file}:judge")) as reward:
        reward._longest_s = 0.0
        Thread(target=release, daemon=True).start()
        assert reward.judge([answer(f"(wait_for({str(told)!r}), [1.0])[1]")])[0].reward == 1.0
    (record,) = caplog.records
    assert record.getMessage().startswith(f"waiting for the reward function {file}:judge, ")


HOLDER = """
from creditree.problem import Problem
from creditree.verify.locate import load_reward
from creditree.verify.verifier import Answer
reward = load_reward({location!r})
ask = lambda text: reward.judge([Answer(Problem("p", "?", ("1",), {{"pause": 0}}), "", text)])
ask("[1.0]")
print(reward._held[0].process.pid, flush=True)
ask({text!r})
"""


@pytest.mark.parametrize("text", ["time.sleep(600)", "__import__('re').match('(a|a)*b', 'a' * 60)"], ids=["sleep", "c"])
def test_a_process_ends_with_the_program_that_is_killed(file: Path, text: str) -> None:
    code = HOLDER.format(location=f"{file}:judge", text=text)
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert program.stdout is not None
    with program.stdout as lines:
        worker = int(lines.readline())
    time.sleep(0.3)
    program.kill()
    program.wait(30)
    assert ended(worker)
