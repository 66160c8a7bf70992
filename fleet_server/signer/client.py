"""The way to the signer for those who send commands: one connection a process, asked by one thread at a time.

A signature takes a tenth of a millisecond, so waiting for one another costs less than a connection each. A connection
that broke is opened anew once; a signer that does not answer is said so, and no command waits longer than `TIMEOUT_S`.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TypeVar

from fleet_server.signer import errors, messages
from fleet_server.signer.demo import DemoApprover
from fleet_server.signer.errors import SignerUnreachable, SigningRefused
from fleet_server.signer.messages import JournalPage, Order, Reply, Request, Standing
from protocol.signing import Policy

TIMEOUT_S = 3.0
_REFUSALS = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SigningRefused)
}
Answer = TypeVar("Answer")


class SignerClient:
    """Raises ``SignerUnreachable`` when nobody answers, else what the signer refused with."""

    def __init__(self, path: Path, demo_approver: DemoApprover | None = None) -> None:
        self._path = path
        self.demo_approver = demo_approver
        self._lock = Lock()
        self._link: socket.socket | None = None

    def sign(self, order: Order, now: datetime) -> bytes:  # noqa: ARG002 - the signer goes by its own clock
        return self._asked(order, messages.Signed).envelope.encode()

    def standing(self, now: datetime) -> Standing:  # noqa: ARG002 - as above
        return self._asked(messages.AskStanding(), Standing)

    def policy(self, now: datetime) -> Policy:  # noqa: ARG002 - as above
        return self._asked(messages.AskPolicy(), messages.PresentPolicy).policy

    def stop(self, asked: messages.Stop, now: datetime) -> None:  # noqa: ARG002 - as above
        self._asked(asked, messages.Done)

    def resume(self, asked: messages.Resume, now: datetime) -> None:  # noqa: ARG002 - as above
        self._asked(asked, messages.Done)

    def take_policy(self, asked: messages.NewPolicy, now: datetime) -> None:  # noqa: ARG002 - as above
        self._asked(asked, messages.Done)

    def prepare_key(self) -> str:
        return self._asked(messages.PrepareKey(), messages.PreparedKey).public

    def take_key(self, now: datetime) -> None:  # noqa: ARG002 - as above
        self._asked(messages.TakeKey(), messages.Done)

    def release_keys(self, *, following: bool = False) -> messages.ReleaseKeys:
        return self._asked(messages.AskReleaseKeys(following), messages.ReleaseKeys)

    def sign_release(self, asked: messages.SignRelease, now: datetime) -> messages.SignedRelease:  # noqa: ARG002 - as above
        return self._asked(asked, messages.SignedRelease)

    def journal(self, after: int, limit: int = messages.MAX_JOURNAL_PAGE) -> JournalPage:
        return self._asked(messages.AskJournal(after, limit), JournalPage)

    def close(self) -> None:
        with self._lock:
            self._hang_up()

    def _asked(self, request: Request, kind: type[Answer]) -> Answer:
        with self._lock:
            reply = self._exchange(request)
        if isinstance(reply, messages.Refused):
            raise _REFUSALS.get(reply.code, SigningRefused)(reply.detail)
        if not isinstance(reply, kind):
            raise SignerUnreachable(f"the signer answered with {type(reply).__name__}, expected {kind.__name__}")
        return reply

    def _exchange(self, request: Request) -> Reply:
        was_open = self._link is not None
        try:
            return self._once(request)
        except (OSError, messages.Garbled) as error:
            self._hang_up()
            # A signer that was started anew has forgotten this connection; silence of a live one is an answer.
            if was_open and not isinstance(error, TimeoutError):
                with suppress(OSError, messages.Garbled):
                    return self._once(request)
                self._hang_up()
            said = getattr(error, "strerror", None) or error
            raise SignerUnreachable(f"the signer does not answer at {self._path}: {said}") from error

    def _once(self, request: Request) -> Reply:
        if self._link is None:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._link = link
            link.settimeout(TIMEOUT_S)
            link.connect(str(self._path))
        messages.send(self._link, request)
        return messages.receive_reply(self._link)

    def _hang_up(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
