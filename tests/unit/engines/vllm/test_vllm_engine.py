"""The engine over HTTP: what it samples is the model's, and what a server or a line does wrong is noticed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.pulse import Pulse
from creditree.engines.vllm.client import Patience, ServerError
from creditree.engines.vllm.engine import VllmEngine
from creditree.engines.vllm.server import ServerSpec
from creditree.errors import ConfigError, DataError, ModelError
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.scores import token_scores
from creditree.rng import Key
from creditree.signals import InfluenceSource, InfluenceSpec, Signals
from creditree.steps import Separators
from creditree.tree import token_array
from tests.fake_vllm import (
    FakeVllm,
    Fault,
    FaultyProxy,
    Reply,
    completions,
    drop,
    failing,
    fewer,
    garbage,
    late,
    repeat,
    restarted,
    served,
    serving,
    shorter,
    truncate,
    unlike,
)
from tests.tiny_models import tiny

PATIENT = Patience(answer_s=60.0, outage_s=60.0, first_pause_s=0.005)
"""For what passes, on a machine that is busy."""
QUICK = replace(PATIENT, outage_s=0.3)
"""For what stays."""
PLAIN = Sampling(1.0)
ASKED, LOAD = "/v1/completions", "/v1/load_lora_adapter"
PROMPTS = [token_array([5, 7, 9, 4]), token_array([8, 6, 30, 12, 11])]


@dataclass
class Side:
    """Both ends of a line: the adapter that learns here, and the engine."""

    adapter: Adapter
    engine: VllmEngine

    def learn(self, size: float = 0.3, seed: int = 1) -> None:
        """Move the adapter, as an update does."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for matrix in self.adapter.matrices:
                matrix.add_(torch.randn(matrix.shape, generator=generator) * size)

    def sample(self, count: int = 3, sampling: Sampling = PLAIN) -> list[list[Sample]]:
        keys = [tuple(Key.of(0).at(place, index) for index in range(count)) for place in range(len(PROMPTS))]
        asked = [SampleRequest(ids, own, 5) for ids, own in zip(PROMPTS, keys, strict=True)]
        return self.engine.sample(asked, sampling)[0]

    def misfit(self, found: Sequence[Sequence[Sample]]) -> float:
        """Return the largest difference of log-probabilities from those of the weights as they are."""
        pairs = [(ids, one) for ids, own in zip(PROMPTS, found, strict=True) for one in own]
        wholes = [(np.concatenate([ids, one.token_ids]), one) for ids, one in pairs]
        return max(
            float(np.abs(token_scores(self.adapter.model, ids, len(one.token_ids)) - one.logprobs).max())
            for ids, one in wholes
        )


def tokens(found: Sequence[Sequence[Sample]]) -> list[list[list[int]]]:
    return [[one.token_ids.tolist() for one in own] for own in found]


@contextmanager
def connected(target: FakeVllm | FaultyProxy, trains: bool = True, **spec: Any) -> Iterator[Side]:
    model = tiny("qwen2", torch.float32)
    adapter = Adapter(model, LoraSpec(rank=2, layers=0.5), Key.of(0))
    with served(target) as url:
        full = ServerSpec(url, **({"patience": PATIENT} | spec))
        engine = VllmEngine(model, adapter if trains else None, full, PROMPTS, max_rows=16)
        try:
            yield Side(adapter, engine)
        finally:
            engine.close()


def test_what_is_sampled_is_of_the_weights_as_they_are_now() -> None:
    server = FakeVllm()
    with connected(server) as side:
        for seed in range(3):
            side.learn(seed=seed)
            found = side.sample()
            assert side.misfit(found) < 1e-4
            assert [len(own) for own in found] == [3, 3]
        with side.adapter.off():
            base = side.sample()
            assert side.misfit(base) < 1e-4
        assert side.misfit(base) > 0.1
    names = [body["model"] for body in completions(server.asked)]
    assert len(set(names[2:])) == 4  # three updates under names of their own, and the base
    assert server.adapters == {}  # all are unloaded in the end
    assert server.most_held == 2  # the old one goes when the new one is proven


def test_the_same_weights_are_loaded_once() -> None:
    server = FakeVllm()
    with connected(server) as side:
        side.learn()
        side.sample()
        side.sample()
        assert [path for path, _ in server.asked].count(LOAD) == 2  # at the start, and once learned


def test_everything_that_shapes_the_distribution_is_said() -> None:
    server = FakeVllm()
    with connected(server) as side:
        side.sample(sampling=Sampling(0.7, 0.9))
    body = completions(server.asked)[-1]
    assert (body["temperature"], body["top_p"], body["top_k"], body["min_p"]) == (0.7, 0.9, -1, 0.0)
    assert body["repetition_penalty"] == 1.0
    assert body["stop_token_ids"] == list(side.adapter.model.eos_ids)
    assert body["prompt"] in [ids.tolist() for ids in PROMPTS]


def test_sampler_logprobs_are_there_where_the_raw_ones_say_them() -> None:
    with connected(FakeVllm()) as side:
        (plain, *_), _ = side.sample(sampling=Sampling(1.0))
        (greedy, *_), _ = side.sample(sampling=Sampling(0.0))
        (tempered, *_), _ = side.sample(sampling=Sampling(0.5))
    assert np.array_equal(plain.sampler_logprobs, plain.logprobs)
    assert np.array_equal(greedy.sampler_logprobs, np.zeros(len(greedy.token_ids)))
    assert np.isnan(tempered.sampler_logprobs).all()
    assert np.isfinite(tempered.logprobs).all()


PASSING: dict[str, Fault] = {
    "drop": drop,
    "truncate": truncate,
    "garbage": garbage,
    "fewer": fewer,
    "shorter": shorter,
    "unlike": unlike,
    "repeat": repeat,
    "500": failing(500),
    "503": failing(503),
    "429": failing(429),
}


def test_a_fault_of_the_line_costs_time_and_nothing_else() -> None:
    proxy = FaultyProxy(FakeVllm())
    with connected(proxy) as side:
        side.learn()
        expected = tokens(side.sample())
        for name, fault in PASSING.items():
            proxy.done.clear()
            proxy.faults = {ASKED: [fault, None, fault]}
            found = side.sample()
            assert len(proxy.done) == 2, name
            assert side.misfit(found) < 1e-4, name
            assert tokens(found) == expected, name  # asked again, the same completions are drawn


def test_a_fault_while_an_adapter_is_loaded_costs_time_and_nothing_else() -> None:
    server = FakeVllm(max_loras=9)
    proxy = FaultyProxy(server)
    with connected(proxy) as side:
        for seed, fault in enumerate(PASSING.values()):
            side.learn(seed=seed)
            # what is loaded is asked for only once it is known to be
            proxy.faults = {LOAD: [drop, failing(503)], ASKED: [fault]}
            assert side.misfit(side.sample()) < 1e-4
            assert len(server.adapters) == 1  # also the one whose load was not answered is gone


def test_an_answer_that_was_given_before_is_not_taken_for_another() -> None:
    proxy = FaultyProxy(FakeVllm())
    with connected(proxy) as side:

        def drawn(prompt: int, name: str) -> list[int]:
            ((one,),), _ = side.engine.sample([SampleRequest(PROMPTS[prompt], (Key.of(0).at(name),), 9)], PLAIN)
            return [int(token) for token in one.token_ids]

        alone = drawn(0, "b"), drawn(1, "c")
        assert drawn(0, "a") != alone[0]
        proxy.faults = {ASKED: [repeat]}
        assert drawn(0, "b") == alone[0]  # the last answer was of the same prompt, for another draw
        proxy.faults = {ASKED: [repeat]}
        assert drawn(1, "c") == alone[1]  # and now of another prompt
        assert len(proxy.done) == 2


def fail_for_ever(expected: dict[str, str], patience: Patience) -> None:
    proxy = FaultyProxy(FakeVllm())
    with connected(proxy, patience=patience) as side:
        side.sample()
        for name, words in expected.items():
            proxy.always = {ASKED: PASSING[name]}
            with pytest.raises(ServerError, match=words):
                side.sample()


def test_a_fault_that_stays_ends_with_a_sentence() -> None:
    expected = {
        "drop": "breaks off its answers",
        "truncate": "breaks off its answers",
        "503": r"is busy or away \(HTTP 503: no\), for ",
    }
    fail_for_ever(expected, QUICK)


def test_answers_that_stay_wrong_are_not_waited_for() -> None:
    expected = {
        "garbage": "sends answers that are no JSON, 5 times in a row",
        "fewer": "returns 2 of 3 completions, 5 times in a row",
        "shorter": "ends completions for a reason that their tokens do not show",
        "repeat": r"(gives an answer twice|answers for other token ids than it was given), 5 times in a row",
        "500": r"fails \(HTTP 500: no\), 5 times in a row",
    }
    fail_for_ever(expected, PATIENT)


def test_an_answer_that_stays_out_is_asked_for_again_and_at_last_named() -> None:
    proxy = FaultyProxy(FakeVllm())
    with connected(proxy) as side:
        client = side.engine._client

        def late_once(proxy: FaultyProxy, path: str, body: dict[str, Any] | None) -> Reply | bytes | None:
            client.patience = PATIENT  # for what is asked from now on
            return late(0.3)(proxy, path, body)

        client.patience = replace(PATIENT, answer_s=0.1)
        proxy.faults = {ASKED: [late_once]}
        assert side.misfit(side.sample()) < 1e-4
        client.patience = replace(QUICK, answer_s=0.1)
        proxy.always = {ASKED: late(0.3)}
        with pytest.raises(ServerError, match="does not answer in time, for "):
            side.sample()


def test_a_server_that_is_gone_is_waited_for_and_then_named() -> None:
    proxy = FaultyProxy(FakeVllm())
    with connected(proxy, patience=QUICK) as side:
        side.engine._client.url = "http://127.0.0.1:9"
        with pytest.raises(ServerError, match=r"cannot be reached, for .*`resume`"):
            side.sample()


def test_a_server_that_was_started_again_gets_the_adapter_again() -> None:
    proxy = FaultyProxy(FakeVllm())
    with connected(proxy) as side:
        side.learn()
        side.sample()
        proxy.faults = {ASKED: [restarted]}
        found = side.sample()
        assert side.misfit(found) < 1e-4
        proxy.always = {ASKED: restarted}
        with pytest.raises(ServerError, match="after 3 attempts; nothing of it was learned from"):
            side.sample()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (lambda server: "base", "serves the base weights"),
        (lambda server: next(iter(server.adapters)), "serves the weights before the last update"),
    ],
    ids=["base", "old"],
)
def test_stale_weights_are_caught_after_the_load(name: Any, words: str) -> None:
    proxy = FaultyProxy(FakeVllm(max_loras=9))
    with connected(proxy) as side:
        side.learn(seed=1)
        side.sample()
        side.learn(seed=2)
        proxy.always = {ASKED: serving(name)}
        with pytest.raises(ServerError, match=words):
            side.sample()
        proxy.always = {}
        assert side.misfit(side.sample()) < 1e-4


def test_stale_weights_that_pass_the_load_are_caught_by_what_they_draw() -> None:
    proxy = FaultyProxy(FakeVllm())
    with connected(proxy) as side:
        side.learn()
        side.sample()
        proxy.faults = {ASKED: [serving(lambda server: "base")] * 2}
        assert side.misfit(side.sample()) < 1e-4  # thrown away, loaded and drawn again
        proxy.always = {ASKED: serving(lambda server: "base")}
        with pytest.raises(ServerError, match="serves the base weights in place of those that were loaded"):
            side.sample()


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (FakeVllm(ids=False), r"takes no token ids as a prompt \(HTTP 422"),
        (FakeVllm(ids=False, no_ids=500), r"fails \(HTTP 500: .*5 times in a row: it was asked to complete token ids"),
        (FakeVllm(returns=False), "does not return token ids"),
        (FakeVllm(scores=False), "does not score given token ids"),
        (FakeVllm(loads=False), "can be measured with but not trained with"),
        (FakeVllm(model=tiny("qwen2", torch.float32, seed=3)), "it serves another model as 'base'"),
    ],
    ids=["ids in", "ids in, failing", "ids out", "scores", "adapters", "another model"],
)
def test_what_a_server_cannot_do_is_refused_at_the_start(server: FakeVllm, words: str) -> None:
    with pytest.raises(ServerError, match=words) as caught, connected(server):
        pass
    assert str(caught.value).count("\n") == 0


def test_a_server_that_samples_the_base_alone_is_good_for_measuring() -> None:
    with connected(FakeVllm(loads=False, scores=False), trains=False) as side, side.adapter.off():
        assert side.misfit(side.sample()) < 1e-4


def test_what_is_no_such_server_is_named() -> None:
    proxy = FaultyProxy(FakeVllm(), always={"/v1/models": failing(404)})
    with pytest.raises(ServerError, match="is no server of this protocol"), connected(proxy):
        pass
    with pytest.raises(ServerError, match="does not serve 'other', but base"), connected(FakeVllm(), model="other"):
        pass


@pytest.mark.parametrize("url", ["", "server", "ftp://server:1", "http://", "http://[::1"])
def test_what_is_no_url_is_refused(url: str) -> None:
    model = tiny("qwen2", torch.float32)
    with pytest.raises(ConfigError, match=r"engine\.url is '.*', which is no server's"):
        VllmEngine(model, None, ServerSpec(url), PROMPTS)


@pytest.mark.parametrize("source", ["pass", "decoding"])
def test_entropies_and_influence_are_what_an_engine_of_this_process_tells(source: InfluenceSource) -> None:
    signals = Signals(True, InfluenceSpec(Separators((frozenset({9, 12, 30}),)), delta=1, source=source))
    server = FakeVllm()
    with connected(server) as side:
        side.learn(0.1)
        asked = SampleRequest(PROMPTS[1], (Key.of(5),), 40, signals=signals)
        ((ours,),), ledger = side.engine.sample([asked], PLAIN)
        drawn = completions(server.asked)[-1]
        same = SampleRequest(PROMPTS[1], (Key.of(drawn["seed"]).at(0),), 40, signals=signals)
        ((theirs,),), _ = InProcessEngine(side.adapter.model).sample([same], PLAIN)
    assert ours.token_ids.tolist() == theirs.token_ids.tolist()
    assert ours.entropies is not None
    assert ours.influence is not None
    assert ours.entropies == pytest.approx(theirs.entropies, abs=1e-4)
    assert ours.influence == pytest.approx(theirs.influence, rel=1e-3, abs=1e-6)
    assert ours.influence.any()
    assert ledger.influence_tokens == ledger.measured_tokens == len(PROMPTS[1]) + len(ours.token_ids)


def test_what_does_not_fit_the_server_is_refused() -> None:
    words = "exceed the context of 20 tokens of the server"
    with connected(FakeVllm(max_model_len=20)) as side, pytest.raises(DataError, match=words):
        side.engine.sample([SampleRequest(PROMPTS[0], (Key.of(0),), 17)], Sampling())


def test_a_server_with_a_short_context_is_proven_within_it() -> None:
    server = FakeVllm(max_model_len=10)
    with connected(server) as side:
        side.learn()
        keys = (Key.of(0),)
        side.engine.sample([SampleRequest(PROMPTS[0], keys, 6)], Sampling())
    sizes = [len(body["prompt"]) + body["max_tokens"] for path, body in server.asked if path == ASKED]
    assert max(sizes) == 10


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    here = str(tmp_path / "file")
    with pytest.raises(ModelError, match=r"set engine\.adapters to a folder"), connected(FakeVllm(), adapters=here):
        pass


def test_how_far_a_call_is_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("creditree.engines.vllm.threads.LISTEN_S", 0.02)
    monkeypatch.setattr("creditree.engines.pulse.EVERY_S", 0.0)
    proxy = FaultyProxy(FakeVllm())
    pulses: list[Pulse] = []
    with connected(proxy) as side:
        proxy.faults = {ASKED: [late(0.1)]}
        asked = [SampleRequest(PROMPTS[0], (Key.of(1), Key.of(2)), 6)]
        with nullcontext():
            found, ledger = side.engine.sample(asked, Sampling(), pulses.append)
    assert len(pulses) >= 3
    assert (pulses[-1].finished, pulses[-1].rows) == (2, 2)
    assert ledger.decoded == pulses[-1].tokens == sum(len(one.token_ids) for one in found[0])


def test_what_a_pulse_raises_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("creditree.engines.vllm.threads.LISTEN_S", 0.01)
    monkeypatch.setattr("creditree.engines.pulse.EVERY_S", 0.0)

    def told(pulse: Pulse) -> None:
        raise KeyboardInterrupt

    proxy = FaultyProxy(FakeVllm())
    with connected(proxy) as side:
        proxy.faults = {ASKED: [late(0.3)]}
        with pytest.raises(KeyboardInterrupt):
            side.engine.sample([SampleRequest(PROMPTS[0], (Key.of(1),), 6)], Sampling(), told)
