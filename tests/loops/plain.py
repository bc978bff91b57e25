"""The last layer in plain torch: autograd over a parameter (C, D), and torch.optim.SGD.

Columns and the head's formulas come from the project's samplers and heads, which have tests of
their own; what is compared is everything between them and the moved centres.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from frcore.heads.base import HeadBatch
from frcore.samplers.broadface import BroadFace


class PlainClassifier(nn.Module):
    """Class centres as any torch code has them.

    Args:
        centers: initial values.
        head: its rule.
        sampler: its columns; a queue of its own where it is a BroadFace.
        read: what is read for a centre, with a slope of 1.
    """

    def __init__(self, centers, head, sampler, read=torch.Tensor.detach):
        super().__init__()
        self.centers = nn.Parameter(centers.detach().clone())
        self.head = head
        self.read = read
        self.queue_size = sampler.size if isinstance(sampler, BroadFace) else 0
        self.sampler = sampler.over if self.queue_size else sampler
        self.sampler.attach(len(centers), centers.shape[1], seed=3)
        self.queue = []
        self.moved, self.backward_pass = set(), None

    @property
    def resting(self):
        """Whether rows that are no columns stand still."""
        return self.sampler.leaves_out and self.sampler.update == "sparse"

    def forward(self, x_ND, label_N):
        queue = self.queue if self.training else []
        label_M = torch.cat([label_N, *(label[None] for _, _, label in queue)])
        columns = None
        if self.training:
            columns = self.sampler.columns(label_M, lambda index: self.centers.detach()[index])
        columns = torch.arange(len(self.centers)) if columns is None else columns
        w_AD = self.centers[columns]
        w_AD = w_AD + (self.read(w_AD) - w_AD).detach()
        if w_AD.requires_grad:
            w_AD.register_hook(lambda _: self.note(columns))
        extra = [
            e + (e.norm() / old.norm()) * (self.read(self.centers.detach()[k]) - old)
            for e, old, k in queue
        ]
        # The encoder has the mean over the batch; centres that over batch and queue.
        to_encoder = self.rows(x_ND, w_AD.detach() if queue else w_AD, columns, label_N, True)
        loss, row_loss = to_encoder.mean(), to_encoder
        if queue:
            x_MD = torch.cat([x_ND.detach(), torch.stack(extra)])
            to_centers = self.rows(x_MD, w_AD, columns, label_M, False)
            count, total = len(x_ND), len(x_MD)
            loss = loss + to_centers.mean() - to_centers.mean().detach()
            own = to_centers[:count]
            row_loss = row_loss + (own - own.detach()) * count / total
        if self.training and self.queue_size:
            now = self.read(self.centers.detach())
            self.queue += [
                (e.clone(), now[k].clone(), k) for e, k in zip(x_ND.detach(), label_N, strict=True)
            ]
            self.queue = self.queue[-self.queue_size :]
        return SimpleNamespace(loss=loss, row_loss_N=row_loss)

    def rows(self, x_MD, w_AD, columns, label_M, is_batch):
        """The loss of each row, by the definition of a softmax."""
        cosine_MA = F.normalize(x_MD) @ F.normalize(w_AD).T
        own_M = torch.searchsorted(columns, label_M)
        index = torch.arange(len(x_MD)), own_M
        batch = HeadBatch(cosine_MA[index], x_MD.norm(dim=1), label_M, len(self.centers))
        if self.training and is_batch:
            with torch.no_grad():
                self.head.update(batch)
        scale, target_M = self.head.scale(batch), self.head.target(batch.cosine_N, batch)
        logit_MA = scale * self.head.negative(cosine_MA, target_M[:, None], batch)
        logit_MA = logit_MA.index_put(index, scale * target_M)
        return F.cross_entropy(logit_MA, own_M, reduction="none")

    def note(self, columns):
        """A backward pass has reached these columns."""
        now = torch._C._current_graph_task_id()
        nothing = self.centers.grad is None or not self.centers.grad.any()
        if nothing and now != self.backward_pass:
            self.moved = set()
        self.backward_pass = now
        self.moved |= set(columns.tolist())

    def read_centers(self):
        return self.centers.detach()


class RestingSGD(torch.optim.SGD):
    """torch.optim.SGD that undoes what it did to rows without a backward pass."""

    def __init__(self, classifier, **rates):
        super().__init__([classifier.centers], **rates)
        self.classifier = classifier

    def __getstate__(self):
        return {**super().__getstate__(), "classifier": self.classifier}

    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        center_CD = self.classifier.centers
        if center_CD.grad is None:
            return loss
        if not center_CD.grad.any():
            self.classifier.moved = set()
        rest = [k for k in range(len(center_CD)) if k not in self.classifier.moved]
        state = self.state[center_CD]
        old_CD = center_CD.detach().clone()
        velocity_CD = state.get("momentum_buffer")
        velocity_CD = torch.zeros_like(old_CD) if velocity_CD is None else velocity_CD.clone()
        super().step()
        with torch.no_grad():
            center_CD[rest] = old_CD[rest]
            if state.get("momentum_buffer") is not None:
                state["momentum_buffer"][rest] = velocity_CD[rest]
        return loss


def plain_sgd(classifier, **rates):
    if classifier.resting:
        return RestingSGD(classifier, **rates)
    return torch.optim.SGD([classifier.centers], **rates)
