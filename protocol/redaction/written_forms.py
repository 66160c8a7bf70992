"""Finds card numbers in text as people and programs write them: plain, grouped, broken over two lines.

The text is already folded to ASCII digits and separators. A number starts and ends on the border of a digit group and
is not next to another digit; a letter or underscore beside it does not matter (`card=6200…`, `T2_6200…`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from protocol.redaction.card_numbers import (
    MAX_DIGITS,
    MIN_DIGITS,
    PREFIX_DIGITS,
    has_issuer,
    issuer_lengths,
    passes_luhn,
)
from protocol.redaction.digit_windows import Window, any_windows, written_windows
from protocol.redaction.findings import Finding, HitKind
from protocol.redaction.sieve import IN, Places, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CLUSTER_END = re.compile(rb"x|\.\.")
_GROUP_BREAKS = bytes.maketrans(b"-._/", b"    ")
# The shapes below as the shortest string of classes that each must hold.
_LARGE_GROUPS = b"0000.0000"  # then at least one of the next
_LARGE_SHAPES = (b"0000.0000.0000", b"00000.00000.00", b"000000.000000", b"00000000.0000", b"0000.000000.0000")
_SMALL_SHAPES = (b"000.000.000.000", b"00.00.00.00.00.00", b"0.0.0.0.0.0.0.0.0.0.0.0")
_NEXT_GROUP, _GROUP_BEFORE = b".0", b"0."
_SMALL, _DENSE = 2000, 6
_BEFORE_LARGE, _AFTER_LARGE = 4, 16  # characters of a shape around the first four of its groups
_NEXT_LINE = re.compile(rb"\n(?<=[0-9 \t\\+\r]\n)[ \t+>]{0,16}(?=[0-9])")
_BEFORE_LINE_END = re.compile(r"(?<=[0-9])[ \t\\+]{0,4}\r?\Z")
_STARTS_WITH_DATE = re.compile(r"20[0-3][0-9][-/.]?(?:0[1-9]|1[0-2])[-/.]?(?:0[1-9]|[12][0-9]|3[01])")
# Where a field is known to hold a card number, an issuer's prefix is enough: some old domestic cards fail Luhn.
_CARD_FIELD = re.compile(r"(?:card|pan|acct|account|卡号|账号|帐号)[a-z_]{0,6}[\"' :=：#]{0,4}\Z", re.IGNORECASE)
# Such a field's name with a digit behind it, as far as ASCII tells; "?" is what is not.
_NAMED_CARD = [
    (name, re.compile(name + rb"[a-z_?]{0,6}[\"' :=?#]{0,4}[0-9]")) for name in (b"card", b"pan", b"acct", b"account")
]
_CARD_WORDS = ("卡号", "账号", "帐号")
_CARD_WORD = re.compile(r"card|pan(?! […~])|acct|account|卡号|账号|帐号", re.IGNORECASE)
# Retrieval references (field 37) have twelve digits and begin with the year's last digit and the day, often 5 or 6,
# like the few Maestro numbers of that length. The last part of a UUID has twelve digits too.
_REFERENCE_FIELD = re.compile(
    r"(?:rrn|ref|reference|refno|ref_no|retrieval|参考号|检索号)[\"' :=：#]{0,4}\Z|[0-9a-f]{4}-[0-9a-f]{4}-\Z",
    re.IGNORECASE,
)
_LUHN_EXEMPT_LENGTHS = frozenset({16, 19})
_CONTEXT_CHARS = 24
_LINE_WINDOW_CHARS = 48
_GAP_CHARS = 5  # at most, before a line's end

# Sizes of groups in which numbers are printed, beside groups of one equal size.
_SHAPES = ((4, 6, 5), (4, 6, 4), (6, 13), (6, 10), (8, 11), (4, 4, 4, 5), (4, 4, 4, 6), (4, 4, 4, 7))
_SHAPE_OF = {(shape[0], sum(shape)): shape for shape in _SHAPES}
_EQUAL_SIZES = frozenset({3, 4, 5, 6, 8})
_COLUMN_SIZES = frozenset({1, 2})
# Sizes of the first two groups of any of these: equal, a shape's, or eight and what is missing.
_FIRST_PAIRS = frozenset(
    {
        *((size, size) for size in _EQUAL_SIZES | _COLUMN_SIZES),
        *((shape[0], shape[1]) for shape in _SHAPES),
        *((8, rest) for rest in range(4, 8)),
    }
)
_NEVER_FIRST = frozenset("017")  # no scheme issues numbers that begin so


def find_card_numbers(reading: Reading) -> list[Finding]:
    if is_dense(reading):
        return list(_among_windows(reading))
    found = [_pan(start, end, reading.text[start:end]) for start, end in _alone(reading)]
    if _may_hold_groups(reading.digits):
        for start, end in _clusters(reading.digits):
            found.extend(_in_cluster(reading.octets, start, end))
    if b"\n" in reading.octets:
        found.extend(_over_lines(reading))
    return found


def is_dense(reading: Reading) -> bool:
    """Whether arithmetic over all digits costs less than a look at each group and each line's end."""
    classes = reading.digits
    size = len(classes)
    if size <= _SMALL or classes.count(IN) * _DENSE <= size:
        return False
    return _may_hold_groups(classes) or reading.octets.count(b"\n") * _SMALL > size


def _among_windows(reading: Reading) -> Iterator[Finding]:
    """The same in a text full of digits: what is looked at is what Luhn leaves, not every group and line."""
    text, octets, classes = reading.text, reading.octets, reading.digits
    gaps: dict[int, None] = {}
    for window in written_windows(octets, _LUHN_EXEMPT_LENGTHS if _may_have_card_field(reading) else frozenset()):
        start, end, length = window
        if end - start == length:
            if _is_masked_alone(text[start:end], text, start):
                yield _pan(start, end, text[start:end])
        elif classes.find(b"x", start, end) < 0:
            yield from _in_window(reading, window)
        elif (line_end := octets.rfind(b"\n", start, end)) >= 0:
            gaps[line_end] = None
    for line_end in gaps:
        match = _NEXT_LINE.match(octets, line_end)
        gap = _gap(reading, *match.span()) if match is not None else None
        if gap is not None:
            yield from _over_gap(reading, *gap)


def _may_have_card_field(reading: Reading) -> bool:
    text = reading.text
    if not text.isascii() and any(word in text for word in _CARD_WORDS):
        return True
    lower = reading.octets.lower()
    return any(name[0] in lower and name[1].search(lower) is not None for name in _NAMED_CARD)


def _in_window(reading: Reading, window: Window) -> Iterator[Finding]:
    start, end, length = window
    classes = reading.digits
    if classes.find(b"..", start, end) >= 0:
        return
    groups = reading.octets[start:end].translate(_GROUP_BREAKS).split()
    size = len(groups[0])
    sizes = (*map(len, groups), *_next_size(classes, end, size))
    if not _begin_with_shape(sizes, length) or (size in _COLUMN_SIZES and _follows_group(classes, start, size)):
        return
    digits = b"".join(groups).decode()
    if passes_luhn(digits):
        yield _pan(start, end, digits)


@lru_cache(maxsize=1 << 12)
def _begin_with_shape(sizes: tuple[int, ...], length: int) -> bool:
    return (sizes[0], sizes[1]) in _FIRST_PAIRS and _after_groups(sizes, 0, length) > 0


def _next_size(classes: bytes, end: int, size: int) -> list[int]:
    """Of the group after a window, as far as it matters: whether it is larger than the first."""
    if classes[end : end + 2] != _NEXT_GROUP:
        return []
    return [size + 1 if classes.startswith(IN * (size + 1), end + 1) else size]


def _follows_group(classes: bytes, start: int, size: int) -> bool:
    """Whether a group no larger than the first stands before it."""
    return classes[max(0, start - 2) : start] == _GROUP_BEFORE and not classes.endswith(IN * (size + 1), 0, start - 1)


def _alone(reading: Reading) -> Iterator[tuple[int, int]]:
    for start, end in reading.numbers:
        if end - start <= MAX_DIGITS and _is_masked_alone(reading.text[start:end], reading.text, start):
            yield start, end


def _is_masked_alone(digits: str, text: str, start: int, earliest: int = 0) -> bool:
    """Digits that begin at `start` and stand alone there; what is before `earliest` is none of their context."""
    if not has_issuer(digits):
        return False
    if passes_luhn(digits):
        return len(digits) > MIN_DIGITS or _REFERENCE_FIELD.search(_before(text, start, earliest)) is None
    return len(digits) in _LUHN_EXEMPT_LENGTHS and _CARD_FIELD.search(_before(text, start, earliest)) is not None


def _before(text: str, start: int, earliest: int) -> str:
    return text[max(earliest, start - _CONTEXT_CHARS) : start]


def _clusters(classes: bytes) -> Iterator[tuple[int, int]]:
    """Each stretch of groups, one separator between two, in which a number of a known shape may stand."""
    places = Places(classes, (_LARGE_GROUPS, *_SMALL_SHAPES))
    position = 0
    searched = 0
    while (place := places.first_from(searched)) >= 0:
        searched = place + 1
        if classes.startswith(_LARGE_GROUPS, place):
            around = classes[max(0, place - _BEFORE_LARGE) : place + _AFTER_LARGE]
            if not any(shape in around for shape in _LARGE_SHAPES):
                continue
        # Between two separators is early enough: `_cluster` leaves out what stands before the first digit.
        start = max(classes.rfind(b"x", position, place), classes.rfind(b"..", position, place), position - 1) + 1
        stop = _CLUSTER_END.search(classes, place)
        end = stop.start() if stop is not None else len(classes)
        yield start, end
        position = searched = end + 1


def _in_cluster(octets: bytes, start: int, end: int) -> Iterator[Finding]:
    """Numbers made of several groups, as long as the groups look like those of a card."""
    piece = octets[start:end].translate(_GROUP_BREAKS)
    groups = piece.split()
    start += len(piece) - len(piece.lstrip())
    digits = b"".join(groups).decode()
    for first, after, begin, stop in _grouped(digits, [len(group) for group in groups]):
        yield _pan(start + begin + first, start + stop + after - 1, digits[begin:stop])


def _grouped(digits: str, sizes: list[int], across: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Of each number the first group and the one after it, and where in the digits it begins and ends.

    `across`: only such as go on behind that many digits.
    """
    begin = 0
    for first, pair in enumerate(pairwise(sizes)):
        size = pair[0]
        start, begin = begin, begin + size
        if pair not in _FIRST_PAIRS or digits[start] in _NEVER_FIRST:
            continue
        if across is not None and not start < across < start + MAX_DIGITS:
            continue
        # Columns of one or two digits are common; only a run of them that is a number as a whole counts.
        if size in _COLUMN_SIZES and first > 0 and sizes[first - 1] <= size:
            continue
        for length in issuer_lengths(digits[start : start + PREFIX_DIGITS]):
            if across is not None and not start < across < start + length:
                continue
            after = _after_groups(sizes, first, length)
            if after and passes_luhn(digits[start : start + length]):
                yield first, after, start, start + length


def _after_groups(sizes: Sequence[int], first: int, length: int) -> int:
    """The group after a number of `length` digits whose groups have a known shape; 0 when they have none."""
    size = sizes[first]
    full = (length - 1) // size
    after = first + full + 1
    if (
        after <= len(sizes)
        and sizes[after - 1] == length - full * size
        and sizes[first : after - 1].count(size) == full
    ):
        is_whole = size in _EQUAL_SIZES or after == len(sizes) or sizes[after] > size
        return after if is_whole else 0
    shape = _SHAPE_OF.get((size, length))
    if shape is not None and tuple(sizes[first : first + len(shape)]) == shape:
        return first + len(shape)
    return 0


def may_be_number_across(reading: Reading, at: int) -> bool:
    """Whether a number may go on behind the line break before `at`, also when a part of the digits is masked first."""
    match = _NEXT_LINE.match(reading.octets, at - 1)
    gap = _gap(reading, *match.span()) if match is not None else None
    if gap is None:
        return False
    left, right = _groups_around(reading, *gap)
    before, after = b"".join(left).decode()[1 - MAX_DIGITS :], b"".join(right).decode()[: MAX_DIGITS - 1]
    digits = before + after
    across = len(before)
    if _has_number(digits, across, frozenset()):
        return True
    return _CARD_WORD.search(reading.text, 0, at) is not None and _has_number(digits, across, _LUHN_EXEMPT_LENGTHS)


def _has_number(digits: str, across: int, exempt: frozenset[int]) -> bool:
    return any(
        start < across < start + length and length in issuer_lengths(digits[start : start + PREFIX_DIGITS])
        for start, length in any_windows(digits, exempt)
    )


def _over_lines(reading: Reading) -> Iterator[Finding]:
    """A number broken by one line end, unless the next line plainly starts with a date."""
    for gap in _line_gaps(reading):
        yield from _over_gap(reading, *gap)


def _over_gap(reading: Reading, gap_start: int, gap_end: int) -> Iterator[Finding]:
    """The digits before and after, once as if they met in one group and once as in two."""
    left, right = _groups_around(reading, gap_start, gap_end)
    # Two groups that meet are seen below, but for those of a reference, which counts as one only where it is whole.
    if len(left) > 1 or len(right) > 1 or len(left[0]) + len(right[0]) == MIN_DIGITS:
        start = gap_start - sum(map(len, left)) - len(left) + 1
        for begin, stop, digits in _groups_over_gap(left, right):
            yield _pan(start + begin, gap_end + stop, digits)
    digits = (left[-1] + right[0]).decode()
    alone = gap_start - len(left[-1])
    earliest = max(0, gap_start - _LINE_WINDOW_CHARS)
    if MIN_DIGITS <= len(digits) <= MAX_DIGITS and _is_masked_alone(digits, reading.text, alone, earliest):
        yield _pan(alone, gap_end + len(right[0]), digits)


def _groups_around(reading: Reading, gap_start: int, gap_end: int) -> tuple[list[bytes], list[bytes]]:
    """The groups of digits, one separator between two, that end at the gap and those that begin there."""
    classes, octets = reading.digits, reading.octets
    earliest = max(0, gap_start - _LINE_WINDOW_CHARS)
    start = max(classes.rfind(b"x", earliest, gap_start), classes.rfind(b"..", earliest, gap_start), earliest - 1) + 1
    stop = _CLUSTER_END.search(classes, gap_end, gap_end + _LINE_WINDOW_CHARS)
    end = stop.start() if stop else gap_end + _LINE_WINDOW_CHARS
    left = octets[start:gap_start].translate(_GROUP_BREAKS).split()
    return left, octets[gap_end:end].translate(_GROUP_BREAKS).split()


def _groups_over_gap(left: list[bytes], right: list[bytes]) -> Iterator[tuple[int, int, str]]:
    """Of each number where it begins after the first group's begin, where it ends after the gap, and its digits."""
    digits = b"".join([*left, *right]).decode()
    across = sum(map(len, left))
    sizes = [len(group) for group in (*left, *right)]
    met = [*sizes[: len(left) - 1], sizes[len(left) - 1] + sizes[len(left)], *sizes[len(left) + 1 :]]
    for groups, first_right in ((met, len(left) - 1), (sizes, len(left))):
        for first, after, begin, stop in _grouped(digits, groups, across):
            yield begin + first, stop - across + after - first_right - 1, digits[begin:stop]


def _may_hold_groups(classes: bytes) -> bool:
    three, two, one = _SMALL_SHAPES
    return _LARGE_GROUPS in classes or three in classes or two in classes or one in classes


def _line_gaps(reading: Reading) -> Iterator[tuple[int, int]]:
    """Start and end of what stands between digits of two lines that together may be enough for a number."""
    for match in _NEXT_LINE.finditer(reading.octets):
        gap = _gap(reading, *match.span())
        if gap is not None:
            yield gap


def _gap(reading: Reading, line_end: int, gap_end: int) -> tuple[int, int] | None:
    classes = reading.digits
    earliest = max(0, line_end - _LINE_WINDOW_CHARS - _GAP_CHARS)
    left = classes.rfind(b"x", earliest, max(0, line_end - _GAP_CHARS))
    right = classes.find(b"x", gap_end, gap_end + _LINE_WINDOW_CHARS)
    before = classes.count(IN, max(left, earliest), line_end)
    after = classes.count(IN, gap_end, right if right >= 0 else gap_end + _LINE_WINDOW_CHARS)
    if before + after < MIN_DIGITS or _STARTS_WITH_DATE.match(reading.text, gap_end) is not None:
        return None
    gap = _BEFORE_LINE_END.search(reading.text, max(0, line_end - _GAP_CHARS), line_end)
    return (gap.start(), gap_end) if gap is not None else None


def _pan(start: int, end: int, digits: str) -> Finding:
    return Finding(start, end, HitKind.PAN, digits[-4:])
