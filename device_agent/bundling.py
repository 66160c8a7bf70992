"""What a bundle of this link is made of: versions, configuration, status, recent executions, driver traces, logs.

The agent's keys, its certificates and what a command carried in confidence are in none of it: the configuration is the
file's own, which holds no secret, and of a command's parameters the grant is left out.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from device_agent.adapters.bundle_file import Patience, Source, Written, file_source, text_source, write_bundle
from device_agent.adapters.control_socket import Answer
from device_agent.config import AgentConfig, AgentFile
from protocol.bundles import GRANT
from protocol.redaction import scrub_json
from protocol.version import PROTOCOL_VERSION, RELEASE

COLLECT_S: Final = 20.0
KIB: Final = 1024
DEFAULT_LOG_KIB: Final = 1024
# In GBK a character takes two bytes, in UTF-8 three: what is read still fits (`archive.MAX_FILE_BYTES`).
MAX_LOG_KIB: Final = 2048

# A question to the running agent (`device_agent.control`); None when it did not answer.
Asks = Callable[[str], Answer | None]


def collect(
    config: AgentConfig,
    ask: Asks,
    target: IO[bytes],
    made_at_ms: int,
    patience: Patience,
    log_kib: int = DEFAULT_LOG_KIB,
) -> Written:
    """Raises OSError when there is no room."""
    sources = sources_of(config, ask, log_kib * KIB)
    scratch = config.state_folder if config.state_folder.is_dir() else Path()
    return write_bundle(target, sources, config.who.link, made_at_ms, scratch, patience)


def sources_of(config: AgentConfig, ask: Asks, log_bytes: int) -> Sequence[Source]:
    """What matters most comes first: where time or room ends, the rest is left out."""
    log = config.file(config.app.log) if config.app.log else None
    rotated = log.with_name(f"{log.name}.1") if log is not None else None
    return (
        text_source("versions.json", lambda: _written(_versions(config))),
        text_source("configuration.json", lambda: _written(_configuration(config))),
        text_source("status.json", lambda: _answered(ask("status"))),
        text_source("executions.json", lambda: _answered(ask("executions"))),
        text_source("drivers.json", lambda: _answered(ask("traces"))),
        text_source("agent.log", lambda: _lines(ask("own_log"))),
        file_source("app.log", log, log_bytes),
        file_source("app.log.1", rotated, log_bytes),
    )


def _versions(config: AgentConfig) -> dict[str, Any]:
    return {
        "agent": RELEASE,
        "protocol": PROTOCOL_VERSION,
        "python": platform.python_version(),
        "system": platform.platform(),
        "byte_order": sys.byteorder,
        "model": config.who.model,
        "terminal_class": config.who.terminal_class,
    }


def _configuration(config: AgentConfig) -> dict[str, Any]:
    names = [one.name for one in msgspec.structs.fields(AgentFile)]
    own = {name: msgspec.to_builtins(getattr(config, name)) for name in names}
    own["lines"] = [{**line, "url": _without_login(line.get("url", ""))} for line in own["lines"]]
    who = config.who
    own["enrolled"] = {
        "link": who.link,
        "tenant": who.tenant,
        "broker": f"{who.broker.host}:{who.broker.port}",
        "server_url": _without_login(who.server_url),
        "attached": dict(who.attached),
    }
    return own


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _answered(answer: Answer | None) -> str | None:
    if answer is None or "error" in answer:
        return None
    return _written({name: value for name, value in answer.items() if name != "done"})


def _written(value: Any) -> str:
    return json.dumps(scrub_json(value), ensure_ascii=False, indent=1) + "\n"


def _lines(answer: Answer | None) -> str | None:
    lines = None if answer is None else answer.get("lines")
    return None if lines is None else "".join(f"{line}\n" for line in lines)


def without_grant(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name != GRANT}
