"""Error codes with their meaning, advice and owner in Chinese and English.

A code id is `prefix.code`; each prefix is one JSON file, loaded when the first code of it is asked for, so an agent
with a printer never loads the acquirer's table. Meaning belongs to the family *and* the acquirer profile: `lookup`
knows the profiles that re-use two digits for something else.

Invariant: `hides` has no cycles, so among present faults at least one is a cause that nothing hides.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NewType

import msgspec

from protocol.catalogue.resources import read_data
from protocol.catalogue.vocabulary import Family, Owner, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CodeId = NewType("CodeId", str)

PREFIXES: Mapping[Family, str] = {
    Family.UNIONPAY39: "unionpay39",
    Family.TERMINAL: "term",
    Family.ZVT: "zvt",
    Family.ESCPOS: "escpos",
    Family.CME: "cme",
    Family.PAX_PRINTER: "paxprn",
    Family.TRANSBANK: "transbank",
    Family.ECR17: "ecr17",
    Family.AGENT: "agent",
}
_KNOWN_PREFIXES = frozenset(PREFIXES.values())

# ZVT gives the host's own two digits in 0x01..0x63; the table has one entry for all of them.
_ZVT_HOST_CODES = range(0x01, 0x64)
_ZVT_HOST_ENTRY = "01-63"


class ErrorCode(msgspec.Struct, frozen=True, kw_only=True):
    id: CodeId
    family: Family
    code: str
    title_zh: str
    title_en: str
    owner: Owner
    severity: Severity
    fix_zh: str  # advice for the one who supports the terminal
    fix_en: str
    say_zh: str  # a sentence that can be read out to the merchant
    say_en: str
    is_device_fault_likely: bool = False
    is_retryable: bool | None = None  # None: the source does not say
    causes: tuple[str, ...] = ()  # ids of the fault model
    checks: tuple[str, ...] = ()
    part: str | None = None  # what a technician should bring, in English
    part_zh: str | None = None
    hides: tuple[CodeId, ...] = ()  # codes that are consequences of this one
    visible_after_s: int = 0  # how long it must last before it is a fault


def get(code_id: str) -> ErrorCode | None:
    prefix = code_id.partition(".")[0]
    return _load(prefix).get(code_id) if prefix in _KNOWN_PREFIXES else None


def all() -> tuple[ErrorCode, ...]:  # noqa: A001 - reads as codes.all() at the call
    return tuple(code for prefix in PREFIXES.values() for code in _load(prefix).values())


def lookup(family: Family, code: str, *, acquirer_profile: str | None = None) -> ErrorCode | None:
    """The meaning of `code` (the part of an id after its prefix) as this acquirer uses it.

    Where the meaning is another entry's, `code` of the answer is still the one asked for.
    """
    prefix = PREFIXES[family]
    same_as = _profiles().get(acquirer_profile or "", {}).get(f"{prefix}.{code}")
    if same_as is not None:
        meaning = get(same_as)
        return None if meaning is None else msgspec.structs.replace(meaning, code=code)
    return get(f"{prefix}.{code}") or (_zvt_host_code(code) if family is Family.ZVT else None)


def acquirer_profiles() -> frozenset[str]:
    return frozenset(_profiles())


def consequences(present: Iterable[str]) -> dict[CodeId, CodeId]:
    """Which of the present codes are explained by another present one: consequence -> its nearest cause."""
    ids = {CodeId(code_id) for code_id in present}
    explained: dict[CodeId, CodeId] = {}
    for cause in sorted(ids):
        for hidden in _reach(cause):
            if hidden in ids and hidden != cause:
                explained.setdefault(hidden, cause)
    return explained


def _reach(cause: CodeId) -> list[CodeId]:
    """Everything that follows from `cause`, nearest first; ids in between need not be present."""
    reached: dict[CodeId, None] = {cause: None}
    frontier = [cause]
    while frontier:
        code = get(frontier.pop(0))
        fresh = [hidden for hidden in (code.hides if code else ()) if hidden not in reached]
        reached.update(dict.fromkeys(fresh))
        frontier.extend(fresh)
    return list(reached)


def _zvt_host_code(code: str) -> ErrorCode | None:
    try:
        is_host_code = int(code, 16) in _ZVT_HOST_CODES
    except ValueError:
        return None
    meaning = get(f"zvt.{_ZVT_HOST_ENTRY}") if is_host_code else None
    return None if meaning is None else msgspec.structs.replace(meaning, code=code)


@cache
def _load(prefix: str) -> Mapping[str, ErrorCode]:
    raw = read_data(f"codes_{prefix}")
    rows = msgspec.json.decode(raw, type=list[ErrorCode]) if raw is not None else []
    return {row.id: row for row in rows}


@cache
def _profiles() -> Mapping[str, Mapping[str, str]]:
    raw = read_data("acquirer_profiles")
    return msgspec.json.decode(raw, type=dict[str, dict[str, str]]) if raw is not None else {}
