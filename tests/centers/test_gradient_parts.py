"""The rows that a gradient of the centres has after arithmetic on it."""

from __future__ import annotations

import pytest
import torch

from frcore import Classifier
from frcore.centers.gradient_parts import confined
from frcore.optimizer import CentersSGD


def test_rows_are_kept_only_if_all_others_are_zero():
    active, whole_CD = torch.tensor([1, 3]), torch.zeros(5, 2)
    whole_CD[active] = 1.0
    assert torch.equal(confined(active, whole_CD), active)
    whole_CD[4, 0] = 1e-30
    assert confined(active, whole_CD) is None
    assert confined(None, whole_CD) is None


@pytest.mark.parametrize("in_place", [False, True])
def test_what_is_added_to_other_rows_moves_them(in_place: bool):
    sampler = {"name": "partial_fc", "rate": 0.5}
    classifier = Classifier(8, 4, head="cosface", sampler=sampler)
    optimizer = CentersSGD(classifier, lr=1.0)
    labels = torch.tensor([0, 1])
    classifier(
        torch.randn(2, 4, generator=torch.Generator().manual_seed(0)), labels
    ).loss.backward()
    rest = [c for c in range(8) if c not in classifier.active.tolist()]
    assert rest
    before_CD, more_CD = classifier.read_centers().clone(), torch.full((8, 4), 0.25)
    gradient = classifier.centers.grad
    if in_place:
        gradient.add_(more_CD)
    else:
        classifier.centers.grad = gradient + more_CD
    optimizer.step()
    torch.testing.assert_close(classifier.read_centers()[rest], before_CD[rest] - 0.25)
