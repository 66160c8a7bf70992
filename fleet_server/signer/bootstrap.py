"""The wiring of the signer process, and the folder it lives from.

Only this process reads ``command.seed``: everybody else goes by the public half, which the policy names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fleet_server.kit.times import to_ms
from fleet_server.settings import ServerSettings
from fleet_server.signer.client import SignerClient
from fleet_server.signer.demo import DemoApprover
from fleet_server.signer.errors import PolicyRefused, SignerFolderUnusable
from fleet_server.signer.keys import KeyFiles, load_key
from fleet_server.signer.service import POLICY_FACT, ROOT_FACT, Caps, Signer, Signs, Trust, follow, policy_facts
from fleet_server.signer.settings import SignerSettings
from fleet_server.signer.state import SignerState
from protocol.policy import Root
from protocol.signing import Policy


@contextmanager
def opened_signer(settings: SignerSettings, now: datetime) -> Iterator[Signer]:
    key = load_key(settings.command_seed)
    state = SignerState(settings.database, to_ms(now))
    try:
        files = KeyFiles(settings.command_seed)
        yield Signer(key, _trust(settings, state, now), state, Caps.of(settings), files=files)
    finally:
        state.close()


def _trust(settings: SignerSettings, state: SignerState, now: datetime) -> Trust:
    """Of the latest policy that was given over the socket, or of a later one that the installation wrote beside the
    key. Without any, nobody may allow a change.
    """
    first = Trust(_root(settings.root_public), Policy(0, 0, [], [], [], merchant_consent=False))
    given, verified_by = state.fact(POLICY_FACT), state.fact(ROOT_FACT)
    trust = first
    if given is not None and verified_by is not None:
        trust = follow(Trust(msgspec.json.decode(verified_by, type=Root), first.policy), given.encode())
    before = first
    try:
        for path in _written(settings):
            document = path.read_bytes()
            written = follow(before, document)
            if written.policy.version > trust.policy.version:
                trust = written
                # A later root's policies are followed from here, also when this file has become one of those.
                facts = policy_facts(document.decode(), before.root)
                state.note("policy", {"version": trust.policy.version}, to_ms(now), facts)
            before = written
    except OSError as error:
        raise SignerFolderUnusable(f"{settings.folder}: a policy cannot be read: {error.strerror}") from error
    except PolicyRefused:
        # Of a later root: it was, or will be, given over the socket.
        if trust is first:
            raise
    return trust


def _written(settings: SignerSettings) -> list[Path]:
    """As the installation wrote them beside the key: those that named another root, oldest first, and the newest."""
    kept = sorted(settings.policy_history.glob("*.json"), key=lambda path: int(path.stem))
    return [*kept, settings.policy_file] if settings.policy_file.exists() else kept


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
