"""Runs that this machine cannot hold are refused before anything is loaded, with the keys that make them large."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from creditree.config.load import parse_config
from creditree.errors import ConfigError
from creditree.setup import room
from creditree.setup.plan import Plan
from creditree.setup.plan_words import print_plan
from creditree.setup.room import check_room
from creditree.setup.workload import free_of, settled, too_little, workload_of

OWN = Path(__file__).parents[2] / "e2e" / "own_pieces.py"


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        check_room(settled(parse_config(f"task: multiplication\n{text}", "run.yaml")))
    return str(refused.value)


def test_a_rank_without_measure_is_named() -> None:
    said = refusal("lora: {rank: 1000000000}")
    assert "this machine has" in said
    assert "lower lora.rank (it is 1,000,000,000)" in said
    assert "method.group" not in said


def test_what_fits_passes_and_what_only_a_larger_machine_holds_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    config = settled(parse_config("task: multiplication\nmethod: {name: grpo, group: 2000}", "run.yaml"))
    check_room(config)
    monkeypatch.setattr(room, "whole_memory", lambda device: 100 * 10**6)
    said = refusal("method: {name: grpo, group: 2000}")
    assert "and this machine has 100 MB in all" in said
    assert "method.group (it is 2,000)" in said


@pytest.mark.parametrize(("more", "divides"), [("", True), (", dtype: nf4", False), ("}\ntrain: {weights: all", False)])
def test_a_base_that_could_be_divided_is_advised_to_be(
    more: str, divides: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "whole_memory", lambda device: 500 * 10**6)
    said = refusal(f"model: {{name: 'random:qwen2-1.5b'{more}}}")
    assert ("or divide the base among several devices (model.sharded: true, with `workers`)" in said) == divides


def test_an_explorer_that_does_not_say_how_it_samples_is_named_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its group is not what is too large: it is all that it takes of a problem."""
    own = f"method: {{name: grpo, explore: '{OWN}:TwoGroups', group: 3, more: 2000}}"
    monkeypatch.setattr(room, "whole_memory", lambda device: 100 * 10**6)
    said = refusal(own)
    assert "lower what method.explore samples of a problem (it is 2,003)" in said
    assert "method.group" not in said
    config = settled(parse_config(f"task: multiplication\n{own}\ntrain: {{max_rows: 16}}", "run.yaml"))
    work, _ = workload_of(config, 10)
    said = too_little(work, 100 * 10**6, free_of(config.train))
    assert "set what method.explore samples of a problem to at most " in said
    assert "method.group" not in said
    planned = Plan.of(parse_config(f"task: multiplication\n{own}\ntrain: {{memory: 8GB}}", "run.yaml"), 10)
    shown = StringIO()
    print_plan(Console(file=shown, width=200), planned)
    assert "2003 completions of a problem, 64 new tokens" in shown.getvalue()
    assert "method.group" not in shown.getvalue()


def test_a_model_whose_shape_is_not_known_is_left_to_loading() -> None:
    check_room(settled(parse_config("task: multiplication\nmodel: nobody-here/no-such-model", "run.yaml")))
