"""The classifier: what it refuses, what it notes, and what survives copies and files."""

from __future__ import annotations

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from frcore.centers.gradient import union
from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads import build_head
from frcore.optimizer import CentersSGD
from frcore.samplers import build_sampler
from frcore.samplers.base import Sampler


@pytest.fixture
def classifier():
    return Classifier(10, 4, head="arcface")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1, 10]), r"label 10 in row 2 .* 0 to 9"),
        (torch.tensor([0, -1, 3]), r"label -1 in row 1 .* 0 to 9"),
        (torch.tensor([0, 255, -7]), r"label 255 in row 1"),
        (torch.tensor([0.0, 1.0, 2.0]), r"labels of type torch.float32; allowed are torch.int64"),
        (torch.tensor([True, False, True]), r"labels of type torch.bool"),
        (torch.tensor([0, 1]), r"labels of shape \(2,\) for 3 embeddings; needed is \(3,\)"),
        (torch.tensor([[0], [1], [2]]), r"labels of shape \(3, 1\)"),
        (torch.tensor(1), r"labels of shape \(\)"),
    ],
)
def test_labels_are_checked(classifier, labels, message):
    before = copy.deepcopy(classifier.state_dict())
    with pytest.raises(UserError, match=message):
        classifier(torch.ones(3, 4), labels)
    assert str(before) == str(classifier.state_dict())


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (torch.ones(3, 5), r"embeddings of shape \(3, 5\)"),
        (torch.ones(0, 4), r"embeddings of shape \(0, 4\).*drop empty batches"),
        (torch.ones(4), r"embeddings of shape \(4,\)"),
        (
            torch.ones(3, 4, dtype=torch.long),
            r"type torch.int64; .* floating-point \(N, 4\)",
        ),
    ],
)
def test_embeddings_are_checked(classifier, embeddings, message):
    with pytest.raises(UserError, match=message):
        classifier(embeddings, torch.zeros(len(embeddings), dtype=torch.long))


def test_a_head_for_other_classes_is_refused():
    with pytest.raises(UserError, match="a head for 5 classes in a classifier of 10"):
        Classifier(10, 4, head=build_head("adacos", num_classes=5))


class Forgetful(Sampler):
    """Leaves a positive out, or returns columns out of order."""

    def __init__(self, columns):
        super().__init__()
        self.fixed = torch.tensor(columns)

    def columns(self, label_M, centers):
        return self.fixed


@pytest.mark.parametrize("columns", [[1, 2, 7], [1, 2, 3, 7], [7, 5, 3, 1]])
def test_a_sampler_that_breaks_its_contract_is_refused(columns):
    """Bisection in such columns would quietly train a neighbour of the row's own class."""
    classifier = Classifier(10, 4, head="cosface", sampler=Forgetful(columns))
    with pytest.raises(UserError, match=r"leave out class \d of row \d, or are not sorted"):
        classifier(torch.ones(2, 4), torch.tensor([1, 5]))


@pytest.mark.parametrize("sampler", ["full", "partial_fc", "broadface"])
def test_int32_labels_are_the_same_labels(sampler):
    def loss(dtype):
        parameters = {"full": {}, "partial_fc": {"rate": 0.5}, "broadface": {"size": 3}}[sampler]
        classifier = Classifier(10, 4, head="cosface", sampler=build_sampler(sampler, **parameters))
        labels = torch.tensor([1, 9], dtype=dtype)
        classifier(torch.ones(2, 4), labels)
        return classifier(torch.eye(2, 4), labels).loss

    assert torch.equal(loss(torch.int32), loss(torch.int64))


def test_samplers_see_int64_labels_and_no_graph():
    """Index arithmetic of a user's own, such as label * C + k, must not overflow at 2³¹."""

    class Listener(Sampler):
        def columns(self, label_M, centers):
            assert label_M.dtype == torch.int64

        def observe(self, embedding_ND, label_N, centers):
            # Kept without care, a graph would keep a whole step's memory.
            assert not embedding_ND.requires_grad
            assert not centers(label_N).requires_grad
            assert not centers(None).requires_grad
            self.heard = True

    sampler = Listener()
    classifier = Classifier(10, 4, head="cosface", sampler=sampler)
    x = torch.ones(2, 4, requires_grad=True)
    classifier(x, torch.tensor([1, 9], dtype=torch.int32))
    assert sampler.heard


def test_float64_embeddings_take_the_type_of_the_centres(classifier):
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    output = classifier(x, torch.tensor([1, 2]))
    output.loss.backward()
    assert output.loss.dtype == torch.float32
    assert x.grad.dtype == torch.float64
    assert torch.isfinite(x.grad).all()


def test_centres_start_as_in_insightface_and_follow_the_seed():
    centers = Classifier(2000, 64, head="cosface", seed=3).centers
    assert centers.shape == (2000, 64)
    assert centers.std().item() == pytest.approx(0.01, rel=0.02)
    assert centers.mean().abs().item() < 2e-4
    assert torch.equal(Classifier(2000, 64, head="cosface", seed=3).centers, centers)
    assert not torch.equal(Classifier(2000, 64, head="cosface", seed=4).centers, centers)


def test_building_one_leaves_the_global_stream_alone():
    before = torch.get_rng_state()
    classifier = Classifier(20, 4, head="cosface", sampler=build_sampler("partial_fc", rate=0.5))
    classifier(torch.ones(1, 4), torch.tensor([0]))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "sampler",
    [
        {"name": "partial_fc", "rate": 0.5},
        {"name": "broadface", "size": 4, "over": {"name": "partial_fc", "rate": 0.5}},
    ],
)
def test_a_deep_copy_goes_on_alike_and_apart(sampler):
    original = Classifier(10, 4, head="adacos", sampler=build_sampler(**sampler))
    original(torch.ones(3, 4), torch.tensor([1, 2, 3]))
    twin = copy.deepcopy(original)
    for _ in range(2):
        x, labels = torch.randn(2, 4), torch.tensor([7, 3])
        assert torch.equal(original(x, labels).loss, twin(x, labels).loss)
        assert torch.equal(original.active, twin.active)
    with torch.no_grad():
        twin.centers.zero_()
    assert original.centers.any()


def test_state_dict_has_all_a_resume_needs_and_no_pickled_code():
    sampler = build_sampler("broadface", size=4, over={"name": "partial_fc", "rate": 0.5})
    classifier = Classifier(10, 4, head="adacos", sampler=sampler)
    classifier(torch.ones(3, 4), torch.tensor([1, 2, 3]))
    file = io.BytesIO()
    torch.save(classifier.state_dict(), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert set(loaded) == {
        "centers",
        "head.scale_value",
        "sampler.embedding_QD",
        "sampler.center_QD",
        "sampler.label_Q",
        "sampler._extra_state",
        "sampler.over._extra_state",
    }


class Scripted(Sampler):
    """Hands out the given columns, one after the other."""

    def __init__(self, *columns):
        super().__init__()
        self.queue = [None if c is None else torch.tensor(c) for c in columns]

    def columns(self, label_M, centers):
        return self.queue.pop(0)


def rows_of(classifier):
    """The rows of the table that the gradient concerns."""
    index = union(classifier.centers.grad.parts)
    return None if index is None else index.tolist()


@pytest.mark.parametrize("backend", ["dense", "streamed"])
def test_the_gradient_knows_the_rows_of_its_forwards(backend):
    """Of those that a backward pass went through, in whatever order; and of no others."""
    queue = Scripted([0, 3], [0, 5], [0, 7], [0, 2], [0, 8])
    classifier = Classifier(10, 4, head="cosface", sampler=queue, backend=backend)
    optimizer = CentersSGD(classifier, lr=0.1)
    x, labels = torch.ones(1, 4), torch.tensor([0])
    first, second = classifier(x, labels), classifier(x, labels)
    with torch.no_grad():
        classifier(x, labels)
    second.loss.backward()
    first.loss.backward()
    assert rows_of(classifier) == [0, 3, 5]
    optimizer.step()
    optimizer.zero_grad()
    classifier(x, labels)  # no backward pass
    classifier(x, labels).loss.backward()
    assert classifier.active.tolist() == [0, 8]
    assert rows_of(classifier) == [0, 8]


@pytest.mark.parametrize("columns", [([0, 3], None), (None, [0, 3])])
def test_the_gradient_is_of_all_rows_once_it_was(columns):
    sampler = Scripted(*columns)
    classifier = Classifier(10, 4, head="cosface", sampler=sampler, backend="streamed")
    CentersSGD(classifier, lr=0.1)
    for _ in range(2):
        classifier(torch.ones(1, 4), torch.tensor([0])).loss.backward()
    assert rows_of(classifier) is None


def test_negative_angles_are_those_of_the_other_classes():
    classifier = Classifier(6, 3, head="arcface")
    x, labels = torch.randn(4, 3), torch.tensor([0, 5, 2, 2])
    cosine = F.normalize(x.double()) @ F.normalize(classifier.centers.detach().double()).T
    others = [
        torch.arccos(cosine[i, k]) for i in range(4) for k in range(6) if k != labels[i].item()
    ]
    found = classifier.negative_angles(x, labels).double()
    assert_close(found, torch.stack(others), atol=1e-5, rtol=0)


def test_negative_angles_of_a_large_table_are_a_sample():
    classifier = Classifier(9000, 3, head="cosface")
    angles = classifier.negative_angles(torch.randn(100, 3), torch.zeros(100, dtype=torch.long))
    # 64 rows, every third of 9,000 classes, of which class 0 is each row's own.
    assert len(angles) == 64 * 2999


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.fast_cases(5)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("head", ["softmax", "arcface", "adacos"])
@pytest.mark.parametrize(
    "sampler",
    [
        {"name": "full"},
        {"name": "partial_fc", "rate": 0.5},
        {"name": "broadface", "size": 6, "over": {"name": "partial_fc", "rate": 0.5}},
    ],
)
def test_training_follows_the_device_and_never_waits_for_it(device, head, sampler):
    """On a GPU no operation of a step may read a value back: that would drain its work queue."""
    classifier = Classifier(40, 8, head=head, sampler=build_sampler(**sampler)).to(device)
    sgd = CentersSGD(classifier, lr=0.1)
    steps = [
        (torch.randn(4, 8, device=device), torch.randint(40, (4,), device=device)) for _ in range(4)
    ]
    for step, (x, labels) in enumerate(steps):
        if device == "cuda" and step:  # the first builds the generator and warms the libraries
            torch.cuda.set_sync_debug_mode("error")
        try:
            sgd.zero_grad()
            output = classifier(x.requires_grad_(), labels)
            output.loss.backward()
            sgd.step()
        finally:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("default")
        assert x.grad.device.type == output.loss.device.type == device
    file = io.BytesIO()
    torch.save(classifier.state_dict(), file)
    file.seek(0)
    resumed = Classifier(40, 8, head=head, sampler=build_sampler(**sampler), seed=9).to(device)
    resumed.load_state_dict(torch.load(file, map_location=device, weights_only=True))
    sgd.zero_grad()
    x, labels = steps[0]
    assert torch.equal(classifier(x, labels).loss, resumed(x, labels).loss)


@pytest.mark.gpu
def test_gpu_and_cpu_agree():
    x, labels = torch.randn(16, 8), torch.randint(100, (16,))
    on_cpu = Classifier(100, 8, head="arcface")
    on_gpu = Classifier(100, 8, head="arcface").to("cuda")
    a, b = on_cpu(x, labels), on_gpu(x.cuda(), labels.cuda())
    a.loss.backward()
    b.loss.backward()
    assert_close(b.row_loss_N.cpu(), a.row_loss_N, rtol=1e-4, atol=1e-4)
    assert_close(on_gpu.centers.grad.cpu(), on_cpu.centers.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("classes", [1, 0, -1])
def test_fewer_than_two_classes_are_refused(classes):
    with pytest.raises(UserError, match=f"a classifier of {classes} class.*; at least 2 identit"):
        Classifier(classes, 4, head="arcface")
    Classifier(2, 4, head="arcface")


def test_embeddings_without_a_dimension_are_refused():
    with pytest.raises(UserError, match="embeddings of dimension 0; give at least 1"):
        Classifier(2, 0, head="arcface")
