"""The signer's folder, made with the installation: its key, the root it goes by, its settings.

A key that lies with the other keys, where earlier versions and backups have it, is moved: from then on only the signer
reads it. An installation whose signer runs elsewhere, as another user, has no such folder; it knows the public half.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fleet_server.enrollment.errors import DataFolderUnusable
from fleet_server.enrollment.policy import HISTORY
from fleet_server.enrollment.private_files import make_private_dir, read_or_make_seed, write_private
from fleet_server.settings import ServerSettings
from fleet_server.signer.settings import FILE, SignerSettings
from protocol.signing import SigningKey


def ensure_command_key(settings: ServerSettings) -> str:
    """The public half of the command key, as the policy names it."""
    public = settings.keys_dir / "command.pub"
    if settings.signer_elsewhere:
        return _read_public(public)
    folder = make_private_dir(settings.signer_dir)
    adopt_command_key(settings)
    key = SigningKey.from_seed(read_or_make_seed(folder / "command.seed"))
    write_private(public, key.public_hex + "\n")
    return key.public_hex


def adopt_command_key(settings: ServerSettings) -> None:
    """One that a backup brought back takes the place of another: terminals know that one."""
    beside = settings.keys_dir / "command.seed"
    if beside.exists() and not settings.signer_elsewhere:
        try:
            beside.replace(make_private_dir(settings.signer_dir) / "command.seed")
        except OSError as error:
            raise DataFolderUnusable(f"{beside} cannot be moved to {settings.signer_dir}: {error.strerror}") from error


def ensure_signer_folder(settings: ServerSettings, root_public: str, policy: bytes) -> None:
    """Settings that somebody changed are kept. A signer elsewhere is given the root's public half by a person."""
    write_private(settings.keys_dir / "root.pub", root_public + "\n")
    if settings.signer_elsewhere:
        return
    folder = make_private_dir(settings.signer_dir)
    write_private(folder / "root.pub", root_public + "\n")
    history = {path.name: path.read_bytes() for path in (settings.server_dir / HISTORY).glob("*.json")}
    for name, document in history.items():
        write_private(make_private_dir(folder / HISTORY) / name, document)
    for path in (folder / HISTORY).glob("*.json"):
        if path.name not in history:
            path.unlink()
    write_private(folder / "policy.json", policy)
    if not (folder / FILE).exists():
        write_private(folder / FILE, SignerSettings(folder, str(settings.signer_socket_path.resolve())).text())


def make_signer_folder(wanted: SignerSettings, root: Path) -> str:
    """For a signer that somebody else starts; settings that are there already are kept. Its public key."""
    folder = make_private_dir(wanted.folder)
    write_private(folder / "root.pub", _read_public(root) + "\n")
    if not (folder / FILE).exists():
        write_private(folder / FILE, wanted.text())
    return SigningKey.from_seed(read_or_make_seed(folder / "command.seed")).public_hex


def _read_public(path: Path) -> str:
    try:
        text = path.read_text("ascii").strip()
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except (OSError, ValueError) as error:
        raise DataFolderUnusable(f"{path}: expected a public key, 64 hexadecimal digits") from error
    return text
