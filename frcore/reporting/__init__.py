"""From result files to rows, tables, figures and one page."""
