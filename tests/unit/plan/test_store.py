"""The predicted room of the store is the room that the engine takes, to the slot."""

from dataclasses import replace

import pytest
import torch

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.models.load import Model
from creditree.models.random_weights import byte_tokenizer, random_model
from creditree.models.shapes import Shape
from creditree.models.transformer import Transformer
from creditree.plan.store import EMPTY, EngineCall, largest_piece, room_of, slot_bytes, training_calls
from creditree.plan.workload import Workload
from creditree.rng import Key
from creditree.tree import token_array
from tests.each_once import each_once, first_of

SHAPE = Shape(2, 32, 4, 2, 8, 48, 4096, 4096, qkv_bias=True)
WORK = Workload(SHAPE, "float32", (1,), 12, 40, 30, problems=2, native=False)


@pytest.fixture(scope="module")
def model() -> Model:
    """A model whose completions part at once, over many words; it has no end of sequence."""
    return Model("random", Transformer(random_model(SHAPE, torch.float32)), byte_tokenizer(SHAPE.vocab_size))


def sampled(engine: InProcessEngine, work: Workload) -> None:
    requests = [
        SampleRequest(
            token_array([1 + problem, *range(2, 1 + work.prompt_tokens)]),
            tuple(Key.of(0).at(problem, index) for index in range(work.group)),
            work.max_new_tokens,
        )
        for problem in range(work.problems)
    ]
    engine.sample(requests, Sampling(1.0))


@pytest.mark.parametrize(("max_rows", "native"), each_once([512, 60, 25, 7], [False, True]))
def test_the_room_is_predicted(model: Model, max_rows: int, native: bool) -> None:
    work = replace(WORK, max_rows=max_rows)
    engine = InProcessEngine(model, max_rows, keep_layer=1, native=native)
    sampled(engine, work)
    work = replace(work, native=native and engine._decoder() is not engine._torch)
    room = room_of(work, training_calls(work, 0))
    # two completions in a hundred begin with the same token among 4096: a few slots are shared
    assert engine.store.used == pytest.approx(room.used, rel=0.02)
    assert engine.store.capacity == pytest.approx(room.capacity, rel=0.02)
    held = [*engine.store.kv, engine.store.last_hidden]
    held += [engine.store.trunk_hidden] if engine.store.trunk_hidden is not None else []
    assert sum(tensor.nbytes for tensor in held) + 13 * engine.store.capacity == engine.store.capacity * slot_bytes(
        work
    )


@pytest.mark.parametrize("max_rows", first_of([60, 25, 7], 2))
def test_a_limit_is_kept_and_changes_no_completion(max_rows: int) -> None:
    exact = Model("random", Transformer(random_model(SHAPE, torch.float64)), byte_tokenizer(SHAPE.vocab_size))
    work = replace(WORK, max_rows=max_rows)
    limit = 1 + largest_piece(work)
    engine = InProcessEngine(exact, max_rows, native=False, stored_tokens=limit)
    request = SampleRequest(token_array(range(1, 13)), tuple(Key.of(1).at(index) for index in range(60)), 40)
    (limited,), _ = engine.sample([request], Sampling(1.0))
    assert engine.store.capacity <= limit
    (free,), _ = InProcessEngine(exact, native=False).sample([request], Sampling(1.0))
    for ours, theirs in zip(limited, free, strict=True):
        assert ours.token_ids.tolist() == theirs.token_ids.tolist()
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-10)


def test_pieces_hold_all_completions() -> None:
    call = EngineCall(contexts=3, completions=12, stored=0, new=5, budget=7)
    pieces = list(call.pieces(5))
    assert [piece.completions for piece in pieces] == [5, 5, 2]
    assert [piece.contexts for piece in pieces] == [2, 2, 1]
    assert sum(piece.contexts - piece.again for piece in pieces) == 3


def test_by_hand() -> None:
    # 2 layers x 2 x 16 numbers and 2 x 32 of states, 4 bytes each, and 13 of indices
    assert slot_bytes(WORK) == 4 * (2 * 2 * 16 + 2 * 32) + 13
    # root, 2 prompts of 12, and 60 completions of 39 stored tokens
    assert room_of(WORK, training_calls(WORK, 0), EMPTY).used == 1 + 2 * 12 + 60 * 39
