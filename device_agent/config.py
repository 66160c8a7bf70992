"""The agent's configuration: one TOML file beside an enrolment bundle, read once into one frozen value.

    enrolment = "bundle"        # folder with enrolment.json, client.crt, client.key, ca.crt, policy.json
    state_dir = "state"         # spool, control socket; made when missing
    guard_dir = "state/guard"   # what never goes back, once more: best on another partition than state_dir
    quota_mb = 32               # how large the spool may grow
    profile = "unmetered"       # metered, unmetered, demo: the pace until the server has said another
    highest_class = 2           # commands above it are refused: 1 takes no software, 0 only looks
    soak_limit_s = 5            # demonstrations only: no fix waits longer than this before its last check
    maintenance_window = "02:00-05:00"  # local time in which reboots and changed values may begin; any when left out
    time_zone = "Asia/Shanghai" # of the terminal; its name in the system's list, or an offset such as "+08:00"

    [host]                      # what the agent runs on; its device id is the link's
    kind = "linux"              # linux: this machine; terminal: by the terminal's own service; none: nothing is read
    socket = "service.sock"     # kind terminal: the service's Unix socket
    poll_s = 5

    [[lines]]                   # one for each device on a line; its id comes with the enrolment
    name = "pos1"
    driver = "zvt"              # zvt, escpos, modem
    port = "/dev/ttyUSB0"       # or: url = "socket://host:port"
    baud = 9600
    poll_s = 0.5

    [data]                      # how much the link to the server may carry; 0: no bound
    month_mb = 30               # in a month of the device's own calendar
    day_mb = 3

    [app]                       # the payment application
    log = "payment.log"         # UTF-8 or GBK
    acquirer_profile = ""

    [network]                   # the way to the acquirer, for the check of the network path
    acquirer_host = "host.example"
    acquirer_port = 443
    dns_name = ""               # resolved instead of the host's own name, when that is a number

    [software]                  # what is fetched to be installed
    quota_mb = 512
    daily_mb = 0                # 0: as much as is asked for

    [[values]]                  # configuration values that may be applied from afar; a usual set when left out
    name = "apn"
    pattern = "cmnet|cmiot"
    zh = "接入点"
    en = "access point"

Relative paths start at the folder of the file. A wrong file stops the start with one sentence that says where.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from device_agent.errors import ConfigurationInvalid
from protocol.identifiers import IDENTIFIER_PATTERN
from protocol.parameters import Title
from protocol.session import LineName, Profile
from protocol.signing import MAX_SIGNATURES, WirePublicKey

MAX_LINES: Final = 64
_HOUR = "([01][0-9]|2[0-3]):[0-5][0-9]"
WINDOW_PATTERN: Final = f"^({_HOUR}-{_HOUR})?$"
# sun_path of Linux holds 108 bytes with its closing zero.
_MAX_SOCKET_BYTES: Final = 107

PollSeconds = Annotated[float, Meta(ge=0.1, le=3600)]
TerminalClassName = Annotated[str, Meta(pattern="^(e_sign|traditional|smart|kiosk)$")]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]
Identifier = Annotated[str, Meta(pattern=IDENTIFIER_PATTERN)]


class BrokerAddress(msgspec.Struct, frozen=True):
    """``host`` is also the name that the broker's certificate must carry."""

    host: Annotated[str, Meta(min_length=1, max_length=255)]
    port: PortNumber


class Enrolment(msgspec.Struct, frozen=True):
    """Who this link is: written by the server, taken over as it is. Fields of later versions are left alone."""

    link: Identifier
    broker: BrokerAddress
    root_public: WirePublicKey
    # Who signs policies: all of these keys' owners, of whom so many sign. A bundle of before names one key only.
    roots: Annotated[list[WirePublicKey], Meta(max_length=MAX_SIGNATURES)] = []
    root_threshold: Annotated[int, Meta(ge=1, le=MAX_SIGNATURES)] = 1
    tenant: Annotated[str, Meta(min_length=1, max_length=64)] = "default"
    attached: dict[LineName, Identifier] = {}
    terminal_class: TerminalClassName = "kiosk"
    model: str | None = None
    # Where certificates are renewed; a bundle of before names none, and is carried anew.
    server_url: Annotated[str, Meta(max_length=300)] = ""


class HostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Annotated[str, Meta(pattern="^(linux|terminal|none)$")] = "linux"
    socket: str = ""
    poll_s: PollSeconds = 5.0


class LineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"terminal_class": "class"}):
    name: LineName
    driver: Annotated[str, Meta(pattern="^(zvt|escpos|modem)$")]
    port: str = ""
    url: Annotated[str, Meta(pattern=r"^(socket://.+:[0-9]{1,5})?$")] = ""
    baud: Annotated[int, Meta(ge=300, le=4_000_000)] = 9600
    poll_s: PollSeconds = 0.5
    terminal_class: TerminalClassName | None = None  # the link's own when left out


class DataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """MiB; 0: no bound."""

    month_mb: Annotated[int, Meta(ge=0, le=1_048_576)] = 0
    day_mb: Annotated[int, Meta(ge=0, le=1_048_576)] = 0


class AppConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    log: str = ""
    acquirer_profile: str = ""


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    acquirer_host: Annotated[str, Meta(max_length=255)] = ""
    acquirer_port: PortNumber = 443
    dns_name: Annotated[str, Meta(max_length=255)] = ""
    ca: str = ""


class ValueConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``pattern``: the whole of what the value may be."""

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]
    pattern: Annotated[str, Meta(min_length=1, max_length=120)]
    zh: Title
    en: Title


class SoftwareConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of what is fetched from the repository of software. ``daily_mb`` 0: as much as is asked for."""

    quota_mb: Annotated[int, Meta(ge=1, le=65_536)] = 512
    daily_mb: Annotated[int, Meta(ge=0, le=65_536)] = 0


class AgentFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the file itself."""

    enrolment: str
    state_dir: str = "state"
    guard_dir: str = ""
    quota_mb: Annotated[int, Meta(ge=1, le=4096)] = 32
    profile: Profile = Profile.UNMETERED
    highest_class: Annotated[int, Meta(ge=0, le=2)] = 2
    soak_limit_s: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    maintenance_window: Annotated[str, Meta(pattern=WINDOW_PATTERN)] = ""
    time_zone: Annotated[str, Meta(max_length=64)] = ""
    host: HostConfig = HostConfig()
    lines: Annotated[list[LineConfig], Meta(max_length=MAX_LINES)] = []
    data: DataConfig = DataConfig()
    app: AppConfig = AppConfig()
    network: NetworkConfig = NetworkConfig()
    values: Annotated[list[ValueConfig], Meta(max_length=32)] = []
    software: SoftwareConfig = SoftwareConfig()


class AgentConfig(AgentFile, frozen=True, kw_only=True):
    """``path`` is where it was read from; ``who`` is the enrolment it names."""

    path: Path
    who: Enrolment

    def file(self, relative: str) -> Path:
        return self.path.parent / relative

    @property
    def bundle(self) -> Path:
        return self.file(self.enrolment)

    def bundled(self, name: str) -> Path:
        return self.bundle / name

    @property
    def state_folder(self) -> Path:
        return self.file(self.state_dir)

    @property
    def guard_folder(self) -> Path:
        return self.file(self.guard_dir) if self.guard_dir else self.state_folder / "guard"

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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationInvalid(f"{path}: expected TOML, came {error}") from error
    try:
        read = msgspec.convert(table, AgentFile)
    except msgspec.ValidationError as error:
        raise ConfigurationInvalid(f"{path}: {_in_words(error, table)}") from error
    _check_lines(path, read)
    bundle = path.resolve().parent / read.enrolment
    who = _enrolment(bundle / "enrolment.json")
    config = AgentConfig(**msgspec.structs.asdict(read), path=path.resolve(), who=who)
    _check_state_folder(path, config)
    return config


def _enrolment(path: Path) -> Enrolment:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Enrolment)
    except OSError as error:
        raise ConfigurationInvalid(f"{path}: expected a readable enrolment, came {error.strerror}") from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ConfigurationInvalid(f"{path}: {_in_words(error, {})}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationInvalid(f"{path}: expected JSON, came {error}") from error


def _check_lines(path: Path, config: AgentFile) -> None:
    names = [line.name for line in config.lines]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationInvalid(f"{path}: lines.name: expected each name once, came {twice[0]!r} twice")
    for line in config.lines:
        if bool(line.port) == bool(line.url):
            came = "both" if line.port else "neither"
            raise ConfigurationInvalid(f"{path}: lines.{line.name}: expected either port or url, came {came}")
    local = "maintenance_window" if config.maintenance_window else "data" if config.data != DataConfig() else ""
    if local and not config.time_zone:
        raise ConfigurationInvalid(f"{path}: time_zone: expected the terminal's, for its {local}, came nothing")
    if config.host.kind == "terminal" and not config.host.socket:
        raise ConfigurationInvalid(f"{path}: host.socket: expected the terminal service's socket, came nothing")


def _check_state_folder(path: Path, config: AgentConfig) -> None:
    length = len(os.fsencode(config.control_socket))
    if length > _MAX_SOCKET_BYTES:
        room = _MAX_SOCKET_BYTES - len(config.control_socket.name) - 1
        came = length - len(config.control_socket.name) - 1
        raise ConfigurationInvalid(f"{path}: state_dir: expected a path of at most {room} bytes, came {came} bytes")


def _in_words(error: msgspec.MsgspecError, table: dict[str, object]) -> str:
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
