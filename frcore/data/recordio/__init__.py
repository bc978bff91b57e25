"""RecordIO files as MXNet writes them."""

from frcore.data.recordio.dataset import RecordIODataset

__all__ = ["RecordIODataset"]
