"""One small source of each kind, with the files it is read from and others that lie beside them."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image as Pillow

from tests.data.ijb import folder as ijb_folder
from tests.data.making import pixels, write_person
from tests.data.recordio.rec_writer import insightface, write_rec
from tests.models.making import onnx_section, tiny_onnx, tiny_torchscript

PEOPLE = {"Ada": 3, "Bea": 3, "Dan": 2}


class Source(NamedTuple):
    """A source below a folder of its own.

    Attributes:
        section: of a study, whose paths are below the folder.
        read: files that it is read from, relative to the folder.
        unread: files beside them that nobody asks for.
        added: a file that, once there, belongs to it; empty where a list says what belongs to it.
    """

    section: dict[str, Any]
    read: list[str]
    unread: list[str]
    added: str = ""


def people(root: Path) -> list[str]:
    return [
        path.relative_to(root).as_posix()
        for name, count in PEOPLE.items()
        for path in write_person(root, name, count)
    ]


def text(root: Path, name: str, content: str) -> str:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)
    return name


def folder(root: Path) -> Source:
    text(root, "Thumbs.db", "")
    read = people(root)
    (root / ".hidden").write_text("")
    return Source({"kind": "folder", "root": str(root)}, read, ["Thumbs.db", ".hidden"],
                  "Dan/Dan_0003.jpg")  # fmt: skip


def image_list(root: Path) -> Source:
    images = people(root)
    lines = [f"{name}\t{number // 3}\n" for number, name in enumerate(images[:6])]
    listed = text(root, "train.lst", "".join(lines))
    section = {"kind": "list", "root": str(root), "list": "train.lst"}
    return Source(section, [listed, *images[:6]], images[6:])


def parquet(root: Path) -> Source:
    root.mkdir()
    image = pa.array([encoded(seed) for seed in range(4)])
    for name in ("a.parquet", "b.parquet"):
        pq.write_table(pa.table({"image": image, "label": pa.array([0, 0, 1, 1])}), root / name)
    section = {"kind": "parquet", "root": str(root)}
    return Source(section, ["a.parquet", "b.parquet"], [text(root, "README.md", "x")], "c.parquet")


def tar(root: Path) -> Source:
    root.mkdir()
    with tarfile.open(root / "0.tar", "w") as shard:
        for number in range(4):
            content = {"jpg": encoded(number), "cls": b"%d" % (number // 2)}
            for suffix, value in content.items():
                member = tarfile.TarInfo(f"{number:04d}.{suffix}")
                member.size = len(value)
                shard.addfile(member, io.BytesIO(value))
    section = {"kind": "tar", "root": str(root)}
    return Source(section, ["0.tar"], [text(root, "0.json", "{}")], "sub/1.tar")


def recordio(root: Path) -> Source:
    labels = [0, 0, 1, 1, 2]
    images = [encoded(seed, "jpeg") for seed in range(5)]
    write_rec(root / "train.rec", insightface(labels, images))
    lines = [f"1\tperson{label}/{at}.jpg\t{label}\n" for at, label in enumerate(labels)]
    read = ["train.rec", "train.idx", text(root, "train.lst", "".join(lines)),
            text(root, "property", "3,20,20")]  # fmt: skip
    section = {"kind": "recordio", "root": str(root), "names": "train.lst"}
    return Source(section, read, [text(root, "lfw.bin", "x")])


def lfw_lists(root: Path) -> None:
    text(root, "protocol/peopleDevTrain.txt", "2\nAda\t2\nDan\t1\n")
    text(root, "protocol/pairs.txt", "2\t1\nAda\t1\t2\nAda\t3\tDan\t1\nBea\t1\t3\nBea\t1\tDan\t2\n")
    text(root, "protocol/pairsDevTest.txt", "1\nBea\t1\t2\nBea\t1\tDan\t1\n")
    text(root, "protocol/pairsDevTrain.txt", "1\nAda\t1\t2\nAda\t1\tDan\t2\n")


def of_lfw(root: Path, section: dict[str, Any], lists: list[str], images: str) -> Source:
    everything = [f"aligned-112/{name}" for name in people(root / "aligned-112")]
    lfw_lists(root)
    wanted = {
        f"aligned-112/{who}/{who}_000{n}.jpg" for who, n in (i.split() for i in images.split(","))
    }
    unread = sorted(set(everything) - wanted)
    return Source({**section, "root": str(root)}, [*(f"protocol/{name}" for name in lists),
                  *sorted(wanted)], unread)  # fmt: skip


def lfw(root: Path) -> Source:
    return of_lfw(root, {"kind": "lfw"}, ["peopleDevTrain.txt"], "Ada 1,Ada 2,Dan 1")


def lfw_view_1(root: Path) -> Source:
    lists = ["pairsDevTest.txt", "pairsDevTrain.txt"]
    used = "Ada 1,Ada 2,Bea 1,Bea 2,Dan 1,Dan 2"
    return of_lfw(root, {"kind": "lfw_pairs", "view": 1}, lists, used)


def lfw_view_2(root: Path) -> Source:
    used = "Ada 1,Ada 2,Ada 3,Bea 1,Bea 3,Dan 1,Dan 2"
    return of_lfw(root, {"kind": "lfw_pairs", "view": 2}, ["pairs.txt"], used)


def folder_pairs(root: Path) -> Source:
    images = people(root)
    listed = text(root, "pairs.txt", "1\nAda\t1\t2\nAda\t1\tDan\t2\n")
    wanted = ["Ada/Ada_0001.jpg", "Ada/Ada_0002.jpg", "Dan/Dan_0002.jpg"]
    section = {"kind": "folder_pairs", "root": str(root), "pairs": "pairs.txt"}
    return Source(section, [listed, *wanted], sorted(set(images) - set(wanted)))


def insightface_bin(root: Path) -> Source:
    root.mkdir()
    content = pickle.dumps(([encoded(seed) for seed in range(4)], [True, False]))
    (root / "set.bin").write_bytes(content)
    section = {"kind": "insightface_bin", "path": str(root / "set.bin")}
    return Source(section, ["set.bin"], [text(root, "other.bin", "x")])


def cfp(root: Path) -> Source:
    sides = {"F": ("frontal", 2), "P": ("profile", 1)}
    images, lists = [], []
    for side, (view, count) in sides.items():
        names = [
            f"{who:03d}/{view}/{n:02d}.jpg" for who in range(1, 21) for n in range(1, count + 1)
        ]
        images += names
        lines = [f"{at} ../Data/Images/{name}\n" for at, name in enumerate(names, 1)]
        lists.append(text(root, f"Protocol/Pair_list_{side}.txt", "".join(lines)))
    for fold in range(10):
        one, two = 2 * fold, 2 * fold + 1
        lines = {"same": f"{2 * one + 1},{one + 1}\n", "diff": f"{2 * one + 2},{two + 1}\n"}
        lists += [text(root, f"Protocol/Split/FP/{fold + 1:02d}/{name}.txt", line)
                  for name, line in lines.items()]  # fmt: skip
    unread = [text(root, f"Protocol/Split/FF/{1:02d}/same.txt", "1,2\n")]
    for name in images:
        save(root / "Images" / name)
    used = [f"Images/{2 * f + 1:03d}/frontal/{n:02d}.jpg" for f in range(10) for n in (1, 2)]
    used += [f"Images/{2 * f + 1:03d}/profile/01.jpg" for f in range(10)]
    used += [f"Images/{2 * f + 2:03d}/profile/01.jpg" for f in range(10)]
    section = {"kind": "pair_list", "format": "cfp_fp", "images": str(root / "Images"),
               "pairs": str(root / "Protocol")}  # fmt: skip
    return Source(section, [*lists, *used], [*unread, "Images/002/frontal/01.jpg"])


def cfp_templates(root: Path) -> Source:
    pairs = cfp(root)
    names = text(root, "names.txt", "".join(f"Person {chr(64 + n)}\n" for n in range(1, 21)))
    kept = {key: pairs.section[key] for key in ("images", "pairs")}
    section = {**kept, "kind": "cfp_templates", "names": str(root / names)}
    images = [f"Images/{who:03d}/{view}/{n:02d}.jpg" for who in range(1, 21)
              for view, n in (("frontal", 1), ("frontal", 2), ("profile", 1))]  # fmt: skip
    lists = [f"Protocol/Pair_list_{side}.txt" for side in "FP"]
    return Source(section, [*lists, names, *images], ["Protocol/Split/FP/01/same.txt"])


def calfw(root: Path) -> Source:
    names = [f"Some_{chr(65 + who)}_000{n}.jpg" for who in range(10) for n in (1, 2)]
    for name in [*names, "Other_A_0001.jpg"]:
        save(root / "images" / name)
    genuine = [f"{name} {at // 2 + 1}\n" for at, name in enumerate(names)]
    impostor = [f"{names[2 * at]} 0\n{names[(2 * at + 3) % 20]} 0\n" for at in range(10)]
    listed = text(root, "pairs_CALFW.txt", "".join(genuine + impostor))
    section = {"kind": "pair_list", "format": "calfw", "images": str(root / "images"),
               "pairs": str(root / listed)}  # fmt: skip
    return Source(section, [listed, *(f"images/{name}" for name in names)],
                  ["images/Other_A_0001.jpg"])  # fmt: skip


def ijb(root: Path) -> Source:
    """With landmarks, which are one of its lists."""
    ijb_folder.write(root)
    for number in range(1, 10):
        save(root / f"loose_crop/{number}.jpg", side=112)
    lists = [path.relative_to(root).as_posix() for path in sorted((root / "meta").iterdir())]
    section = {"kind": "ijb", "root": str(root), "name": "ijbc", "fars": [0.5]}
    unread = [text(root, "meta/README.md", "x"), "loose_crop/9.jpg"]
    return Source(section, [*lists, *(f"loose_crop/{n}.jpg" for n in range(1, 9))], unread)


def onnx_with_tensors(root: Path) -> Source:
    root.mkdir()
    tiny_onnx(root / "m.onnx", external="m.data")
    section = onnx_section(root / "m.onnx").model_dump(mode="json")
    return Source(section, ["m.onnx", "m.data"], [text(root, "other.data", "x")])


def torchscript(root: Path) -> Source:
    root.mkdir()
    tiny_torchscript(root / "m.pt")
    section = {**onnx_section(root / "m.pt").model_dump(mode="json"), "kind": "torchscript"}
    return Source(section | {"size": 16}, ["m.pt"], [text(root, "n.pt", "x")])


def embeddings(root: Path) -> Source:
    root.mkdir()
    for name in ("lfw", "cfp"):
        np.save(root / f"{name}.npy", np.ones((4, 8), np.float32))
    files = {name: str(root / f"{name}.npy") for name in ("lfw", "cfp")}
    section = {"kind": "embeddings", "label": "m", "files": files,
               "names": {"lfw": str(root / "names.txt")}}  # fmt: skip
    return Source(section, ["lfw.npy", text(root, "names.txt", "a\nb\nc\nd\n")], ["cfp.npy"])


def encoded(seed: int, suffix: str = "png") -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(pixels(seed)).save(stream, suffix)
    return stream.getvalue()


def save(path: Path, side: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels(len(path.name), side)).save(path)


SOURCES: dict[str, Callable[[Path], Source]] = {
    make.__name__: make
    for make in (
        folder, image_list, parquet, tar, recordio, lfw, lfw_view_1, lfw_view_2, folder_pairs,
        insightface_bin, cfp, cfp_templates, calfw, ijb, onnx_with_tensors, torchscript, embeddings,
    )
}  # fmt: skip


def moved(section: dict[str, Any], old: Path, new: Path) -> dict[str, Any]:
    """The section of the same files in another folder."""
    text = json.dumps(section)
    return dict(json.loads(text.replace(str(old), str(new))))
