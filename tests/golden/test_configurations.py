"""Frozen: every committed configuration resolves to the values that it had, and so does every piece of a method.

``python -m tests.golden.test_configurations`` writes the file anew; look at its difference before you commit it.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from creditree.config.load import dump_config, parse_config, parse_values
from creditree.config.schema import RunConfig
from creditree.config.search import is_search, load_search
from creditree.config.sweep import KEYS, load_sweep
from creditree.methods import METHODS

ROOT = Path(__file__).parents[2]
FROZEN = Path(__file__).with_name("configurations.json")
FOLDERS = ("src", "recipes", "examples", "benchmarks", "tests")

BLOCKS = (
    "{name: grpo, std: false, eps: 0.5, loss_mean: tokens, kl: 0, kl_ratio: true, off_policy: true}",
    "{name: grpo, explore: replay, group: 12, successes: 0, threshold: 0.5, loss_temperature: 0.5}",
    "{name: grpo, explore: attention_replay, quantile: 0.7, delta: 2, influence_layers: [0, 1]}",
    "{name: grpo, explore: random_branching, unit: step, points: 3, rounds: 2, continuations: 1, step_texts: [';']}",
    "{name: grpo, explore: first_steps, expansion: difficulty, rounding: round, of_all_correct: random}",
    "{name: grpo, explore: entropy, uncertainty: entropy, masked: false, first_token: false}",
    "{name: grpo, explore: attention, min_gap: 3, gap_from: response, quantile_over: eligible, fallback: relax}",
    "{name: grpo, explore: attention, influence_heads: [1], influence_source: decoding}",
    "{name: grpo, credit: process_value, value: children, root: leave_one_out, unexpanded: keep, unfinished: -1}",
    "{name: t-spmo, credit: process_value, merged: true, unexpanded: keep, weighting: before}",
    "{name: t-spmo, match: hidden, similarity: 0.9, u_norm: nonzero}",
    "{name: t-spmo, match: text, stages: [[0, 8], [3, 16]], l2: 0.5, l2_decoupled: true}",
    "{name: s-grpo, alpha: 3, probability: 0.25, k: 70, reweight: horvitz_thompson}",
    "{name: grpo, select: top_entropy, q: 0.5, penalty_on: all}",
    "{name: grpo, select: low_probability, probability_below: 0.3}",
    "{name: grpo, select: prefix_cut, min_cut: 4}",
    "{name: grpo, select: adapter_residual, q: 0.25}",
    "{name: treerl, select: auto, budget: 0.25, allocation: tokens}",
    "{name: grpo, objective: clipped, clip_low: 0.1, clip_high: 0.3, dual_clip: 5}",
    "{name: attnrl, easy_filter: hard, influence_decay: 0.5, zero_filter: none, rows_per_problem: 7, batch_least: 0.5}",
    "{name: attnrl, batch_decay: 1, batch_rounding: round, batch_most: 2, off_policy: false}",
    "{name: grpo, schedule: dynamic, draw_limit: 2.5}",
)
"""What no committed file sets: together, every piece and every number of it."""


def _values(config: RunConfig) -> dict[str, Any]:
    """Return what a run directory would keep of a configuration."""
    values: dict[str, Any] = yaml.load(dump_config(config), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return values


def _resolved() -> dict[str, dict[str, Any]]:
    """Return the values of every committed file, and the method's of every block."""
    found: dict[str, RunConfig] = {}
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.yaml")):
        text, name = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        if is_search(path):
            trials = load_search(path).trials
            found |= {f"{name}, {one.name}": one.config for one in trials if one.name.endswith("-1")}
        elif set(parse_values(text, str(path))) <= set(KEYS):
            found |= {f"{name}, {run.case}, seed {run.seed}": run.config for run in load_sweep(path)}
        else:
            found[name] = parse_config(text, str(path))
    values = {name: _values(config) for name, config in found.items()}
    for block in (*(f"{{name: {name}}}" for name in METHODS), *BLOCKS):
        config = parse_config(f"task: multiplication\nmethod: {block}\nsampling: {{max_new_tokens: 70}}", "here")
        values[block] = _values(config)["method"]
    return values


def test_every_committed_configuration_resolves_to_the_values_that_it_had() -> None:
    now, frozen = _resolved(), json.loads(FROZEN.read_text(encoding="utf-8"))
    assert set(now) == set(frozen)
    for name, values in frozen.items():
        assert now[name] == values, name


if __name__ == "__main__":
    lines = (f"{json.dumps(name)}: {json.dumps(values, sort_keys=True)}" for name, values in _resolved().items())
    FROZEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
