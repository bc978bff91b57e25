"""RecordIO files in MXNet's format."""

from frcore.data.recordio.dataset import RecordIODataset

__all__ = ["RecordIODataset"]
