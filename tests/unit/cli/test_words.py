"""The command line's own words: options for parameters, and commands for calls."""

from typer.main import get_command

from creditree.cli.main import app
from creditree.cli.spelling import in_shell
from creditree.cli.words import ALIKE, OTHERS, in_options
from creditree.report.calls import in_python


def test_parameters_become_options_and_other_words_stay() -> None:
    sentence = "`margin` is 2; raise `max_new_tokens`, continue with `resume`, or take `this` for `temperatures`."
    said = "--margin is 2; raise --max-new-tokens, continue with --resume, or take `this` for --temperature."
    assert in_options(sentence) == said


def test_every_option_of_these_words_is_there() -> None:
    commands = get_command(app).commands.values()  # type: ignore[attr-defined]
    known = {option for command in commands for parameter in command.params for option in parameter.opts}
    assert {in_options(f"`{name}`") for name in {*ALIKE, *OTHERS}} <= known


def test_a_call_is_spelled_by_each_door() -> None:
    arguments = {"target": "runs/a b", "fresh": "new.csv", "trust": True}
    assert in_python("monitor", arguments) == "creditree.monitor('runs/a b', 'new.csv', trust=True)"
    assert in_shell("monitor", arguments) == "creditree monitor 'runs/a b' new.csv --trust-run"
    again = {"start": "runs/a", "directory": "runs/b", "overrides": ("seed=1", "train.steps=2")}
    assert in_shell("train", again) == "creditree train --from runs/a --run runs/b --set seed=1 --set train.steps=2"
    assert in_shell("pilot", {"problems": "rows.csv", "prompt": "{question}\n"}).endswith("--prompt '{question}\\n'")
