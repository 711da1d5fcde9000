"""How a command ends: an exit code, and one line for what a user can mend."""

import errno

import pytest
import torch
import typer

from creditree.cli.ending import ended
from creditree.errors import DataError


def application(problem: BaseException | None) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @app.command()
    def act(number: int = 1) -> None:
        if problem is not None:
            raise problem

    return app


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (None, 0, ""),
        (DataError("a\nb \x1b[2J is wrong."), 2, "creditree: a b \\x1b[2J is wrong.\n"),
        (DataError("x" * 10**6), 2, "..."),
        (KeyboardInterrupt(), 130, "creditree: interrupted\n"),
        (SystemExit(3), 3, ""),
        (OSError(errno.ENOSPC, "No space left on device", "a.bin"), 2, "'a.bin' (No space left on device)"),
        (MemoryError(), 2, "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), 2, "not enough memory"),
        (typer.BadParameter("1 is not in the range x>=2."), 2, "invalid value: 1 is not in the range x>=2; "),
    ],
)
def test_one_line_and_an_exit_code(
    problem: BaseException | None,
    code: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["creditree"])
    try:
        found = ended(application(problem))
    except SystemExit as stopped:
        found = int(str(stopped.code))
    assert found == code
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == (1 if words else 0)
    assert len(err) < 1500


def test_words_that_no_command_knows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["creditree", "--number", "\x1b[2Jone\ntwo"])
    assert ended(application(None)) == 2
    err = capsys.readouterr().err
    assert err.startswith("creditree: invalid value for '--number': ")
    assert err.endswith("--help lists what there is.\n")
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_a_deleted_directory_and_dropped_docstrings_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> str:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr("sys.argv", ["creditree"])
    monkeypatch.setattr("os.getcwd", gone)
    assert ended(application(None)) == 2
    assert "the current directory does not exist any more" in capsys.readouterr().err
