import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frcore.data.shards.tar_index import BLOCK, Member, _pax, members
from frcore.errors import UserError

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\", exclude_categories=("C", "Z")),
    min_size=1, max_size=60,
).filter(lambda name: name not in (".", ".."))  # fmt: skip
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
FILES = st.dictionaries(PATHS, st.binary(max_size=1100), max_size=6)


def info(name, size=0, kind=tarfile.REGTYPE, **fields):
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    for key, value in fields.items():
        setattr(member, key, value)
    return member


def archive(files, form=tarfile.PAX_FORMAT):
    """A tar written by Python's `tarfile`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, content in files.items():
            tar.addfile(info(name, len(content)), io.BytesIO(content))
    return buffer.getvalue()


def read(path: Path, content: bytes) -> list[Member]:
    path.write_bytes(content)
    return list(members(path))


def as_tarfile_reads(content: bytes) -> list[tuple[str, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        return [(m.name, m.offset_data, m.size) for m in tar.getmembers() if m.isreg()]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("tar") / "a.tar"


@pytest.mark.slow
@given(files=FILES, form=st.sampled_from(sorted(FORMATS)))
@settings(deadline=None, max_examples=150)
def test_members_are_where_tarfile_finds_them(file, files, form):
    try:
        content = archive(files, FORMATS[form])
    except ValueError:  # ustar has no room for the longest names
        return
    found = read(file, content)
    assert [tuple(member) for member in found] == as_tarfile_reads(content)
    assert {m.name: content[m.offset : m.offset + m.size] for m in found} == files


def test_folders_are_passed_over_and_names_are_plain(file):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(info("./", kind=tarfile.DIRTYPE))
        tar.addfile(info("./a/", kind=tarfile.DIRTYPE))
        tar.addfile(info("./a/b.jpg", 3), io.BytesIO(b"abc"))
        tar.addfile(info("c//d.jpg", 1, kind=tarfile.AREGTYPE), io.BytesIO(b"x"))
        tar.addfile(info("e/f", 1, kind=tarfile.CONTTYPE), io.BytesIO(b"x"))
        tar.addfile(info("old/", kind=tarfile.AREGTYPE))
    found = [member.name for member in read(file, buffer.getvalue())]
    assert found == ["a/b.jpg", "c/d.jpg", "e/f"]


def test_sizes_of_gnu_and_pax(file, tmp_path):
    """A size in base 256 (GNU, above 8 GiB) and one in a pax record, without the 8 GiB."""
    content = bytearray(archive({"a.jpg": b"12345"}, tarfile.GNU_FORMAT))
    content[124:136] = b"\x80" + (5).to_bytes(11, "big")
    assert read(file, fixed_sum(content)) == [Member("a.jpg", 512, 5)]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(
            info("a.jpg", 5, pax_headers={"size": "5", "comment": "x"}), io.BytesIO(b"12345")
        )
    content = bytearray(buffer.getvalue())
    (member,) = read(file, content)
    assert content[member.offset :][: member.size] == b"12345"
    # The header cannot hold such a size, and then has none.
    header = member.offset - 512
    content[header + 124 : header + 136] = b"00000000000\0"
    content[header:] = fixed_sum(content[header:])
    assert read(file, content) == [member]


def fixed_sum(content: bytearray, at: int = 0) -> bytes:
    """With the sum of the header at byte `at` made right."""
    content[at + 148 : at + 156] = b" " * 8
    content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + BLOCK])
    return bytes(content)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (info("l", kind=tarfile.SYMTYPE, linkname="/etc/passwd"), "'l' is a symbolic link"),
        (info("l", kind=tarfile.LNKTYPE, linkname="a.jpg"), "'l' is a hard link"),
        (info("l", kind=tarfile.LNKTYPE, linkname="a" * 200), "'l' is a hard link"),
        (info("d", kind=tarfile.CHRTYPE), "a character device"),
        (info("d", kind=tarfile.BLKTYPE), "a block device"),
        (info("p", kind=tarfile.FIFOTYPE), "a named pipe"),
        (info("s", kind=tarfile.GNUTYPE_SPARSE), "a sparse file"),
        (info("s", pax_headers={"GNU.sparse.major": "1"}), "a sparse file"),
        (info("v", kind=b"V"), "a volume's label"),
        (info("q", kind=b"q"), "of the unknown kind 'q'"),
        (info("../a.jpg"), "leads out"),
        (info("x/../../a.jpg"), "leads out"),
        (info("x/../a.jpg"), "leads out"),
        (info("y" * 120 + "/../../a.jpg"), "leads out"),
        (info("/etc/a.jpg"), "not a path below"),
        (info("a\\b.jpg"), "not a path below"),
        (info("a\nb.jpg"), "not a path below"),
        (info(""), "not a path below"),
    ],
)
@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_other_members_are_refused(file, member, message, form):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[form]) as tar:
        tar.addfile(info("a.jpg", 1), io.BytesIO(b"x"))
        tar.addfile(member)
    if form == "gnu" and member.pax_headers:
        return
    with pytest.raises(UserError, match=f"a.tar: .*{message}"):
        read(file, buffer.getvalue())


class Counted(bytes):
    """Bytes that count how many of them are copied."""

    copied = 0

    def __getitem__(self, key):
        part = super().__getitem__(key)
        if not isinstance(key, slice):
            return part
        Counted.copied += len(part)
        return Counted(part)

    def rstrip(self, characters):
        return self[: len(super().rstrip(characters))]

    def partition(self, separator):
        parts = super().partition(separator)
        Counted.copied += sum(map(len, parts))
        return tuple(Counted(part) for part in parts)


@pytest.mark.parametrize("records", [1000, 16_000])
def test_many_pax_records_are_read_once(records):
    Counted.copied = 0
    body = Counted(b"5 a=\n" * records + b"12 path=b.c\n")
    assert _pax(body) == {"path": "b.c"}
    assert Counted.copied < 10 * len(body)


def test_a_pax_header_for_all_members(file):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"comment": "made by git"}) as tar:
        tar.addfile(info("a.jpg", 1), io.BytesIO(b"x"))
    assert len(read(file, buffer.getvalue())) == 1
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"path": "b.jpg"}) as tar:
        tar.addfile(info("a.jpg", 1), io.BytesIO(b"x"))
    with pytest.raises(UserError, match="all members the same name or size"):
        read(file, buffer.getvalue())


def compressed(kind: str, content: bytes) -> bytes:
    if kind == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as packed:
            packed.writestr("a.tar", content)
        return buffer.getvalue()
    return {"gzip": gzip, "bzip2": bz2, "xz": lzma}[kind].compress(content)


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zip"])
def test_compressed_archives(file, kind):
    with pytest.raises(UserError, match=rf"compressed with {kind}.*decompress it to \.tar"):
        read(file, compressed(kind, archive({"a.jpg": b"x"})))


def test_every_cut_is_noticed(file):
    content = archive(
        {"a.jpg": b"x" * 700, "b/" * 80 + "c": b"y" * 20, "d": b""}, tarfile.GNU_FORMAT
    )
    # `tarfile` fills up to 20 blocks; the two of the end alone are enough.
    end = max(offset + size for _, offset, size in as_tarfile_reads(content))
    end = -(-end // BLOCK) * BLOCK + 2 * BLOCK
    assert len(read(file, content[:end])) == 3
    for cut in [*range(0, end, 64), end - 1]:
        with pytest.raises(UserError, match=r"truncated|empty"):
            read(file, content[:cut])


def test_joined_archives_and_what_is_no_archive(file, tmp_path):
    one = archive({"a.jpg": b"x"})
    with pytest.raises(UserError, match="joined"):
        read(file, one + one)
    with pytest.raises(UserError, match="not a tar archive"):
        read(file, b"\x89PNG" + bytes(range(256)) * 20)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        list(members(tmp_path / "none.tar"))
    wrong = bytearray(one)
    wrong[3] ^= 1
    with pytest.raises(UserError, match="no member's header at byte 0"):
        read(file, bytes(wrong))
    latin = fixed_sum(bytearray(archive({"aaaa": b"x"}).replace(b"aaaa", b"a\xe4aa")))
    with pytest.raises(UserError, match="not UTF-8"):
        read(file, latin)


@pytest.mark.parametrize(
    ("size", "message"),
    [(b"77777777777\0", "truncated: the member at byte 0 has 8589934591 bytes"),
     (b"\x80" + b"\xff" * 11, "not a number"), (b"\xff" * 12, "not a number"),
     (b"-0000000001\0", "not a number"), (b"99999999999\0", "not a number")],
)  # fmt: skip
def test_hostile_sizes(file, size, message):
    content = bytearray(archive({"a.jpg": b"x"}))
    content[124:136] = size
    with pytest.raises(UserError, match=message):
        read(file, fixed_sum(content))


@pytest.mark.parametrize(
    "record",
    [b"99 path=x\n", b"9999999999 path=x\n", b"8 path=x", b"0 a=b\n", b"11 size=-1\n", b"-3 a=b\n",
     b"path", b"9 path=x\nrest"],
)  # fmt: skip
def test_hostile_pax_records(file, record):
    header = bytearray(info("x", len(record), kind=tarfile.XHDTYPE).tobuf(tarfile.USTAR_FORMAT))
    content = bytes(header) + record.ljust(BLOCK, b"\0") + archive({"a.jpg": b"x"})
    with pytest.raises(UserError, match="pax record"):
        read(file, content)


def test_hostile_names(file):
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        header = info("x", 2**21, kind=kind).tobuf(tarfile.USTAR_FORMAT)
        with pytest.raises(UserError, match="a name or pax header of 2097152 bytes"):
            read(file, header + bytes(2**21 + 1024))


@pytest.mark.slow
@given(
    content=st.one_of(
        st.binary(max_size=3000),
        st.tuples(
            FILES.map(lambda files: archive(files, tarfile.PAX_FORMAT)),
            st.lists(
                st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=12)), max_size=4
            ),
            st.booleans(),
        ).map(lambda parts: overwritten(*parts)),
    )
)
@settings(deadline=None, max_examples=300)
def test_anything_ends_in_members_or_an_error(file, content):
    """What is found lies in the file and has a safe name; all else is a `UserError`."""
    try:
        found = read(file, content)
    except UserError:
        return
    for member in found:
        assert 0 < member.offset <= member.offset + member.size <= len(content)
        assert not member.name.startswith("/")
        assert ".." not in member.name.split("/")


def overwritten(content: bytes, changes: list[tuple[int, bytes]], keep_sum: bool) -> bytes:
    changed = bytearray(content)
    for at, new in changes:
        changed[at : at + len(new)] = new
    return fixed_sum(changed) if keep_sum else bytes(changed)
