"""Which huge pages weights lie on, and that moving them there changes nothing."""

import torch

from creditree.engines.native.pages import PAGE, gather, pages_of

EIGHTH = PAGE // 8


def test_pages_that_an_area_fills_are_named_and_those_at_its_ends_if_it_fills_an_eighth() -> None:
    """From an eighth before page 1 to an eighth of page 3, and from a byte less to a byte less."""
    assert pages_of([(PAGE - EIGHTH, 2 * PAGE + 2 * EIGHTH)]) == [0, PAGE, 2 * PAGE, 3 * PAGE]
    assert pages_of([(PAGE - EIGHTH + 1, 2 * PAGE + 2 * EIGHTH - 2)]) == [PAGE, 2 * PAGE]


def test_small_areas_fill_a_page_together_in_any_order_and_over_gaps() -> None:
    half = EIGHTH // 2
    assert pages_of([(5 * PAGE + 6 * half, half), (5 * PAGE, half)]) == [5 * PAGE]
    assert pages_of([(5 * PAGE + 6 * half, half), (6 * PAGE, half)]) == []


def test_tensors_keep_their_values_and_places_and_so_does_what_lies_between() -> None:
    room = torch.arange(2 * PAGE, dtype=torch.int32)
    tensors = [room[PAGE // 8 : PAGE], room[PAGE + PAGE // 8 :], torch.ones(5), torch.empty(0)]
    places = [tensor.data_ptr() for tensor in tensors]
    gather(tensors)
    assert [tensor.data_ptr() for tensor in tensors] == places
    assert torch.equal(room, torch.arange(2 * PAGE, dtype=torch.int32))
    assert torch.equal(tensors[2], torch.ones(5))
