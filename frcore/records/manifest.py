"""`manifest.json` of a prepared data set."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from frcore.records.base import Record

Protocol = Literal["train", "pairs", "templates"]

Storage = Literal["copied", "in_place", "absent"]
"""Where the images are: in `images.npy`; at their source; nowhere, only their names."""


class Skipped(BaseModel):
    """A source file that was left out, and why."""

    file: str
    reason: str


class Manifest(Record):
    """`manifest.json`, written last; byte-identical for identical content, because trainings depend
    on it."""

    # JSON lists become immutable tuples.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    format: Literal[2] = 2
    """always 2"""
    kind: str
    """kind of the study's section, such as `recordio`"""
    protocol: Protocol
    """`train`, `pairs`, `templates`"""
    storage: Storage = "copied"
    """`copied`, `in_place`, `absent`"""
    tables: tuple[str, ...] = ()
    """the protocol tables present"""
    spec: dict[str, Any]
    """the study's section, without paths"""
    spec_hash: str
    """hash of the section"""
    images: int
    """number of images"""
    identities: int
    """number of identities"""
    image_size: int
    """side length, pixels"""
    label_range: tuple[int, int]
    """lowest and highest label"""
    alignment: str
    """how faces were aligned"""
    colour: Literal["RGB"] = "RGB"
    """always `RGB`"""
    synthetic: bool
    """whether the faces are synthetic"""
    people: Literal["named", "numbered", "linked"] = "named"
    """what `identity` is: `named`; `numbered`: a number that distinguishes people within this set;
    `linked`: the same, but one person may have several (`insightface_bin`)"""
    content_sha256: str
    """content hash of images, index and protocol tables"""
    skipped: tuple[Skipped, ...] = ()
    """source files that were left out: `file`, `reason`"""
    warnings: tuple[str, ...] = ()
    """warnings, one sentence each"""
