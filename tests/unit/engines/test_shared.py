"""Static decoding with a row for each different prefix: the same tokens and numbers, each prefix forwarded once."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.static.decoder import DecodingPace
from creditree.engines.static.record import Recorder
from creditree.engines.static.shared import BLOCK
from creditree.ledger import Ledger
from creditree.models.load import Model
from creditree.rng import Key
from creditree.tree import token_array
from tests.strict_graphs import StrictGraphs
from tests.tiny_models import tiny
from tests.unit.engines.test_static import assert_same, decoder_of, requests, same_trunk, static_engine, torch_engine


@pytest.fixture
def sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every call be decoded shared."""
    monkeypatch.setattr(DecodingPace, "shares", property(lambda self: True))


def endless(seed: int = 3) -> Model:
    """Return a model without a token that ends a completion."""
    model = tiny(seed=seed)
    model.tokenizer.eos_token = "<unk>"
    network: Any = model.transformer.model
    network.config.eos_token_id = network.generation_config.eos_token_id = None
    return model


def sharpened(model: Model, by: float) -> Model:
    """Make a model surer of its next tokens, so that its completions share prefixes."""
    with torch.no_grad():
        model.transformer.ends[1].weight.mul_(by)
    model.transformer.link()
    return model


def both(
    model: Model, asked: Sequence[SampleRequest], sampling: Sampling, engine: InProcessEngine | None = None
) -> tuple[list[list[Sample]], Ledger, Ledger]:
    """Sample shared and with the torch decoder; assert that it is the same."""
    found, cost = (engine or static_engine(model)).sample(asked, sampling)
    expected, plain = torch_engine(model).sample(asked, sampling)
    assert_same(found, expected)
    return found, cost, plain


@pytest.mark.usefixtures("sharing")
@pytest.mark.parametrize(
    ("family", "sampling"),
    [
        ("qwen2", Sampling(1.0)),
        ("qwen3", Sampling(0.3, entropies=True)),
        ("llama", Sampling(0.8, 0.7)),
        ("qwen2", Sampling(0.0)),
    ],
    ids=str,
)
def test_same_tokens_and_numbers_and_each_prefix_forwarded_once(family: str, sampling: Sampling) -> None:
    model = sharpened(tiny(family), 3.0)
    _, cost, plain = both(model, requests(2, 6, budget=36), sampling)
    assert cost.decoded == plain.decoded
    assert cost.prefilled == plain.prefilled


@pytest.mark.usefixtures("sharing")
def test_completions_of_many_blocks() -> None:
    model = sharpened(endless(), 6.0)
    found, cost, plain = both(model, requests(1, 12, budget=70), Sampling(0.5))
    lengths = [len(sample.token_ids) for samples in found for sample in samples]
    assert max(lengths) > 4 * BLOCK
    assert cost.decoded == plain.decoded < 0.8 * sum(lengths)


@pytest.mark.usefixtures("sharing")
@pytest.mark.parametrize("budgets", [(1, 20), (BLOCK, BLOCK + 1), (40, 3)])
def test_unequal_budgets_on_one_context(budgets: tuple[int, int]) -> None:
    model = sharpened(tiny(), 4.0)
    keys = tuple(Key.of(4).at(i) for i in range(5))
    both(model, [SampleRequest(token_array([5, 9]), keys, budget) for budget in budgets], Sampling(0.4))


@pytest.mark.usefixtures("sharing")
def test_more_rows_than_there_is_room_for_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("creditree.engines.static.shared._FEWEST_ROWS", 2)
    monkeypatch.setattr("creditree.engines.static.grid._SHORTEST", 4)
    model = tiny()
    engine = static_engine(model)
    _, cost, plain = both(model, requests(5, 9, budget=24), Sampling(1.0), engine)  # 35 completions, hardly one shared
    grids = [grid for grid in decoder_of(engine).steps.grids if grid.shared]
    assert cost.decoded == plain.decoded
    # of 40 members of 24 tokens: 40 * 24 / (32 + 16) = 20 rows at most, of 32 for context and completion and 16 of a
    # block; and a power of two
    assert max(grid.rows for grid in grids) == 16 < 35


@pytest.mark.usefixtures("sharing")
def test_the_store_and_forks_after_it() -> None:
    model = sharpened(tiny(), 3.0)
    ours, theirs = static_engine(model, keep_layer=2), torch_engine(model, keep_layer=2)
    asked = requests(2, 5, budget=30)
    found, _ = ours.sample(asked, Sampling(0.5))
    plain, _ = theirs.sample(asked, Sampling(0.5))
    assert ours.store.used == theirs.store.used
    forks = []
    for request, samples, others in zip(asked, found, plain, strict=True):
        sequences = same_trunk(request, (ours, samples), (theirs, others))
        cut = len(sequences[0]) // 2 + 1
        forks.append(SampleRequest(sequences[0][:cut], tuple(Key.of(9).at(i) for i in range(4)), 20))
    again, cost = ours.sample(forks, Sampling(0.5))
    assert cost.prefilled == 0
    assert_same(again, torch_engine(model).sample(forks, Sampling(0.5))[0])


@pytest.mark.usefixtures("sharing")
def test_few_steps_are_recorded() -> None:
    """Rows double from 8 on: of 6 contexts and up to 18 rows, grids of 8, 16 and 32 rows at most."""
    model = endless()
    engine = static_engine(model)
    recorder = decoder_of(engine).recorder = Recorder(torch.device("cpu"), graphs=StrictGraphs())
    asked = [SampleRequest(token_array([5 + p, 9]), tuple(Key.of(p).at(i) for i in range(3)), 36) for p in range(6)]
    for _ in range(2):
        engine.forget()
        _, cost, _ = both(model, asked, Sampling(0.7), engine)
        assert cost.eager == 0
    assert 0 < recorder.captured <= 3
    assert cost.captures == 0


class Clock:
    """Seconds that a script says: each pair of looks is one call apart."""

    def __init__(self, calls: Sequence[float]) -> None:
        self.times = [time for index, spent in enumerate(calls) for time in (100.0 * index, 100.0 * index + spent)]

    def __call__(self) -> float:
        return self.times.pop(0)


@pytest.mark.parametrize(
    ("calls", "ways"),
    [
        ((4.0, 1.0, 1.0), ["apart", "shared", "shared"]),
        ((1.0, 4.0, 1.0), ["apart", "shared", "apart"]),
    ],
)
def test_the_faster_way_is_taken_once_both_are_known(calls: tuple[float, ...], ways: list[str]) -> None:
    model = sharpened(tiny(), 8.0)
    engine = static_engine(model)
    decoder = decoder_of(engine)
    decoder._clock = Clock(calls)
    taken = []
    for _ in calls:
        engine.forget()
        engine.sample(requests(1, 8, budget=30), Sampling(0.3))
        last = decoder.steps.grids[-1]
        taken.append("shared" if last.shared else "apart")
    assert taken == ways


def test_where_nothing_is_shared_rows_stay_apart() -> None:
    assert not DecodingPace(different=0.6, apart=1.0).shares
    assert not DecodingPace(different=0.1).shares  # nothing to compare with yet
    assert DecodingPace(different=0.4, apart=1.0).shares
    model = endless()
    engine = static_engine(model)
    for _ in range(2):
        engine.forget()
        engine.sample(requests(2, 8, budget=20), Sampling(1.0))
    assert not any(grid.shared for grid in decoder_of(engine).steps.grids)
