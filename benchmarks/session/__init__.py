"""Measured steps of the last layer, ours and others', each in a fresh process, as rows of a CSV."""
