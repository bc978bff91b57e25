import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from frcore.data.synthetic.faces.geometry import ARCFACE_TEMPLATE, smooth, view
from frcore.data.synthetic.faces.identity import identity
from frcore.data.synthetic.faces.nuisance import Nuisance, nuisance
from frcore.data.synthetic.faces.render import render
from frcore.data.synthetic.faces.streams import stream


def picture(who=0, number=0, size=32, split="train", difficulty=1.0, video=False, medium=None):
    person = identity(0, split, who)
    medium = number if medium is None else medium
    taken = nuisance(0, split, who, medium, number, video=video, difficulty=difficulty,
                     glasses_habit=person.glasses)  # fmt: skip
    return render(person, taken, size)


def test_a_stream_depends_on_every_part_of_its_key():
    keys = [("a", 1, 2), ("a", 2, 1), ("a", 1), ("a", 1, 2, 0), ("a", 12), ("b", 1, 2)]
    draws = [stream(*key).random() for key in keys]
    assert len(set(draws)) == len(keys)
    assert stream(*keys[0]).random() == draws[0]


def test_streams_look_uniform():
    draws = np.array([stream("t", k).random() for k in range(4000)])
    # Kolmogorov-Smirnov: 1.95 / sqrt(n) is the bound at a level of 0.001.
    gap = np.abs(np.sort(draws) - (np.arange(4000) + 0.5) / 4000).max()
    assert gap < 1.95 / np.sqrt(4000)


def test_identities_differ_by_seed_split_and_index():
    people = [identity(0, "train", 0), identity(1, "train", 0), identity(0, "synthetic_pairs", 0),
              identity(0, "train", 1)]  # fmt: skip
    assert len({person.chin_y for person in people}) == 4
    assert identity(0, "train", 0) == people[0]


@pytest.mark.slow
def test_a_picture_is_the_same_in_another_process():
    code = (
        "import hashlib; from tests.data.synthetic.test_faces import picture;"
        "print(hashlib.sha256(picture(3, 5).tobytes()).hexdigest())"
    )
    import hashlib

    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == hashlib.sha256(picture(3, 5).tobytes()).hexdigest()


@pytest.mark.parametrize("size", [16, 40, 112])
def test_size_and_type(size):
    image = picture(size=size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert image.std() > 10


def test_without_difficulty_all_pictures_of_a_person_are_one_portrait():
    first = picture(number=0, difficulty=0.0)
    np.testing.assert_array_equal(first, picture(number=7, difficulty=0.0))
    assert np.abs(first.astype(int) - picture(who=1, difficulty=0.0)).mean() > 3


def test_difficulty_moves_pictures_away_from_the_portrait():
    def distance(difficulty):
        return np.mean([np.abs(picture(who, 3, difficulty=difficulty).astype(float)
                               - picture(who, 3, difficulty=0.0)).mean()
                        for who in range(6)])  # fmt: skip

    assert 0 < distance(0.3) < distance(1.0)


def test_frames_of_a_video_are_more_alike_than_stills():
    def spread(images):
        return np.mean(np.std(np.array(images, float), axis=0))

    frames = [spread([picture(w, k, video=True, medium=0) for k in range(4)]) for w in range(5)]
    stills = [spread([picture(w, k) for k in range(4)]) for w in range(5)]
    assert 0 < np.mean(frames) < 0.6 * np.mean(stills)


def test_alignment_is_the_least_squares_similarity():
    person, taken = identity(0, "train", 4), Nuisance(yaw=0.3, pitch=-0.1)
    pose = view(person, taken, 112)
    corner = 0.92 * person.mouth_width
    marks = np.array([-person.eye_x, person.eye_x, 1j * person.nose_y,
                      -corner + 1j * person.mouth_y, corner + 1j * person.mouth_y])  # fmt: skip
    lift = np.array([0, 0, 0.8 * person.nose_depth, 0, 0])
    found = pose.pixels(marks, lift, False)
    target = ARCFACE_TEMPLATE * 112

    # Least squares leaves a residual orthogonal to shift, scale and turn of the points.
    residual, centred = target - found, found - found.mean()
    assert abs(residual.sum()) < 1e-9
    assert abs(np.vdot(centred, residual)) < 1e-7
    assert np.abs(residual).max() < 12


def test_what_alignment_leaves_over_is_as_asked():
    person = identity(0, "train", 4)
    straight = view(person, Nuisance(), 112)
    moved = view(person, Nuisance(log_scale=0.1, roll=0.2, shift_x=0.5), 112)
    assert moved.turn / straight.turn == pytest.approx(np.exp(0.1 + 0.2j))
    middle = np.array([0.4j])
    shift = moved.pixels(middle, 0.0, False) - straight.pixels(middle, 0.0, False)
    assert shift.real[0] == pytest.approx(0.5 * 0.31 * 112, abs=2)


def test_curves_pass_through_their_points():
    points = np.array([0, 1 + 1j, 3, 2 - 2j])
    np.testing.assert_allclose(smooth(points, steps=4)[::4], points)
    np.testing.assert_allclose(smooth(points, closed=False, steps=3)[::3], points)


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize(
    ("name", "value"),
    [("yaw", 0.4), ("light_x", 0.9), ("smile", 1.0), ("jaw", 1.0), ("lids", 0.1), ("hat", True),
     ("glasses", "round"), ("glasses", "dark"), ("occluder", "hand"), ("occluder", "bar"),
     ("occluder", "leaf"), ("occluder", "microphone"), ("blur", 2.0), ("motion", 2.0),
     ("detail", 0.3), ("noise", 12.0), ("jpeg", 15), ("saturation", 0.0), ("gain", 0.5),
     ("gamma", 1.4), ("warmth", 0.2), ("brows", 1.0), ("gaze", 1.0), ("hair_change", 1.0),
     ("make_up", 1.0), ("scene", 5), ("beard_change", -0.5)],
)  # fmt: skip
def test_every_nuisance_is_seen(name, value):
    person = dataclasses.replace(identity(0, "train", 0), style="short", beard="full")
    plain = render(person, Nuisance(), 40)
    changed = render(person, dataclasses.replace(Nuisance(), **{name: value}), 40)
    assert np.abs(plain.astype(int) - changed).max() > 10


@pytest.mark.fast_cases(10)
@pytest.mark.parametrize(
    ("name", "value"),
    [("skin", (100.0, 70.0, 50.0)), ("iris", (40.0, 160.0, 60.0)), ("chin_y", 1.2),
     ("jaw_width", 0.6), ("eye_x", 0.36), ("eye_open", 0.12), ("eye_tilt", 0.3), ("brow_y", -0.4),
     ("brow_thickness", 0.12), ("nose_width", 0.3), ("nose_y", 0.62), ("nose_depth", 0.6),
     ("mouth_y", 1.03), ("mouth_width", 0.45), ("lower_lip", 0.14), ("hairline", -0.5),
     ("hair_volume", 0.4), ("style", "bald"), ("style", "fringe"), ("style", "long"),
     ("style", "afro"), ("style", "side"), ("beard", "none"), ("beard", "goatee"),
     ("freckles", 1.0), ("wrinkles", 0.9), ("ear_size", 0.4), ("cheek_relief", 0.3)],
)  # fmt: skip
def test_every_trait_is_seen(name, value):
    person = dataclasses.replace(identity(0, "train", 0), style="short", beard="full")
    changed = dataclasses.replace(person, **{name: value})
    difference = render(person, Nuisance(), 40).astype(int) - render(changed, Nuisance(), 40)
    assert np.abs(difference).max() > 10
