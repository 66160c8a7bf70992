"""A signer in the test's own process, with an approver who allows whatever is asked, and the signer as a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from fleet_server.kit.times import utc_now
from fleet_server.signer.bootstrap import opened_signer
from fleet_server.signer.demo import NAME, DemoApprover
from fleet_server.signer.door import IDLE_S, WHOLE_S, SignerDoor
from fleet_server.signer.service import Caps, Signer, Signs, Trust
from fleet_server.signer.settings import SignerSettings, load_signer_settings
from fleet_server.signer.state import SignerState
from protocol.policy import Root
from protocol.signing import Approver, Policy, SigningKey
from tests.support.wire_agent import until

ROOT_KEY = SigningKey.from_seed(b"r" * 32)
MANY = 10_000_000
UNLIMITED = {
    "reads_per_hour": MANY,
    "reads_devices_per_hour": MANY,
    "changes_per_hour": MANY,
    "changes_devices_per_hour": MANY,
}


def policy_of(command: SigningKey, approvers: Sequence[tuple[str, SigningKey]], version: int = 1) -> Policy:
    named = [Approver(name, key.public_hex) for name, key in approvers]
    return Policy(version, 0, [command.public_hex], ["00" * 32], named, merchant_consent=False)


def signer_with(
    command: SigningKey,
    approvers: Sequence[tuple[str, SigningKey]],
    state: SignerState | None = None,
    break_glass: Sequence[SigningKey] = (),
    **caps: int,
) -> Signer:
    numbers: dict[str, Any] = {**UNLIMITED, **caps}
    settings = SignerSettings(Path("/nowhere"), "", **numbers)
    state = state or SignerState(None, 0)
    keys = [key.public_hex for key in break_glass]
    policy = msgspec.structs.replace(policy_of(command, approvers), break_glass_keys=keys)
    trust = Trust(Root.of_enrolment(ROOT_KEY.public_hex), policy)
    return Signer(command, trust, state, Caps.of(settings))


def local_signer(command: SigningKey, approver: SigningKey | None) -> Signs:
    """``approver`` None: nobody may allow a change."""
    signer = signer_with(command, [] if approver is None else [(NAME, approver)])
    signer.demo_approver = None if approver is None else DemoApprover(approver)
    return signer


@contextmanager
def listening_signer(
    signer: Signer,
    folder: Path,
    *,
    users: frozenset[int] | None = None,
    now: datetime | None = None,
    idle_s: float = IDLE_S,
    whole_s: float = WHOLE_S,
) -> Iterator[SignerSettings]:
    """The signer behind its socket, in a thread."""
    settings = SignerSettings(folder, str(folder / "signer.sock"))
    clock = utc_now if now is None else lambda: now
    with _serving(SignerDoor(signer, settings, clock, users=users, idle_s=idle_s, whole_s=whole_s), settings):
        yield settings


@contextmanager
def running_signer(folder: Path) -> Iterator[SignerSettings]:
    """That of an installation, in a thread."""
    settings = load_signer_settings(folder)
    with opened_signer(settings, utc_now()) as signer, _serving(SignerDoor(signer, settings, utc_now), settings):
        yield settings


@contextmanager
def _serving(door: SignerDoor, settings: SignerSettings) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=door.serve, args=(stop,))
    thread.start()
    try:
        until(Path(settings.socket).exists, "the signer's socket")
        yield
    finally:
        stop.set()
        thread.join()
