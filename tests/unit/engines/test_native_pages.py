"""Which huge pages weights fill, and that moving them there changes nothing."""

import torch

from creditree.engines.native.pages import PAGE, gather, whole_pages

GAP = 64 << 10


def test_only_pages_that_an_area_fills_are_named() -> None:
    """From half of page 0 to half of page 3: pages 1 and 2. Less than a page, or two halves of two, fill none."""
    assert whole_pages([(PAGE // 2, 3 * PAGE)]) == [(PAGE, 3 * PAGE)]
    assert whole_pages([(0, PAGE - 1), (8 * PAGE + 1, PAGE)]) == []


def test_areas_side_by_side_share_a_page_in_any_order_but_not_over_a_gap() -> None:
    halves = [(PAGE // 2 + GAP, PAGE // 2 - GAP), (0, PAGE // 2)]
    assert whole_pages(halves) == [(0, PAGE)]
    assert whole_pages([(PAGE // 2 + GAP + 1, PAGE // 2 - GAP - 1), (0, PAGE // 2)]) == []


def test_an_area_within_another_ends_nothing() -> None:
    assert whole_pages([(0, 2 * PAGE), (64, 64), (2 * PAGE, PAGE)]) == [(0, 3 * PAGE)]


def test_tensors_keep_their_values_and_places() -> None:
    tensors = [torch.arange(3 * PAGE // 4, dtype=torch.int32), torch.ones(5), torch.empty(0)]
    places = [tensor.data_ptr() for tensor in tensors]
    gather(tensors)
    assert [tensor.data_ptr() for tensor in tensors] == places
    assert torch.equal(tensors[0], torch.arange(3 * PAGE // 4, dtype=torch.int32))
    assert torch.equal(tensors[1], torch.ones(5))
