"""What `workflow/rules/compare.smk` needs from a comparison, if there is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from frcore.comparison.spec import ComparisonSpec
from frcore.errors import UserError
from frcore.provenance.fingerprint import code_fingerprint
from frcore.provenance.stages import COMPARING, page_files

REFERENCE_FILES = ("evaluation.csv", "training.csv", "measurement.csv")
"""The files read from a folder of kept rows."""


@dataclass(frozen=True)
class Compared:
    """A comparison as seen by Snakemake's rules.

    Attributes:
        root: `results/<study>`.
        spec: None if Snakemake was called without a candidate; the rules exist anyway.
    """

    root: Path
    spec: ComparisonSpec | None

    @property
    def needed(self) -> ComparisonSpec:
        """The spec.

        Raises:
            UserError: there is none.
        """
        if self.spec is None:
            raise UserError(
                "nothing to compare: add --config candidate=NAME baseline=NAME (heads of the "
                "study, of `frcore heads`, or package.module:Class of your own), or --config "
                "against=results/reference/cpu/quick; see docs/compare.md"
            )
        return self.spec

    def target(self, wildcards: object) -> Path:
        """The file that exists while the comparison passes; an input function of Snakemake's."""
        return self.needed.file(self.root, "passed")

    @property
    def references(self) -> list[Path]:
        """The kept rows to compare with or to learn the spread from, if any."""
        if self.spec is None:
            return []
        pool = self.spec.rule.pool
        found = [Path(pool) / "evaluation.csv"] if pool else []
        if self.spec.against is not None:
            found += [Path(self.spec.against) / name for name in REFERENCE_FILES]
        return found

    def code(self) -> str:
        """Fingerprint of the code that compares."""
        return code_fingerprint(COMPARING, page_files())
