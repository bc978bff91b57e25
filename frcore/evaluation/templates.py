"""Templates (sets of images of one person): pooled to one embedding, and pairs of them scored."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from frcore.errors import UserError
from frcore.evaluation.checks import FloatArray, IntArray

Pooling = Literal["media_mean", "image_mean"]

COLUMN_BLOCK = 64
"""Embedding dimensions pooled at once: bounds the float64 copy (IJB-C: 230 MiB, not 1.8 GiB)."""


class Templates(NamedTuple):
    """Pooled templates: unit vectors (T, D), float32, and the ids (T,), ascending."""

    vectors: NDArray[np.float32]
    ids: IntArray


def check_embeddings(embeddings: ArrayLike, *, rows: str = "embedding") -> FloatArray:
    """`embeddings` as a float array (N, D) whose every row has a direction.

    Raises:
        UserError: not two-dimensional, or a row that is zero or not finite (named with `rows`).
    """
    array = np.asarray(embeddings)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind != "f":
        raise UserError(
            f"{rows}s have shape {array.shape} and type {array.dtype}; give floats (N, D)"
        )
    # The squared norm of a float16 row can overflow, so it is summed in float64.
    squared = np.einsum("nd,nd->n", array, array, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(squared) & (squared > 0)))
    if bad.size:
        what = "zero" if squared[bad[0]] == 0 else "not finite"
        raise UserError(
            f"{rows} {bad[0]} is {what} ({bad.size} of {len(array)} are zero or not finite); "
            "a cosine needs a direction: look at that image, or at whether training diverged"
        )
    return array


def normalise(embeddings: ArrayLike, *, rows: str = "embedding") -> NDArray[np.float32]:
    """Rows scaled to unit L2 norm (N, D), computed in float64; see `check_embeddings`.

    >>> print(normalise(np.array([[3.0, 4.0]])))
    [[0.6 0.8]]
    """
    array = check_embeddings(embeddings, rows=rows)
    norm = np.sqrt(np.einsum("nd,nd->n", array, array, dtype=np.float64))
    return (array / norm[:, None]).astype(np.float32)


def _column(values: ArrayLike, name: str, size: int, kinds: str = "iu") -> NDArray[np.generic]:
    array = np.asarray(values)
    if array.shape != (size,) or array.dtype.kind not in kinds:
        wanted = "integer" if kinds == "iu" else "number"
        raise UserError(
            f"{name} has shape {array.shape} and type {array.dtype}; give one {wanted} for each "
            f"of the {size} embeddings"
        )
    return array


def _weights_of_images(
    template: IntArray, medium: IntArray, weights: ArrayLike | None, pooling: Pooling
) -> NDArray[np.float64]:
    """What each image counts: its weight over the images of its medium, or its weight."""
    share = np.ones(template.size)
    if pooling == "media_mean":
        # A medium is one within its template: the same video may serve two templates.
        keys = np.stack([template, medium], axis=1)
        _, of_image, sizes = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
        share = 1 / sizes[of_image.ravel()]
    if weights is None:
        return share
    given = _column(weights, "weights", template.size, "iuf").astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(given) & (given >= 0)))
    if bad.size:
        raise UserError(
            f"weight {bad[0]} is {given[bad[0]]}; weights (detector scores) are finite and ≥ 0"
        )
    return share * given


def pool_templates(
    embeddings: ArrayLike,
    templates: ArrayLike,
    media: ArrayLike,
    *,
    pooling: Pooling = "media_mean",
    weights: ArrayLike | None = None,
) -> Templates:
    """One unit vector per template from the embeddings of its images.

    Args:
        embeddings: (N, D), with their norm: it weighs the images unless they are normalised before.
        templates: template id of each row (N,). An image in two templates stands in two rows.
        media: medium id of each row (N,): the frames of one video share one.
        pooling: "media_mean" averages the images of each medium, then the media, so that a long
            video does not outvote the stills (the IJB protocol). "image_mean" averages all images.
        weights: of each row (N,), ≥ 0, multiplied onto the embedding before averaging, as
            InsightFace does with detector scores.

    Raises:
        UserError: shapes that differ, a zero or non-finite embedding, weight or template, by row.

    >>> emb = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> print(pool_templates(emb, [7, 7, 7], [1, 1, 2]).vectors.round(3))  # 1 video and 1 still
    [[0.707 0.707]]
    >>> print(pool_templates(emb, [7, 7, 7], [1, 1, 2], pooling="image_mean").vectors.round(3))
    [[0.894 0.447]]
    """
    array = check_embeddings(embeddings)
    if pooling not in ("media_mean", "image_mean"):
        raise UserError(f"pooling '{pooling}' is not known; allowed: media_mean, image_mean")
    template = _column(templates, "templates", len(array)).astype(np.int64)
    medium = _column(media, "media", len(array)).astype(np.int64)
    count = _weights_of_images(template, medium, weights, pooling)
    ids, row = np.unique(template, return_inverse=True)
    # Pooling is one sparse product: template × image weights times image × dimension embeddings.
    matrix = sparse.csr_array(
        (count, (row.ravel(), np.arange(len(array)))), shape=(ids.size, len(array))
    )
    pooled = np.empty((ids.size, array.shape[1]))
    for start in range(0, array.shape[1], COLUMN_BLOCK):
        block = slice(start, start + COLUMN_BLOCK)
        pooled[:, block] = matrix @ array[:, block].astype(np.float64)
    _refuse_cancelled(pooled, matrix, array, ids)
    return Templates(normalise(pooled, rows="template row"), ids)


def _refuse_cancelled(
    pooled: NDArray[np.float64],
    matrix: sparse.csr_array,
    embeddings: FloatArray,
    ids: IntArray,
) -> None:
    """Raise where a template's embeddings (or weights) cancel: its direction is rounding error."""
    length = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings, dtype=np.float64))
    mass = matrix @ length
    norm = np.linalg.norm(pooled, axis=1)
    bad = np.flatnonzero(norm <= 1e-6 * mass)
    if bad.size:
        raise UserError(
            f"template {ids[bad[0]]} pools to zero ({bad.size} of {ids.size} do): its weights are "
            "all zero or its embeddings cancel, so it has no direction; leave it out of the "
            "protocol or drop the weights"
        )


def score_rows(
    vectors: NDArray[np.float32], rows_a: ArrayLike, rows_b: ArrayLike, *, chunk: int = 65_536
) -> NDArray[np.float32]:
    """Dot products of pairs of rows (P,), `chunk` pairs at a time: unit vectors give cosines.

    Raises:
        UserError: a row that does not exist, or lists of different length.
    """
    index_a, index_b = np.asarray(rows_a), np.asarray(rows_b)
    if index_a.shape != index_b.shape or index_a.ndim != 1:
        raise UserError(
            f"pairs have shapes {index_a.shape} and {index_b.shape}; give two lists of one length"
        )
    for name, index in (("a", index_a), ("b", index_b)):
        bad = np.flatnonzero((index < 0) | (index >= len(vectors)))
        if bad.size:
            raise UserError(
                f"pair {bad[0]} has {name} = {index[bad[0]]}, but rows are 0 to {len(vectors) - 1}"
            )
    scores = np.empty(index_a.size, dtype=np.float32)
    for start in range(0, index_a.size, chunk):
        part = slice(start, start + chunk)
        scores[part] = np.einsum("pd,pd->p", vectors[index_a[part]], vectors[index_b[part]])
    return scores


def score_pairs(
    templates: Templates, a: ArrayLike, b: ArrayLike, *, chunk: int = 65_536
) -> NDArray[np.float32]:
    """Cosine of each pair of templates (P,), named by their ids.

    Memory beyond the scores is 2 · chunk · D floats, whatever the number of pairs.

    >>> pooled = pool_templates(np.eye(2), [10, 20], [0, 0])
    >>> score_pairs(pooled, [10, 10], [10, 20]).tolist()
    [1.0, 0.0]

    Raises:
        UserError: an id that is no template, with the pair it stands in.
    """
    rows = []
    for name, wanted in (("a", np.asarray(a)), ("b", np.asarray(b))):
        row = np.searchsorted(templates.ids, wanted)
        row = np.minimum(row, templates.ids.size - 1)
        bad = np.flatnonzero(templates.ids[row] != wanted)
        if bad.size:
            raise UserError(
                f"pair {bad[0]} has {name} = template {wanted[bad[0]]}, which has no images "
                f"({templates.ids.size} templates do): the two protocol files do not belong "
                "together"
            )
        rows.append(row)
    return score_rows(templates.vectors, *rows, chunk=chunk)
