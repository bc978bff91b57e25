"""What is measured: every case of a grid, the most telling first."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

HUGE = 10**12
"""Identities that no machine holds: how running out of memory is tried."""


@dataclass(frozen=True)
class Case:
    """One row. Its fields are the row's key.

    Attributes:
        subject: "frcore", or a peer (see `benchmarks.session.peers`).
        backend: of frcore; "-" for a peer.
        head: a name with its default parameters.
        identities: class centres C.
        rate: share of them in each step's softmax.
        state: how centres and momentum are held, as in `frcore.planning.STATES`.
        precision: of the matrix products: fp32, tf32 or bf16.
        batch_size: rows.
        dim: of the embeddings.
    """

    subject: str
    backend: str
    head: str
    identities: int
    rate: float
    state: str
    precision: str
    batch_size: int
    dim: int

    @property
    def name(self) -> str:
        """For people; `--only` looks for its words here."""
        subject = self.subject if self.backend == "-" else self.backend
        return (
            f"{subject} {self.head} C={self.identities} rate={self.rate:g} {self.state} "
            f"{self.precision}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Column -> value."""
        return asdict(self)


KEY = tuple(Case.__dataclass_fields__)

RANKS: dict[str, dict[Any, int]] = {
    "subject": {"frcore": 0, "naive": 0, "insightface": 0, "compiled": 1, "linear_ce": 1,
                "liger": 1, "liger_wide": 1, "cce": 1},
    "backend": {"triton": 0, "streamed": 0, "dense": 0, "-": 0},
    "head": {"cosface": 0, "arcface": 1, "normface": 1, "curricularface": 2, "mv_softmax": 2,
             "adacos": 2},
    "identities": {10**6: 0, 10**5: 1, 10**7: 1, 3 * 10**7: 2},
    "rate": {1.0: 0, 0.1: 1},
    "state": {"fp32": 0, "split": 0, "fp32_no_momentum": 2, "split_no_momentum": 1},
    "precision": {"bf16": 0, "fp32": 0, "tf32": 1},
}  # fmt: skip
"""How far each value is from the case that everybody asks for first; a case has the sum."""


def rank(case: Case) -> int:
    """The case's distance from the first question."""
    return sum(ranks.get(getattr(case, field), 0) for field, ranks in RANKS.items())


PLAIN = {"naive": ("fp32", "tf32"), "compiled": ("fp32", "tf32"), "linear_ce": ("fp32",),
         "liger": ("bf16",), "liger_wide": ("bf16",), "cce": ("bf16",)}  # fmt: skip
"""Peers that know no margin, and the precisions they are run in."""

MARGINS = ("cosface", "arcface")
"""The heads that insightface has too."""


def grid(name: str) -> list[Case]:
    """All cases of the grid `name`, the lowest rank first; those of "short" by what they tell."""
    if name == "short":
        return _short(1, 1024, 512)
    if name == "short_tiny":  # a rehearsal
        return _short(10**5, 8, 16)
    cases = {"full": _full, "tiny": _tiny}[name]()
    return sorted(cases, key=rank)


def _short(shrink: int, batch: int, dim: int) -> list[Case]:
    """What a GPU that is lent for minutes is asked, in this order.

    The fused step, insightface's in the same run, the plain softmax against other fused losses, our
    other backends, and 30 million identities on one GPU.
    """
    rows = [
        ("frcore", "triton", "cosface", 10**6, 1.0, "fp32", "bf16"),
        ("frcore", "triton", "cosface", 10**6, 1.0, "split", "bf16"),
        ("frcore", "triton", "cosface", 10**7, 1.0, "fp32", "bf16"),
        ("frcore", "triton", "cosface", 10**7, 1.0, "split", "bf16"),
        ("frcore", "triton", "cosface", 10**6, 0.1, "split", "bf16"),
        ("frcore", "triton", "cosface", 10**7, 0.1, "split", "bf16"),
        ("insightface", "-", "cosface", 10**6, 1.0, "fp32", "fp32"),
        ("insightface", "-", "cosface", 10**6, 0.1, "fp32", "fp32"),
        ("insightface", "-", "cosface", 10**7, 0.1, "fp32", "fp32"),
        ("insightface", "-", "cosface", 10**6, 1.0, "fp32", "tf32"),
        ("frcore", "triton", "normface", 10**6, 1.0, "fp32", "bf16"),
        ("cce", "-", "normface", 10**6, 1.0, "fp32", "bf16"),
        ("naive", "-", "normface", 10**6, 1.0, "fp32", "fp32"),
        ("compiled", "-", "normface", 10**6, 1.0, "fp32", "fp32"),
        ("liger_wide", "-", "normface", 10**6, 1.0, "fp32", "bf16"),
        ("liger", "-", "normface", 10**6, 1.0, "fp32", "bf16"),
        ("frcore", "dense", "cosface", 10**6, 1.0, "fp32", "fp32"),
        ("frcore", "streamed", "cosface", 10**6, 1.0, "fp32", "fp32"),
        ("frcore", "triton", "cosface", 3 * 10**7, 1.0, "split", "bf16"),
    ]
    return [
        Case(subject, backend, head, classes // shrink, rate, state, precision, batch, dim)
        for subject, backend, head, classes, rate, state, precision in rows
    ]


def _full() -> list[Case]:
    sizes, rates = (10**5, 10**6, 10**7, 3 * 10**7), (1.0, 0.1)
    heads = ("cosface", "arcface", "curricularface", "mv_softmax", "adacos", "normface")
    return [
        *_ours(sizes, rates, heads, ("dense", "streamed", "triton"), 1024, 512),
        *_peers(sizes, rates, 1024, 512),
    ]


def _tiny() -> list[Case]:
    """Every path in seconds, on any device; one case is beyond any memory."""
    shape = (8, 16)
    ours = _ours((64,), (1.0, 0.1), ("cosface", "adacos"), ("dense", "streamed"), *shape)
    return [
        *(case for case in ours if case.state != "fp32_no_momentum" and case.precision != "tf32"),
        Case("frcore", "dense", "cosface", HUGE, 1.0, "fp32", "fp32", *shape),
        Case("frcore", "triton", "cosface", 64, 1.0, "split", "bf16", *shape),
        *(
            Case(peer, "-", "normface", 64, 1.0, "fp32", "fp32", *shape)
            for peer in ("naive", "linear_ce", "liger", "liger_wide")
        ),
    ]


def _ours(
    sizes: tuple[int, ...],
    rates: tuple[float, ...],
    heads: tuple[str, ...],
    backends: tuple[str, ...],
    batch: int,
    dim: int,
) -> list[Case]:
    """Every combination; the precision and no momentum are asked of one head alone."""
    states = ("fp32", "split", "fp32_no_momentum", "split_no_momentum")
    cases = []
    for head, size, rate, backend, state in product(heads, sizes, rates, backends, states):
        if backend == "dense" and state.startswith("split"):
            continue  # its gradient would be a tensor in bf16, which `CentersSGD` refuses
        for precision in ("bf16",) if backend == "triton" else ("fp32", "tf32"):
            variation = precision == "tf32" or state.endswith("no_momentum")
            if head == "cosface" or not variation:
                cases.append(
                    Case("frcore", backend, head, size, rate, state, precision, batch, dim)
                )
    return cases


def _peers(sizes: tuple[int, ...], rates: tuple[float, ...], batch: int, dim: int) -> list[Case]:
    plain = [
        Case(peer, "-", "normface", size, 1.0, "fp32", precision, batch, dim)
        for peer, precisions in PLAIN.items()
        for precision, size in product(precisions, sizes)
    ]
    margins = [
        Case("insightface", "-", head, size, rate, "fp32", precision, batch, dim)
        for head, size, rate, precision in product(MARGINS, sizes, rates, ("fp32", "tf32"))
    ]
    return plain + margins
