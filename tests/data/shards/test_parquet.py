import json
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frcore.data.contents import open_encoded
from frcore.data.pixels.decoding import BadImageError
from frcore.data.prepare import prepare
from frcore.data.prepared.folder import Prepared
from frcore.data.shards import columnar, parquet
from frcore.data.shards.parquet import ColumnImages
from frcore.errors import UserError
from frcore.study.expansion import TrainDataSpec
from tests.data.people import IMAGE, PEOPLE, assert_same_images, copied, write_people


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    root = tmp_path_factory.mktemp("people")
    paths = write_people(root)
    whole = copied(root, root.parent / "copied")
    return whole, [path.read_bytes() for path in paths], [path.parent.name for path in paths]


@pytest.fixture
def table(people):
    """What Hugging Face's `datasets` writes: its schema and metadata, by hand."""
    _, contents, who = people
    names = sorted(PEOPLE)
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    image = pa.array([{"bytes": content, "path": f"{k}.jpg"} for k, content in enumerate(contents)],
                     pa.struct([("bytes", pa.binary()), ("path", pa.string())]))  # fmt: skip
    label = pa.array([names.index(name) for name in who], pa.int64())
    about = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return pa.table({"image": image, "label": label}).replace_schema_metadata(about)


def prepared(tmp_path, **settings):
    data = {"kind": "parquet", "root": str(tmp_path / "data"), **settings}
    spec = TrainDataSpec.model_validate({"image": IMAGE.model_dump(), "data": data})
    prepare(spec, tmp_path / "out", workers=2)
    return Prepared.open(tmp_path / "out")


def write_parquet(table, path, **settings):
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path, row_group_size=settings.pop("row_group_size", 4), **settings)


def write_stream(table, path, **settings):
    path.parent.mkdir(exist_ok=True)
    options = pa.ipc.IpcWriteOptions(**settings)
    with pa.ipc.new_stream(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=4)


def write_file(table, path, **settings):
    path.parent.mkdir(exist_ok=True)
    options = pa.ipc.IpcWriteOptions(**settings)
    with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=4)


WRITERS = {
    "train.parquet": write_parquet,
    "stream.arrow": write_stream,
    "file.arrow": write_file,
}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", WRITERS)
def test_files_of_datasets_give_the_images_of_the_folder(tmp_path, people, table, name):
    WRITERS[name](table, tmp_path / "data" / name)
    found = prepared(tmp_path)
    assert_same_images(found, people[0])
    assert found.index["identity"].tolist() == people[0].index["identity"].tolist()
    assert found.index["name"].tolist() == [f"{name}/{k}" for k in range(9)]


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_every_compression_of_parquet(tmp_path, people, table, compression, version):
    write_parquet(table, tmp_path / "data" / "a.parquet", compression=compression,
                  data_page_version=version, use_dictionary=version == "1.0")  # fmt: skip
    assert_same_images(prepared(tmp_path), people[0])


def test_several_files_are_in_the_order_of_their_names(tmp_path, people, table):
    (tmp_path / "data" / "b").mkdir(parents=True)
    write_stream(table.slice(0, 2), tmp_path / "data" / "a.arrow")
    write_parquet(table.slice(2, 5), tmp_path / "data" / "b" / "train-00000-of-00002.parquet")
    write_parquet(table.slice(7), tmp_path / "data" / "b" / "train-00001-of-00002.parquet")
    write_parquet(table, tmp_path / "data" / "b" / "test-00000-of-00001.parquet")
    pattern = "{a.arrow,b/train-*.parquet}"
    assert_same_images(prepared(tmp_path, pattern=pattern), people[0])


def test_plain_columns_and_text(tmp_path, people):
    whole, contents, who = people
    columns = {
        "jpg": pa.array(contents, pa.large_binary()),
        "who": pa.array(who).dictionary_encode(),
    }
    write_parquet(pa.table({**columns, "other": pa.nulls(9)}), tmp_path / "data" / "a.parquet")
    found = prepared(tmp_path, image="jpg", label="who", labels="name", identities=3)
    assert_same_images(found, whole)
    assert found.index["identity"].tolist() == who
    with pytest.raises(UserError, match=r"(?s)a.parquet/0: 'Ada'.*labels: name"):
        prepared(tmp_path, image="jpg", label="who")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("kind", [pa.int8(), pa.uint32(), pa.uint64(), pa.string()])
def test_types_of_numbers(tmp_path, people, table, kind):
    data = pa.table({"image": table["image"], "label": table["label"].cast(kind)})
    write_parquet(data, tmp_path / "data" / "a.parquet")
    found = prepared(tmp_path)
    assert_same_images(found, people[0])
    assert found.index["identity"].iloc[0] == "parquet/0"
    assert prepared(tmp_path, labels="name").index["identity"].iloc[0] == "parquet/0"


def test_opened_again_and_in_another_order(people, table, tmp_path):
    for name, write in WRITERS.items():
        write(table, tmp_path / "data" / name)
    paths = [tmp_path / "data" / name for name in WRITERS]
    source = ColumnImages(paths, None, "image")
    chosen = source.take(np.array([26, 3, 12]))
    settings, rows = chosen.settings, chosen.table
    again = open_encoded("parquet", json.loads(json.dumps(settings)), rows)
    assert [bytes(again.encoded(k)) for k in range(3)] == [people[1][k] for k in (8, 3, 3)]
    assert again.names.tolist() == ["file.arrow/8", "train.parquet/3", "stream.arrow/3"]
    rows["file"] = 3
    with pytest.raises(UserError, match="file 3 of 3"):
        open_encoded("parquet", settings, rows)
    rows["file"], rows["row"] = 0, 9
    with pytest.raises(BadImageError, match="no row 9"):
        open_encoded("parquet", settings, rows).encoded(0)


def test_what_is_kept_is_bounded_and_used_last(people, table, tmp_path, monkeypatch):
    write_parquet(table, tmp_path / "a.parquet", row_group_size=2)
    source = ColumnImages([tmp_path / "a.parquet"], None, "image")
    read = []
    images = columnar._Parquet.images

    def watched(self, group):
        read.append(group)
        return images(self, group)

    monkeypatch.setattr(columnar._Parquet, "images", watched)
    for row in (0, 1, 0, 2, 3):
        source.encoded(row)
    assert read == [0, 1]
    monkeypatch.setattr(parquet, "CACHE_BYTES", source._kept_bytes)
    source.encoded(4)
    assert read == [0, 1, 2]
    assert source._kept_bytes <= parquet.CACHE_BYTES
    source.encoded(5)
    source.encoded(3)
    source.encoded(0)
    assert read[3:] in ([0], [1, 0])
    assert source._kept_bytes == sum(kept.nbytes for kept in source._groups.values())


def test_many_threads_read_the_same_content(people, table, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "CACHE_BYTES", 2000)
    write_parquet(table, tmp_path / "a.parquet", row_group_size=1)
    source = ColumnImages([tmp_path / "a.parquet"], None, "image")
    wrong = []

    def work(seed):
        for row in np.random.default_rng(seed).integers(0, 9, 60):
            if bytes(source.encoded(int(row))) != people[1][row]:
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- what is refused --------------------------------------------------------------------------


def test_null_images_and_labels(tmp_path, people, table):
    contents = [*people[1][:3], None, *people[1][4:]]
    structs = [None if k == 5 else {"bytes": c, "path": "x"} for k, c in enumerate(contents)]
    image = pa.array(structs, table.schema.field("image").type)
    data = pa.table({"image": image, "label": table["label"]})
    for name, write in WRITERS.items():
        path = tmp_path / "data" / name
        write(data, path)
        with pytest.raises(UserError) as error:
            prepared(tmp_path, root=str(path))
        assert str(error.value).splitlines()[1:3] == [
            f"  {name}/{row}: the image is null: the file has no bytes for it" for row in (3, 5)
        ]
        found = prepared(tmp_path, root=str(path), on_bad_image="skip")
        assert found.labels.tolist() == [0, 0, 0, 1, 2, 2, 2]
    labels = pa.array([0, 0, 0, None, 1, 2, None, 2, 2])
    data = pa.table({"image": table["image"], "label": labels})
    write_parquet(data, tmp_path / "data" / "nulls.parquet")
    with pytest.raises(UserError, match=r"2 labels \(label\) are null:\n  nulls.parquet/3\n  null"):
        prepared(tmp_path, root=str(tmp_path / "data" / "nulls.parquet"))
    data = pa.table({"image": table["image"], "label": labels.cast(pa.string())})
    write_parquet(data, tmp_path / "data" / "nulls.parquet")
    with pytest.raises(UserError, match=r"2 labels \(label\) are null:\n  nulls.parquet/3\n  null"):
        prepared(tmp_path, root=str(tmp_path / "data" / "nulls.parquet"))


@pytest.mark.fast_cases(17)
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": pa.array(["a.jpg"]), "label": pa.array([0])}, "the column 'image' is string"),
        ({"image": pa.array([{"path": "a"}]), "label": pa.array([0])}, "column 'image' is struct"),
        ({"image": pa.array([[1, 2]]), "label": pa.array([0])}, "the column 'image' is list"),
        ({"picture": pa.array([b"x"]), "label": pa.array([0])}, "no column 'image'; it has 'pic"),
        ({"image": pa.array([b"x"]), "who": pa.array([0])}, "no column 'label'; it has 'image'"),
        ({"image": pa.array([b"x"]), "label": pa.array([0.0])}, "the column 'label' is double"),
        ({"image": pa.array([b"x"]), "label": pa.array([[0]])}, "the column 'label' is list"),
        ({"image": pa.array([b"x"]), "label": pa.array([2**63], pa.uint64())}, "'label': Integer"),
        ({"image": pa.array([b"x"]), "label": pa.array(["y" * 9000])}, "a text of 9000 bytes"),
        ({"image": pa.array([b"x"]), "label": pa.array([-1])}, "a/0: label -1"),
        ({"image": pa.array([b"x"] * 2), "label": pa.array([0, 1])}, "a/0: not an image"),
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, "have no rows"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("write", [write_parquet, write_stream, write_file])
def test_columns_that_cannot_be_used(tmp_path, columns, message, write):
    write(pa.table(columns), tmp_path / "data" / "a")
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, root=str(tmp_path / "data" / "a"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_end_in_errors(tmp_path, table, name):
    """Cut anywhere, or with bytes overwritten, a file is refused or gives what it holds."""
    path = tmp_path / "data" / name
    who = pa.array(["x", "y", "z"] * 3).dictionary_encode()
    table = pa.table({"image": table["image"], "label": who})
    WRITERS[name](table, path)
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for trial in range(120):
        damaged = bytearray(content)
        if trial % 4 == 0:
            del damaged[int(generator.integers(len(content))) :]
        else:
            # Half of the time in what says how the rest is to be read.
            first = 0 if trial % 4 == 1 else max(0, len(content) - 1500)
            at = int(generator.integers(first, len(content)))
            damaged[at : at + 4] = generator.bytes(4) if trial % 4 == 2 else b"\xff\xff\xff\x7f"
        path.write_bytes(damaged)
        try:
            source = ColumnImages([path], None, "image")
            parquet._stored(source.columns[0], "label")
            for row in range(len(source)):
                source.encoded(row)
        except (UserError, BadImageError):
            refused += 1
    assert refused > 20


def test_other_files_and_folders(tmp_path, table):
    with pytest.raises(UserError, match="does not exist"):
        prepared(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match="no file that matches"):
        prepared(tmp_path)
    (tmp_path / "data" / "a.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(UserError, match="not a Parquet or Arrow file, or is damaged"):
        prepared(tmp_path)
    (tmp_path / "data" / "a.parquet").write_bytes(b"\x89PNG and nothing else")
    with pytest.raises(UserError, match="not a Parquet or Arrow file, or is damaged"):
        prepared(tmp_path)
    with pytest.raises(UserError, match="leads out of"):
        prepared(tmp_path, pattern="../*.parquet")


@pytest.mark.parametrize("write", [write_stream, write_file])
def test_compressed_arrow(tmp_path, table, write):
    write(table, tmp_path / "data" / "a.arrow", compression="zstd")
    with pytest.raises(UserError, match="batch 0 is compressed"):
        prepared(tmp_path)


@pytest.mark.slow
def test_bombs(tmp_path, people, table, monkeypatch):
    """Little on disk, much in memory: by compression, and by a dictionary."""
    monkeypatch.setattr(columnar, "LARGEST_GROUP", 2**20)
    zeros = pa.table({"image": pa.array([bytes(2**15)] * 64), "label": pa.array([0, 1] * 32)})
    path = tmp_path / "data" / "a.parquet"
    write_parquet(zeros, path, row_group_size=64, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 2**15
    with pytest.raises(UserError, match=r"group 0 of a.parquet has more than 1 MiB"):
        prepared(tmp_path)
    write_parquet(zeros, path, row_group_size=64, use_dictionary=True)
    said = pq.read_metadata(path).row_group(0).column(0).total_uncompressed_size
    assert said < 2**17, "the file's own figure says nothing"
    with pytest.raises(UserError, match=r"group 0 of a.parquet has more than 1 MiB of images"):
        prepared(tmp_path)
    write_parquet(zeros, path, row_group_size=16)
    with pytest.raises(UserError, match=r"a.parquet/0: not an image"):
        prepared(tmp_path)


def test_more_rows_than_bytes(tmp_path):
    """A dictionary and run lengths: a hundred thousand rows in a kilobyte."""
    path = tmp_path / "data" / "a.parquet"
    rows = pa.table({"image": pa.array([b"x"] * 100_000), "label": pa.array([0] * 100_000)})
    write_parquet(rows, path, row_group_size=100_000)
    with pytest.raises(UserError, match=f"100000 rows in {path.stat().st_size} bytes"):
        prepared(tmp_path)


def test_metadata_of_strangers(table, tmp_path):
    schema = table.schema
    assert parquet.class_names(schema, "label") == sorted(PEOPLE)
    for about in (None, {}, {b"huggingface": b"rubbish"}, {b"huggingface": b"[" * 100_000},
                  {b"huggingface": b'{"info": {"features": {"label": {"names": ["a", "a"]}}}}'},
                  {b"huggingface": b'{"info": {"features": {"label": {"names": [1]}}}}'},
                  {b"huggingface": b'{"info": {"features": {"label": {"names": 3}}}}'},
                  {b"huggingface": b'{"info": {"features": {"label": 3}}}'}):  # fmt: skip
        assert parquet.class_names(schema.with_metadata(about), "label") == []


def test_a_changed_file_is_noticed(table, tmp_path):
    write_parquet(table, tmp_path / "data" / "a.parquet")
    prepared(tmp_path)
    write_parquet(table.slice(1), tmp_path / "data" / "a.parquet")
    with pytest.raises(UserError, match=r"a.parquet: had \d+ bytes"):
        Prepared.open(tmp_path / "out")
