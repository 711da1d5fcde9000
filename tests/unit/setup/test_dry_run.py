"""A dry run and a plan say the same of a step: two computations of one bound."""

from pathlib import Path

import pytest

from creditree.config.load import check_config
from creditree.errors import ConfigError
from creditree.methods import METHODS
from creditree.plan.flops import step_cost as planned
from creditree.setup.dry_run import step_at_most
from creditree.setup.workload import workload_of

CASES: list[dict[str, object]] = [
    *(dict[str, object](name=name) for name in METHODS),
    {"name": "t-spmo", "explore": "attention"},
    {"name": "treerl", "select": "top_entropy"},
]


@pytest.mark.parametrize("method", CASES, ids=lambda method: "-".join(map(str, method.values())))
def test_a_dry_run_bounds_a_step_as_the_plan_does(method: dict[str, object]) -> None:
    config = check_config({"task": "multiplication", "method": method}, "case")
    work, _ = workload_of(config, 20)
    assert step_at_most(config)["loss_terms"] == planned(work).loss_terms
    assert step_at_most(config)["sampled_tokens"] >= planned(work).sampled


def test_branching_completions_part_in_pairs() -> None:
    # attention(6, 2, 1, 2): 6 chains and 2 rounds of 6 x 2 points, one continuation each: 30 completions, 2 (30 - 1).
    method = {"name": "attnrl", "credit": "prefix_gain", "select": "branching_pairs", "schedule": "fixed"}
    config = check_config({"task": "multiplication", "method": method}, "case")
    assert step_at_most(config)["loss_terms"] == 58


@pytest.mark.parametrize("key", ["task", "reward"])
def test_a_function_that_is_not_there_is_told_before_a_run(key: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def sums():\n    yield '1 + 1', 2\n\ndef right(completions, answers):\n    return [1.0] * len(completions)\n",
        encoding="utf-8",
    )
    there = {"task": f"{tmp_path}/mine.py:sums", "reward": f"{tmp_path}/mine.py:right"}
    assert step_at_most(check_config({**there, "method": "grpo"}, "case"))["problems"] > 0
    with pytest.raises(ConfigError, match="has no 'rihgt'"):
        step_at_most(check_config({**there, "method": "grpo", key: f"{tmp_path}/mine.py:rihgt"}, "case"))
