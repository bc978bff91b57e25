"""Components are found, checked and built by name."""

from __future__ import annotations

import sys
from pathlib import Path


def find_modules_here() -> None:
    """Let `module:Class` name a module of the working directory, as with `python -m`."""
    # Last, so that a file named random.py shadows nothing.
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
