"""An engine call tells how far it is, and what its listener raises ends it; nothing else changes."""

from collections.abc import Callable

import pytest

from creditree.engines import pulse
from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.pulse import Heart, Pulse
from creditree.engines.whole import WholeEngine, engine_for
from creditree.rng import Key
from creditree.tree import token_array
from tests.tiny_models import other, tiny

ENGINES: dict[str, Callable[[int], InProcessEngine | WholeEngine]] = {
    "native": lambda rows: InProcessEngine(tiny(), rows),
    "torch": lambda rows: InProcessEngine(tiny(), rows, native=False),
    "static": lambda rows: InProcessEngine(tiny(), rows, native=False, static=True),
    "whole": lambda rows: engine_for(other("gpt2"), rows),
}


def asked() -> list[SampleRequest]:
    """Two prompts, five completions of each, of up to 40 tokens."""
    keys = [tuple(Key.of(3).at(p, i) for i in range(5)) for p in range(2)]
    return [SampleRequest(token_array([5 + p, 9, 12]), keys[p], 40) for p in range(2)]


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "EVERY_S", 0.0)


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("max_rows", [512, 4])
def test_counts_grow_to_what_the_call_returns(kind: str, max_rows: int) -> None:
    engine = ENGINES[kind](max_rows)
    heard: list[Pulse] = []
    found, _ = engine.sample(asked(), Sampling(1.0), heard.append)
    assert {one.rows for one in heard} == {10}
    assert (heard[0].read, heard[0].to_read) == (0, 6 if max_rows == 512 else 3)  # of the first chunk
    tokens, finished = [one.tokens for one in heard], [one.finished for one in heard]
    assert tokens == sorted(tokens)
    assert finished == sorted(finished)
    assert 0 < tokens[-1] <= sum(len(sample.token_ids) for samples in found for sample in samples)
    if kind != "static":  # there the last 16 positions are told by the result
        assert (tokens[-1], finished[-1]) == (sum(len(s.token_ids) for own in found for s in own), 10)
        assert heard[-1].left_s is not None


@pytest.mark.parametrize("kind", ENGINES)
def test_what_a_listener_raises_ends_the_call_and_the_next_one_is_as_if_it_had_not_been(kind: str) -> None:
    plain, _ = ENGINES[kind](512).sample(asked(), Sampling(1.0))
    engine = ENGINES[kind](512)

    def stop(one: Pulse) -> None:
        if one.tokens >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.sample(asked(), Sampling(1.0), stop)
    engine.forget()
    again, _ = engine.sample(asked(), Sampling(1.0))
    for one, two in zip(plain, again, strict=True):
        assert [s.token_ids.tolist() for s in one] == [s.token_ids.tolist() for s in two]
        assert [s.logprobs.tolist() for s in one] == [s.logprobs.tolist() for s in two]


def test_time_left_is_by_positions_over_all_chunks() -> None:
    now, heard = [0.0], list[Pulse]()
    heart = Heart(6, 30, heard.append, lambda: now[0])  # two chunks: of at most 20 and 10 positions
    heart.drew(0, 0, 0)
    now[0] = 2.0
    heart.drew(1, 12, 4)
    # 4 positions in 2 s, 26 to go: 13 s.
    assert heard[-1] == Pulse(6, 1, 12, 2.0, 13.0)
    assert heard[-1].tokens_per_s == 6.0
    now[0] = 5.0
    heart.ended(4, 40, 20)
    now[0] = 50.0  # prompts are read in between, which is no decoding
    heart.reads(100)
    heart.has_read(60)
    assert (heard[-1].read, heard[-1].to_read, heard[-1].seconds) == (60, 100, 5.0)
    heart.drew(0, 0, 0)
    now[0] = 51.0
    heart.drew(0, 8, 4)
    # 24 positions in 6 s, 6 to go: 1.5 s.
    assert heard[-1] == Pulse(6, 4, 48, 6.0, 1.5)
