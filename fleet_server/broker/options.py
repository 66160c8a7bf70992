"""mosquitto's configuration read as it reads it, and each option held against what this product needs.

Rule: an option is needed with a value in a range, or harmless, or refused. What a later version of mosquitto brings is
not known here and therefore refused. Options of a listener count for the ``listener`` line before them; all others
count for the whole broker wherever they stand, and each time they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from protocol.broker_rules import MAX_PACKET_BYTES, TLS_CIPHERS, TLS_VERSION

_DAYS = {"h": 1 / 24, "d": 1.0, "w": 7.0, "m": 30.0, "y": 365.0}
# The session of an agent lives seven days.
_SESSION_DAYS = (7, 60)


@dataclass(frozen=True, slots=True)
class Option:
    line: int
    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name} {self.value}".strip()


@dataclass(frozen=True, slots=True)
class Need:
    """``expected`` is a value, or words for a range."""

    expected: str
    holds: Callable[[str], bool]


def _just(value: str) -> Need:
    return Need(value, value.__eq__)


def _between(low: int, high: int) -> Need:
    return Need(f"{low} to {high}", lambda value: value.isdecimal() and low <= int(value) <= high)


def _days(low: int, high: int) -> Need:
    def holds(value: str) -> bool:
        return value[:-1].isdecimal() and value[-1:] in _DAYS and low <= int(value[:-1]) * _DAYS[value[-1]] <= high

    return Need(f"{low}d to {high}d", holds)


def _some(of: tuple[str, ...]) -> Need:
    return Need(f"only {':'.join(of)}", lambda value: bool(value) and set(value.split(":")) <= set(of))


_PATH: Final = Need("an absolute path", lambda value: value.startswith("/"))
NEEDED: Final = {
    "per_listener_settings": _just("false"),
    "allow_anonymous": _just("false"),
    "allow_zero_length_clientid": _just("false"),
    "retain_available": _just("false"),
    "queue_qos0_messages": _just("false"),
    # 0 means without limit in some versions and none at all in others.
    "max_queued_messages": _between(1000, 100_000),
    "max_queued_bytes": _between(1_048_576, 1_073_741_824),
    "max_inflight_messages": _between(20, 65_535),
    "max_packet_size": _between(MAX_PACKET_BYTES, 1_048_576),
    # Metered links have 600 s. Without a limit a link that was cut is online for hours.
    "max_keepalive": _between(600, 3600),
    "persistent_client_expiration": _days(*_SESSION_DAYS),
    "acl_file": _PATH,
}
NEEDED_OF_LISTENER: Final = {
    "cafile": _PATH,
    "crlfile": _PATH,
    "certfile": _PATH,
    "keyfile": _PATH,
    "require_certificate": _just("true"),
    "use_identity_as_username": _just("true"),
    "use_username_as_clientid": _just("true"),
    "tls_version": _just(TLS_VERSION),
    "ciphers_tls1.3": _some(TLS_CIPHERS),
}
_HARMLESS: Final = frozenset(
    {
        "autosave_interval",
        "autosave_on_changes",
        "connection_messages",
        "log_dest",
        "log_facility",
        "log_timestamp",
        "log_timestamp_format",
        "log_type",
        "max_connections",
        "max_inflight_bytes",
        "memory_limit",
        "persistence",
        "persistence_file",
        "persistence_location",
        "pid_file",
        "set_tcp_nodelay",
        "sys_interval",
        "user",
    }
)
# Of a listener, where a second one of ours may have them.
_HARMLESS_OF_LISTENER: Final = frozenset({"max_connections", "bind_interface", "socket_domain", "ciphers"})


@dataclass(frozen=True, slots=True)
class Configuration:
    """``listeners``: the line that opens each, and its options."""

    whole: tuple[Option, ...]
    listeners: tuple[tuple[Option, tuple[Option, ...]], ...]


def parse_configuration(text: str) -> Configuration:
    whole: list[Option] = []
    listeners: list[tuple[Option, list[Option]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        name, _, value = line.strip().partition(" ")
        option = Option(number, name, value.strip())
        if not name or name.startswith("#"):
            continue
        if name == "listener":
            listeners.append((option, []))
        elif listeners and name in NEEDED_OF_LISTENER.keys() | _HARMLESS_OF_LISTENER:
            listeners[-1][1].append(option)
        else:
            whole.append(option)
    return Configuration(tuple(whole), tuple((opening, tuple(options)) for opening, options in listeners))


def weaknesses(configuration: Configuration) -> list[str]:
    """One sentence for each option that lets through more than needed; empty: none."""
    found = [*_of_options(configuration.whole, NEEDED, "")]
    found += [
        f"line {option.line}: expected no option {option.name!r}, found '{option}'"
        for option in configuration.whole
        if option.name not in NEEDED.keys() | _HARMLESS
    ]
    if not configuration.listeners:
        found.append("expected a line 'listener PORT ADDRESS', found none")
    for opening, options in configuration.listeners:
        found += _of_options(options, NEEDED_OF_LISTENER, f" of '{opening}'")
    return found


def _of_options(options: tuple[Option, ...], needed: dict[str, Need], place: str) -> Iterator[str]:
    present = {option.name for option in options}
    for name, need in needed.items():
        if name not in present:
            yield f"expected '{name} {need.expected}'{place}, found no such line"
    for option in options:
        asked = needed.get(option.name)
        if asked is not None and not asked.holds(option.value):
            yield f"line {option.line}{place}: expected '{option.name} {asked.expected}', found '{option}'"
