"""Centres in split format: exact where float32 is, close where the momentum is rounded, leaner."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from frcore.centers import storage
from frcore.centers.gradient import CentersGradient, GradientPart
from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.loss.deferred import FactoredTile
from frcore.optimizer import CentersSGD, build_centers_optimizer
from frcore.samplers import build_sampler
from frcore.study.parts import Training

CLASSES, DIM = 60, 16
UPDATES = ["full", "sparse", "lazy", "dense"]
SOME_UPDATES = [
    "full",
    "lazy",
    *(pytest.param(update, marks=pytest.mark.slow) for update in ("sparse", "dense")),
]


def make(center_format="split", update="full", head="cosface", **settings):
    sampler = "full" if update == "full" else build_sampler("partial_fc", rate=0.3, update=update)
    settings = {"center_std": 0.05, "backend": "streamed", **settings}
    return Classifier(
        CLASSES, DIM, head=head, sampler=sampler, center_format=center_format, **settings
    )


def centers_of(classifier):
    return classifier.read_centers().clone()


@dataclass
class Fed(GradientPart):
    """A gradient that a test makes up: of the rows `index_A`, in tiles of `tile` rows."""

    weight_CM: torch.Tensor
    row_MD: torch.Tensor
    shrink_C1: torch.Tensor
    index_A: torch.Tensor | None
    tile: int

    @property
    def active(self):
        return self.index_A

    def read(self, index):
        raise AssertionError("a step reads no centres of a gradient that it moves by")

    scaled = is_finite = read

    def tiles(self):
        rows = len(self.weight_CM) if self.index_A is None else len(self.index_A)
        for part in storage.tiles(rows, self.tile):
            index = part if self.index_A is None else self.index_A[part]
            yield FactoredTile(index, self.weight_CM[index], self.row_MD, self.shrink_C1[index])


def give(classifier, part):
    classifier.centers.grad = CentersGradient([part], classifier.centers)


def feed(classifier, sgd, steps, tile):
    """Move by made-up gradients: the same for any classifier, whatever its centres are."""
    generator = torch.Generator().manual_seed(4)
    for _ in range(steps):
        active = None
        if classifier.sampler.leaves_out:
            active = torch.randperm(CLASSES, generator=generator)[:20].sort().values
        sgd.zero_grad()
        # What a forward does before it reads the centres.
        classifier.synchronize(active)
        weight_CM = torch.randn(CLASSES, 5, generator=generator)
        row_MD = torch.randn(5, DIM, generator=generator)
        shrink_C1 = torch.rand(CLASSES, 1, generator=generator)
        give(classifier, Fed(weight_CM, row_MD, shrink_C1, active, tile))
        sgd.step()


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("decay", [0.0, 5e-2])
@pytest.mark.parametrize("update", UPDATES)
def test_without_momentum_split_centres_are_float32_centres_exactly(update, decay):
    """25 steps of equal gradients, all update modes: every bit of every centre."""
    pair = [make(kind, update) for kind in ("fp32", "split")]
    assert torch.equal(pair[0].centers, centers_of(pair[1]))
    for classifier in pair:
        before = centers_of(classifier)
        sgd = CentersSGD(classifier, lr=0.03, momentum=0.0, weight_decay=decay)
        feed(classifier, sgd, 25, tile=7)
        assert (centers_of(classifier) - before).abs().amax(1).gt(0.1).all()
    assert torch.equal(centers_of(pair[0]), centers_of(pair[1]))
    # And the loss reads nothing but their rounding.
    assert_close(pair[1].centers.float(), centers_of(pair[0]), rtol=2.0**-8, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("update", SOME_UPDATES)
def test_rounded_momentum_stays_close_and_has_no_bias(update):
    """25 steps of equal gradients. Measured: 0.3 to 0.45 % of the way, and a quarter of that, 0.07
    to 0.1 %, in the mean over 16 seeds, as √16 says it must be."""
    exact = make("fp32", update)
    start = centers_of(exact)
    feed(exact, CentersSGD(exact, lr=0.03, weight_decay=5e-3), 25, tile=7)
    way = centers_of(exact) - start
    errors = []
    for seed in range(16):
        classifier = make("split", update)
        feed(classifier, CentersSGD(classifier, lr=0.03, weight_decay=5e-3, seed=seed), 25, tile=7)
        errors.append(centers_of(classifier) - centers_of(exact))
        assert 0 < errors[-1].norm() < 6e-3 * way.norm()
    assert torch.stack(errors).mean(0).norm() < 1.5e-3 * way.norm()


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("update", UPDATES)
def test_the_result_depends_on_the_seed_and_not_on_tiles(update, monkeypatch):
    results = []
    for seed, tile in ((1, 7), (1, 60), (1, 1), (2, 7)):
        monkeypatch.setattr(storage, "TILE", 2 * tile)
        classifier = make("split", update)
        sgd = CentersSGD(classifier, lr=0.03, weight_decay=5e-3, seed=seed)
        # Gradients along the centres alone: a matrix product of another shape may differ in its
        # last bit.
        generator = torch.Generator().manual_seed(4)
        for _ in range(6):
            active = None
            if update != "full":
                active = torch.randperm(CLASSES, generator=generator)[:20].sort().values
            classifier.synchronize(active)
            shrink_C1 = torch.randn(CLASSES, 1, generator=generator)
            row_1D = torch.ones(1, DIM)
            give(classifier, Fed(torch.zeros(CLASSES, 1), row_1D, shrink_C1, active, tile))
            sgd.step()
        results.append(centers_of(classifier))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert not torch.equal(results[0], results[3])


def train(classifier, steps, *, seed=0, momentum=0.9, sgd=None, first=0):
    """A linear encoder and the centres on noisy prototypes; gives the losses."""
    generator = torch.Generator().manual_seed(1)
    prototype_CK = torch.randn(CLASSES, 24, generator=generator)
    encoder = nn.Linear(24, DIM, bias=False)
    encoder.weight.data = torch.randn(DIM, 24, generator=generator) / 5
    sgd = sgd or CentersSGD(classifier, lr=0.1, momentum=momentum, seed=seed)
    encoder_sgd = torch.optim.SGD(encoder.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for step in range(first + steps):
        labels = torch.randint(CLASSES, (32,), generator=generator)
        x = prototype_CK[labels] + 0.5 * torch.randn(32, 24, generator=generator)
        if step < first:
            continue
        sgd.zero_grad()
        encoder_sgd.zero_grad()
        output = classifier(encoder(x), labels)
        output.loss.backward()
        sgd.step()
        encoder_sgd.step()
        losses.append(output.loss.item())
    return torch.tensor(losses)


@pytest.mark.slow
@pytest.mark.parametrize("update", SOME_UPDATES)
def test_training_goes_the_same_way(update):
    """25 real steps: the centres end within 1.5 % of the way they went (measured: 0.5 to 0.6 %).
    100 steps reach the same loss to 1 % (measured: 0.1 to 0.2 %)."""
    pair = [make(kind, update) for kind in ("fp32", "split")]
    start = centers_of(pair[0])
    for classifier in pair:
        train(classifier, 25)
    fp32, split = (centers_of(classifier) for classifier in pair)
    assert (split - fp32).norm() < 0.015 * (fp32 - start).norm()
    long = [train(make(kind, update), 100) for kind in ("fp32", "split")]
    assert long[0][-20:].mean() < 0.2 * long[0][:5].mean()
    assert long[1][-20:].mean() == pytest.approx(long[0][-20:].mean().item(), rel=0.01)


@pytest.mark.parametrize("head", ["cosface", "adacos", "curricularface", "sphereface2", "softmax"])
def test_what_reading_the_high_half_alone_costs(head):
    """At dimension 512 and scale 64: the loss within 5e-3 of itself, gradients within 0.5 %."""
    results = []
    for kind in ("fp32", "split"):
        classifier = Classifier(
            1000, 512, head=head, backend="streamed", center_format=kind, seed=3
        ).eval()
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(1000, (32,), generator=generator)
        x = torch.randn(32, 512, generator=generator)
        x += 40 * torch.linspace(0, 1, 32)[:, None] * classifier.read_centers(labels)
        x = x.requires_grad_()
        output = classifier(x, labels)
        output.loss.backward()
        results.append((output.row_loss_N, x.grad))
    (loss, gradient), (split_loss, split_gradient) = results
    assert_close(split_loss, loss, rtol=5e-3, atol=1e-5)
    assert 0 < (split_gradient - gradient).norm() < 5e-3 * gradient.norm()


def test_accumulated_batches_with_columns_of_their_own():
    """Their gradients share no tiles: the rows of either move, by both."""
    pair = [make(kind, "sparse") for kind in ("fp32", "split")]
    moved = []
    for classifier in pair:
        sgd = CentersSGD(classifier, lr=0.1, momentum=0.0)
        generator = torch.Generator().manual_seed(1)
        before = centers_of(classifier)
        for _ in range(2):
            x = torch.randn(4, DIM, generator=generator)
            classifier(x, torch.randint(CLASSES, (4,), generator=generator)).loss.backward()
        sgd.step()
        moved.append(centers_of(classifier) - before)
        assert classifier.centers.grad.spent
    rows = [set(way.abs().sum(1).nonzero().flatten().tolist()) for way in moved]
    assert rows[0] == rows[1]
    assert len(rows[0]) > 18  # more than one batch's
    assert (moved[1] - moved[0]).norm() < 0.02 * moved[0].norm()


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("update", UPDATES)
def test_resume_through_a_file(update, momentum):
    """The low halves, the momentum and the state of its rounding are saved; bit for bit."""
    whole = make("split", update)
    sgd = CentersSGD(whole, lr=0.1, momentum=momentum, seed=7)
    train(whole, 9, sgd=sgd)
    file = io.BytesIO()
    torch.save({"classifier": whole.state_dict(), "sgd": sgd.state_dict()}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    resumed = make("split", update, seed=5)
    resumed_sgd = CentersSGD(resumed, lr=1.0, momentum=momentum, seed=1)
    train(resumed, 2, sgd=resumed_sgd)  # of no consequence
    resumed.load_state_dict(loaded["classifier"])
    resumed_sgd.load_state_dict(loaded["sgd"])
    losses = train(whole, 9, sgd=sgd, first=9)
    assert torch.equal(train(resumed, 9, sgd=resumed_sgd, first=9), losses)
    assert torch.equal(centers_of(resumed), centers_of(whole))


@pytest.mark.parametrize(
    ("center_format", "momentum", "update", "expected"),
    [
        ("fp32", 0.9, "full", 4096),
        ("fp32", 0.0, "full", 2048),
        ("split", 0.9, "full", 3072),
        ("split", 0.0, "full", 2048),
        ("split", 0.9, "lazy", 3072 + 4),
    ],
)
def test_bytes_per_class(center_format, momentum, update, expected):
    """At dimension 512; all tensors of the module and the optimiser with a row per class."""
    sampler = "full" if update == "full" else build_sampler("partial_fc", rate=0.3, update=update)
    classifier = Classifier(
        50, 512, head="cosface", sampler=sampler, backend="auto", center_format=center_format
    )
    sgd = CentersSGD(classifier, lr=0.1, momentum=momentum)
    assert sgd.bytes_per_class == expected
    held = [*classifier.parameters(), *classifier.buffers()]
    held += [t for t in sgd.state[classifier.centers].values() if isinstance(t, torch.Tensor)]
    total = sum(t.numel() * t.element_size() for t in held if len(t) == 50)
    assert total == 50 * (expected - 4 * (update == "lazy"))


def test_whoever_looks_sees_float32():
    plain, halves = make("fp32"), make("split")
    index = torch.tensor([5, 1, 5])
    assert torch.equal(halves.read_centers(), plain.centers)
    assert torch.equal(halves.read_centers(index), plain.centers[index])
    x, labels = torch.randn(3, DIM), torch.tensor([0, 1, 59])
    assert torch.equal(halves.negative_angles(x, labels), plain.negative_angles(x, labels))
    assert torch.equal(halves.centers, storage.split(plain.centers.detach())[0])


@pytest.mark.parametrize("sampler", ["broadface", "hard"])
def test_samplers_that_read_centres(sampler):
    """BroadFace's compensation and the search for neighbours see float32 centres."""
    if sampler == "broadface":
        built = build_sampler("broadface", size=40)
    else:
        built = build_sampler("partial_fc", rate=0.4, negatives="hard", neighbours=3, refresh=4)
    classifier = Classifier(
        CLASSES, DIM, head="cosface", sampler=built, backend="streamed", center_format="split"
    )
    losses = train(classifier, 60)
    assert losses[-10:].mean() < 0.6 * losses[:5].mean()
    seen = {t.dtype for name, t in built.named_buffers() if name.endswith("D")}
    assert torch.bfloat16 not in seen


def test_what_is_refused():
    with pytest.raises(UserError, match=r"backend 'dense' with center_format 'split'.*'auto'"):
        make("split", backend="dense")
    with pytest.raises(UserError, match=r"fused=False.*leave fused=True"):
        CentersSGD(make("split"), lr=0.1, fused=False)
    classifier = make("split")
    x, labels = torch.randn(3, DIM, requires_grad=True), torch.tensor([0, 1, 59])
    with pytest.raises(UserError, match=r"no optimiser.*CentersSGD.*build it before"):
        classifier(x, labels)
    with torch.no_grad():
        assert classifier(x, labels).loss.isfinite()
    sgd = CentersSGD(classifier, lr=0.1)
    classifier.eval()(x, labels).loss.backward()
    with pytest.raises(UserError, match=r"gradient in centers.grad.*classifier.train"):
        sgd.step()
    with pytest.raises(UserError, match=r"converted to torch.float64"):
        make("split").double().eval()(x, labels)


@pytest.mark.parametrize(("saved", "own"), [("fp32", "split"), ("split", "fp32")])
def test_a_momentum_of_the_other_format_is_refused(saved, own):
    state = CentersSGD(make(saved), lr=0.1).state_dict()
    with pytest.raises(UserError, match=rf"'{own}'; formats must agree: resume with"):
        CentersSGD(make(own), lr=0.1).load_state_dict(state)


SETTING = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("update", ["full", "dense"])
@pytest.mark.parametrize("backend", ["dense", "streamed"])
def test_torchs_own_sgd_is_the_same_optimiser(update, backend):
    """Float64, so that the order of sums does not count."""
    results = []
    for name in ("torch", "rowwise"):
        classifier = make("fp32", update, backend=backend).double()
        sgd = build_centers_optimizer(name, classifier, **SETTING)
        assert type(sgd) is (torch.optim.SGD if name == "torch" else CentersSGD)
        generator = torch.Generator().manual_seed(1)
        for _ in range(25):
            x = torch.randn(8, DIM, generator=generator, dtype=torch.float64)
            sgd.zero_grad()
            classifier(x, torch.randint(CLASSES, (8,), generator=generator)).loss.backward()
            sgd.step()
        results.append(centers_of(classifier))
    assert_close(results[1], results[0], rtol=1e-9, atol=1e-11)


def test_torchs_own_sgd_refuses_what_it_cannot_do():
    with pytest.raises(UserError, match=r"center_format 'split'.*'fp32' centres only"):
        build_centers_optimizer("torch", make("split"), **SETTING)
    for update in ("sparse", "lazy"):
        with pytest.raises(UserError, match=rf"update is '{update}'.*'dense'.*'rowwise'"):
            build_centers_optimizer("torch", make("fp32", update), **SETTING)
    everything = build_sampler("broadface", size=3, over={"name": "partial_fc", "rate": 1.0})
    classifier = Classifier(CLASSES, DIM, head="cosface", sampler=everything)
    build_centers_optimizer("torch", classifier, **SETTING)


@pytest.mark.parametrize("other", [{"backend": "dense"}, {"center_optimizer": "torch"}])
def test_a_study_refuses_the_same(other):
    settings = {"epochs": 1, "batch_size": 8, "learning_rate": 0.1}
    assert Training(**settings, center_format="split").center_optimizer == "rowwise"
    with pytest.raises(ValueError, match=r"center_format 'split' with .*; .*set .*'fp32'"):
        Training(**settings, center_format="split", **other)
