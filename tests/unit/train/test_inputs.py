"""A run that goes on is compared with what it began with: problems, reward code, base weights, engine."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from creditree.errors import ModelError, RunError
from creditree.problem import Problem
from creditree.runs.directory import RunDirectory
from creditree.tasks.multiplication import Multiplication
from creditree.tasks.table import Table
from creditree.train.inputs import BaseDigests, Inputs, training_digest
from tests.tiny_models import tiny

BASE = BaseDigests("some/model", "float32", "b" * 64)
GGUF = replace(BASE, gguf="d" * 64)
INPUTS = Inputs("1" * 64, "2" * 64, None, None, "3" * 64, None, BASE, "native, x, gcc")
CONFIG = "seed: 0\n"


def record(path: Path, inputs: Inputs) -> list[str]:
    """Start or continue a run in `path` with these inputs; return what was said."""
    told: list[str] = []
    with RunDirectory.resume(path, CONFIG) as run:
        inputs.record(run, told.append)
        run.write_json("evaluation.json", {})  # else a refused start would make the directory free again
    return told


def test_the_same_run_goes_on_in_silence(tmp_path: Path) -> None:
    assert record(tmp_path, INPUTS) == []
    assert record(tmp_path, INPUTS) == []
    assert RunDirectory.read(tmp_path).notes == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"training": "9" * 64}, r"^The training problems of run .* changed since .* \(sha256 111111111111 then, 9999"),
        ({"measured": "9" * 64}, "^The problems that are measured of run"),
        ({"validation": "9" * 64}, r"^The validation problems .*\(sha256 none then, 999999999999 now\)"),
        ({"guard": "9" * 64}, "^The guard problems"),
        ({"reward": "9" * 64}, "^The reward function's file .*put back what was there, or train in another"),
        ({"guard_reward": "9" * 64}, "^The guard's reward function's file"),
        (
            {"base": replace(BASE, sha256="c" * 64)},
            r"^The base model 'some/model' has other weights .*b{12} then",
        ),
        (
            {"base": replace(GGUF, gguf="e" * 64)},
            r"^The base model 'some/model' is another GGUF file than when run .*\(sha256 d{12} then, e{12} now\)",
        ),
    ],
)
def test_what_differs_is_named(tmp_path: Path, change: dict[str, object], words: str) -> None:
    record(tmp_path, replace(INPUTS, base=GGUF))
    with pytest.raises(RunError, match=words):
        record(tmp_path, replace(INPUTS, **change))  # type: ignore[arg-type]


def test_another_engine_is_told_and_kept_with_the_run(tmp_path: Path) -> None:
    record(tmp_path, INPUTS)
    (sentence,) = record(tmp_path, replace(INPUTS, engine="torch, there is no compiler"))
    assert sentence.startswith("This run was started with the engine native, x, gcc and continues with torch, there is")
    assert RunDirectory.read(tmp_path).notes == (sentence,)
    record(tmp_path, replace(INPUTS, engine="torch, there is no compiler"))
    assert RunDirectory.read(tmp_path).notes == (sentence,)


def test_a_run_whose_inputs_are_lost_or_damaged_says_so(tmp_path: Path) -> None:
    record(tmp_path, INPUTS)
    file = tmp_path / "inputs.json"
    file.write_text(file.read_text().replace("native", "torch"))
    with pytest.raises(RunError, match="has another content than when it was written; remove it to go on without"):
        record(tmp_path, INPUTS)
    file.unlink()
    (sentence,) = record(tmp_path, INPUTS)
    assert "was missing: what the run began with is not known" in sentence
    assert json.loads(file.read_text())["engine"] == "native, x, gcc"


def problems(*names: str) -> tuple[Problem, ...]:
    return tuple(Problem(name, f"{name}?", ("1",)) for name in names)


def test_order_and_number_of_training_problems_count() -> None:
    digests = {
        training_digest(Table("t", {"training": rows, "validation": (), "test": ()}))
        for rows in (problems("a", "b"), problems("b", "a"), problems("a"), problems("a", "b", "c"))
    }
    assert len(digests) == 4
    assert training_digest(Multiplication()) is None


def test_the_file_is_compared_where_both_have_one() -> None:
    """A run from before files were recorded, or on the directory that a file was converted into, goes on."""
    assert GGUF.difference(BASE) is BASE.difference(GGUF) is None
    other = replace(GGUF, dtype="bfloat16", sha256="f" * 64)
    assert other.difference(GGUF) is None
    assert "another GGUF file than the base" in (replace(other, gguf="a").difference(GGUF) or "").format("the base")
    assert "gguf" not in BASE.to_json()
    assert GGUF.to_json()["gguf"] == "d" * 64


def test_what_was_trained_knows_its_base(tmp_path: Path) -> None:
    model = tiny(dtype=torch.float32)
    base = BaseDigests.of(model, "float32")
    base.check(tmp_path)  # nothing is known of a folder that does not say
    (tmp_path / "base.json").write_text(json.dumps({"name": "m", "dtype": "float32", "sha256": base.sha256}))
    base.check(tmp_path)
    with torch.no_grad():
        model.transformer.model.get_parameter("model.norm.weight")[0] += 1e-6
    with pytest.raises(ModelError, match=r"has other weights than the base that .* was trained on"):
        BaseDigests.of(model, "float32").check(tmp_path)
    BaseDigests.of(model, "bfloat16").check(tmp_path)  # another precision cannot be compared
    (tmp_path / "base.json").write_text("[1]")
    with pytest.raises(RunError, match=r"base\.json is not a JSON object; restore it, or remove it"):
        base.check(tmp_path)
