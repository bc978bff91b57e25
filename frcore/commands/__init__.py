"""The commands of `frcore`, as plain functions; `frcore.cli` gives them their names.

Heavy imports are inside the functions, so that `frcore --help` answers at once.
"""
