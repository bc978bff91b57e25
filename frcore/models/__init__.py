"""Models trained elsewhere: read without running anything from an untrusted file."""
