"""Keeps a renewed identity again and again, killed before each call that touches the disk; says what was found after.

python -m tests.device_agent.adapters.killed_at_each_step FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from device_agent.adapters import identity_files
from fleet_server.enrollment.authority import Authority
from fleet_server.kit.times import utc_now

LINK = "d-0123456789abcdef"
KILLED = 99


def main(folder: Path) -> None:
    authority = Authority.make(utc_now())
    old = authority.issue_link(LINK, utc_now())
    found = []
    for step in range(1, 200):
        place = folder / str(step)
        bundle, state = place / "bundle", place / "state"
        bundle.mkdir(parents=True)
        state.mkdir()
        (bundle / "client.key").write_bytes(old.key_pem)
        (bundle / "client.crt").write_bytes(old.certificate_pem)
        child = os.fork()
        if child == 0:
            _count_down(step)
            _renew(authority, state)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found.append(_seen(authority, bundle, state, code))
        shutil.rmtree(place)
        if code != KILLED:
            break
    sys.stdout.write(json.dumps(found))


def _renew(authority: Authority, state: Path) -> None:
    key = identity_files.next_key(state)
    made = authority.certify_link(LINK, key.public_key(), utc_now())
    ca_pem = authority.certificate_pem.decode()
    identity_files.keep_renewed(state, made.certificate_pem.decode(), ca_pem, LINK, key)


def _seen(authority: Authority, bundle: Path, state: Path, code: int) -> dict[str, Any]:
    """What the agent would use now, and whether asking again ends well."""
    now = identity_files.load_identity(bundle, state, LINK)
    which = "new" if now.certificate_file.parent == state else "old"
    pending = state / "identity.next"
    before = pending.read_bytes() if pending.exists() else None
    _renew(authority, state)
    after = identity_files.load_identity(bundle, state, LINK)
    pem = after.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    modes = {path.stat().st_mode & 0o777 for path in state.iterdir() if not path.name.startswith(".")}
    return {
        "code": code,
        "which": which,
        "is_same_key_asked": before is None or before == pem,
        "after": "new" if after.certificate_file.parent == state else "old",
        "modes": sorted(modes),
    }


def _count_down(steps: int) -> None:
    left = steps

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def before(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                # As SIGKILL: nothing is cleaned up.
                os._exit(KILLED)
            return call(*arguments, **named)

        return before

    for name in ("open", "fsync", "close", "replace", "rename", "unlink", "write"):
        setattr(os, name, counted(getattr(os, name)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
