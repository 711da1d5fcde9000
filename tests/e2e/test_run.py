"""A whole run through the command line: what it prints, what it leaves behind, and what other commands make of it."""

import json
import re
import sys
from functools import partial
from multiprocessing.util import Finalize
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from creditree.models.adapter import Adapter, saved_spec
from creditree.models.directory import locate
from creditree.models.load import load_model
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from tests.e2e.command import Command, creditree, creditree_json, write_config
from tests.sources import FILES


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("config") / "run.yaml")


CREW = re.compile(r"(ray|creditree\.(scale|setup\.scaled))(\.|$)")
"""What is imported for several workers alone, `setup.scaled` first."""


def list_imports(path: str) -> None:
    """Forget what is imported for several workers, and have this process list what it has imported when it ends."""
    for name in [name for name in sys.modules if CREW.match(name)]:
        del sys.modules[name]
    Finalize(None, lambda: Path(path).write_text(" ".join(sys.modules), encoding="utf-8"), exitpriority=0)


@pytest.fixture(scope="module")
def run(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "t-spmo"
    command = Command(["train", str(config), "--run", str(path)], prepared=partial(list_imports, f"{path}.modules"))
    out, err = command.communicate()
    assert command.returncode == 0, f"{out}\n{err}"
    for words in ("step 6/6", "greedy", "sampled", "decoded", "forwarded", "Saved"):
        assert words in out
    assert err == ""
    return path


def test_who_works_alone_imports_no_ray(run: Path) -> None:
    names = Path(f"{run}.modules").read_text(encoding="utf-8").split()
    assert "creditree.train.trainer" in names
    assert list(filter(CREW.match, names)) == []
    at_once = re.compile(r"^from creditree\.setup\.scaled", re.MULTILINE)
    assert [
        path for path in FILES if at_once.search(path.read_text(encoding="utf-8"))
    ] == []  # nor would a process that has not forgotten it


@pytest.fixture(scope="module")
def other_run(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "s-grpo"
    keys = ["method={name: s-grpo, group: 6, alpha: 4, k: 8}", "train.steps=2"]
    creditree("train", config, "--run", path, *(word for key in keys for word in ("--set", key)))
    return path


def test_summary_has_the_names_that_scripts_rely_on(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert summary["method"] == "t-spmo"
    for side in ("before", "after"):
        assert set(summary[side]) >= {"accuracy", "n", "interval"}
        assert summary[side]["n"] == 20
        low, high = summary[side]["interval"]
        assert low <= summary[side]["accuracy"] <= high
    assert set(summary["difference"]) >= {"value", "interval", "p_value"}
    assert summary["difference"]["value"] == pytest.approx(summary["after"]["accuracy"] - summary["before"]["accuracy"])
    assert set(summary["seconds"]) >= {"total", "train"}
    assert set(summary["tokens"]) >= {"sampled", "decoded", "forwarded", "in_loss"}
    assert set(summary["decoding"]) == {"greedy", "T=0.3"}


def test_metrics_and_rollouts_agree_with_the_ledger(run: Path) -> None:
    directory = RunDirectory.read(run)
    records = directory.metrics()
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    last = records[-1]
    assert last["decoded"] == last["unique_prefixes"] < last["sampled"]  # type: ignore[operator]
    assert last["updates"] + last["no_signal"] == 6  # type: ignore[operator]
    assert directory.rollout_steps() == [2, 4, 6]
    drawn = sum(len(cast(list[int], row["token_ids"])) for row in directory.rollouts(6))
    assert drawn == records[5]["sampled"] - records[4]["sampled"]  # type: ignore[operator]
    assert {row["reward"] for step in (2, 4, 6) for row in directory.rollouts(step)} == {0.0, 1.0}


def test_the_adapter_loads_with_plain_peft_and_gives_the_same_logits(run: Path) -> None:
    name, spec = saved_spec(run / "adapter")
    assert name == "builtin:multiplication"
    ours = Adapter(load_model(name), spec, Key.of(1))
    ours.load(run / "adapter")
    base = AutoModelForCausalLM.from_pretrained(locate(name), dtype=torch.float32)
    plain = PeftModel.from_pretrained(base, str(run / "adapter"))
    ids = torch.tensor([ours.model.tokenizer.encode("347*6=\n7*6=42")])
    with torch.no_grad():
        expected = plain(input_ids=ids).logits
        found = ours.peft(input_ids=ids).logits
        unadapted = base.get_submodule("")
        with plain.disable_adapter():
            without = unadapted(input_ids=ids).logits
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, without, atol=1e-3)


def test_eval_measures_the_run_as_its_summary_says(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    found = creditree_json("eval", run, "--problems", "20", "--temperature", "0", "--temperature", "0.3")
    assert found["task"] == "multiplication-3x1"
    assert found["n"] == 20
    assert found["pass@1"]["value"] == pytest.approx(summary["after"]["accuracy"])
    assert found["pass@1"]["interval"] == pytest.approx(summary["after"]["interval"])
    for name in ("greedy", "T=0.3"):
        entry, wanted = found["decoding"][name], summary["decoding"][name]
        assert entry["pass@1"]["value"] == pytest.approx(wanted["after"]["accuracy"])
        assert entry["base"]["pass@1"]["value"] == pytest.approx(wanted["before"]["accuracy"])
        assert entry["difference"]["p_value"] == pytest.approx(wanted["difference"]["p_value"])


def test_eval_of_an_adapter_and_of_a_plain_model(run: Path) -> None:
    adapter = creditree_json(
        "eval",
        run / "adapter",
        "--task",
        "multiplication",
        "--problems",
        "20",
        "--temperature",
        "0",
        "--max-new-tokens",
        "48",
    )
    model = creditree_json(
        "eval", "builtin:multiplication", "--task", "multiplication", "--problems", "20", "--temperature", "0.5",
        "--samples", "3", "--max-new-tokens", "48",
    )  # fmt: skip
    summary = json.loads((run / "summary.json").read_text())
    assert adapter["pass@1"]["value"] == pytest.approx(summary["after"]["accuracy"])
    assert "difference" not in model
    assert model["completions"] == 60
    assert np.isfinite(model["pass@1"]["interval"]).all()


def test_compare_pairs_runs_by_problem(run: Path, other_run: Path) -> None:
    found = creditree_json("compare", run, other_run)
    assert [entry["method"] for entry in found["runs"]] == ["t-spmo", "s-grpo"]
    assert found["decoding"] == "greedy"
    assert found["pairs"][0]["n"] == 20
    assert creditree_json("compare", run, other_run, "--decoding", "T=0.3")["decoding"] == "T=0.3"
    refused = creditree("compare", run, other_run, "--decoding", "T=0.4", code=2)
    assert "Did you mean 'T=0.3'?" in refused.stderr
    assert "seeds" in creditree("compare", run, other_run, "--by-method").stdout
    text = creditree("compare", run, other_run).stdout
    assert "t-spmo" in text
    assert "s-grpo" in text


def test_methods_and_show() -> None:
    listed = creditree_json("methods")["methods"]
    named = [
        "grpo",
        "s-grpo",
        "t-spmo",
        "t-spmo-paper",
        "treerl",
        "attnrl",
        "attnrl-paper",
        "deepscaler",
        "dr-grpo",
        "raft",
    ]
    assert [entry["name"] for entry in listed] == named
    axes = {"explore", "credit", "select", "objective", "schedule"}
    assert all(set(entry) == {"name", "paper", *axes} for entry in listed)
    text = creditree("show", "t-spmo").stdout
    assert "A(v|p) = V(p + v) - V(p)" in text
    assert "{question}" in text
    assert creditree_json("show", "grpo")["credit"].startswith("group_relative")


def test_show_of_a_configuration_has_the_prompt_as_the_model_sees_it(config: Path) -> None:
    found = creditree_json("show", config)
    assert found["example"]["prompt"].endswith("=\n")
    assert found["example"]["prompt"][:-2] in creditree("show", config).stdout


@pytest.mark.parametrize(
    ("recipe", "parameters", "layers"),
    [("t_spmo_svamp", 700_416, [19, 27]), ("grpo_multiplication", 272_384, [21, 27])],
)
def test_dry_run_of_token_efficient_recipes_works_offline(recipe: str, parameters: int, layers: list[int]) -> None:
    """The parameter counts are those of section 3 of the paper notes: r (in + out) for q 1536->1536 and v 1536->256."""
    path = Path(__file__).parents[2] / "recipes" / "token_efficient_rl" / f"{recipe}.yaml"
    step = creditree_json("train", path, "--dry-run")["step_at_most"]
    assert step["trained_parameters"] == parameters
    assert [step["adapted_layers"][0], step["adapted_layers"][-1]] == layers
    assert "samples" in creditree("train", path, "--dry-run").stdout


RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize(
    ("recipe", "completions"),
    [
        ("attnrl/qwen-1.5b", 4 * 64 * 30),
        ("attnrl/qwen-7b", 4 * 64 * 30),
        ("attnrl/qwen-1.5b-single-gpu", 4 * 4 * 30),
        ("attnrl/tiny", 4 * 4 * 30),
        ("treerl/tiny", 4 * 30),
    ],
)
def test_dry_run_of_process_supervision_works_offline(recipe: str, completions: int) -> None:
    """At most 6 + 6 * 2 * 2 = 30 completions a problem; an adaptive schedule may draw four times the problems."""
    step = creditree_json("train", RECIPES / f"{recipe}.yaml", "--dry-run")["step_at_most"]
    assert step["completions"] == completions
