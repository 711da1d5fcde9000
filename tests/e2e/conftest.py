"""Commands: one that is refused, in this process, and the end of the process that others are forked from."""

import sys
from collections.abc import Iterator
from multiprocessing.forkserver import _forkserver
from pathlib import Path

import pytest

from creditree.cli.main import run
from tests.e2e.command import Refuse
from tests.e2e.forks import start_from_here


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Have commands forked from a process that has imported what these tests import."""
    if session.items and not session.config.option.collectonly:
        start_from_here()


@pytest.fixture(scope="session", autouse=True)
def forks() -> Iterator[None]:
    """End the process that commands are forked from, and wait for it.

    It would end by itself with this process, but unwaited for: the processor time of every command would be missing
    from `time make test`, which has a budget (CONTRIBUTING.md). Nothing public waits; `_stop` is what Python's own
    tests call.
    """
    yield
    _forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Return a function that runs a command, checks that it is refused properly, and returns the sentence."""

    def of(*arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["creditree", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            run()
        out, err = capsys.readouterr()
        assert stopped.value.code == 2, f"{out}\n{err}"
        assert err.endswith("\n")
        assert err.count("\n") == 1, err
        assert err.startswith("creditree: ")
        assert "Traceback" not in out + err
        sentence = err.removeprefix("creditree: ").rstrip("\n")
        assert sentence.endswith((".", "?", ")")), sentence
        return sentence

    return of
