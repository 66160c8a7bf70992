"""The signer's own settings, ``signer.toml`` in its folder: nobody but the signer's user may read or change them, so
that whoever takes the web process cannot raise a cap.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from fleet_server.signer.errors import SignerFolderUnusable

FILE = "signer.toml"
SOCKET_NAME = "signer.sock"


@dataclass(frozen=True, slots=True)
class SignerSettings:
    """Caps are of any 60 minutes: commands signed, and different devices they were for. ``tenant_…``: of each tenant,
    the others of all together, twice as much, so that no tenant alone leaves another without.

    ``clients``: names of users that may use the socket, beside the signer's own and root. ``socket_group``: of the
    socket file; empty: the file is its owner's alone.
    """

    folder: Path
    socket: str
    clients: str = ""  # separated by commas
    socket_group: str = ""
    reads_per_hour: int = 400_000
    reads_devices_per_hour: int = 200_000
    changes_per_hour: int = 1200
    changes_devices_per_hour: int = 400
    software_per_hour: int = 200
    software_devices_per_hour: int = 100
    tenant_reads_per_hour: int = 200_000
    tenant_reads_devices_per_hour: int = 100_000
    tenant_changes_per_hour: int = 600
    tenant_changes_devices_per_hour: int = 200
    tenant_software_per_hour: int = 100
    tenant_software_devices_per_hour: int = 50

    @property
    def command_seed(self) -> Path:
        return self.folder / "command.seed"

    @property
    def root_public(self) -> Path:
        return self.folder / "root.pub"

    @property
    def policy_file(self) -> Path:
        return self.folder / "policy.json"

    @property
    def policy_history(self) -> Path:
        return self.folder / "policy-history"

    @property
    def database(self) -> Path:
        return self.folder / "signer.db"

    def text(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "folder"}
        lines = ["# The signer's own: caps in any 60 minutes, and who may use its socket. Restart it after a change."]
        # JSON's strings and numbers are TOML's.
        return "\n".join(lines + [f"{name} = {json.dumps(value)}" for name, value in values.items()]) + "\n"


def load_signer_settings(folder: Path) -> SignerSettings:
    """Raises ``SignerFolderUnusable`` naming the file and what is wrong in it."""
    path = folder / FILE
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SignerFolderUnusable(f"{path} does not exist: 'fleet-server init' makes it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise SignerFolderUnusable(f"{path} cannot be read: {error}") from error
    known = {field.name: {"str": str, "int": int}.get(str(field.type)) for field in fields(SignerSettings)}
    for name, value in values.items():
        kind = known.get(name)
        if kind is None:
            raise SignerFolderUnusable(f"{path}: {name} is not a setting of the signer")
        if type(value) is not kind:
            raise SignerFolderUnusable(f"{path}: {name}: expected {kind.__name__}, came {value!r}")
        if isinstance(value, int) and value < 0:
            raise SignerFolderUnusable(f"{path}: {name}: expected 0 (none) or more, came {value}")
    if "socket" not in values:
        raise SignerFolderUnusable(f"{path}: socket is missing: expected the path of the signer's socket")
    return SignerSettings(folder=folder, **values)
