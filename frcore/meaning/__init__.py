"""What code means, read as text: the ground of `frcore.fingerprint`. Nothing of it is imported."""
