"""Templates (sets of images of one person): pooled to one embedding, and pairs of them scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from frcore.errors import UserError
from frcore.evaluation.inputs import BLOCK, IntArray, as_embeddings, norms
from frcore.evaluation.scoring import score_rows

Pooling = Literal["media_mean", "image_mean"]


class Templates(NamedTuple):
    """Pooled templates: unit vectors (T, D), float32, and the ids (T,), ascending."""

    vectors: NDArray[np.float32]
    ids: IntArray


def normalise(
    embeddings: ArrayLike, *, what: str = "embedding", names: Sequence[str] | None = None
) -> NDArray[np.float32]:
    """Rows scaled to unit L2 norm (N, D), computed in float64; raises like `norms`.

    >>> print(normalise(np.array([[3.0, 4.0]])))
    [[0.6 0.8]]
    """
    norm = norms(embeddings, what=what, names=names)
    array = np.asarray(embeddings)
    unit = np.empty(array.shape, dtype=np.float32)
    for start in range(0, len(array), BLOCK):
        part = slice(start, start + BLOCK)
        unit[part] = array[part].astype(np.float64) / norm[part, None]
    return unit


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
    """The weight of each image in its template, divided by its medium's size for media_mean."""
    share = np.ones(template.size)
    if pooling == "media_mean":
        # A medium belongs to one template: the same video in two templates is two media.
        media, medium_code = np.unique(medium, return_inverse=True)
        template_code = np.unique(template, return_inverse=True)[1]
        keys = template_code * media.size + medium_code
        _, of_image, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        share = 1 / sizes[of_image]
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
    rows: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> Templates:
    """One unit vector per template from the embeddings of its images.

    Args:
        embeddings: (N, D), not normalised, if their norms are to weight the images. A memory map is
            read block by block.
        templates: template id of each entry (E,). An image in two templates has two entries.
        media: medium id of each entry (E,): the frames of a video share one.
        pooling: "media_mean" averages the images of each medium, then the media, so that a long
            video does not outvote the stills (the IJB protocol). "image_mean" averages all images.
        weights: of each entry (E,), ≥ 0; the embedding is multiplied by it before averaging, as in
            InsightFace with detector scores.
        rows: the embedding row of each entry (E,); by default the entries are the embeddings, in
            order.
        names: of the embeddings, for messages, such as the image files.

    Raises:
        UserError: mismatched shapes, or an unusable embedding, weight or template (named by row).

    >>> emb = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> print(pool_templates(emb, [7, 7, 7], [1, 1, 2]).vectors.round(3))  # 1 video and 1 still
    [[0.707 0.707]]
    >>> print(pool_templates(emb, [7, 7, 7], [1, 1, 2], pooling="image_mean").vectors.round(3))
    [[0.894 0.447]]
    """
    array = as_embeddings(embeddings)
    if pooling not in ("media_mean", "image_mean"):
        raise UserError(f"pooling '{pooling}' is not known; allowed: media_mean, image_mean")
    of_entry = np.arange(len(array)) if rows is None else np.asarray(rows)
    template = _column(templates, "templates", of_entry.size).astype(np.int64)
    medium = _column(media, "media", of_entry.size).astype(np.int64)
    count = _weights_of_images(template, medium, weights, pooling)
    ids, place = np.unique(template, return_inverse=True)
    pooled, mass = np.zeros((ids.size, array.shape[1])), np.zeros(ids.size)
    order = np.argsort(place, kind="stable")
    for start in range(0, order.size, BLOCK):
        entries = order[start : start + BLOCK]
        rows = of_entry[entries]
        block = array[rows].astype(np.float64)
        norm = norms(block, rows=rows, names=names)
        # Pooling is a sparse product: template × image weights times image × dimension embeddings.
        first, last = place[entries[0]], place[entries[-1]] + 1
        columns = np.arange(entries.size)
        matrix = sparse.csr_array(
            (count[entries], (place[entries] - first, columns)), shape=(last - first, entries.size)
        )
        pooled[first:last] += matrix @ block
        mass[first:last] += matrix @ norm
    _refuse_cancelled(pooled, mass, ids)
    return Templates(normalise(pooled, what="template row"), ids)


def _refuse_cancelled(
    pooled: NDArray[np.float64], mass: NDArray[np.float64], ids: IntArray
) -> None:
    """Refuse templates whose embeddings (or weights) cancel: their direction is rounding error."""
    bad = np.flatnonzero(np.linalg.norm(pooled, axis=1) <= 1e-6 * mass)
    if bad.size:
        raise UserError(
            f"template {ids[bad[0]]} pools to zero ({bad.size} of {ids.size} do): its weights are "
            "all zero or its embeddings cancel, so it has no direction; remove it from the "
            "protocol or drop the weights"
        )


def rows_of_templates(ids: IntArray, wanted: ArrayLike, name: str) -> NDArray[np.int32]:
    """The row of each template (P,) in the ascending `ids` (T,).

    Raises:
        UserError: an unknown template id; the message names its pair and side (`name`).
    """
    array = np.asarray(wanted)
    row = pd.Index(ids).get_indexer(pd.Index(array)).astype(np.int32)
    bad = np.flatnonzero(row < 0)
    if bad.size:
        raise UserError(
            f"pair {bad[0]} has {name} = template {array[bad[0]]}, which has no images "
            f"({ids.size} templates do): the two protocol files do not match"
        )
    return row


def score_pairs(templates: Templates, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
    """Cosine of each pair of templates (P,), named by their ids; see `score_rows`.

    >>> pooled = pool_templates(np.eye(2), [10, 20], [0, 0])
    >>> score_pairs(pooled, [10, 10], [10, 20]).tolist()
    [1.0, 0.0]

    Raises:
        UserError: an unknown template id; the message names its pair.
    """
    rows = (rows_of_templates(templates.ids, side, name) for name, side in (("a", a), ("b", b)))
    return score_rows(templates.vectors, *rows)
