"""Output that cannot be written: work goes on, and a command that was asked for words ends quietly."""

import io
import sys

import pytest

from creditree.cli.output import console, print_json, progress_console
from creditree.cli.stream import LOST, tell


class Full(io.TextIOBase):
    """A log on a full disk."""

    encoding = "utf-8"

    def write(self, text: str, /) -> int:
        raise OSError(28, "No space left on device")


class Unread(io.TextIOBase):
    """A pipe whose reader has gone."""

    encoding = "utf-8"

    def write(self, text: str, /) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("stream", [Full(), Unread(), None])
def test_progress_never_raises(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    progress_console(stderr=False).print("step 1")
    progress_console(stderr=True).print("step 1")
    tell("a sentence")


def test_asked_for_output_that_is_lost_is_told_and_a_closed_pipe_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(SystemExit) as stop:
        console().print("a table")
    assert stop.value.code == LOST
    assert capsys.readouterr().err == "creditree: the output could not be written: No space left on device\n"
    monkeypatch.setattr(sys, "stdout", Unread())
    with pytest.raises(SystemExit) as stop:
        print_json({"a": 1})
    assert stop.value.code == LOST
    assert capsys.readouterr().err == ""


def test_letters_that_the_encoding_lacks_are_written_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    progress_console(stderr=False).print("50 % ± 2")
    assert raw.getvalue() == b"50 % \\xb1 2\n"
