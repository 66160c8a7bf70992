"""Every parser that sees bytes of a device, a merchant, an upload or a caller: one function of bytes each.

A function returns whatever comes out and raises only what is a mistake: refusals that the parser's contract names are
caught here. ``SEEDS`` are good inputs to start from.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from device_agent import config
from device_agent.adapters import app_log, certificate_file, control_socket
from device_agent.adapters.spool import Spool
from device_agent.core import journal
from device_agent.drivers.escpos.wire import StatusReader
from device_agent.drivers.modem import replies
from device_agent.drivers.modem.wire import AtDialogue
from device_agent.drivers.modem.wire import Reply as ModemReply
from device_agent.drivers.terminal import messages as terminal
from device_agent.drivers.terminal.wire import reply_reader, request_reader
from device_agent.drivers.zvt.messages import parse_message, parse_terminal_status, registration_needs
from device_agent.drivers.zvt.wire import Frame, SerialReader, TcpReader
from device_agent.errors import ActionFailed, ConfigurationInvalid
from fleet_server.enrollment.errors import FleetFileInvalid
from fleet_server.enrollment.fleet_file import read_fleet_file
from fleet_server.errors import FleetError, SettingsInvalid
from fleet_server.ingest.decode import decode, decode_entry
from fleet_server.issuer.errors import RequestRefused
from fleet_server.issuer.messages import Ask
from fleet_server.issuer.signing_requests import read_request
from fleet_server.kit.pagination import decode_cursor
from fleet_server.live.reading import read_report
from fleet_server.mqtt import Received
from fleet_server.settings import load_settings
from protocol import codec
from protocol.commands import Command
from protocol.enrolment import read_code
from protocol.mqtt_packets import PacketReader
from protocol.parameters import Parameter, check_params
from protocol.redaction import StreamScrubber, scrub, scrub_json
from protocol.session import Flow, Welcome
from protocol.signing import ACK_TYPE, FLOW_TYPE, WELCOME_TYPE, Envelope, SigningKey, open_envelope, public_keys
from protocol.streams import Ack, StreamKind
from protocol.topics import Up, parse_down, parse_up

Parse = Callable[[bytes], object]
_KEYS = public_keys([SigningKey.from_seed(b"k" * 32).public_hex])
_TYPES = (None, codec.JSON, codec.JSON_DEFLATE, "text/plain")
_CHUNKS = 3


@dataclass(frozen=True, slots=True)
class Parser:
    name: str
    parse: Parse
    seeds: tuple[bytes, ...]
    # What comes at once; more is cut off before the parser sees it.
    most_bytes: int = 64 * 1024
    # What an input costs is read on it: of this thread, however busy the machine is; of the process, for what works in
    # threads of its own.
    cpu_s: Callable[[], float] = time.thread_time


@cache
def folder() -> Path:
    """One of this process, in memory where there is such a place."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="tm-fuzz-", dir=memory if memory.is_dir() else None))


def _in_pieces(data: bytes) -> Iterator[bytes]:
    step = max(1, len(data) // _CHUNKS)
    return (data[at : at + step] for at in range(0, len(data), step))


def as_text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def as_file(data: bytes, name: str) -> Path:
    path = folder() / name
    path.write_bytes(data)
    return path


def mqtt(data: bytes) -> object:
    reader = PacketReader()
    return [packet for piece in _in_pieces(data) for packet in reader.feed(piece)]


def received(topic: str, payload: bytes, content_type: str | None) -> Received:
    return Received(topic, payload, content_type, 1, 1)


def ingest(data: bytes) -> object:
    """The first byte says on which topic, and as which content type, the rest came."""
    first = data[0] if data else 0
    kinds = list(Up)
    topic = f"fleet/v1/d-fuzz-0001/up/{kinds[first % len(kinds)]}"
    return decode(received(topic, data[1:], _TYPES[first // 16 % len(_TYPES)]))


def dead_letter(data: bytes) -> object:
    return [decode_entry(1, msgspec.Raw(data), kind) for kind in StreamKind]


def live(data: bytes) -> object:
    return read_report(received("fleet/v1/d-fuzz-0001/up/live", data, None))


def topics(data: bytes) -> object:
    return parse_up(as_text(data)), parse_down(as_text(data))


def envelope(data: bytes) -> object:
    """What an agent is told: the first byte says as what; the rest is the envelope, or what a good one holds."""
    first = data[0] if data else 0
    kinds: tuple[tuple[str, type], ...] = ((ACK_TYPE, Ack), (FLOW_TYPE, Flow), (WELCOME_TYPE, Welcome))
    name, kind = kinds[first % len(kinds)]
    plain = codec.inflate(data[1:], _TYPES[first // 16 % len(_TYPES)])
    if isinstance(plain, bytes):
        opened = open_envelope(plain, name, _KEYS)
        return opened, codec.from_json(plain, kind)
    return plain


def command(data: bytes) -> object:
    opened = codec.from_json(data, Envelope)
    return opened, codec.from_json(data, Command)


def parameters(data: bytes) -> object:
    declared = codec.from_json(data, list[Parameter])
    given = codec.from_json(data, dict[str, Any])
    if isinstance(given, dict) and isinstance(given.get("declared"), list):
        declared = codec.from_json(codec.to_json(given["declared"]), list[Parameter])
        if isinstance(declared, list) and isinstance(given.get("given"), dict):
            return check_params(declared, given["given"])
    return declared


def redaction(data: bytes) -> object:
    once = scrub(as_text(data)).text
    return scrub(once).text


def redaction_stream(data: bytes) -> object:
    scrubber = StreamScrubber()
    text = as_text(data)
    step = max(1, len(text) // _CHUNKS)
    return "".join(scrubber.feed(text[at : at + step]) for at in range(0, len(text), step)) + scrubber.finish()


def redaction_json(data: bytes) -> object:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return scrub_json(value)


def _zvt(reader: SerialReader | TcpReader, data: bytes) -> object:
    events: list[object] = [event for piece in _in_pieces(data) for event in reader.feed(piece)]
    events += reader.on_silence()
    for event in list(events):
        if isinstance(event, Frame):
            message = parse_message(event.apdu)
            held = getattr(message, "data", b"")
            events += [message, parse_terminal_status(held), registration_needs(held)]
    return events


def zvt_serial(data: bytes) -> object:
    return _zvt(SerialReader(), data)


def zvt_tcp(data: bytes) -> object:
    return _zvt(TcpReader(), data)


def zvt_apdu(data: bytes) -> object:
    return parse_message(data), parse_terminal_status(data), registration_needs(data)


def escpos(data: bytes) -> object:
    reader = StatusReader()
    return [event for piece in _in_pieces(data) for event in reader.feed(piece)] + reader.on_silence()


def modem(data: bytes) -> object:
    dialogue = AtDialogue()
    dialogue.start("AT+CEREG?")
    events: list[object] = [event for piece in _in_pieces(data) for event in dialogue.feed(piece)]
    lines = tuple(chain.from_iterable(event.lines for event in events if isinstance(event, ModemReply)))
    return events, modem_replies("\n".join(lines).encode())


def modem_replies(data: bytes) -> object:
    lines = tuple(data.decode("ascii", errors="replace").split("\n"))
    return (
        replies.parse_sim(lines, None),
        replies.parse_csq(lines),
        replies.parse_cesq(lines),
        replies.parse_sinr(lines),
        replies.parse_registration(lines, "+CEREG"),
        replies.parse_attach(lines),
        replies.parse_context_active(lines, 1),
        replies.parse_address(lines, 1),
        replies.parse_apn(lines, 1),
        replies.parse_digits(lines, shortest=15, longest=20),
        replies.parse_revision(lines),
        replies.parse_operator(lines),
        replies.parse_scan(lines),
    )


def terminal_service(data: bytes) -> object:
    answers, questions = reply_reader(), request_reader()
    return [one for piece in _in_pieces(data) for one in (*answers.feed(piece), *questions.feed(piece))]


_TERMINAL = [kind for kind in vars(terminal).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]


def terminal_messages(data: bytes) -> object:
    return [codec.from_json(data, kind) for kind in _TERMINAL if kind is not msgspec.Struct]


def payment_log(data: bytes) -> object:
    path = as_file(data, "app.log")
    signs = []
    for kind in ("countertop", "e_sign"):
        if kind in app_log._CLASSES:
            follower = app_log.AppLog(path, kind, is_new_read_from_start=True)
            while found := follower.follow():
                signs += found
            follower.close()
    return signs


def spool(data: bytes) -> object:
    """A spool as a power cut, or somebody with root, may leave it."""
    place = folder() / "spool"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "spool.db").write_bytes(data)
    opened = Spool(place / "spool.db", codec.to_json, quota_bytes=2_000_000)
    opened.close()
    return opened.salvaged


def journal_row(data: bytes) -> object:
    return journal.decode(data)


def fleet_file(data: bytes) -> object:
    try:
        return read_fleet_file(as_file(data, "fleet.json"))
    except FleetFileInvalid as refused:
        return str(refused)


def server_settings(data: bytes) -> object:
    place = folder() / "server"
    place.mkdir(exist_ok=True)
    (place / "fleet.toml").write_bytes(data)
    try:
        return load_settings(folder())
    except SettingsInvalid as refused:
        return str(refused)


def agent_settings(data: bytes) -> object:
    try:
        return config.load(as_file(data, "agent.toml"))
    except ConfigurationInvalid as refused:
        return str(refused)


def agent_enrolment(data: bytes) -> object:
    try:
        return config._enrolment(as_file(data, "enrolment.json"))
    except ConfigurationInvalid as refused:
        return str(refused)


@contextmanager
def _pair(said: bytes) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
        ours.settimeout(1)
        ours.sendall(said[:100_000])
        ours.shutdown(socket.SHUT_WR)
        yield theirs


def control(data: bytes) -> object:
    with _pair(data) as connection:
        return control_socket._request(connection)


def issuer_ask(data: bytes) -> object:
    return codec.from_json(data, Ask)  # type: ignore[arg-type]  # a union of types


def signing_request(data: bytes) -> object:
    try:
        return read_request(as_text(data), ["d-fuzz-0001"])
    except RequestRefused as refused:
        return str(refused)


def certificate(data: bytes) -> object:
    try:
        return certificate_file.not_after_ms(as_file(data, "cert.pem"))
    except ActionFailed as refused:
        return str(refused)


def enrolment_code(data: bytes) -> object:
    return read_code(as_text(data))


def cursor(data: bytes) -> object:
    try:
        return decode_cursor(base64.urlsafe_b64encode(data).decode().rstrip("="), 2), decode_cursor(as_text(data), 2)
    except FleetError as refused:
        return str(refused)


def json_text(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
