"""The modelled disk as a folder for a test, with its faults and its log; skipped where FUSE is not to be had."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import pytest

from tests.faults.disk import Step
from tests.faults.fault import LENGTH, Fault, note
from tests.support.required import missing

START_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class MountedDisk:
    folder: Path
    log: BinaryIO

    def fail(self, fault: Fault) -> None:
        """In place of what was ordered before, if that has not happened yet."""
        os.setxattr(self.folder, "user.fault", msgspec.json.encode(fault))

    def note(self, text: str) -> None:
        note(self.folder, text)

    def new_steps(self) -> list[Step]:
        """What reached the disk since this was asked last."""
        decoder: msgspec.msgpack.Decoder[Step] = msgspec.msgpack.Decoder(Step)
        steps = []
        while head := self.log.read(LENGTH.size):
            (length,) = LENGTH.unpack(head)
            steps.append(decoder.decode(self.log.read(length)))
        return steps


@contextmanager
def mounted_disk(folder: Path) -> Iterator[MountedDisk]:
    _require_fuse()
    place = folder / "disk"
    place.mkdir()
    log = folder / "disk.log"
    with (folder / "disk.stderr").open("wb") as stderr:
        server = subprocess.Popen([sys.executable, "-m", "tests.faults.disk_server", place, log], stderr=stderr)
    try:
        _wait_until_mounted(place, server, folder / "disk.stderr")
        with log.open("rb") as read:
            yield MountedDisk(place, read)
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(place)], check=False, capture_output=True)
        server.terminate()
        server.wait()


def _require_fuse() -> None:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse cannot be opened: no file system of one's own here")
    if shutil.which("fusermount3") is None:
        pytest.skip("fusermount3 is not installed (apt-get install fuse3)")
    try:
        importlib.import_module("mfusepy")
    except ImportError:
        missing("mfusepy is not installed")
    except (OSError, AttributeError) as error:
        pytest.skip(f"libfuse cannot be loaded: {error}")


def _wait_until_mounted(place: Path, server: subprocess.Popen[bytes], stderr: Path) -> None:
    deadline = time.monotonic() + START_S
    while not place.is_mount():
        if server.poll() is not None:
            said = stderr.read_text(errors="replace").strip().splitlines()
            pytest.skip(f"FUSE cannot mount here: {said[-1] if said else server.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the disk was not mounted within {START_S} s")
        time.sleep(0.01)
