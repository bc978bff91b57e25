"""The training set of a source, until `prepare` takes sources itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frcore.data.pixels.images import refuse
from frcore.data.prepared.folder import Skipped
from frcore.data.prepared.training_set import write_training_in_place
from frcore.data.source import Source
from frcore.study.data import Image


def write_source(source: Source, image: Image, out: Path, about: dict[str, Any],
                 workers: int | None) -> None:  # fmt: skip
    """Write the training set of a source to the folder `out`."""
    contents, section = source.read(), source.section
    refuse(contents.wrong, contents.problems, contents.remedy)
    assert contents.images is not None
    people = contents.index.drop_duplicates("label").sort_values("label")
    write_training_in_place(
        contents.images, contents.index["label"].to_numpy(), people["identity"], image, out,
        about | dict(contents.about), min_images=section.min_images, check=section.check,
        skip=section.on_bad_image == "skip", workers=workers, warnings=contents.warnings,
        skipped=[Skipped(file=file, reason=reason) for file, reason in contents.skipped],
    )  # fmt: skip
