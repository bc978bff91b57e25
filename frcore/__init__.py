"""Benchmarks and reproductions of the last layer of a face-recognition trainer."""

__version__ = "0.1.0"
