"""Which numbers a study has, and which of them are read and judged first. No result has a say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import pandas as pd

from frcore.errors import unknown_name
from frcore.results.column import Column
from frcore.results.rows import why_few

READING_ORDER = ("accuracy", "tar", "tpir", "rank")


@dataclass(frozen=True)
class Columns:
    """The numbers of evaluation rows.

    Attributes:
        frame: usable rows.
        benchmarks: in the order in which they are read.
    """

    frame: pd.DataFrame
    benchmarks: Sequence[str]

    @cached_property
    def every(self) -> list[Column]:
        """Every benchmark metric of any run."""
        usable = self.frame[self.frame["metric"].notna() & self.frame["gallery"].isna()]
        keys = usable[[part.name for part in fields(Column)]].drop_duplicates()
        keys = keys.astype(object).where(keys.notna(), None)
        found = [Column(*key) for key in keys.itertuples(index=False)]
        return [one for name in self.benchmarks for one in found if one.benchmark == name]

    @cached_property
    def _few(self) -> pd.Series:
        return why_few(self.frame)

    def why_unmarked(self, column: Column) -> str:
        """Why a column's numbers have no interval, mark or verdict: its FAR allows too few false
        accepts. Empty otherwise."""
        return next(filter(None, self._few[column.rows_in(self.frame)]), "")

    def hardest(self, benchmark: str) -> list[Column]:
        """A benchmark's columns over all pairs that have numbers, the main one first."""
        own = [c for c in self.every if c.benchmark == benchmark and c.subset == "all"
               and self.frame[c.rows_in(self.frame)]["value"].notna().any()]  # fmt: skip

        def place(column: Column) -> tuple[int, bool, float]:
            first = [*READING_ORDER, column.metric].index(column.metric)
            few, rate = bool(self.why_unmarked(column)), column.far or column.fpir or 0.0
            return first, few, -rate if few else rate

        return sorted(own, key=place)

    @cached_property
    def main(self) -> list[Column]:
        """Each benchmark's number to read first: accuracy, or TAR at the lowest FAR that allows
        enough false accepts for an interval (if none does, at the highest FAR)."""
        return [ranked[0] for name in self.benchmarks if (ranked := self.hardest(name))]

    @cached_property
    def primary(self) -> list[Column]:
        """The numbers that are judged unless others are named: of each benchmark its main one, and
        TAR at the lowest FAR that allows enough false accepts."""
        chosen = []
        for main in self.main:
            hardest = [c for c in self.hardest(main.benchmark) if c.metric == "tar"][:1]
            chosen += [main, *(column for column in hardest if column != main)]
        return chosen

    def counting(self) -> list[Column]:
        """Those that have intervals, `without_repeats`."""
        return [c for c in without_repeats(self.every) if not self.why_unmarked(c)]


def without_repeats(columns: Iterable[Column]) -> list[Column]:
    """Without subsets and InsightFace's rules, which would repeat the same numbers."""
    return [c for c in columns if c.subset == "all" and not c.metric.endswith("insightface")]


def chosen(
    columns: Iterable[Column], names: Sequence[str], *, every: list[Column], main: list[Column],
    where: str,
) -> list[Column]:  # fmt: skip
    """The columns that are asked for.

    Args:
        columns: those that can be named.
        names: their keys, such as `pairs.accuracy`; or `all`; or none.
        every: what `all` is.
        main: what none is.
        where: the names were given.

    Raises:
        UserError: a name does not exist.
    """
    if not names:
        return main
    if tuple(names) == ("all",):
        return every
    own = {column.key: column for column in columns}
    for key in names:
        if key not in own:
            raise unknown_name("number", key, own, where=where)
    return [own[key] for key in names]
