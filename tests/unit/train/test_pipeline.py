"""The pipeline: who is sampled with whom, what is stale, and that a resumed one goes on exactly."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.pulse import Told
from creditree.explore.base import Explorer
from creditree.explore.baselines import RandomBranching
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.ledger import Ledger, Seconds
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import Model
from creditree.problem import Problem, Verdict
from creditree.rng import Key
from creditree.schedule.adaptive import Adaptive
from creditree.schedule.base import Schedule
from creditree.schedule.dynamic import Dynamic
from creditree.schedule.fixed import Fixed
from creditree.tasks.split import Split
from creditree.tasks.task import PromptTemplate
from creditree.train.pipeline import Explored, Pipeline
from creditree.train.rollout import Rollout
from creditree.tree import Forest
from creditree.verify.verifier import Answer, Verifier
from tests.rollouts import grown
from tests.tiny_models import tiny
from tests.waited import Waited

BUDGET = 12
KEY = Key.of(3)
BRANCHING = RandomBranching(4, 2, 1, 2)


class Products:
    """A fake task: the index is the problem."""

    name = "products"
    prompt = PromptTemplate("{question}")
    num_training = None
    notes: tuple[str, ...] = ()

    def training(self, key: Key, index: int) -> Problem:
        """Return problem `index`."""
        return Problem(str(index), f"{index}*{index + 3}=", ("1",))

    def held_out(self, split: Split, limit: int | None = None) -> tuple[Problem, ...]:
        """Return none."""
        return ()


class Parity(Verifier):
    """A fake verifier: the reward of a text is the parity of its characters' codes; of a problem in `easy`, 1."""

    def __init__(self, easy: tuple[str, ...] = ()) -> None:
        self.easy = easy

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Judge each completion by its text."""
        return tuple(
            Verdict(1.0 if a.problem.id in self.easy else float(sum(map(ord, a.completion)) % 2)) for a in answers
        )


@dataclass
class Watched(Waited):
    """An engine that notes each call: how many tokens of its contexts are not prompt."""

    calls: list[list[int]] = field(default_factory=list)

    def sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None = None
    ) -> tuple[list[list[Sample]], Ledger]:
        """Note and pass on."""
        self.calls.append([len(one.context_ids) - (one.prompt_tokens or 0) for one in requests])
        return super().sample(requests, sampling, told)


@pytest.fixture
def model() -> Model:
    return tiny("qwen2")


def pipeline_of(
    model: Model, explorer: Explorer, schedule: Schedule, problems: int = 2, easy: tuple[str, ...] = ()
) -> tuple[Pipeline, Watched]:
    engine = Watched(InProcessEngine(model))
    rollout = Rollout(model, engine, Parity(easy), Products.prompt, Sampling(0.8), BUDGET)
    return Pipeline(rollout, Products(), explorer, schedule, KEY, problems), engine


def content(forest: Forest) -> list[Any]:
    """Everything that was sampled."""
    return [
        (
            tree.problem.id,
            tree.kept_ids.tolist(),
            [(b.parent, b.fork, b.token_ids.tolist(), b.logprobs.tolist(), b.reward) for b in tree.branches],
        )
        for tree in forest
    ]


def contents(explored: Explored) -> list[Any]:
    return [content(one.forest) for one in explored.live]


@pytest.mark.parametrize("explorer", [Group(4), Replay(4, 1, 1), BRANCHING], ids=str)
def test_on_policy_is_every_explorer_run_to_its_end(model: Model, explorer: Explorer) -> None:
    pipeline, engine = pipeline_of(model, explorer, Fixed())
    for step in range(2):
        problems = [Products().training(KEY, 2 * step + index) for index in range(2)]
        keys = [KEY.at("step", step).at("problem", index) for index in range(2)]
        forests, ledger = grown(pipeline.rollout, explorer, problems, keys, Seconds())
        explored = pipeline.step(step, Seconds())
        assert contents(explored) == [content(forest) for forest in forests]
        assert explored.cost == ledger
        assert explored.cost.decoded == explored.cost.unique_prefixes
        pipeline.learned(8)
    assert pipeline.in_flight == []
    assert max(engine.calls[-1]) > 0 or isinstance(explorer, Group)


def test_off_policy_makes_one_engine_call_a_step_for_two_rounds(model: Model) -> None:
    pipeline, engine = pipeline_of(model, BRANCHING, Fixed(off_policy=True))
    pipeline.step(0, Seconds())
    assert len(engine.calls) == 2  # the first step fills the pipeline
    for step in (1, 2):
        pipeline.learned(20)
        before = len(engine.calls)
        pipeline.step(step, Seconds())
        (call,) = engine.calls[before:]
        assert sum(kept == 0 for kept in call) == 2  # the groups of two new problems
        assert sum(kept > 0 for kept in call) == 2 * 4 * 2  # branches at two points of four completions of two others
    pipeline.learned(20)
    before = len(engine.calls)
    pipeline.step(3, Seconds(), is_last=True)
    (call,) = engine.calls[before:]
    assert all(kept > 0 for kept in call)
    assert pipeline.in_flight == []


def test_first_completions_are_stale_by_one_update_and_branches_are_fresh(model: Model) -> None:
    adapter = Adapter(model, LoraSpec(rank=2, layers=0.5), Key.of(0))
    pipeline, _ = pipeline_of(model, BRANCHING, Fixed(off_policy=True))
    pipeline.step(0, Seconds())
    pipeline.learned(20)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.3)
    explored = pipeline.step(1, Seconds())
    for one in explored.live:
        (tree,) = one.forest
        for leaf in tree.leaves:
            branch = tree.branches[leaf]
            ids = torch.tensor([[*tree.prompt_ids, *tree.completion(leaf)]])
            with torch.no_grad():
                now = model.transformer.model(ids).logits[0].log_softmax(-1)
            first = len(tree.prompt_ids) + branch.fork
            fresh = [float(now[first - 1 + t, token]) for t, token in enumerate(branch.token_ids)]
            if branch.parent is None:
                assert np.abs(branch.logprobs - fresh).max() > 1e-3
            else:
                assert branch.logprobs == pytest.approx(fresh, abs=1e-9)


def test_what_was_sampled_is_counted_in_the_step_that_sampled_it(model: Model) -> None:
    pipeline, _ = pipeline_of(model, BRANCHING, Fixed(off_policy=True))
    costs, live = [], []
    for step in range(3):
        explored = pipeline.step(step, Seconds(), is_last=step == 2)
        pipeline.learned(20)
        costs.append(explored.cost)
        live += explored.live
    whole = [sum(len(one.forest[0].branches) for one in live[step : step + 2]) for step in (0, 2, 4)]
    # two groups of 4 are sampled a step ahead, but for those of the first step and after the last
    assert [cost.completions for cost in costs] == [whole[0] + 8, whole[1] - 8 + 8, whole[2] - 8]
    trees = [tree for one in live for tree in one.forest]
    assert sum(cost.sampled for cost in costs) == sum(len(b.token_ids) for tree in trees for b in tree.branches)
    # a branch that draws its chain's own token again comes upon a prefix that prefilling another branch made known
    assert costs[0].decoded == costs[0].unique_prefixes
    assert all(0.9 * cost.unique_prefixes < cost.decoded <= cost.unique_prefixes for cost in costs)


@pytest.mark.parametrize("schedule", [Fixed(off_policy=True), Adaptive(easy_filter="hard")], ids=str)
def test_a_resumed_pipeline_goes_on_exactly(model: Model, schedule: Schedule) -> None:
    whole, _ = pipeline_of(model, BRANCHING, schedule, easy=("3",))
    expected = []
    for step in range(4):
        explored = whole.step(step, Seconds(), is_last=step == 3)
        expected.append((contents(explored), explored.trained, explored.cost))
        whole.learned(7 * step)
        if step == 1:
            arrays, record = whole.save()
            kept = {name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(record))
    resumed, _ = pipeline_of(model, BRANCHING, schedule, easy=("3",))
    resumed.load(*kept)
    for step in (2, 3):
        explored = resumed.step(step, Seconds(), is_last=step == 3)
        assert (contents(explored), explored.trained, explored.cost) == expected[step]
        resumed.learned(7 * step)
    assert resumed.state == whole.state


def test_a_failed_step_leaves_what_the_last_one_saved(model: Model) -> None:
    pipeline, _ = pipeline_of(model, BRANCHING, Fixed(off_policy=True))
    pipeline.step(0, Seconds())
    pipeline.learned(20)
    before = json.dumps(pipeline.save()[1])
    pipeline.step(1, Seconds())  # and then nothing is learned
    assert json.dumps(pipeline.save()[1]) == before


def test_an_ended_problem_is_neither_expanded_nor_trained_on(model: Model) -> None:
    pipeline, _ = pipeline_of(
        model, BRANCHING, Adaptive(easy_filter="hard", zero_filter="none", off_policy=False), problems=3, easy=("1",)
    )
    explored = pipeline.step(0, Seconds())
    assert explored.trained == [True, False, True]
    assert [len(one.forest[0].branches) for one in explored.live] == [20, 4, 20]
    assert pipeline.state["filtered"] == 1


def test_dynamic_sampling_draws_until_enough_are_mixed(model: Model) -> None:
    pipeline, _ = pipeline_of(model, Group(4), Dynamic(draw_limit=4), problems=2, easy=("0", "1"))
    explored = pipeline.step(0, Seconds())
    assert [one.index for one in explored.live][:2] == [0, 1]
    assert sum(explored.trained) >= 2 or len(explored.live) == 8
    assert not any(explored.trained[:2])
    assert pipeline.next_problem == len(explored.live)
    keys = {one.key.digest for one in explored.live}
    assert len(keys) == len(explored.live)


def test_stages_bound_the_completions_of_their_steps(model: Model) -> None:
    pipeline, _ = pipeline_of(model, Group(4), Fixed(stages=((0, 3), (1, 6))))
    longest = []
    for step in range(2):
        explored = pipeline.step(step, Seconds())
        pipeline.learned(8)
        longest.append(max(branch.end for one in explored.live for branch in one.forest[0].branches))
    assert longest[0] <= 3 < longest[1] <= 6
