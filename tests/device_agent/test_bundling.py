"""A bundle holds what helps, within bounds, and no card data: neither in the file nor anywhere on the way to it."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from device_agent import bundling
from device_agent.__main__ import main
from device_agent.adapters import bundle_file
from device_agent.adapters.bundle_file import Opened, Patience, Source, file_source, text_source, write_bundle
from device_agent.config import load
from protocol.bundles.archive import MAX_FILE_BYTES, Reader
from protocol.bundles.manifest import Absence, Manifest
from protocol.redaction import scrub
from tests.protocol.redaction.card_samples import FORMS

LINK = "d-00000001"
# Published test numbers of the schemes.
VISA, UNIONPAY = "4111111111111111", "6200000000000005"


def written(tmp_path: Path, *sources: Source, seconds: float = 60) -> tuple[dict[str, bytes], Manifest, bytes]:
    target = io.BytesIO()
    made = write_bundle(target, sources, LINK, 1_700_000_000_000, tmp_path, Patience(seconds))
    archive = target.getvalue()
    assert len(archive) == made.size
    reader = Reader()
    reader.feed(archive)
    assert reader.finish() is None
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        files = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]  # all files
    manifest = msgspec.json.decode(files.pop("manifest.json"), type=Manifest)
    assert {one.name: one.size for one in manifest.files} == {name: len(content) for name, content in files.items()}
    return files, manifest, archive


@pytest.mark.parametrize("form", sorted(FORMS))
def test_no_card_number_of_a_log_is_in_the_bundle(tmp_path: Path, form: str) -> None:
    log = tmp_path / "payment.log"
    text = FORMS[form](VISA)
    log.write_text("10:00 I PosApp: start\n" * 5000 + f"10:01 card {text} ok\n" + "10:02 I done\n" * 5000)
    files, manifest, _ = written(tmp_path, file_source("app.log", log, 1 << 20))
    content = files["app.log"].decode()
    assert text not in content
    assert VISA not in content
    assert not scrub(content).hits
    assert manifest.files[0].masked > 0


def test_a_log_of_a_chinese_terminal_is_readable(tmp_path: Path) -> None:
    log = tmp_path / "payment.log"
    log.write_bytes(f"10:00 打印机缺纸 卡号 {UNIONPAY}\n".encode("gb18030") * 3)
    content = written(tmp_path, file_source("app.log", log, 1 << 20))[0]["app.log"].decode("utf-8")
    assert "打印机缺纸" in content
    assert UNIONPAY not in content


def test_only_the_end_of_a_long_log_is_taken_from_the_beginning_of_a_line(tmp_path: Path) -> None:
    log = tmp_path / "payment.log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    files, manifest, _ = written(tmp_path, file_source("app.log", log, 4096))
    lines = files["app.log"].decode().splitlines()
    assert lines[-1] == "line 99999"
    assert all(line.startswith("line ") and int(line[5:]) for line in lines)
    assert manifest.files[0].cut is Absence.TOO_LARGE


def test_what_is_no_file_is_left_out_and_says_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    sources = [
        file_source("app.log", tmp_path / "pipe", 100),
        file_source("app.log.1", tmp_path / "missing", 100),
        file_source("folder", tmp_path, 100),
        file_source("none", None, 100),
        text_source("status.json", lambda: None),
    ]
    _, manifest, _ = written(tmp_path, *sources)
    assert [one.reason.value for one in manifest.left_out] == [
        "unreadable",
        "missing",
        "unreadable",
        "not_configured",
        "not_answered",
    ]


def test_the_same_sources_make_the_same_bytes(tmp_path: Path) -> None:
    made = [written(tmp_path, text_source("a.json", lambda: "x\n" * 1000))[2] for _ in range(2)]
    assert made[0][:2000] == made[1][:2000]


def test_more_than_fits_is_cut_at_a_line_and_memory_stays_bounded(tmp_path: Path) -> None:
    # A number of twenty digits is no card's; its beginning could be one.
    line = f"{VISA}9999 free text that goes on for a while without meaning anything\n"
    log = tmp_path / "payment.log"
    log.write_text(line * (3 * MAX_FILE_BYTES // len(line)))
    tracemalloc.start()
    try:
        files, manifest, _ = written(tmp_path, file_source("app.log", log, 2 * MAX_FILE_BYTES))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert files["app.log"].endswith(b"\n")
    assert len(files["app.log"]) <= MAX_FILE_BYTES
    assert not scrub(files["app.log"][-500:].decode()).hits
    assert manifest.files[0].cut is Absence.TOO_LARGE
    # Reading it back here takes the file several times; making it does not.
    assert peak < 6 * MAX_FILE_BYTES


def test_noise_that_does_not_shrink_stays_below_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, "MAX_ARCHIVE_BYTES", 200 * 1024)
    letters = "ghijklmnopqrstuvwxyz!#$%&()*;<>?"
    draw = random.Random(7)
    text = "".join("".join(draw.choices(letters, k=60)) + "\n" for _ in range(1000))
    sources = [text_source(f"f{number}", lambda: text) for number in range(6)]
    _, manifest, archive = written(tmp_path, *sources)
    assert len(archive) <= 200 * 1024
    assert any(one.cut is Absence.TOO_LARGE for one in manifest.files)


def test_out_of_time_the_rest_is_left_out(tmp_path: Path) -> None:
    clock = iter(range(10_000))
    patience = Patience(20, monotonic=lambda: float(next(clock)))

    def texts() -> Opened:
        return Opened(iter("line\n" * 1000 for _ in range(100)))

    target = io.BytesIO()
    sources = [Source("app.log", texts), text_source("late.json", lambda: "{}")]
    manifest = write_bundle(target, sources, LINK, 0, tmp_path, patience).manifest
    assert manifest.files[0].cut is Absence.OUT_OF_TIME
    assert [(one.name, one.reason) for one in manifest.left_out] == [("late.json", Absence.OUT_OF_TIME)]


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    enrolment = {"link": LINK, "broker": {"host": "broker.example", "port": 8883}, "root_public": "0" * 64}
    (bundle / "enrolment.json").write_text(json.dumps(enrolment))
    for name in ("client.key", "client.crt", "ca.crt"):
        (bundle / name).write_text("-----BEGIN NOTHING TO BE SEEN-----")
    path = tmp_path / "agent.toml"
    path.write_text(
        'enrolment = "bundle"\n[host]\nkind = "none"\n[app]\nlog = "payment.log"\n'
        '[[lines]]\nname = "pos1"\ndriver = "zvt"\nurl = "socket://user:secret@host:1"\n'
    )
    (tmp_path / "payment.log").write_text(f"10:00 PAN={VISA}\n")
    return path


def test_the_command_line_makes_one_of_an_agent_that_does_not_run(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = config_file.parent / "out.tgz"
    assert main(["bundle", "--config", str(config_file), "--out", str(out)]) == 0
    assert out.stat().st_mode & 0o777 == 0o600
    shown = capsys.readouterr().out
    assert "app.log: " in shown
    assert "status.json: left out, not_answered" in shown
    with tarfile.open(out) as tar:
        content = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]  # all files
    assert list(content) == ["versions.json", "configuration.json", "app.log", "manifest.json"]
    whole = b"".join(content.values())
    assert VISA.encode() not in whole
    assert b"NOTHING TO BE SEEN" not in whole
    assert b"secret" not in whole
    assert json.loads(content["configuration.json"])["lines"][0]["url"] == "socket://host:1"


def test_a_place_without_room_is_one_sentence(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "--config", str(config_file), "--out", str(config_file / "no" / "folder")]) == 1
    assert "expected room for a file" in capsys.readouterr().err


def test_what_a_command_carried_in_confidence_is_left_out() -> None:
    assert bundling.without_grant({"grant": "secret", "log_kib": 5}) == {"log_kib": 5}


def test_what_matters_most_comes_first(config_file: Path) -> None:
    sources: Sequence[Source] = bundling.sources_of(load(config_file), lambda _question: None, 1000)
    assert [one.name for one in sources][:3] == ["versions.json", "configuration.json", "status.json"]
    assert sources[-1].name == "app.log.1"
