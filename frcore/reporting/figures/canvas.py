"""Common look of all figures, and how a figure becomes SVG, PNG and part of the page."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from markupsafe import escape
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from frcore.files import atomic_file
from frcore.reporting.figures.palette import GRID, INK, MUTED, Palette

WIDTH = 8.4
"""Inches; the page scales figures to its own width."""

PANEL_HEIGHT = 2.5

LETTER, HANDLE, LINE = 0.068, 0.7, 0.205
"""Inches: approximate width of a letter in a legend, width of a handle with the gaps around it,
and height of a line."""

LEGEND_SPACE = 0.6
"""Inches of a figure's height that `panels` reserves for a legend."""
PNG_DPI = 200


@contextmanager
def look() -> Iterator[None]:
    """Matplotlib's settings while a figure is drawn and saved."""
    settings: Any = {
        **sns.axes_style("ticks"),
        **sns.plotting_context("paper", font_scale=1.05),
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial", "sans-serif"],
        "svg.fonttype": "none", "svg.hashsalt": "frcore",  # without a salt ids differ each time
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"),
                        INK),
        **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), MUTED),
        "axes.titlesize": "medium", "axes.titleweight": "bold", "axes.titlelocation": "left",
        # Left to itself matplotlib looks, on each pass, for ticks that are in a title's way.
        "axes.titley": 1.0,
        "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
        "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.7,
        "lines.linewidth": 1.6, "lines.markersize": 5,
        "legend.frameon": False, "figure.constrained_layout.use": True,
        # Labels come from users; a dollar sign in one is not mathematics.
        "text.parse_math": False,
    }  # fmt: skip
    with mpl.rc_context(settings):
        yield


def panels(rows: int, columns: int, *, height: float = PANEL_HEIGHT, **options: Any) -> Any:
    """A figure and its (rows, columns) array of axes."""
    layout = ConstrainedLayoutEngine(h_pad=0.08)
    figure = Figure(figsize=(WIDTH, height * rows + LEGEND_SPACE), layout=layout)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def columns_for(count: int, limit: int) -> int:
    """Number of columns that places `count` panels in the fewest rows, then with the fewest gaps.

    >>> [columns_for(count, 5) for count in (1, 4, 5, 6, 7, 13)]
    [1, 4, 5, 3, 4, 5]
    """
    rows = -(-count // limit)
    return -(-count // rows)


def small_multiples(
    titles: Sequence[str], rows: Sequence[str] = ("",), *, limit: int, height: float,
    xlabel: str = "", colours: Mapping[str, str] | None = None, **options: Any,
) -> tuple[Figure, dict[tuple[str, str], Axes]]:  # fmt: skip
    """A panel for each title (across, in blocks as wide as the page) and row (down).

    Args:
        titles: above the first panel of each column, in order.
        rows: labels of the vertical axes, beside the first column of a block.
        limit: columns at most.
        height: of a panel, inches.
        xlabel: below the lowest panel of each column.
        colours: of titles.
        options: of `Figure.subplots`.

    Returns:
        The figure, and the axes by (title, row).
    """
    n_columns = columns_for(len(titles), limit)
    blocks = -(-len(titles) // n_columns)
    figure, axes = panels(blocks * len(rows), n_columns, height=height, **options)
    grid: dict[tuple[str, str], Axes] = {}
    for position, title in enumerate(titles):
        block, column = divmod(position, n_columns)
        for row, label in enumerate(rows):
            ax = grid[title, label] = axes[block * len(rows) + row, column]
            if column == 0:
                ax.set_ylabel(label)
        grid[title, rows[0]].set_title(title, color=(colours or {}).get(title, INK))
        if position + n_columns >= len(titles):  # a panel above a gap has no neighbour below
            ax.set_xlabel(xlabel)
            ax.tick_params(labelbottom=True)
    for ax in axes.flat[len(rows) * n_columns * (blocks - 1) :]:
        if ax not in grid.values():
            ax.set_axis_off()
    return figure, grid


class Message(Figure):
    """A figure that explains why there is nothing to show; on the page it becomes text.

    Attributes:
        message: the reason.
    """

    def __init__(self, message: str):
        super().__init__(figsize=(WIDTH, 1.2))
        self.message = message
        self.text(0.5, 0.5, message, ha="center", va="center", color=MUTED, wrap=True)


def legend(
    figure: Figure, palette: Palette, heads: Sequence[str], samplers: Sequence[str],
    *extra: Line2D, colour: str = MUTED,
) -> None:  # fmt: skip
    """One legend below the panels.

    Args:
        figure: to add it to.
        palette: of the study.
        heads: heads or models, by colour and marker.
        samplers: by line style and fill of the marker.
        extra: handles of other elements.
        colour: of the samplers.
    """
    colours = palette.models | palette.heads
    of_heads = [
        Line2D([], [], color=colours[h], lw=2, marker=palette.marker(h), ms=6, label=h)
        for h in heads
    ]
    of_samplers = [
        Line2D([], [], color=colour, marker="o", ms=6, fillstyle=palette.fill(s),
               ls=palette.line(s), label=s)
        for s in samplers
    ]  # fmt: skip
    put_legend(figure, of_heads, of_samplers, extra)


def of_two_kinds(figure: Figure, own: str, others: str) -> None:
    """A legend for elements in the head's colour and for grey ones."""
    looks = ((own, INK, 0.6), (others, MUTED, 0.5))
    put_legend(figure, [Line2D([], [], color=c, lw=5, alpha=a, label=name) for name, c, a in looks])


def put_legend(figure: Figure, *groups: Sequence[Any], **options: Any) -> None:
    """A legend below the panels with as many columns as fit, filled line by line.

    Args:
        figure: to add it to; it grows as needed.
        groups: artists with labels; each group begins a line.
        options: of `Figure.legend`.
    """
    longest = max((len(group) for group in groups), default=0)
    if not longest:
        return
    for columns in range(longest, 0, -1):
        handles = [handle for group in groups for handle in _filled(group, columns)]
        by_column = [handles[column::columns] for column in range(columns)]
        width = sum(HANDLE + LETTER * max(map(_letters, column)) for column in by_column)
        if width <= WIDTH:
            break
    # More lines must not take space from the panels.
    lines = len(handles) // columns
    figure.set_figheight(figure.get_figheight() + max(0.0, LINE * (lines + 1) - LEGEND_SPACE))
    # Matplotlib fills columns; people read lines.
    ordered = [handle for column in by_column for handle in column]
    figure.legend(
        handles=ordered, loc="outside lower center", ncols=columns, handlelength=2.6, **options
    )


def _letters(handle: Any) -> int:
    return len(handle.get_label())


def _filled(group: Sequence[Any], columns: int) -> list[Any]:
    """The group, with invisible handles up to the end of its last line."""
    blanks = -len(group) % columns
    return [*group, *(Line2D([], [], ls="", label=" ") for _ in range(blanks))]


def save(figure: Figure, svg: Path, png: Path | None = None) -> str:
    """Write the requested files and return the SVG; output is deterministic."""
    # Layout is most of the work, and saving would repeat it for each format, with a dry run of the
    # whole figure.
    engine = figure.get_layout_engine()
    if engine is not None and figure.axes:
        engine.execute(figure)
    figure.set_layout_engine("none")
    with atomic_file(svg) as path:
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None, "Creator": "frcore"})
        text = _with_titles(path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
    if png is not None:
        figure.set_dpi(PNG_DPI)
        figure.set_facecolor("white")
        with atomic_file(png) as path:
            FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})
    return text


_TITLE = "title:"


def hover(artist: Artist, text: str) -> None:
    """Give an artist a tooltip, which browsers show for the SVG."""
    # Matplotlib writes an artist's gid as its id; hexadecimal is safe for any text.
    artist.set_gid(_TITLE + text.encode().hex())


def _with_titles(svg: str) -> str:
    """Turn the ids set by `hover` into numbered ones with a title inside."""
    counter = itertools.count()

    def titled(match: re.Match[str]) -> str:
        text = escape(bytes.fromhex(match.group(1)).decode())
        return f'<g id="hover-{next(counter)}"><title>{text}</title>'

    return re.sub(rf'<g id="{_TITLE}([0-9a-f]*)">', titled, svg)
