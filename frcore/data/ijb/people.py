"""Whom the templates of IJB show: the lists of pairs and galleries together say it.

The list of images has no subject. Templates of a genuine pair show one person, and so do those to
which the 1:N lists give one subject: people are the connected components of these two relations.
An impostor pair inside one component, or two subjects, is a contradiction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from frcore.data.ijb.layout import Ids, rows_of
from frcore.data.ijb.lists import IJBLists
from frcore.data.pixels.images import refuse

_SHOWN = 10
_CHUNK = 2**20
_REMEDY = "Take all lists from one release, or correct these lines"


class People(NamedTuple):
    """The person of each template.

    Attributes:
        template: ids (T,), ascending.
        identity: a name (T,), `ijbc/subject/12`, or without a subject `ijbc/template/7` after the
            person's lowest template.
        alone: True for a template that no genuine pair and no list joins to anything (T,).
    """

    template: Ids
    identity: NDArray[np.object_]
    alone: NDArray[np.bool_]

    def of(self, template: Ids) -> NDArray[np.object_]:
        """The names of the people on `template` (N,), all of which must have images."""
        return self.identity[rows_of(self.template, template)]

    @property
    def warnings(self) -> list[str]:
        """How many templates are people of their own for lack of knowledge."""
        count = int(self.alone.sum())
        if not count:
            return []
        return [
            f"{count} templates stand in no genuine pair and in no gallery or probe list; each "
            "counts as a person of its own"
        ]


def people_of(lists: IJBLists, name: str) -> People:
    """Find the people; `name` (ijbb, ijbc) begins theirs.

    Raises:
        UserError: pairs and lists contradict one another; the first ten lines are named.
    """
    ids = lists.templates
    a, b = rows_of(ids, lists.a), rows_of(ids, lists.b)
    where = rows_of(ids, lists.enrolled["template"].to_numpy())
    subjects, which = np.unique(lists.enrolled["subject"].to_numpy(), return_inverse=True)
    # Each subject is a node beside the templates, at the end.
    left = np.concatenate([a[lists.same], where])
    right = np.concatenate([b[lists.same], len(ids) + which])
    count = len(ids) + len(subjects)
    graph = sparse.coo_array((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    component = connected_components(graph, directed=False)[1].astype(np.int32)
    _refuse_two_subjects(component[len(ids) :], subjects, where, which, ids)
    _refuse_impostors_of_one_person(lists, component, a, b)
    joined = np.zeros(len(ids), bool)
    joined[left] = True
    joined[right[right < len(ids)]] = True
    return People(ids, _names(component, ids, subjects, name), ~joined)


def _names(component: Ids, ids: Ids, subjects: Ids, name: str) -> NDArray[np.object_]:
    """The name of each template's person (T,)."""
    lowest = np.full(component.max() + 1, np.iinfo(np.int32).max, np.int32)
    np.minimum.at(lowest, component[: len(ids)], ids)
    names = np.array([f"{name}/template/{template}" for template in lowest], object)
    names[component[len(ids) :]] = [f"{name}/subject/{subject}" for subject in subjects]
    return names[component[: len(ids)]]


def _refuse_two_subjects(of_subject: Ids, subjects: Ids, where: Ids, which: NDArray[np.intp],
                         ids: Ids) -> None:  # fmt: skip
    """Refuse genuine pairs that join templates of two subjects; `of_subject` are components."""
    table = pd.DataFrame({"component": of_subject, "subject": subjects})
    mixed = table[table.duplicated("component", keep=False)]
    problems = []
    template = dict(zip(which.tolist(), ids[where].tolist(), strict=True))
    number = {subject: place for place, subject in enumerate(subjects.tolist())}
    for _, group in mixed.groupby("component"):
        shown = group["subject"].tolist()[:3]
        some = ", ".join(f"{subject} (template {template[number[subject]]})" for subject in shown)
        problems.append(f"subjects {some}{' and others' if len(group) > 3 else ''}")
    refuse("groups of subjects are one person by the genuine pairs", problems, _REMEDY)


def _refuse_impostors_of_one_person(lists: IJBLists, component: Ids, a: Ids, b: Ids) -> None:
    found: list[str] = []
    total = 0
    for start in range(0, len(a), _CHUNK):
        part = slice(start, start + _CHUNK)
        wrong = (component[a[part]] == component[b[part]]) & ~lists.same[part]
        total += int(wrong.sum())
        for row in start + np.flatnonzero(wrong)[: _SHOWN - len(found)]:
            found.append(
                f"{lists.pairs_path}:{row + 1}: templates {lists.a[row]} and {lists.b[row]} have "
                "the label 0, but genuine pairs or the 1:N lists make them one person"
            )
    refuse("impostor pairs are of one person", found, _REMEDY, total=total)
