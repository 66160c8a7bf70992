"""Following a log: nothing read twice, nothing missed at a rotation, nothing unbounded, no card number let through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device_agent.adapters.app_log import MAX_LINE_BYTES, MAX_READ_BYTES, MAX_SIGNS, AppLog
from device_agent.app_log_rules import RULES, sign_in
from protocol.catalogue import codes
from protocol.catalogue.vocabulary import TerminalClass
from simulators.terminal_log import ERROR_TEXTS

Opened = Callable[..., AppLog]
TIMEOUT = "2026-03-01 08:00:00.000 [E] PayErr: wait response timeout 60000ms\n"
REFUSED = "2026-03-01 08:00:01.000 [E] PayErr: connect failed: ECONNREFUSED\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pay.log"


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Makes followers, and closes them at the end."""
    made: list[AppLog] = []

    def make(path: Path, terminal_class: str = "smart", *, place_file: Path | None = None) -> AppLog:
        made.append(AppLog(path, terminal_class, place_file=place_file))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def log(path: Path, opened: Opened) -> AppLog:
    path.touch()
    followed = opened(path)
    followed.follow()
    return followed


def append(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def found(log: AppLog) -> list[str]:
    return [str(sign.code) for sign in log.follow()]


def test_a_line_is_told_once(log: AppLog, path: Path) -> None:
    append(path, TIMEOUT)
    assert found(log) == ["term.HOST_TIMEOUT"]
    assert found(log) == []


def test_repeats_within_one_look_are_one_sign(log: AppLog, path: Path) -> None:
    append(path, TIMEOUT * 5 + REFUSED)
    assert found(log) == ["term.HOST_TIMEOUT", "term.HOST_REFUSED"]
    assert log.counts.lines == 6


def test_what_stood_there_before_is_history(path: Path, opened: Opened) -> None:
    append(path, TIMEOUT)
    assert found(opened(path)) == []


def test_a_half_written_line_waits_for_its_end(log: AppLog, path: Path) -> None:
    append(path, TIMEOUT[:50])
    assert found(log) == []
    append(path, TIMEOUT[50:])
    assert found(log) == ["term.HOST_TIMEOUT"]


def test_a_rotated_file_is_read_to_its_end_before_the_new_one(log: AppLog, path: Path) -> None:
    append(path, TIMEOUT)
    path.rename(path.with_name("pay.log.1"))
    append(path, REFUSED)
    assert found(log) == ["term.HOST_TIMEOUT", "term.HOST_REFUSED"]
    assert log.counts.rotations == 1


def test_a_rotation_without_a_new_file_yet_loses_nothing(log: AppLog, path: Path) -> None:
    path.rename(path.with_name("pay.log.1"))
    append(path.with_name("pay.log.1"), TIMEOUT)
    assert found(log) == ["term.HOST_TIMEOUT"]
    append(path, REFUSED)
    assert found(log) == ["term.HOST_REFUSED"]


def test_a_truncated_file_is_begun_again(log: AppLog, path: Path) -> None:
    append(path, TIMEOUT * 3)
    found(log)
    path.write_text(REFUSED, encoding="utf-8")
    assert found(log) == ["term.HOST_REFUSED"]
    assert log.counts.truncations == 1


def test_a_missing_file_is_waited_for_and_read_from_its_first_line(path: Path, opened: Opened) -> None:
    log = opened(path)
    assert found(log) == []
    append(path, TIMEOUT)
    assert found(log) == ["term.HOST_TIMEOUT"]


def test_a_folder_in_its_place_is_counted_and_harms_nothing(path: Path, opened: Opened) -> None:
    path.mkdir()
    log = opened(path)
    assert found(log) == []
    assert log.counts.errors == 1


def test_the_place_is_remembered_over_a_restart(log: AppLog, path: Path, tmp_path: Path, opened: Opened) -> None:
    place = tmp_path / "place.json"
    first = opened(path, place_file=place)
    first.follow()
    append(path, TIMEOUT + REFUSED[:20])
    assert found(first) == ["term.HOST_TIMEOUT"]
    first.close()
    append(path, REFUSED[20:])
    assert found(opened(path, place_file=place)) == ["term.HOST_REFUSED"]


def test_a_file_rotated_while_nobody_watched_is_read_to_its_end_first(
    path: Path, tmp_path: Path, opened: Opened
) -> None:
    place = tmp_path / "place.json"
    append(path, REFUSED)
    opened(path, place_file=place).follow()
    append(path, TIMEOUT)
    path.rename(path.with_name("pay.log.1"))
    append(path, "sign in required\n")
    assert found(opened(path, place_file=place)) == ["term.HOST_TIMEOUT", "term.SIGN_IN_NEEDED"]


def test_a_remembered_place_in_another_file_is_not_used(path: Path, tmp_path: Path, opened: Opened) -> None:
    place = tmp_path / "place.json"
    append(path, TIMEOUT)
    opened(path, place_file=place).follow()
    path.rename(tmp_path / "pay.log.1")
    append(path, REFUSED)
    assert found(opened(path, place_file=place)) == ["term.HOST_REFUSED"]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"inode":"x","offset":1}'])
def test_an_unreadable_place_is_no_place(path: Path, tmp_path: Path, content: bytes, opened: Opened) -> None:
    place = tmp_path / "place.json"
    place.write_bytes(content)
    append(path, TIMEOUT)
    log = opened(path, place_file=place)
    assert found(log) == []
    append(path, REFUSED)
    assert found(log) == ["term.HOST_REFUSED"]


@pytest.mark.parametrize("encoding", ["gbk", "utf-8"])
def test_chinese_in_either_encoding_is_understood(path: Path, encoding: str, opened: Opened) -> None:
    path.touch()
    log = opened(path, "traditional")
    log.follow()
    append(path, "[03-01 08:00:00] 主机应答 应答码=A0 流水=000123\n[03-01 08:00:01] 打印机缺纸\n".encode(encoding))
    assert found(log) == ["unionpay39.A0", "term.PRN_NO_PAPER"]


def test_a_line_above_the_limit_is_dropped_and_the_next_is_read(log: AppLog, path: Path) -> None:
    append(path, b"x" * (3 * MAX_LINE_BYTES) + TIMEOUT.encode() + REFUSED.encode())
    assert found(log) == ["term.HOST_REFUSED"]
    assert log.counts.long_lines == 1
    assert len(log._held) <= MAX_LINE_BYTES


def test_one_look_reads_a_bounded_part_and_the_next_goes_on(log: AppLog, path: Path) -> None:
    filler = "2026-03-01 08:00:00.000 [I] PayCore: nothing to see here\n"
    append(path, filler * (MAX_READ_BYTES // len(filler) + 10) + TIMEOUT)
    assert found(log) == []
    assert found(log) == ["term.HOST_TIMEOUT"]


def test_signs_of_one_look_are_bounded(log: AppLog, path: Path) -> None:
    every = [code.code for code in codes.all() if code.id.startswith("unionpay39.")]
    append(path, "".join(f"recv field39={code} trace=1\n" for code in every))
    assert len(log.follow()) <= MAX_SIGNS


def test_binary_noise_harms_nothing(log: AppLog, path: Path) -> None:
    append(path, bytes(range(256)) * 64 + b"\n" + TIMEOUT.encode())
    assert "term.HOST_TIMEOUT" in found(log)


@pytest.mark.parametrize("terminal_class", list(TerminalClass), ids=lambda each: each.value)
@pytest.mark.parametrize("code", ERROR_TEXTS)
def test_what_the_simulated_application_says_of_an_error_is_read_as_that_error(
    terminal_class: TerminalClass, code: str
) -> None:
    chinese, english = ERROR_TEXTS[code]
    line = chinese if terminal_class is TerminalClass.TRADITIONAL else english
    sign = sign_in(f"[03-01 08:00:00] {line}", RULES[terminal_class])
    assert sign is not None
    assert sign.code == code


@pytest.mark.parametrize("answer", ["00", "51", "55", "61"])
def test_an_approval_and_what_is_the_cardholders_is_no_sign(answer: str) -> None:
    assert sign_in(f"recv field39={answer} trace=1", RULES[TerminalClass.SMART]) is None


def test_digits_mean_what_they_mean_at_this_acquirer() -> None:
    line = "recv field39=45 trace=1"
    usual = sign_in(line, RULES[TerminalClass.SMART])
    there = sign_in(line, RULES[TerminalClass.SMART], acquirer_profile="sign_in_45")
    assert usual is not None
    assert usual.code == "unionpay39.45"
    assert there is not None
    assert there.code == "unionpay39.77"


def test_an_approved_payment_ends_what_it_disproves_and_nothing_else(log: AppLog, path: Path) -> None:
    append(path, TIMEOUT + "recv field39=03 trace=1\n" + "E no paper\n")
    assert found(log) == ["term.HOST_TIMEOUT", "unionpay39.03", "term.PRN_NO_PAPER"]
    append(path, "recv field39=51 trace=2\n")
    assert found(log) == []
    append(path, "recv field39=00 trace=3\n")
    over = log.follow()
    assert {str(sign.code) for sign in over} == {"term.HOST_TIMEOUT", "unionpay39.03"}
    assert all(sign.is_over for sign in over)
    append(path, "recv field39=00 trace=4\n")
    assert log.follow() == []


def test_evidence_is_scrubbed_and_bounded() -> None:
    line = f"E no paper card=4111111111111111 {'x' * 400}"
    sign = sign_in(line, RULES[TerminalClass.SMART])
    assert sign is not None
    assert "4111111111111111" not in sign.evidence
    assert len(sign.evidence) <= 200
