"""Parsers of what people sign, and of files that somebody hands in: pallets, backups, exports, settings.

What is inside a signature is read only when the signature holds, so what is fuzzed is also signed here first: as if a
key had been stolen.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from device_agent.adapters import guard
from device_agent.adapters.enrolment_door import _as, _refused
from device_agent.adapters.held_targets import HeldTargets
from device_agent.core import trust
from device_agent.errors import AgentError
from fleet_server.approvals import documents
from fleet_server.approvals.errors import PermitRefused
from fleet_server.audit.anchors import ANCHOR_TYPE, Keys, open_anchor
from fleet_server.audit.errors import ExportUnreadable
from fleet_server.audit.files import read_rows
from fleet_server.backup import MANIFEST, SUMS, BackupUnusable, read_backup
from fleet_server.console.language import Language, translations
from fleet_server.console.moments import Calendar, zone_of
from fleet_server.console.view_models.course_range import choose_period
from fleet_server.enrollment.door import _as as _asked
from fleet_server.enrollment.errors import PalletInvalid
from fleet_server.enrollment.pallet import read_pallet
from fleet_server.ingest.letters import _readable
from fleet_server.ingest.trust_news import _files, _read
from fleet_server.ingest.watching import Watching
from fleet_server.issuer.errors import RequestRefused
from fleet_server.kit.foreign_files import ForeignFileRefused, Limits, unpack
from fleet_server.kit.times import from_ms
from fleet_server.mqtt import Received
from fleet_server.signer.errors import SignerFolderUnusable
from fleet_server.signer.settings import FILE as SIGNER_FILE
from fleet_server.signer.settings import load_signer_settings
from fleet_server.sites.errors import SiteInvalid
from fleet_server.sites.files import read_sites
from fleet_server.sites.values import checked
from protocol import codec
from protocol.authorisations import Artifact, judge
from protocol.commands import AUTHORISATION_TYPE, Command, DangerClass
from protocol.enrolment import Enrolled, EnrolRequest, Renewed, RenewRequest
from protocol.errors import Malformed
from protocol.identifiers import DeviceId, ExecutionId
from protocol.policy import Root, open_policy
from protocol.signing import POLICY_TYPE, Approver, Policy, SigningKey, sign
from protocol.stops import STOP_TYPE, open_stop
from tests.fuzz.parsers import as_file, as_text, folder

_ROOT, _COMMAND = SigningKey.from_seed(b"r" * 32), SigningKey.from_seed(b"c" * 32)
_PERSON, _GLASS = SigningKey.from_seed(b"p" * 32), SigningKey.from_seed(b"g" * 32)
POLICY = Policy(
    1,
    0,
    [_COMMAND.public_hex],
    ["00" * 32],
    [Approver("wang", _PERSON.public_hex)],
    break_glass_keys=[_GLASS.public_hex],
)
_CALENDAR = Calendar(Language.EN, translations(Language.EN), zone_of("Asia/Shanghai"), datetime(2026, 3, 2, tzinfo=UTC))
_ASKED = Command(
    version=1,
    audience=DeviceId("d-fuzz-0001"),
    tenant="default",
    execution=ExecutionId("e-fuzz-0001"),
    action="app.restart",
    danger_class=DangerClass.CHANGES,
    params={},
    issued_at_ms=1,
    not_after_ms=2,
    counter=1,
    requester="li",
)


def _signed(kind: str, data: bytes, *keys: SigningKey) -> bytes:
    return codec.to_json(sign(kind, data, keys))


def policy(data: bytes) -> object:
    """As it came, and as if the root had signed it; what is taken is what signer and agent build on."""
    root = Root((_ROOT.public_hex,))
    found = open_policy(_signed(POLICY_TYPE, data, _ROOT), root)
    if isinstance(found, Policy):
        documents.keys_of_person(found, "default", "wang")
        return trust.follow([as_text(_signed(POLICY_TYPE, data, _ROOT))], root)
    return open_policy(data, root)


def policy_chain(data: bytes) -> object:
    return trust.follow(trust.read_chain(as_text(data)), Root((_ROOT.public_hex,)))


def stop(data: bytes) -> object:
    return (
        open_stop(data, POLICY, "default"),
        open_stop(_signed(STOP_TYPE, data, _COMMAND), POLICY, "default"),
        open_stop(_signed(STOP_TYPE, data, _PERSON), POLICY, "default"),
    )


def authorisation(data: bytes) -> object:
    """As a terminal and the signer judge it, and as the server keeps it."""
    verdicts = [judge(as_text(data), _ASKED, POLICY, 1)]
    for key in (_PERSON, _GLASS):
        document = as_text(_signed(AUTHORISATION_TYPE, data, key))
        verdicts.append(judge(document, _ASKED, POLICY, 1))
        documents.document_of(document)
    return verdicts


def permit(data: bytes) -> object:
    taken: list[object] = []
    for text in (as_text(data), as_text(_signed(AUTHORISATION_TYPE, data, _PERSON))):
        try:
            document, people = documents._open_permit(text, POLICY, "default")
            taken.append(documents._permit_row(document, text, ", ".join(people), from_ms(0)))
        except PermitRefused as refused:
            taken.append(str(refused))
    try:
        taken.append(
            documents._open_broken_glass(as_text(_signed(AUTHORISATION_TYPE, data, _GLASS)), POLICY, "default")
        )
    except PermitRefused as refused:
        taken.append(str(refused))
    return taken


def audit_anchor(data: bytes) -> object:
    keys = Keys.of(_ROOT.public_hex)
    opened = open_anchor(_signed(ANCHOR_TYPE, data, _ROOT), keys)
    return open_anchor(data, keys) if isinstance(opened, Malformed) else opened.digest


def audit_export(data: bytes) -> object:
    try:
        return list(read_rows(as_file(data, "audit.jsonl"))(0))
    except ExportUnreadable as refused:
        return str(refused)


def trust_files(data: bytes) -> object:
    """What the server finds in its own folder and sends to agents."""
    place = folder() / "trust"
    (place / "stops").mkdir(parents=True, exist_ok=True)
    (place / "policy.json").write_bytes(data)
    (place / "stops" / "default.json").write_bytes(_signed(STOP_TYPE, data, _COMMAND))
    return _read(_files(place))


def pallet(data: bytes) -> object:
    try:
        return read_pallet(as_text(data))
    except PalletInvalid as refused:
        return str(refused)


def sites(data: bytes) -> object:
    """A table of sites as it is imported, with each line's values checked too."""
    try:
        return [checked(values, "line: ") for _, values in read_sites(as_text(data))]
    except SiteInvalid as refused:
        return str(refused)


def letter_payload(data: bytes) -> object:
    """What a link sent and nobody could read, as a person sees it. An even first byte: said to be deflated."""
    return _readable(data[1:], codec.JSON_DEFLATE if data[:1] < b"\x80" else codec.JSON)


def watch_request(data: bytes) -> object:
    """On a topic between servers, where whoever owns the broker can say something too."""
    received = Received("svc/v1/watch", data[1:], codec.JSON if data[:1] < b"\x80" else codec.JSON_DEFLATE, 0, 0)
    return Watching().due([received], 1.0)


def enrolment_request(data: bytes) -> object:
    """What a device, or whoever found the door, asks before it has a certificate."""
    body = codec.from_json(data, dict[str, str])
    answers: list[object] = []
    if isinstance(body, Malformed):
        return body
    try:
        answers.append(_asked(body, EnrolRequest))
    except RequestRefused as refused:
        answers.append(str(refused))
    try:
        answers.append(_asked(body, RenewRequest))
    except RequestRefused as refused:
        answers.append(str(refused))
    return answers


def typed_period(data: bytes) -> object:
    """Two moments as somebody types them into the address of a page."""
    begin, _, end = as_text(data).partition("\n")
    return choose_period("", begin, end, _CALENDAR)


def backup(data: bytes) -> object:
    """The first byte says which file of it is fuzzed: what it says it is, or the list of what it holds."""
    place = folder() / "backup"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    fuzzed, other = (MANIFEST, SUMS) if data[:1] < b"\x80" else (SUMS, MANIFEST)
    (place / other).write_bytes(GOOD_MANIFEST if other == MANIFEST else b"0" * 64 + b"  manifest.json\n")
    (place / fuzzed).write_bytes(data[1:])
    try:
        return read_backup(place, lambda line: None)
    except BackupUnusable as refused:
        return str(refused)


def archive(data: bytes) -> object:
    """Nothing comes to lie beside the folder, no link, and no more than was allowed."""
    place = folder() / "unpacking"
    shutil.rmtree(place, ignore_errors=True)
    (place / "in").mkdir(parents=True)
    try:
        return unpack(as_file(data, "packed.tar"), place / "in", UNPACKED)
    except ForeignFileRefused as refused:
        return str(refused)
    finally:
        found = list(place.rglob("*"))
        sizes = sum(path.lstat().st_size for path in found if path.is_file())
        if list(place.iterdir()) != [place / "in"] or sizes > UNPACKED.total_bytes:
            raise AssertionError(f"more was unpacked than may be: {found}")
        if any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in found):
            raise AssertionError(f"something else than files was unpacked: {found}")


UNPACKED = Limits(files=50, total_bytes=1_000_000)
GOOD_MANIFEST = (
    b'{"format":1,"made_at":"2026-01-01T00:00:00Z","version":"0","database":"sqlite","revision":"0001","devices":1}'
)


def signer_settings(data: bytes) -> object:
    try:
        return load_signer_settings(as_file(data, SIGNER_FILE).parent)
    except SignerFolderUnusable as refused:
        return str(refused)


def agent_guard(data: bytes) -> object:
    """What an agent keeps in its second place: whoever is root there may write it."""
    return guard._read(as_file(data, "guard.json"))


def enrolment_answer(data: bytes) -> object:
    """What somebody who poses as the server says to a device that has left its box."""
    answers: list[object] = []
    for kind in (Enrolled, Renewed):
        try:
            answers.append(_as(data, kind))
        except AgentError as refused:
            answers.append(str(refused))
    try:
        _refused(400, data)
    except AgentError as refused:
        answers.append(str(refused))
    return answers


def held_target(data: bytes) -> object:
    """A path that a signed document names: nothing outside the folder is opened."""
    place = folder() / "targets"
    place.mkdir(exist_ok=True)
    (folder() / "outside").write_bytes(b"x")
    asked = codec.from_json(data, Artifact)
    if isinstance(asked, Malformed):
        return asked
    held = HeldTargets(place).held(asked)
    if held is not None:
        raise AssertionError(f"something is held in an empty folder: {held}")
    return Path(asked.path)
