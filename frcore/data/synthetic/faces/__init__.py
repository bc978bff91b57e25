"""Procedural faces: the person (`identity`), the capture conditions (`nuisance`), the image.

An image is a function of (seed, split, identity index, medium, image index) alone: it does not
depend on how many other identities or images exist, nor on which process renders it.
"""
