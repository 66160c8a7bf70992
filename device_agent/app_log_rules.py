"""Which lines of a payment application's log show which code, as data for each class of terminal. Sans-IO.

A rule is a pattern of the line's text. One kind takes field 39 of a host's answer, whose meaning belongs to the
acquirer's profile; what concerns the cardholder alone (no money, wrong PIN) or nobody is no sign of the terminal. Every
text that leaves here is scrubbed of card data and bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from protocol.catalogue import codes
from protocol.catalogue.vocabulary import Family, Owner, TerminalClass
from protocol.identifiers import CodeId
from protocol.redaction import scrub

MAX_EVIDENCE_CHARS = 200
# Field 39 of a payment that went through.
APPROVED = "00"
_ENDED_BY_APPROVAL = frozenset(
    {
        "term.HOST_TIMEOUT",
        "term.HOST_REFUSED",
        "term.TLS_HANDSHAKE",
        "term.NET_DNS",
        "term.NET_NO_PDP",
        "term.NET_NO_SIM",
        "term.SIGN_IN_NEEDED",
        "term.PED_NO_TPK",
    }
)
_NOT_THE_TERMINALS = frozenset({Owner.CARDHOLDER, Owner.NONE})


@dataclass(frozen=True, slots=True)
class LogRule:
    """``code`` None: the pattern's first group is field 39."""

    pattern: re.Pattern[str]
    code: str | None = None


@dataclass(frozen=True, slots=True)
class LogSign:
    """``is_over``: the line shows that the code is over. A sign that happened may be over by time alone, too."""

    code: CodeId
    evidence: str
    is_over: bool = False


def _rules(*pairs: tuple[str, str]) -> tuple[LogRule, ...]:
    return tuple(LogRule(re.compile(pattern), code) for pattern, code in pairs)


# As vendors' applications write them; each pattern is a plain alternation, linear in the line.
_ENGLISH = (
    LogRule(re.compile(r"\b(?:field39|F39|respCode|rc)=([0-9A-Z]{2})\b")),
    *_rules(
        (r"response timeout|SocketTimeoutException", "term.HOST_TIMEOUT"),
        (r"ECONNREFUSED|[Cc]onnection refused", "term.HOST_REFUSED"),
        (r"SSL handshake failed|SSLHandshakeException|certificate verify failed", "term.TLS_HANDSHAKE"),
        (r"EAI_NONAME|UnknownHostException|resolve failed", "term.NET_DNS"),
        (r"pdp activate failed", "term.NET_NO_PDP"),
        (r"sim not detected", "term.NET_NO_SIM"),
        (r"ENOSPC|No space left on device", "term.STORAGE_FULL"),
        (r"\bEIO\b|I/O error", "term.STORAGE_IO"),
        (r"FATAL EXCEPTION|Fatal signal 11", "term.APP_CRASH"),
        (r"disk image is malformed|SQLiteDatabaseCorruptException", "term.APP_DATA_CORRUPT"),
        (r"printer status 0xF0|no paper", "term.PRN_NO_PAPER"),
        (r"offline data authentication failed", "term.EMV_ODA_FAIL"),
        (r"sign in required", "term.SIGN_IN_NEEDED"),
        (r"working key missing", "term.PED_NO_TPK"),
        (r"no ATR", "term.ICC_NO_ATR"),
    ),
)
_CHINESE = (
    LogRule(re.compile(r"应答码[=:：]\s*([0-9A-Z]{2})(?![0-9A-Z])")),
    *_rules(
        (r"主机应答超时", "term.HOST_TIMEOUT"),
        (r"主机拒绝连接", "term.HOST_REFUSED"),
        (r"安全连接建立失败", "term.TLS_HANDSHAKE"),
        (r"域名解析失败", "term.NET_DNS"),
        (r"拨号失败", "term.NET_NO_PDP"),
        (r"未检测到SIM卡", "term.NET_NO_SIM"),
        (r"存储空间不足", "term.STORAGE_FULL"),
        (r"存储读写错误", "term.STORAGE_IO"),
        (r"应用异常退出", "term.APP_CRASH"),
        (r"应用数据损坏", "term.APP_DATA_CORRUPT"),
        (r"打印机缺纸", "term.PRN_NO_PAPER"),
        (r"脱机数据认证失败", "term.EMV_ODA_FAIL"),
        (r"请签到", "term.SIGN_IN_NEEDED"),
        (r"工作密钥缺失", "term.PED_NO_TPK"),
        (r"IC卡无复位应答", "term.ICC_NO_ATR"),
    ),
)
RULES: dict[TerminalClass, tuple[LogRule, ...]] = {
    TerminalClass.E_SIGN: _ENGLISH,
    TerminalClass.SMART: _ENGLISH,
    TerminalClass.KIOSK: _ENGLISH,
    TerminalClass.TRADITIONAL: _CHINESE,
}


def is_ended_by_approval(code: str) -> bool:
    """An approved payment proves that the way to the acquirer, the keys and the merchant's account are in order."""
    return code.startswith("unionpay39.") or code in _ENDED_BY_APPROVAL


def is_approval(line: str, rules: tuple[LogRule, ...]) -> bool:
    answers = (rule.pattern.search(line) for rule in rules if rule.code is None)
    return any(match is not None and match[1] == APPROVED for match in answers)


def sign_in(line: str, rules: tuple[LogRule, ...], *, acquirer_profile: str | None = None) -> LogSign | None:
    """The first rule that the line meets decides."""
    for rule in rules:
        match = rule.pattern.search(line)
        if match is None:
            continue
        code = rule.code or _code_of_answer(match[1], acquirer_profile)
        return None if code is None else LogSign(CodeId(code), scrub(line).text[:MAX_EVIDENCE_CHARS])
    return None


@cache
def _code_of_answer(response_code: str, acquirer_profile: str | None) -> str | None:
    """None for an approval, for what is the cardholder's, and for two digits that no list has."""
    meaning = codes.lookup(Family.UNIONPAY39, response_code, acquirer_profile=acquirer_profile)
    return None if meaning is None or meaning.owner in _NOT_THE_TERMINALS else str(meaning.id)
