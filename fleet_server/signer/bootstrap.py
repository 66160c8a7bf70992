"""The wiring of the signer process, and the folder it lives from.

Only this process reads ``command.seed``: everybody else goes by the public half, which the policy names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fleet_server.kit.times import to_ms
from fleet_server.settings import ServerSettings
from fleet_server.signer.client import SignerClient
from fleet_server.signer.demo import DemoApprover
from fleet_server.signer.errors import SignerFolderUnusable
from fleet_server.signer.keys import load_key
from fleet_server.signer.service import POLICY_FACT, Caps, Signer, Signs, Trust, follow
from fleet_server.signer.settings import SignerSettings
from fleet_server.signer.state import SignerState
from protocol.policy import Root
from protocol.signing import Policy


@contextmanager
def opened_signer(settings: SignerSettings, now: datetime) -> Iterator[Signer]:
    key = load_key(settings.command_seed)
    state = SignerState(settings.database, to_ms(now))
    try:
        yield Signer(key, _trust(settings, state), state, Caps.of(settings))
    finally:
        state.close()


def _trust(settings: SignerSettings, state: SignerState) -> Trust:
    """Of the policy that the installation wrote beside the key, and of a later one that was given over the socket.
    Without any, nobody may allow a change.
    """
    trust = Trust(_root(settings.root_public), Policy(0, 0, [], [], [], merchant_consent=False))
    try:
        if settings.policy_file.exists():
            trust = follow(trust, settings.policy_file.read_bytes())
    except OSError as error:
        raise SignerFolderUnusable(f"{settings.policy_file} cannot be read: {error.strerror}") from error
    given = state.fact(POLICY_FACT)
    if given is None:
        return trust
    later = follow(trust, given.encode())
    return later if later.policy.version > trust.policy.version else trust


def signer_client(settings: ServerSettings) -> Signs:
    """What API, ingest and scheduler send commands through."""
    approver = DemoApprover(load_key(settings.keys_dir / "approver.seed")) if settings.demo else None
    return SignerClient(settings.signer_socket_path, approver)


def _root(path: Path) -> Root:
    try:
        text = path.read_text("ascii").strip()
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except OSError as error:
        raise SignerFolderUnusable(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SignerFolderUnusable(f"{path} is no public key: expected 64 hexadecimal digits") from error
    return Root.of_enrolment(text)
