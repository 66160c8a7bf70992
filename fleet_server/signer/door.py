"""The signer's socket: who may come in, how many at once, and how much each may say.

The file is its owner's alone, or its group's; beyond that the kernel is asked who is at the other end, so that a socket
whose modes somebody loosened lets nobody else in. A peer that says something else than a request is cut off, and so is
one that says nothing, or half a request: it would keep a place from those who sign.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import structlog

from fleet_server.signer import messages
from fleet_server.signer.errors import SignerFolderUnusable, SigningRefused
from fleet_server.signer.messages import Reply, Request
from fleet_server.signer.service import Signer
from fleet_server.signer.settings import SignerSettings

MAX_CONNECTIONS = 64
# Longer than the scheduler is ever silent; whoever was longer connects anew without noticing.
IDLE_S = 60.0
# Between a message's first byte and its last, on a machine that is busy.
WHOLE_S = 10.0
_LOOK_EVERY_S = 0.2
_log = structlog.get_logger(__name__)


class SignerDoor:
    def __init__(
        self,
        signer: Signer,
        settings: SignerSettings,
        clock: Callable[[], datetime],
        *,
        users: frozenset[int] | None = None,
        idle_s: float = IDLE_S,
        whole_s: float = WHOLE_S,
    ) -> None:
        self._signer = signer
        self._settings = settings
        self._clock = clock
        self._users = users if users is not None else allowed_users(settings)
        self._idle_s, self._whole_s = idle_s, whole_s
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def serve(self, stop: threading.Event) -> None:
        """Until ``stop`` is set."""
        with _listening(self._settings) as listening:
            while not stop.is_set():
                with suppress(TimeoutError):
                    link, _ = listening.accept()
                    self._let_in(link)
        Path(self._settings.socket).unlink(missing_ok=True)

    def _let_in(self, link: socket.socket) -> None:
        user = _peer(link)
        if user not in self._users:
            _log.warning("a user that may not was refused at the signer's socket", user=user)
            link.close()
        elif not self._room.acquire(blocking=False):
            _log.warning("the signer has no room for another connection", limit=MAX_CONNECTIONS)
            link.close()
        else:
            threading.Thread(target=self._attend, args=(link,), daemon=True).start()

    def _attend(self, link: socket.socket) -> None:
        try:
            with link:
                while (request := messages.receive_request(link, self._idle_s, self._whole_s)) is not None:
                    messages.send(link, self.answer(request))
        except (OSError, messages.Garbled) as error:
            _log.warning("a connection to the signer was cut", reason=str(error)[:200])
        finally:
            self._room.release()

    def answer(self, request: Request) -> Reply:
        now = self._clock()
        try:
            return self._answer(request, now)
        except SigningRefused as error:
            if not isinstance(request, messages.Order) or int(request.danger_class) > 0:
                _log.warning("refused", code=error.code, detail=str(error)[:300])
            return messages.Refused(error.code, str(error)[:500])

    def _answer(self, request: Request, now: datetime) -> Reply:
        match request:
            case messages.Order():
                return messages.Signed(self._signer.sign(request, now).decode())
            case messages.AskStanding():
                return self._signer.standing(now)
            case messages.AskPolicy():
                return messages.PresentPolicy(self._signer.policy(now))
            case messages.Stop():
                self._signer.stop(request, now)
            case messages.Resume():
                self._signer.resume(request, now)
            case messages.NewPolicy():
                self._signer.take_policy(request, now)
            case messages.PrepareKey():
                return messages.PreparedKey(self._signer.prepare_key())
            case messages.TakeKey():
                self._signer.take_key(now)
            case messages.AskReleaseKeys():
                return self._signer.release_keys(following=request.next)
            case messages.SignRelease():
                return self._signer.sign_release(request, now)
            case messages.AskJournal():
                return self._signer.journal(request.after, request.limit)
        return messages.Done()


def allowed_users(settings: SignerSettings) -> frozenset[int]:
    """Numbers of the users that may speak; root may read everything anyway."""
    names = [name.strip() for name in settings.clients.split(",") if name.strip()]
    try:
        return frozenset({0, os.geteuid(), *(pwd.getpwnam(name).pw_uid for name in names)})
    except KeyError as error:
        raise SignerFolderUnusable(f"clients names a user that does not exist: {error}") from error


def _listening(settings: SignerSettings) -> socket.socket:
    path = Path(settings.socket)
    fresh = path.with_name(f".{path.name}.new")
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(_LOOK_EVERY_S)
    # Between bind and a later change of mode somebody else could connect.
    before = os.umask(0o177 if not settings.socket_group else 0o117)
    try:
        fresh.unlink(missing_ok=True)
        link.bind(str(fresh))
        if settings.socket_group:
            os.chown(fresh, -1, grp.getgrnam(settings.socket_group).gr_gid)
        link.listen(MAX_CONNECTIONS)
        # Under its name only once it answers: whoever finds it is not turned away.
        fresh.rename(path)
    except (OSError, KeyError) as error:
        link.close()
        raise SignerFolderUnusable(f"cannot listen on {path}: {error}") from error
    finally:
        os.umask(before)
    return link


def _peer(link: socket.socket) -> int:
    credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    user: int = struct.unpack("3i", credentials)[1]
    return user
