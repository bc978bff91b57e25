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

from frcore.data.ijb.layout import Ids
from frcore.data.ijb.lists import IJBLists, rows_of
from frcore.data.refusal import refuse, refuse_rows

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
        """How many templates are people of their own because nothing is known of them."""
        count = int(self.alone.sum())
        return [f"{count} templates are in no genuine pair and in no gallery or probe list; each "
                "counts as a person of its own"] if count else []  # fmt: skip


def people_of(lists: IJBLists, name: str) -> People:
    """Find the people; `name` (ijbb, ijbc) begins theirs.

    Raises:
        UserError: pairs and lists contradict one another; the first ten lines are named.
    """
    ids = lists.templates
    a, b = rows_of(ids, lists.a), rows_of(ids, lists.b)
    listed = rows_of(ids, lists.enrolled["template"].to_numpy())
    which, subjects = pd.factorize(lists.enrolled["subject"], sort=True)
    # Each subject is a node after those of the templates.
    left = np.concatenate([a[lists.same], listed])
    right = np.concatenate([b[lists.same], len(ids) + which])
    count = len(ids) + len(subjects)
    graph = sparse.coo_array((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    component = connected_components(graph, directed=False)[1].astype(np.int32)
    _refuse_two_subjects(lists.enrolled.assign(component=component[listed]))
    impostors = np.flatnonzero((component[a] == component[b]) & ~lists.same)
    refuse_rows(
        "impostor pairs are of one person", impostors,
        lambda row: f"{lists.pairs_path}:{row + 1}: templates {lists.a[row]} and {lists.b[row]} "
        "have the label 0, but genuine pairs or the 1:N lists make them one person",
        _REMEDY,
    )  # fmt: skip
    names = np.empty(count, object)
    # A person's lowest template comes first; a subject's name replaces its.
    _, lowest = np.unique(component[: len(ids)], return_index=True)
    names[component[lowest]] = [f"{name}/template/{template}" for template in ids[lowest]]
    names[component[len(ids) :]] = [f"{name}/subject/{subject}" for subject in subjects]
    joined = np.isin(np.arange(len(ids)), np.concatenate([left, right]))
    return People(ids, names[component[: len(ids)]], ~joined)


def _refuse_two_subjects(enrolled: pd.DataFrame) -> None:
    """Refuse genuine pairs that join templates of two subjects."""
    distinct = enrolled.drop_duplicates(["component", "subject"])
    problems = []
    for _, group in distinct[distinct.duplicated("component", keep=False)].groupby("component"):
        some = ", ".join(f"{row.subject} (template {row.template})"
                         for row in group.sort_values("subject")[:3].itertuples())  # fmt: skip
        problems.append(f"subjects {some}{' and others' if len(group) > 3 else ''}")
    refuse("groups of subjects are one person by the genuine pairs", problems, _REMEDY)
