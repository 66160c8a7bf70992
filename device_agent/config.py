"""The agent's configuration: one TOML file, read once into one frozen value. A wrong one stops the start and says
where.

tenant = "default"

[link]                      # the connection to the broker; paths are relative to this file
id = "gw-0123abcd"          # the common name of the certificate
host = "broker.example"     # also the name in the broker's certificate
port = 8883
ca = "ca.crt"
cert = "client.crt"
key = "client.key"

[trust]
root = "<64 hex digits>"    # public key that signed the policy
policy = "policy.json"      # which keys may do what

[state]
folder = "state"            # spool, control socket
quota_mb = 32

[pace]                      # until the server has said another
profile = "unmetered"
keepalive_s = 60
sample_s = 60
report_s = 60

[self]                      # the device that the agent runs on; its id is the link's
family = "host"             # or "terminal", by its service's socket
class = "kiosk"             # e_sign, traditional, smart, kiosk
port = ""                   # "unix:PATH" for a terminal
poll_s = 5
app_log = ""                # the payment application's log file

[[device]]                  # one for each attached device
id = "pos-0123abcd"         # left out until the server has registered it
line = "pos1"
family = "zvt"              # zvt, escpos, modem
class = "traditional"
port = "serial:/dev/ttyUSB0"    # or "tcp:HOST:PORT"
baud = 9600
poll_s = 0.5

[settings]                  # for checks, by name; see each check's parameters
acquirer_host = "host.example"
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from device_agent.errors import ConfigurationInvalid
from protocol.identifiers import IDENTIFIER_PATTERN
from protocol.session import LineName, Profile

MAX_DEVICES: Final = 64

PollSeconds = Annotated[float, Meta(ge=0.1, le=3600)]
TerminalClassName = Annotated[str, Meta(pattern="^(e_sign|traditional|smart|kiosk)$")]
PortText = Annotated[str, Meta(pattern=r"^(unix:.+|serial:.+|tcp:.+:[0-9]{1,5})$")]
Identifier = Annotated[str, Meta(pattern=IDENTIFIER_PATTERN)]


class LinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Identifier
    host: Annotated[str, Meta(min_length=1, max_length=255)]
    port: Annotated[int, Meta(ge=1, le=65535)]
    ca: str
    cert: str
    key: str


class TrustConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    root: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    policy: str


class StateConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    folder: str = "state"
    quota_mb: Annotated[int, Meta(ge=1, le=4096)] = 32


class PaceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    profile: Profile = Profile.UNMETERED
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 60
    sample_s: Annotated[float, Meta(ge=0.5, le=3600)] = 60
    report_s: Annotated[float, Meta(ge=0.5, le=86_400)] = 60
    reconnect_base_s: Annotated[float, Meta(ge=0.1, le=3600)] = 1.0


class SelfConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"terminal_class": "class"}):
    family: Annotated[str, Meta(pattern="^(host|terminal)$")] = "host"
    terminal_class: TerminalClassName = "kiosk"
    port: PortText | Annotated[str, Meta(max_length=0)] = ""
    poll_s: PollSeconds = 5.0
    app_log: str = ""
    acquirer_profile: str = ""
    model: Annotated[str, Meta(max_length=80)] = ""


class DeviceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"terminal_class": "class"}):
    line: LineName
    family: Annotated[str, Meta(pattern="^(zvt|escpos|modem|terminal)$")]
    port: PortText
    id: Identifier | None = None
    terminal_class: TerminalClassName = "kiosk"
    baud: Annotated[int, Meta(ge=300, le=4_000_000)] = 9600
    poll_s: PollSeconds = 0.5
    app_log: str = ""
    acquirer_profile: str = ""
    model: Annotated[str, Meta(max_length=80)] = ""


class AgentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"own": "self", "devices": "device"}):
    """``path`` is where it was read from; the relative paths in it start at that folder."""

    link: LinkConfig
    trust: TrustConfig
    tenant: Annotated[str, Meta(min_length=1, max_length=64)] = "default"
    state: StateConfig = StateConfig()
    pace: PaceConfig = PaceConfig()
    own: SelfConfig = SelfConfig()
    devices: Annotated[list[DeviceConfig], Meta(max_length=MAX_DEVICES)] = []
    settings: dict[str, str] = {}
    path: Path = Path("agent.toml")

    def file(self, relative: str) -> Path:
        return self.path.parent / relative

    @property
    def state_folder(self) -> Path:
        return self.file(self.state.folder)

    @property
    def control_socket(self) -> Path:
        return self.state_folder / "control.sock"

    @property
    def spool_file(self) -> Path:
        return self.state_folder / "spool.db"


def load(path: Path) -> AgentConfig:
    """Raises ConfigurationInvalid with one sentence naming file, key, what was expected and what came."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationInvalid(f"{path}: expected a readable file, came {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid(f"{path}: expected TOML, came {error}") from error
    try:
        config = msgspec.convert(table, AgentConfig)
    except msgspec.ValidationError as error:
        raise ConfigurationInvalid(f"{path}: {_in_words(error, table)}") from error
    _check_names(path, config)
    return msgspec.structs.replace(config, path=path.resolve())


def _check_names(path: Path, config: AgentConfig) -> None:
    lines = [device.line for device in config.devices]
    ids = [config.link.id, *(device.id for device in config.devices if device.id)]
    for key, names in (("device.line", lines), ("device.id", ids)):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigurationInvalid(f"{path}: {key}: expected each name once, came {twice[0]!r} twice")
    if config.own.family == "terminal" and not config.own.port:
        raise ConfigurationInvalid(f'{path}: self.port: expected "unix:PATH" of the terminal\'s service, came nothing')


def _in_words(error: msgspec.ValidationError, table: dict[str, object]) -> str:
    """``key: expected …, came …`` from msgspec's ``Expected … - at `$.key` ``."""
    sentence, _, place = str(error).partition(" - at ")
    key = place.strip("`").removeprefix("$.") or "the file"
    expected = sentence[:1].lower() + sentence[1:]
    return f"{key}: {expected}{_came(key, table, expected)}"


def _came(key: str, table: dict[str, object], expected: str) -> str:
    value: object = table
    for part in key.replace("[...]", "").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None or ", got" in expected or isinstance(value, dict | list):
        return ""
    return f", came {str(value)[:60]!r}"
