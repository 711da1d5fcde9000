"""One step off-policy with a server: it samples the next step while this process learns, and nothing else changes."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from creditree.credit.group_relative import GroupRelative
from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.vllm.client import Patience
from creditree.engines.vllm.engine import VllmEngine
from creditree.engines.vllm.server import ServerSpec
from creditree.explore.baselines import RandomBranching
from creditree.explore.group import Group
from creditree.methods import Method
from creditree.models.scores import token_scores
from creditree.objective.clipped import Clipped
from creditree.objective.policy_gradient import PolicyGradient
from creditree.schedule.fixed import Fixed
from creditree.select.everything import Everything
from creditree.train.loop import Loop
from creditree.tree import token_array
from tests.fake_vllm import FakeVllm, FaultyProxy, Reply, restarted, served
from tests.training import SETTINGS, Scripted, parts_of
from tests.waited import Waited

AHEAD = Fixed(off_policy=True)
GROUP = Method("m", "", Group(4), GroupRelative(), Everything(), Clipped(), AHEAD)
BRANCHES = replace(GROUP, explore=RandomBranching(3, 2, 1, 2))
PLAIN = replace(GROUP, objective=PolicyGradient())
FOUR = replace(SETTINGS, steps=4, sampling=Sampling(1.0))
ASKED = "/v1/completions"


@contextmanager
def training(method: Method, *, waits: bool = False, verifier: Scripted | None = None) -> Iterator[tuple[Loop, Any]]:
    proxy = FaultyProxy(FakeVllm())
    with served(proxy) as url:
        parts = parts_of(verifier, method)
        spec = ServerSpec(url, patience=Patience(60.0, 20.0, 0.005))
        engine = VllmEngine(parts.model, parts.learner.trained, spec, [token_array([5, 7, 9, 4])])
        parts.learner.engine_differs = True
        try:
            yield Loop(replace(parts, engine=Waited(engine) if waits else engine), FOUR), proxy
        finally:
            engine.close()


def weights(loop: Loop) -> list[np.ndarray[Any, Any]]:
    return [matrix.detach().numpy().copy() for matrix in loop.parts.learner.matrices]


def trained(loop: Loop, steps: int = 4) -> list[np.ndarray[Any, Any]]:
    for _ in range(steps):
        loop.step()
    return weights(loop)


def same(these: Sequence[np.ndarray[Any, Any]], those: Sequence[np.ndarray[Any, Any]]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(these, those, strict=True))


@pytest.mark.parametrize("method", [GROUP, pytest.param(BRANCHES, marks=pytest.mark.thorough)])
def test_a_run_is_the_one_that_waits_for_its_samples(method: Method) -> None:
    with training(method, waits=True) as (loop, _):
        expected, counts = trained(loop), loop.state.ledger
    with training(method) as (loop, _):
        assert same(trained(loop), expected)
        found = loop.state.ledger
    assert (found.completions, found.sampled, found.updates, found.measured_tokens) == (
        counts.completions,
        counts.sampled,
        counts.updates,
        counts.measured_tokens,
    )
    assert found.updates >= 2


def test_the_server_samples_while_this_process_learns_from_the_weights_before() -> None:
    """Completions for the second step come only once the first has learned: who waited for them would wait for ever."""
    updated, held = threading.Event(), []

    def hold(proxy: FaultyProxy, path: str, body: dict[str, Any] | None) -> Reply:
        assert body is not None
        if "prompt_logprobs" not in body:
            held.append(updated.wait(30.0))
        return proxy.behind.answer(path, body)

    with training(GROUP) as (loop, proxy):
        learner = loop.parts.learner
        step = learner.step

        def learn(*args: Any, **kwargs: Any) -> Any:
            stats = step(*args, **kwargs)
            updated.set()
            return stats

        learner.step = learn  # type: ignore[method-assign]
        begin = loop.rollout.engine.begin

        def begin_and_hold(requests: Sequence[SampleRequest], sampling: Sampling) -> Any:
            if loop.pipeline.in_flight:
                proxy.always = {ASKED: hold}
            return begin(requests, sampling)

        loop.rollout.engine.begin = begin_and_hold  # type: ignore[method-assign]
        before = weights(loop)
        loop.step()
        proxy.always = {}
        assert held
        assert all(held)
        assert not same(weights(loop), before)
        # what is in flight was sampled from the weights before the update, and says so
        (tree,) = loop.pipeline.in_flight[0].forest
        branch, ids = tree.branches[0], np.concatenate([tree.prompt_ids, tree.completion(0)])
        assert branch.old_logprobs is not None
        now = token_scores(loop.parts.model, ids, len(branch.token_ids))
        assert np.abs(branch.old_logprobs - branch.logprobs).max() < 1e-4 < np.abs(now - branch.logprobs).max()
        assert loop.pipeline.staleness == 0
        loop.step()
        assert loop.pipeline.staleness == 1


def test_a_server_that_is_started_again_meanwhile_samples_from_the_weights_before_all_the_same() -> None:
    with training(GROUP) as (loop, _):
        expected = trained(loop, 3)
    with training(GROUP) as (loop, proxy):
        loop.step()
        begin = loop.rollout.engine.begin

        def begin_and_forget(requests: Sequence[SampleRequest], sampling: Sampling) -> Any:
            proxy.faults = {ASKED: [None, restarted]} if not proxy.done else {}
            return begin(requests, sampling)

        loop.rollout.engine.begin = begin_and_forget  # type: ignore[method-assign]
        assert same(trained(loop, 2), expected)
        assert proxy.done


def test_it_goes_on_from_what_was_kept_as_if_it_had_not_stopped() -> None:
    with training(GROUP) as (loop, _):
        trained(loop, 2)
        arrays, record = loop.pipeline.save()
        learner = loop.parts.learner.arrays()
        expected = trained(loop, 2)
        assert loop.pipeline.staleness == 1
    with training(GROUP) as (loop, _):
        loop.pipeline.load(arrays, json.loads(json.dumps(record)))
        loop.parts.learner.load_arrays(learner)
        loop.state.step = 2
        assert same(trained(loop, 2), expected)
        assert loop.pipeline.staleness == 1


def test_a_step_ahead_that_cannot_be_used_is_told_and_drawn_anew() -> None:
    rewards = iter([*[0.0, 1.0] * 4, *[1e300] * 4])
    verifier = Scripted(training=lambda text: next(rewards, float(len(text) % 2)))
    with training(GROUP, verifier=verifier) as (loop, _):
        result = loop.step()
        assert result.stats.updated
        assert [skip.problem_ids for skip in result.skips] == [("training-2", "training-3")]
        assert "a reward has the size 1e+300" in result.skips[0].reason
        assert loop.pipeline.in_flight == []
        following = loop.step()
        assert [forest[0].problem.id for forest in following.explored] == ["training-4", "training-5"]
        assert loop.pipeline.staleness == 0


def test_importance_weights_make_up_for_the_update_in_between_where_no_ratio_does() -> None:
    """Without a ratio, rho is of the policy before the update over the engine's; with one, the ratio is the rest."""
    for objective, stale_too in ((PolicyGradient(sampler_correction="token"), True), (Clipped(), False)):
        with training(replace(GROUP, objective=objective)) as (loop, _):
            loop.step()
            learner = loop.parts.learner
            seen: list[Any] = []
            step = learner.step

            def look(batch: Any, *args: Any, step: Any = step, seen: list[Any] = seen, **kwargs: Any) -> Any:
                seen.append(batch)
                return step(batch, *args, **kwargs)

            learner.step = look  # type: ignore[method-assign]
            now = weights(loop)
            loop.step()
            (batch,) = seen
            assert not batch.fresh.any()
            with torch.no_grad():
                for matrix, before in zip(learner.matrices, now, strict=True):
                    matrix.copy_(torch.from_numpy(before))
            own = learner.logprobs(batch)
            old = learner.with_old_logprobs(batch).old_logprob
            assert np.allclose(old, own, atol=1e-6) is stale_too
            assert np.allclose(old, batch.sampler_logprob, atol=1e-4) is not stale_too
