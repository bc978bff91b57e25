from __future__ import annotations

import numpy as np
import pytest

from frcore.errors import UserError
from frcore.evaluation.templates import (
    Templates,
    normalise,
    pool_templates,
    score_pairs,
)


def slow_pool(embeddings, templates, media, pooling, weights):
    """One template at a time, one medium at a time, in double precision."""
    pooled = {}
    for template in sorted(set(templates)):
        groups = {}
        for row in range(len(templates)):
            if templates[row] == template:
                key = media[row] if pooling == "media_mean" else "all"
                groups.setdefault(key, []).append(weights[row] * embeddings[row].astype(float))
        mean = np.mean([np.mean(group, axis=0) for group in groups.values()], axis=0)
        pooled[template] = mean / np.linalg.norm(mean)
    return pooled


@pytest.fixture
def images(rng):
    count = 300
    return {
        "embeddings": rng.normal(size=(count, 70)).astype(np.float32),
        "templates": rng.integers(0, 25, count) * 1000 - 7,
        "media": rng.integers(0, 6, count),
    }


@pytest.mark.parametrize("pooling", ["media_mean", "image_mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_pooling_equals_a_loop_over_templates_and_media(images, rng, pooling, weighted):
    weights = rng.random(300) if weighted else None
    pooled = pool_templates(**images, pooling=pooling, weights=weights)
    expected = slow_pool(*images.values(), pooling, np.ones(300) if weights is None else weights)
    assert pooled.ids.tolist() == list(expected)
    np.testing.assert_allclose(pooled.vectors, list(expected.values()), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(pooled.vectors, axis=1), 1, atol=1e-6)


def test_the_order_of_images_does_not_matter(images, rng):
    order = rng.permutation(300)
    shuffled = {name: column[order] for name, column in images.items()}
    before, after = pool_templates(**images), pool_templates(**shuffled)
    np.testing.assert_array_equal(before.ids, after.ids)
    np.testing.assert_allclose(before.vectors, after.vectors, atol=1e-6)


def test_a_longer_video_does_not_outvote_a_still():
    video, still = [1.0, 0.0], [0.0, 1.0]
    for frames in (1, 50):
        embeddings = np.array([video] * frames + [still])
        pooled = pool_templates(embeddings, [0] * (frames + 1), [1] * frames + [2])
        np.testing.assert_allclose(pooled.vectors, [[0.5**0.5, 0.5**0.5]], atol=1e-6)


def test_the_same_medium_in_two_templates_is_two_media():
    pooled = pool_templates(np.eye(3)[[0, 1, 2]], [1, 1, 2], [5, 6, 5])
    np.testing.assert_allclose(pooled.vectors, [[0.5**0.5, 0.5**0.5, 0], [0, 0, 1]], atol=1e-6)


def test_half_precision_embeddings_do_not_overflow():
    pooled = pool_templates(np.full((2, 512), 200, dtype=np.float16), [0, 0], [0, 1])
    np.testing.assert_allclose(pooled.vectors, 512**-0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": np.array([[1.0, 0], [0, 0], [0, 1]])}, "embedding 1 is zero"),
        ({"embeddings": np.array([[1.0, 0], [0, 1], [np.nan, 1]])}, "embedding 2 is not finite"),
        ({"embeddings": np.ones(3)}, r"give floats \(N, D\)"),
        ({"templates": [1, 2]}, "templates has shape"),
        ({"templates": [1.0, 2.0, 2.5]}, "one integer"),
        ({"media": [1, 2]}, "media has shape"),
        ({"weights": [1, -1, 1]}, "weight 1 is -1"),
        ({"weights": [1, np.nan, 1]}, "weight 1 is nan"),
        ({"weights": [1, 0, 0]}, "template 8 pools to zero"),
        ({"embeddings": np.array([[1.0, 0], [1, 0.1], [-1, -0.1]])}, "template 8 pools to zero"),
        ({"pooling": "max"}, "allowed: media_mean, image_mean"),
    ],
)
def test_what_has_no_direction_is_refused(change, message):
    given = {"embeddings": np.eye(3)[:, :2] + 0.1, "templates": [7, 8, 8], "media": [0, 1, 2]}
    with pytest.raises(UserError, match=message):
        pool_templates(**(given | change))


def test_scores_are_cosines_of_templates_by_id(rng):
    vectors = rng.normal(size=(40, 9)) * rng.uniform(0.1, 10, size=(40, 1))
    templates = Templates(normalise(vectors), np.arange(40) * 3 + 5)
    a, b = rng.integers(0, 40, (2, 101))
    expected = [
        np.dot(vectors[i], vectors[j]) / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])
        for i, j in zip(a, b, strict=True)
    ]
    scores = score_pairs(templates, a * 3 + 5, b * 3 + 5)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    np.testing.assert_array_equal(scores, score_pairs(templates, b * 3 + 5, a * 3 + 5))


@pytest.mark.parametrize("unknown", [4, 6, 99, -1])
def test_an_unknown_template_is_refused_with_its_pair(unknown):
    templates = Templates(np.eye(3, dtype=np.float32), np.array([5, 7, 9]))
    with pytest.raises(UserError, match=rf"pair 1 has b = template {unknown}, which has no images"):
        score_pairs(templates, [5, 7], [9, unknown])


def test_a_template_may_lie_in_several_blocks(images, monkeypatch):
    whole = pool_templates(**images)
    monkeypatch.setattr("frcore.evaluation.templates.BLOCK", 7)
    np.testing.assert_allclose(pool_templates(**images).vectors, whole.vectors, atol=1e-7)


def test_what_is_left_of_embeddings_that_cancel_is_no_direction(rng):
    one = rng.normal(size=8)
    with pytest.raises(UserError, match="template 5 pools to zero"):
        pool_templates(np.stack([one, -one * (1 + 1e-9)]), [5, 5], [0, 1])
