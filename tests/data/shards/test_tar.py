import io
import json
import tarfile

import numpy as np
import pytest

from frcore.data.contents import open_encoded
from frcore.data.pixels.decoding import BadImageError
from frcore.data.prepared.folder import Prepared
from frcore.data.shards import tar as tar_shards
from frcore.data.shards.tar import MemberImages, key_of
from frcore.errors import UserError
from tests.data.making import train
from tests.data.people import IMAGE, assert_same_images, copied, write_people


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """The copied data set, and its samples: key, extension, content, label, name."""
    root = tmp_path_factory.mktemp("people")
    paths = write_people(root)
    whole = copied(root, root.parent / "copied")
    samples = [
        (
            f"{path.parent.name}/{at:04d}",
            path.suffix[1:],
            path.read_bytes(),
            label,
            path.parent.name,
        )
        for at, (path, label) in enumerate(zip(paths, whole.labels.tolist(), strict=True))
    ]
    return whole, samples


def write_tar(path, files, form=tarfile.PAX_FORMAT):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def cls(samples):
    for key, extension, content, label, _ in samples:
        yield f"{key}.{extension}", content
        yield f"{key}.cls", b"%d\n" % label


def prepared(tmp_path, **settings):
    return train(tmp_path / "out", IMAGE,
                 **{"kind": "tar", "root": str(tmp_path / "data"), **settings})  # fmt: skip


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_shards_give_the_images_of_the_folder(tmp_path, people, form):
    whole, samples = people
    write_tar(tmp_path / "data" / "000001.tar", cls(samples[4:]), form)
    write_tar(tmp_path / "data" / "000000.tar", cls(samples[:4]), form)
    found = prepared(tmp_path)
    assert_same_images(found, whole)
    assert found.index["identity"].iloc[0] == "tar/0"
    assert found.index["name"].iloc[3] == "000000.tar/Bea/0003.png"
    assert found.index["name"].iloc[4] == "000001.tar/Bea/0004.png"
    assert found.manifest.people == "numbered"
    assert len(found.manifest.warnings) == 1


def test_labels_in_json(tmp_path, people):
    whole, samples = people
    files = [each for key, extension, content, _, who in samples for each in (
        (f"{key}.json", json.dumps({"id": who}).encode()), (f"{key}.{extension}", content),
        (f"{key}.txt", b"a caption"),
    )]  # fmt: skip
    write_tar(tmp_path / "data" / "a.tar", files)
    found = prepared(tmp_path, label="json", json_key="id", labels="name")
    assert_same_images(found, whole)
    assert found.index["identity"].tolist() == whole.index["identity"].tolist()
    assert found.manifest.people == "named"
    assert found.manifest.warnings[0].startswith("9 members are neither image nor label")
    with pytest.raises(
        UserError, match=r"Ada/0000.json has no number or text with the key 'label'"
    ):
        prepared(tmp_path, label="json")
    with pytest.raises(UserError, match=r"(?s)a.tar/Ada/0000.jpg: 'Ada'.*labels: name"):
        prepared(tmp_path, label="json", json_key="id")


def test_labels_by_folder(tmp_path, people):
    whole, samples = people
    files = [(f"train/{key}.{extension}", content) for key, extension, content, *_ in samples]
    write_tar(tmp_path / "data" / "a.tar", files)
    found = prepared(tmp_path, label="folder", labels="name", identities=3)
    assert_same_images(found, whole)
    assert found.index["identity"].tolist() == whole.index["identity"].tolist()
    write_tar(tmp_path / "data" / "a.tar", [("a.jpg", samples[0][2])])
    with pytest.raises(UserError, match="not in a folder"):
        prepared(tmp_path, label="folder", labels="name")


@pytest.mark.parametrize(
    ("name", "key", "extension"),
    [("a.jpg", "a", "jpg"), ("a/b.c/d.left.JPG", "a/b.c/d", "left.jpg"), ("a/b", "", ""),
     ("a/.hidden.jpg", "", ""), ("._a.jpg", "", ""), ("a.", "", "")],
)  # fmt: skip
def test_keys_are_webdatasets(name, key, extension):
    assert key_of(name) == (key, extension)


def test_samples_that_cannot_be_used(tmp_path, people):
    content = people[1][0][2]
    files = [
        ("a.jpg", content),
        ("b.jpg", content), ("b.png", content), ("b.cls", b"0"),
        ("c.jpg", content), ("c.cls", b"0"), ("c.cls", b"1"),
        ("d.cls", b"0"),
        ("e.jpg", content), ("e.cls", b"\xff\xfe"),
        ("f.jpg", content), ("f.cls", b"1" * 70_000),
    ]  # fmt: skip
    write_tar(tmp_path / "data" / "a.tar", files)
    with pytest.raises(UserError) as error:
        prepared(tmp_path)
    said = str(error.value)
    assert said.startswith("6 samples")
    for problem in ("a.tar/a.jpg: no member a.cls with its label",
                    "a.tar/b.png: the sample 'b' has another member of this kind",
                    "a.tar/c.cls: the sample 'c' has another member of this kind",
                    "a.tar/d.cls: there is no image with this key",
                    "a.tar/e.jpg: 'utf-8' codec",
                    "a.tar/f.jpg: f.cls has 70000 bytes, too many for a label"):  # fmt: skip
        assert f"\n  {problem}" in said


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", '{"label": true}', '{"label": null}', '{"label": 1.5}', "[" * 50_000,
     '{"label": {}}', ""],
)  # fmt: skip
def test_json_of_strangers(tmp_path, people, text):
    files = [("a.jpg", people[1][0][2]), ("a.json", text.encode())]
    write_tar(tmp_path / "data" / "a.tar", files)
    with pytest.raises(UserError, match=r"a.tar/a.jpg: a.json "):
        prepared(tmp_path, label="json")


def test_damage(tmp_path, people):
    """An archive that was cut, an image that was, and one that is not there."""
    path = tmp_path / "data" / "a.tar"
    samples = [list(sample) for sample in people[1]]
    samples[3][2] = b""
    samples[5][2] = samples[5][2][:-2]
    write_tar(path, cls(samples))
    with pytest.raises(UserError) as error:
        prepared(tmp_path)
    assert "a.tar/Bea/0003.png: the file is empty" in str(error.value)
    assert "a.tar/Čeněk/0005.jpg: a truncated JPEG" in str(error.value)
    assert (
        prepared(tmp_path, on_bad_image="skip", min_images=2).labels.tolist() == [0] * 3 + [1] * 3
    )
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(UserError, match=r"a.tar: truncated"):
        prepared(tmp_path)
    assert "out" in {each.name for each in tmp_path.iterdir()}, "the older data set is kept"


def test_other_archives(tmp_path, people):
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match="no file that matches"):
        prepared(tmp_path)
    with tarfile.open(tmp_path / "data" / "a.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(UserError, match="compressed with gzip"):
        prepared(tmp_path)
    write_tar(tmp_path / "data" / "a.tar", [("readme.txt", b"x")])
    with pytest.raises(UserError, match="have no image"):
        prepared(tmp_path)


def test_opened_again_and_more_shards_than_may_be_open(tmp_path, people, monkeypatch):
    _, samples = people
    for at, sample in enumerate(samples):
        write_tar(tmp_path / "data" / f"{at}.tar", cls([sample]))
    monkeypatch.setattr(tar_shards, "_OPEN_SHARDS", 2)
    found = prepared(tmp_path, identities=3)
    assert_same_images(found, people[0])
    source = found.images.source.take(np.array([8, 1, 8]))
    settings, table = source.settings, source.table
    again = open_encoded("tar", json.loads(json.dumps(settings)), table)
    views = [again.encoded(row) for row in range(3)]
    assert [bytes(view) for view in views] == [samples[k][2] for k in (8, 1, 8)]
    assert found.images.source._mapped.cache_info().currsize <= 2
    for column, value, message in (("shard", 9, "shard 9 of 9"), ("shard", -1, "of 9")):
        with pytest.raises(UserError, match=message):
            open_encoded("tar", settings, table.assign(**{column: value}))
    for column, value in (("size", 10**9), ("offset", -5), ("size", -1)):
        with pytest.raises(BadImageError, match="ends before"):
            MemberImages(source.paths, table.assign(**{column: value})).encoded(0)
    source.paths[0].unlink()
    with pytest.raises(BadImageError, match="cannot be read"):
        MemberImages(source.paths, table.assign(shard=0)).encoded(0)


def test_a_changed_shard_is_noticed(tmp_path, people):
    write_tar(tmp_path / "data" / "a.tar", cls(people[1]))
    prepared(tmp_path)
    write_tar(tmp_path / "data" / "a.tar", cls(people[1][:7]))
    with pytest.raises(UserError, match="have changed"):
        Prepared.open(tmp_path / "out")
