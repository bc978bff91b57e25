"""Time and memory of one training step of the last layer.

Two kinds of step. `fused`: the logits are never stored; one pass over the class centres for loss
and embeddings' gradient, one for the centres' gradient with SGD in its epilogue: 4 matrix products.
A pass takes at least as long as its products and at least as long as its bytes, so the larger of
the two is a lower bound. The others run one kernel per operation (`frcore.planning.counted`), and
all times add up: an estimate, not a bound. docs/planning.md derives the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

from frcore.errors import unknown_name
from frcore.planning.counted import COUNTED
from frcore.planning.devices import Device
from frcore.planning.network import FLOAT, exchanged
from frcore.planning.workload import STATES, Workload


@dataclass(frozen=True)
class Part:
    """A part of the step on one GPU.

    Attributes:
        flop: of its matrix products.
        moved: bytes through the GPU's memory.
        sent: bytes to other GPUs.
        overlaps: whether arithmetic and memory traffic can hide each other.
    """

    name: str
    flop: float = 0.0
    moved: float = 0.0
    sent: float = 0.0
    overlaps: bool = False

    def split_ms(self, device: Device, precision: str) -> tuple[float, float, float]:
        """Time for the arithmetic, the memory traffic and the network, each alone."""
        return (
            1e3 * self.flop / (device.tflops[precision] * 1e12),
            1e3 * self.moved / (device.tb_per_second * 1e12),
            1e3 * self.sent / (device.network_gb_per_second * 1e9),
        )

    def ms(self, device: Device, precision: str) -> float:
        """Time of the part."""
        compute, memory, network = self.split_ms(device, precision)
        return (max(compute, memory) if self.overlaps else compute + memory) + network


@dataclass(frozen=True)
class Plan:
    """What a step costs on each GPU.

    Attributes:
        parts: of the step, communication last; nothing overlaps with another part.
        memory: contents of a GPU's memory at the peak of the step, name -> bytes.
    """

    workload: Workload
    device: Device
    parts: tuple[Part, ...]
    memory: dict[str, float]

    @property
    def split_ms(self) -> tuple[float, float, float]:
        """Compute, memory traffic and network; their sum is the time if nothing overlaps."""
        precision = self.workload.precision
        rows = [part.split_ms(self.device, precision) for part in self.parts]
        compute, memory, network = map(sum, zip(*rows, strict=True))
        return compute, memory, network

    @property
    def total_ms(self) -> float:
        """Time of the step with its communication."""
        return sum(part.ms(self.device, self.workload.precision) for part in self.parts)

    @property
    def step_ms(self) -> float:
        """Time of the step on the GPU, without communication."""
        return self.total_ms - self.split_ms[2]

    @property
    def is_lower_bound(self) -> bool:
        """Whether no step can be faster, if the device's rates are bounds.

        Otherwise it is an estimate: kernels in a row, or communication, may be hidden by others.
        """
        return self.workload.backend == "fused" and self.workload.gpus == 1

    @property
    def memory_gib(self) -> float:
        """Memory of one GPU, without CUDA context and activations of a backbone."""
        return sum(self.memory.values()) / 2**30

    @property
    def fits(self) -> bool:
        """Whether the device has enough memory."""
        return self.memory_gib <= self.device.memory_gib


def plan_step(workload: Workload, device: Device) -> Plan:
    """Plan a step of `workload` on `device`.

    Raises:
        UserError: a precision without a rate.

    >>> from frcore.planning import get_device
    >>> plan = plan_step(Workload(identities=1_000_000, state="fp32_shadow"), get_device("h200"))
    >>> f"{plan.step_ms:.2f} ms, {plan.memory['centres and momentum'] / 1e9:.2f} GB"
    '4.25 ms, 5.12 GB'
    """
    if workload.precision not in device.tflops:
        raise unknown_name("precision", workload.precision, device.tflops,
                           where=f"--precision on {device.name}")  # fmt: skip
    fused = workload.backend == "fused"
    parts = [*_sampling(workload), *(_fused_parts if fused else _counted_parts)(workload)]
    sent = exchanged(
        workload.gpus, workload.rows, workload.dim,
        queue=workload.queue, statistic=workload.statistic, backbone=workload.backbone,
    )  # fmt: skip
    parts += [Part(name, sent=size) for name, size in sent.items()]
    return Plan(workload, device, tuple(parts), memory_of(workload))


def _sampling(workload: Workload) -> list[Part]:
    """Random numbers written and read, indices written; sorting and selecting need more."""
    moved = 2 * FLOAT * workload.classes + 8 * workload.active
    return [Part("sampling", moved=moved)] if workload.rate < 1 else []


def _fused_parts(workload: Workload) -> list[Part]:
    """The passes of the fused step.

    The first: cosines and the embeddings' gradient, except for rows of a queue. The second:
    cosines again, and the centres' gradient. A vector of 1/‖w‖ is read by both and written by the
    second.
    """
    state, dim, active = STATES[workload.state], workload.dim, workload.active
    product = 2.0 * active * dim  # FLOP of a product for each row
    read = active * (state.read * dim + FLOAT)
    written = active * (state.update * dim + 2 * FLOAT)
    rest = (workload.classes - active) * 2 * state.stored * dim
    rows, queue = workload.rows, workload.queue
    parts = [
        Part("statistic", product * rows, read, overlaps=True),
        Part("pass 1: loss, dX", product * (2 * rows + queue), read, overlaps=True),
        Part("pass 2: dW, SGD", product * (2 * rows + 2 * queue), written, overlaps=True),
        Part("SGD of the rest", moved=rest),
    ]
    return list(compress(parts, (workload.statistic, True, True, _all_move(workload))))


def _counted_parts(workload: Workload) -> list[Part]:
    """Matrix products and everything else, from counted operations."""
    step, rows = COUNTED[workload.backend], workload.rows + workload.queue
    count = (step.dense_update if _all_move(workload) else None) or step.moved
    moved = workload.classes * count(rows, workload.dim, workload.rate)
    return [Part("3 matrix products", 6.0 * rows * workload.active * workload.dim),
            Part("elementwise", moved=moved)]  # fmt: skip


def _all_move(workload: Workload) -> bool:
    return workload.rate < 1 and workload.update == "dense"


def memory_of(workload: Workload) -> dict[str, float]:
    """Bytes on one GPU at the peak of the step, by what they are."""
    dim, classes, queue = workload.dim, workload.classes, workload.queue
    rows = workload.rows + queue
    memory = {"centres and momentum": STATES[workload.state].stored * dim * classes}
    if workload.backend == "fused":
        # The gradient in 8 partial sums, and a tile of the update for each multiprocessor.
        memory |= {"1/norms": FLOAT * classes, "workspace": 8 * FLOAT * rows * dim + 17e6}
    else:
        peak = COUNTED[workload.backend].peak(rows, dim, workload.rate)
        memory["temporaries"] = peak * classes
    sampled = workload.rate < 1
    parts = {
        "embeddings and gradient": 2.0 * FLOAT * rows * dim,
        # Past embeddings, their centres then, and labels: every rank has all of them.
        "queue": queue * (2.0 * FLOAT * dim + 8),
        # Random numbers, and the indices in the order drawn and sorted.
        "sampling": sampled * (FLOAT * classes + 2 * 8 * workload.active),
        "steps of lazy centres": FLOAT * classes * (sampled and workload.update == "lazy"),
        # Parameters, gradients, momentum, and with others the buckets in which gradients are sent.
        "backbone": workload.backbone * FLOAT * (3.0 + (workload.gpus > 1)),
    }
    return memory | {name: size for name, size in parts.items() if size}
