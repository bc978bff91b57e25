"""A row of a table, by column."""

from typing import Any

Record = dict[str, Any]
