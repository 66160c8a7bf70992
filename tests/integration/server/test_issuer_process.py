"""The issuer as a process of its own: who may ask it, and that it is made when it does not run."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet_server.enrollment.settings_file import Wishes, ensure_settings
from fleet_server.issuer import client as client_module
from fleet_server.issuer.client import connect_to
from fleet_server.issuer.errors import IssuerUnreachable
from fleet_server.issuer.opening import issuer_of, places_of, prepare
from fleet_server.kit.times import utc_now
from fleet_server.restoring import declared, has_writers
from fleet_server.settings import ServerSettings
from tests.support.signing_requests import new_key, request_of

pytestmark = pytest.mark.integration
LINK = "d-0123456789abcdef"
DEADLINE_S = 30.0


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    # Longer than a socket's name may be.
    data = tmp_path / ("a-folder-with-a-very-long-name-" * 3)
    made = ensure_settings(data, Wishes())
    made.keys_dir.mkdir(mode=0o700)
    prepare(made, utc_now())
    return made


@contextmanager
def running(settings: ServerSettings) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "fleet_server", "issuer", "--data", str(settings.data)])
    try:
        give_up_at = time.monotonic() + DEADLINE_S
        while not settings.issuer_socket_path.exists():
            assert time.monotonic() < give_up_at, "the issuer opened no socket"
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
        settings.issuer_socket_path.unlink()


def test_it_answers_at_a_socket_that_only_its_owner_may_open(settings: ServerSettings) -> None:
    client = issuer_of(settings)
    with running(settings):
        assert stat.S_IMODE(settings.issuer_socket_path.stat().st_mode) == 0o600
        assert client.enrol(LINK, request_of(new_key())).serial
        with connect_to(settings.issuer_socket_path) as link:
            link.sendall(b'{"ask": "sign anything"}\n')
            assert json.loads(link.recv(4096))["code"] == "csr_refused"
        client.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can ask as somebody else")
def test_another_user_is_let_go_without_a_word(settings: ServerSettings) -> None:
    """Even when he can open the socket."""
    path = settings.issuer_socket_path
    with running(settings):
        for folder in (path, *path.parents):
            if folder.stat().st_uid == 0 and folder.is_relative_to(Path("/tmp")):  # where tests live
                folder.chmod(folder.stat().st_mode | 0o077 if folder == path else folder.stat().st_mode | 0o011)
        script = (
            "import os, socket, sys\n"
            f"os.chdir({str(path.parent)!r}); os.setuid(65534)\n"
            "link = socket.socket(socket.AF_UNIX); link.connect('issuer.sock')\n"
            'try:\n    link.sendall(b\'{"ask": "describe"}\\n\'); print(len(link.recv(100)))\n'
            "except ConnectionError:\n    print(0)\n"
        )
        answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert answer.stdout.strip() == "0"


def test_without_a_running_one_a_process_is_made_for_the_occasion(settings: ServerSettings) -> None:
    client = issuer_of(settings)
    first = client.enrol(LINK, request_of(new_key()))
    client.close()
    with running(settings):
        assert client.retire(LINK, "stolen", {}) == [first.serial]
        client.close()


def test_a_peer_that_asks_no_more_does_not_keep_the_folder_from_the_one_that_stays(settings: ServerSettings) -> None:
    client = issuer_of(settings)
    first = client.enrol(LINK, request_of(new_key()))
    with running(settings):
        # Its connection is still open.
        assert client.retire(LINK, "stolen", {}) == [first.serial]
    client.close()


def test_it_lets_go_of_a_folder_that_a_restore_replaces(settings: ServerSettings) -> None:
    with running(settings) as process, declared(settings.data, utc_now()):
        assert process.wait(DEADLINE_S) == 0
        assert not has_writers(settings.data)


def test_one_that_was_started_anew_is_found_again(settings: ServerSettings) -> None:
    client = issuer_of(settings)
    for _ in range(2):
        with running(settings):
            assert client.describe() == places_of(settings).chain.read_bytes()
    client.close()


def test_a_socket_that_systemd_opened_is_taken(settings: ServerSettings, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)
    for name in ("issuing.crt", "issuing.key"):
        (folder / name).write_bytes((settings.issuer_dir / name).read_bytes())
    path = tmp_path / "s.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    start = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
        "os.environ['LISTEN_FDS'] = '1';"
        "os.execv(sys.executable, [sys.executable, '-m', 'fleet_server', *sys.argv[2:]])"
    )
    command = [sys.executable, "-c", start, str(listener.fileno()), "issuer", "--folder", str(folder)]
    process = subprocess.Popen(command, pass_fds=(listener.fileno(),))
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(path))
            link.settimeout(DEADLINE_S)
            link.sendall(b'{"ask": "describe"}\n')
            assert b"BEGIN CERTIFICATE" in link.recv(65536)
    finally:
        listener.close()
        process.terminate()
        assert process.wait(DEADLINE_S) == 0


def test_how_long_a_process_takes_to_load_is_no_part_of_how_long_it_may_take_to_answer(
    settings: ServerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow-python"
    slow.write_text(f'#!/bin/sh\nsleep 2\nexec {sys.executable} "$@"\n')
    slow.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(client_module, "_PATIENCE_S", 1.0)
    client = issuer_of(settings)
    assert client.enrol(LINK, request_of(new_key())).serial
    client.close()


def test_a_process_that_dies_while_it_loads_is_noticed_at_once(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    began_s = time.monotonic()
    with pytest.raises(IssuerUnreachable, match="ended before it was ready"):
        issuer_of(settings).describe()
    assert time.monotonic() - began_s < DEADLINE_S
