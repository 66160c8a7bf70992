from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fleet_server.signer.client import SignerClient
from fleet_server.signer.door import MAX_CONNECTIONS, allowed_users
from fleet_server.signer.errors import (
    AuthorisationRefused,
    SignerFolderUnusable,
    SignerUnreachable,
    SigningCapReached,
    SigningStopped,
)
from fleet_server.signer.messages import MAX_REQUEST_BYTES, Stop
from fleet_server.signer.settings import SignerSettings
from tests.fleet_server.factories import NOON
from tests.fleet_server.signer.test_service import (
    APPROVAL,
    ORDER,
    READ,
    STRANGER,
    a_signer,
    allowed,
    command_in,
    numbered,
)
from tests.support.signing import listening_signer
from tests.support.wire_agent import until


@pytest.fixture
def folder() -> Iterator[Path]:
    """A socket's path may have a hundred bytes."""
    with TemporaryDirectory(prefix="tm-") as name:
        yield Path(name)


def said(path: Path, content: bytes) -> bytes:
    """All that comes back until the signer hangs up."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(10)
        link.connect(str(path))
        link.sendall(content)
        return link.recv(4096)


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def test_a_command_is_signed_over_the_socket_and_refusals_keep_their_kind(folder: Path) -> None:
    with listening_signer(a_signer(), folder, now=NOON) as settings:
        client = SignerClient(Path(settings.socket))
        assert command_in(client.sign(allowed(), NOON)).execution == ORDER.execution_id
        with pytest.raises(AuthorisationRefused):
            client.sign(allowed(ORDER, APPROVAL, STRANGER), NOON)
        assert client.standing(NOON).approvers == ["mei", "bo", "bo"]
        client.stop(Stop("default", "lin", "odd"), NOON)
        with pytest.raises(SigningStopped):
            client.sign(READ, NOON)
        assert [entry.event for entry in client.journal(0).entries] == ["signed", "stopped"]
        client.close()


def test_the_socket_is_its_owners_alone(folder: Path) -> None:
    with listening_signer(a_signer(), folder) as settings:
        assert stat.S_IMODE(Path(settings.socket).stat().st_mode) == 0o600


def test_another_user_is_cut_off_whatever_the_modes_of_the_socket(folder: Path) -> None:
    with listening_signer(a_signer(), folder, users=frozenset({os.geteuid() + 1})) as settings:
        Path(settings.socket).chmod(0o666)
        with pytest.raises(SignerUnreachable):
            SignerClient(Path(settings.socket)).standing(NOON)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_cannot_speak_to_the_signer(folder: Path) -> None:
    with listening_signer(a_signer(), folder, now=NOON) as settings:
        folder.chmod(0o755)
        Path(settings.socket).chmod(0o666)
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            try:
                SignerClient(Path(settings.socket)).sign(READ, NOON)
            except SignerUnreachable:
                os._exit(3)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


@pytest.mark.parametrize(
    "content",
    [
        (MAX_REQUEST_BYTES + 1).to_bytes(4, "big"),
        framed(b"not json"),
        framed(b'{"type": "sign"}'),
        framed(b'{"type": "standing", "more": 1}'),
        framed(b'{"type": "sign", "device_id": "../../x"}'),
        framed(b"[" * 100_000),
    ],
)
def test_whoever_says_something_else_than_a_request_is_cut_off_and_others_are_served(
    folder: Path, content: bytes
) -> None:
    with listening_signer(a_signer(), folder) as settings:
        assert said(Path(settings.socket), content) == b""
        with closing(SignerClient(Path(settings.socket))) as client:
            assert client.standing(NOON).policy_version == 1


def test_no_more_connections_than_there_is_room_for(folder: Path) -> None:
    with listening_signer(a_signer(), folder) as settings:
        path = Path(settings.socket)
        clients = [SignerClient(path) for _ in range(MAX_CONNECTIONS)]
        for client in clients:
            client.standing(NOON)
        with pytest.raises(SignerUnreachable):
            SignerClient(path).standing(NOON)
        clients[0].close()
        late = SignerClient(path)
        until(lambda: is_served(late), "room for another")
        for client in (*clients, late):
            client.close()


def is_served(client: SignerClient) -> bool:
    try:
        client.standing(NOON)
    except SignerUnreachable:
        return False
    return True


def test_a_client_finds_the_signer_again_that_was_started_anew(folder: Path) -> None:
    client = SignerClient(folder / "signer.sock")
    with pytest.raises(SignerUnreachable, match=r"signer\.sock"):
        client.standing(NOON)
    for _ in range(2):
        with listening_signer(a_signer(), folder):
            assert client.standing(NOON).policy_version == 1
    client.close()


def test_two_replicas_that_race_for_the_cap_get_no_more_than_it(folder: Path) -> None:
    signed: list[bytes] = []

    def ask(path: Path, first: int) -> None:
        client = SignerClient(path)
        for number in range(first, first + 40):
            try:
                signed.append(client.sign(numbered(READ, number, number), NOON))
            except SigningCapReached:
                continue
        client.close()

    with listening_signer(a_signer(reads_per_hour=50), folder, now=NOON) as settings:
        replicas = [threading.Thread(target=ask, args=(Path(settings.socket), first)) for first in (0, 100)]
        for one in replicas:
            one.start()
        for one in replicas:
            one.join()
    assert len(signed) == 50


def test_nothing_is_signed_after_a_stop_was_answered(folder: Path) -> None:
    after: list[bytes] = []
    is_stopped = threading.Event()

    def ask(path: Path) -> None:
        client = SignerClient(path)
        for number in range(500):
            was_stopped = is_stopped.is_set()
            try:
                envelope = client.sign(numbered(READ, number, number % 7), NOON)
            except SigningStopped:
                continue
            if was_stopped:
                after.append(envelope)
        client.close()

    with listening_signer(a_signer(), folder, now=NOON) as settings:
        path = Path(settings.socket)
        threads = [threading.Thread(target=ask, args=(path,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        stopper = SignerClient(path)
        stopper.stop(Stop("default", "lin"), NOON)
        is_stopped.set()
        for thread in threads:
            thread.join()
        stopper.close()
    assert after == []


def test_users_that_may_speak_are_named_and_must_exist(folder: Path) -> None:
    assert allowed_users(SignerSettings(folder, "", clients="nobody")) >= {0, os.geteuid()}
    with pytest.raises(SignerFolderUnusable, match="does not exist"):
        allowed_users(SignerSettings(folder, "", clients="nobody, no-such-user"))


def test_an_answer_that_is_cut_short_is_no_answer(folder: Path) -> None:
    path = folder / "signer.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def answer_half() -> None:
            for _ in range(2):
                link, _ = listening.accept()
                with link:
                    link.recv(4096)
                    link.sendall(b"\x00\x00\x00\x50{")

        thread = threading.Thread(target=answer_half)
        thread.start()
        for _ in range(2):
            with pytest.raises(SignerUnreachable, match="cut short"):
                SignerClient(path).standing(NOON)
        thread.join()


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\0\0\0\x20", b'\0\0\0\x20{"type":'], ids=["nothing", "a byte", "a length", "half a line"]
)
def test_a_peer_that_says_nothing_or_half_a_request_keeps_no_place(folder: Path, content: bytes) -> None:
    with listening_signer(a_signer(), folder, idle_s=0.3, whole_s=0.3) as settings, ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            link = stack.enter_context(socket.socket(socket.AF_UNIX))
            link.settimeout(10)
            link.connect(settings.socket)
            link.sendall(content)
        late = stack.enter_context(closing(SignerClient(Path(settings.socket))))
        until(lambda: is_served(late), "their places are free")
        assert link.recv(1) == b"", "the last of them was cut off"


def test_whoever_drips_byte_by_byte_is_cut_off_all_the_same(folder: Path) -> None:
    body = framed(b'{"type": "standing"}' + b" " * 1000)
    with (
        listening_signer(a_signer(), folder, idle_s=10, whole_s=0.3) as settings,
        socket.socket(socket.AF_UNIX) as link,
    ):
        link.connect(settings.socket)
        link.settimeout(0.02)
        assert 1 < dripped(link, body) < len(body)


def dripped(link: socket.socket, body: bytes) -> int:
    """How many bytes it took, one at a time, until the signer hung up."""
    for sent, byte in enumerate(body):
        with suppress(ConnectionError):
            link.sendall(bytes([byte]))
            if _is_open(link):
                continue
        return sent
    return len(body)


def _is_open(link: socket.socket) -> bool:
    try:
        return link.recv(1) != b""
    except TimeoutError:
        return True


def test_a_client_that_was_silent_for_long_asks_again_and_notices_nothing(folder: Path) -> None:
    with (
        listening_signer(a_signer(), folder, idle_s=0.05) as settings,
        closing(SignerClient(Path(settings.socket))) as client,
    ):
        for _ in range(3):
            assert client.standing(NOON).policy_version == 1
            assert client._link is not None
            assert client._link.recv(1, socket.MSG_PEEK) == b"", "it was let go"
