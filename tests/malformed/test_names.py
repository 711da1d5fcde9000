"""A name that no file can have is refused with a sentence by every door that takes the name of something."""

from collections.abc import Callable
from pathlib import Path

import pytest

import creditree as ct
from creditree.config.load import check_config
from creditree.errors import CreditreeError
from creditree.setup.resolve import resolve
from creditree.verify.locate import find_function

NAMES = ("x" * 300, "x" * 300 + ".jsonl", "x/" * 3000 + ".yaml", "a\0b", "a\0b.jsonl", "\ud800", "\ud800.yaml")


def _resolved(**keys: object) -> object:
    return resolve(check_config({"task": "multiplication"} | keys, "run.yaml"))


DOORS: dict[str, Callable[[str], object]] = {
    "model": lambda name: ct.plan({"task": "multiplication", "model": name}),
    "task": lambda name: ct.plan({"task": {"name": "file", "path": name}}),
    "guard": lambda name: ct.plan({"task": "multiplication", "guard": {"path": name, "tolerance": 0.1}}),
    "start": lambda name: _resolved(train={"start": name}),
    "select": lambda name: ct.plan({"task": "multiplication", "method": {"name": "grpo", "select": f"{name}.py:Own"}}),
    "reward": lambda name: find_function(f"{name}.py:score"),
    "configuration": ct.plan,
    "run": lambda name: ct.train({"task": "multiplication"}, name, steps=1),
    "evaluate": ct.evaluate,
    "task file": lambda name: ct.evaluate("builtin:multiplication", task=f"{name}.yaml"),
    "compare": lambda name: ct.compare(name, name),
    "report": ct.report,
    "doctor": ct.doctor,
    "export": lambda name: ct.export(name, merged="merged"),
    "sweep": lambda name: ct.sweep(name, "sweep"),
    "grade": ct.grade,
    "monitor": lambda name: ct.monitor(name, fresh=name),
    "pilot": lambda name: ct.pilot(name, "builtin:multiplication"),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_name_that_no_file_can_have_is_refused(door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        with pytest.raises(CreditreeError, match=r"(?s)[.?)]\Z"):
            DOORS[door](name)
    assert [*tmp_path.iterdir()] == []
