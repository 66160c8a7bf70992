from __future__ import annotations

from pathlib import Path

from simulators.broker import unpacked_mosquitto


def test_an_unpacked_broker_runs_with_all_the_libraries_unpacked_beside_it(tmp_path: Path) -> None:
    for folder in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/systemd", "usr/sbin"):
        (tmp_path / folder).mkdir(parents=True)
    assert unpacked_mosquitto(tmp_path) is None
    (tmp_path / "usr/sbin/mosquitto").touch()
    found = unpacked_mosquitto(tmp_path)
    assert found is not None
    assert found.program == str(tmp_path / "usr/sbin/mosquitto")
    assert found.environment["LD_LIBRARY_PATH"].split(":") == [
        str(tmp_path / "usr/lib/x86_64-linux-gnu"),
        str(tmp_path / "lib/x86_64-linux-gnu"),
    ]
