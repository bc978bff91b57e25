"""A row of a table, by column."""

from frcore.results.frames import Row as Record

__all__ = ["Record"]
