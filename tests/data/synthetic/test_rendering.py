import numpy as np
import pytest

from frcore.data.synthetic import rendering
from frcore.data.synthetic.rendering import Shots, render_all


def shots(count):
    who, number = np.arange(count) // 5, np.arange(count) % 5
    return Shots(0, "train", 1.0, who, number, number, np.zeros(count, bool))


def rendered(path, count, workers):
    np.save(path, np.zeros((count, 16, 16, 3), np.uint8))
    render_all(shots(count), path, workers=workers)
    return np.load(path)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [3])
def test_pixels_do_not_depend_on_the_number_of_workers(tmp_path, monkeypatch, workers):
    monkeypatch.setattr(rendering, "_CHUNK", 7)
    alone = rendered(tmp_path / "a.npy", 24, 1)
    together = rendered(tmp_path / "b.npy", 24, workers)
    np.testing.assert_array_equal(alone, together)
    assert (alone.reshape(24, -1).std(axis=1) > 5).all()


def test_rows_are_the_shots_in_order(tmp_path):
    images = rendered(tmp_path / "a.npy", 6, 1)
    for at in range(6):
        np.testing.assert_array_equal(images[at], shots(6).render(at, 16))
