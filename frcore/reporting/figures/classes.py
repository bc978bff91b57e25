"""Figures of classes: those with many and few images, and those of the same person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from frcore.records.diagnostics import CosineHistogram
from frcore.reporting.figures.angles import method_grid
from frcore.reporting.figures.canvas import Message, hover, legend, of_two_kinds, small_multiples
from frcore.reporting.figures.marks import areas, bare, plain_ticks, same_range
from frcore.reporting.figures.palette import INK, Palette, present
from frcore.reporting.tables.centers import seed_means
from frcore.results.rows import Rows
from frcore.study import expansion
from frcore.study.config import Study

UNEQUAL = ("head", "middle", "tail")
ANGLES = ("target_angle_mean", "target_angle_p5", "target_angle_p95")
TOUCHES = "passive_per_positive"
ASIDE = 1.06
"""Factor by which adjacent samplers are shifted apart, so that their bars do not overlap."""


def long_tail(study: Study, rows: Rows) -> Figure:
    """Angle to the own centre and passive updates against images per identity, by head."""
    frame = rows.usable("diagnostics")
    frame = frame[frame["group"].isin(UNEQUAL)]
    keys, columns = ["head", "sampler", "group"], ["images", *ANGLES, TOUCHES]
    table = seed_means(frame, keys, columns).reset_index()
    if table.empty:
        return Message("Long tail: all training identities have equally many images.")
    heads, samplers = present(study.heads, table["head"]), present(study.samplers, table["sampler"])
    palette = Palette(study)
    quantities = {"angle to own\ncentre [°]": ANGLES[0], "passive updates\nper own image": TOUCHES}
    figure, grid = small_multiples(
        heads, list(quantities), limit=5, height=1.9, xlabel="images per identity",
        colours=palette.heads, sharex=True, sharey="row",
    )  # fmt: skip
    for (head, label), ax in grid.items():
        for place, sampler in enumerate(samplers):
            own = table[(table["head"] == head) & (table["sampler"] == sampler)]
            aside = ASIDE ** (place - (len(samplers) - 1) / 2)
            _groups(ax, own, quantities[label], palette, aside)
    for label in quantities:
        same_range(grid[head, label] for head in heads)
    next(iter(grid.values())).set_xscale("log")
    for ax in figure.axes:
        plain_ticks(ax.xaxis)
    legend(figure, palette, [], samplers, colour=INK)
    return figure


def _groups(ax: Axes, own: pd.DataFrame, quantity: str, palette: Palette, aside: float) -> None:
    """A method's groups as points, with the spread over their identities if known."""
    own = own.dropna(subset=["images", quantity]).sort_values("images")
    if own.empty:
        return
    head, sampler = own["head"].iloc[0], own["sampler"].iloc[0]
    spread = None
    if quantity == ANGLES[0]:
        low, high = own[quantity] - own[ANGLES[1]], own[ANGLES[2]] - own[quantity]
        # With few identities a mean can lie outside the percentiles.
        spread = [low.clip(lower=0.0), high.clip(lower=0.0)]
    bars = ax.errorbar(
        own["images"] * aside, own[quantity], yerr=spread, color=palette.heads[head],
        ls=palette.line(sampler), marker=palette.marker(head), ms=5, lw=1.2, elinewidth=0.8,
        fillstyle=palette.fill(sampler),
    )  # fmt: skip
    hover(bars.lines[0], f"{head} + {sampler}")


@dataclass(frozen=True)
class CenterPairs:
    """Cosines between the class centres of a head × sampler, summed over seeds.

    Attributes:
        edges: of the bins.
        pairs: all pairs of centres (B,).
        same: those of the same person; None if unknown.
    """

    edges: NDArray[np.float64]
    pairs: NDArray[np.int64]
    same: NDArray[np.int64] | None


def center_pairs(study: Study, rows: Rows) -> Mapping[tuple[str, str], CenterPairs]:
    """(head, sampler) -> its histograms, of the runs with usable diagnostics."""
    own: dict[tuple[str, str], list[CosineHistogram]] = defaultdict(list)
    diagnostics = rows.found.diagnostics
    for name, spec in expansion.runs(study).items():
        record = diagnostics[name].usable if name in diagnostics else None
        if record and record.conflicts and record.conflicts.histogram:
            own[spec.head.label, spec.sampler.label].append(record.conflicts.histogram)
    found = {}
    for key, some in own.items():
        same = [one.same_person for one in some if one.same_person is not None]
        found[key] = CenterPairs(
            np.asarray(some[0].edges, dtype=float), np.sum([one.pairs for one in some], axis=0),
            np.sum(same, axis=0) if len(same) == len(some) else None,
        )  # fmt: skip
    return found


def center_cosines(study: Study, found: Mapping[tuple[str, str], CenterPairs]) -> Figure:
    """Cosines between centres: of labels of the same person, and of all pairs; heads × samplers."""
    if not found:
        return Message(
            "Conflicts: no finished run has recorded the cosines between its class centres."
        )
    if all(one.same is not None and not one.same.any() for one in found.values()):
        return Message("Conflicts: no person of the training set has two labels.")
    palette = Palette(study)
    figure, grid = method_grid(study, set(found), "cosine", 1.35)
    for (head, sampler), ax in grid.items():
        bare(ax)
        if one := found.get((head, sampler)):
            areas(ax, one.edges, one.same, one.pairs, palette.heads[head], "pairs of centres")
    every = next(iter(found.values())).edges
    counted = np.flatnonzero(np.sum([one.pairs for one in found.values()], axis=0))
    first = next(iter(grid.values()))
    first.set_xlim(every[counted[0]], every[counted[-1] + 1])
    # The outer labels of adjacent panels would overlap.
    first.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    of_two_kinds(figure, "labels of one person (head's colour)", "any two labels (grey)")
    return figure
