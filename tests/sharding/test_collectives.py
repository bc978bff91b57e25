"""What is given to the collectives, by hand; their values are proven by `test_classifier`."""

from __future__ import annotations

import pytest
import torch

from frcore.sharding import collectives
from frcore.sharding.collectives import in_equal_parts, summed_rows


def test_uneven_batches_in_equal_parts():
    x_ND = torch.tensor([[1.0, 1.5], [2.0, 2.5], [3.0, 3.5]])
    zero = [0.0, 0.0]
    found = in_equal_parts(x_ND, [2, 0, 1]).tolist()
    assert found == [[1.0, 1.5], [2.0, 2.5], zero, zero, [3.0, 3.5], zero]
    assert in_equal_parts(x_ND, [1, 1, 1]).data_ptr() == x_ND.data_ptr()
    assert in_equal_parts(x_ND.T.contiguous().T, [3]).is_contiguous()


@pytest.mark.parametrize(("rank", "own"), [(0, [2.0, 4.0]), (1, []), (2, [6.0])])
def test_a_rank_gets_its_rows_of_the_sum(monkeypatch, rank, own):
    """Three ranks with the same numbers on the first two and none on the third."""

    def reduce_scatter(received, sent, op, group):
        assert sent.is_contiguous()
        assert len(sent) == 3 * len(received)
        received.copy_((2 * sent).chunk(3)[rank])

    monkeypatch.setattr(collectives, "_reduce_scatter", reduce_scatter)
    x_N = torch.tensor([1.0, 2.0, 3.0])
    assert summed_rows(x_N, [2, 0, 1], rank, object()).tolist() == own
