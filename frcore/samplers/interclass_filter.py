"""Inter-class filtering: negatives that look like the row's own identity are taken out."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from frcore.errors import UserError
from frcore.heads.base import Source
from frcore.loss.inputs import EntryFilter
from frcore.samplers.base import Sampler
from frcore.samplers.over import SamplerOver


class InterclassFilter(SamplerOver):
    """Abnormal inter-class filtering: negatives with cos θ_ik above a threshold do not push.

    Under label conflicts (one person in two classes) the nearest negative is the person itself.
    The published tables filter and sample at once ("PFC*"); here each can be used alone.
    The threshold is on the plain cosine, before the head changes anything, and AdaCos's statistics
    exclude filtered entries.

    Args:
        threshold: of the cosine; 0.4 in the published configurations, 1 filters nothing.
        mode: "zero" makes the cosine 0, which still counts in the denominator (insightface's code,
            where the row gets no gradient from the entry); "drop" takes the entry out of the
            denominator.
        over: the sampler of rows and columns: a name, a mapping with `name`, or a `Sampler`.

    Raises:
        UserError: `over` filters already.
    """

    source: ClassVar[Source | None] = Source(
        "An et al.", 2022, "2203.15565", code="deepinsight/insightface:losses.py"
    )
    dialects: ClassVar[tuple[str, ...]] = ("mode",)

    def __init__(
        self,
        *,
        threshold: Annotated[float, Field(ge=-1, le=1)] = 0.4,
        mode: Literal["zero", "drop"] = "zero",
        over: str | dict[str, Any] | Sampler = "full",
    ) -> None:
        super().__init__(over)
        if self.over.entry_filter is not None:
            raise UserError(
                f"interclass_filter over a sampler that filters at {self.over.entry_filter}; a "
                "matrix has one filter: keep one of the two"
            )
        self.threshold, self.mode = float(threshold), mode
        # A cosine may round above 1, and 1 is no filter.
        self._filter = EntryFilter(float(threshold), mode) if threshold < 1 else None

    @property
    def entry_filter(self) -> EntryFilter | None:  # type: ignore[override]
        """What the loss takes out; None = nothing."""
        return self._filter

    def extra_repr(self) -> str:
        """Shown by `print(sampler)`."""
        return f"threshold={self.threshold:g}, mode={self.mode!r}"
