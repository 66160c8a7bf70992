"""The files an installer would write on a gateway or terminal: the agent's configuration beside its bundle."""

from __future__ import annotations

import json
from pathlib import Path

from simulators.acquirer import AcquirerHost
from simulators.demo.fleet import LinkSpec
from simulators.demo.installation import write_private


def point_bundle_at(bundle: Path, broker_port: int) -> None:
    """Lets the agent reach the broker through its own relay, so that its network can be cut alone."""
    path = bundle / "enrolment.json"
    enrolment = json.loads(path.read_text("utf-8"))
    enrolment["broker"] = {"host": "127.0.0.1", "port": broker_port}
    write_private(path, json.dumps(enrolment, indent=1))


def agent_configuration(
    link: LinkSpec,
    bundle: Path,
    lines: Path,
    poll_s: float,
    soak_limit_s: float = 5,
    *,
    acquirer: AcquirerHost | None = None,
) -> str:
    """TOML of ``device-agent run --config``."""
    text = [
        f"enrolment = {_quoted(bundle)}",
        f"state_dir = {_quoted(bundle / 'state')}",
        f"guard_dir = {_quoted(bundle / 'guard')}",
        'profile = "demo"',
        f"soak_limit_s = {soak_limit_s}",
        "",
        "[host]",
        f'kind = "{link.host}"',
    ]
    if link.host == "terminal":
        text += [f"socket = {_quoted(lines / link.key / 'service.sock')}", f"poll_s = {poll_s}"]
        text += ["", "[app]", f"log = {_quoted(lines / link.key / 'payment.log')}"]
    if acquirer is not None:
        text += ["", "[network]", 'acquirer_host = "localhost"', f"acquirer_port = {acquirer.port}"]
        text += [f"ca = {_quoted(acquirer.ca_file)}"]
    for line in link.lines:
        text += ["", "[[lines]]", f'name = "{line.name}"', f'driver = "{line.driver}"']
        text += [f"port = {_quoted(lines / line.name)}", f"baud = {line.baud}", f"poll_s = {poll_s}"]
    return "\n".join(text) + "\n"


def _quoted(path: Path) -> str:
    return json.dumps(str(path))
