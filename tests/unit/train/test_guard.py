"""The guard set: its loss against plain transformers, and what may go wrong with its file."""

from pathlib import Path

import pytest
import torch

from creditree.config.guard import GuardBlock
from creditree.errors import ConfigError, DataError, RunError
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.models.adapter import Adapter, LoraSpec
from creditree.objective.policy_gradient import PolicyGradient
from creditree.problem import fingerprint
from creditree.report.guard import GuardSide
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.setup.guard import build_guard
from creditree.tasks.task import PromptTemplate
from creditree.train.guard import Guard
from creditree.train.procedure import held_guard
from creditree.verify.exact import ExactText
from creditree.verify.last_integer import LastInteger
from tests.tiny_models import FAMILIES, tiny

ROWS = "id,question,answer,worked\na,3*4=,12,3*4 is 12\nb,7*8=,56,the answer is 56\nc,9*9=,81,81\n"
RUNS = LastInteger()


def guard_of(folder: Path, rows: str = ROWS, **keys: object) -> Guard:
    path = folder / "guard.csv"
    path.write_text(rows, encoding="utf-8")
    found = build_guard(GuardBlock.model_validate({"path": str(path)} | keys), PromptTemplate("{question}\n"), RUNS)
    assert found is not None
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", [None, "worked"])
def test_the_loss_is_that_of_plain_transformers(tmp_path: Path, family: str, target: str | None) -> None:
    """-mean log p of the target's characters and the end token, given the prompt, a forward pass for each problem."""
    guard = guard_of(tmp_path, target=target)
    model = tiny(family)
    adapter = Adapter(model, LoraSpec(rank=3, layers=0.5), Key.of(0))
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.1)
    found = guard.losses(model, Learner(adapter, PolicyGradient(), OptimiserSpec(micro_batch_tokens=16)))
    assert list(found) == [problem.id for problem in guard.problems]
    for problem in guard.problems:
        prompt = model.tokenizer.encode(problem.question + "\n")
        wanted = [*model.tokenizer.encode(str(problem.columns[target or "answer"])), *model.eos_ids]
        with torch.no_grad():
            logits = adapter.peft(input_ids=torch.tensor([prompt + wanted])).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[len(prompt) - 1 : -1], torch.tensor(wanted))
        assert found[problem.id] == pytest.approx(float(loss), abs=1e-10)


def test_every_row_is_a_guard_problem_and_the_first_by_hash_are_taken(tmp_path: Path) -> None:
    marked = ROWS.replace("worked", "split").replace("3*4 is 12", "train").replace("the answer is 56", "test")
    guard = guard_of(tmp_path, marked.replace(",81\n", ",validation\n"))
    assert {problem.id for problem in guard.problems} == {"a", "b", "c"}
    assert guard.targets == tuple(problem.answers[0] for problem in guard.problems)
    assert guard.verifier is RUNS
    assert guard_of(tmp_path, problems=2).problems == guard_of(tmp_path).problems[:2]


def test_wording_and_reward_of_its_own(tmp_path: Path) -> None:
    guard = guard_of(tmp_path, prompt={"text": "Q {question} A "}, reward="exact")
    assert guard.prompt.render(guard.problems[0]) == f"Q {guard.problems[0].question} A "
    assert isinstance(guard.verifier, ExactText)


@pytest.mark.parametrize(
    ("rows", "keys", "words"),
    [
        (ROWS, {"target": "work"}, r"has no column 'work' for the target: .*Did you mean 'worked'\?"),
        (ROWS.replace("3*4 is 12", ""), {"target": "worked"}, "problem 'a' has no text in column 'worked'"),
        (ROWS, {"question": "ask"}, "no column 'ask' for the question"),
        ("question,answer\n", {}, "has no rows"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, rows: str, keys: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        guard_of(tmp_path, rows, **keys)


def test_a_target_that_does_not_fit_the_context_is_refused(tmp_path: Path) -> None:
    """128 positions: a prompt of 5 tokens, with a completion of 123 or a target of 123 at most, its end included."""
    model = tiny("qwen2")
    guard_of(tmp_path).check(model, 123)
    with pytest.raises(ConfigError, match=r"a prompt of 5 tokens \(guard problem 'a'\) with its target of 3, or with"):
        guard_of(tmp_path, "id,question,answer\na,3*4=,12\n").check(model, 124)
    with pytest.raises(ConfigError, match="with its target of 124"):
        guard_of(tmp_path, f"id,question,answer\na,3*4=,{'1' * 123}\n").check(model, 8)


def test_guard_problems_that_changed_since_the_run_began_are_refused(tmp_path: Path) -> None:
    guard = guard_of(tmp_path)
    before = GuardSide({"a": 1, "b": 0, "c": 1}, {"a": 1.0, "b": 2.0, "c": 0.5})
    with RunDirectory.create(tmp_path / "run", "seed: 0\n") as run:
        assert held_guard(guard, run) is None
        run.write_json("guard.json", {"sha256": fingerprint(guard.problems), "before": before.to_json()})
        assert held_guard(guard, run) == before
        with pytest.raises(RunError, match="has other guard problems than when run"):
            held_guard(guard_of(tmp_path, ROWS.replace("81,81", "82,81")), run)
