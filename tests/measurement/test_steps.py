from __future__ import annotations

import pytest
import torch

from frcore.errors import UserError
from frcore.loss.inputs import operands_of
from frcore.measurement.steps import INPUT_SETS, TARGET_COSINE, TrainingStep, clustered_embeddings
from frcore.study.expansion import MeasurementSpec


def spec(**changes) -> MeasurementSpec:
    measurement = {"identities": [40], "batch_size": 8, "dim": 16, **changes.pop("measurement", {})}
    return MeasurementSpec.model_validate(
        {
            "head": "cosface",
            "sampler": "full",
            "image": {"size": 16, "alignment": "none"},
            "measurement": measurement,
            **changes,
        }
    )


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_embeddings_lie_around_their_class_directions_with_norms_of_a_batchnorm():
    generator = torch.Generator().manual_seed(3)
    center_CD = torch.randn(50, 256, generator=generator, dtype=torch.float64)
    label_N = torch.arange(50).repeat(4)
    embedding_ND = clustered_embeddings(center_CD, label_N, generator=generator)
    cosine = torch.cosine_similarity(embedding_ND, center_CD[label_N])
    torch.testing.assert_close(cosine, torch.full_like(cosine, TARGET_COSINE))
    norm = embedding_ND.norm(dim=1)
    assert abs(norm.mean() / 16 - 1) < 0.03
    assert 0.05 < norm.std() / 16 < 0.15
    # Two faces of one identity: the product of their cosines, as their noises are independent.
    pair = torch.cosine_similarity(embedding_ND[:50], embedding_ND[50:100])
    assert abs(pair.mean() - TARGET_COSINE**2) < 0.05


def test_a_call_is_one_step_of_sgd_on_the_centres():
    step = TrainingStep(spec(head={"name": "normface", "scale": 16}), 40)
    before_CD = step.classifier.centers.detach().clone()
    batch = step.batches[0]
    step()
    # Again in float64, by torch's own loss and optimiser.
    center_CD = before_CD.double().requires_grad_()
    sgd = torch.optim.SGD([center_CD], lr=0.1, momentum=0.9, weight_decay=5e-4)
    normalize = torch.nn.functional.normalize
    cosine_NC = normalize(batch.embedding_ND.double()) @ normalize(center_CD).T
    torch.nn.functional.cross_entropy(16 * cosine_NC, batch.label_N).backward()
    sgd.step()
    moved = step.classifier.centers.detach() - before_CD
    expected = center_CD.detach() - before_CD.double()
    assert (moved.double() - expected).norm() / expected.norm() < 1e-4


def test_input_sets_differ_and_take_turns(monkeypatch):
    step = TrainingStep(spec(), 40)
    used = []
    monkeypatch.setattr(
        step, "_embed", lambda batch: used.append(batch) or batch.embedding_ND.requires_grad_()
    )
    for _ in range(INPUT_SETS + 1):
        step()
    assert len({batch.embedding_ND.data_ptr() for batch in used}) == INPUT_SETS
    assert used[0] is used[-1]
    assert not torch.equal(used[0].embedding_ND, used[1].embedding_ND)


def test_every_step_differentiates_the_embeddings_anew(monkeypatch):
    step = TrainingStep(spec(), 40)
    leaves = []
    embed = step._embed
    monkeypatch.setattr(step, "_embed", lambda batch: leaves.append(embed(batch)) or leaves[-1])
    for _ in range(INPUT_SETS + 1):
        step()
    assert all(leaf.grad is not None and leaf.grad.norm() > 0 for leaf in leaves)
    assert len({id(leaf) for leaf in leaves}) == len(leaves)


@pytest.mark.parametrize("size", [5, 8, 20, 0])
def test_a_queue_is_full_before_the_first_step(size):
    step = TrainingStep(spec(sampler={"name": "broadface", "size": size}), 40)
    rows = step.classifier.sampler.rows(step.classifier.read_centers)
    assert (0 if rows is None else len(rows.label_Q)) == size


def test_a_warm_up_is_over_before_the_first_step():
    step = TrainingStep(spec(sampler={"name": "broadface", "size": 6, "warmup": 9}), 40)
    assert len(step.classifier.sampler.rows(step.classifier.read_centers).label_Q) == 6


@pytest.mark.parametrize("backbone", ["tiny", "mobilefacenet"])
def test_one_image_is_no_batch_for_batch_normalisation(backbone):
    step = TrainingStep(spec(measurement={"backbone": backbone, "batch_size": 1}), 40)
    with pytest.raises(UserError, match=r"measurement\.batch_size is 1, .* set it to 2 or more"):
        step()
    TrainingStep(spec(measurement={"batch_size": 1}), 40)()  # of which there is none here


def test_in_words_what_is_timed():
    words = TrainingStep(spec(), 40).inside_timer
    assert "optimiser of the centres" in words
    assert "no backbone" in words


def test_with_a_backbone_it_is_trained_too():
    given = spec(measurement={"backbone": "tiny"})
    step = TrainingStep(given, 40)
    before = [p.detach().clone() for p in step.backbone.parameters()]
    step()
    moved = [not torch.equal(a, b) for a, b in zip(before, step.backbone.parameters(), strict=True)]
    assert any(moved)
    assert step.classifier.centers.shape[1] == step.backbone.dim
    assert "backbone forward and backward in fp32" in step.inside_timer


def test_split_centres_are_measured_as_they_are_trained():
    """The first step moves both halves as it moves whole centres with the same gradient."""
    given = {"center_format": "split", "backend": "streamed"}
    split = TrainingStep(spec(measurement=given), 40)
    high_CD, low_CD = split.classifier.centers, split.classifier.center_low_CD
    assert (high_CD.dtype, low_CD.dtype) == (torch.bfloat16, torch.int16)
    whole = TrainingStep(spec(measurement={"backend": "streamed"}), 40)
    for ours, theirs in zip(split.batches, whole.batches, strict=True):
        assert torch.equal(ours.embedding_ND, theirs.embedding_ND)
    start_CD = whole.classifier.read_centers().clone()
    assert torch.equal(split.classifier.read_centers(), start_CD)
    for step in (split, whole):
        step()
    moved_CD = whole.classifier.read_centers() - start_CD
    gap_CD = split.classifier.read_centers() - whole.classifier.read_centers()
    # Its loss reads the centres in bfloat16: 2⁻⁹ of each entry.
    assert 0 < gap_CD.norm() < 0.02 * moved_CD.norm()


def test_split_centres_on_a_cpu_are_streamed_at_any_size():
    step = TrainingStep(spec(measurement={"center_format": "split"}), 40)
    step()
    assert step.classifier.backend_name == "streamed"


@pytest.mark.parametrize(
    ("backend", "asked", "operands"),
    [("dense", None, "fp32"), ("streamed", None, "fp32"), ("streamed", "bf16", "bf16"),
     ("triton", None, "fp32"), ("triton", "bf16", "bf16")],
)  # fmt: skip
def test_a_row_says_what_products_were_computed_from(backend, asked, operands):
    """The backend's own precision is resolved, and the words follow it."""
    if backend == "triton":
        pytest.importorskip("triton", minversion="3.4")
    given = spec(measurement={"backend": backend, "loss_precision": asked, "batch_size": 4})
    step = TrainingStep(given, 40)
    step()
    assert step.classifier.operands == operands
    assert (f"from {operands} operands" in step.inside_timer) == (operands != "fp32")
    assert "head and loss in fp32" in step.inside_timer


def test_tf32_is_what_torch_was_told(monkeypatch):
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        gpu, cpu = torch.empty(2, 2, device="cuda"), torch.empty(2, 2)
    assert operands_of(None, gpu) == "fp32"
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    found = [operands_of(None, gpu), operands_of("bf16", gpu), operands_of(None, cpu)]
    assert found == ["tf32", "bf16", "fp32"]
    assert operands_of("fp32", cpu.double()) == "fp64"
