"""Which line breaks no rule looks across. Between two of them lines can be scanned and passed on by themselves.

What looks across a break: a number or a dump of bytes that goes on in the next line, and a name at a line's end whose
value stands in the next. Lines that hang together so form a group; what is found in a text is what is found in its
groups. The text is already folded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING

from protocol.redaction.hex_dumps import dump_spans
from protocol.redaction.sieve import Reading
from protocol.redaction.views import INVISIBLE, has_escapes, resolved
from protocol.redaction.written_forms import may_be_number_across

if TYPE_CHECKING:
    from collections.abc import Sequence

    Span = tuple[int, int]

_HEX = "0123456789ABCDEFabcdef"
# What may stand between the break and what hangs together across it; more of it than this and no rule goes on.
_SKIPPED = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029=:\"'[]+\\>"
_SKIPPED_AFTER = _SKIPPED.replace("\\", "")
_MAX_SKIPPED = 40
# Digits, bytes, the ends of the names of secrets, and the ends and beginnings of escapes.
_BEFORE_BREAK = frozenset(_HEX + "KkNnVv块码;" + INVISIBLE)
_AFTER_BREAK = frozenset(_HEX + "%\\&" + INVISIBLE)
_NAME = re.compile(
    r"(?:5[23]|6[24]|pin|block|blk|data|c(?:v[vcn]|av|sc)[12]?|[mpaedi]k|密码块?|安全码|卡校验码)\Z", re.IGNORECASE
)
_NAME_ENDS = frozenset("1234NnKkAaVvCc码块")
_MAX_NAME = 8
_DIGIT_END = re.compile(r"[0-9][ \t\\+]{0,4}\r?\n\Z")
_DIGIT_BEGIN = re.compile(r"[ \t+>]{0,16}[0-9]")
_BYTE_END = re.compile(r"(?s:(.)|\A)[0-9A-Fa-f]{2}[ \t]{0,4}\r?\n\Z")
_BETWEEN_BYTES = frozenset(" :,-x\\\t\r\n")
_BETWEEN = r"(?:[ :,\-]|, |,? ?0x|\\x|[ \t]{0,4}\r?\n[ \t]{0,16})"
# The first is whole, or all but it may be masked.
_BYTES_BEGIN = re.compile(
    rf"[ \t]{{0,16}}[0-9A-Fa-f]{{2}}(?:(?![0-9A-Fa-f])(?:{_BETWEEN}[0-9A-Fa-f]{{2}}){{0,6}}|(?=[0-9A-Fa-f]{{13}}))"
)
_BYTES_END = re.compile(rf"(?:[0-9A-Fa-f]{{2}}{_BETWEEN}){{0,6}}[0-9A-Fa-f]{{2}}[ \t]{{0,4}}\r?\n\Z")
_BYTE = re.compile(r"(?:0x)?[0-9A-Fa-f]{2}")
_MIN_DUMP_BYTES = 7
_SHORTEST_DUMP = 3 * (_MIN_DUMP_BYTES - 1) - 1  # characters of what is one byte too short to be one by itself
_MAX_GAP = 12
_NEAR = 40
_CLOSE = 32
_MAX_GROUP_LINES = 64  # where more lines hang together, all do: looking at each break costs more than a scan
_CHARS_PER_GROUP = 400  # where groups would be denser, a scan of the whole costs less than finding them
_CHARS_PER_LOOK = 200
_REACH = 192  # a number's window and seven bytes, each on a line of its own, are shorter
_NUMBER_REACH = 72
ESCAPED_REACH = 10 * _REACH  # the longest escape of one character has ten
_ESCAPED_REACHES = (_NUMBER_REACH, 3 * _NUMBER_REACH, 3 * _REACH, ESCAPED_REACH)


def is_border(text: str, at: int) -> bool:
    """Whether no rule looks across the line break before `at`."""
    if not _may_bind(text, at):
        return True
    before = text[max(0, at - _REACH) : at]
    if _is_named(before):
        return False
    # An escape further away changes nothing of what is near.
    nearest = text[at : at + _NEAR]
    if not (_may_go_on(before, nearest) or has_escapes(before[-_NEAR:]) or has_escapes(nearest)):
        return True
    after = text[at : at + _REACH]
    if _goes_on(before, after):
        return False
    return not (has_escapes(before) or has_escapes(after)) or _is_border_without_escapes(text, at)


def _is_border_without_escapes(text: str, at: int) -> bool:
    head, tail = resolved(text[max(0, at - _NEAR) : at]), resolved(text[at : at + _NEAR])
    is_enough = (len(head) >= _MAX_SKIPPED or at < _NEAR) and (len(tail) >= _MAX_SKIPPED or at + _NEAR > len(text))
    if is_enough and not (_may_bind(head + tail, len(head)) and (_may_go_on(head, tail) or _is_named(head))):
        return True
    for reach in _ESCAPED_REACHES:
        before, after = text[max(0, at - reach) : at], text[at : at + reach]
        head, tail = resolved(before), resolved(after)
        needed = _REACH if _is_dump_near(head, tail) else _NUMBER_REACH
        if (len(head) >= needed or len(before) < reach) and (len(tail) >= needed or len(after) < reach):
            return not (_may_bind(head + tail, len(head)) and _binds(head[-_REACH:], tail[:_REACH]))
    return False


def last_border(text: str, limit: int) -> int:
    """The last border at or before `limit`; 0 when there is none."""
    at = text.rfind("\n", 0, limit) + 1
    dumps: list[Span] | None = None
    while at > 0 and not is_border(text, at):
        if dumps is None:
            dumps = list(dump_spans(Reading(text)))
        index = bisect_left(dumps, (at, 0)) - 1
        # All breaks inside a dump are none.
        at = dumps[index][0] if index >= 0 and at < dumps[index][1] else at - 1
        at = text.rfind("\n", 0, at) + 1
    return at


def groups(text: str, spans: Sequence[Span], *, with_neighbours: bool = False) -> list[Span]:
    """The groups of lines that touch the spans, in order; `with_neighbours`: those beside them, too.

    The whole text is one such answer, given where finding a smaller one would cost more than it saves.
    """
    spans = _by_line(spans)
    if len(spans) * _CHARS_PER_GROUP > len(text):
        return [(0, len(text))]
    lines = _Lines(text)
    found: list[Span] = []
    for start, end in spans:
        if found and end <= found[-1][1]:
            continue
        limit = found[-1][1] if found else 0
        first = limit if start < limit else lines.group_start(start, limit)
        last = lines.group_end(end)
        if with_neighbours:
            first = lines.group_start(_before_blank(text, first, limit), limit) if first > limit else first
            last = lines.group_end(_after_blank(text, last))
        if lines.looks_left < 0:
            return [(0, len(text))]
        if found and first <= limit:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found


class _Lines:
    """Finds where groups of a text's lines begin and end, and counts the looks at breaks that this takes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.looks_left = len(text) // _CHARS_PER_LOOK

    def group_start(self, at: int, limit: int) -> int:
        start = max(self._text.rfind("\n", limit, at) + 1, limit)
        for _ in range(_MAX_GROUP_LINES):
            if start == limit or self._is_border(start):
                return start
            start = max(self._text.rfind("\n", limit, start - 1) + 1, limit)
        return limit

    def group_end(self, at: int) -> int:
        """After the break that ends the group of the line in which `at` stands; `at` itself when it is after one."""
        text = self._text
        end = at if at > 0 and text[at - 1] == "\n" else _line_end(text, at)
        for _ in range(_MAX_GROUP_LINES):
            if end == len(text) or self._is_border(end):
                return end
            end = _line_end(text, end)
        return len(text)

    def _is_border(self, at: int) -> bool:
        self.looks_left -= 1
        return is_border(self._text, at)


def _by_line(spans: Sequence[Span]) -> list[Span]:
    """Those close to each other as one, which groups of whole lines may be larger for."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start - joined[-1][1] < _CLOSE:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _line_end(text: str, at: int) -> int:
    newline = text.find("\n", at)
    return newline + 1 if newline >= 0 else len(text)


def _before_blank(text: str, at: int, limit: int) -> int:
    """In the last line before `at` that is not blank."""
    return max(limit, limit + len(text[limit:at].rstrip()) - 1)


def _after_blank(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return _line_end(text, at)


def _may_bind(text: str, at: int) -> bool:
    after = text[at : at + _MAX_SKIPPED].lstrip(_SKIPPED_AFTER)
    if after[:1] not in _AFTER_BREAK:
        return False
    before = text[max(0, at - _MAX_SKIPPED) : at].rstrip(_SKIPPED)
    return before[-1:] in _BEFORE_BREAK


def _binds(before: str, after: str) -> bool:
    return _is_named(before) or _goes_on(before, after)


def _goes_on(before: str, after: str) -> bool:
    if _is_dump_across(before, after):
        return True
    if _DIGIT_END.search(before[-_MAX_GAP:]) is None or _DIGIT_BEGIN.match(after) is None:
        return False
    head, tail = before[-_NUMBER_REACH:], after[:_NUMBER_REACH]
    return may_be_number_across(Reading(head + tail), len(head))


def _is_dump_across(before: str, after: str) -> bool:
    """Whether there are enough bytes on both sides together, also when what is before them is masked first."""
    last = _BYTE_END.search(before[-_MAX_GAP:])
    following = _BYTES_BEGIN.match(after) if last is not None else None
    if last is None or following is None:
        return False
    needed = _MIN_DUMP_BYTES - _count(following)
    if last[1] not in _BETWEEN_BYTES:
        return needed <= 1
    for reach in (_NEAR, _REACH):
        preceding = _BYTES_END.search(before[-reach:])
        if preceding is not None and _count(preceding) >= needed:
            return True
        if preceding is not None and preceding.start() > 0:
            return False
    return False


def _is_dump_near(before: str, after: str) -> bool:
    """Whether there may be bytes further away than a number reaches."""
    last, following = _BYTE_END.search(before[-_MAX_GAP:]), _BYTES_BEGIN.match(after)
    if last is None or following is None:
        return False
    return last[1] in _BETWEEN_BYTES or following.end() > _NUMBER_REACH // 2


def _count(dump: re.Match[str]) -> int:
    return len(_BYTE.findall(dump[0]))


def _may_go_on(before: str, after: str) -> bool:
    """Whether a number or a dump may: a look at the nearest characters, which says yes too often."""
    last = before[-_MAX_GAP:]
    if _DIGIT_BEGIN.match(after) is not None and _DIGIT_END.search(last) is not None:
        return True
    byte = _BYTE_END.search(last)
    following = _BYTES_BEGIN.match(after) if byte is not None else None
    if byte is None or following is None:
        return False
    return byte[1] in _BETWEEN_BYTES or following.end() >= _SHORTEST_DUMP


def _is_named(before: str) -> bool:
    name = before.rstrip(_SKIPPED)[-_MAX_NAME:]
    return name[-1:] in _NAME_ENDS and _NAME.search(name) is not None
