"""Models trained elsewhere: read without running what a stranger put into the file."""
