"""Runs that this machine cannot hold are refused before anything is loaded, with the keys that make them large."""

import pytest

from creditree.config.load import parse_config
from creditree.errors import ConfigError
from creditree.setup import room
from creditree.setup.room import check_room
from creditree.setup.workload import settled


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


def test_a_model_whose_shape_is_not_known_is_left_to_loading() -> None:
    check_room(settled(parse_config("task: multiplication\nmodel: nobody-here/no-such-model", "run.yaml")))
