"""The register: every column that holds, or may hold, something about a person, and every other column that holds text,
with the reason why it does not. One table decides what is exported, what is erased and how, and how long it is kept.

Invariant: a column of text stands here, in one list or the other (tests/fleet_server/personal/test_register.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache


class Whose(Enum):
    MERCHANT = "merchants and their staff"
    STAFF = "people who sign in"
    ANYBODY = "whoever somebody wrote about"


class Seen(Enum):
    """Who sees it plain. Everybody else of the tenant gets it masked, or not at all."""

    TENANT = "all who may see the device"
    PERSONAL = "personal.read; masked for others; personal.open for one site, on the record"
    AUDIT = "audit.read together with personal.read"
    PEOPLE = "people.read, and oneself"
    OPERATOR = "dead_letters.read"
    NOBODY = "nobody; compared or unsealed by the program"


class Erased(Enum):
    """What an erasure does to it."""

    EMPTIED = "emptied"  # of the site that is erased
    NAME = "a label in place of the name"  # where it is exactly the sign-in name
    NAMES = "a label in place of the name in a list"
    TEXT = "a label in place of each mention"
    DOCUMENT = "a label in place of each mention, anywhere in it"
    NUMBER = "emptied where it is the number"
    SIGNED = "the document goes; it could not be changed without ceasing to be what was signed"
    ROW = "the row goes"  # of the person that is erased
    LETTER = "the row goes when it mentions the person"
    ASIDE = "the row beside the audit goes"


# Settings of fleet.toml by which the scheduler forgets, or words for what ends by itself.
SITE, ACCOUNT = "site_contacts_kept_days", "people_kept_days"
TEXTS, NOTES = "events_kept_days", "notes_kept_days"
RECORDS, AUDIT = "records_kept_days", "audit_kept_days"
SESSION, LETTERS, KEYS = "with the session: 8 hours at most", "30 days", "24 hours"
MARK = "until 90 days after the last sign-in with it"
DEVICE = "as long as the device is known"


@dataclass(frozen=True, slots=True)
class PersonalField:
    """``kept``: a setting in days, or words. ``what`` and ``why`` are in both languages, for exports."""

    table: str
    column: str
    whose: Whose
    what_zh: str
    what_en: str
    why_zh: str
    why_en: str
    seen: Seen
    kept: str
    erased: Erased

    @property
    def name(self) -> str:
        return f"{self.table}.{self.column}"


_CALL = ("联系商户、安排上门", "to call the shop and to send somebody there")
_WHO = ("说明谁做了什么", "to say who did what")
_SIGN_IN = ("登录与账户安全", "to sign in, and to keep the account safe")
_NOTE = ("工作人员写下的说明", "what staff wrote down about the work")
_DEVICE = ("设备发来的原文,可能含有店里写下的文字", "words of a device, which may hold what somebody typed into it")


def _field(
    name: str,
    whose: Whose,
    what: tuple[str, str],
    why: tuple[str, str],
    seen: Seen,
    kept: str,
    erased: Erased,
) -> PersonalField:
    table, _, column = name.partition(".")
    return PersonalField(table, column, whose, *what, *why, seen, kept, erased)


_M, _S, _A = Whose.MERCHANT, Whose.STAFF, Whose.ANYBODY
_T, _P, _W, _O, _N = Seen.TENANT, Seen.PERSONAL, Seen.PEOPLE, Seen.OPERATOR, Seen.NOBODY
_E = Erased
FIELDS: tuple[PersonalField, ...] = (
    _field("site.contact_name", _M, ("联系人姓名", "name of the contact"), _CALL, _P, SITE, _E.EMPTIED),
    _field("site.phone", _M, ("联系电话", "telephone number"), _CALL, _P, SITE, _E.EMPTIED),
    _field("site.address", _M, ("地址", "address"), _CALL, _P, SITE, _E.EMPTIED),
    _field("site.merchant_name_zh", _M, ("商户名称", "name of the merchant"), _CALL, _T, DEVICE, _E.TEXT),
    _field("site.merchant_name_en", _M, ("商户名称", "name of the merchant"), _CALL, _T, DEVICE, _E.TEXT),
    _field("site.name_zh", _M, ("门店名称", "name of the shop"), _CALL, _T, DEVICE, _E.TEXT),
    _field("site.name_en", _M, ("门店名称", "name of the shop"), _CALL, _T, DEVICE, _E.TEXT),
    _field("device.sim_phone", _M, ("SIM 卡号码", "number of the SIM card"), _CALL, _P, DEVICE, _E.NUMBER),
    _field("device.label_zh", _A, ("设备标签", "label of the device"), _NOTE, _T, DEVICE, _E.TEXT),
    _field("device.label_en", _A, ("设备标签", "label of the device"), _NOTE, _T, DEVICE, _E.TEXT),
    _field("device.search_text", _A, ("检索用文字", "what the device is found by"), _CALL, _N, DEVICE, _E.TEXT),
    _field("enrolment.label_zh", _A, ("设备标签", "label of the device"), _NOTE, _T, NOTES, _E.TEXT),
    _field("enrolment.label_en", _A, ("设备标签", "label of the device"), _NOTE, _T, NOTES, _E.TEXT),
    _field("enrolment.address", _M, ("网络地址", "network address of the device"), _SIGN_IN, _T, NOTES, _E.TEXT),
    _field("enrolment.created_by", _S, ("操作人", "who made the code"), _WHO, _T, NOTES, _E.NAME),
    _field("enrolment.decided_by", _S, ("操作人", "who decided"), _WHO, _T, NOTES, _E.NAME),
    _field("retirement.retired_by", _S, ("操作人", "who took it out of service"), _WHO, _T, NOTES, _E.NAME),
    _field("retirement.note", _A, ("备注", "remark"), _NOTE, _T, NOTES, _E.TEXT),
    _field("execution.actor", _S, ("操作人", "who asked for it"), _WHO, _T, NOTES, _E.NAME),
    _field("execution.cancel_asked_by", _S, ("操作人", "who cancelled it"), _WHO, _T, NOTES, _E.NAME),
    _field("execution.override_reason", _A, ("理由", "reason that was given"), _NOTE, _T, NOTES, _E.TEXT),
    _field("execution.params", _A, ("所填的值", "values that were filled in"), _NOTE, _T, NOTES, _E.DOCUMENT),
    _field("execution.detail", _A, ("设备原文", "words of the device"), _DEVICE, _T, NOTES, _E.TEXT),
    _field("execution.output_tail", _A, ("设备原文", "words of the device"), _DEVICE, _T, NOTES, _E.TEXT),
    _field("playbook_run.started_by", _S, ("操作人", "who started it"), _WHO, _T, NOTES, _E.NAME),
    _field("playbook_run.cancel_asked_by", _S, ("操作人", "who cancelled it"), _WHO, _T, NOTES, _E.NAME),
    _field("playbook_run.given", _A, ("所填的值", "values that were filled in"), _NOTE, _T, NOTES, _E.DOCUMENT),
    _field("playbook_step.heard", _A, ("设备原文", "words of the device"), _DEVICE, _N, NOTES, _E.DOCUMENT),
    _field("approval.requester", _S, ("申请人", "who asked for it"), _WHO, _T, NOTES, _E.NAME),
    _field("approval.payload", _S, ("待签文件", "the document that was signed"), _WHO, _T, NOTES, _E.SIGNED),
    _field("approval_signature.person", _S, ("审批人", "who signed"), _WHO, _T, NOTES, _E.NAME),
    _field("shift_permit.people", _S, ("审批人", "who signed"), _WHO, _T, NOTES, _E.NAMES),
    _field("shift_permit.envelope", _S, ("已签文件", "the document that was signed"), _WHO, _T, NOTES, _E.SIGNED),
    _field("shift_permit.reason", _A, ("理由", "reason that was given"), _NOTE, _T, NOTES, _E.TEXT),
    _field("assignment.assignee_id", _S, ("技术员", "technician"), _WHO, _T, NOTES, _E.ROW),
    _field("change_freeze.created_by", _S, ("操作人", "who declared it"), _WHO, _T, NOTES, _E.NAME),
    _field("change_freeze.ended_by", _S, ("操作人", "who ended it"), _WHO, _T, NOTES, _E.NAME),
    _field("change_freeze.reason", _A, ("理由", "reason that was given"), _NOTE, _T, NOTES, _E.TEXT),
    _field("assignment.created_by", _S, ("操作人", "who assigned it"), _WHO, _T, NOTES, _E.NAME),
    _field("inspection.name", _A, ("巡检名称", "name of the inspection"), _NOTE, _T, DEVICE, _E.TEXT),
    _field("inspection.created_by", _S, ("操作人", "who made it"), _WHO, _T, DEVICE, _E.NAME),
    _field("inspection.devices", _A, ("巡检的设备", "which devices"), _NOTE, _T, DEVICE, _E.DOCUMENT),
    _field("event.actor", _S, ("操作人", "who did it"), _WHO, _T, TEXTS, _E.NAME),
    _field("event.data", _A, ("经过", "what happened, with who did it"), _WHO, _T, TEXTS, _E.DOCUMENT),
    _field("fault.evidence", _A, ("设备原文", "words of the device"), _DEVICE, _T, NOTES, _E.TEXT),
    _field("record.body", _A, ("设备原文", "words of the device"), _DEVICE, _N, RECORDS, _E.TEXT),
    _field("dead_letter.payload", _A, ("无法识别的报文", "message not understood"), _DEVICE, _O, LETTERS, _E.LETTER),
    _field("dead_letter.detail", _A, ("无法识别的原因", "why it was not understood"), _DEVICE, _O, LETTERS, _E.TEXT),
    _field("device_health.latest", _A, ("最新读数", "newest readings"), _DEVICE, _T, DEVICE, _E.TEXT),
    _field("value_interval.text", _A, ("最新读数", "newest readings"), _DEVICE, _T, DEVICE, _E.TEXT),
    _field("person.name", _S, ("登录名", "name to sign in with"), _SIGN_IN, _W, ACCOUNT, _E.ROW),
    _field("person.display_name", _S, ("显示名", "name that is shown"), _SIGN_IN, _W, ACCOUNT, _E.ROW),
    _field("person.password_hash", _S, ("密码的哈希", "hash of the password"), _SIGN_IN, _N, ACCOUNT, _E.ROW),
    _field("person.totp_sealed", _S, ("第二要素的密钥", "second factor"), _SIGN_IN, _N, ACCOUNT, _E.ROW),
    _field("person.totp_new_sealed", _S, ("第二要素的密钥", "second factor"), _SIGN_IN, _N, ACCOUNT, _E.ROW),
    _field("person.set_up_sha256", _S, ("设置码的哈希", "hash of a set-up code"), _SIGN_IN, _N, ACCOUNT, _E.ROW),
    _field("recovery_code.id_sha256", _S, ("恢复码的哈希", "hash of a recovery code"), _SIGN_IN, _N, ACCOUNT, _E.ROW),
    _field("known_browser.id_sha256", _S, ("已知浏览器的哈希", "hash of a browser's mark"), _SIGN_IN, _N, MARK, _E.ROW),
    _field("login_session.address", _S, ("登录地址", "address of the sign-in"), _SIGN_IN, _W, SESSION, _E.ROW),
    _field("login_session.user_agent", _S, ("浏览器", "browser of the sign-in"), _SIGN_IN, _W, SESSION, _E.ROW),
    _field("oidc_link.subject", _S, ("身份提供方标识", "id at the provider"), _SIGN_IN, _N, ACCOUNT, _E.ROW),
    _field("audit_aside.document", _A, ("地址与文字", "addresses, typed texts"), _WHO, Seen.AUDIT, AUDIT, _E.ASIDE),
    _field("erasure.words", _A, ("待删除的文字", "what is being erased"), _NOTE, _N, "until it is erased", _E.TEXT),
)  # fmt: skip

# Why a column of text is about nobody. A column that may hold what a person typed or is called does not belong here.
_ID, _HASH, _WORD = "an id made by chance", "a hash, a key's name or a signature", "one of the program's own words"
_MACHINE, _OWN = "what a machine says of itself, in a form without room for words", "what the installation is called"
_REFERENCE = "people stand in it by id; what is typed is kept beside it"
NOT_PERSONAL: Mapping[str, Mapping[str, str]] = {
    "api_token": {"id": _ID, "name": _OWN, "token_sha256": _HASH, "role": _WORD, "scopes": _WORD},
    "approval": {"execution_id": _ID, "device_id": _ID, "action": _WORD},
    "change_freeze": {"id": _ID},
    "assignment": {"id": _ID, "device_id": _ID, "site_id": _ID},
    "approval_signature": {"execution_id": _ID, "key_id": _HASH, "signature": _HASH},
    "audit_anchor": {"kind": _WORD, "envelope": _HASH},
    "audit_aside": {"salt": _HASH},
    "audit_entry": {
        "actor": _REFERENCE,
        "action": _WORD,
        "target": _REFERENCE,
        "data": _REFERENCE,
        "aside": _HASH,
        "prev_hash": _HASH,
        "row_hash": _HASH,
    },
    "audit_head": {"row_hash": _HASH},
    "capability": {"device_id": _ID, "digest": _HASH, "document": _MACHINE},
    "dead_letter": {"link_id": _ID, "topic_kind": _WORD, "stream": _MACHINE, "reason": _WORD, "content_type": _MACHINE},
    "device": {
        "id": _ID,
        "link_id": _ID,
        "kind": _WORD,
        "line": _MACHINE,
        "site_id": _ID,
        "serial_number": _MACHINE,
        "serial_tail": _MACHINE,
        "terminal_id": _MACHINE,
        "model": _MACHINE,
        "terminal_class": _WORD,
        "family": _WORD,
        "firmware": _MACHINE,
        "presence": _WORD,
        "presence_reason": _WORD,
        "session": _ID,
        "ended_session": _ID,
        "nonce": _ID,
        "boot": _ID,
        "agent_version": _MACHINE,
        "profile": _WORD,
        "capability_digest": _HASH,
        "condition": _WORD,
        "worst_code": _WORD,
    },
    "device_health": {"device_id": _ID},
    "enrolment": {
        "id": _ID,
        "kind": _WORD,
        "state": _WORD,
        "secret_sha256": _HASH,
        "device_id": _ID,
        "serial_number": _MACHINE,
        "model": _MACHINE,
        "terminal_class": _WORD,
        "site_id": _ID,
        "key_sha256": _HASH,
    },
    "erasure": {
        "id": _ID,
        "subject": _REFERENCE,
        "label": _WORD,
        "asked_by": _REFERENCE,
        "place": _ID,
        "counts": _WORD,
    },
    "event": {"device_id": _ID, "type": _WORD, "execution_id": _ID},
    "execution": {
        "id": _ID,
        "device_id": _ID,
        "link_id": _ID,
        "action": _WORD,
        "kind": _WORD,
        "declared": _MACHINE,
        "permit_id": _ID,
        "state": _WORD,
        "outcome": _WORD,
        "code": _WORD,
        "step": _MACHINE,
        "supersedes": _ID,
        "holds": _WORD,
        "overridden": _WORD,
        "result": _WORD,
        "cancel_answer": _WORD,
    },
    "fault": {"id": _ID, "device_id": _ID, "code": _WORD, "severity": _WORD},
    "fleet_key": {"kind": _WORD, "key": _OWN, "row_id": _ID},
    "health_5min": {"device_id": _ID, "packed": _MACHINE},
    "health_block": {"link_id": _ID, "stream": _MACHINE, "device_id": _ID, "columns": _MACHINE},
    "health_day": {"device_id": _ID, "packed": _MACHINE},
    "health_hour": {"device_id": _ID, "packed": _MACHINE},
    "heard_hour": {"device_id": _ID},
    "idempotency_key": {"caller": _ID, "key": _ID, "request_sha256": _HASH, "execution_id": _ID},
    "inspection": {"id": _ID, "checks": _WORD, "days": _WORD, "at_local": _WORD, "state": _WORD},
    "inspection_round": {
        "inspection_id": _ID,
        "local_date": _WORD,
        "timezone": _WORD,
        "planned_after": _ID,
        "reason": _WORD,
    },
    "inspection_turn": {
        "inspection_id": _ID,
        "local_date": _WORD,
        "device_id": _ID,
        "timezone": _WORD,
        "state": _WORD,
        "outcome": _WORD,
        "reason": _WORD,
        "results": _WORD,
    },
    "issued_certificate": {"serial": _ID, "link_id": _ID},
    "known_browser": {"user_id": _ID},
    "link_stream": {"link_id": _ID, "stream": _MACHINE, "kind": _WORD, "beyond": _MACHINE},
    "login_session": {"id_sha256": _HASH, "user_id": _ID, "csrf": _ID, "stage": _WORD, "visits": _OWN},
    "oidc_link": {"issuer": _OWN, "user_id": _ID},
    "oidc_question": {"id_sha256": _HASH, "state": _ID, "nonce": _ID, "verifier": _ID, "wanted": _WORD},
    "person": {"id": _ID, "role": _WORD, "language": _WORD, "theme": _WORD},
    "playbook_run": {
        "id": _ID,
        "device_id": _ID,
        "playbook": _OWN,
        "definition": _OWN,
        "starter_id": _ID,
        "starter_kind": _WORD,
        "end_name": _OWN,
        "end_kind": _WORD,
        "why": _WORD,
        "code": _WORD,
    },
    "playbook_step": {"run_id": _ID, "device_id": _ID, "step": _OWN, "action": _WORD, "execution_id": _ID},
    "record": {"link_id": _ID, "stream": _MACHINE, "device_id": _ID, "kind": _WORD, "boot": _ID},
    "recovery_code": {"user_id": _ID},
    "retirement": {"device_id": _ID, "link_id": _ID, "reason": _WORD},
    "server_state": {"name": _WORD, "value": _MACHINE},
    "shift_permit": {"id": _ID, "actions": _WORD, "devices": _ID},
    "site": {
        "id": _ID,
        "merchant_id": _MACHINE,
        "city_zh": _OWN,
        "city_en": _OWN,
        "timezone": _WORD,
        "trading_hours": _MACHINE,
    },
    "tenant": {"id": _OWN, "name": _OWN},
    "value_interval": {"device_id": _ID, "metric": _WORD},
}


@cache
def fields_of(table: str) -> tuple[PersonalField, ...]:
    return tuple(one for one in FIELDS if one.table == table)


@cache
def tables() -> tuple[str, ...]:
    """In the order of the register."""
    return tuple(dict.fromkeys(one.table for one in FIELDS))
