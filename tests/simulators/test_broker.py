from __future__ import annotations

import socket
from pathlib import Path

from simulators.broker import free_port, is_free, unpacked_mosquitto


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


def test_a_free_port_is_none_that_the_kernel_gives_to_a_connection_before_it_is_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        given_by_kernel = given.getsockname()[1]
        lowest_given, highest_given = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        assert lowest_given <= given_by_kernel <= highest_given
    ports = {free_port() for _ in range(50)}
    assert len(ports) > 40
    assert not [port for port in ports if not 12_000 <= port < max(lowest_given, 32_768)]
    assert all(is_free("127.0.0.1", port) for port in ports)
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        assert not is_free("127.0.0.1", taken.getsockname()[1])
