"""nginx and HAProxy with the files under ``deploy/``, changed only where they say so: ports, certificates, folders."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fleet_server.enrollment.authority import Authority
from fleet_server.kit.times import utc_now
from simulators.broker import free_port
from tests.support.api_process import ApiProcess, ask
from tests.support.required import missing

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("nginx", "haproxy")
# Leads to this machine without a name server.
APPROVAL_NAME = "approve.localhost"
_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class ReverseProxy:
    port: int
    tls: ssl.SSLContext
    approval_host: str = ""


def found(name: str) -> tuple[str, dict[str, str]]:
    """The program and its environment; the test is skipped, with the reason, where it is not to be had."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    if (program := shutil.which(name, path=path)) is not None:
        return program, dict(os.environ)
    unpacked = ROOT / ".tools" / name
    if not (unpacked / "usr" / "sbin" / name).is_file():
        missing(f"{name} is not installed (Debian package {name}; tools/setup.sh test unpacks it)")
    folders = [str(folder) for lib in ("usr/lib", "lib") for folder in sorted(unpacked.glob(f"{lib}/*-linux-*"))]
    return str(unpacked / "usr" / "sbin" / name), {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(folders)}


@contextmanager
def running_proxy(name: str, folder: Path, api: ApiProcess, *, port: int = 0, **changes: str) -> Iterator[ReverseProxy]:
    """``changes``: other text in place of what stands in the shipped file, such as shorter times."""
    program, environment = found(name)
    port = port or free_port()
    context = _certificates(folder)
    command = (_nginx if name == "nginx" else _haproxy)(program, folder, api, port, changes)
    log_file = folder / f"{name}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(process, port, context, log_file)
            yield ReverseProxy(port, context, f"{APPROVAL_NAME}:{port}")
        finally:
            process.terminate()
            process.wait(_DEADLINE_S)


def _wait(process: subprocess.Popen[bytes], port: int, context: ssl.SSLContext, log: Path) -> None:
    ends_at = time.monotonic() + _DEADLINE_S
    while True:
        with suppress(OSError):
            if ask(port, "/healthz", context)[0] == 200:
                return
        assert process.poll() is None, log.read_text("utf-8")
        assert time.monotonic() < ends_at, log.read_text("utf-8")
        time.sleep(0.05)


def _certificates(folder: Path) -> ssl.SSLContext:
    """Of an authority of its own: what browsers see is not the server's own certificate."""
    now = utc_now()
    authority = Authority.make(now - timedelta(days=1))
    issued = authority.issue_server(["localhost", "127.0.0.1", APPROVAL_NAME], now)
    (folder / "edge.crt").write_bytes(issued.certificate_pem)
    (folder / "edge.key").write_bytes(issued.key_pem)
    (folder / "edge.pem").write_bytes(issued.certificate_pem + issued.key_pem)
    return ssl.create_default_context(cadata=authority.certificate_pem.decode())


def _nginx(program: str, folder: Path, api: ApiProcess, port: int, changes: dict[str, str]) -> list[str]:
    text = (ROOT / "deploy" / "nginx" / "tillmedic.conf").read_text("utf-8")
    text = _put(text, r"server 127\.0\.0\.1:8443;", f"server 127.0.0.1:{api.port};")
    text = _put(text, r"listen 443 ", f"listen 127.0.0.1:{port} ")
    text = _put(text, r"/etc/ssl/certs/\S+;", f"{folder}/edge.crt;")
    text = _put(text, r"/etc/ssl/private/\S+;", f"{folder}/edge.key;")
    text = _put(text, r"server 127\.0\.0\.1:8081;", f"server 127.0.0.1:{api.approval_port or 1};")
    text = _put(text, r"server_name approve\.example;", f"server_name {APPROVAL_NAME};")
    text = _put(text, r"/etc/nginx/tillmedic-ca\.crt", str(api.ca_file))
    for before, after in changes.items():
        text = _put(text, re.escape(before), after)
    (folder / "tillmedic.conf").write_text(text, "utf-8")
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{path}_temp_path {folder}/{path};" for path in paths)
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nworker_rlimit_nofile 8000;\n"
        "events { worker_connections 4000; }\n"
        f"http {{\naccess_log off;\n{temporary}\ninclude {folder}/tillmedic.conf;\n}}\n",
        "utf-8",
    )
    return [program, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", "stderr"]


def _haproxy(program: str, folder: Path, api: ApiProcess, port: int, changes: dict[str, str]) -> list[str]:
    text = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text("utf-8")
    text = _put(text, r"bind :443 ssl crt \S+ crt \S+", f"bind 127.0.0.1:{port} ssl crt {folder}/edge.pem")
    text = _put(text, r"127\.0\.0\.1:8443", f"127.0.0.1:{api.port}")
    text = _put(text, r"127\.0\.0\.1:8081", f"127.0.0.1:{api.approval_port or 1}")
    text = _put(text, r"-i approve\.example", f"-i {APPROVAL_NAME}")
    text = _put(text, r"/etc/haproxy/tillmedic-ca\.crt", str(api.ca_file))
    # As many as the open files of a test's machine allow.
    text = _put(text, r"maxconn 20000", "maxconn 4000")
    text = _put(text, r"maxconn 10000", "maxconn 4000")
    for before, after in changes.items():
        text = _put(text, re.escape(before), after)
    (folder / "haproxy.cfg").write_text(text, "utf-8")
    return [program, "-db", "-f", str(folder / "haproxy.cfg")]


def _put(text: str, pattern: str, after: str) -> str:
    changed, times = re.subn(pattern, lambda _found: after, text)
    assert times > 0, f"{pattern} is not in the shipped file"
    return changed
