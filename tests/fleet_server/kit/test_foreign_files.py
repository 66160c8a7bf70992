"""What others packed: no name, link, device or size of theirs reaches beyond the folder."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import tracemalloc
from pathlib import Path, PurePosixPath

import pytest

from fleet_server.kit.foreign_files import (
    DifferentNames,
    ForeignFileRefused,
    Limits,
    copy_below,
    open_below,
    safe_name,
    unpack,
)

LIMITS = Limits(files=10, total_bytes=100_000)
WRONG_NAMES = (
    "",
    "/etc/passwd",
    "../out",
    "a/../../out",
    "a//b",
    "./a",
    "a/.",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    "\u202egnp.exe",
    "a" * 300,
    "/".join("a" * 20),
)


def packed(*entries: tarfile.TarInfo, content: bytes = b"hello", form: int = tarfile.PAX_FORMAT) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=form) as archive:
        for entry in entries:
            entry.size = len(content) if entry.isreg() else 0
            archive.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    return whole.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, 0o4777
    return made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "outside").write_text("outside")
    return tmp_path


def unpacked(place: Path, content: bytes, limits: Limits = LIMITS) -> list[PurePosixPath]:
    (place / "packed").write_bytes(content)
    return unpack(place / "packed", place / "in", limits)


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_a_name_that_is_none_below_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ForeignFileRefused):
        safe_name(name)


def test_names_in_any_script_are_names() -> None:
    assert safe_name("备份/钥匙 1.txt") == PurePosixPath("备份/钥匙 1.txt")


@pytest.mark.parametrize("other", ["Keys/A.txt", "keys/a.TXT", "keys/\u0041.txt", "keys/å.txt"])
def test_names_that_are_one_on_some_file_systems_are_refused(other: str) -> None:
    names = DifferentNames()
    names.add(PurePosixPath("keys/a.txt"))
    names.add(PurePosixPath("keys/a\u030a.txt"))
    with pytest.raises(ForeignFileRefused, match="same name"):
        names.add(PurePosixPath(other))


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_files_come_out_as_their_owners_alone(place: Path, squeeze: type[bytes]) -> None:
    content = squeeze(packed(entry("top", tarfile.DIRTYPE), entry("top/a"), entry("./b")))
    assert unpacked(place, content) == [PurePosixPath("top/a"), PurePosixPath("b")]
    for name in ("top/a", "b"):
        made = place / "in" / name
        assert made.read_bytes() == b"hello"
        # Neither the bits that the archive asks for nor those of others.
        assert stat.S_IMODE(made.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "bad",
    [
        entry("../outside"),
        entry("/outside"),
        entry("a/../../outside"),
        entry("link", tarfile.SYMTYPE, "../outside"),
        entry("link", tarfile.LNKTYPE, "../outside"),
        entry("null", tarfile.CHRTYPE),
        entry("disk", tarfile.BLKTYPE),
        entry("pipe", tarfile.FIFOTYPE),
        entry("long/" + "n" * 200),
        entry("two\nlines"),
    ],
    ids=lambda one: repr(one.name[:20]),
)
def test_whatever_is_no_file_below_the_folder_is_refused(place: Path, bad: tarfile.TarInfo) -> None:
    with pytest.raises(ForeignFileRefused):
        unpacked(place, packed(entry("good"), bad))
    assert (place / "outside").read_text() == "outside"
    assert {path.name for path in (place / "in").rglob("*")} <= {"good"}
    assert {path.name for path in place.iterdir()} == {"in", "outside", "packed"}


def test_the_second_of_a_name_does_not_take_the_first_ones_place(place: Path) -> None:
    for second in ("Good", "good"):
        with pytest.raises(ForeignFileRefused, match="same name"):
            unpacked(place, packed(entry("good"), entry(second)))
        (place / "in" / "good").unlink()


def test_a_file_that_is_there_already_is_not_written_over(place: Path) -> None:
    (place / "in" / "good").symlink_to(place / "outside")
    with pytest.raises(ForeignFileRefused, match="each name once"):
        unpacked(place, packed(entry("good")))
    assert (place / "outside").read_text() == "outside"


def test_a_bomb_costs_neither_memory_nor_disk(place: Path) -> None:
    big = tarfile.TarInfo("big")
    big.size = 2**40
    bomb = gzip.compress(big.tobuf() + bytes(200_000_000))
    lying = tarfile.TarInfo("big")
    lying.size = 90_000
    cut = gzip.compress(lying.tobuf() + bytes(1000))
    beside = tarfile.TarInfo("x")
    beside.type, beside.size = tarfile.XHDTYPE, 2**33
    bombs = (bomb, cut, gzip.compress(beside.tobuf() + bytes(200_000_000)))
    tracemalloc.start()
    for content in bombs:
        with pytest.raises(ForeignFileRefused):
            unpacked(place, content)
        for left in (place / "in").iterdir():
            assert left.stat().st_size <= LIMITS.total_bytes
            left.unlink()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 16 * 1024 * 1024


def test_no_more_files_than_are_allowed_and_no_end_of_what_stands_beside(place: Path) -> None:
    with pytest.raises(ForeignFileRefused, match="at most 10 files"):
        unpacked(place, packed(*(entry(f"f{number}") for number in range(11))))
    many = packed(*(entry(f"d{number}", tarfile.DIRTYPE) for number in range(50)))
    with pytest.raises(ForeignFileRefused, match="much beside"):
        unpacked(place, many)


def test_what_follows_the_end_is_not_passed_over(place: Path) -> None:
    with pytest.raises(ForeignFileRefused, match="came more"):
        unpacked(place, gzip.compress(packed(entry("a")) + bytes(5_000_000)))


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"no archive" * 100, packed(entry("a"))[:700]])
def test_what_is_no_archive_is_said_to_be_none(place: Path, content: bytes) -> None:
    with pytest.raises(ForeignFileRefused):
        unpacked(place, content)


def test_no_link_and_no_pipe_is_opened_on_the_way(place: Path) -> None:
    inside = place / "in"
    (inside / "real").mkdir()
    (inside / "real" / "file").write_text("x")
    (inside / "link").symlink_to(place / "outside")
    (inside / "folder").symlink_to(place)
    os.mkfifo(inside / "pipe")
    with open_below(inside, PurePosixPath("real/file")) as file:
        assert file.read() == b"x"
    for name in ("link", "folder/outside"):
        with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
            open_below(inside, PurePosixPath(name))
    for name in ("pipe", "real"):
        with pytest.raises(ForeignFileRefused, match="regular file"):
            open_below(inside, PurePosixPath(name))
    copy_below(inside, PurePosixPath("real/file"), place / "copy")
    assert stat.S_IMODE((place / "copy").stat().st_mode) == 0o600
