"""Reports made once: fixtures of `tests.reporting.made`."""

from tests.reporting.made import broken, broken_summary, complete, summary

__all__ = ["broken", "broken_summary", "complete", "summary"]
