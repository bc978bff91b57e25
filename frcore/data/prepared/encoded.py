"""Old place of what is in `frcore.data.source` now."""

from frcore.data.source import KINDS, EncodedFiles, EncodedImages, open_encoded

__all__ = ["KINDS", "EncodedFiles", "EncodedImages", "open_encoded"]
