"""A place of one's own for the runs: namespaces of processes, mounts and network, which end with the one who made them.

As root the whole program is started again inside: ports are free, mounts and interfaces are nobody else's, and nothing
is left behind however it ends. Without root (or where namespaces are not to be had) it runs as it is, and the faults
that need them are left out.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_INSIDE: Final = "CHAOS_ENCLOSED"
_UNSHARE: Final = ("unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child=KILL")
# However the one outside ends, everything inside ends with it.
_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--")
_TOOLS: Final = ("unshare", "nsenter", "ip", "nft")


def place() -> Path | None:
    """The folder that is ours inside; None outside."""
    given = os.environ.get(_INSIDE)
    return Path(given) if given else None


def missing() -> str:
    """Why there can be none; empty when there can."""
    if os.getuid() != 0:
        return "not root"
    absent = [tool for tool in _TOOLS if shutil.which(tool, path=_path()) is None]
    if absent:
        return f"{', '.join(absent)} not installed"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"unshare: {tried.stderr.strip()[:100]}"


@contextmanager
def begun(
    module: str, arguments: Sequence[str], *handles: int, is_open: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """The program, inside unless ``is_open``, with ``handles`` open; its folder is gone when it has ended."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="ch.") as folder:
        environment = os.environ | {"PATH": _path()} | ({} if is_open else {_INSIDE: folder})
        command = [*_WITH_US, *([] if is_open else _UNSHARE), sys.executable, "-m", module, *arguments]
        process = subprocess.Popen(command, env=environment, pass_fds=handles)
        yield process
        ended(process)


def ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit code. Ctrl-C reaches it by the terminal: it has heard it as well, and ends in order."""
    while True:
        with suppress(KeyboardInterrupt):
            return process.wait()


def furnish(base: Path) -> None:
    """The first thing inside: a loopback, and room in memory for what is written."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "none", str(base)], check=True)


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
