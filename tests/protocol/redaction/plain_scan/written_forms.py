"""Finds card numbers in text as people and programs write them: plain, grouped, broken over two lines.

The text is already folded to ASCII digits and separators. A number starts and ends on the border of a digit group and
is not next to another digit; a letter or underscore beside it does not matter (`card=6200…`, `T2_6200…`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.redaction.card_numbers import MAX_DIGITS, MIN_DIGITS, has_issuer, is_card_number, passes_luhn
from protocol.redaction.findings import Finding, HitKind

if TYPE_CHECKING:
    from collections.abc import Iterator

# At least twelve digits with at most one separator between two of them.
_CLUSTER = re.compile(r"[0-9](?:[ \-._/]?[0-9]){11,}")
_GROUP = re.compile(r"[0-9]+")
_LINE_BREAK = re.compile(r"(?<=[0-9])[ \t\\+]{0,4}\r?\n[ \t+>]{0,16}(?=[0-9])")
_STARTS_WITH_DATE = re.compile(r"20[0-3][0-9][-/.]?(?:0[1-9]|1[0-2])[-/.]?(?:0[1-9]|[12][0-9]|3[01])")
# Where a field is known to hold a card number, an issuer's prefix is enough: some old domestic cards fail Luhn.
_CARD_FIELD = re.compile(r"(?:card|pan|acct|account|卡号|账号|帐号)[a-z_]{0,6}[\"' :=：#]{0,4}\Z", re.IGNORECASE)
# Retrieval references (field 37) have twelve digits and begin with the year's last digit and the day, often 5 or 6,
# like the few Maestro numbers of that length. The last part of a UUID has twelve digits too.
_REFERENCE_FIELD = re.compile(
    r"(?:rrn|ref|reference|refno|ref_no|retrieval|参考号|检索号)[\"' :=：#]{0,4}\Z|[0-9a-f]{4}-[0-9a-f]{4}-\Z",
    re.IGNORECASE,
)
_LUHN_EXEMPT_LENGTHS = frozenset({16, 19})
_CONTEXT_CHARS = 24
_LINE_WINDOW_CHARS = 48

# Sizes of groups in which numbers are printed, beside groups of one equal size.
_SHAPES = frozenset({(4, 6, 5), (4, 6, 4), (6, 13), (6, 10), (8, 11), (4, 4, 4, 5), (4, 4, 4, 6), (4, 4, 4, 7)})
_SHAPE_BEGINNINGS = frozenset(shape[:length] for shape in _SHAPES for length in range(1, len(shape) + 1))
_EQUAL_SIZES = frozenset({3, 4, 5, 6, 8})
_COLUMN_DIGITS = 2
_NEVER_FIRST = frozenset("017")  # no scheme issues numbers that begin so


@dataclass(frozen=True, slots=True)
class _Group:
    start: int
    end: int
    digits: str


def find_card_numbers(text: str) -> list[Finding]:
    found = [finding for cluster in _CLUSTER.finditer(text) for finding in _in_cluster(text, cluster)]
    found.extend(_over_lines(text))
    return found


def _in_cluster(text: str, cluster: re.Match[str]) -> Iterator[Finding]:
    groups = [_Group(*found.span(), found[0]) for found in _GROUP.finditer(text, *cluster.span())]
    for index, group in enumerate(groups):
        if len(group.digits) >= MIN_DIGITS:
            if _is_masked_alone(text, group):
                yield _pan(group.start, group.end, group.digits)
        else:
            yield from _windows_from(groups, index)


def _is_masked_alone(text: str, group: _Group) -> bool:
    if not has_issuer(group.digits):
        return False
    before = text[max(0, group.start - _CONTEXT_CHARS) : group.start]
    if passes_luhn(group.digits):
        return len(group.digits) > MIN_DIGITS or _REFERENCE_FIELD.search(before) is None
    return len(group.digits) in _LUHN_EXEMPT_LENGTHS and _CARD_FIELD.search(before) is not None


def _windows_from(groups: list[_Group], first: int) -> Iterator[Finding]:
    """Numbers made of groups from `first` on, as long as the groups still look like those of a card."""
    if groups[first].digits[0] in _NEVER_FIRST:
        return
    size = len(groups[first].digits)
    sizes: tuple[int, ...] = ()
    digits = ""
    is_equal = True
    for group in groups[first : first + MAX_DIGITS]:
        is_open = is_equal and sizes.count(size) == len(sizes)  # a shorter group can only be the last
        digits += group.digits
        sizes += (len(group.digits),)
        is_equal = is_open and sizes[-1] <= size
        if len(digits) > MAX_DIGITS or not (is_equal or sizes in _SHAPE_BEGINNINGS):
            return
        is_shape = sizes in _SHAPES or (is_equal and _is_even_print(groups, first, len(sizes)))
        if is_shape and is_card_number(digits):
            yield _pan(groups[first].start, group.end, digits)


def _is_even_print(groups: list[_Group], first: int, count: int) -> bool:
    """Columns of one or two digits are common; only a run of them that is a number as a whole counts."""
    size = len(groups[first].digits)
    return size in _EQUAL_SIZES or (size <= _COLUMN_DIGITS and _is_whole_run(groups, first, count))


def _is_whole_run(groups: list[_Group], first: int, count: int) -> bool:
    size = len(groups[first].digits)
    after = first + count
    is_first = first == 0 or len(groups[first - 1].digits) > size
    return is_first and (after == len(groups) or len(groups[after].digits) > size)


def _over_lines(text: str) -> Iterator[Finding]:
    """A number broken by one line end, unless the next line plainly starts with a date."""
    for gap in _LINE_BREAK.finditer(text):
        if _STARTS_WITH_DATE.match(text, gap.end()) is not None:
            continue
        start = max(0, gap.start() - _LINE_WINDOW_CHARS)
        head, tail = text[start : gap.start()], text[gap.end() : gap.end() + _LINE_WINDOW_CHARS]
        for joined in (head + tail, f"{head} {tail}"):
            shift = gap.end() - len(joined) + len(tail)
            for cluster in _CLUSTER.finditer(joined):
                for found in _in_cluster(joined, cluster):
                    if found.start < len(head) < found.end:
                        yield _pan(start + found.start, shift + found.end, found.last_four)


def _pan(start: int, end: int, digits: str) -> Finding:
    return Finding(start, end, HitKind.PAN, digits[-4:])
