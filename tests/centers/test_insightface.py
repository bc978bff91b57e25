"""Centres saved by insightface's trainer: any number of its ranks into any of ours."""

from __future__ import annotations

import pytest
import torch

from frcore.centers.insightface import insightface_centers
from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.optimizer import CentersSGD

CLASSES, DIM = 11, 4


def split(weight_CD, ranks):
    """The classes of each rank as its partial_fc_v2.py says: ⌊C/G⌋, the first C mod G one more."""
    sizes = [CLASSES // ranks + (rank < CLASSES % ranks) for rank in range(ranks)]
    return weight_CD.split(sizes)


def write(folder, weight_CD, ranks, *, old=False):
    for rank, part in enumerate(split(weight_CD, ranks)):
        state = {"weight": part.clone()}
        if old:
            torch.save(state, folder / f"softmax_fc_gpu_{rank}.pt")
            continue
        torch.save(
            {
                "epoch": 3,
                "global_step": 12,
                "state_dict_backbone": {"conv1.weight": torch.zeros(2)},
                "state_dict_softmax_fc": state,
                "state_optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
                "state_lr_scheduler": {"last_epoch": 12},
            },
            folder / f"checkpoint_gpu_{rank}.pt",
        )


@pytest.mark.parametrize("ranks", [1, 2, 3, 11])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("format_", ["fp32", "split"])
def test_any_number_of_ranks(ranks, old, format_, tmp_path):
    weight_CD = torch.randn(CLASSES, DIM)
    write(tmp_path, weight_CD, ranks, old=old)
    classifier = Classifier(CLASSES, DIM, head="arcface", backend="streamed", center_format=format_)
    CentersSGD(classifier, lr=0.1)
    classifier.load_centers(insightface_centers(tmp_path))
    assert torch.equal(classifier.read_centers(), weight_CD)


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (3, 9), (9, 11), (11, 11)])
def test_a_rank_keeps_its_own_classes(start, stop, tmp_path):
    weight_CD = torch.randn(CLASSES, DIM)
    write(tmp_path, weight_CD, 3)
    classifier = Classifier(CLASSES, DIM, head="arcface")
    classifier.centers = torch.nn.Parameter(torch.zeros(stop - start, DIM))
    classifier.shard.start, classifier.shard.stop = start, stop
    classifier.load_centers(insightface_centers(tmp_path))
    assert torch.equal(classifier.centers, weight_CD[start:stop])


def test_what_does_not_fit_is_refused(tmp_path):
    classifier = Classifier(CLASSES, DIM, head="arcface")
    with pytest.raises(UserError, match=r"none of checkpoint_gpu_<rank>\.pt"):
        classifier.load_centers(insightface_centers(tmp_path))
    write(tmp_path, torch.randn(CLASSES, DIM), 3)
    (tmp_path / "checkpoint_gpu_1.pt").rename(tmp_path / "kept")
    with pytest.raises(UserError, match=r"not checkpoint_gpu_1\.pt"):
        classifier.load_centers(insightface_centers(tmp_path))
    (tmp_path / "checkpoint_gpu_1.pt").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"checkpoint_gpu_1\.pt cannot be read"):
        classifier.load_centers(insightface_centers(tmp_path))
    torch.save({"state_dict_backbone": {}}, tmp_path / "checkpoint_gpu_1.pt")
    with pytest.raises(UserError, match="has no class centres"):
        classifier.load_centers(insightface_centers(tmp_path))
    with pytest.raises(UserError, match="10 class centres for a classifier of 11"):
        classifier.load_centers([torch.zeros(10, DIM)])
    with pytest.raises(UserError, match="of dimension 4"):
        classifier.load_centers([torch.zeros(CLASSES, DIM + 1)])


def test_a_file_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (exit, ())

    torch.save({"weight": Evil()}, tmp_path / "softmax_fc_gpu_0.pt")
    with pytest.raises(UserError, match="cannot be read"):
        next(insightface_centers(tmp_path))
