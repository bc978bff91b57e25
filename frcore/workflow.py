"""What the Snakemake rules need from a study: specs, fingerprints, resources. No Snakemake here.

What repeats a job are parameters of its rule: its spec without paths (`key`), a signature of
what lies at these paths, the fingerprint of the code and the versions. The complete spec, paths and
all, is a file (`spec_file`), which Snakemake does not compare: see workflow/rules/prepare.smk.
"""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

from frcore.comparison.rules import Compared
from frcore.comparison.spec import ComparisonSpec, comparison_of, split_settings
from frcore.components import find_modules_here
from frcore.data.signatures import MEMORY, By, Signature, files_key, sign
from frcore.data.source import place_of
from frcore.errors import UserError
from frcore.files import read_json, sha256_of_json, write_json, write_text
from frcore.models.files import sign_model
from frcore.preflight.load import load_study, with_checked_components
from frcore.provenance import stages
from frcore.provenance.environment import RUNTIMES, versions
from frcore.provenance.fingerprint import code_fingerprint, remember_in
from frcore.study import expansion
from frcore.study.config import Study
from frcore.study.file import pairs
from frcore.study.resources import Resources
from frcore.study.section import Section, compact_json

DEFAULT_STUDY = Path("config/quick.yaml")

Kind = Literal["data", "run", "model", "measurement", "evaluation", "comparison", "study"]
"""Of what a job is given."""


def _checked_once(study: Study) -> Study:
    """`with_checked_components`, remembered by a hash of all that the check depends on.

    The check imports torch, which takes longer than all else before the first job; and on a cluster
    every job reads the study again.
    """
    code = code_fingerprint(stages.checking(study))
    key = sha256_of_json([compact_json(study), code, versions()])
    remembered = MEMORY / f"{key}.json"
    if remembered.is_file():
        return Study.model_validate(read_json(remembered))
    checked = with_checked_components(study)
    write_json(remembered, checked.model_dump(mode="json"))
    return checked


def _versions(*more: str) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions(*more).items())


@dataclass(frozen=True)
class Workflow(Resources):
    """One study as the rules see it. Names are those of `frcore.study.expansion`, which are file
    names."""

    comparison: ComparisonSpec | None = None
    _signatures: dict[str, Signature] = field(default_factory=dict, init=False, compare=False)

    @classmethod
    def load(cls, files: Iterable[str | Path], config: Iterable[str] | None) -> Workflow:
        """The study in the last of `files`, or the default one, with the pairs of `--config`.

        With settings of a comparison among them it has the compared heads alone. The pairs are as
        the user wrote them: Snakemake makes 10 of `010`, and texts of numbers inside lists.

        Raises:
            UserError: something in the study or the comparison is wrong.
        """
        find_modules_here()
        remember_in(MEMORY / "code")
        *_, path = (DEFAULT_STUDY, *files)
        settings, overrides = split_settings(pairs(config))
        study = load_study(path, overrides, check=_checked_once)
        if not settings:
            return cls(study)
        comparison = comparison_of(study, settings, check=_checked_once)
        return cls(comparison.study, comparison)

    @property
    def name(self) -> str:
        """The study's name and folder."""
        return self.study.name

    @property
    def root(self) -> Path:
        """Where the study's results are, relative to the working directory."""
        return Path("results") / self.name

    @property
    def compared(self) -> Compared:
        """The comparison, for its rules."""
        return Compared(self.root, self.comparison)

    @property
    def page(self) -> Path:
        """What the user reads in the end."""
        compared = self.comparison
        return compared.file(self.root, "html") if compared else self.root / "report.html"

    @property
    def targets(self) -> list[Path]:
        """What exists after a successful run."""
        compared = self.comparison and self.comparison.file(self.root, "passed")
        return [compared] if compared else [self.root / "complete", self.page]

    @property
    def after_stop(self) -> str:
        """A shell command after which `complete` is gone, until everything is done."""
        return f"rm -f {shlex.quote(str(self.root))}/complete" if self.comparison is None else ":"

    @property
    def after_failure(self) -> str:
        """`after_stop`, and what shows what worked."""
        root, frcore = shlex.quote(str(self.root)), shlex.join(self.frcore)
        if self.comparison is not None:
            spec = self.spec_file("comparison")
            return f"{frcore} compare --spec {spec} --root {root} --no-fail > /dev/null || true"
        spec = self.spec_file("study")
        return f"{self.after_stop}; {frcore} report --spec {spec} --root {root} || true"

    @property
    def logs(self) -> Path:
        """Where the jobs' logs are, relative to the working directory."""
        return Path("logs") / self.name

    @property
    def frcore(self) -> list[str]:
        """The command `frcore` of the interpreter that plans the study, whatever is on PATH.

        It holds for other machines of a cluster too, and under `--sdm conda`, where another
        environment comes first on PATH: an absolute path leads out of it.
        """
        # -P: without it files of the working directory, such as a random.py, come before Python's.
        return [sys.executable, "-P", "-m", "frcore"]

    @cached_property
    def versions(self) -> str:
        """Installed versions of what can move a number."""
        return _versions()

    @cached_property
    def runs(self) -> dict[str, expansion.RunSpec]:
        """Run id -> spec."""
        return expansion.runs(self.study)

    @cached_property
    def models(self) -> dict[str, expansion.ModelSpec]:
        """Model label -> spec, of models trained elsewhere."""
        return expansion.models(self.study)

    @cached_property
    def evaluations(self) -> list[str]:
        """`<run or model>/<benchmark>` of every evaluation of the study."""
        of_runs = list(product(self.runs, self.benchmarks))
        return list(map("/".join, of_runs + expansion.model_benchmarks(self.study)))

    @cached_property
    def benchmarks(self) -> dict[str, expansion.BenchmarkSpec]:
        """Benchmark name -> spec."""
        return expansion.benchmarks(self.study)

    @cached_property
    def measurements(self) -> dict[str, expansion.MeasurementSpec]:
        """Measurement id -> spec."""
        return expansion.measurements(self.study)

    # --- what the files contain ---

    def check_sources(self) -> None:
        """Look at everything that is read, before any job starts.

        Raises:
            UserError: a source is missing, or says nothing about which files belong to it.
        """
        for name in [*(["train"] if self.study.trains else []), *self.benchmarks]:
            self.data_signature(name)
        for model, benchmark in expansion.model_benchmarks(self.study):
            self.model_signature(model, benchmark)

    def data_signature(self, name: str) -> str:
        """What the source of the training set (`train`) or of a benchmark contains."""
        data = self.data(name).data
        where = name if name == "train" else f"benchmarks.{name}"
        return self._signed(where, data, lambda by: sign(data, by))

    def model_signature(self, model: str, benchmark: str) -> str:
        """What the files of a model contain that are read for a benchmark."""
        section = self.models[model].model
        of = benchmark if section.kind == "embeddings" else ""
        return self._signed(f"models.{model}", section,
                            lambda by: sign_model(section, benchmark, by), of)  # fmt: skip

    def _signed(
        self, where: str, section: Any, signed: Callable[[By], Signature], benchmark: str = ""
    ) -> str:
        """Sections that are read from the same files share one look at them."""
        files = files_key(section) + benchmark
        if files not in self._signatures:
            try:
                self._signatures[files] = signed(self.study.signature)
            except UserError as error:
                raise UserError(f"{where}: {error}") from error
        return str(self._signatures[files])

    def places(self, *names: str) -> dict[str, Path]:
        """Prepared set -> where its source is, of those of `names` that are read in place."""
        sections = ((name, self.data(name).data) for name in names)
        found = {name: place_of(data) for name, data in sections if expansion.stays_in_place(data)}
        return {name: Path(place) for name, place in found.items() if place is not None}

    def source_options(self, *names: str) -> list[str]:
        """The options of `frcore train` and `evaluate` that say where sources are now."""
        return [f"--source={name}={place}" for name, place in self.places(*names).items()]

    # --- specs: what they mean, as JSON without paths; and all of them, as files ---

    def data(self, name: str) -> expansion.TrainDataSpec | expansion.BenchmarkSpec:
        """Of a benchmark, or of the training set, which is `train`."""
        return expansion.train_data(self.study) if name == "train" else self.benchmarks[name]

    def spec(self, kind: Kind, name: str = "") -> Section:
        """What a job of this kind is given; `name` says which of several."""
        match kind:
            case "data":
                return self.data(name)
            case "run":
                return self.runs[name]
            case "model":
                return self.models[name]
            case "measurement":
                return self.measurements[name]
            case "evaluation":
                return expansion.evaluation(self.study)
            case "comparison":
                return self.compared.needed
            case "study":
                return self.study

    def key(self, kind: Kind, name: str = "") -> str:
        """What `spec` means, which Snakemake compares."""
        return compact_json(self.spec(kind, name), places=False)

    def spec_file(self, kind: Kind, name: str = "") -> Path:
        """All of `spec`, for the option `--spec`."""
        # A command with all of it would fill the screen when it fails.
        text = compact_json(self.spec(kind, name))
        path = MEMORY / "specs" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        if not path.is_file():
            write_text(path, text + "\n")
        return path

    def benchmark_options(self) -> str:
        """The options of `frcore evaluate` that name all benchmarks."""
        return " ".join(f"--benchmark {self.root / 'data' / name}" for name in self.benchmarks)

    def data_code(self, name: str) -> str:
        """Of preparing one data set."""
        return code_fingerprint(stages.preparing(self.data(name)))

    def run_code(self, run: str) -> str:
        """Of one run."""
        data = expansion.train_data(self.study).data
        in_place = expansion.stays_in_place(data)
        return stages.run_code(self.runs[run], data.kind, in_place=in_place)

    def evaluation_code(self, run: str) -> str:
        """Of evaluating one run."""
        data = [expansion.train_data(self.study).data, *self.study.benchmarks.values()]
        return code_fingerprint(stages.evaluating(self.runs[run], data))

    def model_code(self, model: str, benchmark: str) -> str:
        """Of evaluating a model trained elsewhere."""
        data = self.study.benchmarks[benchmark]
        return code_fingerprint(stages.judging(self.models[model], data))

    @cached_property
    def model_versions(self) -> str:
        """As `versions`, and of what runs models trained elsewhere."""
        return _versions(*RUNTIMES)

    def measurement_code(self, measurement: str) -> str:
        """Of one measurement."""
        return code_fingerprint(stages.measuring(self.measurements[measurement]))

    def report_code(self) -> str:
        """Of the report."""
        return code_fingerprint(stages.REPORTING, stages.page_files())
