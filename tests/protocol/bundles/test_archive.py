"""One form is written, and nothing but that form is read, whatever bytes come and however they are cut."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bundles.archive import (
    CLOSING,
    MAX_ARCHIVE_BYTES,
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_TOTAL_BYTES,
    NAME,
    Begun,
    Broken,
    Data,
    Ended,
    Event,
    Packer,
    Reader,
    header,
    padding,
)

names = st.from_regex(NAME, fullmatch=True)
contents = st.dictionaries(names, st.binary(max_size=2000), max_size=MAX_FILES)


def packed(files: dict[str, bytes]) -> bytes:
    packer = Packer()
    parts = []
    for name, content in files.items():
        parts += [packer.begin(name, len(content)), packer.data(content), packer.end()]
    return b"".join([*parts, packer.finish()])


def read(archive: bytes, size: int = 1 << 16) -> tuple[dict[str, bytes], Broken | None]:
    reader = Reader()
    events: list[Event] = []
    for start in range(0, len(archive), size):
        events += reader.feed(archive[start : start + size])
    files: dict[str, bytes] = {}
    name, whole = "", b""
    for event in events:
        match event:
            case Begun():
                name, whole = event.name, b""
            case Data():
                whole += event.octets
            case Ended():
                files[name] = whole
            case Broken():
                pass
    return files, reader.finish()


@given(files=contents, size=st.integers(1, 700))
@settings(max_examples=60, deadline=None)
def test_what_was_packed_is_read_however_it_is_cut(files: dict[str, bytes], size: int) -> None:
    assert read(packed(files), size) == (files, None)


@given(files=contents)
@settings(max_examples=30, deadline=None)
def test_any_tar_program_reads_it_and_the_same_files_make_the_same_bytes(files: dict[str, bytes]) -> None:
    archive = packed(files)
    assert archive == packed(files)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        seen = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]  # all files
    assert seen == files


@given(octets=st.binary(max_size=3000), is_zipped=st.booleans(), size=st.integers(1, 4000))
@settings(max_examples=200, deadline=None)
def test_no_bytes_make_it_raise(octets: bytes, size: int, *, is_zipped: bool) -> None:
    read(gzip.compress(octets) if is_zipped else octets, size)


@given(files=contents.filter(bool), at=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_changed_bit_is_never_read_as_another_file(files: dict[str, bytes], at: int, bit: int) -> None:
    archive = bytearray(packed(files))
    archive[at % len(archive)] ^= 1 << bit
    seen, broken = read(bytes(archive))
    # Fields of the gzip header mean nothing to anybody: time, level, system.
    assert broken is not None or seen == files


@given(files=contents, left=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_beginning_alone_is_not_whole(files: dict[str, bytes], left: int) -> None:
    archive = packed(files)
    broken = read(archive[: left % len(archive)])[1]
    assert broken is not None
    assert broken.code in {"archive_cut", "archive_damaged"}


def foreign(
    change: Callable[[tarfile.TarInfo], None], kind: int = tarfile.USTAR_FORMAT, content: bytes = b"x"
) -> bytes:
    """As another program would write it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", format=kind) as tar:
        member = tarfile.TarInfo("app.log")
        member.size = len(content)
        change(member)
        tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def named(name: str) -> Callable[[tarfile.TarInfo], None]:
    return lambda member: setattr(member, "name", name)


def typed(kind: bytes, link: str = "") -> Callable[[tarfile.TarInfo], None]:
    def change(member: tarfile.TarInfo) -> None:
        member.type, member.linkname = kind, link
        member.size = 0

    return change


ATTACKS = {
    "up": foreign(named("../../etc/passwd")),
    "absolute": foreign(named("/etc/passwd")),
    "folder": foreign(named("a/app.log")),
    "dots": foreign(named("..")),
    "hidden": foreign(named(".profile")),
    "back slash": foreign(named("..\\app.log")),
    "drive": foreign(named("c:app.log")),
    "capitals, which are the same file elsewhere": foreign(named("App.log")),
    "trailing dot": foreign(named("app.log.")),
    "line feed": foreign(named("app\n.log")),
    "bad UTF-8": foreign(named("app\udcff.log")),
    "not ASCII": foreign(named("日志.log")),
    "right to left": foreign(named("app\u202egol.exe"), tarfile.PAX_FORMAT),
    "symbolic link": foreign(typed(tarfile.SYMTYPE, "/etc/shadow")),
    "hard link": foreign(typed(tarfile.LNKTYPE, "manifest.json")),
    "character device": foreign(typed(tarfile.CHRTYPE)),
    "block device": foreign(typed(tarfile.BLKTYPE)),
    "pipe": foreign(typed(tarfile.FIFOTYPE)),
    "directory": foreign(typed(tarfile.DIRTYPE)),
    "sparse": foreign(typed(tarfile.GNUTYPE_SPARSE)),
    "long name": foreign(named("a" * 150), tarfile.GNU_FORMAT),
    "extended header": foreign(
        lambda member: setattr(member, "pax_headers", {"path": "/etc/passwd"}), tarfile.PAX_FORMAT
    ),
    "runs as its owner": foreign(lambda member: setattr(member, "mode", 0o4755)),
    "owned by somebody": foreign(lambda member: setattr(member, "uname", "root")),
    "from another time": foreign(lambda member: setattr(member, "mtime", 1)),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_whatever_is_not_a_plain_file_of_a_plain_name_is_refused(attack: str) -> None:
    files, broken = read(ATTACKS[attack])
    assert (files, broken and broken.code) == ({}, "archive_form")


def test_the_same_name_does_not_come_twice() -> None:
    packer = Packer()
    twice = b"".join(packer.begin("app.log", 1) + packer.data(b"x") + packer.end() for _ in range(2)) + packer.finish()
    broken = read(twice)[1]
    assert broken is not None
    assert broken.code == "archive_duplicate"


@pytest.mark.parametrize(
    "plain",
    [
        b"".join(header(f"f{number}", 0) for number in range(MAX_FILES + 1)) + CLOSING,
        b"".join(
            header(f"f{n}", MAX_FILE_BYTES) + bytes(MAX_FILE_BYTES)
            for n in range(1 + MAX_TOTAL_BYTES // MAX_FILE_BYTES)
        ),
    ],
)
def test_more_than_was_agreed_is_refused_before_it_is_inflated(plain: bytes) -> None:
    broken = read(gzip.compress(plain, 9))[1]
    assert broken is not None
    assert broken.code == "archive_too_large"


def test_a_size_above_the_bound_is_refused_by_its_header_alone() -> None:
    block = bytearray(header("app.log", 0))
    block[124:136] = b"77777777777\0"
    assert read(gzip.compress(bytes(block)))[1] == Reader().feed(gzip.compress(bytes(block)))[0]


def test_a_bomb_costs_no_memory() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = deflate.compress(header("app.log", MAX_FILE_BYTES))
    bomb += b"".join(deflate.compress(bytes(1 << 20)) for _ in range(200)) + deflate.flush()
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        reader = Reader()
        for start in range(0, len(bomb), 4096):
            for _ in reader.feed(bomb[start : start + 4096]):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reader.broken is not None
    assert peak < 3 * MAX_FILE_BYTES


@pytest.mark.parametrize("more", [b"x", gzip.compress(b"x", mtime=0), bytes(512)], ids=["byte", "member", "zeros"])
def test_nothing_stands_behind_the_end(more: bytes) -> None:
    archive = packed({"app.log": b"x"})
    assert read(archive)[1] is None
    broken = read(archive + more)[1]
    assert broken is not None
    assert broken.code == "archive_trailing"


def test_nothing_stands_behind_the_closing_blocks_inside() -> None:
    plain = header("app.log", 0) + CLOSING + header("b.log", 0)
    assert read(gzip.compress(plain, mtime=0))[1] == Broken(
        "archive_trailing", "expected nothing behind the closing blocks"
    )


def test_what_fills_up_a_block_is_zeros() -> None:
    plain = header("app.log", 1) + b"x" + b"y" * len(padding(1)) + CLOSING
    broken = read(gzip.compress(plain))[1]
    assert broken is not None
    assert broken.code == "archive_form"


def test_noise_without_end_is_not_read_to_its_end() -> None:
    reader = Reader()
    fed = 0
    packer = Packer()
    piece = packer.begin("app.log", MAX_FILE_BYTES)
    while reader.broken is None and fed < 3 * MAX_ARCHIVE_BYTES:
        reader.feed(piece)
        fed += len(piece)
        piece = bytes(1 << 16)
    assert fed < 2 * MAX_ARCHIVE_BYTES


@pytest.mark.parametrize("name", ["", "../x", "A", "x/y", "a" * 200])
def test_our_own_misuse_raises(name: str) -> None:
    with pytest.raises(ValueError, match="plain name"):
        header(name, 1)
