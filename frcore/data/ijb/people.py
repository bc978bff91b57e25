"""The people in the templates of IJB, worked out from the lists of pairs and galleries together.

The list of images has no subjects. Templates of a genuine pair show one person, and so do those
with the same subject in the 1:N lists: people are the connected components of these two relations.
An impostor pair or two subjects within one component are a contradiction.
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
        alone: True for a template in no genuine pair and no 1:N list (T,).
    """

    template: Ids
    identity: NDArray[np.object_]
    alone: NDArray[np.bool_]

    def of(self, template: Ids) -> NDArray[np.object_]:
        """The names of the people in `template` (N,), all of which must have images."""
        return self.identity[rows_of(self.template, template)]

    @property
    def warnings(self) -> list[str]:
        """How many templates count as separate people because nothing links them."""
        count = int(self.alone.sum())
        return [f"{count} templates are in no genuine pair and in no gallery or probe list; each "
                "counts as a separate person"] if count else []  # fmt: skip


def people_of(lists: IJBLists, name: str) -> People:
    """Find the people; `name` (ijbb, ijbc) is the prefix of their names.

    Raises:
        UserError: pairs and lists contradict each other (naming the first ten lines).
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
        "impostor pairs show one person", impostors,
        lambda row: f"{lists.pairs_path}:{row + 1}: templates {lists.a[row]} and {lists.b[row]} "
        "have the label 0, but genuine pairs or the 1:N lists make them one person",
        _REMEDY,
    )  # fmt: skip
    names = np.empty(count, object)
    # A person is named after its lowest template, unless it has a subject.
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
    refuse("groups of subjects are joined into one person by genuine pairs", problems, _REMEDY)
