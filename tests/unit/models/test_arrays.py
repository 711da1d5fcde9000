"""Arrays on their way to a device."""

import numpy as np
import pytest
import torch

from creditree.models.arrays import on_device

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("array", [np.arange(5), np.array([True, False]), np.zeros((0, 3), dtype=np.float32)])
def test_a_tensor_has_the_numbers_and_the_type_of_its_array(device: str, array: np.ndarray) -> None:
    found = on_device(array, torch.device(device))
    assert found.device.type == device
    assert found.cpu().numpy().dtype == array.dtype
    np.testing.assert_array_equal(found.cpu().numpy(), array)
