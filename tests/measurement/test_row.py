from __future__ import annotations

import pytest
import torch

from frcore.measurement.row import bytes_asked, is_out_of_memory


def test_torchs_own_message_of_a_refusal_is_understood():
    asked = 2**60
    with pytest.raises(RuntimeError) as caught:
        torch.empty(asked, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert bytes_asked(str(caught.value)) == asked


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total", 20 * 1024**2),
        ("CUDA out of memory. Tried to allocate 1.50 GiB (GPU 0; 79 GiB total", 3 * 1024**3 // 2),
        ("something else", None),
    ],
)
def test_bytes_asked(message, expected):
    assert bytes_asked(message) == expected


def test_another_error_is_not_taken_for_a_lack_of_memory():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("size mismatch"))
