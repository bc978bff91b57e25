import threading

import numpy as np
import pytest
import torch

from frcore.data import loader
from frcore.data.loader import Batches, to_network
from tests.data.making import train


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loader") / "train"
    return train(folder, kind="synthetic", identities=5, images=5)


@pytest.fixture(params=["memory", "map"])
def kept(request, monkeypatch):
    """Both ways to hold the images must give the same batches."""
    if request.param == "map":
        monkeypatch.setattr(loader, "HELD_IN_MEMORY", 0)
    return request.param


def epoch(batches, number, start=0):
    return list(batches.epoch(number, start))


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, two in zip(first, second, strict=True)
        for a, b in zip(one, two, strict=True)
    )  # fmt: skip


def test_pixels_become_the_networks_input():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), np.uint8)
    pixels[0, 0, 0] = (0, 255, 51)
    network = to_network(pixels)
    assert network.shape == (3, 3, 5, 4)
    assert network.dtype == torch.float32
    assert network.is_contiguous()
    assert network[0, :, 0, 0].tolist() == pytest.approx([-1.0, 1.0, -0.6])
    slow = (pixels.astype(np.float64).transpose(0, 3, 1, 2) - 127.5) / 127.5
    np.testing.assert_allclose(network.numpy(), slow, atol=1e-7)
    assert torch.equal(to_network(torch.from_numpy(pixels)), network)


@pytest.mark.parametrize("bad", [np.zeros((2, 4, 4, 3), np.float32), np.zeros((4, 4, 3), np.uint8),
                                 np.zeros((2, 3, 4, 4), np.uint8)])  # fmt: skip
def test_other_pixels_are_refused(bad):
    with pytest.raises(ValueError, match="uint8"):
        to_network(bad)


def test_an_epoch_visits_rows_once_and_drops_the_rest(data, kept):
    batches = Batches(data, 8, seed=3, flip=False)
    assert len(batches) == 3
    order = batches.order(0)
    assert len(order) == 24 == len(set(order.tolist()))
    found = epoch(batches, 0)
    assert [tuple(images.shape) for images, _ in found] == [(8, 3, 16, 16)] * 3
    labels = torch.cat([labels for _, labels in found])
    assert labels.tolist() == data.labels[order].tolist()
    images = torch.cat([images for images, _ in found])
    assert torch.equal(images, to_network(data.images[order]))


def test_all_images_are_used_over_the_epochs(data):
    batches = Batches(data, 8, seed=0)
    used = {row for number in range(6) for row in batches.order(number).tolist()}
    assert used == set(range(25))


def test_a_small_data_set_gives_one_short_batch(data):
    batches = Batches(data, 64, seed=0)
    assert len(batches) == 1
    ((images, labels),) = epoch(batches, 0)
    assert len(images) == len(labels) == 25
    assert sorted(batches.order(0).tolist()) == list(range(25))


def test_order_and_mirroring_follow_seed_and_epoch(data, kept):
    batches = Batches(data, 8, seed=3)
    first = epoch(batches, 0)
    assert same(first, epoch(Batches(data, 8, seed=3), 0))
    assert not same(first, epoch(batches, 1))
    assert not same(first, epoch(Batches(data, 8, seed=4), 0))


def test_memory_and_map_agree(data, monkeypatch):
    held = epoch(Batches(data, 8, seed=3), 2)
    monkeypatch.setattr(loader, "HELD_IN_MEMORY", 0)
    assert same(held, epoch(Batches(data, 8, seed=3), 2))


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_going_on_in_the_middle_of_an_epoch(data, kept, start):
    batches = Batches(data, 8, seed=3)
    assert same(epoch(batches, 5)[start:], epoch(Batches(data, 8, seed=3), 5, start))


def test_mirroring(data):
    plain = epoch(Batches(data, 8, seed=3, flip=False), 0)
    batches = Batches(data, 8, seed=3, flip=True)
    for step, ((images, _), (mirrored, _)) in enumerate(zip(plain, epoch(batches, 0), strict=True)):
        for row, is_mirrored in enumerate(batches.mirrored(0, step)):
            expected = images[row].flip(-1) if is_mirrored else images[row]
            assert torch.equal(mirrored[row], expected)


def test_half_of_the_images_are_mirrored_and_steps_and_epochs_differ(data):
    batches = Batches(data, 8, seed=3)
    drawn = np.array([batches.mirrored(step // 2, step % 2) for step in range(500)])
    # Four standard deviations of 4000 fair coins.
    assert abs(drawn.mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)
    assert len({row.tobytes() for row in drawn}) > 200


def test_leaving_an_epoch_early_ends_its_thread(data, monkeypatch):
    monkeypatch.setattr(loader, "HELD_IN_MEMORY", 0)
    batches = iter(Batches(data, 2, seed=0).epoch(0))
    next(batches)
    assert any(thread.name.startswith("batches") for thread in threading.enumerate())
    batches.close()
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_an_error_while_reading_ahead_reaches_the_user(data, monkeypatch):
    monkeypatch.setattr(loader, "HELD_IN_MEMORY", 0)
    batches = Batches(data, 8, seed=0)
    batches._images = batches._images[:3]
    with pytest.raises(IndexError):
        epoch(batches, 0)


def test_a_batch_size_of_nothing(data):
    with pytest.raises(ValueError, match="at least 1"):
        Batches(data, 0, seed=0)
