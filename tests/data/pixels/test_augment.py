import cv2
import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL import ImageEnhance
from scipy import stats

from frcore.data import loader
from frcore.data.loader import Batches, to_network
from frcore.data.pixels.augment import Choices, augmented, draw
from frcore.study.parts import Augment
from tests.data.making import train

EVERYTHING = Augment(crop=1, low_resolution=1, colour=1)
USUAL = Augment(crop=0.2, low_resolution=0.2, colour=0.2)
OPENCV = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def faces(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with noise: uint8 (count, size, size, 3)."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (count, 4, 4, 3), np.uint8)
    smooth = np.stack([cv2.resize(one, (size, size)) for one in coarse]).astype(np.int64)
    return (smooth + generator.integers(-20, 21, smooth.shape)).clip(0, 255).astype(np.uint8)


def one_by_one(image: np.ndarray, choices: Choices, at: int) -> np.ndarray:
    """AdaFace's augmentation of one image with OpenCV and Pillow."""
    size = len(image)
    if choices.cropped[at]:
        top, left, height, width = choices.box[at]
        kept = np.zeros_like(image)
        window = slice(top, top + height), slice(left, left + width)
        kept[window] = image[window]
        image = kept
    if choices.lowered[at]:
        side = int(choices.side[at])
        down, up = (OPENCV[way] for way in choices.ways[at])
        small = cv2.resize(image, (side, side), interpolation=down)
        image = cv2.resize(small, (size, size), interpolation=up)
    if choices.coloured[at]:
        picture = Pillow.fromarray(image)
        for kind in choices.order[at]:
            picture = ENHANCERS[kind](picture).enhance(float(choices.factors[at][kind]))
        image = np.asarray(picture)
    return image


def compared(wanted: Augment, size: int, count: int = 60) -> np.ndarray:
    images = faces(count, size)
    choices = draw(wanted, count, size, np.random.default_rng(1))
    found = augmented(torch.from_numpy(images), choices).numpy()
    slow = np.stack([one_by_one(images[at], choices, at) for at in range(count)])
    assert found.dtype == np.uint8
    assert (found != images).any(axis=(1, 2, 3)).mean() > 0.9, "most images must be changed"
    return np.abs(found.astype(int) - slow)


@pytest.mark.parametrize("size", [16, 112])
def test_a_crop_is_exactly_the_slow_one(size):
    assert compared(Augment(crop=1), size).max() == 0


@pytest.mark.parametrize("size", [16, 112])
def test_low_resolution_is_that_of_opencv(size):
    off = compared(Augment(low_resolution=1), size)
    # Each of two resizes may round another way; a lanczos lobe can carry the first on.
    assert off.max() <= 3
    assert off.mean() < 0.15


@pytest.mark.parametrize("size", [16, 112])
def test_colour_is_that_of_pillow(size):
    off = compared(Augment(colour=1), size)
    # Pillow may fuse product and sum, which can fall on the other side of a whole level; the next
    # operations then carry it on.
    assert off.max() <= 2
    assert (off > 0).mean() < 1e-3


def test_all_of_them_follow_each_other():
    off = compared(EVERYTHING, 48)
    assert np.median(off) == 0
    assert off.mean() < 0.5


def test_the_input_is_kept_and_rows_that_are_not_chosen_are_too():
    images = torch.from_numpy(faces(200, 16))
    before = images.clone()
    choices = draw(USUAL, 200, 16, np.random.default_rng(0))
    found = augmented(images, choices)
    assert torch.equal(images, before)
    touched = choices.cropped | choices.lowered | choices.coloured
    assert 0.3 < touched.mean() < 0.7
    assert torch.equal(found[~touched], images[~touched])
    assert torch.equal(
        augmented(images, draw(Augment(), 200, 16, np.random.default_rng(0))), images
    )


@pytest.mark.slow
def test_images_do_not_depend_on_their_batch():
    images = torch.from_numpy(faces(30, 24))
    choices = draw(EVERYTHING, 30, 24, np.random.default_rng(0))
    whole = augmented(images, choices)
    for at in range(30):
        alone = choices.of(np.array([at]))
        # Up to rounding: what the processor does at once ends elsewhere in a smaller batch.
        found = augmented(images[at : at + 1], alone)[0]
        torch.testing.assert_close(found, whole[at], rtol=0, atol=1e-5)


def test_autocast_changes_nothing():
    images = torch.from_numpy(faces(20, 24))
    choices = draw(EVERYTHING, 20, 24, np.random.default_rng(0))
    expected = augmented(images, choices)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augmented(images, choices), expected)


def test_what_is_drawn_follows_the_published_ranges():
    count, size = 20_000, 112
    drawn = draw(USUAL, count, size, np.random.default_rng(5))
    for chosen in (drawn.cropped, drawn.lowered, drawn.coloured):
        assert abs(chosen.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / count)
    together = (drawn.cropped & drawn.lowered & drawn.coloured).mean()
    assert abs(together - 0.008) < 4 * np.sqrt(0.008 / count)
    for way in drawn.ways.T:
        assert stats.chisquare(np.bincount(way, minlength=5)).pvalue > 1e-4
    assert stats.kstest(drawn.factors.ravel(), stats.uniform(0.5, 1).cdf).pvalue > 1e-4
    assert drawn.side.min() == 22
    assert drawn.side.max() == 111
    orders = np.unique(drawn.order @ [9, 3, 1], return_counts=True)[1]
    assert len(orders) == 6
    assert stats.chisquare(orders).pvalue > 1e-4


def test_boxes_are_those_of_random_resized_crop():
    """Against torchvision's loop (`RandomResizedCrop.get_params`), written out for one image."""
    generator, size = np.random.default_rng(0), 112

    def slow_box() -> tuple[int, int, int, int]:
        for _ in range(10):
            area = size * size * generator.uniform(0.2, 1.0)
            aspect = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
            width, height = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
            if 0 < width <= size and 0 < height <= size:
                top = generator.integers(0, size - height + 1)
                return top, generator.integers(0, size - width + 1), height, width
        return 0, 0, size, size

    slow = np.array([slow_box() for _ in range(4000)])
    box = draw(USUAL, 4000, size, np.random.default_rng(1)).box
    assert (box[:, :2] >= 0).all()
    assert (box[:, :2] + box[:, 2:] <= size).all()
    for column in range(4):
        assert stats.ks_2samp(box[:, column], slow[:, column]).pvalue > 1e-4
    areas = [found[:, 2] * found[:, 3] for found in (box, slow)]
    assert stats.ks_2samp(*areas).pvalue > 1e-4


def test_a_probability_that_changes_leaves_the_others_draws():
    one = draw(USUAL, 50, 32, np.random.default_rng(3))
    other = draw(Augment(crop=0.9, low_resolution=0.2), 50, 32, np.random.default_rng(3))
    for name in ("lowered", "side", "ways", "box", "factors", "order"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert other.cropped.sum() > one.cropped.sum()


# --- in batches -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("augment") / "train"
    return train(folder, kind="synthetic", identities=5, images=5)


@pytest.fixture(params=["memory", "map"])
def kept(request, monkeypatch):
    if request.param == "map":
        monkeypatch.setattr(loader, "HELD_IN_MEMORY", 0)


def test_batches_without_it_are_what_they_were(data):
    images, _ = next(iter(Batches(data, 8, seed=3, flip=False, augment=Augment()).epoch(0)))
    assert torch.equal(images, to_network(data.images[Batches(data, 8, seed=3).order(0)[:8]]))


def test_batches_keep_labels_range_and_order(data, kept):
    plain = list(Batches(data, 8, seed=3, flip=False).epoch(0))
    found = list(Batches(data, 8, seed=3, flip=False, augment=EVERYTHING).epoch(0))
    for (images, labels), (changed, same_labels) in zip(plain, found, strict=True):
        assert torch.equal(labels, same_labels)
        assert not torch.equal(images, changed)
        assert changed.dtype == torch.float32
        assert changed.shape == images.shape
        assert changed.min() >= -1
        assert changed.max() <= 1


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_a_resumed_epoch_is_the_same(data, kept, start):
    torch.manual_seed(start)
    np.random.seed(start)  # The global state must play no part.
    whole = list(Batches(data, 8, seed=3, augment=EVERYTHING).epoch(4))
    torch.manual_seed(99)
    rest = list(Batches(data, 8, seed=3, augment=EVERYTHING).epoch(4, start))
    assert len(rest) == 3 - start
    for (images, _), (again, _) in zip(whole[start:], rest, strict=True):
        assert torch.equal(images, again)


def test_steps_epochs_and_seeds_differ(data):
    def boxes(seed: int, epoch: int, step: int) -> bytes:
        generator = Batches(data, 8, seed=seed)._generator(loader._AUGMENT, epoch, step)
        return draw(USUAL, 8, 16, generator).box.tobytes()

    found = {boxes(*place) for place in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))}
    assert len(found) == 4


def test_mirroring_is_drawn_apart(data):
    """Augmented and mirrored is the mirror image of augmented."""
    straight = Batches(data, 8, seed=3, flip=False, augment=EVERYTHING)
    flipped = Batches(data, 8, seed=3, flip=True, augment=EVERYTHING)
    for step, ((images, _), (other, _)) in enumerate(
        zip(straight.epoch(0), flipped.epoch(0), strict=True)
    ):
        for row, mirrored in enumerate(flipped.mirrored(0, step)):
            assert torch.equal(other[row], images[row].flip(-1) if mirrored else images[row])


@pytest.mark.gpu
def test_a_gpu_gives_the_same_images():
    images = torch.from_numpy(faces(64, 112))
    choices = draw(EVERYTHING, 64, 112, np.random.default_rng(0))
    expected = augmented(images, choices)
    off = (augmented(images.cuda(), choices).cpu().int() - expected.int()).abs()
    # Sums of products may be fused differently, which moves exact ties only.
    assert off.max() <= 1
    assert (off > 0).float().mean() < 1e-3
