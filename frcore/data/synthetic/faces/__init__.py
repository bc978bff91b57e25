"""Procedural faces: who somebody is (`identity`), how it was taken (`nuisance`), the picture.

A picture is a function of (seed, split, identity index, medium, image index) alone: it does not
depend on how many other identities or images exist, nor on which process draws it.
"""
