"""Which differences of a table its benchmarks can resolve: `frcore audit`, docs/literature.md."""
