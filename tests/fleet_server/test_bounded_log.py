from __future__ import annotations

from pathlib import Path

from fleet_server.bounded_log import MAX_BYTES, MAX_LINE_BYTES, BoundedLog


def test_it_never_grows_beyond_twice_its_bound(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "api.log")
    for _ in range(3 * MAX_BYTES // MAX_LINE_BYTES):
        log.write(b"x" * (MAX_LINE_BYTES + 100))
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"api.log", "api.log.1"}
    assert all(size <= MAX_BYTES + MAX_LINE_BYTES for size in sizes.values())


def test_the_last_words_are_the_last_line_that_says_something(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "api.log")
    assert log.last_line() == ""
    log.write(b"first\n")
    log.write("端口被占用\n\n".encode())
    assert log.last_line() == "端口被占用"
