"""The data of a study: what is trained on, and what is tested with. Part of
`frcore.study.config`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from frcore.study.section import Place, Section

Fraction = Annotated[float, Field(ge=0, le=1)]

OfficialName = Literal[
    "LFW", "CFP-FP", "AgeDB-30", "CALFW", "CPLFW", "IJB-B", "IJB-C", "none"
]  # fmt: skip


class Image(Section):
    """The network's input: aligned RGB faces, square; or vectors of 3 · size² bytes."""

    size: int = Field(ge=4, le=512, description="Side of the network's input in pixels.")
    crop: int | None = Field(
        None, ge=8, description="Side of the centre crop taken from each source image before it is "
        "resized to `size`; the whole image when absent."
    )  # fmt: skip
    alignment: Literal["arcface-112", "synthetic", "none"] = Field(
        description="How the source images are aligned. Printed under every table."
    )


class SyntheticTraining(Section):
    """Synthetic identities: how many, how hard, and what is wrong with their labels."""

    identities: int = Field(ge=2)
    images: int = Field(ge=1, description="Images per identity (the mean under a long tail).")
    seed: int = Field(0, ge=0)
    difficulty: float = Field(1.0, ge=0, le=2, description="Strength of the nuisances; 0 = none.")
    long_tail: float = Field(
        0.0, ge=0, le=2, description="Zipf exponent of images per identity; 0 = equal counts."
    )
    label_flips: Fraction = Field(0.0, description="Fraction of images with a wrong label.")
    conflicts: Fraction = Field(
        0.0, description="Fraction of identities whose images are split over two labels."
    )


class SyntheticFaces(SyntheticTraining):
    """Procedural faces; any number of identities. See `frcore.data.synthetic.sets`."""

    kind: Literal["synthetic"]
    video: Fraction = Field(0.0, description="Fraction of images that are video-like frames.")


QualitySpread = Annotated[Fraction, Field(
    description="The quality of a sample is uniform between 1 - this and 1; at 0 it says nothing "
    "of its identity."
)]  # fmt: skip


class SyntheticIdentities(SyntheticTraining):
    """Vectors instead of pictures, for up to millions of identities: see docs/identities.md."""

    kind: Literal["synthetic_identities"]
    quality_spread: QualitySpread = 0.5


Check = Literal["decode", "none"]
CHECK_MEANING = (
    "decode: every image is decoded once when the data are prepared, so that a damaged one does "
    "not stop training; none: only the file's structure is checked."
)


class Folder(Section):
    """A folder with one sub-folder of images for each identity."""

    kind: Literal["folder"]
    root: Place
    storage: Literal["copied", "in_place"] = Field(
        "copied", description="copied: decoded once into the prepared folder; in_place: files stay "
        "where they are and are decoded when they are used. The pixels are the same."
    )  # fmt: skip
    min_images: int = Field(1, ge=1, description="Identities with fewer images are left out.")
    on_bad_image: Literal["refuse", "skip"] = "refuse"
    check: Check = Field("decode", description=f"Where images stay in place: {CHECK_MEANING}")


class LabelledImages(Section):
    """Settings of training sets that store a label with each image and are read in place."""

    labels: Literal["number", "name"] = Field(
        "number", description="number: labels are 0-based class numbers without gaps; name: any "
        "text or number, numbered in sorted order."
    )  # fmt: skip
    identities: int | None = Field(
        None, ge=2, description="How many there are: numbers must be below, and may then have "
        "gaps; of names there must be as many. Absent: what the data say."
    )  # fmt: skip
    min_images: int = Field(1, ge=1, description="Identities with fewer images are left out.")
    on_bad_image: Literal["refuse", "skip"] = "refuse"
    check: Check = Field("decode", description=CHECK_MEANING)


class ImageList(LabelledImages):
    """A text file with path and label of each image, read in place."""

    kind: Literal["list"]
    root: Place = Field(description="The folder that paths are relative to.")
    list: Place = Field(
        description="Lines `path label`, `path,label` or tabs between; a `.lst` of im2rec or "
        "InsightFace. Looked for below `root`, then from the current folder."
    )


class ParquetImages(LabelledImages):
    """Parquet or Arrow files with encoded images and labels, read in place."""

    kind: Literal["parquet"]
    root: Place = Field(description="A file, or a folder of files.")
    pattern: str = Field(
        "**/*.{parquet,arrow}", description="Which files below the folder: a glob with {a,b}."
    )
    image: str = Field(
        "image", description="Column of encoded images: binary, or a struct with a field `bytes`."
    )
    label: str = Field("label", description="Column of labels: whole numbers or text.")


class TarImages(LabelledImages):
    """Shards of tar in WebDataset's layout (`key.jpg`, `key.cls`), read in place."""

    kind: Literal["tar"]
    root: Place = Field(description="A shard, or a folder of shards.")
    pattern: str = Field("**/*.tar", description="Which files below the folder: a glob with {a,b}.")
    label: Literal["cls", "json", "folder"] = Field(
        "cls", description="Where the label is: the member `key.cls`; `json_key` of the member "
        "`key.json`; or the name of the folder that the image is in."
    )  # fmt: skip
    json_key: str = Field("label", description="Key of the label where it is in JSON.")


class RecordIO(Section):
    """A `.rec` file of mxnet in InsightFace's or im2rec's layout, read in place.

    If `.idx` and `property` are next to it, they are used and checked.
    """

    kind: Literal["recordio"]
    root: Place = Field(description="Folder with `train.rec` (or with one `.rec`), or the file.")
    identities: int | None = Field(
        None, ge=2, description="How many there are: labels must be below, and may then have gaps. "
        "Absent: the number in `property` next to the file, else the labels'."
    )  # fmt: skip
    names: Place | None = Field(
        None, description="A `.lst` (below the folder, or a path) whose image folders name the "
        "identities. Absent: numbers, and people shared with a benchmark are not noticed."
    )  # fmt: skip
    label: int = Field(0, ge=0, description="Which of several labels of a record is the identity.")
    min_images: int = Field(1, ge=1, description="Identities with fewer images are left out.")
    on_bad_image: Literal["refuse", "skip"] = "refuse"
    check: Check = Field("decode", description=CHECK_MEANING)


class LFWPeople(Section):
    """The people of an LFW list (View 1's `peopleDevTrain.txt`) as training data."""

    kind: Literal["lfw"]
    root: Place = Field(description="Folder with `aligned-112/` and `protocol/`.")
    people: str = "peopleDevTrain.txt"
    min_images: int = Field(1, ge=1)


TrainData = Annotated[
    SyntheticFaces
    | SyntheticIdentities
    | Folder
    | ImageList
    | RecordIO
    | ParquetImages
    | TarImages
    | LFWPeople,
    Field(discriminator="kind"),
]


class SyntheticVerification(Section):
    """LFW-style verification on synthetic identities that are never trained on."""

    kind: str
    identities: int = Field(ge=20)
    images: int = Field(ge=2)
    pairs: int = Field(ge=20, description="Genuine pairs; there are as many impostor pairs.")
    folds: int = Field(10, ge=2)
    seed: int = Field(0, ge=0)
    difficulty: float = Field(1.0, ge=0, le=2)


class SyntheticPairs(SyntheticVerification):
    """LFW-style verification on procedural faces."""

    kind: Literal["synthetic_pairs"]


class SyntheticIdentityPairs(SyntheticVerification):
    """LFW-style verification on vectors, the benchmark of `synthetic_identities`."""

    kind: Literal["synthetic_identity_pairs"]
    quality_spread: QualitySpread = 0.5


class SyntheticTemplates(Section):
    """IJB-C-style templates (stills and video frames) of synthetic identities never trained on."""

    kind: Literal["synthetic_templates"]
    identities: int = Field(ge=20)
    templates: int = Field(2, ge=2, description="Templates per identity.")
    images: int = Field(ge=1, description="Mean number of images in a template.")
    impostor_pairs: int = Field(ge=100)
    fars: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (1e-1, 1e-2, 1e-3)
    seed: int = Field(0, ge=0)
    difficulty: float = Field(1.0, ge=0, le=2)


class Official(Section):
    """A benchmark of real faces, which others may have published figures of."""

    published_as: OfficialName | None = Field(
        None, description="Which official benchmark it is, so that published figures appear "
        "next to the measured ones. Absent: by kind and file name."
    )  # fmt: skip


LFW_LISTS: dict[int, dict[str, str]] = {
    1: {"test": "pairsDevTest.txt", "threshold": "pairsDevTrain.txt"},
    2: {"test": "pairs.txt"},
}
"""View -> split -> LFW's list: View 1 has one for the threshold, View 2 has ten folds."""


class LFWPairs(Official):
    """LFW verification: View 1's test list, or View 2's ten folds."""

    kind: Literal["lfw_pairs"]
    root: Place
    view: Literal[1, 2]


class FolderPairs(Official):
    """Pairs listed in LFW's format over a folder of images by identity."""

    kind: Literal["folder_pairs"]
    root: Place
    pairs: Place = Field(description="The list, in the format of LFW's pairs.txt.")


class ListedImages(Official):
    """Aligned images below a folder, named by official lists."""

    images: Place = Field(
        description="Folder of the aligned images: for CFP in place of `Data/Images` "
        "(`001/frontal/01.jpg`), for the others flat (`Some_Name_0001.jpg`)."
    )
    pairs: Place = Field(description="The list; for CFP the folder `Protocol`.")
    names: Place | None = Field(
        None, description="CFP's `Data/list_name.txt`: people then have names, so that those who "
        "are also in the training set are found. Absent: numbers."
    )  # fmt: skip
    aligned_by: str | None = Field(
        None, min_length=3, max_length=100, description="How these images were aligned where that "
        "differs from `image.alignment`; printed with their numbers."
    )  # fmt: skip

    @field_validator("names")
    @classmethod
    def _may_be_left_out(cls, names: str | None) -> str | None:
        return names or None


class PairList(ListedImages):
    """The official pair lists of CFP-FP, CFP-FF, CALFW and CPLFW, over aligned images."""

    kind: Literal["pair_list"]
    format: Literal["cfp_fp", "cfp_ff", "calfw", "cplfw"]

    @model_validator(mode="after")
    def _names_are_of_cfp(self) -> PairList:
        if self.names is not None and not self.format.startswith("cfp"):
            raise ValueError(
                f"names: given, but the images of {self.format} are named after their people; "
                "remove it"
            )
        return self


class CFPTemplates(ListedImages):
    """CFP's frontal templates and profile probes, 1:1 and 1:N, which are no official protocol.

    See `frcore.data.verification.cfp`.
    """

    kind: Literal["cfp_templates"]
    fars: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (1e-1, 1e-2, 1e-3, 1e-4)


class InsightFaceBin(Official):
    """A verification set as InsightFace packs it: one pickle, read in place and without running it.

    Ten folds in list order. It has no names: see docs/data.md.
    """

    kind: Literal["insightface_bin"]
    path: Place = Field(description="The file, such as lfw.bin, cfp_fp.bin or agedb_30.bin.")


class IJB(Official):
    """IJB-B or IJB-C, in the folder that its holders have. See `frcore.data.ijb.layout`."""

    kind: Literal["ijb"]
    root: Place = Field(description="The folder with `meta/` and `loose_crop/`.")
    name: Literal["ijbb", "ijbc"]
    fars: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    images: bool = Field(
        True, description="false: without `loose_crop/`; only embeddings made elsewhere can be "
        "judged."
    )  # fmt: skip
    repeated_pairs: Literal["refuse", "keep"] = Field(
        "refuse", description="keep: a duplicate pair in the list counts twice."
    )


Benchmark = Annotated[
    SyntheticPairs
    | SyntheticIdentityPairs
    | SyntheticTemplates
    | LFWPairs
    | FolderPairs
    | InsightFaceBin
    | PairList
    | CFPTemplates
    | IJB,
    Field(discriminator="kind"),
]
