# mypy: disable-error-code="no-untyped-def,assignment"
"""The kernels of the backend `triton`. Importing this needs triton.

Shapes in names: M rows (batch, then queue), A columns, D dimensions, T of a tile. Logits and their
exponentials live in base 2: s log₂e is folded into one factor, so that exp is a single instruction.
Offsets into the table of centres are 64-bit: C·D passes 2³¹ at 4.2 million classes of 512.

No atomics: a program owns what it writes, and sums have one order. The same input gives the same
bits.
"""

from __future__ import annotations

import triton
import triton.language as tl

from frcore.loss.triton.state import load_centers, load_momentum, store_centers, store_momentum

LOG2E = tl.constexpr(1.4426950408889634)
NOTHING = tl.constexpr(-1.0e30)
"""The maximum of no column. Finite: −∞ − −∞ is no number."""
KEEP, ZERO, DROP = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
"""What the entry filter does with an entry above its threshold."""
SMALLEST_NORM = tl.constexpr(1.0842021724855044e-19)
"""√tiny, as in `frcore.loss.base.inverse_norm`."""


@triton.jit
def _inverse(norm):
    return tl.where(norm > 0, 1.0 / tl.maximum(norm, SMALLEST_NORM), 0.0)


@triton.jit
def _rows_of_columns(index, column, columns, GATHER: tl.constexpr):
    """Rows of the table of centres that some columns are: Partial FC's gather, in the kernel."""
    if GATHER:
        return tl.load(index + column, mask=column < columns, other=0).to(tl.int64)
    else:
        return column.to(tl.int64)


@triton.jit
def _load_rows(table, row, valid, first, D: tl.constexpr, WIDTH: tl.constexpr):
    """WIDTH dimensions, from `first` on, of rows of a table (_, D); 0 beyond its end."""
    dim = first + tl.arange(0, WIDTH)
    mask = valid[:, None]
    if D % WIDTH != 0:
        mask = mask & (dim[None, :] < D)
    return tl.load(table + row[:, None] * D + dim[None, :], mask=mask, other=0.0)


@triton.jit
def _entries(
    score,
    norm,
    own,
    present,
    threshold,
    coefficient,
    filter_threshold,
    HARD: tl.constexpr,
    FILTER: tl.constexpr,
    NORMALIZES: tl.constexpr,
):
    """Filter and head on a tile: entry (the raw one), value, slope of value by entry, present.

    `score` is x̂ · w. A row's own column is not filtered, and has no value: it is never in a sum,
    rather than taken out of it afterwards, which would cost its digits.
    """
    entry = score
    if NORMALIZES:
        entry = score * _inverse(norm)
    present = present & ~own
    value = entry
    if FILTER != KEEP:
        limit = filter_threshold
        if not NORMALIZES:
            limit = filter_threshold * norm
        alike = entry > limit
        if FILTER == DROP:
            present = present & ~alike
        else:
            value = tl.where(alike, 0.0, entry)
    if HARD:
        square = tl.load(coefficient)
        linear = tl.load(coefficient + 1)
        constant = tl.load(coefficient + 2)
        hard = value > threshold
        slope = tl.where(hard, 2.0 * square * value + linear, 1.0)
        value = tl.where(hard, (square * value + linear) * value + constant, value)
    else:
        slope = tl.full(score.shape, 1.0, tl.float32)
    if FILTER == ZERO:
        slope = tl.where(alike, 0.0, slope)
    return entry, value, slope, present


@triton.jit(do_not_specialize=["columns"])
def norm_kernel(
    center, index, norm, columns, D: tl.constexpr, WIDE: tl.constexpr, TILE: tl.constexpr,
    GATHER: tl.constexpr,
):  # fmt: skip
    """‖w‖ of each column, (A,)."""
    column = tl.program_id(0) * TILE + tl.arange(0, TILE)
    row = _rows_of_columns(index, column, columns, GATHER)
    w = _load_rows(center, row, column < columns, 0, D, WIDE).to(tl.float32)
    tl.store(norm + column, tl.sqrt(tl.sum(w * w, 1)), mask=column < columns)


@triton.jit(do_not_specialize=["first", "last", "rows", "columns", "per_split"])
def reduce_kernel(
    unit, center, norm, index, own_column, scale, threshold, coefficient,
    maximum, total, moment, attended,
    first, last, rows, columns, per_split, filter_threshold,
    D: tl.constexpr, WIDE: tl.constexpr, TILE_M: tl.constexpr, TILE_A: tl.constexpr,
    GATHER: tl.constexpr, HARD: tl.constexpr, FILTER: tl.constexpr, NORMALIZES: tl.constexpr,
    SHIFT: tl.constexpr, ATTEND: tl.constexpr, MOMENT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Pass 1: Σ exp z over a split of the columns, and with it Σ exp z · ∂v/∂c · ŵ, as attention.

    Rows `first` to `last` of M, one tile of them a program; `last` counts the rows of `attended`.
    With SHIFT the exponent is shifted by a constant max(0, s − 48) instead of the running maximum:
    only where the caller has shown that nothing can overflow or vanish.

    Writes, per split and row, the exponent's shift (base 2), Σ e, Σ e·v (if MOMENT) and
    Σ e·∂v/∂c·ŵ (if ATTEND), each (splits, M) and (splits, last, D).
    """
    row = first + tl.program_id(0) * TILE_M + tl.arange(0, TILE_M)
    split = tl.program_id(1)
    valid = row < last
    x = _load_rows(unit, row, valid, 0, D, WIDE)
    own = tl.load(own_column + row, mask=valid, other=-1)
    bound = 0.0
    if HARD:
        bound = tl.load(threshold + row, mask=valid, other=0.0)[:, None]
    s = tl.load(scale + row, mask=valid, other=0.0)
    s2 = s * LOG2E
    top = tl.full([TILE_M], NOTHING, tl.float32)
    if SHIFT:
        top = tl.maximum(s - 48.0, 0.0) * LOG2E
    sum_e = tl.zeros([TILE_M], tl.float32)
    sum_v = tl.zeros([TILE_M], tl.float32)
    if ATTEND:
        sum_w = tl.zeros([TILE_M, WIDE], tl.float32)
    start = split * per_split
    for a in range(start, tl.minimum(start + per_split, columns), TILE_A):
        column = a + tl.arange(0, TILE_A)
        inside = column < columns
        source = _rows_of_columns(index, column, columns, GATHER)
        w = _load_rows(center, source, inside, 0, D, WIDE).to(x.dtype)
        n = tl.load(norm + column, mask=inside, other=0.0)
        score = tl.dot(x, tl.trans(w), input_precision=PRECISION)
        _, value, slope, present = _entries(
            score, n[None, :], column[None, :] == own[:, None], inside[None, :], bound,
            coefficient, filter_threshold, HARD, FILTER, NORMALIZES,
        )  # fmt: skip
        z = value * s2[:, None]
        if not SHIFT:
            higher = tl.maximum(top, tl.max(tl.where(present, z, NOTHING), 1))
            shrink = tl.exp2(top - higher)
            top = higher
            sum_e *= shrink
            sum_v *= shrink
            if ATTEND:
                sum_w *= shrink[:, None]
        e = tl.where(present, tl.exp2(z - top[:, None]), 0.0)
        sum_e += tl.sum(e, 1)
        if MOMENT:
            sum_v += tl.sum(e * value, 1)
        if ATTEND:
            weight = e * slope
            if NORMALIZES:
                weight *= _inverse(n)[None, :]
            sum_w = tl.dot(weight.to(x.dtype), w, sum_w, input_precision=PRECISION)
    out = split * rows + row
    tl.store(maximum + out, top, mask=valid)
    tl.store(total + out, sum_e, mask=valid)
    if MOMENT:
        tl.store(moment + out, sum_v, mask=valid)
    if ATTEND:
        dim = tl.arange(0, WIDE)
        place = (split * last + row).to(tl.int64)[:, None] * D + dim[None, :]
        tl.store(attended + place, sum_w, mask=valid[:, None] & (dim[None, :] < D))


@triton.jit(do_not_specialize=["rows", "columns", "lr", "momentum", "weight_decay", "key"])
def center_kernel(
    unit, center, norm, index, own_column, scale, threshold, coefficient,
    reduced, weight, own_slope, target, low, velocity, gradient,
    rows, columns, filter_threshold, lr, momentum, weight_decay, key,
    D: tl.constexpr, TILE_D: tl.constexpr, PARTS: tl.constexpr, TILE_A: tl.constexpr,
    TILE_M: tl.constexpr,
    GATHER: tl.constexpr, HARD: tl.constexpr, FILTER: tl.constexpr, NORMALIZES: tl.constexpr,
    MOVE: tl.constexpr, HAS_MOMENTUM: tl.constexpr, SPLIT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Pass 2: a tile of columns again, over all rows, for its centres' gradient.

    g_ij = weight_i exp(z_ij − R_i) ∂v/∂c with weight = ∂loss/∂R · s, and own_slope_i in a row's own
    column: a number of its own, never p − 1. With dŵ_j = Σ_i g_ij x̂_i and ρ_j = ŵ_j · dŵ_j =
    Σ_i g_ij c_ij, which needs no second look at dŵ, the normalisation makes it
    dw_j = (dŵ_j − ρ_j ŵ_j) / ‖w_j‖.

    MOVE writes no gradient but the next centres and momentum, in place: v ← μ v + dw + λ w,
    w ← w − lr v. Else rows of `gradient` (C, D) get dw. With SPLIT the moved centres are float32 in
    two halves, `target` and `low`, and the momentum is a bfloat16 rounded by the bits of `key`.

    D goes in PARTS of TILE_D, so that what follows the sums has them in registers part by part.
    """
    column = tl.program_id(0) * TILE_A + tl.arange(0, TILE_A)
    inside = column < columns
    place = _rows_of_columns(index, column, columns, GATHER)
    n = tl.load(norm + column, mask=inside, other=0.0)
    operand: tl.constexpr = unit.dtype.element_ty
    w = ()
    sums = ()
    for k in tl.static_range(PARTS):
        w += (_load_rows(center, place, inside, k * TILE_D, D, TILE_D).to(operand),)
        sums += (tl.zeros([TILE_A, TILE_D], tl.float32),)
    along = tl.zeros([TILE_A], tl.float32)
    for m in range(0, rows, TILE_M):
        row = m + tl.arange(0, TILE_M)
        valid = row < rows
        own = tl.load(own_column + row, mask=valid, other=-1)
        s2 = tl.load(scale + row, mask=valid, other=0.0) * LOG2E
        r2 = tl.load(reduced + row, mask=valid, other=0.0) * LOG2E
        g_row = tl.load(weight + row, mask=valid, other=0.0)
        g_own = tl.load(own_slope + row, mask=valid, other=0.0)
        bound = 0.0
        if HARD:
            bound = tl.load(threshold + row, mask=valid, other=0.0)[None, :]
        score = tl.zeros([TILE_A, TILE_M], tl.float32)
        x = ()
        for k in tl.static_range(PARTS):
            x += (_load_rows(unit, row, valid, k * TILE_D, D, TILE_D),)
            score = tl.dot(w[k], tl.trans(x[k]), score, input_precision=PRECISION)
        is_own = column[:, None] == own[None, :]
        entry, value, slope, present = _entries(
            score, n[:, None], is_own, inside[:, None] & valid[None, :], bound,
            coefficient, filter_threshold, HARD, FILTER, NORMALIZES,
        )  # fmt: skip
        p = tl.exp2(value * s2[None, :] - r2[None, :])
        g = tl.where(present, p * g_row[None, :] * slope, 0.0)
        g = tl.where(is_own, g_own[None, :], g)
        if NORMALIZES:
            # Of the entries that the product with x̂ has too: dw is then orthogonal to w to the last
            # bit.
            along += tl.sum(g * entry, 1)
        g = g.to(operand)
        added = ()
        for k in tl.static_range(PARTS):
            added += (tl.dot(g, x[k], sums[k], input_precision=PRECISION),)
        sums = added
    factor = tl.full([TILE_A], 1.0, tl.float32)
    if NORMALIZES:
        factor = _inverse(n)
    decay = -along * factor * factor
    if MOVE:
        decay += weight_decay
    start = place * D
    for k in tl.static_range(PARTS):
        dim = k * TILE_D + tl.arange(0, TILE_D)
        mask = inside[:, None] & (dim[None, :] < D)
        w32 = load_centers(target, low, start, dim, mask, SPLIT)
        v = sums[k] * factor[:, None] + decay[:, None] * w32
        if MOVE:
            if HAS_MOMENTUM:
                v += momentum * load_momentum(velocity, start, dim, mask, SPLIT)
                store_momentum(velocity, start, dim, v, mask, place, key, D, SPLIT)
            store_centers(target, low, start, dim, w32 - lr * v, mask, SPLIT)
        else:
            tl.store((gradient + start)[:, None] + dim[None, :], v, mask=mask)
