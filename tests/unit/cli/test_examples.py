"""Each command's help starts with an example, which the command line takes."""

import shlex
from typing import Any

import pytest
import typer

from creditree.cli.examples import EXAMPLES
from creditree.cli.main import app

GROUP: Any = typer.main.get_command(app)


def test_every_command_has_one() -> None:
    assert {"", *GROUP.commands} - set(EXAMPLES) == set()


@pytest.mark.parametrize("name", sorted(GROUP.commands))
def test_help_starts_with_an_example_that_the_command_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        GROUP.main([name, "--help"], prog_name="creditree")
    shown = capsys.readouterr().out
    assert shown.count("Example:") == 1
    first = shown.strip().splitlines()[0]
    assert first.startswith(f"Example: creditree {name} ")
    words = shlex.split(first.removeprefix("Example: creditree "))
    assert GROUP.commands[name].make_context(name, words[1:]).params


def test_so_does_the_help_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        GROUP.main(["--help"], prog_name="creditree")
    first = capsys.readouterr().out.strip().splitlines()[0]
    assert first == "Example: creditree quickstart --run runs/quickstart"
