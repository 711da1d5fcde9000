"""Options of a row, and programs that misbehave."""

import time

import pytest

from creditree.errors import ConfigError
from creditree.problem import Problem
from creditree.verify import Answer, Choice, Program

FRUIT = {"choices": ["pears", "apples", "figs"]}


def answer(text: str, *truths: str, **columns: object) -> Answer:
    return Answer(Problem("p", "?", truths, columns), "", text)


def program(code: str) -> str:
    return f"Here:\n```python\n{code}\n```\n"


@pytest.mark.parametrize(
    ("text", "truth", "columns", "reward", "status"),
    [
        ("The answer is apples.", "B", FRUIT, 1.0, "ok"),
        ("(B) apples", "apples", FRUIT, 1.0, "ok"),
        ("\\boxed{apples}", "B", {"options": {"a": "pears", "b": "apples"}}, 1.0, "ok"),
        ("B", "B", {"choices": {"label": ["A", "B"], "text": ["pears", "apples"]}}, 1.0, "ok"),
        ("The answer is figs", "B", FRUIT, 0.0, "ok"),
        ("The answer is D", "B", FRUIT, 0.0, "unparsable"),
        ("plums", "B", FRUIT, 0.0, "unparsable"),
        ("B", "12", {}, None, "crash"),
    ],
)
def test_options(text: str, truth: str, columns: dict[str, object], reward: float | None, status: str) -> None:
    (verdict,) = Choice().judge([answer(text, truth, **columns)])
    assert (verdict.reward, verdict.status) == (reward, status)


def test_programs_run_only_where_that_is_allowed() -> None:
    with pytest.raises(ConfigError, match="allow_execution: true"):
        Program()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("while True: pass", "timeout"),
        ("import time; time.sleep(60)", "timeout"),
        ("import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])", "late"),
        ("print('5' * 10**7)", "crash"),
        ("x = [0] * 10**9", "crash"),
        ("open('large', 'w').write('x' * 10**7)", "crash"),
        ("raise ValueError", "crash"),
        ("import os; os._exit(3)", "crash"),
        ("import sys; print(sys.stdin.read())", "ok"),
        ("import os; print(os.environ.get('CREDITREE_TEST_SECRET'), sorted(os.listdir()))", "ok"),
    ],
)
def test_programs_that_misbehave(code: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDITREE_TEST_SECRET", "5")
    started = time.monotonic()
    (verdict,) = Program(True, deadline_s=1.0).judge([answer(program(code), "5")])
    assert verdict.reward == 0.0
    assert verdict.status in (("timeout", "crash") if status == "late" else (status,))  # a limit may refuse the child
    assert time.monotonic() - started < 30


def test_a_program_sees_neither_the_callers_environment_nor_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDITREE_TEST_SECRET", "5")
    code = "import os; print(os.environ.get('CREDITREE_TEST_SECRET'), os.listdir())"
    (verdict,) = Program(True).judge([answer(program(code), "None ['program.py']")])
    assert verdict.reward == 1.0
