"""What is chosen for a limit fits it, and a little more does not."""

from dataclasses import replace

import pytest

from creditree.models.shapes import PUBLIC_SHAPES
from creditree.plan.fit import ANY, CARDS, GB, PRECISIONS, Free, cards, choose, largest_group, largest_length, least
from creditree.plan.prediction import predict
from creditree.plan.workload import Workload

WORK = Workload(PUBLIC_SHAPES["Qwen/Qwen2-0.5B"], "float32", tuple(range(16, 24)), 80, 200, 16, evaluation_problems=64)
FIXED = Free(micro_batch_tokens=False, max_rows=False, stored_tokens=False)


def test_without_pressure_nothing_is_reduced() -> None:
    found = choose(WORK, 80 * GB)
    assert found is not None
    assert (found.max_rows, found.micro_batch_tokens, found.stored_tokens) == (512, 1024, None)
    on_gpu = choose(replace(WORK, on_host=False), 80 * GB)
    assert on_gpu is not None
    assert on_gpu.micro_batch_tokens == 16384


@pytest.mark.parametrize("limit", [2_400_000_000, 2_600_000_000, 3 * GB, 4 * GB])
def test_what_is_chosen_fits(limit: int) -> None:
    found = choose(WORK, limit)
    assert found is not None
    assert predict(found).total <= limit


def test_less_than_the_least_does_not_fit() -> None:
    needed = least(WORK).total
    assert choose(WORK, needed) is not None
    assert choose(WORK, needed - 1) is None


def test_what_the_user_set_is_not_chosen() -> None:
    found = choose(WORK, 80 * GB, Free(micro_batch_tokens=False))
    assert found is not None
    assert found.micro_batch_tokens == WORK.micro_batch_tokens
    set_ = replace(WORK, max_rows=40, micro_batch_tokens=100)
    assert choose(set_, 80 * GB, FIXED) == set_


def test_the_largest_fits_and_one_more_does_not() -> None:
    limit = 4 * GB
    group, length = largest_group(WORK, limit, FIXED), largest_length(WORK, limit, FIXED)
    assert group is not None
    assert length is not None
    assert predict(replace(WORK, group=group)).total <= limit < predict(replace(WORK, group=group + 1)).total
    assert predict(replace(WORK, max_new_tokens=length)).total <= limit
    assert predict(replace(WORK, max_new_tokens=length + 1)).total > limit


def test_nothing_is_largest_where_the_weights_do_not_fit() -> None:
    assert largest_group(WORK, GB) is None
    assert largest_length(WORK, GB) is None


def test_pieces_of_any_group_fit_where_one_does() -> None:
    assert largest_group(WORK, 3 * GB) == ANY


def test_the_table_has_every_card_and_precision() -> None:
    table = cards(WORK)
    assert [(card.memory // GB, card.dtype) for card in table] == [(c, dtype) for dtype in PRECISIONS for c in CARDS]
    for card in table:
        assert card.fits == (card.least <= card.memory)
    fits = {dtype: sum(card.fits for card in table if card.dtype == dtype) for dtype in PRECISIONS}
    assert fits["float32"] <= fits["bfloat16"] <= fits["int8"] <= fits["nf4"]
