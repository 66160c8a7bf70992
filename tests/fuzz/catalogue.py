"""The parsers by name, with inputs to start from, and those that every parser gets."""

from __future__ import annotations

import gzip
import io
import sqlite3
import tarfile
import tempfile
import time
import zlib
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from device_agent.adapters.spool import Spool
from protocol import codec
from tests.device_agent.drivers import test_hostile_streams as streams
from tests.fleet_server.enrollment.fleets import small_fleet
from tests.fleet_server.ingest import test_decode as messages
from tests.fuzz import documents, doors, parsers, programs, software
from tests.fuzz.parsers import Parse, Parser, json_text

# A second of the fastest serial line; a text, or a line of a log.
_SECOND_BYTES = 16 * 1024
_TEXT_BYTES = 4096
_ENVELOPE = {
    "payloadType": "application/vnd.tillmedic.ack+json",
    "payload": "e30=",
    "signatures": [{"keyid": "k", "sig": "AA=="}],
}
_PARAMETER = {"name": "lines", "type": "integer", "title": {"zh": "行", "en": "Lines"}, "minimum": 1, "maximum": 9}
_TEXT = {**_PARAMETER, "name": "host", "type": "text", "pattern": "[a-z]+([0-9]{0,9})?"}
_ASKED = {"declared": [_PARAMETER, _TEXT], "given": {"lines": 5, "host": "a" * 200}}
_DESCRIPTION = {"model": "a", "firmware": "1", "terminal_class": "smart", "serial_number": "b", "boot": "0" * 32}
_ENROLMENT = {"link": "d-fuzz-0001", "broker": {"host": "a", "port": 1}, "root_public": "0" * 64}
_LOG = "2026-03-01 12:00:01 TRADE resp=91 msg=交易超时\n2026-03-01 12:00:02 PRINTER no paper\n".encode()
_TOML = (
    b'enrolment = "bundle"\nstate = "state"\n[host]\nkind = "gateway"\n'
    b'[[lines]]\nname = "prn0"\ndriver = "escpos"\nport = "/dev/ttyS0"\n'
)
_FLEET = b'database_url = "sqlite:///fleet.db"\nmqtt_host = "a"\nmqtt_port = 1\nhttp_host = "a"\nhttp_port = 1\nurl = "http://a"\n'
_CARDS = (
    b"card 4111 1111 1111 1111 exp 12/30, track ;4111111111111111="
    b"30121010000?, 5A08 4111111111111111, NDExMTExMTExMTExMTExMQ=="
)
BOMBS = (zlib.compress(bytes(50_000_000)), b"\x20" + zlib.compress(bytes(50_000_000)))
# What breaks parsers of any kind: depth, size, no text, numbers that fit nowhere, names twice, a bomb.
EVERYWHERE: tuple[bytes, ...] = (
    b"",
    b"\0",
    b"[" * 50_000,
    b'{"a":' * 20_000,
    b"[" * 500 + b"]" * 500,
    b"\xff" * 4096,
    b"\xed\xa0\x80",
    "\U000e0001\u202e\ufeff\ufdfa".encode() * 50,
    b"1" * 20_000,
    b'{"a":1e999,"a":-0,"b":' + b"9" * 400 + b"}",
    b'{"body":{"type":"' + b"x" * 5000 + b'"}}',
    b"\\u0000" * 3000,
    b"a=" + b"[" * 5000,
    *BOMBS,
    b" " * 30_000,
    b"%s%n{0}{{" * 500,
    b"=" * 5000,
    b"4" * 19 + b" -" * 3000,
    b"-----BEGIN CERTIFICATE-----\n" + b"A" * 3000 + b"\n-----END CERTIFICATE-----\n",
)


def _spools() -> tuple[bytes, ...]:
    """A sound one, and ones whose rows say what the schema does not forbid."""
    made = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "spool.db"
        Spool(path, codec.to_json, quota_bytes=2_000_000).close()
        made.append(path.read_bytes())
        for change in (
            "UPDATE stream SET kind = kind || 'x'",
            "UPDATE stream SET id = x'00', last = 'many', acked = -1",
            "DROP TABLE record",
            "UPDATE fact SET value = x'ff'",
        ):
            twin = Path(name) / "twin.db"
            twin.write_bytes(made[0])
            with sqlite3.connect(twin) as db:
                db.execute(change)
            db.close()
            # Damaged too: only then are its rows read by those who save what can be saved.
            made.append(twin.read_bytes()[:-1024])
    return tuple(made)


def _archives() -> tuple[bytes, ...]:
    """Plain and packed: a file, and what no archive should hold."""
    made = []
    for name, kind, link in (
        ("server/fleet.toml", tarfile.REGTYPE, ""),
        ("../out", tarfile.REGTYPE, ""),
        ("link", tarfile.SYMTYPE, "/etc/passwd"),
        ("device", tarfile.CHRTYPE, ""),
        ("n" * 300, tarfile.REGTYPE, ""),
    ):
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, link, 5 if kind == tarfile.REGTYPE else 0
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(entry, io.BytesIO(b"hello"))
        made += [whole.getvalue(), gzip.compress(whole.getvalue())]
    return tuple(made)


def _signing_requests() -> tuple[bytes, ...]:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    now = datetime(2026, 1, 1, tzinfo=UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "d-fuzz-0001")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, datetime(2030, 1, 1, tzinfo=UTC))
    return (
        request.public_bytes(serialization.Encoding.PEM),
        builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
    )


def _topic_seeds(*texts: bytes) -> tuple[bytes, ...]:
    """With each first byte that means something else."""
    firsts = (0, 1, 2, 3, 4, 5, 16, 32, 35, 36)
    return tuple(bytes([first]) + (zlib.compress(text) if first >= 32 else text) for first in firsts for text in texts)


def all_parsers() -> dict[str, Parser]:
    seeds = {
        **_of_messages(),
        **_of_lines(),
        **_of_files(),
        **_of_software(),
        **_of_signed(),
        **_of_handed_in(),
        **doors.SEEDS,
        **programs.SEEDS,
    }
    at_once: dict[Parse, int] = dict.fromkeys(
        (parsers.zvt_serial, parsers.zvt_tcp, parsers.escpos, parsers.modem, parsers.modem_replies), _SECOND_BYTES
    )
    at_once |= dict.fromkeys((parsers.redaction, parsers.redaction_stream, *doors.SEEDS), _TEXT_BYTES)
    # Each line is answered, and nobody reads the answers before the end.
    at_once[doors.issuer_socket] = 1024
    return {
        parse.__name__: Parser(
            parse.__name__,
            parse,
            given,
            at_once.get(parse, 64 * 1024),
            time.process_time if parse in doors.IN_THREADS else time.thread_time,
        )
        for parse, given in seeds.items()
    }


def _of_signed() -> dict[Parse, tuple[bytes, ...]]:
    allowed = {
        "id": "e-fuzz-0002",
        "tenant": "default",
        "kind": "approval",
        "requester": "li",
        "grants": [{"action": "app.restart"}],
        "danger_class": 1,
        "not_before_ms": 0,
        "not_after_ms": 9,
        "max_count": 1,
        "targets": ["d-fuzz-0001"],
        "execution": "e-fuzz-0001",
    }
    stopped = {"tenant": "default", "epoch": 1, "issued_at_ms": 1}
    signed = {
        "version": 1,
        "kind": "head",
        "tenant": "a",
        "seq": 1,
        "row_hash": "0" * 64,
        "signed_at_us": 1,
        "previous": "",
    }
    return {
        documents.policy: (codec.to_json(documents.POLICY),),
        documents.policy_chain: (json_text([json_text(_ENVELOPE).decode()]),),
        documents.stop: (json_text(stopped), json_text({**stopped, "lifts": True})),
        documents.authorisation: tuple(
            json_text({**allowed, "kind": kind}) for kind in ("approval", "shift_permit", "break_glass")
        ),
        documents.permit: (
            json_text({**allowed, "kind": "shift_permit"}),
            json_text({**allowed, "kind": "break_glass"}),
        ),
        documents.audit_anchor: (json_text(signed),),
        documents.trust_files: (json_text(_ENVELOPE), json_text(stopped)),
    }


def _of_handed_in() -> dict[Parse, tuple[bytes, ...]]:
    line = {"tenant": "a", "seq": 1, "at_us": 1, "at": "", "actor": "", "action": "", "target": "", "data": {}}
    row = {**line, "aside": "", "prev_hash": "", "row_hash": ""}
    of_sites = (
        b"id,merchant_id,name_zh,name_en,timezone,phone\n"
        b',898330158120001,"\xe5\xba\x97, x",Shop,Asia/Shanghai,+86 138 0000 0000\n'
    )
    heading = b"serial_number,model,terminal_class,site,label_zh,label_en\r\n"
    return {
        documents.audit_export: (json_text(row) + b"\n",),
        documents.sites: (of_sites, b"\xef\xbb\xbf" + of_sites.replace(b"\n", b"\r\n"), b"id,name_zh\n,'=1+1\n"),
        documents.pallet: (heading + b'ES1,PAX A920,e_sign,,"\xe6\x94\xb6, x",Till\r\n', b"\xef\xbb\xbf" + heading),
        documents.backup: (
            b"\0" + documents.GOOD_MANIFEST,
            b"\xff" + b"0" * 64 + b"  server/../../etc/passwd\n",
            b"\xff" + b"0" * 64 + b"  server/a\0b\n",
            b"\xff" + b"0" * 64 + b"  /dev/zero\n",
        ),
        documents.archive: (*_archives(), gzip.compress(bytes(50_000_000))),
        documents.signer_settings: (b'socket = "a"\nclients = ""\nreads_per_hour = 5\n',),
        documents.agent_guard: (json_text({"generation": 1, "facts": {"a": "1@2"}, "sha256": "0" * 64}),),
        documents.letter_payload: tuple(first + zlib.compress(_LOG * 9) for first in (b"\0", b"\xff")),
        documents.watch_request: (b"\0" + json_text({"link": "d-fuzz-0001", "for_s": 10.0}),),
        documents.enrolment_request: (
            json_text({"secret": "0" * 16, "serial_number": "S", "model": "M", "csr": "c", "proof": "0" * 16}),
            json_text({"link": "d-fuzz-0001", "csr": "c", "proof": "0" * 16}),
        ),
        documents.typed_period: (b"2026-03-01T12:00\n2026-03-02T12:00:00+08:00", b"0001-01-01\n9999-12-31T23:59"),
        documents.enrolment_answer: (json_text({"code": "a", "detail": "b"}), json_text({"certificate": "a"})),
        documents.held_target: (json_text({"path": "a/../../outside", "length": 1, "sha256": "0" * 64}),),
    }


def _of_messages() -> dict[Parse, tuple[bytes, ...]]:
    return {
        parsers.mqtt: (
            b"\x20\x03\x00\x00\x00",
            b"\x32\x10\x00\x05a/b/c\x00\x01\x05\x03\x00\x02abxyz",
            b"\xe0\x02\x8e\x00",
        ),
        parsers.ingest: _topic_seeds(messages.HELLO, messages.batch(messages.FAULT, messages.HEALTH)),
        parsers.dead_letter: (messages.FAULT, messages.HEALTH),
        parsers.live: (json_text({"device": "d-fuzz-0001", "wall_ms": 1, "samples": {"net.rtt_ms": 5}}),),
        parsers.topics: (b"fleet/v1/d-fuzz-0001/up/hello", b"fleet/v1/d-fuzz-0001/down/ack"),
        parsers.envelope: _topic_seeds(json_text(_ENVELOPE)),
        parsers.command: (json_text(_ENVELOPE),),
        parsers.parameters: (
            json_text([_PARAMETER]),
            json_text(_ASKED),
        ),
        parsers.redaction: (_CARDS, _LOG),
        parsers.redaction_stream: (_CARDS, _LOG),
        parsers.redaction_json: (json_text({"pan": "4111111111111111", "a": [1, {"b": None}]}),),
    }


def _of_lines() -> dict[Parse, tuple[bytes, ...]]:
    return {
        parsers.zvt_serial: (streams.ZVT_MODEL,),
        parsers.zvt_tcp: (streams.TCP_MODEL,),
        parsers.zvt_apdu: (bytes.fromhex("060f0a19002929001006490978"), bytes.fromhex("040f062700290100000606")),
        parsers.escpos: (streams.ESCPOS_MODEL,),
        parsers.modem: (streams.AT_MODEL,),
        parsers.modem_replies: (
            b'+CEREG: 2,1,"10A4","0A2B3C1D",7\n+CSQ: 5,99\n+COPS: (2,"a","b","46000",7),,(0-4),(0-2)',
        ),
        parsers.terminal_service: (b'{"id":1,"call":"describe","args":{}}\n{"id":1,"result":{}}\n',),
        parsers.terminal_messages: (json_text(_DESCRIPTION),),
        parsers.payment_log: (_LOG, _LOG.decode().encode("gb18030")),
    }


def _of_software() -> dict[Parse, tuple[bytes, ...]]:
    return {
        software.device_pass: software.pass_seeds(),
        software.target_facts: software.facts_seeds(),
        software.playbook: software.playbook_seeds(),
        software.bundle_archive: software.bundle_seeds(),
    }


def _of_files() -> dict[Parse, tuple[bytes, ...]]:
    certificates = _signing_requests()
    return {
        parsers.spool: _spools(),
        parsers.journal_row: (json_text({"execution": "e", "state": "running"}),),
        parsers.fleet_file: (json_text(small_fleet()),),
        parsers.server_settings: (_FLEET,),
        parsers.agent_settings: (_TOML,),
        parsers.agent_enrolment: (json_text(_ENROLMENT),),
        parsers.control: (b'{"ask":"status"}\n', b'{"ask":"check","params":{"a":1}}\n'),
        parsers.issuer_ask: (json_text({"ask": "describe"}), json_text({"ask": "renew", "name": "d-1", "csr": "x"})),
        parsers.signing_request: certificates,
        parsers.certificate: certificates,
        parsers.enrolment_code: (b"01234-56789-ABCDE-FGHJK-MNPQR-STVWX-YZ012-34567",),
        parsers.cursor: (b'["a",1]', b"[null,1.5]", b"WyJhIiwxXQ"),
    }
