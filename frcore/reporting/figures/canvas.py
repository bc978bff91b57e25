"""The look of every figure, and how a figure becomes SVG, PNG and part of the page."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
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
"""Inches: about the width of a letter of a legend, of what stands before a label with the gap
behind it, and the height of a line."""

LEGEND_SPACE = 0.6
"""Inches of a figure's height that `panels` leaves for a legend."""
PNG_DPI = 200


@contextmanager
def look() -> Iterator[None]:
    """Matplotlib's settings while a figure is drawn and saved."""
    settings: Any = {
        **sns.axes_style("ticks"),
        **sns.plotting_context("paper", font_scale=1.05),
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial", "sans-serif"],
        "svg.fonttype": "none",
        # Without a salt the ids in the file differ from run to run.
        "svg.hashsalt": "frcore",
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "axes.titlesize": "medium",
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        # Left to itself matplotlib looks, on each pass, for ticks that are in a title's way.
        "axes.titley": 1.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "axes.axisbelow": True,
        "axes.linewidth": 0.8,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "lines.linewidth": 1.6,
        "lines.markersize": 5,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
        # Labels come from users; a dollar sign in one is not mathematics.
        "text.parse_math": False,
    }
    with mpl.rc_context(settings):
        yield


def panels(rows: int, columns: int, *, height: float = PANEL_HEIGHT, **options: Any) -> Any:
    """A figure and its (rows, columns) array of axes."""
    layout = ConstrainedLayoutEngine(h_pad=0.08)
    figure = Figure(figsize=(WIDTH, height * rows + LEGEND_SPACE), layout=layout)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def columns_for(count: int, limit: int) -> int:
    """How many columns lay out `count` panels with the fewest rows, then the fewest gaps.

    >>> [columns_for(count, 5) for count in (1, 4, 5, 6, 7, 13)]
    [1, 4, 5, 3, 4, 5]
    """
    rows = -(-count // limit)
    return -(-count // rows)


def same_range(axes: Iterable[Axes]) -> None:
    """Give axes the vertical range that holds what all of them show."""
    axes = list(axes)
    lows, highs = zip(*(ax.get_ylim() for ax in axes), strict=True)
    for ax in axes:
        ax.set_ylim(min(lows), max(highs))


class Message(Figure):
    """A figure that says why there is nothing to see; the page says it in words.

    Attributes:
        message: the reason.
    """

    def __init__(self, message: str):
        super().__init__(figsize=(WIDTH, 1.2))
        self.message = message
        self.text(0.5, 0.5, message, ha="center", va="center", color=MUTED, wrap=True)


def message(text: str) -> Figure:
    """A figure that says why there is nothing to see."""
    return Message(text)


def legend(
    figure: Figure, palette: Palette, heads: list[str], samplers: list[str], *extra: Line2D
) -> None:
    """One legend below the panels.

    Args:
        figure: gets it.
        palette: of the study.
        heads: heads or models, by colour and marker.
        samplers: by line and by filling of the marker.
        extra: handles of what else is drawn.
    """
    colours = palette.models | palette.heads
    of_heads = [
        Line2D([], [], color=colours[h], lw=2, marker=palette.marker(h), ms=6, label=h)
        for h in heads
    ]
    of_samplers = [
        Line2D([], [], color=MUTED, marker="o", ms=6, fillstyle=palette.fill(s),
               ls=palette.line(s), label=s)
        for s in samplers
    ]  # fmt: skip
    put_legend(figure, of_heads, of_samplers, extra)


def put_legend(figure: Figure, *groups: Sequence[Any], **options: Any) -> None:
    """A legend below the panels with as many columns as fit, filled line by line.

    Args:
        figure: gets it, and grows by what it needs.
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
    # More lines must not take their space from the panels.
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


RING = 12
"""Points: the size of a ring around a marker."""


def ring(ax: Axes, x: float, y: float) -> Line2D:
    """A ring around a point that is to be read with care."""
    (around,) = ax.plot(x, y, marker="o", ms=RING, mfc="none", mec=INK, mew=0.7, ls="", alpha=0.8)
    return around


def hide_unused(axes: list[Axes], used: int) -> None:
    """Switch off the panels of a grid that hold nothing."""
    for ax in axes[used:]:
        ax.set_axis_off()


def save(figure: Figure, svg: Path, png: Path | None = None) -> None:
    """Write the files asked for; the same figure gives the same bytes."""
    # Laying out is most of the work, and saving would do it again for each format, and draw the
    # whole figure once more to nowhere.
    engine = figure.get_layout_engine()
    if engine is not None and figure.axes:
        engine.execute(figure)
    figure.set_layout_engine("none")
    _write_svg(svg, FigureCanvasSVG(figure).print_svg)
    if png is not None:
        figure.set_dpi(PNG_DPI)
        figure.set_facecolor("white")
        with atomic_file(png) as path:
            FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def save_svg(figure: Figure, svg: Path) -> None:
    """Write one file; the same figure gives the same bytes."""
    _write_svg(svg, functools.partial(figure.savefig, format="svg"))


def _write_svg(svg: Path, write: Callable[..., None]) -> None:
    with atomic_file(svg) as path:
        write(path, metadata={"Date": None, "Creator": "frcore"})
        path.write_text(_with_titles(path.read_text(encoding="utf-8")), encoding="utf-8")


_TITLE = "title:"


def hover(artist: Artist, text: str) -> None:
    """Give an artist a text that a browser shows while the pointer is over it, in the SVG."""
    # Matplotlib writes an artist's gid as its id; a hexadecimal one survives any text.
    artist.set_gid(_TITLE + text.encode().hex())


def _with_titles(svg: str) -> str:
    """Turn the ids that `hover` made into numbered ones with a title inside."""
    from markupsafe import escape

    counter = itertools.count()

    def titled(match: re.Match[str]) -> str:
        text = escape(bytes.fromhex(match.group(1)).decode())
        return f'<g id="hover-{next(counter)}"><title>{text}</title>'

    return re.sub(rf'<g id="{_TITLE}([0-9a-f]*)">', titled, svg)


def inline(svg: str, name: str, description: str) -> str:
    """An SVG file's text made part of an HTML page.

    Ids get the figure's name, since two figures share theirs; colours become CSS variables that
    fall back to themselves, so that the page can change them in the dark; the image is described
    for those who do not see it.
    """
    from markupsafe import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(
        r'style="([^"]*)"',
        lambda match: f'style="{re.sub(COLOUR, _variable, match.group(1))}"',
        body,
    )
    head, _, rest = body.partition(">")
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(description)}">{rest}'


COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")


def _variable(match: re.Match[str]) -> str:
    colour = match.group(0).lower()
    return f"var(--c{colour[1:]}, {colour})"
