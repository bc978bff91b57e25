"""The bootstrap in its plainest form: the weight of every pair in every replicate, in one array."""

from __future__ import annotations

import numpy as np


class ArrayWeights:
    """Any weights of all pairs (P, r), as metrics ask for them."""

    genuine_alike = False

    def __init__(self, weights_PR, same):
        self.weights_PR, self.same = np.asarray(weights_PR), same
        self.replicates = self.weights_PR.shape[1]

    def genuine(self, pairs):
        return self.weights_PR[pairs]

    impostor = genuine

    @property
    def genuine_total(self):
        return self.genuine_sum(self.same)

    def genuine_sum(self, pairs):
        return self.weights_PR[pairs].sum(axis=0, dtype=np.float64)

    def impostor_sum(self, pairs):
        rows = ~self.same if pairs.pairs is None else pairs.pairs
        return self.weights_PR[rows].sum(axis=0, dtype=np.float64)

    def genuine_sums(self, values_KP):
        return (values_KP * self.same) @ self.weights_PR.astype(np.float64)

    def impostor_sums(self, values_KP):
        return (values_KP * ~self.same) @ self.weights_PR.astype(np.float64)


def all_weights(people, draws):
    """The weights (P, R) of all pairs that `draws` stand for."""
    found = []
    for one in draws:
        weights = np.empty((people.same.size, one.replicates))
        weights[people.same] = one.genuine(np.flatnonzero(people.same))
        weights[~people.same] = one.impostor(np.flatnonzero(~people.same))
        found.append(weights)
    return np.concatenate(found, axis=1)
