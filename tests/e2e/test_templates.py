"""Chat formats from the command line: what the model gets is shown, and a template that fails is one sentence."""

import json
from pathlib import Path
from shutil import copytree

import pytest

from creditree.cli.describe import show_command
from creditree.models.directory import locate
from tests.e2e.command import Refuse, write_config

FAILING = "{{ raise_exception('the roles must alternate') }}"
WORDS = "cannot be rendered (TemplateError: the roles must alternate)"
CHAT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<|end|>{% endfor %}answer:"


def model_with(path: Path, template: str) -> Path:
    """Write a built-in model's directory with a chat template."""
    copytree(locate("builtin:multiplication"), path)
    (path / "chat_template.jinja").write_text(template, encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["show", "plan", "train", "eval", "pilot"])
def test_a_template_that_fails_is_one_sentence(command: str, tmp_path: Path, refuse: Refuse) -> None:
    model = model_with(tmp_path / "model", FAILING)
    config = write_config(tmp_path / "c.yaml", model={"name": str(model)})
    table = tmp_path / "own.jsonl"
    rows = [{"question": f"{i} + {i}?", "answer": str(2 * i)} for i in range(200)]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments: dict[str, tuple[str | Path, ...]] = {
        "show": (config,),
        "plan": (config,),
        "train": (config, "--run", tmp_path / "run"),
        "eval": (model, "--task", "multiplication", "--problems", "3"),
        "pilot": (table, "--model", model, "--budget", "20s", "--out", tmp_path / "pilot"),
    }
    assert WORDS in refuse(command, *arguments[command])


def test_show_prints_the_prompt_as_the_model_gets_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_with(tmp_path / "model", CHAT)
    prompt = {"text": "{question}", "system": "be brief"}
    task = {"name": "multiplication", "digits_a": 3, "digits_b": 1, "prompt": prompt}
    config = write_config(tmp_path / "c.yaml", model={"name": str(model)}, task=task)
    show_command(str(config), as_json=True)
    example = json.loads(capsys.readouterr().out)["example"]
    asked = example["prompt"]
    assert asked.startswith("system: be brief<|end|>user: ")
    assert asked.endswith("<|end|>answer:")
    assert [end.count("chat template") for end in example["ends"]] == [1]
    assert "chat format" in example["notes"][0]
