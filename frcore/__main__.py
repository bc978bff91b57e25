"""`python -m frcore`: the command of this very interpreter, whatever is on PATH."""

from frcore.cli import main

main()
